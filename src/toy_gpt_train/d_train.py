"""d_train.py - Step d: the model learns, and what it learned becomes files.

The learner's question: how does it learn? By being surprised. For each pair (context, next token) the model says
how likely it thought that token; then every weight of the context's row moves a small step that makes the token
a little more likely next time. That is stochastic gradient descent on softmax cross-entropy:

    row[j] -= learning_rate * (probs[j] - (1 if j == target else 0))

Responsibilities:
- Make (context, target) pairs from token ids.
- Train: pairs in the order of the text, one update per pair. One pass over all pairs is an epoch.
- Write the artifacts and the training log.

It does not know how text is generated: e_infer.py reads the artifacts and nothing else.

Run it: uv run python src/toy_gpt_train/d_train.py [--context 1] [--corpus my.txt] [--base-dir my_run]
"""

from collections.abc import Sequence
from pathlib import Path

from toy_gpt_train.a_tokenizer import SimpleTokenizer, StepParser
from toy_gpt_train.b_vocab import Vocabulary
from toy_gpt_train.c_model import Pair, SimpleNextTokenModel, token_row_index
from toy_gpt_train.io_artifacts import RowLabeler, VocabularyLike, context_label, default_base_dir, write_artifacts
from toy_gpt_train.math_training import argmax, conditional_entropy, cross_entropy_loss, softmax

EpochRecord = dict[str, float]


def make_training_pairs(token_ids: Sequence[int], context_size: int = 3) -> list[Pair]:
    """Slide a window over the text: each token with a full context before it becomes a (context, target) pair.

    Example:
        >>> make_training_pairs([3, 1, 2, 4], context_size=2)
        [((3, 1), 2), ((1, 2), 4)]
    """
    if context_size < 0:
        raise ValueError(f"context_size must be at least 0, got {context_size}")
    return [(tuple(token_ids[i - context_size : i]), token_ids[i]) for i in range(context_size, len(token_ids))]


def train_model(
    model: SimpleNextTokenModel, pairs: Sequence[Pair], learning_rate: float, epochs: int
) -> list[EpochRecord]:
    """Train a table by gradient descent: pairs in order, one update per pair, ``epochs`` times over.

    The model's rows are changed; training continues from the weights it has.

    Returns:
        One record per epoch: ``epoch`` from 1, ``avg_loss`` in nats, ``accuracy`` from 0 to 1.

    Raises:
        ValueError: There are no pairs, or a number makes no sense; nothing has been changed.

    Example:
        >>> model = SimpleNextTokenModel(vocab_size=2, context_size=0)
        >>> train_model(model, [((), 1)], learning_rate=1.0, epochs=1)
        [{'epoch': 1, 'avg_loss': 0.6931471805599453, 'accuracy': 0.0}]
        >>> model.weights
        {(): [-0.5, 0.5]}
    """
    check_training(model, pairs, learning_rate, epochs)
    history: list[EpochRecord] = []
    for epoch in range(1, epochs + 1):
        total_loss = 0.0
        num_correct = 0
        for context_ids, target_id in pairs:
            row = model.weights.setdefault(context_ids, [0.0] * model.vocab_size)
            probs = softmax(row)
            total_loss += cross_entropy_loss(probs, target_id)
            num_correct += argmax(probs) == target_id
            for j, probability in enumerate(probs):
                gradient = probability - (1.0 if j == target_id else 0.0)
                row[j] -= learning_rate * gradient
        history.append({"epoch": epoch, "avg_loss": total_loss / len(pairs), "accuracy": num_correct / len(pairs)})
    return history


def check_training(model: SimpleNextTokenModel, pairs: Sequence[Pair], learning_rate: float, epochs: int) -> None:
    """Raise ValueError for what cannot be trained."""
    if not 0 < learning_rate <= 1000:
        raise ValueError(f"the learning rate must be above 0 and at most 1000, got {learning_rate}")
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    if not pairs:
        raise ValueError("there are no training pairs: the text is no longer than the context")
    for context_ids, target_id in pairs:
        model.check_context(context_ids)
        if not 0 <= target_id < model.vocab_size:
            raise ValueError(f"token ids are 0 to {model.vocab_size - 1}, got {target_id}")


def row_labeler(vocab: VocabularyLike, context_size: int) -> RowLabeler:
    """Return the function that names a row of the table by its index; the inverse of token_row_index.

    Example:
        >>> row_labeler(Vocabulary(["cat", "the"]), 2)(2)
        'the|cat'
    """

    def label(row_index: int) -> str:
        tokens: list[str] = []
        rest = row_index
        for _ in range(context_size):
            rest, token_id = divmod(rest, vocab.vocab_size())
            tokens.append(vocab.get_id_token(token_id) or "")
        if rest != 0:
            raise ValueError(f"no row {row_index} in a table of context size {context_size}")
        return context_label(tokens[::-1])

    return label


# The names of the older series.
Context2Pair = Context3Pair = Pair
token_row_index_context2 = token_row_index_context3 = token_row_index


def row_labeler_context2(vocab: VocabularyLike, vocab_size: int) -> RowLabeler:
    """Return row_labeler(vocab, 2); ``vocab_size`` must be the vocabulary's."""
    return row_labeler(vocab, 2)


def row_labeler_context3(vocab: VocabularyLike, vocab_size: int) -> RowLabeler:
    """Return row_labeler(vocab, 3); ``vocab_size`` must be the vocabulary's."""
    return row_labeler(vocab, 3)


def train_run(corpus: Path, context: int, learning_rate: float, epochs: int, base_dir: Path) -> None:
    """Do steps a to d: text, tokens, ids, training, files."""
    tokens = SimpleTokenizer(corpus).get_tokens()
    vocab = Vocabulary(tokens)
    model = SimpleNextTokenModel(vocab.vocab_size(), context)
    pairs = make_training_pairs(vocab.encode(tokens), context)
    history = train_model(model, pairs, learning_rate, epochs)
    floor = conditional_entropy(pairs)
    for record in history:
        record.update(loss_floor=floor, above_floor=record["avg_loss"] - floor)
    kind = {0: "unigram", 1: "bigram"}.get(context, f"context-{context}")
    meta = write_artifacts(
        base_dir=base_dir,
        corpus_path=corpus,
        vocab=vocab,
        model=model,
        model_kind=kind,
        learning_rate=learning_rate,
        epochs=epochs,
        row_labeler=row_labeler(vocab, context),
        history=history,
    )
    print(f"model     {kind}: {len(model.weights)} rows of {model.vocab_size} weights")
    print(f"corpus    {corpus.name}: {len(tokens)} tokens, {vocab.vocab_size()} different, {len(pairs)} pairs")
    print("epoch  avg_loss  accuracy  above_floor")
    for record in history[:: max(epochs // 8, 1)]:
        print("{epoch:5}  {avg_loss:.6f}  {accuracy:.6f}  {above_floor:11.6f}".format(**record))
    print("final     loss {train_loss}, accuracy {train_accuracy}".format(**meta["metrics"]))
    print(f"written   {', '.join(meta['artifacts'])} and the training log, below {base_dir}")


def main(argv: Sequence[str] | None = None) -> int:
    """Train a table and write its files; return the exit code."""
    parser = StepParser(__doc__).add_corpus("--corpus")
    parser.add_argument("--context", type=int, default=3, help="how many tokens the model looks back (%(default)s)")
    parser.add_argument("--epochs", type=int, default=50, help="passes over the text (%(default)s)")
    parser.add_argument("--learning-rate", type=float, default=0.1, help="step size (%(default)s)")
    parser.add_argument("--base-dir", type=Path, default=default_base_dir(), help="where artifacts/ and outputs/ go")
    return parser.run(train_run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
