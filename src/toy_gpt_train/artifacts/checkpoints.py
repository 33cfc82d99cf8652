"""checkpoints.py - A training run that was stopped can be resumed.

A checkpoint is a folder with all that the next step depends on: the weights and AdamW's averages (safetensors), and
the step, the random state, the log, and the identity of the run (JSON). It is written under a temporary name and then
renamed, so it is either whole or not there.

REQ: a run that was killed and resumed ends with the same weights and the same log, bit for bit, as one that was not.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.artifacts.safetensors import read_safetensors, write_safetensors
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import read_json_object
from toy_gpt_train.training.steps import Checkpoint

STATE_NAME: Final = "state.json"
WEIGHTS_NAME: Final = "weights.safetensors"
OPTIMIZER_NAME: Final = "optimizer.safetensors"

_FOLDER: Final = re.compile(r"step-([0-9]{8})")


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: Where they are; only the newest is kept.
        every: Steps from one to the next; 0 to write none.
        identity: Whatever changes what the run learns, as JSON: its text, its model and all its settings.
    """

    def __init__(self, folder: Path, every: int, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self.every = every
        self._identity = identity

    def newest(self) -> Path | None:
        """Return the folder of the newest checkpoint; None where there is none."""
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        whole = sorted(name for name in names if _FOLDER.fullmatch(name))
        return self.folder / whole[-1] if whole else None

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and remove the one before.

        Raises:
            OSError: It cannot be written; the one before is still there.
        """
        target = self.folder / f"step-{checkpoint.step:08}"
        staged = self._staged(target)
        shutil.rmtree(staged, ignore_errors=True)  # WHY: a killed process with the same id may have left it
        try:
            staged.mkdir(parents=True)
            write_safetensors(staged / WEIGHTS_NAME, checkpoint.weights)
            write_safetensors(staged / OPTIMIZER_NAME, checkpoint.optimizer)
            state = {"identity": self._identity, "step": checkpoint.step, "progress": checkpoint.progress}
            (staged / STATE_NAME).write_text(json.dumps(state), encoding="utf-8")
            staged.rename(target)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        for path in self.folder.iterdir():
            if path != target:
                shutil.rmtree(path, ignore_errors=True)  # older ones, and what a killed run left half-written

    def load(self) -> Checkpoint | None:
        """Read the newest checkpoint; None where there is none.

        Raises:
            InputError: It belongs to another run (the first difference is named), or it is damaged.
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

    def clear(self) -> None:
        """Remove all checkpoints: the run is done, and its artifacts are the model."""
        while newest := self.newest():
            newest.rename(self._staged(newest))  # WHY: one that is half removed must not look whole
        shutil.rmtree(self.folder, ignore_errors=True)

    def _staged(self, folder: Path) -> Path:
        return self.folder / f".{folder.name}.{os.getpid()}.tmp"


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 20 else text[:17] + "..."
