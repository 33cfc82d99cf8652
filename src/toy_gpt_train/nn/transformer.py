"""transformer.py - The Transformer: blocks of attention and feed-forward around a stream that each adds to.

A block is the same for all of the family; what differs are its parts. GPT-2 puts LayerNorm, GELU and learned positions
in (models/gpt.py), Llama RMSNorm, SwiGLU and rotation (models/llama.py).

    x = x + attention(norm_1(x))        tokens exchange what they know
    x = x + feed_forward(norm_2(x))     each token thinks about what it got

Shapes: B sequences, T tokens, C numbers a token, H heads, V tokens in the vocabulary.

Source: Vaswani et al. (2017), "Attention is all you need"; Radford et al. (2019), "Language models are unsupervised
multitask learners", for the norms before, not after, each part.
"""

import random
from collections.abc import Callable, Sequence

from toy_gpt_train.nn import functional
from toy_gpt_train.nn.attention import (
    attention_weights,
    merge_heads,
    rope,
    scaled_dot_product_attention,
    split_heads,
)
from toy_gpt_train.nn.modules import Dropout, Embedding, Glimpse, LanguageModel, LayerNorm, Linear, Module, RMSNorm
from toy_gpt_train.nn.tensor import Tensor

Norm = LayerNorm | RMSNorm


class KVCache:
    """The keys and values of tokens already read, so that the next token need not read them again.

    Example:
        >>> cache = KVCache()
        >>> one, two = Tensor([1.0], (1, 1, 1, 1)), Tensor([2.0], (1, 1, 1, 1))
        >>> _ = cache.extend(one, one); cache.extend(two, two)[0].tolist()
        [[[[1.0], [2.0]]]]
    """

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def __len__(self) -> int:
        return 0 if self.keys is None else self.keys.shape[2]

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append the keys and values of new tokens, (B, H, T, D) each; return those of all tokens."""
        self.keys = keys if self.keys is None else _append(self.keys, keys)
        self.values = values if self.values is None else _append(self.values, values)
        return self.keys, self.values


def _append(old: Tensor, new: Tensor) -> Tensor:
    """Join two tensors of shape (B, H, T, D) along T; no gradient flows back, for nothing is learned with a cache."""
    batch, heads, length, size = old.shape
    added = new.shape[2]
    joined: list[float] = []
    for i in range(batch * heads):
        joined += old.data[i * length * size : (i + 1) * length * size]
        joined += new.data[i * added * size : (i + 1) * added * size]
    return Tensor(joined, (batch, heads, length + added, size))


class MultiHeadAttention(Module):
    """H heads that look back side by side, and a last map that joins what they found.

    Args:
        embed_dim: C.
        num_heads: H, a divisor of C.
        bias: Whether the four maps have biases.
        rotary: Whether queries and keys are turned by their position (RoPE).
        out_std: Of the distribution that the last map is drawn from.
        generator: The source of randomness.

    Raises:
        ValueError: H does not divide C.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        generator: random.Random,
        bias: bool = True,
        rotary: bool = False,
        out_std: float | None = None,
    ) -> None:
        if embed_dim % num_heads:
            raise ValueError(f"{num_heads} heads cannot share {embed_dim} numbers a token")
        self.num_heads = num_heads
        self.rotary = rotary
        self.q_proj = Linear(embed_dim, embed_dim, bias=bias, generator=generator)
        self.k_proj = Linear(embed_dim, embed_dim, bias=bias, generator=generator)
        self.v_proj = Linear(embed_dim, embed_dim, bias=bias, generator=generator)
        self.o_proj = Linear(embed_dim, embed_dim, bias=bias, std=out_std, generator=generator)

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        """Return (B, T, C) for x of (B, T, C); with a cache, x holds only the tokens after those in it."""
        query, key = self._queries_and_keys(x, 0 if cache is None else len(cache))
        value = split_heads(self.v_proj.forward(x), self.num_heads)
        if cache is not None:
            key, value = cache.extend(key, value)
        return self.o_proj.forward(merge_heads(scaled_dot_product_attention(query, key, value)))

    def _queries_and_keys(self, x: Tensor, start: int) -> tuple[Tensor, Tensor]:
        query = split_heads(self.q_proj.forward(x), self.num_heads)
        key = split_heads(self.k_proj.forward(x), self.num_heads)
        return (rope(query, start), rope(key, start)) if self.rotary else (query, key)

    def weights(self, x: Tensor) -> Tensor:
        """Return how much each token looks at each, (B, H, T, T); each row sums to 1."""
        query, key = self._queries_and_keys(x, 0)
        batch, heads, length, _ = query.shape
        return Tensor(attention_weights(query, key), (batch, heads, length, length))


class FeedForward(Module):
    """Two maps with a bend between them: C to F numbers a token, and back.

    Args:
        embed_dim: C.
        hidden_dim: F.
        activation: The bend, for example functional.gelu.
        bias: Whether the maps have biases.
        out_std: Of the distribution that the second map is drawn from.
        generator: The source of randomness.
    """

    def __init__(
        self,
        embed_dim: int,
        hidden_dim: int,
        activation: Callable[[Tensor], Tensor],
        *,
        generator: random.Random,
        bias: bool = True,
        out_std: float | None = None,
    ) -> None:
        self._activation = activation
        self.up_proj = Linear(embed_dim, hidden_dim, bias=bias, generator=generator)
        self.down_proj = Linear(hidden_dim, embed_dim, bias=bias, std=out_std, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., C) for x of (..., C)."""
        return self.down_proj.forward(self._activation(self.up_proj.forward(x)))


class SwiGLU(Module):
    """A feed-forward layer with a gate: W_down (silu(W_gate x) * W_up x).

    Args:
        embed_dim: C.
        hidden_dim: F.
        out_std: Of the distribution that W_down is drawn from.
        generator: The source of randomness.
    """

    def __init__(
        self, embed_dim: int, hidden_dim: int, *, generator: random.Random, out_std: float | None = None
    ) -> None:
        self.gate_proj = Linear(embed_dim, hidden_dim, bias=False, generator=generator)
        self.up_proj = Linear(embed_dim, hidden_dim, bias=False, generator=generator)
        self.down_proj = Linear(hidden_dim, embed_dim, bias=False, std=out_std, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., C) for x of (..., C)."""
        return functional.swiglu(x, self.gate_proj.weight, self.down_proj.weight, self.up_proj.weight)


class Block(Module):
    """One block: attention and feed-forward, each after a norm, each added to what came in.

    Args:
        norm_1: Before attention.
        attention: How tokens exchange what they know.
        norm_2: Before the feed-forward layer.
        feed_forward: What each token does with it.
        dropout: At work on what is added.
    """

    def __init__(
        self,
        norm_1: Norm,
        attention: MultiHeadAttention,
        norm_2: Norm,
        feed_forward: FeedForward | SwiGLU,
        dropout: Dropout,
    ) -> None:
        self.norm_1 = norm_1
        self.attention = attention
        self.norm_2 = norm_2
        self.feed_forward = feed_forward
        self.dropout = dropout

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        """Return (B, T, C) for x of (B, T, C)."""
        x = functional.add(x, self.dropout.forward(self.attention.forward(self.norm_1.forward(x), cache)))
        return functional.add(x, self.dropout.forward(self.feed_forward.forward(self.norm_2.forward(x))))


class TransformerLM(LanguageModel):
    """A Transformer language model: ids in, logits for the next token out, at every place.

    Args:
        token_embeddings: A vector for each token, (V, C).
        position_embeddings: A vector for each place, (N, C); None where attention itself knows places (RoPE).
        blocks: The blocks, in order.
        norm: After the last block.
        output: The map to logits, C to V.
        dropout: At work on the embeddings.
    """

    def __init__(
        self,
        token_embeddings: Embedding,
        position_embeddings: Embedding | None,
        blocks: list[Block],
        norm: Norm,
        output: Linear,
        dropout: Dropout,
    ) -> None:
        self.token_embeddings = token_embeddings
        self.position_embeddings = position_embeddings
        self.blocks = blocks
        self.norm = norm
        self.output = output
        self.dropout = dropout

    def forward(self, ids: Sequence[Sequence[int]], caches: Sequence[KVCache] | None = None) -> Tensor:
        """Return the logits of the token after each token.

        Args:
            ids: B sequences of T token ids.
            caches: One for each block, for a sequence whose earlier tokens were read before; None to read it whole.

        Returns:
            (B, T, V).
        """
        x = self._embed(ids, 0 if caches is None else len(caches[0]))
        for i, block in enumerate(self.blocks):
            x = block.forward(x, None if caches is None else caches[i])
        return self.output.forward(self.norm.forward(x))

    def _embed(self, ids: Sequence[Sequence[int]], start: int) -> Tensor:
        x = self.token_embeddings.forward(ids)
        if self.position_embeddings is not None:
            places = self.position_embeddings.forward([range(start, start + len(ids[0]))])
            x = functional.add(x, functional.reshape(places, places.shape[1:]))
        return self.dropout.forward(x)

    def glimpses(self, ids: Sequence[int]) -> list[Glimpse]:
        """Follow the last token of a sequence through the network.

        Args:
            ids: T token ids.

        Returns:
            What it is after the embeddings and after each block; the last one's logits are forward()'s.

        Source:
            Reading a half-way state with the output map is nostalgebraist (2020), "The logit lens".
        """
        x = self._embed([ids], 0)
        glimpses = [Glimpse("embeddings", [], self._read_last(x))]
        for i, block in enumerate(self.blocks):
            (weights,) = block.attention.weights(block.norm_1.forward(x)).tolist()
            x = block.forward(x)
            glimpses.append(Glimpse(f"block {i + 1}", [head[-1] for head in weights], self._read_last(x)))
        return glimpses

    def _read_last(self, x: Tensor) -> list[float]:
        size = x.shape[-1]
        last = Tensor(x.data[-size:], (1, size))
        return list(self.output.forward(self.norm.forward(last)).data)
