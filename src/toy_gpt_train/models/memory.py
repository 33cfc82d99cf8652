"""memory.py - What context mixing knows of a text: counters, runs and repeats, and what they say about a decision.

Three kinds of opinion become the inputs of the mixer. Counters (counters.py) say how likely a 1 is in each context,
runs (runs.py) what came last in it, and the repeat (repeats.py) what followed when the last tokens were the same.
"""

from array import array
from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, Final, NamedTuple, Self

from toy_gpt_train.models.base import Column, ModelTable
from toy_gpt_train.models.contexts import Contexts
from toy_gpt_train.models.counters import Counters
from toy_gpt_train.models.repeats import LONGEST, REPEATS_COLUMNS, REPEATS_NAME, Repeats
from toy_gpt_train.models.runs import RUNS_COLUMNS, RUNS_NAME, Runs
from toy_gpt_train.models.token_code import TokenCode
from toy_gpt_train.models.views import LAGS

_BIAS: Final = 0.3
_SURER: Final = (0, 12, 20)  # lengths of a repeat, from which on it has other weights

Bits = Mapping[int, int]  # the bit at each node on the way to a token


class Place(NamedTuple):
    """What is known before a token."""

    numbers: tuple[int, ...]  # of the K contexts
    tags: list[int]
    runs: list[tuple[Bits, int, float]]  # of each plain context: to what came last, how often, and its log-odds
    repeat_number: int  # by which a repeat is found
    repeat: Bits  # to the token that it tells
    length: int  # of the repeat
    last: tuple[int, int]  # the last token and the one before it, V + 1 at the beginning


class Opinion(NamedTuple):
    """What is said about one decision."""

    inputs: list[float]  # of the mixer
    kind: tuple[int, int]  # of case: the values of the mixer's selectors "met" and "new"


class Memory:
    """Counters, runs and repeats of the text that was read.

    Args:
        tokens: The vocabulary, by id.
        frequencies: How often the text has each token; sizes follow from them.
        code: The decisions for each token.
    """

    def __init__(self, tokens: Sequence[str], frequencies: Sequence[int], code: TokenCode) -> None:
        self.vocab_size = len(tokens)
        self.bits: list[Bits] = [*map(dict, code.paths), {}]  # none of an unknown token
        self.contexts = Contexts(tokens)
        decisions = sum(count * len(path) for count, path in zip(frequencies, code.paths, strict=True))
        num_tokens = sum(frequencies)
        self.counters = Counters(Counters.slots_for(decisions * len(self.contexts.views)))
        self.runs = Runs(self.contexts.num_plain, self.vocab_size, num_tokens)
        self.repeats = Repeats(self.vocab_size, num_tokens)

    def copy(self) -> Self:
        """Return a memory of its own of the same text."""
        twin = copy(self)
        twin.counters, twin.runs, twin.repeats = self.counters.copy(), self.runs.copy(), self.repeats.copy()
        return twin

    def input_names(self) -> list[str]:
        """Return the names of the inputs: of what says something, and a word more where that says several things."""
        names = [f"last_{len(v)}" if v == LAGS[: len(v)] else "+".join(v) for v in self.contexts.views]
        counted = [name + more for name in names for more in ("", " sure")]
        runs = [f"{name} run" for name in names[: self.contexts.num_plain]]
        return [*counted, *runs, "repeat", "repeat sure", "bias"]

    def places(self, ids: Sequence[int], start: int) -> Iterator[Place]:
        """Yield what is known before each token from ``start`` on, and after the last."""
        bits, nothing, num_plain = self.bits, self.vocab_size + 1, self.contexts.num_plain
        for position, (*numbers, repeat) in enumerate(self.contexts.rows(ids, start), start):
            runs = [(bits[token] if n else {}, n, score) for token, n, score in self.runs.find(numbers[:num_plain])]
            token_id, length = self.repeats.find(repeat, ids, position)
            last = ids[position - 1] if position else nothing, ids[position - 2] if position > 1 else nothing
            tags = Counters.tags_of(numbers)
            yield Place(tuple(numbers), tags, runs, repeat, bits[token_id] if length else {}, length, last)

    def opinion(self, place: Place, node: int) -> Opinion:
        """Return what is said about the decision at a node."""
        inputs, new = self.counters.read(place.numbers, place.tags, node)
        inputs += [
            0.0 if (bit := bits.get(node)) is None else score if bit else -score for bits, _, score in place.runs
        ]
        repeated = place.repeat.get(node)
        inputs += (0.0, 0.0) if repeated is None else self.repeats.inputs(place.length, repeated)
        inputs.append(_BIAS)
        sure = 0 if repeated is None else bisect(_SURER, place.length)
        num_contexts = len(place.numbers)
        met, first_new = num_contexts - len(new), new[0] if new else num_contexts
        return Opinion(inputs, (met * (len(_SURER) + 1) + sure, node * (num_contexts + 1) + first_new))

    # --- learning ------------------------------------------------------------------------------------------

    def judge(self, place: Place, node: int, bit: int) -> None:
        """Count whether the runs and the repeat told a bit right."""
        self.runs.count(place.runs, node, bit)
        if (told := place.repeat.get(node)) is not None:
            self.repeats.count(place.length, told == bit)

    def append(self, place: Place, token_id: int) -> None:
        """Count the token of a place, and read it."""
        for node, bit in self.bits[token_id].items():
            self.counters.learn(place.numbers, place.tags, node, bit)
        self.runs.append(place.numbers[: self.contexts.num_plain], token_id)
        self.repeats.append(place.repeat_number, token_id)

    # --- its content, for files ----------------------------------------------------------------------------

    def num_numbers(self) -> int:
        """Return the number of counters and runs that were used, and of the places of repeats."""
        return self.counters.num_used() + self.runs.num_used() + len(self.repeats.text) + LONGEST + 1

    @staticmethod
    def columns() -> dict[str, tuple[Column, ...]]:
        """Return the columns of its tables."""
        return {REPEATS_NAME: REPEATS_COLUMNS, RUNS_NAME: RUNS_COLUMNS}

    def tables(self) -> list[ModelTable]:
        """Return its tables."""
        return [self.repeats.table(), self.runs.table()]

    def arrays(self) -> "dict[str, array[int]]":
        """Return its large parts, by name."""
        return self.repeats.arrays() | self.counters.arrays() | self.runs.arrays()

    def load_arrays(self, arrays: "Mapping[str, array[int]]") -> None:
        """Take the large parts back; ValueError if they do not fit."""
        for part in (self.repeats, self.counters, self.runs):
            part.load_arrays(arrays)

    def load_tables(self, tables: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        """Take the tables back; ValueError if they do not fit."""
        self.repeats.load_table(tables[REPEATS_NAME])
        self.runs.load_table(tables[RUNS_NAME])
