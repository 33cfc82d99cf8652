"""bench_char.py - A small GPT as it is usually written, beside ``--size large``: the same text, the same computer.

    uv run --extra torch python benchmarks/bench_char.py --corpus tinyshakespeare.txt [--threads 2] [--minutes 10]

The usual one has the shape of toy-gpt-char: 384 values, 4 blocks, 6 heads, each computed apart, a window of 16 and
batches of 32. Some of its steps are timed, and so the time of its 5,100 steps is known. A 40th of it is what ``large``
gets. Then a network of 1.26 million weights learns for the minutes given. All losses are of the whole held-out tenth.
"""

import argparse
import time
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

import toy_gpt_train as tg
from toy_gpt_train.show import table

STEPS: Final = 5_100
BATCH, WINDOW, WIDTH, HEADS, BLOCKS, DROPOUT = 32, 16, 384, 6, 4, 0.2
SHARE: Final = 40
# Of the network that learns for minutes; found on the end of the training part.
LONG: Final = {
    "embedding_dim": 160,
    "layers": 4,
    "heads": 4,
    "context": 128,
    "batch_size": 32,
    "dropout": 0.1,
    "learning_rate": 0.003,
}


class Head(nn.Module):
    """One head, with matrices and a mask of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH // HEADS, bias=False) for _ in range(3))
        self.register_buffer("mask", torch.ones(WINDOW, WINDOW).tril() == 0)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, D) for x of (B, T, C)."""
        scores = self.query(x) @ self.key(x).transpose(-2, -1) / (WIDTH // HEADS) ** 0.5
        weights = scores.masked_fill(self.mask, float("-inf")).softmax(-1)
        return self.dropout(weights) @ self.value(x)


class Block(nn.Module):
    """Heads one after the other, and a feed-forward layer."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(Head() for _ in range(HEADS))
        self.join = nn.Linear(WIDTH, WIDTH)
        self.feed_forward = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.ReLU(), nn.Linear(4 * WIDTH, WIDTH), nn.Dropout(DROPOUT)
        )
        self.norm_1, self.norm_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, C) for x of (B, T, C)."""
        normed = self.norm_1(x)
        x = x + self.dropout(self.join(torch.cat([head(normed) for head in self.heads], dim=-1)))
        return x + self.feed_forward(self.norm_2(x))


class UsualGPT(nn.Module):
    """The whole network."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab_size, WIDTH), nn.Embedding(WINDOW, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.norm, self.output = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, vocab_size)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the logits."""
        return self.output(self.norm(self.blocks(self.tokens(ids) + self.positions.weight)))


def usual_seconds(text: str, steps: int = 30) -> float:
    """Return how long 5,100 steps of the usual network take, from some of them."""
    vocabulary = sorted(set(text))
    ids = torch.tensor([vocabulary.index(char) for char in text[:100_000]])
    network = UsualGPT(len(vocabulary))
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    begun = 0.0
    for step in range(steps + 3):
        if step == 3:  # the first ones are slower
            begun = time.perf_counter()
        starts = torch.randint(len(ids) - WINDOW - 1, (BATCH, 1)) + torch.arange(WINDOW + 1)
        windows = ids[starts]
        loss = functional.cross_entropy(network(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - begun) / steps * STEPS


def ours(corpus: Path, seconds: float, **how: object) -> tuple[float, float, int, int]:
    """Train a llama for about so many seconds; return the loss, the time, the steps, and the weights."""
    how |= {"tokenizer": "char", "engine": "torch", "device": "cpu", "val_fraction": 0.1}
    times: list[float] = []
    note = lambda *_: times.append(time.perf_counter())  # noqa: E731
    tg.train("llama", corpus, **{**how, "steps": 12, "eval_every": 12, "val_fraction": 0.0}, progress=note)
    steps = int(0.95 * seconds / ((times[11] - times[1]) / 10))
    times.clear()
    run = tg.train("llama", corpus, **how, steps=steps, progress=note)
    return run.meta["metrics"]["val_loss"], times[steps - 1] - times[0], steps, run.model.num_parameters()


def main() -> None:
    """Print one line for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="a text, for example Tiny Shakespeare")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch (default: %(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=10, help="of the longer run, 0 for none (default: %(default)s)"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    usual = usual_seconds(args.corpus.read_text("utf-8"))
    rows = [["as usually written, 5,100 steps", "", f"{usual:,.0f}", f"{STEPS:,}", ""]]
    runs = [
        ("--size large, a 40th of that time", usual / SHARE, {"size": "large", "rope_base": 100.0, "short_first": 0.5})
    ]
    if args.minutes:
        runs.append(("160 values, 4 blocks, window 128", 60 * args.minutes, LONG))
    for name, budget, how in runs:
        loss, seconds, steps, weights = ours(args.corpus, budget, **how)
        rows.append([name, f"{weights:,}", f"{seconds:,.0f}", f"{steps:,}", f"{loss:.4f}"])
    print(table(["network", "weights", "seconds", "steps", "held-out loss"], rows))


if __name__ == "__main__":
    main()
