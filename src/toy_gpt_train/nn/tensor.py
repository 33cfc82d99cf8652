"""tensor.py - Numbers that remember how they were made, so that gradients can flow back.

A Tensor holds its numbers in one flat list and its shape beside it. An operation (functional.py) makes a new Tensor
from others and says two things: the numbers, and how a gradient of the result becomes gradients of the inputs.
backward() walks from the loss to the parameters and applies the chain rule at every operation.

Concepts:
    gradient: for each number, how much the loss grows when the number grows; as many numbers as the Tensor has.
    reverse mode: one walk from the end gives the gradient of one loss for every parameter at once.

It knows no operation: each brings its own derivative.

Source: Rumelhart, Hinton and Williams (1986), "Learning representations by back-propagating errors".
"""

from collections.abc import Callable, Sequence
from math import prod
from operator import add
from typing import Any

from toy_gpt_train.nn.kernels import Floats, doubles

Shape = tuple[int, ...]
Gradients = tuple[Floats, ...]
Backward = Callable[[Floats], Gradients]


class Tensor:
    """Numbers in a shape, and the way back to what they were made from.

    Args:
        data: The numbers, row-major: the last dimension changes fastest.
        shape: The size of each dimension; their product is the number of numbers.
        parents: The Tensors it was made from.
        backward: Turns the gradient of this Tensor into one for each parent.

    Attributes:
        grad: The gradient, after backward(); None before. A Tensor inside the computation gives its own up.

    Raises:
        ValueError: Shape and numbers do not fit.

    Example:
        >>> Tensor([1.0, 2.0, 3.0, 4.0], (2, 2)).tolist()
        [[1.0, 2.0], [3.0, 4.0]]
    """

    __slots__ = ("_backward", "_parents", "data", "grad", "shape")

    def __init__(
        self, data: Floats, shape: Shape, parents: tuple["Tensor", ...] = (), backward: Backward | None = None
    ) -> None:
        if len(data) != prod(shape):
            raise ValueError(f"{len(data)} numbers do not make a tensor of shape {shape}")
        self.data = data
        self.shape = shape
        self.grad: Floats | None = None
        self._parents = parents
        self._backward = backward

    def tolist(self) -> Any:
        """Return the numbers as nested lists, one level a dimension; a plain number where there is none."""
        nested: list[Any] = list(self.data)
        for i in range(len(self.shape) - 1, 0, -1):
            size = self.shape[i]
            nested = [nested[j * size : (j + 1) * size] for j in range(prod(self.shape[:i]))]
        return nested if self.shape else nested[0]

    def item(self) -> float:
        """Return the only number.

        Raises:
            ValueError: There are several.
        """
        (number,) = self.data
        return number

    def add_gradient(self, gradient: Floats) -> None:
        """Add to the gradient: a number that is used twice moves the loss on both ways."""
        self.grad = gradient if self.grad is None else list(map(add, self.grad, gradient))

    def backward(self, gradient: Floats | None = None) -> None:
        """Give every Tensor that this one was made from its gradient.

        Operations are visited in the reverse of the order they were done in, so that each has its whole gradient
        before it passes it on. What an operation kept for this is let go, so there is one walk only.

        Args:
            gradient: How much the loss grows with each of this Tensor's numbers; 1 where None.

        Raises:
            ValueError: It is None, and the Tensor is no single number; or the shapes do not fit.
            RuntimeError: Some of these operations have been walked back before.

        Example:
            >>> from toy_gpt_train.nn.functional import mul
            >>> x = Tensor([3.0], (1,)); mul(x, x).backward(); x.grad
            [6.0]
        """
        if gradient is None and len(self.data) != 1:
            raise ValueError("only the gradient of a single number can be left out")
        gradient = [1.0] if gradient is None else gradient
        if len(gradient) != len(self.data):
            raise ValueError(f"a gradient of {len(gradient)} numbers for a tensor of {len(self.data)}")
        self.add_gradient(gradient)
        order = _in_order(self)
        while order:
            tensor = order.pop()
            if tensor._backward is None or tensor.grad is None:
                continue  # a parameter, or an input
            for parent, part in zip(tensor._parents, tensor._backward(tensor.grad), strict=True):
                parent.add_gradient(part)
            # WHY: activations are most of the memory; each is needed until here and no longer.
            tensor.grad, tensor._backward, tensor._parents = None, _used_up, ()


class Parameter(Tensor):
    """A Tensor that training changes.

    Its numbers and its gradient are arrays of doubles, 8 bytes a number where a list of floats takes 32.

    Example:
        >>> Parameter([1.0, 2.0], (2,)).data
        array('d', [1.0, 2.0])
    """

    __slots__ = ()

    def __init__(self, data: Floats, shape: Shape) -> None:
        super().__init__(doubles(data), shape)

    def add_gradient(self, gradient: Floats) -> None:
        """Add to the gradient, and keep it as an array."""
        self.grad = doubles(gradient if self.grad is None else list(map(add, self.grad, gradient)))


def _used_up(_: Floats) -> Gradients:
    raise RuntimeError("backward() has been through this operation before, and what it needs is gone")


def from_lists(nested: Any) -> Tensor:
    """Make a Tensor of nested lists; its shape is theirs.

    Raises:
        ValueError: The lists are not all of one shape.

    Example:
        >>> from_lists([[1, 2, 3], [4, 5, 6]]).shape
        (2, 3)
    """
    flat: Sequence[Any] = [nested]
    shape: list[int] = []
    while any(isinstance(part, Sequence) for part in flat):
        sizes = {len(part) if isinstance(part, Sequence) else None for part in flat}
        if len(sizes) != 1:
            raise ValueError("lists of different lengths make no tensor")
        shape.append(len(flat[0]))
        flat = [number for part in flat for number in part]
    return Tensor([float(number) for number in flat], tuple(shape))


def _in_order(last: Tensor) -> list[Tensor]:
    """Return all Tensors that ``last`` was made from, and itself at the end, each after its parents."""
    order: list[Tensor] = []
    met: set[int] = set()
    # WHY a list of our own: a deep network would pass the limit of Python's recursion.
    to_visit: list[tuple[Tensor, bool]] = [(last, False)]
    while to_visit:
        tensor, parents_done = to_visit.pop()
        if parents_done:
            order.append(tensor)
        elif id(tensor) not in met:
            met.add(id(tensor))
            to_visit.append((tensor, True))
            to_visit += [(parent, False) for parent in tensor._parents]
    return order
