"""compressed.py - Step e the other way round: a text becomes a file of as many bits as the model's surprise, and back.

     2 bytes  "tg"
     1 byte   16 times the version; plus 1 if the model has learned while it coded, plus 2 if there are unusual gaps
     4 bytes  which model: the beginning of a SHA-256 over all that it is, its tokenizer included
     4 bytes  which text: the beginning of its SHA-256
     3 bytes  T, the number of tokens that have an id
    the rest  T times a gap and a token, and the last gap, by arithmetic coding; without unusual gaps only the tokens

WHY such short hashes: a thousand bytes of text may become two hundred. One damaged file in four billion passes by
chance. That is enough against accidents; nothing here is meant to be secret or signed.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from toy_gpt_train.coding.arithmetic import Decoder, Encoder
from toy_gpt_train.coding.frequencies import TokenFrequencies
from toy_gpt_train.coding.gaps import GapCoder
from toy_gpt_train.coding.pieces import Pieces, cut, usual_gap
from toy_gpt_train.corpus import corpus_of
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import MAX_BYTES
from toy_gpt_train.models.base import Model
from toy_gpt_train.progress import OnProgress
from toy_gpt_train.tokenizers.base import Tokenizer

_MAGIC: Final = b"tg"
_VERSION: Final = 1
_ONLINE, _UNUSUAL_GAPS = 1, 2
_HASH_BYTES: Final = 4
_COUNT_BYTES: Final = 3
HEADER_BYTES: Final = len(_MAGIC) + 1 + 2 * _HASH_BYTES + _COUNT_BYTES
MOST_TOKENS: Final = 256**_COUNT_BYTES - 1
_REPORT_EVERY: Final = 100  # tokens

_Step = tuple[bytes, int | None]  # a gap, and the token after it


class Header(NamedTuple):
    """What a file says before its bits."""

    online: bool  # whether the model has learned from each token after coding it
    unusual_gaps: bool  # whether gaps are coded, too
    model_hash: bytes
    text_hash: bytes
    num_tokens: int

    def to_bytes(self) -> bytes:
        """Return the header's bytes."""
        first = 16 * _VERSION + _ONLINE * self.online + _UNUSUAL_GAPS * self.unusual_gaps
        return b"".join([_MAGIC, bytes([first]), *self[2:4], self.num_tokens.to_bytes(_COUNT_BYTES, "big")])


class Compressed(NamedTuple):
    """A coded text, and where its bits go."""

    data: bytes
    num_tokens: int  # that have an id
    token_bits: float  # what these take
    gap_bits: float  # what unusual white space and unknown tokens take


def compress(
    model: Model, tokenizer: Tokenizer, text: str, *, online: bool = False, on_progress: OnProgress | None = None
) -> Compressed:
    """Code a text with a model's probabilities.

    InputError if it holds a lone surrogate or has too many tokens, or the model cannot learn ``online``.
    """
    text_hash = bytes.fromhex(corpus_of(text).sha256)[:_HASH_BYTES]
    pieces = cut(text, tokenizer)
    if (count := len(pieces.ids)) > MOST_TOKENS:
        raise InputError(f"the text has {count:,} tokens; at most {MOST_TOKENS:,} can be compressed")
    is_unusual = any(gap != usual_gap(place, count, tokenizer) for place, gap in enumerate(pieces.gaps))
    header = Header(online, is_unusual, model_hash(model, tokenizer), text_hash, count)
    encoder = Encoder()
    gaps = GapCoder(encoder)
    for _ in _watched(_coded(encoder, gaps, header, model, tokenizer, pieces), count, on_progress):
        pass
    token_bits = encoder.num_bits - gaps.num_bits
    return Compressed(header.to_bytes() + encoder.finish(), count, token_bits, gaps.num_bits)


def decompress(model: Model, tokenizer: Tokenizer, data: bytes, *, on_progress: OnProgress | None = None) -> str:
    """Return the text that compress() has coded; InputError if another model has, or the data are damaged."""
    header = read_header(data)
    if header.model_hash != (own := model_hash(model, tokenizer)):
        raise InputError(f"compressed with another model: its hash is {header.model_hash.hex()}, not {own.hex()}")
    decoder, coded = Decoder(data[HEADER_BYTES:]), bytearray()
    steps = _coded(decoder, GapCoder(decoder), header, model, tokenizer, None)
    for gap, token_id in _watched(steps, header.num_tokens, on_progress):
        coded += gap if token_id is None else gap + tokenizer.decode_bytes([token_id])
        if len(coded) > MAX_BYTES:
            raise InputError(f"damaged: the text would have more than {MAX_BYTES:,} bytes")
    decoder.finish()
    if hashlib.sha256(coded).digest()[:_HASH_BYTES] != header.text_hash:
        raise InputError(
            "damaged: another text comes out (or exp() and log() round in another way on this computer than on the one "
            "that compressed it)"
        )
    return coded.decode("utf-8")


def read_header(data: bytes) -> Header:
    """Return what a file says of itself; InputError if toy-gpt has not written it, or in a version of the future."""
    if data[: len(_MAGIC)] != _MAGIC:
        raise InputError("not a text that toy-gpt compress has written")
    if len(data) <= HEADER_BYTES:
        raise InputError(f"truncated: it has {len(data)} bytes, of which the header takes {HEADER_BYTES}")
    begin = len(_MAGIC) + 1
    version, flags = divmod(data[begin - 1], 16)
    if version != _VERSION or flags > _ONLINE + _UNUSUAL_GAPS:
        raise InputError(f"version {version} with flags {flags} is unknown here")
    model, text = data[begin : begin + _HASH_BYTES], data[begin + _HASH_BYTES : HEADER_BYTES - _COUNT_BYTES]
    num_tokens = int.from_bytes(data[HEADER_BYTES - _COUNT_BYTES : HEADER_BYTES], "big")
    return Header(bool(flags & _ONLINE), bool(flags & _UNUSUAL_GAPS), model, text, num_tokens)


def model_hash(model: Model, tokenizer: Tokenizer) -> bytes:
    """Return the beginning of a SHA-256 over what a model's files hold; a run has the same before it is saved."""
    content = model.content()
    sizes = type(model).__name__, model.vocab_size, model.context_size
    words = tokenizer.description(), list(tokenizer.tokens), tokenizer.files()
    found = hashlib.sha256(json.dumps([sizes, content.about, words], sort_keys=True).encode())
    for table in content.tables:
        found.update(table.name.encode())
        for row in table.rows:
            found.update(repr(row).encode())
    for name, (shape, numbers) in content.tensors.items():
        found.update(f"{name} {shape}".encode())
        found.update(numbers[:])
    return found.digest()[:_HASH_BYTES]


def _coded(
    coder: Encoder | Decoder, gaps: GapCoder, header: Header, model: Model, tokenizer: Tokenizer, pieces: Pieces | None
) -> Iterator[_Step]:
    """Code a text; yield each gap with the token after it, which is None at the end. A decoder is given no pieces."""
    count, token_id = header.num_tokens, model.vocab_size  # no token is before the first
    frequencies = TokenFrequencies(model, count, online=header.online)
    for place in range(count + 1):
        gap = usual_gap(place, count, tokenizer)
        if header.unusual_gaps:
            gap = gaps.code(token_id, gap, None if pieces is None else pieces.gaps[place])
        if place == count:
            yield gap, None
            return
        token_id = coder.code(frequencies.next(), None if pieces is None else pieces.ids[place])
        frequencies.append(token_id)
        yield gap, token_id


def _watched(steps: Iterator[_Step], count: int, on_progress: OnProgress | None) -> Iterator[_Step]:
    """Pass steps on, and tell how far they are."""
    begun = time.perf_counter()
    for number, step in enumerate(steps, start=1):
        yield step
        if on_progress is not None and number % _REPORT_EVERY == 0:
            rate = number / max(time.perf_counter() - begun, 1e-9)
            on_progress(min(number / max(count, 1), 1.0), f"{rate:,.0f} tokens/s")
