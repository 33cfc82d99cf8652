"""csv_files.py - CSV by RFC 4180: written so that it reads back exactly, read so that damage is refused.

It does not know what the cells mean.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Final

from toy_gpt_train.errors import InputError

# WHY: the csv module refuses fields over 128 KB by default, and a token may be longer (text without any space).
csv.field_size_limit(2**31 - 1)

_NEEDS_QUOTES: Final = re.compile(r'[,"\r\n]')
# WHY a pattern: float() also takes "1_0", " 1" and the digits of other scripts, which nothing here writes.
_NUMBER: Final = r"-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
_NUMBERS: Final = re.compile(rf"{_NUMBER}(?:,{_NUMBER})*")


def csv_line(cells: Iterable[object]) -> str:
    r"""Return one CSV line, ended by a line feed.

    WHY not csv.writer: it leaves a lone carriage return unquoted in some Python versions, and a character tokenizer
    makes that a token.

    Example:
        >>> csv_line(["a,b", 1])
        '"a,b",1\n'
    """
    return ",".join(map(_csv_cell, cells)) + "\n"


def _csv_cell(cell: object) -> str:
    text = str(cell)
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text


def read_csv(path: Path, header: Sequence[str] | None) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) for the rows of a CSV file, always as many cells as the header.

    Args:
        path: The file.
        header: The first line it must have; if None, the first line is yielded like the others.

    Raises:
        InputError: Wrong header, missing or extra cell, broken quoting, not UTF-8, or cut off; it names the line.
        OSError: The file cannot be read.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(_whole_lines(file, path), strict=True)
        try:
            found = next(reader, [])
            if header is None:
                yield reader.line_num, found
            elif found != list(header):
                raise InputError(f"{path}: the header is not {_shorten(header)} but {_shorten(found)}")
            for row in reader:
                if len(row) != len(found):
                    raise InputError(f"{path}, line {reader.line_num}: {len(row)} cells instead of {len(found)}")
                yield reader.line_num, row
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}: {error}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{path}, after line {reader.line_num}: not UTF-8 text") from error


def _whole_lines(lines: Iterable[str], path: Path) -> Iterator[str]:
    """Pass lines on; refuse a file whose last line has no end: a number in it may be cut short."""
    line = "\n"
    for line in lines:
        yield line
    if not line.endswith("\n"):
        raise InputError(f"{path}: the file is cut off in its last line")


def _shorten(cells: Sequence[str]) -> str:
    text = ",".join(cells)
    return repr(text if len(text) <= 60 else text[:57] + "...")


def parse_int(text: str, what: str) -> int:
    """Return the whole number of 0 or more in a cell; InputError, which calls it ``what``, if there is none.

    Example:
        >>> parse_int("12", "token_id")
        12
    """
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InputError(f"{what} is not a whole number: {text[:40]!r}")
    return int(text)


def parse_numbers(cells: Sequence[str], what: str) -> list[float]:
    """Return the finite numbers in cells; InputError, which calls it ``what``, if a cell holds something else.

    Example:
        >>> parse_numbers(["-0.25", "1e-05"], "weight")
        [-0.25, 1e-05]
    """
    # WHY joined: one match for a whole row is faster than one for each cell.
    if _NUMBERS.fullmatch(",".join(cells)):
        with suppress(ValueError):  # a cell has a comma in it
            numbers = list(map(float, cells))
            if all(map(isfinite, numbers)):
                return numbers
    bad = next(cell for cell in cells if not (re.fullmatch(_NUMBER, cell) and isfinite(float(cell))))
    raise InputError(f"{what} is not a finite number: {bad[:40]!r}")
