"""runs.py - What came last in this context, and how often in a row?

A counter knows shares: after "q" came "u" in 98 of 100 cases. A run knows what is going on now: the last seven times it
was "u". What came last is more likely to come again than its share says, above all in a context that was met only once
or twice. How much more, is counted for each context and each length of the run. Only plain contexts, those of the last
tokens, have runs.

The runs of all contexts share one table, in which the context's number gives the slot. Twelve other bits of the number
tell two contexts of a slot apart, and the latest keeps the slot.

Source: Mahoney (2005), "Adaptive weighing of context models for lossless data compression": run and match models.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from math import log
from typing import Any, Final

from toy_gpt_train.models.base import COUNT, NUMBER, Column, ModelTable
from toy_gpt_train.models.contexts import table_size
from toy_gpt_train.models.repeats import token_array

RUNS_NAME: Final = "06_runs.csv"
RUNS_COLUMNS: Final = (
    Column("context", COUNT),
    Column("length", COUNT),
    Column("count", COUNT),
    Column("probability", NUMBER),
)
LONGEST_RUN: Final = 15  # what four bits can count
_MOST_COUNTED: Final = 1000
_SHARE: Final = 2  # looked-up runs per slot
_SLOTS: Final = (1 << 6, 1 << 25)  # the fewest and the most
_TAG_SHIFT: Final = 48  # of a number of 60 bits, twelve remain
_LEAST: Final = 0.001  # nothing is less likely


# OBS: without runs, a frozen model of Tiny Shakespeare is better on tenths from inside the training part (in the
# mean of three by 0.004), but worse on its end: 1.3823 where it is 1.3772. With runs of all contexts: 1.3769.
class Runs:
    """The last token of each context; ``right`` has for context and length a probability and a count."""

    def __init__(self, num_contexts: int, vocab_size: int, num_tokens: int) -> None:
        self._vocab_size = vocab_size
        slots = table_size(num_contexts * num_tokens // _SHARE, _SLOTS)
        self.tokens = token_array(vocab_size, slots)
        self.lengths = array("H", [0]) * slots  # a tag, then the length in four bits; 0 where nothing came yet
        self.right = [[(0.75, 1)] * (LONGEST_RUN + 1) for _ in range(num_contexts)]

    def copy(self) -> "Runs":
        """Return a memory of its own of the same runs."""
        twin = copy(self)
        twin.tokens, twin.lengths, twin.right = self.tokens[:], self.lengths[:], [list(row) for row in self.right]
        return twin

    def num_used(self) -> int:
        """Return how many contexts have a run."""
        return len(self.lengths) - self.lengths.count(0)

    def find(self, numbers: Sequence[int]) -> list[tuple[int, int, float]]:
        """Return for each context the token that came last, how often in a row, and the log-odds that it comes again.

        The length is 0 where nothing came yet.
        """
        tokens, lengths, mask = self.tokens, self.lengths, len(self.lengths) - 1
        found = []
        for number, right in zip(numbers, self.right, strict=True):
            slot = number & mask
            entry = lengths[slot]
            if entry >> 4 == number >> _TAG_SHIFT and entry & 15:
                p = min(max(right[entry & 15][0], _LEAST), 1 - _LEAST)
                found.append((tokens[slot], entry & 15, log(p / (1 - p))))
            else:
                found.append((0, 0, 0.0))
        return found

    def append(self, numbers: Sequence[int], token_id: int) -> None:
        """Read one token more in all contexts."""
        tokens, lengths, mask = self.tokens, self.lengths, len(self.lengths) - 1
        for number in numbers:
            slot = number & mask
            entry, tag = lengths[slot], number >> _TAG_SHIFT
            if entry >> 4 == tag and entry & 15 and tokens[slot] == token_id:
                lengths[slot] = entry + (entry & 15 < LONGEST_RUN)
            else:
                tokens[slot] = token_id
                lengths[slot] = tag << 4 | 1

    def count(self, runs: Sequence[tuple[Mapping[int, int], int, float]], node: int, bit: int) -> None:
        """Count which runs told a bit right; a run is the bits on the way to its token, its length and its log-odds."""
        for right, (bits, length, _) in zip(self.right, runs, strict=True):
            told = bits.get(node)
            if told is not None:
                p, n = right[length]
                n += n < _MOST_COUNTED
                right[length] = p + ((told == bit) - p) / n, n

    # --- its content, for files ----------------------------------------------------------------------------

    def arrays(self) -> "dict[str, array[int]]":
        """Return the tokens and the lengths, by name."""
        return {"run_tokens": self.tokens, "run_lengths": self.lengths}

    def table(self) -> ModelTable:
        """Return the probabilities by context and length."""
        rows = [(k, length, n, p) for k, row in enumerate(self.right) for length, (p, n) in enumerate(row) if length]
        return ModelTable(RUNS_NAME, RUNS_COLUMNS, len(rows), rows)

    def load_arrays(self, arrays: "Mapping[str, array[int]]") -> None:
        """Take the tokens and the lengths back; ValueError if a token is none of V, nor unknown."""
        self.tokens, self.lengths = arrays["run_tokens"], arrays["run_lengths"]
        if max(self.tokens) > self._vocab_size:
            raise ValueError("a run of another token than there is")

    def load_table(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Take the probabilities back; ValueError if they do not fit."""
        found = {(context, length): (p, n) for context, length, n, p in rows}
        places = [(k, length) for k in range(len(self.right)) for length in range(1, LONGEST_RUN + 1)]
        if [*found] != places or not all(0 <= p <= 1 for p, _ in found.values()):
            raise ValueError(f"not a probability for each context and each length of a run from 1 to {LONGEST_RUN}")
        for (context, length), counted in found.items():
            self.right[context][length] = counted
