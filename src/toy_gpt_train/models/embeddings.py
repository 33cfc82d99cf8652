"""embeddings.py - Model 500: tokens as learned vectors.

A table knows nothing about similarity: what it learned about "cat" says nothing about "dog". Here every token has a
learned vector of C values, and tokens that are used alike end up close together. The vectors of the N context tokens,
one after the other, go through one linear layer that gives the logits:

    logits = W [e(w_-N); …; e(w_-1)] + b        or, with a hidden layer,  W tanh(U [e; …; e] + c) + b

The number of weights grows with N, not with V to the N. But each position has weights of its own, the same for every
text: which of the N tokens matter, only attention (model 600) can decide.

Source: Bengio, Ducharme, Vincent and Jauvin (2003), "A neural probabilistic language model".
"""

from collections.abc import Sequence
from random import Random

from toy_gpt_train.models.architecture import Architecture, network_options
from toy_gpt_train.models.network import NetworkModel
from toy_gpt_train.nn.functional import reshape, tanh
from toy_gpt_train.nn.modules import Embedding, LensStep, Linear, Network
from toy_gpt_train.nn.tensor import Tensor


class EmbeddingsNetwork(Network):
    """N vectors side by side, an optional hidden layer, and an output layer."""

    def __init__(
        self, vocab_size: int, context_size: int, architecture: Architecture, generator: Random | None
    ) -> None:
        size = context_size * architecture.embedding_dim
        self.token_embeddings = Embedding(vocab_size, architecture.embedding_dim, generator=generator, std=1.0)
        self.hidden = Linear(size, architecture.hidden_dim, generator=generator) if architecture.hidden_dim else None
        size = architecture.hidden_dim or size
        self.output = Linear(size, vocab_size, bias=architecture.bias, generator=generator)

    def forward(self, ids: Sequence[Sequence[int]], *, exact: bool = False) -> Tensor:
        """Return (B, 1, V): the logits of the token after B contexts of N ids."""
        x = self.token_embeddings(ids, exact=exact)
        return self._logits(reshape(x, (x.shape[0], 1, x.shape[1] * x.shape[2])))

    def _logits(self, x: Tensor) -> Tensor:
        return self.output(x if self.hidden is None else tanh(self.hidden(x)))

    def logit_lens(self, ids: Sequence[int]) -> list[LensStep]:
        """Return what the network predicts knowing no token, the last one, the last two, …; the others are zeros."""
        x = self.token_embeddings([ids], exact=True)
        length, size = x.shape[1:]
        steps: list[LensStep] = []
        for known in range(length + 1):
            hidden = (length - known) * size
            partly = Tensor([0.0] * hidden + list(x.data[hidden:]), (1, 1, length * size), exact=True)
            place = "last token" if known == 1 else f"last {known} tokens" if known else "no token"
            steps.append(LensStep(place, [], list(self._logits(partly).data)))
        return steps


class EmbeddingsModel(NetworkModel):
    """Model 500; see NetworkModel for the arguments."""

    options = network_options("embedding_dim", "hidden_dim", "bias")
    torch_name = "embeddings"
    default_context = 8

    @classmethod
    def build_network(cls, vocab_size: int, context_size: int, architecture: Architecture, seed: int | None) -> Network:
        """Return an untrained network."""
        return EmbeddingsNetwork(vocab_size, context_size, architecture, None if seed is None else Random(seed))

    @classmethod
    def count_parameters(cls, vocab_size: int, context_size: int, architecture: Architecture) -> int:
        """Return how many weights a network would have."""
        size, hidden = context_size * architecture.embedding_dim, architecture.hidden_dim
        into_hidden = (size + 1) * hidden
        output = ((hidden or size) + architecture.bias) * vocab_size
        return vocab_size * architecture.embedding_dim + into_hidden + output

    @property
    def min_context(self) -> int:
        """All N tokens: each position has weights of its own."""
        return self.context_size

    @property
    def num_targets(self) -> int:
        """One token of a window, the last."""
        return 1

    @property
    def stride(self) -> int:
        """One token of a text is scored per window."""
        return 1

    def input_label(self, index: int) -> str:
        """Return the label of a row of 02_model_weights.csv; without a hidden layer, how far back and which value."""
        if self.architecture.hidden_dim:
            return f"dim_{index}"
        position, dim = divmod(index, self.architecture.embedding_dim)
        return f"{position - self.context_size}|dim_{dim}"
