"""counters.py - Counters that learn: how likely is a 1 here, and how sure is that?

Each counter holds a probability p and how often it was used, n. A bit moves p towards itself, by less and less:

    p += (bit - p) / (n + 1.15)

so p is nearly the share of ones, and soon knows what always comes. After n = 1023 uses it stays that quick, to follow a
text that changes. A mixer gets two numbers from a counter: stretch(p) = log(p / (1 - p)), and p - 1/2 times a number
that grows with n, for five cases out of five say more than one out of one.

There is a counter for each context and node of the code. They share one table: the context's number and the node give
the slot. Several may want the same one. A tag, eight bits of the number, tells them apart. If the slot is taken, its
neighbor is tried; and if that is taken, too, a new counter gets the slot of the one that was used less.

Source: Mahoney (2005), "Adaptive weighing of context models for lossless data compression".
"""

from array import array
from collections.abc import Mapping, Sequence
from math import log
from typing import Final

from toy_gpt_train.models.contexts import table_size

# A state is p in 22 bits, then n in 10. WHY numbers in place of names below: each look-up of a name takes time.
_ONE: Final = 1 << 22
_COUNT_BITS: Final = 10
_MOST_USES: Final = (1 << _COUNT_BITS) - 1
DELAY: Final = 1.15
# Slots from one node of a context to the next. WHY near: what is near is in the processor's cache. WHY even: the
# neighbor of a slot belongs to the same node.
_NODE_STEP: Final = 2
_SHARE: Final = 4  # looked-up counters per slot; most are looked up more than once
_SLOTS: Final = (2, 1 << 26)  # of five bytes each, the fewest and the most

_RATE: Final = [1 / (n + DELAY) for n in range(1 << _COUNT_BITS)]
_CONFIDENCE: Final = [4 * n / (n + 3) / _ONE for n in range(1 << _COUNT_BITS)]
_STRETCH: Final = [max(min(log((i + 0.5) / (4095.5 - i)), 8.0), -8.0) for i in range(4096)]
_UNUSED: Final = (0.0, 0.0)


# After the first bit, a 0 or a 1, where p was 1/2.
_FRESH: Final = tuple(int((0.5 + side * _RATE[0] / 2) * _ONE) << _COUNT_BITS | 1 for side in (-1, 1))


class Counters:
    """A table of counters; ``states`` and ``tags`` have a number for each slot, 0 where none was used."""

    def __init__(self, slots: int) -> None:
        self.states = array("I", [0]) * slots
        self.tags = array("B", [0]) * slots

    @staticmethod
    def slots_for(visits: int) -> int:
        """Return how many slots there are for a text that looks up so many counters: a power of two."""
        return table_size(visits // _SHARE, _SLOTS)

    @staticmethod
    def tags_of(numbers: Sequence[int]) -> list[int]:
        """Return the tags of contexts, from 1 to 255."""
        return [1 + (number >> 32) % 255 for number in numbers]

    def copy(self) -> "Counters":
        """Return a table of its own with the same counters."""
        twin = Counters(0)
        twin.states, twin.tags = self.states[:], self.tags[:]
        return twin

    def num_used(self) -> int:
        """Return how many counters there are."""
        return len(self.tags) - self.tags.tobytes().count(0)

    def read(self, numbers: Sequence[int], tags: Sequence[int], node: int) -> tuple[list[float], list[int]]:
        """Return two inputs from each of a node's counters, one per context, and which contexts were never met."""
        all_states, all_tags = self.states, self.tags
        mask, step = len(all_states) - 1, (node + 1) * _NODE_STEP
        inputs: list[float] = []
        new: list[int] = []
        say = inputs.append
        for number, tag in zip(numbers, tags, strict=True):
            slot = number + step & mask
            if all_tags[slot] != tag:
                slot ^= 1
                if all_tags[slot] != tag:
                    new.append(len(inputs) // 2)
                    inputs += _UNUSED
                    continue
            state = all_states[slot]
            say(_STRETCH[state >> 20])
            say(((state >> 10) - 0x200000) * _CONFIDENCE[state & 1023])
        return inputs, new

    def learn(self, numbers: Sequence[int], tags: Sequence[int], node: int, bit: int) -> None:
        """Let a node's counters meet a bit; one that has no slot yet takes that of the one that was used less."""
        all_states, all_tags = self.states, self.tags
        mask, step = len(all_states) - 1, (node + 1) * _NODE_STEP
        target, fresh = (_ONE - 1 if bit else 0), _FRESH[bit]
        for number, tag in zip(numbers, tags, strict=True):
            slot = number + step & mask
            if all_tags[slot] != tag:
                neighbor = slot ^ 1
                if all_tags[neighbor] != tag:
                    if all_states[neighbor] & 1023 < all_states[slot] & 1023:
                        slot = neighbor
                    all_tags[slot] = tag
                    all_states[slot] = fresh
                    continue
                slot = neighbor
            state = all_states[slot]
            n, p = state & 1023, state >> 10
            all_states[slot] = p + int((target - p) * _RATE[n]) << 10 | n + (n < 1023)

    def arrays(self) -> "dict[str, array[int]]":
        """Return the counters and their tags, by name."""
        return {"counters": self.states, "counter_tags": self.tags}

    def load_arrays(self, arrays: "Mapping[str, array[int]]") -> None:
        """Take them back."""
        self.states, self.tags = arrays["counters"], arrays["counter_tags"]
