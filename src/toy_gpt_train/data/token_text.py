"""token_text.py - Token files as a text to learn from: the ids stay on disk, and only what is looked at is read.

It does not know models.
"""

import mmap
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, overload

from toy_gpt_train.corpus import Source
from toy_gpt_train.data.token_file import BLOCK, TokenFile
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import sha256_of_file
from toy_gpt_train.progress import OnProgress
from toy_gpt_train.tokenizers.base import Tokenizer
from toy_gpt_train.tokenizers.encoded import EncodedText, check_val_fraction
from toy_gpt_train.tokenizers.saved import load_tokenizer

_LOOKS: Final = 4096  # at mapped files, until the system may take back their pages
_BLOCKS: Final = 512  # that are read, until it may


class TokenIds(Sequence[int]):
    """Arrays of ids, one after the other, as one sequence. A slice is a view of them, too: nothing is copied.

    Args:
        parts: The arrays, which may be mapped files.
        below: All ids are known to be below this; None if nobody has looked.

    >>> ids = TokenIds([memoryview(b"ab"), memoryview(b"cde")])
    >>> len(ids), ids[2], list(ids[1:4])
    (5, 99, [98, 99, 100])
    """

    def __init__(self, parts: Sequence[memoryview], below: int | None = None) -> None:
        self._parts = [part for part in parts if len(part)]
        self._length = sum(map(len, self._parts))
        self._looks = 0
        self.below = below

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        for part in self._parts:
            for number, start in enumerate(range(0, len(part), BLOCK), start=1):
                yield from part[start : start + BLOCK]
                if number % _BLOCKS == 0:
                    give_back(part)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> "TokenIds": ...
    def __getitem__(self, index: int | slice) -> "int | TokenIds":
        if isinstance(index, slice):
            start, stop, step = index.indices(self._length)
            if step != 1:
                raise ValueError("ids are sliced without a step")
            self._looks += 1
            if self._looks % _LOOKS == 0:
                for part in self._parts:
                    give_back(part)
            return TokenIds(list(self._between(start, stop)), self.below)
        at = range(self._length)[index]
        return next(part[0] for part in self._between(at, at + 1) if len(part))

    def _between(self, start: int, stop: int) -> Iterator[memoryview]:
        for part in self._parts:
            yield part[max(start, 0) : max(stop, 0)]
            start, stop = start - len(part), stop - len(part)


class TokenSizes(Sequence[int]):
    """A number for each of some ids, looked up only when it is asked for: nothing is kept.

    >>> list(TokenSizes([2, 0, 2], numbers=[5, 6, 7]))
    [7, 5, 7]
    """

    def __init__(self, ids: Sequence[int], numbers: Sequence[int]) -> None:
        self._ids, self._numbers = ids, numbers

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[int]:
        return map(self._numbers.__getitem__, self._ids)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> "TokenSizes": ...
    def __getitem__(self, index: int | slice) -> "int | TokenSizes":
        if isinstance(index, slice):
            return TokenSizes(self._ids[index], self._numbers)
        return self._numbers[self._ids[index]]


def give_back(view: memoryview) -> None:
    """Let the system take back the memory of a mapped file; what is looked at again is read again."""
    # WHY: it would do so when memory is short. Until then, all that was ever looked at would count as this program's.
    if isinstance(view.obj, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        view.obj.madvise(mmap.MADV_DONTNEED)


def encoded_files(
    tokens: Path,
    val_tokens: Path | None,
    tokenizer_folder: Path,
    val_fraction: float = 0.0,
    on_progress: OnProgress | None = None,
) -> EncodedText:
    """Return the text of one token file or two, as encode_corpus() returns that of a corpus.

    Args:
        tokens: What is learned; with no ``val_tokens``, its last ``val_fraction`` is held out.
        val_tokens: What is held out: it counts as the continuation of ``tokens``.
        tokenizer_folder: The tokenizer that wrote both.
        val_fraction: The share at the end of ``tokens`` that is held out.
        on_progress: Is told how much of a file is checked.

    Raises:
        InputError: A file is damaged or of another tokenizer, or a number makes no sense.
    """
    check_val_fraction(val_fraction)
    if val_tokens is not None and val_fraction:
        raise InputError("give a file of held-out tokens or a share to hold out, not both")
    tokenizer = load_tokenizer(tokenizer_folder)
    ids, source, counts = _read(tokens, tokenizer, tokenizer_folder, on_progress, 1 - val_fraction)
    num_train = sum(counts.values())
    parts, held_out_source = [ids], None
    if val_tokens is not None:
        held_out_ids, held_out_source, _ = _read(val_tokens, tokenizer, tokenizer_folder, on_progress)
        parts.append(held_out_ids)
    together = TokenIds(parts, below=tokenizer.vocab_size)
    if not len(together):
        raise InputError(f"{tokens}: there is no token to learn from")
    sizes = TokenSizes(together[num_train:], [_size(tokenizer, token_id) for token_id in range(tokenizer.vocab_size)])
    frequencies = [counts[token_id] for token_id in range(tokenizer.vocab_size)]
    return EncodedText(tokenizer, together, num_train, frequencies, sizes, source, val_fraction, held_out_source)


def _read(
    path: Path, tokenizer: Tokenizer, folder: Path, on_progress: OnProgress | None, share: float = 1.0
) -> tuple[memoryview, Source, Counter[int]]:
    """Return the ids of a file, all of them checked, what is recorded of it, and how often its first share has each.

    Cost: one look at each id, some 40 ns.
    """
    ids = TokenFile(path, folder, tokenizer.vocab_size).ids
    cut = int(round(len(ids) * share, 6))
    first: Counter[int] = Counter()
    rest: Counter[int] = Counter()
    for counts, begin, end in ((first, 0, cut), (rest, cut, len(ids))):
        for number, start in enumerate(range(begin, end, BLOCK), start=1):
            counts.update(ids[start : min(start + BLOCK, end)].tolist())
            if wrong := [i for i in (min(counts), max(counts)) if not 0 <= i < tokenizer.vocab_size]:
                raise InputError(f"{path}: holds the id {wrong[0]}, but ids are 0 to {tokenizer.vocab_size - 1}")
            if number % _BLOCKS == 0:
                give_back(ids)
            if on_progress is not None:
                on_progress(start / len(ids), f"{start} of {len(ids)} tokens")
    num_chars = sum(_num_chars(tokenizer, token_id) * count for token_id, count in (first + rest).items())
    return ids, Source(path.name, sha256_of_file(path), None, num_chars, path), first


def _size(tokenizer: Tokenizer, token_id: int) -> int:
    """Return the bytes that a token stands for. WHY not as a beginning: white space around words is not known."""
    return len(tokenizer.decode_bytes([token_id], begins=False))


def _num_chars(tokenizer: Tokenizer, token_id: int) -> int:
    """Return how many characters begin in a token: its bytes that do not continue one, in UTF-8."""
    return sum(byte & 0xC0 != 0x80 for byte in tokenizer.decode_bytes([token_id], begins=False))
