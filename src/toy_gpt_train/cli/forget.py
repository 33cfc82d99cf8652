"""forget.py - ``toy-gpt forget``: remove lines of the training text from a model."""

import argparse
import re
from pathlib import Path
from typing import Final

from toy_gpt_train.cli.arguments import add_base_dir
from toy_gpt_train.errors import InputError
from toy_gpt_train.forgetting import forget
from toy_gpt_train.progress import shown
from toy_gpt_train.show import say

HELP: Final = "remove lines of the training text from a model, exactly"
LESSON: Final = """A model that counts can forget: the counts of some lines are taken out again. Afterwards its files
are those of a model that never learned these lines, byte for byte. For a network nobody knows how to do that without
training it again: each of its weights has a little of every line in it.

toy-gpt infer --trace tells which lines gave a prediction its probability.

examples:
  toy-gpt forget --base-dir my_run --lines 12
  toy-gpt forget --base-dir my_run --lines 100-120"""
_LINES: Final = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt forget``."""
    add_base_dir(parser)
    parser.add_argument(
        "--lines", required=True, metavar="A-B", help="the lines of the corpus to forget, counted from 1"
    )
    meaning = "where the training text is (default: where it was); a text with different lines is refused"
    parser.add_argument("--corpus", type=Path, metavar="PATH", help=meaning)
    parser.set_defaults(handler=_forget)


def _forget(args: argparse.Namespace) -> int:
    match = _LINES.fullmatch(args.lines)
    if match is None:
        raise InputError(f"--lines takes a line or the first and last of several, such as 12 or 100-120: {args.lines}")
    first, last = int(match[1]), int(match[2] or match[1])
    with shown(True, "forgetting") as told:
        done = forget(args.base_dir, first, last, args.corpus, told)
    lines = f"line {first}" if first == last else f"lines {first} to {last}"
    before, after = done.train_losses
    say(
        f"forgot    {lines}, {done.num_tokens:,} tokens; {done.num_left:,} are left\n"
        f"result    train loss {after:.4f} nats per token, {before:.4f} before\n"
        f"wrote     {len(done.paths)} files to {args.base_dir}"
    )
    return 0
