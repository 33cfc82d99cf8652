"""ten_minutes.py - What does a network know of the story world after ten minutes with PyTorch?

    uv run --extra torch python benchmarks/ten_minutes.py [--threads 2]

Trains the network of ``--preset world-large``. Prints a CSV line and writes it to outputs/bench/ten_minutes.csv.
``closed`` is the share of the way from Kneser-Ney, which has read the same text, to the true entropy, which no model
can beat.
"""

import argparse
import time
import tomllib
from collections.abc import Iterator

import torch

import toy_gpt_train as tg
from measured import RESULTS, write_csv
from toy_gpt_train.cli.config import PRESETS

CONTEXT = 8  # tokens, of Kneser-Ney: as on the pages about the world


def lines() -> Iterator[list[object]]:
    """Train the network, and Kneser-Ney; yield the lines of the file."""
    settings = tomllib.loads((PRESETS / "world-large.toml").read_text("utf-8"))
    model, corpus, steps = settings.pop("model"), settings.pop("corpus"), settings["steps"]
    yield ["corpus", "weights", "steps", "seconds", "train_loss", "loss", "kneser_ney", "floor", "closed"]
    times: list[float] = []
    run = tg.train(model, corpus, **settings, progress=lambda *_: times.append(time.perf_counter()))
    seconds = times[steps - 1] - times[0]
    counting = tg.train("kneser-ney", corpus, context=CONTEXT, val_fraction=settings["val_fraction"])
    train_loss, loss = (run.meta["metrics"][name] for name in ("train_loss", "val_loss"))
    best, floor = counting.meta["metrics"]["val_loss"], run.true_entropy
    assert floor is not None  # the text is of the story world
    closed = (best - loss) / (best - floor)
    losses = [f"{number:.6f}" for number in (train_loss, loss, best, floor, closed)]
    yield [corpus, run.model.num_parameters(), steps, f"{seconds:.0f}", *losses]


def main() -> None:
    """Print and write the lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch (default: %(default)s)")
    torch.set_num_threads(parser.parse_args().threads)
    write_csv(RESULTS / "ten_minutes.csv", lines())


if __name__ == "__main__":
    main()
