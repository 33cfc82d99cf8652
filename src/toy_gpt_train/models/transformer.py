"""transformer.py - What gpt and llama share: a Transformer that need not read the same tokens again.

While a text grows token by token, the keys and values of the tokens already read do not change. A cache keeps them, so
that only the new tokens are read.

OBS: that ends when the window is full and begins to slide. Every token then has another position, or other tokens
before it, so the whole window is read again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toy_gpt_train.errors import InputError
from toy_gpt_train.models.architecture import Architecture, network_options
from toy_gpt_train.models.network import NetworkModel
from toy_gpt_train.nn.tensor import Tensor
from toy_gpt_train.nn.transformer import KVCache, TransformerLM


@dataclass
class ContextCache:
    """The keys and values of a context."""

    ids: tuple[int, ...] = ()  # the tokens they belong to
    blocks: Sequence[KVCache] = ()  # a cache for each block of the network


class TransformerModel(NetworkModel):
    """A model whose network is a TransformerLM; see NetworkModel for the arguments."""

    options = network_options("embedding_dim", "hidden_dim", "heads", "layers", "tied", "dropout", "short_first")
    network: TransformerLM

    @staticmethod
    def check(architecture: Architecture) -> None:
        """Refuse what no Transformer can be built of."""
        if architecture.hidden_dim < 1:
            raise InputError(f"the feed-forward layer must have a size of at least 1, got {architecture.hidden_dim}")

    def new_cache(self) -> ContextCache:
        """Return an empty cache. It is valid while the weights do not change."""
        return ContextCache()

    def _read(self, context: tuple[int, ...], cache: Any) -> Tensor:
        """Return the logits at the end of a context, reading only the tokens that are not in the cache."""
        if cache is None:
            return self.network([context], exact=True)
        known = len(cache.ids)
        if not 0 < known < len(context) or context[:known] != cache.ids:
            cache.blocks = [KVCache() for _ in self.network.blocks]
            known = 0
        cache.ids = ()  # WHY: if reading is interrupted, nothing half-read counts
        logits = self.network([context[known:]], cache.blocks, exact=True)
        cache.ids = context
        return logits
