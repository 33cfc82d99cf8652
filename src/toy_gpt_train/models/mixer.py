r"""mixer.py - A network of one neuron: it adds what many say, each weighed, and learns the weights from every bit.

    p = squash(sum_i w_i x_i) = 1 / (1 + exp(-sum_i w_i x_i));  after the bit, w_i += rate (bit - p) x_i

The inputs x_i are on the scale of stretch(p) = log(p / (1 - p)), where evidence adds up; the step is the gradient of
the loss -log p(bit). There is a list of weights for each node of the code, one for each previous token, and one for
each number of contexts that were met before, together with the length of a repeat: each learns by itself, and the mean
of their three sums counts. Then two tables say what really came in such cases, after the last token and after the last
two: each has a probability for each of 25 values of the sum, with straight lines between them. The result is the mean
of p and both.

Source: Mahoney (2005), "Adaptive weighing of context models for lossless data compression".
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from math import exp, isfinite
from operator import mul
from typing import Any, Final, NamedTuple

from toy_gpt_train.math_training import add_up
from toy_gpt_train.models.base import COUNT, NUMBER, TEXT, Column, ModelTable
from toy_gpt_train.models.contexts import table_size

WEIGHTS_NAME: Final = "03_mixing_weights.csv"
CORRECTIONS: Final = ("corrections_1", "corrections_2")  # after the last token, and after the last two
SELECTORS: Final = ("node", "previous", "met")  # what chooses the weights
_FIRST_WEIGHT: Final = 0.3
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
    chosen: Sequence[int]  # the value of each selector
    weights: Sequence[list[float]]  # of each selector
    probabilities: Sequence[float]  # of a 1, by each selector's weights
    cases: tuple[int, int]  # where the two tables of corrections begin
    bucket: float  # where the sum lies in them
    p: float  # the probability of a 1


class Mixer:
    """The weights by selector and value, none where nothing was learned yet; and two lists of tables of corrections."""

    def __init__(self, names: Sequence[str], num_tokens: int) -> None:
        self._names = names  # of the inputs
        self._first = [_FIRST_WEIGHT] * len(names)
        self.weights: list[dict[int, list[float]]] = [{} for _ in SELECTORS]
        self._num_cases = table_size(num_tokens // _SHARE, _CASES)
        # WHY of 32 bits: memory, there are millions.
        self.corrections = [array("f", UNCORRECTED) * self._num_cases for _ in range(2)]

    def copy(self) -> "Mixer":
        """Return a mixer of its own with the same weights."""
        twin = copy(self)
        twin.weights = [dict(by_value) for by_value in self.weights]  # the lists are replaced, never changed
        twin.corrections = [tables[:] for tables in self.corrections]
        return twin

    def num_numbers(self) -> int:
        """Return the number of weights and corrections."""
        return sum(map(len, self.weights)) * len(self._names) + sum(map(len, self.corrections))

    def mix(self, inputs: Sequence[float], node: int, last: tuple[int, int], kind: int) -> Mixed:
        """Predict the bit at a node after two tokens, the last first; they and the kind of case choose weights."""
        previous, before = last
        chosen = node, previous, kind
        weights = [by_value.get(value, self._first) for by_value, value in zip(self.weights, chosen, strict=True)]
        scores = [add_up(map(mul, vector, inputs)) for vector in weights]
        score = add_up(scores) / len(scores)
        bucket = ((score if -7.99 < score < 7.99 else 7.99 if score > 0 else -7.99) + 8) * (_BUCKETS / 16)
        low = int(bucket)
        case = previous * _SPREAD + node
        mask = self._num_cases - 1
        cases = (case & mask) * _POINTS, ((case + before) * _SPREAD >> 15 & mask) * _POINTS
        p = squash(score)
        for table, start in zip(self.corrections, cases, strict=True):
            here = start + low
            p += table[here] + (bucket - low) * (table[here + 1] - table[here])
        p /= 3
        p = p if _LEAST < p < 1 - _LEAST else _LEAST if p < 0.5 else 1 - _LEAST
        return Mixed(inputs, chosen, weights, list(map(squash, scores)), cases, bucket, p)

    def learn(self, mixed: Mixed, bit: int, rate: float, correction_rate: float) -> None:
        """Take a step of gradient descent, and move the nearest corrections by a share of the way to the bit."""
        inputs = mixed.inputs
        for by_value, value, p in zip(self.weights, mixed.chosen, mixed.probabilities, strict=True):
            step = rate * (bit - p)
            # WHY the weights of now: another bit of the same token may have changed them since this one was predicted.
            weights = by_value.get(value, self._first)
            by_value[value] = [weight + step * x for weight, x in zip(weights, inputs, strict=True)]
        nearest = round(mixed.bucket)
        for table, start in zip(self.corrections, mixed.cases, strict=True):
            table[start + nearest] += correction_rate * (bit - table[start + nearest])

    # --- its content, for files ----------------------------------------------------------------------------

    def columns(self) -> dict[str, tuple[Column, ...]]:
        """Return the columns of its table."""
        weights = (Column(name, NUMBER) for name in self._names)
        return {WEIGHTS_NAME: (Column("selector", TEXT), Column("value", COUNT), *weights)}

    def table(self) -> ModelTable:
        """Return the weights."""
        rows: list[tuple[Any, ...]] = [
            (selector, value, *vector)
            for selector, by_value in zip(SELECTORS, self.weights, strict=True)
            for value, vector in sorted(by_value.items())
        ]
        return ModelTable(WEIGHTS_NAME, self.columns()[WEIGHTS_NAME], len(rows), rows)

    def load_table(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Take the weights back; ValueError if they do not fit."""
        by_selector = dict(zip(SELECTORS, self.weights, strict=True))
        for selector, value, *vector in rows:
            if selector not in by_selector or value in by_selector[selector]:
                raise ValueError(f"the weights of {selector[:20]!r} {value} are unknown or given twice")
            if not max(map(abs, vector)) <= _LARGEST_WEIGHT:
                raise ValueError(f"a weight out of all proportion: {max(vector, key=abs)}")
            by_selector[selector][value] = vector

    def arrays(self) -> "dict[str, array[float]]":
        """Return the corrections, by name."""
        return dict(zip(CORRECTIONS, self.corrections, strict=True))

    def load_arrays(self, arrays: "Mapping[str, array[float]]") -> None:
        """Take the corrections back; ValueError if one is no probability."""
        self.corrections = [arrays[name] for name in CORRECTIONS]
        # WHY the sum: min and max do not see every NaN.
        if not all(min(t) >= 0 and max(t) <= 1 and isfinite(sum(t)) for t in self.corrections):
            raise ValueError("a correction is not a probability")
