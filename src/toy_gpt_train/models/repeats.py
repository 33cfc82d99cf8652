"""repeats.py - What came next the last time? A text repeats itself, and a long repeat is hardly ever an accident.

The last eight characters (of other tokens three) lead to the place where they came last. How many tokens before it are
the same as here, up to 32, is the length of the repeat. The longer it is, the more likely the next token is the same,
too: how likely, is counted for each length.

Source: Mahoney (2005), "Adaptive weighing of context models for lossless data compression": the long context.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from math import log
from typing import Any, Final

from toy_gpt_train.models.base import COUNT, NUMBER, Column, ModelTable
from toy_gpt_train.models.contexts import table_size

REPEATS_NAME: Final = "05_repeats.csv"
REPEATS_COLUMNS: Final = (Column("length", COUNT), Column("count", COUNT), Column("probability", NUMBER))
LONGEST: Final = 32
_MOST_COUNTED: Final = 400
_SLOTS: Final = (1 << 10, 1 << 26)  # the fewest and the most


def token_array(vocab_size: int, length: int = 0) -> "array[int]":
    """Return an array for tokens, all 0; the id V is an unknown token."""
    return array("B" if vocab_size < 1 << 8 else "H" if vocab_size < 1 << 16 else "I", [0]) * length


class Repeats:
    """A text that was read, and where its parts came last; ``hits`` has for each length a probability and a count."""

    def __init__(self, vocab_size: int, num_tokens: int) -> None:
        self.text = token_array(vocab_size)
        self.places = array("I", [0]) * table_size(num_tokens, _SLOTS)
        self.hits = [(0.75, 1)] * (LONGEST + 1)

    def copy(self) -> "Repeats":
        """Return a memory of its own of the same text."""
        twin = Repeats(0, 0)
        twin.text, twin.places, twin.hits = self.text[:], self.places[:], self.hits[:]
        return twin

    def find(self, number: int, ids: Sequence[int], position: int) -> tuple[int, int]:
        """Return the token that came next last time and the length of the repeat, up to 32; 0 if there is none.

        ``number`` is that of the last tokens before ``position``.
        """
        place = self.places[number & len(self.places) - 1]
        if place == 0:
            return 0, 0
        text, length = self.text, 0
        most = min(LONGEST, place, position)
        while length < most and text[place - 1 - length] == ids[position - 1 - length]:
            length += 1
        return text[place], length

    def inputs(self, length: int, bit: int) -> tuple[float, float]:
        """Return two inputs to a mixer from a repeat of this length that tells a bit."""
        p = min(max(self.hits[length][0], 0.001), 0.999)
        sign = 1 if bit else -1
        return sign * log(p / (1 - p)), sign * (2 * p - 1)

    def append(self, number: int, token_id: int) -> None:
        """Read one token more; ``number`` is that of the tokens before it."""
        self.places[number & len(self.places) - 1] = len(self.text)
        self.text.append(token_id)

    def count(self, length: int, hit: bool) -> None:
        """Count whether a repeat of this length told a bit right."""
        p, n = self.hits[length]
        n = min(n + 1, _MOST_COUNTED)
        self.hits[length] = p + (hit - p) / n, n

    # --- its content, for files ----------------------------------------------------------------------------

    def arrays(self) -> "dict[str, array[int]]":
        """Return the text and the places, by name."""
        return {"text": self.text, "repeat_places": self.places}

    def table(self) -> ModelTable:
        """Return the probabilities by length."""
        return ModelTable(
            REPEATS_NAME, REPEATS_COLUMNS, len(self.hits), [(k, n, p) for k, (p, n) in enumerate(self.hits)]
        )

    def load_arrays(self, arrays: "Mapping[str, array[int]]") -> None:
        """Take the text and the places back; ValueError if a place is outside the text."""
        self.text, self.places = arrays["text"], arrays["repeat_places"]
        if max(self.places) >= max(len(self.text), 1):
            raise ValueError("a repeat is outside the text")

    def load_table(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Take the probabilities back; ValueError if they do not fit."""
        found = {length: (p, n) for length, n, p in rows}
        if [*found] != [*range(LONGEST + 1)] or not all(0 <= p <= 1 for p, _ in found.values()):
            raise ValueError(f"not a probability for each length of a repeat from 0 to {LONGEST}")
        self.hits = [*found.values()]
