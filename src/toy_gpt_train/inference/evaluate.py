"""evaluation.py - How good is a model on text it has not seen?

Concepts:
    loss: the average cross-entropy, in nats a token.
    perplexity: exp(loss), the number of equally likely tokens that would surprise as much.
    bits per byte: all surprise in bits over the bytes of the text; comparable across tokenizers.
    unigram baseline: the loss of guessing by frequency alone; a model that looks at context must beat it.

It knows models by their face only, and no files.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, fsum, log

from toy_gpt_train.c_model import NextTokenModel, Prediction
from toy_gpt_train.math_training import SMALLEST_PROBABILITY, conditional_entropy

_SHORT_CONTEXT = 8
_REPORT_EVERY = 200


@dataclass(frozen=True)
class Scores:
    """What an evaluation found.

    Attributes:
        num_tokens: How many tokens were scored.
        loss: Average cross-entropy in nats a token.
        accuracy: The share of tokens that were the likeliest.
        unseen_context_share: The share of tokens whose full context training never met; None where the model keeps
            no record of contexts.
    """

    num_tokens: int
    loss: float
    accuracy: float
    unseen_context_share: float | None

    @property
    def perplexity(self) -> float:
        """exp(loss)."""
        return exp(self.loss)

    @property
    def bits_per_token(self) -> float:
        """The loss in bits: nats over log 2."""
        return self.loss / log(2)

    def bits_per_byte(self, num_bytes: int) -> float:
        """Return the total surprise in bits over the bytes of the text.

        Args:
            num_bytes: The size of the scored text in UTF-8.
        """
        return self.bits_per_token * self.num_tokens / num_bytes


def score(
    model: NextTokenModel,
    token_ids: Sequence[int],
    start: int = 0,
    on_progress: Callable[[float, str], None] | None = None,
) -> Scores:
    """Score every token of a text from ``start`` on; nothing is sampled.

    Args:
        model: Any rung.
        token_ids: The text; tokens before ``start`` are context only.
        start: The place of the first token to score.
        on_progress: Called now and then with a fraction of 1, for what came before is done, and how far the scoring is.

    Returns:
        The scores.

    Raises:
        ValueError: There is no token to score.

    Example:
        A model that gives every one of 4 tokens 1/4 has loss log(4) = 1.3863 and perplexity 4.
    """

    def watched() -> Iterator[tuple[Prediction, int]]:
        scored = zip(model.predictions(token_ids, start), token_ids[start:], strict=True)
        for number, one in enumerate(scored, start=1):
            yield one
            if on_progress is not None and number % _REPORT_EVERY == 0:
                on_progress(1.0, f"scored {number} of {len(token_ids) - start} tokens")

    return summarize(watched())


def summarize(scored: Iterable[tuple[Prediction, int]]) -> Scores:
    """Average (prediction, token that came) observations.

    Raises:
        ValueError: There are none.

    Example:
        >>> summarize([(Prediction(0.5, 1, True), 1), (Prediction(0.5, 1, False), 0)]).accuracy
        0.5
    """
    losses: list[float] = []
    correct = unseen = 0
    recorded = True
    for prediction, token_id in scored:
        losses.append(-log(max(prediction.probability, SMALLEST_PROBABILITY)))
        correct += prediction.likeliest == token_id
        unseen += not prediction.context_seen
        recorded = recorded and prediction.context_seen is not None
    if not losses:
        raise ValueError("there is no token to score")
    count = len(losses)
    return Scores(count, fsum(losses) / count, correct / count, unseen / count if recorded else None)


def score_with_unknown(
    model: NextTokenModel, token_ids: Sequence[int | None], unknown: str
) -> tuple[Scores, list[int]]:
    """Score a text in which some tokens are not in the vocabulary (None).

    A context with an unknown token in it counts as never seen.

    Args:
        model: Any rung.
        token_ids: The text; None for an unknown token.
        unknown: ``skip`` leaves unknown tokens out of the average; ``uniform`` gives each the probability 1/V.

    Returns:
        The scores, and the ids of the scored tokens (V for an unknown one).

    Raises:
        ValueError: No token is left to score.

    Example:
        With ``skip``, the text [0, None] of a uniform model over 4 tokens has the scored ids [0]; with ``uniform``
        [0, 4].
    """
    outside = model.vocab_size
    ids = [outside if token_id is None else token_id for token_id in token_ids]
    scored = [
        (prediction._replace(probability=1 / model.vocab_size) if token_id == outside else prediction, token_id)
        for prediction, token_id in zip(model.predictions(ids), ids, strict=True)
        if token_id != outside or unknown == "uniform"
    ]
    return summarize(scored), [token_id for _, token_id in scored]


def longest_context_floor(token_ids: Sequence[int], context_size: int) -> float:
    """Return the lowest average loss that a table of a long context can reach on a text.

    Only contexts that occur twice and more can leave any surprise. So the few places whose last tokens occur twice
    are found first, and full contexts are compared at those places alone.

    Args:
        token_ids: The text as T token ids.
        context_size: N, below T.

    Returns:
        Nats a token, as conditional_entropy of all T - N pairs.

    Example:
        >>> round(longest_context_floor([0, 1, 0, 2, 0, 1], 1), 4)
        0.3819
    """
    text = "".join(map(chr, token_ids))  # slices of a string are the smallest windows there are
    short = min(context_size, _SHORT_CONTEXT)
    places = range(context_size, len(text))
    met = Counter(text[i - short : i] for i in places)
    twice = [i for i in places if met[text[i - short : i]] > 1]
    return conditional_entropy((text[i - context_size : i], text[i]) for i in twice) * len(twice) / len(places)


def unigram_loss(frequencies: Sequence[int], token_ids: Sequence[int]) -> float:
    """Return the loss of guessing every token by its frequency in the training text.

    WHY add one: a token that training never met must keep a probability (Laplace's rule of succession).

    Args:
        frequencies: How often each token occurred in the training text, by id.
        token_ids: The tokens to score, at least one; V stands for any token outside the vocabulary.

    Returns:
        Nats a token: the mean of -log((frequency + 1) / (T + V)).

    Example:
        >>> round(unigram_loss([3, 1], [0, 1]), 4)
        0.752
    """
    total = sum(frequencies) + len(frequencies)
    surprise = [log(total / (frequency + 1)) for frequency in (*frequencies, 0)]
    return fsum(surprise[token_id] for token_id in token_ids) / len(token_ids)
