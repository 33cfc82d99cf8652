"""The lessons as Jupyter notebooks, each made from the Markdown of its page.

Prose becomes Markdown cells, and what the page runs becomes code cells, by the same parser (commands.py): a command a
cell, a script a cell, and Python up to the next value that is shown. A cell of a notebook shows a model's loss curve
below the command that trains it. What only a page of the site can do is named instead, and links between pages become
text, as a downloaded notebook has no site around it.
"""

import ast
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from builder.commands import Block, blocks_of
from builder.directives import drawings_of, expand
from builder.images import images
from builder.paths import DOCS
from toy_gpt_train.cli import build_parser
from toy_gpt_train.models.registry import LADDER, find_model

Cell = Any  # nbformat has no types
Images = Mapping[tuple[str, str], str]

_PARTS: Final = re.compile(r"(^```.*?^```$|^\{\{ .+? \}\}$|^<details.*?</summary>$|^</details>$|^(?=##))", re.M | re.S)
_PAGE_LINK: Final = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]+\)")
_TRAINS: Final = re.compile(r'^(\w+) = tg\.train\("([\w-]+)"', re.MULTILINE)
_TITLED: Final = re.compile(r'^```(\w+) title="(.+)"$', re.MULTILINE)
_LIVE: Final = "*The lesson's page has a picture here that you can move.*"
_TRY: Final = "*On its page, the lesson trains this model in the playground. The same training run, here:*"
_ABOUT: Final = """This notebook is made from the lesson's page, and everything in it runs on your computer. Shift+Enter
runs a cell and goes to the next. Then change something and run it again: nothing can break. Click on an answer to open
it.

The Python that runs it needs the package `toy-gpt-train`. Begin with the next cell: it makes a new folder, in which all
others work."""
_START: Final = """import os
import shutil
import sysconfig
import tempfile

import toy_gpt_train as tg
from toy_gpt_train.project import RESOURCE_ROOT

folder = tempfile.mkdtemp()
shutil.copytree(RESOURCE_ROOT / "corpus", f"{folder}/corpus")
os.chdir(folder)
os.environ["PATH"] = sysconfig.get_path("scripts") + os.pathsep + os.environ["PATH"]  # where toy-gpt is"""
_TRAINED: Final = """\
# The trained models that this lesson opens come with the source code; without it, they are trained now.
if (RESOURCE_ROOT / "artifacts" / "ladder").is_dir():
    for path in ("artifacts/ladder", "outputs/ladder"):
        shutil.copytree(RESOURCE_ROOT / path, path)
else:
    !toy-gpt ladder --models {models} --base-dir ."""


def all_notebooks() -> Iterator[tuple[str, str]]:
    """Yield each lesson's notebook: its place on the site, and its content."""
    drawn = images(dict.fromkeys(key for markdown in lessons().values() for key in drawings_of(markdown)))
    for name, markdown in lessons().items():
        yield f"notebooks/{name}.ipynb", nbformat.writes(notebook_of(markdown, drawn)) + "\n"


def lessons() -> dict[str, str]:
    """Return the Markdown of each lesson by the name of its file, without ``.md``."""
    pages = {path.stem: path.read_text(encoding="utf-8") for path in sorted((DOCS / "lessons").glob("*.md"))}
    return {name: page for name, page in pages.items() if "\n## The idea\n" in page}


def notebook_of(markdown: str, drawn: Images) -> Any:
    """Return a lesson as a notebook without outputs; the same page gives the same notebook.

    Args:
        markdown: The lesson.
        drawn: Its charts and pictures as HTML, by kind and name.
    """
    title, *cells = _cells(markdown, drawn)
    start = [title, new_markdown_cell(_ABOUT), new_code_cell(_START)]
    if models := _trained_models(markdown):
        start.append(new_code_cell(_TRAINED.format(models=" ".join(models))))
    for number, cell in enumerate([*start, *cells]):
        cell["id"] = f"cell-{number}"  # WHY: by default it is drawn at random
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=[*start, *cells], metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def _trained_models(markdown: str) -> list[str]:
    """Return the names of the committed models that a lesson opens."""
    text = "".join(block.text for block in blocks_of(markdown))
    return [entry.name for entry in LADDER if entry.folder in text] if "artifacts/ladder" in text else []


# --- cells --------------------------------------------------------------------------------------------------


def _cells(markdown: str, drawn: Images) -> Iterator[Cell]:
    """Yield the cells of a lesson; those between <details> are answers."""
    summary = ""
    for part in _PARTS.split(markdown):
        if part.startswith("<details"):
            summary = part.partition("\n")[2]
        elif part == "</details>":
            summary = ""
        elif part.startswith("```") and (code := _code(part)):
            if part.startswith("```try"):
                yield new_markdown_cell(_TRY)
            for source in code:
                # WHY hidden: it is the answer. JupyterLab shows a hidden source when asked to.
                yield new_code_cell(source, metadata={"jupyter": {"source_hidden": True}} if summary else {})
        elif part.strip():
            text = _read(part, drawn)
            yield new_markdown_cell(f"<details>\n{summary}\n\n{text}\n\n</details>" if summary else text)


def _read(part: str, drawn: Images) -> str:
    """Return a part that is only read: a directive, code, or prose."""
    if part.startswith("{{"):
        return _shown(part, drawn)
    return part if part.startswith("```") else _PAGE_LINK.sub(r"\1", part).strip()


def _shown(directive: str, drawn: Images) -> str:
    """Return what a directive shows, as a notebook can show it."""
    kind, name = directive[3:-3].split(" ", 1)
    if kind == "live":
        return _LIVE
    if (kind, name) in drawn:
        return drawn[kind, name]
    return _TITLED.sub(r"*\2*\n\n```\1", expand(directive, "")).replace(' markdown="0"', "")


def _code(fence: str) -> list[str]:
    """Return the sources of the cells of a fenced block; none if it is only to be read."""
    if fence.startswith("```try\n"):
        arguments = " ".join(fence.removeprefix("```try").removesuffix("```").split())
        return list(_command(f"toy-gpt train {arguments} --base-dir tried"))
    return [source for block in blocks_of(fence) for source in _CODE[block.kind](block)]


def _commands(block: Block) -> Iterator[str]:
    for line in block.text.splitlines():
        yield from _command(line.removeprefix("! "))


def _command(line: str) -> Iterator[str]:
    """Yield a command as a cell; after one that trains step by step, a cell that shows the loss curve."""
    yield f"!{line}"
    program, *arguments = shlex.split(line)
    if program == "toy-gpt" and arguments[0] == "train":
        args = build_parser().parse_args(arguments)
        if _has_curve(args.model) and args.epochs != 1:
            yield f'tg.load("{args.base_dir}")'


def _has_curve(model: str) -> bool:
    found = find_model(model).model_class
    return found.trains_in_steps or "epochs" in found.options


def _session(block: Block) -> Iterator[str]:
    """Yield Python, cut after each value that is shown, as a cell shows the last one only."""
    lines = block.text.splitlines()
    start = 0
    statements = ast.parse(block.text).body
    for statement in statements:
        assert statement.end_lineno is not None
        if isinstance(statement, ast.Expr) or statement is statements[-1]:
            yield "\n".join(lines[start : statement.end_lineno])
            start = statement.end_lineno
    for name, model in _TRAINS.findall(block.text):
        if _has_curve(model) and name not in lines:
            yield name


_CODE: Final[dict[str, Callable[[Block], Iterator[str]]]] = {
    "run": _commands,
    "session": _session,
    "script": lambda block: iter([block.text + ";"]),  # WHY: a script shows no value, and so no cell shows its last one
}
