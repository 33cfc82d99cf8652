"""attention.py - Model 600: which earlier token matters, learned.

Every token is its learned vector plus the vector of its position. Three linear layers make from it a query ("what do I
look for?"), a key ("what am I?") and a value ("what do I tell?"). The last token compares its query with every key; the
average of the values, weighted by how well the keys match, gives the logits:

    x_t = e(w_t) + p(t)
    logits = W softmax(q K^T / sqrt(C)) V + b      with q = x_last W_Q, K = X W_K, V = X W_V

How much a token matters now depends on that token and on the one that looks. One head looks for one thing, once;
several heads in stacked blocks make the Transformer (model 700).

Source: Bahdanau, Cho and Bengio (2015), "Neural machine translation by jointly learning to align and translate", for
the idea; Vaswani et al. (2017), "Attention is all you need", for this form.
"""

from collections.abc import Sequence
from random import Random

from toy_gpt_train.models.architecture import WINDOW_OPTIONS, Architecture, network_options
from toy_gpt_train.models.network import NetworkModel
from toy_gpt_train.nn.attention import attention_weights, scaled_dot_product_attention
from toy_gpt_train.nn.functional import reshape
from toy_gpt_train.nn.modules import Embedding, LensStep, Linear, Module, Network
from toy_gpt_train.nn.tensor import Tensor


class OneHead(Module):
    """The three linear layers of a single attention head, C to C each."""

    def __init__(self, size: int, generator: Random | None) -> None:
        self.q_proj = Linear(size, size, bias=False, generator=generator)
        self.k_proj = Linear(size, size, bias=False, generator=generator)
        self.v_proj = Linear(size, size, bias=False, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, C) for x of (B, T, C)."""
        return scaled_dot_product_attention(self.q_proj(x), self.k_proj(x), self.v_proj(x))

    def weights(self, x: Tensor) -> list[float]:
        """Return how much each token attends to each, (B, T, T) as a flat list."""
        return attention_weights(self.q_proj(x), self.k_proj(x))


class AttentionNetwork(Network):
    """Vectors of tokens and positions, one head, and an output layer."""

    def __init__(
        self, vocab_size: int, context_size: int, architecture: Architecture, generator: Random | None
    ) -> None:
        size = architecture.embedding_dim
        self.token_embeddings = Embedding(vocab_size, size, generator=generator, std=1.0)
        self.position_embeddings = Embedding(context_size, size, generator=generator, std=1.0)
        self.attention = OneHead(size, generator)
        self.output = Linear(size, vocab_size, bias=architecture.bias, generator=generator)

    def forward(self, ids: Sequence[Sequence[int]], *, exact: bool = False) -> Tensor:
        """Return (B, T, V): the logits of the token after each token."""
        return self.output(self.attention(self._embed(ids, exact)))

    def _embed(self, ids: Sequence[Sequence[int]], exact: bool) -> Tensor:
        x = self.token_embeddings(ids, exact=exact)
        positions = self.position_embeddings([range(x.shape[1])], exact=exact)
        return x + reshape(positions, positions.shape[1:])

    def logit_lens(self, ids: Sequence[int]) -> list[LensStep]:
        """Return what the network predicts before it looks at any token, and after."""
        weights = self.attention.weights(self._embed([ids], exact=True))[-len(ids) :]
        vocab_size, bias = self.output.weight.shape[0], self.output.bias
        before = [0.0] * vocab_size if bias is None else list(bias.data)
        after = list(self([ids], exact=True).data[-vocab_size:])
        return [LensStep("no token", [], before), LensStep("attention", [weights], after)]


class AttentionModel(NetworkModel):
    """Model 600; see NetworkModel for the arguments."""

    options = network_options("embedding_dim", "bias", *WINDOW_OPTIONS)
    torch_name = "attention"
    default_context = 16

    @classmethod
    def build_network(cls, vocab_size: int, context_size: int, architecture: Architecture, seed: int | None) -> Network:
        """Return an untrained network."""
        return AttentionNetwork(vocab_size, context_size, architecture, None if seed is None else Random(seed))

    @classmethod
    def count_parameters(cls, vocab_size: int, context_size: int, architecture: Architecture) -> int:
        """Return how many weights a network would have."""
        size = architecture.embedding_dim
        return (vocab_size + context_size) * size + 3 * size * size + (size + architecture.bias) * vocab_size
