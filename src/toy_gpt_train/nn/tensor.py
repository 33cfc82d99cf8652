"""tensor.py - Arrays that remember how they were made, so that gradients can flow back.

A Tensor holds its values in one flat list, with its shape beside it. An operation makes a new Tensor from others and
records two things: the values, and how a gradient of the result becomes gradients of the inputs. backward() walks from
the loss back to the parameters and applies the chain rule at every operation.

Concepts:
    gradient: for each value, how fast the loss grows when that value grows.
    reverse mode: one walk from the end gives the gradient of one loss for every parameter at once.

Source: Rumelhart, Hinton and Williams (1986), "Learning representations by back-propagating errors".
"""

from collections.abc import Callable, Sequence
from itertools import cycle
from math import prod
from operator import add, mul
from typing import Any

from toy_gpt_train.nn.kernels import Floats, column_sums, doubles, matmul, transpose
from toy_gpt_train.nn.packed import PackedMatrix

Shape = tuple[int, ...]
Gradients = tuple[Floats, ...]
Backward = Callable[[Floats], Gradients]


class Tensor:
    """Values in a shape, and the way back to what they were made from."""

    __slots__ = ("_backward", "_parents", "data", "exact", "grad", "shape")

    packed: PackedMatrix | None = None  # the same values, for products with them; see Parameter.freeze()

    def __init__(
        self,
        data: Floats,  # row-major: the last dimension changes fastest
        shape: Shape,  # ValueError if it does not fit the values
        parents: tuple["Tensor", ...] = (),  # what it was made from
        backward: Backward | None = None,  # turns the gradient of this Tensor into one for each parent
        *,
        exact: bool = False,  # whether matrix products with it are in full precision; so too if a parent is exact
    ) -> None:
        if len(data) != prod(shape):
            raise ValueError(f"{len(data)} values do not make a tensor of shape {shape}")
        self.data = data
        self.shape = shape
        self.exact: bool = exact or any(parent.exact for parent in parents)
        self.grad: Floats | None = None  # after backward(), in Tensors without parents
        self._parents = parents
        self._backward = backward

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape})"

    def tolist(self) -> Any:
        """Return the values as nested lists, one level per dimension; a single float if there is none."""
        nested: list[Any] = list(self.data)
        for i in range(len(self.shape) - 1, 0, -1):
            size = self.shape[i]
            nested = [nested[j * size : (j + 1) * size] for j in range(prod(self.shape[:i]))]
        return nested if self.shape else nested[0]

    def item(self) -> float:
        """Return the only value; ValueError if there are several."""
        (value,) = self.data
        return value

    def __add__(self, other: "Tensor") -> "Tensor":
        """Add elementwise. ``other`` may lack leading dimensions, and is then added to each part; ValueError otherwise.

        >>> (from_lists([[1, 2], [3, 4]]) + from_lists([10, 20])).tolist()
        [[11.0, 22.0], [13.0, 24.0]]
        """
        self._check_broadcast(other)

        def backward(grad: Floats) -> Gradients:
            return grad, column_sums(grad, len(other.data))

        return Tensor(list(map(add, self.data, cycle(other.data))), self.shape, (self, other), backward)

    def __mul__(self, other: "Tensor") -> "Tensor":
        """Multiply elementwise; shapes as in addition.

        >>> (from_lists([1, 2]) * from_lists([3, 4])).tolist()
        [3.0, 8.0]
        """
        self._check_broadcast(other)

        def backward(grad: Floats) -> Gradients:
            grad_other = list(map(mul, grad, self.data))
            return list(map(mul, grad, cycle(other.data))), column_sums(grad_other, len(other.data))

        return Tensor(list(map(mul, self.data, cycle(other.data))), self.shape, (self, other), backward)

    def _check_broadcast(self, other: "Tensor") -> None:
        if other.shape != self.shape[len(self.shape) - len(other.shape) :]:
            raise ValueError(f"a tensor of shape {other.shape} does not fit one of shape {self.shape}")

    def __matmul__(self, other: "Tensor") -> "Tensor":
        """Multiply matrices: (..., m, k) @ (k, n) is (..., m, n); ValueError if the shapes do not fit.

        >>> (from_lists([[1, 2]]) @ from_lists([[3, 4], [5, 6]])).tolist()
        [[13.0, 16.0]]
        """
        if len(other.shape) != 2 or self.shape[-1:] != other.shape[:1]:
            raise ValueError(f"cannot multiply a tensor of shape {self.shape} by one of shape {other.shape}")
        k, n = other.shape
        m = prod(self.shape[:-1])
        exact = self.exact or other.exact

        def backward(grad: Floats) -> Gradients:
            grad_self = matmul(grad, transpose(other.data, k, n), m, n, k, exact=exact)
            return grad_self, matmul(transpose(self.data, m, k), grad, k, m, n, exact=exact)

        y = matmul(self.data, other.data, m, k, n, exact=exact)
        return Tensor(y, (*self.shape[:-1], n), (self, other), backward)

    def add_gradient(self, gradient: Floats) -> None:
        """Add to the gradient: a value that is used twice changes the loss in both ways."""
        self.grad = gradient if self.grad is None else list(map(add, self.grad, gradient))

    def backward(self, gradient: Floats | None = None) -> None:
        """Give a gradient to every Tensor that this one was made from.

        Operations are visited in the reverse of the order they were done in, so that each has its whole gradient before
        it passes it on. What an operation kept for this is released: RuntimeError if one is visited again.

        ``gradient`` is how fast the loss grows with each value of this Tensor: 1 if it is a single value, and otherwise
        as many numbers; ValueError if they do not fit.

        >>> x = from_lists([3.0]); (x * x).backward(); x.grad
        [6.0]
        """
        if gradient is None and len(self.data) != 1:
            raise ValueError("only the gradient of a single value can be left out")
        gradient = [1.0] if gradient is None else gradient
        if len(gradient) != len(self.data):
            raise ValueError(f"a gradient of {len(gradient)} values for a tensor of {len(self.data)}")
        self.add_gradient(gradient)
        order = _in_order(self)
        while order:
            tensor = order.pop()
            if tensor._backward is None or tensor.grad is None:
                continue  # a parameter or an input
            for parent, part in zip(tensor._parents, tensor._backward(tensor.grad), strict=True):
                parent.add_gradient(part)
            # WHY: activations are most of the memory, and this one is no longer needed.
            tensor.grad, tensor._backward, tensor._parents = None, _used_up, ()


class Parameter(Tensor):
    """A Tensor that training changes. Its values and gradient are arrays of doubles: 8 bytes per value, not 32.

    Without data it is empty, until load_state_dict() or freeze() gives it some.
    """

    __slots__ = ("_packed", "is_frozen")

    def __init__(self, data: Floats | None, shape: Shape) -> None:
        super().__init__(() if data is None else doubles(data), (0,) if data is None else shape)
        self.shape = shape
        self.is_frozen = False
        self._packed: PackedMatrix | None = None

    def freeze(self, data: Floats) -> None:
        """Take over values as they are, to be trained no more: 32-bit floats, which may be read when they are needed.

        A slice of ``data`` is an array("f").
        """
        self.data, self.is_frozen, self._packed = data, True, None

    @property
    def packed(self) -> PackedMatrix | None:  # type: ignore[override]
        """A frozen matrix for products; packed when it is first asked for. None if training may change it."""
        if self.is_frozen and self._packed is None:
            self._packed = PackedMatrix(self.data[:], *self.shape)  # type: ignore[arg-type]
        return self._packed

    def add_gradient(self, gradient: Floats) -> None:
        """Add to the gradient, and keep it as an array."""
        self.grad = doubles(gradient if self.grad is None else list(map(add, self.grad, gradient)))


def _used_up(_: Floats) -> Gradients:
    raise RuntimeError("backward() has been through this operation before, and what it needs is gone")


def from_lists(nested: Any, *, exact: bool = False) -> Tensor:
    """Make a Tensor with the values and the shape of nested lists; ValueError if the lists have different lengths."""
    flat: Sequence[Any] = [nested]
    shape: list[int] = []
    while any(isinstance(part, Sequence) for part in flat):
        sizes = {len(part) if isinstance(part, Sequence) else None for part in flat}
        if len(sizes) != 1:
            raise ValueError("lists of different lengths do not make a tensor")
        shape.append(len(flat[0]))
        flat = [value for part in flat for value in part]
    return Tensor([float(value) for value in flat], tuple(shape), exact=exact)


def _in_order(last: Tensor) -> list[Tensor]:
    """Return all Tensors that ``last`` was made from, each after its parents, and ``last`` itself at the end."""
    order: list[Tensor] = []
    met: set[int] = set()
    # WHY an explicit stack: a deep network would exceed Python's recursion limit.
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
