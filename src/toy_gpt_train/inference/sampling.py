"""sampling.py - Choosing the next token from its distribution: always the most likely one, or drawn at random.

Sources: Fan et al. (2018), "Hierarchical neural story generation", for top-k; Holtzman et al. (2020), "The curious case
of neural text degeneration", for top-p; Keskar et al. (2019), "CTRL", for the repetition penalty.
"""

import random
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.math_training import argmax, top_k


@dataclass(frozen=True)
class Sampling:
    """How to choose the next token, and where to end; InputError if a value makes no sense.

    Temperature 0 is greedy: always the most likely token. 1 draws by the model's probabilities; below 1 likely tokens
    gain, above 1 they lose. In this order: the penalty, the temperature, top-k, top-p.
    """

    temperature: float = 0.0
    top_p: float = 1.0  # draw only among the most likely tokens that together have this probability (nucleus)
    seed: int = 0
    top_k: int | None = None  # draw only among the k most likely tokens; None or 0 for all
    repetition_penalty: float = 1.0  # above 1, tokens that the text already has become less likely
    stop: tuple[str, ...] = ()  # the text ends before the first of these
    ignore_eos: bool = False  # whether to keep writing after the token that ends a text

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 100:
            raise InputError(f"the temperature must be from 0 to 100, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top-p must be above 0 and at most 1, got {self.top_p}")
        if self.seed < 0:
            raise InputError(f"the seed must be at least 0, got {self.seed}")
        if self.top_k is not None and self.top_k < 0:
            raise InputError(f"top-k must be at least 1, or 0 for all tokens, got {self.top_k}")
        if not 0.01 <= self.repetition_penalty <= 100:
            raise InputError(f"the repetition penalty must be from 0.01 to 100, got {self.repetition_penalty}")
        if "" in self.stop:
            raise InputError("a stop text must not be empty")


GREEDY: Final = Sampling()


def penalized(logits: Sequence[float], seen: Iterable[int], penalty: float) -> list[float]:
    """Return logits in which the ``seen`` tokens are less likely: divided by the penalty, or multiplied if negative.

    Cost: O(V), and O(1) for each seen token.

    Example:
        >>> penalized([2.0, -1.0, 1.0], {0, 1}, 2.0)
        [1.0, -2.0, 1.0]
    """
    changed = list(logits)
    for token_id in seen:
        # WHY two cases: dividing a negative logit would bring it nearer to 0, and make the token more likely.
        changed[token_id] = logits[token_id] / penalty if logits[token_id] > 0 else logits[token_id] * penalty
    return changed


def choose_token(probs: Sequence[float], sampling: Sampling, generator: random.Random) -> int:
    """Return the id of the next token, chosen from V probabilities.

    Cost: greedy O(V); to draw, O(V log V) to rank all tokens, or O(V log k) with top-k.

    Example:
        >>> choose_token([0.1, 0.9], GREEDY, random.Random(0))
        1
    """
    if sampling.temperature == 0:
        return argmax(probs)
    ranked = top_k(probs, sampling.top_k or len(probs))
    # p to the power 1/T is softmax(log p / T): the temperature divides the logits, and leaves their order.
    # WHY over the largest probability: else all powers may underflow to 0.
    best = ranked[0][1]
    sums = list(accumulate((p / best) ** (1 / sampling.temperature) for _, p in ranked))
    nucleus = bisect_left(sums, sampling.top_p * sums[-1]) + 1
    return generator.choices([token_id for token_id, _ in ranked[:nucleus]], cum_weights=sums[:nucleus])[0]
