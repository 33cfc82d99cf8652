"""conftest.py - What several test files need: the command line in this process and in another, and small runs."""

import io
import os
import re
import signal
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import NamedTuple, TextIO
from unittest import mock

import hypothesis
import pytest

from toy_gpt_train import cli
from toy_gpt_train.models import registry
from toy_gpt_train.models.registry import ModelEntry
from toy_gpt_train.project import RESOURCE_ROOT

# WHY these marks: tests/pyodide/ runs the tests in WebAssembly too, where Python is alone in its one thread.
IN_WEBASSEMBLY = sys.platform == "emscripten"
needs_processes = pytest.mark.skipif(IN_WEBASSEMBLY, reason="no processes in WebAssembly")
needs_threads = pytest.mark.skipif(IN_WEBASSEMBLY, reason="no threads in WebAssembly")

# WHY: a busy machine takes longer, and no test is about that.
if not IN_WEBASSEMBLY:  # its own settings are in tests/pyodide/suite.py
    hypothesis.settings.register_profile("project", deadline=None)
    hypothesis.settings.load_profile("project")

TINY_TEXT = "the cat sees the dog . the dog sees a cat . a cat runs to the dog ."


_PROGRESS = re.compile(r"\S.* [0-9]{1,3}% .*[0-9] s( left)?$")


class Outcome(NamedTuple):
    """What a command left behind: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def refused(self) -> bool:
        """Exit code 2, nothing on standard output, exactly one line on standard error."""
        return self.failed and self.out == "" and self.err.count("\n") == 1

    @property
    def failed(self) -> bool:
        """Exit code 2, exactly one line on standard error; training may have said its plan before.

        WHY not counting progress: a busy machine takes so long that it is shown.
        """
        lines = [line for line in self.err.splitlines() if not _PROGRESS.match(line)]
        return self.code == 2 and self.err.endswith("\n") and len(lines) == 1 and lines[0].strip() != ""


build_parser = cli.build_parser


@cache
def parser_of(ladder: tuple[ModelEntry, ...]) -> ArgumentParser:
    """The command line's parser, built once. WHY: for a small command that takes most of the time."""
    return build_parser()


def run_in_process(*argv: object, stdin: str | TextIO = "") -> Outcome:
    """Run cli.main; whatever it raises, the test sees."""
    typed = io.StringIO(stdin) if isinstance(stdin, str) else stdin
    out, err = io.StringIO(), io.StringIO()
    parser = mock.patch.object(cli, "build_parser", return_value=parser_of(registry.LADDER))
    with redirect_stdout(out), redirect_stderr(err), mock.patch("sys.stdin", typed), parser:
        code = cli.main([str(argument) for argument in argv])
    return Outcome(code, out.getvalue(), err.getvalue())


def run_python(*argv: object, stdin: bytes = b"", cwd: Path | None = None, **environment: str) -> Outcome:
    """Run the interpreter with these arguments; further names are set in its environment."""
    if IN_WEBASSEMBLY:
        pytest.skip("no processes in WebAssembly")
    done = subprocess.run(
        [sys.executable, *map(str, argv)],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env={**os.environ, "PYTHONUTF8": "1", **environment},
        timeout=120,
        check=False,
    )
    return Outcome(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8"))


def listing_of(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder: the bytes of a file, None for a folder; project.log, which has times, is left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.name != "project.log"
    }


def lay_out(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make these the files of a folder. WHY not all anew: reading a file is much faster than making one."""
    for path in folder.iterdir():
        if path.read_bytes() != files.get(path.name):
            path.unlink()
    for name, content in files.items():
        if not (folder / name).exists():
            (folder / name).write_bytes(content)


@pytest.fixture(scope="session", autouse=True)
def _signals_end_processes() -> None:
    """Let Ctrl-C and a closed terminal end the processes that tests start: in the background, both may be ignored."""
    for name in ("SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _no_flushing() -> Iterator[None]:
    """Files of tests need not survive a power failure; test_crashes.py looks at what is flushed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: None)
        yield


@pytest.fixture(scope="session")
def toy_gpt() -> Callable[..., Outcome]:
    """``toy_gpt("infer", "--base-dir", base)`` runs the command line in this process."""
    return run_in_process


@pytest.fixture(scope="session")
def python() -> Callable[..., Outcome]:
    """``python("-m", "toy_gpt_train", "levels")`` runs another interpreter."""
    return run_python


@pytest.fixture(scope="session")
def listing() -> Callable[[Path], dict[str, bytes | None]]:
    """``listing(folder)`` gives all paths and bytes below a folder, to compare before and after."""
    return listing_of


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder with SE_MANIFEST.toml."""
    return RESOURCE_ROOT


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of 19 words, 8 of them different."""
    path = tmp_path_factory.mktemp("corpus") / "tiny.txt"
    path.write_text(TINY_TEXT, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_corpus: Path) -> Callable[..., Path]:
    """``trained("bigram")`` gives the base folder of a run on the tiny corpus, trained once; only to be read."""
    runs: dict[tuple[object, ...], Path] = {}

    def base_of(kind: str, *options: object, corpus: Path = tiny_corpus) -> Path:
        key = (kind, *options, corpus)
        if key not in runs:
            base = tmp_path_factory.mktemp(f"run-{kind}")
            outcome = run_in_process("train", "--model", kind, "--corpus", corpus, "--base-dir", base, *options)
            assert outcome.code == 0, outcome.err
            runs[key] = base
        return runs[key]

    return base_of
