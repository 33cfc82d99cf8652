r"""mixer.py - A network of two layers: it adds what many say, each weighed, and learns the weights from every bit.

    p = squash(sum_i w_i x_i) = 1 / (1 + exp(-sum_i w_i x_i));  after the bit, w_i += rate (bit - p) x_i

The inputs x_i are on the scale of stretch(p) = log(p / (1 - p)), where evidence adds up; the step is the gradient of
the loss -log p(bit). The first layer has three neurons, each with many lists of weights, of which the case chooses one:

- ``met``: how many contexts were met before, and how long the repeat is;
- ``before``: the token before the last;
- ``new``: the node of the code, and the first of the contexts that is new here.

Each learns by itself. The second layer has one list of weights for each node, and adds their three sums.

Then two tables say what really came in such cases, after the last token and after the last two: each has a probability
for each of 25 values of the sum, with straight lines between them. The result is the mean of p and both.

Sources: Mahoney (2005), "Adaptive weighing of context models for lossless data compression"; for the lists that a case
chooses and the second layer, Mahoney (2013), "Data compression explained", on the mixer of PAQ8.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from math import exp, isfinite
from operator import add, mul
from typing import Any, Final, NamedTuple

from toy_gpt_train.math_training import add_up
from toy_gpt_train.models.base import COUNT, NUMBER, TEXT, Column, ModelTable
from toy_gpt_train.models.contexts import table_size

WEIGHTS_NAME: Final = "03_mixing_weights.csv"
SECOND_NAME: Final = "04_second_layer.csv"
CORRECTIONS: Final = ("corrections_1", "corrections_2")  # after the last token, and after the last two
SELECTORS: Final = ("met", "before", "new")  # what chooses the weights of the first layer
_FIRST_WEIGHT: Final = 0.15
_EQUAL: Final = [1 / len(SELECTORS)] * len(SELECTORS)
_SECOND_RATE: Final = 0.1  # of the second layer, as a share of that of the first
# WHY: a bit that was as good as certain teaches hardly anything. OBS: on Tiny Shakespeare two fifths of them were, and
# the loss is the same without their steps.
_CERTAIN: Final = 0.02
_BUCKETS: Final = 24  # of the sum, from -8 to 8
_POINTS: Final = _BUCKETS + 1
_CASES: Final = (1 << 6, 1 << 17)  # tables of corrections, the fewest and the most
_SHARE: Final = 8  # tokens for each
_SPREAD: Final = 0x9E3779B1  # odd: the cases of a token lie far apart
_LARGEST_WEIGHT: Final = 1000.0  # in a file that is read
_LEAST: Final = 1e-5  # no bit is less likely


def squash(score: float) -> float:
    """Return the probability with these log-odds, which stretch() undoes; beyond 12 it is that of 12.

    Example:
        >>> squash(0.0), round(squash(1.0986123), 6)
        (0.5, 0.75)
    """
    return 1 / (1 + exp(-score)) if -12 < score < 12 else 1 / (1 + exp(-12 if score > 0 else 12))


UNCORRECTED: Final = tuple(squash(16 * i / _BUCKETS - 8) for i in range(_POINTS))


class Mixed(NamedTuple):
    """What the inputs came to."""

    inputs: Sequence[float]
    node: int
    chosen: Sequence[int]  # the value of each selector
    weights: Sequence[list[float]]  # of each selector
    scores: Sequence[float]  # the sum of each
    second: list[float]  # the weights of these sums
    score: float  # their sum
    cases: tuple[int, int]  # where the two tables of corrections begin
    bucket: float  # where the score lies in them
    p: float  # the probability of a 1


class Mixer:
    """The weights of both layers, none where nothing was learned yet; and two lists of tables of corrections."""

    def __init__(self, names: Sequence[str], num_tokens: int) -> None:
        self._names = names  # of the inputs
        self._first = [_FIRST_WEIGHT] * len(names)
        self.weights: list[dict[int, list[float]]] = [{} for _ in SELECTORS]  # by value
        self.second: dict[int, list[float]] = {}  # by node
        self._num_cases = table_size(num_tokens // _SHARE, _CASES)
        # WHY of 32 bits: memory, there are millions.
        self.corrections = [array("f", UNCORRECTED) * self._num_cases for _ in range(2)]

    def copy(self) -> "Mixer":
        """Return a mixer of its own with the same weights."""
        twin = copy(self)
        # The lists are replaced, never changed.
        twin.weights, twin.second = [dict(by_value) for by_value in self.weights], dict(self.second)
        twin.corrections = [tables[:] for tables in self.corrections]
        return twin

    def num_numbers(self) -> int:
        """Return the number of weights and corrections."""
        weights = sum(map(len, self.weights)) * len(self._names) + len(self.second) * len(SELECTORS)
        return weights + sum(map(len, self.corrections))

    def mix(self, inputs: Sequence[float], node: int, last: tuple[int, int], kind: tuple[int, int]) -> Mixed:
        """Predict the bit at a node after two tokens, the last first.

        ``kind`` is what memory.py says of the case: the values of the selectors "met" and "new".
        """
        (previous, before), (met, new), unused = last, kind, self._first
        by_met, by_before, by_new = self.weights
        weights = by_met.get(met, unused), by_before.get(before, unused), by_new.get(new, unused)
        scores = [add_up(map(mul, vector, inputs)) for vector in weights]
        second = self.second.get(node, _EQUAL)
        score = add_up(map(mul, second, scores))
        bucket = ((score if -7.99 < score < 7.99 else 7.99 if score > 0 else -7.99) + 8) * (_BUCKETS / 16)
        low = int(bucket)
        share = bucket - low
        case, mask = previous * _SPREAD + node, self._num_cases - 1
        first_case, second_case = (case & mask) * _POINTS, ((case + before) * _SPREAD >> 15 & mask) * _POINTS
        (table, other_table), here, there = self.corrections, first_case + low, second_case + low
        one = table[here] + share * (table[here + 1] - table[here])
        other = other_table[there] + share * (other_table[there + 1] - other_table[there])
        p = (squash(score) + one + other) / 3
        p = p if _LEAST < p < 1 - _LEAST else _LEAST if p < 0.5 else 1 - _LEAST
        chosen, cases = (met, before, new), (first_case, second_case)
        return Mixed(inputs, node, chosen, weights, scores, second, score, cases, bucket, p)

    def learn(self, mixed: Mixed, bit: int, rate: float, correction_rate: float) -> None:
        """Take a step of gradient descent, and move the nearest corrections by a share of the way to the bit."""
        if abs(bit - mixed.p) > _CERTAIN:
            # WHY the weights of now: another bit of the same token may have changed them since this one was predicted.
            inputs = mixed.inputs
            for by_value, value, score in zip(self.weights, mixed.chosen, mixed.scores, strict=True):
                step = rate * (bit - squash(score))
                weights = by_value.get(value, self._first)
                by_value[value] = list(map(add, weights, [step * x for x in inputs]))
            step = _SECOND_RATE * rate * (bit - squash(mixed.score))
            weights = self.second.get(mixed.node, _EQUAL)
            self.second[mixed.node] = [w + step * score for w, score in zip(weights, mixed.scores, strict=True)]
        nearest = round(mixed.bucket)
        for table, start in zip(self.corrections, mixed.cases, strict=True):
            table[start + nearest] += correction_rate * (bit - table[start + nearest])

    # --- its content, for files ----------------------------------------------------------------------------

    def columns(self) -> dict[str, tuple[Column, ...]]:
        """Return the columns of its tables."""
        weights = (Column(name, NUMBER) for name in self._names)
        second = (Column(selector, NUMBER) for selector in SELECTORS)
        return {
            WEIGHTS_NAME: (Column("selector", TEXT), Column("value", COUNT), *weights),
            SECOND_NAME: (Column("node", COUNT), *second),
        }

    def tables(self) -> list[ModelTable]:
        """Return the weights of both layers."""
        first: list[tuple[Any, ...]] = [
            (selector, value, *vector)
            for selector, by_value in zip(SELECTORS, self.weights, strict=True)
            for value, vector in sorted(by_value.items())
        ]
        second = [(node, *vector) for node, vector in sorted(self.second.items())]
        rows = zip(self.columns().items(), (first, second), strict=True)
        return [ModelTable(name, columns, len(lines), lines) for (name, columns), lines in rows]

    def load_tables(self, tables: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        """Take the weights back; ValueError if they do not fit."""
        by_selector = dict(zip(SELECTORS, self.weights, strict=True))
        for selector, value, *vector in tables[WEIGHTS_NAME]:
            if selector not in by_selector:
                raise ValueError(f"the weights of {selector[:20]!r} are unknown")
            _take(by_selector[selector], value, vector)
        for node, *vector in tables[SECOND_NAME]:
            _take(self.second, node, vector)

    def arrays(self) -> "dict[str, array[float]]":
        """Return the corrections, by name."""
        return dict(zip(CORRECTIONS, self.corrections, strict=True))

    def load_arrays(self, arrays: "Mapping[str, array[float]]") -> None:
        """Take the corrections back; ValueError if one is no probability."""
        self.corrections = [arrays[name] for name in CORRECTIONS]
        # WHY the sum: min and max do not see every NaN.
        if not all(min(t) >= 0 and max(t) <= 1 and isfinite(sum(t)) for t in self.corrections):
            raise ValueError("a correction is not a probability")


def _take(weights: dict[int, list[float]], value: int, vector: list[float]) -> None:
    """Add a list of weights from a file; ValueError if there is one, or if it cannot be."""
    if value in weights:
        raise ValueError(f"the weights of {value} are given twice")
    if not max(map(abs, vector)) <= _LARGEST_WEIGHT:
        raise ValueError(f"a weight out of all proportion: {max(vector, key=abs)}")
    weights[value] = vector
