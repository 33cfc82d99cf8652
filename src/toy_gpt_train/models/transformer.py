"""transformer.py - What gpt and llama share: a Transformer that need not read the same tokens again.

While a text grows token by token, the keys and values of the tokens already read do not change. A cache keeps them, so
that only the new tokens are read.

OBS: that ends when the window is full and begins to slide. Every token then has another position, or other tokens
before it, so the whole window is read again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from toy_gpt_train.errors import InputError
from toy_gpt_train.models.architecture import Architecture, network_options
from toy_gpt_train.models.network import NetworkModel
from toy_gpt_train.nn.tensor import Tensor
from toy_gpt_train.nn.transformer import KVCache, TransformerLM


@dataclass
class ContextCache:
    """The keys and values of contexts of one length."""

    contexts: tuple[tuple[int, ...], ...] = ()  # the tokens they belong to
    blocks: Sequence[Any] = ()  # for each block of the network a KVCache, or what PyTorch has instead

    def covers(self, contexts: tuple[tuple[int, ...], ...]) -> int:
        """Return how many tokens of each context need not be read again."""
        known = len(self.contexts[0]) if self.contexts else 0
        is_longer = known < len(contexts[0]) and tuple(context[:known] for context in contexts) == self.contexts
        return known if is_longer else 0


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

    def _read(self, contexts: Sequence[tuple[int, ...]], cache: Any) -> Tensor:
        """Return the logits at the end of contexts, reading only the tokens that are not in the cache."""
        if cache is None:
            return super()._read(contexts, None)
        of_now = tuple(contexts)
        empty, read = (KVCache, partial(self.network, exact=True)) if self._torch is None else (list, self._torch.read)
        known = cache.covers(of_now)
        if not known:
            cache.blocks = [empty() for _ in self.network.blocks]
        cache.contexts = ()  # WHY: if reading is interrupted, nothing half-read counts
        logits = read([context[known:] for context in of_now], cache.blocks)
        cache.contexts = of_now
        return logits
