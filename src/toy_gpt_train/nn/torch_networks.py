"""torch_networks.py - The four networks once more, in PyTorch: same parameters, same names, same numbers.

What nn/ spells out in Python, PyTorch has ready-made, with its own derivatives, for every processor. So this file is
short, and a network trained here is saved, read and explained as one trained there. Needs the extra [torch].

Shapes: B sequences, T tokens, C values per token, H heads, D values per head, V tokens in the vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from toy_gpt_train.nn.rotation import rope_frequencies

Cache = list[Tensor]  # the keys and values of the tokens already read, (B, H, T, D) each; empty before the first


class Embeddings(nn.Module):
    """Model 500: N vectors side by side, an optional hidden layer, and an output layer."""

    def __init__(self, vocab_size: int, context_size: int, size: Any) -> None:
        super().__init__()
        width = context_size * size.embedding_dim
        self.token_embeddings = nn.Embedding(vocab_size, size.embedding_dim)
        self.hidden = nn.Linear(width, size.hidden_dim) if size.hidden_dim else None
        self.output = nn.Linear(size.hidden_dim or width, vocab_size, bias=size.bias)

    def forward(self, ids: Tensor) -> Tensor:
        """Return (B, 1, V): the logits of the token after each of B contexts of N ids."""
        x = self.token_embeddings(ids).flatten(1).unsqueeze(1)
        return self.output(x if self.hidden is None else torch.tanh(self.hidden(x)))


class OneHead(nn.Module):
    """The single head of model 600."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, C) for x of (B, T, C)."""
        query, key, value = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        return functional.scaled_dot_product_attention(query, key, value, is_causal=True)


class Attention(nn.Module):
    """Model 600: vectors of tokens and positions, one head, and an output layer."""

    def __init__(self, vocab_size: int, context_size: int, size: Any) -> None:
        super().__init__()
        self.token_embeddings = nn.Embedding(vocab_size, size.embedding_dim)
        self.position_embeddings = nn.Embedding(context_size, size.embedding_dim)
        self.attention = OneHead(size.embedding_dim)
        self.output = nn.Linear(size.embedding_dim, vocab_size, bias=size.bias)

    def forward(self, ids: Tensor) -> Tensor:
        """Return (B, T, V): the logits of the token after each token."""
        x = self.token_embeddings(ids) + self.position_embeddings.weight[: ids.shape[1]]
        return self.output(self.attention(x))


class MultiHeadAttention(nn.Module):
    """H heads in parallel, each on D values; with frequencies, queries and keys are rotated (RoPE)."""

    def __init__(
        self, width: int, heads: int, kv_heads: int, size: int, *, bias: bool, frequencies: Sequence[float]
    ) -> None:
        super().__init__()
        self.size, self.is_grouped, self.frequencies = size, kv_heads < heads, frequencies
        self.q_proj = nn.Linear(width, heads * size, bias=bias)
        self.k_proj = nn.Linear(width, kv_heads * size, bias=bias)
        self.v_proj = nn.Linear(width, kv_heads * size, bias=bias)
        self.o_proj = nn.Linear(heads * size, width, bias=bias)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """Return (B, T, C) for x of (B, T, C); with a cache, x holds only the tokens after those in it."""
        query, key, value = (
            layer(x).unflatten(-1, (-1, self.size)).transpose(1, 2) for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        start = cache[0].shape[2] if cache else 0
        if self.frequencies:
            query, key = rope(query, start, self.frequencies), rope(key, start, self.frequencies)
        if cache:
            key, value = torch.cat((cache[0], key), 2), torch.cat((cache[1], value), 2)
        if cache is not None:
            cache[:] = key, value
        mask = None
        if start:  # a token attends to itself and all before it: below the diagonal of a square without its first rows
            mask = torch.ones(x.shape[1], key.shape[2], dtype=torch.bool, device=x.device).tril(start)
        y = functional.scaled_dot_product_attention(
            query, key, value, mask, is_causal=not start, enable_gqa=self.is_grouped
        )
        return self.o_proj(y.transpose(1, 2).flatten(2))


def rope(x: Tensor, start: int, frequencies: Sequence[float]) -> Tensor:
    """Rotate each pair of (B, H, T, D) by its frequency times the token's position; the first is at ``start``."""
    # WHY in 64 bits: a position times a frequency loses half of its digits in 32.
    positions = torch.arange(start, start + x.shape[-2], dtype=torch.float64, device="cpu")
    angles = positions[:, None] * torch.tensor(frequencies, dtype=torch.float64, device="cpu")
    cosines, sines = (turn.to(x) for turn in (angles.cos(), angles.sin()))
    a, b = x[..., ::2], x[..., 1::2]
    return torch.stack((a * cosines - b * sines, a * sines + b * cosines), dim=-1).flatten(-2)


class FeedForward(nn.Module):
    """GPT-2's feed-forward layer: C to F values and back, with GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up_proj = nn.Linear(width, hidden)
        self.down_proj = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, C) for x of (B, T, C)."""
        return self.down_proj(functional.gelu(self.up_proj(x), approximate="tanh"))


class SwiGLU(nn.Module):
    """Llama's feed-forward layer: W_down (silu(W_gate x) * W_up x)."""

    def __init__(self, width: int, hidden: int, *, bias: bool) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=bias)
        self.up_proj = nn.Linear(width, hidden, bias=bias)
        self.down_proj = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, C) for x of (B, T, C)."""
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """One block: attention and feed-forward, each after a norm, each added to its input through dropout."""

    def __init__(self, norm: Callable[[], nn.Module], attention: nn.Module, feed_forward: nn.Module, p: float) -> None:
        super().__init__()
        self.norm_1 = norm()
        self.attention = attention
        self.norm_2 = norm()
        self.feed_forward = feed_forward
        self.dropout = nn.Dropout(p)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """Return (B, T, C) for x of (B, T, C)."""
        x = x + self.dropout(self.attention(self.norm_1(x), cache))
        return x + self.dropout(self.feed_forward(self.norm_2(x)))


class Transformer(nn.Module):
    """Models 700 and 800: blocks between the embeddings and the output layer."""

    def __init__(self, vocab_size: int, context_size: int, size: Any, *, modern: bool) -> None:
        super().__init__()
        width, hidden = size.embedding_dim, size.hidden_dim

        def norm() -> nn.Module:
            return nn.RMSNorm(width, eps=size.norm_eps) if modern else nn.LayerNorm(width, eps=size.norm_eps)

        def block() -> Block:
            turns = rope_frequencies(size.head_size, size.rope_base, size.rope_scaling) if modern else []
            kv_heads, bias = (size.kv_heads or size.heads, size.attention_bias) if modern else (size.heads, True)
            attention = MultiHeadAttention(width, size.heads, kv_heads, size.head_size, bias=bias, frequencies=turns)
            feed_forward = SwiGLU(width, hidden, bias=size.mlp_bias) if modern else FeedForward(width, hidden)
            return Block(norm, attention, feed_forward, size.dropout)

        self.token_embeddings = nn.Embedding(vocab_size, width)
        self.position_embeddings = None if modern else nn.Embedding(context_size, width)
        self.blocks = nn.ModuleList(block() for _ in range(size.layers))
        self.norm = norm()
        self.output = nn.Linear(width, vocab_size, bias=False)
        if size.tied:
            self.output.weight = self.token_embeddings.weight
        self.dropout = nn.Dropout(size.dropout)

    def forward(self, ids: Tensor, caches: Sequence[Cache] | None = None) -> Tensor:
        """Return (B, T, V): the logits of the token after each token.

        With ``caches``, one for each block, the tokens before these were read earlier.
        """
        x = self.token_embeddings(ids)
        if self.position_embeddings is not None:
            start = caches[0][0].shape[2] if caches and caches[0] else 0
            x = x + self.position_embeddings.weight[start : start + ids.shape[1]]
        x = self.dropout(x)
        for i, block in enumerate(self.blocks):
            x = block(x, None if caches is None else caches[i])
        return self.output(self.norm(x))


def build(kind: str, vocab_size: int, context_size: int, size: Any) -> nn.Module:
    """Return an untrained network; ``kind`` is ``embeddings``, ``attention``, ``gpt`` or ``llama``.

    Args:
        kind: The name of the model.
        vocab_size: V.
        context_size: N.
        size: Its Architecture.
    """
    if kind == "embeddings":
        return Embeddings(vocab_size, context_size, size)
    if kind == "attention":
        return Attention(vocab_size, context_size, size)
    return Transformer(vocab_size, context_size, size, modern=kind == "llama")
