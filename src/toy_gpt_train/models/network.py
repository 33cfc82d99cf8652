"""network.py - What all models that are neural networks have in common.

A network (nn/) turns ids into logits. The model around it predicts, scores a text, and describes its weights as tables.

Concepts:
    parameter: one array of weights with a name, for example ``blocks.0.attention.q_proj.weight``.
    logit lens: what the network would predict if it stopped half-way.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby, islice
from math import exp
from typing import Any, ClassVar, Final, Self

from toy_gpt_train.engine import STDLIB, Choice
from toy_gpt_train.errors import InputError
from toy_gpt_train.float_bits import magnitude
from toy_gpt_train.io_artifacts import WEIGHT_DECIMALS
from toy_gpt_train.math_training import add_up, argmax
from toy_gpt_train.models.architecture import WINDOW_OPTIONS, Architecture
from toy_gpt_train.models.base import TENSORS_NAME, Column, Content, Model, Record, Text
from toy_gpt_train.models.parameter_tables import parameter_columns, parameter_file, parameter_table, read_parameter
from toy_gpt_train.models.scores import Prediction
from toy_gpt_train.models.sizes import NetworkSettings, settings_for
from toy_gpt_train.nn.modules import LensStep, Network
from toy_gpt_train.nn.tensor import Tensor
from toy_gpt_train.training.batches import starts_after
from toy_gpt_train.training.engines import Engine
from toy_gpt_train.training.engines.stdlib import StdlibEngine
from toy_gpt_train.training.steps import train_steps

LARGEST_IN_TABLES: Final = 200_000  # more weights than that go to one binary file: nobody would read them in tables
LARGEST_WEIGHT: Final = 1e6  # learned ones are near 1; what a network computes from larger ones might not be finite
SCORED_OF_TRAINING: Final = 5_000  # tokens at the end; scoring the whole text would take as long as training
EPOCH_DEFINITION: Final = (
    "One epoch is as many predictions as the training text has tokens; the windows are drawn from random places."
)

# Larger networks are not trained here, only read: their matrices stay in the file, and are packed when they predict.
LARGEST_UNPACKED: Final = 10_000_000

MOST_BATCH_TOKENS: Final = 1 << 24
# What training in the standard library may need, so that it is refused before memory ends: 100 bytes per weight, and
# 60 per other number.
MOST_WEIGHTS: Final = 10_000_000
MOST_NUMBERS: Final = 30_000_000  # computed for one micro-batch

# How much is scored at once: windows, pairs of tokens, logits.
_WINDOWS_AT_ONCE: Final = 16
_ATTENTION_AT_ONCE: Final = 1 << 20
_LOGITS_AT_ONCE: Final = 1 << 25
_CHECKED_AT_ONCE: Final = 1 << 24  # weights


class NetworkModel(Model):
    """A model that is a neural network, ``network``, which turns ids into logits.

    Args:
        vocab_size: V.
        context_size: N, at least 1; InputError if it is smaller.
        architecture: How large the network is; InputError if it does not fit the model.
        seed: For the weights it starts with; without one they are empty, to be loaded.
    """

    layouts: ClassVar[tuple[str, ...]] = ("tables", "safetensors")
    smallest_context: ClassVar[int] = 1
    train_loss_on: ClassVar[str] = "the end of the training text"
    trains_in_steps: ClassVar[bool] = True
    torch_name: ClassVar[str] = ""  # of the same network in nn/torch_networks.py, if there is one

    def __init__(self, vocab_size: int, context_size: int, architecture: Architecture, seed: int | None = 0) -> None:
        super().__init__(vocab_size, context_size)
        self.architecture = architecture
        self.network = self.build_network(vocab_size, context_size, architecture, seed)
        self._remarks: dict[str, Any] = {}  # on how it was trained
        self._torch: Any = None  # a TorchNetwork, if PyTorch computes the predictions

    # --- building ------------------------------------------------------------------------------------------

    @classmethod
    def settings(cls, name: str, context: int | None, **given: Any) -> NetworkSettings:
        """Return the settings of a size, with some of its numbers replaced."""
        settings = settings_for(name, context=context, **given)
        cls.check(settings.architecture)
        return settings

    @classmethod
    def build(cls, vocab_size: int, settings: Any, seed: int) -> Self:
        """Return an untrained model."""
        return cls(vocab_size, settings.context, settings.architecture, seed)

    @classmethod
    def resolved_engine(cls, choice: Choice, vocab_size: int, settings: Any) -> tuple[Choice, str]:
        """Return what computes a model and, where that was not said, why; refuse what would end the memory."""
        size, n = settings.architecture, settings.context
        num_weights = cls.count_parameters(vocab_size, n, size)
        engine, reason = choice.resolved(num_weights)
        for what, windows in (("a batch", settings.batch_size), ("the evaluation", settings.eval_windows)):
            if (tokens := windows * (n + 1)) > MOST_BATCH_TOKENS:
                raise InputError(f"{what} would have {tokens:,} tokens; the limit is {MOST_BATCH_TOKENS:,}")
        if engine.name == "torch":
            return engine, reason
        if num_weights > MOST_WEIGHTS:
            raise InputError(
                f"the network would have {num_weights:,} weights; the limit is {MOST_WEIGHTS:,}, without --engine torch"
            )
        per_token = vocab_size + size.layers * (16 * size.embedding_dim + 2 * size.hidden_dim + 5 * size.heads * n)
        numbers = min(settings.batch_size, settings.micro_batch) * n * per_token
        if numbers > MOST_NUMBERS:
            raise InputError(
                f"a micro-batch would need about {numbers:,} numbers in memory; the limit is {MOST_NUMBERS:,}: choose "
                "fewer windows (--piece-size), a smaller context or a smaller network"
            )
        return engine, reason

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any], most_numbers: int) -> Self:
        """Return an untrained model of the size that the metadata gives, unless it is larger than the files."""
        described = meta.get("architecture")
        if not isinstance(described, dict):
            raise InputError("architecture is missing or not a dict")
        size = meta["vocab_size"], meta["context_size"], Architecture.from_mapping(described)
        num_weights = cls.count_parameters(*size)
        if num_weights > most_numbers:
            raise InputError(f"a network of {num_weights} weights is described, but the files are too small to hold it")
        return cls(*size, seed=None)

    @classmethod
    def build_network(cls, vocab_size: int, context_size: int, architecture: Architecture, seed: int | None) -> Network:
        """Return an untrained network; without a seed its weights are empty."""
        raise NotImplementedError

    @staticmethod
    def check(architecture: Architecture) -> None:
        """Refuse, with InputError, what the network cannot be built of."""

    @classmethod
    def count_parameters(cls, vocab_size: int, context_size: int, architecture: Architecture) -> int:
        """Return how many weights a network would have, without making it."""
        raise NotImplementedError

    @property
    def min_context(self) -> int:
        """At least one token: a network has no answer to nothing."""
        return 1

    @property
    def num_targets(self) -> int:
        """How many tokens the network predicts in a window of N + 1: each but the first."""
        return self.context_size

    @property
    def stride(self) -> int:
        """How many tokens of a text are scored per window: half of it, so that each has the other half before it."""
        return max(self.context_size // 2, 1)

    @property
    def is_large(self) -> bool:
        """Whether the network is only read, and its matrices are packed."""
        return self.num_parameters() > LARGEST_UNPACKED

    # --- learning ------------------------------------------------------------------------------------------

    def fit(
        self, text: Text, settings: Any, *, engine: Choice = STDLIB, workers: int = 1, **how: Any
    ) -> Iterator[Record]:
        """Learn step by step from random windows; see training/steps.py."""
        learner = self._engine(settings, engine, workers)
        how |= {"num_targets": self.num_targets, "starts": self._starts(text, settings.start_after)}
        self._remarks |= yield from train_steps(learner, text.ids, len(self.training_ids(text)), settings, **how)
        self._round_weights()
        self.compute_with(engine)

    def _starts(self, text: Text, token: str) -> Sequence[int]:
        """Return the places of the training text right after a token, if one is given."""
        if not token:
            return ()
        if token not in text.tokens:
            raise InputError(f"windows cannot begin after {token!r:.40}: the vocabulary has no such token")
        return starts_after(self.training_ids(text), text.tokens.index(token))

    def _engine(self, settings: Any, choice: Choice, workers: int) -> Engine:
        """Return what trains; in the end the weights are those of this model's network."""
        if choice.name == "torch":
            from toy_gpt_train.training.engines.pytorch import TorchEngine  # WHY here: it loads PyTorch

            self._remarks = {"engine": "torch", "dtype": choice.dtype}
            return TorchEngine(self._in_torch(choice), self.network, settings)
        build = partial(type(self).build_network, self.vocab_size, self.context_size, self.architecture, 0)
        return StdlibEngine(self.network, settings, build, workers)

    def compute_with(self, choice: Choice) -> None:
        """Let an engine compute the predictions from now on, with the weights of now."""
        self._torch = self._in_torch(choice) if choice.name == "torch" else None

    def _in_torch(self, choice: Choice) -> Any:  # a TorchNetwork
        if not self.torch_name:
            raise InputError(f"{type(self).__name__} has no network in PyTorch")
        from toy_gpt_train.nn.torch_network import TorchNetwork  # WHY here: they load PyTorch, which takes seconds
        from toy_gpt_train.nn.torch_networks import build

        network = build(self.torch_name, self.vocab_size, self.context_size, self.architecture)
        return TorchNetwork(network, self.network.state_dict(), choice)

    def scored_from(self, num_train: int) -> int | None:
        """Return the first of the last 5,000 training tokens."""
        return max(num_train - SCORED_OF_TRAINING, self.min_context)

    def training_record(self, settings: Any, history: Sequence[Record]) -> dict[str, Any]:
        """Return all numbers of the settings that mean something, and how many epochs the steps made."""
        numbers = asdict(settings)
        for name in ("architecture", "keep", *settings.unused()):
            del numbers[name]
        numbers["piece_size"] = numbers.pop("micro_batch")  # its name in the files
        for name in WINDOW_OPTIONS:
            if not numbers[name]:
                del numbers[name]
        last = history[-1]
        if last["step"] < settings.steps:
            # WHY in addition to the planned steps: the schedule of the learning rate followed from those.
            numbers["stopped_after_step"] = last["step"]
        numbers |= self._remarks
        return {**numbers, "epochs": round(last["epoch"], 6), "epoch_definition": EPOCH_DEFINITION}

    # --- predicting ----------------------------------------------------------------------------------------

    def logits(self, ids: Sequence[int], cache: Any = None) -> list[float]:
        """Return V logits for the token after a text, from exact products."""
        if self._torch is not None:
            return next(self.logits_of([ids], cache))
        return list(self._read(self.context(ids), cache).data[-self.vocab_size :])

    def _read(self, context: tuple[int, ...], cache: Any) -> Tensor:
        """Return the logits at the end of a context, and perhaps at positions before it."""
        return self.network([context], exact=True)

    @property
    def writes_together(self) -> bool:
        """Whether several texts take hardly more time than one."""
        return self._torch is not None

    def logits_of(self, texts: Sequence[Sequence[int]], cache: Any = None) -> Iterator[list[float]]:
        """Yield what logits() returns for each of several texts of one length, which share a cache."""
        read = self._torch.read([self.context(ids) for ids in texts], cache)
        block = read.shape[1] * self.vocab_size  # the logits of a text, those at its end last
        for end in range(block, len(read.data) + 1, block):
            yield list(read.data[end - self.vocab_size : end])

    def logit_lens(self, ids: Sequence[int], cache: Any = None) -> list[LensStep]:
        """Follow one prediction through the network."""
        return self.network.logit_lens(self.context(ids))

    def score(self, ids: Sequence[int], start: int = 0) -> Iterator[Prediction]:
        """Score a text; an unknown token, or one with too little context before it, gets 1/V.

        Tokens after an unknown one are predicted without those before it. ``context_seen`` is None: a network keeps no
        record.
        """
        blind = Prediction(1 / self.vocab_size, 0, None)
        begin = max(start - self.context_size, 0)  # no window goes further back
        while begin < len(ids):
            end = begin
            while end < len(ids) and ids[end] < self.vocab_size:
                end += 1
            first = begin + self.min_context
            yield from [blind] * (min(first, end) - max(begin, start))
            yield from self._score_windows(ids[begin:end], max(first, start) - begin)
            if start <= end < len(ids):
                yield blind
            begin = end + 1

    def _score_windows(self, ids: Sequence[int], start: int) -> Iterator[Prediction]:
        """Score tokens that are all in the vocabulary, from a position on that has enough context."""
        logits = self.context_size * self.vocab_size
        at_once = min(_WINDOWS_AT_ONCE, _ATTENTION_AT_ONCE // self.context_size**2, _LOGITS_AT_ONCE // logits)
        at_once = max(at_once, 1)
        for _, same_length in groupby(self._windows(ids, start), key=lambda window: len(window[0])):
            while windows := list(islice(same_length, at_once)):
                yield from self._score_batch(windows)

    def _windows(self, ids: Sequence[int], start: int) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
        """Yield windows of at most N tokens, each with the targets that its last positions predict."""
        for first in range(start, len(ids), self.stride):
            targets = ids[first : first + self.stride]
            last = first + len(targets) - 1
            yield ids[max(last - self.context_size, 0) : last], targets

    def window_begin(self, position: int, length: int) -> int:
        """Return where the window of score() begins that predicts a token: it stays for half a window of tokens."""
        scored = position - self.min_context
        end = min(position - scored % self.stride + self.stride, length)
        return max(end - 1 - self.context_size, 0)

    def _score_batch(self, windows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Iterator[Prediction]:
        """Score the targets of windows that all have one length."""
        if self._torch is not None:
            yield from (Prediction(probability, best, None) for probability, best in self._torch.score(windows))
            return
        logits = self.network([window for window, _ in windows])
        block = logits.shape[1] * self.vocab_size
        for i, (_, targets) in enumerate(windows):
            first = (i + 1) * block - len(targets) * self.vocab_size
            for position, target in enumerate(targets):
                begin = first + position * self.vocab_size
                yield scored(logits.data[begin : begin + self.vocab_size], target)

    def num_parameters(self) -> int:
        """Return how many numbers training has set."""
        return self.network.num_parameters()

    # --- its content, for files ----------------------------------------------------------------------------

    @property
    def _layout(self) -> str:
        return "tables" if self.num_parameters() <= LARGEST_IN_TABLES else "safetensors"

    def _round_weights(self) -> None:
        """Round every weight to what its file will hold: six decimals in a table, 32 bits otherwise."""
        in_tables = self._layout == "tables"
        for name, parameter in self.network.named_parameters():
            _check_weights(name, parameter)
            if in_tables:
                parameter.data = array("d", [round(weight, WEIGHT_DECIMALS) + 0.0 for weight in parameter.data])
            else:
                parameter.data = array("d", array("f", parameter.data))

    def content(self) -> Content:
        """Return a table for every parameter, in the order of their files; or tensors, where there are many weights."""
        named = list(self.network.named_parameters())
        in_tables = self._layout == "tables"
        parameters = [
            {"name": name, "file": parameter_file(name) if in_tables else TENSORS_NAME, "shape": list(parameter.shape)}
            for name, parameter in named
        ]
        about = {"architecture": self.architecture.as_mapping(), "parameters": parameters}
        if not in_tables:
            # A frozen matrix is as its file holds it, and perhaps still there.
            tensors = {name: (p.shape, p.data if p.is_frozen else array("f", p.data)) for name, p in named}
            return Content("safetensors", tensors=tensors, about=about)
        tables = [parameter_table(name, parameter, self.input_label) for name, parameter in named]
        tables.sort(key=lambda table: table.name)
        return Content("tables", tables, decimals=WEIGHT_DECIMALS, about=about)

    def expected_tables(self, layout: str, tokens: Sequence[str]) -> dict[str, tuple[Column, ...]]:
        """Return the columns of each parameter's table, if there are tables."""
        named = self.network.named_parameters() if layout == "tables" else ()
        return {parameter_file(name): parameter_columns(name, parameter) for name, parameter in named}

    def load_tables(self, tables: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        """Take over the weights that content() described."""
        self.load_tensors(
            {
                name: (p.shape, read_parameter(name, p, self.input_label, tables[parameter_file(name)]))
                for name, p in self.network.named_parameters()
            }
        )

    def load_tensors(self, tensors: Mapping[str, tuple[tuple[int, ...], Any]]) -> None:
        """Take over the weights of every parameter, by name."""
        weights = {name: Tensor(data, shape) for name, (shape, data) in tensors.items()}
        for name, tensor in weights.items():
            _check_weights(name, tensor)
        self.network.load_state_dict(weights, freeze=self.is_large)

    def input_label(self, index: int) -> str:
        """Return the label of a row of 02_model_weights.csv: which value of the last layer it multiplies."""
        return f"dim_{index}"


def scored(logits: Sequence[float], target: int) -> Prediction:
    """Return what logits predict of the token that came."""
    best = argmax(logits)
    total = add_up([exp(logit - logits[best]) for logit in logits])
    return Prediction(exp(logits[target] - logits[best]) / total, best, None)


def _check_weights(name: str, tensor: Tensor) -> None:
    if getattr(tensor.data, "typecode", "d") not in "df":
        raise InputError(f"{name} has whole numbers, which are not weights")
    for begin in range(0, len(tensor.data), _CHECKED_AT_ONCE):
        weights = tensor.data[begin : begin + _CHECKED_AT_ONCE]
        if isinstance(weights, array) and weights.typecode == "f" and magnitude(weights) <= LARGEST_WEIGHT:
            continue  # WHY first: a look at each of a hundred million weights takes ten seconds
        if not all(abs(weight) <= LARGEST_WEIGHT for weight in weights):  # so that NaN does not pass
            raise InputError(f"{name} has a weight that is not finite, or beyond {LARGEST_WEIGHT:g}")
