"""ten_minutes.py - What does a network know of the story world after ten minutes with PyTorch? AdamW and Muon.

    uv run --extra torch python benchmarks/ten_minutes.py [--threads 2]

Trains the network of ``--preset world-large`` with Muon, and then with AdamW, whose steps are cheaper: it gets a fifth
more of them. Prints a CSV line for each and writes them to outputs/bench/ten_minutes.csv.
``closed`` is the share of the way from Kneser-Ney, which has read the same text, to the true entropy, which no model
can beat; outputs/bench/story_world.csv has both.
"""

import argparse
import csv
import time
import tomllib
from collections.abc import Iterator

import torch

import toy_gpt_train as tg
from measured import RESULTS, write_csv
from toy_gpt_train.cli.config import PRESETS

STEPS = {"muon": 1.0, "adamw": 1.2}  # of the preset's


def lines() -> Iterator[list[object]]:
    """Train with each optimizer; yield the lines of the file."""
    settings = tomllib.loads((PRESETS / "world-large.toml").read_text("utf-8"))
    model, corpus = settings.pop("model"), settings.pop("corpus")
    with (RESULTS / "story_world.csv").open(encoding="utf-8") as file:
        (counting,) = (row for row in csv.DictReader(file) if row["model"] == "kneser-ney")
    best, floor = float(counting["loss"]), float(counting["floor"])
    yield ["optimizer", "weights", "steps", "seconds", "train_loss", "loss", "kneser_ney", "floor", "closed"]
    for optimizer, share in STEPS.items():
        steps = int(share * settings["steps"])
        times: list[float] = []
        run = tg.train(
            model,
            corpus,
            **settings | {"optimizer": optimizer, "steps": steps},
            progress=lambda *_, times=times: times.append(time.perf_counter()),
        )
        seconds = times[steps - 1] - times[0]
        train_loss, loss = (run.meta["metrics"][name] for name in ("train_loss", "val_loss"))
        closed = (best - loss) / (best - floor)
        losses = [f"{number:.6f}" for number in (train_loss, loss, best, floor, closed)]
        yield [optimizer, run.model.num_parameters(), steps, f"{seconds:.0f}", *losses]


def main() -> None:
    """Print and write the lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch (default: %(default)s)")
    torch.set_num_threads(parser.parse_args().threads)
    write_csv(RESULTS / "ten_minutes.csv", lines())


if __name__ == "__main__":
    main()
