"""Tables of the docs site: the package as it is, and the committed runs side by side."""

import ast
import html
import re
from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path

from builder.chart import csv_columns
from builder.paths import DOCS, PACKAGE, ROOT
from toy_gpt_train import load
from toy_gpt_train.models.registry import LADDER
from toy_gpt_train.models.sizes import SIZES

_STORIES_MODELS = ("450-kneser-ney", "500-embeddings", "600-attention", "700-gpt", "800-llama")


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"), key=lambda path: (len(path.parts), path))


def _summary(path: Path) -> str:
    """Return the first lines of a module's docstring as HTML, without the file's name."""
    first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    text = html.escape(" ".join(first.removeprefix(f"{path.name} - ").split()))
    return re.sub(r"``(.+?)``", r"<code>\1</code>", text)


def package_tree() -> str:
    """Every file of the package with the first line of its docstring."""
    rows = [
        f"<tr><td><code>{path.relative_to(PACKAGE).as_posix()}</code></td><td>{_summary(path)}</td></tr>"
        for path in _modules()
    ]
    head = "<thead><tr><th>file</th><th>its first line</th></tr></thead>"
    return f"<table>{head}<tbody>{''.join(rows)}</tbody></table>"


def modules(page: str) -> str:
    """The modules on a page of docs/api/, one line each.

    WHY each has its name as an anchor: all of them were on one page once, and links to that page still lead to them.
    """
    rows = []
    for name in documented(DOCS / "api" / f"{page}.md"):
        link = f'<a id="{name}" href="api/{page}.html#{name}"><code>{name.partition(".")[2]}</code></a>'
        rows.append([link, _summary(_file_of(name))])
    return _html_table(["module", "what it is"], rows)


def documented(page: Path) -> Iterator[str]:
    """Yield the names of the modules that a page of docs/api/ documents."""
    for name, options in re.findall(r"^::: (\S+)\n((?: +.+\n)*)", page.read_text(encoding="utf-8"), re.MULTILINE):
        yield name
        if "show_submodules: true" in options:
            for path in sorted(_file_of(name).parent.rglob("*.py")):
                module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
                if module != name:
                    yield module


def _file_of(module: str) -> Path:
    path = PACKAGE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def stories_runs() -> str:
    """The committed runs on the stories as a table, from their metadata."""
    names = [
        "model",
        "context",
        "numbers learned",
        "tokens predicted",
        "train loss",
        "held-out loss",
        "held-out accuracy",
        "KB",
    ]
    rows = []
    for model in _STORIES_MODELS:
        folder = ROOT / "artifacts" / "ladder" / model / "030_stories"
        run = load(folder)
        tokens = sum(run.frequencies) * run.meta["training"]["epochs"]
        metrics = run.meta["metrics"]
        size = sum(path.stat().st_size for path in folder.iterdir())
        rows.append(
            [
                model,
                run.model.context_size,
                f"{run.model.num_parameters():,}",
                f"{tokens:,.0f}",
                *(f"{metrics[name]:.4f}" for name in ("train_loss", "val_loss", "val_accuracy")),
                f"{size / 1000:.0f}",
            ]
        )
    return _html_table(names, rows)


def world_runs() -> str:
    """The models on the story world: how far each is from the floor, and whether it remembers what it tells."""
    columns = csv_columns("outputs/bench/story_world.csv")
    rows = []
    for name, context, numbers, loss, floor, _, captured, answers, right in zip(*columns.values(), strict=True):
        remembered = f"{int(right) / int(answers):.0%} of {answers}" if int(answers) else "no answers"
        figures = f"{float(loss):.3f}", f"{float(loss) - float(floor):.3f}", f"{float(captured):.0%}"
        rows.append([name, context, f"{int(numbers):,}", *figures, remembered])
    names = ["model", "looks back", "numbers learned", "held-out loss", "above the floor", "captured", "right answers"]
    return _html_table(names, rows)


def sizes() -> str:
    """What each size of each network stands for."""
    names = ["model", "size", "N", "C", "F", "heads", "blocks", "weights", "steps", "batch", "learning rate"]
    rows = []
    for entry in LADDER:
        for size in SIZES.get(entry.name, ()):
            settings = entry.model_class.settings(entry.name, entry.context, size=size)
            shape = settings.architecture
            weights = entry.model_class.count_parameters(65, settings.context, shape)
            looks = [shape.embedding_dim, shape.hidden_dim or "", shape.heads, shape.layers, f"{weights:,}"]
            learns = [settings.steps, settings.batch_size, f"{settings.learning_rate:g}"]
            rows.append([entry.name, size, settings.context, *looks, *learns])
    return _html_table(names, rows)


def _html_table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


# --- the lessons --------------------------------------------------------------------------------------------

_WORDS_A_MINUTE = 220
_SECONDS_A_SOURCE = 45
_SECONDS_A_BLOCK = 15  # output, a table, a chart, a formula
_SECONDS_AN_EXERCISE = 60  # to think; its words count with the others


def lessons() -> str:
    """The lessons in the order of the site's navigation, with how long each takes and all before it together."""
    rows = []
    total = 0
    for number, (title, path) in enumerate(reading_order(), start=1):
        minutes = minutes_of(path.read_text(encoding="utf-8"))
        total += minutes
        rows.append(
            [number, f'<a href="{path.stem}.html">{title}</a>', minutes, f"{total // 60} h {total % 60:02} min"]
        )
    return _html_table(["", "lesson", "minutes", "up to here"], rows)


def decks() -> str:
    """The slides of each lesson, as seen from a page of docs/teach/."""
    rows = [[f'<a href="../lessons/{path.stem}.slides.html">{title}</a>'] for title, path in reading_order()]
    return _html_table(["slides"], rows)


def reading_order() -> list[tuple[str, Path]]:
    """Return the title and the file of each lesson, in the order in which they are to be read."""
    # WHY no loader of YAML: mkdocs.yml has tags of its own, and all that is asked for here is a list of files.
    lines = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").splitlines()
    found = [re.fullmatch(r'\s+- "(.+)": (lessons/.+\.md)', line) for line in lines]
    listed = [(match[1], DOCS / match[2]) for match in found if match]
    return [(title, path) for title, path in listed if path.stem not in ("index", "glossary")]


def minutes_of(markdown: str) -> int:
    r"""Return how long a lesson takes: its words, its sources, its other blocks, and thinking about its exercises.

    Args:
        markdown: The lesson.

    Returns:
        Minutes, rounded up.

    Example:
        >>> minutes_of("word " * 440 + "\n{{ chart ladder:losses }}\n")
        3
    """
    prose, blocks = re.subn(r"^(?:```.*?^```|\{\{ .*? \}\}|\$\$.*?\$\$)$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    sources = len(re.findall(r"^\{\{ source ", markdown, flags=re.MULTILINE))
    exercises = len(re.findall(r"^<details", markdown, flags=re.MULTILINE))
    words = len(re.findall(r"\w+(?:['.,-]\w+)*", prose))
    seconds = words * 60 / _WORDS_A_MINUTE + sources * _SECONDS_A_SOURCE + (blocks - sources) * _SECONDS_A_BLOCK
    return ceil((seconds + exercises * _SECONDS_AN_EXERCISE) / 60)
