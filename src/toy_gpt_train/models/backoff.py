"""backoff.py - A model that other software counted: n-grams with probabilities, and weights for backing off.

    p(w | h) = what the list says, if it has the n-gram h w
    p(w | h) = weight(h) p(w | h without its oldest token), if it has not

Kneser-Ney, Katz and Witten-Bell count in different ways, and all of them end as such a list. ARPA files hold it
(exchange/arpa.py). The counts are gone, so the model is imported and never trained.

REQ: the V probabilities sum to 1, whatever a file says: they are divided by their sum. In a file that is right, that is
1 but for the digits it was written with.

Cost: 16 bytes per n-gram, and about 200 for each context that has followers. While one length is read and is not in
order, 50 bytes more for each n-gram of it.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import fsum
from typing import Any, Final, NamedTuple, Self

from toy_gpt_train.errors import InputError
from toy_gpt_train.math_training import argmax
from toy_gpt_train.models.base import NUMBER, TOKEN, Column, Content, Model, ModelTable, NGrams, OnStart, Record, Text
from toy_gpt_train.models.ngram_trie import as_text
from toy_gpt_train.models.scores import Prediction

ZERO: Final = -99.0  # log10 of what never happens, as ARPA files write it
_LARGEST: Final = 280.0  # WHY: the weights of all lengths are multiplied, and a float ends at 10 to the power of 308
_LOST: Final = 1e-6  # a difference that is so small a part has fewer than ten digits left


@dataclass(slots=True)
class Order:
    """The n-grams of one length: their contexts are numbered, and a key is number * V + token id."""

    numbers: dict[str, int] = field(default_factory=dict)  # of each context, one code point per token
    weights: "array[float]" = field(default_factory=lambda: array("d"))  # log10, of each context
    keys: "array[int]" = field(default_factory=lambda: array("Q"))  # of each n-gram, sorted
    logs: "array[float]" = field(default_factory=lambda: array("d"))  # log10 of the probability of each n-gram

    def number(self, context: str, weight: float = 0.0) -> int:
        """Return the number of a context; a new one gets the next number and the weight."""
        if (number := self.numbers.setdefault(context, len(self.weights))) == len(self.weights):
            self.weights.append(weight)
        return number

    def weight(self, context: str) -> float:
        """Return log10 of a context's weight."""
        return self.weights[self.numbers[context]] if context in self.numbers else 0.0

    def sort(self) -> None:
        """Sort the n-grams by key; ValueError if two are the same."""
        if any(key >= following for key, following in pairwise(self.keys)):
            places = sorted(range(len(self.keys)), key=self.keys.__getitem__)
            self.logs = array("d", map(self.logs.__getitem__, places))
            self.keys = array("Q", map(self.keys.__getitem__, places))
            if any(key == following for key, following in pairwise(self.keys)):
                raise ValueError("an n-gram occurs twice")


class Level(NamedTuple):
    """A context that has followers: the n-grams from ``begin`` to ``end`` of its order."""

    context: str
    weight: float  # what a shorter context's probability is multiplied by
    order: Order
    first: int  # the key that the token 0 has or would have
    begin: int
    end: int

    def probability(self, token_id: int) -> float | None:
        """Return the probability of a token; None if it never followed."""
        place = bisect_left(self.order.keys, self.first + token_id, self.begin, self.end)
        is_here = place < self.end and self.order.keys[place] == self.first + token_id
        return 10 ** self.order.logs[place] if is_here else None

    def followers(self) -> Iterator[tuple[int, float]]:
        """Yield the tokens that followed, by id, and their probabilities."""
        for place in range(self.begin, self.end):
            yield self.order.keys[place] - self.first, 10 ** self.order.logs[place]


class Summary(NamedTuple):
    """What is known of all V probabilities after a context, before they are divided by their sum."""

    total: float
    best: int  # the most likely token
    top: float  # its probability


class Backoff(Model):
    """N-grams of 1 to N + 1 tokens with probabilities, and back-off weights; ``orders`` has them by context length."""

    def __init__(self, vocab_size: int, context_size: int) -> None:
        super().__init__(vocab_size, context_size)
        self.orders: list[Order] = []
        self._summaries: dict[str, Summary] = {}

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any], most_numbers: int) -> Self:
        """Return an empty model; InputError if the metadata do not have a table for each length."""
        tables, context = len(meta["weights"]["rows"]), meta["context_size"]
        if tables != context + 1:
            raise InputError(f"{tables} tables of n-grams for a context of {context}")
        return super().from_meta(meta, most_numbers)

    @classmethod
    def min_tokens(cls, context: int) -> int:
        """Return 0: other software has read the text."""
        return 0

    def fit(self, text: Text, settings: Any, *, on_start: OnStart | None = None, **_: Any) -> Iterator[Record]:
        """Refuse, with InputError: see the registry."""
        raise InputError("a list of n-grams is imported, not trained")

    # --- predicting ----------------------------------------------------------------------------------------

    def levels(self, history: str) -> list[Level]:
        """Return the last 0, 1, 2, … tokens of a history, where these have followers."""
        found: list[Level] = []
        for length, order in enumerate(self.orders[: len(history) + 1]):
            context = history[len(history) - length :]
            if (number := order.numbers.get(context)) is not None:
                first = number * self.vocab_size
                begin = bisect_left(order.keys, first)
                end = bisect_left(order.keys, first + self.vocab_size, begin)
                # WHY: a weight alone changes all probabilities by the same factor, so dividing by the sum undoes it.
                if begin < end:
                    found.append(Level(context, 10 ** order.weights[number], order, first, begin, end))
        return found

    def next_probs(self, ids: Sequence[int], cache: Any = None) -> list[float]:
        """Return V probabilities; after fewer than N tokens, those of a shorter context."""
        shortest, *longer = self.levels(as_text(self.context(ids)))
        probs = [p for _, p in shortest.followers()]
        for level in longer:
            probs = [level.weight * p for p in probs]
            for token_id, p in level.followers():
                probs[token_id] = p
        total = fsum(probs)
        return [p / total for p in probs]

    def score(self, ids: Sequence[int], start: int = 0) -> Iterator[Prediction]:
        """Score a text: a few look-ups per token, and once for each context O(tokens that followed it)."""
        text = as_text(ids)
        for position in range(start, len(text)):
            levels = self.levels(text[max(position - self.context_size, 0) : position])
            after = self._summary(levels)
            p = _probability(levels, ids[position]) / after.total
            yield Prediction(p, after.best, len(levels[-1].context) == self.context_size)

    def _summary(self, levels: Sequence[Level]) -> Summary:
        *shorter, level = levels
        if (known := self._summaries.get(level.context)) is None:
            known = self._summaries[level.context] = self._summarize(shorter, level)
        return known

    def _summarize(self, shorter: Sequence[Level], level: Level) -> Summary:
        """Work out a summary from the followers of a context, and from the summary of the shorter one."""
        own = dict(level.followers())
        best = max(own, key=lambda i: (own[i], -i))
        if not shorter:
            return Summary(fsum(own.values()), best, own[best])
        below = self._summary(shorter)
        others = below.total - fsum(_probability(shorter, i) for i in own)  # of the tokens that never followed
        rival, top = below.best, level.weight * below.top  # none of them has more
        # WHY: the difference has lost its digits; or any of the others may be the most likely token. Both are rare.
        if others < _LOST * below.total or (rival in own and own[best] <= top):
            probs = [_probability((*shorter, level), i) for i in range(self.vocab_size)]
            return Summary(fsum(probs), argmax(probs), max(probs))
        if rival in own or (own[best], -best) > (top, -rival):
            rival, top = best, own[best]
        return Summary(fsum(own.values()) + level.weight * others, rival, top)

    # --- its content, for files ----------------------------------------------------------------------------

    def num_parameters(self) -> int:
        """Return the number of probabilities and weights."""
        return sum(len(order.logs) + len(order.weights) for order in self.orders)

    def ngrams(self) -> NGrams:
        """Refuse, with InputError: what the marks of a sentence were in its ARPA file is no longer known."""
        raise InputError("it was imported from an ARPA file, which says more than the run does: take that")

    def content(self) -> Content:
        """Return a table for each length."""
        columns_of = self.expected_tables("tables", ())
        tables = [
            ModelTable(
                ngrams_name(length + 1), columns_of[ngrams_name(length + 1)], len(order.keys), self._rows(length)
            )
            for length, order in enumerate(self.orders)
        ]
        return Content("tables", tables)

    def _rows(self, length: int) -> Iterator[tuple[Any, ...]]:
        """Yield the n-grams after contexts of this length: token ids, probability, and weight but for the longest."""
        order = self.orders[length]
        longer = self.orders[length + 1] if length < self.context_size else None
        for context in sorted(order.numbers):
            first = order.numbers[context] * self.vocab_size
            begin = bisect_left(order.keys, first)
            for place in range(begin, bisect_left(order.keys, first + self.vocab_size, begin)):
                ngram = context + chr(order.keys[place] - first)
                weight = () if longer is None else (longer.weight(ngram),)
                yield (*map(ord, ngram), order.logs[place], *weight)

    def expected_tables(self, layout: str, tokens: Sequence[str]) -> dict[str, tuple[Column, ...]]:
        """Return the columns of a table for each length: the tokens, and log10 of two numbers."""
        numbers = Column("log10_probability", NUMBER), Column("log10_back_off", NUMBER)
        return {
            ngrams_name(length): (
                *(Column(f"token_{i}", TOKEN) for i in range(1, length + 1)),
                *numbers[: 2 if length <= self.context_size else 1],
            )
            for length in range(1, self.context_size + 2)
        }

    def load_tables(self, tables: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        """Become the model that content() described; tables are read one after another, and held nowhere else."""
        self.orders = []
        self._summaries = {}
        longer = Order()
        longer.number("")
        for length in range(1, self.context_size + 2):
            order, longer = longer, Order()
            for row in tables[ngrams_name(length)]:
                ngram = "".join(map(chr, row[:length]))
                if not row[length] <= 0:
                    raise ValueError(f"{row[length]} is not the logarithm of a probability")
                order.keys.append(order.number(ngram[:-1]) * self.vocab_size + row[length - 1])
                order.logs.append(max(row[length], ZERO))
                if length <= self.context_size and row[length + 1] != 0:
                    if not row[length + 1] * self.context_size <= _LARGEST:
                        raise ValueError(f"the back-off weight {row[length + 1]} is out of all proportion")
                    longer.number(ngram, max(row[length + 1], ZERO))
            order.sort()
            self.orders.append(order)
        if len(self.orders[0].keys) != self.vocab_size:
            raise ValueError(f"{len(self.orders[0].keys)} 1-grams for {self.vocab_size} tokens")


def ngrams_name(length: int) -> str:
    """Return the name of the table of the n-grams of a length."""
    return f"02_ngrams_{length}.csv"


def _probability(levels: Sequence[Level], token_id: int) -> float:
    """Return what the list says of a token; the id V, which stands for no token, gets 0."""
    weight = 1.0
    for level in reversed(levels):
        if (p := level.probability(token_id)) is not None:
            return weight * p
        weight *= level.weight
    return 0.0
