"""Tensors and their operations: values computed by hand, and every gradient against finite differences."""

import gc
import operator
import random
from array import array
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from math import copysign, cos, exp, fsum, hypot, isnan, log, nan, pi, prod, sin, sqrt
from math import tanh as tanh_of
from operator import add, matmul, mul

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toy_gpt_train.nn import attention, functional, kernels
from toy_gpt_train.nn.attention import (
    attention_weights,
    merge_heads,
    repeat_heads,
    rope,
    split_heads,
)
from toy_gpt_train.nn.attention import scaled_dot_product_attention as attend
from toy_gpt_train.nn.functional import (
    cross_entropy,
    dropout,
    embedding,
    gelu,
    layer_norm,
    linear,
    relu,
    reshape,
    rms_norm,
    silu,
    softmax,
    tanh,
    without_first,
)
from toy_gpt_train.nn.rotation import RopeScaling, rope_frequencies
from toy_gpt_train.nn.tensor import Parameter, Shape, Tensor, from_lists
from toy_gpt_train.nn.transformer import SwiGLU

STEP = 1e-5  # of the finite differences


def random_tensor(*shape: int, seed: int = 0, least: float = 0.0, exact: bool = True) -> Tensor:
    """Normal values; those nearer to 0 than ``least`` are moved away from it.

    WHY exact: the packed kernel's rounding would hide what a finite difference shows.
    """
    generator = random.Random(f"{shape} {seed}")
    drawn = (generator.gauss(0, 1) for _ in range(prod(shape)))
    return Tensor([x if abs(x) >= least else x + copysign(least, x) for x in drawn], shape, exact=exact)


def check_gradients(function: Callable[..., Tensor], *tensors: Tensor, places: int | None = None) -> None:
    """Compare all gradients of a function with central differences.

    The loss is the sum of the function's values times fixed random coefficients, so that no error cancels out.

    Args:
        function: Takes the tensors.
        tensors: All of its arguments.
        places: How many values of each tensor are tried, drawn at random; all if None.
    """
    generator = random.Random(1)
    result = function(*tensors)
    coefficients = [generator.choice([1, -1]) * generator.uniform(0.5, 1.5) for _ in result.data]
    for tensor in tensors:
        tensor.grad = None
    result.backward(coefficients)
    for number, tensor in enumerate(tensors):
        assert tensor.grad is not None, f"no gradient for argument {number}"
        assert len(tensor.grad) == len(tensor.data)
        size = len(tensor.data)
        for i in range(size) if places is None else generator.sample(range(size), min(places, size)):
            kept, losses = tensor.data[i], []
            for moved in (kept + STEP, kept - STEP):
                tensor.data[i] = moved
                losses.append(fsum(map(mul, coefficients, function(*tensors).data)))
            tensor.data[i] = kept
            slope = (losses[0] - losses[1]) / (2 * STEP)
            assert tensor.grad[i] == pytest.approx(slope, rel=1e-6, abs=1e-8), f"argument {number}, place {i}"


# --- every gradient of every operation ----------------------------------------------------------------------

IDS = [[2, 0, 2], [1, 2, 4]]  # 2 three times, 3 never
MASK = [[True, False, True], [False, True, False], [True, True, True], [False, False, False]]


def through_rows(x: Tensor) -> Tensor:
    """A tensor used three times, once through another operation."""
    return x * tanh(x) + x


def swiglu(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """The module SwiGLU with these weights."""
    part = SwiGLU(gate.shape[1], gate.shape[0], generator=random.Random(0))
    part.gate_proj.weight, part.up_proj.weight, part.down_proj.weight = gate, up, down
    return part(x)


GRADIENTS: list[tuple[str, Callable[..., Tensor], list[Shape]]] = [
    ("linear", linear, [(3, 4), (2, 4), (2,)]),
    ("linear of one row", linear, [(4,), (3, 4), (3,)]),
    ("linear of sequences", linear, [(2, 3, 4), (5, 4), (5,)]),
    ("linear without bias", linear, [(2, 3, 2), (4, 2)]),
    ("linear from and to one value", linear, [(3, 1), (1, 1), (1,)]),
    ("linear with its own input", lambda x: linear(x, x), [(3, 4)]),
    ("embedding", lambda w: embedding(IDS, w), [(5, 3)]),
    ("reshape", lambda x: reshape(x, (3, 2)) * reshape(x, (3, 2)), [(2, 3)]),
    ("add", add, [(2, 3), (2, 3)]),
    ("add to each row", add, [(2, 4, 3), (3,)]),
    ("add to each sequence", add, [(2, 4, 3), (4, 3)]),
    ("add one value", add, [(2, 3), ()]),
    ("add to itself", lambda x: x + x, [(2, 3)]),
    ("mul", mul, [(2, 3), (2, 3)]),
    ("mul each row", mul, [(2, 4, 3), (3,)]),
    ("mul each sequence", mul, [(2, 4, 3), (4, 3)]),
    ("mul by one value", mul, [(2, 3), ()]),
    ("mul by itself", lambda x: x * x, [(2, 3)]),
    ("matmul", matmul, [(3, 4), (4, 2)]),
    ("matmul of one row", matmul, [(4,), (4, 3)]),
    ("matmul of sequences", matmul, [(2, 3, 4), (4, 5)]),
    ("matmul from and to one value", matmul, [(3, 1), (1, 1)]),
    ("matmul by itself", lambda x: x @ x, [(3, 3)]),
    ("used three times", through_rows, [(2, 3)]),
    ("relu", relu, [(3, 5)]),
    ("tanh", tanh, [(3, 5)]),
    ("gelu", gelu, [(3, 5)]),
    ("silu", silu, [(3, 5)]),
    ("swiglu", swiglu, [(2, 3, 4), (5, 4), (5, 4), (4, 5)]),
    ("dropout", lambda x: dropout(x, 0.4, random.Random(3)), [(4, 5)]),
    ("softmax", softmax, [(3, 4)]),
    ("softmax of sequences", softmax, [(2, 2, 3)]),
    ("softmax of one value per row", softmax, [(3, 1)]),
    ("without_first", lambda x: without_first(x, 2), [(2, 3, 4)]),
    ("without_first none", lambda x: without_first(x, 0), [(2, 3, 4)]),
    ("cross_entropy", lambda x: cross_entropy(x, [2, 0, 2]), [(3, 4)]),
    ("cross_entropy of sequences", lambda x: cross_entropy(x, [2, 0, 1, 1]), [(2, 2, 3)]),
    ("layer_norm", layer_norm, [(3, 4), (4,), (4,)]),
    ("layer_norm of sequences", layer_norm, [(2, 3, 5), (5,), (5,)]),
    ("layer_norm, large eps", lambda *a: layer_norm(*a, eps=0.5), [(3, 4), (4,), (4,)]),
    ("rms_norm", rms_norm, [(3, 4), (4,)]),
    ("rms_norm of sequences", rms_norm, [(2, 3, 5), (5,)]),
    ("rms_norm without weight", rms_norm, [(3, 4)]),
    ("rms_norm, large eps", lambda *a: rms_norm(*a, eps=0.5), [(3, 4), (4,)]),
    ("split_heads", lambda x: split_heads(x, 2), [(2, 3, 4)]),
    ("repeat_heads", lambda x: repeat_heads(x, 3), [(2, 2, 3, 2)]),
    ("merge_heads", merge_heads, [(2, 3, 2, 2)]),
    ("rope", rope, [(3, 4)]),
    ("rope of heads, later on", lambda x: rope(x, start=5, base=100.0), [(2, 2, 3, 6)]),
    ("rope, scaled", lambda x: rope(x, start=5, scaling=RopeScaling(4.0, 1.0, 4.0, 16)), [(2, 3, 6)]),
    ("scaled_dot_product_attention", attend, [(4, 3), (4, 3), (4, 3)]),
    ("scaled_dot_product_attention of one token", attend, [(1, 2), (1, 2), (1, 2)]),
    ("scaled_dot_product_attention of many heads", attend, [(2, 3, 3, 2)] * 3),
    ("scaled_dot_product_attention, fewer queries", attend, [(2, 2, 3), (2, 5, 3), (2, 5, 3)]),
    ("scaled_dot_product_attention, one query", attend, [(2, 2, 1, 3), (2, 2, 4, 3), (2, 2, 4, 3)]),
    (
        "scaled_dot_product_attention with a mask; the last query sees nothing",
        lambda q, k, v: attend(q, k, v, from_lists(MASK)),
        [(2, 4, 3), (2, 3, 3), (2, 3, 5)],
    ),
    (
        "scaled_dot_product_attention with a mask for each head",
        lambda q, k, v: attend(q, k, v, from_lists([MASK, MASK[::-1]])),
        [(2, 4, 3), (2, 3, 3), (2, 3, 2)],
    ),
    ("scaled_dot_product_attention to itself", lambda x: attend(x, x, x), [(2, 3, 2)]),
]


@pytest.mark.parametrize(("function", "shapes"), [c[1:] for c in GRADIENTS], ids=[c[0] for c in GRADIENTS])
def test_gradients_are_slopes(function, shapes):
    # No value is so near to 0 that the two ends of a difference are on both sides of relu's kink.
    check_gradients(function, *(random_tensor(*shape, seed=i, least=0.01) for i, shape in enumerate(shapes)))


def test_the_tables_have_every_operation():
    operations = {
        name
        for module in (functional, attention)
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
    }
    operations |= {name.strip("_") for name in vars(Tensor) if callable(vars(operator).get(name))}
    assert operations >= {"add", "mul", "matmul", "linear"}
    for table in (GRADIENTS, BY_HAND):
        assert operations - {"attention_weights", "softmax_backward"} <= {
            name.split(" ")[0].rstrip(",") for name, *_ in table
        }


def test_a_wrong_gradient_is_found():
    def wrong(x: Tensor) -> Tensor:
        return Tensor(
            [a * a for a in x.data],
            x.shape,
            (x,),
            lambda grad: ([1.999 * g * a for g, a in zip(grad, x.data, strict=True)],),
        )

    with pytest.raises(AssertionError, match="argument 0, place 0"):
        check_gradients(wrong, Tensor([1.0, 2.0], (2,)))


# --- full precision -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "shapes"), [c[1:] for c in GRADIENTS], ids=[c[0] for c in GRADIENTS])
def test_a_tensor_is_exact_if_one_of_its_parents_is(function, shapes):
    for chosen in (None, *range(len(shapes))):
        tensors = [random_tensor(*shape, exact=i == chosen) for i, shape in enumerate(shapes)]
        assert function(*tensors).exact == (chosen is not None)


def test_an_embedding_can_be_exact():
    table = random_tensor(5, 3, exact=False)
    assert (embedding(IDS, table, exact=True).exact, embedding(IDS, table).exact) == (True, False)


PRODUCTS: list[tuple[str, Callable[..., Tensor], list[Shape], set[int]]] = [
    ("matmul, left", matmul, [(9, 16), (16, 10)], {0}),
    ("matmul, right", matmul, [(9, 16), (16, 10)], {1}),
    ("linear, x", linear, [(9, 16), (10, 16), (10,)], {0}),
    ("linear, weight", linear, [(9, 16), (10, 16), (10,)], {1}),
    ("attention", attend, [(2, 9, 16)] * 3, {0, 1, 2}),
]


@pytest.mark.parametrize(("function", "shapes", "exact"), [c[1:] for c in PRODUCTS], ids=[c[0] for c in PRODUCTS])
def test_exact_products_forward_and_backward_are_those_of_the_plain_kernel(monkeypatch, function, shapes, exact):
    def run(exact: set[int]) -> list[list[float]]:
        """The result, and the gradients of the two matrices (or three)."""
        tensors = [random_tensor(*shape, seed=i, exact=i in exact) for i, shape in enumerate(shapes)]
        result = function(*tensors)
        values = list(result.data)
        result.backward(random_tensor(*result.shape, seed=9).data)
        return [values, *(list(tensor.grad) for tensor in tensors if len(tensor.shape) > 1)]

    packed, full = run(set()), run(exact)
    monkeypatch.setattr(kernels, "_packing_pays", lambda *_: False)
    assert full == run(set())
    assert all(one != other for one, other in zip(packed, full, strict=True))


# --- values by hand -----------------------------------------------------------------------------------------


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def gelu_of(x: float) -> float:
    return x * (1 + tanh_of(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2


def of(*nested: object) -> Tensor:
    return from_lists(list(nested))


E = exp(1)
Nested = list[object]
BY_HAND: list[tuple[str, Callable[..., Tensor], list[Nested], Nested]] = [
    (
        "linear",
        linear,
        [[[1, 2], [3, 4]], [[1, 1], [2, 0], [0, -1]], [0, 10, 0.5]],
        [[3, 12, -1.5], [7, 16, -3.5]],
    ),
    ("linear of one row", linear, [[1, 2], [[3, 4]]], [11]),
    ("linear without bias", linear, [[[[1, 2]], [[0, 1]]], [[3, 4]]], [[[11]], [[4]]]),
    (
        "embedding",
        partial(embedding, [[1, 1], [0, 2]]),
        [[[1, 2], [3, 4], [5, 6]]],
        [[[3, 4], [3, 4]], [[1, 2], [5, 6]]],
    ),
    ("reshape", lambda x: reshape(x, (3, 2)), [[[1, 2, 3], [4, 5, 6]]], [[1, 2], [3, 4], [5, 6]]),
    ("without_first", lambda x: without_first(x, 1), [[[[1], [2], [3]], [[4], [5], [6]]]], [[[2], [3]], [[5], [6]]]),
    ("add", add, [[[1, 2], [3, 4]], [[10, 20], [30, 40]]], [[11, 22], [33, 44]]),
    ("add to each row", add, [[[1, 2], [3, 4]], [10, 20]], [[11, 22], [13, 24]]),
    ("add one value", add, [[[1, 2], [3, 4]], 5], [[6, 7], [8, 9]]),
    ("mul", mul, [[[1, 2], [3, 4]], [[-1, 0.5], [2, 0]]], [[-1, 1], [6, 0]]),
    ("mul each row", mul, [[[1, 2], [3, 4]], [10, 20]], [[10, 40], [30, 80]]),
    ("mul by one value", mul, [[[1, 2], [3, 4]], -2], [[-2, -4], [-6, -8]]),
    ("matmul", matmul, [[[1, 2], [3, 4]], [[1, 2, 0], [1, 0, -1]]], [[3, 2, -2], [7, 6, -4]]),
    ("matmul of one row", matmul, [[1, 2], [[3], [4]]], [11]),
    ("matmul of sequences", matmul, [[[[1, 2]], [[0, 1]]], [[3, 5], [4, 6]]], [[[11, 17]], [[4, 6]]]),
    ("relu", relu, [[-2, -0.0, 0, 3]], [0, 0, 0, 3]),
    ("tanh", tanh, [[0, log(2), -log(3), 1000]], [0, 0.6, -0.8, 1]),
    ("gelu", gelu, [[0, 1, -0.5, 100, -100]], [0, gelu_of(1), gelu_of(-0.5), 100, 0]),
    ("silu", silu, [[0, 1, -2, 1000, -1000]], [0, sigmoid(1), -2 * sigmoid(-2), 1000, 0]),
    (
        "swiglu",
        swiglu,
        [[[2]], [[1], [0.5]], [[1], [-1]], [[3, 10]]],
        [[3 * (2 * sigmoid(2)) * 2 + 10 * (1 * sigmoid(1)) * -2]],
    ),
    ("dropout", lambda x: dropout(x, 0.0, random.Random(0)), [[1, 2]], [1, 2]),
    ("softmax", softmax, [[[log(1), log(2), log(5)], [7, 7, 7]]], [[0.125, 0.25, 0.625], [1 / 3] * 3]),
    ("softmax, large", softmax, [[[1000, 1001], [-1000, 1000]]], [[1 / (1 + E), E / (1 + E)], [0, 1]]),
    (
        "cross_entropy",
        lambda x: cross_entropy(x, [0, 0]),
        [[[log(1), log(3)], [log(4), log(1)]]],
        [(log(4) + log(1.25)) / 2],
    ),
    ("cross_entropy, likely", lambda x: cross_entropy(x, [0]), [[1000, -1000]], [0]),
    ("cross_entropy, unlikely", lambda x: cross_entropy(x, [1]), [[1000, -1000]], [2000]),
    ("cross_entropy, all equal", lambda x: cross_entropy(x, [5]), [[-1000] * 8], [log(8)]),
    (
        "layer_norm",
        partial(layer_norm, eps=0.0),
        [[[1, 5], [0, -1]], [2, 3], [0.5, -0.5]],
        [[-1.5, 2.5], [2.5, -3.5]],
    ),
    ("layer_norm, eps", layer_norm, [[1, 5], [1, 1], [0, 0]], [-2 / sqrt(4 + 1e-5), 2 / sqrt(4 + 1e-5)]),
    ("layer_norm of a constant", layer_norm, [[3, 3], [1, 1], [0, 7]], [0, 7]),
    ("rms_norm", partial(rms_norm, eps=0.0), [[[1, 7], [-3, 3]], [10, -1]], [[2, -1.4], [-10, -1]]),
    ("rms_norm, eps", rms_norm, [[1, 7]], [1 / sqrt(25 + 1e-5), 7 / sqrt(25 + 1e-5)]),
    ("rms_norm of zeros", rms_norm, [[0, 0]], [0, 0]),
    (
        "repeat_heads",
        lambda x: repeat_heads(x, 2),
        [[[[[1], [2]], [[3], [4]]]]],
        [[[[1], [2]], [[1], [2]], [[3], [4]], [[3], [4]]]],
    ),
    (
        "split_heads",
        lambda x: split_heads(x, 2),
        [[[[1, 2, 3, 4], [5, 6, 7, 8]]]],
        [[[[1, 2], [5, 6]], [[3, 4], [7, 8]]]],
    ),
    ("merge_heads", merge_heads, [[[[[1, 2], [5, 6]], [[3, 4], [7, 8]]]]], [[[1, 2, 3, 4], [5, 6, 7, 8]]]),
    ("rope", rope, [[[1, 2], [1, 0], [0, 1]]], [[1, 2], [cos(1), sin(1)], [-sin(2), cos(2)]]),
    (
        "rope, slower pairs",
        partial(rope, start=3, base=1000.0),
        [[[1, 0, 1, 0, 1, 0]]],
        [[cos(3), sin(3), cos(0.3), sin(0.3), cos(0.03), sin(0.03)]],
    ),
    (
        "scaled_dot_product_attention",  # the second token's scores are log(9) and log(3): three to one
        attend,
        [[[9], [log(3)]], [[2], [1]], [[10], [20]]],
        [[10], [10 * 0.75 + 20 * 0.25]],
    ),
    (
        "scaled_dot_product_attention, scores by sqrt(4)",
        attend,
        [[[2 * log(3), 0, 0, 0]], [[2, 1, 1, 1], [1, 9, 9, 9]], [[4, 8, 0, 1], [0, 0, 0, 0]]],
        [[3, 6, 0, 0.75]],
    ),
    ("scaled_dot_product_attention, large", attend, [[[1e3]] * 2, [[1e3], [-1e3]], [[1], [5]]], [[1], [1]]),
]


def flat(nested: object) -> list[object]:
    return [number for part in nested for number in flat(part)] if isinstance(nested, list) else [nested]


def shape_of(nested: object) -> Shape:
    return (len(nested), *shape_of(nested[0])) if isinstance(nested, list) else ()


@pytest.mark.parametrize(("function", "arguments", "expected"), [c[1:] for c in BY_HAND], ids=[c[0] for c in BY_HAND])
def test_values_by_hand(function, arguments, expected):
    result = function(*(from_lists(argument, exact=True) for argument in arguments))
    assert result.shape == shape_of(expected)
    assert list(result.data) == pytest.approx(flat(expected), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize(
    ("logits", "target", "gradient"),
    [([1000.0, -1000.0], 0, [0, 0]), ([1000.0, -1000.0], 1, [1, -1]), ([-1000.0, -1000.0], 1, [0.5, -0.5])],
)
def test_the_gradient_of_cross_entropy_is_stable(logits, target, gradient):
    x = of(logits)
    cross_entropy(x, [target]).backward()
    assert x.grad == gradient


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8), st.floats(-1e4, 1e4))
@settings(max_examples=60, deadline=None)
def test_softmax_is_a_distribution_and_a_shift_changes_nothing(row, shift):
    probs = softmax(of(row)).data
    assert all(0 <= p <= 1 for p in probs)
    assert fsum(probs) == pytest.approx(1, abs=1e-12)
    assert softmax(of([x + shift for x in row])).data == pytest.approx(probs, rel=1e-9, abs=1e-12)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=8), st.data())
@settings(max_examples=60, deadline=None)
def test_cross_entropy_is_the_logarithm_of_softmax(row, data):
    target = data.draw(st.integers(0, len(row) - 1))
    probability = softmax(of(row)).data[target]
    assert cross_entropy(of(row), [target]).item() == pytest.approx(-log(probability), rel=1e-9, abs=1e-12)


def test_a_row_that_is_looked_up_twice_has_both_gradients():
    table = of([1.0, 1.0], [2.0, 2.0], [3.0, 3.0])
    embedding([[1, 0], [1, 1]], table).backward([1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 100.0, 200.0])
    assert table.grad == [3.0, 4.0, 111.0, 222.0, 0.0, 0.0]


@pytest.mark.parametrize("function", [tanh, gelu, silu, softmax])
def test_nan_passes_on(function):
    assert isnan(function(of([0.0, nan])).data[1])


# --- dropout ------------------------------------------------------------------------------------------------


def test_dropout_keeps_the_mean():
    size, p = 20_000, 0.25
    data = dropout(Tensor([3.0] * size, (size,)), p, random.Random(0)).data
    assert set(data) == {0.0, 4.0}  # 3 / (1 - p)
    assert abs(data.count(0.0) - p * size) < 5 * sqrt(size * p * (1 - p))  # five standard deviations


def test_dropout_sends_gradients_only_where_values_went():
    x = Tensor([1.0] * 50, (50,))
    y = dropout(x, 0.5, random.Random(0))
    thinned = list(y.data)
    y.backward([1.0] * 50)
    assert x.grad == thinned
    assert 0.0 in thinned


def test_the_generator_decides_dropout():
    x = Tensor([1.0] * 50, (50,))
    one, same, other = (dropout(x, 0.5, random.Random(seed)).data for seed in (0, 0, 1))
    assert one == same != other
    assert dropout(x, 0.0, random.Random(0)).data == x.data


# --- attention ----------------------------------------------------------------------------------------------


def attention_by_hand(query: Tensor, key: Tensor, value: Tensor) -> list[list[float]]:
    """One head, loop by loop."""
    queries, keys, values = query.tolist(), key.tolist(), value.tolist()
    first = len(keys) - len(queries)
    rows = []
    for t, q in enumerate(queries):
        scores = [exp(fsum(map(mul, q, k)) / sqrt(len(q))) for k in keys[: first + t + 1]]
        rows.append(
            [fsum(s * v[d] for s, v in zip(scores, values, strict=False)) / fsum(scores) for d in range(len(q))]
        )
    return rows


@pytest.mark.parametrize(("num_queries", "num_keys"), [(1, 1), (1, 4), (3, 3), (2, 5), (4, 4)])
def test_attention_of_many_heads_is_each_head_alone(num_queries, num_keys):
    shapes = [(num_queries, 3), (num_keys, 3), (num_keys, 3)]
    heads = [[random_tensor(*shape, seed=10 * head + i) for i, shape in enumerate(shapes)] for head in range(6)]
    together = [Tensor([x for head in heads for x in head[i].data], (2, 3, *shape)) for i, shape in enumerate(shapes)]
    result = attend(*together)
    assert result.shape == (2, 3, num_queries, 3)
    expected = [x for head in heads for row in attention_by_hand(*head) for x in row]
    assert result.data == pytest.approx(expected, rel=1e-12)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), st.booleans(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_masked_attention_by_hand(num_queries, num_keys, heads, each, rng):
    query, key, value = (
        random_tensor(heads, n, 3, seed=n + i) for i, n in enumerate((num_queries, num_keys, num_keys))
    )
    masks = [[[rng.random() < 0.6 for _ in range(num_keys)] for _ in range(num_queries)] for _ in range(heads)]
    masks = masks if each else masks[:1] * heads
    result = attend(query, key, value, from_lists(masks if each else masks[0])).tolist()
    for q, k, v, mask, found in zip(query.tolist(), key.tolist(), value.tolist(), masks, result, strict=True):
        for t, row in enumerate(mask):
            shares = [exp(fsum(map(mul, q[t], k[i])) / sqrt(3)) if row[i] else 0.0 for i in range(num_keys)]
            total = fsum(shares) or 1.0  # a query that may attend to nothing gets zeros
            expected = [fsum(share * v[i][d] for i, share in enumerate(shares)) / total for d in range(3)]
            assert found[t] == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_the_causal_mask_is_the_default():
    query, key, value = (random_tensor(2, n, 3, seed=i) for i, n in enumerate((2, 4, 4)))
    causal = from_lists([[True, True, True, False], [True] * 4])
    assert attend(query, key, value, causal).data == attend(query, key, value).data


@pytest.mark.parametrize(("num_queries", "num_keys"), [(1, 1), (1, 4), (3, 3), (2, 5)])
def test_attention_weights_are_shares_of_earlier_tokens(num_queries, num_keys):
    weights = attention_weights(random_tensor(2, 3, num_queries, 4), random_tensor(2, 3, num_keys, 4))
    rows = [weights[i : i + num_keys] for i in range(0, len(weights), num_keys)]
    assert len(rows) == 2 * 3 * num_queries
    for i, row in enumerate(rows):
        seen = num_keys - num_queries + i % num_queries + 1
        assert fsum(row) == pytest.approx(1, abs=1e-12)
        assert all(share > 0 for share in row[:seen])
        assert row[seen:] == [0.0] * (num_keys - seen)


def test_tokens_without_a_preference_average_earlier_values():
    values = of([1.0, 10.0], [3.0, 20.0], [8.0, 60.0])
    averages = attend(Tensor([0.0] * 6, (3, 2)), random_tensor(3, 2), values)
    assert averages.data == pytest.approx([1, 10, 2, 15, 4, 30], rel=1e-12)


def test_later_tokens_never_change_earlier_ones():
    query, key, value = (random_tensor(2, 5, 3, seed=seed) for seed in range(3))
    before = attend(query, key, value).tolist()
    for strange in (0.0, 1e6, -1e9):
        for tensor in (query, key, value):
            tensor.data[12:15] = tensor.data[27:30] = [strange] * 3
        after = attend(query, key, value).tolist()
        assert [sequence[:4] for sequence in after] == [sequence[:4] for sequence in before]
        assert all(a[4] != b[4] for a, b in zip(after, before, strict=True))


def test_gradients_of_earlier_tokens_never_reach_later_ones():
    tensors = [random_tensor(4, 2, seed=seed) for seed in range(3)]
    attend(*tensors).backward([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    for tensor in tensors:
        assert tensor.grad[4:] == [0.0] * 4
    assert all(tensors[2].grad[:4])


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200), st.sampled_from([2, 4, 8]))
@settings(max_examples=60, deadline=None)
def test_rotated_products_depend_on_the_distance_only(place, distance, shift, size):
    query, key = random_tensor(1, size, seed=1), random_tensor(1, size, seed=2)
    here, there = (
        fsum(map(mul, rope(query, start).data, rope(key, start + distance).data)) for start in (place, place + shift)
    )
    assert here == pytest.approx(there, abs=1e-10)


def test_rotation_changes_directions_and_no_lengths():
    x = random_tensor(2, 3, 5, 6)
    turned = rope(x, start=7)
    for old, new in ((tensor.data[i : i + 2] for tensor in (x, turned)) for i in range(0, len(x.data), 2)):
        assert hypot(*new) == pytest.approx(hypot(*old), rel=1e-12)
        assert list(new) != list(old)
    products = [fsum(map(mul, rope(of([1.0, 0.0]), p).data, [1.0, 0.0])) for p in range(4)]
    assert all(a > b for a, b in pairwise(products))  # smaller with the distance, until half a turn


def test_scaled_rotation_by_hand():
    """In a context of 8 positions, a pair that turns 4 times stays, and one that turns once slows down."""
    assert rope_frequencies(4, 100.0) == [1.0, 0.1]
    assert rope_frequencies(4, 100.0, RopeScaling(4.0)) == [0.25, 0.025]
    scaling = RopeScaling(4.0, 1.0, 4.0, 8)
    turns = {2 * pi * n / 8: share for n, share in ((5, 1), (4, 1), (2.5, 0.625), (1, 0.25), (0.5, 0.25), (0, 0.25))}
    for frequency, share in turns.items():
        assert scaling.scaled(frequency) == pytest.approx(share * frequency, rel=1e-12)
    x = random_tensor(3, 4)
    assert rope(x, 5, 100.0, RopeScaling(5.0)).tolist()[0] == pytest.approx(rope(x, 1, 100.0).tolist()[0], rel=1e-12)


def test_rotation_begins_where_it_is_told():
    rows = random_tensor(5, 4).tolist()
    whole = rope(of(*rows)).tolist()
    assert rope(of(*rows[:2])).tolist() + rope(of(*rows[2:]), start=2).tolist() == whole
    assert whole[0] == rows[0]  # position 0 is not turned


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_split_and_merge_are_inverse(batch, length, num_heads, size):
    x = random_tensor(batch, length, num_heads * size)
    split = split_heads(x, num_heads)
    assert split.shape == (batch, num_heads, length, size)
    nested, parts = x.tolist(), split.tolist()
    for b in range(batch):
        for h in range(num_heads):
            for t in range(length):
                assert parts[b][h][t] == nested[b][t][h * size : (h + 1) * size]
    assert merge_heads(split).tolist() == nested
    assert merge_heads(split).shape == x.shape


# --- what is refused ----------------------------------------------------------------------------------------

REFUSED: list[tuple[str, Callable[[], object], type[Exception], str | None]] = [
    ("too few values", lambda: Tensor([1.0], (2,)), ValueError, "1 values do not make"),
    ("too many values", lambda: Tensor([1.0, 2.0, 3.0], (2, 1)), ValueError, r"3 values .* \(2, 1\)"),
    ("too few in a parameter", lambda: Parameter([1.0], (2,)), ValueError, "1 values"),
    ("reshape", lambda: reshape(of(1, 2), (3,)), ValueError, r"2 values .* \(3,\)"),
    ("one item of two", lambda: of(1, 2).item(), ValueError, None),
    ("one item of none", lambda: Tensor([], (0,)).item(), ValueError, None),
    ("ragged rows", lambda: from_lists([[1], [2, 3]]), ValueError, "different lengths"),
    ("ragged depths", lambda: from_lists([[[1, 2]], [[1], [2]]]), ValueError, "different lengths"),
    ("a list and a number", lambda: from_lists([[1], 2]), ValueError, None),
    ("a number and a list", lambda: from_lists([1, [2]]), ValueError, None),
    ("add, other shape", lambda: of(1, 2) + of(1), ValueError, r"\(1,\) does not fit .* \(2,\)"),
    ("add, more dimensions", lambda: of(1, 2) + of([1, 2]), ValueError, "does not fit"),
    ("add, leading dimension", lambda: of([1, 2]) + of([1], [2]), ValueError, "does not fit"),
    ("mul, other shape", lambda: of([1, 2], [3, 4]) * of(1, 2, 3, 4), ValueError, "does not fit"),
    ("matmul, other size", lambda: of([1, 2]) @ of([1, 2]), ValueError, r"shape \(1, 2\) by one of shape \(1, 2\)"),
    ("matmul by a vector", lambda: of([1, 2]) @ of(1, 2), ValueError, r"shape \(1, 2\) by one of shape \(2,\)"),
    ("matmul by many matrices", lambda: of(1, 2) @ of([[1], [2]]), ValueError, "cannot multiply"),
    ("matmul of one value", lambda: from_lists(1) @ of([1]), ValueError, "cannot multiply"),
    ("id below 0", lambda: embedding([[0, -1]], of([1], [2])), IndexError, "0 to 1, got -1 to 0"),
    ("id above V - 1", lambda: embedding([[0], [2]], of([1], [2])), IndexError, "0 to 1, got 0 to 2"),
    ("too few targets", lambda: cross_entropy(of([1, 2], [3, 4]), [0]), ValueError, "1 targets for 2 rows"),
    ("too many targets", lambda: cross_entropy(of([1, 2]), [0, 1]), ValueError, "2 targets for 1 rows"),
    ("target above V - 1", lambda: cross_entropy(of([1, 2]), [2]), IndexError, None),
    ("rope of an odd size", lambda: rope(of([1, 2, 3])), ValueError, "in pairs, a head has 3"),
    ("more queries than keys", lambda: attend(of([1], [2]), of([1]), of([1])), ValueError, None),
    ("no gradient for two values", lambda: of(1, 2).backward(), ValueError, "single value"),
    ("a short gradient", lambda: of(1, 2).backward([1.0]), ValueError, "a gradient of 1 values .* of 2"),
    ("a long gradient", lambda: of(1).backward([1.0, 1.0]), ValueError, "a gradient of 2 values .* of 1"),
]


@pytest.mark.parametrize(("act", "error", "message"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_refused(act, error, message):
    with pytest.raises(error, match=message):
        act()


# --- tensors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nested",
    [5.0, [1.0, 2.0], [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[[1.0]], [[2.0]]], [], [[]], [[], []], [[[], []]]],
    ids=str,
)
def test_lists_there_and_back(nested):
    tensor = from_lists(nested)
    assert tensor.shape == shape_of_lists(nested)
    assert tensor.tolist() == nested


def shape_of_lists(nested: object) -> Shape:
    """Like shape_of, for lists that may be empty."""
    if not isinstance(nested, list):
        return ()
    return (len(nested), *shape_of_lists(nested[0])) if nested else (0,)


def test_tensors_are_shown_by_their_shape():
    assert repr(of([1, 2, 3], [4, 5, 6])) == "Tensor(shape=(2, 3))"
    assert repr(Parameter([1.0], (1,))) == "Parameter(shape=(1,))"


def test_lists_can_be_exact():
    assert (from_lists([1.0], exact=True).exact, from_lists([1.0]).exact) == (True, False)


def test_integers_become_floats_and_tuples_lists():
    tensor = from_lists(((1, 2), (3, 4)))
    assert tensor.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert all(isinstance(x, float) for x in tensor.data)


def test_a_parameter_is_kept_in_arrays():
    weight = Parameter([1.0, 2.0], (2,))
    assert weight.data == array("d", [1.0, 2.0])
    for expected in ([5.0, 6.0], [10.0, 12.0]):  # a second loss adds to the gradient
        (weight * Tensor([5.0, 6.0], (2,))).backward([1.0, 1.0])
        assert weight.grad == array("d", expected)
    assert weight.data == array("d", [1.0, 2.0])


def test_gradients_reach_the_inputs_and_stay_nowhere_between():
    x, y = of(2.0), of(3.0)
    product = x * y
    total = product + x
    total.backward()
    assert (x.grad, y.grad) == ([4.0], [2.0])
    assert product.grad is None
    assert total.grad is None


def test_a_gradient_of_the_caller_is_not_changed():
    x, gradient = of(1.0, 2.0), [1.0, 10.0]
    for expected in ([1.0, 10.0], [2.0, 20.0]):
        reshape(x, (2, 1)).backward(gradient)
        assert x.grad == expected
    assert gradient == [1.0, 10.0]


def test_each_operation_has_its_whole_gradient_before_it_passes_it_on():
    # Diamonds upon diamonds: each doubles the number of paths, and each operation is visited once.
    x = of(1.0)
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert x.grad == [2.0**60]


def test_a_second_walk_is_refused():
    x = of(3.0)
    loss = x * x
    loss.backward()
    with pytest.raises(RuntimeError, match="has been through this operation before"):
        loss.backward()
    assert x.grad == [6.0]


def test_two_losses_over_one_operation_are_refused():
    x = of(2.0)
    shared = x * x
    one, two = shared + shared, shared * shared
    one.backward()
    with pytest.raises(RuntimeError, match="has been through this operation before"):
        two.backward()


@pytest.mark.slow
@pytest.mark.parametrize("operation", [add, mul])
def test_a_deep_network_is_no_problem(operation):
    x, one = of(2.0), of(1.0 if operation is mul else 0.0)
    y = x
    for _ in range(10_000):
        y = operation(y, one)
    y.backward()
    assert x.grad == [1.0]
    assert one.grad == [10_000.0 * (2.0 if operation is mul else 1.0)]
    for _ in range(10_000):  # and one that is deleted without a walk
        y = operation(y, one)
    del y


def alive() -> int:
    """How many Tensors exist."""
    gc.collect()
    return sum(isinstance(thing, Tensor) for thing in gc.get_objects())


def chain_of(x: Tensor, length: int) -> Tensor:
    for _ in range(length):
        x = tanh(x)
    return x


@pytest.mark.slow
def test_a_walk_releases_what_it_passed():
    x = of(0.5)
    before = alive()
    loss = chain_of(x, 100)
    assert alive() == before + 100
    assert len(loss._parents) == 1
    loss.backward()
    assert alive() == before + 1  # the loss itself
    assert (loss._parents, loss.grad) == ((), None)


@pytest.mark.slow
def test_activations_are_released_during_the_walk():
    counts = []

    def counting(x: Tensor) -> Tensor:
        def backward(grad: Sequence[float]) -> tuple[Sequence[float]]:
            counts.append(alive())
            return (grad,)

        return Tensor(x.data, x.shape, (x,), backward)

    x = of(0.5)
    before = alive()
    loss = counting(chain_of(counting(x), 100))
    loss.backward()
    # When the last operation is visited, all 102 exist; when the first is, only itself and the loss.
    assert counts == [before + 102, before + 2]


def two_by_two() -> Tensor:
    return Tensor([1.0, 2.0, 3.0, 4.0], (2, 2))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: linear(two_by_two(), Tensor([1.0, 2.0, 3.0], (1, 3))), ValueError, "rows of 3 values"),
        (lambda: rms_norm(two_by_two(), Tensor([1.0], (1,))), ValueError, "rows of 1 values"),
        (lambda: layer_norm(two_by_two(), Tensor([1.0], (1,)), Tensor([1.0], (1,))), ValueError, "rows of 1 values"),
        (lambda: embedding([[0, 1], [0]], two_by_two()), ValueError, "different lengths"),
        (lambda: embedding([[2]], two_by_two()), IndexError, "ids are 0 to 1, got 2 to 2"),
        (lambda: cross_entropy(two_by_two(), [0, -1]), IndexError, "targets are 0 to 1, got -1 to 0"),
        (lambda: cross_entropy(two_by_two(), [0, 2]), IndexError, "targets are 0 to 1, got 0 to 2"),
        (lambda: dropout(two_by_two(), 1.0, random.Random(0)), ValueError, "got 1.0"),
        (lambda: split_heads(Tensor([1.0, 2.0, 3.0], (1, 1, 3)), 2), ValueError, "2 heads cannot share 3 values"),
        (
            lambda: attention_weights(two_by_two(), Tensor([1.0, 2.0], (1, 2))),
            ValueError,
            "2 queries for 1 keys",
        ),
        (
            lambda: attend(two_by_two(), two_by_two(), two_by_two(), Tensor([1.0, 1.0], (1, 2))),
            ValueError,
            r"a mask of shape \(1, 2\) does not fit 2 queries and 2 keys",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_relu_does_not_hide_nan():
    assert isnan(relu(of(nan)).item())
