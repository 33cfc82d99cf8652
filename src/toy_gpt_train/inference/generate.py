"""generate.py - Continuing a text: predict, choose, append, repeat."""

import random
from collections.abc import Iterator, Sequence
from itertools import islice

from toy_gpt_train.inference.sampling import GREEDY, Sampling, choose_token
from toy_gpt_train.models.base import Model
from toy_gpt_train.tokenizers.base import Tokenizer


def next_tokens(model: Model, ids: Sequence[int], sampling: Sampling = GREEDY) -> Iterator[tuple[Sequence[float], int]]:
    """Continue a text, token by token, without end; InputError if it has fewer than ``model.min_context`` tokens.

    Yields:
        The V probabilities of the next token, and the id that was chosen.
    """
    generator = random.Random(sampling.seed)
    cache = model.new_cache()
    text = list(ids)
    while True:
        probs = model.next_probs(text, cache)
        chosen = choose_token(probs, sampling, generator)
        yield probs, chosen
        text.append(chosen)


def continuation(
    model: Model, ids: Sequence[int], num: int, sampling: Sampling = GREEDY
) -> tuple[Sequence[float], list[int]]:
    """Return the V probabilities of the next token, and the ids of the next ``num`` tokens; errors as next_tokens()."""
    steps = next_tokens(model, ids, sampling)
    probs, first = next(steps)
    return probs, [first, *(token_id for _, token_id in islice(steps, max(num - 1, 0)))][:num]


def prompt_ids(prompt: str, tokenizer: Tokenizer, model: Model) -> list[int]:
    """Return the last N ids of a prompt, all that the model looks at; InputError if one is not in the vocabulary."""
    unknown = tokenizer.vocab_size
    ids = tokenizer.encode(prompt, unknown)
    last = ids[max(len(ids) - model.context_size, 0) :]
    if unknown in last:
        tokenizer.token_ids(tokenizer.tokenize(prompt)[len(ids) - len(last) :])  # raises, with suggestions
    return last


def continued(prompt: str, ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """Return a prompt and the tokens that follow it as one text, spaced as the tokenizer does it."""
    start = prompt if tokenizer.exact else " ".join(prompt.split())
    return start + (tokenizer.separator if start and ids else "") + tokenizer.decode(ids)
