"""Build the site in site/: ``uv run --group docs python docs/build.py``.

Three steps: what the pages need is prepared (builder/prepare.py), a generator makes the pages by mkdocs.yml, and the
lessons are cut into slides. With ``--serve`` the site is shown at an address of this computer instead, without slides,
and made anew when a page changes.
"""

import argparse
import subprocess
import sys
from typing import Final

from builder.paths import ROOT
from builder.prepare import prepare
from builder.slides import write_slides

# By its name as a module: what to say to it, to build.
_GENERATORS: Final = {
    "mkdocs": ["--strict", "--quiet"],
    # The successor of mkdocs-material, by the same authors; it reads mkdocs.yml.
    "zensical": ["--strict"],
}


def main() -> int:
    """Build the site, or serve it; return the generator's exit code."""
    parser = argparse.ArgumentParser(description="Build the docs site in site/.")
    parser.add_argument("--serve", action="store_true", help="show the site at an address of this computer instead")
    parser.add_argument("--generator", choices=_GENERATORS, default="mkdocs", help="what makes the pages (%(default)s)")
    args = parser.parse_args()
    prepare()
    command = ["serve"] if args.serve else ["build", *_GENERATORS[args.generator]]
    done = subprocess.run([sys.executable, "-m", args.generator, *command], cwd=ROOT, check=False)  # noqa: S603
    if done.returncode == 0 and not args.serve:
        write_slides(ROOT / "site")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
