"""bench_mixing.py - Context mixing on a real text, static and online, beside Kneser-Ney and the mixture.

    uv run python benchmarks/bench_mixing.py FILE [--models context-mixing]

FILE is split into characters; its last tenth is held out and scored once: by the model as it is after training
(static), and by one that learns each token after scoring it (online). Losses are in nats per character. A process of
its own trains and scores each model. "user s" is the processor time of training and both evaluations, "peak MB" the
most memory that the process had.
"""

import argparse
import resource
import subprocess
import sys
from pathlib import Path

import toy_gpt_train as tg
from toy_gpt_train.errors import InputError
from toy_gpt_train.models.scores import summarize

MODELS = ("kneser-ney", "mixture", "context-mixing")
HEADER = ("model", "static", "online", "user s", "peak MB")


def measured(model: str, path: Path) -> str:
    """Train a model; return its line of the table."""
    text = path.read_text("utf-8")
    run = tg.train(model, text=text, tokenizer="char", val_fraction=0.1)
    ids = run.tokenizer.encode(text)
    start = sum(run.frequencies)
    assert run.held_out is not None
    try:
        learner = run.model.learner()
        online = f"{summarize(zip(learner.score(ids, start), ids[start:], strict=True)).loss:.4f}"
    except InputError:
        online = "-"
    used = resource.getrusage(resource.RUSAGE_SELF)
    return line(model, f"{run.held_out.loss:.4f}", online, f"{used.ru_utime:.0f}", f"{used.ru_maxrss / 1024:.0f}")


def line(*cells: str) -> str:
    """Return a line of the table."""
    return f"{cells[0]:16}" + "".join(f"{cell:>10}" for cell in cells[1:])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--one", choices=MODELS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(measured(args.one, args.file), flush=True)
        return
    print(f"{args.file.name}, characters, last tenth held out\n{line(*HEADER)}", flush=True)
    for model in args.models:
        subprocess.run([sys.executable, __file__, str(args.file), "--one", model], check=True)


if __name__ == "__main__":
    main()
