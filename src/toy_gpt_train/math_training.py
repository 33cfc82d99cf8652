"""math_training.py - The arithmetic of learning, as pure functions.

Concepts:
    softmax: turns any scores (logits) into probabilities.
    cross-entropy: how surprised a model is by the token that really came.
    conditional entropy: how surprised even the best table must be, on average.

It knows numbers only: no tokens, no models, no files.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from math import exp, fsum, log
from typing import Final

# WHY: log(0) is minus infinity; one certain mistake would make every average infinite.
SMALLEST_PROBABILITY: Final = 1e-12


def argmax(values: Sequence[float]) -> int:
    """Return the index of the largest value, the first of them where several are largest.

    Args:
        values: Any numbers, at least one.

    Returns:
        An index into ``values``.

    Raises:
        ValueError: ``values`` is empty.

    Example:
        >>> argmax([0.2, 0.5, 0.5])
        1
    """
    if not values:
        raise ValueError("argmax of an empty sequence")
    return values.index(max(values))


def softmax(scores: Sequence[float]) -> list[float]:
    """Turn scores (logits) into probabilities: exp(score) over the sum of all exp(score).

    Args:
        scores: One finite logit for each token, in any range.

    Returns:
        As many probabilities; each is at least 0 and they sum to 1.

    Raises:
        ValueError: ``scores`` is empty.

    Example:
        >>> softmax([0.0, 0.0])
        [0.5, 0.5]

    Source:
        Bridle (1990), "Probabilistic interpretation of feedforward classification network outputs".
    """
    if not scores:
        raise ValueError("softmax of an empty sequence")
    # WHY: a shift of all scores changes no ratio, and exp(0) is the largest term, so nothing overflows.
    top = max(scores)
    exps = [exp(score - top) for score in scores]
    total = sum(exps)
    return [e / total for e in exps]


def cross_entropy_loss(probs: Sequence[float], target_id: int) -> float:
    """Return the surprise of one prediction: minus the log of the probability given to what came.

    Args:
        probs: A probability for each token.
        target_id: The token that really came.

    Returns:
        The loss in nats: 0 for certainty, log(V) for a uniform guess among V tokens. The probability is
        taken as at least 1e-12.

    Raises:
        ValueError: ``target_id`` is not an index of ``probs``.

    Example:
        >>> round(cross_entropy_loss([0.25, 0.75], 1), 4)
        0.2877

    Source:
        Shannon (1948), "A mathematical theory of communication".
    """
    if not 0 <= target_id < len(probs):
        raise ValueError(f"target_id {target_id} is outside 0..{len(probs) - 1}")
    return -log(max(probs[target_id], SMALLEST_PROBABILITY))


def conditional_entropy(pairs: Iterable[tuple[Hashable, Hashable]]) -> float:
    """Return the lowest average loss that any table of this context can reach on these pairs.

    The best a table can do is to predict each token as often as it followed the context. What surprise is
    left then is the entropy of the target given the context, H(target | context).

    Args:
        pairs: (context, target) observations.

    Returns:
        Nats a pair: minus the mean of log(count(context, target) / count(context)); 0 for no pairs.

    Example:
        >>> round(conditional_entropy([("a", 1), ("a", 2), ("b", 1), ("b", 1)]), 4)
        0.3466
    """
    joint = Counter(pairs)
    context_counts: Counter[Hashable] = Counter()
    for (context, _), count in joint.items():
        context_counts[context] += count
    total = joint.total()
    if total == 0:
        return 0.0
    return fsum(count * log(context_counts[context] / count) for (context, _), count in joint.items()) / total
