"""train.py - ``toy-gpt train``: learn a text, write the run, print how it went."""

import argparse
import json
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from toy_gpt_train import __version__, run
from toy_gpt_train.artifacts.metadata import Meta
from toy_gpt_train.artifacts.run_folder import CONFIG_NAME
from toy_gpt_train.cli.arguments import add_base_dir, add_engine, add_text_options
from toy_gpt_train.cli.config import add_config, config_text
from toy_gpt_train.cli.report import figures, memorized, plan, training_report
from toy_gpt_train.cli.samples import Samples, chosen_every, story
from toy_gpt_train.cli.tracker import TRACKERS, tracking
from toy_gpt_train.disk import is_stream
from toy_gpt_train.engine import ranks
from toy_gpt_train.errors import InputError
from toy_gpt_train.io_artifacts import outputs_dir_from_base_dir
from toy_gpt_train.job import Job
from toy_gpt_train.models.base import Option, Record
from toy_gpt_train.models.registry import LADDER, STEP_OPTIONS, find_model
from toy_gpt_train.progress import Progress
from toy_gpt_train.project import RESOURCE_ROOT, load_manifest
from toy_gpt_train.show import say
from toy_gpt_train.tracing import keep_index
from toy_gpt_train.world.text import detokenize

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
# Options that change nothing in a run: what stands for others, where it goes, how it is shown, who does the work.
_WITHOUT_EFFECT: Final = ("help", "config", "preset", "base_dir", "json", "trace", "sample_every", *STEP_OPTIONS)
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
    meaning = "texts that are one token wherever they occur, such as <|endoftext|>"
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
    _add_model_options(parser)
    add_base_dir(parser, "artifacts/ and outputs/ are written below it")
    add_config(parser, presets=True)
    parser.add_argument("--json", action="store_true", help="print the final figures as one JSON object")
    meaning = "also keep an index of the training text, for toy-gpt infer --trace"
    parser.add_argument("--trace", action="store_true", help=meaning)
    meaning = "then write N tokens of text (default: 100), drawn at temperature 0.8 with seed 0"
    parser.add_argument("--sample", type=int, nargs="?", const=100, metavar="N", help=meaning)
    meaning = "also send the log to outputs/tensorboard/, as it is made (needs the extra [log])"
    parser.add_argument("--log-to", choices=TRACKERS, help=meaning)
    parser.set_defaults(handler=_train, actions=parser._actions)


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of all models, and those of training in steps."""
    group = parser.add_argument_group("networks", "--size sets all the other numbers, and each can be set by itself")
    how_long = group.add_mutually_exclusive_group()
    for name, option, is_network in model_options():
        place = how_long if name == "steps" else group if is_network else parser
        if option.type is bool:
            action = "store_false" if option.flag.startswith("no-") else "store_true"
            place.add_argument(_flag(name, option), dest=name, action=action, default=None, help=option.help)
            continue
        place.add_argument(
            _flag(name, option),
            dest=name,
            type=option.type,
            metavar=None if option.choices else option.metavar,
            choices=option.choices or None,
            help=option.help,
        )
    meaning = "show a sample every S steps, 0 for none (default: every tenth of the way, on a terminal)"
    group.add_argument("--sample-every", type=int, metavar="S", help=meaning)
    group.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="W",
        help="processes that share the work; the result is the same; PyTorch needs none (default: %(default)s)",
    )
    add_engine(group)
    group.add_argument(
        "--checkpoint-every",
        type=int,
        metavar="S",
        help="steps from one checkpoint to the next, 0 for none (default: one per minute)",
    )
    group.add_argument("--no-keep", dest="keep_checkpoint", action="store_false", help="keep no final checkpoint")
    group.add_argument("--resume", action="store_true", help="continue from the checkpoint, up to --steps in all")
    how_long.add_argument("--more-steps", type=int, metavar="N", help="with --resume, do N steps from there")


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
        InputError: There is no such model, or an option does not apply to it.
    """
    manifest = load_manifest()
    flags = {name: _flag(name, option) for name, option, _ in model_options()}
    options = {name: getattr(args, name) for name in flags if getattr(args, name) is not None}
    options |= {name: getattr(args, name) for name in STEP_OPTIONS}
    entry = find_model(manifest.model if args.model is None else args.model)
    for name in entry.unused_options(options):
        flag = "--no-keep" if name == "keep_checkpoint" else flags.get(name, _flag(name))
        raise InputError(f"{flag} does not apply to {entry.name}")
    return {
        "model": entry.name,
        "corpus": RESOURCE_ROOT / manifest.corpus if args.corpus is None and args.tokens is None else args.corpus,
        "save_to": args.base_dir,
        **{name: getattr(args, name) for name in _TEXT_OPTIONS},
        **options,
    }


def _train(args: argparse.Namespace) -> int:
    # WHY here: other commands do without logging.
    from toy_gpt_train.cli.run_log import RunLog, chosen_level

    level = chosen_level()
    if args.sample is not None and args.sample < 1:
        raise InputError(f"--sample must be at least 1, got {args.sample}")
    arguments = train_arguments(args)
    if args.trace:
        _check_trace(args, arguments)
    if not ranks().is_first:  # of the processes that torchrun has started, this one tells nothing
        run.train(**arguments)
        return 0
    every = chosen_every(args.sample_every, arguments["model"], json=args.json)
    log, outputs = RunLog(level), outputs_dir_from_base_dir(args.base_dir)

    def tell(line: str) -> None:
        if not args.json:
            bar.clear()
            with suppress(OSError):  # training continues when nobody can read it; the report will fail
                say(line)

    def start(job: Job) -> None:
        jobs.append(job)
        tell(plan(job))
        log.start(job, arguments)

        def measured(meta: Meta) -> None:
            job.evidence[CONFIG_NAME] = _config(args, arguments, job, meta)
            job.evidence |= log.close(job, meta["metrics"], memorized(meta), args.base_dir)

        job.on_measured = measured

    jobs: list[Job] = []
    samples = Samples(every, tell)
    title = f"training {arguments['model']}"
    bar = Progress(title, on_estimate=lambda seconds: tell(f"time      about {_duration(seconds)}"))
    with tracking(args.log_to, outputs) as track, closing(bar):

        def record(line: Record) -> None:
            log.record(line)
            track(line)
            samples.record(jobs[0], line)

        # WHY no bar beside the log's lines: they say the same, and a terminal would mix them.
        trained = run.train(**arguments, progress=level is None and bar.update, on_start=start, on_record=record)
    paths = [*trained.paths, *([keep_index(args.base_dir, corpus=arguments["corpus"])] if args.trace else [])]
    sample = None if args.sample is None else trained.generate(num=args.sample)
    if args.json:
        online = {name: loss for name, loss in trained.meta["metrics"].items() if name == "val_loss_online"}
        say(json.dumps(figures(trained, trained.held_out) | online | ({} if sample is None else {"sample": sample})))
    else:
        say(training_report(trained, paths))
        _say_sample(jobs[0], args.sample, sample)
    return 0


def _check_trace(args: argparse.Namespace, arguments: Mapping[str, Any]) -> None:
    """Refuse, before anything is trained, an index that could not be made or used."""
    if not find_model(arguments["model"]).model_class.can_be_traced:
        raise InputError(f"--trace does not apply to {arguments['model']}; kneser-ney and the tables can be traced")
    if args.tokens is not None:
        raise InputError("--trace names lines of a text: give --corpus instead of --tokens")
    if is_stream(arguments["corpus"]):
        raise InputError("--trace reads the text again: give a file, not a pipe")


def _say_sample(job: Job, num: int | None, sample: str | None) -> None:
    """Print the sample that was asked for; otherwise the story of a network that has learned the story world."""
    is_world = job.encoded.is_world
    if sample is not None:
        say(f"\na sample of {num} tokens:\n{detokenize(sample.split()) if is_world else sample}")
    elif is_world and job.model.trains_in_steps:
        say("\na story that it tells:")
        say(story(job))


def _duration(seconds: float) -> str:
    """Return a rough time in words.

    >>> _duration(41.7), _duration(400), _duration(9000)
    ('42 s', '7 minutes', '2.5 hours')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _config(args: argparse.Namespace, arguments: Mapping[str, Any], job: Job, meta: Meta) -> str:
    """Return the options that this run had, as a file that repeats it."""
    source = job.encoded.source
    remarks = [
        f"How toy-gpt {__version__} trained {job.entry.name}. To do it again, in this folder:",
        f"    toy-gpt train --config {CONFIG_NAME} --base-dir NEW_FOLDER",
        "A folder with the name of the old one gets the same files, byte for byte.",
        f"Paths are relative to this folder. {source.name} had the SHA-256 {source.sha256}.",
    ]
    if (step := meta["training"].get("resumed_from_step")) is not None:
        remarks.append(
            f"It was resumed from step {step} with another plan: from the first step on, it learns otherwise."
        )
    outputs = outputs_dir_from_base_dir(args.base_dir)
    return config_text(resolved_options(args, arguments, job), outputs, remarks)


def resolved_options(args: argparse.Namespace, arguments: Mapping[str, Any], job: Job) -> dict[str, Any]:
    """Return every option that had an effect on a run, as a config file names it, with the value that it had."""
    options = job.entry.model_class.options
    numbers = job.numbers()
    unused = job.settings.unused() if job.entry.model_class.trains_in_steps else {}
    # A default that matters is written too, so that another version's default changes nothing.
    always = {"model", "corpus", "tokens", "tokenizer", "context", "seed"}
    always |= {"bpe_vocab"} if arguments["tokenizer"] == "bpe" else set()
    always |= set() if arguments["val_tokens"] else {"val_fraction"}
    values = {"context": job.model.context_size} if job.entry.context is None else {}
    found: dict[str, Any] = {}
    for action in args.actions:
        name = action.dest
        if name in _WITHOUT_EFFECT or name in unused:
            continue
        given = arguments.get(name, getattr(args, name, None))
        value = numbers.get(name) if name in options else values.get(name, given)
        if value is None or value == [] or (name not in always and name not in options and value == action.default):
            continue
        if action.nargs == 0 and value != action.const:  # a flag that is not set
            continue
        found[action.option_strings[0][2:].replace("-", "_")] = True if action.nargs == 0 else value
    return found
