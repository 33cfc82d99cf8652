"""expert.py - An expert of a mixture: Kneser-Ney over views of the history, asked for all V log probabilities.

A mixture asks several experts for all V probabilities at each token, so this is what takes its time. Two facts make it
quick. A mixture normalizes, so each expert's probabilities may be off by a factor. And what a context changes, except
for that factor, are the probabilities of the tokens that followed it, which are few for a long one.

So p(w | h) is kept divided by the context's scale, the product of the gammas of all its lengths. A length then adds
share / scale to the tokens that it has, and needs not multiply all V by its gamma:

    p(w | h) / scale(h) = p(w | h') / scale(h') + share(w | h) / scale(h)       scale(h) = gamma(h) scale(h')

h' is h without its oldest value. kneser_ney.py has the formula as it is.
"""

from bisect import bisect_left
from collections.abc import Sequence
from math import log
from typing import Any, Final, NamedTuple

from toy_gpt_train.models.kneser_ney import KneserNey

_SHORT: Final = 3  # values in a context: what the expert says after one that is no longer is kept
_KEPT_NUMBERS: Final = 350_000


class Reached(NamedTuple):
    """The longest context of a history that was met, and what is known of it."""

    length: int
    node: int  # its number in the trie
    total: int  # the sum of its counts
    scale: float  # the product of its gammas


class Short(NamedTuple):
    """What an expert says after a short context, divided by the context's scale."""

    reached: Reached
    probs: list[float]
    logs: list[float]


class Expert(KneserNey):
    """A Kneser-Ney model that says log p(w | history) for all tokens w, less one number."""

    def learn_counts(self, *counts: Any) -> None:
        """Become the model of counted n-grams."""
        super().learn_counts(*counts)
        self._short: dict[str, Short] = {}

    def log_probs(self, history: str) -> tuple[Reached, list[float]]:
        """Return log p(w | history) of all V tokens, less one number, and the context that was met."""
        short = self._short.get(history[:_SHORT]) or self._after(history[:_SHORT])
        if short.reached.length < _SHORT:
            return short.reached, short.logs
        reached, _, logs = self._longer(history, short)
        return reached, logs

    def _after(self, history: str) -> Short:
        """Work out what the expert says after a short history, from what it says after shorter ones; it is kept."""
        if history:
            shorter = self._short.get(history[:-1]) or self._after(history[:-1])
            found = self._longer(history, shorter) if shorter.reached.length == len(history) - 1 else shorter
        else:
            probs = self.next_probs(())
            # The scale may begin anywhere: at 1, after the empty context.
            found = Short(Reached(0, 0, sum(self.trie.levels[0].counts), 1.0), probs, list(map(log, probs)))
        if len(self._short) * self.vocab_size > _KEPT_NUMBERS:
            self._short.clear()
        self._short[history] = found
        return found

    def _longer(self, history: str, short: Short) -> Short:
        probs, logs = short.probs[:], short.logs[:]
        reached, changed = self.add_longer(history, short.reached, probs)
        for token_id in changed:
            logs[token_id] = log(probs[token_id])
        return Short(reached, probs, logs)

    def add_longer(self, history: str, known: Reached, probs: list[float]) -> tuple[Reached, Sequence[int]]:
        """Make of p(w | h) / scale after a known context that after the longest one of the history that was met.

        ``probs`` are changed in place; return what was reached, and the tokens whose probabilities have changed.
        """
        length, node, total, scale = known
        changed: Sequence[int] = ()
        for value in map(ord, history[length : len(self.trie.steps)]):
            children, values = self.trie.steps[length]
            end = children[node + 1]
            child = bisect_left(values, value, children[node], end)
            if child == end or values[child] != value:
                break
            length, node = length + 1, child
            _, _, begins, tokens, counts = self.trie.levels[length]
            begin, end = begins[node], begins[node + 1]
            once, twice, more = self.discounts[length]
            if end - begin == 1:  # WHY: so are most long contexts, and then this is twice as fast
                total = counts[begin]
                taken = more if total > 2 else twice if total > 1 else once
                scale *= taken / total
                probs[tokens[begin]] += (total - taken) / (total * scale)
            else:
                here = counts[begin:end]
                total = sum(here)
                less = [more if count > 2 else twice if count > 1 else once for count in here]
                scale *= sum(less) / total
                unit = total * scale
                for token_id, count, taken in zip(tokens[begin:end], here, less, strict=True):
                    probs[token_id] += (count - taken) / unit
            # Tokens that followed a longer context have followed the shorter one, too.
            changed = changed or tokens[begin:end]
        return Reached(length, node, total, scale), changed
