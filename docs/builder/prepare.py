"""What is done before a generator builds the site.

It puts what the site has besides its pages into docs/, where a generator finds it: the explorer, the playground and
libraries, none of them committed. And it runs what the pages run, as many at once as there are processors; a generator
would do that too, one after the other, but finds the results in .cache/docs/ then.
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from builder import kept
from builder.commands import blocks_of, results
from builder.directives import drawings_of
from builder.drawings import drawing
from builder.paths import CACHE, DOCS, ROOT
from builder.site_files import Content, all_files

_WRITTEN: Final = CACHE / "docs" / "written.txt"
_WORTH_SAYING: Final = 0.1  # seconds


class _Settings(yaml.SafeLoader):
    """Reads mkdocs.yml, which has tags of its own."""


_Settings.add_multi_constructor("!", lambda loader, suffix, node: None)


def prepare() -> None:
    """Run what the pages run, then write the files; the notebooks among them have charts that were drawn before."""
    settings: dict[str, Any] = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), _Settings)  # noqa: S506
    run_pages()
    write_files(dict(all_files(settings["extra"]["playground_runtime"])))


def write_files(files: dict[str, Content]) -> None:
    """Write files below docs/ where they are not there or not the same, and remove those of an earlier time."""
    earlier = _WRITTEN.read_text(encoding="utf-8").splitlines() if _WRITTEN.is_file() else []
    for name in set(earlier) - files.keys():
        (DOCS / name).unlink(missing_ok=True)
    _WRITTEN.parent.mkdir(parents=True, exist_ok=True)
    _WRITTEN.write_text("\n".join(files), encoding="utf-8")
    for name, content in files.items():
        data = content.read_bytes() if isinstance(content, Path) else content
        data = data.encode() if isinstance(data, str) else data
        place = DOCS / name
        # WHY not always: a server of the site builds it anew when a file changes.
        if not place.is_file() or place.read_bytes() != data:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)


def run_pages() -> None:
    """Run what the pages run, and forget what none of them asks for any longer."""
    jobs = dict(_jobs())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(_timed, jobs.values()))
    for file in kept.FOLDER.glob("*.json"):
        if file not in jobs:
            file.unlink()


def _jobs() -> Iterator[tuple[Path, tuple[str, Callable[[], object]]]]:
    """Yield what the pages need: where its result is kept, its name, and what makes it."""
    for path in sorted(DOCS.rglob("*.md")):
        markdown = path.read_text(encoding="utf-8")
        if blocks := blocks_of(markdown):
            yield kept.place_of(blocks), (path.relative_to(DOCS).as_posix(), partial(results, blocks))
        for kind, name in drawings_of(markdown):
            yield kept.place_of([kind, name]), (f"{kind} {name}", partial(drawing, kind, name))


def _timed(job: tuple[str, Callable[[], object]]) -> None:
    """Do a job; say so if it took a while, as one does that was not kept."""
    name, make = job
    start = time.perf_counter()
    make()
    if (seconds := time.perf_counter() - start) > _WORTH_SAYING:
        print(f"{seconds:6.1f} s  {name}", flush=True)
