"""interpolated.py - Kneser-Ney as n-grams with back-off weights, exactly.

An interpolated model adds what each context length says. A back-off model looks up one number, or goes to a shorter
context. They are the same model if the number is the whole sum, and the weight of a context is its gamma:

    counted after h:        p(w | h), the sum
    never counted after h:  gamma(h) p(w | h without its oldest token)
"""

from collections.abc import Iterable, Iterator
from math import log10
from typing import TYPE_CHECKING, Any

from toy_gpt_train.models.base import NGrams

if TYPE_CHECKING:
    from toy_gpt_train.models.kneser_ney import KneserNey


def interpolated_ngrams(model: "KneserNey") -> NGrams:
    """Return what Model.ngrams() does."""
    added = _added(model)
    sizes = [len(level.tokens) for level in model.trie.levels]
    sizes[0] = model.vocab_size
    return [
        (size + len(more), _rows(model, length, more))
        for length, (size, more) in enumerate(zip(sizes, added, strict=True))
    ]


def _added(model: "KneserNey") -> list[set[str]]:
    """Return, for each context length, the n-grams to list that were never counted, newest token first.

    WHY: every context must be in the list of the n-grams that are as long, to have its weight there. Those at the start
    of the text came after nothing, so below the longest length they are not counted.
    """
    added: list[set[str]] = [set() for _ in model.trie.levels]
    for length in range(len(added) - 1, 1, -1):
        needed = {*model.trie.contexts(length), *(ngram[1:] for ngram in added[length])}
        added[length - 1] = {ngram for ngram in needed if not _is_counted(model, ngram)}
    return added


def _is_counted(model: "KneserNey", ngram: str) -> bool:
    matched = model.matched(ngram[1:])
    return len(matched) == len(ngram) and ord(ngram[0]) in matched[-1].counts


def _rows(model: "KneserNey", length: int, added: set[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the n-grams after contexts of this length: token ids, probability, weight."""
    if length == 0:
        yield from _rows_after(model, "", range(model.vocab_size))
        return
    for context in sorted(model.trie.contexts(length), key=_oldest_first):
        yield from _rows_after(model, context, model.matched(context)[-1].counts)
    for ngram in sorted(added, key=_oldest_first):
        yield from _rows_after(model, ngram[1:], [ord(ngram[0])])


def _rows_after(model: "KneserNey", context: str, token_ids: Iterable[int]) -> Iterator[tuple[Any, ...]]:
    matched = model.matched(context)
    for token_id in token_ids:
        longer = model.matched(chr(token_id) + context)
        weight = log10(longer[-1].gamma) if len(longer) == len(context) + 2 else 0.0
        # WHY at most 0: the sum of shares can be a hair above 1.
        yield (
            *map(ord, _oldest_first(context)),
            token_id,
            min(log10(model.interpolate(matched, token_id)), 0.0),
            weight,
        )


def _oldest_first(context: str) -> str:
    return context[::-1]
