"""llama.py - Model 800: the modern block.

The same Transformer with three parts replaced. RMSNorm divides by the root mean square and leaves the mean alone.
RoPE rotates queries and keys by their position, so that attention sees how far apart two tokens are. SwiGLU puts a gate
into the feed-forward layer. No linear layer has a bias, unless attention was given some, or the model was imported with
some.

Source: Touvron et al. (2023), "LLaMA: open and efficient foundation language models".
"""

from math import sqrt
from random import Random

from toy_gpt_train.errors import InputError
from toy_gpt_train.models.architecture import Architecture, network_options
from toy_gpt_train.models.transformer import TransformerModel
from toy_gpt_train.nn.modules import Dropout, Embedding, Linear, Network, RMSNorm
from toy_gpt_train.nn.transformer import Block, MultiHeadAttention, SwiGLU, TransformerLM, embedding_std


class LlamaModel(TransformerModel):
    """Model 800; see NetworkModel for the arguments."""

    options = TransformerModel.options | network_options("kv_heads", "rope_base", "attention_bias")
    torch_name = "llama"
    default_context = 32

    @staticmethod
    def check(architecture: Architecture) -> None:
        """Refuse what no Llama can be built of."""
        TransformerModel.check(architecture)
        if (size := architecture.head_size) % 2:
            raise InputError(f"RoPE rotates values in pairs, so a head needs an even number of them, not {size}")

    @classmethod
    def build_network(cls, vocab_size: int, context_size: int, architecture: Architecture, seed: int | None) -> Network:
        """Return an untrained network."""
        cls.check(architecture)
        generator = None if seed is None else Random(seed)
        size, hidden, eps = architecture.embedding_dim, architecture.hidden_dim, architecture.norm_eps
        dropout = Dropout(architecture.dropout, generator)
        # WHY: each block adds to the stream twice; with this scale the sum stays as large as one part.
        shrink = 1 / sqrt(2 * architecture.layers)
        std = embedding_std(size, tied=architecture.tied)
        return TransformerLM(
            token_embeddings=Embedding(vocab_size, size, generator=generator, std=std),
            position_embeddings=None,
            blocks=[
                Block(
                    RMSNorm(size, eps),
                    MultiHeadAttention(
                        size,
                        architecture.heads,
                        kv_heads=architecture.kv_heads,
                        head_dim=architecture.head_dim,
                        bias=architecture.attention_bias,
                        rope_base=architecture.rope_base,
                        rope_scaling=architecture.rope_scaling,
                        out_std=shrink / sqrt(architecture.head_size * architecture.heads),
                        generator=generator,
                    ),
                    RMSNorm(size, eps),
                    SwiGLU(
                        size, hidden, bias=architecture.mlp_bias, out_std=shrink / sqrt(hidden), generator=generator
                    ),
                    dropout,
                )
                for _ in range(architecture.layers)
            ],
            norm=RMSNorm(size, eps),
            output=None if architecture.tied else Linear(size, vocab_size, bias=False, generator=generator),
            dropout=dropout,
        )

    @classmethod
    def count_parameters(cls, vocab_size: int, context_size: int, architecture: Architecture) -> int:
        """Return how many weights a network would have; N adds none."""
        size, hidden = architecture.embedding_dim, architecture.hidden_dim
        queries = architecture.head_size * architecture.heads
        keys = architecture.head_size * (architecture.kv_heads or architecture.heads)
        attention = 2 * size * (queries + keys) + architecture.attention_bias * (queries + 2 * keys + size)
        feed_forward = 3 * size * hidden + architecture.mlp_bias * (2 * hidden + size)
        blocks = architecture.layers * (attention + feed_forward + 2 * size)
        return (1 if architecture.tied else 2) * vocab_size * size + blocks + size
