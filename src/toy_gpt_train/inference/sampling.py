"""sampling.py - Choosing the next token from its distribution: always the most likely one, or drawn at random.

Source: Holtzman et al. (2020), "The curious case of neural text degeneration", for top-p.
"""

import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.math_training import argmax, top_k


@dataclass(frozen=True)
class Sampling:
    """How to choose the next token; InputError if a number makes no sense.

    Temperature 0 is greedy: always the most likely token. 1 draws by the model's probabilities; below 1 likely tokens
    gain, above 1 they lose.
    """

    temperature: float = 0.0
    top_p: float = 1.0  # draw only among the most likely tokens that together have this probability (nucleus)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 100:
            raise InputError(f"the temperature must be from 0 to 100, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top-p must be above 0 and at most 1, got {self.top_p}")
        if self.seed < 0:
            raise InputError(f"the seed must be at least 0, got {self.seed}")


GREEDY: Final = Sampling()


def choose_token(probs: Sequence[float], sampling: Sampling, generator: random.Random) -> int:
    """Return the id of the next token, chosen from V probabilities.

    Example:
        >>> choose_token([0.1, 0.9], GREEDY, random.Random(0))
        1
    """
    if sampling.temperature == 0:
        return argmax(probs)
    # p to the power 1/T is softmax(log p / T): the temperature divides the logits.
    # WHY over the largest probability: else all powers may underflow to 0.
    best = max(probs)
    ranked = top_k([(p / best) ** (1 / sampling.temperature) for p in probs], len(probs))
    sums = list(accumulate(weight for _, weight in ranked))
    nucleus = bisect_left(sums, sampling.top_p * sums[-1]) + 1
    return generator.choices([token_id for token_id, _ in ranked[:nucleus]], cum_weights=sums[:nucleus])[0]
