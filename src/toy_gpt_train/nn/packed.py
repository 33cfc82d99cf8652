"""packed.py - A matrix that no longer changes, packed once for many products: y = W x, 3 ns per weight.

The packed kernel of kernels.py packs both matrices for each product, which costs ten times the product itself if x is a
single row. A trained network has the same W for every token. So each column of W is packed once, into one big integer
with a field of 64 bits for each output, and stays so, at 8.5 bytes per weight.

    y = sum over p of x[p] * column p of W        all outputs at once, each in its field

Values are rounded to whole multiples of a power of 2. Half of the bits that the sum leaves free are for W, half for x:
26 each for 768 inputs, where the field of a float of 32 bits has 24. Every row of x has its own unit, so that a result
does not depend on how many rows are computed at a time.
"""

import sys
from array import array
from collections.abc import Sequence
from itertools import repeat
from math import frexp
from operator import mul
from typing import Final

from toy_gpt_train.float_bits import magnitude
from toy_gpt_train.nn.kernels import Floats, doubles

_FIELD_BITS: Final = 62  # of 64; one is for the sign, one for rounding up
_FIELD_BYTES: Final = 8
_MOST_BITS: Final = 28  # so that a value of x is one digit of Python's integers, which have 30 bits
_HALF: Final = 1 << 63  # added to a field so that it is not negative


class PackedMatrix:
    """W of ``num_out`` rows and ``num_in`` columns, whose numbers are finite; row-major in an array."""

    def __init__(self, weight: "array[float]", num_out: int, num_in: int) -> None:
        weight = weight if weight.typecode == "f" else array("f", weight)
        self.num_in = num_in
        self.num_out = num_out
        free = _FIELD_BITS - num_in.bit_length()
        self._bits = min(free // 2, _MOST_BITS)  # of x
        self._unit = frexp(magnitude(weight))[1] - 1 - min(free - self._bits, _MOST_BITS)
        # Adding this to a float leaves it in the low bits, as a multiple of the unit; see kernels.py.
        magic = 1.5 * 2.0 ** (52 + self._unit)
        offset = int.from_bytes(doubles([magic] * num_out), sys.byteorder)
        self._columns = [
            int.from_bytes(doubles([w + magic for w in weight[p::num_in]]), sys.byteorder) - offset
            for p in range(num_in)
        ]
        self._start = int.from_bytes(array("Q", repeat(_HALF, num_out)), sys.byteorder)

    def times(self, x: Floats) -> list[float]:
        """Return W times each row of x, whose values are finite.

        >>> PackedMatrix(array("f", [3.0, 4.0]), 1, 2).times([1.0, 2.0, 0.5, 0.25])
        [11.0, 2.5]
        """
        y: list[float] = []
        for i in range(0, len(x), self.num_in):
            y += self._times_row(x[i : i + self.num_in])
        return y

    def _times_row(self, row: Sequence[float]) -> list[float]:
        unit = frexp(max(max(row), -min(row)))[1] - self._bits
        scale = 2.0**-unit
        values = [round(value * scale) for value in row]
        total = sum(map(mul, values, self._columns), self._start)
        fields = memoryview(total.to_bytes(_FIELD_BYTES * self.num_out, sys.byteorder)).cast("Q")
        scale = 2.0 ** (unit + self._unit)
        return [(field - _HALF) * scale for field in fields]
