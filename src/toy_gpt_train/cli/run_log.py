"""run_log.py - What happened in a training run: project.log, lines for people, and train.log, records for programs.

The environment variable LOG_LEVEL says how much goes into project.log (INFO by default). If it is set, the lines also
go to standard error as they come.
"""

import io
import json
import logging
import os
import platform
import sys
from pathlib import Path
from typing import Any, Final

from toy_gpt_train import __version__
from toy_gpt_train.artifacts.run_folder import PROJECT_LOG, TRAIN_LOG
from toy_gpt_train.errors import InputError
from toy_gpt_train.job import Job
from toy_gpt_train.models.base import Record
from toy_gpt_train.show import one_line

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_FORMAT: Final = "%(asctime)s %(levelname)s %(message)s"


def chosen_level() -> str | None:
    """Return the level in LOG_LEVEL, None where it is not set; InputError if there is no such level."""
    chosen = os.environ.get("LOG_LEVEL", "").strip().upper()
    if chosen and chosen not in LEVELS:
        raise InputError(f"LOG_LEVEL is {chosen!r:.40}; the levels are {', '.join(LEVELS)}")
    return chosen or None


class _Handler(logging.StreamHandler[Any]):
    """Writes lines to a stream; the work continues when nobody can read them any more."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        pass


class RunLog:
    """The log of one run; ``level`` is chosen_level()."""

    def __init__(self, level: str | None) -> None:
        # WHY not getLogger(): a second run in the same process must not write to the first one's log.
        self._logger = logging.Logger("toy_gpt_train", level or "INFO")
        self._lines = io.StringIO()
        for stream in (self._lines, sys.stderr) if level else (self._lines,):
            handler = _Handler(stream)
            handler.setFormatter(logging.Formatter(_FORMAT))
            self._logger.addHandler(handler)

    def start(self, job: Job, asked: object) -> None:
        """Write the header: with what, what, on what, how. ``asked`` is what was typed, for DEBUG."""
        text = job.encoded
        source, held_out = text.source, len(text.ids) - text.num_train
        self._info(f"toy-gpt {__version__}, Python {platform.python_version()}, {platform.platform()}")
        self._info(f"model {job.entry.name} ({job.entry.code}): {job.entry.adds}")
        self._info(f"corpus {source.name}, SHA-256 {source.sha256[:12]}")
        tokens = f"{text.num_train} tokens to learn, {held_out} held out, {text.tokenizer.vocab_size} different"
        self._info(f"tokenizer {text.tokenizer.kind}: {tokens}")
        self._info(f"settings {_pairs(job.numbers())}, seed={job.seed}")
        self._debug(f"arguments {asked}")
        self._debug(f"first tokens {list(text.tokenizer.tokens[:20])}")

    def record(self, record: Record) -> None:
        """Write a record of the training log."""
        self._info(_pairs(record))

    def close(self, job: Job, metrics: dict[str, float], advice: str | None, folder: Path) -> dict[str, str]:
        """Write the result and where it goes; return the files by name."""
        self._info(f"result {_pairs(metrics)}")
        if advice is not None:
            self._logger.warning("%s", one_line(advice))
        self._info(f"writing to {folder / 'artifacts'} and {folder / 'outputs'}")
        records = "".join(f"{json.dumps(record)}\n" for record in job.history)
        return {PROJECT_LOG: self._lines.getvalue(), TRAIN_LOG: records}

    def _info(self, message: str) -> None:
        self._logger.info("%s", one_line(message))

    def _debug(self, message: str) -> None:
        self._logger.debug("%s", one_line(message))


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()
    )
