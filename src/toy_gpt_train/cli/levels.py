"""levels.py - ``toy-gpt levels``: the models of the ladder."""

import argparse
from typing import Final

from toy_gpt_train.models.registry import LADDER
from toy_gpt_train.show import say, table

HELP: Final = "list the models of the ladder"
LESSON: Final = """Each model on the ladder adds one idea to the one before. The name is what --model takes; context-N
exists for any N.

examples:
  toy-gpt levels
  toy-gpt train --model bigram"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the handler; there are no options."""
    parser.set_defaults(handler=_levels)


def _levels(args: argparse.Namespace) -> int:
    rows = [[entry.code, entry.name, entry.default_context, entry.adds] for entry in LADDER]
    say(table(["code", "model", "context", "what it adds"], rows))
    return 0
