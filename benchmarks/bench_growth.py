"""bench_growth.py - How Kneser-Ney's time and memory grow with the text.

    uv run python benchmarks/bench_growth.py [--megabytes 1 3 10 30]

The text is the running interpreter's own library (toy-gpt data stdlib); characters, context 6, the last tenth held
out. Each size is a process of its own.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from measured import run_json
from toy_gpt_train.data.stdlib import collect_stdlib

SETTINGS = ["--model", "kneser-ney", "--tokenizer", "char", "--context", "6", "--val-fraction", "0.1"]


def measure(megabytes: float, folder: Path) -> tuple[dict[str, Any], float]:
    """Train on this much text; returns the figures and the peak memory of the process in MB."""
    corpus = folder / "library.txt"
    collect_stdlib(corpus, megabytes)
    return run_json("train", *SETTINGS, "--corpus", str(corpus), "--base-dir", str(folder))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", nargs="+", type=float, default=[1, 3, 10, 30], help="text sizes")
    args = parser.parse_args()
    print(" text MB  train s  s a MB  eval tokens/s  peak MB      grams  val loss")
    for megabytes in args.megabytes:
        with tempfile.TemporaryDirectory() as folder:
            figures, peak = measure(megabytes, Path(folder))
        speed = figures["tokens"] / figures["evaluate_seconds"]
        print(
            f"{megabytes:8g} {figures['train_seconds']:8.1f} {figures['train_seconds'] / megabytes:7.2f} {speed:14.0f} "
            f"{peak:8.0f} {figures['parameters']:10} {figures['val_loss']:9.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
