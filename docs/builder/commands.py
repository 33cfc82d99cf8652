"""What the pages run: commands, scripts and Python, executed when the site is built; transcripts.py shows the results.

All blocks of a page share one folder, with the repository's corpus/, src/ and benchmarks/ and a copy of
artifacts/ladder/ in it; each block of Python starts anew. kept.py keeps what they print.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from builder.kept import kept
from builder.paths import PACKAGE_NAME, ROOT

BLOCK: Final = re.compile(r"^```(run|session|script)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINKED: Final = ("corpus", "src", "benchmarks")
_COPIED: Final = Path("artifacts", "ladder")  # WHY no link: what a page trains goes to artifacts/ too
_RUNS_IN_A_FOLDER: Final = {"train", "infer", "evaluate", "chat", "ladder"}

# Runs each statement as the prompt of Python does; prints it, and what it printed, as JSON.
_INTERPRETER: Final = """
import ast, contextlib, io, json, sys
source = sys.argv[1]
lines = source.splitlines()
names = {"__name__": "__main__"}
for statement in ast.parse(source).body:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Interactive([statement]), "<page>", "single"), names)
    print(json.dumps(["\\n".join(lines[statement.lineno - 1 : statement.end_lineno]), printed.getvalue()]))
"""


class Block(NamedTuple):
    """A fenced block of a page: ``run`` holds commands, one per line; ``session`` and ``script`` hold Python.

    A command that begins with ``! `` must be refused (exit code 2), and shows the message.
    """

    kind: str
    name: str  # of a script: its file
    text: str


class Step(NamedTuple):
    """A command, a script or a statement, and what it printed."""

    asked: str
    printed: str


def blocks_of(markdown: str) -> list[Block]:
    """Return the blocks of a page that are to be run."""
    return [Block(match[1], match[2] or "", match[3].strip()) for match in BLOCK.finditer(markdown)]


def results(blocks: list[Block]) -> list[list[Step]]:
    """Return the steps of each block of a page, run in order; or as they were kept.

    Raises:
        RuntimeError: One failed.
    """
    if not blocks:
        return []
    made = kept(blocks, lambda environment: list(_results(blocks, environment)))
    return [[Step(*step) for step in steps] for steps in made]


# --- running ------------------------------------------------------------------------------------------------


def _results(blocks: list[Block], environment: dict[str, str]) -> Iterator[list[Step]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for linked in _LINKED:
            (folder / linked).symlink_to(ROOT / linked)
        shutil.copytree(ROOT / _COPIED, folder / _COPIED)
        for block in blocks:
            if block.kind == "run":
                lines = block.text.splitlines()
                yield [Step(line.removeprefix("! "), _run(line, folder, environment)) for line in lines]
            elif block.kind == "script":
                (folder / block.name).write_text(block.text + "\n", encoding="utf-8")
                yield [Step(block.text, _python([block.name], folder, environment))]
            else:
                records = _python(["-c", _INTERPRETER, block.text], folder, environment).splitlines()
                yield [Step(*json.loads(record)) for record in records]


def _run(line: str, folder: Path, environment: dict[str, str]) -> str:
    """Run one command in the page's folder and return all it prints."""
    program, *arguments = shlex.split(line.removeprefix("! "))
    if program == "toy-gpt" and arguments[0] in _RUNS_IN_A_FOLDER and "--base-dir" not in arguments:
        arguments += ["--base-dir", "."]
    if program == "python" and arguments[0].endswith(("d_train.py", "e_infer.py")) and "--base-dir" not in arguments:
        arguments += ["--base-dir", "."]
    arguments = [*(["-m", PACKAGE_NAME] if program == "toy-gpt" else []), *arguments]
    return _python(arguments, folder, environment, is_refused=line.startswith("! "))


def _python(arguments: list[str], folder: Path, environment: dict[str, str], *, is_refused: bool = False) -> str:
    """Return what the interpreter prints; a failure ends the build, and so does a success where a refusal is shown."""
    done = subprocess.run(  # noqa: S603 - what is run stands in this repository's own pages
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode != (2 if is_refused else 0):
        raise RuntimeError(f"{arguments[-1]!r} ended with exit code {done.returncode}: {done.stderr}")
    return done.stdout + done.stderr * is_refused
