"""training.py - What the playground asks of the package: to train as ``toy-gpt train`` does, and for the files.

The worker (worker.js) runs it inside the page. It knows no model and no file format: the package does all the work.
"""

import argparse
import io
import json
import os
import re
import shlex
import shutil
import time
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Protocol

from pyodide.ffi import can_run_sync, run_sync

from toy_gpt_train import run
from toy_gpt_train.cli import build_parser, collect_rarely
from toy_gpt_train.cli.report import plan, training_report
from toy_gpt_train.cli.train import train_arguments
from toy_gpt_train.errors import InputError, StopTraining
from toy_gpt_train.models.registry import find_model

HOME = Path("toy-gpt-train").absolute()  # WHY this name: a run is recorded as made in the folder it lies in
SECONDS_BETWEEN_REPORTS = 0.1

collect_rarely()


class Page(Protocol):
    """The page, as the worker gives it."""

    def progress(self, fraction: float, status: str) -> None:
        """Show how far training is."""

    def record(self, record: str) -> None:
        """Show a record of the log, as JSON."""

    def stopped(self) -> bool:
        """Whether training is to end with what has been learned so far."""


def train(line: str, corpus_name: str, text: str, page: Page, turn: Callable[[], object]) -> dict[str, Any]:
    """Train a model and return the result.

    Args:
        line: The arguments of ``toy-gpt train``.
        corpus_name: The name of the text's file.
        text: The text.
        page: Is told how it goes.
        turn: Called now and then; what it returns is awaited, so that messages from the page can arrive.

    Returns:
        ``problem``: why it cannot be done, in one line; or else ``report``: what ``toy-gpt train`` prints, ``files``:
        the artifacts by name, ``log``: the training log, and ``zip``: all of them, and the text, as a ZIP file.
    """
    said = io.StringIO()
    try:
        with redirect_stderr(said), redirect_stdout(io.StringIO()):
            arguments = train_arguments(_parsed(line, corpus_name, text))
        if find_model(arguments["model"]).model_class.trains_in_steps:
            arguments["keep_checkpoint"] = False  # WHY: it is larger than all other files of the run together
        plans: list[str] = []
        trained = run.train(
            **arguments,
            on_start=lambda job: plans.append(plan(job)),
            progress=_Told(page, turn).progress,
            on_record=lambda record: page.record(json.dumps(record)),
        )
    except SystemExit:  # argparse, which has said why, or has answered --help
        why = re.sub("^toy-gpt[a-z ]*: error: ", "", said.getvalue().strip())
        return {"problem": why or "--help is for a terminal: uv run toy-gpt train --help"}
    except StopTraining:
        return {"problem": "Stopped. This model learns in one pass, so there is nothing to show before its end."}
    except (InputError, OSError) as error:
        return {"problem": " ".join(str(error).split())}
    return {"report": "\n".join([*plans, training_report(trained, trained.paths)]), **_files()}


def _parsed(line: str, corpus_name: str, text: str) -> argparse.Namespace:
    """Put the text where the command looks for it, and parse the command."""
    os.chdir(HOME.parent)
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    os.chdir(HOME)  # WHY: messages name the text as the command does
    corpus = Path("corpus") / Path(corpus_name).name
    corpus.parent.mkdir()
    corpus.write_text(text, encoding="utf-8", newline="")
    try:
        arguments = shlex.split(line)
    except ValueError as error:
        raise InputError(f"the options cannot be read: {error}") from error
    args = build_parser().parse_args(["train", *arguments])
    args.corpus, args.base_dir = corpus, HOME
    if args.workers > 1:
        raise InputError("a page has one process: leave --workers out")
    return args


class _Told:
    """Tells the page how far training is, not too often, and ends it where the page asks for that."""

    def __init__(self, page: Page, turn: Callable[[], object]) -> None:
        self._page = page
        self._turn = turn
        self._last = 0.0

    def progress(self, fraction: float, status: str) -> None:
        now = time.monotonic()
        if fraction < 1 and now - self._last < SECONDS_BETWEEN_REPORTS:
            return
        self._last = now
        self._page.progress(fraction, status)
        if can_run_sync():
            run_sync(self._turn())
        if fraction < 1 and self._page.stopped():  # at 1 all is learned, and the scores are waited for
            raise StopTraining


def _files() -> dict[str, Any]:
    artifacts = {path.name: path.read_bytes() for path in sorted((HOME / "artifacts").iterdir()) if path.is_file()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(HOME.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(HOME).as_posix())
    log = (HOME / "outputs" / "train_log.csv").read_bytes()
    return {"files": artifacts, "log": log, "zip": packed.getvalue()}
