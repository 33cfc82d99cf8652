"""attention.py - How a token looks at the tokens before it.

Every token has a query (what it asks), a key (what it can answer) and a value (what it tells). A softmax over the
products of its query with their keys says how much it attends to each; it receives the values in these shares:

    attention(Q, K, V) = softmax(Q K^T / sqrt(D)) V

Heads do this in parallel, each on its own D of the C values. Because a token only looks back (causal attention), one
pass over a sequence trains a prediction at every position at once. A mask says otherwise who may look at whom.

Shapes: B sequences, H heads, T tokens, D values per head; C = H * D.

Source: Vaswani et al. (2017), "Attention is all you need".
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, compress, cycle
from operator import add, mul, sub

from toy_gpt_train.math_training import softmax
from toy_gpt_train.nn.functional import softmax_backward
from toy_gpt_train.nn.kernels import Floats, column_sums, matmul, matmul_transposed, transpose
from toy_gpt_train.nn.rotation import RopeScaling, rope_frequencies
from toy_gpt_train.nn.tensor import Gradients, Tensor


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Turn (B, T, C) into (B, H, T, D), D values per head and token; ValueError if H does not divide C.

    >>> split_heads(Tensor([1.0, 2.0, 3.0, 4.0], (1, 2, 2)), 2).tolist()
    [[[[1.0], [3.0]], [[2.0], [4.0]]]]
    """
    batch, length, channels = x.shape
    if channels % num_heads:
        raise ValueError(f"{num_heads} heads cannot share {channels} values per token")
    size = channels // num_heads

    def backward(grad: Floats) -> Gradients:
        return (_swap_middle(grad, batch, num_heads, length, size),)

    y = _swap_middle(x.data, batch, length, num_heads, size)
    return Tensor(y, (batch, num_heads, length, size), (x,), backward)


def merge_heads(x: Tensor) -> Tensor:
    """Turn (B, H, T, D) back into (B, T, C)."""
    batch, num_heads, length, size = x.shape

    def backward(grad: Floats) -> Gradients:
        return (_swap_middle(grad, batch, length, num_heads, size),)

    y = _swap_middle(x.data, batch, num_heads, length, size)
    return Tensor(y, (batch, length, num_heads * size), (x,), backward)


def repeat_heads(x: Tensor, times: int) -> Tensor:
    """Give each head of (B, H, T, D) to ``times`` heads in a row: (B, times * H, T, D).

    >>> repeat_heads(Tensor([1.0, 2.0], (1, 2, 1, 1)), 2).data
    [1.0, 1.0, 2.0, 2.0]

    Source: Ainslie et al. (2023), "GQA: training generalized multi-query Transformer models".
    """
    batch, num_heads, length, size = x.shape
    block = length * size
    y = [value for start in range(0, len(x.data), block) for value in [*x.data[start : start + block]] * times]

    def backward(grad: Floats) -> Gradients:  # a head gets the sum of the gradients of its copies
        starts = range(0, len(grad), times * block)
        return (list(chain.from_iterable(column_sums(grad[i : i + times * block], block) for i in starts)),)

    return Tensor(y, (batch, times * num_heads, length, size), (x,), backward)


def _swap_middle(data: Floats, batch: int, outer: int, inner: int, size: int) -> list[float]:  # outer and inner
    swapped: list[float] = []
    block = outer * inner * size
    for begin in range(0, batch * block, block):
        for i in range(begin, begin + inner * size, size):
            for start in range(i, begin + block, inner * size):
                swapped += data[start : start + size]
    return swapped


def rope(x: Tensor, start: int = 0, base: float = 10000.0, scaling: RopeScaling | None = None) -> Tensor:
    """Rotate pairs of values by an angle that grows with the token's position; ValueError if D is odd.

    The product of a query and a key then depends on the distance between their tokens, not on where they are. The pair
    (2i, 2i+1) of the token at position p is rotated by p / base^(2i/D), unless that is scaled. x is (..., T, D);
    ``start`` is the position of its first token.

    >>> [round(a, 4) for a in rope(Tensor([1.0, 0.0], (1, 2)), start=1).data]
    [0.5403, 0.8415]

    Source: Su et al. (2021), "RoFormer: enhanced Transformer with rotary position embedding".
    """
    length, size = x.shape[-2:]
    cosines, sines = _rotation(length, size, start, base, scaling)

    def backward(grad: Floats) -> Gradients:
        return (_rotate(grad, cosines, [-s for s in sines]),)  # the gradient is rotated back

    return Tensor(_rotate(x.data, cosines, sines), x.shape, (x,), backward)


def _rotate(data: Floats, cosines: Sequence[float], sines: Sequence[float]) -> list[float]:
    a, b = data[::2], data[1::2]
    rotated = [0.0] * len(data)
    rotated[::2] = map(sub, map(mul, a, cycle(cosines)), map(mul, b, cycle(sines)))
    rotated[1::2] = map(add, map(mul, a, cycle(sines)), map(mul, b, cycle(cosines)))
    return rotated


@lru_cache(maxsize=64)
def _rotation(
    length: int, size: int, start: int, base: float, scaling: RopeScaling | None
) -> tuple[list[float], list[float]]:  # cosines, sines
    frequencies = rope_frequencies(size, base, scaling)
    angles = [position * frequency for position in range(start, start + length) for frequency in frequencies]
    return list(map(math.cos, angles)), list(map(math.sin, angles))


def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return softmax(Q K^T / sqrt(D)) V, where a token attends only to itself and to earlier tokens, or as masked.

    The query is (..., Tq, D), the key (..., Tk, D), the value (..., Tk, E), the result (..., Tq, E). Without a mask, if
    Tq is below Tk, the queries belong to the last tokens; ValueError if it is above.

    A mask is (Tq, Tk), the same for all, or (..., Tq, Tk): 0 where the query may not attend to the key, 1 elsewhere. A
    query that may attend to nothing gets zeros; softmax of nothing would be NaN. ValueError if the mask does not fit.

    Cost: 1.5 B H T^2 D multiply-adds forward and 2.5 backward: products with weights that are always 0 are left out.
    B H T^2 / 2 exponentials.

    >>> x = Tensor([1.0, 2.0], (2, 1)); q = Tensor([0.0, 0.0], (2, 1))
    >>> scaled_dot_product_attention(q, x, x).tolist()
    [[1.0], [1.5]]
    >>> scaled_dot_product_attention(q, x, x, mask=Tensor([1, 1, 0, 0], (2, 2))).tolist()
    [[1.5], [0.0]]
    """
    *outer, num_queries, size = query.shape
    num_keys, width = value.shape[-2:]
    batch = math.prod(outer)
    exact = query.exact or key.exact or value.exact
    weights = attention_weights(query, key, mask)
    # Where weights and their gradients are not 0: each query sees its own key and those before, ...
    earlier = num_keys - num_queries
    seen = [(0, num_keys if mask is not None else earlier + i + 1) for i in range(num_queries)]
    y = matmul(weights, value.data, num_queries, num_keys, width, batch, exact=exact, spans=seen)

    def backward(grad: Floats) -> Gradients:
        # ... and each key is seen by its own query and those after.
        seen_by = [(0 if mask is not None else max(j - earlier, 0), num_queries) for j in range(num_keys)]
        transposed = transpose(weights, num_queries, num_keys, batch)
        grad_value = matmul(transposed, grad, num_keys, num_queries, width, batch, exact=exact, spans=seen_by)
        values = transpose(value.data, num_keys, width, batch)
        grad_weights = matmul(grad, values, num_queries, width, num_keys, batch, exact=exact)
        # Through softmax row by row; a hidden token has weight 0 and gets gradient 0.
        scale = 1 / math.sqrt(size)
        grad_scores: list[float] = []
        for i, (_, end) in zip(range(0, len(weights), num_keys), cycle(seen), strict=False):
            row = softmax_backward(weights[i : i + end], grad_weights[i : i + end])
            grad_scores += [scale * g for g in row]
            grad_scores += [0.0] * (num_keys - end)
        grad_query = matmul(grad_scores, key.data, num_queries, num_keys, size, batch, exact=exact, spans=seen)
        transposed = transpose(grad_scores, num_queries, num_keys, batch)
        grad_key = matmul(transposed, query.data, num_keys, num_queries, size, batch, exact=exact, spans=seen_by)
        return grad_query, grad_key, grad_value

    return Tensor(y, (*outer, num_queries, width), (query, key, value), backward)


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None = None) -> list[float]:
    """Return how much every token attends to itself and to each earlier token: (..., Tq, Tk) as a flat list.

    Each row sums to 1, and is 0 for hidden tokens. Arguments as for scaled_dot_product_attention.

    >>> attention_weights(Tensor([0.0, 0.0], (2, 1)), Tensor([1.0, 2.0], (2, 1)))
    [1.0, 0.0, 0.5, 0.5]
    """
    *outer, num_queries, size = query.shape
    num_keys = key.shape[-2]
    if mask is None and num_queries > num_keys:
        raise ValueError(f"{num_queries} queries for {num_keys} keys: each token has a key")
    if mask is not None and mask.shape not in ((num_queries, num_keys), (*outer, num_queries, num_keys)):
        raise ValueError(f"a mask of shape {mask.shape} does not fit {num_queries} queries and {num_keys} keys")
    batch = math.prod(outer)
    exact = query.exact or key.exact
    scores = matmul_transposed(query.data, key.data, num_queries, size, num_keys, batch, exact=exact)
    scale = 1 / math.sqrt(size)
    weights: list[float] = []
    for row in range(batch * num_queries):
        start = row * num_keys
        if mask is not None:
            begin = start % len(mask.data)
            seen = mask.data[begin : begin + num_keys]
            weights += _masked_softmax([scale * score for score in scores[start : start + num_keys]], seen)
            continue
        visible = num_keys - num_queries + row % num_queries + 1
        weights += softmax([scale * score for score in scores[start : start + visible]])
        weights += [0.0] * (num_keys - visible)
    return weights


def _masked_softmax(scores: list[float], seen: Floats) -> list[float]:
    if not any(seen):
        return [0.0] * len(seen)
    probs = iter(softmax(list(compress(scores, seen))))
    return [next(probs) if one else 0.0 for one in seen]
