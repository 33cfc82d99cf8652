"""cli.py - The command line: ``toy-gpt`` and ``python -m toy_gpt_train``.

It reads arguments, calls the step that does the work, and prints. Whatever goes wrong by the user's hand becomes
one line on standard error and exit code 2; nothing is half-written.

Exit codes: 0 done, 1 a check found a difference, 2 bad input or a file that cannot be used, 130 stopped by Ctrl-C.
"""

import argparse
import gc
import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, NoReturn

from toy_gpt_train import __version__
from toy_gpt_train.cli import chat, check, ladder, tokenize_text
from toy_gpt_train.view import server as view_server
from toy_gpt_train.a_tokenizer import read_text
from toy_gpt_train.c_model import SimpleNextTokenModel
from toy_gpt_train.d_train import (
    DEFAULT_BPE_VOCAB_SIZE,
    DEFAULT_EPOCHS,
    DEFAULT_LEARNING_RATE,
    DEFAULT_SEED,
    TrainSettings,
    train_run,
)
from toy_gpt_train.cli.data import add_commands
from toy_gpt_train.e_infer import Sampling, generate_tokens, load_run, next_token_probs, start_token_ids, top_k
from toy_gpt_train.errors import InputError
from toy_gpt_train.inference.explain import as_json, as_text, explain
from toy_gpt_train.io_artifacts import META_NAME, artifacts_dir_from_base_dir
from toy_gpt_train.models.registry import LEVELS, level_for_kind
from toy_gpt_train.models.network import NeuralModel
from toy_gpt_train.models.sizes import DEFAULT_SIZE, SIZE_NAMES, settings_for
from toy_gpt_train.progress import Progress
from toy_gpt_train.project import BASE_DIR, RESOURCE_ROOT, load_manifest
from toy_gpt_train.prompts import prompt_to_tokens, select_context_tokens
from toy_gpt_train.cli.report import evaluate_text, figures_of_training, figures_table, training_report
from toy_gpt_train.show import bars, table, visible
from toy_gpt_train.tokenizers import TOKENIZER_KINDS

TRAIN_HELP: Final = "learn a text: write artifacts/ (the model) and outputs/ (the log)"
INFER_HELP: Final = "read the artifacts, show what comes next, continue a text"
EVALUATE_HELP: Final = "score a text with a trained model: loss, perplexity, bits a byte"
DATA_HELP: Final = "get text to learn from, and turn it into token ids"


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
        prog="toy-gpt",
        description="How language models are really trained: from counting words upward, one readable step at a time.",
        epilog="Start with: toy-gpt train, then: toy-gpt infer",
    )
    parser.add_argument("--version", action="version", version=f"toy-gpt {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands.add_parser("train", help=TRAIN_HELP, description=TRAIN_HELP))
    _add_infer(commands.add_parser("infer", help=INFER_HELP, description=INFER_HELP))
    _add_evaluate(commands.add_parser("evaluate", help=EVALUATE_HELP, description=EVALUATE_HELP))

    talk = commands.add_parser("chat", help=chat.HELP, description=chat.HELP)
    _add_base_dir(talk, "the run to talk to")
    talk.add_argument("--num", type=int, default=10, metavar="K", help="tokens to add to each prompt (default: 10)")
    talk.add_argument("--topk", type=int, default=5, metavar="K", help="likeliest tokens to show (default: 5)")
    _add_sampling(talk)
    talk.set_defaults(handler=_chat)

    climb = commands.add_parser("ladder", help=ladder.HELP, description=ladder.HELP)
    climb.add_argument(
        "--corpus",
        type=Path,
        metavar="PATH",
        help="train every rung on this text (default: what the manifest declares)",
    )
    _add_base_dir(climb, "artifacts/ladder/ and outputs/ladder/ are written below it")
    climb.add_argument("--models", nargs="+", default=[], metavar="KIND", help="train only these (default: all)")
    _add_text_options(climb)
    climb.add_argument(
        "--workers", type=int, default=1, metavar="W", help="processes that share a network's work (default: 1)"
    )
    climb.set_defaults(handler=_ladder)

    _add_tokenize(commands.add_parser("tokenize", help=tokenize_text.HELP, description=tokenize_text.HELP))

    data = commands.add_parser("data", help=DATA_HELP, description=DATA_HELP)
    add_commands(data.add_subparsers(dest="source", required=True, metavar="SOURCE"))

    look = commands.add_parser("view", help=view_server.HELP, description=view_server.HELP)
    _add_base_dir(look, "the folder that holds artifacts/ and outputs/, or is itself a folder of artifacts")
    look.add_argument(
        "--port",
        type=int,
        default=view_server.DEFAULT_PORT,
        metavar="P",
        help="where to listen, or the next free port; 0 for any free one (default: %(default)s)",
    )
    look.add_argument("--no-browser", action="store_true", help="print the address only")
    look.set_defaults(handler=lambda args: view_server.serve(args.base_dir, args.port, not args.no_browser))

    levels = commands.add_parser("levels", help="list the rungs of the ladder")
    levels.set_defaults(handler=_levels)

    verify = commands.add_parser("check", help=check.HELP, description=check.HELP)
    _add_base_dir(verify, "the folder with SE_MANIFEST.toml")
    verify.set_defaults(handler=lambda args: check.check_project(args.base_dir))
    return parser


def _add_base_dir(parser: argparse.ArgumentParser, meaning: str) -> None:
    parser.add_argument(
        "--base-dir", type=Path, default=BASE_DIR, metavar="DIR", help=f"{meaning} (default: the project, or here)"
    )


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="KIND",
        help="unigram, bigram, any context-N, kneser-ney, mixture, embeddings, attention, gpt, llama "
        "(default: the manifest's)",
    )
    parser.add_argument("--corpus", type=Path, metavar="PATH", help="a UTF-8 text file (default: the manifest's)")
    _add_text_options(parser)
    parser.add_argument(
        "--context", type=int, metavar="N", help="tokens to look back, for a model whose name does not say"
    )
    parser.add_argument(
        "--epochs", type=int, metavar="E", help=f"a table's passes over the text (default: {DEFAULT_EPOCHS})"
    )
    parser.add_argument(
        "--learning-rate",
        type=float,
        metavar="LR",
        help=f"step size of gradient descent (default: {DEFAULT_LEARNING_RATE} for a table; a network's by its size)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=DEFAULT_SEED,
        metavar="S",
        help="same seed, same model; tables draw nothing at random (default: %(default)s)",
    )
    _add_network_options(
        parser.add_argument_group("networks: embeddings, attention, gpt, llama", "one dial, and the numbers behind it")
    )
    _add_base_dir(parser, "artifacts/ and outputs/ are written below it")
    parser.add_argument("--json", action="store_true", help="print the final figures as one JSON object")
    parser.set_defaults(handler=_train)


# What each option of a network is called in NeuralSettings or Architecture.
_NETWORK_NUMBERS: Final = {
    "embedding_dim": (int, "C", "numbers a token"),
    "hidden_dim": (int, "F", "size of the feed-forward layer; in embeddings of a hidden layer"),
    "heads": (int, "H", "attention heads"),
    "layers": (int, "L", "Transformer blocks"),
    "dropout": (float, "P", "share of numbers put to 0 while training"),
    "steps": (int, "S", "batches to learn from"),
    "batch_size": (int, "B", "windows a batch"),
    "piece_size": (int, "B", "windows worked on at a time (default: a quarter of the batch)"),
    "warmup": (int, "S", "steps until the full learning rate (default: a twentieth of all)"),
    "weight_decay": (float, "D", "share of the learning rate taken off every weight (default: 0.1)"),
    "clip": (float, "G", "greatest length of a gradient (default: 1)"),
    "eval_every": (int, "S", "steps from one line of the log to the next (default: a twentieth of all)"),
}


def _flag(name: str) -> str:
    """Return the option that sets a number."""
    return "--hidden" if name == "hidden_dim" else f"--{name.replace('_', '-')}"


def _add_network_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--size", choices=SIZE_NAMES, help=f"how large, and how long to learn (default: {DEFAULT_SIZE})")
    for name, (kind, metavar, meaning) in _NETWORK_NUMBERS.items():
        group.add_argument(_flag(name), dest=name, type=kind, metavar=metavar, help=meaning)
    group.add_argument(
        "--workers", type=int, metavar="W", help="processes that share the work; they change no number (default: 1)"
    )
    group.add_argument(
        "--checkpoint-every", type=int, metavar="S", help="steps from one checkpoint to the next (default: none)"
    )
    group.add_argument(
        "--resume", action="store_true", default=None, help="go on from the checkpoint of a run that was stopped"
    )


def _add_text_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokenizer", choices=TOKENIZER_KINDS, default="word", help="what a token is (default: %(default)s)"
    )
    parser.add_argument(
        "--bpe-vocab",
        type=int,
        default=DEFAULT_BPE_VOCAB_SIZE,
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


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_base_dir(parser, "the folder that holds artifacts/, or is itself a folder of artifacts")
    parser.add_argument("--text", type=Path, required=True, metavar="FILE", help="the text to score, every token of it")
    parser.add_argument(
        "--unknown",
        choices=("error", "skip", "uniform"),
        default="error",
        help="tokens outside the vocabulary: refuse (default), leave out, or give each the probability 1/V",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    parser.set_defaults(handler=_evaluate)


def _add_infer(parser: argparse.ArgumentParser) -> None:
    _add_base_dir(parser, "the folder that holds artifacts/, or is itself a folder of artifacts")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--start-tokens", nargs="+", metavar="TOKEN", help="tokens to start from (default: the corpus's first)"
    )
    start.add_argument("--prompt", metavar="TEXT", help="text to start from; the model sees its last tokens")
    parser.add_argument("--num", type=int, default=10, metavar="K", help="tokens to add (default: %(default)s)")
    parser.add_argument("--topk", type=int, default=5, metavar="K", help="likeliest tokens to show (default: 5)")
    _add_sampling(parser)
    parser.add_argument(
        "--explain",
        action="store_true",
        help="show how a network comes to its next token: logits step by step, and attention",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(handler=_infer)


def _add_tokenize(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokenizer", choices=TOKENIZER_KINDS, default="bpe", help="what a token is (default: %(default)s)"
    )
    parser.add_argument(
        "--corpus",
        type=Path,
        default=tokenize_text.DEFAULT_TEXT_CORPUS,
        metavar="PATH",
        help="the text that the tokenizer learns from (default: the stories)",
    )
    parser.add_argument(
        "--vocab-size",
        type=int,
        default=DEFAULT_BPE_VOCAB_SIZE,
        metavar="V",
        help="tokens at which byte-level BPE stops merging (default: %(default)s)",
    )
    parser.add_argument("--folder", type=Path, metavar="DIR", help="read a saved tokenizer instead of learning one")
    text = parser.add_mutually_exclusive_group()
    text.add_argument("--text", metavar="TEXT", default=tokenize_text.DEFAULT_TEXT, help="the text to cut")
    text.add_argument("--file", type=Path, metavar="FILE", help="a file with the text to cut")
    parser.add_argument("--word", metavar="WORD", help="show the merges that made this word, step by step")
    parser.add_argument("--save", type=Path, metavar="DIR", help="write the tokenizer to this folder")
    parser.set_defaults(handler=_tokenize)


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.0,
        metavar="T",
        help="0: always the likeliest token (default); 1: draw by probability",
    )
    parser.add_argument(
        "--top-p", type=float, default=1.0, metavar="P", help="draw among the likeliest P of the probability only"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="same seed, same text (default: 0)")


def train_settings(args: argparse.Namespace) -> TrainSettings:
    """Return what to train; an option that the model has no use for is refused, not ignored.

    Args:
        args: The arguments of ``toy-gpt train``, parsed.

    Raises:
        InputError: A number, or the model, cannot be used.

    Example:
        >>> args = build_parser().parse_args(["train", "--model", "bigram", "--epochs", "3"])
        >>> train_settings(args).epochs
        3
    """
    manifest = load_manifest()
    kind = manifest.model if args.model is None else args.model
    level = level_for_kind(kind)
    only_networks = (*_NETWORK_NUMBERS, "size", "workers", "checkpoint_every", "resume")
    unused = ["epochs"] if issubclass(level.model, NeuralModel) else list(only_networks)
    if not issubclass(level.model, NeuralModel | SimpleNextTokenModel):
        unused += ["epochs", "learning_rate"]
    for name in unused:
        if getattr(args, name) is not None:
            raise InputError(f"{_flag(name)} means nothing to {kind}")
    neural = None
    if issubclass(level.model, NeuralModel):
        numbers = {name: getattr(args, name) for name in (*_NETWORK_NUMBERS, "context", "learning_rate")}
        neural = settings_for(kind, level.model.uses, args.size or DEFAULT_SIZE, **numbers)
        level.model.check(neural.architecture)
    return TrainSettings(
        level=level_for_kind(kind, neural.context if neural else args.context),
        corpus_path=args.corpus or RESOURCE_ROOT / manifest.corpus,
        base_dir=args.base_dir,
        learning_rate=DEFAULT_LEARNING_RATE if args.learning_rate is None or neural else args.learning_rate,
        epochs=DEFAULT_EPOCHS if args.epochs is None else args.epochs,
        seed=args.seed,
        tokenizer=args.tokenizer,
        bpe_vocab_size=args.bpe_vocab,
        val_fraction=args.val_fraction,
        neural=neural,
        workers=1 if args.workers is None else args.workers,
        checkpoint_every=args.checkpoint_every or 0,
        resume=bool(args.resume),
    )


def _train(args: argparse.Namespace) -> int:
    settings = train_settings(args)
    progress = Progress(f"training {settings.level.kind}")
    try:
        result = train_run(settings, progress.update)
    finally:
        progress.close()
    if args.json:
        print(json.dumps(asdict(figures_of_training(settings, result))))
    else:
        print(training_report(settings, result))
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    run = load_run(_artifacts_dir(args.base_dir))
    figures = evaluate_text(run, args.text, args.unknown)
    print(json.dumps(asdict(figures)) if args.json else figures_table(figures, args.text.name, run.model.train_loss_on))
    return 0


def _artifacts_dir(base_dir: Path) -> Path:
    """Return BASE/artifacts, or BASE itself where it holds the metadata (an entry of the ladder)."""
    return base_dir if (base_dir / META_NAME).is_file() else artifacts_dir_from_base_dir(base_dir)


def _at_least(least: int, value: int, name: str) -> int:
    if value < least:
        raise InputError(f"{name} must be at least {least}, got {value}")
    return value


def _sampling(args: argparse.Namespace) -> Sampling:
    return Sampling(args.temperature, args.top_p, args.seed)


def _infer(args: argparse.Namespace) -> int:
    num, k = _at_least(0, args.num, "--num"), _at_least(1, args.topk, "--topk")
    sampling = _sampling(args)
    run = load_run(_artifacts_dir(args.base_dir))
    start = before = list(run.meta["start_tokens"] if args.start_tokens is None else args.start_tokens)
    if args.prompt is not None:
        size = run.model.context_size
        start = list(select_context_tokens(prompt=args.prompt, context_window=size, tokenizer=run.tokenizer).tokens)
        before = prompt_to_tokens(args.prompt, run.tokenizer)
    generated = generate_tokens(run.model, run.vocab, start, num, sampling)
    token_ids = start_token_ids(run.vocab, start, run.model.least_context)
    explained = explain(run, token_ids, k) if args.explain else None
    probs = next_token_probs(run.model, token_ids)
    likeliest = [(run.vocab.get_id_token(token_id) or "", token_id, p) for token_id, p in top_k(probs, k)]
    if args.json:
        rows = [{"token": token, "id": token_id, "probability": p} for token, token_id, p in likeliest]
        answer = {"start_tokens": start, "top_k": rows, "generated": generated}
        if explained is not None:
            answer["explanation"] = as_json(explained)
        print(json.dumps(answer, ensure_ascii=False))
        return 0
    print(f"model      {run.meta['model_kind']}, vocabulary {run.vocab.vocab_size()}")
    context = start[max(len(start) - run.model.context_size, 0) :]
    print(f"context    {visible(run.tokenizer.join(context)) if context else '(none)'}")
    print("next       " + "\n           ".join(bars([(token, p) for token, _, p in likeliest])))
    print(f"generated  {run.tokenizer.join([*before, *generated[len(start) :]])}")
    if explained is not None:
        print(f"\n{as_text(explained)}")
    return 0


def _chat(args: argparse.Namespace) -> int:
    num, k = _at_least(0, args.num, "--num"), _at_least(1, args.topk, "--topk")
    return chat.chat(load_run(_artifacts_dir(args.base_dir)), _sampling(args), num, k)


def _ladder(args: argparse.Namespace) -> int:
    if args.corpus is None and (args.tokenizer, args.val_fraction) != ("word", 0.0):
        raise InputError(
            "--tokenizer and --val-fraction need --corpus: the manifest says them for the runs it declares"
        )
    return ladder.train_ladder(
        args.base_dir, args.corpus, args.tokenizer, args.bpe_vocab, args.val_fraction, args.models, args.workers
    )


def _tokenize(args: argparse.Namespace) -> int:
    tokenizer = tokenize_text.open_tokenizer(args.folder, args.tokenizer, args.corpus, args.vocab_size)
    text = args.text if args.file is None else read_text(args.file)
    print(tokenize_text.show_tokens(tokenizer, text, in_colour=sys.stdout.isatty()))
    if args.word is not None:
        print(tokenize_text.show_merges(tokenizer, args.word))
    if args.save is not None:
        tokenizer.save(args.save)
        print(f"written   to {args.save}")
    return 0


def _levels(args: argparse.Namespace) -> int:
    rows = [[level.code, level.kind, level.context_size, level.adds] for level in LEVELS]
    print(table(["code", "model", "context", "what it adds"], rows))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments after the program's name; those of this process by default.

    Returns:
        The exit code: 0 done, 1 a check found a difference, 2 bad input, 130 stopped by Ctrl-C.

    Example:
        >>> main(["levels"])  # doctest: +SKIP
        0
    """
    _tolerate_strange_text()
    try:
        code = _run(argv)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # WHY: whoever read our output has gone (| head); the interpreter must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(argv: Sequence[str] | None) -> int:
    """Run one command; whatever the user can cause becomes one line and an exit code."""
    try:
        args = build_parser().parse_args(argv)
        code: int = args.handler(args)
        return code
    except SystemExit as stop:  # argparse, and require_artifacts
        return stop.code if isinstance(stop.code, int) else 0
    except InputError as error:
        return _fail(str(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        print("\nstopped; nothing is half-written", file=sys.stderr)
        return 130


def _tolerate_strange_text() -> None:
    """Let the standard streams carry what a console cannot show, and read bytes that are no text.

    WHY: a token or a file name may have any character in it, and a person may type any byte.
    """
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _fail(message: str) -> int:
    print(f"toy-gpt: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def collect_rarely() -> None:
    """Let the collector of cycles run less often.

    WHY: training makes millions of small objects that live to the end and form no cycles; the collector would otherwise
    walk through all of them again and again.
    """
    gc.set_threshold(200_000, 50, 100)


def entry() -> NoReturn:
    """Run the process's own command line and exit with its code."""
    collect_rarely()
    raise SystemExit(main())
