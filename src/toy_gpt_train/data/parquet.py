"""parquet.py - One column of parquet files, as text.

Concepts:
    parquet: a table in a file, stored column by column and compressed; the usual format of large text datasets.
    separator: what is written between two texts, so that a model can learn where one ends.

It needs the package pyarrow, and imports it only when it is used: pip install "toy-gpt-train[data]".
"""

from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.disk import whole_file
from toy_gpt_train.errors import InputError

BATCH_ROWS: Final = 256
BUFFER_BYTES: Final = 1 << 20


def optional_package(name: str) -> Any:
    """Import a package that this project works without; InputError says what to install if it is missing."""
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(f'this needs another package ({error}); run: pip install "toy-gpt-train[data]"') from error


def parquet_texts(paths: Sequence[Path], column: str) -> Iterator[str]:
    """Yield the texts of a column, file after file, a few rows in memory at a time; missing ones (null) are skipped.

    InputError if pyarrow is not installed, or a file is not parquet or has no such column of texts.
    """
    pyarrow = optional_package("pyarrow")
    parquet = optional_package("pyarrow.parquet")
    for path in paths:
        try:
            # WHY opened here: Python's own OSError names the file. WHY a buffer, and no reading ahead: otherwise a row
            # group's column is read at once, and some files are a single row group.
            with (
                path.open("rb") as stream,
                parquet.ParquetFile(stream, buffer_size=BUFFER_BYTES, pre_buffer=False) as file,
            ):
                _check_column(pyarrow, file.schema_arrow, column)
                for batch in file.iter_batches(BATCH_ROWS, columns=[column]):
                    yield from (text for text in batch.column(column).to_pylist() if text is not None)
        except (InputError, pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
            if isinstance(error, OSError) and error.filename is not None:
                raise
            raise InputError(f"{path}: {error}") from error


def _check_column(pyarrow: Any, schema: Any, column: str) -> None:
    types = {field.name: field.type for field in schema}
    listed = ", ".join(f"{name} ({kind})" for name, kind in types.items())
    if schema.names.count(column) != 1:
        many = "no" if column not in types else "more than one"
        raise InputError(f"there is {many} column {column!r}; there are {listed}")
    kind = types[column]
    texts = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
    if texts not in (pyarrow.string(), pyarrow.large_string(), pyarrow.string_view()):
        raise InputError(f"column {column!r} does not hold texts; there are {listed}")


def write_texts(out: Path, texts: Iterable[str], separator: str) -> tuple[int, int]:
    """Write texts to a file, which appears only when it is whole; return the number of texts and of bytes.

    The separator is written between each two. InputError if there is no text.
    """
    count = size = 0
    with whole_file(out) as file:
        for text in texts:
            size += file.write((separator if count else "").encode("utf-8") + text.encode("utf-8"))
            count += 1
        if count == 0:
            raise InputError(f"{out}: there is no text to write")
    return count, size
