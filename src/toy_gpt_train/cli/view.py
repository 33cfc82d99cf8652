"""view.py - ``toy-gpt view``: the explorer in a browser."""

import argparse
from typing import Final

from toy_gpt_train.cli.arguments import add_base_dir, add_numbers
from toy_gpt_train.local_server import DEFAULT_PORT
from toy_gpt_train.view.server import serve

HELP: Final = "look into trained runs in a browser: what comes next, why, and the weights behind it"
LESSON: Final = """The page is served to this computer only. It reads the files of a run, and computes each prediction
itself; for a very large network it asks this program.

example:
  toy-gpt view --base-dir my_run"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt view``."""
    add_base_dir(parser, "the folder that holds artifacts/ and outputs/, or is itself a folder of artifacts")
    port = "where to listen, or the next free port; 0 for any free one (default: %(default)s)"
    add_numbers(parser, ("--port", DEFAULT_PORT, "P", port))
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    parser.set_defaults(handler=lambda args: serve(args.base_dir, args.port, not args.no_browser))
