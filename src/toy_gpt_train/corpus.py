"""corpus.py - A text to learn from, read once.

REQ: the hash and the sizes recorded of a corpus are those of the bytes that were learned. The file is never opened
again: it may be a pipe, or change while a model is trained.

It does not know tokens.
"""

import hashlib
import io
import warnings
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from toy_gpt_train.errors import InputError, InputWarning
from toy_gpt_train.files import decode_utf8, read_bytes, utf8_blocks
from toy_gpt_train.progress import OnProgress


class Source(NamedTuple):
    """What is recorded of a text that was learned."""

    name: str  # of its file, or another name
    sha256: str  # of its bytes, in hexadecimal
    num_lines: int | None  # how many are not blank; None if only its tokens are known
    num_chars: int
    path: Path | None = None  # its file; None for text that came from no file


@dataclass(frozen=True)
class Corpus:
    """A text and where it came from."""

    text: str  # unchanged but for a leading byte-order mark, which is dropped
    name: str  # of its file, or another name
    sha256: str  # of its bytes, in hexadecimal
    path: Path | None = None  # its file; None for text that came from no file

    @property
    def source(self) -> Source:
        """What is recorded of it."""
        num_lines = sum(bool(line.strip()) for line in io.StringIO(self.text, newline=""))
        return Source(self.name, self.sha256, num_lines, len(self.text), self.path)


def read_corpus(path: Path) -> Corpus:
    """Read a text file, a pipe or a device; InputError if it is too large to hold in memory, or not UTF-8.

    A byte-order mark inside the text is kept, with an InputWarning.
    """
    data = read_bytes(path)
    check_not_utf16(data, path)
    text = decode_utf8(data, path).removeprefix("\ufeff")
    if (mark := text.find("\ufeff")) >= 0:
        line = text.count("\n", 0, mark) + 1
        odd = "a byte-order mark (U+FEFF) inside the text, as where two files were joined"
        warnings.warn(f"{path}, line {line}: {odd}; it is learned as part of a token", InputWarning, stacklevel=2)
    return Corpus(text, path.name, hashlib.sha256(data).hexdigest(), path)


def text_blocks(path: Path, block_bytes: int, on_progress: OnProgress) -> Iterator[str]:
    """Yield a text of any size in blocks, cut anywhere, without a leading byte-order mark; tell how much is read.

    InputError if it is not UTF-8.
    """
    size = path.stat().st_size or 1
    with path.open("rb") as file:
        first = file.read(block_bytes)
        check_not_utf16(first, path)
        try:
            for number, block in enumerate(utf8_blocks(chain([first], iter(lambda: file.read(block_bytes), b"")))):
                yield block if number else block.removeprefix("\ufeff")
                on_progress(min(number * block_bytes / size, 1.0), "reading the text")
        except InputError as error:
            raise InputError(f"{path}: {error}") from error


def check_not_utf16(start: bytes, path: Path) -> None:
    r"""Refuse, with InputError, a text that begins like UTF-16: with its mark, or full of NUL bytes.

    WHY NUL: without a mark, English in UTF-16 is valid UTF-8 with a NUL at every other byte.
    """
    if start.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or start.count(0) * 20 > len(start):
        raise InputError(f"{path}: this looks like UTF-16 text; save it as UTF-8")


def corpus_of(text: str, name: str = "text") -> Corpus:
    """Make a corpus of a text in memory; InputError if it holds a lone surrogate, which UTF-8 cannot hold."""
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{name}: a lone surrogate at character {error.start}, which UTF-8 cannot hold") from None
    return Corpus(text, name, hashlib.sha256(data).hexdigest())
