"""csv_files.py - CSV by RFC 4180: written so that it reads back exactly, read so that damage is refused."""

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
LONGEST_ROW: Final = 1 << 26  # characters
_NEEDS_QUOTES: Final = re.compile(r'[,"\r\n]')
# WHY a pattern: float() also takes "1_0", " 1" and the digits of other scripts, which nothing here writes.
_NUMBER: Final = r"-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
_NUMBERS: Final = re.compile(rf"{_NUMBER}(?:,{_NUMBER})*")


def csv_line(cells: Iterable[object]) -> str:
    r"""Return one CSV line, ended by a line feed.

    Example:
        >>> csv_line(["a,b", 1])
        '"a,b",1\n'
    """
    # WHY not csv.writer: some Python versions leave a lone carriage return, which can be a token, unquoted.
    return ",".join(map(_csv_cell, cells)) + "\n"


def _csv_cell(cell: object) -> str:
    text = str(cell)
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text


def read_csv(
    path: Path, header: Sequence[str] | None, longest_row: int = LONGEST_ROW
) -> Iterator[tuple[int, list[str]]]:
    """Yield each row of a CSV file with its line number. Memory holds one row of at most ``longest_row`` characters.

    InputError, which names the line, if it was not written here. Without a ``header`` the first line is a row too.
    """
    size = 0  # of the row so far: a cell in quotes may have line ends

    def lines() -> Iterator[str]:
        nonlocal size
        last = "\n"
        while line := file.readline(longest_row + 1):
            size += len(line)
            if size > longest_row:
                raise InputError(f"{path}, line {reader.line_num + 1}: longer than any row of it can be")
            yield line
            last = line
        if not last.endswith("\n"):  # a number in it may be cut short
            raise InputError(f"{path}: the file is cut off in its last line")

    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(lines(), strict=True)
        try:
            found = next(reader, [])
            if header is None:
                yield reader.line_num, found
            elif found != list(header):
                raise InputError(f"{path}: the header is not {','.join(header)!r:.60} but {','.join(found)!r:.60}")
            size = 0
            for row in reader:
                size = 0
                if len(row) != len(found):
                    raise InputError(f"{path}, line {reader.line_num}: {len(row)} cells instead of {len(found)}")
                yield reader.line_num, row
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}: {error}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{path}, after line {reader.line_num}: not UTF-8 text") from error


def parse_int(text: str, what: str) -> int:
    """Return the whole number of 0 or more in a cell; InputError, which calls it ``what``, if there is none."""
    # WHY no 08: the explorer compares labels as they are written.
    if not (text.isascii() and text.isdigit() and len(text) < 19) or (text[0] == "0" and text != "0"):
        raise InputError(f"{what} is not a whole number: {text[:40]!r}")
    return int(text)


def parse_numbers(cells: Sequence[str], what: str) -> list[float]:
    """Return the finite numbers in cells; InputError, which calls it ``what``, if a cell holds something else."""
    # WHY joined: one match for a whole row is faster than one for each cell.
    if _NUMBERS.fullmatch(",".join(cells)):
        with suppress(ValueError):  # a cell has a comma in it
            numbers = list(map(float, cells))
            if all(map(isfinite, numbers)):
                return numbers
    bad = next(cell for cell in cells if not (re.fullmatch(_NUMBER, cell) and isfinite(float(cell))))
    raise InputError(f"{what} is not a finite number: {bad[:40]!r}")
