"""math_training.py - The arithmetic of learning, as pure functions of numbers: no tokens, no models, no files."""

import sys
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from heapq import nsmallest
from math import exp, fsum, log
from typing import Final

# WHY: log(0) is minus infinity; one certain mistake would make every average infinite.
SMALLEST_PROBABILITY: Final = 1e-12

# Adds floats from left to right. WHY not sum(): from Python 3.12 on it corrects rounding errors, so the last digits
# would differ between versions; but where it starts at False, which is no float, it adds what comes as it is.
add_up: Final[Callable[[Iterable[float]], float]] = sum if sys.version_info < (3, 12) else partial(sum, start=False)


def argmax(values: Sequence[float]) -> int:
    """Return the index of the largest value, the first one where several are largest.

    Example:
        >>> argmax([0.2, 0.5, 0.5])
        1
    """
    if not values:
        raise ValueError("argmax of an empty sequence")
    return values.index(max(values))


def top_k(probs: Sequence[float], k: int) -> list[tuple[int, float]]:
    """Return the k most likely tokens as (token id, probability), most likely first, ties by id.

    Example:
        >>> top_k([0.2, 0.5, 0.3], 2)
        [(1, 0.5), (2, 0.3)]
    """
    return nsmallest(k, enumerate(probs), key=lambda item: (-item[1], item[0]))


def softmax(scores: Sequence[float]) -> list[float]:
    """Turn finite scores (logits) into probabilities: exp(score) over the sum of all exp(score).

    Example:
        >>> softmax([0.0, 0.0])
        [0.5, 0.5]

    Source: Bridle (1990), "Probabilistic interpretation of feedforward classification network outputs".
    """
    if not scores:
        raise ValueError("softmax of an empty sequence")
    # WHY: shifting all scores changes no ratio, and exp(0) is now the largest term, so nothing overflows.
    top = max(scores)
    exps = [exp(score - top) for score in scores]
    total = add_up(exps)
    return [e / total for e in exps]


def cross_entropy_loss(probs: Sequence[float], target_id: int) -> float:
    """Return the surprise of one prediction: minus the log of the probability given to the token that came.

    The loss is in nats: 0 for certainty, log(V) for a uniform guess among V tokens; a probability is at least 1e-12.
    Raises ValueError if ``target_id`` is not an index of ``probs``.

    Example:
        >>> round(cross_entropy_loss([0.25, 0.75], 1), 4)
        0.2877

    Source: Shannon (1948), "A mathematical theory of communication".
    """
    if not 0 <= target_id < len(probs):
        raise ValueError(f"target_id {target_id} is outside 0..{len(probs) - 1}")
    return -log(max(probs[target_id], SMALLEST_PROBABILITY))


def conditional_entropy(pairs: Iterable[tuple[Hashable, Hashable]]) -> float:
    """Return the lowest average loss that any table can reach on these (context, target) pairs.

    The best a table can do is to predict each token as often as it followed the context. What remains is the entropy
    H(target | context) in nats per pair: the mean of log(count(context) / count(context, target)).

    Example:
        >>> round(conditional_entropy([("a", 1), ("a", 2), ("b", 1), ("b", 1)]), 4)
        0.3466
    """
    joint = Counter(pairs)
    context_counts = Counter(context for context, _ in joint.elements())
    surprise = fsum(count * log(context_counts[context] / count) for (context, _), count in joint.items())
    return surprise / max(joint.total(), 1)
