"""sampling.py - Choosing the next token from its distribution: always the most likely one, or drawn at random.

Source: Holtzman et al. (2020), "The curious case of neural text degeneration", for top-p.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import accumulate
from typing import Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.math_training import argmax


@dataclass(frozen=True)
class Sampling:
    """How to choose the next token.

    Attributes:
        temperature: 0 is greedy, always the most likely token; 1 draws by the model's own probabilities; below 1 likely
            tokens gain, above 1 they lose.
        top_p: Draw only among the most likely tokens that together have this probability (nucleus sampling).
        seed: The same seed gives the same text.

    Raises:
        InputError: A number makes no sense.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 100:
            raise InputError(f"the temperature must be from 0 to 100, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top-p must be above 0 and at most 1, got {self.top_p}")


GREEDY: Final = Sampling()


def top_k(probs: Sequence[float], k: int) -> list[tuple[int, float]]:
    """Return the k most likely tokens as (id, probability), most likely first, ties by id.

    Example:
        >>> top_k([0.2, 0.5, 0.3], 2)
        [(1, 0.5), (2, 0.3)]
    """
    return nsmallest(k, enumerate(probs), key=lambda item: (-item[1], item[0]))


def choose_token(probs: Sequence[float], sampling: Sampling, generator: random.Random) -> int:
    """Choose the next token from its distribution.

    Args:
        probs: A probability for each token.
        sampling: Greedy, or how to draw.
        generator: The source of randomness.

    Returns:
        A token id.

    Example:
        >>> choose_token([0.1, 0.9], GREEDY, random.Random(0))
        1
    """
    if sampling.temperature == 0:
        return argmax(probs)
    # p to the power 1/T is softmax(log p / T): the temperature divides the logits. Dividing by the largest
    # probability first keeps the powers from underflowing all at once.
    best = max(probs)
    ranked = top_k([(probability / best) ** (1 / sampling.temperature) for probability in probs], len(probs))
    limit = sampling.top_p * sum(weight for _, weight in ranked)
    sums = list(accumulate(weight for _, weight in ranked))
    nucleus = next((i for i, total in enumerate(sums) if total >= limit), len(sums) - 1) + 1
    return generator.choices([token_id for token_id, _ in ranked[:nucleus]], cum_weights=sums[:nucleus])[0]
