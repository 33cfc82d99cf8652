"""bench_torch.py - The same networks computed by the standard library and by PyTorch, in one run.

    uv run --extra torch python benchmarks/bench_torch.py [--device cpu]

Trains the llama network of several shapes for a few steps on stories of the story world, with each engine: by one
process of the standard library, and by PyTorch in 32 bits on one core. Prints the tokens per second and their ratio,
and the difference between the first losses. Time is measured from the end of the first step. Then one network is
trained by one and by two processes that torchrun starts. A last table says, on paper, how long larger runs would take.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import torch

import toy_gpt_train as tg
from toy_gpt_train.corpus import Corpus
from toy_gpt_train.show import table
from toy_gpt_train.world.text import corpus_at

# Embedding, blocks, heads, window, batch, steps of the standard library, steps of PyTorch.
SHAPES = {
    "tiny": (16, 1, 2, 16, 4, 60, 300),
    "small": (32, 2, 4, 64, 8, 12, 200),
    "of the story world": (48, 2, 4, 64, 8, 8, 200),
    "large": (128, 4, 4, 64, 16, 1, 40),
}


def speed(corpus: Corpus, shape: tuple[int, ...], steps: int, **how: object) -> tuple[float, float, int]:
    """Train a new network; return the tokens per second after the first step, the first loss, and its weights."""
    width, blocks, heads, window, batch, *_ = shape
    times: list[float] = []
    losses: list[float] = []
    size = {"embedding_dim": width, "layers": blocks, "heads": heads, "context": window, "batch_size": batch}
    run = tg.train(
        "llama",
        corpus,
        steps=steps + 1,
        eval_every=1,
        progress=lambda *_: times.append(time.perf_counter()),
        on_record=lambda record: losses.append(record["avg_loss"]),
        **size,
        **how,
    )
    learned = times[: steps + 1]  # what follows is the scoring
    return steps * batch * window / (learned[-1] - learned[0]), losses[0], run.model.num_parameters()


# Of the network that several processes train: 64 windows of 64 tokens in a step.
SHARED: Final = ("--embedding-dim", "128", "--layers", "4", "--heads", "4", "--context", "64", "--batch-size", "64")
SHARED_STEPS: Final = 40
# Training computes about six numbers for each weight and token: a product and a sum forward, twice as many backward.
PER_WEIGHT: Final = 6
# Weights, tokens, cards, and the share of a card's 1e15 operations per second that training really gets.
ON_PAPER: Final = (
    (1e7, 2e8, 1, 0.3),
    (1e8, 2e9, 1, 0.4),
    (1e8, 2e9, 8, 0.4),
    (1e9, 2e10, 64, 0.35),
    (1e10, 2e11, 1024, 0.3),
)


def of_processes(corpus: Path, number: int) -> tuple[float, float]:
    """Train a network by so many processes; return the tokens per second, and the last loss."""
    with tempfile.TemporaryDirectory() as folder:
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(number)]
        how = ["--engine", "torch", "--device", "cpu", "--steps", str(SHARED_STEPS), "--eval-every", str(SHARED_STEPS)]
        command = [*launch, "-m", "toy_gpt_train", "train", "--model", "llama", "--corpus", str(corpus), *how, *SHARED]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
        done = subprocess.run(
            [*command, "--base-dir", folder], capture_output=True, text=True, env=environment, check=True
        )
        with Path(folder, "outputs", "train_log.csv").open(encoding="utf-8") as file:
            loss = float(list(csv.DictReader(file))[-1]["avg_loss"])
    speeds = [words.split(",")[-1].split()[0] for words in done.stderr.split("tokens/s")[:-1]]
    return float(speeds[-1]), loss


def paper() -> list[list[str]]:
    """Return how long larger training runs would take."""
    rows = []
    for weights, tokens, cards, share in ON_PAPER:
        operations = PER_WEIGHT * weights * tokens
        hours = operations / (1e15 * share * cards) / 3600
        rows.append([f"{weights:.0e}", f"{tokens:.0e}", f"{cards:,}", f"{operations:.0e}", f"{hours:,.2f}"])
    return rows


def main() -> None:
    """Print one line for each shape, each number of processes, and each run on paper."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="where PyTorch computes (default: %(default)s)")
    device = parser.parse_args().device
    torch.set_num_threads(1)
    corpus = corpus_at(Path("world:1k"))  # WHY short: each run ends with a scoring
    rows = []
    for name, shape in SHAPES.items():
        slow, our_loss, weights = speed(corpus, shape, shape[-2])
        fast, their_loss, _ = speed(corpus, shape, shape[-1], engine="torch", device=device)
        ratio, difference = f"{fast / slow:.0f}", f"{abs(our_loss - their_loss):.1e}"
        rows.append([name, f"{weights:,}", f"{slow:,.0f}", f"{fast:,.0f}", ratio, difference])
    columns = ["network", "weights", "standard library", f"PyTorch, {device}", "ratio", "first losses differ by"]
    print(f"tokens per second, one core\n{table(columns, rows)}\n")
    one, two = (of_processes(Path("world:20k"), number) for number in (1, 2))
    rows = [[str(n), f"{s:,.0f}", f"{s / one[0]:.2f}", f"{loss:.6f}"] for n, (s, loss) in ((1, one), (2, two))]
    print(f"processes of one core each\n{table(['processes', 'tokens/s', 'ratio', 'loss'], rows)}\n")
    columns = ["weights", "tokens", "cards", "operations", "hours"]
    print(f"on paper, not measured\n{table(columns, paper())}")


if __name__ == "__main__":
    main()
