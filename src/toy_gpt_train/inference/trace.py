"""trace.py - Where did it get that from? The places of the training text that gave a prediction its probability.

A model that counts adds up what each of its contexts gives to a token, and each of these counts came from places of the
training text: wherever the context stood with that token after it. So every part of a probability belongs to places,
and what is left over is the equal share that every token has.

The places are found through a suffix array: all positions of the text, sorted by what stands there. Those where
the same tokens stand are neighbors, so two bisections find them all, however long the text is.

Source: Manber and Myers (1993), "Suffix arrays: a new method for on-line string searches".
"""

import sys
from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from toy_gpt_train.math_training import add_up
from toy_gpt_train.models.base import Model
from toy_gpt_train.models.ngram_trie import as_text, smallest_array

_ORDER, _IDS, _LINES = "suffix_array", "training_ids", "line_starts"

Tensors = Mapping[str, tuple[tuple[int, ...], Any]]


class TrainingIndex:
    """A training text in which every phrase can be found at once.

    Args:
        ids: The T token ids that were learned.
        line_starts: For each line of the text, the number of its first token; for a blank line that of the next one.
        order: The suffix array, if it is known: the positions 0 to T-1, sorted by the tokens that begin there.
        longest: How many tokens of a position decide the order, at least as many as a phrase will have.
    """

    def __init__(
        self, ids: Sequence[int], line_starts: Sequence[int], longest: int, order: Sequence[int] | None = None
    ) -> None:
        self.text = as_text(ids)
        self.line_starts = line_starts
        self.longest = longest
        if order is None:
            order = sorted(range(len(ids)), key=lambda begin: self.text[begin : begin + longest])
        self.order = order

    def find(self, phrase: Sequence[int]) -> list[int]:
        """Return where a phrase of up to ``longest`` tokens begins, in order.

        Example:
            >>> TrainingIndex([0, 1, 0, 1, 1], [0], longest=2).find([0, 1])
            [0, 2]

        Cost: two bisections, and the number of places.
        """
        wanted, size = as_text(phrase), len(phrase)

        def beginning(begin: int) -> str:
            return self.text[begin : begin + size]

        first = bisect_left(self.order, wanted, key=beginning)
        last = bisect_right(self.order, wanted, first, key=beginning)
        return sorted(self.order[first:last])

    def line_of(self, position: int) -> int:
        """Return the line of a token, counted from 1."""
        return bisect_right(self.line_starts, position)

    def line(self, number: int) -> range:
        """Return the positions of a line's tokens."""
        ends = [*self.line_starts[number : number + 1], len(self.text)]
        return range(self.line_starts[number - 1], ends[0])

    def ids(self, positions: range) -> list[int]:
        """Return the tokens at some positions, in a row."""
        return list(map(ord, self.text[positions.start : positions.stop]))

    def tensors(self) -> Tensors:
        """Return the index as whole numbers: what from_tensors() takes."""
        ids = array("I", self.text.encode(f"utf-32-{sys.byteorder[0]}e", "surrogatepass"))
        numbers = {_IDS: ids, _LINES: self.line_starts, _ORDER: self.order}
        return {name: ((len(found),), smallest_array(found)) for name, found in numbers.items()}

    @classmethod
    def from_tensors(cls, tensors: Tensors, longest: int, vocab_size: int) -> Self:
        """Become the index that tensors() described; ValueError if the numbers describe none.

        REQ: they are not trusted; but whether the order is right is left to the hash of the file.
        """
        if tensors.keys() != {_ORDER, _IDS, _LINES} or any(data.typecode in "df" for _, data in tensors.values()):
            raise ValueError(f"it must have whole numbers named {_IDS}, {_LINES} and {_ORDER}, and nothing else")
        ids, starts, order = (tensors[name][1][:] for name in (_IDS, _LINES, _ORDER))
        size = len(ids)
        if len(order) != size or (size and (max(ids) >= vocab_size or max(order) >= size)):
            raise ValueError("a token or a position that there is not")
        if not len(starts) or starts[0] != 0 or list(starts) != sorted(starts) or starts[-1] > size:
            raise ValueError("the lines do not begin one after the other")
        return cls(ids, starts, longest, order)


class Place(NamedTuple):
    """A token of the training text that gave a prediction some of its probability."""

    position: int  # of the token, in the training text
    length: int  # how many tokens before it are those of the context
    probability: float  # what it gave


class Trace(NamedTuple):
    """Where the probability of a token comes from."""

    probability: float
    places: list[Place]  # those that gave most come first
    rest: float  # what no place gave: the share that every token has


def trace(model: Model, index: TrainingIndex, ids: Sequence[int], token_id: int) -> Trace:
    """Return where the probability of a token after a text comes from.

    A count of places is shared by them equally. A continuation count (Kneser and Ney's) counts different tokens before
    a phrase: each of these has an equal share, and shares it among its places.

    InputError if the model does not add up what it counted; errors of Model.context().
    """
    context = model.context(ids)
    evidence, rest = model.evidence(context, token_id)
    given: defaultdict[int, float] = defaultdict(float)
    lengths: dict[int, int] = {}
    for part in evidence:
        found = index.find([*context[len(context) - part.length :], token_id])
        # WHY: a table has no row for a token with fewer than N before it.
        ends = [begin + part.length for begin in found if begin + part.length >= model.context_size]
        groups: dict[str, list[int]] = {}
        for end in ends:
            before = index.text[end - part.length - 1] if part.counts_kinds else ""
            groups.setdefault(before, []).append(end)
        for group in groups.values():
            for end in group:
                given[end] += part.probability / len(groups) / len(group)
                lengths[end] = max(lengths.get(end, 0), part.length)
        if not ends:  # a table gives some probability to what it never saw
            rest += part.probability
    places = [Place(end, lengths[end], probability) for end, probability in given.items()]
    places.sort(key=lambda place: (-place.probability, place.position))
    return Trace(add_up(given.values()) + rest, places, rest)


class LineShare(NamedTuple):
    """What the places of one line gave together."""

    number: int  # of the line, from 1
    probability: float
    places: list[Place]


def by_line(found: Trace, index: TrainingIndex) -> list[LineShare]:
    """Return the places of a trace by line; those that gave most come first."""
    lines: dict[int, list[Place]] = {}
    for place in found.places:
        lines.setdefault(index.line_of(place.position), []).append(place)
    shares = [LineShare(number, add_up([p.probability for p in places]), places) for number, places in lines.items()]
    return sorted(shares, key=lambda share: (-share.probability, share.number))
