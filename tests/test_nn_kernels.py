"""The matrix product: both kernels against exact arithmetic, on ordinary values and in the worst cases."""

import random
from array import array
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import copysign, inf, isfinite, isnan, nan

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from toy_gpt_train.nn import kernels
from toy_gpt_train.nn.kernels import column_sums, matmul, packed_matmul, plain_matmul, transpose

Shape = tuple[int, int, int, int]  # m, k, n, batch

PROMISED_ERROR = Fraction(1, 10**6)  # times k, the largest value of A and the largest of B, while k is below 512
PROMISED_FOR_LONG_SUMS = 4 * PROMISED_ERROR  # while it is below 8,192
KERNELS = [plain_matmul, packed_matmul, matmul]
LEAST, GREATEST = 2.0**-400, 2.0**399  # the packed kernel runs between them


def exact_product(a: Sequence[float], b: Sequence[float], m: int, k: int, n: int, batch: int = 1) -> list[Fraction]:
    """The product by the formula, without any rounding."""
    left, right = list(map(Fraction, a)), list(map(Fraction, b))
    return [
        sum(left[(p * m + i) * k + q] * right[(p * k + q) * n + j] for q in range(k))
        for p in range(batch)
        for i in range(m)
        for j in range(n)
    ]


def error_of(product: Sequence[float], a: Sequence[float], b: Sequence[float], *shape: int) -> Fraction:
    """The largest error of a product, in units of k times the largest value of A times the largest value of B."""
    unit = shape[1] * Fraction(max(map(abs, a))) * Fraction(max(map(abs, b)))
    errors = [abs(Fraction(c) - x) for c, x in zip(product, exact_product(a, b, *shape), strict=True)]
    return max(errors) / unit if unit else max(errors)


def sizes(shape: Shape) -> tuple[int, int]:
    m, k, n, batch = shape
    return batch * m * k, batch * k * n


# --- by hand ------------------------------------------------------------------------------------------------

BY_HAND = [
    ("one value", [3.0], [-2.0], (1, 1, 1, 1), [-6.0]),
    ("a row and a column", [1.0, 2.0, 3.0], [4.0, 5.0, 6.0], (1, 3, 1, 1), [32.0]),
    ("a column and a row", [1.0, -2.0], [3.0, 4.0, 5.0], (2, 1, 3, 1), [3.0, 4.0, 5.0, -6.0, -8.0, -10.0]),
    ("two by two", [1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], (2, 2, 2, 1), [19.0, 22.0, 43.0, 50.0]),
    ("two pairs", [1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], (1, 2, 1, 2), [17.0, 53.0]),
    ("fractions", [0.5, -0.25], [0.5, 8.0, 2.0, -4.0], (1, 2, 2, 1), [-0.25, 5.0]),
]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("a", "b", "shape", "expected"), [case[1:] for case in BY_HAND], ids=[c[0] for c in BY_HAND])
def test_products_by_hand(kernel, a, b, shape, expected):
    product = kernel(a, b, *shape)
    assert isinstance(product, list)
    assert product == expected


def test_keywords_are_the_names_of_the_dimensions():
    assert matmul([1.0, 2.0], [3.0, 4.0, 5.0, 6.0], m=1, k=2, n=2, batch=1) == [13.0, 16.0]


TRANSPOSED = [
    ("one value", [7.0], (1, 1, 1), [7.0]),
    ("a row", [1.0, 2.0, 3.0], (1, 3, 1), [1.0, 2.0, 3.0]),
    ("two by three", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], (2, 3, 1), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]),
    ("three by two", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], (3, 2, 1), [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]),
    ("two of them", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], (2, 2, 2), [1.0, 3.0, 2.0, 4.0, 5.0, 7.0, 6.0, 8.0]),
]


@pytest.mark.parametrize("container", [list, lambda numbers: array("d", numbers)], ids=["list", "array"])
@pytest.mark.parametrize(("data", "shape", "expected"), [c[1:] for c in TRANSPOSED], ids=[c[0] for c in TRANSPOSED])
def test_transposes_by_hand(container, data, shape, expected):
    swapped = transpose(container(data), *shape)
    assert isinstance(swapped, list)
    assert swapped == expected


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_transpose_puts_every_value_in_its_place_and_back(m, n, batch):
    data = list(range(batch * m * n))
    swapped = transpose(data, m, n, batch)
    for p in range(batch):
        for i in range(m):
            for j in range(n):
                assert swapped[(p * n + j) * m + i] == data[(p * m + i) * n + j]
    assert transpose(swapped, n, m, batch) == data


# --- random matrices ----------------------------------------------------------------------------------------

KINDS: dict[str, Callable[[random.Random], float]] = {
    "normal": lambda g: g.gauss(0, 1),
    "zeros": lambda g: 0.0,
    "zeros of both signs": lambda g: g.choice([0.0, -0.0]),
    "mostly zeros": lambda g: g.choice([0.0, 0.0, 0.0, -0.0, g.gauss(0, 1)]),
    "huge": lambda g: g.gauss(0, 1e100),
    "tiny": lambda g: g.uniform(1e-110, 1e-100) * g.choice([1, -1]),
    "of all sizes": lambda g: g.choice([1, -1]) * 10.0 ** g.uniform(-110, 100),
    "all alike and positive": lambda g: 1.0 + 1e-7,
    "all alike and negative": lambda g: -1.9999999,
    "powers of two": lambda g: g.choice([1, -1]) * 2.0 ** g.randrange(-5, 5),
    "steps of a gradient": lambda g: g.gauss(0, 1e-6),
}


def matrix(kind: str, size: int, generator: random.Random, outlier: bool = False) -> list[float]:
    """Values of a kind; with an outlier, one of them is far larger than all others."""
    numbers = [KINDS[kind](generator) for _ in range(size)]
    if outlier:
        numbers[generator.randrange(size)] *= 1e9
    return numbers


shapes = st.tuples(st.integers(1, 5), st.integers(1, 20), st.integers(1, 18), st.integers(1, 3))
kinds = st.sampled_from(sorted(KINDS))


@given(shapes, kinds, kinds, st.booleans(), st.booleans(), st.integers(0, 10**6))
@example((1, 1, 1, 1), "normal", "normal", False, False, 0)
@example((5, 20, 18, 3), "of all sizes", "normal", True, True, 0)
@settings(max_examples=150, deadline=None)
def test_kernels_keep_the_promised_error(shape, kind_a, kind_b, outlier_a, outlier_b, seed):
    generator = random.Random(seed)
    size_a, size_b = sizes(shape)
    a, b = matrix(kind_a, size_a, generator, outlier_a), matrix(kind_b, size_b, generator, outlier_b)
    for kernel in (plain_matmul, packed_matmul):
        product = kernel(a, b, *shape)
        assert len(product) == shape[0] * shape[2] * shape[3]
        assert error_of(product, a, b, *shape) <= PROMISED_ERROR
    assert matmul(a, b, *shape) in (plain_matmul(a, b, *shape), packed_matmul(a, b, *shape))


@given(shapes, kinds, kinds, st.integers(0, 10**6))
@example((5, 20, 18, 3), "normal", "normal", 0)
@settings(max_examples=100, deadline=None)
def test_knowing_where_a_matrix_is_zero_changes_no_bit(shape, kind_a, kind_b, seed):
    generator = random.Random(seed)
    m, k, _, batch = shape
    a, b = (matrix(kind, size, generator) for kind, size in zip((kind_a, kind_b), sizes(shape), strict=True))
    spans = [tuple(sorted(generator.sample(range(k + 1), 2))) for _ in range(m)]
    for i in range(batch * m):
        first, end = spans[i % m]
        a[i * k : (i + 1) * k] = [0.0] * first + a[i * k + first : i * k + end] + [0.0] * (k - end)
    expected = array("d", packed_matmul(a, b, *shape)).tobytes()
    assert array("d", packed_matmul(a, b, *shape, spans)).tobytes() == expected
    assert matmul(a, b, *shape, spans=spans) == matmul(a, b, *shape)


@pytest.mark.parametrize("kernel", [packed_matmul, matmul])
def test_what_is_told_to_be_zero_is_not_looked_at(kernel):
    a, b = [1.0, 9.0, 9.0, 1.0] * 2, [float(i) for i in range(800)]
    spans = [(0, 1), (1, 2)]
    assert kernel(a, b, 2, 2, 200, 2, spans=spans) == b


numbers = st.floats(-GREATEST, GREATEST)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_the_packed_kernel_on_any_small_matrices(data):
    m, k, n = (data.draw(st.integers(1, 3)) for _ in "mkn")
    a = data.draw(st.lists(numbers, min_size=m * k, max_size=m * k))
    b = data.draw(st.lists(numbers, min_size=k * n, max_size=k * n))
    # Matrices with nothing but values below 2^-400 have a test of their own.
    a[-1] = copysign(max(abs(a[-1]), LEAST), a[-1])
    b[-1] = copysign(max(abs(b[-1]), LEAST), b[-1])
    assert error_of(packed_matmul(a, b, m, k, n), a, b, m, k, n) <= PROMISED_ERROR


@given(shapes, st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_both_kernels_are_exact_on_integers(shape, seed):
    generator = random.Random(seed)
    a, b = ([float(generator.randint(-1000, 1000)) for _ in range(size)] for size in sizes(shape))
    expected = [float(x) for x in exact_product(a, b, *shape)]
    assert plain_matmul(a, b, *shape) == expected
    assert packed_matmul(a, b, *shape) == expected


@pytest.mark.parametrize("k", [1, 2, 15, 16, 63, 64, 255, 256, 511, 512, 2048, 4096, 8191])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_promised_error_where_all_roundings_point_one_way(k, sign):
    # Every value is just below the middle between two multiples of the unit that its matrix is rounded to, and the
    # largest value of each matrix is just above a power of two, where the unit is largest in comparison.
    bits = 51 - k.bit_length()
    a = [1 + 0.4999 * 2.0 ** (1 - bits // 2)] * k
    b = [sign * (1 + 0.4999 * 2.0 ** (1 - (bits - bits // 2)))] * (k * 8)
    m = 1 + 1000 // (8 * k)
    exact = k * Fraction(a[0]) * Fraction(b[0])  # every value of the product is the same
    for kernel in (plain_matmul, packed_matmul, matmul):
        product = kernel(a * m, b, m, k, 8)
        assert len(product) == m * 8
        promised = PROMISED_ERROR if k < 512 else PROMISED_FOR_LONG_SUMS
        assert max(abs(Fraction(c) - exact) for c in product) / abs(exact) <= promised


@pytest.mark.parametrize(("size_a", "size_b"), [(1e-130, 1e-130), (1e-130, 1.0), (1e-200, 1e100), (1.0, 1e-150)])
def test_the_promised_error_for_tiny_matrices(size_a, size_b):
    a, b = [size_a] * 128, [-size_b] * (128 * 8)
    assert error_of(matmul(a, b, 1, 128, 8), a, b, 1, 128, 8) <= PROMISED_ERROR


@pytest.mark.parametrize(("size_a", "size_b"), [(1e125, 1.0), (1e150, 1e150), (1e-150, 1e200), (1.7e308, 1e-300)])
def test_the_promised_error_for_huge_matrices(size_a, size_b):
    generator = random.Random(0)
    a = [size_a * generator.uniform(-1, 1) for _ in range(128)]
    b = [size_b * generator.uniform(-1, 1) for _ in range(128 * 8)]
    assert error_of(matmul(a, b, 1, 128, 8), a, b, 1, 128, 8) <= PROMISED_ERROR


def test_fields_at_their_limits_do_not_spill_into_their_neighbours():
    # The largest sums that fit, of both signs, side by side, and a zero between them.
    k, most = 31, 2.0 - 2.0**-20
    column = [most, -most, 0.0, -most, most, most, -most, -most]
    a, b = [most] * k + [-most] * k, column * k
    expected = [k * most * c for c in column]
    assert packed_matmul(a, b, 2, k, 8) == expected + [-c for c in expected]


# --- what is not a number -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [2, 16])  # matmul uses the plain kernel for the first, the packed one for the second
@pytest.mark.parametrize("bad", [inf, -inf, nan])
@pytest.mark.parametrize("place", [0, 1])
def test_infinity_and_nan_pass_on(kernel, size, bad, place):
    ones = [1.0] * (size * size)
    spoilt = ones.copy()
    spoilt[place] = bad
    rows = kernel(spoilt, ones, size, size, size)
    assert all(isnan(c) if isnan(bad) else c == bad for c in rows[:size])
    assert rows[size:] == [float(size)] * (size * (size - 1))
    columns = kernel([-x for x in ones], spoilt, size, size, size)
    for i, c in enumerate(columns):
        if i % size != place:
            assert c == -size
        else:
            assert isnan(c) if isnan(bad) else c == -bad


@pytest.mark.parametrize("kernel", KERNELS)
def test_infinities_of_both_signs_make_nan(kernel):
    ones = [1.0] * 256
    product = kernel([inf, -inf, *ones[2:]], ones, 16, 16, 16)
    assert all(map(isnan, product[:16]))
    assert product[16:] == [16.0] * 240


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [1e160, 1e200])
def test_a_product_too_large_is_infinite_and_not_wrong(kernel, size):
    product = kernel([size] * 256, [size, -size] * 128, 16, 16, 16)
    assert product == [inf, -inf] * 128


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_zeros_make_zeros(kernel, zero):
    product = kernel([zero] * 256, [3.0] * 256, 16, 16, 16)
    assert product == [0.0] * 256
    assert all(map(isfinite, product))


# --- arguments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(2, 3, 2, 2), (9, 10, 11, 2)])
def test_arrays_give_what_lists_give(kernel, shape):
    generator = random.Random(0)
    a, b = (matrix("normal", size, generator) for size in sizes(shape))
    array_a, array_b = array("d", a), array("d", b)
    expected = kernel(a, b, *shape)
    for left, right in ((array_a, array_b), (a, array_b), (array_a, b)):
        product = kernel(left, right, *shape)
        assert isinstance(product, list)
        assert product == expected
    assert (array_a.tolist(), array_b.tolist()) == (a, b)


@pytest.mark.parametrize(
    ("shape", "chosen"),
    [
        ((1, 1, 1, 1), "plain"),
        ((2, 2, 2, 2), "plain"),
        ((64, 64, 1, 1), "plain"),
        ((64, 64, 64, 1), "packed"),
        ((1, 64, 64, 1), "packed"),
        ((8, 8, 16, 16), "packed"),
    ],
)
def test_the_packed_kernel_is_for_many_wide_rows(monkeypatch, shape, chosen):
    calls = []
    for name in ("plain", "packed"):
        monkeypatch.setattr(kernels, f"{name}_matmul", lambda *_, name=name: calls.append(name) or [])
    size_a, size_b = sizes(shape)
    matmul([0.5] * size_a, [0.5] * size_b, *shape)
    assert calls == [chosen]


def test_full_precision_is_the_plain_kernel():
    generator = random.Random(0)
    a, b = (matrix("normal", 64 * 64, generator) for _ in "ab")
    plain, packed = (kernel(a, b, 64, 64, 64) for kernel in (plain_matmul, packed_matmul))
    assert plain != packed
    assert matmul(a, b, 64, 64, 64, exact=True) == plain
    assert matmul(a, b, 64, 64, 64) == packed


@pytest.mark.parametrize(
    ("data", "n", "sums"),
    [
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, [5.0, 7.0, 9.0]),
        ([1.0, 2.0, 3.0, 4.0], 1, [10.0]),
        ([1.0, 2.0, 3.0], 3, [1.0, 2.0, 3.0]),
        (array("d", [0.5, -1.0, 0.25, 3.0]), 2, [0.75, 2.0]),
    ],
)
def test_column_sums_by_hand(data, n, sums):
    assert list(column_sums(data, n)) == sums
