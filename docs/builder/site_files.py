"""What the site has besides its pages: the explorer with the committed runs, the playground, notebooks, and libraries.

The playground gets the package as a wheel, built here; the texts to begin with; a list of the models; and, unless
mkdocs.yml names another address for it, the runtime that runs Python in a browser.
"""

import io
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from builder.bundle import bundle
from builder.home import model_script
from builder.notebooks import all_notebooks
from builder.npm import package_file
from builder.paths import DOCS, ROOT
from toy_gpt_train.models.registry import LADDER, ModelEntry
from toy_gpt_train.view.server import INDEX_NAME, page_files, runs_index

Content = str | bytes | Path

_NPM_FILES: Final = {
    "assets/d3.min.js": ("d3", "dist/d3.min.js"),
    "assets/plot.umd.min.js": ("@observablehq/plot", "dist/plot.umd.min.js"),
    "assets/iframe-worker.js": ("iframe-worker", "shim/index.js"),
}
_OPENS_WITH: Final = "800-llama on world:4m (demo)"  # a network that has something to tell
_LEFT_OUT: Final = "toy_gpt_train/resources/artifacts/"  # of the wheel; the page has no use for a trained model
_RUNTIME_FILES: Final = (
    "pyodide.mjs",
    "pyodide.asm.mjs",
    "pyodide.asm.wasm",
    "python_stdlib.zip",
    "pyodide-lock.json",
)


def all_files(runtime: str) -> Iterator[tuple[str, Content]]:
    """Yield each file's place on the site and its content.

    Args:
        runtime: The address of the playground's runtime; where it has no host, the runtime is put there, below
            playground/.
    """
    for place, (package, path) in _NPM_FILES.items():
        yield place, package_file(package, path)
    yield "home/core.js", bundle("network", "text")
    yield "home/model.js", model_script()
    yield from _explorer()
    yield from _playground(runtime)
    yield from all_notebooks()


def _explorer() -> Iterator[tuple[str, Content]]:
    """The explorer's page, and beside it the committed runs that it opens."""
    index = runs_index(ROOT) | {"open": _OPENS_WITH}
    yield f"explorer/{INDEX_NAME}", json.dumps(index)
    for address, path in page_files().items():
        yield f"explorer/{address}", _published(path)
    for run in index["runs"]:
        for path in _files_in(ROOT / run["artifacts"]):
            yield f"explorer/{run['artifacts']}{path.name}", path
        yield f"explorer/{run['log']}", ROOT / run["log"]


def _published(path: Path) -> Content:
    """A file of the explorer as the site has it: its page with the site's links, its scripts without comments.

    WHY without: they are a fourth of the scripts' bytes, and a page of the site loads many; the repository has them.
    """
    if path.suffix == ".js":
        return re.sub(r"^[ \t]*(?://.*|/\*\*[\s\S]*?\*/[ \t]*)\n", "", path.read_text("utf-8"), flags=re.M)
    return _with_links(path) if path.suffix == ".html" else path


def _with_links(page: Path) -> str:
    """The explorer's page with the links in the playground's bar: alone, on a visitor's computer, it has no site."""
    bar = re.search(r"<nav.*?</nav>", (DOCS / "playground" / "index.html").read_text("utf-8"), re.S)
    assert bar
    links = bar[0].replace(' aria-current="page"', "").replace('">Explorer', '" aria-current="page">Explorer')
    links = links.replace("../playground.html", "../explorer.html")  # where the page is explained
    html = page.read_text("utf-8").replace("<!-- The site puts its links here. -->", links)
    return re.sub(
        r'<span (class="name")>(.*?)</span>(\s+<nav)', r'<a \1 href="../index.html">\2</a>\3', html, flags=re.S
    )


def _files_in(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_file()]


def _playground(runtime: str) -> Iterator[tuple[str, Content]]:
    """What the playground's page, which lies in docs/playground/, fetches."""
    wheel_name, wheel = _wheel()
    corpora = sorted((ROOT / "corpus").glob("*.txt"))
    about = {
        "wheel": wheel_name,
        "runtime": runtime,
        "runtimeBytes": {name: package_file("pyodide", name).stat().st_size for name in _RUNTIME_FILES},
        "corpora": [path.name for path in corpora],
        "models": [_choice(entry) for entry in LADDER],
    }
    yield "playground/playground.json", json.dumps(about)
    yield f"playground/{wheel_name}", wheel
    for path in corpora:
        yield f"playground/corpus/{path.name}", path
    if "//" not in runtime:
        for name in _RUNTIME_FILES:
            yield f"playground/{runtime}{name}", package_file("pyodide", name)


def _choice(entry: ModelEntry) -> dict[str, Any]:
    """What the playground's form has to know of a model."""
    return {
        "kind": entry.name,
        "code": entry.code,
        "adds": entry.adds,
        "context": entry.default_context,
        "fixedContext": entry.context is not None,
        "isTable": "epochs" in entry.model_class.options,
        "isNetwork": entry.model_class.trains_in_steps,
    }


def _wheel() -> tuple[str, bytes]:
    """Build the package as a wheel, without trained models; returns its name and its bytes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            raise RuntimeError(f"the wheel cannot be built: {done.stderr}")
        (path,) = Path(folder).glob("*.whl")
        packed = io.BytesIO()
        with zipfile.ZipFile(path) as wheel, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as smaller:
            for name in wheel.namelist():
                if not name.startswith(_LEFT_OUT):
                    smaller.writestr(name, wheel.read(name))
        return path.name, packed.getvalue()
