"""bench_text.py - Every counting model on a real text, characters, the last tenth held out.

    uv run python benchmarks/bench_text.py FILE [--models kneser-ney mixture]

Each model is trained and evaluated by ``toy-gpt train --json`` in its own process. The tables of longer contexts learn
by gradient descent for a few epochs; the others learn in one pass.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from measured import run_json

# REQ: the models' own defaults, except for the context length and, for most tables, fewer epochs: one epoch is a
# million steps, one per character.
MODELS = {
    "unigram": [],
    "bigram": [],
    "context-2": ["--epochs", "3"],
    "context-3": ["--epochs", "3"],
    "context-5": ["--epochs", "3"],
    "kneser-ney": ["--context", "6"],
    "mixture": [],
}


def run(name: str, file: Path) -> tuple[dict[str, Any], float]:
    """Train and evaluate one model; returns its figures and the peak memory of its process in MB."""
    with tempfile.TemporaryDirectory() as folder:
        settings = ["--tokenizer", "char", "--val-fraction", "0.1", "--corpus", str(file), "--base-dir", folder]
        return run_json("train", "--model", name, *MODELS[name], *settings)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="a UTF-8 text, for example Tiny Shakespeare")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="which models (default: all)")
    args = parser.parse_args()
    print(f"{args.file.name}, characters, last tenth held out")
    print("model        val loss  bits/byte  train s  eval s  eval tokens/s  peak MB")
    for name in args.models:
        figures, peak = run(name, args.file)
        speed = figures["tokens"] / max(figures["evaluate_seconds"], 1e-3)
        print(
            f"{name:11} {figures['val_loss']:9.4f} {figures['bits_per_byte']:10.4f} {figures['train_seconds']:8.1f} "
            f"{figures['evaluate_seconds']:7.1f} {speed:14.0f} {peak:8.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
