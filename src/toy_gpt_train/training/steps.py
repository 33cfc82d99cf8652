"""steps.py - How a network learns: one step after the other, each on a batch of windows drawn at random.

    draw windows -> gradient, micro-batch by micro-batch -> clip -> learning rate -> optimizer -> log, checkpoint

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
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from toy_gpt_train.errors import InputError, InputWarning, StopTraining
from toy_gpt_train.nn.optim import constant_schedule, cosine_schedule, inverse_sqrt_schedule, linear_schedule
from toy_gpt_train.progress import OnProgress
from toy_gpt_train.training.batches import Window, draw_windows
from toy_gpt_train.training.checkpoint import (
    Best,
    Checkpoint,
    Schedule,
    StepRecord,
    checked_record,
    checked_schedules,
    checked_stats,
)
from toy_gpt_train.training.engines import Engine
from toy_gpt_train.training.workers import BatchStats, cut_batch, sum_stats

FALLING: Final = {"cosine": cosine_schedule, "linear": linear_schedule}  # to a share of the largest rate, at the end
OPEN: Final = {"constant": constant_schedule, "inverse-sqrt": inverse_sqrt_schedule}  # the same for any number of steps
OPTIMIZERS: Final = ("adamw", "muon", "sgd")
SCHEDULES: Final = (*FALLING, *OPEN)
EVALUATED_TOKENS: Final = 1024  # of the held-out text, for each line of the log
KEEP_NOTE: Final = "The held-out loss was used to choose these weights, and not only to measure them."
_MOST_RATE: Final = 1000.0
_MOST_CLIP: Final = 1e9


@dataclass(frozen=True, kw_only=True)
class StepSettings:
    """How a network learns."""

    context: int  # N, how many tokens it looks back
    steps: int  # how many batches it learns from
    batch_size: int  # windows per batch
    micro_batch: int  # windows processed at a time; processes share a batch's micro-batches
    learning_rate: float  # the largest step size
    warmup: int  # steps until it is reached
    schedule: str = "cosine"  # how it changes from there, one of SCHEDULES
    last_rate: float = 0.1  # the share of the step size that is left at the end, if the schedule has one
    optimizer: str = "adamw"
    beta1: float = 0.9  # of AdamW: how slowly its averages of the gradient ...
    beta2: float = 0.95  # ... and of its square forget
    weight_decay: float = 0.1  # of AdamW and Muon: the share of the step size that is taken off every weight
    momentum: float = 0.0  # of SGD: the share of the previous step that is kept
    clip: float = 1.0  # the largest norm of a gradient; 0 for any
    eval_every: int = 50  # steps from one line of the log to the next
    eval_windows: int = EVALUATED_TOKENS  # of the held-out text, for each of them; fewer if that is short
    keep: str = "last"  # which weights the model has in the end: "last", or "best" on the held-out text
    short_first: float = 0.0  # the share of the steps that come first and learn from twice as many windows of N / 2
    burn_in: float = 0.0  # the share of a window that is only read
    start_after: str = ""  # the token after which a third of the windows begin

    def __post_init__(self) -> None:
        for name, words in (("keep", ("last", "best")), ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if (word := getattr(self, name)) not in words:
                raise InputError(f"{name} must be {', '.join(words[:-1])} or {words[-1]}, got {word!r:.40}")
        for name in ("context", "steps", "batch_size", "micro_batch", "eval_every", "eval_windows", "warmup"):
            if getattr(self, name) < (least := int(name != "warmup")):
                raise InputError(f"the {name.replace('_', ' ')} must be at least {least}, got {getattr(self, name)}")
        if not 0 < self.learning_rate <= _MOST_RATE:
            raise InputError(f"the learning rate must be above 0 and at most {_MOST_RATE:g}, got {self.learning_rate}")
        if not 0 <= self.clip <= _MOST_CLIP:
            raise InputError(f"clip must be from 0 (none) to {_MOST_CLIP:g}, got {self.clip}")
        if not 0 <= self.short_first <= 1:
            raise InputError(f"short first is a share of the steps, from 0 to 1, got {self.short_first}")
        if self.short_first and self.context % 2:
            raise InputError(f"short first halves the windows: the context must be even, got {self.context}")
        if not 0 <= self.burn_in < 1:
            raise InputError(f"the burn-in is a share of a window, from 0 to below 1, got {self.burn_in}")
        if not 0 <= self.last_rate <= 1:
            raise InputError(f"the last rate is a share of the learning rate, from 0 to 1, got {self.last_rate}")
        for name in ("beta1", "beta2", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")
        if self.optimizer != "sgd" and not 0 <= self.weight_decay * self.learning_rate < 1:
            rate, decay = f"{self.learning_rate:g}", self.weight_decay
            if decay == StepSettings.weight_decay:  # nobody has set it
                raise InputError(f"the learning rate must be above 0 and below {1 / decay:g}, got {rate}")
            raise InputError(f"the learning rate times the weight decay must be from 0 to 1, got {rate} and {decay:g}")

    def num_only_read(self, context: int) -> int:
        """Return at how many positions of a window nothing is predicted."""
        return int(context * self.burn_in)

    def unused(self) -> dict[str, str]:
        """Return the names of the settings that mean nothing to the optimizer or the schedule, and to which."""
        of_optimizer = ("beta1", "beta2", "weight_decay") if self.optimizer == "sgd" else ("momentum",)
        of_schedule = ("last_rate",) if self.schedule in OPEN else ()
        return dict.fromkeys(of_optimizer, self.optimizer) | dict.fromkeys(of_schedule, self.schedule)


def train_steps(
    engine: Engine,
    ids: Sequence[int],
    num_train: int,
    settings: StepSettings,
    *,
    num_targets: int,
    starts: Sequence[int] = (),
    seed: int = 0,
    checkpoints: Any = None,
    on_start: Callable[[], None] | None = None,
    on_progress: OnProgress | None = None,
    rate_factor: Callable[[], float] = lambda: 1.0,
) -> Generator[StepRecord, None, dict[str, Any]]:
    """Train a network on the first ``num_train`` ids, and return what the metadata say of it besides the settings.

    The network is the engine's; ``num_targets`` is how many tokens it predicts in a window, ``starts`` are places where
    some windows begin, and the other arguments are those of Model.fit(). ``rate_factor`` is asked before each step by
    how much the learning rate is multiplied, for one who watches and changes it; the log has the rates used, and the
    metadata the steps where the factor changed.

    Yields:
        A record every ``eval_every`` steps, after resuming those before too: ``epoch`` (predictions so far / training
        tokens), ``avg_loss`` and ``accuracy`` of the batches since the last record, ``step``, ``learning_rate``,
        ``grad_norm`` (before clipping); with held-out text, ``val_loss`` and ``val_accuracy`` on a sample of it.

    Raises:
        InputError: The loss is no longer finite, a checkpoint does not fit, or there is nothing to choose the best by.
        OSError: A checkpoint cannot be written, or a worker process has ended.
    """
    held_out = _held_out_windows(ids[num_train:], settings, num_targets - settings.num_only_read(num_targets))
    state = _TrainingState(engine, ids[:num_train], starts, held_out, settings, seed, rate_factor)
    if checkpoints is not None:
        state.restore(checkpoints.load())
    _announce(state.step, settings, len(ids) - num_train, measured=bool(held_out))
    if on_start is not None:
        on_start()
    yield from map(dict, state.history)
    with engine:
        started, first_step = time.monotonic(), state.step
        with suppress(StopTraining):
            while state.step < settings.steps:
                state.do_step()
                if state.step % settings.eval_every == 0 or state.step == settings.steps:
                    yield state.record()
                if checkpoints is not None and checkpoints.is_due(state.step):
                    checkpoints.save(state.checkpoint())
                if on_progress is not None:
                    done = state.step - first_step
                    speed = done * state.tokens_per_step / max(time.monotonic() - started, 1e-3)
                    on_progress(state.step / settings.steps, f"{state.status()}, {speed:.0f} tokens/s")
        if state.pending:
            yield state.record()
        if checkpoints is not None:
            checkpoints.last = state.checkpoint()
        return state.finish()


def _announce(step: int, settings: StepSettings, num_held_out: int, *, measured: bool) -> None:
    if step:
        _note(f"resumed from step {step} of {settings.steps}")
    if num_held_out and not measured:
        _note(
            f"the held-out part has {num_held_out} tokens, too few for a window of {settings.context + 1}: the log has "
            "no val_loss, and only the finished model is measured on it"
        )


def _note(message: str) -> None:
    warnings.warn(message, InputWarning, stacklevel=3)


def _held_out_windows(ids: Sequence[int], settings: StepSettings, num_targets: int) -> list[Window]:
    """Return the windows to measure on while training; InputError if there are none to choose the best weights by."""
    windows = _spread_windows(ids, settings, num_targets)
    if not windows and settings.keep == "best":
        raise InputError(
            f"to keep the best weights, hold out at least {settings.context + 1} tokens (--val-fraction); "
            f"the held-out part has {len(ids)}"
        )
    return windows


def _spread_windows(ids: Sequence[int], settings: StepSettings, num_targets: int) -> list[Window]:
    """Return windows spread evenly over a text: as many as are asked for, or as predict no token twice."""
    room = len(ids) - settings.context
    if room < 1:
        return []
    number = max(min(room // num_targets, settings.eval_windows), 1)
    starts = [i * room // number for i in range(number)]
    return [list(ids[start : start + settings.context + 1]) for start in starts]


class _TrainingState:
    """Everything the next step depends on."""

    def __init__(
        self,
        engine: Engine,
        train_ids: Sequence[int],
        starts: Sequence[int],
        held_out: Sequence[Window],
        settings: StepSettings,
        seed: int,
        rate_factor: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._train_ids, self._starts = train_ids, starts
        self._held_out = held_out
        self._settings = settings
        self._generator = random.Random(seed)
        self._rate_factor = rate_factor
        self._factors: list[tuple[int, float]] = [(0, 1.0)]  # the steps from which the factors hold
        self._grad_norm = 0.0
        self.pending: list[BatchStats] = []  # the batches since the last record
        self.step = 0
        self.tokens_per_step = 0
        self.history: list[StepRecord] = []
        self._schedules = [Schedule(0, settings.steps, settings.warmup, settings.eval_every)]
        self._best: Best | None = None

    def do_step(self) -> None:
        """Learn from one batch."""
        settings = self._settings
        context, batch_size, micro_batch = settings.context, settings.batch_size, settings.micro_batch
        if self.step < settings.short_first * settings.steps:
            context, batch_size, micro_batch = context // 2, 2 * batch_size, 2 * micro_batch
        windows = draw_windows(self._train_ids, context, batch_size, self._generator, self._starts)
        # WHY their own generator: how a batch is cut must not change which windows the next one has.
        seeds = random.Random(self._generator.getrandbits(32))
        burn_in = settings.num_only_read(context)
        micro_batches = cut_batch(windows, micro_batch, lambda: seeds.getrandbits(32), burn_in)
        stats, self._grad_norm = self._engine.gradient(micro_batches)
        if not (isfinite(stats.loss) and isfinite(self._grad_norm)):
            raise InputError(
                f"the loss is no longer a number at step {self.step + 1}: "
                f"the learning rate {settings.learning_rate:g} is too high"
            )
        factor = self._rate_factor()
        if factor != self._factors[-1][1]:
            self._factors.append((self.step, factor))
        self._engine.step(factor * self._learning_rate(self.step))
        self.pending.append(stats)
        self.tokens_per_step = stats.num_tokens
        self.step += 1

    def _learning_rate(self, step: int) -> float:
        settings, peak, warmup = self._settings, self._settings.learning_rate, self._settings.warmup
        if settings.schedule in OPEN:
            return OPEN[settings.schedule](step, peak=peak, warmup=warmup)
        floor = peak * settings.last_rate
        return FALLING[settings.schedule](step, peak=peak, warmup=warmup, total=settings.steps, floor=floor)

    def record(self) -> StepRecord:
        """Return a new line of the log."""
        stats = sum_stats(self.pending)
        self.pending = []
        record = {
            "epoch": self.step * self.tokens_per_step / len(self._train_ids),
            "avg_loss": stats.loss,
            "accuracy": stats.correct / stats.num_tokens,
            "step": self.step,
            "learning_rate": self._factors[-1][1] * self._learning_rate(self.step - 1),
            "grad_norm": self._grad_norm,
        }
        if self._held_out:
            burn_in = self._settings.num_only_read(self._settings.context)
            micro_batches = cut_batch(self._held_out, self._settings.micro_batch, lambda: 0, burn_in)
            held_out = self._engine.measure(micro_batches)
            record.update(val_loss=held_out.loss, val_accuracy=held_out.correct / held_out.num_tokens)
        self.history.append(record)
        if self._settings.keep == "best" and (self._best is None or record["val_loss"] < self._best.loss):
            self._best = Best(self.step, record["val_loss"], self._engine.weights())
        self._engine.publish()  # who watches may let the model write
        return dict(record)  # WHY a copy: the caller may add columns, and a checkpoint keeps ours

    def status(self) -> str:
        """Return a few words on how far training is."""
        loss = self.pending[-1].loss if self.pending else self.history[-1]["avg_loss"]
        text = f"step {self.step}/{self._settings.steps}, loss {loss:.3f}"
        return f"{text}, val {self.history[-1]['val_loss']:.3f}" if self.history and self._held_out else text

    def finish(self) -> dict[str, Any]:
        """Go back to the best weights, if those are to be kept; return what the metadata say of it."""
        remarks: dict[str, Any] = {}
        if len(self._schedules) > 1:
            remarks["resumed_from_step"] = self._schedules[-1].start
        if len(self._factors) > 1:
            remarks["rate_factors"] = [{"from_step": step, "factor": factor} for step, factor in self._factors[1:]]
        if self._best is not None:
            self._engine.load_weights(self._best.weights)
            remarks |= {"keep": "best", "kept_step": self._best.step, "keep_note": KEEP_NOTE}
        self._engine.publish()
        return remarks

    # --- checkpoints ---------------------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """Return all that is needed to continue from here."""
        weights, remembered = self._engine.weights(), self._engine.remembered()
        progress = {"random": list(self._generator.getstate()), "history": self.history, "pending": self.pending}
        progress["schedules"] = self._schedules
        if self._best is None:
            return Checkpoint(self.step, weights, remembered, progress)
        best = {"best": [self._best.step, self._best.loss]}
        return Checkpoint(self.step, weights, remembered, progress | best, self._best.weights)

    def restore(self, checkpoint: Checkpoint | None) -> None:
        """Continue from a checkpoint, if there is one; InputError if it is damaged or does not fit the network."""
        if checkpoint is None:
            return
        try:
            self._restore_best(checkpoint)
            self._engine.load_weights(checkpoint.weights)
            self._engine.remember(checkpoint.optimizer, checkpoint.step)
            self._restore_progress(checkpoint.step, checkpoint.progress)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise InputError(f"the checkpoint of step {checkpoint.step} cannot be used: {error}") from error
        self.step = checkpoint.step
        if self._settings.keep == "best" and checkpoint.best is None:
            _note(f"the best weights before step {self.step} were not kept, so the best from there on are chosen")
            if self.history and not self.pending:
                self._best = Best(self.step, self.history[-1]["val_loss"], self._engine.weights())

    def _restore_best(self, checkpoint: Checkpoint) -> None:
        if self._settings.keep == "best" and checkpoint.best is not None:
            step, loss = checkpoint.progress["best"]
            if [step, loss] not in [[r["step"], r["val_loss"]] for r in checkpoint.progress["history"]]:
                raise ValueError("the best step is not in the log")
            self._engine.load_weights(checkpoint.best)  # WHY: they are checked like the others, which follow
            self._best = Best(step, loss, checkpoint.best)

    def _restore_progress(self, step: int, progress: dict[str, Any]) -> None:
        """Take over the random state, the log, the batches since its last line, and the schedules so far."""
        version, numbers, gauss = progress["random"]
        self._generator.setstate((version, tuple(numbers), gauss))
        self.history = [checked_record(record, bool(self._held_out)) for record in progress["history"]]
        recorded = [int(record["step"]) for record in self.history]
        old = checked_schedules(progress["schedules"], step, recorded)
        self.pending = [checked_stats(*stats) for stats in progress["pending"]]
        if len(self.pending) != step - (recorded[-1] if recorded else 0):
            raise ValueError("the batches are not those since the last line of the log")
        stopped_early = not self.pending and step not in old[-1].recorded(step)
        if stopped_early or self._schedules[0][1:] != old[-1][1:]:
            new = self._schedules[0]._replace(start=step)
            self._schedules = [*(schedule for schedule in old if schedule.start < step), new]
        else:
            self._schedules = old
