"""transformer.py - What gpt and llama share: a Transformer that need not read the same tokens again.

While a text grows token by token, the keys and values of the tokens already read do not change. A cache keeps them, so
that only the new tokens are read.

OBS: that ends when the window is full and begins to slide. Every token then has another position, or other tokens
before it, so the whole window is read again.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from toy_gpt_train.errors import InputError
from toy_gpt_train.models.architecture import WINDOW_OPTIONS, Architecture, network_options
from toy_gpt_train.models.network import NetworkModel, scored
from toy_gpt_train.models.scores import Prediction
from toy_gpt_train.nn.kv_cache import KVCache, same_beginning
from toy_gpt_train.nn.modules import LensStep
from toy_gpt_train.nn.tensor import Tensor
from toy_gpt_train.nn.transformer import TransformerLM


@dataclass
class ContextCache:
    """The keys and values of a context."""

    ids: tuple[int, ...] = ()  # the tokens they belong to
    blocks: Sequence[KVCache] = ()  # a cache for each block of the network


class TransformerModel(NetworkModel):
    """A model whose network is a TransformerLM; see NetworkModel for the arguments."""

    options = network_options("embedding_dim", "hidden_dim", "heads", "layers", "tied", "dropout", *WINDOW_OPTIONS)
    network: TransformerLM

    @staticmethod
    def check(architecture: Architecture) -> None:
        """Refuse what no Transformer can be built of."""
        if architecture.hidden_dim < 1:
            raise InputError(f"the feed-forward layer must have a size of at least 1, got {architecture.hidden_dim}")

    def new_cache(self) -> Any:
        """Return an empty cache. It is valid while the weights do not change."""
        return ContextCache() if self._torch is None else self._torch.new_cache()

    def _read(self, context: tuple[int, ...], cache: Any) -> Tensor:
        """Return the logits at the end of a context, reading only the tokens that are not in the cache."""
        with self._cached(context, cache) as (new, caches):
            (states,) = deque(self.network.read(new, caches), maxlen=1)
        return self.network.logits(_row(states, -1))

    def logit_lens(self, ids: Sequence[int], cache: Any = None) -> list[LensStep]:
        """Follow one prediction through the network; that of nn/, whatever computes the predictions."""
        if not isinstance(cache, ContextCache):
            cache = ContextCache()
        with self._cached(self.context(ids), cache) as (new, caches):
            return self.network.logit_lens(new, caches)

    @contextmanager
    def _cached(self, context: tuple[int, ...], cache: Any) -> Iterator[tuple[tuple[int, ...], Sequence[KVCache]]]:
        """Give the tokens of a context that are not in the cache, at least the last one, which are read meanwhile."""
        cache = ContextCache() if cache is None else cache
        cache.blocks = cache.blocks or [KVCache() for _ in self.network.blocks]
        known = same_beginning(cache.ids, context[:-1])
        for block in cache.blocks:
            block.cut(known)
        cache.ids = ()  # WHY: if reading is interrupted, nothing half-read counts
        yield context[known:], cache.blocks
        cache.ids = context

    def _score_batch(self, windows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Iterator[Prediction]:
        if self._torch is not None or not self.is_large:
            yield from super()._score_batch(windows)
            return
        # WHY a token at a time: the logits of a window do not fit into memory, and a packed matrix gains nothing from
        # more.
        for window, targets in windows:
            position = len(targets) - len(window)  # of the target that a token predicts
            for states in self.network.read(window, [KVCache() for _ in self.network.blocks], exact=False):
                for i in range(states.shape[1]):
                    if position >= 0:
                        yield scored(self.network.logits(_row(states, i)).data, targets[position])
                    position += 1


def _row(states: Tensor, i: int) -> Tensor:
    size = states.shape[-1]
    begin = i % states.shape[1] * size
    return Tensor(states.data[begin : begin + size], (1, size), exact=states.exact)
