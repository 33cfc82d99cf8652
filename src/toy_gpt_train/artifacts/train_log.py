"""train_log.py - outputs/train_log.csv: ``epoch,avg_loss,accuracy``, and whatever else was measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from toy_gpt_train.artifacts.csv_files import csv_line, parse_numbers, read_csv
from toy_gpt_train.errors import InputError
from toy_gpt_train.io_artifacts import LOG_COLUMNS, format_number

_LONGEST_ROW: Final = 10_000  # characters


def write_training_log(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write one line per record; all records have the same keys."""
    columns = list(dict.fromkeys([*LOG_COLUMNS, *(history[0] if history else ())]))  # each once
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_line(columns))
        for record in history:
            file.write(csv_line(format_number(record[column]) for column in columns))


def read_training_log(path: Path, most_records: int) -> list[dict[str, float]]:
    """Return the records of a log, none if there is no file; InputError if it is damaged or too long."""
    if not path.is_file():
        return []
    rows = read_csv(path, None, _LONGEST_ROW)
    _, columns = next(rows)
    if columns[: len(LOG_COLUMNS)] != LOG_COLUMNS:
        raise InputError(f"{path}: the header does not begin with {','.join(LOG_COLUMNS)}")
    history: list[dict[str, float]] = []
    for line, cells in rows:
        if len(history) == most_records:
            raise InputError(f"{path}: more than {most_records} records, which is all that training can have made")
        history.append(dict(zip(columns, parse_numbers(cells, f"{path}, line {line}: a cell"), strict=True)))
    return history
