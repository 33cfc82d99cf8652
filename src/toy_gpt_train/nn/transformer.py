"""transformer.py - The Transformer: blocks of attention and feed-forward around a stream that each of them adds to.

    x = x + attention(norm_1(x))        tokens exchange information
    x = x + feed_forward(norm_2(x))     each token processes what it received

GPT-2 uses LayerNorm, GELU and learned positions (models/gpt.py); Llama RMSNorm, SwiGLU and rotation (models/llama.py).

Shapes: B sequences, T tokens, C values per token, H heads, V tokens in the vocabulary.

Source: Vaswani et al. (2017), "Attention is all you need"; Radford et al. (2019), "Language models are unsupervised
multitask learners", for the norms before, not after, each part.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from random import Random
from typing import Final

from toy_gpt_train.nn.attention import (
    attention_weights,
    merge_heads,
    repeat_heads,
    rope,
    scaled_dot_product_attention,
    split_heads,
)
from toy_gpt_train.nn.functional import linear, reshape, silu
from toy_gpt_train.nn.kv_cache import KVCache
from toy_gpt_train.nn.modules import Dropout, Embedding, LayerNorm, LensStep, Linear, Module, Network, RMSNorm
from toy_gpt_train.nn.rotation import RopeScaling
from toy_gpt_train.nn.tensor import Tensor

Norm = LayerNorm | RMSNorm

# WHY not GPT-2's 0.02: in a few hundred steps of a small network, vectors so short stay too much alike for attention to
# tell tokens apart.
EMBEDDING_STD: Final = 0.5

_READ_AT_ONCE: Final = 32


def embedding_std(size: int, *, tied: bool) -> float:
    """Return the standard deviation of the initial vectors of tokens and positions, of C values each."""
    # WHY: tied vectors are also the rows of the output layer, where values near 1, which a norm gives, make logits near
    # std * sqrt(C). At 2 the network is unsure enough, and the vectors are long enough for attention to tell tokens
    # apart. Measured on stories, with C of 32 and 128: the loss of 1 and 2 is within 0.04; 6 (0.5 at 128) costs 0.2.
    return 2 / sqrt(size) if tied else EMBEDDING_STD


class MultiHeadAttention(Module):
    """H heads that look back in parallel, and an output layer that combines their results."""

    def __init__(
        self,
        embed_dim: int,  # C
        num_heads: int,  # H
        *,
        generator: Random | None,
        kv_heads: int = 0,  # heads of keys and values, 0 for H; ValueError if it does not divide H
        head_dim: int = 0,  # D, 0 for C / H; ValueError if H does not divide C
        bias: bool = True,  # whether the four linear layers have biases
        rope_base: float | None = None,  # of the rotation of queries and keys by their position; None for no rotation
        rope_scaling: RopeScaling | None = None,  # of the same rotation
        out_std: float | None = None,  # the standard deviation of the output layer's initial weights
    ) -> None:
        if not head_dim and embed_dim % num_heads:
            raise ValueError(f"{num_heads} heads cannot share {embed_dim} values per token")
        self.num_heads = num_heads
        self.kv_heads = kv_heads or num_heads
        if num_heads % self.kv_heads:
            raise ValueError(f"{num_heads} heads cannot share {kv_heads} heads of keys and values")
        self.rope_base, self.rope_scaling = rope_base, rope_scaling
        size = head_dim or embed_dim // num_heads
        self.q_proj = Linear(embed_dim, size * num_heads, bias=bias, generator=generator)
        self.k_proj = Linear(embed_dim, size * self.kv_heads, bias=bias, generator=generator)
        self.v_proj = Linear(embed_dim, size * self.kv_heads, bias=bias, generator=generator)
        self.o_proj = Linear(size * num_heads, embed_dim, bias=bias, std=out_std, generator=generator)

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        """Return (B, T, C) for x of (B, T, C); with a cache, x holds only the tokens after those in it."""
        query, key = self._queries_and_keys(x, 0 if cache is None else len(cache))
        value = split_heads(self.v_proj(x), self.kv_heads)
        if cache is not None:
            key, value = cache.extend(key, value)
        key, value = self._for_each_query(key), self._for_each_query(value)
        return self.o_proj(merge_heads(scaled_dot_product_attention(query, key, value)))

    def _for_each_query(self, x: Tensor) -> Tensor:
        shared_by = self.num_heads // self.kv_heads
        return x if shared_by == 1 else repeat_heads(x, shared_by)

    def _queries_and_keys(self, x: Tensor, start: int) -> tuple[Tensor, Tensor]:
        query = split_heads(self.q_proj(x), self.num_heads)
        key = split_heads(self.k_proj(x), self.kv_heads)
        if self.rope_base is None:
            return query, key
        how = start, self.rope_base, self.rope_scaling
        return rope(query, *how), rope(key, *how)

    def weights(self, x: Tensor, cache: KVCache) -> Tensor:
        """Return how much each token attends to those in the cache and in x, (B, H, Tq, Tk); each row sums to 1."""
        query, key = self._queries_and_keys(x, len(cache))
        key = cache.keys_with(key)
        batch, heads, length, _ = query.shape
        return Tensor(attention_weights(query, self._for_each_query(key)), (batch, heads, length, key.shape[2]))


class FeedForward(Module):
    """Two linear layers with a nonlinearity between them: C to F values per token, and back."""

    def __init__(
        self,
        embed_dim: int,  # C
        hidden_dim: int,  # F
        activation: Callable[[Tensor], Tensor],
        *,
        generator: Random | None,
        bias: bool = True,
        out_std: float | None = None,  # the standard deviation of the second layer's initial weights
    ) -> None:
        self._activation = activation
        self.up_proj = Linear(embed_dim, hidden_dim, bias=bias, generator=generator)
        self.down_proj = Linear(hidden_dim, embed_dim, bias=bias, std=out_std, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., C) for x of (..., C)."""
        return self.down_proj(self._activation(self.up_proj(x)))


class SwiGLU(Module):
    """A feed-forward layer with a gate: W_down (silu(W_gate x) * W_up x).

    Source: Shazeer (2020), "GLU variants improve Transformer".
    """

    def __init__(
        self,
        embed_dim: int,  # C
        hidden_dim: int,  # F
        *,
        generator: Random | None,
        bias: bool = False,
        out_std: float | None = None,  # the standard deviation of W_down's initial weights
    ) -> None:
        self.gate_proj = Linear(embed_dim, hidden_dim, bias=bias, generator=generator)
        self.up_proj = Linear(embed_dim, hidden_dim, bias=bias, generator=generator)
        self.down_proj = Linear(hidden_dim, embed_dim, bias=bias, std=out_std, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., C) for x of (..., C)."""
        return self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))


@dataclass(eq=False, repr=False)
class Block(Module):
    """One block: attention and feed-forward, each after a norm, each added to its input through dropout."""

    norm_1: Norm
    attention: MultiHeadAttention
    norm_2: Norm
    feed_forward: FeedForward | SwiGLU
    dropout: Dropout

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        """Return (B, T, C) for x of (B, T, C)."""
        x = x + self.dropout(self.attention(self.norm_1(x), cache))
        return x + self.dropout(self.feed_forward(self.norm_2(x)))


@dataclass(eq=False, repr=False)
class TransformerLM(Network):
    """A Transformer language model: ids in, logits for the next token out, at every position."""

    token_embeddings: Embedding  # (V, C)
    position_embeddings: Embedding | None  # (N, C); None if attention itself knows positions (RoPE)
    blocks: list[Block]
    norm: Norm  # after the last block
    output: Linear | None  # C to V; None if it shares the token vectors (tied)
    dropout: Dropout  # of the embeddings

    def forward(
        self, ids: Sequence[Sequence[int]], caches: Sequence[KVCache] | None = None, *, exact: bool = False
    ) -> Tensor:
        """Return the logits after each token, (B, T, V), for B sequences of T ids; ``exact``: see Network.

        With ``caches``, one for each block, the tokens before these were read earlier.
        """
        return self.logits(self.states(ids, caches, exact=exact))

    def states(
        self, ids: Sequence[Sequence[int]], caches: Sequence[KVCache] | None = None, *, exact: bool = False
    ) -> Tensor:
        """Return what the last block makes of each token, (B, T, C); arguments as for forward()."""
        x = self._embed(ids, 0 if caches is None else len(caches[0]), exact=exact)
        for i, block in enumerate(self.blocks):
            x = block(x, None if caches is None else caches[i])
        return x

    def logits(self, x: Tensor) -> Tensor:
        """Return (..., V) for the states (..., C) of tokens."""
        x = self.norm(x)
        return linear(x, self.token_embeddings.weight) if self.output is None else self.output(x)

    def read(self, ids: Sequence[int], caches: Sequence[KVCache], *, exact: bool = True) -> Iterator[Tensor]:
        """Read a text a few tokens at a time, so that memory stays small; yield the states of each few, (1, T, C)."""
        for i in range(0, len(ids), _READ_AT_ONCE):
            yield self.states([ids[i : i + _READ_AT_ONCE]], caches, exact=exact)

    def _embed(self, ids: Sequence[Sequence[int]], start: int, *, exact: bool) -> Tensor:
        x = self.token_embeddings(ids, exact=exact)
        if self.position_embeddings is not None:
            positions = self.position_embeddings([range(start, start + len(ids[0]))])
            x = x + reshape(positions, positions.shape[1:])
        return self.dropout(x)

    def logit_lens(self, ids: Sequence[int], caches: Sequence[KVCache] | None = None) -> list[LensStep]:
        """Follow the last token through the network: after the embeddings, and after each block.

        With ``caches``, the tokens before ``ids`` were read earlier.

        Source: Applying the output layer to an intermediate state is nostalgebraist (2020), "The logit lens".
        """
        caches = [KVCache() for _ in self.blocks] if caches is None else caches
        for _ in self.read(ids[:-1], caches):
            pass  # only the caches are needed
        x = self._embed([ids[-1:]], len(caches[0]), exact=True)
        steps = [LensStep("embeddings", [], list(self.logits(x).data))]
        for i, (block, cache) in enumerate(zip(self.blocks, caches, strict=True), start=1):
            ((*heads,),) = block.attention.weights(block.norm_1(x), cache).tolist()
            x = block(x, cache)
            steps.append(LensStep(f"block {i}", [weights for (weights,) in heads], list(self.logits(x).data)))
        return steps
