"""f_gpt.py - The same five steps with a Transformer, one number at a time.

The learner's question: what is different in a GPT? Only step c. A table looks a context up as a whole; a GPT
computes with it: every token becomes a vector, attention lets each position collect what it needs from those
before it, and a small network works on what it found. So it can continue contexts that it has never met, and
write words that are not in its list. It works on one number at a time; nn/ does the same on whole tensors.

Run it: uv run python src/toy_gpt_train/f_gpt.py [FILE] [--steps 4000] [--seed 0]
"""

import math
import random
import re
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from operator import add, mul
from pathlib import Path

from toy_gpt_train.a_tokenizer import ROOT, StepParser, read_text

LETTERS = "abcdefghijklmnopqrstuvwxyz"
BOUNDARY, VOCAB_SIZE = len(LETTERS), len(LETTERS) + 1  # one more token stands before and after every word
CONTEXT = 16  # how many tokens the model sees at most
WIDTH, HEADS, HIDDEN = 16, 4, 64  # numbers per token, attention heads, numbers in the middle of the feed-forward
SHAPES = {"token": (VOCAB_SIZE, WIDTH), "position": (CONTEXT, WIDTH), "output": (VOCAB_SIZE, WIDTH)}
SHAPES |= dict.fromkeys(["query", "key", "value", "merge"], (WIDTH, WIDTH))
SHAPES |= {"up": (HIDDEN, WIDTH), "down": (WIDTH, HIDDEN)}
LEARNING_RATE, BETA1, BETA2 = 0.01, 0.9, 0.95


class Value:
    """A number that knows which values it was made from, and its slope: how fast it grows with each of them.

    >>> x = Value(3.0); (x * x + 1.0).backward(); x.grad
    6.0
    """

    __slots__ = ("data", "grad", "parents", "slopes")

    def __init__(self, data: float, parents: "Sequence[Value]" = (), slopes: Sequence[float] = ()) -> None:
        self.data, self.grad, self.parents, self.slopes = data, 0.0, parents, slopes

    def __add__(self, other: "Value | float") -> "Value":
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other: "Value | float") -> "Value":
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def __pow__(self, power: float) -> "Value":
        return Value(self.data**power, (self,), (power * self.data ** (power - 1),))

    def exp(self) -> "Value":
        """Return e to this number; the slope is the same number."""
        return Value(math.exp(self.data), (self,), (math.exp(self.data),))

    def log(self) -> "Value":
        """Return the natural logarithm; the slope is 1/x."""
        return Value(math.log(self.data), (self,), (1 / self.data,))

    def backward(self) -> None:
        """Apply the chain rule: add this number's slope with respect to every value it was made from to its grad."""
        order: dict[Value, None] = {}

        def visit(value: Value) -> None:
            for parent in value.parents:
                if parent not in order:
                    visit(parent)
            order[value] = None  # after all that it was made from

        visit(self)
        self.grad = 1.0
        for value in reversed(order):
            for parent, slope in zip(value.parents, value.slopes, strict=True):
                parent.grad += slope * value.grad


Vector = list[Value]
Matrix = list[Vector]


def dot(x: Vector, y: Vector) -> Value:
    """Return the sum of products; the slope with respect to each factor is the other one."""
    x_data, y_data = [a.data for a in x], [b.data for b in y]
    return Value(math.fsum(map(mul, x_data, y_data)), x + y, y_data + x_data)


def rms_norm(x: Vector) -> Vector:
    """Return x divided by its root mean square."""
    scale = (dot(x, x) * (1 / len(x)) + 1e-5) ** -0.5
    return [a * scale for a in x]


def softmax(scores: Vector) -> Vector:
    """Return probabilities in the proportions of the exponentials."""
    top = max(score.data for score in scores)  # a shift changes no proportion, and nothing overflows
    exps = [(score + -top).exp() for score in scores]
    scale = sum(exps, Value(0.0)) ** -1
    return [e * scale for e in exps]


def attention(query: Vector, keys: Matrix, values: Matrix) -> Vector:
    """Return what each head finds: the values of all positions so far, by how well the query matches their keys."""
    found: Vector = []
    for start in range(0, WIDTH, WIDTH // HEADS):
        head = slice(start, start + WIDTH // HEADS)
        shares = softmax([dot(query[head], key[head]) * (WIDTH // HEADS) ** -0.5 for key in keys])  # one per position
        found += [dot(shares, list(column)) for column in zip(*(value[head] for value in values), strict=True)]
    return found


class GPT:
    """A Transformer of one block; its weights are matrices by name, 4,192 numbers in all."""

    def __init__(self, generator: random.Random) -> None:
        self.weights = {
            name: [[Value(generator.gauss(0, 0.08)) for _ in range(columns)] for _ in range(rows)]
            for name, (rows, columns) in SHAPES.items()
        }

    def logits(self, token_id: int, keys: Matrix, values: Matrix) -> Vector:
        """Read one token and return the logits of the next; its key and value join those of the tokens before."""

        def linear(name: str, x: Vector) -> Vector:
            return [dot(row, x) for row in self.weights[name]]

        x = list(map(add, self.weights["token"][token_id], self.weights["position"][len(keys)]))  # which, where
        normed = rms_norm(x)
        keys.append(linear("key", normed))  # what this token is found by
        values.append(linear("value", normed))  # and what it then gives
        found = attention(linear("query", normed), keys, values)  # the query is what it looks for
        x = list(map(add, x, linear("merge", found)))  # residual: added to what was there
        hidden = [a * float(a.data > 0) for a in linear("up", rms_norm(x))]  # ReLU: what is below 0 becomes 0
        x = list(map(add, x, linear("down", hidden)))
        return linear("output", rms_norm(x))

    def loss(self, word: str) -> Value:
        """Return the mean surprise at the letters of a word and at its end, in nats."""
        keys, values = list[Vector](), list[Vector]()
        ids = [BOUNDARY, *map(LETTERS.index, word), BOUNDARY][: CONTEXT + 1]
        losses = [softmax(self.logits(i, keys, values))[target].log() * -1.0 for i, target in pairwise(ids)]
        return sum(losses, Value(0.0)) * (1 / len(losses))

    def write(self, generator: random.Random) -> str:
        """Draw letter after letter until the boundary; return the word."""
        keys, values = list[Vector](), list[Vector]()
        word, token_id = "", BOUNDARY
        while len(word) < CONTEXT:
            probs = [p.data**1.5 for p in softmax(self.logits(token_id, keys, values))]  # likely letters gain
            [token_id] = generator.choices(range(VOCAB_SIZE), probs)
            if token_id == BOUNDARY:
                break
            word += LETTERS[token_id]
        return word


def train(model: GPT, words: Sequence[str], steps: int) -> Iterator[float]:
    """Learn one word per step by Adam (Kingma and Ba, 2015), with a rate that falls to 0; yield each loss."""
    parameters = [value for matrix in model.weights.values() for row in matrix for value in row]
    means, squares = [0.0] * len(parameters), [0.0] * len(parameters)
    for step in range(steps):
        loss = model.loss(words[step % len(words)])
        loss.backward()
        rate = LEARNING_RATE * (1 - step / steps)
        for i, weight in enumerate(parameters):
            means[i] += (1 - BETA1) * (weight.grad - means[i])
            squares[i] += (1 - BETA2) * (weight.grad**2 - squares[i])  # running means of gradient and square
            mean, square = means[i] / (1 - BETA1 ** (step + 1)), squares[i] / (1 - BETA2 ** (step + 1))
            weight.data -= rate * mean / (math.sqrt(square) + 1e-8)
            weight.grad = 0.0
        yield loss.data


def learn_and_write(corpus: Path, steps: int, seed: int) -> None:
    """Train on the different words of a text, then print words that are not among them."""
    generator = random.Random(seed)
    words = sorted(set(re.findall("[a-z]+", read_text(corpus).lower())))  # steps a and b; letters are the tokens
    if not words:
        raise ValueError(f"{corpus}: there are no words of the letters a to z")
    generator.shuffle(words)
    model = GPT(generator)  # step c
    print(f"{len(words)} words, the first {words[:5]}; {steps} steps")
    learning = train(model, words, steps)  # step d; then step e
    while losses := list(islice(learning, max(steps // 10, 1))):
        print(f"mean loss of {len(losses)} steps: {sum(losses) / len(losses):.4f}", flush=True)
    print("new words:", *sorted({model.write(generator) for _ in range(30)} - set(words)))


def main(argv: Sequence[str] | None = None) -> int:
    """Train a GPT on words and write new ones; return the exit code."""
    parser = StepParser(__doc__)
    parser.add_argument("corpus", nargs="?", type=Path, default=ROOT / "corpus" / "020_names.txt", help="a text")
    parser.add_argument("--steps", type=int, default=4000, help="how many words to learn (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other words (%(default)s)")
    return parser.run(learn_and_write, argv)


if __name__ == "__main__":
    raise SystemExit(main())
