"""mixture_tables.py - The names and columns of a mixture's tables, and of its tensors."""

from collections.abc import Sequence
from typing import Final

from toy_gpt_train.models.base import COUNT, TEXT, TOKEN, Column
from toy_gpt_train.models.views import LAGS, TEXT_VIEWS

WEIGHTS_NAME: Final = "04_mixing_weights.csv"
WORDS_NAME: Final = "05_words.csv"  # which number stands for which prefix or word, where the counts are no tables


def prefix_of(k: int) -> str:
    """Return what the names of an expert's tensors begin with."""
    return f"expert_{k + 1}."


def counts_name(k: int) -> str:
    """Return the name of an expert's table of counts."""
    return f"02_counts_{k + 1}.csv"


def counts_columns(names: Sequence[str]) -> tuple[Column, ...]:
    """Return its columns: the views of a context, the most important last, the token, and the count."""
    views = [Column(name, TOKEN if name in LAGS else TEXT if name in TEXT_VIEWS else COUNT) for name in reversed(names)]
    return (*views, Column("token", TOKEN), Column("count", COUNT))


def code_point(value: int) -> str:
    """Return the value of a view that is a number, as a code point; ValueError if it is none."""
    try:
        return chr(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{value} is not a value of a view") from None
