"""bench_counts.py - Kneser-Ney and the mixture on a real text: training, scoring, memory, and loading.

    uv run python benchmarks/bench_counts.py FILE

Characters, the last tenth held out, each model with its own defaults. Training and evaluation are one process, and
loading is another. All times are processor time, so that other programs change them less.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import toy_gpt_train as tg
from toy_gpt_train.models.scores import summarize

MODELS = ["kneser-ney", "mixture"]
VAL_FRACTION = 0.1


def measure(name: str, file: Path, base: Path) -> dict[str, float]:
    """Train a model on a text, save it, and score the held-out part."""
    begin = time.process_time()
    # WHY after each record: the last one comes when all is learned; what follows is evaluation.
    learned = [begin]
    run = tg.train(name, file, tokenizer="char", val_fraction=VAL_FRACTION, on_record=lambda _: learned.append(now()))
    run.save(base)
    ids = run.tokenizer.encode(file.read_text(encoding="utf-8"))
    start = len(ids) - int(len(ids) * VAL_FRACTION)
    scored = now()
    scores = summarize(zip(run.model.score(ids, start), ids[start:], strict=True))
    return {
        "loss": scores.loss,
        "train": learned[-1] - begin,
        "speed": scores.num_tokens / (now() - scored),
        "peak": peak(),
        "parameters": run.model.num_parameters(),
    }


def measure_loading(base: Path) -> dict[str, float]:
    """Load a saved model."""
    begin = now()
    tg.load(base)
    return {"load": now() - begin, "load_peak": peak()}


def now() -> float:
    """Return the processor time of this process."""
    return time.process_time()


def peak() -> float:
    """Return the peak memory of this process in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="a UTF-8 text, for example Tiny Shakespeare")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        name, base = args.part
        print(json.dumps(measure(name, args.file, Path(base)) if name in MODELS else measure_loading(Path(base))))
        return
    print(f"{args.file.name}, characters, last tenth held out")
    print("model        val loss  train s  tokens/s  peak MB  counts and more    MB on disk  load s  peak MB")
    for name in MODELS:
        with tempfile.TemporaryDirectory() as base:
            found: dict[str, float] = {}
            for part in (name, "load"):
                command = [sys.executable, __file__, str(args.file), "--part", part, base]
                found |= json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            size = sum(path.stat().st_size for path in Path(base, "artifacts").iterdir()) / 1e6
        print(
            f"{name:11} {found['loss']:9.4f} {found['train']:8.1f} {found['speed']:9.0f} {found['peak']:8.0f} "
            f"{found['parameters']:16.0f} {size:13.1f} {found['load']:7.2f} {found['load_peak']:8.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
