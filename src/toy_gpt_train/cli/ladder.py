"""ladder.py - ``toy-gpt ladder``: every model on the same text, side by side.

Each run is written to artifacts/ladder/CODE-NAME/NNN_slug/ and outputs/ladder/CODE-NAME/NNN_slug/.
"""

import argparse
from collections.abc import Iterator, Mapping
from itertools import compress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from toy_gpt_train import run
from toy_gpt_train.artifacts.run_folder import locked_run
from toy_gpt_train.cli.arguments import add_base_dir, add_text_options
from toy_gpt_train.corpus import Corpus
from toy_gpt_train.errors import InputError
from toy_gpt_train.models.registry import LADDER, ModelEntry, find_model
from toy_gpt_train.project import RESOURCE_ROOT, LadderEntry, load_manifest
from toy_gpt_train.show import say, table
from toy_gpt_train.tokenizers.encoded import encode_corpus
from toy_gpt_train.tracing import keep_index
from toy_gpt_train.world.text import corpus_at, spec_of

HELP: Final = "train every model and compare: loss, floor, accuracy, numbers, bytes, time"
LESSON: Final = """The loss falls from model to model, and so does the floor, which no table of the same context can
pass. The held-out loss shows when a model has only learned its text by heart; online is that
of a model that learns each token after scoring it.

examples:
  toy-gpt ladder --models unigram bigram context-2 kneser-ney --corpus my.txt --val-fraction 0.1 --base-dir my_ladder
  toy-gpt ladder           trains again what SE_MANIFEST.toml declares: the same files, byte for byte
  toy-gpt ladder --long    the same for the runs that take many minutes each: networks on the story world"""
_WHAT: Final = ["code", "model", "corpus", "tokens"]
HEADER: Final = [*_WHAT, "loss", "floor", "accuracy", "held-out loss", "online", "numbers", "bytes", "seconds"]


class LadderRun(NamedTuple):
    """One run of the ladder: a model, its text, how that is cut and held out, and options that are not as usual."""

    entry: ModelEntry
    corpus: Path  # a file, or a text made on the spot: ``world:400k``
    tokenizer: str
    val_fraction: float
    options: Mapping[str, Any] = MappingProxyType({})

    @property
    def name(self) -> str:
        """Its folder below artifacts/ and outputs/, for example ``ladder/200-bigram/001_animals``."""
        return f"ladder/{self.entry.folder}/{self.corpus.stem.replace(':', '_')}"


def declared_runs(root: Path = RESOURCE_ROOT, *, is_long: bool = False) -> Iterator[LadderRun]:
    """Yield the runs that the manifest in a folder declares as the committed ladder, or those that take long."""
    for declared in load_manifest(root).ladder:
        if declared.is_long == is_long:
            yield from runs_of(declared, root)


def runs_of(declared: LadderEntry, root: Path) -> Iterator[LadderRun]:
    """Yield the runs of one declaration in the manifest of a folder; InputError if there is no such model."""
    made = spec_of(Path(declared.corpus)) is not None
    corpus = Path(declared.corpus) if made else root / declared.corpus
    for name in declared.models:
        options = declared.options.get(name, {})
        yield LadderRun(find_model(name), corpus, declared.tokenizer, declared.val_fraction, options)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt ladder``."""
    parser.add_argument("--corpus", type=Path, metavar="PATH", help="train on this text (default: the manifest's)")
    add_base_dir(parser, "artifacts/ladder/ and outputs/ladder/ are written below it")
    parser.add_argument("--long", action="store_true", help="train the declared runs that take many minutes each")
    parser.add_argument("--models", nargs="+", default=[], metavar="MODEL", help="train only these (default: all)")
    add_text_options(parser)
    parser.add_argument(
        "--workers", type=int, default=1, metavar="W", help="processes that train a network (default: 1)"
    )
    parser.set_defaults(handler=_ladder)


def _ladder(args: argparse.Namespace) -> int:
    entries = [find_model(name) for name in args.models] or LADDER  # a misspelled name is refused here
    if args.corpus is not None:
        runs = [LadderRun(entry, args.corpus, args.tokenizer, args.val_fraction) for entry in entries]
    elif (args.tokenizer, args.val_fraction) != ("word", 0.0):
        raise InputError("--tokenizer and --val-fraction need --corpus: the manifest sets them for its own runs")
    else:
        declared = declared_runs(is_long=args.long)
        runs = [one for one in declared if not args.models or one.entry.name in args.models]
    if not runs:
        raise InputError(f"the manifest declares no run of {', '.join(args.models)}; give a text with --corpus")
    corpora: dict[Path, Corpus] = {}
    # WHY first: a text that is too short, or a folder that cannot be written, must not end the work halfway.
    for one in runs:
        if one.corpus not in corpora:  # it may be a pipe, which can be read once
            corpora[one.corpus] = corpus_at(one.corpus)
        encoded = encode_corpus(corpora[one.corpus], one.tokenizer, args.bpe_vocab, one.val_fraction)
        context = one.options.get("context", one.entry.default_context)
        one.entry.check_length(context, encoded.num_train, one.corpus)
        with locked_run(args.base_dir, one.name):
            pass
    rows = [_train(one, corpora[one.corpus], args) for one in runs]
    shown = [name != "online" or any(row[i] for row in rows) for i, name in enumerate(HEADER)]
    say(table(list(compress(HEADER, shown)), [list(compress(row, shown)) for row in rows]))
    return 0


def _train(one: LadderRun, corpus: Corpus, args: argparse.Namespace) -> list[object]:  # the row of its run
    # WHY no checkpoint: a ladder that was stopped begins again, and has no --resume.
    without = {"checkpoint_every": 0, "keep_checkpoint": False}
    in_steps = {"workers": args.workers, **without} if one.entry.model_class.trains_in_steps else {}
    options = dict(one.options)
    is_traced = options.pop("trace", False)
    trained = run.train(
        one.entry.name,
        corpus,
        tokenizer=one.tokenizer,
        bpe_vocab=args.bpe_vocab,
        val_fraction=one.val_fraction,
        save_to=args.base_dir,
        name=one.name,
        progress=True,
        **in_steps,
        **options,
    )
    if is_traced:
        keep_index(args.base_dir, one.name, one.corpus)
    metrics = trained.meta["metrics"]
    losses = (
        *(metrics["train_loss"], trained.meta["loss_floor"], metrics["train_accuracy"]),
        *(metrics.get(name) for name in ("val_loss", "val_loss_online")),
    )
    return [
        one.entry.code,
        one.entry.name,
        corpus.name.partition(".")[0],
        one.tokenizer,
        *("" if loss is None else f"{loss:.4f}" for loss in losses),
        trained.model.num_parameters(),
        sum(path.stat().st_size for path in trained.paths),
        f"{trained.train_seconds:.2f}",
    ]
