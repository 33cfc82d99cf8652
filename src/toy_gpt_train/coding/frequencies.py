"""frequencies.py - Step c in whole numbers: how often each symbol comes, as the arithmetic coder asks for it.

Writer and reader do the same in the same order, so both have the same numbers. It does not know texts or files.
"""

from collections.abc import Sequence
from copy import copy
from typing import Final

from toy_gpt_train.engine import STDLIB
from toy_gpt_train.models.base import Model

# WHY not larger: Python's numbers are fastest below 2**30. WHY not smaller: the 1 that every token gets is taken from
# the others, which costs at most V / 2**28 / log(2) bits per token: 0.0003 for a vocabulary of 50,000.
ONE: Final = 1 << 28


def in_whole_numbers(probs: Sequence[float]) -> list[int]:
    """Return frequencies of at least 1 that are as probabilities are, to 28 bits.

    Example:
        >>> in_whole_numbers([0.75, 0.25, 0.0])
        [201326593, 67108865, 1]
    """
    return [int(p * ONE) + 1 for p in probs]


class TokenFrequencies:
    """The frequencies of the next token of a text of ``count`` tokens, one token after the other.

    ``online``: the model learns from each token; InputError if it cannot.

    REQ: one token at a time and computed by the standard library, whatever computes the model otherwise: sums of floats
    depend on their order, and the reader must get the writer's numbers to the last bit.
    """

    def __init__(self, model: Model, count: int, *, online: bool = False) -> None:
        self._model = model.learner() if online else copy(model)
        self._model.compute_with(STDLIB)
        self._cache = self._model.new_cache()
        self._count = count
        self._window: list[int] = []  # the tokens that the model looks at
        self._begin = self._position = 0  # of the window, and of the next token

    def next(self) -> list[int]:
        """Return V frequencies; all are equal where the model needs more tokens, as score() has it."""
        if self._position < self._model.min_context:
            return [1] * self._model.vocab_size
        begin = self._model.window_begin(self._position, self._count)
        del self._window[: begin - self._begin]
        self._begin = begin
        return in_whole_numbers(self._model.next_probs(self._window, self._cache))

    def append(self, token_id: int) -> None:
        """Let a token be the next one."""
        self._window.append(token_id)
        self._position += 1
