"""Build hooks of the docs site: what a page shows is run, read or drawn when the site is built, never pasted.

In a page's Markdown:

- A fenced block ```` ```run ```` holds commands, one a line; it becomes the commands with their real output. All blocks
  of a page share one folder, with the repository's corpus/, src/ and benchmarks/ and a copy of artifacts/ladder/ in it.
- ``{{ file PATH [FIRST-LAST] }}`` becomes the lines of a file of the repository.
- ``{{ csv PATH [FIRST-LAST] }}`` becomes a CSV file of the repository as a table (rows counted from 1).
- ``{{ source MODULE:NAME }}`` becomes the source of a function or class of the package.
- ``{{ chart NAME }}`` becomes the SVG that the function NAME of docs/charts.py draws.
- ``$...$`` in a line and ``$$...$$`` on lines of their own become MathML, so that formulas need no script. Code is left
  alone.
"""

import csv
import html
import importlib
import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import griffe
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "toy_gpt_train"
LINKED = ("corpus", "src", "benchmarks")
COPIED = Path("artifacts", "ladder")  # WHY no link: what a page trains goes to artifacts/ too
RUNS_IN_A_FOLDER = {"train", "infer", "evaluate", "chat", "ladder"}


class ReadableDocstrings(griffe.Extension):
    """Write docstrings as the API page needs them: mkdocstrings knows this project's headings by other names."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class or function."""
        if obj.docstring is not None:
            obj.docstring.value = _docstring_markdown(obj.docstring.value)


def _docstring_markdown(text: str) -> str:
    """Return a docstring with its ``Example`` as a section of code, and with a blank line before each list."""

    def listed(match: re.Match[str]) -> str:
        return "Concepts:\n" + re.sub(r"^ {4}(?=\S)", "- ", match[1], flags=re.MULTILINE)

    text = re.sub(r"^( *)Example:$", r"\1Examples:", text, flags=re.MULTILINE)
    text = re.sub(r"^Concepts:\n((?: {4}.*\n?)+)", listed, text, flags=re.MULTILINE)
    return re.sub(r"^(?!- | )(.+)\n(?=- |REQ\b|WHY\b|OBS\b)", r"\1\n\n", text, flags=re.MULTILINE)


@event_priority(100)
def on_config(config: MkDocsConfig) -> None:
    """Give the extension above to mkdocstrings, before it reads its options."""
    options = config.plugins["mkdocstrings"].config["handlers"]["python"]["options"]
    options["extensions"] = [f"{__file__}:{ReadableDocstrings.__name__}"]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the explorer's page, and beside it the committed runs that it opens."""
    from toy_gpt_train.view_server import INDEX_NAME, VIEW_DIR, runs_index

    index = runs_index(ROOT)
    contents = {path.name: path.read_bytes() for path in VIEW_DIR.iterdir() if path.is_file()}
    contents[INDEX_NAME] = json.dumps(index).encode()
    for run in index["runs"]:
        folder = ROOT / run["artifacts"]
        contents.update(
            {f"{run['artifacts']}{path.name}": path.read_bytes() for path in folder.iterdir() if path.is_file()}
        )
        contents[run["log"]] = (ROOT / run["log"]).read_bytes()
    for name, content in contents.items():
        files.append(File.generated(config, f"explorer/{name}", content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace every directive of a page."""
    with tempfile.TemporaryDirectory() as folder:
        for name in LINKED:
            (Path(folder) / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / COPIED, Path(folder) / COPIED)
        markdown = re.sub(
            r"^```run\n(.*?)^```$",
            lambda match: _run_block(match[1], Path(folder)),
            markdown,
            flags=re.MULTILINE | re.DOTALL,
        )
    markdown = _formulas(markdown)
    return re.sub(
        r"^\{\{ (\w+) (.+?) \}\}$", lambda match: _directive(match[1], match[2]), markdown, flags=re.MULTILINE
    )


def _formulas(markdown: str) -> str:
    """Turn TeX between dollars into MathML, outside of code."""
    pattern = r"(^```.*?^```$|`[^`\n]+`)|\$\$(.+?)\$\$|\$([^$\n]+)\$"

    def formula(match: re.Match[str]) -> str:
        if match[1]:
            return match[1]
        if match[2]:
            return '<div class="formula">' + _mathml(match[2].strip(), "block") + "</div>"
        # WHY a span: <math> at the beginning of a line would be taken for a block of its own.
        return f"<span>{_mathml(match[3], 'inline')}</span>"

    return re.sub(pattern, formula, markdown, flags=re.MULTILINE | re.DOTALL)


def _mathml(tex: str, display: Literal["inline", "block"]) -> str:
    """Return a formula as MathML, with the thin space that belongs after ``log`` where no sign follows."""
    return re.sub(r"(<mi>log</mi>)(?!<mo)", r'\1<mspace width="0.17em"/>', convert(tex, display=display))


def _run_block(commands: str, folder: Path) -> str:
    shown: list[str] = []
    for line in commands.strip().splitlines():
        output = _run(line, folder).rstrip()
        shown += [f"$ uv run {line}", *([output] if output else [])]
    return "```console\n" + "\n".join(shown) + "\n```"


def _run(line: str, folder: Path) -> str:
    """Run one command in the page's folder and return all it prints; a failing command fails the build."""
    program, *arguments = shlex.split(line)
    if program == "toy-gpt" and arguments[0] in RUNS_IN_A_FOLDER and "--base-dir" not in arguments:
        arguments += ["--base-dir", "."]
    if program == "python" and arguments[0].endswith(("d_train.py", "e_infer.py")) and "--base-dir" not in arguments:
        arguments += ["--base-dir", "."]
    command = [sys.executable, *(["-m", PACKAGE] if program == "toy-gpt" else []), *arguments]
    done = subprocess.run(  # noqa: S603 - the commands stand in this repository's own pages
        command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
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
    return f'```{language} title="{path.relative_to(ROOT).as_posix()}"\n' + "\n".join(lines[first - 1 : last]) + "\n```"


def _csv(argument: str) -> str:
    path, first, last = _path_and_range(argument)
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    shown = rows[first - 1 : last]
    lines = ["<tr>" + "".join(map(_cell, row)) + "</tr>" for row in (header, *shown)]
    note = f"{path.relative_to(ROOT).as_posix()}, {len(shown)} of {len(rows)} rows"
    # WHY HTML: in a table made of Markdown, "|" ends a cell, and a token may be any sign of Markdown.
    body = f"<thead>{lines[0]}</thead><tbody>{''.join(lines[1:])}</tbody>"
    return f'<div class="csv"><table>{body}</table></div>\n\n*{note}*'


def _cell(text: str) -> str:
    shown = html.escape(text).replace("\n", "\\n").replace("\r", "\\r")
    return f"<td>{shown}</td>" if _is_number(text) else f"<td><code>{shown}</code></td>"


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
