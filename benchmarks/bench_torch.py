"""bench_torch.py - The same networks computed by the standard library and by PyTorch, in one run.

    uv run --extra torch python benchmarks/bench_torch.py [--device cpu]

Trains the llama network of several shapes for a few steps on stories of the story world, with each engine: by two
processes of the standard library, and by PyTorch in 32 bits. Prints the tokens per second and their ratio, and the
difference between the first losses. Time is measured from the end of the first step.
"""

import argparse
import time
from pathlib import Path

import toy_gpt_train as tg
from toy_gpt_train.corpus import Corpus
from toy_gpt_train.show import table
from toy_gpt_train.world.text import corpus_at

# Embedding, blocks, heads, window, batch, steps of the standard library, steps of PyTorch.
SHAPES = {
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


def main() -> None:
    """Print one line for each shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="where PyTorch computes (default: %(default)s)")
    device = parser.parse_args().device
    corpus = corpus_at(Path("world:1k"))  # WHY short: each run ends with a scoring
    rows = []
    for name, shape in SHAPES.items():
        slow, our_loss, weights = speed(corpus, shape, shape[-2], workers=2)
        fast, their_loss, _ = speed(corpus, shape, shape[-1], engine="torch", device=device)
        ratio, difference = f"{fast / slow:.0f}", f"{abs(our_loss - their_loss):.1e}"
        rows.append([name, f"{weights:,}", f"{slow:,.0f}", f"{fast:,.0f}", ratio, difference])
    print(
        table(["network", "weights", "standard library", f"PyTorch, {device}", "ratio", "first losses differ by"], rows)
    )


if __name__ == "__main__":
    main()
