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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, log
from typing import Any, ClassVar, Final

from toy_gpt_train.c_model import Prediction, check_context
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
        D_r = r - (r + 1) Y n_(r+1) / n_r; where one of n1 to n4 is zero, or a discount would take
        nothing or more than was counted, 0.5, 1, 1.5.

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
    return (one, two, three) if 0 < one <= 1 and 0 < two <= 2 and 0 < three <= 3 else FALLBACK_DISCOUNTS


@dataclass(frozen=True, slots=True)
class Seen:
    """What came after a context.

    WHY contexts share it: most long contexts were met once, so thousands of them saw the same. What is equal is held
    once, as the table's equal rows are trained once.

    Attributes:
        counts: The count of each token that came: plain at the longest length, continuation counts below.
        shares: (count - discount) / total of each of them.
        gamma: The share of probability that the discounts give to the shorter context.
    """

    counts: dict[int, int]
    shares: dict[int, float]
    gamma: float


def see(counts: dict[int, int], discounts: Discounts) -> Seen:
    """Return what a context saw, discounted.

    Args:
        counts: The count of each token that came after it.
        discounts: D1, D2, D3+.

    Returns:
        The shares and gamma; together they sum to 1.

    Example:
        >>> see({7: 1, 8: 3}, (0.5, 1.0, 1.5))
        Seen(counts={7: 1, 8: 3}, shares={7: 0.125, 8: 0.375}, gamma=0.5)
    """
    total = sum(counts.values())
    shares = {token_id: (count - discounts[min(count, 3) - 1]) / total for token_id, count in counts.items()}
    # WHY from whole numbers: floats summed in the order of a dictionary would not reload bit for bit.
    kinds = Counter(min(count, 3) for count in counts.values())
    return Seen(counts, shares, sum(discounts[kind - 1] * kinds[kind] for kind in (1, 2, 3)) / total)


@dataclass(frozen=True, slots=True)
class Order:
    """What is known of one context length.

    Attributes:
        discounts: D1, D2, D3+.
        contexts: What came after each context.
    """

    discounts: Discounts
    contexts: dict[str, Seen]


def build_order(grams: Mapping[str, int], discounts: Discounts) -> Order:
    """Group the counted grams of one length by their contexts.

    Args:
        grams: The count of each gram: a context and, as its last code point, a token.
        discounts: D1, D2, D3+.

    Returns:
        The order.

    Example:
        >>> build_order({"ab": 1}, (0.5, 1.0, 1.5)).contexts["a"].counts
        {98: 1}
    """
    followers: dict[str, list[int]] = {}
    for gram, count in grams.items():
        after = followers.get(gram[:-1])
        if after is None:
            followers[gram[:-1]] = [ord(gram[-1]), count]
        else:
            after += ord(gram[-1]), count
    known: dict[tuple[int, ...], Seen] = {}
    contexts: dict[str, Seen] = {}
    for context, after in followers.items():
        key = tuple(after)
        seen = known.get(key)
        if seen is None:
            seen = known[key] = see(dict(zip(after[::2], after[1::2], strict=True)), discounts)
        contexts[context] = seen
    return Order(discounts, contexts)


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

    train_loss_on: ClassVar[str] = "the training text"
    learning_rate: ClassVar[float] = 0.0

    def __init__(self, vocab_size: int, context_size: int = 4) -> None:
        if not 1 <= vocab_size <= MAX_VOCABULARY:
            raise ValueError(f"vocab_size must be from 1 to {MAX_VOCABULARY}, got {vocab_size}")
        if context_size < 0:
            raise ValueError(f"context_size must be at least 0, got {context_size}")
        self.vocab_size = vocab_size
        self.context_size = context_size
        # Before training, one order that has seen nothing: every token is equally likely.
        self.orders = [Order(FALLBACK_DISCOUNTS, {"": Seen({}, {}, 1.0)})]
        self._likeliest: dict[str, tuple[int, float]] = {}

    @property
    def least_context(self) -> int:
        """How many tokens forward() needs: none, for there is always a shorter context to ask."""
        return 0

    # --- learning: counting --------------------------------------------------------------------------------

    def fit(
        self,
        token_ids: Sequence[int],
        tokens: Sequence[str] = (),
        *,
        seed: int = 0,
        on_progress: Callable[[float, str], None] | None = None,
    ) -> dict[str, float]:
        """Learn a text by counting.

        Cost: one pass to count, then a few dictionary look-ups for each different gram of each length.

        Args:
            token_ids: The text as T token ids, more than N of them.
            tokens: Not needed: what a token reads like says nothing to a counter.
            seed: Not needed: nothing is drawn at random.
            on_progress: Not needed: counting is soon done.

        Returns:
            ``avg_loss``, ``accuracy`` of the finished model on the T - N tokens with a full context, and their
            ``loss_floor`` (the conditional entropy).

        Raises:
            ValueError: The text is too short.
        """
        text = as_text(token_ids)
        size = self.context_size + 1
        if token_ids and not 0 <= min(token_ids) <= max(token_ids) < self.vocab_size:
            raise ValueError(f"token ids are 0 to {self.vocab_size - 1}")
        if len(text) < size:
            raise ValueError(f"{len(text)} tokens are too few for a context of {self.context_size}")
        self.fit_grams(Counter(text[start : start + size] for start in range(len(text) - size + 1)))
        return self._training_scores()

    def fit_grams(self, grams: Mapping[str, int], discounts: Sequence[Discounts] | None = None) -> None:
        """Learn from the counts of the longest grams; all shorter lengths follow from them.

        Args:
            grams: The count of each run of N + 1 tokens.
            discounts: Those of each length from 0 to N; estimated from the counts where None.
        """
        self.orders = []
        self._likeliest = {}
        for length in range(self.context_size, -1, -1):
            taken = estimate_discounts(grams.values()) if discounts is None else discounts[length]
            self.orders.insert(0, build_order(grams, taken))
            # A gram without its oldest token, counted once for each different gram it came from.
            grams = Counter(gram[1:] for gram in grams)

    def _training_scores(self) -> dict[str, float]:
        """Return loss, accuracy and loss floor on the training text, from the counts of the longest grams.

        WHY by groups: contexts that differ in their oldest token only share all that is shorter.
        """
        groups: dict[str, list[Seen]] = {}
        for context, seen in self.orders[-1].contexts.items():
            groups.setdefault(context[1:], []).append(seen)
        losses: list[float] = []
        total = correct = 0
        uniform = 1 / self.vocab_size
        for shorter, group in groups.items():
            chain = self.matched(shorter)[: self.context_size]
            # Every token counted after a context was also counted after the shorter one.
            below = {token_id: self.interpolate(chain, token_id) for token_id in (chain[-1].counts if chain else ())}
            rival = self._likeliest_after(shorter, chain, below)
            for seen in group:
                probs = {token_id: seen.gamma * below.get(token_id, uniform) + s for token_id, s in seen.shares.items()}
                likeliest, _ = _likeliest_of(probs, seen.gamma, rival)
                total += sum(seen.counts.values())
                correct += seen.counts.get(likeliest, 0)
                losses += [-count * log(probs[token_id]) for token_id, count in seen.counts.items()]
        return {"avg_loss": fsum(losses) / total, "accuracy": correct / total, "loss_floor": self.loss_floor()}

    def loss_floor(self) -> float:
        """Return the conditional entropy of the training text: no table of the longest context gets below it."""
        surprise: list[float] = []
        total = 0
        for seen in self.orders[-1].contexts.values():
            after = sum(seen.counts.values())
            total += after
            surprise += [count * log(after / count) for count in seen.counts.values()]
        return fsum(surprise) / max(total, 1)

    # --- predicting ----------------------------------------------------------------------------------------

    def matched(self, history: str) -> list[Seen]:
        """Return what came after the last 0, 1, 2, … tokens of a history, as far as that context was ever met.

        Args:
            history: The tokens before, as code points; only the last N count.
        """
        end = len(history)
        chain: list[Seen] = []
        for length, order in enumerate(self.orders[: end + 1]):
            seen = order.contexts.get(history[end - length :])
            if seen is None:
                break
            chain.append(seen)
        return chain

    def interpolate(self, chain: Iterable[Seen], token_id: int) -> float:
        """Return p(token | history) for a matched chain: each length adds its share to gamma times the shorter.

        Cost: a look-up for each order that matched, whatever V is.
        """
        p = 1 / self.vocab_size
        for seen in chain:
            p *= seen.gamma
            if token_id in seen.shares:
                p += seen.shares[token_id]
        return p

    def order_distributions(self, history: str) -> Iterator[list[float]]:
        """Yield p(. | the last n tokens of history) for n = 0, 1, 2, … as far as the context was ever met.

        Cost: V products and a step for each token that followed, an order.

        Args:
            history: The tokens before, as code points.

        Yields:
            V probabilities by token id; each list is the next one's back-off.
        """
        probs = [1 / self.vocab_size] * self.vocab_size
        for seen in self.matched(history):
            probs = [seen.gamma * p for p in probs]
            for token_id, share in seen.shares.items():
                probs[token_id] += share
            yield probs

    def _likeliest_after(
        self, context: str, chain: Sequence[Seen], probs: Mapping[int, float] | None = None
    ) -> tuple[int, float]:
        """Return the likeliest token after a context that was met, and its probability; worked out once.

        Args:
            context: The tokens before, all of them matched.
            chain: What matched(context) gives; an empty one stands for knowing nothing.
            probs: The probability of each token counted after it, where the caller has worked them out.
        """
        unknown: list[str] = []
        while chain and context not in self._likeliest:
            unknown.append(context)
            if not context:
                break
            context = context[1:]
        best = (0, 1 / self.vocab_size) if not chain or context in unknown else self._likeliest[context]
        for context in reversed(unknown):
            met = chain[: len(context) + 1]
            if probs is None or len(met) < len(chain):
                scored: Mapping[int, float] = {i: self.interpolate(met, i) for i in met[-1].counts}
            else:
                scored = probs
            best = self._likeliest[context] = _likeliest_of(scored, met[-1].gamma, best)
        return best

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
        check_context(context_ids, self)
        probs = [1 / self.vocab_size] * self.vocab_size
        for probs in self.order_distributions(as_text(context_ids)):  # noqa: B007 - the last one is the answer
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
        text = as_text(token_ids)
        for place in range(start, len(text)):
            history = text[max(place - self.context_size, 0) : place]
            chain = self.matched(history)
            context = history[len(history) - len(chain) + 1 :]
            likeliest, _ = self._likeliest_after(context, chain)
            yield Prediction(self.interpolate(chain, token_ids[place]), likeliest, len(context) == self.context_size)

    def num_parameters(self) -> int:
        """Return how many numbers training has set: the counts of all orders and the discounts."""
        return sum(
            len(order.discounts) + sum(len(seen.counts) for seen in order.contexts.values()) for order in self.orders
        )

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
        contexts = self.orders[-1].contexts
        rows = (
            (tuple(map(ord, context)), token_id, count)
            for context in sorted(contexts)
            for token_id, count in sorted(contexts[context].counts.items())
        )
        num_rows = sum(len(seen.counts) for seen in contexts.values())
        discounts = [(length, *order.discounts) for length, order in enumerate(self.orders)]
        return [
            ModelTable(COUNTS_NAME, self.COUNTS_COLUMNS, num_rows, rows),
            ModelTable(DISCOUNTS_NAME, self.DISCOUNTS_COLUMNS, len(discounts), discounts),
        ]

    def expect_tables(self, tokens: Sequence[str]) -> dict[str, tuple[Column, ...]]:
        """Return the columns of each table that from_tables needs, by file name."""
        return {COUNTS_NAME: self.COUNTS_COLUMNS, DISCOUNTS_NAME: self.DISCOUNTS_COLUMNS}

    def from_tables(self, tables: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        """Become the model that to_tables described.

        Args:
            tables: The rows of each table, by file name.

        Raises:
            ValueError: The tables do not fit together.
        """
        grams: dict[str, int] = {}
        for context_ids, token_id, count in tables[COUNTS_NAME]:
            token_ids = (*context_ids, token_id)
            if len(token_ids) != self.context_size + 1 or not all(0 <= i < self.vocab_size for i in token_ids):
                raise ValueError(f"{COUNTS_NAME}: {token_ids} is not a context of {self.context_size} and a token")
            gram = as_text(token_ids)
            if gram in grams or count < 1:
                raise ValueError(f"{COUNTS_NAME}: a count below 1, or a context and token that stand there twice")
            grams[gram] = count
        rows = list(tables[DISCOUNTS_NAME])
        if [row[0] for row in rows] != list(range(self.context_size + 1)) or not grams:
            raise ValueError(f"{DISCOUNTS_NAME}: not a row for each context size from 0 to {self.context_size}")
        discounts = [(once, twice, more) for _, once, twice, more in rows]
        if not all(0 < taken <= limit for row in discounts for taken, limit in zip(row, (1, 2, 3), strict=True)):
            raise ValueError(f"{DISCOUNTS_NAME}: a discount takes nothing, or more than was counted")
        self.fit_grams(grams, discounts)


def _likeliest_of(probs: Mapping[int, float], gamma: float, shorter: tuple[int, float]) -> tuple[int, float]:
    """Choose among the tokens counted after a context, with their probabilities, and one more.

    A token never counted here has gamma times its shorter probability, so besides the counted ones only the shorter
    context's likeliest token can win.
    """
    best, p = shorter
    top = gamma * p
    for token_id, p in probs.items():
        if p > top or (p == top and token_id < best):
            best, top = token_id, p
    return best, top


def as_text(token_ids: Iterable[int]) -> str:
    """Return token ids as a string with one code point for each.

    Example:
        >>> as_text([104, 105])
        'hi'
    """
    return "".join(map(chr, token_ids))
