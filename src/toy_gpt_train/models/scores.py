"""scores.py - How surprised was a model by a text? Predictions of single tokens, and their averages.

Concepts:
    loss: the average cross-entropy, in nats per token.
    perplexity: exp(loss), the number of equally likely tokens that would surprise as much.
    loss floor: the conditional entropy of a text; no table of this context can have a lower average loss on it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, fsum, log
from typing import NamedTuple

from toy_gpt_train.math_training import SMALLEST_PROBABILITY, conditional_entropy

_SHORT_CONTEXT = 8
_MOST_COUNTED = 4_000_000  # tokens
_SLOTS_PER_TOKEN = 8


class Prediction(NamedTuple):
    """A model's prediction of one token of a text."""

    probability: float  # of the token that came
    most_likely: int  # the id of the most likely token
    context_seen: bool | None  # whether training met the full context; None if the model keeps no record


@dataclass(frozen=True)
class Scores:
    """Averages over all scored tokens."""

    num_tokens: int
    loss: float  # average cross-entropy in nats per token
    accuracy: float  # the share of tokens that the model thought most likely
    unseen_context_share: float | None  # of tokens whose full context training never met; None without a record of them

    @property
    def perplexity(self) -> float:
        """exp(loss)."""
        return exp(self.loss)

    @property
    def bits_per_token(self) -> float:
        """The loss in bits: nats over log 2."""
        return self.loss / log(2)


def summarize(scored: Iterable[tuple[Prediction, int]]) -> Scores:
    """Average over pairs of a prediction and the token that came; ValueError if there are none.

    >>> summarize([(Prediction(0.5, 1, True), 1), (Prediction(0.5, 1, False), 0)]).accuracy
    0.5
    """
    count = correct = unseen = 0
    recorded = True

    def losses() -> Iterator[float]:  # WHY one by one: a text may be longer than memory
        nonlocal count, correct, unseen, recorded
        for prediction, token_id in scored:
            count += 1
            correct += prediction.most_likely == token_id
            unseen += not prediction.context_seen
            recorded = recorded and prediction.context_seen is not None
            yield -log(max(prediction.probability, SMALLEST_PROBABILITY))

    total = fsum(losses())
    if not count:
        raise ValueError("there is no token to score")
    return Scores(count, total / count, correct / count, unseen / count if recorded else None)


def longest_context_floor(token_ids: Sequence[int], context_size: int) -> float:
    """Return the conditional entropy of a text for a long context of N tokens, below T, in nats per token.

    Only a context that occurs twice leaves any surprise. So the few positions whose last tokens occur twice are found
    first, and full contexts are compared only there. 0 is a floor too: of a text without any full context, and of
    more than four million tokens, where counting would take more memory than training.

    >>> round(longest_context_floor([0, 1, 0, 2, 0, 1], 1), 4)
    0.3819
    """
    if not context_size < len(token_ids) <= _MOST_COUNTED:
        return 0.0
    text = "".join(map(chr, token_ids))  # slices of a string are the smallest windows there are
    short = min(context_size, _SHORT_CONTEXT)
    positions = range(context_size, len(text))
    # WHY a table of bytes first: a window that shares its slot with no other one occurs once, and need not be counted.
    slots = bytearray(_SLOTS_PER_TOKEN * len(text))
    for i in positions:
        slot = hash(text[i - short : i]) % len(slots)
        slots[slot] = min(slots[slot] + 1, 2)
    shared = [i for i in positions if slots[hash(text[i - short : i]) % len(slots)] > 1]
    met = Counter(text[i - short : i] for i in shared)
    twice = [i for i in shared if met[text[i - short : i]] > 1]
    return conditional_entropy((text[i - context_size : i], text[i]) for i in twice) * len(twice) / len(positions)
