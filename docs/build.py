"""Build the site: ``uv run --group docs python docs/build.py``.

Three steps: what the pages need is prepared (builder/prepare.py), a generator makes the pages by mkdocs.yml, and
the lessons are cut into slides. While you write, ``--only-prepare`` and then ``mkdocs serve`` will do.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Final

from builder.paths import ROOT
from builder.prepare import prepare
from builder.slides import write_slides

_GENERATORS: Final = {
    "mkdocs": ["mkdocs", "build", "--strict", "--quiet"],
    "zensical": ["zensical", "build", "--strict"],  # by those who made mkdocs-material; reads mkdocs.yml, too
}


def main() -> int:
    """Build the site; return the generator's exit code."""
    parser = argparse.ArgumentParser(description="Build the docs site in site/.")
    parser.add_argument("--only-prepare", action="store_true", help="do what comes before the generator, and end")
    parser.add_argument("--generator", choices=_GENERATORS, default="mkdocs", help="what makes the pages (%(default)s)")
    args = parser.parse_args()
    prepare()
    if args.only_prepare:
        return 0
    done = subprocess.run([sys.executable, "-m", *_GENERATORS[args.generator]], cwd=ROOT, check=False)  # noqa: S603
    if done.returncode == 0:
        write_slides(Path(ROOT / "site"))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
