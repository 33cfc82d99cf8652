"""bench_gpt.py - The engine beside the course's GPT: the same small model, trained on the same names.

    uv run python benchmarks/bench_gpt.py [FILE] [--steps 1000] [--scalar-steps 15]

FILE has one name per line. The model reads a name letter by letter: 27 tokens (26 letters and a boundary), context 16,
one block of 4 heads, 16 numbers per token, feed-forward 16 to 64 to 16 with ReLU, no biases: 4,192 weights.

f_gpt.py works on one number at a time; here the same model is built from the engine's modules, which work on whole
tensors. Both begin with the same weights and must agree on the loss of every step. The scalar one trains for a few
steps only; it would take a minute or more for all.
"""

import argparse
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from time import perf_counter

from toy_gpt_train import f_gpt
from toy_gpt_train.a_tokenizer import ROOT
from toy_gpt_train.f_gpt import BETA1, BETA2, BOUNDARY, CONTEXT, GPT, HEADS, HIDDEN, LETTERS, VOCAB_SIZE, WIDTH
from toy_gpt_train.nn.functional import cross_entropy, relu
from toy_gpt_train.nn.modules import Dropout, Embedding, Linear, RMSNorm
from toy_gpt_train.nn.optim import AdamW
from toy_gpt_train.nn.tensor import from_lists
from toy_gpt_train.nn.transformer import Block, FeedForward, MultiHeadAttention, TransformerLM
from toy_gpt_train.show import table

NAMES = ROOT / "corpus" / "020_names.txt"
SEED = 42
CHECKED_STEPS, CLOSE = 15, 1e-6  # how near the losses of the first steps must be

# Each matrix of f_gpt.py by the engine's name for it.
ENGINE_NAMES = {
    "token": "token_embeddings.weight",
    "position": "position_embeddings.weight",
    "query": "blocks.0.attention.q_proj.weight",
    "key": "blocks.0.attention.k_proj.weight",
    "value": "blocks.0.attention.v_proj.weight",
    "merge": "blocks.0.attention.o_proj.weight",
    "up": "blocks.0.feed_forward.up_proj.weight",
    "down": "blocks.0.feed_forward.down_proj.weight",
    "output": "output.weight",
}


def build_engine(scalar: GPT) -> TransformerLM:
    """Return the same model made of the engine's modules, with a copy of the weights."""
    generator = random.Random(0)  # the weights it draws are replaced
    attention = MultiHeadAttention(WIDTH, HEADS, generator=generator, bias=False)
    feed_forward = FeedForward(WIDTH, HIDDEN, relu, generator=generator, bias=False)
    no_dropout = Dropout(0.0, generator)
    model = TransformerLM(
        Embedding(VOCAB_SIZE, WIDTH, generator=generator),
        Embedding(CONTEXT, WIDTH, generator=generator),
        [Block(RMSNorm(WIDTH, gain=False), attention, RMSNorm(WIDTH, gain=False), feed_forward, no_dropout)],
        RMSNorm(WIDTH, gain=False),
        Linear(WIDTH, VOCAB_SIZE, generator=generator, bias=False),
        no_dropout,
    )
    model.load_state_dict(
        {
            ENGINE_NAMES[name]: from_lists([[value.data for value in row] for row in matrix])
            for name, matrix in scalar.weights.items()
        }
    )
    return model


def encode(name: str) -> list[int]:
    """Return the ids of a name between boundaries, at most as many as give 16 predictions."""
    return [BOUNDARY, *map(LETTERS.index, name), BOUNDARY][: CONTEXT + 1]


def train_engine(model: TransformerLM, names: Sequence[str], steps: int, *, exact: bool = False) -> Iterator[float]:
    """Learn one name per step by Adam, with a rate that falls to 0, as f_gpt.train does; yield each loss."""
    optimizer = AdamW(model.parameters(), betas=(BETA1, BETA2), eps=1e-8, weight_decay=0.0)
    for step in range(steps):
        ids = encode(names[step % len(names)])
        model.zero_grad()
        loss = cross_entropy(model.forward([ids[:-1]], exact=exact), ids[1:])
        loss.backward()
        optimizer.lr = f_gpt.LEARNING_RATE * (1 - step / steps)
        optimizer.step()
        yield loss.item()


def read_names(path: Path) -> list[str]:
    """Return the names in a file.

    Raises:
        SystemExit: There is no such file, or it does not have one name per line.
    """
    try:
        names = path.read_text(encoding="utf-8").lower().split()
    except (OSError, UnicodeDecodeError) as error:
        raise refusal(f"{path} cannot be read as text: {getattr(error, 'strerror', None) or error}") from None
    if not names:
        raise refusal(f"{path} holds no names")
    for name in names:
        if set(name) - set(LETTERS):
            raise refusal(f"{path}: {name!a} has characters other than the letters a to z")
    return names


def refusal(message: str) -> SystemExit:
    """Print one line on standard error; return what ends the program with exit code 2."""
    print(f"bench_gpt.py: {message}", file=sys.stderr)
    return SystemExit(2)


Run = list[tuple[float, float]]  # loss and seconds of each step


def timed(losses: Iterator[float], steps: int) -> Run:
    """Take a number of steps and time each."""
    run: Run = []
    start = perf_counter()
    for loss in islice(losses, steps):
        run.append((loss, perf_counter() - start))
        start = perf_counter()
    return run


def losses_of(run: Run) -> list[float]:
    """Return the loss of each step."""
    return [loss for loss, _ in run]


def report_difference(engine: Sequence[float], exact: Sequence[float], scalar: Sequence[float]) -> None:
    """Print how far the losses of the engine, with either matrix product, are from the scalar model's."""
    differences = [abs(a - b) for a, b in zip(engine, scalar, strict=True)]
    first = differences[:CHECKED_STEPS]
    print(f"losses of the first {len(first)} steps: equal to {CLOSE:.0e}: {'yes' if max(first) <= CLOSE else 'NO'}")
    print(
        f"over {len(differences)} steps: largest difference {max(differences):.1e}, at the last {differences[-1]:.1e}"
    )
    largest = max(abs(a - b) for a, b in zip(exact, scalar, strict=True))
    print(f"with exact matrix products: largest difference {largest:.1e}")


def report_speed(runs: Mapping[str, Run], names: Sequence[str]) -> None:
    """Print the tokens per second of each run, and their ratio to the first run's."""
    rows = []
    first_speed = 0.0
    for label, run in runs.items():
        tokens = sum(len(encode(names[step % len(names)])) - 1 for step in range(len(run)))
        seconds = sum(seconds for _, seconds in run)
        speed = tokens / seconds
        first_speed = first_speed or speed
        rows.append([label, len(run), tokens, f"{seconds:.2f}", f"{speed:.0f}", f"{speed / first_speed:.1f}"])
    print(table(["model", "steps", "tokens", "seconds", "tokens/s", "ratio"], rows))


def report_losses(losses: Sequence[float]) -> None:
    """Print the mean loss of every 100 steps."""
    rows = []
    for begin in range(0, len(losses), 100):
        part = losses[begin : begin + 100]
        rows.append([f"{begin + 1} to {begin + len(part)}", f"{sum(part) / len(part):.4f}"])
    print(table(["steps", "mean loss"], rows))


def parse_arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=NAMES, help=f"one name per line ({NAMES.name})")
    parser.add_argument("--steps", type=int, default=1000, help="how many the engine takes (default: %(default)s)")
    parser.add_argument("--scalar-steps", type=int, default=15, help="how many both take (default: %(default)s)")
    args = parser.parse_args()
    if not 1 <= args.scalar_steps <= args.steps:
        raise refusal("--scalar-steps is from 1 to --steps")
    return args


def main() -> None:
    """Train both and print how they compare."""
    args = parse_arguments()
    names = read_names(args.file)
    generator = random.Random(SEED)
    generator.shuffle(names)
    scalar_model = GPT(generator)
    engine_model, exact_model = build_engine(scalar_model), build_engine(scalar_model)
    print(f"{args.file.name}: {len(names)} names; {engine_model.num_parameters()} weights")

    scalar = timed(f_gpt.train(scalar_model, names, args.steps), args.scalar_steps)
    engine = timed(train_engine(engine_model, names, args.steps), args.steps)
    exact = timed(train_engine(exact_model, names, args.steps, exact=True), args.scalar_steps)
    same = engine[: args.scalar_steps]
    report_difference(losses_of(same), losses_of(exact), losses_of(scalar))
    print()
    report_speed({"scalar": scalar, "engine, same steps": same, "engine, all steps": engine}, names)
    print()
    report_losses(losses_of(engine))


if __name__ == "__main__":
    main()
