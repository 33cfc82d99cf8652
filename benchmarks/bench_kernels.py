"""bench_kernels.py - The cost of a multiply-add, and how the time and memory of a training step grow.

    uv run python benchmarks/bench_kernels.py

Prints, in one run:

1. Nanoseconds per multiply-add, by shape, of the plain and the packed matrix product, and of what matmul() chooses.
2. The time of a training step of small Llama-like models: by width at equal batch, and by batch at equal width.
3. The bytes that training keeps per weight, and the memory of the activations.
"""

import random
import tracemalloc
from collections.abc import Callable, Sequence
from itertools import pairwise
from time import perf_counter

from toy_gpt_train.nn.kernels import matmul, packed_matmul, plain_matmul
from toy_gpt_train.nn.modules import Dropout, Embedding, Linear, RMSNorm
from toy_gpt_train.nn.optim import AdamW
from toy_gpt_train.nn.transformer import Block, MultiHeadAttention, SwiGLU, TransformerLM
from toy_gpt_train.show import table
from toy_gpt_train.training.batches import Window, window_loss

# (how many products, rows of A, columns of A, columns of B): first two large ones, then those of a small Transformer:
# its linear layers on 256 tokens, the gradient of one, attention on 32 sequences and heads, and some tiny products.
SHAPES = [
    (1, 512, 128, 512),
    (1, 256, 64, 64),
    (1, 256, 32, 32),
    (1, 256, 32, 88),
    (1, 256, 88, 32),
    (1, 32, 256, 32),
    (32, 32, 8, 32),
    (32, 32, 32, 8),
    (16, 64, 16, 64),
    (16, 64, 64, 16),
    (1, 16, 16, 16),
    (1, 8, 16, 64),
    (1, 8, 64, 16),
    (1, 8, 16, 16),
    (4, 8, 4, 8),
]
SECONDS_PER_SHAPE = 0.4
VOCAB_SIZE, LAYERS, HEADS, CONTEXT = 65, 2, 4, 16
WIDTHS, BATCH_OF_WIDTHS = (16, 32, 64, 128), 4
BATCHES, WIDTH_OF_BATCHES = (2, 4, 8, 16), 32
SECONDS_PER_TABLE = 6.0
MEMORY_WIDTH, MEMORY_BATCHES = 64, (1, 2, 4, 8)

# --- products -----------------------------------------------------------------------------------------------


def best_seconds(works: Sequence[Callable[[], object]], budget: float) -> list[float]:
    """Return the shortest time of each; they take turns, at least three times, until the budget is spent."""
    best = [float("inf")] * len(works)
    end = perf_counter() + budget
    turns = 0
    while turns < 3 or perf_counter() < end:
        for i, work in enumerate(works):
            start = perf_counter()
            work()
            best[i] = min(best[i], perf_counter() - start)
        turns += 1
    return best


def bench_shape(batch: int, m: int, k: int, n: int, generator: random.Random) -> list[object]:
    """Return the row of the table for one shape."""
    a = [generator.gauss(0.0, 1.0) for _ in range(batch * m * k)]
    b = [generator.gauss(0.0, 1.0) for _ in range(batch * k * n)]
    plain, packed = plain_matmul(a, b, m, k, n, batch), packed_matmul(a, b, m, k, n, batch)
    error = max(abs(x - y) for x, y in zip(packed, plain, strict=True)) / max(map(abs, plain))
    choice = "packed" if matmul(a, b, m, k, n, batch) == packed else "plain"
    works = [lambda kernel=kernel: kernel(a, b, m, k, n, batch) for kernel in (plain_matmul, packed_matmul, matmul)]
    plain_time, packed_time, chosen_time = (
        1e9 * seconds / (batch * m * k * n) for seconds in best_seconds(works, SECONDS_PER_SHAPE)
    )
    times = [f"{plain_time:.1f}", f"{packed_time:.1f}", f"{plain_time / packed_time:.2f}", f"{chosen_time:.1f}"]
    return [batch, f"{m}x{k}x{n}", *times, choice, f"{error:.1e}"]


def bench_products() -> None:
    """Print nanoseconds per multiply-add, by shape."""
    print("nanoseconds per multiply-add; error of the packed product, relative to the largest result")
    generator = random.Random(0)
    rows = [bench_shape(*shape, generator) for shape in SHAPES]
    print(table(["batch", "shape", "plain", "packed", "plain/packed", "matmul()", "chosen", "error"], rows))


# --- steps --------------------------------------------------------------------------------------------------


class Trainer:
    """A Llama-like model and its optimizer.

    Args:
        width: Values per token; the feed-forward layer has 8/3 as many, rounded down to a multiple of 8.
        generator: The source of randomness.
    """

    def __init__(self, width: int, generator: random.Random) -> None:
        hidden = width * 8 // 3 // 8 * 8
        no_dropout = Dropout(0.0, generator)
        blocks = [
            Block(
                RMSNorm(width),
                MultiHeadAttention(width, HEADS, generator=generator, bias=False, rope_base=10000.0),
                RMSNorm(width),
                SwiGLU(width, hidden, generator=generator),
                no_dropout,
            )
            for _ in range(LAYERS)
        ]
        embeddings = Embedding(VOCAB_SIZE, width, generator=generator)
        output = Linear(width, VOCAB_SIZE, generator=generator, bias=False)
        self.model = TransformerLM(embeddings, None, blocks, RMSNorm(width), output, no_dropout)
        self.optimizer = AdamW(self.model.parameters())

    def step(self, windows: Sequence[Window]) -> None:
        """Learn from one batch."""
        self.model.zero_grad()
        loss, _, _ = window_loss(self.model, windows)
        loss.backward()
        self.optimizer.step()


def draw_batch(batch: int, generator: random.Random) -> list[Window]:
    """Return windows of random tokens."""
    return [generator.choices(range(VOCAB_SIZE), k=CONTEXT + 1) for _ in range(batch)]


def bench_steps(settings: Sequence[tuple[int, int]]) -> None:
    """Print the time of a step for each (width, batch), and its growth and that of the weights from row to row."""
    generator = random.Random(0)
    trainers = [Trainer(width, generator) for width, _ in settings]
    batches = [draw_batch(batch, generator) for _, batch in settings]
    works = [lambda t=t, b=b: t.step(b) for t, b in zip(trainers, batches, strict=True)]
    times = best_seconds(works, SECONDS_PER_TABLE)
    weights = [trainer.model.num_parameters() for trainer in trainers]
    rows = [
        [width, batch, count, more, f"{1e3 * seconds:.1f}", longer, f"{batch * CONTEXT / seconds:.0f}"]
        for (width, batch), count, more, seconds, longer in zip(
            settings, weights, growth(weights), times, growth(times), strict=True
        )
    ]
    print(table(["width", "batch", "weights", "growth", "ms per step", "growth", "tokens/s"], rows))


def growth(numbers: Sequence[float]) -> list[str]:
    """Return the ratio of each number to the one before; an empty text for the first."""
    return ["", *(f"{after / before:.2f}" for before, after in pairwise(numbers))]


# --- memory -------------------------------------------------------------------------------------------------


def traced() -> int:
    """Return the bytes allocated now."""
    return tracemalloc.get_traced_memory()[0]


def top() -> int:
    """Return the most bytes that were allocated at once since the last call."""
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    return peak


def bench_memory() -> None:
    """Print the bytes per weight that are kept from step to step, and the memory of the activations."""
    generator = random.Random(0)
    tracemalloc.start()
    empty = traced()
    trainer = Trainer(MEMORY_WIDTH, generator)
    count = trainer.model.num_parameters()
    for _ in range(2):
        trainer.step(draw_batch(1, generator))
    kept = (traced() - empty) / count
    print(f"{count} weights: {kept:.1f} bytes per weight after two steps (the weight, its gradient, its two moments)")
    rows = []
    for batch in MEMORY_BATCHES:
        windows = draw_batch(batch, generator)
        held = traced()
        top()
        # WHY keep the last gradients: the new ones are added to them, so only activations need more memory.
        loss, _, _ = window_loss(trainer.model, windows)
        forward = traced() - held
        loss.backward()
        peak = top() - held
        trainer.optimizer.step()
        tokens = batch * CONTEXT
        sizes = [megabytes(size) for size in (held - empty, forward, peak)]
        rows.append([tokens, *sizes, f"{forward / tokens / 1e3:.0f}"])
        del loss
    tracemalloc.stop()
    print(table(["tokens", "kept MB", "activations MB", "peak MB", "kB per token"], rows))


def megabytes(count: int) -> str:
    """Return a number of bytes as MB."""
    return f"{count / 1e6:.2f}"


def main() -> None:
    """Print all tables."""
    bench_products()
    print(f"\na training step of {LAYERS} blocks, {HEADS} heads, {CONTEXT} tokens per window; growth: from row to row")
    bench_steps([(width, BATCH_OF_WIDTHS) for width in WIDTHS])
    print()
    bench_steps([(WIDTH_OF_BATCHES, batch) for batch in BATCHES])
    print()
    bench_memory()


if __name__ == "__main__":
    main()
