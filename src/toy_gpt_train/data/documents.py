"""documents.py - Many texts as one stream, and a special token where one of them ends.

The learner's question: what does a model see between two stories? Nothing: one text follows the other, as if they were
one. So a token that no story has, such as <|endoftext|>, is put after each. The model learns that a new story begins
there, and writing can stop there.

A document is a line, or a whole file. It does not know ids.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from toy_gpt_train.data.sample import text_lines
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import utf8_blocks
from toy_gpt_train.tokenizers.base import Tokenizer

PER: Final = ("line", "file")
BLOCK: Final = 1 << 16  # bytes of text in memory at a time


class Documents(NamedTuple):
    """What a document is, ``line`` or ``file``, and the special token after each."""

    per: str
    end: str

    def check(self, tokenizer: Tokenizer, folder: Path) -> None:
        """Refuse, with InputError, a special token that the tokenizer in a folder does not know."""
        known = tokenizer.special
        if self.end not in known:
            has = f"it has {', '.join(map(repr, known))}" if known else "it has none"
            raise InputError(f"{folder}: {self.end!r:.60} is not a special token of this tokenizer; {has:.200}")


def files_below(paths: Iterable[Path], suffix: str) -> list[Path]:
    """Return the files, and for a folder all files below it with this suffix, by path; InputError if it has none."""
    found: list[Path] = []
    for path in paths:
        below = sorted(below for below in path.rglob(f"*{suffix}") if below.is_file()) if path.is_dir() else [path]
        if not below:
            raise InputError(f"{path}: there is no {suffix} file in this folder")
        found += below
    return found


def text_blocks(texts: Sequence[Path], documents: Documents | None) -> Iterator[tuple[Path, str]]:
    """Yield the texts block by block, each with its file; InputError, with the file's name, if one is not UTF-8.

    A leading byte-order mark is dropped. With ``documents``, each ends with the special token, which for lines stands
    in the place of the line end. A blank line or an empty file is no document.
    """
    for path in texts:
        if documents is not None and documents.per == "line":
            yield from ((path, block) for block in _joined(text_lines(path), documents.end))
            continue
        is_empty = True
        for block in _file_blocks(path):
            is_empty = False
            yield path, block
        if documents is not None and not is_empty:
            yield path, documents.end


def _joined(lines: Iterable[str], end: str) -> Iterator[str]:
    """Yield the lines that are not blank, with the token after each, many at a time. WHY: one by one takes longer."""
    held: list[str] = []
    size = 0
    for line in lines:
        if line.strip():
            held += line.rstrip("\r\n"), end
            size += len(line)
        if size >= BLOCK:
            yield "".join(held)
            held, size = [], 0
    yield "".join(held)


def _file_blocks(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        try:
            yield from without_bom(utf8_blocks(iter(lambda: file.read(BLOCK), b"")))
        except InputError as error:
            raise InputError(f"{path}: {error}") from error


def without_bom(blocks: Iterable[str]) -> Iterator[str]:
    r"""Yield the blocks of a text without a leading byte-order mark."""
    for index, block in enumerate(blocks):
        if text := block.removeprefix("\ufeff") if index == 0 else block:
            yield text
