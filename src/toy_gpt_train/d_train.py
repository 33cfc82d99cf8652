"""d_train.py - Step d: the model learns, and what it learned becomes files.

The learner's question: how does it learn? By being surprised. For each pair (context, next token) the model says
how likely it thought that token; then every weight of the context's row moves a small step that makes the token
a little likelier next time. That is stochastic gradient descent on softmax cross-entropy:

    row -= learning_rate * (probs - onehot(target))

Responsibilities:
- Make (context, target) pairs from token ids.
- Train: pairs in the order of the text, one update a pair, loss and accuracy taken before the update.
- Round the weights, evaluate them, write the artifacts and the log.

Concepts:
    epoch: one pass over all pairs.
    loss floor: the conditional entropy of the pairs; no table of this context can have a lower average loss.

It does not know how text is generated: e_infer.py reads the artifacts and nothing else.

Run it: uv run python src/toy_gpt_train/d_train.py            (the default run of SE_MANIFEST.toml)
        uv run python src/toy_gpt_train/d_train.py --model bigram --corpus my.txt --base-dir my_run
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import exp, inf, isfinite, log
from pathlib import Path
from typing import Any, Final, NamedTuple

from toy_gpt_train.a_tokenizer import read_text
from toy_gpt_train.b_vocab import Vocabulary
from toy_gpt_train.c_model import Context, Pair, SimpleNextTokenModel, TableRow, token_row_index
from toy_gpt_train.artifacts.checkpoints import Checkpoints
from toy_gpt_train.errors import InputError, StopTraining
from toy_gpt_train.inference.evaluate import Scores, longest_context_floor, score, unigram_loss
from toy_gpt_train.io_artifacts import (
    WEIGHT_DECIMALS,
    RowLabeler,
    VocabularyLike,
    context_label,
    outputs_dir_from_base_dir,
    sha256_of_file,
    write_artifacts,
)
from toy_gpt_train.models.registry import Level
from toy_gpt_train.math_training import SMALLEST_PROBABILITY, conditional_entropy
from toy_gpt_train.models.network import NeuralModel
from toy_gpt_train.models.sizes import NeuralSettings, settings_for
from toy_gpt_train.models.tables import CountingModel
from toy_gpt_train.tokenizers import BPETokenizer, Tokenizer, cutting_tokenizer
from toy_gpt_train.training.steps import train_steps

DEFAULT_LEARNING_RATE: Final = 0.1
DEFAULT_EPOCHS: Final = 50
DEFAULT_SEED: Final = 0
DEFAULT_BPE_VOCAB_SIZE: Final = 512
# WHY: scoring a long text with a network takes as long as training on it; its end tells the train loss well enough.
SCORED_OF_TRAINING: Final = 5_000

EpochRecord = dict[str, float]
OnProgress = Callable[[float, str], None]
OnRecord = Callable[[EpochRecord], None]

# WHY blocks: one row may hold most of the text (the unigram's only row holds all of it), and whoever waits wants
# to see it move.
_STEPS_A_BLOCK: Final = 256


# --- pairs and rows -----------------------------------------------------------------------------------------


def make_training_pairs(token_ids: Sequence[int], context_size: int) -> list[Pair]:
    """Slide a window over the text: each token with a full context before it becomes a pair.

    Args:
        token_ids: The text as T token ids.
        context_size: N, at least 0.

    Returns:
        T - N pairs (context ids, target id) in the order of the text; none where T <= N.

    Raises:
        ValueError: ``context_size`` is negative.

    Example:
        >>> make_training_pairs([3, 1, 2, 4], 2)
        [((3, 1), 2), ((1, 2), 4)]
    """
    if context_size < 0:
        raise ValueError(f"context_size must be at least 0, got {context_size}")
    if context_size == 0:
        return [((), target_id) for target_id in token_ids]
    # WHY zip: N views of the text, each one token further on, give all windows without a Python loop.
    contexts = zip(*(token_ids[start:] for start in range(context_size)), strict=False)
    return list(zip(contexts, token_ids[context_size:], strict=False))


def token_row_index_context2(context_ids: Sequence[int], vocab_size: int) -> int:
    """Return the row of a context of two tokens; token_row_index does it for any number.

    Example:
        >>> token_row_index_context2((2, 5), 10)
        25
    """
    return token_row_index(context_ids, vocab_size)


def token_row_index_context3(context_ids: Sequence[int], vocab_size: int) -> int:
    """Return the row of a context of three tokens; token_row_index does it for any number.

    Example:
        >>> token_row_index_context3((1, 2, 5), 10)
        125
    """
    return token_row_index(context_ids, vocab_size)


def row_labeler(vocab: VocabularyLike, context_size: int) -> RowLabeler:
    """Return the function that names a row of the table by its index.

    Args:
        vocab: Names the tokens.
        context_size: N.

    Returns:
        A function from row index to label: the context's tokens joined by "|", oldest first.

    Raises:
        ValueError: (from the function) there is no such row.

    Example:
        >>> row_labeler(Vocabulary(["cat", "the"]), 2)(2)
        'the|cat'
    """
    vocab_size = vocab.vocab_size()

    def label(row_index: int) -> str:
        tokens: list[str] = []
        rest = row_index
        for _ in range(context_size):
            rest, token_id = divmod(rest, vocab_size)
            tokens.append(vocab.get_id_token(token_id) or "")
        if rest != 0:
            raise ValueError(f"no row {row_index} in a table of context size {context_size}")
        return context_label(tokens[::-1])

    return label


def row_labeler_context2(vocab: VocabularyLike, vocab_size: int) -> RowLabeler:
    """Return row_labeler(vocab, 2); ``vocab_size`` must be the vocabulary's.

    Example:
        >>> row_labeler_context2(Vocabulary(["cat", "the"]), 2)(2)
        'the|cat'
    """
    return _row_labeler_for(vocab, vocab_size, 2)


def row_labeler_context3(vocab: VocabularyLike, vocab_size: int) -> RowLabeler:
    """Return row_labeler(vocab, 3); ``vocab_size`` must be the vocabulary's.

    Example:
        >>> row_labeler_context3(Vocabulary(["cat", "the"]), 2)(4)
        'the|cat|cat'
    """
    return _row_labeler_for(vocab, vocab_size, 3)


def _row_labeler_for(vocab: VocabularyLike, vocab_size: int, context_size: int) -> RowLabeler:
    if vocab_size != vocab.vocab_size():
        raise ValueError(f"vocab_size is {vocab_size}, the vocabulary's is {vocab.vocab_size()}")
    return row_labeler(vocab, context_size)


# --- gradient descent ---------------------------------------------------------------------------------------


class RowTask(NamedTuple):
    """All that the training of one row depends on; rows with equal tasks learn equal weights.

    A row is worked on as cells: one for each token that has, or will have, a weight of its own, and one that stands
    for all other tokens. Cells are in the order of the (smallest) token id they stand for, so that the first
    largest cell is argmax's answer.

    Attributes:
        targets: The cells of the targets, in the order of the text.
        weights: The weight of each cell before training.
        rest_cell: The cell that stands for all other tokens.
    """

    targets: tuple[int, ...]
    weights: tuple[float, ...]
    rest_cell: int


def row_task(row: TableRow, targets: Sequence[int], vocab_size: int) -> tuple[RowTask, list[int]]:
    """Return the task of one row, and the token ids of its cells in order (the rest's cell left out)."""
    token_ids = sorted({*row.weights, *targets})
    if token_ids[0] < 0 or token_ids[-1] >= vocab_size:
        raise ValueError(f"token ids are 0 to {vocab_size - 1}, got {token_ids[0]} to {token_ids[-1]}")
    rest_cell = next((i for i, token_id in enumerate(token_ids) if i != token_id), len(token_ids))
    cell_of = {token_id: i + (i >= rest_cell) for i, token_id in enumerate(token_ids)}
    weights = [row.logit(token_id) for token_id in token_ids]
    # WHY -inf: a rest of no tokens must never be the largest cell, and exp(-inf) is 0.
    weights.insert(rest_cell, row.rest if len(token_ids) < vocab_size else -inf)
    return RowTask(tuple(cell_of[target] for target in targets), tuple(weights), rest_cell), token_ids


def _descend(
    weights: list[float], targets: Sequence[int], rest_cell: int, num_rest: int, learning_rate: float
) -> tuple[list[float], float, int]:
    """Take one gradient step for each target, in order.

    Cost: a step is a few passes over the row's cells, however large V is.

    Args:
        weights: The row's cells.
        targets: Cells of the targets.
        rest_cell: The cell that stands for ``num_rest`` tokens at once.
        num_rest: How many those are.
        learning_rate: Step size.

    Returns:
        The new weights, the summed loss, and how many targets were predicted; both taken before each update.
    """
    loss = 0.0
    correct = 0
    for target in targets:
        top = max(weights)
        exps = [exp(weight - top) for weight in weights]
        total = sum(exps) + (num_rest - 1) * exps[rest_cell]
        loss -= log(max(exps[target] / total, SMALLEST_PROBABILITY))
        correct += exps.index(1.0) == target  # exp(0): the first cell with the largest weight
        # The gradient of cell j is probs[j], minus 1 at the target.
        scale = learning_rate / total
        weights = [weight - scale * e for weight, e in zip(weights, exps, strict=True)]
        weights[target] += learning_rate
    return weights, loss, correct


def train_model(
    model: SimpleNextTokenModel,
    pairs: Sequence[Pair],
    learning_rate: float,
    epochs: int,
    *,
    on_progress: OnProgress | None = None,
    on_record: OnRecord | None = None,
    after_epoch: Callable[[], EpochRecord] | None = None,
) -> list[EpochRecord]:
    """Train a table by gradient descent: pairs in order, one update a pair, ``epochs`` times over.

    Two facts make this fast without changing a number of it. A pair changes no row but its context's, so rows can be
    trained one after the other. And rows that meet the same pattern of targets from the same start go through the
    same weights, so each pattern is trained once. benchmarks/bench_tables.py prints how many patterns a text has.

    Args:
        model: The table; its rows are changed. Training goes on from the weights it has.
        pairs: (context ids, target id), as make_training_pairs gives them.
        learning_rate: Step size, above 0.
        epochs: Passes over the pairs, at least 1.
        on_progress: Called with the fraction done and a few words, often. Where it raises StopTraining, the epoch is
            the last one.
        on_record: Called with each epoch's record when it is complete.
        after_epoch: Called after each epoch, the model up to date; what it returns joins the epoch's record.

    Returns:
        A record an epoch: ``epoch`` from 1, ``avg_loss`` in nats and ``accuracy`` from 0 to 1 over all pairs, each
        pair's taken before its update.

    Raises:
        ValueError: No pairs, or a number that makes no sense.

    Example:
        >>> model = SimpleNextTokenModel(vocab_size=2, context_size=0)
        >>> history = train_model(model, [((), 1)], learning_rate=1.0, epochs=1)
        >>> round(history[0]["avg_loss"], 4), model.rows[()].weights[1], model.rows[()].rest
        (0.6931, 0.5, -0.5)

    Source:
        The gradient of softmax with cross-entropy is probs - onehot: Bridle (1990).
    """
    _check_training_numbers(learning_rate, epochs)
    if not pairs:
        raise ValueError("there are no training pairs")
    contexts_of = contexts_by_task(model, pairs)
    work = _Work(sum(len(task.targets) * len(task.weights) for task in contexts_of) * epochs, on_progress)
    weights_of = {task: list(task.weights) for task in contexts_of}
    history: list[EpochRecord] = []
    for epoch in range(1, epochs + 1):
        total_loss = 0.0
        total_correct = 0
        for task, contexts in contexts_of.items():
            weights = weights_of[task]
            num_rest = model.vocab_size - (len(weights) - 1)
            for start in range(0, len(task.targets), _STEPS_A_BLOCK):
                block = task.targets[start : start + _STEPS_A_BLOCK]
                weights, loss, correct = _descend(weights, block, task.rest_cell, num_rest, learning_rate)
                total_loss += loss * len(contexts)
                total_correct += correct * len(contexts)
                work.done(len(block) * len(weights), f"epoch {epoch}/{epochs}")
            weights_of[task] = weights
        history.append({"epoch": epoch, "avg_loss": total_loss / len(pairs), "accuracy": total_correct / len(pairs)})
        ends = epoch == epochs or work.stopped
        if after_epoch is not None or ends:
            _write_back(model, contexts_of, weights_of)
        if after_epoch is not None:
            history[-1].update(after_epoch())
        if on_record is not None:
            on_record(history[-1])
        if ends:
            break
    return history


def contexts_by_task(
    model: SimpleNextTokenModel, pairs: Sequence[Pair]
) -> dict[RowTask, list[tuple[Context, list[int]]]]:
    """Return which rows have the same task, and so learn the same weights.

    Args:
        model: The table before training.
        pairs: (context ids, target id), as make_training_pairs gives them.

    Returns:
        For each task the contexts of its rows, each with the token ids of its cells.

    Example:
        >>> tasks = contexts_by_task(SimpleNextTokenModel(3, 1), [((0,), 2), ((1,), 2), ((2,), 0)])
        >>> sorted([context for context, _ in contexts] for contexts in tasks.values())
        [[(0,), (1,)], [(2,)]]
    """
    targets_of: dict[Context, list[int]] = {}
    for context_ids, target_id in pairs:
        targets_of.setdefault(context_ids, []).append(target_id)
    contexts_of: dict[RowTask, list[tuple[Context, list[int]]]] = {}
    for context_ids, targets in targets_of.items():
        task, token_ids = row_task(model.row(context_ids), targets, model.vocab_size)
        contexts_of.setdefault(task, []).append((context_ids, token_ids))
    return contexts_of


def _write_back(
    model: SimpleNextTokenModel,
    contexts_of: Mapping[RowTask, Sequence[tuple[Context, list[int]]]],
    weights_of: Mapping[RowTask, Sequence[float]],
) -> None:
    """Give every context the weights that its task has come to."""
    for task, contexts in contexts_of.items():
        own = list(weights_of[task])
        rest = own.pop(task.rest_cell)
        if len(own) == model.vocab_size:
            rest = 0.0  # it stands for no token
        for context_ids, token_ids in contexts:
            model.rows[context_ids] = TableRow(dict(zip(token_ids, own, strict=True)), rest)


class _Work:
    """Counts work done and reports the fraction; remembers that it was told to stop."""

    def __init__(self, total: int, on_progress: OnProgress | None) -> None:
        self._total = total
        self._done = 0
        self._on_progress = on_progress
        self.stopped = False

    def done(self, amount: int, status: str) -> None:
        self._done += amount
        if self._on_progress is not None:
            try:
                self._on_progress(self._done / self._total, status)
            except StopTraining:
                self.stopped = True


def _check_training_numbers(learning_rate: float, epochs: int) -> None:
    if not (isfinite(learning_rate) and 0 < learning_rate <= 1000):
        raise InputError(f"the learning rate must be above 0 and at most 1000, got {learning_rate}")
    if epochs < 1:
        raise InputError(f"epochs must be at least 1, got {epochs}")


# --- a run --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainSettings:
    """What to train, on what, and where to write it.

    Attributes:
        level: The rung of the ladder.
        corpus_path: The text to learn.
        base_dir: The folder of the run; files go to its artifacts/ and outputs/.
        learning_rate: Step size of gradient descent.
        epochs: Passes over the pairs.
        seed: For whatever a rung draws at random; recorded in the metadata. The tables draw nothing.
        tokenizer: ``word``, ``char`` or ``bpe``.
        bpe_vocab_size: Where byte-level BPE stops merging; the other tokenizers need no size.
        val_fraction: The share of the tokens, at the end of the text, that is held out for evaluation.
        run_name: A folder below artifacts/ and outputs/; none for the default run.
        neural: How large a network is and how it learns; the smallest size where None. Its learning rate and steps
            count instead of ``learning_rate`` and ``epochs``.
        workers: How many processes a network is trained by; it changes no number.
        checkpoint_every: Steps of a network from one checkpoint to the next; 0 for none.
        resume: Whether to go on from the newest checkpoint.
    """

    level: Level
    corpus_path: Path
    base_dir: Path
    learning_rate: float = DEFAULT_LEARNING_RATE
    epochs: int = DEFAULT_EPOCHS
    seed: int = DEFAULT_SEED
    tokenizer: str = "word"
    bpe_vocab_size: int = DEFAULT_BPE_VOCAB_SIZE
    val_fraction: float = 0.0
    run_name: str = ""
    neural: NeuralSettings | None = None
    workers: int = 1
    checkpoint_every: int = 0
    resume: bool = False

    def __post_init__(self) -> None:
        _check_training_numbers(self.learning_rate, self.epochs)
        if self.workers < 1:
            raise InputError(f"there must be at least 1 worker, got {self.workers}")
        if self.checkpoint_every < 0:
            raise InputError(f"the steps between checkpoints must be at least 0, got {self.checkpoint_every}")
        if self.neural is not None and self.neural.context != self.level.context_size:
            raise ValueError(f"the rung looks back {self.level.context_size} tokens, its network {self.neural.context}")
        if not 0 <= self.val_fraction < 1:
            raise InputError(f"the held-out share must be at least 0 and below 1, got {self.val_fraction}")


@dataclass(frozen=True)
class TrainResult:
    """What came of a run.

    Attributes:
        model: The trained model, as written.
        history: The training log, one record an epoch.
        train_loss: Nats a token on the training part, with the weights as written.
        train_accuracy: The share of its tokens that were the likeliest.
        loss_floor: The lowest train loss that any table of this context can reach.
        held_out: The scores on the held-out part; None where nothing was held out.
        held_out_bytes: The size of the held-out text.
        unigram_loss: Nats a token of guessing by frequency, on the held-out part, or else the training part.
        num_tokens: T, the length of the training part.
        train_seconds: From the text to the trained model.
        evaluate_seconds: For scoring the held-out part.
        paths: The files written, the metadata last.
    """

    model: SimpleNextTokenModel | CountingModel | NeuralModel
    history: list[EpochRecord]
    train_loss: float
    train_accuracy: float
    loss_floor: float
    held_out: Scores | None
    held_out_bytes: int
    unigram_loss: float
    num_tokens: int
    train_seconds: float
    evaluate_seconds: float
    paths: list[Path]

    @property
    def num_rows(self) -> int:
        """How many rows the model's tables hold: the contexts a table met, what was counted, or rows of weights."""
        if isinstance(self.model, SimpleNextTokenModel):
            return len(self.model.rows)
        return sum(table.num_rows for table in self.model.to_tables())


class SplitText(NamedTuple):
    """A text as numbers, and what of it is held out."""

    tokenizer: Tokenizer
    vocab: Vocabulary
    token_ids: list[int]
    num_train: int
    start_tokens: list[str]
    held_out_bytes: int


def read_and_split(settings: TrainSettings) -> SplitText:
    """Do steps a and b, and set the last part of the tokens aside.

    WHY the vocabulary has the held-out tokens too: which tokens exist is given (an alphabet, a word list); how often
    they occur, and after what, is learned from the training part alone.
    """
    text = read_text(settings.corpus_path)
    share = 1 - settings.val_fraction
    tokenizer = cutting_tokenizer(settings.tokenizer, text[: int(len(text) * share)], settings.bpe_vocab_size)
    tokens = tokenizer.tokenize(text)
    if not tokens:
        raise InputError(f"{settings.corpus_path}: the corpus is empty: there is no token to learn from")
    # WHY round first: 20 * (1 - 0.8) is a hair below 4 in floating point.
    num_train = int(round(len(tokens) * share, 6))
    if num_train < settings.level.least_tokens:
        level = settings.level
        remedy = "" if level.fixed_context else "; give it more text with --corpus, or look back less with --context"
        raise InputError(
            f"{settings.corpus_path}: {num_train} training tokens are too few: {level.kind} needs at least "
            f"{level.least_tokens}{remedy}"
        )
    vocab = Vocabulary(tokens[:num_train], further=tokens[num_train:])
    held_out_bytes = len(tokenizer.join(tokens[num_train:]).encode("utf-8"))
    return SplitText(
        tokenizer, vocab, vocab.encode(tokens), num_train, tokens[: settings.level.context_size], held_out_bytes
    )


def fit_table(
    model: SimpleNextTokenModel,
    text: SplitText,
    settings: TrainSettings,
    on_progress: OnProgress | None,
    on_record: OnRecord | None,
) -> tuple[list[EpochRecord], float]:
    """Train a table by gradient descent and round its weights; returns the log and the loss floor."""
    pairs = make_training_pairs(text.token_ids[: text.num_train], model.context_size)

    def validate() -> EpochRecord:
        scores = score(model, text.token_ids, text.num_train)
        return {"val_loss": scores.loss, "val_accuracy": scores.accuracy}

    history = train_model(
        model,
        pairs,
        settings.learning_rate,
        settings.epochs,
        on_progress=on_progress,
        on_record=on_record,
        after_epoch=validate if text.num_train < len(text.token_ids) else None,
    )
    model.round_weights(WEIGHT_DECIMALS)
    return history, conditional_entropy(pairs)


def untrained_model(settings: TrainSettings, vocab_size: int) -> SimpleNextTokenModel | CountingModel | NeuralModel:
    """Return the model of a run before it has learned anything."""
    level = settings.level
    if issubclass(level.model, NeuralModel):
        return level.model(vocab_size, level.context_size, neural_settings(settings).architecture, settings.seed)
    return level.model(vocab_size, level.context_size)


def neural_settings(settings: TrainSettings) -> NeuralSettings:
    """Return how large the network of a run is and how it learns.

    Raises:
        ValueError: The run's model is no network.
    """
    if not issubclass(settings.level.model, NeuralModel):
        raise ValueError(f"{settings.level.kind} is no network")
    return settings.neural or settings_for(
        settings.level.kind, settings.level.model.uses, context=settings.level.context_size
    )


def checkpoints_of(settings: TrainSettings, vocab_size: int) -> Checkpoints:
    """Return where the checkpoints of a run lie, and what the run is: every number that changes what it learns."""
    neural = asdict(neural_settings(settings))
    identity = {
        "corpus": sha256_of_file(settings.corpus_path),
        "tokenizer": settings.tokenizer,
        "merges up to": settings.bpe_vocab_size if settings.tokenizer == "bpe" else 0,
        "vocabulary": vocab_size,
        "held-out share": settings.val_fraction,
        "model": settings.level.kind,
        **neural.pop("architecture"),
        **neural,
        "seed": settings.seed,
    }
    folder = outputs_dir_from_base_dir(settings.base_dir) / settings.run_name / "checkpoints"
    return Checkpoints(folder, settings.checkpoint_every, identity)


def fit_network(
    model: NeuralModel,
    text: SplitText,
    settings: TrainSettings,
    on_progress: OnProgress | None,
    on_record: OnRecord | None,
) -> tuple[list[EpochRecord], float]:
    """Train a network step by step and round its weights; returns the log and the loss floor."""
    checkpoints = None
    if settings.checkpoint_every or settings.resume:
        checkpoints = checkpoints_of(settings, model.vocab_size)
        if checkpoints.newest() and not settings.resume:
            raise InputError(
                f"{checkpoints.newest()} is of a training that was stopped; go on with --resume, or remove it"
            )
    history = train_steps(
        model,
        text.token_ids,
        text.num_train,
        neural_settings(settings),
        seed=settings.seed,
        workers=settings.workers,
        checkpoints=checkpoints,
        on_progress=on_progress,
        on_record=on_record,
    )
    model.round_weights(WEIGHT_DECIMALS)
    return history, longest_context_floor(text.token_ids[: text.num_train], model.context_size)


def train_run(
    settings: TrainSettings, on_progress: OnProgress | None = None, on_record: OnRecord | None = None
) -> TrainResult:
    """Do the whole of steps a to d: text, tokens, ids, training, evaluation, files.

    Args:
        settings: What to train, on what, and where to write it.
        on_progress: Called with the fraction done and a few words. It may raise StopTraining.
        on_record: Called with each record of a table's or a network's log as it is made, still without the floor.

    Returns:
        The numbers of the run; its files are written.

    Raises:
        InputError: The corpus or a number cannot be used; nothing has been written.
        OSError: A file could not be read or written; what was there before is still there.
        StopTraining: The model had nothing yet to keep, or all was learned already; nothing has been written.

    Example:
        train_run(TrainSettings(level_for_kind("bigram"), Path("my.txt"), Path("my_run"))).train_loss
    """
    level = settings.level
    start = time.perf_counter()
    text = read_and_split(settings)
    model = untrained_model(settings, text.vocab.vocab_size())
    train_ids = text.token_ids[: text.num_train]
    if isinstance(model, SimpleNextTokenModel):
        history, floor = fit_table(model, text, settings, on_progress, on_record)
        final = score(model, train_ids, level.context_size)
        train_loss, train_accuracy = final.loss, final.accuracy
    elif isinstance(model, NeuralModel):
        history, floor = fit_network(model, text, settings, on_progress, on_record)
        begin = max(len(train_ids) - SCORED_OF_TRAINING, model.least_context)
        final = score(model, train_ids, begin, on_progress)
        train_loss, train_accuracy = final.loss, final.accuracy
    else:
        fitted = model.fit(train_ids, text.vocab.tokens(), seed=settings.seed, on_progress=on_progress)
        train_loss, train_accuracy, floor = fitted["avg_loss"], fitted["accuracy"], fitted["loss_floor"]
        history = [{"epoch": 1, "avg_loss": train_loss, "accuracy": train_accuracy}]
    for record in history:
        record.update(loss_floor=floor, above_floor=record["avg_loss"] - floor)
    trained = time.perf_counter()

    held_out = None
    if text.num_train < len(text.token_ids):
        held_out = score(model, text.token_ids, text.num_train, on_progress)
    evaluated = time.perf_counter()
    frequencies = [text.vocab.get_token_frequency(token) for token in text.vocab.tokens()]
    result = TrainResult(
        model=model,
        history=history,
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        loss_floor=floor,
        held_out=held_out,
        held_out_bytes=text.held_out_bytes,
        unigram_loss=unigram_loss(frequencies, text.token_ids[text.num_train :] if held_out else train_ids),
        num_tokens=text.num_train,
        train_seconds=trained - start,
        evaluate_seconds=evaluated - trained,
        paths=[],
    )
    result = replace(result, paths=_write(settings, text, result))
    if settings.checkpoint_every or settings.resume:
        checkpoints_of(settings, model.vocab_size).clear()
    return result


def _write(settings: TrainSettings, text: SplitText, result: TrainResult) -> list[Path]:
    """Write the artifacts and the log of a run."""
    training = _how_it_learned(settings, result)
    metrics = {"train_loss": result.train_loss, "train_accuracy": result.train_accuracy}
    if result.held_out is not None:
        metrics.update(val_loss=result.held_out.loss, val_accuracy=result.held_out.accuracy)
    details: dict[str, Any] = {
        "tokenizer": {"kind": settings.tokenizer},
        "start_tokens": text.start_tokens,
        "seed": settings.seed,
        "val_fraction": settings.val_fraction,
        "metrics": {name: round(value, 6) for name, value in metrics.items()},
        "loss_floor": round(result.loss_floor, 6),
        "training": training,
    }
    return write_artifacts(
        base_dir=settings.base_dir,
        corpus_path=settings.corpus_path,
        vocab=text.vocab,
        model=result.model,
        model_kind=settings.level.kind,
        learning_rate=training["learning_rate"],
        epochs=training["epochs"],
        row_labeler=row_labeler(text.vocab, settings.level.context_size),
        history=result.history,
        details=details,
        tokenizer_files=text.tokenizer.file_texts() if isinstance(text.tokenizer, BPETokenizer) else {},
        run_name=settings.run_name,
    )


def _how_it_learned(settings: TrainSettings, result: TrainResult) -> dict[str, Any]:
    """Return the metadata's ``training``, but for what an epoch is where it is one pass over all pairs."""
    if isinstance(result.model, NeuralModel):
        numbers = asdict(neural_settings(settings))
        del numbers["architecture"]
        last = result.history[-1]
        # WHY beside the steps it was to have: the step size of each followed from those.
        stopped = {"stopped_after_step": last["step"]} if last["step"] < numbers["steps"] else {}
        epochs = round(last["epoch"], 6)
        return {**numbers, **stopped, "epochs": epochs, "epoch_definition": _NEURAL_EPOCH_DEFINITION}
    if isinstance(result.model, SimpleNextTokenModel):
        return {"learning_rate": settings.learning_rate, "epochs": len(result.history)}
    return {"learning_rate": result.model.learning_rate, "epochs": 1}


_NEURAL_EPOCH_DEFINITION: Final = (
    "One epoch is as many predictions as the training text has tokens; the windows are drawn from random places."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``toy-gpt train`` with the same arguments; returns the exit code."""
    from toy_gpt_train import cli  # WHY here: the command line imports this module

    return cli.main(["train", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    raise SystemExit(main())
