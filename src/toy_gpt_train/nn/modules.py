"""modules.py - Parts with parameters: what a network is built from.

A Module is an object whose attributes are Parameters, other Modules, or lists of Modules. That gives every parameter a
name ("blocks.0.attention.q_proj.weight"), by which it is saved and loaded. Calling a Module calls its forward().

Names, shapes and argument order are PyTorch's.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import prod, sqrt
from random import Random
from typing import Any, NamedTuple

from toy_gpt_train.nn import functional
from toy_gpt_train.nn.kernels import doubles
from toy_gpt_train.nn.tensor import Parameter, Shape, Tensor


class Module:
    """A part of a network; its parameters are found among its attributes."""

    training = False  # whether dropout is active

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Compute the output. Every part defines its own."""
        raise NotImplementedError

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return forward() of the arguments."""
        return self.forward(*args, **kwargs)

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Yield (name, parameter): a module's own in the order in which they were set, then those of its children."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield prefix + name, value
        for name, child in self.named_children():
            yield from child.named_parameters(f"{prefix}{name}.")

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """Yield the Modules among the attributes; those in a list are numbered."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list):
                yield from ((f"{name}.{i}", part) for i, part in enumerate(value) if isinstance(part, Module))

    def parameters(self) -> list[Parameter]:
        """Return all parameters."""
        return [parameter for _, parameter in self.named_parameters()]

    def num_parameters(self) -> int:
        """Return how many weights there are in all parameters."""
        return sum(len(parameter.data) for parameter in self.parameters())

    def train(self, mode: bool = True) -> None:
        """Switch dropout on or off."""
        self.training = mode
        for _, child in self.named_children():
            child.train(mode)

    def seed_dropout(self, seed: int) -> None:
        """Restart the randomness of dropout."""
        for _, child in self.named_children():
            child.seed_dropout(seed)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def state_dict(self) -> dict[str, Parameter]:
        """Return the parameters by name."""
        return dict(self.named_parameters())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy values into every parameter; ValueError, and no change, if a name or a shape differs."""
        own = self.state_dict()
        if own.keys() != state.keys():
            raise ValueError(f"the parameters are not the same: {', '.join(sorted(own.keys() ^ state.keys()))}")
        for name, parameter in own.items():
            if parameter.shape != state[name].shape:
                raise ValueError(f"{name} has shape {parameter.shape}, not {state[name].shape}")
        for name, parameter in own.items():
            parameter.data = doubles(state[name].data)


class LensStep(NamedTuple):
    """What a network would predict if it ended here."""

    place: str  # the step's name: ``embeddings``, ``block 1``
    attention: list[list[float]]  # for each head of the step, how much the last token attends to each token
    logits: list[float]  # V values


class Network(Module):
    """A Module that reads token ids and predicts the next token; each network of models/ is one."""

    def forward(self, ids: Sequence[Sequence[int]], *, exact: bool = False) -> Tensor:
        """Return the logits after each token, (B, T, V), for B sequences of T ids; (B, 1, V) if only after the last.

        ``exact`` asks for full precision: training tolerates an error of a millionth, but a prediction that is shown
        must not depend on how many tokens were read at a time.
        """
        raise NotImplementedError

    def logit_lens(self, ids: Sequence[int]) -> list[LensStep]:
        """Follow the prediction after ``ids`` through the network; the last logits are those of an exact forward()."""
        raise NotImplementedError


def _normal(shape: Shape, std: float, generator: Random) -> Parameter:
    return Parameter([generator.gauss(0.0, std) for _ in range(prod(shape))], shape)


class Linear(Module):
    """y = x W^T + b: ``weight`` is W, (out_features, in_features); ``bias`` is b, (out_features,), or None.

    ``std`` is the standard deviation of W's initial values; by default 1/sqrt(in_features), which makes the values of y
    about as large as those of x. b starts at 0.
    """

    def __init__(
        self, in_features: int, out_features: int, *, generator: Random, bias: bool = True, std: float | None = None
    ) -> None:
        std = 1 / sqrt(in_features) if std is None else std
        self.weight = _normal((out_features, in_features), std, generator)
        self.bias = Parameter([0.0] * out_features, (out_features,)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., out_features) for x of (..., in_features)."""
        return functional.linear(x, self.weight, self.bias)


class Embedding(Module):
    """A learned vector for each id: ``weight`` is (num_embeddings, embedding_dim), drawn with deviation ``std``."""

    def __init__(self, num_embeddings: int, embedding_dim: int, *, generator: Random, std: float = 0.02) -> None:
        self.weight = _normal((num_embeddings, embedding_dim), std, generator)

    def forward(self, ids: Sequence[Sequence[int]], *, exact: bool = False) -> Tensor:
        """Return (B, T, C) for B sequences of T ids."""
        return functional.embedding(ids, self.weight, exact=exact)


class LayerNorm(Module):
    """Each row of C values shifted and scaled to mean 0 and variance 1, then by learned amounts."""

    def __init__(self, size: int, eps: float = 1e-5) -> None:
        self.weight = Parameter([1.0] * size, (size,))
        self.bias = Parameter([0.0] * size, (size,))
        self._eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., C) for x of (..., C)."""
        return functional.layer_norm(x, self.weight, self.bias, self._eps)


class RMSNorm(Module):
    """Each row of C values divided by its root mean square, then with ``gain`` scaled by learned amounts."""

    def __init__(self, size: int, eps: float = 1e-5, *, gain: bool = True) -> None:
        self.weight = Parameter([1.0] * size, (size,)) if gain else None
        self._eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., C) for x of (..., C)."""
        return functional.rms_norm(x, self.weight, self._eps)


class Dropout(Module):
    """Sets values to 0 with probability p in training; does nothing otherwise."""

    def __init__(self, p: float, generator: Random) -> None:
        self.p = p
        self._generator = generator

    def seed_dropout(self, seed: int) -> None:
        """Restart the randomness."""
        self._generator.seed(seed)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, with dropout in training."""
        return functional.dropout(x, self.p, self._generator) if self.training and self.p > 0 else x
