"""hub.py - A dataset of the Hugging Face hub, as text.

Concepts:
    dataset: a table with a name on the hub, such as roneneldan/TinyStories; a local folder of data files works too.
    config, split: a dataset can have several versions (configs), each with several parts (train, validation, test).
    streaming: rows are fetched as they are read, so the first thousand rows do not cost the whole dataset.

It needs the package datasets, and imports it only when it is used: pip install "toy-gpt-train[data]".
"""

from collections.abc import Generator

from toy_gpt_train.data.parquet import optional_package
from toy_gpt_train.errors import InputError


def hub_texts(
    name: str, column: str, *, config: str | None = None, data_dir: str | None = None, split: str = "train"
) -> Generator[str, None, None]:
    """Yield the texts of a column of a dataset, or of a folder in it, streaming; missing ones (null) are skipped.

    InputError if datasets is not installed, or the dataset, config, split or column is not available.
    """
    datasets = optional_package("datasets")
    # WHY Exception: half a dozen libraries raise theirs here, and none of them is a bug of ours.
    try:
        dataset = datasets.load_dataset(name, config, data_dir=data_dir, split=split, streaming=True)
        columns = dataset.column_names or list(next(iter(dataset), {}))
        if column not in columns:
            raise InputError(f"there is no column {column!r}; there are {', '.join(columns)}")
        for row in dataset.select_columns([column]):
            if (text := row[column]) is None:
                continue
            if not isinstance(text, str):
                raise InputError(f"column {column!r} does not hold texts but {type(text).__name__}")
            yield text
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    except Exception as error:
        first_line = next(iter(str(error).splitlines()), "")
        raise InputError(f"{name}: {type(error).__name__}: {first_line:.300}") from error
