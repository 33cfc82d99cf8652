"""import_.py - ``toy-gpt import``: take over a model that other software wrote."""

import argparse
from pathlib import Path
from typing import Final

from toy_gpt_train import run
from toy_gpt_train.cli.arguments import add_base_dir
from toy_gpt_train.show import say

HELP: Final = "read a model from other software: a Hugging Face folder, or an ARPA file"
LESSON: Final = """Its weights become a run like any other: infer, evaluate, chat and view work on it.

examples:
  toy-gpt import gpt2 --base-dir my_gpt2
  toy-gpt import my_counts.arpa --base-dir my_counts
and then:
  toy-gpt infer --base-dir my_gpt2 --prompt "The meaning of life is" """


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt import``."""
    parser.add_argument("path", type=Path, metavar="PATH", help="a folder with config.json, or an .arpa file")
    add_base_dir(parser, "artifacts/ is written below it")
    parser.set_defaults(handler=_import)


def _import(args: argparse.Namespace) -> int:
    paths = run.load(args.path).save(args.base_dir)
    say(f"wrote {len(paths)} files to {args.base_dir}; try: toy-gpt infer --base-dir {args.base_dir} --prompt TEXT")
    return 0
