"""safetensors.py - Tensors in a file of the safetensors format, which other language-model programs read too.

    8 bytes   N, the length of the header, a little-endian whole number
    N bytes   the header, a JSON object padded with spaces: a tensor's name -> its dtype, its shape and data_offsets
              [begin, end], in bytes from the header's end; "__metadata__" -> an object, text to text
    the rest  the tensors' numbers, row-major and little-endian, one tensor after another with nothing between

A dtype says how a number is stored: F64 in 8 bytes, F32 in 4, F16 and BF16 in 2, and U64, U32, U16 and U8 whole
numbers of 0 or more in 8, 4, 2 and 1. The format has others, which this module refuses. Here F16 and BF16 are only
read: every number that they can hold is an F32 too.

WHY this format: reading weights must not run code. A pickle, the older habit, is a program, and loading one runs what
its author wrote. Here are only numbers, and a header that can be checked against the file's size.
"""

import json
import os
import struct
import sys
from array import array
from collections.abc import Mapping
from functools import partial
from math import inf, isfinite, prod
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeGuard

from toy_gpt_train.artifacts.lazy_numbers import LazyNumbers, Typecode, in_memory
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import decode_utf8, parse_json_object
from toy_gpt_train.float_bits import magnitude

LENGTH_BYTES: Final = 8
MAX_HEADER: Final = 100_000_000  # bytes; the limit of the reference library
MOST_VALUES: Final = 200_000  # in the header
SIZE_LIMIT: Final = 1 << 48  # the format's sizes and offsets are below it
METADATA: Final = "__metadata__"
# In the order in which the reference library writes them.
TYPECODES: Final[dict[str, Typecode]] = {"U64": "Q", "F64": "d", "F32": "f", "U32": "I", "U16": "H", "U8": "B"}
DTYPES: Final[dict[str, str]] = {typecode: dtype for dtype, typecode in TYPECODES.items()}
_RANK: Final = {typecode: rank for rank, typecode in enumerate(DTYPES)}
_BYTES_OF: Final = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "U64": 8, "U32": 4, "U16": 2, "U8": 1}
_MOST_WIDENED: Final = 1 << 16  # numbers at a time
Span = tuple[int, int, str, list[int], str]  # of a tensor: begin, end, name, shape, dtype

# A tensor's shape, () for a single number, and its numbers, row-major: an array("d") is F64, an array("f") F32, …
StoredTensor = tuple[tuple[int, ...], "array[Any]"]
LazyTensor = tuple[tuple[int, ...], LazyNumbers]


def write_safetensors(
    path: Path, tensors: Mapping[str, StoredTensor | LazyTensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write finite tensors to a file in place, with the bytes that the reference library (safetensors on PyPI) writes.

    ValueError, and nothing is written, if a name, a tensor or the metadata (text to text) cannot be stored.
    OBS: the library leaves the order of several metadata entries to chance; here they are sorted.
    """
    _check_text(tensors, {} if metadata is None else metadata)
    header: dict[str, object] = {} if metadata is None else {METADATA: dict(sorted(metadata.items()))}
    for name, (_, data) in tensors.items():
        if data.typecode not in DTYPES:
            raise ValueError(f"tensor {name!r:.60}: an array of type {data.typecode!r}, none of {', '.join(DTYPES)}")
    # WHY the largest numbers first: each is at a multiple of its own size.
    ordered = sorted(tensors.items(), key=lambda item: (_RANK[item[1][1].typecode], item[0]))
    end = 0
    for name, (shape, data) in ordered:
        begin, end = end, end + len(data) * data.itemsize
        if _byte_size(name, list(shape), data.itemsize) != end - begin:
            raise ValueError(f"tensor {name!r:.60}: shape {shape!r:.60} does not fit {len(data)} numbers")
        _check_finite(name, in_memory(data))
        header[name] = {"dtype": DTYPES[data.typecode], "shape": shape, "data_offsets": (begin, end)}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)
        for _, (_, data) in ordered:
            file.write(_swapped_on_big_endian(in_memory(data)))


def read_safetensors(path: Path, most_bytes: int = SIZE_LIMIT) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Return the tensors of a file by name, in the order of their bytes, and its metadata, {} if there is none.

    InputError if it is damaged or too large, or has a dtype other than these eight, or a number that is not finite.
    """
    tensors: dict[str, StoredTensor] = {}
    lazy, metadata = open_safetensors(path, most_bytes)
    for name, (shape, numbers) in lazy.items():
        tensors[name] = shape, numbers[:]
        try:
            _check_finite(name, tensors[name][1])
        except ValueError as error:
            raise InputError(f"{path}: {error}") from error
    return tensors, metadata


def open_safetensors(path: Path, most_bytes: int = SIZE_LIMIT) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """Return the same, with the numbers still in the file, and not checked. InputError if it changes meanwhile.

    REQ: the file is not trusted. Its header is checked against its size before memory of a stated size is reserved.
    """
    tensors: dict[str, LazyTensor] = {}
    try:
        with path.open("rb") as file:
            if (size := os.fstat(file.fileno()).st_size) > most_bytes:
                raise ValueError(f"too large: {size} bytes where {most_bytes} are enough")
            header, data_size = _read_header(file, size)
            metadata = header.pop(METADATA, {})
            _check_text(header, metadata)
            for begin, _, name, shape, dtype in _spans(header, data_size):
                read = partial(_read_part, path, _version(file), size - data_size + begin, dtype)
                tensors[name] = tuple(shape), LazyNumbers(prod(shape), TYPECODES.get(dtype, "f"), read)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {error}") from error
    return tensors, metadata


def _version(file: BinaryIO) -> tuple[int, ...]:
    found = os.fstat(file.fileno())
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read_part(path: Path, version: tuple[int, ...], begin: int, dtype: str, start: int, stop: int) -> "array[Any]":
    """Return some of the numbers that begin at a byte of a file."""
    with path.open("rb") as file:
        file.seek(begin + start * _BYTES_OF[dtype])
        try:
            data = _read_numbers(file, dtype, (stop - start) * _BYTES_OF[dtype])
        except (EOFError, ValueError):  # it ends between two numbers, or in one
            data = array("f")
        if _version(file) != version or len(data) < stop - start:
            raise InputError(f"{path}: has changed since it was opened")
    return data


def _read_numbers(file: BinaryIO, dtype: str, num_bytes: int) -> "array[Any]":
    """Return the next numbers of a file; those of 2 bytes as F32, exactly."""
    if dtype in TYPECODES:
        data: array[Any] = array(TYPECODES[dtype])
        data.fromfile(file, num_bytes // data.itemsize)
        return _swapped_on_big_endian(data)
    data = array("f")
    for left in range(num_bytes // 2, 0, -_MOST_WIDENED):
        block = array("H")
        block.fromfile(file, min(left, _MOST_WIDENED))
        narrow = block.tobytes()  # as in the file
        if dtype == "F16":
            data.extend(struct.unpack(f"<{len(narrow) // 2}e", narrow))
        else:  # BF16 is the upper half of an F32
            wide = bytearray(2 * len(narrow))
            wide[2::4], wide[3::4] = narrow[::2], narrow[1::2]
            data += _swapped_on_big_endian(array("f", bytes(wide)))
    return data


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
    return parse_json_object(decode_utf8(text, where), where, unique=True, values=MOST_VALUES), data_size


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
    if not isinstance(dtype, str) or dtype not in _BYTES_OF:
        raise ValueError(f"tensor {name!r:.60}: dtype {dtype!r:.60} is none of {', '.join(_BYTES_OF)}")
    size = _byte_size(name, shape, _BYTES_OF[dtype])
    if not (_whole_numbers(offsets) and len(offsets) == 2 and offsets[1] - offsets[0] == size):
        raise ValueError(f"tensor {name!r:.60}: data_offsets {offsets!r:.60} do not mark the {size} bytes of its shape")
    return offsets[0], offsets[1], name, shape, dtype


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


def _check_finite(name: str, data: "array[Any]") -> None:
    # WHY not only the loop: magnitude() is four times as fast, and infinity where it cannot be sure.
    if data.typecode not in "df":
        return  # whole numbers are finite
    if (data.typecode != "f" or magnitude(data) == inf) and not all(map(isfinite, data)):
        raise ValueError(f"tensor {name!r:.60}: holds a number that is not finite")


def _swapped_on_big_endian(data: "array[Any]") -> "array[Any]":
    if sys.byteorder == "big":
        data = data[:]
        data.byteswap()
    return data
