"""evaluate.py - How good is a model on text it has not seen?

Concepts:
    bits per byte: the total loss in bits over the bytes that the scored tokens stand for; comparable across tokenizers.
    unigram baseline: the loss of guessing by frequency alone; a model that looks at context must beat it.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import fsum, log
from typing import Final

from toy_gpt_train.math_training import SMALLEST_PROBABILITY
from toy_gpt_train.models.base import Model
from toy_gpt_train.models.scores import Prediction, Scores, summarize
from toy_gpt_train.progress import OnProgress

_REPORT_EVERY: Final = 200


@dataclass(frozen=True, repr=False)
class Evaluation(Scores):
    """The scores of a text, and what they are compared with."""

    num_bytes: int  # of the text that the scored tokens stand for
    unigram_loss: float  # of guessing by frequency, on the same tokens
    unknown_tokens: int  # how many tokens of the text are not in the vocabulary
    seconds: float  # how long scoring took

    @property
    def bits_per_byte(self) -> float:
        """The total loss in bits over the bytes of the text."""
        return self.bits_per_token * self.num_tokens / self.num_bytes

    def __repr__(self) -> str:
        unknown = f", {self.unknown_tokens} unknown" if self.unknown_tokens else ""
        return (
            f"<Evaluation: loss {self.loss:.4f}, perplexity {self.perplexity:.2f}, "
            f"{self.bits_per_byte:.4f} bits per byte, {self.num_tokens} tokens{unknown}>"
        )


def evaluate(
    model: Model,
    ids: Sequence[int],
    sizes: Sequence[int],
    frequencies: Sequence[int],
    start: int = 0,
    *,
    skip_unknown: bool = False,
    on_progress: OnProgress | None = None,
    surprises: list[float] | None = None,
) -> Evaluation:
    """Score every token of a text from ``start`` on; ValueError if none is left to score.

    The id V stands for an unknown token: it gets the probability 1/V, or is left out with ``skip_unknown``. A context
    with one in it counts as never seen. ``sizes`` are the bytes that each token from ``start`` on stands for, and
    ``frequencies`` say how often the training text had each token of the vocabulary. ``on_progress`` is told how far
    scoring is; the surprise of each scored token, in nats, is added to ``surprises``.
    """
    begun = time.perf_counter()
    unknown = model.vocab_size
    tokens = ids[start:]
    kept = [token_id for token_id in tokens if token_id != unknown] if skip_unknown else tokens

    def predictions() -> Iterator[tuple[Prediction, int]]:
        for prediction, token_id in zip(watched(model, ids, start, on_progress), tokens, strict=True):
            if token_id != unknown:
                yield prediction, token_id
            elif not skip_unknown:
                yield prediction._replace(probability=1 / unknown), token_id

    def noted(scored: Iterator[tuple[Prediction, int]]) -> Iterator[tuple[Prediction, int]]:
        for prediction, token_id in scored:
            if surprises is not None:
                surprises.append(-log(max(prediction.probability, SMALLEST_PROBABILITY)))
            yield prediction, token_id

    return Evaluation(
        **vars(summarize(noted(predictions()))),
        num_bytes=sum(s for s, i in zip(sizes, tokens, strict=True) if i != unknown or not skip_unknown),
        unigram_loss=unigram_loss(frequencies, kept),
        unknown_tokens=tokens.count(unknown),
        seconds=time.perf_counter() - begun,
    )


def watched(model: Model, ids: Sequence[int], start: int, on_progress: OnProgress | None) -> Iterator[Prediction]:
    """Score a text with Model.score(), and tell how far it is; the fraction stays 1, for training is over."""
    for number, prediction in enumerate(model.score(ids, start), start=1):
        yield prediction
        if on_progress is not None and number % _REPORT_EVERY == 0:
            on_progress(1.0, f"scored {number} of {len(ids) - start} tokens")


def unigram_loss(frequencies: Sequence[int], ids: Sequence[int]) -> float:
    """Return the loss of guessing each token by its frequency, the mean of -log((frequency + 1) / (T + V)), in nats.

    WHY plus one: a token that training never met must keep a probability (Laplace's rule of succession).
    ``frequencies`` says how often each token occurred in the training text of T tokens; the id V stands for any unknown
    token.

    Example:
        >>> round(unigram_loss([3, 1], [0, 1]), 4)
        0.752
    """
    total = sum(frequencies) + len(frequencies)
    surprise = [log(total / (frequency + 1)) for frequency in (*frequencies, 0)]
    return fsum(surprise[token_id] for token_id in ids) / len(ids)
