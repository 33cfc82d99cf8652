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
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, log
from typing import Any, ClassVar, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.models.base import (
    CONTEXT,
    COUNT,
    NUMBER,
    TOKEN,
    Column,
    Content,
    Evidence,
    Model,
    ModelTable,
    NGrams,
    OnStart,
    Record,
    Text,
)
from toy_gpt_train.models.ngram_trie import (
    EMPTY_TRIE,
    MOST_TENSOR_BYTES,
    NgramTrie,
    as_text,
    checked_ngrams,
    count_ngrams,
    layout_of,
    read_trie,
    sorted_trie,
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
_MOST_KEPT: Final = 1 << 14  # contexts whose followers are kept

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
    """The tokens that followed a context."""

    counts: dict[int, int]  # of each token: plain at the longest length, continuation counts below
    shares: dict[int, float]  # (count - discount) / total, for each token
    gamma: float  # the probability that the discounts leave to the shorter context


def discounted(counts: dict[int, int], discounts: Discounts) -> Followers:
    """Return followers with their shares; these and gamma sum to 1.

    Example:
        >>> discounted({7: 1, 8: 3}, (0.5, 1.0, 1.5))
        Followers(counts={7: 1, 8: 3}, shares={7: 0.125, 8: 0.375}, gamma=0.5)
    """
    if not counts:
        return Followers({}, {}, 1.0)
    total = sum(counts.values())
    taken = [discounts[min(count, 3) - 1] for count in counts.values()]
    shares = {token_id: (count - less) / total for (token_id, count), less in zip(counts.items(), taken, strict=True)}
    return Followers(counts, shares, fsum(taken) / total)


class KneserNey(Model):
    """Interpolated modified Kneser-Ney over contexts of 0 to N tokens: counts in ``trie``, and ``discounts`` by length.

    A history is a string, one code point per token, the newest first: ngram_trie.py says why.
    """

    layouts: ClassVar[tuple[str, ...]] = ("tables", "safetensors")
    default_context: ClassVar[int] = 4
    can_be_traced: ClassVar[bool] = True

    def __init__(self, vocab_size: int, context_size: int) -> None:
        super().__init__(vocab_size, context_size)
        self.learn_counts(EMPTY_TRIE, [FALLBACK_DISCOUNTS])  # before training: all tokens are equally likely

    def fit(self, text: Text, settings: Any = None, *, on_start: OnStart | None = None, **_: Any) -> Iterator[Record]:
        """Learn a text by counting: one pass, then a few more over the different n-grams of each length.

        Its one record has ``avg_loss`` and ``accuracy`` of the finished model on the tokens with a full context.
        """
        ids = self.training_ids(text)
        size = self.context_size
        if (len(ids) - size) * size**2 > MOST_WORK:
            what = f"the counts of {len(ids)} training tokens with a context of {size}"
            bound = f"tokens times context squared must be at most {MOST_WORK:,}"
            raise InputError(f"{what} do not fit into memory: {bound}")
        if on_start is not None:
            on_start()
        back = as_text(ids)[::-1]
        # The last token of each n-gram is the text's newest first; the values before it begin one token further back.
        targets = len(back) - size
        columns = [back[lag : lag + targets] for lag in (*range(1, size + 1), 0)]
        self.learn_counts(count_ngrams(columns))
        yield {"epoch": 1, **self._training_scores()}

    def forget(self, before: Sequence[int], after: Sequence[int]) -> Record:
        """Take out the n-grams that only ``before`` has, and add those that only ``after`` has.

        Those are at the place where the texts differ, and at most N tokens after it: a context crosses the gap.
        """
        ids = self.training_ids(Text(after, len(after)))
        counted = dict(self.trie.ngrams())
        same = _same_beginning(before, ids)
        same_at_end = _same_beginning(before[same:][::-1], ids[same:][::-1])
        changed = Counter(self._ngrams_of(ids, same, same_at_end))
        changed.subtract(self._ngrams_of(before, same, same_at_end))
        for ngram, more in changed.items():
            counted[ngram] = counted.get(ngram, 0) + more
            if counted[ngram] < 0:
                raise InputError("it has not learned this text")
            if not counted[ngram]:
                del counted[ngram]
        self.learn_counts(sorted_trie(counted))
        return {"epoch": 1, **self._training_scores()}

    def _ngrams_of(self, ids: Sequence[int], same: int, same_at_end: int) -> Iterator[str]:
        """Yield the n-grams that do not lie in the first tokens alone, or in the last."""
        size = self.context_size
        for target in range(max(same, size), min(len(ids) - same_at_end + size, len(ids))):
            yield as_text((*ids[target - size : target][::-1], ids[target]))

    def learn_counts(self, trie: NgramTrie, discounts: Sequence[Discounts] | None = None) -> None:
        """Become the model of counted n-grams.

        The discounts are those of each length from 0 to N; without them, they are estimated from the counts.
        """
        self.trie = trie
        self.discounts = discounts or [estimate_discounts(level.counts) for level in trie.levels]
        self._followers: dict[tuple[int, ...], Followers] = {}
        self._most_likely: dict[tuple[int, int], tuple[int, float]] = {}

    def _interpolated(self) -> Iterator[tuple["array[float]", list[tuple[int, float]]]]:
        """Yield for each length p(w | h) of all followers w of all contexts h, and the most likely token after each h.

        WHY length by length: the children of a context all need the same probabilities of the shorter one.
        """
        uniform = 1 / self.vocab_size
        families: Iterable[tuple[range, dict[int, float], tuple[int, float]]] = [(range(1), {}, (0, uniform))]
        for length, level in enumerate(self.trie.levels):
            all_probs, all_best = array("d"), []
            for children, below, rival in families:
                for node in children:
                    followers = discounted(self.trie.followers(length, node), self.discounts[length])
                    gamma = followers.gamma
                    # Every token counted after a context was also counted after the shorter one.
                    probs = {i: gamma * below.get(i, uniform) + share for i, share in followers.shares.items()}
                    all_probs.extend(probs.values())
                    all_best.append(_best_of(probs, gamma, rival))
            yield all_probs, all_best
            by_context = (dict(zip(*pair, strict=True)) for pair in level.split(level.tokens, all_probs))
            families = zip(map(range, level.children, level.children[1:]), by_context, all_best, strict=False)

    def _training_scores(self) -> Record:
        """Return loss and accuracy on the training text, from the counts of the longest n-grams."""
        *_, (probs, best) = self._interpolated()
        level = self.trie.levels[-1]
        total = sum(level.counts)
        correct = sum(
            count
            for choice, (tokens, counts) in zip(best, level.split(level.tokens, level.counts), strict=True)
            for token_id, count in zip(tokens, counts, strict=True)
            if token_id == choice[0]
        )
        loss = fsum(-count * log(p) for count, p in zip(level.counts, probs, strict=True))
        return {"avg_loss": loss / total, "accuracy": correct / total}

    def loss_floor(self, train_ids: Sequence[int] = ()) -> float:
        """Return the conditional entropy of the training text, from the counts of its longest contexts."""
        level = self.trie.levels[-1]
        surprise = (count * log(sum(counts) / count) for (counts,) in level.split(level.counts) for count in counts)
        return fsum(surprise) / max(sum(level.counts), 1)

    def matched(self, history: str) -> list[Followers]:
        """Return the followers of the last 0, 1, 2, … tokens of a history, up to the longest context that was met."""
        return self.followers_along(self.trie.path(history))

    def followers_along(self, path: Iterable[int]) -> list[Followers]:
        """Return the followers of contexts, each one token longer than the one before; the last used are kept."""
        found = []
        for length, (node, level) in enumerate(zip(path, self.trie.levels, strict=False)):
            begin = level.begins[node]
            # WHY: most long contexts were met once, so thousands of them have equal followers.
            is_alone = level.begins[node + 1] - begin == 1
            key = (length, level.tokens[begin], level.counts[begin]) if is_alone else (length, node)
            if (followers := self._followers.get(key)) is None:
                followers = discounted(self.trie.followers(length, node), self.discounts[length])
                _keep(self._followers, key, followers)
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

    def _most_likely_after(self, path: Sequence[int], matched: Sequence[Followers]) -> tuple[int, float]:
        """Return the most likely token after the contexts of a path, and its probability; the last used are kept."""
        best, first = (0, 1 / self.vocab_size), 0
        for length in range(len(path) - 1, -1, -1):
            if (known := self._most_likely.get((length, path[length]))) is not None:
                best, first = known, length + 1
                break
        for length in range(first, len(path)):
            met = matched[: length + 1]
            probs = {i: self.interpolate(met, i) for i in met[-1].counts}
            best = _best_of(probs, met[-1].gamma, best)
            _keep(self._most_likely, (length, path[length]), best)
        return best

    def next_probs(self, ids: Sequence[int], cache: Any = None) -> list[float]:
        """Return V probabilities; after fewer than N tokens, those of a shorter context."""
        history = as_text(self.context(ids))[::-1]
        return interpolate_all(self.matched(history), [1 / self.vocab_size] * self.vocab_size)

    def evidence(self, context: Sequence[int], token_id: int) -> tuple[list[Evidence], float]:
        """Return the share of each length, times the gammas of all longer ones; the rest is that of 1/V."""
        matched = self.matched(as_text(context)[::-1])
        parts, weight = [], 1.0
        for length, followers in reversed(list(enumerate(matched))):
            if token_id in followers.shares:
                is_longest = length == self.context_size
                parts.append(Evidence(length, weight * followers.shares[token_id], not is_longest))
            weight *= followers.gamma
        return parts, weight / self.vocab_size

    def score(self, ids: Sequence[int], start: int = 0) -> Iterator[Prediction]:
        """Score a text, with a few look-ups per token and length, whatever V is."""
        back = as_text(ids)[::-1]
        for position in range(start, len(ids)):
            newest = len(ids) - position
            path = self.trie.path(back[newest : newest + self.context_size])
            matched = self.followers_along(path)
            best, _ = self._most_likely_after(path, matched)
            yield Prediction(self.interpolate(matched, ids[position]), best, len(matched) > self.context_size)

    def num_parameters(self) -> int:
        """Return the number of counts, of all lengths, and of discounts."""
        return sum(len(level.counts) for level in self.trie.levels) + sum(map(len, self.discounts))

    # --- its content, for files ----------------------------------------------------------------------------

    def content(self) -> Content:
        """Return the counts of the longest contexts, from which all others follow, and the discounts."""
        discounts = [(length, *taken) for length, taken in enumerate(self.discounts)]
        tables = [ModelTable(DISCOUNTS_NAME, DISCOUNTS_COLUMNS, len(discounts), discounts)]
        num_ngrams = self.trie.num_ngrams()
        if layout_of(num_ngrams) == "safetensors":
            return Content("safetensors", tables, self.trie.tensors())
        rows = ((tuple(map(ord, ngram[-2::-1])), ord(ngram[-1]), count) for ngram, count in self.trie.ngrams())
        # WHY sorted: in the file the oldest token comes first, in the trie the newest.
        counts = ModelTable(COUNTS_NAME, COUNTS_COLUMNS, num_ngrams, sorted(rows))
        return Content("tables", (counts, *tables))

    def counted_tokens(self) -> Iterator[tuple[str, Sequence[int], int]]:
        """Yield the counts of the longest n-grams; the first N tokens end none."""
        yield COUNTS_NAME, self.token_counts(), self.context_size

    def token_counts(self) -> list[int]:
        """Return how often each token was counted after a longest context."""
        counts = [0] * self.vocab_size
        level = self.trie.levels[-1]
        for token_id, count in zip(level.tokens, level.counts, strict=True):
            counts[token_id] += count
        return counts

    def ngrams(self) -> NGrams:
        """Return the same model as n-grams with back-off weights."""
        from toy_gpt_train.models.interpolated import interpolated_ngrams  # WHY here: few need it

        return interpolated_ngrams(self)

    def expected_tables(self, layout: str, tokens: Sequence[str]) -> dict[str, tuple[Column, ...]]:
        """Return the columns of the two tables, or of the discounts alone."""
        counts = {COUNTS_NAME: COUNTS_COLUMNS} if layout == "tables" else {}
        return {**counts, DISCOUNTS_NAME: DISCOUNTS_COLUMNS}

    @property
    def most_tensor_bytes(self) -> int:
        """As many as there can be: they are looked at piece by piece."""
        return MOST_TENSOR_BYTES

    def load_tensors(self, tensors: Mapping[str, tuple[tuple[int, ...], Any]]) -> None:
        """Take over the counts, if they are not in a table."""
        self.trie = read_trie(tensors, self.context_size, self.vocab_size)
        if tensors.keys() != self.trie.tensors().keys():
            raise ValueError("it has more tensors than the counts")

    def load_tables(self, tables: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        """Become the model that content() described."""
        if COUNTS_NAME in tables:
            rows = tables[COUNTS_NAME]
            counted = (("".join(map(chr, (*context[::-1], token_id))), count) for context, token_id, count in rows)
            self.trie = sorted_trie(checked_ngrams(counted, COUNTS_NAME))
        discounts: list[Discounts] = []
        for length, *numbers in tables[DISCOUNTS_NAME]:
            checked = check_discounts(numbers)
            if length != len(discounts) or checked is None:
                raise ValueError("a row out of order, or a discount that takes nothing or more than was counted")
            discounts.append(checked)
        if len(discounts) != self.context_size + 1:
            raise ValueError(f"{DISCOUNTS_NAME}: not a row for each context size from 0 to {self.context_size}")
        self.learn_counts(self.trie, discounts)


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


def _same_beginning(ids: Sequence[int], others: Sequence[int]) -> int:
    both = zip(ids, others, strict=False)
    return next((i for i, (one, other) in enumerate(both) if one != other), min(len(ids), len(others)))


def _keep(cache: dict[Any, Any], key: Any, value: Any) -> None:
    if len(cache) >= _MOST_KEPT:
        cache.clear()
    cache[key] = value
