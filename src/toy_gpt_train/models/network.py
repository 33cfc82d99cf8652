"""neural.py - What every rung that is a neural network has in common.

A network (nn/) turns ids into logits. The model around it has the face of all rungs: probabilities for a context,
scores for a text, and its weights as tables to be written and read.

Concepts:
    parameter: one array of weights with a name, for example ``blocks.0.attention.q_proj.weight``.
    role: what a parameter is for; it decides the name of the file that holds it.
    glimpse: what the network is about to say, seen half-way through.

It knows no files, only tables and names for them, and not how a network is trained (train_steps.py).
"""

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from math import exp
from typing import Any, ClassVar, Final

from toy_gpt_train.c_model import Prediction, check_context
from toy_gpt_train.errors import InputError
from toy_gpt_train.math_training import argmax, softmax
from toy_gpt_train.models.tables import COUNT, NUMBER, NUMBER_BY_TOKEN, TEXT, TOKEN, Column, ModelTable
from toy_gpt_train.nn.kernels import exact, transpose
from toy_gpt_train.nn.modules import Glimpse, LanguageModel
from toy_gpt_train.nn.tensor import Parameter, Tensor

# Past this, weights are written as one file of numbers that no person would read anyway.
LARGEST_IN_TABLES: Final = 200_000
LARGEST_WEIGHT: Final = 1e6  # in a file that is read; learned ones are near 1

_WINDOWS_AT_ONCE: Final = 16
_LARGEST_DIMENSION: Final = 65_536


@dataclass(frozen=True)
class Architecture:
    """How large a network is; a rung uses what it has.

    Attributes:
        embedding_dim: C, numbers a token.
        hidden_dim: F, numbers a token inside the feed-forward layer; in rung 500 the hidden layer, 0 for none.
        heads: H, how many heads share the C numbers.
        layers: How many blocks.
        dropout: The share of numbers put to 0 while training.
    """

    embedding_dim: int
    hidden_dim: int = 0
    heads: int = 1
    layers: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("embedding_dim", 1), ("hidden_dim", 0), ("heads", 1), ("layers", 1)):
            value = getattr(self, name)
            if not least <= value <= _LARGEST_DIMENSION:
                shown = value if abs(value) < 10**12 else "a number far too large"
                raise InputError(f"{name} must be from {least} to {_LARGEST_DIMENSION}, got {shown}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        if self.embedding_dim % self.heads:
            raise InputError(f"{self.heads} heads cannot share an embedding of {self.embedding_dim} numbers evenly")

    @staticmethod
    def from_mapping(numbers: Mapping[str, Any]) -> "Architecture":
        """Return the architecture that a run's metadata describe.

        Raises:
            InputError: A number is missing, too many, of the wrong type or out of range.

        Example:
            >>> numbers = {"embedding_dim": 8, "hidden_dim": 32, "heads": 2, "layers": 1, "dropout": 0.0}
            >>> Architecture.from_mapping(numbers).heads
            2
        """
        known = {field.name: float if field.name == "dropout" else int for field in fields(Architecture)}
        for name, value in numbers.items():
            if name not in known:
                raise InputError(f"the architecture has an unknown number {name[:40]!r}")
            if isinstance(value, bool) or not isinstance(value, (int, known[name])):
                raise InputError(f"{name} of the architecture is no {known[name].__name__}")
        for name in known:
            if name not in numbers:
                raise InputError(f"the architecture has no {name}")
        return Architecture(**numbers)


# What each parameter is for, and the name of its file. The numbers keep the files in the order of reading.
_FILE_OF_ROLE: Final = {
    "output.weight": "02_model_weights",
    "token_embeddings.weight": "03_token_embeddings",
    "position_embeddings.weight": "04_positional_embeddings",
    "attention.q_proj.weight": "05_W_Q",
    "attention.k_proj.weight": "06_W_K",
    "attention.v_proj.weight": "07_W_V",
    "attention.q_proj.bias": "08_b_Q",
    "attention.k_proj.bias": "09_b_K",
    "attention.v_proj.bias": "10_b_V",
    "attention.o_proj.weight": "11_W_O",
    "attention.o_proj.bias": "12_b_O",
    "feed_forward.up_proj.weight": "13_W_up",
    "feed_forward.up_proj.bias": "14_b_up",
    "feed_forward.gate_proj.weight": "15_W_gate",
    "feed_forward.down_proj.weight": "16_W_down",
    "feed_forward.down_proj.bias": "17_b_down",
    "hidden.weight": "18_W_hidden",
    "hidden.bias": "19_b_hidden",
    "norm_1.weight": "20_norm_1_gain",
    "norm_1.bias": "21_norm_1_shift",
    "norm_2.weight": "22_norm_2_gain",
    "norm_2.bias": "23_norm_2_shift",
    "norm.weight": "24_final_norm_gain",
    "norm.bias": "25_final_norm_shift",
    "output.bias": "26_output_bias",
}


def parameter_file(name: str) -> str:
    """Return the file that holds a parameter; from the second block on its number is in the name.

    Example:
        >>> parameter_file("blocks.0.attention.q_proj.weight"), parameter_file("blocks.1.attention.q_proj.weight")
        ('05_W_Q.csv', '05_W_Q_block_2.csv')
    """
    match = re.fullmatch(r"(?:blocks\.([0-9]+)\.)?(.+)", name)
    assert match is not None
    block = f"_block_{int(match[1]) + 1}" if int(match[1] or 0) else ""
    return f"{_FILE_OF_ROLE[match[2]]}{block}.csv"


class NeuralModel:
    """A rung that is a neural network.

    Args:
        vocab_size: V.
        context_size: N, at least 1.
        architecture: How large the network is.
        seed: For the weights it starts with.

    Attributes:
        network: What turns ids into logits.

    Raises:
        ValueError: ``vocab_size`` or ``context_size`` is too small, or the architecture does not fit the rung.
    """

    train_loss_on: ClassVar[str] = "the end of the training text"
    uses: ClassVar[tuple[str, ...]]  # the numbers of an Architecture that the rung has

    def __init__(self, vocab_size: int, context_size: int, architecture: Architecture, seed: int = 0) -> None:
        if vocab_size < 1 or context_size < 1:
            raise InputError(
                f"a network needs a vocabulary and a context of at least 1, got {vocab_size}, {context_size}"
            )
        self.vocab_size = vocab_size
        self.context_size = context_size
        self.architecture = architecture
        self.network = self.build(vocab_size, context_size, architecture, seed)

    @classmethod
    def build(cls, vocab_size: int, context_size: int, architecture: Architecture, seed: int) -> LanguageModel:
        """Return an untrained network."""
        raise NotImplementedError

    @staticmethod
    def check(architecture: Architecture) -> None:
        """Refuse, with InputError, what the rung cannot be built of."""

    @classmethod
    def count_parameters(cls, vocab_size: int, context_size: int, architecture: Architecture) -> int:
        """Return how many weights a network would have, without making it."""
        raise NotImplementedError

    @property
    def least_context(self) -> int:
        """How many tokens forward() needs: there is no answer to nothing."""
        return 1

    @property
    def places(self) -> int:
        """How many tokens the network predicts in a window of N + 1: each but the first."""
        return self.context_size

    @property
    def stride(self) -> int:
        """How many tokens of a text are scored by one reading of a window.

        WHY half a window: a network that predicts at every place scores a whole window at once, but its first places
        have hardly any context. So windows overlap by half, and every token has at least half a window before it.
        """
        return max(self.context_size // 2, 1)

    # --- predicting ----------------------------------------------------------------------------------------

    def forward(self, *context_ids: int) -> list[float]:
        """Return the probability of every token to come next.

        Args:
            *context_ids: ``least_context`` to N token ids, oldest first.

        Returns:
            V probabilities, by token id; they sum to 1.

        Raises:
            ValueError: There are too few or too many ids, or one is outside 0..V-1.
        """
        check_context(context_ids, self)
        return softmax(self.logits(context_ids))

    def logits(self, context_ids: Sequence[int]) -> list[float]:
        """Return V logits for the token after a context, in full precision."""
        with exact():
            return list(self._read_context(context_ids).data[-self.vocab_size :])

    def _read_context(self, context_ids: Sequence[int]) -> Tensor:
        """Return the logits at the end of a context, and perhaps at places before it."""
        return self.network.forward([context_ids])

    def glimpses(self, context_ids: Sequence[int]) -> list[Glimpse]:
        """Follow one prediction through the network; the last logits are those that forward() uses."""
        check_context(tuple(context_ids), self)
        with exact():
            return self.network.glimpses(context_ids)

    def predictions(self, token_ids: Sequence[int], start: int = 0) -> Iterator[Prediction]:
        """Score a text: how likely was each token, given the tokens before it?

        Args:
            token_ids: The text as T token ids; V stands for a token that is not in the vocabulary, and what comes
                after it is predicted without what came before it.
            start: The place of the first token to score; those before it are context only.

        Yields:
            A prediction for each of the T - start tokens; 1/V where there is not enough context. A network keeps no
            record of the contexts it met, so ``context_seen`` is None.
        """
        blind = Prediction(1 / self.vocab_size, 0, None)
        begin = 0
        while begin < len(token_ids):
            end = begin
            while end < len(token_ids) and token_ids[end] < self.vocab_size:
                end += 1
            first = begin + self.least_context
            yield from [blind] * (min(first, end) - max(begin, start))
            yield from self._score_windows(token_ids[begin:end], max(first, start) - begin)
            if start <= end < len(token_ids):
                yield blind
            begin = end + 1

    def _score_windows(self, token_ids: Sequence[int], start: int) -> Iterator[Prediction]:
        """Score tokens that are all in the vocabulary, from a place on that has enough context."""
        firsts = range(start, len(token_ids), self.stride)
        waiting: list[tuple[Sequence[int], Sequence[int]]] = []
        for first in firsts:
            targets = token_ids[first : first + self.stride]
            last = first + len(targets) - 1
            window = token_ids[max(last - self.context_size, 0) : last]
            if waiting and len(waiting[0][0]) != len(window):
                yield from self._score_batch(waiting)
                waiting = []
            waiting.append((window, targets))
            if len(waiting) == _WINDOWS_AT_ONCE:
                yield from self._score_batch(waiting)
                waiting = []
        if waiting:
            yield from self._score_batch(waiting)

    def _score_batch(self, windows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Iterator[Prediction]:
        """Score the last tokens of windows of one length."""
        logits = self.network.forward([window for window, _ in windows])
        block = logits.shape[1] * self.vocab_size
        for i, (_, targets) in enumerate(windows):
            first = (i + 1) * block - len(targets) * self.vocab_size
            for place, target in enumerate(targets):
                begin = first + place * self.vocab_size
                row = logits.data[begin : begin + self.vocab_size]
                best = argmax(row)
                total = sum([exp(logit - row[best]) for logit in row])
                yield Prediction(exp(row[target] - row[best]) / total, best, None)

    def num_parameters(self) -> int:
        """Return how many numbers training has set."""
        return self.network.num_parameters()

    # --- the weights, to be written and read ---------------------------------------------------------------

    @property
    def fits_tables(self) -> bool:
        """Whether the weights are few enough to be written as tables."""
        return self.num_parameters() <= LARGEST_IN_TABLES

    def round_weights(self, decimals: int) -> None:
        """Round every weight to what its file will hold: ``decimals`` in a table, 32 bits otherwise.

        REQ: done before the final evaluation, so that what the artifacts hold is what was evaluated.

        Raises:
            InputError: A weight has grown so large that no file with it would be read.
        """
        to_decimals = self.fits_tables
        for name, parameter in self.network.named_parameters():
            _check_weights(name, parameter)
            if to_decimals:
                parameter.data = array("d", [round(weight, decimals) + 0.0 for weight in parameter.data])
            else:
                parameter.data = array("d", array("f", parameter.data))

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the weights of every parameter, by name; ValueError where they do not fit.

        WHY a limit: what a network computes from larger numbers might not be finite.
        """
        for name, tensor in weights.items():
            _check_weights(name, tensor)
        self.network.load_state_dict(weights)

    def to_tables(self) -> list[ModelTable]:
        """Return a table for every parameter, in the order of their files."""
        tables = [
            ModelTable(parameter_file(name), _columns(name, parameter), len(self._labels(name, parameter)), rows)
            for name, parameter in self.network.named_parameters()
            for rows in [self._rows(name, parameter)]
        ]
        return sorted(tables, key=lambda table: table.name)

    def expect_tables(self, tokens: Sequence[str]) -> dict[str, tuple[Column, ...]]:
        """Return the columns of each table that from_tables needs, by file name."""
        named = self.network.named_parameters()
        return {parameter_file(name): _columns(name, parameter) for name, parameter in named}

    def from_tables(self, tables: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        """Become the model that to_tables described; ValueError where the tables do not fit together."""
        weights: dict[str, Tensor] = {}
        for name, parameter in self.network.named_parameters():
            file = parameter_file(name)
            labels = self._labels(name, parameter)
            rows = list(islice(tables[file], len(labels) + 1))
            if len(rows) != len(labels):
                more = "more" if len(rows) > len(labels) else len(rows)
                raise InputError(f"{file}: {more} rows where the network has {len(labels)}")
            numbers: list[float] = []
            for label, row in zip(labels, rows, strict=True):
                if row[: len(label)] != label:
                    raise InputError(f"{file}: a row begins {str(row[0])[:40]!r} where {label[0]!r} should stand")
                numbers += row[len(label) :]
            if _is_map(name, parameter):
                numbers = transpose(numbers, parameter.shape[1], parameter.shape[0])
            weights[name] = Tensor(numbers, parameter.shape)
        self.load_weights(weights)

    def input_label(self, index: int) -> str:
        """Return what a row of 02_model_weights.csv is called: the number of the last layer that it weighs."""
        return f"dim_{index}"

    def _labels(self, name: str, parameter: Parameter) -> list[tuple[Any, ...]]:
        """Return the first cells of each row of a parameter's table."""
        rows = parameter.shape[1] if _is_map(name, parameter) else parameter.shape[0]
        if name == "output.weight":
            return [(self.input_label(i),) for i in range(rows)]
        return [(i, i) if name in _BY_TOKEN else (i,) for i in range(rows)]

    def _rows(self, name: str, parameter: Parameter) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a parameter's table. A map is written inputs by outputs, as the W of x W."""
        labels = self._labels(name, parameter)
        numbers = transpose(parameter.data, *parameter.shape) if _is_map(name, parameter) else parameter.data
        size = len(numbers) // len(labels)
        for i, label in enumerate(labels):
            yield *label, *numbers[i * size : (i + 1) * size]


def _check_weights(name: str, tensor: Tensor) -> None:
    if not all(abs(weight) <= LARGEST_WEIGHT for weight in tensor.data):  # so that NaN does not pass
        raise InputError(f"{name} has a weight beyond {LARGEST_WEIGHT:g}, which makes no sense")


_BY_TOKEN: Final = ("token_embeddings.weight", "output.bias")  # a row for each token of the vocabulary


def _is_map(name: str, parameter: Parameter) -> bool:
    """Whether a parameter maps numbers to numbers, unlike a list of vectors or a single vector."""
    return len(parameter.shape) == 2 and not name.endswith("embeddings.weight")


def _columns(name: str, parameter: Parameter) -> tuple[Column, ...]:
    """Return the columns of a parameter's table."""
    if name == "output.weight":
        return Column("input_token", TEXT), Column("", NUMBER_BY_TOKEN)
    if len(parameter.shape) == 1:
        numbers = [Column("value", NUMBER)]
    else:
        width = parameter.shape[0] if _is_map(name, parameter) else parameter.shape[1]
        numbers = [Column(f"dim_{j}", NUMBER) for j in range(width)]
    if name in _BY_TOKEN:
        return Column("token_id", COUNT), Column("token", TOKEN), *numbers
    return Column("position" if name.startswith("position") else "dim", COUNT), *numbers
