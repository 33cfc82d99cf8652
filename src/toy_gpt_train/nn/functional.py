"""functional.py - The operations, each with its derivative beside it.

Each function computes the values first; its ``backward`` turns the gradient of the result, ``grad``, into the gradients
of the inputs, in their order. Names and argument order are PyTorch's. Attention is in attention.py.

Shapes: B sequences, T tokens each, C values per token (its channels), V tokens in the vocabulary. "(..., C)" is any
shape that ends in C; operations on rows see it as one matrix with rows of C values.
"""

import math
import random
from collections.abc import Callable, Sequence
from itertools import chain, cycle
from operator import add as plus
from operator import mul as times

from toy_gpt_train import math_training
from toy_gpt_train.math_training import add_up
from toy_gpt_train.nn.kernels import Floats, column_sums, matmul, matmul_transposed, transpose
from toy_gpt_train.nn.tensor import Gradients, Shape, Tensor


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return y = x W^T + b, (..., out), for x (..., in), weight W (out, in) and bias b (out,), if there is one.

    ValueError if the rows of x do not fit. Cost: rows * in * out multiply-adds forward, twice as many backward.

    >>> linear(Tensor([1.0, 2.0], (1, 2)), Tensor([3.0, 4.0], (1, 2)), Tensor([0.5], (1,))).tolist()
    [[11.5]]
    """
    num_out, num_in = weight.shape
    _check_rows(x, num_in)
    if (packed := weight.packed) is not None:  # nothing to train here, so no way back
        y = packed.times(x.data)
        y = y if bias is None else list(map(plus, y, cycle(bias.data)))
        return Tensor(y, (*x.shape[:-1], num_out), exact=x.exact)
    rows = len(x.data) // num_in
    exact = x.exact or weight.exact
    y = matmul_transposed(x.data, weight.data, rows, num_in, num_out, exact=exact)
    if bias is not None:
        y = list(map(plus, y, cycle(bias.data)))

    def backward(grad: Floats) -> Gradients:
        grad_x = matmul(grad, weight.data, rows, num_out, num_in, exact=exact)
        grad_weight = matmul(transpose(grad, rows, num_out), x.data, num_out, rows, num_in, exact=exact)
        return (grad_x, grad_weight) if bias is None else (grad_x, grad_weight, column_sums(grad, num_out))

    return Tensor(y, (*x.shape[:-1], num_out), (x, weight) if bias is None else (x, weight, bias), backward)


def _check_rows(x: Tensor, size: int) -> None:
    if x.shape[-1] != size:
        raise ValueError(f"rows of {size} values are needed, the tensor has shape {x.shape}")


def embedding(ids: Sequence[Sequence[int]], weight: Tensor, *, exact: bool = False) -> Tensor:
    """Look up the row of ``weight`` (V, C) for each id of B sequences of T ids: (B, T, C); ``exact``: see Tensor.

    IndexError if an id is not from 0 to V-1, ValueError if the sequences have different lengths.

    >>> embedding([[1, 0]], Tensor([0.1, 0.2, 0.3, 0.4], (2, 2))).tolist()
    [[[0.3, 0.4], [0.1, 0.2]]]
    """
    num_ids, size = weight.shape
    flat = [token_id for sequence in ids for token_id in sequence]
    if len({len(sequence) for sequence in ids}) != 1:
        raise ValueError("sequences of different lengths do not make a batch")
    if flat and not 0 <= min(flat) <= max(flat) < num_ids:
        raise IndexError(f"ids are 0 to {num_ids - 1}, got {min(flat)} to {max(flat)}")
    y = list(chain.from_iterable(weight.data[token_id * size : (token_id + 1) * size] for token_id in flat))

    def backward(grad: Floats) -> Gradients:
        # A row looked up several times gets the sum of its gradients; a row never looked up gets zeros.
        sums: dict[int, Floats] = {}
        for i, token_id in enumerate(flat):
            part = grad[i * size : (i + 1) * size]
            sums[token_id] = list(map(plus, sums[token_id], part)) if token_id in sums else part
        zeros = [0.0] * size
        return (list(chain.from_iterable(sums.get(token_id, zeros) for token_id in range(num_ids))),)

    return Tensor(y, (len(ids), len(flat) // len(ids), size), (weight,), backward, exact=exact)


def reshape(x: Tensor, shape: Shape) -> Tensor:
    """Return the same values in another shape."""
    return Tensor(x.data, shape, (x,), lambda grad: (grad,))


def relu(x: Tensor) -> Tensor:
    """Return x where it is above 0, and 0 elsewhere.

    >>> relu(Tensor([-1.0, 2.0], (2,))).tolist()
    [0.0, 2.0]
    """

    def backward(grad: Floats) -> Gradients:
        return ([0.0 if a <= 0 else g for g, a in zip(grad, x.data, strict=True)],)

    return Tensor([0.0 if a <= 0 else a for a in x.data], x.shape, (x,), backward)


def tanh(x: Tensor) -> Tensor:
    """Return the hyperbolic tangent, whose derivative is one minus its square.

    >>> tanh(Tensor([0.0], (1,))).tolist()
    [0.0]
    """
    y = list(map(math.tanh, x.data))

    def backward(grad: Floats) -> Gradients:
        return ([g * (1 - b * b) for g, b in zip(grad, y, strict=True)],)

    return Tensor(y, x.shape, (x,), backward)


_GELU_SCALE = math.sqrt(2 / math.pi)
_GELU_CUBE = 0.044715


def gelu(x: Tensor) -> Tensor:
    """Return GELU in its tanh form: x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2.

    >>> round(gelu(Tensor([1.0], (1,))).item(), 4)
    0.8412

    Source: Hendrycks and Gimpel (2016), "Gaussian error linear units"; GPT-2 uses this form.
    """
    tanhs = [math.tanh(_GELU_SCALE * (a + _GELU_CUBE * a * a * a)) for a in x.data]

    def backward(grad: Floats) -> Gradients:
        return (
            [
                g * 0.5 * (1 + t + a * (1 - t * t) * _GELU_SCALE * (1 + 3 * _GELU_CUBE * a * a))
                for g, a, t in zip(grad, x.data, tanhs, strict=True)
            ],
        )

    return Tensor([0.5 * a * (1 + t) for a, t in zip(x.data, tanhs, strict=True)], x.shape, (x,), backward)


def silu(x: Tensor) -> Tensor:
    """Return x sigmoid(x).

    >>> round(silu(Tensor([1.0], (1,))).item(), 4)
    0.7311

    Source: Elfwing, Uchibe and Doya (2018), "Sigmoid-weighted linear units".
    """
    # WHY tanh: sigmoid(x) = (1 + tanh(x / 2)) / 2, which does not overflow for large -x.
    sigmoids = [0.5 + 0.5 * math.tanh(0.5 * a) for a in x.data]

    def backward(grad: Floats) -> Gradients:
        return ([g * s * (1 + a * (1 - s)) for g, a, s in zip(grad, x.data, sigmoids, strict=True)],)

    return Tensor(list(map(times, x.data, sigmoids)), x.shape, (x,), backward)


def dropout(x: Tensor, p: float, generator: random.Random) -> Tensor:
    """Set each value to 0 with probability p from 0 to below 1, and divide the others by 1 - p, which keeps the mean.

    >>> dropout(Tensor([1.0, 1.0, 1.0], (3,)), 0.5, random.Random(1)).tolist()
    [0.0, 2.0, 2.0]

    Source: Srivastava et al. (2014), "Dropout: a simple way to prevent neural networks from overfitting".
    """
    if not 0 <= p < 1:
        raise ValueError(f"the dropout probability must be at least 0 and below 1, got {p}")
    keep = 1 / (1 - p)
    mask = [0.0 if generator.random() < p else keep for _ in x.data]
    return Tensor(list(map(times, x.data, mask)), x.shape, (x,), lambda grad: (list(map(times, grad, mask)),))


def _by_row(function: Callable[..., list[float]], size: int, *datas: Floats) -> list[float]:
    starts = range(0, len(datas[0]), size)
    return list(chain.from_iterable(function(*(data[i : i + size] for data in datas)) for i in starts))


def softmax(x: Tensor) -> Tensor:
    """Turn each row into probabilities: exp(x_j) over the sum of all exp(x_i).

    >>> softmax(Tensor([0.0, 0.0], (1, 2))).tolist()
    [[0.5, 0.5]]
    """
    size = x.shape[-1]
    probs = _by_row(math_training.softmax, size, x.data)
    return Tensor(probs, x.shape, (x,), lambda grad: (_by_row(softmax_backward, size, probs, grad),))


def softmax_backward(probs: Floats, grad: Floats) -> list[float]:
    """Return the gradient of one row of scores: p_j (g_j - sum of all p_i g_i)."""
    mean = add_up(map(times, probs, grad))
    return [p * (g - mean) for p, g in zip(probs, grad, strict=True)]


def without_first(x: Tensor, count: int) -> Tensor:
    """Leave out the first ``count`` of T tokens: (B, T, C) becomes (B, T - count, C).

    >>> without_first(Tensor([1.0, 2.0, 3.0], (1, 3, 1)), 1).tolist()
    [[[2.0], [3.0]]]
    """
    if not count:
        return x
    batch, length, size = x.shape
    block, skipped = length * size, count * size

    def backward(grad: Floats) -> Gradients:
        kept, nothing = block - skipped, [0.0] * skipped
        return (list(chain.from_iterable((*nothing, *grad[i : i + kept]) for i in range(0, len(grad), kept))),)

    y = list(chain.from_iterable(x.data[i + skipped : i + block] for i in range(0, len(x.data), block)))
    return Tensor(y, (batch, length - count, size), (x,), backward)


def cross_entropy(logits: Tensor, targets: Sequence[int]) -> Tensor:
    """Return the mean over all rows of logits (..., V) of -log softmax(row)[target], in nats; one target id per row.

    Softmax, logarithm and mean are one operation, because its derivative is simply (probs - onehot) / rows. ValueError
    if there are not as many targets as rows, IndexError if a target is not from 0 to V-1.

    >>> round(cross_entropy(Tensor([0.0, 0.0], (1, 2)), [1]).item(), 4)
    0.6931

    Source: Bridle (1990), "Probabilistic interpretation of feedforward classification network outputs".
    """
    size = logits.shape[-1]
    if len(targets) * size != len(logits.data):
        raise ValueError(f"{len(targets)} targets for {len(logits.data) // size} rows of logits")
    if not 0 <= min(targets) <= max(targets) < size:
        raise IndexError(f"targets are 0 to {size - 1}, got {min(targets)} to {max(targets)}")
    loss = 0.0
    probs: list[float] = []
    for i, target in enumerate(targets):
        row = logits.data[i * size : (i + 1) * size]
        row_probs = math_training.softmax(row)
        # WHY not log(row_probs[target]): that probability may be too small for a float; the largest is at least 1/V.
        loss -= math.log(max(row_probs)) + row[target] - max(row)
        probs += row_probs

    def backward(grad: Floats) -> Gradients:
        scale = grad[0] / len(targets)
        grad_logits = [scale * p for p in probs]
        for i, target in enumerate(targets):
            grad_logits[i * size + target] -= scale
        return (grad_logits,)

    return Tensor([loss / len(targets)], (1,), (logits,), backward)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Shift and scale every row to mean 0 and variance 1, then scale and shift it by learned amounts.

    x is (..., C), weight and bias are (C,); ValueError if the rows do not fit. ``eps`` is added to the variance.

    >>> y = layer_norm(Tensor([1.0, 3.0], (1, 2)), Tensor([1.0, 1.0], (2,)), Tensor([0.0, 0.0], (2,)))
    >>> [round(a, 4) for a in y.data]
    [-1.0, 1.0]

    Source: Ba, Kiros and Hinton (2016), "Layer normalization".
    """
    size = len(weight.data)
    _check_rows(x, size)
    scales: list[float] = []

    def normalize(row: Floats) -> list[float]:
        mean = add_up(row) / size
        centered = [a - mean for a in row]
        scale = 1 / math.sqrt(add_up(map(times, centered, centered)) / size + eps)
        scales.append(scale)
        return [a * scale for a in centered]

    normed = _by_row(normalize, size, x.data)

    def backward(grad: Floats) -> Gradients:
        each_scale = iter(scales)

        def row_backward(g: Floats, n: Floats) -> list[float]:
            scale, mean, along = next(each_scale), add_up(g) / size, add_up(map(times, g, n)) / size
            return [scale * (a - mean - b * along) for a, b in zip(g, n, strict=True)]

        grad_normed = list(map(times, grad, cycle(weight.data)))
        grad_x = _by_row(row_backward, size, grad_normed, normed)
        return grad_x, column_sums(list(map(times, grad, normed)), size), column_sums(grad, size)

    y = [a * w + b for a, w, b in zip(normed, cycle(weight.data), cycle(bias.data), strict=False)]
    return Tensor(y, x.shape, (x, weight, bias), backward)


def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Divide every row by its root mean square, then scale it by learned amounts, if there are any.

    x is (..., C), weight is (C,); ValueError if the rows do not fit. ``eps`` is added to the mean square.

    >>> [round(a, 4) for a in rms_norm(Tensor([3.0, 4.0], (1, 2))).data]
    [0.8485, 1.1314]

    Source: Zhang and Sennrich (2019), "Root mean square layer normalization".
    """
    size = x.shape[-1]
    _check_rows(x, size if weight is None else len(weight.data))
    scales: list[float] = []

    def normalize(row: Floats) -> list[float]:
        scale = 1 / math.sqrt(add_up(map(times, row, row)) / size + eps)
        scales.append(scale)
        return [a * scale for a in row]

    normed = _by_row(normalize, size, x.data)

    def backward(grad: Floats) -> Gradients:
        each_scale = iter(scales)

        def row_backward(g: Floats, n: Floats) -> list[float]:
            scale, along = next(each_scale), add_up(map(times, g, n)) / size
            return [scale * (a - b * along) for a, b in zip(g, n, strict=True)]

        grad_normed = grad if weight is None else list(map(times, grad, cycle(weight.data)))
        grad_x = _by_row(row_backward, size, grad_normed, normed)
        return (grad_x,) if weight is None else (grad_x, column_sums(list(map(times, grad, normed)), size))

    if weight is None:
        return Tensor(normed, x.shape, (x,), backward)
    return Tensor(list(map(times, normed, cycle(weight.data))), x.shape, (x, weight), backward)
