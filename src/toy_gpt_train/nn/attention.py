"""attention.py - How a token looks at the tokens before it.

Every token asks a question (its query), offers an answer to others' questions (its key), and has something to say
(its value). How much it listens to each earlier token is softmax over query times key; what it gets is the sum of
their values, in these shares:

    attention(Q, K, V) = softmax(Q K^T / sqrt(D)) V

Heads do this side by side, each on its own D of the C numbers. Because a token may look back only (causal), one pass
over a sequence trains a prediction at every place of it at once.

Shapes: B sequences, H heads, T tokens, D numbers a head; C = H * D.

Source: Vaswani et al. (2017), "Attention is all you need".
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import cycle
from operator import mul as times

from toy_gpt_train.nn.kernels import Floats, matmul, transpose
from toy_gpt_train.nn.tensor import Gradients, Tensor


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Turn (B, T, C) into (B, H, T, D): each head gets its own D numbers of every token.

    Raises:
        ValueError: H does not divide C.

    Example:
        >>> split_heads(Tensor([1.0, 2.0, 3.0, 4.0], (1, 2, 2)), 2).tolist()
        [[[[1.0], [3.0]], [[2.0], [4.0]]]]
    """
    batch, length, channels = x.shape
    if channels % num_heads:
        raise ValueError(f"{num_heads} heads cannot share {channels} numbers a token")
    size = channels // num_heads
    y = _regroup(x.data, batch, length, num_heads, size)
    return Tensor(
        y,
        (batch, num_heads, length, size),
        (x,),
        lambda grad: (_regroup(grad, batch, num_heads, length, size),),
    )


def merge_heads(x: Tensor) -> Tensor:
    """Turn (B, H, T, D) back into (B, T, C).

    Example:
        >>> merge_heads(Tensor([1.0, 3.0, 2.0, 4.0], (1, 2, 2, 1))).tolist()
        [[[1.0, 2.0], [3.0, 4.0]]]
    """
    batch, num_heads, length, size = x.shape
    y = _regroup(x.data, batch, num_heads, length, size)
    return Tensor(
        y,
        (batch, length, num_heads * size),
        (x,),
        lambda grad: (_regroup(grad, batch, length, num_heads, size),),
    )


def _regroup(data: Floats, batch: int, outer: int, inner: int, size: int) -> list[float]:
    """Swap the two middle dimensions of (batch, outer, inner, size)."""
    regrouped: list[float] = []
    block = outer * inner * size
    for begin in range(0, batch * block, block):
        for i in range(begin, begin + inner * size, size):
            for start in range(i, begin + block, inner * size):
                regrouped += data[start : start + size]
    return regrouped


def rope(x: Tensor, start: int = 0, base: float = 10000.0) -> Tensor:
    """Turn pairs of numbers by an angle that grows with the token's position.

    The product of a query and a key then depends on how far apart their tokens are, not on where they stand. The
    pair (2i, 2i+1) of the token at position p is turned by p / base^(2i/D).

    Args:
        x: (..., T, D), D even.
        start: The position of the first token.
        base: The slower pairs turn, the larger it is.

    Returns:
        (..., T, D).

    Raises:
        ValueError: D is odd.

    Example:
        >>> [round(a, 4) for a in rope(Tensor([1.0, 0.0], (1, 2)), start=1).data]
        [0.5403, 0.8415]

    Source:
        Su et al. (2021), "RoFormer: enhanced Transformer with rotary position embedding".
    """
    length, size = x.shape[-2:]
    cosines, sines = _rotation(length, size, start, base)

    def backward(grad: Floats) -> Gradients:
        return (_rotate(grad, cosines, [-s for s in sines]),)  # the gradient is turned back

    return Tensor(_rotate(x.data, cosines, sines), x.shape, (x,), backward)


def _rotate(data: Floats, cosines: Sequence[float], sines: Sequence[float]) -> list[float]:
    pairs = list(zip(data[::2], data[1::2], cycle(cosines), cycle(sines), strict=False))
    rotated = [0.0] * len(data)
    rotated[::2] = [a * c - b * s for a, b, c, s in pairs]
    rotated[1::2] = [a * s + b * c for a, b, c, s in pairs]
    return rotated


@lru_cache(maxsize=64)
def _rotation(length: int, size: int, start: int, base: float) -> tuple[list[float], list[float]]:
    """Return cosine and sine of the angle of each token's pairs, token after token."""
    if size % 2:
        raise ValueError(f"rotation takes numbers in pairs, a head has {size}")
    frequencies = [base ** (-2 * i / size) for i in range(size // 2)]
    angles = [position * frequency for position in range(start, start + length) for frequency in frequencies]
    return list(map(math.cos, angles)), list(map(math.sin, angles))


def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return softmax(Q K^T / sqrt(D)) V, where a token looks at itself and at earlier tokens only.

    All sequences and heads are done in one operation. There may be fewer queries than keys: they then belong to the
    last tokens.

    Cost: 2 B H T^2 D multiply-adds forward, and twice as many backward; B H T^2 / 2 exponentials.

    Args:
        query: (..., Tq, D).
        key: (..., Tk, D).
        value: (..., Tk, D).

    Returns:
        (..., Tq, D).

    Example:
        >>> x = Tensor([1.0, 2.0], (2, 1)); q = Tensor([0.0, 0.0], (2, 1))
        >>> scaled_dot_product_attention(q, x, x).tolist()
        [[1.0], [1.5]]
    """
    *outer, num_queries, size = query.shape
    num_keys = key.shape[-2]
    batch = math.prod(outer)
    weights = attention_weights(query, key)
    y = matmul(weights, value.data, num_queries, num_keys, size, batch)

    def backward(grad: Floats) -> Gradients:
        transposed = transpose(weights, num_queries, num_keys, batch)
        grad_value = matmul(transposed, grad, num_keys, num_queries, size, batch)
        values = transpose(value.data, num_keys, size, batch)
        grad_weights = matmul(grad, values, num_queries, size, num_keys, batch)
        # Through softmax row by row; what is not seen has weight 0 and gets gradient 0.
        scale = 1 / math.sqrt(size)
        grad_scores: list[float] = []
        for i in range(0, len(weights), num_keys):
            w, g = weights[i : i + num_keys], grad_weights[i : i + num_keys]
            mean = sum(map(times, w, g))
            grad_scores += [scale * a * (b - mean) for a, b in zip(w, g, strict=True)]
        grad_query = matmul(grad_scores, key.data, num_queries, num_keys, size, batch)
        transposed = transpose(grad_scores, num_queries, num_keys, batch)
        grad_key = matmul(transposed, query.data, num_keys, num_queries, size, batch)
        return grad_query, grad_key, grad_value

    return Tensor(y, query.shape, (query, key, value), backward)


def attention_weights(query: Tensor, key: Tensor) -> list[float]:
    """Return the shares in which every token looks at itself and at earlier tokens.

    Args:
        query: (..., Tq, D).
        key: (..., Tk, D).

    Returns:
        (..., Tq, Tk) as a flat list; each row sums to 1 and is 0 for later tokens.

    Raises:
        ValueError: There are more queries than keys.

    Example:
        >>> attention_weights(Tensor([0.0, 0.0], (2, 1)), Tensor([1.0, 2.0], (2, 1)))
        [1.0, 0.0, 0.5, 0.5]
    """
    *outer, num_queries, size = query.shape
    num_keys = key.shape[-2]
    if num_queries > num_keys:
        raise ValueError(f"{num_queries} queries for {num_keys} keys: each token has a key")
    batch = math.prod(outer)
    scores = matmul(query.data, transpose(key.data, num_keys, size, batch), num_queries, size, num_keys, batch)
    scale = 1 / math.sqrt(size)
    weights: list[float] = []
    for row in range(batch * num_queries):
        seen = num_keys - num_queries + row % num_queries + 1
        visible = scores[row * num_keys : row * num_keys + seen]
        top = max(visible)
        exps = [math.exp(scale * (score - top)) for score in visible]
        total = sum(exps)
        weights += [e / total for e in exps]
        weights += [0.0] * (num_keys - seen)
    return weights
