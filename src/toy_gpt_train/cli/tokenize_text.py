"""tokenize_text.py - See how a text is cut: its pieces in colour, their ids, and the merges that made a word.

It shows what the tokenizers do; it trains no model.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from toy_gpt_train.a_tokenizer import read_text
from toy_gpt_train.errors import InputError
from toy_gpt_train.project import RESOURCE_ROOT
from toy_gpt_train.tokenizers.bpe import BPETokenizer
from toy_gpt_train.tokenizers.bpe_files import spell
from toy_gpt_train.tokenizers.saved import SavedTokenizer, load_tokenizer, vocabulary_tokenizer

HELP: Final = "show how a text is cut into tokens, and the merges that made a word"
DEFAULT_TEXT_CORPUS: Final = RESOURCE_ROOT / "corpus" / "030_stories.txt"
DEFAULT_TEXT: Final = "Mina had a small garden behind the house."

_COLOURS: Final = ("\033[30;46m", "\033[30;43m", "\033[30;42m", "\033[30;45m")
_PLAIN: Final = "\033[0m"


def learn_tokenizer(kind: str, corpus_path: Path, vocab_size: int) -> SavedTokenizer:
    """Return a tokenizer learned from a text.

    Args:
        kind: ``word``, ``char`` or ``bpe``.
        corpus_path: The text.
        vocab_size: Where BPE stops merging.

    Raises:
        InputError: The text or the size cannot be used.
        OSError: The text cannot be read.
    """
    text = read_text(corpus_path)
    return BPETokenizer.from_text(text, vocab_size) if kind == "bpe" else vocabulary_tokenizer(kind, [text])


def piece_texts(tokenizer: SavedTokenizer, ids: Sequence[int]) -> list[str]:
    r"""Return the text of each token, with what does not print as an escape.

    OBS: a BPE token may be a part of a character; its bytes are shown then.

    Example:
        >>> from toy_gpt_train.tokenizers import CharTokenizer
        >>> piece_texts(CharTokenizer("a\n"), [1, 0])
        ['a', '\\n']
    """
    if isinstance(tokenizer, BPETokenizer):
        return [_shown_bytes(tokenizer.vocab[token_id]) for token_id in ids]
    return [_shown(tokenizer.decode([token_id])) for token_id in ids]


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _shown_bytes(token: bytes) -> str:
    try:
        return _shown(token.decode("utf-8"))
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02x}" for byte in token)


def show_tokens(tokenizer: SavedTokenizer, text: str, in_colour: bool) -> str:
    """Return a text as pieces and ids, with its bytes a token.

    Args:
        tokenizer: How to cut it.
        text: Any text that the tokenizer can encode.
        in_colour: Colours tell the pieces apart; without them each stands in brackets.

    Raises:
        InputError: A token has no id.

    Example:
        >>> from toy_gpt_train.tokenizers import CharTokenizer
        >>> print(show_tokens(CharTokenizer("ab"), "ba", in_colour=False))
        pieces  [b][a]
        ids     1 0
        2 tokens, 2 bytes: 1.00 bytes a token; 2 tokens in the vocabulary
    """
    ids = tokenizer.encode(text)
    pieces = piece_texts(tokenizer, ids)
    if in_colour:
        shown = "".join(f"{_COLOURS[i % len(_COLOURS)]}{piece}{_PLAIN}" for i, piece in enumerate(pieces))
    else:
        shown = "".join(f"[{piece}]" for piece in pieces)
    size = len(text.encode("utf-8"))
    rate = f"{size / len(ids):.2f}" if ids else "no"
    return (
        f"pieces  {shown}\nids     {' '.join(map(str, ids))}\n"
        f"{len(ids)} tokens, {size} bytes: {rate} bytes a token; {tokenizer.vocab_size} tokens in the vocabulary"
    )


def show_merges(tokenizer: SavedTokenizer, word: str) -> str:
    """Return the merges that made a word, step by step.

    Args:
        tokenizer: A byte-level BPE tokenizer.
        word: One word, for example " garden" with its space.

    Raises:
        InputError: The tokenizer has no merges, or the word is more than one piece before merging.

    Example:
        >>> print(show_merges(BPETokenizer.from_text("hug pug hug", 258), "hug"))
        start          h u g
        merge 0        h ug  (u + g)
        merge 1        hug  (h + ug)
    """
    if not isinstance(tokenizer, BPETokenizer):
        raise InputError("only byte-level BPE has merges: choose --tokenizer bpe")
    lines = [f"start          {' '.join(spell(bytes([byte])) for byte in word.encode('utf-8'))}"]
    for step in tokenizer.merge_steps(word):
        left, right = map(spell, step.merge)
        lines.append(f"merge {step.rank:<8} {' '.join(map(spell, step.tokens))}  ({left} + {right})")
    return "\n".join(lines)


def open_tokenizer(folder: Path | None, kind: str, corpus_path: Path, vocab_size: int) -> SavedTokenizer:
    """Return the tokenizer of a folder, or else learn one."""
    return load_tokenizer(folder) if folder is not None else learn_tokenizer(kind, corpus_path, vocab_size)
