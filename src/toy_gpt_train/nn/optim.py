"""optim.py - How gradients become steps.

Concepts:
    momentum: keep part of the previous steps, so that oscillations cancel.
    AdamW: each weight has its own step size, small where its gradient is large or noisy.
    Muon: a matrix moves about equally far in all directions that its gradient has, strong or weak.
    weight decay: every step also shrinks every weight by a small share.
    schedule: large steps after a short warm-up, then usually smaller and smaller ones.

It knows parameters and their gradients, not what they are for.
"""

from array import array
from collections.abc import Mapping, Sequence
from math import cos, fsum, pi, sqrt
from operator import mul
from typing import Any, Final, Protocol, TypeVar

from toy_gpt_train.math_training import add_up
from toy_gpt_train.nn.kernels import Floats, doubles, matmul, matmul_transposed, transpose
from toy_gpt_train.nn.tensor import Parameter

AnyParameter = TypeVar("AnyParameter", bound=Any)  # of this engine or of another; it has a shape
State = dict[str, list["array[float]"]]  # by name, an array for each parameter


class Optimizer(Protocol):
    """What changes some parameters, step by step."""

    lr: float  # step size; may be changed before every step
    steps: int  # how many there were

    def state(self) -> State:
        """Return what it remembers from step to step, besides how many there were."""
        ...

    def step(self) -> None:
        """Change every parameter that has a gradient."""
        ...


_MUON_MOMENTUM: Final = 0.95
_MUON_ROUNDS: Final = 5
# What they want: small singular values grow as fast as possible, and none leaves the neighborhood of 1.
_MUON_POLYNOMIAL: Final = (3.4445, -4.775, 2.0315)


class SGD:
    """Stochastic gradient descent: v = momentum v + g; w = w - lr v.

    >>> w = Parameter([1.0], (1,)); w.grad = array("d", [0.5])
    >>> SGD([w], lr=0.1).step(); w.data
    array('d', [0.95])

    Source: Robbins and Monro (1951); Polyak (1964) for momentum, in PyTorch's form.
    """

    def __init__(self, parameters: Sequence[Parameter], lr: float, momentum: float = 0.0) -> None:
        self.parameters = list(parameters)
        self.lr, self.momentum = lr, momentum
        self.steps = 0
        self.velocities = _zeros_like(self.parameters)  # v, an array for each parameter

    def state(self) -> State:
        """Return what it remembers from step to step, besides how many there were."""
        return {"velocity": self.velocities}

    def step(self) -> None:
        """Change every parameter that has a gradient."""
        self.steps += 1
        for i, parameter in enumerate(self.parameters):
            if parameter.grad is None:
                continue
            velocity = [self.momentum * v + g for v, g in zip(self.velocities[i], parameter.grad, strict=True)]
            self.velocities[i] = doubles(velocity)
            parameter.data = doubles([w - self.lr * v for w, v in zip(parameter.data, velocity, strict=True)])


class AdamW:
    """Adam with decoupled weight decay.

        m = beta1 m + (1 - beta1) g           the average gradient
        v = beta2 v + (1 - beta2) g^2         the average of its square
        w = w - lr (m' / (sqrt(v') + eps) + weight_decay w)

    m' and v' are m and v divided by 1 - beta^t, because m and v start at 0 and are too small at first.

    >>> w = Parameter([1.0], (1,)); w.grad = array("d", [0.5])
    >>> AdamW([w], lr=0.1, weight_decay=0.0).step(); round(w.data[0], 6)
    0.9

    Source: Kingma and Ba (2015), "Adam"; Loshchilov and Hutter (2019), "Decoupled weight decay regularization".
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        lr: float = 1e-3,  # step size; may be changed before every step
        betas: tuple[float, float] = (0.9, 0.999),  # how slowly the two averages forget
        eps: float = 1e-8,
        weight_decay: float = 0.01,  # the share of lr by which every weight shrinks
    ) -> None:
        self.parameters = list(parameters)
        self.lr, self.betas, self.eps, self.weight_decay = lr, betas, eps, weight_decay
        self.steps = 0  # t
        self.first = _zeros_like(self.parameters)  # m, an array for each parameter
        self.second = _zeros_like(self.parameters)  # v

    def state(self) -> State:
        """Return what it remembers from step to step, besides how many there were."""
        return {"first": self.first, "second": self.second}

    def step(self) -> None:
        """Change every parameter that has a gradient, in about ten floating-point operations per weight."""
        self.steps += 1
        beta1, beta2 = self.betas
        rest1, rest2 = 1 - beta1, 1 - beta2
        # Out of the loop: m' / (sqrt(v') + eps) is m / (sqrt(v) + eps root) times root / (1 - beta1^t).
        root = sqrt(1 - beta2**self.steps)
        size = self.lr * root / (1 - beta1**self.steps)
        eps = self.eps * root
        keep = 1 - self.lr * self.weight_decay
        for i, parameter in enumerate(self.parameters):
            if parameter.grad is None:
                continue
            first: list[float] = []
            second: list[float] = []
            data: list[float] = []
            for w, g, m, v in zip(parameter.data, parameter.grad, self.first[i], self.second[i], strict=True):
                m = beta1 * m + rest1 * g
                v = beta2 * v + rest2 * g * g
                first.append(m)
                second.append(v)
                data.append(keep * w - size * m / (sqrt(v) + eps))
            self.first[i], self.second[i] = doubles(first), doubles(second)
            parameter.data = doubles(data)


class Muon:
    """Momentum for matrices, orthogonalized: a step is about equally long in all directions of the gradient.

        m = 0.95 m + 0.05 g
        u = 0.95 m + 0.05 g                   one step ahead: Nesterov's momentum
        w = w - lr (sqrt(max(1, rows / columns)) orthogonalized(u) + weight_decay w)

    The gradient of a matrix is nearly always a few directions, and hardly anything in all others. AdamW looks at each
    weight by itself and does not see that. What is rare in a text is learned sooner when weak directions count, too.

    >>> w = Parameter([1.0, 0.0, 0.0, 1.0], (2, 2)); w.grad = array("d", [100.0, 0.0, 0.0, 1.0])
    >>> Muon([w], lr=0.1, weight_decay=0.0).step(); [round(x, 2) for x in w.data]
    [0.93, 0.0, 0.0, 0.93]

    Source: Jordan et al. (2024), "Muon: An optimizer for hidden layers in neural networks".
    """

    def __init__(self, parameters: Sequence[Parameter], lr: float = 1e-3, weight_decay: float = 0.1) -> None:
        if not all(len(parameter.shape) == 2 for parameter in parameters):
            raise ValueError("Muon is for matrices")
        self.parameters = list(parameters)
        self.lr, self.weight_decay = lr, weight_decay
        self.steps = 0
        self.velocities = _zeros_like(self.parameters)  # m, an array for each parameter

    def state(self) -> State:
        """Return what it remembers from step to step, besides how many there were."""
        return {"velocity": self.velocities}

    def step(self) -> None:
        """Change every matrix that has a gradient."""
        self.steps += 1
        keep, rest = _MUON_MOMENTUM, 1 - _MUON_MOMENTUM
        for i, parameter in enumerate(self.parameters):
            if parameter.grad is None:
                continue
            velocity = doubles([keep * m + rest * g for m, g in zip(self.velocities[i], parameter.grad, strict=True)])
            self.velocities[i] = velocity
            ahead = [keep * m + rest * g for m, g in zip(velocity, parameter.grad, strict=True)]
            rows, columns = parameter.shape
            size = self.lr * sqrt(max(1.0, rows / columns))
            shrink = 1 - self.lr * self.weight_decay
            direction = orthogonalized(ahead, rows, columns)
            parameter.data = doubles([shrink * w - size * u for w, u in zip(parameter.data, direction, strict=True)])


def split_for_muon(named: Mapping[str, AnyParameter]) -> tuple[dict[str, AnyParameter], dict[str, AnyParameter]]:
    """Return the parameters that Muon is for, the matrices between the embeddings and the output layer, and the others.

    A batch has only some of the tokens, and only their rows of the embeddings have a gradient: no directions there.
    """
    ends = ("token_embeddings", "position_embeddings", "output")
    matrices = {name: p for name, p in named.items() if len(p.shape) == 2 and not name.startswith(ends)}
    return matrices, {name: p for name, p in named.items() if name not in matrices}


def orthogonalized(matrix: Floats, rows: int, columns: int) -> Floats:
    """Return a matrix with the same directions, each about equally strong.

    Divided by its norm, five times X = a X + b (X X^T) X + c (X X^T)^2 X. This leaves the singular vectors, and moves
    each singular value towards 1, fast instead of exactly: from 0.004 up they end between 0.65 and 1.25. Cost:
    5 (2 r^2 s + r^3) multiply-adds for r rows and s columns, r <= s.

    Example:
        >>> [round(x, 2) for x in orthogonalized([100.0, 0.0, 0.0, 1.0], 2, 2)]
        [0.7, 0.0, 0.0, 0.7]

    Source: Jordan et al. (2024), as in Muon.
    """
    norm = sqrt(add_up(map(mul, matrix, matrix)))
    if norm == 0:
        return matrix
    if rows > columns:
        return transpose(orthogonalized(transpose(matrix, rows, columns), columns, rows), columns, rows)
    a, b, c = _MUON_POLYNOMIAL
    x: Floats = [value / norm for value in matrix]
    for _ in range(_MUON_ROUNDS):
        gram = matmul_transposed(x, x, rows, columns, rows)
        squared = matmul(gram, gram, rows, rows, rows)
        change = matmul([b * g + c * s for g, s in zip(gram, squared, strict=True)], x, rows, rows, columns)
        x = [a * old + new for old, new in zip(x, change, strict=True)]
    return x


def _zeros_like(parameters: Sequence[Parameter]) -> list["array[float]"]:
    return [array("d", bytes(8 * len(parameter.data))) for parameter in parameters]


def clip_grad_norm(parameters: Sequence[Parameter], max_norm: float) -> float:
    """Scale all gradients together so that their norm is at most ``max_norm``; return the norm before.

    So one unusual batch does not throw the weights far away.

    >>> w = Parameter([0.0, 0.0], (2,)); w.grad = array("d", [3.0, 4.0])
    >>> clip_grad_norm([w], 1.0), [round(g, 4) for g in w.grad]
    (5.0, [0.6, 0.8])

    Source: Pascanu, Mikolov and Bengio (2013), "On the difficulty of training recurrent neural networks".
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = sqrt(fsum(add_up(map(mul, grad, grad)) for grad in gradients))
    if norm > max_norm:
        scale = max_norm / (norm + 1e-6)
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad = doubles([scale * g for g in parameter.grad])
    return norm


# --- schedules: the step size of each step, counted from 0 ---------------------------------------------------


def cosine_schedule(step: int, *, peak: float, warmup: int, total: int, floor: float = 0.0) -> float:
    """Go up in a straight line, then down along half a cosine.

    It is 0 at step 0, ``peak`` at step ``warmup``, and ``floor`` from step ``total`` on.

    >>> [round(cosine_schedule(step, peak=1.0, warmup=2, total=6), 4) for step in range(7)]
    [0.0, 0.5, 1.0, 0.8536, 0.5, 0.1464, 0.0]

    Source: Loshchilov and Hutter (2017), "SGDR", for the cosine; Goyal et al. (2017) for the warm-up.
    """
    if step < warmup:
        return peak * step / warmup
    return floor + (peak - floor) * 0.5 * (1 + cos(pi * _share_done(step, warmup, total)))


def linear_schedule(step: int, *, peak: float, warmup: int, total: int, floor: float = 0.0) -> float:
    """Go up as in cosine_schedule, then down in a straight line, too.

    >>> [linear_schedule(step, peak=1.0, warmup=2, total=6) for step in range(7)]
    [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
    """
    if step < warmup:
        return peak * step / warmup
    return peak + (floor - peak) * _share_done(step, warmup, total)


def _share_done(step: int, warmup: int, total: int) -> float:
    return min((step - warmup) / max(total - warmup, 1), 1.0)


def constant_schedule(step: int, *, peak: float, warmup: int = 0) -> float:
    """Go up as in cosine_schedule, if there is a warm-up, and stay there.

    >>> [constant_schedule(step, peak=1.0, warmup=2) for step in range(4)]
    [0.0, 0.5, 1.0, 1.0]
    """
    return peak * step / warmup if step < warmup else peak


def inverse_sqrt_schedule(step: int, *, peak: float, warmup: int = 0) -> float:
    """Go up as in cosine_schedule, if there is a warm-up, then divide by the root of 1, 2, 3, ...

    >>> [inverse_sqrt_schedule(step, peak=6.0) for step in (0, 3, 8)]
    [6.0, 3.0, 2.0]

    Source: Robbins and Monro (1951): steps that shrink, but not so fast that they end before the goal.
    """
    return peak * step / warmup if step < warmup else peak / sqrt(step - warmup + 1)
