"""test_lesson_notebooks.py - The lessons as notebooks: what becomes of a page, cell by cell; and all of them run.

The slow test executes every code cell of every notebook. What the cells print is compared with what the page shows,
except in the lessons on networks: there each network is trained for a quarter of its steps.
"""

import asyncio
import base64
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from browser.kit import SITE, needs_site
from conftest import IN_WEBASSEMBLY

DOCS = Path(__file__).resolve().parents[1] / "docs"
if IN_WEBASSEMBLY or not (DOCS / "builder").is_dir():
    pytest.skip("the docs lie in the repository", allow_module_level=True)
sys.path.insert(0, str(DOCS))
nbformat = pytest.importorskip("nbformat", reason="the dependency group docs is not installed")
pytest.importorskip("latex2mathml", reason="the dependency group docs is not installed")

from builder.commands import Block, blocks_of, results  # noqa: E402
from builder.directives import drawings_of  # noqa: E402
from builder.images import image  # noqa: E402
from builder.kept import kept  # noqa: E402
from builder.notebooks import lessons, notebook_of  # noqa: E402

LESSONS = lessons()
NETWORKS = ("500-embeddings", "600-attention", "700-gpt", "800-llama", "training-networks")
ADDED = re.compile(r"import os\n.*|# The trained models .*|!toy-gpt train .* --base-dir tried|tg\.load\(.*\)|run", re.S)

PAGE = """# 250: a lesson

## The idea

See [the bigram](200-bigram.md#the-idea), [this
page](../training.md) and [a site](https://example.org/a).

{{ chart some:chart }}

{{ live live:window }}

## The mathematics

$$p = {-1}$$

```session
from math import exp
x = 1
exp(0)
for y in (1, 2):
    print(y)
z = 3
```

```text
to[read](x)
```

{{ file corpus/000_cat_dog.txt 1-2 }}

## An experiment

```script two.py
from pathlib import Path

Path("two.txt").write_text("a b")
```

```run
toy-gpt train --model bigram --corpus two.txt --epochs 3 --base-dir two
! toy-gpt infer --base-dir none
toy-gpt train --model kneser-ney --corpus two.txt --base-dir artifacts/ladder/450-kneser-ney/two
```

```session
import toy_gpt_train as tg
run = tg.train("unigram", "two.txt")
```

```try
--model bigram
--epochs 1
```

## Exercises

**1. Why?**

<details markdown="1">
<summary>Check</summary>

Because of $x$.

```session
1 + 1
```

</details>
"""


def notebook(markdown: str) -> Any:
    return notebook_of(markdown, dict.fromkeys(drawings_of(markdown), "(drawn)"))


def code_cells(made: Any) -> list[Any]:
    return [cell for cell in made["cells"] if cell["cell_type"] == "code"]


# --- one lesson -------------------------------------------------------------------------------------------------


def test_a_lesson_by_hand() -> None:
    made = notebook_of(PAGE, {("chart", "some:chart"): "<img>"})
    cells = [(cell["cell_type"], cell["source"]) for cell in made["cells"]]
    assert cells[0] == ("markdown", "# 250: a lesson")
    assert cells[1][1].startswith("This notebook is made from the lesson's page")
    assert cells[2][1].startswith("import os\n")
    assert cells[3][1].endswith("\n    !toy-gpt ladder --models kneser-ney --base-dir .")
    linked = "See the bigram, this\npage and [a site](https://example.org/a)."
    file = "*corpus/000_cat_dog.txt*\n\n```text\nthe cat runs .\nthe cat runs .\n```"
    kneser_ney = "--model kneser-ney --corpus two.txt --base-dir artifacts/ladder/450-kneser-ney/two"
    assert cells[4:] == [
        ("markdown", f"## The idea\n\n{linked}"),
        ("markdown", "<img>"),
        ("markdown", "*The lesson's page has a picture here that you can move.*"),
        ("markdown", "## The mathematics\n\n$$p = {-1}$$"),
        ("code", "from math import exp\nx = 1\nexp(0)"),
        ("code", "for y in (1, 2):\n    print(y)\nz = 3"),
        ("markdown", "```text\nto[read](x)\n```"),
        ("markdown", file),
        ("markdown", "## An experiment"),
        ("code", 'from pathlib import Path\n\nPath("two.txt").write_text("a b");'),
        ("code", "!toy-gpt train --model bigram --corpus two.txt --epochs 3 --base-dir two"),
        ("code", 'tg.load("two")'),
        ("code", "!toy-gpt infer --base-dir none"),
        ("code", f"!toy-gpt train {kneser_ney}"),
        ("code", 'import toy_gpt_train as tg\nrun = tg.train("unigram", "two.txt")'),
        ("code", "run"),
        ("markdown", "*On its page, the lesson trains this model in the playground. The same training run, here:*"),
        ("code", "!toy-gpt train --model bigram --epochs 1 --base-dir tried"),
        ("markdown", "## Exercises\n\n**1. Why?**"),
        ("markdown", "<details>\n<summary>Check</summary>\n\nBecause of $x$.\n\n</details>"),
        ("code", "1 + 1"),
    ]
    hidden = [cell["source"] for cell in made["cells"] if cell["metadata"] == {"jupyter": {"source_hidden": True}}]
    assert hidden == ["1 + 1"]
    assert [cell["id"] for cell in made["cells"]] == [f"cell-{number}" for number in range(25)]


def test_an_image_needs_nothing_but_itself() -> None:
    tag = image('<svg viewBox="0 -9 40 20" class="picture"><text>a &lt; b</text></svg>', 'so "a" it is')
    found = re.fullmatch(r'<img alt="so &quot;a&quot; it is" src="data:image/svg\+xml;base64,([\w+/=]+)">', tag)
    assert found
    style, paper, text = ElementTree.fromstring(base64.b64decode(found[1]))
    assert "--chart-1: #00796b;" in (style.text or "")
    assert "svg.picture text" in (style.text or "")
    assert [paper.get(name) for name in ("x", "y", "width", "height")] == ["0", "-9", "40", "20"]
    assert text.text == "a < b"


# --- all lessons ------------------------------------------------------------------------------------------------


def test_every_lesson_is_there() -> None:
    assert len(LESSONS) == 18
    assert "world" in LESSONS
    assert not {"index", "glossary"} & LESSONS.keys()


def of_blocks(made: Any, blocks: list[Block]) -> Iterator[list[Any]]:
    """Yield the cells of each block; all other code cells are of the kinds that are added."""
    cells = iter(code_cells(made))
    for block in blocks:
        if block.kind == "run":
            wanted = "\n".join(f"!{line.removeprefix('! ')}" for line in block.text.splitlines())
        else:
            wanted = block.text + ";" * (block.kind == "script")
        found = []
        while wanted:
            cell = next(cells)
            if wanted.startswith(cell["source"]):
                found.append(cell)
                wanted = wanted.removeprefix(cell["source"]).lstrip("\n")
            else:
                assert ADDED.fullmatch(cell["source"])
        yield found
    assert all(ADDED.fullmatch(cell["source"]) for cell in cells)


@pytest.mark.parametrize("name", LESSONS)
def test_a_notebook_has_each_block_of_its_lesson_once_and_in_order(name: str) -> None:
    made = notebook(LESSONS[name])
    nbformat.validate(made)
    blocks = blocks_of(LESSONS[name])
    assert len(list(of_blocks(made, blocks))) == len(blocks) > 2
    text = "\n".join(cell["source"] for cell in made["cells"] if cell["cell_type"] == "markdown")
    for heading in re.findall(r"^## .+$", LESSONS[name], re.MULTILINE):
        assert heading in text
    assert not re.search(r"^\{\{ |\]\((?!https?:)|markdown=", text, re.MULTILINE)


@pytest.mark.parametrize("name", LESSONS)
def test_no_notebook_writes_into_a_checkout(name: str) -> None:
    commands = [cell["source"] for cell in code_cells(notebook(LESSONS[name])) if "\n" not in cell["source"]]
    for command in commands:
        if command.startswith("!toy-gpt train "):
            assert " --base-dir " in command
            folder = Path(command.partition(" --base-dir ")[2].split()[0])
            assert not folder.is_absolute()
            assert ".." not in folder.parts


@needs_site
@pytest.mark.parametrize("name", LESSONS)
def test_the_site_has_the_notebook_and_leads_to_it(name: str) -> None:
    made = nbformat.read(SITE / "notebooks" / f"{name}.ipynb", as_version=4)
    nbformat.validate(made)
    assert all(cell["outputs"] == [] for cell in code_cells(made))
    text = "\n".join(cell["source"] for cell in made["cells"])
    images = re.findall(r'<img alt="[^"]+" src="data:image/svg\+xml;base64,([^"]+)">', text)
    asked = [kind for kind, _ in drawings_of(LESSONS[name]) if kind in ("chart", "picture")]
    assert len(images) >= len(asked)
    for data in images:
        svg = ElementTree.fromstring(base64.b64decode(data))
        assert svg.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(list(svg.iter())) > 10
    assert f'href="../notebooks/{name}.ipynb"' in (SITE / "lessons" / f"{name}.html").read_text("utf-8")


# --- they run ---------------------------------------------------------------------------------------------------


def text_of(cell: Any) -> str:
    """Return what a cell has printed and shown, bare."""
    return bare(
        "".join(f"\n{found['data']['text/plain']}" if "data" in found else found["text"] for found in cell.outputs)
    )


def bare(text: str) -> str:
    """Return an output without progress, and without what only a terminal shows or only a clock knows.

    WHY without white space: IPython breaks a long value into lines. And brackets: a terminal shows tokens in colors.
    """
    plain = re.sub(r"\x1b\[[0-9;]*[mK]", "", text.replace("\r\n", "\n"))
    lines = [line.rpartition("\r")[2] for line in plain.split("\n")]
    kept = [line for line in lines if not re.match(r"(sample|time|learned) ", line)]
    return re.sub(r"[\s\[\]]", "", "".join(kept))


def executed(made: Any, folder: Path, environment: dict[str, str]) -> list[Any]:
    """Run a notebook in a folder; return what each code cell has printed and shown."""
    import nbclient

    client = nbclient.NotebookClient(made, timeout=300, kernel_name="python3")
    # WHY: execute() leaves the loop of its thread open.
    asyncio.run(client.async_execute(cwd=str(folder), env=environment))
    return [cell["outputs"] for cell in code_cells(made)]


def failures_of(name: str, folder: Path) -> list[str]:
    """Run a lesson's notebook; return what does not fit."""
    made = notebook(LESSONS[name])
    for cell in code_cells(made) if name in NETWORKS else ():
        cell["source"] = re.sub(r"(?<=steps[ =])\d+", lambda steps: str(int(steps[0]) // 4), cell["source"])
    outputs = kept(["notebook", [cell["source"] for cell in code_cells(made)]], partial(executed, made, folder))
    for cell, found in zip(code_cells(made), outputs, strict=True):
        cell["outputs"] = list(map(nbformat.from_dict, found))
    failures = [cell["source"] for cell in code_cells(made) if "error:" in str(cell["outputs"])]
    curves = [cell for cell in code_cells(made) if re.fullmatch(r'tg\.load\("\w+"\)', cell["source"])]
    failures += [cell["source"] for cell in curves if "<polyline" not in cell["outputs"][0]["data"]["text/html"]]
    if name not in NETWORKS:
        blocks = blocks_of(LESSONS[name])
        for block, cells, steps in zip(blocks, of_blocks(made, blocks), results(blocks), strict=True):
            here, there = "".join(map(text_of, cells)), bare("\n".join(step.printed for step in steps))
            # WHY not sizes: a run's metadata name a copied corpus without its folder.
            if here != there and "st_size" not in block.text:
                failures.append(f"{name}: {here!r} where the page has {there!r}")
    return failures


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of the notebook's own machinery
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("nbclient", "ipykernel"))), reason="needs the dependency group notebooks"
)
def test_every_notebook_runs_and_prints_what_its_page_shows(tmp_path: Path) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failures = list(pool.map(partial(failures_of, folder=tmp_path), LESSONS))
    assert failures == [[]] * len(LESSONS)
    assert list(tmp_path.iterdir()) == []  # all is written to a folder of its own
