"""checkpoints.py - A training run that was stopped can be resumed.

A checkpoint is a folder with everything that the next step depends on: the weights and AdamW's averages (safetensors),
and the step, the random state, the log so far, and what the run is (JSON). It is written under a temporary name and
renamed, so there is either a whole checkpoint or none.

REQ: a run that was killed and resumed ends with the same weights and the same log, bit for bit, as one that was not.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.artifacts.safetensors import read_safetensors, write_safetensors
from toy_gpt_train.disk import sync_folder, sync_names
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import read_json_object
from toy_gpt_train.training.steps import Checkpoint

STATE_NAME: Final = "state.json"
WEIGHTS_NAME: Final = "weights.safetensors"
OPTIMIZER_NAME: Final = "optimizer.safetensors"

_WHOLE: Final = re.compile(r"step-[0-9]{8}")
_TEMPORARY: Final = re.compile(r"\.step-[0-9]{8}\.[0-9]+\.tmp")


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: Where they are. Only the newest is kept; nothing else in the folder is touched.
        every: Steps from one to the next; 0 to write none.
        identity: What the run is, as JSON: its text, its model and all its numbers.
    """

    def __init__(self, folder: Path, every: int, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self.every = every
        self._identity = identity

    def newest(self) -> Path | None:
        """Return the folder of the newest checkpoint; None if there is none."""
        return max(self._named(_WHOLE), default=None)

    def _named(self, pattern: re.Pattern[str]) -> list[Path]:
        paths = self.folder.iterdir() if self.folder.is_dir() else []
        return [path for path in paths if pattern.fullmatch(path.name)]

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and remove the previous one.

        Raises:
            OSError: It cannot be written; the previous one is still there.
        """
        target = self.folder / f"step-{checkpoint.step:08}"
        staged = self._staged(target)
        shutil.rmtree(staged, ignore_errors=True)  # a killed process of the same number may have left it
        try:
            staged.mkdir(parents=True)
            write_safetensors(staged / WEIGHTS_NAME, checkpoint.weights)
            write_safetensors(staged / OPTIMIZER_NAME, checkpoint.optimizer)
            state = {"identity": self._identity, "step": checkpoint.step, "progress": checkpoint.progress}
            (staged / STATE_NAME).write_text(json.dumps(state), encoding="utf-8")
            sync_folder(staged)
            staged.rename(target)
            sync_names([self.folder, self.folder.parent])
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        self._remove_all_but(target)

    def load(self) -> Checkpoint | None:
        """Read the newest checkpoint; None if there is none.

        Raises:
            InputError: It is of another run (the message names the first difference), or it is damaged.
            OSError: It cannot be read.
        """
        path = self.newest()
        if path is None:
            return None
        try:
            state = read_json_object(path / STATE_NAME)
            identity, step, progress = state["identity"], state["step"], state["progress"]
            known = {name: identity.get(name) for name in self._identity}
        except (KeyError, AttributeError) as error:
            raise InputError(f"{path / STATE_NAME}: not the state of a training run: {error}") from error
        for name, mine in self._identity.items():
            if known[name] != mine:
                what = f"its {name.replace('_', ' ')} is {_short(known[name])}, not {_short(mine)}"
                raise InputError(f"{path}: this checkpoint is of another run: {what}")
        if type(step) is not int or path.name != f"step-{step:08}" or not isinstance(progress, dict):
            raise InputError(f"{path / STATE_NAME}: not the state of a training run")
        weights, _ = read_safetensors(path / WEIGHTS_NAME)
        optimizer, _ = read_safetensors(path / OPTIMIZER_NAME)
        return Checkpoint(step, weights, optimizer, progress)

    def _staged(self, folder: Path) -> Path:
        return self.folder / f".{folder.name}.{os.getpid()}.tmp"

    def clear(self) -> None:
        """Remove all checkpoints: the run is done, and its artifacts are the model."""
        self._remove_all_but(None)
        with suppress(OSError):  # other files are in it
            self.folder.rmdir()

    def _remove_all_but(self, kept: Path | None) -> None:
        for path in sorted(self._named(_WHOLE)):
            if path != kept:
                with suppress(OSError):  # another program holds a file open
                    path.rename(self._staged(path))  # WHY: a checkpoint that is half removed must not look whole
        for path in self._named(_TEMPORARY):  # those of killed processes too
            shutil.rmtree(path, ignore_errors=True)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 20 else text[:17] + "..."
