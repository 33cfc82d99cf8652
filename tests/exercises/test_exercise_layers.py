"""Layers and the Transformer against PyTorch; softmax and cross-entropy against exact arithmetic."""

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


def test_multihead():
    check("multihead", adapters.run_multihead, MATRIX_PRODUCT)


def test_block():
    check("block", adapters.run_block, MATRIX_PRODUCT)


def test_lm():
    check("lm", adapters.run_lm, MATRIX_PRODUCT)
