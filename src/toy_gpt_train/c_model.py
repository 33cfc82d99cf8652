"""c_model.py - Step c: a context becomes probabilities for the next token.

The learner's question: what is a language model? A function: give it the last N tokens, it gives a probability
to every token that might come next. The simplest such function looks the answer up: a table with one row for
each context of N tokens, one weight (logit) for each possible next token, and softmax over the row.

Concepts:
    context: the N token ids before the one to predict, oldest first. N = 0 is the unigram, N = 1 the bigram.
    row: the weights of one context, V of them.

REQ: the table of V to the N rows is never allocated.
WHY: a row that was never trained is all zeros, so it need not exist. In a trained row all tokens that never came
after the context have had the same gradient at every step, so they share one weight: a row is a small map
{token: weight} and the weight of the rest.

It does not know how weights are learned (d_train.py) or stored (io_artifacts.py).

Run it: uv run python src/toy_gpt_train/c_model.py
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import exp
from typing import ClassVar, Final, NamedTuple, Protocol

from toy_gpt_train.a_tokenizer import SimpleTokenizer
from toy_gpt_train.b_vocab import Vocabulary

Context = tuple[int, ...]
Pair = tuple[Context, int]


class Prediction(NamedTuple):
    """What a model made of one token of a text.

    Attributes:
        probability: The probability it gave to the token that came.
        likeliest: The id of the token it thought likeliest.
        context_seen: Whether training met the full context before it; None where the model keeps no record.
    """

    probability: float
    likeliest: int
    context_seen: bool | None


class NextTokenModel(Protocol):
    """The face of every rung of the ladder."""

    @property
    def vocab_size(self) -> int:
        """V, the number of different tokens."""

    @property
    def context_size(self) -> int:
        """N, how many tokens the model looks back at most."""

    @property
    def least_context(self) -> int:
        """How many tokens forward() needs at least."""

    def forward(self, *context_ids: int) -> list[float]:
        """Return V probabilities for the token after a context of up to N ids, oldest first."""

    def predictions(self, token_ids: Sequence[int], start: int = 0) -> Iterator[Prediction]:
        """Yield a prediction for each token of a text from place ``start`` on, given the tokens before it."""

    def num_parameters(self) -> int:
        """Return how many numbers training has set."""


class TableRow(NamedTuple):
    """The V logits of one context: those of ``weights``, and ``rest`` for each of the other tokens.

    Example:
        With V = 4, TableRow({2: 0.9}, -0.3) stands for the logits [-0.3, -0.3, 0.9, -0.3].
    """

    weights: dict[int, float]
    rest: float

    def logit(self, token_id: int) -> float:
        """Return the weight of one token."""
        return self.weights.get(token_id, self.rest)


# The row of every context that training has not met.
ZERO_ROW: Final = TableRow({}, 0.0)


def token_row_index(context_ids: Sequence[int], vocab_size: int) -> int:
    """Return the row of a context: its token ids read as the digits of a number in base V, oldest first.

    Args:
        context_ids: N token ids.
        vocab_size: V.

    Returns:
        An index from 0 to V to the N - 1; 0 for the empty context.

    Example:
        >>> token_row_index((2, 5), vocab_size=10)
        25
    """
    index = 0
    for token_id in context_ids:
        index = index * vocab_size + token_id
    return index


def check_context(context_ids: Context, model: NextTokenModel) -> None:
    """Refuse what is no context of a model.

    Raises:
        ValueError: There are too few or too many ids, or one is outside 0..V-1.

    Example:
        >>> check_context((0, 1), SimpleNextTokenModel(vocab_size=2, context_size=2))
    """
    least, most = model.least_context, model.context_size
    if not least <= len(context_ids) <= most:
        wanted = str(most) if least == most else f"at most {most}"
        raise ValueError(f"a context has {wanted} token ids, got {len(context_ids)}")
    if not all(0 <= token_id < model.vocab_size for token_id in context_ids):
        raise ValueError(f"token ids are 0 to {model.vocab_size - 1}, got {context_ids}")


def compact_row(weights: Mapping[int, float], rest: float, vocab_size: int) -> TableRow:
    """Write a row in its one canonical form: the most common weight is the rest, all others stand by token id.

    WHY one form: sums of floats depend on their order. Equal rows must give bit for bit equal probabilities,
    whether they come from training, from a dense CSV row or from a sparse one.

    Args:
        weights: Weights by token id.
        rest: The weight of each token that is not in ``weights``.
        vocab_size: V.

    Returns:
        The same V logits; the smaller weight is the rest where two are equally common.

    Example:
        >>> compact_row({0: 0.5, 1: -0.5, 2: -0.5}, 0.0, vocab_size=3)
        TableRow(weights={0: 0.5}, rest=-0.5)
    """
    counts = Counter(weights.values())
    counts[rest] += vocab_size - len(weights)
    most = max(counts.values())
    common = min(weight for weight, count in counts.items() if count == most)
    token_ids: Iterable[int] = sorted(weights) if common == rest else range(vocab_size)
    own = {token_id: weights.get(token_id, rest) for token_id in token_ids}
    return TableRow({token_id: weight for token_id, weight in own.items() if weight != common}, common)


def row_probabilities(row: TableRow, vocab_size: int) -> tuple[dict[int, float], float]:
    """Return softmax over a row, at the cost of what the row has seen instead of V.

    Args:
        row: The logits of one context.
        vocab_size: V.

    Returns:
        The probability of each token in ``row.weights``, and the probability of each other token.

    Example:
        >>> row_probabilities(TableRow({}, 0.0), vocab_size=4)
        ({}, 0.25)
    """
    top = max(row.weights.values(), default=row.rest)
    num_rest = vocab_size - len(row.weights)
    if num_rest > 0:
        top = max(top, row.rest)
    exps = {token_id: exp(weight - top) for token_id, weight in row.weights.items()}
    rest = exp(row.rest - top) if num_rest > 0 else 0.0
    total = sum(exps.values()) + num_rest * rest
    return {token_id: e / total for token_id, e in exps.items()}, rest / total


class SimpleNextTokenModel:
    """A table of next-token weights: one row for each context of ``context_size`` tokens.

    Args:
        vocab_size: V, the number of different tokens, at least 1.
        context_size: N, how many tokens the model looks back, at least 0.

    Attributes:
        rows: The rows that training has touched, by context; every other row is all zeros.

    Raises:
        ValueError: ``vocab_size`` or ``context_size`` is too small.

    Example:
        >>> SimpleNextTokenModel(vocab_size=4, context_size=2).forward(0, 1)
        [0.25, 0.25, 0.25, 0.25]
    """

    train_loss_on: ClassVar[str] = "the training text"

    def __init__(self, vocab_size: int, context_size: int = 3) -> None:
        if vocab_size < 1:
            raise ValueError(f"vocab_size must be at least 1, got {vocab_size}")
        if context_size < 0:
            raise ValueError(f"context_size must be at least 0, got {context_size}")
        self.vocab_size = vocab_size
        self.context_size = context_size
        self.rows: dict[Context, TableRow] = {}

    @property
    def least_context(self) -> int:
        """How many tokens forward() needs: all N, for a row has one context."""
        return self.context_size

    def row(self, context_ids: Context) -> TableRow:
        """Return the row of a context; all zeros where training never met it.

        Args:
            context_ids: N token ids, oldest first.

        Returns:
            The row.

        Raises:
            ValueError: There are not N of them, or one is no token id.

        Example:
            >>> SimpleNextTokenModel(vocab_size=4, context_size=1).row((3,))
            TableRow(weights={}, rest=0.0)
        """
        row = self.rows.get(context_ids)
        if row is not None:
            return row
        check_context(context_ids, self)
        return ZERO_ROW

    def forward(self, *context_ids: int) -> list[float]:
        """Return the probability of every token to come next.

        Args:
            *context_ids: N token ids, oldest first.

        Returns:
            V probabilities, by token id; they sum to 1.

        Raises:
            ValueError: There are not N ids, or one is outside 0..V-1.

        Example:
            >>> SimpleNextTokenModel(vocab_size=2, context_size=0).forward()
            [0.5, 0.5]
        """
        seen, rest = row_probabilities(self.row(context_ids), self.vocab_size)
        probs = [rest] * self.vocab_size
        for token_id, probability in seen.items():
            probs[token_id] = probability
        return probs

    def predictions(self, token_ids: Sequence[int], start: int = 0) -> Iterator[Prediction]:
        """Score a text: how likely was each token, given the tokens before it?

        The same numbers as forward() gives, but a context costs what its row has seen, and is worked out once.
        A token with fewer than N tokens before it has a context never seen.

        Args:
            token_ids: The text as T token ids.
            start: The place of the first token to score; those before it are context only.

        Yields:
            A prediction for each of the T - start tokens.

        Example:
            >>> list(SimpleNextTokenModel(vocab_size=4, context_size=1).predictions([2, 3], start=1))
            [Prediction(probability=0.25, likeliest=0, context_seen=False)]
        """
        unseen: tuple[dict[int, float], float, int] = {}, 1 / self.vocab_size, 0
        known: dict[Context, tuple[dict[int, float], float, int]] = {}
        for place in range(start, len(token_ids)):
            context_ids = tuple(token_ids[max(place - self.context_size, 0) : place])
            row = self.rows.get(context_ids)
            if row is not None and context_ids not in known:
                seen, rest = row_probabilities(row, self.vocab_size)
                known[context_ids] = seen, rest, _likeliest(seen, rest, self.vocab_size)
            seen, rest, best = unseen if row is None else known[context_ids]
            yield Prediction(seen.get(token_ids[place], rest), best, row is not None)

    def num_parameters(self) -> int:
        """Return how many weights training has touched: the cells of all rows that exist.

        Example:
            >>> SimpleNextTokenModel(vocab_size=4).num_parameters()
            0
        """
        return len(self.rows) * self.vocab_size

    def round_weights(self, decimals: int) -> None:
        """Round every weight, bring every row to its canonical form, and forget rows that are all zeros.

        REQ: done before the final evaluation, so that what the artifacts hold is what was evaluated.

        Args:
            decimals: Digits after the point.
        """
        for context_ids, (weights, rest) in list(self.rows.items()):
            rounded = {token_id: round(weight, decimals) + 0.0 for token_id, weight in weights.items()}
            row = compact_row(rounded, round(rest, decimals) + 0.0, self.vocab_size)
            self.rows[context_ids] = row
            if row == ZERO_ROW:
                del self.rows[context_ids]


def _likeliest(seen: Mapping[int, float], rest: float, vocab_size: int) -> int:
    """Return argmax of the row's V probabilities: the smallest id among the largest."""
    best = max(seen.values(), default=0.0)
    candidates = [token_id for token_id, probability in seen.items() if probability == best]
    if rest >= best and len(seen) < vocab_size:
        unseen = next(token_id for token_id in range(vocab_size) if token_id not in seen)
        candidates = [*candidates, unseen] if rest == best else [unseen]
    return min(candidates)


def main() -> None:
    """Show what an untrained model says: every token is as likely as any other."""
    tokens = SimpleTokenizer().get_tokens()
    vocab = Vocabulary(tokens)
    model = SimpleNextTokenModel(vocab.vocab_size(), context_size=3)
    context = tokens[:3]
    probs = model.forward(*vocab.encode(context))
    print(f"context {context}: the table would have {model.vocab_size**3} rows; before training all are zeros")
    for token_id, probability in enumerate(probs):
        print(f"  {vocab.get_id_token(token_id) or '':6} {probability:.4f}")
    print(f"sum {sum(probs):.4f}: the model knows nothing yet, so every token is equally likely")


if __name__ == "__main__":
    main()
