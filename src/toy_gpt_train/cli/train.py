"""train.py - ``toy-gpt train``: learn a text, write the run, print how it went."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from toy_gpt_train import run
from toy_gpt_train.cli.arguments import add_base_dir, add_text_options
from toy_gpt_train.cli.report import training_figures, training_report
from toy_gpt_train.io_artifacts import outputs_dir_from_base_dir
from toy_gpt_train.models.base import Option
from toy_gpt_train.models.registry import LADDER
from toy_gpt_train.project import RESOURCE_ROOT, load_manifest

HELP: Final = "learn a text: write artifacts/ (the model) and outputs/ (the log)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt train``; those of the models are the models' own."""
    names = ", ".join(entry.name for entry in LADDER)
    parser.add_argument("--model", metavar="MODEL", help=f"{names}, any context-N (default: the manifest's)")
    parser.add_argument("--corpus", type=Path, metavar="PATH", help="a UTF-8 text file (default: the manifest's)")
    add_text_options(parser)
    parser.add_argument(
        "--context", type=int, metavar="N", help="tokens to look back, for a model whose name does not say"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="S",
        help="same seed, same model; tables draw nothing at random (default: %(default)s)",
    )
    group = parser.add_argument_group("networks", "one dial, and the numbers behind it")
    for name, option, is_network in model_options():
        (group if is_network else parser).add_argument(
            _flag(name, option),
            dest=name,
            type=option.type,
            metavar=None if option.choices else option.metavar,
            choices=option.choices or None,
            help=option.help,
        )
    group.add_argument(
        "--workers", type=int, default=1, metavar="W", help="processes that share the work; they change no number"
    )
    group.add_argument(
        "--checkpoint-every",
        type=int,
        default=0,
        metavar="S",
        help="steps from one checkpoint to the next (default: none)",
    )
    group.add_argument("--resume", action="store_true", help="continue from the checkpoint of a run that was stopped")
    add_base_dir(parser, "artifacts/ and outputs/ are written below it")
    parser.add_argument("--json", action="store_true", help="print the final figures as one JSON object")
    parser.set_defaults(handler=_train)


def model_options() -> Iterator[tuple[str, Option, bool]]:
    """Yield every option that some model has: its name, what it is, and whether only networks have it."""
    classes = [entry.model_class for entry in LADDER]
    options = {name: option for model in reversed(classes) for name, option in model.options.items()}
    for name, option in options.items():
        yield name, option, all(model.trains_in_steps for model in classes if name in model.options)


def _flag(name: str, option: Option) -> str:
    return f"--{option.flag or name.replace('_', '-')}"


def train_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of the public train(), but for progress: what was not given is left out.

    Args:
        args: The arguments of ``toy-gpt train``, parsed.
    """
    manifest = load_manifest()
    options = {name: getattr(args, name) for name, *_ in model_options() if getattr(args, name) is not None}
    same = ("tokenizer", "bpe_vocab", "val_fraction", "context", "seed", "workers", "checkpoint_every", "resume")
    return {
        "model": args.model or manifest.model,
        "corpus": args.corpus or RESOURCE_ROOT / manifest.corpus,
        "checkpoint_dir": outputs_dir_from_base_dir(args.base_dir) / "checkpoints",
        **{name: getattr(args, name) for name in same},
        **options,
    }


def _train(args: argparse.Namespace) -> int:
    trained = run.train(**train_arguments(args), progress=True)
    paths = trained.save(args.base_dir)
    print(json.dumps(training_figures(trained)) if args.json else training_report(trained, paths))
    return 0
