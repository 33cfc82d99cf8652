"""kit.py - ``toy-gpt kit``: the site for a class without a network, in one file."""

import argparse
from pathlib import Path
from typing import Final

from toy_gpt_train.kit.build import write_kit
from toy_gpt_train.progress import shown
from toy_gpt_train.project import BASE_DIR
from toy_gpt_train.show import say

HELP: Final = "pack the lessons and the playground for a class without a network"
LESSON: Final = """One zip file holds the built site, this package, the corpora and a start script. Unpack it on a USB
stick, and any computer with Python 3.11 or newer shows the site: nothing is installed, and no network is needed.

The site must have been built, which takes a checkout of the repository.

example:
  uv run --group docs python docs/build.py
  toy-gpt kit --out toy-gpt-kit.zip"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt kit``."""
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the zip file to write")
    meaning = "the folder of the built site (default: site in the project, or here)"
    parser.add_argument("--site", type=Path, default=BASE_DIR / "site", metavar="DIR", help=meaning)
    parser.set_defaults(handler=_kit)


def _kit(args: argparse.Namespace) -> int:
    with shown(True, "kit") as on_progress:
        number = write_kit(args.site, args.out, on_progress)
    say(f"wrote {args.out}, {args.out.stat().st_size:,} bytes, {number} files")
    say("Unpack it on a USB stick. There, start.bat (Windows), sh start.sh or python start.py shows the site.")
    return 0
