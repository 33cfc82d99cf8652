"""safetensors.py - Tensors in a file of the safetensors format, which other language-model programs read too.

    8 bytes   N, the length of the header, a little-endian whole number
    N bytes   the header, a JSON object padded with spaces: a tensor's name -> its dtype, its shape and data_offsets
              [begin, end], in bytes from the header's end; "__metadata__" -> an object, text to text
    the rest  the tensors' numbers, row-major and little-endian, one tensor after another with nothing between

A dtype says how a number is stored: F64 in 8 bytes, F32 in 4, F16 and BF16 in 2. The format has others, which this
module refuses. Here F16 and BF16 are only read: every number that they can hold is an F32 too.

A large model comes in several such files, its shards, with an index, a JSON object: "weight_map" -> an object, a
tensor's name to its file's.

WHY this format: reading weights must not run code. A pickle, the older habit, is a program, and loading one runs what
its author wrote. Here are only numbers, and a header that can be checked against the file's size.
"""

import json
import os
import re
import struct
import sys
from array import array
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, TypeGuard

from toy_gpt_train.errors import InputError
from toy_gpt_train.files import decode_utf8, parse_json_object, read_json_object

LENGTH_BYTES: Final = 8
MAX_HEADER: Final = 100_000_000  # bytes; the limit of the reference library
_MOST_VALUES: Final = 200_000  # in the header
SIZE_LIMIT: Final = 1 << 48  # the format's sizes and offsets are below it
METADATA: Final = "__metadata__"
TYPECODES: Final[dict[str, Literal["d", "f"]]] = {"F64": "d", "F32": "f"}
DTYPES: Final[dict[str, str]] = {typecode: dtype for dtype, typecode in TYPECODES.items()}
_BYTES_OF: Final = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_SHARD: Final = re.compile(r"[\w-][\w.-]{0,199}\.safetensors")
_MOST_WIDENED: Final = 1 << 16  # numbers at a time
Span = tuple[int, int, str, list[int], str]  # of a tensor: begin, end, name, shape, dtype

# A tensor's shape, () for a single number, and its numbers, row-major: an array("d") is F64, an array("f") F32.
StoredTensor = tuple[tuple[int, ...], "array[float]"]


def write_safetensors(
    path: Path, tensors: Mapping[str, StoredTensor], metadata: Mapping[str, str] | None = None
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
        _check_finite(name, data)
        header[name] = {"dtype": DTYPES[data.typecode], "shape": shape, "data_offsets": (begin, end)}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)
        for _, (_, data) in ordered:
            file.write(_swapped_on_big_endian(data))


def read_safetensors(path: Path, most_bytes: int = SIZE_LIMIT) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Return the tensors of a file by name, in the order of their bytes, and its metadata, {} if there is none.

    InputError if it is damaged or too large, or has a dtype other than the four, or a number that is not finite.
    REQ: the file is not trusted. Its header is checked against its size before memory of a stated size is reserved.
    """
    tensors: dict[str, StoredTensor] = {}
    try:
        with path.open("rb") as file:
            if (size := os.fstat(file.fileno()).st_size) > most_bytes:
                raise ValueError(f"too large: {size} bytes where {most_bytes} are enough")
            header, data_size = _read_header(file, size)
            metadata = header.pop(METADATA, {})
            _check_text(header, metadata)
            for begin, end, name, shape, dtype in _spans(header, data_size):
                data = _read_numbers(file, dtype, end - begin)
                _check_finite(name, data)
                tensors[name] = tuple(shape), data
    except (ValueError, RecursionError, EOFError) as error:
        raise InputError(f"{path}: {error}") from error
    return tensors, metadata


def read_shards(index: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a model that is split over files, by name; ``index`` is model.safetensors.index.json.

    InputError if it is damaged, names what is no file beside it, or a shard holds other tensors than it says.
    """
    weight_map = read_json_object(index, unique=True, values=_MOST_VALUES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{index}: it has no weight_map")
    names_in: dict[str, set[str]] = {}
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not _SHARD.fullmatch(shard):
            raise InputError(f"{index}: tensor {name!r:.60} is in {shard!r:.60}, which is no name of a shard beside it")
        names_in.setdefault(shard, set()).add(name)
    tensors: dict[str, StoredTensor] = {}
    for shard, expected in sorted(names_in.items()):
        path = index.with_name(shard)
        if not path.is_file():
            raise InputError(f"{path}: missing, but {index.name} names it")
        found, _ = read_safetensors(path)
        for name in sorted(found.keys() ^ expected):
            what = "is not in this shard" if name in expected else "is in this shard"
            raise InputError(f"{path}: tensor {name!r:.60} {what}, which {index.name} contradicts")
        tensors |= found
    return tensors


def _read_numbers(file: BinaryIO, dtype: str, num_bytes: int) -> "array[float]":
    """Return the next numbers of a file; those of 2 bytes as F32, exactly."""
    if dtype in TYPECODES:
        data: array[float] = array(TYPECODES[dtype])
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
            data.extend(struct.unpack(f"<{len(narrow) // 2}f", wide))
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


def _check_finite(name: str, data: "array[float]") -> None:
    # WHY the sum: one number that is not finite makes it so too, and it takes half the time.
    if not isfinite(sum(data)) and not all(map(isfinite, data)):
        raise ValueError(f"tensor {name!r:.60}: holds a number that is not finite")


def _swapped_on_big_endian(data: "array[float]") -> "array[float]":
    if sys.byteorder == "big":
        data = data[:]
        data.byteswap()
    return data
