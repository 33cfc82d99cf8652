"""arithmetic.py - Arithmetic coding, beneath step e: symbols become bits, as few as the symbols were likely.

The learner's question: a probability of 0.9 is a surprise of 0.15 bits, but how can a file have a part of a bit? It
cannot. All symbols together are one number. Begin with an interval of numbers; for each symbol, divide it among all
symbols in proportion to their frequencies, and keep the part of the one that came. In the end an interval is left whose
size is the product of all the probabilities, and to name a number in it takes -log2(size) bits.

    A is 3 times as frequent as B:   [0 . . . . . . . . . . . 1)
    after A                          [0 . . . . . . . . 0.75)
    after A, B                                   [0.5625 . . )

The bits that all numbers of the interval begin with are certain. They are written at once, and the interval is doubled,
so that whole numbers of 64 bits are enough for a text of any length.

It does not know where frequencies come from.

Source: Witten, Neal and Cleary (1987), "Arithmetic coding for data compression".
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import log2
from typing import Final

from toy_gpt_train.errors import InputError

_BITS: Final = 64
_WHOLE: Final = 1 << _BITS
_HALF: Final = _WHOLE // 2
_QUARTER: Final = _WHOLE // 4


class _Coder:
    """What is left of the interval: the numbers from ``_low`` to below ``_low + _size``, of those that have 64 bits."""

    def __init__(self) -> None:
        self._low, self._size = 0, _WHOLE
        self._doublings = 0

    @property
    def num_bits(self) -> float:
        """How many bits the symbols so far are worth: minus the logarithm of what is left of the interval."""
        return self._doublings + _BITS - log2(self._size)

    def _keep(self, below: int, frequency: int, total: int) -> None:
        """Keep the part of a symbol; ``below`` is the sum of the frequencies of the symbols before it."""
        if frequency < 1 or total > _QUARTER:
            raise ValueError(f"a frequency of {frequency} among {total} leaves nothing of the interval")
        begin = self._size * below // total
        self._low, self._size = self._low + begin, self._size * (below + frequency) // total - begin

    def _double(self) -> Iterator[int]:
        """Double the interval while it fits into a half of all numbers; yield where each such half begins.

        A half that begins at a quarter leaves the next bit open, and says that the one after it will be its opposite.
        """
        while self._size <= _HALF:
            for begin in (0, _HALF, _QUARTER):
                if begin <= self._low and self._low + self._size <= begin + _HALF:
                    break
            else:
                return
            self._low, self._size = 2 * (self._low - begin), 2 * self._size
            self._doublings += 1
            yield begin


class Encoder(_Coder):
    r"""Writes symbols as bits.

    Example:
        >>> encoder = Encoder()
        >>> [encoder.code([3, 1], symbol) for symbol in (0, 0, 1, 0)]
        [0, 0, 1, 0]
        >>> round(encoder.num_bits, 2)  # three of 0.415 bits, and one of 2
        3.25
        >>> encoder.finish()
        b'\x80'
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiting = 0  # bits that are the opposite of the next one
        self._bytes, self._byte = bytearray(), 1  # a 1, and the bits of the next byte

    def code(self, frequencies: Sequence[int], symbol: int | None) -> int:
        """Write a symbol, an index of ``frequencies``, and return it; ValueError if its frequency is below 1."""
        assert symbol is not None  # only a decoder is asked without one
        self._keep(sum(frequencies[:symbol]), frequencies[symbol], sum(frequencies))
        for begin in self._double():
            if begin == _QUARTER:
                self._waiting += 1
            else:
                self._write(begin == _HALF)
        return symbol

    def _write(self, bit: int) -> None:
        for each in (bit, *[1 - bit] * self._waiting):
            self._byte = 2 * self._byte + each
            if self._byte >> 8:
                self._bytes.append(self._byte & 0xFF)
                self._byte = 1
        self._waiting = 0

    def finish(self) -> bytes:
        """Return the bytes; nothing can be written after that.

        WHY one bit is enough: the middle is in the interval, which would have been doubled otherwise. It is a 1 and
        zeros, and a decoder takes what is not there for zeros.
        """
        self._write(1)
        while self._byte > 1:  # fill the last byte
            self._write(0)
        return bytes(self._bytes)


class Decoder(_Coder):
    """Reads what an Encoder wrote, if it is asked with the same frequencies.

    Example:
        >>> decoder = Decoder(bytes([0x80]))
        >>> [decoder.code([3, 1]) for _ in range(4)]
        [0, 0, 1, 0]
        >>> decoder.finish()
    """

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = data
        self._value = int.from_bytes(data[: _BITS // 8].ljust(_BITS // 8, b"\0"), "big")  # the next 64 bits

    def code(self, frequencies: Sequence[int], symbol: int | None = None) -> int:
        """Return the next symbol; InputError where the bytes have come to their end.

        ``symbol`` is not looked at. WHY it is there: one loop serves both, and only the encoder's knows the symbols.
        """
        sums = list(accumulate(frequencies))
        # The part of the symbol begins at or before the value: size * below // total <= value - low.
        found = bisect_right(sums, ((self._value - self._low + 1) * sums[-1] - 1) // self._size)
        self._keep(sums[found] - frequencies[found], frequencies[found], sums[-1])
        for begin in self._double():
            self._value = 2 * (self._value - begin) + self._bit(self._doublings + _BITS - 1)
        if self._doublings >= 8 * len(self._data):
            raise InputError("the data end before the text does")
        return found

    def _bit(self, position: int) -> int:
        index, place = divmod(position, 8)
        return self._data[index] >> (7 - place) & 1 if index < len(self._data) else 0

    def finish(self) -> None:
        """Check that the bytes end as an encoder ends them; InputError if they do not."""
        if self._value != _HALF or len(self._data) != self._doublings // 8 + 1:
            raise InputError("the data do not end where the text does")
