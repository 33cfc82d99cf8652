"""Layers and the Transformer against PyTorch; softmax and cross-entropy against exact arithmetic."""

import random
from math import exp, fsum, sqrt
from operator import mul

from compare import check

import adapters

# WHY two: 32-bit floats, which many libraries use, are enough for matrix products.
MATRIX_PRODUCT = 1e-6
DOUBLE = 1e-12


def test_linear():
    check("linear", adapters.run_linear, MATRIX_PRODUCT)


def test_embedding():
    check("embedding", adapters.run_embedding, 0.0)


def test_rmsnorm():
    check("rmsnorm", adapters.run_rmsnorm, DOUBLE)


def test_rope():
    check("rope", adapters.run_rope, DOUBLE)


def test_swiglu():
    check("swiglu", adapters.run_swiglu, MATRIX_PRODUCT)


def test_softmax():
    check("softmax", adapters.run_softmax, DOUBLE)


def test_cross_entropy():
    check("cross_entropy", adapters.run_cross_entropy, DOUBLE)


def test_attention():
    check("attention", adapters.run_attention, MATRIX_PRODUCT)


def test_attention_with_a_mask():
    check("masked_attention", adapters.run_attention, MATRIX_PRODUCT)


def test_multihead():
    check("multihead", adapters.run_multihead, MATRIX_PRODUCT)


def test_multihead_with_many_values():
    """In a size where fast kernels begin to round: 64 values per token, against loops."""
    rng = random.Random(0)
    x = [[[rng.gauss(0, 1) for _ in range(64)] for _ in range(12)]]
    weights = {f"{name}_proj.weight": [[rng.gauss(0, 1 / 8) for _ in range(64)] for _ in range(64)] for name in "qkvo"}
    heads = [
        run_head(*([row[h : h + 16] for row in product(x[0], weights[f"{name}_proj.weight"])] for name in "qkv"))
        for h in range(0, 64, 16)
    ]
    side_by_side = [[value for head in heads for value in head[t]] for t in range(12)]
    expected = product(side_by_side, weights["o_proj.weight"])
    (found,) = adapters.run_multihead(x, weights, 4, rotary=False)
    largest = max(abs(b) for row in expected for b in row)
    error = max(abs(a - b) for one, other in zip(found, expected, strict=True) for a, b in zip(one, other, strict=True))
    assert error <= MATRIX_PRODUCT * largest


def product(rows, weight):
    return [[fsum(map(mul, row, column)) for column in weight] for row in rows]


def run_head(query, key, value):
    """Causal attention of one head, loop by loop."""
    found = []
    for t, q in enumerate(query):
        shares = [exp(fsum(map(mul, q, k)) / sqrt(len(q))) for k in key[: t + 1]]
        found.append([fsum(map(mul, shares, column)) / fsum(shares) for column in zip(*value[: t + 1], strict=True)])
    return found


def test_block():
    check("block", adapters.run_block, MATRIX_PRODUCT)


def test_lm():
    check("lm", adapters.run_lm, MATRIX_PRODUCT)
