"""stdlib.py - The engine in the standard library: nn/ computes, in this process or in several."""

import warnings
from array import array
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

from toy_gpt_train.errors import InputWarning
from toy_gpt_train.nn.modules import Network
from toy_gpt_train.nn.optim import SGD, AdamW, Muon, Optimizer, clip_grad_norm, split_for_muon
from toy_gpt_train.nn.tensor import Parameter, Tensor
from toy_gpt_train.training.checkpoint import Arrays
from toy_gpt_train.training.workers import (
    BatchStats,
    MicroBatch,
    ProcessWorkers,
    SerialWorkers,
    Workers,
    batch_gradient,
    sum_stats,
)


class StdlibEngine:
    """An Engine; see there.

    Args:
        network: It learns in place.
        settings: StepSettings.
        build: Makes a network of the same shape in another process, which must be able to import it.
        workers: How many processes share a batch.
    """

    def __init__(
        self, network: Network, settings: Any, build: Callable[[], Network] | None = None, workers: int = 1
    ) -> None:
        self._network = network
        self._settings = settings
        self._build = build
        self._number = workers
        self._parameters = network.parameters()
        self._optimizers = _optimizers(dict(network.named_parameters()), settings)
        self._workers: Workers = SerialWorkers(network)

    def __enter__(self) -> "StdlibEngine":
        """Start the processes."""
        num_micro_batches = -(-self._settings.batch_size // self._settings.micro_batch)
        if self._number > num_micro_batches:
            few = f"a batch has {num_micro_batches} micro-batches, so that many workers are started, not {self._number}"
            warnings.warn(few, InputWarning, stacklevel=3)
            self._number = num_micro_batches
        if self._number > 1 and self._build is not None:
            self._workers = ProcessWorkers(self._network, self._build, self._number)
        return self

    def __exit__(self, *_: object) -> None:
        """End them."""
        self._workers.close()

    def gradient(self, micro_batches: Sequence[MicroBatch]) -> tuple[BatchStats, float]:
        """Compute the gradient of a batch's mean loss, and clip it."""
        stats = batch_gradient(self._network, self._workers, micro_batches)
        return stats, clip_grad_norm(self._parameters, self._settings.clip or inf)

    def step(self, learning_rate: float) -> None:
        """Change the weights by the last gradient."""
        for _, optimizer in self._optimizers:
            optimizer.lr = learning_rate
            optimizer.step()

    def measure(self, micro_batches: Sequence[MicroBatch]) -> BatchStats:
        """Return the result of some windows, without dropout."""
        return sum_stats([stats for stats, _ in self._workers.results(micro_batches, with_gradient=False)])

    def publish(self) -> None:
        """It is that network which learns."""

    def weights(self) -> Arrays:
        """Return a copy of the weights, by name."""
        return {name: (p.shape, array("d", p.data)) for name, p in self._network.named_parameters()}

    def load_weights(self, weights: Arrays) -> None:
        """Take over weights."""
        if any(data.typecode != "d" for _, data in weights.values()):
            raise ValueError("a weight is not in 64 bits")
        self._network.load_state_dict({name: Tensor(data, shape) for name, (shape, data) in weights.items()})

    def remembered(self) -> Arrays:
        """Return what the optimizer remembers."""
        return {
            f"{part}.{name}": (parameter.shape, numbers)
            for named, optimizer in self._optimizers
            for part, arrays in optimizer.state().items()
            for (name, parameter), numbers in zip(named.items(), arrays, strict=True)
        }

    def remember(self, remembered: Arrays, steps: int) -> None:
        """Take that over."""
        for named, optimizer in self._optimizers:
            for part, arrays in optimizer.state().items():
                for i, (name, parameter) in enumerate(named.items()):
                    arrays[i] = checked_memory(remembered, part, name, parameter.shape)
            optimizer.steps = steps


def _optimizers(named: Mapping[str, Parameter], settings: Any) -> list[tuple[dict[str, Parameter], Optimizer]]:
    """Return what changes the parameters, each with those that it changes."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "sgd":
        return [({**named}, SGD(list(named.values()), rate, settings.momentum))]
    matrices, others = split_for_muon(named) if settings.optimizer == "muon" else ({}, {**named})
    betas = settings.beta1, settings.beta2
    return [
        (matrices, Muon(list(matrices.values()), rate, decay)),
        (others, AdamW(list(others.values()), rate, betas, weight_decay=decay)),
    ]


def checked_memory(remembered: Arrays, part: str, name: str, shape: tuple[int, ...]) -> "array[float]":
    """Return what the optimizer remembers of a parameter; ValueError or KeyError if that makes no sense."""
    found, data = remembered[f"{part}.{name}"]
    if found != shape or data.typecode != "d":
        raise ValueError(f"{part}.{name} of the optimizer does not fit")
    if part == "second" and min(data) < 0:
        raise ValueError(f"{part}.{name} of the optimizer, an average of squares, is below zero")
    return data
