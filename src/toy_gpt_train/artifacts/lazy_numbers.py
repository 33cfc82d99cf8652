"""lazy_numbers.py - Numbers that stay in their file until they are asked for, so that a large model need not fit."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, overload

Typecode = Literal["d", "f", "B", "H", "I", "Q"]  # of an array: floats of 8 and 4 bytes; whole numbers of 1, 2, 4 and 8


class LazyNumbers(Sequence[float]):
    """Many numbers of which ``read(start, stop)`` returns a part; a slice is an array, which is read each time.

    >>> halves = LazyNumbers(4, "f", lambda start, stop: array("f", [i / 2 for i in range(start, stop)]))
    >>> halves[1:3], len(halves), sum(halves)
    (array('f', [0.5, 1.0]), 4, 3.0)
    """

    def __init__(self, count: int, typecode: Typecode, read: Callable[[int, int], "array[Any]"]) -> None:
        self.typecode = typecode
        self.itemsize = array(typecode).itemsize
        self._count, self._read = count, read

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, part: int) -> float: ...
    @overload
    def __getitem__(self, part: slice) -> "array[Any]": ...
    def __getitem__(self, part: int | slice) -> "float | array[Any]":
        if not isinstance(part, slice):
            place = range(self._count)[part]
            number: float = self._read(place, place + 1)[0]
            return number
        start, stop, step = part.indices(self._count)
        if step < 0:
            raise ValueError("they are read forward")
        return self._read(start, max(start, stop))[::step]

    def __iter__(self) -> Iterator[float]:
        return iter(self[:])


def in_memory(numbers: "array[Any] | LazyNumbers") -> "array[Any]":
    """Return numbers as an array, which is no copy if they are one."""
    return numbers if isinstance(numbers, array) else numbers[:]
