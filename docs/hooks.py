"""Build hooks of the docs site: what a page shows is run, read or drawn when the site is built, never pasted.

In a page's Markdown:

- A fenced block ```` ```run ```` holds commands, one a line; it becomes the commands with their real output. All blocks
  of a page share one empty folder, with corpus/, src/ and benchmarks/ of the repository in it.
- ``{{ file PATH [FIRST-LAST] }}`` becomes the lines of a file of the repository.
- ``{{ csv PATH [FIRST-LAST] }}`` becomes a CSV file of the repository as a table (rows counted from 1).
- ``{{ source MODULE:NAME }}`` becomes the source of a function or class of the package.
- ``{{ chart NAME }}`` becomes the SVG that the function NAME of docs/charts.py draws.
- ``$...$`` in a line and ``$$...$$`` on lines of their own become MathML, so that formulas need no script. Code is left
  alone.
"""

import csv
import importlib
import inspect
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "toy_gpt_train"
LINKED = ("corpus", "src", "benchmarks")
RUNS_IN_A_FOLDER = {"train", "infer", "evaluate", "chat", "ladder"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace every directive of a page."""
    with tempfile.TemporaryDirectory() as folder:
        for name in LINKED:
            (Path(folder) / name).symlink_to(ROOT / name)
        markdown = re.sub(
            r"^```run\n(.*?)^```$",
            lambda match: _run_block(match[1], Path(folder)),
            markdown,
            flags=re.MULTILINE | re.DOTALL,
        )
    markdown = _formulas(markdown)
    return re.sub(r"^\{\{ (\w+) (.+?) \}\}$", lambda match: _directive(match[1], match[2]), markdown, flags=re.MULTILINE)


def _formulas(markdown: str) -> str:
    """Turn TeX between dollars into MathML, outside of code."""
    pattern = r"(^```.*?^```$|`[^`\n]+`)|\$\$(.+?)\$\$|\$([^$\n]+)\$"

    def formula(match: re.Match[str]) -> str:
        if match[1]:
            return match[1]
        if match[2]:
            return '<div class="formula">' + convert(match[2].strip(), display="block") + "</div>"
        return convert(match[3])

    return re.sub(pattern, formula, markdown, flags=re.MULTILINE | re.DOTALL)


def _run_block(commands: str, folder: Path) -> str:
    shown: list[str] = []
    for line in commands.strip().splitlines():
        shown += [f"$ uv run {line}", _run(line, folder).rstrip()]
    return "```console\n" + "\n".join(shown) + "\n```"


def _run(line: str, folder: Path) -> str:
    """Run one command in the page's folder and return all it prints; a failing command fails the build."""
    program, *arguments = shlex.split(line)
    if program == "toy-gpt" and arguments[0] in RUNS_IN_A_FOLDER and "--base-dir" not in arguments:
        arguments += ["--base-dir", "."]
    if program == "python" and arguments[0].endswith(("d_train.py", "e_infer.py")) and "--base-dir" not in arguments:
        arguments += ["--base-dir", "."]
    command = [sys.executable, *(["-m", PACKAGE] if program == "toy-gpt" else []), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{line!r} ended with exit code {done.returncode}: {done.stderr}")
    return done.stdout


def _directive(kind: str, argument: str) -> str:
    make: dict[str, Callable[[str], str]] = {"file": _file, "csv": _csv, "source": _source, "chart": _chart}
    return make[kind](argument)


def _path_and_range(argument: str) -> tuple[Path, int, int]:
    path, _, span = argument.partition(" ")
    first, _, last = span.partition("-")
    return ROOT / path, int(first or 1), int(last or 10**9)


def _file(argument: str) -> str:
    path, first, last = _path_and_range(argument)
    lines = path.read_text(encoding="utf-8").splitlines()
    language = {".json": "json", ".toml": "toml", ".py": "python"}.get(path.suffix, "text")
    return f"```{language} title=\"{path.relative_to(ROOT).as_posix()}\"\n" + "\n".join(lines[first - 1 : last]) + "\n```"


def _csv(argument: str) -> str:
    path, first, last = _path_and_range(argument)
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    shown = rows[first - 1 : last]
    lines = ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in (header, *shown)]
    lines.insert(1, "|---" * len(header) + "|")
    note = f"*{path.relative_to(ROOT).as_posix()}, {len(shown)} of {len(rows)} rows*"
    return "\n".join(lines) + "\n\n" + note


def _cell(text: str) -> str:
    return "`" + text.replace("|", "&#124;").replace("\n", "\\n") + "`" if not _is_number(text) else text


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9.]+(e-?[0-9]+)?", text) is not None and text != "."


def _source(argument: str) -> str:
    module_name, _, name = argument.partition(":")
    found: Any = importlib.import_module(f"{PACKAGE}.{module_name}")
    for part in name.split("."):
        found = getattr(found, part)
    file = module_name.replace(".", "/") + ".py"
    return f'```python title="src/{PACKAGE}/{file}"\n{textwrap.dedent(inspect.getsource(found)).rstrip()}\n```'


def _chart(name: str) -> str:
    sys.path.insert(0, str(Path(__file__).parent))
    charts = importlib.import_module("charts")
    svg: str = getattr(charts, name)()
    return f'<figure class="chart">{svg}</figure>'
