"""safetensors.py - Tensors in a file of the safetensors format, which other language-model programs read too.

    8 bytes   N, the length of the header, a little-endian whole number
    N bytes   the header, a JSON object padded with spaces: a tensor's name -> its dtype, its shape and data_offsets
              [begin, end], in bytes from the header's end; "__metadata__" -> an object, text to text
    the rest  the tensors' numbers, row-major and little-endian, one tensor after another with nothing between

A dtype says how a number is stored: F64 in 8 bytes, F32 in 4. The format has others, which this module refuses.

WHY this format: reading weights must not run code. A pickle, the older habit, is a program, and loading one runs what
its author wrote. Here are only numbers, and a header that can be checked against the file's size.
"""

import json
import os
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from math import inf, isfinite, prod
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, TypeGuard, overload

from toy_gpt_train.errors import InputError
from toy_gpt_train.float_bits import magnitude
from toy_gpt_train.files import decode_utf8, parse_json_object

LENGTH_BYTES: Final = 8
MAX_HEADER: Final = 100_000_000  # bytes; the limit of the reference library
_MOST_VALUES: Final = 200_000  # in the header
SIZE_LIMIT: Final = 1 << 48  # the format's sizes and offsets are below it
METADATA: Final = "__metadata__"
TYPECODES: Final[dict[str, Literal["d", "f"]]] = {"F64": "d", "F32": "f"}
DTYPES: Final[dict[str, str]] = {typecode: dtype for dtype, typecode in TYPECODES.items()}
Span = tuple[int, int, str, list[int], Literal["d", "f"]]  # of a tensor: begin, end, name, shape, typecode

# A tensor's shape, () for a single number, and its numbers, row-major: an array("d") is F64, an array("f") F32.
StoredTensor = tuple[tuple[int, ...], "array[float]"]
LazyTensor = tuple[tuple[int, ...], "NumbersInFile"]


class NumbersInFile(Sequence[float]):
    """The numbers of a tensor that stay in its file: a slice is an array that is read when it is asked for.

    InputError if the file has changed since.
    """

    def __init__(self, path: Path, found: os.stat_result, begin: int, count: int, typecode: Literal["d", "f"]) -> None:
        self.typecode = typecode
        self.itemsize = array(typecode).itemsize
        self._path, self._begin, self._count = path, begin, count
        self._version = _version(found)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, part: int) -> float: ...
    @overload
    def __getitem__(self, part: slice) -> "array[float]": ...
    def __getitem__(self, part: int | slice) -> "float | array[float]":
        if not isinstance(part, slice):
            at = range(self._count)[part]
            return self[at : at + 1][0]
        start, stop, step = part.indices(self._count)
        data: array[float] = array(self.typecode)
        with self._path.open("rb") as file:
            file.seek(self._begin + start * self.itemsize)
            with suppress(EOFError, ValueError):  # cut in a number
                data.fromfile(file, max(stop - start, 0))
            if _version(os.fstat(file.fileno())) != self._version or len(data) < stop - start:
                raise InputError(f"{self._path}: has changed since it was opened")
        return _swapped_on_big_endian(data)[::step]

    def __iter__(self) -> Iterator[float]:
        return iter(self[:])


def _in_memory(data: "array[float] | NumbersInFile") -> "array[float]":
    return data if isinstance(data, array) else data[:]


def _version(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_mtime_ns, found.st_size


def write_safetensors(
    path: Path, tensors: Mapping[str, StoredTensor | LazyTensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write finite tensors to a file in place, with the bytes that the reference library (safetensors on PyPI) writes.

    ValueError, and nothing is written, if a name, a tensor or the metadata (text to text) cannot be stored.
    OBS: the library leaves the order of several metadata entries to chance; here they are sorted.
    """
    _check_text(tensors, {} if metadata is None else metadata)
    header: dict[str, object] = {} if metadata is None else {METADATA: dict(sorted(metadata.items()))}
    # WHY 8-byte numbers first: every number is at a multiple of its own size.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1][1].itemsize, item[0]))
    end = 0
    for name, (shape, data) in ordered:
        if data.typecode not in DTYPES:
            raise ValueError(f"tensor {name!r:.60}: an array of type {data.typecode!r}, neither 'd' nor 'f'")
        begin, end = end, end + len(data) * data.itemsize
        if _byte_size(name, list(shape), data.itemsize) != end - begin:
            raise ValueError(f"tensor {name!r:.60}: shape {shape!r:.60} does not fit {len(data)} numbers")
        _check_finite(name, _in_memory(data))
        header[name] = {"dtype": DTYPES[data.typecode], "shape": shape, "data_offsets": (begin, end)}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)
        for _, (_, data) in ordered:
            file.write(_swapped_on_big_endian(_in_memory(data)))


def read_safetensors(path: Path, most_bytes: int = SIZE_LIMIT) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Return the tensors of a file by name, in the order of their bytes, and its metadata, {} if there is none.

    InputError if it is damaged or too large, or has a dtype other than F64 and F32, or a number that is not finite.
    """
    tensors: dict[str, StoredTensor] = {}
    lazy, metadata = open_safetensors(path, most_bytes)
    for name, (shape, numbers) in lazy.items():
        data = numbers[:]
        try:
            _check_finite(name, data)
        except ValueError as error:
            raise InputError(f"{path}: {error}") from error
        tensors[name] = shape, data
    return tensors, metadata


def open_safetensors(path: Path, most_bytes: int = SIZE_LIMIT) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """Return the same, with the numbers still in the file, and not checked.

    REQ: the file is not trusted. Its header is checked against its size before memory of a stated size is reserved.
    """
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if (size := found.st_size) > most_bytes:
                raise ValueError(f"too large: {size} bytes where {most_bytes} are enough")
            header, data_size = _read_header(file, size)
            metadata = header.pop(METADATA, {})
            _check_text(header, metadata)
            tensors = {
                name: (tuple(shape), NumbersInFile(path, found, size - data_size + begin, prod(shape), typecode))
                for begin, _, name, shape, typecode in _spans(header, data_size)
            }
    except (ValueError, RecursionError, EOFError) as error:
        raise InputError(f"{path}: {error}") from error
    return tensors, metadata


def _read_header(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:  # and how many bytes follow it
    if size < LENGTH_BYTES:
        raise ValueError(f"truncated: {size} bytes, and the length of the header alone takes {LENGTH_BYTES}")
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    data_size = size - LENGTH_BYTES - length
    if length > MAX_HEADER or data_size < 0:
        raise ValueError(f"truncated, or not safetensors: a header of {length} bytes in a file of {size}")
    text = file.read(length)
    if not text.startswith(b"{"):
        raise ValueError("the header is not a JSON object")
    where = Path("header")
    return parse_json_object(decode_utf8(text, where), where, unique=True, values=_MOST_VALUES), data_size


def _spans(header: Mapping[str, object], data_size: int) -> list[Span]:
    """Return where the tensors are, in the order of their bytes; they must fill the data without hole or overlap."""
    spans = sorted(_span(name, entry) for name, entry in header.items())
    position = 0
    for begin, end, name, *_ in spans:
        if begin != position:
            what = "overlaps the tensor before it" if begin < position else "leaves a hole before it"
            raise ValueError(f"tensor {name!r:.60}: {what}: begins at byte {begin} of the data, not at {position}")
        position = end
    if position != data_size:
        what = "truncated" if data_size < position else "too long"
        raise ValueError(f"{what}: the tensors take {position} bytes, the file has {data_size} after its header")
    return spans


def _span(name: str, entry: object) -> Span:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r:.60}: is not described by dtype, shape and data_offsets alone")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in TYPECODES:
        raise ValueError(f"tensor {name!r:.60}: dtype {dtype!r:.60} is neither F64 nor F32")
    typecode = TYPECODES[dtype]
    size = _byte_size(name, shape, array(typecode).itemsize)
    if not (_whole_numbers(offsets) and len(offsets) == 2 and offsets[1] - offsets[0] == size):
        raise ValueError(f"tensor {name!r:.60}: data_offsets {offsets!r:.60} do not mark the {size} bytes of its shape")
    return offsets[0], offsets[1], name, shape, typecode


def _check_text(tensors: Mapping[str, object], metadata: object) -> None:
    """Refuse names and metadata that are not text, or that UTF-8 has no bytes for."""
    if not isinstance(metadata, Mapping) or not all(isinstance(t, str) for pair in metadata.items() for t in pair):
        raise ValueError(f"{METADATA} is not text to text")
    if METADATA in tensors or not all(isinstance(name, str) for name in tensors):
        raise ValueError(f"a tensor's name must be text, and not {METADATA}")
    # WHY: JSON can spell one half of a surrogate pair, which is no character.
    "".join([*tensors, *metadata, *metadata.values()]).encode("utf-8")


def _whole_numbers(value: object) -> TypeGuard[list[int]]:
    # WHY type(): true is an int to Python, but no size.
    return isinstance(value, list) and all(type(number) is int and 0 <= number < SIZE_LIMIT for number in value)


def _byte_size(name: str, shape: object, itemsize: int) -> int:
    if not _whole_numbers(shape):
        raise ValueError(f"tensor {name!r:.60}: shape {shape!r:.60} is not a list of whole numbers below 2**48")
    size = itemsize
    for length in shape:
        size *= length
        if size >= SIZE_LIMIT:  # WHY at each step: the product of a hostile shape has as many digits as it likes.
            raise ValueError(f"tensor {name!r:.60}: shape {shape!r:.60} takes 2**48 bytes or more")
    return size


def _check_finite(name: str, data: "array[float]") -> None:
    # WHY not only the loop: magnitude() is four times as fast, and infinity where it cannot be sure.
    if (data.typecode != "f" or magnitude(data) == inf) and not all(map(isfinite, data)):
        raise ValueError(f"tensor {name!r:.60}: holds a number that is not finite")


def _swapped_on_big_endian(data: "array[float]") -> "array[float]":
    if sys.byteorder == "big":
        data = data[:]
        data.byteswap()
    return data
