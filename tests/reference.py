"""reference.py - The mathematics of the tables and counting models, written as literally as in the textbooks.

Slow on purpose: nothing is shared or left out, and every formula stands where it is used. The tests hold the fast code
against these.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from math import exp, log

Ngram = tuple[int, ...]
Pair = tuple[Ngram, int]

SMALLEST_PROBABILITY = 1e-12
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)


# --- a dense table under stochastic gradient descent --------------------------------------------------------


def dense_softmax(row: Sequence[float]) -> list[float]:
    """Return exp(score) over the sum of all exp(score), shifted by the largest score."""
    top = max(row)
    exps = [exp(score - top) for score in row]
    total = sum(exps)
    return [e / total for e in exps]


class DenseTable:
    """A row of V weights for each context, all of them stored and all of them updated at each step."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.rows: dict[Ngram, list[float]] = {}

    def train_epoch(self, pairs: Iterable[Pair], learning_rate: float) -> tuple[float, float]:
        """Pass over the pairs once, one update per pair.

        Returns:
            Average loss and accuracy, each pair's taken before its update.
        """
        losses: list[float] = []
        correct = 0
        for context, target in pairs:
            row = self.rows.setdefault(context, [0.0] * self.vocab_size)
            p = dense_softmax(row)
            losses.append(-log(max(p[target], SMALLEST_PROBABILITY)))
            correct += p.index(max(p)) == target
            for j in range(self.vocab_size):
                row[j] -= learning_rate * (p[j] - (j == target))
        return sum(losses) / len(losses), correct / len(losses)


# --- interpolated modified Kneser-Ney -----------------------------------------------------------------------


def modified_discounts(counts: Iterable[int]) -> tuple[float, float, float]:
    """Return D1, D2, D3+ of Chen and Goodman (1998), equation 26; fixed ones where the counts do not allow it."""
    counts = list(counts)
    n1, n2, n3, n4 = (counts.count(r) for r in (1, 2, 3, 4))
    if 0 in (n1, n2, n3, n4):
        return FALLBACK_DISCOUNTS
    y = n1 / (n1 + 2 * n2)
    d1 = 1 - 2 * y * n2 / n1
    d2 = 2 - 3 * y * n3 / n2
    d3 = 3 - 4 * y * n4 / n3
    if d1 <= 0 or d2 <= 0 or d3 <= 0 or d1 > 1 or d2 > 2 or d3 > 3:
        return FALLBACK_DISCOUNTS
    return d1, d2, d3


class LiteralKneserNey:
    """p(w | h) by the recursive formula, every sum of it written out over tuples of token ids.

    ``counts[n]`` counts the n-grams of n context tokens and one more: how often they came, for the longest; for shorter
    ones, how many different longer n-grams end in them.
    """

    def __init__(self, token_ids: Sequence[int], vocab_size: int, context_size: int) -> None:
        self.vocab_size = vocab_size
        size = context_size + 1
        ngrams = [tuple(token_ids[start : start + size]) for start in range(len(token_ids) - size + 1)]
        self.counts: list[dict[Ngram, int]] = [{ngram: ngrams.count(ngram) for ngram in ngrams}]
        for _ in range(context_size):
            longer = self.counts[0]
            endings = {ngram[1:] for ngram in longer}
            self.counts.insert(0, {end: len({ngram for ngram in longer if ngram[1:] == end}) for end in endings})
        self.discounts = [modified_discounts(level.values()) for level in self.counts]
        self.after = cache(self._after)

    def _after(self, history: Ngram) -> dict[int, int]:
        """Return the counts of the tokens that came after a history."""
        level = self.counts[len(history)]
        return {ngram[-1]: count for ngram, count in level.items() if ngram[:-1] == history}

    def probability(self, token: int, history: Ngram) -> float:
        """Return p(token | history)."""
        shorter = self.probability(token, history[1:]) if history else 1 / self.vocab_size
        after = self.after(history)
        if not after:
            return shorter
        d1, d2, d3 = self.discounts[len(history)]
        total = sum(after.values())
        n = Counter(min(count, 3) for count in after.values())
        gamma = (d1 * n[1] + d2 * n[2] + d3 * n[3]) / total
        count = after.get(token, 0)
        discount = {0: 0.0, 1: d1, 2: d2}.get(count, d3)
        return (count - discount) / total + gamma * shorter

    def distribution(self, history: Ngram) -> list[float]:
        """Return p(. | history), V probabilities."""
        return [self.probability(token, history) for token in range(self.vocab_size)]


# --- the log-linear mixture ---------------------------------------------------------------------------------


def product_of_experts(distributions: Sequence[Sequence[float]], weights: Sequence[float]) -> list[float]:
    """Return p(w) = prod_k p_k(w)^lambda_k / Z."""
    scores = []
    for token in range(len(distributions[0])):
        score = 1.0
        for distribution, weight in zip(distributions, weights, strict=True):
            score *= distribution[token] ** weight
        scores.append(score)
    return [score / sum(scores) for score in scores]


def mixture_gradient(distributions: Sequence[Sequence[float]], weights: Sequence[float], target: int) -> list[float]:
    """Return d(-log p(target)) / d lambda_k by central differences."""
    gradient = []
    for k in range(len(weights)):
        losses = []
        for step in (1e-6, -1e-6):
            moved = [weight + step * (i == k) for i, weight in enumerate(weights)]
            losses.append(-log(product_of_experts(distributions, moved)[target]))
        gradient.append((losses[0] - losses[1]) / 2e-6)
    return gradient
