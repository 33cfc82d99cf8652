"""exercises.py - ``toy-gpt exercises``: write the parts of a language model yourself, and see which are right."""

import argparse
import ast
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from toy_gpt_train.disk import whole_file
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import read_text
from toy_gpt_train.project import RESOURCE_ROOT, read_toml
from toy_gpt_train.show import one_line, say

HELP: Final = "check the parts of a language model that you have written"
LESSON: Final = """The first call writes tests/exercises/mine.py, with a function for you to write for each of 18 parts:
softmax, attention, a whole Transformer, a tokenizer and others. Each says what to compute. Every call compares what you
have written with numbers from elsewhere, and names the next part.

examples:
  toy-gpt exercises
  toy-gpt exercises --hint softmax"""

_FOLDER: Final = RESOURCE_ROOT / "tests" / "exercises"
_MINE: Final = _FOLDER / "mine.py"
_TO_DO: Final = "NotImplementedError"
_VARIABLE: Final = "TOY_GPT_EXERCISES"  # tests/adapters.py takes the functions of the file that it names


class Exercise(NamedTuple):
    """One part to write: its name, hints, and the project's own version."""

    name: str
    hints: list[str]
    read: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt exercises``."""
    parser.add_argument("--hint", metavar="NAME", help="show hints for this part")
    parser.set_defaults(handler=_exercises)


def _exercises(args: argparse.Namespace) -> int:
    if not (_FOLDER / "hints.toml").is_file():
        raise InputError("the exercises come with the project's repository: run this in a checkout of it")
    listed = [Exercise(name, **about) for name, about in read_toml(_FOLDER / "hints.toml").items()]
    if args.hint is not None:
        _show_hints(args.hint, listed)
    else:
        _show_state(listed)
    return 0


def _show_hints(name: str, listed: list[Exercise]) -> None:
    found = {exercise.name: exercise for exercise in listed}.get(name)
    if found is None:
        raise InputError(f"there is no exercise {name}; there are {', '.join(exercise.name for exercise in listed)}")
    for number, hint in enumerate(found.hints, start=1):
        say(f"hint {number}  {hint}")
    say(f"answer  the project's own version is in src/toy_gpt_train/{found.read}")


def _show_state(listed: list[Exercise]) -> None:
    if not _MINE.exists():
        with whole_file(_MINE) as file:
            file.write((_FOLDER / "starter.py").read_bytes())
        say(f"wrote   {_MINE}, with the functions that you can write")
    problems = _problems(listed)
    done = [exercise.name for exercise in listed if exercise.name not in problems]
    say(f"done    {len(done)} of {len(listed)}{': ' if done else ''}{', '.join(done)}")
    for name, problem in problems.items():
        if problem != _TO_DO:
            say(f"wrong   {name}: {problem}")
    if (left := next(iter(problems), None)) is not None:
        say(f"next    {left}, in {_MINE}")
        say(f"        toy-gpt exercises --hint {left}")


def _problems(listed: list[Exercise]) -> dict[str, str]:
    """Return what is wrong with each part that is not done, or that it is still to do; in the order of the list."""
    try:
        ast.parse(read_text(_MINE))
    except SyntaxError as error:
        raise InputError(f"{_MINE}: line {error.lineno}: {error.msg}") from error
    found: dict[str, str] = {}
    names = [exercise.name for exercise in listed]
    for test, message in _failures():
        name = next((name for name in names if test.startswith(f"test_{name}")), None)
        if name is not None and found.get(name) in (None, _TO_DO):
            found[name] = message
    return {name: found[name] for name in names if name in found}


def _failures() -> Iterator[tuple[str, str]]:
    """Run the tests of the exercises with the functions of mine.py; yields each that fails, and why, in one line."""
    if importlib.util.find_spec("pytest") is None:
        raise InputError("the exercises are checked by pytest, which is not installed: uv sync installs it")
    tests = sorted(path for path in _FOLDER.glob("test_*.py") if path.name != "test_exercise_files.py")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # WHY no addopts: with them, pytest would import the tests twice, and pass over an error the first time.
        options = ["-q", "-o", "addopts=", "-p", "no:cacheprovider", f"--junitxml={report}"]
        command = [sys.executable, "-m", "pytest", *options, *map(str, tests)]
        environment = {**os.environ, _VARIABLE: str(_MINE)}
        done = subprocess.run(  # noqa: S603 - the learner's own code, at the learner's wish
            command, cwd=RESOURCE_ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode > 1 or not report.is_file():
            raise InputError(f"{_MINE} cannot be used: {_last_error(done.stdout + done.stderr)}")
        cases: list[Any] = list(ET.parse(report).getroot().iter("testcase"))  # noqa: S314 - pytest wrote it just now
    for case in cases:
        problem = case.find("failure") if case.find("failure") is not None else case.find("error")
        if problem is not None:
            message = problem.get("message", "")
            yield (
                case.get("name", ""),
                _TO_DO if _TO_DO in message else one_line(message.removeprefix("AssertionError: ")),
            )


def _last_error(output: str) -> str:
    """Return the last line of what pytest printed that names an exception."""
    errors = re.findall(r"^E?\s*(\w*(?:Error|Exception): .*)$", output, re.MULTILINE)
    return one_line(errors[-1] if errors else output[-200:])
