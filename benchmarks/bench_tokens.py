"""bench_tokens.py - Training from a large file of token ids: the memory it takes, and the time until the first step.

    uv run python benchmarks/bench_tokens.py [--millions 25]

The ids are drawn at random and written to a temporary folder. Each run is a process of its own; its peak memory has the
pages of the file that were looked at, which the system may take back at any time. Seconds are those of the processor.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from array import array
from pathlib import Path
from typing import Any

import toy_gpt_train as tg
from toy_gpt_train.tokenizers.word import WordTokenizer

VOCAB_SIZE = 512
STEPS = 50
MEGABYTE = 2**20 if sys.platform == "darwin" else 2**10  # in the unit of ru_maxrss


def write_ids(path: Path, millions: int) -> None:
    """Write so many million ids of 16 bits, small ones more often, as in a text."""
    draw = random.Random(0)
    weights = [1 / (rank + 2) for rank in range(VOCAB_SIZE)]
    with path.open("wb") as file:
        for _ in range(millions):
            file.write(array("H", draw.choices(range(VOCAB_SIZE), weights, k=1_000_000)))


def train(model: str, tokens: Path | None, tokenizer: Path, options: dict[str, Any]) -> dict[str, float]:
    """Train in this process; return its peak memory in MB, and when the first and the last step ended."""
    begun = time.process_time()
    first = last = 0.0
    started = False

    def start(job: Any) -> None:
        nonlocal started
        started = True

    def watch(fraction: float, status: str) -> None:
        nonlocal first
        if started and not first:
            first = time.process_time() - begun

    def record(line: Any) -> None:
        nonlocal last
        last = time.process_time() - begun

    if tokens is not None:
        tg.train(model, tokens=tokens, tokenizer=tokenizer, progress=watch, on_start=start, on_record=record, **options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE
    return {"peak": peak, "first": first, "last": last}


def measure(model: str, tokens: Path | None, tokenizer: Path, **options: Any) -> dict[str, float]:
    """Do train() in a process of its own."""
    work = json.dumps([model, tokens and str(tokens), str(tokenizer), options])
    done = subprocess.run([sys.executable, __file__, "--work", work], capture_output=True, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=int, default=25, help="ids of the large file")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        model, tokens, tokenizer, options = json.loads(args.work)
        print(json.dumps(train(model, tokens and Path(tokens), Path(tokenizer), options)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        WordTokenizer(f"w{number:03}" for number in range(VOCAB_SIZE)).save(folder / "words")
        network = {"size": "tiny", "steps": STEPS, "eval_every": STEPS}
        empty = measure("gpt", None, folder / "words")["peak"]
        print(f"the interpreter alone: {empty:.0f} MB of memory")
        print(
            f"a list of {args.millions} million ids: {args.millions * 8e6 / 2**20:.0f} MB, and more for its numbers\n"
        )
        print("model       million ids  file MB  peak MB  over the interpreter  s until step 1  then tokens/s")
        for model, millions, options in (
            ("gpt", 1, network),
            ("gpt", args.millions, network),
            ("bigram", 1, {"epochs": 1}),
            ("bigram", 2, {"epochs": 1}),
            ("kneser-ney", 1, {"context": 2}),
            ("kneser-ney", 2, {"context": 2}),
        ):
            path = folder / f"{millions}.bin"
            if not path.exists():
                write_ids(path, millions)
            found = measure(model, path, folder / "words", **options)
            row = f"{model:11} {millions:11} {path.stat().st_size / 2**20:8.0f} {found['peak']:8.0f}"
            row += f" {found['peak'] - empty:21.0f}"
            if model == "gpt":
                tokens = tg.train("gpt", text="a b " * 99, size="tiny", steps=1).meta["training"]
                speed = (STEPS - 1) * tokens["batch_size"] * tokens["context"] / (found["last"] - found["first"])
                row += f" {found['first']:15.1f} {speed:14.0f}"
            print(row, flush=True)


if __name__ == "__main__":
    main()
