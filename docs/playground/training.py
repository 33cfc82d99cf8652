"""training.py - What the playground asks of the package: how long it takes, to train as ``toy-gpt train``, the files.

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
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Protocol

from js import Object
from pyodide.ffi import can_run_sync, run_sync, to_js

from toy_gpt_train import run
from toy_gpt_train.artifacts.metadata import Meta
from toy_gpt_train.artifacts.run_folder import SavedRun, locked_run, write_run
from toy_gpt_train.cli import build_parser, collect_rarely
from toy_gpt_train.cli.report import plan, training_report
from toy_gpt_train.cli.samples import sample
from toy_gpt_train.cli.train import train_arguments
from toy_gpt_train.errors import InputError, StopTraining
from toy_gpt_train.job import Job
from toy_gpt_train.models.registry import find_model

HOME = Path("toy-gpt-train").absolute()  # WHY this name: a run is recorded as made in the folder it lies in
UNSCORED = HOME.with_name("unscored")
SECONDS_BETWEEN_REPORTS = 0.1
SECONDS_BETWEEN_SAMPLES = 2.0
SECONDS_TO_MEASURE = 0.3
MOST_MEASURED = 3e9  # multiplications and additions of a step; a longer one is not tried
SLOW_SPEED = 5e7  # of them, in a second
_PROBLEMS = (InputError, OSError)

collect_rarely()


class Page(Protocol):
    """The page, as the worker gives it."""

    def progress(self, fraction: float, status: str) -> None:
        """Show how far training is."""

    def record(self, record: str) -> None:
        """Show a record of the log, as JSON."""

    def sample(self, step: int, text: str) -> None:
        """Show what the network writes after a step."""

    def learned(self, files: dict[str, Any]) -> None:
        """Show the model, which is not scored yet: its ``files`` and its ``log``."""

    def stopped(self) -> bool:
        """Whether training is to end with what has been learned so far."""

    def paused(self) -> bool:
        """Whether training is to wait after each step."""

    def rate(self) -> float:
        """Return by how much the learning rate is multiplied from now on."""

    def turn(self) -> object:
        """Return what is awaited, so that messages from the page can arrive; during a pause, until it ends."""


def train(line: str, corpus_name: str, text: str, page: Page) -> dict[str, Any]:
    """Train a model and return the result.

    Args:
        line: The arguments of ``toy-gpt train``.
        corpus_name: The name of the text's file.
        text: The text.
        page: Is told how it goes.

    Returns:
        ``problem``: why it cannot be done, in one line; or else ``report``: what ``toy-gpt train`` prints, ``seconds``,
        ``files``: the artifacts by name, ``log``: the training log, and ``zip``: all of them, and the text, as a ZIP
        file.
    """
    plans: list[str] = []
    told = _Told(page)

    def start(job: Job) -> None:
        told.job = job
        plans.append(plan(job))
        job.rate_factor = page.rate
        job.on_learned = lambda meta: page.learned(to_js(_unscored(job, meta), dict_converter=Object.fromEntries))

    try:
        trained = _run(line, corpus_name, text, on_start=start, progress=told.progress, on_record=told.record)
    except StopTraining:
        return {"problem": "Stopped. This model learns in one pass, so there is nothing to show before its end."}
    except _PROBLEMS as error:
        return {"problem": _sentence(error)}
    report = "\n".join([*plans, training_report(trained, trained.paths)])
    return {"report": report, "seconds": trained.train_seconds, "zip": _packed(), **_files(HOME)}


def measure(line: str, corpus_name: str, text: str, page: Page) -> dict[str, Any]:
    """Return how long a training run will take here, by starting it; the arguments are those of train().

    Returns:
        ``seconds``: in all; ``perStep``: of a network's step, None for other models; both None where the arguments make
        no sense, which train() will say.
    """
    del page
    pace = _Pace()
    try:
        _run(line, corpus_name, text, on_start=pace.start, progress=pace.progress, on_record=lambda record: None)
    except (_EnoughError, StopTraining, *_PROBLEMS):
        pass
    return {"seconds": pace.seconds, "perStep": pace.per_step}


class _EnoughError(Exception):
    """The time is known."""


class _Pace:
    """Watches the beginning of a training run."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self.per_step: float | None = None
        self._begun = time.monotonic()
        self._steps: int | None = None

    def start(self, job: Job) -> None:
        if job.model.trains_in_steps:
            numbers = job.numbers()
            self._steps = numbers["steps"]
            predictions = numbers["batch_size"] * numbers["context"]
            if (work := 6.0 * job.model.num_parameters() * predictions) > MOST_MEASURED:
                self._found(work / SLOW_SPEED * self._steps)
        self._begun = time.monotonic()

    def progress(self, fraction: float, status: str) -> None:
        """Be told how far it is."""
        elapsed = time.monotonic() - self._begun
        if fraction > 0 and (self._steps or elapsed > SECONDS_TO_MEASURE or fraction == 1):
            self._found(elapsed / fraction)

    def _found(self, seconds: float) -> None:
        self.seconds = seconds
        self.per_step = seconds / self._steps if self._steps else None
        raise _EnoughError


def _run(line: str, corpus_name: str, text: str, **how: Any) -> run.Run:
    """Train, with nothing printed; SystemExit has argparse's words."""
    said = io.StringIO()
    try:
        with redirect_stderr(said), redirect_stdout(io.StringIO()):
            arguments = train_arguments(_parsed(line, corpus_name, text))
        if find_model(arguments["model"]).model_class.trains_in_steps:
            arguments["keep_checkpoint"] = False  # WHY: it is larger than all other files of the run together
        return run.train(**arguments, **how)
    except SystemExit:  # argparse, which has said why, or has answered --help
        raise InputError(
            re.sub("^toy-gpt[a-z ]*: error: ", "", said.getvalue().strip())
            or "--help is for a terminal: uv run toy-gpt train --help"
        ) from None


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split())


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
    """Tells the page how far training is, not too often, and does what the page asks for: wait, or end."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._last = self._last_sample = 0.0
        self.job: Job | None = None

    def progress(self, fraction: float, status: str) -> None:
        now = time.monotonic()
        if fraction < 1 and not self._page.paused() and now - self._last < SECONDS_BETWEEN_REPORTS:
            return
        self._last = now
        self._page.progress(fraction, status)
        if can_run_sync():
            run_sync(self._page.turn())
        if fraction < 1 and self._page.stopped():  # at 1 all is learned, and the scores are waited for
            raise StopTraining

    def record(self, record: dict[str, float]) -> None:
        """Be told a line of the log; a network writes something then."""
        self._page.record(json.dumps(record))
        now = time.monotonic()
        if self.job and self.job.model.trains_in_steps and now - self._last_sample > SECONDS_BETWEEN_SAMPLES:
            self._page.sample(int(record["step"]), sample(self.job))
            self._last_sample = time.monotonic()


def _unscored(job: Job, meta: Meta) -> dict[str, Any]:
    """Return the files of a model that has learned, before it is scored."""
    text = job.encoded
    shutil.rmtree(UNSCORED, ignore_errors=True)
    with locked_run(UNSCORED) as folder:
        write_run(SavedRun(meta, text.tokenizer, text.frequencies, job.model, job.history), folder)
    return _files(UNSCORED)


def _files(home: Path) -> dict[str, Any]:
    artifacts = {path.name: path.read_bytes() for path in sorted((home / "artifacts").iterdir()) if path.is_file()}
    return {"files": artifacts, "log": (home / "outputs" / "train_log.csv").read_bytes()}


def _packed() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(HOME.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(HOME).as_posix())
    return packed.getvalue()
