r"""mixer.py - A network of one neuron: it adds what many say, each weighed, and learns the weights from every bit.

    p = squash(sum_i w_i x_i) = 1 / (1 + exp(-sum_i w_i x_i));  after the bit, w_i += rate (bit - p) x_i

The inputs x_i are on the scale of stretch(p) = log(p / (1 - p)), where evidence adds up; the step is the gradient of
the loss -log p(bit). There is a list of weights for each node of the code, one for each previous token, and one for
each number of contexts that were met before, together with the length of a repeat: each learns by itself, and the mean
of their three sums counts. Then a table corrects p by what really came in such cases: it has a probability for each of
25 values of the sum, with straight lines between them, and p becomes the mean of both.

Source: Mahoney (2005), "Adaptive weighing of context models for lossless data compression".
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import exp
from operator import mul
from typing import Any, Final, NamedTuple

from toy_gpt_train.math_training import add_up
from toy_gpt_train.models.base import COUNT, NUMBER, TEXT, Column, ModelTable

WEIGHTS_NAME: Final = "03_mixing_weights.csv"
CORRECTIONS_NAME: Final = "04_corrections.csv"
SELECTORS: Final = ("node", "previous", "met")  # what chooses the weights
_FIRST_WEIGHT: Final = 0.3
_CORRECTION_RATE: Final = 0.02
_BUCKETS: Final = 24  # of the sum, from -8 to 8
_CASES: Final = 1 << 14  # tables of corrections at most
_LARGEST_WEIGHT: Final = 1000.0  # in a file that is read
_LEAST: Final = 1e-5  # no bit is less likely


def squash(score: float) -> float:
    """Return the probability with these log-odds, which stretch() undoes; beyond 12 it is that of 12.

    Example:
        >>> squash(0.0), round(squash(1.0986123), 6)
        (0.5, 0.75)
    """
    return 1 / (1 + exp(-score)) if -12 < score < 12 else 1 / (1 + exp(-12 if score > 0 else 12))


UNCORRECTED: Final = tuple(squash(16 * i / _BUCKETS - 8) for i in range(_BUCKETS + 1))


class Mixed(NamedTuple):
    """What the inputs came to."""

    inputs: Sequence[float]
    chosen: Sequence[int]  # the value of each selector
    weights: Sequence[list[float]]  # of each selector
    probabilities: Sequence[float]  # of a 1, by each selector's weights
    case: int  # the table of corrections
    bucket: float  # where the sum lies in it
    p: float  # the probability of a 1


class Mixer:
    """The weights by selector and value, and the corrections by case; there is none where nothing was learned yet."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names  # of the inputs
        self._first = [_FIRST_WEIGHT] * len(names)
        self.weights: list[dict[int, list[float]]] = [{} for _ in SELECTORS]
        self.corrections: dict[int, list[float]] = {}

    def copy(self) -> "Mixer":
        """Return a mixer of its own with the same weights."""
        twin = Mixer(self._names)
        twin.weights = [dict(by_value) for by_value in self.weights]  # the lists are replaced, never changed
        twin.corrections = {case: list(table) for case, table in self.corrections.items()}
        return twin

    def num_numbers(self) -> int:
        """Return the number of weights and corrections."""
        return sum(map(len, self.weights)) * len(self._names) + len(self.corrections) * (_BUCKETS + 1)

    def mix(self, inputs: Sequence[float], node: int, previous: int, met: int) -> Mixed:
        """Predict the bit at a node after a token; the three numbers choose weights."""
        chosen = node, previous, met
        weights = [by_value.get(value, self._first) for by_value, value in zip(self.weights, chosen, strict=True)]
        scores = [add_up(map(mul, vector, inputs)) for vector in weights]
        score = add_up(scores) / len(scores)
        bucket = ((score if -7.99 < score < 7.99 else 7.99 if score > 0 else -7.99) + 8) * (_BUCKETS / 16)
        low = int(bucket)
        case = (previous * 65 + node) % _CASES
        table = self.corrections.get(case, UNCORRECTED)
        p = (squash(score) + table[low] + (bucket - low) * (table[low + 1] - table[low])) / 2
        p = p if _LEAST < p < 1 - _LEAST else _LEAST if p < 0.5 else 1 - _LEAST
        return Mixed(inputs, chosen, weights, list(map(squash, scores)), case, bucket, p)

    def learn(self, mixed: Mixed, bit: int, rate: float) -> None:
        """Take a step of gradient descent, and move the nearest correction towards the bit."""
        inputs = mixed.inputs
        for by_value, value, p in zip(self.weights, mixed.chosen, mixed.probabilities, strict=True):
            step = rate * (bit - p)
            # WHY the weights of now: another bit of the same token may have changed them since this one was predicted.
            weights = by_value.get(value, self._first)
            by_value[value] = [weight + step * x for weight, x in zip(weights, inputs, strict=True)]
        table = self.corrections.setdefault(mixed.case, list(UNCORRECTED))
        nearest = round(mixed.bucket)
        table[nearest] += _CORRECTION_RATE * (bit - table[nearest])

    # --- its content, for files ----------------------------------------------------------------------------

    def columns(self) -> dict[str, tuple[Column, ...]]:
        """Return the columns of its tables."""
        weights = (Column(name, NUMBER) for name in self._names)
        corrected = (Column(f"{16 * i / _BUCKETS - 8:.2f}", NUMBER) for i in range(_BUCKETS + 1))
        return {
            WEIGHTS_NAME: (Column("selector", TEXT), Column("value", COUNT), *weights),
            CORRECTIONS_NAME: (Column("case", COUNT), *corrected),
        }

    def tables(self) -> Iterator[ModelTable]:
        """Yield its tables."""
        columns = self.columns()
        weights: list[tuple[Any, ...]] = [
            (selector, value, *vector)
            for selector, by_value in zip(SELECTORS, self.weights, strict=True)
            for value, vector in sorted(by_value.items())
        ]
        corrections = [(case, *table) for case, table in sorted(self.corrections.items())]
        yield ModelTable(WEIGHTS_NAME, columns[WEIGHTS_NAME], len(weights), weights)
        yield ModelTable(CORRECTIONS_NAME, columns[CORRECTIONS_NAME], len(corrections), corrections)

    def load(self, tables: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        """Take the tables back; ValueError if they do not fit."""
        by_selector = dict(zip(SELECTORS, self.weights, strict=True))
        for selector, value, *vector in tables[WEIGHTS_NAME]:
            if selector not in by_selector or value in by_selector[selector]:
                raise ValueError(f"the weights of {selector[:20]!r} {value} are unknown or given twice")
            if not max(map(abs, vector)) <= _LARGEST_WEIGHT:
                raise ValueError(f"a weight out of all proportion: {max(vector, key=abs)}")
            by_selector[selector][value] = vector
        for case, *table in tables[CORRECTIONS_NAME]:
            if case in self.corrections or not all(0 <= p <= 1 for p in table):
                raise ValueError(f"the corrections of case {case} are given twice, or are not probabilities")
            self.corrections[case] = table
