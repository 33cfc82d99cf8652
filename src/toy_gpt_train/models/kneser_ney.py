r"""kneser_ney.py - Rung 450: what to do when a context was never seen? Ask a shorter one.

A table of long contexts knows nothing about a context it never met, and too little about one it met once. Back-off
keeps the counts of every context length. Each length takes a little (a discount) from what it has counted, and
gives what it took to the next shorter context:

    p(w | h) = (c(h w) - D(c(h w))) / c(h)  +  gamma(h) p(w | h without its oldest token)

Kneser and Ney's idea: below the longest context, count not how often a token came, but after how many different
tokens (its continuation count). "Francisco" is frequent, yet it follows only "San": when "San" is not there, it is
unlikely. Modified: three discounts for each length, for tokens counted once, twice, and more often, computed from
the counts of counts.

Source: Ney, Essen and Kneser (1994), "On structuring probabilistic dependences in stochastic language modelling";
Chen and Goodman (1998), "An empirical study of smoothing techniques for language modeling" (interpolated, modified).

WHY strings: inside, a text is a Python string with one code point for each token id. A run of tokens (a gram) is
then a slice: compact, quick to hash, and cut shorter by gram[1:].

It knows no tokens' text, no files and no command line.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import fsum, log
from typing import Any, Final

from toy_gpt_train.c_model import Prediction
from toy_gpt_train.models.tables import CONTEXT, COUNT, NUMBER, TOKEN, Column, ModelTable

COUNTS_NAME: Final = "02_counts.csv"
DISCOUNTS_NAME: Final = "03_discounts.csv"

# WHY: where a corpus is so small that no token was counted once, or none twice, … the estimate below divides by zero.
FALLBACK_DISCOUNTS: Final = (0.5, 1.0, 1.5)

MAX_VOCABULARY: Final = 0x110000  # code points

Discounts = tuple[float, float, float]


def estimate_discounts(counts: Iterable[int]) -> Discounts:
    """Return how much to take from counts of one, two, and three or more.

    Args:
        counts: The counts of all grams of one length.

    Returns:
        D1, D2, D3+. With n_r the number of grams counted r times and Y = n1 / (n1 + 2 n2), it is
        D_r = r - (r + 1) Y n_(r+1) / n_r; where one of n1 to n4 is zero, or a discount would be
        negative or take more than was counted, 0.5, 1, 1.5.

    Example:
        >>> estimate_discounts([1, 1, 1, 1, 2, 2, 3, 4])
        (0.5, 1.25, 1.0)

    Source:
        Chen and Goodman (1998), equation 26.
    """
    n = Counter(counts)
    if not all(n[r] for r in (1, 2, 3, 4)):
        return FALLBACK_DISCOUNTS
    y = n[1] / (n[1] + 2 * n[2])
    one, two, three = (r - (r + 1) * y * n[r + 1] / n[r] for r in (1, 2, 3))
    return (one, two, three) if 0 <= one <= 1 and 0 <= two <= 2 and 0 <= three <= 3 else FALLBACK_DISCOUNTS


class SeenContext:
    """What came after one context. A class with slots, because there are hundreds of thousands of these.

    Attributes:
        total: The sum of the counts after it.
        once, twice, more: How many different tokens were counted once, twice, three times or more often.
        gamma: The share of probability that the discounts give to the shorter context.
        top: The largest probability of any token after it.
        likeliest: That token; the smaller where two are equal.
    """

    __slots__ = ("gamma", "likeliest", "more", "once", "top", "total", "twice")

    def __init__(self) -> None:
        self.total = self.once = self.twice = self.more = 0
        self.gamma = 1.0
        self.top = -1.0
        self.likeliest = "\0"

    def offer(self, token: str, probability: float) -> None:
        """Make ``token`` the likeliest if it is."""
        if probability > self.top or (probability == self.top and token < self.likeliest):
            self.top = probability
            self.likeliest = token


@dataclass
class Order:
    """What is known of one context length.

    Attributes:
        discounts: D1, D2, D3+.
        counts: The count of each gram (context and token): plain at the longest length, continuation below.
        contexts: What came after each context.
    """

    discounts: Discounts
    counts: Mapping[str, int]
    contexts: dict[str, SeenContext] = field(default_factory=dict)

    @cached_property
    def followers(self) -> dict[str, str]:
        """The tokens counted after each context; worked out when first asked for."""
        followers: dict[str, str] = {}
        for gram in self.counts:
            followers[gram[:-1]] = followers.get(gram[:-1], "") + gram[-1]
        return followers

    def discounted(self, count: int) -> float:
        """Return a count less its discount."""
        return count - self.discounts[count - 1 if count < 3 else 2]


class KneserNeyModel:
    """Interpolated modified Kneser-Ney over contexts of 0 to N tokens.

    Args:
        vocab_size: V.
        context_size: N, the longest context, at least 0.

    Attributes:
        orders: What is known of each context length, from 0 to N.

    Raises:
        ValueError: A size makes no sense.

    Example:
        >>> model = KneserNeyModel(vocab_size=3, context_size=1)
        >>> model.fit([0, 1, 0, 2])["avg_loss"] > 0
        True
    """

    def __init__(self, vocab_size: int, context_size: int = 4) -> None:
        if not 1 <= vocab_size <= MAX_VOCABULARY:
            raise ValueError(f"vocab_size must be from 1 to {MAX_VOCABULARY}, got {vocab_size}")
        if context_size < 0:
            raise ValueError(f"context_size must be at least 0, got {context_size}")
        self.vocab_size = vocab_size
        self.context_size = context_size
        # Before training, one order that has seen nothing: every token is equally likely.
        self.orders = [Order(FALLBACK_DISCOUNTS, {}, {"": SeenContext()})]

    @property
    def least_context(self) -> int:
        """How many tokens forward() needs: none, for there is always a shorter context to ask."""
        return 0

    # --- learning: counting --------------------------------------------------------------------------------

    def fit(self, token_ids: Sequence[int]) -> dict[str, float]:
        """Learn a text by counting.

        Cost: one pass to count, then a few dictionary look-ups for each different gram of each length.

        Args:
            token_ids: The text as T token ids, more than N of them.

        Returns:
            ``avg_loss``, ``accuracy`` of the finished model on the T - N tokens with a full context, and their
            ``loss_floor`` (the conditional entropy).

        Raises:
            ValueError: The text is too short.
        """
        text = _as_text(token_ids)
        size = self.context_size + 1
        if len(text) < size:
            raise ValueError(f"{len(text)} tokens are too few for a context of {self.context_size}")
        self._learn_counts(Counter(text[start : start + size] for start in range(len(text) - size + 1)), None)
        return self.training_scores

    def _learn_counts(self, counts: Mapping[str, int], discounts: Sequence[Discounts] | None) -> None:
        """Derive all shorter lengths from the counts of the longest, then everything that scoring needs."""
        grams = [counts]
        for _ in range(self.context_size):
            # A gram without its oldest token, counted once for each different gram it came from.
            grams.append(Counter(gram[1:] for gram in grams[-1]))
        grams.reverse()
        if discounts is None:
            discounts = [estimate_discounts(level.values()) for level in grams]
        self.orders = [Order(*order) for order in zip(discounts, grams, strict=True)]
        for order in self.orders:
            _sum_contexts(order)
        self.__dict__.pop("training_scores", None)  # those of an earlier text

    @cached_property
    def training_scores(self) -> dict[str, float]:
        """What fit returns. Working it out also finds the likeliest token after each context.

        WHY only when asked for: a model that is reloaded to write text needs neither.
        """
        probability: dict[str, float] | None = None
        loss = 0.0
        for length, order in enumerate(self.orders):
            scored = _gram_probabilities(order, probability, self.vocab_size)
            if length < self.context_size:
                probability = {gram: p for gram, _, p in scored}
            else:
                loss = fsum(-count * log(p) for _, count, p in scored)
            if length > 0:
                _offer_shorter_likeliest(order, self.orders[length - 1])
        return _training_scores(self.orders[-1], loss)

    # --- predicting ----------------------------------------------------------------------------------------

    def probability(self, history: str, token: str) -> float:
        """Return p(token | history), at the cost of the orders that matched, whatever V is.

        Args:
            history: The tokens before, as code points; only the last N count.
            token: One code point.
        """
        p = 1 / self.vocab_size
        end = len(history)
        for length, order in enumerate(self.orders):
            if length > end:
                break
            context = history[end - length :]
            seen = order.contexts.get(context)
            if seen is None:
                break
            p *= seen.gamma
            count = order.counts.get(context + token)
            if count is not None:
                p += order.discounted(count) / seen.total
        return p

    def order_distributions(self, history: str) -> Iterator[list[float]]:
        """Yield p(. | the last n tokens of history) for n = 0, 1, 2, … as far as the context was seen.

        Cost: V products and a look-up for each token that followed, an order.

        Args:
            history: The tokens before, as code points.

        Yields:
            V probabilities by token id; each list is the next one's back-off.
        """
        probs = [1 / self.vocab_size] * self.vocab_size
        end = len(history)
        for length, order in enumerate(self.orders[: end + 1]):
            context = history[end - length :]
            seen = order.contexts.get(context)
            if seen is None:
                return
            probs = [seen.gamma * p for p in probs]
            for token in order.followers.get(context, ""):
                probs[ord(token)] += order.discounted(order.counts[context + token]) / seen.total
            yield probs

    def forward(self, *context_ids: int) -> list[float]:
        """Return the probability of every token to come next.

        Args:
            *context_ids: Up to N token ids, oldest first; with fewer, the shorter context is asked.

        Returns:
            V probabilities, by token id; they sum to 1.

        Raises:
            ValueError: There are more than N ids, or one is outside 0..V-1.

        Example:
            >>> KneserNeyModel(vocab_size=2, context_size=0).forward()
            [0.5, 0.5]
        """
        if len(context_ids) > self.context_size:
            raise ValueError(f"a context has at most {self.context_size} token ids, got {len(context_ids)}")
        if not all(0 <= token_id < self.vocab_size for token_id in context_ids):
            raise ValueError(f"token ids are 0 to {self.vocab_size - 1}, got {context_ids}")
        probs = [1 / self.vocab_size] * self.vocab_size
        for probs in self.order_distributions(_as_text(context_ids)):  # noqa: B007 - the last one is the answer
            pass
        return probs

    def predictions(self, token_ids: Sequence[int], start: int = 0) -> Iterator[Prediction]:
        """Score a text: how likely was each token, given the tokens before it?

        Cost: a few look-ups for each order that matched; V does not matter.

        Args:
            token_ids: The text as T token ids.
            start: The place of the first token to score; those before it are context only.

        Yields:
            A prediction for each of the T - start tokens.
        """
        text = _as_text(token_ids)
        _ = self.training_scores  # finds the likeliest tokens
        for place in range(start, len(text)):
            history = text[max(place - self.context_size, 0) : place]
            matched = self._longest_seen(history)
            seen = self.orders[matched].contexts[history[len(history) - matched :]]
            yield Prediction(self.probability(history, text[place]), ord(seen.likeliest), matched == self.context_size)

    def _longest_seen(self, history: str) -> int:
        longest = min(len(history), len(self.orders) - 1)
        for length in range(1, longest + 1):
            if history[len(history) - length :] not in self.orders[length].contexts:
                return length - 1
        return longest

    def num_parameters(self) -> int:
        """Return how many numbers training has set: the counts of all orders and the discounts."""
        return sum(len(order.counts) + len(order.discounts) for order in self.orders)

    # --- the model as tables -------------------------------------------------------------------------------

    COUNTS_COLUMNS: Final = (Column("context", CONTEXT), Column("token", TOKEN), Column("count", COUNT))
    DISCOUNTS_COLUMNS: Final = (
        Column("context_size", COUNT),
        Column("once", NUMBER),
        Column("twice", NUMBER),
        Column("three_or_more", NUMBER),
    )

    def to_tables(self) -> list[ModelTable]:
        """Return the counts of the longest contexts, and the discounts.

        OBS: the counts of all shorter contexts follow from these, so they are not stored.
        """
        counts = self.orders[-1].counts
        rows = ((tuple(map(ord, gram[:-1])), ord(gram[-1]), counts[gram]) for gram in sorted(counts))
        discounts = [(length, *order.discounts) for length, order in enumerate(self.orders)]
        return [
            ModelTable(COUNTS_NAME, self.COUNTS_COLUMNS, len(counts), rows),
            ModelTable(DISCOUNTS_NAME, self.DISCOUNTS_COLUMNS, len(discounts), discounts),
        ]

    @classmethod
    def table_columns(cls) -> dict[str, tuple[Column, ...]]:
        """Return the columns of each table that from_tables needs, by file name."""
        return {COUNTS_NAME: cls.COUNTS_COLUMNS, DISCOUNTS_NAME: cls.DISCOUNTS_COLUMNS}

    def from_tables(self, tables: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        """Become the model that to_tables described.

        Args:
            tables: The rows of each table, by file name.

        Raises:
            ValueError: The tables do not fit together.
        """
        counts: dict[str, int] = {}
        for context_ids, token_id, count in tables[COUNTS_NAME]:
            gram = _as_text((*context_ids, token_id))
            if gram in counts or count < 1:
                raise ValueError(f"{COUNTS_NAME}: a count below 1, or a context and token that stand there twice")
            counts[gram] = count
        discounts = [(once, twice, more) for _, once, twice, more in tables[DISCOUNTS_NAME]]
        if len(discounts) != self.context_size + 1 or not counts:
            raise ValueError(f"{DISCOUNTS_NAME}: {len(discounts)} rows for contexts of 0 to {self.context_size} tokens")
        if not all(0 <= taken <= limit for row in discounts for taken, limit in zip(row, (1, 2, 3), strict=True)):
            raise ValueError(f"{DISCOUNTS_NAME}: a discount is negative or takes more than was counted")
        self._learn_counts(counts, discounts)


def _as_text(token_ids: Iterable[int]) -> str:
    return "".join(map(chr, token_ids))


def _sum_contexts(order: Order) -> None:
    """Fill in order.contexts: what stands after each context, and how much the discounts take from it."""
    contexts = order.contexts
    for gram, count in order.counts.items():
        seen = contexts.get(gram[:-1])
        if seen is None:
            seen = contexts[gram[:-1]] = SeenContext()
        seen.total += count
        if count == 1:
            seen.once += 1
        elif count == 2:
            seen.twice += 1
        else:
            seen.more += 1
    # WHY from whole numbers: floats summed in the order of a dictionary would not reload bit for bit.
    once, twice, more = order.discounts
    for seen in contexts.values():
        seen.gamma = (once * seen.once + twice * seen.twice + more * seen.more) / seen.total


def _gram_probabilities(
    order: Order, shorter_probability: Mapping[str, float] | None, vocab_size: int
) -> Iterator[tuple[str, int, float]]:
    """Yield (gram, count, p) for every counted gram of one length, and note each context's likeliest token.

    Args:
        order: The length.
        shorter_probability: p of every counted gram of the length below; None at length 0, which backs off to
            the uniform distribution.
        vocab_size: V.
    """
    contexts, discounts = order.contexts, order.discounts
    p = 1 / vocab_size
    for gram, count in order.counts.items():
        seen = contexts[gram[:-1]]
        if shorter_probability is not None:
            p = shorter_probability[gram[1:]]
        q = seen.gamma * p + (count - discounts[count - 1 if count < 3 else 2]) / seen.total
        if q >= seen.top:
            seen.offer(gram[-1], q)
        yield gram, count, q


def _offer_shorter_likeliest(order: Order, shorter: Order) -> None:
    """Let each context's likeliest token also be one that was never counted after it.

    Such a token has gamma times its shorter probability, so the shorter context's likeliest is the only candidate.
    """
    for context, seen in order.contexts.items():
        rival = shorter.contexts[context[1:]]
        if seen.gamma * rival.top >= seen.top and context + rival.likeliest not in order.counts:
            seen.offer(rival.likeliest, seen.gamma * rival.top)


def _training_scores(longest: Order, loss: float) -> dict[str, float]:
    """Return loss, accuracy and loss floor on the training text, from the counts of its grams."""
    total = max(sum(seen.total for seen in longest.contexts.values()), 1)
    correct = sum(longest.counts.get(context + seen.likeliest, 0) for context, seen in longest.contexts.items())
    # H(target | context) is the mean of log(total / count); its sums fall apart into two.
    floor = fsum(seen.total * log(seen.total) for seen in longest.contexts.values() if seen.total)
    floor -= fsum(count * log(count) for count in longest.counts.values())
    return {"avg_loss": loss / total, "accuracy": correct / total, "loss_floor": max(floor / total, 0.0)}
