"""evaluate.py - ``toy-gpt evaluate``: score a text with a trained model."""

import argparse
import json
from pathlib import Path
from typing import Final

from toy_gpt_train.cli.arguments import add_run, load_run
from toy_gpt_train.cli.oracle import oracle_figures, oracle_tables, truth_of
from toy_gpt_train.cli.report import figures, figures_table
from toy_gpt_train.show import say
from toy_gpt_train.world.text import corpus_at

HELP: Final = "score a text with a trained model: loss, perplexity, bits per byte"
LESSON: Final = """The loss is the average surprise in nats per token: 0 for a model that is always sure and right.
Perplexity is exp(loss): a choice among that many equally likely tokens is just as surprising. Bits per byte compares
models that cut the text differently. Score a text that the model has not seen: it may know its own by heart.

With --online the model keeps learning: it scores each token, and then learns it. The loss is still honest, because no
token is learned before it is scored. But it is a different loss: that of a model that gets used to the text.

examples:
  toy-gpt evaluate --base-dir my_run --text other.txt
  toy-gpt evaluate --base-dir my_run --text other.txt --unknown uniform
  toy-gpt evaluate --base-dir my_mixing --text other.txt --online
  toy-gpt evaluate --base-dir my_run --text world:10k:7 --oracle"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt evaluate``."""
    add_run(parser)
    parser.add_argument("--text", type=Path, required=True, metavar="FILE", help="the text to score, every token of it")
    meaning = "tokens outside the vocabulary: refuse (default), leave out, or give each the probability 1/V"
    parser.add_argument("--unknown", choices=("error", "skip", "uniform"), default="error", help=meaning)
    meaning = "let the model learn from each token after scoring it; only context-mixing can"
    parser.add_argument("--online", action="store_true", help=meaning)
    meaning = "for a text of the story world: compare with its true entropy, by kind of knowledge and by distance"
    parser.add_argument("--oracle", action="store_true", help=meaning)
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    parser.set_defaults(handler=_evaluate)


def _evaluate(args: argparse.Namespace) -> int:
    loaded = load_run(args)
    corpus = corpus_at(args.text)
    truth = truth_of(loaded, corpus, args.unknown) if args.oracle else []
    surprises: list[float] = []
    how = {"unknown": args.unknown, "online": args.online}
    evaluation = loaded.score(corpus, **how, progress=True, surprises=surprises)
    if args.json:
        more = {"online": args.online} | (oracle_figures(truth, surprises) if args.oracle else {})
        say(json.dumps(figures(loaded, evaluation) | more))
        return 0
    say(figures_table(loaded, evaluation, corpus.name, online=args.online))
    if args.oracle:
        say("\n" + oracle_tables(truth, surprises))
    return 0
