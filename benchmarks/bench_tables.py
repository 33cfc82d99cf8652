"""bench_tables.py - The course's textbook trainer beside the package's fast one, in one run.

    uv run python benchmarks/bench_tables.py [FILE]

Four measurements, each in a process of its own, so that peak memory is its own:

1. The course's train_model: a row of V weights for each context that the text has, softmax over the whole row,
   one loop over all V weights for each update. V = 119, 293 tokens, N = 3, 50 epochs.
2. NGramTable on the same text. The two must agree on every epoch's loss.
3. NGramTable on a real text (FILE; Tiny Shakespeare, say): words, N = 3, 50 epochs.
4. A long row: the unigram of FILE's first characters, where each step changes every cell. descend() goes from weights
   to weights, descend_in_products() stays with exp(weight).
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toy_gpt_train.b_vocab import Vocabulary
from toy_gpt_train.c_model import SimpleNextTokenModel
from toy_gpt_train.d_train import make_training_pairs, train_model
from toy_gpt_train.models.base import Text
from toy_gpt_train.models.ngram_table import NGramTable
from toy_gpt_train.training.tables import TableSettings, descend, descend_in_products, row_task

LONG_ROW = 400 * 256  # characters; a multiple of the trainer's blocks
VOCAB_SIZE, NUM_TOKENS, CONTEXT_SIZE, EPOCHS, LEARNING_RATE = 119, 293, 3, 50, 0.1


def small_text() -> list[int]:
    """Return 293 token ids in which all 119 tokens occur; the same every time."""
    generator = random.Random(0)
    token_ids = [*range(VOCAB_SIZE), *generator.choices(range(VOCAB_SIZE), k=NUM_TOKENS - VOCAB_SIZE)]
    generator.shuffle(token_ids)
    return token_ids


def train_textbook(token_ids: list[int], vocab_size: int) -> list[float]:
    """Train the course's table; return the average loss of each epoch."""
    pairs = make_training_pairs(token_ids, CONTEXT_SIZE)
    history = train_model(SimpleNextTokenModel(vocab_size, CONTEXT_SIZE), pairs, LEARNING_RATE, EPOCHS)
    return [record["avg_loss"] for record in history]


def train_package(token_ids: list[int], tokens: list[str]) -> list[float]:
    """Train the package's table; return the average loss of each epoch."""
    model = NGramTable(len(tokens), CONTEXT_SIZE)
    text = Text(token_ids, len(token_ids), tokens)
    return [record["avg_loss"] for record in model.fit(text, TableSettings(EPOCHS, LEARNING_RATE))]


def measure(work: Callable[[], list[float]]) -> None:
    """Run ``work`` and print its losses, seconds of processor time and the peak memory of this process as JSON."""
    start = time.process_time()
    losses = work()
    seconds = time.process_time() - start
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    print(json.dumps({"seconds": seconds, "peak_mb": peak, "losses": losses}))


def read_text(file: Path) -> tuple[list[int], list[str]]:
    """Return the words of a text as ids, and its vocabulary by id."""
    words = file.read_text(encoding="utf-8").split()
    return Vocabulary(words).encode(words), sorted(set(words))


def run_part(part: str, file: Path | None) -> None:
    """Do one measurement in this process."""
    token_ids, tokens = read_text(file) if file else (small_text(), list(map(str, range(VOCAB_SIZE))))
    if part == "textbook":
        measure(lambda: train_textbook(token_ids, len(tokens)))
    elif part == "package":
        measure(lambda: train_package(token_ids, tokens))
    elif part == "long-row":
        print(json.dumps(time_long_row(file.read_text(encoding="utf-8") if file else "")))
    else:
        print(json.dumps(count_patterns(token_ids, len(tokens))))


def count_patterns(token_ids: list[int], vocab_size: int) -> tuple[int, int]:
    """Return how many contexts a text has, and how many different patterns of next tokens, each trained once."""
    pairs = make_training_pairs(token_ids, CONTEXT_SIZE)
    contexts_of = NGramTable(vocab_size, CONTEXT_SIZE).rows_by_task(pairs)
    return sum(map(len, contexts_of.values())), len(contexts_of)


def time_long_row(text: str) -> tuple[int, list[float], float]:
    """Train the unigram's row; return V, the microseconds per step of both ways, and their largest difference."""
    tokens = sorted(set(text))
    task, _ = row_task({}, 0.0, Vocabulary(list(text)).encode(list(text[:LONG_ROW])), len(tokens))
    ways = [descend, descend_in_products]
    rows = [list(task.weights) for _ in ways]
    seconds = [0.0, 0.0]
    for start in range(0, len(task.targets), 256):
        for number, way in enumerate(ways):
            begin = time.process_time()
            rows[number], _, _ = way(rows[number], task.targets[start : start + 256], task, LEARNING_RATE)
            seconds[number] += time.process_time() - begin
    difference = max(abs(a - b) for a, b in zip(*rows, strict=True))
    return len(tokens), [1e6 * spent / len(task.targets) for spent in seconds], difference


def in_process(part: str, file: Path | None = None) -> Any:
    """Do one measurement in a process of its own."""
    command = [sys.executable, __file__, "--part", part, *([str(file)] if file else [])]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, help="a real text for the third measurement")
    parser.add_argument("--part", choices=("textbook", "package", "patterns", "long-row"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        run_part(args.part, args.file)
        return

    print(f"V = {VOCAB_SIZE}, {NUM_TOKENS} tokens, N = {CONTEXT_SIZE}, {EPOCHS} epochs")
    textbook, package = in_process("textbook"), in_process("package")
    difference = max(abs(a - b) for a, b in zip(textbook["losses"], package["losses"], strict=True))
    print(f"{'':10} {'seconds':>10} {'peak MB':>10}")
    for name, result in (("textbook", textbook), ("package", package)):
        print(f"{name:10} {result['seconds']:10.4f} {result['peak_mb']:10.1f}")
    time_ratio = textbook["seconds"] / package["seconds"]
    memory_ratio = textbook["peak_mb"] / package["peak_mb"]
    print(f"{'ratio':10} {time_ratio:10.0f} {memory_ratio:10.1f}")
    print(f"largest difference of an epoch's loss: {difference:.1e}")
    if args.file:
        text = in_process("package", args.file)
        print(f"\n{args.file.name}, words, N = {CONTEXT_SIZE}, {EPOCHS} epochs")
        print(f"{'package':10} {text['seconds']:10.2f} {text['peak_mb']:10.1f}")
        contexts, patterns = in_process("patterns", args.file)
        print(f"{contexts} contexts, {patterns} different patterns of the tokens that follow them")
        vocab_size, (plain, products), difference = in_process("long-row", args.file)
        print(f"\n{args.file.name}, characters, one row: {LONG_ROW} steps of {vocab_size} cells")
        print(f"{'weights':10} {plain:10.2f} microseconds per step")
        print(f"{'products':10} {products:10.2f} microseconds per step")
        print(f"largest difference of a weight: {difference:.1e}")


if __name__ == "__main__":
    main()
