"""generate.py - Continuing a text: predict, choose, append, repeat; and the text of it as it comes.

Concepts:
    stop text: generation ends as soon as the new text contains one. The stop text and what follows are cut off.
    end of text: a special token that training texts end with; generation ends there too.
"""

import random
from codecs import getincrementaldecoder
from collections.abc import Iterator, Sequence
from itertools import chain, islice, tee
from operator import itemgetter
from typing import Any, Final, NamedTuple

from toy_gpt_train.errors import InputError
from toy_gpt_train.inference.sampling import GREEDY, Sampling, choose_token, penalized
from toy_gpt_train.math_training import softmax
from toy_gpt_train.models.base import Model
from toy_gpt_train.tokenizers.base import Tokenizer

ENDS: Final = ("<|endoftext|>", "<|end_of_text|>", "</s>")  # of GPT-2, Llama 3 and Llama 2


Chosen = tuple[Sequence[float], int]  # the V probabilities that the model gives to the next token, and the id chosen


class _Text:
    """A text that grows by chosen tokens."""

    def __init__(self, ids: Sequence[int], sampling: Sampling) -> None:
        self.ids = list(ids)
        self._seen = set(ids)
        self._sampling, self._generator = sampling, random.Random(sampling.seed)

    def grow(self, probs: Sequence[float], logits: Sequence[float] = ()) -> Chosen:
        """Choose the next token; the logits are only needed for a repetition penalty."""
        penalty = self._sampling.repetition_penalty
        weighed = probs if penalty == 1 else softmax(penalized(logits, self._seen, penalty))
        chosen = choose_token(weighed, self._sampling, self._generator)
        self.ids.append(chosen)
        self._seen.add(chosen)
        return probs, chosen


def next_tokens(model: Model, ids: Sequence[int], sampling: Sampling = GREEDY, cache: Any = None) -> Iterator[Chosen]:
    """Continue a text, token by token, without end; InputError if it has fewer than ``model.min_context`` tokens.

    With a ``cache`` of the model, what it holds of the text is not read again.
    """
    text, cache = _Text(ids, sampling), model.new_cache() if cache is None else cache
    while True:
        if sampling.repetition_penalty == 1:
            yield text.grow(model.next_probs(text.ids, cache))
        else:
            logits = model.logits(text.ids, cache)
            yield text.grow(softmax(logits), logits)


def _next_tokens_together(model: Model, ids: Sequence[int], samplings: Sequence[Sampling]) -> list[Iterator[Chosen]]:
    """Continue a text in several ways at once. What one iterator is ahead of another is kept in memory."""

    def rows() -> Iterator[list[Chosen]]:
        texts, cache = [_Text(ids, sampling) for sampling in samplings], model.new_cache()
        while True:
            logits = model.logits_of([text.ids for text in texts], cache)
            yield [text.grow(softmax(row), row) for text, row in zip(texts, logits, strict=True)]

    return [map(itemgetter(i), one) for i, one in enumerate(tee(rows(), len(samplings)))]


class Step(NamedTuple):
    """One token that was chosen, and what it adds to the text."""

    probs: Sequence[float]  # of all V tokens, as the model gives them
    token_id: int
    text: str  # what is certain now; part of a character, or of what may be a stop text, waits for a later step
    stopped: bool  # whether the text ends here: a stop text is complete, or this is the end-of-text token


def write(
    model: Model, tokenizer: Tokenizer, ids: Sequence[int], num: int, sampling: Sampling = GREEDY, start: str = ""
) -> Iterator[Step]:
    """Continue a text by at most ``num`` tokens; the steps' texts, joined, are what follows ``start``.

    ``start`` is the text of ``ids``, and of what was before them. InputError as in next_tokens(), or if a stop text can
    never come.

    Cost: what the model takes, and O(1) for the text; the stop texts add their own length for each token.
    """
    return _steps(next_tokens(model, ids, sampling), tokenizer, num, sampling, start)


def write_all(
    model: Model,
    tokenizer: Tokenizer,
    ids: Sequence[int],
    num: int,
    samplings: Sequence[Sampling],
    start: str = "",
    cache: Any = None,
) -> list[Iterator[Step]]:
    """Continue a text in several ways; see write(). If ``model.writes_together``, take the steps in turn.

    Otherwise they share a ``cache``, which may have read the text already.
    """
    if model.writes_together:
        chosen = _next_tokens_together(model, ids, samplings)
    else:
        shared = model.new_cache() if cache is None else cache
        chosen = [next_tokens(model, ids, sampling, shared) for sampling in samplings]
    return [_steps(one, tokenizer, num, sampling, start) for one, sampling in zip(chosen, samplings, strict=True)]


def _steps(chosen: Iterator[Chosen], tokenizer: Tokenizer, num: int, sampling: Sampling, start: str) -> Iterator[Step]:
    end = None if sampling.ignore_eos else end_of_text(tokenizer)
    stop = _stop_texts(sampling.stop, tokenizer)
    decoder = getincrementaldecoder("utf-8")("replace")
    begins, held = not start, ""
    for number, (probs, token_id) in enumerate(islice(chosen, num), start=1):
        ended = token_id == end
        last = ended or number == num
        held += decoder.decode(b"" if ended else tokenizer.decode_bytes([token_id], begins=begins), last)
        begins = False
        certain, found = _certain(held, stop)
        if last and not found:
            certain = len(held)
        yield Step(probs, token_id, held[:certain], ended or found)
        if ended or found:
            return
        held = held[certain:]


def begun(
    steps: Iterator[Step], model: Model, ids: Sequence[int], cache: Any = None
) -> tuple[Sequence[float], Iterator[Step]]:
    """Take the first step of write(); return the probabilities of the token after ``ids``, and all the steps."""
    first = next(steps, None)
    return (model.next_probs(ids, cache), steps) if first is None else (first.probs, chain([first], steps))


def _certain(text: str, stop: Sequence[str]) -> tuple[int, bool]:
    """Return how much of a text comes before any stop text, even one that is only begun, and whether one is there.

    Example:
        >>> _certain("cat sat", ["sat"]), _certain("cat s", ["sat"])
        ((4, True), (4, False))
    """
    if not stop:
        return len(text), False
    if places := [place for one in stop if (place := text.find(one)) >= 0]:
        return min(places), True
    parts = [n for one in stop for n in range(1, min(len(one), len(text) + 1)) if text.endswith(one[:n])]
    return len(text) - max(parts, default=0), False


def _stop_texts(stop: Sequence[str], tokenizer: Tokenizer) -> list[str]:
    for text in stop:
        if tokenizer.separator and any(char.isspace() and char != tokenizer.separator for char in text):
            raise InputError(f"the stop text {text!r:.60} never comes: this tokenizer writes no such white space")
    # WHY: what separates the stop text from the word before it goes with it.
    return [*stop, *(tokenizer.separator + text for text in stop if tokenizer.separator)]


def end_of_text(tokenizer: Tokenizer) -> int | None:
    """Return the id of the special token that ends a text: one of ENDS or the first one; None if there is none."""
    if not tokenizer.special:
        return None
    return tokenizer.token_ids([next((end for end in ENDS if end in tokenizer.special), tokenizer.special[0])])[0]


def prompt_ids(prompt: str, tokenizer: Tokenizer, model: Model) -> list[int]:
    """Return the last N ids of a prompt, all that the model looks at; InputError if one is not in the vocabulary."""
    unknown = tokenizer.vocab_size
    ids = tokenizer.encode(prompt, unknown)
    last = ids[max(len(ids) - model.context_size, 0) :]
    if unknown in last:
        tokenizer.token_ids(tokenizer.tokenize(prompt)[len(ids) - len(last) :])  # raises, with suggestions
    return last


def prompt_text(prompt: str, tokenizer: Tokenizer) -> str:
    """Return a prompt as the text that continues it shows it: spaced as the tokenizer does it."""
    return tokenizer.separator.join(tokenizer.tokenize(prompt)) if tokenizer.separator else prompt
