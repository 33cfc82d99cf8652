r"""kneser_ney.py - Model 450: what to do when a context was never seen? Ask a shorter one.

A table of long contexts knows nothing about a context it never met, and too little about one it met once. Back-off
keeps the counts of every context length. Each length takes a little (a discount) from every count, and gives what it
took to the next shorter context:

    p(w | h) = (c(h w) - D(c(h w))) / c(h)  +  gamma(h) p(w | h without its oldest token)

Kneser and Ney's idea: below the longest context, count not how often a token came, but after how many different tokens
(its continuation count). "Francisco" is frequent, yet it follows only "San": without "San" it is unlikely. Modified:
each length has three discounts, for tokens counted once, twice, and more often.

Source: Ney, Essen and Kneser (1994), "On structuring probabilistic dependences in stochastic language modelling"; Chen
and Goodman (1998), "An empirical study of smoothing techniques for language modeling" (interpolated, modified).

WHY strings: inside, a text is a string with one code point per token id. An n-gram is then a slice: compact, quick to
hash, and made shorter by ngram[1:].
"""

import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, log
from operator import itemgetter
from typing import Any, ClassVar, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.models.base import (
    CONTEXT,
    COUNT,
    NUMBER,
    TOKEN,
    Column,
    Content,
    Model,
    ModelTable,
    NGrams,
    OnStart,
    Record,
    Text,
)
from toy_gpt_train.models.scores import Prediction

COUNTS_NAME: Final = "02_counts.csv"
DISCOUNTS_NAME: Final = "03_discounts.csv"
COUNTS_COLUMNS: Final = (Column("context", CONTEXT), Column("token", TOKEN), Column("count", COUNT))
DISCOUNTS: Final = (Column("once", NUMBER), Column("twice", NUMBER), Column("three_or_more", NUMBER))
DISCOUNTS_COLUMNS: Final = (Column("context_size", COUNT), *DISCOUNTS)
MOST_WORK: Final = 2_000_000_000  # tokens times context squared: each length has its counts, of n-grams so long
# WHY: products of many smaller ones could become 0, which has no logarithm.
_SMALLEST_DISCOUNT: Final = 1e-9
# WHY: in a small corpus no n-gram may be counted once, or none twice, and the estimate divides by zero.
FALLBACK_DISCOUNTS: Final = (0.5, 1.0, 1.5)

Discounts = tuple[float, float, float]


def estimate_discounts(counts: Iterable[int]) -> Discounts:
    """Return how much to take from counts of one, two, and three or more, given the counts of all n-grams of a length.

    With n_r the number of n-grams counted r times and Y = n1 / (n1 + 2 n2), it is D_r = r - (r + 1) Y n_(r+1) / n_r.
    The fallback is 0.5, 1, 1.5: if one of n1 to n4 is zero, or a discount would take nothing or more than was counted.

    Example:
        >>> estimate_discounts([1, 1, 1, 1, 2, 2, 3, 4])
        (0.5, 1.25, 1.0)

    Source: Chen and Goodman (1998), equation 26.
    """
    n = Counter(counts)
    if not all(n[r] for r in (1, 2, 3, 4)):
        return FALLBACK_DISCOUNTS
    y = n[1] / (n[1] + 2 * n[2])
    discounts = tuple(r - (r + 1) * y * n[r + 1] / n[r] for r in (1, 2, 3))
    return check_discounts(discounts) or FALLBACK_DISCOUNTS


def check_discounts(discounts: Sequence[float]) -> Discounts | None:
    """Return three discounts, or None if one takes next to nothing, or more than was counted."""
    one, two, three = discounts
    fit = min(discounts) >= _SMALLEST_DISCOUNT and one <= 1 and two <= 2 and three <= 3
    return (one, two, three) if fit else None


@dataclass(frozen=True, slots=True)
class Followers:
    """The tokens that followed a context. Most long contexts were met once, so thousands of them share equal ones."""

    counts: dict[int, int]  # of each token: plain at the longest length, continuation counts below
    shares: dict[int, float]  # (count - discount) / total, for each token
    gamma: float  # the probability that the discounts leave to the shorter context


def discounted(counts: dict[int, int], discounts: Discounts) -> Followers:
    """Return followers with their shares; these and gamma sum to 1.

    Example:
        >>> discounted({7: 1, 8: 3}, (0.5, 1.0, 1.5))
        Followers(counts={7: 1, 8: 3}, shares={7: 0.125, 8: 0.375}, gamma=0.5)
    """
    total = sum(counts.values())
    shares = {token_id: (count - discounts[min(count, 3) - 1]) / total for token_id, count in counts.items()}
    return Followers(counts, shares, fsum(discounts[min(count, 3) - 1] for count in counts.values()) / total)


@dataclass(frozen=True, slots=True)
class Order:
    """What is known of one context length: its discounts, and the followers of each context."""

    discounts: Discounts
    contexts: dict[str, Followers]


def build_order(ngrams: Mapping[str, int], discounts: Discounts) -> Order:
    """Group the counted n-grams of one length by their contexts: all code points but the last, which is the token.

    Example:
        >>> build_order({"ab": 1}, (0.5, 1.0, 1.5)).contexts["a"].counts
        {98: 1}
    """
    after: dict[str, list[int]] = {}
    for ngram, count in ngrams.items():
        after.setdefault(ngram[:-1], []).extend((ord(ngram[-1]), count))
    known: dict[tuple[int, ...], Followers] = {}
    contexts: dict[str, Followers] = {}
    for context, tokens_and_counts in after.items():
        key = tuple(tokens_and_counts)
        if (followers := known.get(key)) is None:
            followers = known[key] = discounted(dict(zip(key[::2], key[1::2], strict=True)), discounts)
        contexts[context] = followers
    return Order(discounts, contexts)


class KneserNey(Model):
    """Interpolated modified Kneser-Ney over contexts of 0 to N tokens; ``orders`` has what is known of each length."""

    default_context: ClassVar[int] = 4

    def __init__(self, vocab_size: int, context_size: int) -> None:
        super().__init__(vocab_size, context_size)
        # Before training, one order that has seen nothing: all tokens are equally likely.
        self.orders = [Order(FALLBACK_DISCOUNTS, {"": Followers({}, {}, 1.0)})]
        self._most_likely: dict[str, tuple[int, float]] = {}

    def fit(self, text: Text, settings: Any = None, *, on_start: OnStart | None = None, **_: Any) -> Iterator[Record]:
        """Learn a text by counting: one pass, then a few dictionary look-ups for each different n-gram.

        Its one record has ``avg_loss`` and ``accuracy`` of the finished model on the tokens with a full context.
        """
        ids = self.training_ids(text)
        if (len(ids) - self.context_size) * self.context_size**2 > MOST_WORK:
            what = f"the counts of {len(ids)} training tokens with a context of {self.context_size}"
            bound = f"tokens times context squared must be at most {MOST_WORK:,}"
            raise InputError(f"{what} do not fit into memory: {bound}")
        if on_start is not None:
            on_start()
        letters = as_text(ids)
        size = self.context_size + 1
        self.fit_ngrams(Counter(letters[start : start + size] for start in range(len(letters) - size + 1)))
        yield {"epoch": 1, **self._training_scores()}

    def fit_ngrams(self, ngrams: Mapping[str, int], discounts: Sequence[Discounts] | None = None) -> None:
        """Learn from the counts of the n-grams of N + 1 tokens; all shorter lengths follow from them.

        The discounts are those of each length from 0 to N; without them, they are estimated from the counts.
        """
        self.orders = []
        self._most_likely = {}
        for length in range(self.context_size, -1, -1):
            taken = estimate_discounts(ngrams.values()) if discounts is None else discounts[length]
            self.orders.insert(0, build_order(ngrams, taken))
            # An n-gram without its oldest token, counted once for each different n-gram it came from.
            ngrams = Counter(ngram[1:] for ngram in ngrams)

    def _training_scores(self) -> Record:
        """Return loss and accuracy on the training text, from the counts of the longest n-grams.

        WHY in groups: contexts that differ only in their oldest token share everything shorter.
        """
        groups: dict[str, list[Followers]] = {}
        for context, followers in self.orders[-1].contexts.items():
            groups.setdefault(context[1:], []).append(followers)
        losses: list[float] = []
        total = correct = 0
        uniform = 1 / self.vocab_size
        for shorter, group in groups.items():
            matched = self.matched(shorter)[: self.context_size]
            # Every token counted after a context was also counted after the shorter one.
            below = {i: self.interpolate(matched, i) for i in (matched[-1].counts if matched else ())}
            rival = self._most_likely_after(shorter, matched, below)
            for followers in group:
                gamma = followers.gamma
                probs = {i: gamma * below.get(i, uniform) + share for i, share in followers.shares.items()}
                best, _ = _best_of(probs, gamma, rival)
                total += sum(followers.counts.values())
                correct += followers.counts.get(best, 0)
                losses += [-count * log(probs[token_id]) for token_id, count in followers.counts.items()]
        return {"avg_loss": fsum(losses) / total, "accuracy": correct / total}

    def loss_floor(self, train_ids: Sequence[int] = ()) -> float:
        """Return the conditional entropy of the training text, from the counts of its longest contexts."""
        surprise: list[float] = []
        total = 0
        for followers in self.orders[-1].contexts.values():
            after = sum(followers.counts.values())
            total += after
            surprise += [count * log(after / count) for count in followers.counts.values()]
        return fsum(surprise) / max(total, 1)

    def matched(self, history: str) -> list[Followers]:
        """Return the followers of the last 0, 1, 2, … tokens of a history, up to the longest context that was met."""
        end = len(history)
        found: list[Followers] = []
        for length, order in enumerate(self.orders[: end + 1]):
            if (followers := order.contexts.get(history[end - length :])) is None:
                break
            found.append(followers)
        return found

    def interpolate(self, matched: Iterable[Followers], token_id: int) -> float:
        """Return p(token | history), in a look-up per length: share + gamma * the shorter length's probability."""
        p = 1 / self.vocab_size
        for followers in matched:
            p *= followers.gamma
            if token_id in followers.shares:
                p += followers.shares[token_id]
        return p

    def _most_likely_after(
        self, history: str, matched: Sequence[Followers], probs: Mapping[int, float] | None = None
    ) -> tuple[int, float]:
        """Return the most likely token after a history, and its probability; worked out once for each context.

        ``matched`` is matched(history) or its first lengths, ``probs`` those of the tokens counted at its last.
        """
        end, first = len(history), 0
        best = 0, 1 / self.vocab_size
        for length in range(len(matched) - 1, -1, -1):
            if (known := self._most_likely.get(history[end - length :])) is not None:
                best, first = known, length + 1
                break
        for length in range(first, len(matched)):
            met = matched[: length + 1]
            last = probs if len(met) == len(matched) else None
            scored = {i: self.interpolate(met, i) for i in met[-1].counts} if last is None else last
            best = self._most_likely[history[end - length :]] = _best_of(scored, met[-1].gamma, best)
        return best

    def next_probs(self, ids: Sequence[int], cache: Any = None) -> list[float]:
        """Return V probabilities; after fewer than N tokens, those of a shorter context."""
        return interpolate_all(self.matched(as_text(self.context(ids))), [1 / self.vocab_size] * self.vocab_size)

    def score(self, ids: Sequence[int], start: int = 0) -> Iterator[Prediction]:
        """Score a text, with a few look-ups per token and length, whatever V is."""
        text = as_text(ids)
        for position in range(start, len(text)):
            history = text[max(position - self.context_size, 0) : position]
            matched = self.matched(history)
            best, _ = self._most_likely_after(history, matched)
            yield Prediction(self.interpolate(matched, ids[position]), best, len(matched) > self.context_size)

    def num_parameters(self) -> int:
        """Return the number of counts, of all lengths, and of discounts."""
        counts = (followers.counts for order in self.orders for followers in order.contexts.values())
        return sum(map(len, counts)) + sum(len(order.discounts) for order in self.orders)

    def content(self) -> Content:
        """Return the counts of the longest contexts, from which all others follow, and the discounts."""
        rows = (
            (tuple(map(ord, context)), token_id, count)
            for context, followers in sorted(self.orders[-1].contexts.items(), key=itemgetter(0))
            for token_id, count in sorted(followers.counts.items())
        )
        discounts = [(length, *order.discounts) for length, order in enumerate(self.orders)]
        counts = ModelTable(COUNTS_NAME, COUNTS_COLUMNS, self.num_ngrams(), rows)
        return Content("tables", (counts, ModelTable(DISCOUNTS_NAME, DISCOUNTS_COLUMNS, len(discounts), discounts)))

    def counted_tokens(self) -> Iterator[tuple[str, Sequence[int], int]]:
        """Yield the counts of the longest n-grams; the first N tokens end none."""
        yield COUNTS_NAME, self.token_counts(), self.context_size

    def token_counts(self) -> list[int]:
        """Return how often each token was counted after a longest context."""
        counts = [0] * self.vocab_size
        for followers in self.orders[-1].contexts.values():
            for token_id, count in followers.counts.items():
                counts[token_id] += count
        return counts

    def ngrams(self) -> NGrams:
        """Return the same model as n-grams with back-off weights."""
        from toy_gpt_train.models.interpolated import interpolated_ngrams  # WHY here: few need it

        return interpolated_ngrams(self)

    def num_ngrams(self) -> int:
        """Return how many different longest n-grams were counted."""
        return sum(len(followers.counts) for followers in self.orders[-1].contexts.values())

    def expected_tables(self, layout: str, tokens: Sequence[str]) -> dict[str, tuple[Column, ...]]:
        """Return the columns of the two tables."""
        return {COUNTS_NAME: COUNTS_COLUMNS, DISCOUNTS_NAME: DISCOUNTS_COLUMNS}

    def load_tables(self, tables: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        """Become the model that content() described."""
        counted = (("".join(map(chr, (*context, token_id))), count) for context, token_id, count in tables[COUNTS_NAME])
        ngrams = checked_ngrams(counted, COUNTS_NAME)
        discounts: list[Discounts] = []
        for length, *numbers in tables[DISCOUNTS_NAME]:
            checked = check_discounts(numbers)
            if length != len(discounts) or checked is None:
                raise ValueError("a row out of order, or a discount that takes nothing or more than was counted")
            discounts.append(checked)
        if len(discounts) != self.context_size + 1:
            raise ValueError(f"{DISCOUNTS_NAME}: not a row for each context size from 0 to {self.context_size}")
        self.fit_ngrams(ngrams, discounts)


def checked_ngrams(counted: Iterable[tuple[str, int]], name: str) -> dict[str, int]:
    """Return n-grams and their counts; ValueError if one appears twice, a count is below 1, or there are none."""
    ngrams: dict[str, int] = {}
    for ngram, count in counted:
        if ngram in ngrams or count < 1:
            raise ValueError("a count below 1, or a context and token that are there twice")
        ngrams[ngram] = count
    if not ngrams:
        raise ValueError(f"{name}: there is nothing in it")
    return ngrams


def _best_of(probs: Mapping[int, float], gamma: float, shorter: tuple[int, float]) -> tuple[int, float]:
    """Return the best of the tokens counted after a context, and of the shorter context's most likely token."""
    best, p = shorter  # a token never counted here has gamma times its shorter probability, so no other can win
    top = gamma * p
    for token_id, p in probs.items():
        if p > top or (p == top and token_id < best):
            best, top = token_id, p
    return best, top


def interpolate_all(matched: Iterable[Followers], probs: list[float]) -> list[float]:
    """Add length after length to a distribution, as KneserNey.interpolate does for one token."""
    for followers in matched:
        gamma = followers.gamma
        probs = [gamma * p for p in probs]
        for token_id, share in followers.shares.items():
            probs[token_id] += share
    return probs


def as_text(token_ids: Iterable[int]) -> str:
    """Return a string with one code point per token id."""
    # WHY not join(map(chr, ...)): it makes a list of all characters first, of up to 84 bytes each, and is slower.
    return str(array("I", token_ids), f"utf-32-{sys.byteorder[0]}e", "surrogatepass")
