"""checkpoint.py - What a checkpoint holds, and whether what was read makes sense."""

from array import array
from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

from toy_gpt_train.training.workers import BatchStats

Arrays = Mapping[str, tuple[tuple[int, ...], "array[float]"]]  # shape and flat values, by name
StepRecord = dict[str, float]


class Checkpoint(NamedTuple):
    """All that the next step depends on."""

    step: int  # how many steps were done
    weights: Arrays  # the parameters
    optimizer: Arrays  # what the optimizer remembers of each: AdamW two averages, SGD the velocity
    progress: dict[str, Any]  # the random state, the log, the batches since its last line, the schedules, as JSON
    best: Arrays | None = None  # the best weights so far, where those are to be kept


class Schedule(NamedTuple):
    """What the learning rate and the log follow, from a step on; a run that is resumed may get another one."""

    start: int  # the steps done before
    steps: int
    warmup: int
    eval_every: int

    def recorded(self, end: int) -> list[int]:
        """Return the steps up to ``end`` that have a line in the log."""
        first = self.start - self.start % self.eval_every + self.eval_every
        return sorted({*range(first, end + 1, self.eval_every), *([end] if self.start < end == self.steps else [])})


class Best(NamedTuple):
    """The weights with the lowest held-out loss so far."""

    step: int
    loss: float
    weights: Arrays


# --- reading, with ValueError for what makes no sense -------------------------------------------------------


def checked_record(record: Any, held_out: bool) -> StepRecord:
    """Return a record of the log, which has the columns that it should have."""
    columns = ["epoch", "avg_loss", "accuracy", "step", "learning_rate", "grad_norm"]
    if held_out:
        columns += ["val_loss", "val_accuracy"]
    if not isinstance(record, dict) or list(record) != columns:
        raise ValueError("a record of the log has other columns")
    if not all(type(number) in (int, float) and isfinite(number) for number in record.values()):
        raise ValueError("a record of the log holds something that is not a number")
    return record


def checked_schedules(found: Any, step: int, recorded: list[int]) -> list[Schedule]:
    """Return the schedules of a checkpoint; the log must follow from them."""
    schedules = [Schedule(*numbers) for numbers in found]
    starts = [schedule.start for schedule in schedules]
    are_numbers = all(
        type(n) is int and 0 <= n < 2**53 for schedule in schedules for n in (*schedule, schedule[-1] - 1)
    )
    if not (are_numbers and starts[:1] == [0] and starts == sorted(set(starts)) and starts[-1] <= step):
        raise ValueError("the schedules make no sense")
    ends = [*starts[1:], step]
    if any((end - s.start) // s.eval_every > len(recorded) for s, end in zip(schedules, ends, strict=True)):
        raise ValueError("the log is too short")
    due = {n for schedule, end in zip(schedules, ends, strict=True) for n in schedule.recorded(end)}
    # A run that was stopped and written has a line for its last step, too.
    if not due <= set(recorded) <= due | set(ends) or recorded != sorted(set(recorded)):
        raise ValueError("the log is of other steps")
    return schedules


def checked_stats(loss: float, num_tokens: int, correct: int) -> BatchStats:
    """Return the loss and counts of a batch."""
    if not isfinite(loss) or not 0 <= correct <= num_tokens < 2**53 or num_tokens == 0:
        raise ValueError("the numbers of a batch make no sense")
    return BatchStats(loss, num_tokens, correct)
