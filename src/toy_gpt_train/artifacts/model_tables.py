"""model_tables.py - A model's tables as CSV files, with tokens in place of their ids.

It does not know models, only the kinds of columns that they have (models/base.py).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from toy_gpt_train import io_artifacts
from toy_gpt_train.artifacts.csv_files import csv_line, parse_int, parse_numbers, read_csv
from toy_gpt_train.errors import InputError
from toy_gpt_train.io_artifacts import NO_CONTEXT_LABEL, REST_MARK, context_label, escape_token
from toy_gpt_train.models.base import CONTEXT, COUNT, NUMBER, OTHER_TOKENS, TEXT, TOKEN, WEIGHT, Column, ModelTable

_LONGEST_CELL: Final = 64  # characters of a number or a word


def write_model_table(path: Path, table: ModelTable, tokens: Sequence[str]) -> None:
    """Write one table of a model; ``tokens`` are the vocabulary's, by id."""
    texts = [_text_of(column, tokens) for column in table.columns]
    columns = len(table.columns)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_line(_header(table.columns, tokens)))
        for row in table.rows:
            cells = [text(cell) for text, cell in zip(texts, row[: columns - 1], strict=False)]
            cells += map(texts[-1], row[columns - 1 :])  # the last column may stand for V columns
            file.write(csv_line(cells))


def _header(columns: Iterable[Column], tokens: Sequence[str]) -> list[str]:
    return [name for column in columns for name in (tokens if column.by_token else [column.name])]


def _text_of(column: Column, tokens: Sequence[str]) -> Callable[[Any], str]:
    if column.holds == CONTEXT:
        return lambda ids: context_label([tokens[i] for i in ids])
    if column.holds == TOKEN:
        return lambda token_id: tokens[token_id]
    if column.holds == OTHER_TOKENS:
        return lambda token_id: REST_MARK if token_id is None else escape_token(tokens[token_id])
    # WHY remembered: most weights of a table's row are equal.
    return lru_cache(10_000)(io_artifacts.format_number) if column.holds == WEIGHT else str


class TableReader:
    """Reads the tables of one run, and remembers where it is: a model may refuse a row after it was read.

    ``in_order``: the rows stand in the order of their contexts or numbers, and their labels may be anything.
    """

    def __init__(self, tokens: Sequence[str], context_size: int, *, in_order: bool = False) -> None:
        self._tokens = tokens
        self._ids = {token: token_id for token_id, token in enumerate(tokens)}
        self._context_size = context_size
        self._in_order = in_order
        self._may_split = not any("|" in token for token in tokens)
        self._index = 0  # of the row that was read last
        self.where = ""  # the file and the line that was read last

    def rows(self, path: Path, columns: Sequence[Column], num_rows: int) -> Iterator[tuple[Any, ...]]:
        """Yield the rows that write_model_table wrote, ids in place of tokens.

        InputError if the file is damaged, has more or fewer than ``num_rows``, or does not fit the vocabulary.
        """
        parts = list(self._parts(columns))
        count = 0
        for line, cells in read_csv(path, _header(columns, self._tokens), self._longest_row(columns)):
            self.where, self._index = f"{path}, line {line}:", count
            count += 1
            if count > num_rows:
                raise InputError(f"{path}: more rows than the {num_rows} that the metadata says")
            row: list[Any] = []
            for begin, end, parse in parts:
                row += parse(cells[begin:end])
            yield tuple(row)
        if count != num_rows:
            raise InputError(f"{path}: {count} rows where the metadata says {num_rows}")

    def _longest_row(self, columns: Sequence[Column]) -> int:
        token = max(map(len, self._tokens)) * 2 + 1  # escaped, and a bar
        longest = {CONTEXT: token * max(self._context_size, 1) + 20, TOKEN: token, OTHER_TOKENS: token}
        names = _header(columns, self._tokens)
        cells = sum(longest.get(column.holds, _LONGEST_CELL) for column in columns) + _LONGEST_CELL * len(names)
        return 2 * max(cells, sum(map(len, names))) + 3 * len(names) + 2  # each character may be a quote, written twice

    def _parts(self, columns: Sequence[Column]) -> Iterator[tuple[int, int, Callable[[list[str]], Iterable[Any]]]]:
        """Yield (begin, end, function) for runs of cells that hold the same; they are parsed at once."""
        parse: dict[str, Callable[[list[str]], Iterable[Any]]] = {
            CONTEXT: lambda cells: map(self._context_here if self._in_order else self._context, cells),
            TOKEN: lambda cells: map(self._token, cells),
            OTHER_TOKENS: lambda cells: [None if cell == REST_MARK else self._label(cell, 1)[0] for cell in cells],
            TEXT: lambda cells: [None] * len(cells) if self._in_order else cells,
            COUNT: lambda cells: [parse_int(cell, f"{self.where} count") for cell in cells],
            NUMBER: lambda cells: parse_numbers(cells, f"{self.where} weight"),
        }
        begin = 0
        for holds, side_by_side in groupby(columns, lambda column: column.holds):
            end = begin + sum(len(self._tokens) if column.by_token else 1 for column in side_by_side)
            yield begin, end, parse[NUMBER if holds == WEIGHT else holds]
            begin = end

    def _token(self, token: str) -> int:
        if (token_id := self._ids.get(token)) is None:
            raise InputError(f"{self.where} {token[:40]!r} is not in the vocabulary")
        return token_id

    def _context(self, label: str) -> tuple[int, ...]:
        if self._context_size > 0:
            return self._label(label, self._context_size)
        if label != NO_CONTEXT_LABEL:
            raise InputError(f"{self.where} the row is {label[:40]!r} instead of {NO_CONTEXT_LABEL!r}")
        return ()

    def _context_here(self, label: str) -> tuple[int, ...]:
        """Return the context of this row by its index; InputError if the label plainly names another one."""
        ids, rest = [0] * self._context_size, self._index
        for place in reversed(range(self._context_size)):
            rest, ids[place] = divmod(rest, len(self._tokens))
        names, wanted = label.split("|"), [self._tokens[i] for i in ids]
        if self._may_split and len(names) == len(ids) and self._ids.keys() >= {*names} and names != wanted:
            raise InputError(
                f"{self.where} the row of {label[:40]!r} where that of {'|'.join(wanted)[:40]!r} should be"
            )
        return tuple(ids)

    def _label(self, label: str, count: int) -> tuple[int, ...]:
        """Return the token ids of a label that names ``count`` tokens."""
        try:
            tokens = label.split("|") if "\\" not in label else io_artifacts.split_label(label)
        except ValueError as error:
            raise InputError(f"{self.where} {error}: {label[:40]!r}") from error
        if len(tokens) != count:
            raise InputError(f"{self.where} {label[:40]!r} names {len(tokens)} tokens instead of {count}")
        if not all(token in self._ids for token in tokens):
            raise InputError(f"{self.where} {label[:40]!r} has a token that is not in the vocabulary")
        return tuple(self._ids[token] for token in tokens)
