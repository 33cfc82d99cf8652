"""evaluate.py - How good is a model on text it has not seen?

Concepts:
    bits per byte: all surprise in bits over the bytes that the scored tokens stand for; comparable across tokenizers.
    unigram baseline: the loss of guessing by frequency alone; a model that looks at context must beat it.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import fsum, log
from typing import Final

from toy_gpt_train.models.base import Model
from toy_gpt_train.models.scores import Prediction, Scores, summarize
from toy_gpt_train.progress import OnProgress

_REPORT_EVERY: Final = 200


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found; losses in nats per token.

    Attributes:
        scores: Loss, accuracy and the like of the scored tokens.
        num_bytes: The bytes of the text that they stand for.
        unigram_loss: The loss of guessing by frequency, on the same tokens.
        unknown_tokens: How many tokens of the text are not in the vocabulary.
        seconds: How long it took.
    """

    scores: Scores
    num_bytes: int
    unigram_loss: float
    unknown_tokens: int
    seconds: float

    @property
    def loss(self) -> float:
        """Average cross-entropy in nats per token."""
        return self.scores.loss

    @property
    def perplexity(self) -> float:
        """exp(loss)."""
        return self.scores.perplexity

    @property
    def accuracy(self) -> float:
        """The share of tokens that were the most likely."""
        return self.scores.accuracy

    @property
    def bits_per_byte(self) -> float:
        """All surprise in bits over the bytes of the text."""
        return self.scores.bits_per_byte(self.num_bytes)

    def __repr__(self) -> str:
        unknown = f", {self.unknown_tokens} unknown" if self.unknown_tokens else ""
        return (
            f"<Evaluation: loss {self.loss:.4f}, perplexity {self.perplexity:.2f}, "
            f"{self.bits_per_byte:.4f} bits per byte, {self.scores.num_tokens} tokens{unknown}>"
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
) -> Evaluation:
    """Score every token of a text from ``start`` on; nothing is sampled.

    A context with an unknown token in it counts as never seen.

    Args:
        model: Any model.
        ids: The text as T token ids; V stands for an unknown token.
        sizes: The bytes of the text that each token stands for.
        frequencies: How often the training text had each token of the vocabulary.
        start: The first position to score; tokens before it are context only.
        skip_unknown: Whether to leave unknown tokens out; otherwise each gets the probability 1/V.
        on_progress: Told now and then how far the scoring is.

    Raises:
        ValueError: No token is left to score.
    """
    begun = time.perf_counter()
    unknown = model.vocab_size
    scored = [i for i in range(start, len(ids)) if not (skip_unknown and ids[i] == unknown)]

    def predictions() -> Iterator[tuple[Prediction, int]]:
        kept = iter(scored)
        position = next(kept, None)
        for i, prediction in enumerate(watched(model, ids, start, on_progress), start=start):
            if i == position:
                position = next(kept, None)
                yield (prediction._replace(probability=1 / unknown) if ids[i] == unknown else prediction), ids[i]

    scores = summarize(predictions())
    return Evaluation(
        scores,
        num_bytes=sum(sizes[i] for i in scored),
        unigram_loss=unigram_loss(frequencies, [ids[i] for i in scored]),
        unknown_tokens=sum(token_id == unknown for token_id in ids[start:]),
        seconds=time.perf_counter() - begun,
    )


def watched(model: Model, ids: Sequence[int], start: int, on_progress: OnProgress | None) -> Iterator[Prediction]:
    """Score a text as Model.score() does, and tell now and then how far it is: the work before it is done."""
    for number, prediction in enumerate(model.score(ids, start), start=1):
        yield prediction
        if on_progress is not None and number % _REPORT_EVERY == 0:
            on_progress(1.0, f"scored {number} of {len(ids) - start} tokens")


def unigram_loss(frequencies: Sequence[int], ids: Sequence[int]) -> float:
    """Return the loss of guessing every token by its frequency in the training text.

    WHY add one: a token that training never met must keep a probability (Laplace's rule of succession).

    Args:
        frequencies: How often each token occurred in the training text, by id.
        ids: The tokens to score, at least one; V stands for any token outside the vocabulary.

    Returns:
        Nats per token: the mean of -log((frequency + 1) / (T + V)).

    Example:
        >>> round(unigram_loss([3, 1], [0, 1]), 4)
        0.752
    """
    total = sum(frequencies) + len(frequencies)
    surprise = [log(total / (frequency + 1)) for frequency in (*frequencies, 0)]
    return fsum(surprise[token_id] for token_id in ids) / len(ids)
