"""gpt.py - Model 700: the Transformer, with GPT-2's block.

Several heads look for several things at once. A feed-forward layer processes what each token received. Every part adds
to a stream that runs through all blocks, so that gradients reach the first block. LayerNorm keeps the values in range.
Positions are learned vectors, added to those of the tokens.

Source: Radford et al. (2019), "Language models are unsupervised multitask learners" (GPT-2). It shares one matrix
between the token embeddings and the output layer; here there are two, so that each can be looked at, unless ``tied``.
"""

from math import sqrt
from random import Random

from toy_gpt_train.models.architecture import Architecture
from toy_gpt_train.models.transformer import TransformerModel
from toy_gpt_train.nn.functional import gelu
from toy_gpt_train.nn.modules import Dropout, Embedding, LayerNorm, Linear, Network
from toy_gpt_train.nn.transformer import (
    Block,
    FeedForward,
    MultiHeadAttention,
    TransformerLM,
    embedding_std,
)


class GPTModel(TransformerModel):
    """Model 700; see NetworkModel for the arguments."""

    torch_name = "gpt"
    default_context = 16

    @classmethod
    def build_network(cls, vocab_size: int, context_size: int, architecture: Architecture, seed: int) -> Network:
        """Return an untrained network."""
        cls.check(architecture)
        generator = Random(seed)
        size, hidden, eps = architecture.embedding_dim, architecture.hidden_dim, architecture.norm_eps
        dropout = Dropout(architecture.dropout, generator)
        # WHY: each block adds to the stream twice; with this scale the sum stays as large as one part.
        shrink = 1 / sqrt(2 * architecture.layers)
        std = embedding_std(size, tied=architecture.tied)
        return TransformerLM(
            token_embeddings=Embedding(vocab_size, size, generator=generator, std=std),
            position_embeddings=Embedding(context_size, size, generator=generator, std=std),
            blocks=[
                Block(
                    LayerNorm(size, eps),
                    MultiHeadAttention(size, architecture.heads, out_std=shrink / sqrt(size), generator=generator),
                    LayerNorm(size, eps),
                    FeedForward(size, hidden, gelu, out_std=shrink / sqrt(hidden), generator=generator),
                    dropout,
                )
                for _ in range(architecture.layers)
            ],
            norm=LayerNorm(size, eps),
            output=None if architecture.tied else Linear(size, vocab_size, bias=False, generator=generator),
            dropout=dropout,
        )

    @classmethod
    def count_parameters(cls, vocab_size: int, context_size: int, architecture: Architecture) -> int:
        """Return how many weights a network would have."""
        size, hidden = architecture.embedding_dim, architecture.hidden_dim
        attention = 4 * (size + 1) * size
        feed_forward = (size + 1) * hidden + (hidden + 1) * size
        blocks = architecture.layers * (attention + feed_forward + 4 * size)
        return ((1 if architecture.tied else 2) * vocab_size + context_size) * size + blocks + 2 * size
