"""steps.py - How a network learns: one step after the other, each on a batch of windows drawn at random.

    draw windows -> gradient, micro-batch by micro-batch -> clip -> learning rate -> AdamW -> log, checkpoint

A table reads a text in order; a network gets windows from anywhere in it. Neighboring windows are alike, so many steps
in a row on the same few pages would make the updates correlated.

Concepts:
    step: one update of all weights, from the gradient of one batch.
    window: N tokens to read and, for each of them, the one that came next.
    validation loss: the loss on windows of the held-out text; when it rises while the train loss falls, the network
        memorizes the text.
"""

import random
import time
import warnings
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, NamedTuple, Protocol

from toy_gpt_train.errors import InputError, InputWarning, StopTraining
from toy_gpt_train.nn.modules import Network
from toy_gpt_train.nn.optim import AdamW, clip_grad_norm, cosine_schedule
from toy_gpt_train.nn.tensor import Tensor
from toy_gpt_train.progress import OnProgress
from toy_gpt_train.training.batches import Window, draw_windows
from toy_gpt_train.training.workers import (
    BatchStats,
    ProcessWorkers,
    SerialWorkers,
    Workers,
    batch_gradient,
    cut_batch,
    sum_stats,
)

BETAS: Final = (0.9, 0.95)
LAST_LEARNING_RATE: Final = 0.1  # of the largest
EVALUATED_TOKENS: Final = 1024  # of the held-out text, for each line of the log

Arrays = Mapping[str, tuple[tuple[int, ...], "array[float]"]]  # shape and flat values, by name
StepRecord = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class StepSettings:
    """How a network learns."""

    context: int  # N, how many tokens it looks back
    steps: int  # how many batches it learns from
    batch_size: int  # windows per batch
    micro_batch: int  # windows processed at a time; processes share a batch's micro-batches
    learning_rate: float  # the largest step size of AdamW
    warmup: int  # steps until it is reached; from there it falls along a cosine to a tenth
    weight_decay: float = 0.1  # the share of the step size that is taken off every weight
    clip: float = 1.0  # the largest norm of a gradient
    eval_every: int = 50  # steps from one line of the log to the next

    def __post_init__(self) -> None:
        for name in ("context", "steps", "batch_size", "micro_batch", "eval_every"):
            if getattr(self, name) < 1:
                raise InputError(f"the {name.replace('_', ' ')} must be at least 1, got {getattr(self, name)}")
        if self.warmup < 0:
            raise InputError(f"warmup must be at least 0, got {self.warmup}")
        for name, most in (("learning_rate", 1000.0), ("clip", 1e9)):
            if not 0 < getattr(self, name) <= most:
                raise InputError(
                    f"the {name.replace('_', ' ')} must be above 0 and at most {most:g}, got {getattr(self, name)}"
                )
        if not (isfinite(self.weight_decay) and 0 <= self.weight_decay * self.learning_rate < 1):
            if self.weight_decay == StepSettings.weight_decay:  # nobody has set it
                most = 1 / self.weight_decay
                raise InputError(f"the learning rate must be above 0 and below {most:g}, got {self.learning_rate:g}")
            raise InputError(
                f"the learning rate times the weight decay must be from 0 to 1, got {self.learning_rate:g} and "
                f"{self.weight_decay:g}"
            )


class Checkpoint(NamedTuple):
    """All that the next step depends on."""

    step: int  # how many steps were done
    weights: Arrays  # the parameters
    optimizer: Arrays  # the two averages that AdamW keeps for each
    progress: dict[str, Any]  # the random state, the log, and the batches since its last line, as JSON


class CheckpointStore(Protocol):
    """Keeps the checkpoints of one run."""

    every: int  # steps from one checkpoint to the next; 0 to keep none

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint in place of the one before."""

    def load(self) -> Checkpoint | None:
        """Return the checkpoint to resume from; None to start anew."""


def train_steps(
    network: Network,
    ids: Sequence[int],
    num_train: int,
    settings: StepSettings,
    *,
    build: Callable[[], Network],
    num_targets: int,
    seed: int = 0,
    workers: int = 1,
    checkpoints: CheckpointStore | None = None,
    on_progress: OnProgress | None = None,
) -> Iterator[StepRecord]:
    """Train a network.

    Args:
        network: Its weights are changed.
        ids: The text.
        num_train: How many of its tokens, from the start, are to be learned; the others are held out.
        settings: How large the steps are, and how many.
        build: Makes a network of the same shape; a function that a new process can import.
        num_targets: How many tokens the network predicts in a window.
        seed: For the windows and for dropout.
        workers: How many processes share a batch; it changes no number.
        checkpoints: Where to keep checkpoints, and what to resume from; None for neither.
        on_progress: Called after every step. If it raises StopTraining, that step is the last.

    Yields:
        A record every ``eval_every`` steps, after resuming those before too: ``epoch`` (predictions so far / training
        tokens), ``avg_loss`` and ``accuracy`` of the batches since the last record, ``step``, ``learning_rate``,
        ``grad_norm`` (before clipping); with held-out text, ``val_loss`` and ``val_accuracy`` on a sample of it.

    Raises:
        InputError: The loss is no longer finite, or a checkpoint does not fit.
        OSError: A checkpoint cannot be written, or a worker process has ended.
    """
    held_out = _spread_windows(ids[num_train:], settings.context, num_targets)
    state = _TrainingState(network, ids[:num_train], held_out, settings, seed)
    if checkpoints is not None:
        state.restore(checkpoints.load())
    if not held_out and num_train < len(ids):
        _note(
            f"the held-out part has {len(ids) - num_train} tokens, too few for a window of {settings.context + 1}: the "
            "log has no val_loss, and only the finished model is measured on it"
        )
    yield from map(dict, state.history)
    num_micro_batches = -(-settings.batch_size // settings.micro_batch)
    if workers > num_micro_batches:
        _note(f"a batch has {num_micro_batches} micro-batches, so that many workers are started, not {workers}")
        workers = num_micro_batches
    pool = SerialWorkers(network) if workers == 1 else ProcessWorkers(network, build, workers)
    started, first_step = time.monotonic(), state.step
    try:
        while state.step < settings.steps:
            state.do_step(pool)
            if state.step % settings.eval_every == 0 or state.step == settings.steps:
                yield state.record(pool)
            if checkpoints is not None and checkpoints.every and state.step % checkpoints.every == 0:
                checkpoints.save(state.checkpoint())
            if on_progress is not None:
                # WHY of the steps that were left: after resuming, the bar shows how long the rest takes.
                done = state.step - first_step
                speed = done * state.tokens_per_step / max(time.monotonic() - started, 1e-3)
                on_progress(done / (settings.steps - first_step), f"{state.status()}, {speed:.0f} tokens/s")
    except StopTraining:
        if state.pending:
            yield state.record(pool)
    finally:
        pool.close()


def _note(message: str) -> None:
    warnings.warn(message, InputWarning, stacklevel=3)


def _spread_windows(ids: Sequence[int], context_size: int, num_targets: int) -> list[Window]:
    """Return windows spread evenly over a text, as many as EVALUATED_TOKENS allows."""
    room = len(ids) - context_size
    if room < 1:
        return []
    number = max(min(room, EVALUATED_TOKENS) // num_targets, 1)
    starts = [i * room // number for i in range(number)]
    return [ids[start : start + context_size + 1] for start in starts]


class _TrainingState:
    """Everything the next step depends on."""

    def __init__(
        self,
        network: Network,
        train_ids: Sequence[int],
        held_out: Sequence[Window],
        settings: StepSettings,
        seed: int,
    ) -> None:
        self._network = network
        self._train_ids = train_ids
        self._held_out = held_out
        self._settings = settings
        self._parameters = network.parameters()
        self._optimizer = AdamW(self._parameters, betas=BETAS, weight_decay=settings.weight_decay)
        self._generator = random.Random(seed)
        self._grad_norm = 0.0
        self.pending: list[BatchStats] = []  # the batches since the last record
        self.step = 0
        self.tokens_per_step = 0
        self.history: list[StepRecord] = []

    def do_step(self, pool: Workers) -> None:
        """Learn from one batch."""
        settings = self._settings
        windows = draw_windows(self._train_ids, settings.context, settings.batch_size, self._generator)
        # WHY their own generator: how a batch is cut must not change which windows the next one has.
        seeds = random.Random(self._generator.getrandbits(32))
        micro_batches = cut_batch(windows, settings.micro_batch, lambda: seeds.getrandbits(32))
        stats = batch_gradient(self._network, pool, micro_batches)
        self._grad_norm = clip_grad_norm(self._parameters, settings.clip)
        if not (isfinite(stats.loss) and isfinite(self._grad_norm)):
            raise InputError(
                f"the loss is no longer a number at step {self.step + 1}: "
                f"the learning rate {settings.learning_rate:g} is too high"
            )
        self._optimizer.lr = self._learning_rate()
        self._optimizer.step()
        self.pending.append(stats)
        self.tokens_per_step = stats.num_tokens
        self.step += 1

    def _learning_rate(self) -> float:
        warmup, total, peak = self._settings.warmup, self._settings.steps, self._settings.learning_rate
        return cosine_schedule(self.step, peak=peak, warmup=warmup, total=total, floor=peak * LAST_LEARNING_RATE)

    def record(self, pool: Workers) -> StepRecord:
        """Return a new line of the log."""
        stats = sum_stats(self.pending)
        self.pending = []
        record = {
            "epoch": self.step * self.tokens_per_step / len(self._train_ids),
            "avg_loss": stats.loss,
            "accuracy": stats.correct / stats.num_tokens,
            "step": self.step,
            "learning_rate": self._optimizer.lr,
            "grad_norm": self._grad_norm,
        }
        if self._held_out:
            micro_batches = cut_batch(self._held_out, self._settings.micro_batch, lambda: 0)
            held_out = sum_stats([stats for stats, _ in pool.results(micro_batches, with_gradient=False)])
            record.update(val_loss=held_out.loss, val_accuracy=held_out.correct / held_out.num_tokens)
        self.history.append(record)
        return dict(record)  # WHY a copy: the caller may add columns, and a checkpoint keeps ours

    def status(self) -> str:
        """Return a few words on how far training is."""
        loss = self.pending[-1].loss if self.pending else self.history[-1]["avg_loss"]
        text = f"step {self.step}/{self._settings.steps}, loss {loss:.3f}"
        return f"{text}, val {self.history[-1]['val_loss']:.3f}" if self.history and self._held_out else text

    # --- checkpoints ---------------------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """Return all that is needed to continue from here."""
        named = list(self._network.named_parameters())
        averages = {
            f"{moment}.{name}": (parameter.shape, numbers)
            for moment, arrays in (("first", self._optimizer.first), ("second", self._optimizer.second))
            for (name, parameter), numbers in zip(named, arrays, strict=True)
        }
        progress = {
            "random": list(self._generator.getstate()),
            "history": self.history,
            "pending": self.pending,
        }
        return Checkpoint(self.step, {n: (p.shape, array("d", p.data)) for n, p in named}, averages, progress)

    def restore(self, checkpoint: Checkpoint | None) -> None:
        """Continue from a checkpoint; from the start where it is None.

        Raises:
            InputError: It does not fit the network, or it is damaged.
        """
        if checkpoint is None:
            return
        try:
            if checkpoint.step > self._settings.steps:
                raise ValueError(f"the run has {self._settings.steps} steps")
            self._restore_weights(checkpoint)
            self._restore_progress(checkpoint.step, checkpoint.progress)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise InputError(f"the checkpoint of step {checkpoint.step} cannot be used: {error}") from error
        self.step = self._optimizer.steps = checkpoint.step

    def _restore_weights(self, checkpoint: Checkpoint) -> None:
        """Take over the weights, and the averages that AdamW keeps."""
        if any(data.typecode != "d" for _, data in checkpoint.weights.values()):
            raise ValueError("a weight is not in 64 bits")
        self._network.load_state_dict({name: Tensor(data, shape) for name, (shape, data) in checkpoint.weights.items()})
        for moment, arrays in (("first", self._optimizer.first), ("second", self._optimizer.second)):
            for i, (name, parameter) in enumerate(self._network.named_parameters()):
                shape, data = checkpoint.optimizer[f"{moment}.{name}"]
                if shape != parameter.shape or data.typecode != "d":
                    raise ValueError(f"{moment}.{name} of the optimizer does not fit")
                if moment == "second" and min(data) < 0:
                    raise ValueError(f"{moment}.{name} of the optimizer, an average of squares, is below zero")
                arrays[i] = data

    def _restore_progress(self, step: int, progress: dict[str, Any]) -> None:
        """Take over the random state, the log, and the batches since its last line."""
        version, numbers, gauss = progress["random"]
        self._generator.setstate((version, tuple(numbers), gauss))
        every, last = self._settings.eval_every, self._settings.steps
        recorded = [number for number in range(1, step + 1) if number % every == 0 or number == last]
        self.history = [self._checked_record(record) for record in progress["history"]]
        if [record["step"] for record in self.history] != recorded:
            raise ValueError("the log is of other steps")
        self.pending = [_checked_stats(*stats) for stats in progress["pending"]]
        if len(self.pending) != step - (recorded[-1] if recorded else 0):
            raise ValueError("the batches are not those since the last line of the log")

    def _checked_record(self, record: Any) -> StepRecord:
        columns = ["epoch", "avg_loss", "accuracy", "step", "learning_rate", "grad_norm"]
        if self._held_out:
            columns += ["val_loss", "val_accuracy"]
        if not isinstance(record, dict) or list(record) != columns:
            raise ValueError("a record of the log has other columns")
        if not all(type(number) in (int, float) and isfinite(number) for number in record.values()):
            raise ValueError("a record of the log holds something that is not a number")
        return record


def _checked_stats(loss: float, num_tokens: int, correct: int) -> BatchStats:
    if not isfinite(loss) or not 0 <= correct <= num_tokens < 2**53 or num_tokens == 0:
        raise ValueError("the numbers of a batch make no sense")
    return BatchStats(loss, num_tokens, correct)
