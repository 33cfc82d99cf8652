"""bench_growth.py - How Kneser-Ney's time and memory grow with the text.

    uv run python benchmarks/bench_growth.py [--megabytes 1 3 10 30]

The text is the running interpreter's own library (toy-gpt data stdlib); characters, context 6, the last tenth held
out. Each size is a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

MODULE = [sys.executable, "-m", "toy_gpt_train"]
SETTINGS = ["--model", "kneser-ney", "--tokenizer", "char", "--context", "6", "--val-fraction", "0.1", "--json"]


def measure(megabytes: float, folder: Path) -> tuple[dict[str, float], float]:
    """Train on this much text; returns the figures and the peak memory of the process in MB."""
    corpus = folder / "library.txt"
    subprocess.run(
        [*MODULE, "data", "stdlib", "--out", str(corpus), "--megabytes", str(megabytes)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    command = [*MODULE, "train", *SETTINGS, "--corpus", str(corpus), "--base-dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    output = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{megabytes} MB ended with exit code {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return json.loads(output), usage.ru_maxrss * unit / 2**20


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
