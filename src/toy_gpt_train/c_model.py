"""c_model.py - Step c: a context becomes probabilities for the next token.

The learner's question: what is a language model? A function: give it the last N tokens, and it gives a
probability to each token that might come next. The simplest such function looks the answer up: a table with
one row for each context, one weight (logit) in it for each possible next token, and softmax over the row.

Concepts:
    context: the N token ids before the one to predict, oldest first. N = 0 is the unigram, N = 1 the bigram.
    row: the V weights of one context.

REQ: the table is never allocated as a whole: it has V to the N rows. A row that was never trained is all
zeros, so it need not exist.

It does not know how weights are learned (d_train.py) or stored (io_artifacts.py).

Run it: uv run python src/toy_gpt_train/c_model.py [FILE]
"""

from collections.abc import Sequence
from pathlib import Path

from toy_gpt_train.a_tokenizer import SimpleTokenizer, StepParser
from toy_gpt_train.b_vocab import Vocabulary
from toy_gpt_train.math_training import argmax, cross_entropy_loss, softmax

Context = tuple[int, ...]
Pair = tuple[Context, int]  # a context and the token that came after it


def token_row_index(context_ids: Sequence[int], vocab_size: int) -> int:
    """Return the row of a context: its token ids, oldest first, read as the digits of a number in base V.

    Example:
        >>> token_row_index((2, 5), vocab_size=10)
        25
    """
    index = 0
    for token_id in context_ids:
        index = index * vocab_size + token_id
    return index


class SimpleNextTokenModel:
    """A table of next-token weights: one row for each context of ``context_size`` tokens.

    Attributes:
        vocab_size: V, the number of different tokens, at least 1.
        context_size: N, how many tokens the model looks back, at least 0.
        weights: The rows of all contexts met in training, V floats each; every other row is all zeros.

    Example:
        >>> SimpleNextTokenModel(vocab_size=4, context_size=2).forward(0, 1)
        [0.25, 0.25, 0.25, 0.25]
    """

    def __init__(self, vocab_size: int, context_size: int = 3) -> None:
        if vocab_size < 1:
            raise ValueError(f"vocab_size must be at least 1, got {vocab_size}")
        if context_size < 0:
            raise ValueError(f"context_size must be at least 0, got {context_size}")
        self.vocab_size = vocab_size
        self.context_size = context_size
        self.weights: dict[Context, list[float]] = {}

    def check_context(self, context_ids: Context) -> None:
        """Raise ValueError unless these are N token ids."""
        if len(context_ids) != self.context_size:
            raise ValueError(f"a context has {self.context_size} token ids, got {len(context_ids)}")
        if not all(0 <= token_id < self.vocab_size for token_id in context_ids):
            raise ValueError(f"token ids are 0 to {self.vocab_size - 1}, got {context_ids}")

    def row(self, context_ids: Context) -> list[float]:
        """Return the weights of a context; all zeros if training never met it."""
        return self.weights.get(context_ids) or [0.0] * self.vocab_size

    def forward(self, *context_ids: int, previous_id: int | None = None, current_id: int | None = None) -> list[float]:
        """Return the probability of every token to come next: V numbers that sum to 1.

        The context is N token ids, oldest first; the last two can also be given by name. Raises ValueError if there
        are not N of them, or one is outside 0..V-1.
        """
        context_ids += tuple(token_id for token_id in (previous_id, current_id) if token_id is not None)
        self.check_context(context_ids)
        return softmax(self.row(context_ids))

    def round_weights(self, decimals: int) -> None:
        """Round every weight, and forget rows that are all zeros.

        REQ: done before the final evaluation, so that the artifacts hold what was evaluated.
        """
        rounded = {ids: [round(weight, decimals) + 0.0 for weight in row] for ids, row in self.weights.items()}
        self.weights = {ids: row for ids, row in rounded.items() if any(row)}


def evaluate(model: SimpleNextTokenModel, pairs: Sequence[Pair]) -> tuple[float, float]:
    """Return the average loss in nats, and the share of targets that the model thought most likely.

    Example:
        >>> evaluate(SimpleNextTokenModel(vocab_size=2, context_size=1), [((0,), 0), ((1,), 0)])
        (0.6931471805599453, 1.0)
    """
    total_loss = 0.0
    num_correct = 0
    for context_ids, target_id in pairs:
        probs = model.forward(*context_ids)
        total_loss += cross_entropy_loss(probs, target_id)
        num_correct += argmax(probs) == target_id
    return total_loss / len(pairs), num_correct / len(pairs)


def show(corpus: Path) -> None:
    """Print what an untrained model says: every token is as likely as any other."""
    tokens = SimpleTokenizer(corpus).get_tokens()
    vocab = Vocabulary(tokens)
    model = SimpleNextTokenModel(vocab.vocab_size(), context_size=3)
    context = (tokens * 3)[:3]  # WHY: a text may have fewer than three tokens
    probs = model.forward(*vocab.encode(context))
    print(f"context {context}: the table would have {model.vocab_size**3} rows; before training all are zeros")
    for token_id, probability in enumerate(probs[:10]):
        print(f"  {vocab.get_id_token(token_id) or '':6} {probability:.4f}")
    print(f"sum {sum(probs):.4f}: the model knows nothing yet, so every token is equally likely")


def main(argv: Sequence[str] | None = None) -> int:
    """Show what a language model is; return the exit code."""
    return StepParser(__doc__).add_corpus().run(show, argv)


if __name__ == "__main__":
    raise SystemExit(main())
