"""corpus.py - A text to learn from, read once.

REQ: the hash and the sizes recorded of a corpus are those of the bytes that were learned. The file is never opened
again: it may be a pipe, or change while a model is trained.

It does not know tokens.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from toy_gpt_train.errors import InputError
from toy_gpt_train.files import decode_utf8, read_bytes


@dataclass(frozen=True)
class Corpus:
    """A text and where it came from."""

    text: str  # unchanged but for a leading byte-order mark, which is dropped
    name: str  # of its file, or another name
    sha256: str  # of its bytes, in hexadecimal
    path: Path | None = None  # its file; None for text that came from no file

    @property
    def num_lines(self) -> int:
        """How many of its lines are not blank."""
        return sum(bool(line.strip()) for line in io.StringIO(self.text, newline=""))


def read_corpus(path: Path) -> Corpus:
    """Read a text file, a pipe or a device; InputError if it is too large to hold in memory, or not UTF-8."""
    data = read_bytes(path)
    text = decode_utf8(data, path).removeprefix("\ufeff")
    return Corpus(text, path.name, hashlib.sha256(data).hexdigest(), path)


def corpus_of(text: str, name: str = "text") -> Corpus:
    r"""Make a corpus of a text in memory; InputError if it holds a lone surrogate, which UTF-8 cannot hold.

    Example:
        >>> corpus_of("one\n\ntwo").num_lines
        2
    """
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{name}: a lone surrogate at character {error.start}, which UTF-8 cannot hold") from None
    return Corpus(text, name, hashlib.sha256(data).hexdigest())
