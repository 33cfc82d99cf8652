"""transformer.py - What rungs 700 and 800 share: a Transformer that need not read the same tokens again.

While a text grows token by token, the keys and values of the tokens already read stay as they are. So forward()
remembers what it read last, and when it is asked about the same tokens and some more, it reads the new ones only.

OBS: that ends when the window is full and begins to slide. Every token then has another position, or another past,
and the whole window is read again.
"""

from collections.abc import Sequence

from toy_gpt_train.errors import InputError
from toy_gpt_train.models.network import Architecture, NeuralModel
from toy_gpt_train.nn.kernels import Floats
from toy_gpt_train.nn.tensor import Tensor
from toy_gpt_train.nn.transformer import KVCache, TransformerLM


class TransformerModel(NeuralModel):
    """A rung whose network is a TransformerLM; see NeuralModel for the arguments."""

    network: TransformerLM
    _read: tuple[int, ...] = ()
    _caches: Sequence[KVCache] = ()
    _weights: Sequence[Floats] = ()  # with which it was read

    @staticmethod
    def check(architecture: Architecture) -> None:
        """Refuse what no Transformer can be built of."""
        if architecture.hidden_dim < 1:
            raise InputError(f"the feed-forward layer must have a size of at least 1, got {architecture.hidden_dim}")

    def _read_context(self, context_ids: Sequence[int]) -> Tensor:
        """Return the logits at the end of a context, reading only what was not read before.

        Cost: one token's way through the network for each new token, and T multiply-adds a number for attention.
        """
        context = tuple(context_ids)
        weights = [parameter.data for parameter in self.network.parameters()]
        known = len(self._read)
        goes_on = 0 < known < len(context) and context[:known] == self._read
        # WHY compare objects: whoever changes a weight puts a new array in its place.
        if not goes_on or any(old is not new for old, new in zip(self._weights, weights, strict=True)):
            self._caches = [KVCache() for _ in self.network.blocks]
            known = 0
        self._read = ()  # whatever stops the reading half-way leaves nothing to go on from
        logits = self.network.forward([context[known:]], self._caches)
        self._read, self._weights = context, weights
        return logits
