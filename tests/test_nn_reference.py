"""The neural engine against PyTorch: every operation forward and backward, optimizers, and whole networks."""

import math
import operator
import random
from array import array
from collections.abc import Callable

import pytest

from test_nn_functional import random_tensor, swiglu
from test_nn_modules import HEADS, gpt, llama, loss_of, shaken
from toy_gpt_train.nn import functional as ours
from toy_gpt_train.nn.attention import rope, scaled_dot_product_attention
from toy_gpt_train.nn.kv_cache import KVCache
from toy_gpt_train.nn.optim import SGD, AdamW, Muon, clip_grad_norm, cosine_schedule
from toy_gpt_train.nn.tensor import Parameter, Shape, Tensor
from toy_gpt_train.nn.transformer import MultiHeadAttention

torch = pytest.importorskip("torch")
theirs = torch.nn.functional
DOUBLE = torch.float64


def to_torch(tensor: Tensor):
    return torch.tensor(list(tensor.data), dtype=DOUBLE).reshape(tensor.shape).requires_grad_()


def largest(numbers) -> float:
    return max(map(abs, numbers), default=0.0)


def assert_close(ours_flat, theirs_tensor, name: str = "", rel: float = 1e-9) -> None:
    """Elementwise, relative to the largest."""
    reference = theirs_tensor.detach().reshape(-1).tolist()
    differences = [a - b for a, b in zip(ours_flat, reference, strict=True)]
    assert largest(differences) <= rel * max(largest(reference), 1e-3), name


def later_tokens(length: int):
    return torch.ones(length, length, dtype=torch.bool).triu(diagonal=1)


# --- operations ---------------------------------------------------------------------------------------------

IDS = [[2, 0, 2], [1, 2, 4]]


def rope_by_complex_numbers(x, start: int = 0, base: float = 10000.0):
    """Each pair is a complex number, multiplied by e to the i angle."""
    length, size = x.shape[-2:]
    frequencies = base ** (-torch.arange(0, size, 2, dtype=DOUBLE) / size)
    angles = torch.outer(torch.arange(start, start + length, dtype=DOUBLE), frequencies)
    turned = torch.view_as_complex(x.reshape(*x.shape[:-1], size // 2, 2)) * torch.polar(
        torch.ones_like(angles), angles
    )
    return torch.view_as_real(turned).reshape(x.shape)


def attend_with_mask(query, key, value):
    """Fewer queries than keys: they belong to the last tokens."""
    num_queries, num_keys = query.shape[-2], key.shape[-2]
    mask = torch.ones(num_queries, num_keys, dtype=torch.bool).tril(diagonal=num_keys - num_queries)
    return theirs.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def mean_loss(logits, targets: list[int]):
    return theirs.cross_entropy(logits.reshape(-1, logits.shape[-1]), torch.tensor(targets))


# fmt: off
OPERATIONS: list[tuple[str, Callable[..., Tensor], Callable, list[Shape]]] = [
    ("linear", ours.linear, theirs.linear, [(2, 3, 4), (5, 4), (5,)]),
    ("linear without bias", ours.linear, theirs.linear, [(3, 4), (2, 4)]),
    ("linear of one row", ours.linear, theirs.linear, [(4,), (3, 4), (3,)]),
    ("embedding", lambda w: ours.embedding(IDS, w), lambda w: theirs.embedding(torch.tensor(IDS), w), [(5, 3)]),
    ("reshape", lambda x: ours.reshape(x, (3, 2)), lambda x: x.reshape(3, 2), [(2, 3)]),
    ("add", operator.add, torch.add, [(2, 4, 3), (4, 3)]),
    ("add one value", operator.add, torch.add, [(2, 3), ()]),
    ("mul", operator.mul, torch.mul, [(2, 4, 3), (3,)]),
    ("mul by itself", lambda x: x * x, lambda x: x * x, [(4,)]),
    ("matmul", operator.matmul, torch.matmul, [(2, 4, 3), (3, 5)]),
    ("matmul of one row", operator.matmul, torch.matmul, [(3,), (3, 5)]),
    ("relu", ours.relu, theirs.relu, [(4, 5)]),
    ("tanh", ours.tanh, torch.tanh, [(4, 5)]),
    ("gelu", ours.gelu, lambda x: theirs.gelu(x, approximate="tanh"), [(4, 5)]),
    ("silu", ours.silu, theirs.silu, [(4, 5)]),
    ("swiglu", swiglu,
     lambda x, gate, up, down: theirs.linear(theirs.silu(theirs.linear(x, gate)) * theirs.linear(x, up), down),
     [(2, 3, 4), (6, 4), (6, 4), (4, 6)]),
    ("softmax", ours.softmax, lambda x: theirs.softmax(x, dim=-1), [(2, 3, 4)]),
    ("cross_entropy", lambda x: ours.cross_entropy(x, [2, 0, 2]), lambda x: mean_loss(x, [2, 0, 2]), [(3, 4)]),
    ("cross_entropy of sequences", lambda x: ours.cross_entropy(x, [2, 0, 1, 1]),
     lambda x: mean_loss(x, [2, 0, 1, 1]), [(2, 2, 3)]),
    ("layer_norm", ours.layer_norm, lambda x, w, b: theirs.layer_norm(x, (4,), w, b), [(2, 3, 4), (4,), (4,)]),
    ("layer_norm, eps", lambda x, w, b: ours.layer_norm(x, w, b, eps=0.3),
     lambda x, w, b: theirs.layer_norm(x, (4,), w, b, eps=0.3), [(3, 4), (4,), (4,)]),
    ("rms_norm", ours.rms_norm, lambda x, w: theirs.rms_norm(x, (4,), w, eps=1e-5), [(2, 3, 4), (4,)]),
    ("rms_norm without weight", ours.rms_norm, lambda x: theirs.rms_norm(x, (4,), eps=1e-5), [(3, 4)]),
    ("rms_norm, eps", lambda x, w: ours.rms_norm(x, w, eps=0.3), lambda x, w: theirs.rms_norm(x, (4,), w, eps=0.3),
     [(3, 4), (4,)]),
    ("attention", scaled_dot_product_attention,
     lambda *qkv: theirs.scaled_dot_product_attention(*qkv, is_causal=True), [(2, 3, 5, 4)] * 3),
    ("attention, fewer queries", scaled_dot_product_attention, attend_with_mask, [(2, 3, 4), (2, 5, 4), (2, 5, 4)]),
    ("rope", rope, rope_by_complex_numbers, [(2, 3, 5, 6)]),
    ("rope, later on", lambda x: rope(x, start=7, base=500.0),
     lambda x: rope_by_complex_numbers(x, start=7, base=500.0), [(5, 4)]),
]
# fmt: on


@pytest.mark.parametrize("size", [1.0, 30.0])
@pytest.mark.parametrize(("mine", "other", "shapes"), [c[1:] for c in OPERATIONS], ids=[c[0] for c in OPERATIONS])
def test_operations_forward_and_backward(mine, other, shapes, size):
    arguments = [random_tensor(*shape, seed=i) for i, shape in enumerate(shapes)]
    arguments[0].data = [size * x for x in arguments[0].data]
    twins = [to_torch(argument) for argument in arguments]
    result, expected = mine(*arguments), other(*twins)
    assert_close(result.data, expected, "forward")
    gradient = random_tensor(*result.shape, seed=99)
    result.backward(list(gradient.data))
    expected.backward(to_torch(gradient).detach().reshape(expected.shape))
    for number, (argument, twin) in enumerate(zip(arguments, twins, strict=True)):
        assert_close(argument.grad, twin.grad, f"gradient of argument {number}")


@pytest.mark.parametrize("row", [[1000.0, -1000.0, 999.0], [-1000.0, -1000.0, -1000.0], [0.0, -1e5, 1e5]], ids=str)
def test_extreme_logits(row):
    x = Tensor(row, (1, 3))
    twin = to_torch(x)
    assert_close(ours.softmax(x).data, theirs.softmax(twin, dim=-1))
    loss, expected = ours.cross_entropy(x, [1]), mean_loss(twin, [1])
    assert_close(loss.data, expected)
    loss.backward()
    expected.backward()
    assert_close(x.grad, twin.grad)


# --- attention with its linear layers -----------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
def test_multi_head_attention(bias):
    part = MultiHeadAttention(8, 2, generator=random.Random(0), bias=bias)
    for i, parameter in enumerate(part.parameters()):  # biases too
        parameter.data = array("d", random_tensor(*parameter.shape, seed=i).data)
    twin = torch.nn.MultiheadAttention(8, 2, bias=bias, batch_first=True, dtype=DOUBLE)
    projections = [part.q_proj, part.k_proj, part.v_proj]
    state = {
        "in_proj_weight": torch.cat([to_torch(p.weight) for p in projections]),
        "out_proj.weight": to_torch(part.o_proj.weight),
    }
    if bias:
        state["in_proj_bias"] = torch.cat([to_torch(p.bias) for p in projections])
        state["out_proj.bias"] = to_torch(part.o_proj.bias)
    twin.load_state_dict({name: value.detach() for name, value in state.items()})

    x = random_tensor(3, 5, 8)
    x_twin = to_torch(x)
    result = part(x)
    expected, shares = twin(x_twin, x_twin, x_twin, attn_mask=later_tokens(5), average_attn_weights=False)
    assert_close(result.data, expected, "forward")
    assert_close(part.weights(x, KVCache()).data, shares, "shares")
    gradient = random_tensor(*result.shape, seed=99)
    result.backward(list(gradient.data))
    expected.backward(to_torch(gradient).detach())
    assert_close(x.grad, x_twin.grad, "x")
    for kind in ("weight", "bias") if bias else ("weight",):
        mine = [value for p in projections for value in getattr(p, kind).grad]
        # A bias of the keys shifts all scores of a row equally: its gradient is zero but for noise.
        assert_close(mine, getattr(twin, f"in_proj_{kind}").grad, kind)
        assert_close(getattr(part.o_proj, kind).grad, getattr(twin.out_proj, kind).grad, kind)


# --- whole networks: functions of ids and of weights under our names ----------------------------------------


def torch_gpt(w: dict, ids, num_blocks: int):
    """A GPT of torch's own encoder layers, with the norms before each part."""
    x = theirs.embedding(ids, w["token_embeddings.weight"]) + w["position_embeddings.weight"][: ids.shape[1]]
    hidden, channels = w["blocks.0.feed_forward.up_proj.weight"].shape
    layer = torch.nn.TransformerEncoderLayer(
        channels,
        HEADS,
        hidden,
        dropout=0.0,
        activation=lambda y: theirs.gelu(y, approximate="tanh"),
        batch_first=True,
        norm_first=True,
        dtype=DOUBLE,
    )
    names = {
        "norm1": "norm_1",
        "norm2": "norm_2",
        "self_attn.out_proj": "attention.o_proj",
        "linear1": "feed_forward.up_proj",
        "linear2": "feed_forward.down_proj",
    }
    for i in range(num_blocks):
        state = {}
        for kind in ("weight", "bias"):
            state |= {f"{name}.{kind}": w[f"blocks.{i}.{own}.{kind}"] for name, own in names.items()}
            thirds = [w[f"blocks.{i}.attention.{letter}_proj.{kind}"] for letter in "qkv"]
            state[f"self_attn.in_proj_{kind}"] = torch.cat(thirds)
        x = torch.func.functional_call(layer, state, (x,), {"src_mask": later_tokens(ids.shape[1])})
    return theirs.layer_norm(x, (channels,), w["norm.weight"], w["norm.bias"]) @ w["output.weight"].T


def torch_llama(w: dict, ids, num_blocks: int):
    """Llama, written out."""

    def norm(x, name: str):
        return x / torch.sqrt((x * x).mean(dim=-1, keepdim=True) + 1e-5) * w[f"{name}.weight"]

    def attend(x, name: str):
        heads = (x @ w[f"{name}.{letter}_proj.weight"].T for letter in "qkv")
        q, k, v = (y.reshape(*y.shape[:2], HEADS, -1).transpose(1, 2) for y in heads)
        scores = rope_by_complex_numbers(q) @ rope_by_complex_numbers(k).transpose(2, 3) / math.sqrt(q.shape[-1])
        shares = scores.masked_fill(later_tokens(x.shape[1]), -math.inf).softmax(dim=-1)
        return (shares @ v).transpose(1, 2).reshape(x.shape) @ w[f"{name}.o_proj.weight"].T

    x = theirs.embedding(ids, w["token_embeddings.weight"])
    for i in range(num_blocks):
        x = x + attend(norm(x, f"blocks.{i}.norm_1"), f"blocks.{i}.attention")
        y = norm(x, f"blocks.{i}.norm_2")
        gate, up, down = (w[f"blocks.{i}.feed_forward.{name}_proj.weight"].T for name in ("gate", "up", "down"))
        x = x + (theirs.silu(y @ gate) * (y @ up)) @ down
    return norm(x, "norm") @ w["output.weight"].T


NETWORKS = pytest.mark.parametrize(("network", "other"), [(gpt, torch_gpt), (llama, torch_llama)], ids=["gpt", "llama"])
WINDOWS = [[3, 1, 4, 1, 5, 0], [2, 6, 5, 3, 3, 6], [0, 0, 1, 2, 2, 2]]


def torch_loss(other: Callable, w: dict, num_blocks: int, windows: list[list[int]]):
    logits = other(w, torch.tensor([window[:-1] for window in windows]), num_blocks)
    return mean_loss(logits, [token_id for window in windows for token_id in window[1:]])


@NETWORKS
def test_networks_forward_and_backward(network, other):
    model = shaken(network(blocks=3))
    w = {name: to_torch(p) for name, p in model.named_parameters()}
    ids = [window[:-1] for window in WINDOWS]
    assert_close(model(ids, exact=True).data, other(w, torch.tensor(ids), 3), "logits")
    loss = loss_of(model, WINDOWS)
    expected = torch_loss(other, w, 3, WINDOWS)
    assert_close(loss.data, expected, "loss")
    loss.backward()
    expected.backward()
    for name, parameter in model.named_parameters():
        assert_close(parameter.grad, w[name].grad, name)


@NETWORKS
def test_networks_learn_alike(network, other):
    model = shaken(network(blocks=1))
    w = {name: to_torch(p) for name, p in model.named_parameters()}
    mine = AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
    twin = torch.optim.AdamW(w.values(), betas=(0.9, 0.95), weight_decay=0.1)
    losses = []
    for step in range(8):
        mine.lr = twin.param_groups[0]["lr"] = cosine_schedule(step, peak=0.01, warmup=2, total=8)
        model.zero_grad()
        twin.zero_grad()
        loss = loss_of(model, WINDOWS)
        expected = torch_loss(other, w, 1, WINDOWS)
        assert_close(loss.data, expected, f"loss of step {step}", rel=1e-7)
        losses.append(loss.item())
        loss.backward()
        expected.backward()
        norm = clip_grad_norm(model.parameters(), 0.5)
        assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(w.values(), 0.5)), rel=1e-7)
        mine.step()
        twin.step()
    assert losses[-1] < 0.9 * losses[0]
    for name, parameter in model.named_parameters():
        # WHY not the keys' biases: their gradient is zero but for noise, and Adam makes whole steps of noise.
        if not name.endswith("k_proj.bias"):
            assert_close(parameter.data, w[name], name, rel=1e-7)


# --- optimizers ---------------------------------------------------------------------------------------------

OPTIMIZERS = [
    ("SGD", lambda w: SGD(w, 0.05), lambda w: torch.optim.SGD(w, lr=0.05)),
    ("SGD, momentum", lambda w: SGD(w, 0.05, 0.9), lambda w: torch.optim.SGD(w, lr=0.05, momentum=0.9)),
    ("AdamW with its defaults", AdamW, torch.optim.AdamW),
    *(
        (
            f"AdamW, decay {decay}",
            lambda w, decay=decay: AdamW(w, lr=0.03, betas=(0.8, 0.95), eps=1e-6, weight_decay=decay),
            lambda w, decay=decay: torch.optim.AdamW(w, lr=0.03, betas=(0.8, 0.95), eps=1e-6, weight_decay=decay),
        )
        for decay in (0.0, 0.1)
    ),
]


@pytest.mark.parametrize(("mine", "other"), [c[1:] for c in OPTIMIZERS], ids=[c[0] for c in OPTIMIZERS])
def test_fifty_steps(mine, other):
    g = random.Random(0)
    weights = [Parameter([g.gauss(0, 1) for _ in range(size)], (size,)) for size in (3, 1, 7)]
    twins = [to_torch(weight) for weight in weights]
    optimizer, reference = mine(weights), other(twins)
    for _ in range(50):
        for weight, twin in zip(weights, twins, strict=True):
            gradient = [g.gauss(0, 1) * 10 ** g.uniform(-4, 1) for _ in weight.data]
            weight.grad, twin.grad = array("d", gradient), torch.tensor(gradient, dtype=DOUBLE)
        optimizer.step()
        reference.step()
        for weight, twin in zip(weights, twins, strict=True):
            assert_close(weight.data, twin, rel=1e-12)


@pytest.mark.parametrize("shape", [(6, 6), (5, 9), (12, 4)])
def test_muon(shape):
    """WHY so far apart: PyTorch orthogonalizes in 16 bits, of which eight are digits."""
    g = random.Random(0)
    weight = Parameter([g.gauss(0, 1) for _ in range(shape[0] * shape[1])], shape)
    twin = to_torch(weight)
    optimizer, reference = Muon([weight], 0.1, 0.2), torch.optim.Muon([twin], 0.1, 0.2)
    for _ in range(20):
        gradient = [g.gauss(0, 1) for _ in weight.data]
        weight.grad, twin.grad = array("d", gradient), torch.tensor(gradient, dtype=DOUBLE).view(shape)
        before = list(weight.data)
        optimizer.step()
        reference.step()
        assert_close(optimizer.velocities[0], reference.state[twin]["momentum_buffer"], rel=1e-12)
        longest = max(abs(new - old) for new, old in zip(weight.data, before, strict=True))
        difference = max(abs(a - b) for a, b in zip(weight.data, twin.detach().flatten().tolist(), strict=True))
        assert difference < 0.1 * longest
        with torch.no_grad():
            twin.copy_(to_torch(weight))


@pytest.mark.parametrize("max_norm", [0.1, 3.0, 1e6])
def test_clipping(max_norm):
    weights = [random_tensor(size) for size in (4, 1, 9)]
    parameters, twins = [Parameter(w.data, w.shape) for w in weights], [to_torch(w) for w in weights]
    for i, (parameter, twin) in enumerate(zip(parameters, twins, strict=True)):
        gradient = random_tensor(*parameter.shape, seed=10 + i)
        parameter.grad, twin.grad = array("d", gradient.data), to_torch(gradient).detach()
    norm = clip_grad_norm(parameters, max_norm)
    assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(twins, max_norm)), rel=1e-12)
    for parameter, twin in zip(parameters, twins, strict=True):
        assert_close(parameter.grad, twin.grad, rel=1e-12)


def test_the_cosine_of_the_schedule():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.03)
    for step in range(21):
        expected = optimizer.param_groups[0]["lr"]
        assert cosine_schedule(step, peak=0.3, warmup=0, total=20, floor=0.03) == pytest.approx(expected, rel=1e-9)
        optimizer.step()
        scheduler.step()
