"""What the pages run: commands, scripts and Python, executed when the site is built, and shown with what they printed.

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

_BLOCK: Final = re.compile(r"^```(run|session|script)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINKED: Final = ("corpus", "src", "benchmarks")
_COPIED: Final = Path("artifacts", "ladder")  # WHY no link: what a page trains goes to artifacts/ too
_RUNS_IN_A_FOLDER: Final = {"train", "infer", "evaluate", "chat", "ladder"}
_LINES_SHOWN: Final = 6
_LINES_WORTH_HIDING: Final = 3

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
    return [Block(match[1], match[2] or "", match[3].strip()) for match in _BLOCK.finditer(markdown)]


def run_blocks(markdown: str) -> str:
    """Return a page with each block of commands or Python replaced by what it shows.

    Raises:
        RuntimeError: A command or a statement failed.
    """
    blocks = blocks_of(markdown)
    shown = map(_shown, blocks, results(blocks))
    return _BLOCK.sub(lambda _: next(shown), markdown)


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


# --- showing ------------------------------------------------------------------------------------------------


def _shown(block: Block, steps: list[Step]) -> str:
    """Return a block as Markdown."""
    if block.kind == "session":
        return _session(steps)
    if block.kind == "script":
        [(code, printed)] = steps
        command = _fence("console command", f"uv run python {block.name}")
        return "\n\n".join([_fence("python", code, block.name), command, *output(printed)])
    parts = (
        part for asked, printed in steps for part in (_fence("console command", f"uv run {asked}"), *output(printed))
    )
    return "\n\n".join(parts)


def _session(steps: list[Step]) -> str:
    """Return statements as a session at Python's prompt; long output gets a block of its own, to be folded."""
    parts: list[str] = []
    lines: list[str] = []
    for asked, printed in steps:
        first, *others = asked.splitlines()
        lines += [f">>> {first}", *(f"... {other}" for other in others)]
        if is_long(printed.splitlines()):
            parts += [_fence("pycon", "\n".join(lines)), *output(printed)]
            lines = []
        else:
            lines += printed.splitlines()
    return "\n\n".join(parts + ([_fence("pycon", "\n".join(lines))] if lines else []))


def is_long(lines: list[str]) -> bool:
    """Return whether output is so long that only its beginning is shown at first."""
    return len(lines) >= _LINES_SHOWN + _LINES_WORTH_HIDING


def output(printed: str, title: str = "") -> list[str]:
    """Return what was printed, or a file of it, as Markdown: its first lines, and the others to unfold."""
    lines = printed.rstrip().splitlines()
    if not lines:
        return []
    if not is_long(lines):
        return [_fence("text output", "\n".join(lines), title)]
    first, others = lines[:_LINES_SHOWN], lines[_LINES_SHOWN:]
    return [
        _fence("text output", "\n".join(first), title),
        '<details class="more" markdown="1">',
        f"<summary>{len(others)} more lines</summary>",
        _fence("text output", "\n".join(others)),
        "</details>",
    ]


def _fence(classes: str, text: str, title: str = "") -> str:
    """Return a fenced block of a language and further classes."""
    language, *others = classes.split()
    names = f"{{ .{language} {' '.join(f'.{name}' for name in others)}" if others else language
    heading = f' title="{title}"' if title else ""
    return f"~~~~~~~~{names}{heading}{' }' if others else ''}\n{text}\n~~~~~~~~"
