"""kernels.py - The matrix product, where a neural network spends its time.

Two kernels compute the same product up to rounding. The plain one follows the formula. The packed one lets Python's big
integers do a whole row at once: a row of B becomes one integer of 64-bit fields, a value of A times that integer scales
the whole row, and the sum of k such products is a row of the result.

    C[i, :] = sum over p of A[i, p] * B[p, :]

Concepts:
    fixed point: a number as a whole multiple of a power of 2, so that integers can represent it.
    magic number: adding 1.5 * 2^52 * u to a float rounds it to a multiple of u, and leaves that multiple in the low
        bits of the sum. So array('d') turns floats into fields, and fields into floats, without a loop over bits.

Matrices are flat sequences of floats, row after row. Cost: m * k * n multiply-adds; see benchmarks/bench_kernels.py.
"""

import struct
import sys
from array import array
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, cycle
from math import frexp, isfinite
from operator import mul
from typing import Final

from toy_gpt_train.math_training import add_up

Floats = Sequence[float]
Spans = Sequence[tuple[int, int]]  # of each row, its first column that is not 0, and the one after its last

# OBS: below these sizes the plain kernel is as fast, or the product is too small to matter.
_SMALLEST_ROW: Final = 8
_SMALLEST_PRODUCT: Final = 1000

_FIELD_BITS: Final = 51  # of a double's 52; one is for the sign
_FIELD_BYTES: Final = 8
_LARGEST: Final = 2.0**400  # products of larger values may overflow; products of values below its inverse may vanish
_LOW_WORD: Final = slice(0 if sys.byteorder == "little" else 1, None, 2)


def matmul(
    a: Floats, b: Floats, m: int, k: int, n: int, batch: int = 1, *, exact: bool = False, spans: Spans | None = None
) -> list[float]:
    """Multiply ``batch`` matrices A of m rows and k columns with as many matrices B of k rows and n columns.

    ``spans`` may say where each A is 0, the same for all: that saves time and changes no result.

    Unless ``exact``, the error is below a millionth of k times the largest value of A times the largest value of B
    while k is below 512, and below four millionths of that while k is below 8,192.

    >>> matmul([1.0, 2.0], [3.0, 4.0, 5.0, 6.0], m=1, k=2, n=2)
    [13.0, 16.0]
    """
    packed = not exact and _packing_pays(m, k, n, batch)
    return packed_matmul(a, b, m, k, n, batch, spans) if packed else plain_matmul(a, b, m, k, n, batch)


def matmul_transposed(
    a: Floats, b: Floats, m: int, k: int, n: int, batch: int = 1, *, exact: bool = False
) -> list[float]:
    """Multiply as matmul() does, with matrices whose columns are the rows of B, n rows of k columns.

    >>> matmul_transposed([1.0, 2.0], [3.0, 5.0, 4.0, 6.0], m=1, k=2, n=2)
    [13.0, 16.0]
    """
    if not exact and _packing_pays(m, k, n, batch):
        return packed_matmul(a, transpose(b, n, k, batch), m, k, n, batch)
    product: list[float] = []
    for p in range(batch):
        rows = [b[i : i + k] for i in range(p * n * k, (p + 1) * n * k, k)]
        product += _each_with_each(a[p * m * k : (p + 1) * m * k], rows)
    return product


def _packing_pays(m: int, k: int, n: int, batch: int) -> bool:
    return n >= _SMALLEST_ROW and batch * m * k * n >= _SMALLEST_PRODUCT


def plain_matmul(a: Floats, b: Floats, m: int, k: int, n: int, batch: int = 1) -> list[float]:
    """Multiply matrices by the formula: each value of C is a row of A times a column of B."""
    product: list[float] = []
    for p in range(batch):
        columns = [b[j : (p + 1) * k * n : n] for j in range(p * k * n, p * k * n + n)]
        product += _each_with_each(a[p * m * k : (p + 1) * m * k], columns)
    return product


def _each_with_each(a: Floats, columns: Sequence[Floats]) -> list[float]:
    """Multiply each row of A with each column."""
    k = len(columns[0])
    rows = (a[i : i + k] for i in range(0, len(a), k))
    return [add_up(map(mul, row, column)) for row in rows for column in columns]


def packed_matmul(
    a: Floats, b: Floats, m: int, k: int, n: int, batch: int = 1, spans: Spans | None = None
) -> list[float]:
    """Multiply matrices with big integers: a row of B is one integer, and a value of A multiplies all of it at once.

    The bits of a field are divided: log2(k) for the sum, and half of the rest each for the values of A and of B. So
    values are rounded to about 20 bits (22 for k = 64) of the largest in their matrix.

    >>> packed_matmul([1.0, 2.0], [3.0, 4.0, 5.0, 6.0], m=1, k=2, n=2)
    [13.0, 16.0]

    Source: Packing a polynomial's coefficients into one integer is Kronecker (1882) substitution.
    """
    kept = a if spans is None else _within(a, k, spans)
    largest_a, largest_b = max(max(kept), -min(kept)), max(max(b), -min(b))
    if not (isfinite(sum(kept)) and isfinite(sum(b)) and _is_usual(largest_a) and _is_usual(largest_b)):
        return plain_matmul(a, b, m, k, n, batch)  # which handles infinity and NaN
    bits = _FIELD_BITS - k.bit_length()
    unit_a = frexp(largest_a)[1] - bits // 2
    unit_b = frexp(largest_b)[1] - (bits - bits // 2)
    magic_a, magic_b = _magic(unit_a), _magic(unit_b)
    values = memoryview(_to_bytes([x + magic_a for x in kept])).cast("i")[_LOW_WORD].tolist()

    width = n * _FIELD_BYTES
    fields = _to_bytes([x + magic_b for x in b])
    offset = _every_field(unit_b, n)
    rows = [int.from_bytes(fields[i : i + width], sys.byteorder) - offset for i in range(0, batch * k * width, width)]

    # WHY start the sums at the magic number: each field of the sum is then the float of the result plus it.
    start = _every_field(unit_a + unit_b, n)
    packed: list[bytes] = []
    i = 0
    for p in range(batch):
        own_rows = rows[p * k : (p + 1) * k]
        if spans is None:
            packed += [
                sum(map(mul, values[i : i + k], own_rows), start).to_bytes(width, sys.byteorder)
                for i in range(p * m * k, (p + 1) * m * k, k)
            ]
            continue
        for first, end in spans:
            row = sum(map(mul, values[i : i + end - first], own_rows[first:end]), start)
            packed.append(row.to_bytes(width, sys.byteorder))
            i += end - first
    magic = _magic(unit_a + unit_b)
    return [x - magic for x in doubles(b"".join(packed))]


def _within(a: Floats, k: int, spans: Spans) -> Floats:  # without the zeros of its rows
    rows = zip(range(0, len(a), k), cycle(spans), strict=False)
    return list(chain.from_iterable(a[i + first : i + end] for i, (first, end) in rows))


def _is_usual(largest: float) -> bool:  # whether values up to this size can be packed
    return largest == 0 or 1 / _LARGEST < largest < _LARGEST


def _magic(unit: int) -> float:
    """Return the float that rounds others to multiples of 2^unit when it is added."""
    return 1.5 * 2.0 ** (_FIELD_BITS + 1 + unit)


@lru_cache(maxsize=1024)
def _every_field(unit: int, n: int) -> int:  # the magic number of a unit, in each of n fields
    return int.from_bytes(_to_bytes([_magic(unit)] * n), sys.byteorder)


def _to_bytes(values: Floats) -> bytes:
    return struct.pack(f"{len(values)}d", *values)


def doubles(values: Floats | bytes) -> "array[float]":
    """Return values, or the bytes of doubles, as an array; for a list, twice as fast as array("d", values)."""
    return array("d", values if isinstance(values, bytes) else _to_bytes(values))


def transpose(a: Floats, m: int, n: int, batch: int = 1) -> list[float]:
    """Swap the rows and columns of ``batch`` matrices of m rows and n columns.

    >>> transpose([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], m=2, n=3)
    [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
    """
    size = m * n
    return list(chain.from_iterable(a[j : p + size : n] for p in range(0, batch * size, size) for j in range(p, p + n)))


def column_sums(a: Floats, n: int) -> Floats:
    """Add up the rows of a matrix of n columns."""
    return a if len(a) == n else [add_up(a[j::n]) for j in range(n)]
