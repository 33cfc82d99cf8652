"""Modules and whole networks: names, weights, gradients, and reading token by token."""

import random
from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import exp, fsum, log, sqrt

import pytest

from test_nn_functional import check_gradients, random_tensor
from toy_gpt_train.nn import functional, kernels
from toy_gpt_train.nn.kv_cache import KVCache
from toy_gpt_train.nn.modules import Dropout, Embedding, LayerNorm, Linear, Module, Network, RMSNorm
from toy_gpt_train.nn.tensor import Parameter, Tensor, from_lists
from toy_gpt_train.nn.transformer import Block, FeedForward, MultiHeadAttention, SwiGLU, TransformerLM

VOCAB, CHANNELS, HEADS, CONTEXT = 7, 8, 2, 6
IDS = [[3, 1, 4, 1, 5, 0], [2, 6, 5, 3, 3, 6]]


def gpt(channels: int = CHANNELS, blocks: int = 2, vocab: int = VOCAB, p: float = 0.0, seed: int = 0) -> TransformerLM:
    """A network with GPT-2's parts."""
    g = random.Random(seed)
    dropout = Dropout(p, g)
    return TransformerLM(
        Embedding(vocab, channels, generator=g, std=0.5),
        Embedding(CONTEXT, channels, generator=g, std=0.5),
        [
            Block(
                LayerNorm(channels),
                MultiHeadAttention(channels, HEADS, generator=g),
                LayerNorm(channels),
                FeedForward(channels, 2 * channels, functional.gelu, generator=g),
                dropout,
            )
            for _ in range(blocks)
        ],
        LayerNorm(channels),
        Linear(channels, vocab, generator=g, bias=False),
        dropout,
    )


def llama(
    channels: int = CHANNELS, blocks: int = 2, vocab: int = VOCAB, p: float = 0.0, seed: int = 0
) -> TransformerLM:
    """A network with Llama's parts."""
    g = random.Random(seed)
    dropout = Dropout(p, g)
    return TransformerLM(
        Embedding(vocab, channels, generator=g, std=0.5),
        None,
        [
            Block(
                RMSNorm(channels),
                MultiHeadAttention(channels, HEADS, generator=g, bias=False, rope_base=10_000.0),
                RMSNorm(channels),
                SwiGLU(channels, 2 * channels, generator=g),
                dropout,
            )
            for _ in range(blocks)
        ],
        RMSNorm(channels),
        Linear(channels, vocab, generator=g, bias=False),
        dropout,
    )


NETWORKS = [gpt, llama]
both_networks = pytest.mark.parametrize("network", NETWORKS)


def shaken(model: TransformerLM) -> TransformerLM:
    """The same network with no weight left at its initial 0 or 1."""
    g = random.Random(1)
    for parameter in model.parameters():
        parameter.data = array("d", [w + g.gauss(0, 0.1) for w in parameter.data])
    return model


def largest_difference(ours: object, theirs: object) -> float:
    """Of nested lists, elementwise."""
    if isinstance(ours, list) and isinstance(theirs, list):
        return max(largest_difference(a, b) for a, b in zip(ours, theirs, strict=True))
    return abs(ours - theirs)


def loss_of(model: Network, windows: Sequence[Sequence[int]], *, exact: bool = True) -> Tensor:
    """The mean loss of predicting each token of each window but the first."""
    logits = model([window[:-1] for window in windows], exact=exact)
    return functional.cross_entropy(logits, [token_id for window in windows for token_id in window[1:]])


# --- parts --------------------------------------------------------------------------------------------------


def weights_of(module: Module) -> dict[str, tuple[int, ...]]:
    return {name: parameter.shape for name, parameter in module.named_parameters()}


def test_names_and_shapes_of_parts():
    g = random.Random(0)
    assert list(weights_of(Linear(2, 3, generator=g)).items()) == [("weight", (3, 2)), ("bias", (3,))]
    assert weights_of(Linear(2, 3, bias=False, generator=g)) == {"weight": (3, 2)}
    assert weights_of(Embedding(4, 2, generator=g)) == {"weight": (4, 2)}
    assert list(weights_of(LayerNorm(5)).items()) == [("weight", (5,)), ("bias", (5,))]
    assert weights_of(RMSNorm(5)) == {"weight": (5,)}
    assert weights_of(RMSNorm(5, gain=False)) == {}
    assert weights_of(Dropout(0.1, g)) == {}


GPT_NAMES = """
    token_embeddings.weight position_embeddings.weight
    blocks.0.norm_1.weight blocks.0.norm_1.bias
    blocks.0.attention.q_proj.weight blocks.0.attention.q_proj.bias
    blocks.0.attention.k_proj.weight blocks.0.attention.k_proj.bias
    blocks.0.attention.v_proj.weight blocks.0.attention.v_proj.bias
    blocks.0.attention.o_proj.weight blocks.0.attention.o_proj.bias
    blocks.0.norm_2.weight blocks.0.norm_2.bias
    blocks.0.feed_forward.up_proj.weight blocks.0.feed_forward.up_proj.bias
    blocks.0.feed_forward.down_proj.weight blocks.0.feed_forward.down_proj.bias
    norm.weight norm.bias output.weight
"""
LLAMA_NAMES = """
    token_embeddings.weight
    blocks.0.norm_1.weight
    blocks.0.attention.q_proj.weight blocks.0.attention.k_proj.weight
    blocks.0.attention.v_proj.weight blocks.0.attention.o_proj.weight
    blocks.0.norm_2.weight
    blocks.0.feed_forward.gate_proj.weight blocks.0.feed_forward.up_proj.weight blocks.0.feed_forward.down_proj.weight
    norm.weight output.weight
"""


@pytest.mark.parametrize(("network", "names"), [(gpt, GPT_NAMES), (llama, LLAMA_NAMES)])
def test_names_of_a_network_in_order(network, names):
    model = network(blocks=1)
    assert [name for name, _ in model.named_parameters()] == names.split()
    assert list(model.state_dict()) == names.split()
    assert [id(p) for p in model.parameters()] == [id(p) for _, p in model.named_parameters()]
    in_block = [name for name in names.split() if name.startswith("blocks.0.")]
    second = [name for name in weights_of(network(blocks=2)) if name.startswith("blocks.1.")]
    assert second == [name.replace("blocks.0.", "blocks.1.") for name in in_block]


def test_number_of_parameters_by_hand():
    c, f, v, n = CHANNELS, 2 * CHANNELS, VOCAB, CONTEXT
    block = 4 * (c * c + c) + (c * f + f) + (f * c + c) + 4 * c
    assert gpt(blocks=3).num_parameters() == v * c + n * c + 3 * block + 2 * c + c * v
    block = 4 * c * c + 3 * c * f + 2 * c
    assert llama(blocks=3).num_parameters() == v * c + 3 * block + c + c * v


def test_initial_weights():
    g = random.Random(0)
    linear = Linear(100, 80, generator=g)
    assert list(linear.bias.data) == [0.0] * 80
    assert (list(LayerNorm(3).weight.data), list(LayerNorm(3).bias.data)) == ([1.0] * 3, [0.0] * 3)
    assert list(RMSNorm(3).weight.data) == [1.0] * 3
    attention = MultiHeadAttention(80, 2, generator=g, out_std=0.01)
    for weight, std in [
        (linear.weight, 1 / sqrt(100)),
        (Linear(100, 80, generator=g, std=0.3).weight, 0.3),
        (Embedding(100, 80, generator=g).weight, 0.02),
        (Embedding(100, 80, generator=g, std=2.0).weight, 2.0),
        (attention.v_proj.weight, 1 / sqrt(80)),
        (attention.o_proj.weight, 0.01),
        (FeedForward(40, 160, functional.relu, generator=g, out_std=0.01).down_proj.weight, 0.01),
        (SwiGLU(40, 160, generator=g, out_std=0.01).down_proj.weight, 0.01),
        (SwiGLU(40, 160, generator=g).down_proj.weight, 1 / sqrt(160)),
    ]:
        size = len(weight.data)
        mean, square = fsum(weight.data) / size, fsum(w * w for w in weight.data) / size
        # Both within five standard deviations of the expected value.
        assert abs(mean) < 5 * std / sqrt(size)
        assert abs(square / std**2 - 1) < 5 * sqrt(2 / size)


def test_a_standard_deviation_of_zero_is_zero():
    assert list(Linear(2, 3, generator=random.Random(0), std=0.0).weight.data) == [0.0] * 6


@both_networks
def test_a_seed_decides_all_weights(network):
    one, same, other = (network(seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(one[name].data == same[name].data for name in one)
    assert one["output.weight"].data != other["output.weight"].data


def test_parts_compute_their_operation():
    g, x = random.Random(0), random_tensor(2, 3, 4)
    linear, table, layer_norm, rms_norm = (
        Linear(4, 5, generator=g),
        Embedding(3, 4, generator=g),
        LayerNorm(4),
        RMSNorm(4),
    )
    swiglu, mlp = SwiGLU(4, 6, generator=g), FeedForward(4, 6, functional.relu, generator=g)
    gate, up, down = (part.weight for part in (swiglu.gate_proj, swiglu.up_proj, swiglu.down_proj))
    gated = functional.silu(functional.linear(x, gate)) * functional.linear(x, up)
    activated = functional.relu(functional.linear(x, mlp.up_proj.weight, mlp.up_proj.bias))
    for result, expected in [
        (linear(x), functional.linear(x, linear.weight, linear.bias)),
        (table([[2, 0]]), functional.embedding([[2, 0]], table.weight)),
        (layer_norm(x), functional.layer_norm(x, layer_norm.weight, layer_norm.bias)),
        (rms_norm(x), functional.rms_norm(x, rms_norm.weight)),
        (RMSNorm(4, gain=False)(x), functional.rms_norm(x)),
        (swiglu(x), functional.linear(gated, down)),
        (mlp(x), functional.linear(activated, mlp.down_proj.weight, mlp.down_proj.bias)),
    ]:
        assert result.tolist() == expected.tolist()


class Nest(Module):
    """Modules in a list, and attributes that are no modules."""

    def __init__(self) -> None:
        self.first = Parameter([1.0], (1,))
        self.parts = [Linear(1, 1, generator=random.Random(i)) for i in range(11)]
        self.inner = LayerNorm(1)
        self.table = Tensor([1.0], (1,))
        self.numbers = [1.0, 2.0]
        self.nothing = None


def test_parameters_are_found_in_attributes_and_lists():
    names = [name for name, _ in Nest().named_parameters()]
    in_list = [f"parts.{i}.{name}" for i in range(11) for name in ("weight", "bias")]
    assert names == ["first", *in_list, "inner.weight", "inner.bias"]
    assert [name for name, _ in Nest().named_children()] == [*(f"parts.{i}" for i in range(11)), "inner"]
    assert [name for name, _ in Nest().inner.named_parameters("here.")] == ["here.weight", "here.bias"]


@both_networks
def test_train_reaches_all_children(network):
    def all_modules(module: Module) -> list[Module]:
        return [module] + [part for _, child in module.named_children() for part in all_modules(child)]

    model = network()
    assert len(all_modules(model)) > 20
    assert not any(part.training for part in all_modules(model))
    model.train()
    assert all(part.training for part in all_modules(model))
    model.train(False)
    assert not any(part.training for part in all_modules(model))


def test_dropout_is_active_in_training_only():
    x = random_tensor(4, 5)
    dropout = Dropout(0.5, random.Random(3))
    assert dropout(x) is x
    dropout.train()
    assert dropout(x).data == functional.dropout(x, 0.5, random.Random(3)).data
    never = Dropout(0.0, random.Random(3))
    never.train()
    assert never(x) is x


@both_networks
def test_a_seed_restarts_the_dropout_of_a_network(network):
    model = network(p=0.5)
    still = model(IDS).data
    model.train()
    runs = []
    for seed in (1, 1, 2):
        model.seed_dropout(seed)
        runs.append(model(IDS).data)
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert runs[0] != still
    assert model(IDS).data != runs[2]  # the generator has moved on
    model.train(False)
    assert model(IDS).data == still


class Nothing(Dropout):
    """Sets every value to 0."""

    def __init__(self) -> None:
        super().__init__(0.0, random.Random(0))

    def forward(self, x: Tensor) -> Tensor:
        return Tensor([0.0] * len(x.data), x.shape)


@both_networks
def test_dropout_stands_after_the_embeddings_and_after_each_part(network):
    model = shaken(network())
    x = random_tensor(2, 3, CHANNELS)
    block = model.blocks[0]
    block.dropout = Nothing()
    assert block(x).data == x.data
    one, other = [[1, 2, 3]], [[4, 5, 6]]
    assert model(one).data != model(other).data
    model.dropout = Nothing()
    assert model(one).data == model(other).data


def test_a_network_must_define_its_output():
    for call in (lambda: Module()(), lambda: Network()([[0]]), lambda: Network().logit_lens([0])):
        with pytest.raises(NotImplementedError):
            call()


def test_calling_a_module_is_calling_forward():
    class Shifted(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + from_lists([100.0])

    layer, x = Shifted(1, 1, generator=random.Random(0), std=0.0), from_lists([[1.0], [2.0]])
    assert layer(x).tolist() == layer.forward(x).tolist() == [[100.0], [100.0]]


@both_networks
def test_zero_grad_forgets_all_gradients(network):
    model = network()
    loss_of(model, IDS).backward()
    assert all(p.grad is not None and len(p.grad) == len(p.data) for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


# --- saving and loading -------------------------------------------------------------------------------------


@both_networks
def test_what_was_saved_is_what_is_loaded(network):
    model, other = shaken(network(seed=0)), network(seed=1)
    state = {name: Tensor(list(p.data), p.shape) for name, p in model.state_dict().items()}
    assert other(IDS).data != model(IDS).data
    other.load_state_dict(state)
    assert other(IDS).data == model(IDS).data
    assert all(isinstance(p, Parameter) and isinstance(p.data, array) for p in other.parameters())
    state["output.weight"].data[0] += 1.0  # what was read from is not held
    assert other(IDS).data == model(IDS).data


def test_a_network_can_be_loaded_from_another():
    model, other = gpt(seed=0), gpt(seed=1)
    other.load_state_dict(model.state_dict())
    logits = model(IDS).data
    assert other(IDS).data == logits
    model.output.weight.data[0] += 1.0  # they share no numbers
    assert other(IDS).data == logits != model(IDS).data


def without(name: str) -> Callable[[dict[str, Tensor]], None]:
    return lambda state: state.pop(name)


def having(name: str, *shape: int) -> Callable[[dict[str, Tensor]], None]:
    return lambda state: state.update({name: random_tensor(*shape)})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("norm.bias"), "not the same: norm.bias"),
        (having("norm.scale", CHANNELS), "not the same: norm.scale"),
        (having("blocks.2.norm_1.weight", CHANNELS), "not the same: blocks.2.norm_1.weight"),
        (having("norm.weight", CHANNELS + 1), r"norm.weight has shape \(8,\), not \(9,\)"),
        (having("output.weight", CHANNELS, VOCAB), r"output.weight has shape \(7, 8\), not \(8, 7\)"),
        (having("norm.bias", CHANNELS, 1), r"norm.bias has shape \(8,\), not \(8, 1\)"),
    ],
)
def test_a_refused_state_changes_nothing(spoil, message):
    model = gpt()
    before = {name: p.data.tobytes() for name, p in model.named_parameters()}
    state = dict(gpt(seed=1).state_dict())
    spoil(state)
    with pytest.raises(ValueError, match=message):
        model.load_state_dict(state)
    assert {name: p.data.tobytes() for name, p in model.named_parameters()} == before


# --- gradients of whole networks ----------------------------------------------------------------------------

WINDOWS = [[3, 1, 4, 1, 5], [2, 6, 5, 3, 3]]


@both_networks
def test_gradients_of_a_network_are_slopes(network):
    model = shaken(network(channels=4, blocks=2))
    check_gradients(lambda *_: loss_of(model, WINDOWS), *model.parameters(), places=3)


@both_networks
def test_gradients_of_a_network_with_dropout_are_slopes(network):
    model = shaken(network(channels=4, blocks=1, p=0.3))
    model.train()

    def loss(*_: Tensor) -> Tensor:
        model.seed_dropout(5)
        return loss_of(model, WINDOWS)

    check_gradients(loss, *model.parameters(), places=2)


@pytest.mark.parametrize(
    "options", [{}, {"bias": False}, {"rope_base": 10_000.0}, {"kv_heads": 1}, {"head_dim": 3, "kv_heads": 1}], ids=str
)
def test_gradients_of_attention_are_slopes(options):
    part = MultiHeadAttention(4, 2, generator=random.Random(0), **options)
    check_gradients(lambda x, *_: part(x), random_tensor(2, 3, 4), *part.parameters())


def test_biases_let_a_head_look_at_a_distance_whatever_the_tokens_are():
    part, generator = MultiHeadAttention(8, 1, rope_base=10.0, generator=random.Random(0)), random.Random(1)
    for layer in (part.q_proj, part.k_proj):
        assert not any(layer.bias.data)
        layer.bias.data = array("d", [generator.gauss(0, 1) for _ in range(8)])
        layer.weight.data = array("d", bytes(8 * 8 * 8))  # so nothing depends on the tokens
    weights = part.weights(random_tensor(1, 9, 8), KVCache()).data
    scores = [[log(weights[9 * i + j] / weights[9 * i + i]) for j in range(i + 1)] for i in range(9)]
    for distance in range(9):
        found = [scores[i][i - distance] for i in range(distance, 9)]
        assert found == pytest.approx([found[0]] * len(found), abs=1e-9)
    assert max(map(abs, scores[8])) > 0.5


@both_networks
def test_gradients_of_a_tied_network_are_slopes(network):
    model = shaken(network(channels=4, blocks=1))
    model.output = None
    assert "output.weight" not in weights_of(model)
    check_gradients(lambda *_: loss_of(model, WINDOWS), *model.parameters(), places=2)


def test_tied_logits_are_products_with_the_token_vectors():
    tied, free = (shaken(llama()) for _ in range(2))
    tied.output = None
    free.output.weight.data = array("d", free.token_embeddings.weight.data)
    assert tied([[1, 2, 3]], exact=True).data == free([[1, 2, 3]], exact=True).data
    assert tied.logit_lens([1, 2, 3]) == free.logit_lens([1, 2, 3])


def grouped_and_whole(channels: int, heads: int, kv_heads: int) -> tuple[MultiHeadAttention, MultiHeadAttention]:
    """Attention with shared keys and values, and the same with a copy of them for each head."""
    grouped = MultiHeadAttention(channels, heads, kv_heads=kv_heads, generator=random.Random(0), rope_base=50.0)
    whole = MultiHeadAttention(channels, heads, generator=random.Random(0), rope_base=50.0)
    state = dict(grouped.state_dict())
    rows = channels // heads
    for part in ("k_proj", "v_proj"):
        weight, bias = grouped.state_dict()[f"{part}.weight"], grouped.state_dict()[f"{part}.bias"]
        bias.data = array("d", range(len(bias.data)))
        copies = [i // (heads // kv_heads) * rows + j for i in range(heads) for j in range(rows)]
        many = [value for i in copies for value in weight.data[i * channels : (i + 1) * channels]]
        state[f"{part}.weight"] = Parameter(many, (channels, channels))
        state[f"{part}.bias"] = Parameter([bias.data[i] for i in copies], (channels,))
    whole.load_state_dict(state)
    return grouped, whole


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 2), (4, 1), (6, 3)])
def test_grouped_heads_are_heads_with_equal_keys_and_values(heads, kv_heads):
    grouped, whole = grouped_and_whole(12 if heads == 6 else 8, heads, kv_heads)
    x = random_tensor(2, 5, whole.q_proj.weight.shape[0])
    assert grouped(x).data == pytest.approx(whole(x).data, rel=1e-12)
    assert grouped.weights(x, KVCache()).data == pytest.approx(whole.weights(x, KVCache()).data, rel=1e-12)
    cache = KVCache()
    one_by_one = [grouped(from_lists([[row]]), cache).data for row in random_tensor(1, 5, x.shape[2]).tolist()[0]]
    together = whole(random_tensor(1, 5, x.shape[2])).data
    assert [value for part in one_by_one for value in part] == pytest.approx(list(together), rel=1e-9)
    assert cache.keys.shape[1] == kv_heads


def test_heads_that_cannot_share_are_refused():
    with pytest.raises(ValueError, match="4 heads cannot share 3 heads"):
        MultiHeadAttention(8, 4, kv_heads=3, generator=random.Random(0))


def test_the_norms_add_their_own_epsilon():
    tiny = from_lists([[1e-3, -1e-3]])
    assert LayerNorm(2, 1e-6)(tiny).data == pytest.approx([sqrt(0.5), -sqrt(0.5)], rel=1e-9)
    assert RMSNorm(2, 3e-6)(tiny).data == pytest.approx([0.5, -0.5], rel=1e-9)


def loss_and_gradients(
    model: TransformerLM, windows: Sequence[Sequence[int]], *, exact: bool
) -> tuple[float, dict[str, list[float]]]:
    model.zero_grad()
    loss = loss_of(model, windows, exact=exact)
    loss.backward()
    return loss.item(), {name: list(p.grad) for name, p in model.named_parameters()}


@both_networks
def test_both_kernels_train_a_network_alike(network, monkeypatch):
    model = shaken(network(channels=32, vocab=30))
    g = random.Random(2)
    windows = [[g.randrange(30) for _ in range(CONTEXT + 1)] for _ in range(8)]
    loss, gradients = loss_and_gradients(model, windows, exact=False)
    plain_loss, plain_gradients = loss_and_gradients(model, windows, exact=True)
    monkeypatch.setattr(kernels, "_packing_pays", lambda *_: False)
    assert (plain_loss, plain_gradients) == loss_and_gradients(model, windows, exact=False)
    assert loss != plain_loss  # it was the other kernel
    assert loss == pytest.approx(plain_loss, rel=1e-6)
    for name, gradient in gradients.items():
        length = sqrt(fsum(b * b for b in plain_gradients[name]))
        distance = sqrt(fsum((a - b) ** 2 for a, b in zip(gradient, plain_gradients[name], strict=True)))
        # A bias of the keys shifts all scores of a row equally: its true gradient is zero, and both are noise.
        assert distance <= 1e-5 * length + 1e-7, name


# --- the whole network, forward -----------------------------------------------------------------------------


@both_networks
def test_later_tokens_never_change_earlier_logits(network):
    model = shaken(network())
    before = model([[3, 1, 4, 1, 5, 0]], exact=True).tolist()[0]
    for place in range(6):
        changed = [3, 1, 4, 1, 5, 0]
        changed[place] = 6
        after = model([changed], exact=True).tolist()[0]
        assert after[:place] == before[:place]
        assert all(a != b for a, b in zip(after[place:], before[place:], strict=True))


@both_networks
def test_sequences_of_a_batch_do_not_see_each_other(network):
    model = shaken(network())
    together = model(IDS, exact=True)
    assert together.shape == (2, 6, VOCAB)
    assert together.tolist() == [model([ids], exact=True).tolist()[0] for ids in IDS]


@both_networks
def test_the_order_of_tokens_matters(network):
    model = shaken(network())
    ordered, swapped = (model([ids]).tolist()[0][2] for ids in ([1, 2, 3], [2, 1, 3]))
    assert largest_difference(ordered, swapped) > 1e-3


def test_learned_positions_distinguish_equal_tokens_and_rotation_does_not():
    first, second = shaken(gpt())([[2, 2]]).tolist()[0]
    assert largest_difference(first, second) > 1e-3
    first, second = shaken(llama())([[2, 2]]).tolist()[0]
    assert largest_difference(first, second) < 1e-12


def test_learned_positions_end_with_the_context():
    with pytest.raises(IndexError, match="0 to 5"):
        gpt()([[0] * (CONTEXT + 1)])
    assert llama()([[0] * (CONTEXT + 1)]).shape == (1, CONTEXT + 1, VOCAB)


def test_heads_must_share_evenly():
    with pytest.raises(ValueError, match="3 heads cannot share 8 values"):
        MultiHeadAttention(8, 3, generator=random.Random(0))


# --- reading token by token ---------------------------------------------------------------------------------

PIECES = [[1] * 6, [6], [3, 1, 2], [1, 5], [5, 1]]  # how many tokens are read at a time


def read_in_pieces(
    model: TransformerLM, ids: list[list[int]], pieces: Sequence[int], *, exact: bool
) -> list[list[list[float]]]:
    caches = [KVCache() for _ in model.blocks]
    logits: list[list[list[float]]] = [[] for _ in ids]
    for size, end in zip(pieces, accumulate(pieces), strict=True):
        assert [len(cache) for cache in caches] == [end - size] * len(caches)
        part = model([sequence[end - size : end] for sequence in ids], caches, exact=exact).tolist()
        logits = [old + new for old, new in zip(logits, part, strict=True)]
    return logits


@both_networks
@pytest.mark.parametrize("pieces", PIECES, ids=str)
def test_reading_in_pieces_is_reading_at_once(network, pieces):
    model = shaken(network(channels=32, vocab=30))
    whole = model(IDS, exact=True).tolist()
    assert largest_difference(read_in_pieces(model, IDS, pieces, exact=True), whole) < 1e-9


@both_networks
@pytest.mark.parametrize("pieces", [[1] * 6, [3, 1, 2]], ids=str)
def test_reading_in_pieces_with_the_packed_kernel(network, pieces):
    model = shaken(network(channels=32, vocab=30))
    whole = model(IDS).tolist()
    assert 0 < largest_difference(read_in_pieces(model, IDS, pieces, exact=False), whole) < 1e-4


def test_a_cache_joins_heads_and_sequences_in_order():
    cache = KVCache()
    assert len(cache) == 0
    keys, values = random_tensor(2, 3, 5, 2, seed=1), random_tensor(2, 3, 5, 2, seed=2)

    def tokens(x: Tensor, begin: int, end: int) -> Tensor:
        part = [value for b in x.tolist() for h in b for row in h[begin:end] for value in row]
        return Tensor(part, (2, 3, end - begin, 2), exact=x.exact)

    for begin, end in [(0, 2), (2, 3), (3, 5)]:
        joined = cache.extend(tokens(keys, begin, end), tokens(values, begin, end))
        assert len(cache) == end
        assert [x.tolist() for x in joined] == [tokens(x, 0, end).tolist() for x in (keys, values)]
        assert all(x.exact for x in joined)


# --- the logit lens -----------------------------------------------------------------------------------------


@both_networks
def test_the_lens_ends_with_the_logits_of_forward(network):
    model = shaken(network(blocks=3))
    for ids in ([3], [3, 1, 4, 1, 5]):
        steps = model.logit_lens(ids)
        assert [step.place for step in steps] == ["embeddings", "block 1", "block 2", "block 3"]
        assert steps[-1].logits == pytest.approx(model([ids], exact=True).tolist()[0][-1], rel=1e-12)
        assert steps[0].attention == []
        for step in steps:
            assert len(step.logits) == VOCAB
        for step in steps[1:]:
            assert [len(shares) for shares in step.attention] == [len(ids)] * HEADS
            assert [fsum(shares) for shares in step.attention] == pytest.approx([1.0] * HEADS, abs=1e-12)


@both_networks
def test_the_lens_is_always_exact(network):
    model, ids = shaken(network(channels=32, vocab=30)), [3, 1, 4, 1, 5]
    logits = model.logit_lens(ids)[-1].logits
    assert logits == pytest.approx(model([ids], exact=True).tolist()[0][-1], rel=1e-12)
    assert largest_difference(logits, model([ids]).tolist()[0][-1]) > 1e-9


@both_networks
def test_a_lens_step_is_what_a_shorter_network_predicts(network):
    model = shaken(network(blocks=3))
    steps = model.logit_lens([3, 1, 4])
    for number, step in enumerate(steps):
        shorter = TransformerLM(
            model.token_embeddings,
            model.position_embeddings,
            model.blocks[:number],
            model.norm,
            model.output,
            model.dropout,
        )
        assert step.logits == pytest.approx(shorter([[3, 1, 4]], exact=True).tolist()[0][-1], rel=1e-12)


def test_where_the_last_token_looks_by_hand():
    model, ids = shaken(gpt()), [3, 1, 4]
    block, size = model.blocks[0], CHANNELS // HEADS
    tokens, places = model.token_embeddings.weight.tolist(), model.position_embeddings.weight.tolist()
    x = from_lists([[a + b for a, b in zip(tokens[i], places[t], strict=True)] for t, i in enumerate(ids)])
    normed = functional.layer_norm(x, block.norm_1.weight, block.norm_1.bias)
    query, keys = block.attention.q_proj(normed).tolist()[-1], block.attention.k_proj(normed).tolist()
    shares = model.logit_lens(ids)[1].attention
    assert len(shares) == HEADS
    for h in range(HEADS):
        own = range(h * size, (h + 1) * size)
        scores = [exp(fsum(query[d] * key[d] for d in own) / sqrt(size)) for key in keys]
        assert shares[h] == pytest.approx([score / fsum(scores) for score in scores], rel=1e-9)


@pytest.mark.parametrize("rope_base", [None, 10_000.0, 2.0])
def test_weights_are_the_shares_that_forward_uses(rope_base):
    part = MultiHeadAttention(4, 2, generator=random.Random(0), rope_base=rope_base)
    x = random_tensor(2, 3, 4)
    weights = part.weights(x, KVCache())
    assert weights.shape == (2, 2, 3, 3)
    values = part.v_proj(x).tolist()
    mixed = [
        [
            [fsum(weights.tolist()[b][d // 2][t][s] * values[b][s][d] for s in range(3)) for d in range(4)]
            for t in range(3)
        ]
        for b in range(2)
    ]
    flat = from_lists(mixed)
    assert part(x).data == pytest.approx(part.o_proj(flat).data, rel=1e-12)
    for rows in (rows for sequence in weights.tolist() for rows in sequence):
        assert [fsum(row) for row in rows] == pytest.approx([1.0] * 3, abs=1e-12)
        assert all(row[t + 1 :] == [0.0] * (2 - t) for t, row in enumerate(rows))
