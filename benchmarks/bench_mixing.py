"""bench_mixing.py - Context mixing on a real text, static and online, beside Kneser-Ney and the mixture.

    uv run python benchmarks/bench_mixing.py FILE [--models context-mixing]
    uv run python benchmarks/bench_mixing.py --pieces

FILE is split into characters; its last tenth is held out and scored once: by the model as it is after training
(static), and by one that learns each token after scoring it (online). Losses are in nats per character. Each model has
its default context. A process of its own trains and scores each model. "user s" is the processor time of training and
both evaluations, "peak MB" the most memory that the process had.

--pieces needs no file. It trains on the stories and scores another text, the glossary, both ways. It writes the loss of
each thousand characters to outputs/bench/mixing_pieces.csv, which a chart of the lesson shows.
"""

import argparse
import resource
import subprocess
import sys
from math import fsum
from pathlib import Path

import toy_gpt_train as tg
from toy_gpt_train.project import RESOURCE_ROOT

MODELS = ("kneser-ney", "mixture", "context-mixing")
PIECE = 1000  # characters
HEADER = ("model", "static", "online", "user s", "peak MB")


def measured(model: str, path: Path) -> str:
    """Train a model; return its line of the table."""
    run = tg.train(model, text=path.read_text("utf-8"), tokenizer="char", val_fraction=0.1)
    metrics = run.meta["metrics"]
    static, online = (f"{metrics[name]:.4f}" if name in metrics else "-" for name in ("val_loss", "val_loss_online"))
    used = resource.getrusage(resource.RUSAGE_SELF)
    return line(model, static, online, f"{used.ru_utime:.0f}", f"{used.ru_maxrss / 1024:.0f}")


def write_pieces() -> None:
    """Write the static and the online loss on another text, piece by piece."""
    run = tg.train("context-mixing", RESOURCE_ROOT / "corpus" / "030_stories.txt", tokenizer="char")
    losses = []
    for online in (False, True):
        surprises: list[float] = []
        run.score(RESOURCE_ROOT / "corpus" / "010_llm_glossary.txt", unknown="skip", online=online, surprises=surprises)
        losses.append([fsum(surprises[i : i + PIECE]) / PIECE for i in range(0, len(surprises) - PIECE + 1, PIECE)])
    lines = [
        f"{i * PIECE},{static:.4f},{online:.4f}\n"
        for i, (static, online) in enumerate(zip(*losses, strict=True), start=1)
    ]
    path = RESOURCE_ROOT / "outputs" / "bench" / "mixing_pieces.csv"
    path.write_text("characters,static,online\n" + "".join(lines), "utf-8")


def line(*cells: str) -> str:
    """Return a line of the table."""
    return f"{cells[0]:16}" + "".join(f"{cell:>10}" for cell in cells[1:])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--pieces", action="store_true", help="write mixing_pieces.csv instead")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--one", choices=MODELS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.pieces:
        write_pieces()
        return
    if args.one:
        print(measured(args.one, args.file), flush=True)
        return
    if args.file is None:
        parser.error("give a text file, or --pieces")
    print(f"{args.file.name}, characters, last tenth held out\n{line(*HEADER)}", flush=True)
    for model in args.models:
        subprocess.run([sys.executable, __file__, str(args.file), "--one", model], check=True)


if __name__ == "__main__":
    main()
