"""checkpoints.py - A training run that was stopped can be resumed.

A checkpoint is a folder with everything that the next step depends on: the weights and what the optimizer remembers
(safetensors), and the step, the random state, the log so far, and what the run is (JSON). It is written under a
temporary name and renamed, so there is either a whole checkpoint or none.

REQ: a run that was killed and resumed ends with the same weights and the same log, bit for bit, as one that was not.
"""

import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from toy_gpt_train.artifacts.safetensors import read_safetensors, write_safetensors
from toy_gpt_train.disk import sync_folder, sync_names
from toy_gpt_train.errors import InputError, InputWarning
from toy_gpt_train.files import read_json_object
from toy_gpt_train.training.checkpoint import Checkpoint

STATE_NAME: Final = "state.json"
WEIGHTS_NAME: Final = "weights.safetensors"
OPTIMIZER_NAME: Final = "optimizer.safetensors"
BEST_NAME: Final = "best.safetensors"  # only where the best weights are to be kept
SECONDS: Final = 60.0  # of training from one checkpoint to the next, where nobody has said how many steps
RESUMED_NUMBERS: Final = ("steps", "warmup", "eval_every", "keep")  # a run may be resumed with others

_WHOLE: Final = re.compile(r"step-[0-9]{8}")
_TEMPORARY: Final = re.compile(r"\.step-[0-9]{8}\.[0-9]+(\.old)?\.tmp")


class State(NamedTuple):
    """What state.json of a checkpoint says."""

    path: Path  # the folder of the checkpoint
    finished: bool  # whether the run was written; otherwise it was stopped
    identity: dict[str, Any]
    step: int
    progress: dict[str, Any]

    def resumed_numbers(self) -> dict[str, Any]:
        """Return the numbers that a resumed run takes over where no others are given."""
        # WHY the micro-batch, too: its default depends on the engine, and another engine may continue the run.
        names = (*RESUMED_NUMBERS, "micro_batch")
        found: dict[str, Any] = {name: self.identity[name] for name in names if name in self.identity}
        if any(isinstance(number, int) and not 0 <= number < 2**53 for number in found.values()):
            raise InputError(f"{self.path / STATE_NAME}: the numbers of the training run make no sense")
        return found


def newest_state(folder: Path) -> State | None:
    """Read state.json of the newest checkpoint; None if there is none, InputError if it is damaged."""
    path = max(_named(folder, _WHOLE), default=None)
    if path is None:
        return None
    state: dict[str, Any] = read_json_object(path / STATE_NAME)
    identity: Any = state.get("identity")
    step: Any = state.get("step")
    progress: Any = state.get("progress")
    is_state = isinstance(identity, dict) and isinstance(progress, dict) and type(step) is int
    if not is_state or path.name != f"step-{step:08}":
        raise InputError(f"{path / STATE_NAME}: not the state of a training run")
    return State(path, state.get("finished") is True, identity, step, progress)


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: Where they are. Only the newest is kept; nothing else in the folder is touched.
        every: Steps from one to the next; 0 to write none, None for one per minute.
        identity: What the run is, as JSON: its text, its model and all its numbers.
        resume: Whether to continue from the newest.
    """

    def __init__(self, folder: Path, every: int | None, identity: Mapping[str, Any], *, resume: bool = True) -> None:
        self.folder = folder
        self.every = every
        self.last: Checkpoint | None = None  # that of the end
        self._identity = identity
        self._resume = resume
        self._saved_at = time.monotonic()

    def is_due(self, step: int) -> bool:
        """Return whether to save a checkpoint, now that this step is done."""
        if self.every is None:
            return time.monotonic() - self._saved_at >= SECONDS
        return self.every > 0 and step % self.every == 0

    def save(self, checkpoint: Checkpoint, *, finished: bool = False) -> None:
        """Write a checkpoint, and remove the previous one, which is still there after an OSError."""
        target = self.folder / f"step-{checkpoint.step:08}"
        staged = self.folder / f".{target.name}.{os.getpid()}.tmp"
        shutil.rmtree(staged, ignore_errors=True)  # a killed process of the same number may have left it
        state = {"identity": self._identity, "step": checkpoint.step, "finished": finished}
        try:
            staged.mkdir(parents=True)
            write_safetensors(staged / WEIGHTS_NAME, checkpoint.weights)
            write_safetensors(staged / OPTIMIZER_NAME, checkpoint.optimizer)
            if checkpoint.best is not None:
                write_safetensors(staged / BEST_NAME, checkpoint.best)
            text = json.dumps({**state, "progress": checkpoint.progress})
            (staged / STATE_NAME).write_text(text, encoding="utf-8")
            sync_folder(staged)
            # WHY before: they are of a run that this one replaces, and would look newer.
            self._set_aside([path for path in _named(self.folder, _WHOLE) if path >= target])
            staged.rename(target)
            sync_names([self.folder, self.folder.parent])
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            self._remove_folder()
            raise
        self._remove_all_but(target)
        self._saved_at = time.monotonic()

    def load(self) -> Checkpoint | None:
        """Read the newest checkpoint; None if there is none, or the run is not to be resumed.

        Raises:
            InputError: It is of another run (the message names the first difference), or it is damaged.
            OSError: It cannot be read.
        """
        state = newest_state(self.folder) if self._resume else None
        if state is None:
            return None
        for name, mine in self._identity.items():
            if name not in RESUMED_NUMBERS and (known := state.identity.get(name)) != mine:
                what = f"its {name.replace('_', ' ')} is {_short(known)}, not {_short(mine)}"
                raise InputError(f"{state.path}: this checkpoint is of another run: {what}")
        names = [WEIGHTS_NAME, OPTIMIZER_NAME, *([BEST_NAME] if "best" in state.progress else [])]
        weights, optimizer, *best = (read_safetensors(state.path / name)[0] for name in names)
        return Checkpoint(state.step, weights, optimizer, state.progress, *best)

    def finish(self, *, keep: bool) -> None:
        """Keep the last checkpoint of a run that was written, to be resumed with more steps, or none."""
        if not keep or self.last is None:
            self.clear()
            return
        try:
            self.save(self.last, finished=True)
        except OSError as error:
            warnings.warn(f"the last checkpoint is not kept: {error.strerror or error}", InputWarning, stacklevel=2)

    def clear(self) -> None:
        """Remove all checkpoints."""
        self._remove_all_but(None)
        self._remove_folder()

    def _remove_folder(self) -> None:
        with suppress(OSError):  # other files are in it
            self.folder.rmdir()

    def _remove_all_but(self, kept: Path | None) -> None:
        self._set_aside(path for path in _named(self.folder, _WHOLE) if path != kept)
        for path in _named(self.folder, _TEMPORARY):  # those of killed processes too
            shutil.rmtree(path, ignore_errors=True)

    def _set_aside(self, paths: Iterable[Path]) -> None:
        """Rename checkpoints before they are removed, because half of one must not look whole."""
        for path in paths:
            with suppress(OSError):  # another program holds a file open
                aside = self.folder / f".{path.name}.{os.getpid()}.old.tmp"
                shutil.rmtree(aside, ignore_errors=True)
                path.rename(aside)


def _named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    paths = folder.iterdir() if folder.is_dir() else []
    return sorted(path for path in paths if pattern.fullmatch(path.name))


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 20 else text[:17] + "..."
