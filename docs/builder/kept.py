"""What was made for a page is kept, until something changes that it was made from.

Making is running Python: the commands of a page, or the function that draws a chart. While it runs, every file of the
repository that it reads is written down, sources included (traced/sitecustomize.py). The result is kept in .cache/docs/
with a digest of each of these files, and is taken from there while all of them are the same.
"""

import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

from builder.paths import CACHE, DOCS, ROOT

FOLDER: Final = CACHE / "docs"
_TRACED: Final = DOCS / "builder" / "traced"
_NOT_OURS: Final = (".", "site/")  # hidden files and folders, .venv among them, and the built site


def kept(asked: object, make: Callable[[dict[str, str]], Any]) -> Any:
    """Return what ``make`` returns, from an earlier time if nothing that it read has changed.

    Args:
        asked: What is to be made, in terms of JSON.
        make: Makes it, in terms of JSON; gets the environment in which it has to start Python.
    """
    file = place_of(asked)
    if file.is_file():
        entry = json.loads(file.read_text(encoding="utf-8"))
        if all(_digest(path) == digest for path, digest in entry["read"].items()):
            return entry["made"]
    begun = time.time_ns()
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "read.txt"
        python_path = os.pathsep.join([str(_TRACED), str(DOCS)])
        made = make(
            {**os.environ, "PYTHONPATH": python_path, "TOY_GPT_NOTES": str(notes), "TOY_GPT_ROOT": str(ROOT)},
        )
        read = {path: _digest(path) for path in _paths_in(notes)}
    if any((ROOT / path).stat().st_mtime_ns > begun for path, digest in read.items() if digest):
        return made  # WHY it is not kept: what was read may be what was there before the change
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps({"asked": asked, "read": read, "made": made}), encoding="utf-8")
    draft.replace(file)
    return made


def place_of(asked: object) -> Path:
    """Return the file in which the answer to what is asked is kept."""
    return FOLDER / f"{hashlib.sha256(json.dumps([_machinery(), asked]).encode()).hexdigest()[:32]}.json"


@cache
def _machinery() -> list[str]:
    """What every result depends on: the interpreter, and the code that runs things."""
    files = Path(__file__), DOCS / "builder" / "commands.py", _TRACED / "sitecustomize.py"
    return [sys.version, *(path.read_text(encoding="utf-8") for path in files)]


def _paths_in(notes: Path) -> list[str]:
    """Return the paths that were written down, as seen from the repository's root."""
    lines = os.fsdecode(notes.read_bytes()).splitlines() if notes.is_file() else []
    paths = {Path(line).relative_to(ROOT).as_posix() for line in lines}
    return sorted(path for path in paths if not path.startswith(_NOT_OURS))


def _digest(path: str) -> str:
    """Return a digest of a file, of the names in a folder, or of nothing where there is neither."""
    full = ROOT / path
    try:
        state = full.stat()
    except OSError:
        return ""
    return _digest_of(full, state.st_mtime_ns, state.st_size)


@cache
def _digest_of(path: Path, changed: int, size: int) -> str:
    names = "\n".join(sorted(found.name for found in path.iterdir())).encode() if path.is_dir() else None
    return hashlib.sha256(path.read_bytes() if names is None else names).hexdigest()[:32]
