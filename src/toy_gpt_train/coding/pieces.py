r"""pieces.py - Steps a and b, with nothing lost: a text as the tokens that have an id, and what stands between them.

A word tokenizer forgets white space, and has no id for a word it has never met. So a text is cut into T tokens and
T + 1 gaps: before the first token, between two tokens, after the last. Mostly a gap is what the tokenizer would put
there itself. Where it is anything else, it holds the text in question, white space and unknown tokens alike:

    "the  zebra runs\n"     the | "  zebra " | runs | "\n"

REQ: join(cut(text)) is the text, whatever the tokenizer and whatever the text.

It does not know models.
"""

from itertools import zip_longest
from typing import NamedTuple

from toy_gpt_train.tokenizers.base import Tokenizer


class Pieces(NamedTuple):
    """A text as token ids, and the bytes of the gaps around them: one more than there are ids."""

    ids: list[int]
    gaps: list[bytes]


def cut(text: str, tokenizer: Tokenizer) -> Pieces:
    r"""Return a text in pieces; ValueError if it has a lone surrogate, which UTF-8 cannot hold.

    Example:
        >>> from toy_gpt_train.tokenizers.word import WordTokenizer
        >>> cut("the  zebra runs\n", WordTokenizer(["runs", "the"]))
        Pieces(ids=[1, 0], gaps=[b'', b'  zebra ', b'\n'])
    """
    data, unknown = text.encode("utf-8"), tokenizer.vocab_size
    ids: list[int] = []
    gaps: list[bytes] = []
    begin = end = 0  # of the gap
    part = 0  # where the token's part of the text begins: white space around it is in this part too
    for token_id, size in zip(tokenizer.encode(text, unknown), tokenizer.sizes(text), strict=True):
        if token_id != unknown:
            token = tokenizer.decode_bytes([token_id])
            end = data.find(token, part, part + size)
            if end >= 0:
                ids.append(token_id)
                gaps.append(data[begin:end])
                begin = end + len(token)
        part += size
    return Pieces(ids, [*gaps, data[begin:]])


def join(pieces: Pieces, tokenizer: Tokenizer) -> bytes:
    r"""Return the text of pieces, in UTF-8.

    Example:
        >>> from toy_gpt_train.tokenizers.word import WordTokenizer
        >>> join(Pieces([1, 0], [b"", b" ", b"\n"]), WordTokenizer(["runs", "the"]))
        b'the runs\n'
    """
    tokens = (tokenizer.decode_bytes([token_id]) for token_id in pieces.ids)
    return b"".join(part for pair in zip_longest(pieces.gaps, tokens, fillvalue=b"") for part in pair)


def usual_gap(place: int, count: int, tokenizer: Tokenizer) -> bytes:
    """Return what a tokenizer puts before its token number ``place`` of ``count``, or after the last one."""
    return tokenizer.separator.encode() if 0 < place < count else b""
