"""bench_gpt.py - The engine beside a scalar autograd: the same small GPT, trained on the same names.

    uv run python benchmarks/bench_gpt.py [FILE] [--steps 1000] [--scalar-steps 15]

FILE has a name a line. The model reads a name letter by letter: 27 tokens (26 letters and a boundary), context 16,
one block of 4 heads, 16 numbers a token, feed-forward 16 to 64 to 16 with ReLU, no biases: 4,192 weights.

It is written twice. Once from the engine's modules, where an operation is done on many numbers; and once in this file
from scalars, where every single number remembers how it was made. Both begin with the same weights and must agree on
the loss of every step. The scalar one trains for a few steps only; it would take minutes for all.
"""

import argparse
import math
import random
import string
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise
from operator import add, mul
from pathlib import Path
from time import perf_counter
from typing import Protocol
from unittest import mock

from toy_gpt_train.nn import kernels
from toy_gpt_train.nn.functional import cross_entropy, relu
from toy_gpt_train.nn.modules import Dropout, Embedding, Linear, RMSNorm
from toy_gpt_train.nn.optim import AdamW
from toy_gpt_train.nn.tensor import Tensor
from toy_gpt_train.nn.transformer import Block, FeedForward, MultiHeadAttention, TransformerLM
from toy_gpt_train.show import table

NAMES = Path(__file__).parent.parent.parent / "shared" / "data" / "names.txt"
LETTERS = string.ascii_lowercase
BOUNDARY = len(LETTERS)  # the token before and after every name
VOCAB_SIZE = len(LETTERS) + 1
CONTEXT, WIDTH, HEADS, HIDDEN = 16, 16, 4, 64
LEARNING_RATE, BETAS, EPS = 0.01, (0.9, 0.95), 1e-8
NORM_EPS = 1e-5  # rms_norm's own
SEED = 42
DEEPEST = 1_000_000  # a sum of many scalars is as deep as it has terms, and is walked by recursion
CHECKED_STEPS, CLOSE = 15, 1e-6  # how near the losses of the first steps must be

# --- the scalar model ---------------------------------------------------------------------------------------


class Value:
    """One number that remembers which it was made from, and how fast it grows with each of them."""

    __slots__ = ("data", "grad", "parents", "slopes")

    def __init__(self, data: float, parents: "tuple[Value, ...]" = (), slopes: tuple[float, ...] = ()) -> None:
        self.data = data
        self.grad = 0.0
        self.parents = parents
        self.slopes = slopes

    def __add__(self, other: "Value | float") -> "Value":
        if isinstance(other, Value):
            return Value(self.data + other.data, (self, other), (1.0, 1.0))
        return Value(self.data + other, (self,), (1.0,))

    def __mul__(self, other: "Value | float") -> "Value":
        if isinstance(other, Value):
            return Value(self.data * other.data, (self, other), (other.data, self.data))
        return Value(self.data * other, (self,), (other,))

    def __pow__(self, power: float) -> "Value":
        return Value(self.data**power, (self,), (power * self.data ** (power - 1),))

    def exp(self) -> "Value":
        """Return e to this number."""
        result = math.exp(self.data)
        return Value(result, (self,), (result,))

    def log(self) -> "Value":
        """Return the natural logarithm."""
        return Value(math.log(self.data), (self,), (1 / self.data,))

    def relu(self) -> "Value":
        """Return this number where it is above 0, and 0 elsewhere."""
        return Value(max(self.data, 0.0), (self,), (1.0 if self.data > 0 else 0.0,))

    def backward(self) -> None:
        """Add to ``grad`` of every number that this one was made from, however far back."""
        order: list[Value] = []
        met: set[Value] = set()

        def visit(value: Value) -> None:
            if value not in met:
                met.add(value)
                for parent in value.parents:
                    visit(parent)
                order.append(value)

        visit(self)
        self.grad = 1.0
        for value in reversed(order):
            for parent, slope in zip(value.parents, value.slopes, strict=True):
                parent.grad += slope * value.grad


Vector = list[Value]
Matrix = list[Vector]


def dot(x: Sequence[Value], y: Sequence[Value]) -> Value:
    """Return the sum of products."""
    return sum(map(mul, x, y), Value(0.0))


def times_vector(matrix: Matrix, x: Vector) -> Vector:
    """Return the product of a matrix and a vector."""
    return [dot(row, x) for row in matrix]


def rms_normed(x: Vector) -> Vector:
    """Return x divided by its root mean square."""
    scale = (dot(x, x) * (1 / len(x)) + NORM_EPS) ** -0.5
    return [a * scale for a in x]


def softmaxed(scores: Vector) -> Vector:
    """Return probabilities in the proportions of the exponentials."""
    top = max(score.data for score in scores)
    exps = [(score + -top).exp() for score in scores]
    share = sum(exps, Value(0.0)) ** -1
    return [e * share for e in exps]


class ScalarGPT:
    """The model, one number at a time.

    Args:
        weights: The numbers to begin with, by the engine's names.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.weights = {name: [[Value(w) for w in row] for row in t.tolist()] for name, t in weights.items()}

    def parameters(self) -> list[Value]:
        """Return all weights, in the engine's order."""
        return [value for matrix in self.weights.values() for row in matrix for value in row]

    def loss(self, ids: Sequence[int]) -> Value:
        """Return the mean surprise at each token after the first, in nats."""
        keys: Matrix = []
        values: Matrix = []
        losses = []
        for place, (token_id, target) in enumerate(pairwise(ids)):
            logits = self._logits(token_id, place, keys, values)
            losses.append(softmaxed(logits)[target].log() * -1.0)
        return sum(losses, Value(0.0)) * (1 / len(losses))

    def _logits(self, token_id: int, place: int, keys: Matrix, values: Matrix) -> Vector:
        """Read one token; its key and value are appended to those of the tokens before it."""
        w = self.weights
        x = list(map(add, w["token_embeddings.weight"][token_id], w["position_embeddings.weight"][place]))
        normed = rms_normed(x)
        query = times_vector(w["blocks.0.attention.q_proj.weight"], normed)
        keys.append(times_vector(w["blocks.0.attention.k_proj.weight"], normed))
        values.append(times_vector(w["blocks.0.attention.v_proj.weight"], normed))
        found = attend(query, keys, values)
        x = list(map(add, x, times_vector(w["blocks.0.attention.o_proj.weight"], found)))
        hidden = [a.relu() for a in times_vector(w["blocks.0.feed_forward.up_proj.weight"], rms_normed(x))]
        x = list(map(add, x, times_vector(w["blocks.0.feed_forward.down_proj.weight"], hidden)))
        return times_vector(w["output.weight"], rms_normed(x))


def attend(query: Vector, keys: Matrix, values: Matrix) -> Vector:
    """Return what each head finds at the tokens read so far, one head after the other."""
    size = len(query) // HEADS
    found: Vector = []
    for begin in range(0, len(query), size):
        own = slice(begin, begin + size)
        shares = softmaxed([dot(query[own], key[own]) * size**-0.5 for key in keys])
        found += [dot(shares, column) for column in zip(*(value[own] for value in values), strict=True)]
    return found


class ScalarTrainer:
    """Adam on the scalar model."""

    def __init__(self, model: ScalarGPT) -> None:
        self.model = model
        self.parameters = model.parameters()
        self.first = [0.0] * len(self.parameters)
        self.second = [0.0] * len(self.parameters)
        self.steps = 0

    def step(self, ids: Sequence[int], lr: float) -> float:
        """Learn one name; returns the loss before."""
        loss = self.model.loss(ids)
        loss.backward()
        self.steps += 1
        beta1, beta2 = BETAS
        for i, weight in enumerate(self.parameters):
            self.first[i] = beta1 * self.first[i] + (1 - beta1) * weight.grad
            self.second[i] = beta2 * self.second[i] + (1 - beta2) * weight.grad**2
            mean = self.first[i] / (1 - beta1**self.steps)
            mean_square = self.second[i] / (1 - beta2**self.steps)
            weight.data -= lr * mean / (mean_square**0.5 + EPS)
            weight.grad = 0.0
        return loss.data


# --- the engine's model -------------------------------------------------------------------------------------


def build_model(generator: random.Random) -> TransformerLM:
    """Return the model made of the engine's modules."""
    attention = MultiHeadAttention(WIDTH, HEADS, generator=generator, bias=False)
    feed_forward = FeedForward(WIDTH, HIDDEN, relu, generator=generator, bias=False)
    no_dropout = Dropout(0.0, generator)
    return TransformerLM(
        Embedding(VOCAB_SIZE, WIDTH, generator=generator),
        Embedding(CONTEXT, WIDTH, generator=generator),
        [Block(RMSNorm(WIDTH, gain=False), attention, RMSNorm(WIDTH, gain=False), feed_forward, no_dropout)],
        RMSNorm(WIDTH, gain=False),
        Linear(WIDTH, VOCAB_SIZE, generator=generator, bias=False),
        no_dropout,
    )


class EngineTrainer:
    """Adam on the engine's model."""

    def __init__(self, model: TransformerLM) -> None:
        self.model = model
        self.optimizer = AdamW(model.parameters(), betas=BETAS, eps=EPS, weight_decay=0.0)

    def step(self, ids: Sequence[int], lr: float) -> float:
        """Learn one name; returns the loss before."""
        self.model.zero_grad()
        loss = cross_entropy(self.model.forward([ids[:-1]]), ids[1:])
        loss.backward()
        self.optimizer.lr = lr
        self.optimizer.step()
        return loss.item()


# --- both ---------------------------------------------------------------------------------------------------


class Trainer(Protocol):
    """What learns a name a step."""

    def step(self, ids: Sequence[int], lr: float) -> float:
        """Learn one name; returns the loss before."""


def encode(name: str) -> list[int]:
    """Return the ids of a name between boundaries, at most as many as give 16 predictions."""
    return [BOUNDARY, *map(LETTERS.index, name), BOUNDARY][: CONTEXT + 1]


def read_names(path: Path) -> list[list[int]]:
    """Return the ids of each name of a file.

    Raises:
        SystemExit: There is no such file, or not a name a line in it.
    """
    try:
        names = path.read_text(encoding="utf-8").lower().split()
    except (OSError, UnicodeDecodeError) as error:
        raise refusal(f"{path} cannot be read as text: {getattr(error, 'strerror', None) or error}") from None
    if not names:
        raise refusal(f"{path} holds no names")
    for name in names:
        if set(name) - set(LETTERS):
            raise refusal(f"{path}: {name!a} is not of the letters a to z")
    return [encode(name) for name in names]


def refusal(message: str) -> SystemExit:
    """Print one line on standard error; returns what ends the program with exit code 2."""
    print(f"bench_gpt.py: {message}", file=sys.stderr)
    return SystemExit(2)


Run = list[tuple[float, float]]  # loss and seconds of each step


def losses_of(run: Run) -> list[float]:
    """Return the loss of each step."""
    return [loss for loss, _ in run]


def train(trainer: Trainer, names: Sequence[Sequence[int]], steps: int) -> Iterator[tuple[float, float]]:
    """Learn a name a step, the step size falling in a line to 0; yields each step's loss and seconds."""
    for step in range(steps):
        start = perf_counter()
        loss = trainer.step(names[step % len(names)], LEARNING_RATE * (1 - step / steps))
        yield loss, perf_counter() - start


def report_difference(engine: Sequence[float], plain: Sequence[float], scalar: Sequence[float]) -> None:
    """Print how far the losses of the engine, with either matrix product, are from the scalar model's."""
    differences = [abs(a - b) for a, b in zip(engine, scalar, strict=True)]
    first = differences[:CHECKED_STEPS]
    print(f"losses of the first {len(first)} steps: equal to {CLOSE:.0e}: {'yes' if max(first) <= CLOSE else 'NO'}")
    print(
        f"over {len(differences)} steps: largest difference {max(differences):.1e}, at the last {differences[-1]:.1e}"
    )
    largest = max(abs(a - b) for a, b in zip(plain, scalar, strict=True))
    print(f"with the plain matrix product alone: largest difference {largest:.1e}")


def report_speed(runs: Mapping[str, Run], names: Sequence[Sequence[int]]) -> None:
    """Print the tokens a second of each run, and how many times the first run's they are."""
    rows = []
    first_speed = 0.0
    for label, run in runs.items():
        tokens = sum(len(names[step % len(names)]) - 1 for step in range(len(run)))
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
    parser.add_argument(
        "file", nargs="?", type=Path, default=NAMES, help="a name a line (default: ../shared/data/names.txt)"
    )
    parser.add_argument("--steps", type=int, default=1000, help="how many the engine takes (default: %(default)s)")
    parser.add_argument("--scalar-steps", type=int, default=15, help="how many both take (default: %(default)s)")
    args = parser.parse_args()
    if not 1 <= args.scalar_steps <= args.steps:
        raise refusal("--scalar-steps is from 1 to --steps")
    return args


def main() -> None:
    """Train both and print how they compare."""
    sys.setrecursionlimit(DEEPEST)
    args = parse_arguments()
    names = read_names(args.file)
    generator = random.Random(SEED)
    generator.shuffle(names)
    model = build_model(generator)
    print(f"{args.file.name}: {len(names)} names; {model.num_parameters()} weights")

    scalar_trainer = ScalarTrainer(ScalarGPT(model.state_dict()))
    plain_model = build_model(generator)
    plain_model.load_state_dict(model.state_dict())
    scalar = list(islice(train(scalar_trainer, names, args.steps), args.scalar_steps))
    engine = list(train(EngineTrainer(model), names, args.steps))
    with mock.patch.object(kernels, "packed_matmul", kernels.plain_matmul):
        plain = list(islice(train(EngineTrainer(plain_model), names, args.steps), args.scalar_steps))
    same = engine[: args.scalar_steps]
    report_difference(losses_of(same), losses_of(plain), losses_of(scalar))
    print()
    report_speed({"scalar": scalar, "engine, same steps": same, "engine, all steps": engine}, names)
    print()
    report_losses(losses_of(engine))


if __name__ == "__main__":
    main()
