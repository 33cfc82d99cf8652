"""train_steps.py - How a neural rung learns: one step after the other, each on a batch of windows drawn at random.

    draw windows -> gradients, piece by piece -> clip -> step size for now -> AdamW -> log, checkpoint

Tables go through a text in order; a network gets windows from anywhere in it, because neighbouring windows are alike
and many steps in a row on the same few pages would pull it to and fro.

Concepts:
    step: one update of all weights, from the gradient of one batch.
    window: N tokens to read and, at each of them, the one that came next.
    validation loss: the loss on windows of the held-out text; when it rises while the train loss falls, the network
        learns the text by heart.

It does not know files; checkpoints.py keeps what it is asked to keep.
"""

import random
import time
from array import array
from collections.abc import Callable, Sequence
from functools import partial
from math import isfinite
from typing import Any, Final

from toy_gpt_train.artifacts.checkpoints import Checkpoint, Checkpoints
from toy_gpt_train.errors import InputError, StopTraining
from toy_gpt_train.models.network import NeuralModel
from toy_gpt_train.models.sizes import NeuralSettings
from toy_gpt_train.training.batches import Window, draw_windows
from toy_gpt_train.nn.optim import AdamW, clip_grad_norm, cosine_schedule
from toy_gpt_train.training.workers import (
    OneProcess,
    Outcome,
    SeveralProcesses,
    Workers,
    batch_gradient,
    cut_batch,
    sum_outcomes,
)
from toy_gpt_train.nn.tensor import Tensor
from toy_gpt_train.artifacts.safetensors import StoredTensor

BETAS: Final = (0.9, 0.95)
LAST_LEARNING_RATE: Final = 0.1  # of the largest
EVALUATED_TOKENS: Final = 1024  # of the held-out text, for each line of the log

StepRecord = dict[str, float]
OnProgress = Callable[[float, str], None]
OnRecord = Callable[[StepRecord], None]


def train_steps(
    model: NeuralModel,
    token_ids: Sequence[int],
    num_train: int,
    settings: NeuralSettings,
    *,
    seed: int = 0,
    workers: int = 1,
    checkpoints: Checkpoints | None = None,
    on_progress: OnProgress | None = None,
    on_record: OnRecord | None = None,
) -> list[StepRecord]:
    """Train a network.

    Args:
        model: The rung; its network is changed.
        token_ids: The text.
        num_train: How many of its tokens, from the start, are to be learned; the others are held out.
        settings: How large the steps are, and how many.
        seed: For the windows that are drawn, and for dropout.
        workers: How many processes share a batch; it changes no number.
        checkpoints: Where to keep checkpoints, and to go on from; None for nowhere.
        on_progress: Called with the fraction done of what there was left to do, and a few words, after every step.
            Where it raises StopTraining, the step is the last one.
        on_record: Called with each new record of the log.

    Returns:
        The log, a record every ``eval_every`` steps: ``epoch`` (how often the text has been gone through, by the
        number of tokens read), ``avg_loss`` and ``accuracy`` of the batches since the record before, ``step``,
        ``learning_rate``, ``grad_norm`` (before clipping), and ``val_loss`` and ``val_accuracy`` on a sample of the
        held-out text where there is one.

    Raises:
        InputError: The loss is no longer a number, or a checkpoint does not fit.
        OSError: A checkpoint cannot be written, or a worker process has ended.
    """
    held_out = _spread_windows(token_ids[num_train:], settings.context, model.places)
    run = _Run(model, token_ids[:num_train], held_out, settings, seed)
    if checkpoints is not None:
        run.restore(checkpoints.load())
    worker_pool = _start_workers(model, workers)
    started, first_step = time.monotonic(), run.step
    try:
        while run.step < settings.steps:
            run.do_step(worker_pool)
            if run.step % settings.eval_every == 0 or run.step == settings.steps:
                run.record(worker_pool, on_record)
            if checkpoints is not None and checkpoints.every and run.step % checkpoints.every == 0:
                checkpoints.save(run.checkpoint())
            if on_progress is not None:
                # WHY of what was left: who goes on from a checkpoint wants to know how long the rest takes.
                done = run.step - first_step
                speed = done * run.tokens_a_step / max(time.monotonic() - started, 1e-3)
                on_progress(done / (settings.steps - first_step), f"{run.status()}, {speed:.0f} tokens/s")
    except StopTraining:
        if not run.is_recorded:
            run.record(worker_pool, on_record)
    finally:
        worker_pool.close()
    return run.history


def _start_workers(model: NeuralModel, number: int) -> Workers:
    if number == 1:
        return OneProcess(model.network)
    build = partial(type(model).build, model.vocab_size, model.context_size, model.architecture, 0)
    return SeveralProcesses(model.network, build, number)


def _spread_windows(token_ids: Sequence[int], context_size: int, places: int) -> list[Window]:
    """Return windows spread evenly over a text; as many as there is room for, up to a number that is soon scored."""
    room = len(token_ids) - context_size
    if room < 1:
        return []
    number = max(min(room, EVALUATED_TOKENS) // places, 1)
    starts = [i * room // number for i in range(number)]
    return [token_ids[start : start + context_size + 1] for start in starts]


class _Run:
    """A training on its way: everything the next step depends on."""

    def __init__(
        self,
        model: NeuralModel,
        train_ids: Sequence[int],
        held_out: Sequence[Window],
        settings: NeuralSettings,
        seed: int,
    ) -> None:
        self._network = model.network
        self._train_ids = train_ids
        self._held_out = held_out
        self._settings = settings
        self._parameters = model.network.parameters()
        self._optimizer = AdamW(self._parameters, betas=BETAS, weight_decay=settings.weight_decay)
        self._generator = random.Random(seed)
        self._since: list[Outcome] = []  # what came of the batches since the last record
        self._grad_norm = 0.0
        self.step = 0
        self.tokens_a_step = 0
        self.history: list[StepRecord] = []

    def do_step(self, workers: Workers) -> None:
        """Learn from one batch."""
        settings = self._settings
        windows = draw_windows(self._train_ids, settings.context, settings.batch_size, self._generator)
        # WHY a generator of their own: how a batch is cut must not change which windows the next one has.
        seeds = random.Random(self._generator.getrandbits(32))
        pieces = cut_batch(windows, settings.piece_size, lambda: seeds.getrandbits(32))
        outcome = batch_gradient(self._network, workers, pieces)
        self._grad_norm = clip_grad_norm(self._parameters, settings.clip)
        if not (isfinite(outcome.loss) and isfinite(self._grad_norm)):
            raise InputError(
                f"the loss is no longer a number at step {self.step + 1}: "
                f"the learning rate {settings.learning_rate:g} is too high"
            )
        self._optimizer.lr = self._learning_rate()
        self._optimizer.step()
        self._since.append(outcome)
        self.tokens_a_step = outcome.num_tokens
        self.step += 1

    def _learning_rate(self) -> float:
        peak = self._settings.learning_rate
        return cosine_schedule(
            self.step,
            peak=peak,
            warmup=self._settings.warmup,
            total=self._settings.steps,
            floor=peak * LAST_LEARNING_RATE,
        )

    @property
    def is_recorded(self) -> bool:
        """Whether the log has all steps."""
        return not self._since

    def record(self, workers: Workers, on_record: OnRecord | None) -> None:
        """Write a line of the log."""
        outcome = sum_outcomes(self._since)
        self._since = []
        record = {
            "epoch": self.step * self.tokens_a_step / len(self._train_ids),
            "avg_loss": outcome.loss,
            "accuracy": outcome.correct / outcome.num_tokens,
            "step": self.step,
            "learning_rate": self._optimizer.lr,
            "grad_norm": self._grad_norm,
        }
        if self._held_out:
            pieces = cut_batch(self._held_out, self._settings.piece_size, lambda: 0)
            held_out = sum_outcomes([outcome for outcome, _ in workers.outcomes(pieces, with_gradient=False)])
            record.update(val_loss=held_out.loss, val_accuracy=held_out.correct / held_out.num_tokens)
        self.history.append(record)
        if on_record is not None:
            on_record(record)

    def status(self) -> str:
        """Return how far the training is, in a few words."""
        loss = self._since[-1].loss if self._since else self.history[-1]["avg_loss"]
        text = f"step {self.step}/{self._settings.steps}, loss {loss:.3f}"
        return f"{text}, val {self.history[-1]['val_loss']:.3f}" if self.history and self._held_out else text

    def checkpoint(self) -> Checkpoint:
        """Return all that is needed to go on from here."""
        names = [name for name, _ in self._network.named_parameters()]
        moments = {
            f"{moment}.{name}": StoredTensor(parameter.shape, numbers)
            for moment, arrays in (("first", self._optimizer.first), ("second", self._optimizer.second))
            for name, parameter, numbers in zip(names, self._parameters, arrays, strict=True)
        }
        version, numbers, gauss = self._generator.getstate()
        progress = {
            "random": [version, numbers, gauss],
            "history": self.history,
            "since": self._since,
        }
        weights = {name: StoredTensor(p.shape, array("d", p.data)) for name, p in self._network.named_parameters()}
        return Checkpoint(self.step, weights, moments, progress)

    def restore(self, checkpoint: Checkpoint | None) -> None:
        """Go on from a checkpoint; from the start where it is None.

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
        """Take over the weights, and what AdamW remembers of each."""
        if any(stored.data.typecode != "d" for stored in checkpoint.weights.values()):
            raise ValueError("a weight is not in 64 bits")
        self._network.load_state_dict({n: Tensor(t.data, t.shape) for n, t in checkpoint.weights.items()})
        for moment, arrays in (("first", self._optimizer.first), ("second", self._optimizer.second)):
            for i, (name, parameter) in enumerate(self._network.named_parameters()):
                stored = checkpoint.optimizer[f"{moment}.{name}"]
                if stored.shape != parameter.shape or stored.data.typecode != "d":
                    raise ValueError(f"{moment}.{name} of the optimizer does not fit")
                if moment == "second" and min(stored.data) < 0:
                    raise ValueError(f"{moment}.{name} of the optimizer, an average of squares, is below zero")
                arrays[i] = stored.data

    def _restore_progress(self, step: int, progress: dict[str, Any]) -> None:
        """Take over the random state and the log, which must be the log of as many steps."""
        version, numbers, gauss = progress["random"]
        self._generator.setstate((version, tuple(numbers), gauss))
        every, last = self._settings.eval_every, self._settings.steps
        recorded = [number for number in range(1, step + 1) if number % every == 0 or number == last]
        self.history = [self._checked_record(record) for record in progress["history"]]
        if [record["step"] for record in self.history] != recorded:
            raise ValueError("the log is of other steps")
        self._since = [_checked_outcome(*outcome) for outcome in progress["since"]]

    def _checked_record(self, record: Any) -> StepRecord:
        columns = ["epoch", "avg_loss", "accuracy", "step", "learning_rate", "grad_norm"]
        if self._held_out:
            columns += ["val_loss", "val_accuracy"]
        if not isinstance(record, dict) or list(record) != columns:
            raise ValueError("a record of the log has other columns")
        if not all(type(number) in (int, float) and isfinite(number) for number in record.values()):
            raise ValueError("a record of the log has something that is no number")
        return record


def _checked_outcome(loss: float, num_tokens: int, correct: int) -> Outcome:
    if not isfinite(loss) or not 0 <= correct <= num_tokens < 2**53 or num_tokens == 0:
        raise ValueError("a batch has strange numbers")
    return Outcome(loss, num_tokens, correct)
