"""token_code.py - A token as a few yes-or-no decisions: frequent tokens take few, rare ones many.

A model of bits needs a code for its tokens. The two rarest tokens are joined to one, over and over, until one tree is
left; a token's code is the way from the root to its leaf. No code needs fewer decisions on average.

Source: Huffman (1952), "A method for the construction of minimum-redundancy codes".
"""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple

Path = tuple[tuple[int, int], ...]  # (node, bit) from the root on


class TokenCode(NamedTuple):
    """A binary tree with V tokens as its leaves; its V - 1 nodes are numbered, children before parents."""

    paths: list[Path]  # of each token
    children: list[tuple[int, int]]  # of each node, the root last, for the bits 0 and 1: a node, or ~token

    def leaves(self, decide: Sequence[float]) -> list[float]:
        """Return a number for each token: the product of those of its decisions.

        ``decide`` has the probability of the bit 1 at each node.
        """
        reached = [1.0] * len(decide)
        found = [1.0] * len(self.paths)
        for node in reversed(range(len(self.children))):
            p = decide[node]
            for child, share in zip(self.children[node], (1 - p, p), strict=True):
                if child < 0:
                    found[~child] = reached[node] * share
                else:
                    reached[child] = reached[node] * share
        return found


def token_code(frequencies: Sequence[int]) -> TokenCode:
    """Return the code for tokens of these frequencies; each counts once more, so no token is without a code.

    Example:
        >>> token_code([5, 1, 2]).paths
        [((1, 1),), ((1, 0), (0, 0)), ((1, 0), (0, 1))]
    """
    # WHY the second item: where two are equally rare, the order must be the same on every machine.
    waiting = [(frequency + 1, place, ~token) for token, (place, frequency) in enumerate(enumerate(frequencies))]
    heapify(waiting)
    children: list[tuple[int, int]] = []
    while len(waiting) > 1:
        (rare, _, left), (less_rare, _, right) = heappop(waiting), heappop(waiting)
        node = len(children)
        children.append((left, right))
        heappush(waiting, (rare + less_rare, len(frequencies) + node, node))
    before: list[Path] = [()] * len(children)
    paths: list[Path] = [()] * len(frequencies)
    for node in reversed(range(len(children))):
        for bit, child in enumerate(children[node]):
            if child < 0:
                paths[~child] = (*before[node], (node, bit))
            else:
                before[child] = (*before[node], (node, bit))
    return TokenCode(paths, children)
