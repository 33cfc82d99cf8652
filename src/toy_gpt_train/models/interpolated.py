"""interpolated.py - Kneser-Ney as n-grams with back-off weights, exactly.

An interpolated model adds what each context length says. A back-off model looks up one number, or goes to a shorter
context. They are the same model if the number is the whole sum, and the weight of a context is its gamma:

    counted after h:        p(w | h), the sum
    never counted after h:  gamma(h) p(w | h without its oldest token)
"""

from collections.abc import Iterator, Sequence
from math import log10
from typing import TYPE_CHECKING, Any

from toy_gpt_train.models.base import NGrams

if TYPE_CHECKING:
    from toy_gpt_train.models.kneser_ney import KneserNey


def interpolated_ngrams(model: "KneserNey") -> NGrams:
    """Return what Model.ngrams() does."""
    added = _added(model)
    sizes = [sum(len(followers.counts) for followers in order.contexts.values()) for order in model.orders]
    sizes[0] = model.vocab_size
    return [
        (size + len(more), _rows(model, length, more))
        for length, (size, more) in enumerate(zip(sizes, added, strict=True))
    ]


def _added(model: "KneserNey") -> list[set[str]]:
    """Return, for each context length, the n-grams to list that were never counted.

    WHY: every context must be in the list of the n-grams that are as long, to have its weight there. Those at the start
    of the text came after nothing, so below the longest length they are not counted.
    """
    added: list[set[str]] = [set() for _ in model.orders]
    for length in range(len(added) - 1, 1, -1):
        needed = {*model.orders[length].contexts, *(ngram[:-1] for ngram in added[length])}
        added[length - 1] = {ngram for ngram in needed if not _is_counted(model, ngram)}
    return added


def _is_counted(model: "KneserNey", ngram: str) -> bool:
    followers = model.orders[len(ngram) - 1].contexts.get(ngram[:-1])
    return followers is not None and ord(ngram[-1]) in followers.counts


def _rows(model: "KneserNey", length: int, added: set[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the n-grams after contexts of this length: token ids, probability, weight."""
    if length == 0:
        yield from _rows_after(model, "", range(model.vocab_size))
        return
    for context, followers in sorted(model.orders[length].contexts.items(), key=lambda item: item[0]):
        yield from _rows_after(model, context, sorted(followers.counts))
    for ngram in sorted(added):
        yield from _rows_after(model, ngram[:-1], [ord(ngram[-1])])


def _rows_after(model: "KneserNey", context: str, token_ids: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    matched = model.matched(context)
    longer = model.orders[len(context) + 1].contexts if len(context) + 1 < len(model.orders) else {}
    for token_id in token_ids:
        followers = longer.get(context + chr(token_id))
        weight = 0.0 if followers is None else log10(followers.gamma)
        # WHY at most 0: the sum of shares can be a hair above 1.
        yield (*map(ord, context), token_id, min(log10(model.interpolate(matched, token_id)), 0.0), weight)
