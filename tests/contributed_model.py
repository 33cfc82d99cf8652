"""contributed_model.py - A new model in one file: Witten and Bell (1991), "The zero-frequency problem", method C.

How likely is something new after a context? T(h) different tokens have followed it, so T(h) times something new came:

    p(w | h) = (c(h w) + T(h) p(w | h without its oldest token)) / (c(h) + T(h)); when no token is left, 1/V
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from toy_gpt_train.models.base import CONTEXT, COUNT, TOKEN, Column, Content, Model, ModelTable, Record, Text
from toy_gpt_train.models.ngram_table import training_pairs
from toy_gpt_train.models.scores import summarize


class WittenBell(Model):
    """The counts of what followed every context of 0 to N tokens."""

    default_context = 2

    def __init__(self, vocab_size: int, context_size: int) -> None:
        super().__init__(vocab_size, context_size)
        self.after: dict[tuple[int, ...], Counter[int]] = {}

    def _count(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for context, token_id, count in rows:
            for start in range(len(context) + 1):
                self.after.setdefault(context[start:], Counter())[token_id] += count

    def fit(self, text: Text, settings: Any = None, **_: Any) -> Iterator[Record]:
        ids = text.ids[: text.num_train]
        self._count((*pair, 1) for pair in training_pairs(ids, self.context_size))
        scores = summarize(zip(self.score(ids, self.context_size), ids[self.context_size :], strict=True))
        yield {"epoch": 1, "avg_loss": scores.loss, "accuracy": scores.accuracy}

    def next_probs(self, ids: Sequence[int], cache: Any = None) -> list[float]:
        context = self.context(ids)
        probs = [1 / self.vocab_size] * self.vocab_size
        for start in range(len(context), -1, -1):
            if counts := self.after.get(context[start:]):
                new, total = len(counts), counts.total()
                probs = [(counts[token_id] + new * p) / (total + new) for token_id, p in enumerate(probs)]
        return probs

    def num_parameters(self) -> int:
        return sum(map(len, self.after.values()))

    def content(self) -> Content:
        longest = sorted(context for context in self.after if len(context) == self.context_size)
        rows = [(context, *pair) for context in longest for pair in sorted(self.after[context].items())]
        columns = self.expected_tables("tables", ())["02_counts.csv"]
        return Content("tables", [ModelTable("02_counts.csv", columns, len(rows), rows)])

    def expected_tables(self, layout: str, tokens: Sequence[str]) -> dict[str, tuple[Column, ...]]:
        return {"02_counts.csv": (Column("context", CONTEXT), Column("token", TOKEN), Column("count", COUNT))}

    def load_tables(self, tables: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        self._count(tables["02_counts.csv"])
