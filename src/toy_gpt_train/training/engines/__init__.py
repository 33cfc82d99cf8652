"""engines - Who computes: the standard library (stdlib.py), or PyTorch (pytorch.py, with the extra [torch]).

An engine has a network and what its optimizer remembers. Everything else about training is written once, in steps.py:
which windows are drawn, how the step size changes, the log, the checkpoints. So the engines can take over from each
other, and both write the same files.
"""

from collections.abc import Sequence
from typing import Protocol

from toy_gpt_train.training.checkpoint import Arrays
from toy_gpt_train.training.workers import BatchStats, MicroBatch


class Engine(Protocol):
    """A network that learns. As a context manager, it is ready to compute within."""

    def __enter__(self) -> "Engine":
        """Get ready; OSError if that is not possible."""
        ...

    def __exit__(self, *_: object) -> None:
        """Give back what was used."""
        ...

    def gradient(self, micro_batches: Sequence[MicroBatch]) -> tuple[BatchStats, float]:
        """Compute the gradient of a batch's mean loss, and clip it; return the batch's result and the norm before."""
        ...

    def step(self, learning_rate: float) -> None:
        """Change the weights by the last gradient."""
        ...

    def measure(self, micro_batches: Sequence[MicroBatch]) -> BatchStats:
        """Return the result of some windows, without dropout."""
        ...

    def publish(self) -> None:
        """Give the weights of now to the network that all this is for, if it has others."""
        ...

    def weights(self) -> Arrays:
        """Return a copy of the weights, by name."""
        ...

    def load_weights(self, weights: Arrays) -> None:
        """Take over weights; ValueError if they do not fit the network."""
        ...

    def remembered(self) -> Arrays:
        """Return what the optimizer remembers: ``first.NAME`` and ``second.NAME``, or ``velocity.NAME``."""
        ...

    def remember(self, remembered: Arrays, steps: int) -> None:
        """Take that over, after so many steps; ValueError if it does not fit the network."""
        ...
