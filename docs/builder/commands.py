"""Commands of the pages: run when the site is built, and shown with what they printed.

What a page's commands printed is kept in .cache/, for as long as neither they nor anything that they read changes, so
that a page can be written without waiting for all of them at every change.
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

from builder.paths import CACHE, PACKAGE_NAME, ROOT

_BLOCK = re.compile(r"^```run\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINKED = ("corpus", "src", "benchmarks")
_COPIED = Path("artifacts", "ladder")  # WHY no link: what a page trains goes to artifacts/ too
_RUNS_IN_A_FOLDER = {"train", "infer", "evaluate", "chat", "ladder"}


def run_blocks(markdown: str) -> str:
    """Return a page with each block of commands replaced by the commands and their output.

    Raises:
        RuntimeError: A command failed.
    """
    blocks = [match[1].strip().splitlines() for match in _BLOCK.finditer(markdown)]
    if not blocks:
        return markdown
    key = hashlib.sha256(json.dumps([_all_they_read(), blocks]).encode()).hexdigest()
    kept = CACHE / "commands" / f"{key}.json"
    if not kept.is_file():
        outputs = list(_outputs(blocks))
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(outputs), encoding="utf-8")
    outputs = json.loads(kept.read_text(encoding="utf-8"))
    shown = iter([_shown(commands, printed) for commands, printed in zip(blocks, outputs, strict=True)])
    return _BLOCK.sub(lambda _: next(shown), markdown)


@cache
def _all_they_read() -> str:
    """Return a digest of all files that a command may read, and of the interpreter's version."""
    digest = hashlib.sha256(sys.version.encode())
    for name in (*_LINKED, _COPIED):
        for path in sorted((ROOT / name).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _outputs(blocks: list[list[str]]) -> Iterator[list[str]]:
    """Run all commands of a page in one folder; yields what each of a block's printed."""
    with tempfile.TemporaryDirectory() as folder:
        for name in _LINKED:
            (Path(folder) / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / _COPIED, Path(folder) / _COPIED)
        for commands in blocks:
            yield [_run(line, Path(folder)).rstrip() for line in commands]


def _shown(commands: list[str], printed: list[str]) -> str:
    pairs = zip(commands, printed, strict=True)
    lines = [line for command, output in pairs for line in (f"$ uv run {command}", output) if line]
    return "```console\n" + "\n".join(lines) + "\n```"


def _run(line: str, folder: Path) -> str:
    """Run one command in the page's folder and return all it prints; a failing command fails the build."""
    program, *arguments = shlex.split(line)
    if program == "toy-gpt" and arguments[0] in _RUNS_IN_A_FOLDER and "--base-dir" not in arguments:
        arguments += ["--base-dir", "."]
    if program == "python" and arguments[0].endswith(("d_train.py", "e_infer.py")) and "--base-dir" not in arguments:
        arguments += ["--base-dir", "."]
    command = [sys.executable, *(["-m", PACKAGE_NAME] if program == "toy-gpt" else []), *arguments]
    done = subprocess.run(  # noqa: S603 - the commands stand in this repository's own pages
        command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{line!r} ended with exit code {done.returncode}: {done.stderr}")
    return done.stdout
