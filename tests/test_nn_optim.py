"""Optimizers, the schedule, clipping, and batches: steps computed by hand, and every window a slice of the text."""

import random
from array import array
from collections.abc import Sequence
from functools import partial
from math import cos, exp, fsum, inf, log, pi, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toy_gpt_train.nn.kernels import matmul, transpose
from toy_gpt_train.nn.modules import Network
from toy_gpt_train.nn.optim import (
    SGD,
    AdamW,
    Muon,
    clip_grad_norm,
    constant_schedule,
    cosine_schedule,
    inverse_sqrt_schedule,
    linear_schedule,
    orthogonalized,
    split_for_muon,
)
from toy_gpt_train.nn.tensor import Parameter, Tensor
from toy_gpt_train.training.batches import draw_windows, window_loss


def parameter(*numbers: float, grad: Sequence[float] | None = None) -> Parameter:
    made = Parameter(numbers, (len(numbers),))
    made.grad = None if grad is None else array("d", grad)
    return made


def path_of(weight: Parameter, optimizer: SGD | AdamW, gradients: Sequence[float]) -> list[float]:
    """The first value of a parameter after each step."""
    places = []
    for gradient in gradients:
        weight.grad = array("d", [gradient] * len(weight.data))
        optimizer.step()
        assert isinstance(weight.data, array)
        places.append(weight.data[0])
    return places


# --- optimizers, by hand ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("momentum", "expected"),
    [
        (0.0, [0.95, 0.85, 1.05]),
        (0.9, [0.95, 0.805, 0.8745]),  # v = 0.5, then 0.45 + 1, then 1.305 - 2
        (0.5, [0.95, 0.825, 0.9625]),  # v = 0.5, then 0.25 + 1, then 0.625 - 2
    ],
)
def test_sgd_by_hand(momentum, expected):
    weight = parameter(1.0)
    assert path_of(weight, SGD([weight], 0.1, momentum), [0.5, 1.0, -2.0]) == pytest.approx(expected, rel=1e-14)


ADAMW_BY_HAND = [
    # A constant gradient: m' is g and sqrt(v') is |g|, so each step is lr, however large g is.
    ({"eps": 0.0, "weight_decay": 0.0}, [0.2] * 3, [0.9, 0.8, 0.7]),
    ({"eps": 0.0, "weight_decay": 0.0}, [-5e6] * 3, [1.1, 1.2, 1.3]),
    # Decay first subtracts lr * weight_decay = 5 %: 0.95 - 0.1, 0.8075 - 0.1, 0.672125 - 0.1.
    ({"eps": 0.0, "weight_decay": 0.5}, [3.0] * 3, [0.85, 0.7075, 0.572125]),
    # eps is added after the root: 0.1 * 3 / (3 + 1).
    ({"eps": 1.0, "weight_decay": 0.0}, [3.0] * 3, [0.925, 0.85, 0.775]),
    # m = 1/2, -1/4, 7/8 over 1/2, 3/4, 7/8;  v = 1/4, 7/16, 85/64 over 1/4, 7/16, 37/64.
    (
        {"betas": (0.5, 0.75), "eps": 0.0, "weight_decay": 0.0},
        [1.0, -1.0, 2.0],
        [0.9, 0.9 + 0.1 / 3, 0.9 + 0.1 / 3 - 0.1 / sqrt(85 / 37)],
    ),
    # No gradient, so only the decay.
    ({"weight_decay": 1.0}, [0.0] * 3, [0.9, 0.81, 0.729]),
]


@pytest.mark.parametrize(("options", "gradients", "expected"), ADAMW_BY_HAND)
def test_adamw_by_hand(options, gradients, expected):
    weight = parameter(1.0)
    assert path_of(weight, AdamW([weight], lr=0.1, **options), gradients) == pytest.approx(expected, rel=1e-13)


def test_what_adamw_remembers():
    weight = parameter(1.0, 1.0)
    optimizer = AdamW([weight], betas=(0.5, 0.75))
    assert (optimizer.steps, list(optimizer.first[0]), list(optimizer.second[0])) == (0, [0.0, 0.0], [0.0, 0.0])
    for gradient in ([1.0, 2.0], [-1.0, 0.0]):
        weight.grad = array("d", gradient)
        optimizer.step()
    assert optimizer.steps == 2
    assert optimizer.first == [array("d", [-0.25, 0.5])]
    assert optimizer.second == [array("d", [0.4375, 0.75])]


@pytest.mark.parametrize(
    "make", [lambda w: SGD(w, 1.0), lambda w: AdamW(w, 1.0, weight_decay=0.0)], ids=["SGD", "AdamW"]
)
def test_the_step_size_may_change_before_every_step(make):
    weight = parameter(0.0)
    optimizer = make([weight])
    places = []
    for lr in (1.0, 0.0, 0.25):
        optimizer.lr = lr
        places += path_of(weight, optimizer, [1.0])
    assert places == pytest.approx([-1.0, -1.0, -1.25], rel=1e-7)


@pytest.mark.parametrize(
    "make", [lambda w: SGD(w, 0.1, 0.9), lambda w: AdamW(w, 0.1, weight_decay=0.5)], ids=["SGD", "AdamW"]
)
def test_a_parameter_without_gradient_stays_and_the_others_move_alone(make):
    still, one, two = parameter(1.0, -0.0), parameter(1.0), parameter(5.0, 5.0)
    alone = parameter(5.0, 5.0)
    together, single = make([still, one, two]), make([alone])
    for gradient in (1.0, -0.5, 2.0):
        one.grad = array("d", [-gradient])
        two.grad, alone.grad = array("d", [gradient, 0.0]), array("d", [gradient, 0.0])
        together.step()
        single.step()
    assert still.data.tobytes() == array("d", [1.0, -0.0]).tobytes()
    assert two.data == alone.data
    assert one.data[0] != 1.0


@pytest.mark.parametrize(
    "make", [lambda w: SGD(w, 0.05, 0.9), lambda w: AdamW(w, 0.1, weight_decay=0.0)], ids=["SGD", "AdamW"]
)
def test_a_valley_is_descended(make):
    # (x - 3)^2 + 10 (y + 1)^2
    weight = parameter(0.0, 0.0)
    optimizer = make([weight])
    for _ in range(400):
        x, y = weight.data
        weight.grad = array("d", [2 * (x - 3), 20 * (y + 1)])
        optimizer.step()
    assert list(weight.data) == pytest.approx([3.0, -1.0], abs=1e-3)


# --- Muon ---------------------------------------------------------------------------------------------------


def polynomial(x: float) -> float:
    """What five rounds make of a singular value."""
    for _ in range(5):
        x = 3.4445 * x - 4.775 * x**3 + 2.0315 * x**5
    return x


def matrices(most: int) -> st.SearchStrategy[tuple[list[float], int, int]]:
    def of(shape: tuple[int, int]) -> st.SearchStrategy[tuple[list[float], int, int]]:
        numbers = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
        values = st.lists(numbers, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])
        return st.tuples(values, st.just(shape[0]), st.just(shape[1]))

    return st.tuples(st.integers(1, most), st.integers(1, most)).flatmap(of)


@pytest.mark.parametrize("values", [[1.0, 1.0], [5.0, 0.0], [-3.0, 4.0], [100.0, 1.0], [1e-9, 2e-9], [1.0, 1e-12]])
def test_orthogonalized_moves_the_singular_values_and_nothing_else(values):
    first, second = values
    norm = sqrt(first**2 + second**2)
    expected = [polynomial(first / norm), 0.0, 0.0, polynomial(second / norm)]
    assert orthogonalized([first, 0.0, 0.0, second], 2, 2) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    # Turned by a sixth of a circle, and with a row of zeros below.
    cosine, sine = 0.5, sqrt(0.75)
    turned = [cosine * first, -sine * second, sine * first, cosine * second, 0.0, 0.0]
    a, _, _, b = expected
    assert orthogonalized(turned, 3, 2) == pytest.approx(
        [cosine * a, -sine * b, sine * a, cosine * b, 0.0, 0.0], rel=1e-9, abs=1e-12
    )


def test_the_polynomial_lifts_what_is_small_to_nearly_one():
    for i in range(1, 1001):
        assert 0.65 < polynomial(i / 1000) < 1.25 or i < 4
    assert polynomial(0.001) == pytest.approx(3.4445**5 * 0.001, rel=0.2)


@given(matrices(12))
@settings(max_examples=60)
def test_orthogonalized_keeps_the_directions(case):
    # With X = U S V^T and Y = U f(S) V^T, the product X^T Y = V S f(S) V^T is symmetric.
    x, rows, columns = case
    y = orthogonalized(x, rows, columns)
    assert len(y) == len(x)
    if not any(x):
        assert list(y) == x
        return
    assert sum(map(abs, y)) > 0
    product = matmul(transpose(x, rows, columns), y, columns, rows, columns, exact=True)
    largest = max(map(abs, x)) * rows
    assert product == pytest.approx(transpose(product, columns, columns), abs=2e-4 * largest)
    assert all(product[i * columns + i] > -2e-4 * largest for i in range(columns))
    # And turned on its side, it gives the same on its side.
    assert list(transpose(y, rows, columns)) == pytest.approx(
        list(orthogonalized(transpose(x, rows, columns), columns, rows)), abs=1e-3
    )


def test_muon_by_hand():
    # One row: u / |u| is its only direction, and its only singular value becomes polynomial(1).
    weight = Parameter([1.0, 1.0], (1, 2))
    optimizer = Muon([weight], lr=0.1, weight_decay=0.5)
    one = polynomial(1.0)
    weight.grad = array("d", [3.0, 4.0])
    optimizer.step()
    assert list(weight.data) == pytest.approx([0.95 - 0.1 * one * 0.6, 0.95 - 0.1 * one * 0.8], rel=1e-12)
    assert list(optimizer.velocities[0]) == pytest.approx([0.15, 0.2])
    weight.grad = array("d", [0.0, 0.0])
    before = list(weight.data)
    optimizer.step()  # the momentum goes on
    assert list(optimizer.velocities[0]) == pytest.approx([0.1425, 0.19])
    expected = [0.95 * w - 0.1 * one * direction for w, direction in zip(before, (0.6, 0.8), strict=True)]
    assert list(weight.data) == pytest.approx(expected, rel=1e-12)
    assert optimizer.steps == 2


def test_muon_takes_longer_steps_where_a_matrix_has_more_outputs():
    tall, wide = Parameter([0.0] * 8, (8, 1)), Parameter([0.0] * 8, (1, 8))
    optimizer = Muon([tall, wide], lr=0.1, weight_decay=0.0)
    for weight in (tall, wide):
        weight.grad = array("d", [1.0] * 8)
    optimizer.step()
    assert list(tall.data) == pytest.approx([sqrt(8) * x for x in wide.data], rel=1e-12)


def test_muon_is_for_matrices():
    with pytest.raises(ValueError, match="matrices"):
        Muon([parameter(1.0)])
    matrix, vector = Parameter([0.0] * 16, (4, 4)), parameter(1.0)
    inside = {"blocks.0.attention.q_proj.weight": matrix, "hidden.weight": matrix}
    ends = dict.fromkeys(("token_embeddings.weight", "position_embeddings.weight", "output.weight"), matrix)
    others = ends | {"blocks.0.norm_1.weight": vector}
    assert split_for_muon(others | inside) == (inside, others)


# --- the schedule -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"warmup": 2, "total": 6},
            {0: 0.0, 1: 0.5, 2: 1.0, 3: 0.5 + sqrt(0.5) / 2, 4: 0.5, 5: 0.5 - sqrt(0.5) / 2, 6: 0.0},
        ),
        (
            {"warmup": 4, "total": 10, "floor": 0.1},
            {0: 0.0, 1: 0.25, 3: 0.75, 4: 1.0, 6: 0.775, 7: 0.55, 8: 0.325, 10: 0.1},
        ),
        ({"warmup": 0, "total": 4}, {0: 1.0, 2: 0.5, 4: 0.0}),
        ({"warmup": 0, "total": 4, "floor": 0.2}, {4: 0.2, 5: 0.2, 1000: 0.2}),  # past the end
        ({"warmup": 3, "total": 3, "floor": 0.2}, {0: 0.0, 2: 2 / 3, 3: 1.0, 4: 0.2}),
        ({"warmup": 10, "total": 5}, {0: 0.0, 4: 0.4}),  # it ends before the peak
        ({"warmup": 0, "total": 0}, {0: 1.0}),
    ],
    ids=str,
)
def test_the_schedule_by_hand(options, expected):
    assert {step: cosine_schedule(step, peak=1.0, **options) for step in expected} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (partial(linear_schedule, warmup=2, total=6), [0.0, 4.0, 8.0, 6.0, 4.0, 2.0, 0.0, 0.0]),
        (partial(linear_schedule, warmup=0, total=4, floor=2.0), [8.0, 6.5, 5.0, 3.5, 2.0, 2.0]),
        (partial(linear_schedule, warmup=3, total=2), [0.0, 8 / 3, 16 / 3, 8.0, 0.0]),  # it ends before the peak
        (partial(constant_schedule, warmup=4), [0.0, 2.0, 4.0, 6.0, 8.0, 8.0, 8.0]),
        (constant_schedule, [8.0, 8.0, 8.0]),
        (inverse_sqrt_schedule, [8.0, 8 / sqrt(2), 8 / sqrt(3), 4.0]),
        (partial(inverse_sqrt_schedule, warmup=2), [0.0, 4.0, 8.0, 8 / sqrt(2), 8 / sqrt(3), 4.0]),
    ],
)
def test_the_other_schedules_by_hand(schedule, expected):
    assert [schedule(step, peak=8.0) for step in range(len(expected))] == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 20), st.integers(1, 50), st.floats(1e-5, 1.0), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_the_schedule_goes_up_in_a_line_and_down_along_a_cosine(warmup, rest, peak, part):
    floor = part * peak
    steps = [
        cosine_schedule(s, peak=peak, warmup=warmup, total=warmup + rest, floor=floor) for s in range(warmup + rest + 1)
    ]
    for step, size in enumerate(steps[:warmup]):
        assert size == pytest.approx(peak * step / warmup)
    way_down = steps[warmup:]
    for step, size in enumerate(way_down):
        assert size == pytest.approx(floor + (peak - floor) * (1 + cos(pi * step / rest)) / 2)
    assert way_down == sorted(way_down, reverse=True)
    assert way_down[0] == pytest.approx(peak)
    assert way_down[-1] == pytest.approx(floor)


# --- clipping -----------------------------------------------------------------------------------------------


def test_clipping_by_hand():
    one, none, two = parameter(0.0, 0.0, grad=[1.0, -2.0]), parameter(0.0), parameter(0.0, grad=[2.0])
    assert clip_grad_norm([one, none, two], 1.5) == 3.0
    assert [*one.grad, *two.grad] == pytest.approx([0.5, -1.0, 1.0], rel=1e-6)
    assert none.grad is None
    assert isinstance(one.grad, array)
    assert list(one.data) == [0.0, 0.0]


@pytest.mark.parametrize("max_norm", [5.0, 5.1, inf])
def test_a_short_gradient_is_not_changed(max_norm):
    weight = parameter(0.0, 0.0, grad=[3.0, 4.0])
    assert clip_grad_norm([weight], max_norm) == 5.0
    assert weight.grad == array("d", [3.0, 4.0])


def test_nothing_to_clip():
    assert clip_grad_norm([], 1.0) == 0.0
    assert clip_grad_norm([parameter(1.0)], 1.0) == 0.0
    zeros = parameter(1.0, grad=[0.0])
    assert clip_grad_norm([zeros], 0.0) == 0.0
    assert zeros.grad == array("d", [0.0])


numbers = st.floats(-1e3, 1e3)


@given(st.lists(st.lists(numbers, min_size=1, max_size=5), min_size=1, max_size=4), st.floats(1e-2, 1e3))
@settings(max_examples=100, deadline=None)
def test_clipping_keeps_the_direction_and_bounds_the_length(gradients, max_norm):
    parameters = [parameter(*grad, grad=grad) for grad in gradients]
    before = [g for grad in gradients for g in grad]
    norm = clip_grad_norm(parameters, max_norm)
    assert norm == pytest.approx(sqrt(fsum(g * g for g in before)), rel=1e-12)
    after = [g for weight in parameters for g in weight.grad]
    factor = max_norm / (norm + 1e-6) if norm > max_norm else 1.0
    assert after == pytest.approx([factor * g for g in before], rel=1e-12, abs=1e-300)
    assert sqrt(fsum(g * g for g in after)) <= max_norm * (1 + 1e-12)


# --- windows ------------------------------------------------------------------------------------------------


@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 6), st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_every_window_is_a_slice_of_the_text(length, context_size, batch_size, seed):
    text = list(range(100, 100 + length))  # each token tells its position
    if length < context_size + 1:
        with pytest.raises(ValueError, match=f"{length} tokens are too few for a window of {context_size + 1}"):
            draw_windows(text, context_size, batch_size, random.Random(seed))
        return
    windows = draw_windows(text, context_size, batch_size, random.Random(seed))
    assert len(windows) == batch_size
    for window in windows:
        start = window[0] - 100
        assert window == text[start : start + context_size + 1]
        assert len(window) == context_size + 1
    assert windows == draw_windows(text, context_size, batch_size, random.Random(seed))


@pytest.mark.parametrize(("length", "context_size"), [(6, 2), (6, 5), (6, 1), (9, 3)])
def test_windows_begin_everywhere_equally_often(length, context_size):
    places, draws = length - context_size, 3000
    windows = draw_windows(range(length), context_size, draws, random.Random(0))
    starts = [window[0] for window in windows]
    assert set(starts) == set(range(places))
    assert max(window[-1] for window in windows) == length - 1
    share = 1 / places
    for start in range(places):  # within five standard deviations
        assert abs(starts.count(start) - share * draws) <= 5 * sqrt(draws * share * (1 - share))


def test_windows_continue_where_the_generator_stands():
    text, generator = list(range(1000)), random.Random(0)
    first, second = (draw_windows(text, 4, 3, generator) for _ in range(2))
    assert first != second
    assert first + second == draw_windows(text, 4, 6, random.Random(0))


# --- the loss of a network on windows -----------------------------------------------------------------------


class Scripted(Network):
    """Returns the logits it was given, and remembers what it read."""

    def __init__(self, logits: list[list[list[float]]]) -> None:
        self.logits = Tensor(
            [x for b in logits for row in b for x in row], (len(logits), len(logits[0]), len(logits[0][0]))
        )

    def forward(self, ids: Sequence[Sequence[int]], *, exact: bool = False) -> Tensor:
        self.read = [list(sequence) for sequence in ids]
        return self.logits


# Rows of exp(logits) that sum to 8: the loss of a target is the logarithm of 8 over its number.
ROWS = {name: [log(int(digit)) for digit in name] for name in ("512", "152", "125", "161")}


@pytest.mark.parametrize(
    ("rows", "windows", "read", "seen", "correct"),
    [
        # Every position is predicted: the targets are 1, 2 and 2, 0.
        ([["512", "125"], ["152", "161"]], [[0, 1, 2], [1, 2, 0]], [[0, 1], [1, 2]], "1521", 1),
        ([["152", "125"], ["125", "512"]], [[0, 1, 2], [1, 2, 0]], [[0, 1], [1, 2]], "5555", 4),
        ([["125"], ["512"]], [[0, 2], [1, 1]], [[0], [1]], "51", 1),
        # Only the token after the whole window is predicted: the targets are 2 and 0.
        ([["125"], ["161"]], [[0, 1, 2], [1, 2, 0]], [[0, 1], [1, 2]], "51", 1),
        (
            [["125"], ["512"], ["152"]],
            [[0, 1, 2, 2], [1, 2, 0, 0], [2, 2, 2, 1]],
            [[0, 1, 2], [1, 2, 0], [2, 2, 2]],
            "555",
            3,
        ),
    ],
)
def test_the_loss_of_windows_by_hand(rows, windows, read, seen, correct):
    model = Scripted([[ROWS[row] for row in sequence] for sequence in rows])
    loss, count, right = window_loss(model, windows)
    assert model.read == read
    losses = [log(8 / int(digit)) for digit in seen]
    assert loss.item() == pytest.approx(fsum(losses) / len(losses), rel=1e-12)
    assert (count, right) == (len(losses), correct)


def test_what_is_only_read_is_not_predicted():
    model = Scripted([[ROWS["512"], ROWS["161"], ROWS["125"]]])
    loss, count, right = window_loss(model, [[0, 0, 1, 2]], 1)
    assert model.read == [[0, 0, 1]]
    assert loss.item() == pytest.approx((log(8 / 6) + log(8 / 5)) / 2, rel=1e-12)
    assert (count, right) == (2, 2)
    loss.backward()
    first = model.logits.grad[:3]
    assert list(first) == [0, 0, 0]


def test_the_gradient_of_the_loss_of_windows():
    model = Scripted([[ROWS["512"]], [ROWS["161"]]])
    loss, _, _ = window_loss(model, [[0, 0], [0, 1]])
    loss.backward()
    expected = [5 / 8 - 1, 1 / 8, 2 / 8, 1 / 8, 6 / 8 - 1, 1 / 8]  # probs - onehot, half of it for each of two
    assert model.logits.grad == pytest.approx([g / 2 for g in expected], rel=1e-12)
    assert exp(loss.item()) == pytest.approx(sqrt(8 / 5 * 8 / 6), rel=1e-12)


def test_windows_may_be_any_sequences():
    model = Scripted([[ROWS["512"], ROWS["125"]]])
    results = [window_loss(model, [kind([0, 0, 2])]) for kind in (list, tuple, lambda ids: array("i", ids))]
    assert [(loss.item(), count, right) for loss, count, right in results] == [(results[0][0].item(), 2, 2)] * 3
