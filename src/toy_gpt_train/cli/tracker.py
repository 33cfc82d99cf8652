"""tracker.py - Send the training log to an experiment tracker as it is made: ``--log-to tensorboard``.

A tracker is a function that is called with each record, and is closed at the end. It needs the package tensorboardX,
and imports it only when it is used: pip install "toy-gpt-train[log]".
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.models.base import Record

TRACKERS: Final = ("tensorboard",)


@contextmanager
def tracking(tracker: str | None, outputs: Path) -> Iterator[Callable[[Record], None]]:
    """Yield a function that takes the records of a run; None as the tracker gives one that does nothing.

    InputError if the package is not installed.
    """
    if tracker is None:
        yield lambda record: None
        return
    try:
        package = import_module("tensorboardX")
    except ImportError as error:
        needed = 'pip install "toy-gpt-train[log]"'
        raise InputError(f"--log-to {tracker} needs another package ({error}); run: {needed}") from error
    board = _TensorBoard(package, outputs / "tensorboard")
    try:
        yield board.record
    finally:
        board.close()


class _TensorBoard:
    """One scalar for each column of the log, by step (by epoch, where a model has no steps)."""

    def __init__(self, package: Any, folder: Path) -> None:
        self._package = package
        self._folder = folder
        self._writer: Any = None

    def record(self, record: Record) -> None:
        if self._writer is None:  # WHY not before: a run that cannot start leaves the former one's events
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in self._folder.glob("events.out.tfevents.*"):
                path.unlink()
            self._writer = self._package.SummaryWriter(str(self._folder))
        step = int(record.get("step", record["epoch"]))
        for name, value in record.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
