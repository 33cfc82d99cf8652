"""What the pages run: commands and Python, executed when the site is built, and shown with what they printed.

What a page printed is kept in .cache/, for as long as neither its blocks nor anything that they read changes, so that a
page can be written without waiting for all of them at every change.
"""

import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from builder.paths import CACHE, PACKAGE_NAME, ROOT

_BLOCK: Final = re.compile(r"^```(run|session)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
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
    print(json.dumps([lines[statement.lineno - 1 : statement.end_lineno], printed.getvalue()]))
"""


class _Block(NamedTuple):
    """A fenced block of a page: ``run`` holds commands, one per line, ``session`` Python statements.

    A command that begins with ``! `` must be refused (exit code 2), and shows the message.
    """

    kind: str
    text: str


def run_blocks(markdown: str) -> str:
    """Return a page with each block of commands or Python replaced by what it shows.

    Raises:
        RuntimeError: A command or a statement failed.
    """
    blocks = [_Block(match[1], match[2].strip()) for match in _BLOCK.finditer(markdown)]
    if not blocks:
        return markdown
    key = hashlib.sha256(json.dumps([_all_they_read(), blocks]).encode()).hexdigest()
    kept = CACHE / "commands" / f"{key}.json"
    if not kept.is_file():
        outputs = list(_outputs(blocks))
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(outputs), encoding="utf-8")
    shown = iter(json.loads(kept.read_text(encoding="utf-8")))
    return _BLOCK.sub(lambda _: next(shown), markdown)


@cache
def _all_they_read() -> str:
    """Return a digest of all files that a block may read, of this one, and of the interpreter's version."""
    digest = hashlib.sha256(sys.version.encode() + Path(__file__).read_bytes())
    for name in (*_LINKED, _COPIED):
        for path in sorted((ROOT / name).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _outputs(blocks: list[_Block]) -> Iterator[str]:
    """Run all blocks of a page in one folder; yields what each becomes."""
    with tempfile.TemporaryDirectory() as folder:
        for name in _LINKED:
            (Path(folder) / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / _COPIED, Path(folder) / _COPIED)
        for kind, text in blocks:
            yield _commands(text, Path(folder)) if kind == "run" else _session(text, Path(folder))


def _commands(text: str, folder: Path) -> str:
    commands = text.splitlines()
    lines = [line for c in commands for line in (f"$ uv run {c.removeprefix('! ')}", _run(c, folder)) if line]
    return "```console\n" + "\n".join(lines) + "\n```"


def _run(line: str, folder: Path) -> str:
    """Run one command in the page's folder and return all it prints."""
    program, *arguments = shlex.split(line.removeprefix("! "))
    if program == "toy-gpt" and arguments[0] in _RUNS_IN_A_FOLDER and "--base-dir" not in arguments:
        arguments += ["--base-dir", "."]
    if program == "python" and arguments[0].endswith(("d_train.py", "e_infer.py")) and "--base-dir" not in arguments:
        arguments += ["--base-dir", "."]
    python = [*(["-m", PACKAGE_NAME] if program == "toy-gpt" else []), *arguments]
    return _python(python, folder, is_refused=line.startswith("! ")).rstrip()


def _session(text: str, folder: Path) -> str:
    """Run Python statements one after the other, and return them as a session at Python's prompt."""
    lines: list[str] = []
    for record in _python(["-c", _INTERPRETER, text], folder).splitlines():
        (first, *others), printed = json.loads(record)
        lines += [f">>> {first}", *(f"... {other}" for other in others), *printed.splitlines()]
    return "```pycon\n" + "\n".join(lines) + "\n```"


def _python(arguments: list[str], folder: Path, *, is_refused: bool = False) -> str:
    """Return what the interpreter prints; a failure ends the build, and so does a success where a refusal is shown."""
    done = subprocess.run(  # noqa: S603 - what is run stands in this repository's own pages
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != (2 if is_refused else 0):
        raise RuntimeError(f"{arguments[-1]!r} ended with exit code {done.returncode}: {done.stderr}")
    return done.stdout + done.stderr * is_refused
