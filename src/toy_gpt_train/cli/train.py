"""train.py - ``toy-gpt train``: learn a text, write the run, print how it went."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from toy_gpt_train import run
from toy_gpt_train.cli.arguments import add_base_dir, add_text_options
from toy_gpt_train.cli.config import add_config
from toy_gpt_train.cli.report import figures, training_report
from toy_gpt_train.errors import InputError
from toy_gpt_train.models.base import Option
from toy_gpt_train.models.registry import LADDER, STEP_OPTIONS, find_model
from toy_gpt_train.project import RESOURCE_ROOT, load_manifest
from toy_gpt_train.show import say

HELP: Final = "learn a text: write artifacts/ (the model) and outputs/ (the log)"
LESSON: Final = """The text is cut into tokens, and the model predicts each one from the tokens before it. Then it is
changed so that it would have been less surprised. avg_loss is the surprise, in nats per token: watch it fall. The loss
on a held-out part (--val-fraction) says whether the model has learned the language, or only this text.
toy-gpt levels says what each model adds.

examples:
  toy-gpt train --model bigram --corpus my.txt --base-dir my_run
  toy-gpt train --model kneser-ney --val-fraction 0.1 --corpus my.txt --base-dir my_run
  toy-gpt train --model gpt --tokenizer char --steps 200 --corpus my.txt --base-dir my_run
and then:
  toy-gpt infer --base-dir my_run"""
_TEXT_OPTIONS: Final = (
    *("tokens", "val_tokens", "tokenizer", "special", "bpe_vocab", "val_fraction", "context", "seed"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt train``; those of the models are the models' own."""
    names = ", ".join(entry.name for entry in LADDER)
    declared = "(default: what SE_MANIFEST.toml declares)"
    parser.add_argument("--model", metavar="MODEL", help=f"{names}, or context-N for any N {declared}")
    parser.add_argument("--corpus", type=Path, metavar="PATH", help=f"a UTF-8 text file, or world:400k {declared}")
    parser.add_argument(
        "--tokens", type=Path, metavar="FILE", help="learn a file of token ids instead (needs --tokenizer)"
    )
    parser.add_argument("--val-tokens", type=Path, metavar="FILE", help="another one, held out for evaluation")
    add_text_options(parser, saved=True)
    meaning = "texts that are one token wherever they stand, such as <|endoftext|>"
    parser.add_argument("--special", nargs="+", default=[], metavar="TEXT", help=meaning)
    parser.add_argument(
        "--context", type=int, metavar="N", help="how many tokens the model looks back, where its name does not say"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="S",
        help="same seed, same model; tables draw nothing at random (default: %(default)s)",
    )
    group = parser.add_argument_group("networks", "--size sets all the other numbers, and each can be set by itself")
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
        "--workers",
        type=int,
        default=1,
        metavar="W",
        help="processes that share the work; the result is the same (default: %(default)s)",
    )
    group.add_argument(
        "--checkpoint-every",
        type=int,
        default=0,
        metavar="S",
        help="steps from one checkpoint to the next (default: none)",
    )
    group.add_argument("--no-keep", dest="keep_checkpoint", action="store_false", help="keep no checkpoint of the end")
    group.add_argument("--resume", action="store_true", help="continue from the checkpoint, up to --steps in all")
    group.add_argument("--more-steps", type=int, metavar="N", help="with --resume, do N steps from there")
    add_base_dir(parser, "artifacts/ and outputs/ are written below it")
    add_config(parser, presets=True)
    parser.add_argument("--json", action="store_true", help="print the final figures as one JSON object")
    parser.set_defaults(handler=_train)


def model_options() -> Iterator[tuple[str, Option, bool]]:
    """Yield every option that some model has: its name, what it is, and whether only networks have it."""
    classes = [entry.model_class for entry in LADDER]
    options = {name: option for model in reversed(classes) for name, option in model.options.items()}
    for name, option in options.items():
        yield name, option, all(model.trains_in_steps for model in classes if name in model.options)


def _flag(name: str, option: Option | None = None) -> str:
    """Return how an option is typed."""
    return f"--{(option and option.flag) or name.replace('_', '-')}"


def train_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of the public train(), but for progress: what was not given is left out.

    Args:
        args: The arguments of ``toy-gpt train``, parsed.

    Raises:
        InputError: There is no such model, or an option means nothing to it.
    """
    manifest = load_manifest()
    flags = {name: _flag(name, option) for name, option, _ in model_options()}
    options = {name: getattr(args, name) for name in flags if getattr(args, name) is not None}
    options |= {name: getattr(args, name) for name in STEP_OPTIONS}
    entry = find_model(manifest.model if args.model is None else args.model)
    for name in entry.unused_options(options):
        flag = "--no-keep" if name == "keep_checkpoint" else flags.get(name, _flag(name))
        raise InputError(f"{flag} means nothing to {entry.name}")
    return {
        "model": entry.name,
        "corpus": RESOURCE_ROOT / manifest.corpus if args.corpus is None and args.tokens is None else args.corpus,
        "save_to": args.base_dir,
        **{name: getattr(args, name) for name in _TEXT_OPTIONS},
        **options,
    }


def _train(args: argparse.Namespace) -> int:
    trained = run.train(**train_arguments(args), progress=True)
    say(json.dumps(figures(trained, trained.held_out)) if args.json else training_report(trained, trained.paths))
    return 0
