"""modules.py - Parts with parameters: what a network is built from.

A Module is an object whose attributes are Parameters, other Modules, or lists of Modules. That is all it takes to
give every parameter a name ("blocks.0.attention.q_proj.weight") and to save and load them all.

Names, shapes and argument order are PyTorch's.
"""

import random
from array import array
from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from typing import NamedTuple

from toy_gpt_train.nn import functional
from toy_gpt_train.nn.tensor import Parameter, Shape, Tensor


class Module:
    """A part of a network; its parameters are found among its attributes.

    Attributes:
        training: Whether dropout is at work.

    Example:
        >>> [name for name, _ in Linear(2, 3, generator=random.Random(0)).named_parameters()]
        ['weight', 'bias']
    """

    training = False

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
        """Return how many numbers training can change."""
        return sum(len(parameter.data) for parameter in self.parameters())

    def train(self, mode: bool = True) -> None:
        """Switch dropout on, or off."""
        self.training = mode
        for _, child in self.named_children():
            child.train(mode)

    def seed_dropout(self, seed: int) -> None:
        """Start the randomness of dropout anew."""
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
        """Take over numbers for every parameter.

        Raises:
            ValueError: A name is missing or too many, or a shape differs; nothing is changed then.

        Example:
            >>> layer = Linear(1, 1, generator=random.Random(0))
            >>> layer.load_state_dict({"weight": Tensor([2.0], (1, 1)), "bias": Tensor([0.0], (1,))})
            >>> layer.weight.data
            array('d', [2.0])
        """
        own = self.state_dict()
        if own.keys() != state.keys():
            different = ", ".join(sorted(own.keys() ^ state.keys()))
            raise ValueError(f"the parameters are not the same: {different}")
        for name, parameter in own.items():
            if parameter.shape != state[name].shape:
                raise ValueError(f"{name} has shape {parameter.shape}, not {state[name].shape}")
        for name, parameter in own.items():
            parameter.data = array("d", state[name].data)


class Glimpse(NamedTuple):
    """What a network is about to say, seen at one place on the way through it.

    Attributes:
        place: Where, in a word or two: ``embeddings``, ``block 1``.
        attention: For each head at this place, how much the last token looks at each token.
        logits: V numbers: what the network would say if the way ended here.
    """

    place: str
    attention: list[list[float]]
    logits: list[float]


class LanguageModel(Module):
    """A Module that reads token ids and says what comes next; each network of models/ is one."""

    def forward(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Return logits for B sequences of T ids.

        Returns:
            (B, T, V): what comes after each token; or (B, 1, V) from a network that only says what comes after the
            last one.
        """
        raise NotImplementedError

    def glimpses(self, ids: Sequence[int]) -> list[Glimpse]:
        """Follow the prediction of the token after ``ids`` through the network; the last logits are forward()'s."""
        raise NotImplementedError


def _normal(shape: Shape, std: float, generator: random.Random) -> Parameter:
    """Return a parameter drawn from a normal distribution around 0."""
    size = 1
    for dimension in shape:
        size *= dimension
    return Parameter([generator.gauss(0.0, std) for _ in range(size)], shape)


class Linear(Module):
    """y = x W^T + b.

    Args:
        in_features: Numbers a row of x has.
        out_features: Numbers a row of y has.
        bias: Whether there is a b; it starts at 0.
        std: Of the normal distribution that W is drawn from; 1/sqrt(in_features) where None, so that the numbers of y
            are about as large as those of x.
        generator: The source of randomness.

    Attributes:
        weight: W, (out_features, in_features).
        bias: b, (out_features,), or None.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        generator: random.Random,
        bias: bool = True,
        std: float | None = None,
    ) -> None:
        std = 1 / sqrt(in_features) if std is None else std
        self.weight = _normal((out_features, in_features), std, generator)
        self.bias = Parameter([0.0] * out_features, (out_features,)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., out_features) for x of (..., in_features)."""
        return functional.linear(x, self.weight, self.bias)


class Embedding(Module):
    """A learned vector for each id.

    Args:
        num_embeddings: How many ids there are.
        embedding_dim: C, how many numbers a vector has.
        std: Of the normal distribution they are drawn from.
        generator: The source of randomness.

    Attributes:
        weight: (num_embeddings, embedding_dim).
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, *, generator: random.Random, std: float = 0.02) -> None:
        self.weight = _normal((num_embeddings, embedding_dim), std, generator)

    def forward(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Return (B, T, C) for B sequences of T ids."""
        return functional.embedding(ids, self.weight)


class LayerNorm(Module):
    """Each row to mean 0 and variance 1, then scaled and shifted; see functional.layer_norm.

    Args:
        size: C.
    """

    def __init__(self, size: int) -> None:
        self.weight = Parameter([1.0] * size, (size,))
        self.bias = Parameter([0.0] * size, (size,))

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., C) for x of (..., C)."""
        return functional.layer_norm(x, self.weight, self.bias)


class RMSNorm(Module):
    """Each row divided by its root mean square, then scaled; see functional.rms_norm.

    Args:
        size: C.
        gain: Whether the scale is learned.
    """

    def __init__(self, size: int, *, gain: bool = True) -> None:
        self.weight = Parameter([1.0] * size, (size,)) if gain else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., C) for x of (..., C)."""
        return functional.rms_norm(x, self.weight)


class Dropout(Module):
    """Numbers put to 0 at random while training; nothing otherwise.

    Args:
        p: How likely each is put to 0.
        generator: The source of randomness.
    """

    def __init__(self, p: float, generator: random.Random) -> None:
        self.p = p
        self._generator = generator

    def seed_dropout(self, seed: int) -> None:
        """Start the randomness anew."""
        self._generator.seed(seed)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, thinned out while training."""
        return functional.dropout(x, self.p, self._generator) if self.training and self.p > 0 else x
