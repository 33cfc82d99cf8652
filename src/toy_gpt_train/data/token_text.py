"""token_text.py - Token files as a text to learn from: the ids stay on disk, and only what is looked at is read.

It does not know models.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import overload

from toy_gpt_train.corpus import Source
from toy_gpt_train.data.token_file import TokenFile
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import sha256_of_file
from toy_gpt_train.tokenizers.base import Tokenizer
from toy_gpt_train.tokenizers.encoded import EncodedText, check_val_fraction
from toy_gpt_train.tokenizers.saved import load_tokenizer


class TokenIds(Sequence[int]):
    """Arrays of ids, one after the other, as one sequence. A slice is a view of them, too: nothing is copied.

    >>> ids = TokenIds([memoryview(b"ab"), memoryview(b"cde")])
    >>> len(ids), ids[2], list(ids[1:4])
    (5, 99, [98, 99, 100])
    """

    def __init__(self, parts: Sequence[memoryview]) -> None:
        self._parts = [part for part in parts if len(part)]
        self._length = sum(map(len, self._parts))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        return chain(*self._parts)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> "TokenIds": ...
    def __getitem__(self, index: int | slice) -> "int | TokenIds":
        if isinstance(index, slice):
            start, stop, step = index.indices(self._length)
            if step != 1:
                raise ValueError("ids are sliced without a step")
            return TokenIds(list(self._between(start, stop)))
        at = range(self._length)[index]
        return next(part[0] for part in self._between(at, at + 1) if len(part))

    def _between(self, start: int, stop: int) -> Iterator[memoryview]:
        for part in self._parts:
            yield part[max(start, 0) : max(stop, 0)]
            start, stop = start - len(part), stop - len(part)


def encoded_files(
    tokens: Path, val_tokens: Path | None, tokenizer_folder: Path, val_fraction: float = 0.0
) -> EncodedText:
    """Return the text of one token file or two, as encode_corpus() returns that of a corpus.

    Args:
        tokens: What is learned; with no ``val_tokens``, its last ``val_fraction`` is held out.
        val_tokens: What is held out: it counts as the continuation of ``tokens``.
        tokenizer_folder: The tokenizer that wrote both.
        val_fraction: The share at the end of ``tokens`` that is held out.

    Raises:
        InputError: A file is damaged or of another tokenizer, or a number makes no sense.
    """
    check_val_fraction(val_fraction)
    if val_tokens is not None and val_fraction:
        raise InputError("give a file of held-out tokens or a share to hold out, not both")
    tokenizer = load_tokenizer(tokenizer_folder)
    ids = _checked(tokens, tokenizer, tokenizer_folder)
    num_train = int(round(len(ids) * (1 - val_fraction), 6))
    parts, held_out_source = [ids], None
    if val_tokens is not None:
        parts.append(_checked(val_tokens, tokenizer, tokenizer_folder))
        held_out_source = _source(val_tokens, parts[1], tokenizer)
    together = TokenIds(parts)
    if not len(together):
        raise InputError(f"{tokens}: there is no token to learn from")
    sizes = [_size(tokenizer, token_id) for token_id in range(tokenizer.vocab_size)]
    held_out_sizes = [sizes[token_id] for token_id in together[num_train:]]
    source = _source(tokens, ids, tokenizer)
    return EncodedText(tokenizer, together, num_train, held_out_sizes, source, val_fraction, held_out_source)


def _checked(path: Path, tokenizer: Tokenizer, folder: Path) -> memoryview:
    ids = TokenFile(path, folder).ids
    if len(ids) and (largest := max(ids)) >= tokenizer.vocab_size:
        raise InputError(f"{path}: holds the id {largest}, but ids are 0 to {tokenizer.vocab_size - 1}")
    return ids


def _size(tokenizer: Tokenizer, token_id: int) -> int:
    """Return the bytes that a token stands for. WHY a separator: the white space after a word is not known."""
    return len(tokenizer.decode_bytes([token_id])) + len(tokenizer.separator)


def _source(path: Path, ids: memoryview, tokenizer: Tokenizer) -> Source:
    chars = [_num_chars(tokenizer, token_id) for token_id in range(tokenizer.vocab_size)]
    return Source(path.name, sha256_of_file(path), None, sum(map(chars.__getitem__, ids)), path)


def _num_chars(tokenizer: Tokenizer, token_id: int) -> int:
    """Return how many characters begin in a token: its bytes that do not continue one, in UTF-8."""
    data = tokenizer.decode_bytes([token_id]) + tokenizer.separator.encode()
    return sum(byte & 0xC0 != 0x80 for byte in data)
