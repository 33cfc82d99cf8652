"""What a page's Markdown may ask for: files, tables, sources, charts, formulas, and runs to train on the page.

- ``{{ file PATH [FIRST-LAST] }}`` becomes the lines of a file of the repository.
- ``{{ csv PATH [FIRST-LAST] }}`` becomes a CSV file of the repository as a table (rows counted from 1).
- ``{{ source MODULE:NAME }}`` becomes the source of a function or class of the package.
- ``{{ chart MODULE:NAME }}`` becomes the chart of a function in builder/charts/, or several.
- ``{{ picture NAME }}`` becomes the SVG that a function of builder/pictures.py draws.
- ``{{ summary NAME }}`` becomes the table that a function of builder/summaries.py makes.
- ``{{ live MODULE:NAME }}`` becomes the HTML that a function of builder/MODULE.py gives, for a script to bring to life.
- A fenced block ```` ```try ```` holds the arguments of one ``toy-gpt train``; it becomes a button that opens the
  playground there, with these settings.
- ``$...$`` in a line and ``$$...$$`` on lines of their own become MathML, so that formulas need no script. Code is left
  alone.
"""

import ast
import csv
import html
import importlib
import inspect
import re
import shlex
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote_plus

from latex2mathml.converter import convert

from builder.chart import visible
from builder.drawings import KINDS, drawing
from builder.paths import PACKAGE_NAME, ROOT
from builder.transcripts import output
from toy_gpt_train.cli import build_parser

_DIRECTIVE: Final = re.compile(r"^\{\{ (\w+) (.+?) \}\}$", re.MULTILINE)


def expand(markdown: str, playground: str) -> str:
    """Replace every directive of a page.

    Args:
        markdown: The page.
        playground: The address of the playground, as seen from the page.
    """
    markdown = _formulas(markdown)
    markdown = re.sub(r"^```try\n(.*?)^```$", lambda match: _try(match[1], playground), markdown, flags=re.M | re.S)
    return _DIRECTIVE.sub(lambda match: _DIRECTIVES[match[1]](match[2]), markdown)


def drawings_of(markdown: str) -> list[tuple[str, str]]:
    """Return the kind and the name of each drawing on a page."""
    return [match for match in _DIRECTIVE.findall(markdown) if match[0] in KINDS]


# --- formulas -----------------------------------------------------------------------------------------------


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


# --- training on the page ----------------------------------------------------------------------------------


def _try(arguments: str, playground: str) -> str:
    """Return the command, and a button that runs it on the page; site.js puts the playground in the button's place."""
    line = " ".join(arguments.split())
    build_parser().parse_args(["train", *shlex.split(line)])  # a page must not ask for what the command refuses
    address = f"{playground}?train={quote_plus(line)}"
    # WHY words: a line would be broken after any hyphen.
    words = " ".join(f'<span class="word">{html.escape(word)}</span>' for word in f"toy-gpt train {line}".split())
    return (
        '<div class="try" markdown="0">'
        f'<p class="command"><code>{words}</code></p>'
        f'<p><a class="md-button md-button--primary" href="{html.escape(address)}">Train it on this page</a></p>'
        "</div>"
    )


# --- files, sources, charts ---------------------------------------------------------------------------------


def _path_and_range(argument: str) -> tuple[Path, int, int]:
    path, _, span = argument.partition(" ")
    first, _, last = span.partition("-")
    return ROOT / path, int(first or 1), int(last or 10**9)


def _file(argument: str) -> str:
    path, first, last = _path_and_range(argument)
    lines = path.read_text(encoding="utf-8").splitlines()[first - 1 : last]
    title = path.relative_to(ROOT).as_posix()
    if title.startswith("outputs/"):
        return "\n\n".join(output("\n".join(lines), title))
    language = {".json": "json", ".toml": "toml", ".py": "python"}.get(path.suffix, "text")
    return f'```{language} title="{title}"\n' + "\n".join(lines) + "\n```"


def _csv(argument: str) -> str:
    path, first, last = _path_and_range(argument)
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    shown = rows[first - 1 : last]
    note = f"{path.relative_to(ROOT).as_posix()}, {len(shown)} of {len(rows)} rows"
    # WHY HTML: in a table made of Markdown, "|" ends a cell, and a token may be any sign of Markdown.
    head = "".join(f"<th><code>{_escaped(name)}</code></th>" for name in header)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in shown)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="csv" markdown="0">{table}</div>\n\n*{note}*'


def _cell(text: str) -> str:
    is_number = re.fullmatch(r"-?[0-9.]+(e-?[0-9]+)?", text) is not None and text != "."
    return f"<td>{_escaped(text)}</td>" if is_number else f"<td><code>{_escaped(text)}</code></td>"


def _escaped(text: str) -> str:
    return html.escape(visible(text))


def _source(argument: str) -> str:
    module_name, _, name = argument.partition(":")
    found: Any = importlib.import_module(f"{PACKAGE_NAME}.{module_name}")
    for part in name.split("."):
        found = getattr(found, part)
    file = module_name.replace(".", "/") + ".py"
    code = without_docstrings(textwrap.dedent(inspect.getsource(found)))
    return f'```python title="src/{PACKAGE_NAME}/{file}"\n{code.rstrip()}\n```'


def without_docstrings(code: str) -> str:
    r"""Return Python code without the docstrings in it, which are on the API pages; its comments stay.

    Example:
        >>> without_docstrings('def double(x):\n    "Return 2x."\n\n    return 2 * x  # or x + x\n')
        'def double(x):\n    return 2 * x  # or x + x\n'
    """
    lines = code.splitlines(keepends=True)
    for node in ast.walk(ast.parse(code)):
        # WHY more than one statement: a body that is only a docstring would be empty without it.
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) and len(node.body) > 1:
            first, last = node.body[0].lineno - 1, node.body[0].end_lineno
            assert last is not None
            if not lines[last].strip():
                last += 1
            lines[first:last] = [""] * (last - first)
    return "".join(lines)


_DIRECTIVES: dict[str, Callable[[str], str]] = {
    "file": _file,
    "csv": _csv,
    "source": _source,
    **{kind: partial(drawing, kind) for kind in KINDS},
}
