"""overtake.py - When do networks overtake counting? The loss of three models by the length of the text they learn.

    uv run --extra torch python benchmarks/overtake.py

Kneser-Ney, the mixture and a small Llama learn stories of the story world, from 10,000 tokens to a million, and are all
measured on the same new stories. The network has the same size and the same number of steps each time, and PyTorch
computes it. It writes outputs/bench/overtake.csv and prints its lines; on another computer, the last digits of the
network's losses may differ.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import toy_gpt_train as tg
from measured import RESULTS, write_csv
from toy_gpt_train.cli.ladder import declared_runs
from toy_gpt_train.world.text import corpus_at, read_truth

SIZES = ("10k", "30k", "100k", "300k", "1m")
NEW_STORIES = "world:20k:7"
COLUMNS = ("tokens", "kneser-ney", "mixture", "llama", "floor")


def lines() -> Iterator[Sequence[object]]:
    """Yield the header, and a line for each length of the text."""
    yield COLUMNS
    (declared,) = (run for run in declared_runs(is_long=True) if run.entry.name == "llama")
    ways: dict[str, dict[str, Any]] = {
        "kneser-ney": {"context": 8},
        "mixture": {},
        "llama": {"engine": "torch", "device": "cpu", **declared.options},
    }
    new = corpus_at(Path(NEW_STORIES))
    surprises = [truth.surprise for truth in read_truth(new.text.split())]
    floor = sum(surprises) / len(surprises)
    for size in SIZES:
        corpus = corpus_at(Path(f"world:{size}"))
        losses = [tg.train(name, corpus, **way).score(new).loss for name, way in ways.items()]
        yield len(corpus.text.split()), *(f"{loss:.4f}" for loss in (*losses, floor))


def main() -> None:
    """Write the file."""
    write_csv(RESULTS / "overtake.csv", lines())


if __name__ == "__main__":
    main()
