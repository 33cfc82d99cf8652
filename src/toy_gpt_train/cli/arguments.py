"""arguments.py - Options that several commands have."""

import argparse
import sys
from pathlib import Path

from toy_gpt_train import run
from toy_gpt_train.errors import InputError
from toy_gpt_train.inference.sampling import Sampling
from toy_gpt_train.project import BASE_DIR
from toy_gpt_train.show import one_line
from toy_gpt_train.tokenizers import DEFAULT_VOCAB_SIZE, TOKENIZERS

RUN: str = "the folder that holds artifacts/, or is itself a folder of artifacts"


class LessonFormatter(argparse.HelpFormatter):
    """Fits the paragraphs of a command's lesson to the terminal; lines to type stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.split("\n\n")
        return "\n\n".join(
            part if "  " in part else super(LessonFormatter, self)._fill_text(part, width, indent)
            for part in paragraphs
        )


def add_base_dir(parser: argparse.ArgumentParser, meaning: str = RUN) -> None:
    """Add --base-dir, the folder of a run."""
    parser.add_argument(
        "--base-dir", type=Path, default=BASE_DIR, metavar="DIR", help=f"{meaning} (default: the project, or here)"
    )


def add_run(parser: argparse.ArgumentParser, meaning: str = RUN) -> None:
    """Add which run to load; see load_run()."""
    add_base_dir(parser, meaning)
    parser.add_argument("--strict", action="store_true", help="refuse a run whose files have changed since training")


def load_run(args: argparse.Namespace) -> run.Run:
    """Load the run of add_run(), and name the files that have changed since training on standard error.

    Raises:
        InputError: It cannot be loaded, or a file has changed and that is to be refused.
        OSError: A file cannot be read.
    """
    loaded = run.load(args.base_dir, strict=args.strict)
    if loaded.changed_files:
        print(one_line(f"toy-gpt: changed since training: {', '.join(loaded.changed_files)}"), file=sys.stderr)
    return loaded


def add_text_options(parser: argparse.ArgumentParser) -> None:
    """Add how a text is cut into tokens, and how much of it is held out."""
    parser.add_argument(
        "--tokenizer", choices=TOKENIZERS, default="word", help="what a token is (default: %(default)s)"
    )
    parser.add_argument(
        "--bpe-vocab",
        type=int,
        default=DEFAULT_VOCAB_SIZE,
        metavar="V",
        help="tokens at which byte-level BPE stops merging (default: %(default)s)",
    )
    parser.add_argument(
        "--val-fraction",
        type=float,
        default=0.0,
        metavar="F",
        help="hold out the last F of the tokens and evaluate on them (default: %(default)s)",
    )


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Add how much to write, and how the next token is chosen."""
    parser.add_argument("--num", type=int, default=10, metavar="K", help="tokens to add (default: %(default)s)")
    parser.add_argument(
        "--topk", type=int, default=5, metavar="K", help="most likely tokens to show (default: %(default)s)"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.0,
        metavar="T",
        help="0: always the most likely token (default); 1: draw by probability",
    )
    parser.add_argument(
        "--top-p", type=float, default=1.0, metavar="P", help="draw among the most likely P of the probability only"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="same seed, same text (default: 0)")


def sampling_of(args: argparse.Namespace) -> Sampling:
    """Return how to choose tokens, and check the numbers beside it; InputError if one makes no sense."""
    for name, least in (("num", 0), ("topk", 1)):
        if (value := getattr(args, name)) < least:
            raise InputError(f"--{name} must be at least {least}, got {value}")
    return Sampling(args.temperature, args.top_p, args.seed)
