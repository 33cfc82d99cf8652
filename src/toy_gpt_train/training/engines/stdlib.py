"""stdlib.py - The engine in the standard library: nn/ computes, in this process or in several."""

import warnings
from array import array
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from toy_gpt_train.errors import InputWarning
from toy_gpt_train.nn.modules import Network
from toy_gpt_train.nn.optim import SGD, AdamW, clip_grad_norm
from toy_gpt_train.nn.tensor import Tensor
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
        betas = settings.beta1, settings.beta2
        self._optimizer: AdamW | SGD = (
            SGD(self._parameters, settings.learning_rate, settings.momentum)
            if settings.optimizer == "sgd"
            else AdamW(self._parameters, settings.learning_rate, betas, weight_decay=settings.weight_decay)
        )
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
        self._optimizer.lr = learning_rate
        self._optimizer.step()

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
            for part, arrays in self._optimizer.state().items()
            for (name, parameter), numbers in zip(self._network.named_parameters(), arrays, strict=True)
        }

    def remember(self, remembered: Arrays, steps: int) -> None:
        """Take that over."""
        for part, arrays in self._optimizer.state().items():
            for i, (name, parameter) in enumerate(self._network.named_parameters()):
                arrays[i] = checked_memory(remembered, part, name, parameter.shape)
        self._optimizer.steps = steps


def checked_memory(remembered: Arrays, part: str, name: str, shape: tuple[int, ...]) -> "array[float]":
    """Return what the optimizer remembers of a parameter; ValueError or KeyError if that makes no sense."""
    found, data = remembered[f"{part}.{name}"]
    if found != shape or data.typecode != "d":
        raise ValueError(f"{part}.{name} of the optimizer does not fit")
    if part == "second" and min(data) < 0:
        raise ValueError(f"{part}.{name} of the optimizer, an average of squares, is below zero")
    return data
