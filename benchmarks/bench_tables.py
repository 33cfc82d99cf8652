"""bench_tables.py - The table trainer beside a textbook dense one, in one run.

    uv run python benchmarks/bench_tables.py [FILE]

Three measurements, each in a process of its own, so that peak memory is its own:

1. A dense trainer, written here as a textbook has it: V to the N rows of V weights, softmax over the whole row,
   one loop over all V weights for each update. V = 119, 293 tokens, N = 3, 50 epochs.
2. The project's trainer on the same pairs. The two must agree on every epoch's loss.
3. The project's trainer on a real text (FILE; Tiny Shakespeare, say): words, N = 3, 50 epochs.
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
from toy_gpt_train.c_model import ZERO_ROW, Context, Pair, SimpleNextTokenModel
from toy_gpt_train.d_train import make_training_pairs, row_task, train_model
from toy_gpt_train.math_training import argmax, cross_entropy_loss, softmax

VOCAB_SIZE, NUM_TOKENS, CONTEXT_SIZE, EPOCHS, LEARNING_RATE = 119, 293, 3, 50, 0.1


def small_text() -> list[int]:
    """Return 293 token ids in which all 119 tokens occur; the same every time."""
    generator = random.Random(0)
    token_ids = [*range(VOCAB_SIZE), *generator.choices(range(VOCAB_SIZE), k=NUM_TOKENS - VOCAB_SIZE)]
    generator.shuffle(token_ids)
    return token_ids


def train_dense(pairs: list[Pair]) -> list[float]:
    """Build the whole table and train it by the textbook; returns the average loss of each epoch."""
    table = [[0.0] * VOCAB_SIZE for _ in range(VOCAB_SIZE**CONTEXT_SIZE)]
    losses = []
    for _ in range(EPOCHS):
        total_loss = 0.0
        correct = 0
        for context_ids, target_id in pairs:
            row_index = 0
            for token_id in context_ids:
                row_index = row_index * VOCAB_SIZE + token_id
            row = table[row_index]
            probs = softmax(row)
            total_loss += cross_entropy_loss(probs, target_id)
            correct += argmax(probs) == target_id
            for j in range(VOCAB_SIZE):
                gradient = probs[j] - (1.0 if j == target_id else 0.0)
                row[j] -= LEARNING_RATE * gradient
        losses.append(total_loss / len(pairs))
    return losses


def train_project(pairs: list[Pair], vocab_size: int) -> list[float]:
    """Train the project's table; returns the average loss of each epoch."""
    model = SimpleNextTokenModel(vocab_size, CONTEXT_SIZE)
    return [record["avg_loss"] for record in train_model(model, pairs, LEARNING_RATE, EPOCHS)]


def measure(work: Callable[[], list[float]]) -> None:
    """Run ``work`` and print its losses, seconds and the peak memory of this process as JSON."""
    start = time.perf_counter()
    losses = work()
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    print(json.dumps({"seconds": seconds, "peak_mb": peak, "losses": losses}))


def run_part(part: str, file: Path | None) -> None:
    """Do one measurement in this process."""
    if part == "text" and file is not None:
        tokens = file.read_text(encoding="utf-8").split()
        vocab = Vocabulary(tokens)
        pairs = make_training_pairs(vocab.encode(tokens), CONTEXT_SIZE)
        measure(lambda: train_project(pairs, vocab.vocab_size()))
        return
    if part == "patterns" and file is not None:
        print(json.dumps(count_patterns(file)))
        return
    pairs = make_training_pairs(small_text(), CONTEXT_SIZE)
    measure(lambda: train_dense(pairs) if part == "dense" else train_project(pairs, VOCAB_SIZE))


def count_patterns(file: Path) -> tuple[int, int]:
    """Return how many contexts a text has, and how many different patterns of targets among them."""
    tokens = file.read_text(encoding="utf-8").split()
    vocab = Vocabulary(tokens)
    targets_of: dict[Context, list[int]] = {}
    for context_ids, target_id in make_training_pairs(vocab.encode(tokens), CONTEXT_SIZE):
        targets_of.setdefault(context_ids, []).append(target_id)
    return len(targets_of), len({row_task(ZERO_ROW, t, vocab.vocab_size())[0] for t in targets_of.values()})


def in_process(part: str, file: Path | None = None) -> Any:
    """Do one measurement in a process of its own."""
    command = [sys.executable, __file__, "--part", part, *([str(file)] if file else [])]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, help="a real text for the third measurement")
    parser.add_argument("--part", choices=("dense", "project", "text", "patterns"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        run_part(args.part, args.file)
        return

    print(f"V = {VOCAB_SIZE}, {NUM_TOKENS} tokens, N = {CONTEXT_SIZE}, {EPOCHS} epochs")
    dense, project = in_process("dense"), in_process("project")
    difference = max(abs(a - b) for a, b in zip(dense["losses"], project["losses"], strict=True))
    print(f"{'':10} {'seconds':>10} {'peak MB':>10}")
    for name, result in (("textbook", dense), ("project", project)):
        print(f"{name:10} {result['seconds']:10.4f} {result['peak_mb']:10.1f}")
    time_ratio = dense["seconds"] / project["seconds"]
    memory_ratio = dense["peak_mb"] / project["peak_mb"]
    print(f"{'ratio':10} {time_ratio:10.0f} {memory_ratio:10.1f}")
    print(f"largest difference of an epoch's loss: {difference:.1e}")
    if args.file:
        text = in_process("text", args.file)
        print(f"\n{args.file.name}, words, N = {CONTEXT_SIZE}, {EPOCHS} epochs")
        print(f"{'project':10} {text['seconds']:10.2f} {text['peak_mb']:10.1f}")
        contexts, patterns = in_process("patterns", args.file)
        print(f"{contexts} contexts, {patterns} different patterns of what came after them")


if __name__ == "__main__":
    main()
