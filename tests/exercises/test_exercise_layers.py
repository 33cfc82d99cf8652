"""Layers and the Transformer against PyTorch; softmax and cross-entropy against exact arithmetic."""

from compare import check

import adapters

DOUBLE = 1e-12


def test_linear():
    check("linear", adapters.run_linear, DOUBLE)


def test_embedding():
    check("embedding", adapters.run_embedding, 0.0)


def test_rmsnorm():
    check("rmsnorm", adapters.run_rmsnorm, DOUBLE)


def test_rope():
    check("rope", adapters.run_rope, DOUBLE)


def test_swiglu():
    check("swiglu", adapters.run_swiglu, DOUBLE)


def test_softmax():
    check("softmax", adapters.run_softmax, DOUBLE)


def test_cross_entropy():
    check("cross_entropy", adapters.run_cross_entropy, DOUBLE)


def test_attention():
    check("attention", adapters.run_attention, DOUBLE)


def test_multihead():
    check("multihead", adapters.run_multihead, DOUBLE)


def test_block():
    check("block", adapters.run_block, DOUBLE)


def test_lm():
    check("lm", adapters.run_lm, DOUBLE)
