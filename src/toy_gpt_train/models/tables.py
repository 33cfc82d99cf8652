"""tables.py - How a model describes its own content as tables, without knowing files.

A model beyond the plain table hands over its numbers as named tables of ids and numbers, and is rebuilt from such
tables. io_artifacts.py turns them into CSV, with tokens in place of ids, and back.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from toy_gpt_train.c_model import NextTokenModel

CONTEXT: Final = "context"
TOKEN: Final = "token"  # noqa: S105 - a kind of column
TEXT: Final = "text"
COUNT: Final = "count"
NUMBER: Final = "number"
NUMBER_BY_TOKEN: Final = "number by token"  # noqa: S105 - a kind of column


class Column(NamedTuple):
    """A column of a model's table.

    Attributes:
        name: Its header.
        holds: CONTEXT (a tuple of token ids, shown as a label), TOKEN (a token id, shown as the token), TEXT (any
            text), COUNT (a whole number of 0 or more), NUMBER (a finite float, written so that it reads back
            exactly), or NUMBER_BY_TOKEN (a NUMBER for each token of the vocabulary, in columns named by the tokens).
    """

    name: str
    holds: str


class ModelTable(NamedTuple):
    """One table of a model's content.

    Attributes:
        name: The artifact's file name, for example ``02_counts.csv``.
        columns: What its columns are called and hold.
        num_rows: How many rows there are; a file with another number is not whole.
        rows: The rows, in a fixed order.
    """

    name: str
    columns: tuple[Column, ...]
    num_rows: int
    rows: Iterable[tuple[Any, ...]]


class TabularModel(NextTokenModel, Protocol):
    """The face of a rung beyond the plain table: it describes itself as tables.

    Attributes:
        train_loss_on: What its train loss was measured on.
    """

    train_loss_on: ClassVar[str]

    def to_tables(self) -> list[ModelTable]:
        """Return all that is needed to become this model again."""

    def expect_tables(self, tokens: Sequence[str]) -> dict[str, tuple[Column, ...]]:
        """Get ready to be read; return the columns of each table that from_tables needs, by file name.

        Args:
            tokens: The vocabulary's tokens, by id.
        """

    def from_tables(self, tables: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        """Become the model that to_tables described; ValueError where the tables do not fit together."""


class CountingModel(TabularModel, Protocol):
    """The face of a rung that learns a text in one go, by counting most of it.

    Attributes:
        learning_rate: The step size of what gradient descent it does; 0 where it learns by counting alone.
    """

    learning_rate: ClassVar[float]

    def __init__(self, vocab_size: int, context_size: int) -> None: ...

    def fit(
        self,
        token_ids: Sequence[int],
        tokens: Sequence[str],
        *,
        seed: int = 0,
        on_progress: Callable[[float, str], None] | None = None,
    ) -> dict[str, float]:
        """Learn a text; return ``avg_loss`` and ``accuracy``, and the ``loss_floor`` of its longest contexts.

        Args:
            token_ids: The text.
            tokens: The vocabulary's tokens, by id.
            seed: For whatever is drawn at random.
            on_progress: Called with the fraction done and a few words.
        """
