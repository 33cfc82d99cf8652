"""repeats.py - What came next the last time? A text repeats itself, and a long repeat is hardly ever an accident.

The last eight characters (of other tokens three) lead to the place where they came last. How many tokens before it are
the same as here, up to 32, is the length of the repeat. The longer it is, the more likely the next token is the same,
too: how likely, is counted for each length.

Source: Mahoney (2005), "Adaptive weighing of context models for lossless data compression": the long context.
"""

from array import array
from collections.abc import Sequence
from typing import Final

LONGEST: Final = 32
_MOST_COUNTED: Final = 400
_SLOTS: Final = (1 << 10, 1 << 26)  # the fewest and the most


class Repeats:
    """A text that was read, and where its parts came last; ``hits`` has for each length a probability and a count."""

    def __init__(self, vocab_size: int, num_tokens: int) -> None:
        typecode = "B" if vocab_size < 1 << 8 else "H" if vocab_size < 1 << 16 else "I"
        self.text = array(typecode)  # the id V is an unknown token
        self.places = array("I", [0]) * self.slots_for(num_tokens)
        self.hits = [(0.75, 1)] * (LONGEST + 1)

    @staticmethod
    def slots_for(num_tokens: int) -> int:
        """Return how many places are remembered for a text: a power of two."""
        least, most = _SLOTS
        return min(max(1 << num_tokens.bit_length(), least), most)

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

    def append(self, number: int, token_id: int) -> None:
        """Read one token more; ``number`` is that of the tokens before it."""
        self.places[number & len(self.places) - 1] = len(self.text)
        self.text.append(token_id)

    def count(self, length: int, hit: bool) -> None:
        """Count whether a repeat of this length told a bit right."""
        p, n = self.hits[length]
        n = min(n + 1, _MOST_COUNTED)
        self.hits[length] = p + (hit - p) / n, n
