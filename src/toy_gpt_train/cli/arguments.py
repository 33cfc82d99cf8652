"""arguments.py - Options that several commands have."""

import argparse
import sys
from pathlib import Path

from toy_gpt_train import run
from toy_gpt_train.engine import DTYPES, ENGINES, Choice
from toy_gpt_train.errors import InputError
from toy_gpt_train.inference.sampling import Sampling
from toy_gpt_train.project import BASE_DIR
from toy_gpt_train.show import one_line
from toy_gpt_train.tokenizers import DEFAULT_VOCAB_SIZE, TOKENIZERS

RUN: str = "the folder that holds artifacts/, or is itself a folder of artifacts"


class LessonFormatter(argparse.HelpFormatter):
    """Fits the paragraphs of a command's lesson to the terminal; lines to type stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        return "\n\n".join(part if "  " in part else fill(part, width, indent) for part in text.split("\n\n"))


def add_base_dir(parser: argparse.ArgumentParser, meaning: str = RUN) -> None:
    """Add --base-dir, the folder of a run."""
    meaning += " (default: the project, or here)"
    parser.add_argument("--base-dir", type=Path, default=BASE_DIR, metavar="DIR", help=meaning)


def add_run(parser: argparse.ArgumentParser, meaning: str = RUN, *, engine: bool = True) -> None:
    """Add which run to load and, unless that is fixed, what computes a network; see load_run()."""
    add_base_dir(parser, meaning)
    parser.add_argument("--strict", action="store_true", help="refuse a run whose files have changed since training")
    if engine:
        add_engine(parser)


def add_engine(parser: argparse._ActionsContainer) -> None:
    """Add what computes a network."""
    meaning = (
        "what computes a network: the standard library, or PyTorch (needs the extra [torch]); auto takes PyTorch for "
        "more than 200,000 weights, if it is installed (default: %(default)s)"
    )
    parser.add_argument("--engine", choices=ENGINES, default=Choice().name, help=meaning)
    meaning = "where PyTorch computes: cpu, cuda, cuda:1, mps (default: %(default)s, the fastest there is)"
    parser.add_argument("--device", default=Choice().device, metavar="D", help=meaning)
    meaning = "the numbers that PyTorch computes with (default: %(default)s)"
    parser.add_argument("--dtype", choices=DTYPES, default=Choice().dtype, help=meaning)
    meaning = "let PyTorch translate the network first: slow to begin, then faster"
    parser.add_argument("--compile", action="store_true", help=meaning)


def load_run(args: argparse.Namespace) -> run.Run:
    """Load the run of add_run(), and name the files that have changed since training on standard error."""
    how = {name: getattr(args, name) for name in ("strict", "engine", "device", "dtype", "compile") if name in args}
    loaded = run.load(args.base_dir, **how)
    if loaded.changed_files:
        print(one_line(f"toy-gpt: changed since training: {', '.join(loaded.changed_files)}"), file=sys.stderr)
    return loaded


def add_numbers(parser: argparse.ArgumentParser, *options: tuple[str, float, str, str]) -> None:
    """Add options that take a number of the default's type: the flag, the default, the metavar, and the help."""
    for flag, default, metavar, meaning in options:
        parser.add_argument(flag, type=type(default), default=default, metavar=metavar, help=meaning)


def add_text_options(parser: argparse.ArgumentParser, *, saved: bool = False) -> None:
    """Add how a text is cut into tokens, and how much of it is held out; ``saved``: by a saved tokenizer too."""
    if saved:
        meaning = f"what a token is: {', '.join(TOKENIZERS)}, or the folder of a saved tokenizer (default: %(default)s)"
        parser.add_argument("--tokenizer", type=tokenizer_argument, default="word", metavar="KIND", help=meaning)
    else:
        meaning = "what a token is (default: %(default)s)"
        parser.add_argument("--tokenizer", choices=TOKENIZERS, default="word", help=meaning)
    add_numbers(
        parser,
        ("--bpe-vocab", DEFAULT_VOCAB_SIZE, "V", "tokens at which byte-level BPE stops merging (default: %(default)s)"),
        ("--val-fraction", 0.0, "F", "hold out the last F of the tokens and evaluate on them (default: %(default)s)"),
    )


def tokenizer_argument(text: str) -> str | Path:
    """Return a kind of tokenizer, or else the folder of a saved one."""
    return text if text in TOKENIZERS else Path(text)


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Add how much to write, how the next token is chosen, and where to end."""
    meaning = "tokens to add (default: %(default)s)"
    parser.add_argument("--num", "--num-tokens", type=int, default=100, metavar="K", help=meaning)
    courage = parser.add_mutually_exclusive_group()
    meaning = "1: draw each token by its probability; lower: take fewer risks (default: %(default)s)"
    courage.add_argument("--temperature", type=float, default=0.8, metavar="T", help=meaning)
    meaning = "always take the most likely token, as --temperature 0 does"
    courage.add_argument("--greedy", dest="temperature", action="store_const", const=0.0, help=meaning)
    add_numbers(
        parser,
        ("--topk", 5, "K", "most likely tokens to show (default: %(default)s)"),
        ("--top-k", 0, "K", "draw among the K most likely tokens only (default: 0, all)"),
        ("--top-p", 1.0, "P", "draw among the most likely P of the probability only"),
        ("--repetition-penalty", 1.0, "R", "above 1: make tokens already in the text less likely (default: 1, none)"),
        ("--seed", 0, "S", "same seed, same text (default: 0)"),
    )
    meaning = "end before any of these texts, which are not printed"
    parser.add_argument("--stop", nargs="+", action="extend", default=[], metavar="TEXT", help=meaning)
    parser.add_argument("--stop-at-newline", action="store_true", help="end before a line end")
    meaning = "keep writing after the token that ends a text, such as <|endoftext|>"
    parser.add_argument("--ignore-eos", action="store_true", help=meaning)
    parser.add_argument("--lowercase", action="store_true", help="make the prompt lower-case first")


def sampling_of(args: argparse.Namespace) -> Sampling:
    """Return how to choose tokens, and check the numbers beside it; InputError if one makes no sense."""
    for name, least in (("num", 0), ("topk", 1)):
        if (value := getattr(args, name)) < least:
            raise InputError(f"--{name} must be at least {least}, got {value}")
    stop = (*args.stop, *(["\n"] if args.stop_at_newline else []))
    return Sampling(args.temperature, args.top_p, args.seed, args.top_k, args.repetition_penalty, stop, args.ignore_eos)
