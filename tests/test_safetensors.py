"""The safetensors format: our bytes, the reference library's bytes, and files that are damaged on purpose."""

import json
import os
import struct
import sys
import tracemalloc
from array import array
from math import isfinite, prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toy_gpt_train.artifacts import safetensors as module
from toy_gpt_train.artifacts.safetensors import StoredTensor, read_safetensors, write_safetensors
from toy_gpt_train.artifacts.shards import open_shards
from toy_gpt_train.errors import InputError

FLOAT = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
LONE = "\ud800"  # one half of a surrogate pair

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = any_text.filter(lambda name: name != "__metadata__")


@st.composite
def stored_tensors(draw) -> StoredTensor:
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    typecode, bits = draw(st.sampled_from([("d", 64), ("f", 32), ("Q", 64), ("I", 32), ("H", 16), ("B", 8)]))
    finite = {"allow_nan": False, "allow_infinity": False}
    numbers = st.floats(width=bits, **finite) if typecode in "df" else st.integers(0, 2**bits - 1)
    count = prod(shape)
    return (shape, array(typecode, draw(st.lists(numbers, min_size=count, max_size=count))))


tensor_maps = st.dictionaries(names, stored_tensors(), max_size=4)
metadata_maps = st.dictionaries(any_text, any_text, max_size=4)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """A path to write to, again and again."""
    return tmp_path_factory.mktemp("safetensors") / "model.safetensors"


def file_bytes(header: Any, data: bytes = b"") -> bytes:
    """A file with this header: bytes as they are, anything else as JSON."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def refusal(path: Path, content: bytes) -> str:
    """What is said about a file with this content, after its path; always one line."""
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_safetensors(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1
    return message.removeprefix(f"{path}: ")


def exactly(tensors: dict[str, StoredTensor]) -> dict[str, tuple[tuple[int, ...], str, bytes]]:
    """What has to be equal: -0.0 is not 0.0 here."""
    return {name: (shape, data.typecode, data.tobytes()) for name, (shape, data) in tensors.items()}


# --- numbers of two bytes ------------------------------------------------------------------------------------


def two_bytes(dtype: str, patterns: list[int]) -> bytes:
    size = 2 * len(patterns)
    header = {"a": {"dtype": dtype, "shape": [len(patterns)], "data_offsets": [0, size]}}
    return file_bytes(header, struct.pack(f"<{len(patterns)}H", *patterns))


@pytest.mark.parametrize(("dtype", "exponent"), [("F16", 0x7C00), ("BF16", 0x7F80)])
def test_every_number_of_two_bytes_is_widened_exactly(tmp_path, dtype, exponent):
    finite = [bits for bits in range(1 << 16) if bits & exponent != exponent] * 2  # more than are read at a time
    path = tmp_path / "file"
    path.write_bytes(two_bytes(dtype, finite))
    (shape, data), *_ = read_safetensors(path)[0].values()
    assert (shape, data.typecode) == ((len(finite),), "f")
    if dtype == "F16":
        expected = struct.pack(
            f"<{len(finite)}f", *struct.unpack(f"<{len(finite)}e", path.read_bytes()[-2 * len(finite) :])
        )
    else:
        expected = struct.pack(f"<{len(finite)}I", *(bits << 16 for bits in finite))
    assert struct.pack(f"<{len(finite)}f", *data) == expected
    for bits in (exponent, exponent | 1, exponent | 0x8000):
        assert refusal(path, two_bytes(dtype, [0, bits])) == "tensor 'a': holds a number that is not finite"


# --- shards -------------------------------------------------------------------------------------------------


def split_over(folder: Path, weight_map: Any, **shards: dict[str, StoredTensor]) -> Path:
    for name, tensors in shards.items():
        write_safetensors(folder / f"{name}.safetensors", tensors)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return index


def test_shards_are_read_as_one_model(tmp_path):
    one, two = ((1,), array("f", [1])), ((2,), array("d", [2, 3]))
    weight_map = {"x": "b.safetensors", "y": "a.safetensors", "z": "b.safetensors"}
    tensors = open_shards(split_over(tmp_path, weight_map, a={"y": two}, b={"x": one, "z": two}))
    assert {name: (shape, numbers[:]) for name, (shape, numbers) in tensors.items()} == {
        "x": one,
        "y": two,
        "z": two,
    }


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"x": "../a.safetensors"}, "tensor 'x' is in '../a.safetensors', which is not the name of a shard beside it"),
        (
            {"x": "/etc/a.safetensors"},
            "tensor 'x' is in '/etc/a.safetensors', which is not the name of a shard beside it",
        ),
        ({"x": "..safetensors"}, "tensor 'x' is in '..safetensors', which is not the name of a shard beside it"),
        ({"x": "model.safetensors.index.json"}, "which is not the name of a shard beside it"),
        ({"x": 1}, "tensor 'x' is in 1, which is not the name of a shard beside it"),
        ({"x": "c.safetensors"}, "c.safetensors: missing, but model.safetensors.index.json names it"),
        ({"x": "folder.safetensors"}, "folder.safetensors: missing, but model.safetensors.index.json names it"),
        ({"x": "a.safetensors", "z": "a.safetensors"}, "a.safetensors: tensor 'y' is in this shard, which"),
        (dict.fromkeys("xyz", "a.safetensors"), "a.safetensors: tensor 'z' is not in this shard, which"),
        ({"x": "a.safetensors", "y": "b.safetensors"}, "a.safetensors: tensor 'y' is in this shard, which"),
        ({}, "it has no weight_map"),
        (["a.safetensors"], "it has no weight_map"),
    ],
)
def test_shards_that_do_not_fit_are_refused(tmp_path, weight_map, message):
    (tmp_path / "folder.safetensors").mkdir()
    index = split_over(tmp_path, weight_map, a={"x": ONE, "y": ONE}, b={"y": ONE})
    with pytest.raises(InputError) as caught:
        open_shards(index)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))
    assert len(str(caught.value).splitlines()) == 1


def test_a_shard_that_is_another_name_for_one_is_refused(tmp_path):
    index = split_over(tmp_path, {"x": "a.safetensors", "y": "b.safetensors"}, a={"x": ONE})
    (tmp_path / "b.safetensors").symlink_to("a.safetensors")
    with pytest.raises(InputError, match="tensor 'x' is in this shard"):
        open_shards(index)
    (tmp_path / "b.safetensors").unlink()
    (tmp_path / "b.safetensors").symlink_to("b.safetensors")  # to itself
    with pytest.raises(InputError, match="missing, but"):
        open_shards(index)


# --- the file, byte for byte --------------------------------------------------------------------------------


def test_a_file_by_hand(tmp_path):
    tensors = {
        "w": ((2, 3), array("f", [1, -2, 0.5, 0, 3, 4])),
        "none": ((0, 2), array("f")),
        "é": ((), array("d", [0.1])),
        "b\n": ((2,), array("d", [-0.0, 1e300])),
    }
    header = (
        b'{"__metadata__":{"kind":"gpt","level":"700"},'
        b'"b\\n":{"dtype":"F64","shape":[2],"data_offsets":[0,16]},'
        b'"\xc3\xa9":{"dtype":"F64","shape":[],"data_offsets":[16,24]},'
        b'"none":{"dtype":"F32","shape":[0,2],"data_offsets":[24,24]},'
        b'"w":{"dtype":"F32","shape":[2,3],"data_offsets":[24,48]}}'
    )
    assert len(header) == 273
    expected = struct.pack("<Q", 280) + header + 7 * b" " + struct.pack("<2d", -0.0, 1e300) + struct.pack("<d", 0.1)
    expected += struct.pack("<6f", 1, -2, 0.5, 0, 3, 4)
    path = tmp_path / "model.safetensors"
    write_safetensors(path, tensors, {"level": "700", "kind": "gpt"})
    assert path.read_bytes() == expected
    read, metadata = read_safetensors(path)
    assert exactly(read) == exactly(tensors)
    assert list(read) == ["b\n", "é", "none", "w"]
    assert metadata == {"kind": "gpt", "level": "700"}


def test_whole_numbers_are_as_they_were(tmp_path):
    tensors = {"a": ((3,), array("B", [0, 7, 255])), "b": ((1,), array("Q", [2**64 - 1])), "c": ((1,), array("H", [9]))}
    write_safetensors(tmp_path / "file", tensors)
    assert exactly(read_safetensors(tmp_path / "file")[0]) == exactly(tensors)
    assert (tmp_path / "file").read_bytes().endswith(b"\xff" * 8 + b"\x09\x00" + b"\x00\x07\xff")


@pytest.mark.parametrize(
    ("metadata", "text"),
    [(None, b"{}      "), ({}, b'{"__metadata__":{}}     '), ({"a": ""}, b'{"__metadata__":{"a":""}}       ')],
)
def test_the_header_is_filled_up_with_spaces(tmp_path, metadata, text):
    write_safetensors(tmp_path / "file", {}, metadata)
    assert (tmp_path / "file").read_bytes() == file_bytes(text)
    assert read_safetensors(tmp_path / "file") == ({}, metadata or {})


def test_another_program_may_order_and_indent_as_it_likes(tmp_path):
    header = {
        "z": {"shape": [2], "data_offsets": [12, 20], "dtype": "F32"},
        "empty": {"dtype": "F64", "shape": [5, 0], "data_offsets": [12, 12]},
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F64", "shape": [1, 1], "data_offsets": [4, 12]},
        "m": FLOAT,
    }
    text = json.dumps(header, indent=1).encode() + b"\n"
    (tmp_path / "file").write_bytes(file_bytes(text, struct.pack("<fdff", 1, 2, 3, 4)))
    tensors, metadata = read_safetensors(tmp_path / "file")
    assert tensors == {
        "m": ((1,), array("f", [1])),
        "a": ((1, 1), array("d", [2])),
        "empty": ((5, 0), array("d")),
        "z": ((2,), array("f", [3, 4])),
    }
    assert list(tensors) == ["m", "a", "empty", "z"]
    assert metadata == {"format": "pt"}


def test_the_numbers_are_little_endian_on_a_big_endian_machine(tmp_path, monkeypatch):
    path, data = tmp_path / "file", array("d", [1.5, -2e-5])
    swapped = array("d", data)
    swapped.byteswap()
    monkeypatch.setattr(sys, "byteorder", "big")
    write_safetensors(path, {"a": ((2,), data)})
    read, _ = read_safetensors(path)
    monkeypatch.undo()
    assert path.read_bytes()[-16:] == swapped.tobytes()
    assert data.tolist() == read["a"][1].tolist() == [1.5, -2e-5]


# --- round trip ---------------------------------------------------------------------------------------------


@given(tensors=tensor_maps, metadata=st.none() | metadata_maps)
@example(tensors={"a": ((2,), array("f", [-0.0, 1e-45]))}, metadata=None)
@example(tensors={"": ((1,), array("d", [5e-324]))}, metadata={"": "\x00\u2028\x7f\U0001f600"})
def test_what_is_written_is_read(file, tensors, metadata):
    write_safetensors(file, tensors, metadata)
    read, read_metadata = read_safetensors(file)
    assert exactly(read) == exactly(tensors)
    assert read_metadata == (metadata or {})
    content = file.read_bytes()
    assert struct.unpack("<Q", content[:8])[0] % 8 == 0
    backwards = dict(reversed(tensors.items()))
    write_safetensors(file, backwards, None if metadata is None else dict(reversed(metadata.items())))
    assert file.read_bytes() == content  # the order of what is given plays no part


def test_writing_copies_no_numbers(tmp_path):
    tensors = {str(number): ((1000, 125), array("d", bytes(1_000_000))) for number in range(4)}
    tracemalloc.start()
    try:
        write_safetensors(tmp_path / "file", tensors)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 500_000
    assert (tmp_path / "file").stat().st_size > 4_000_000


# --- what is not written ------------------------------------------------------------------------------------

ONE = ((1,), array("f", [1]))


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({"a": ((1,), array("i", [1]))}, None, "tensor 'a': an array of type 'i', none of Q, d, f, I, H, B"),
        ({"a": ((2, 2), array("d", [1, 2, 3]))}, None, r"tensor 'a': shape \(2, 2\) does not fit 3 num"),
        ({"a": ((), array("d"))}, None, r"tensor 'a': shape \(\) does not fit 0 numbers"),
        ({"a": ((0,), array("d", [1]))}, None, r"tensor 'a': shape \(0,\) does not fit 1 numbers"),
        ({"a": ((-1, -1), array("d", [1]))}, None, "tensor 'a': shape .* not a list of whole numbers"),
        ({"a": ((True,), array("d", [1]))}, None, "tensor 'a': shape .* not a list of whole numbers"),
        ({"a": ((1 << 40, 1 << 40), array("d"))}, None, r"tensor 'a': shape .* takes 2\*\*48 bytes or mo"),
        ({"a": ((1,), array("d", [float("nan")]))}, None, "tensor 'a': holds a number that is not finite"),
        ({"a": ((1,), array("f", [1e39]))}, None, "tensor 'a': holds a number that is not finite"),
        ({"__metadata__": ONE}, None, "a tensor's name must be text, and not __metadata__"),
        ({1: ONE}, None, "a tensor's name must be text"),
        ({LONE: ONE}, None, "surrogates not allowed"),
        ({"a": ONE}, {"a": LONE}, "surrogates not allowed"),
        ({"a": ONE}, {LONE: "a"}, "surrogates not allowed"),
        ({"a": ONE}, {"a": 1}, "__metadata__ is not text to text"),
        ({"a": ONE}, {1: "a"}, "__metadata__ is not text to text"),
    ],
)
def test_what_cannot_be_stored_is_refused(tmp_path, tensors, metadata, message):
    with pytest.raises(ValueError, match=message):
        write_safetensors(tmp_path / "file", tensors, metadata)
    assert not (tmp_path / "file").exists()


def test_the_system_s_errors_pass_through(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_safetensors(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        write_safetensors(tmp_path / "missing" / "file", {"a": ONE})


# --- damage -------------------------------------------------------------------------------------------------


def described(**fields: object) -> dict[str, object]:
    """A header with one tensor "a", some of its fields changed."""
    return {"a": FLOAT | fields}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "the header is not a JSON object"),
        (b"[]", "the header is not a JSON object"),
        (b"1", "the header is not a JSON object"),
        (b" {}", "the header is not a JSON object"),
        (b"\xef\xbb\xbf{}", "the header is not a JSON object"),
        (b"{", "header: not JSON: Expecting property name enclosed in double quotes: line 1 "),
        (b"{}x", "header: not JSON: Extra data: line 1 column 3 (char 2)"),
        (b"{}\0\0", "header: not JSON: Extra data: line 1 column 3 (char 2)"),
        (b"{\n'a'}", "header: not JSON: Expecting property name"),
        (b'{"\xff":1}', "header, line 1: not UTF-8 text: byte 0xff at offset 2"),
        (b'{"a":' * 100_000, "header: not JSON: "),
        (b'{"a":' + b"[" * 100_000, "header: not JSON: "),
        (b'{"a":1,"\\u0061":2}', "header: not JSON: the name 'a' comes twice"),
        (b'{"__metadata__":{},"__metadata__":{}}', "header: not JSON: the name '__metadata__' comes twice"),
        (b'{"__metadata__":{"k":"","k":""}}', "header: not JSON: the name 'k' comes twice"),
        (b'{"a":{"shape":[],"shape":[]}}', "header: not JSON: the name 'shape' comes twice"),
        (b'{"\\ud800":1}', "'utf-8' codec can't encode character '\\ud800' in position 0: surrogates not allowed"),
        (b'{"__metadata__":{"k":"\\udc00"}}', "'utf-8' codec can't encode character '\\udc00' in position 1: surr"),
        (b'{"__metadata__":null}', "__metadata__ is not text to text"),
        (b'{"__metadata__":"text"}', "__metadata__ is not text to text"),
        (b'{"__metadata__":["k","v"]}', "__metadata__ is not text to text"),
        (b'{"__metadata__":{"k":1}}', "__metadata__ is not text to text"),
        (b'{"__metadata__":{"k":null}}', "__metadata__ is not text to text"),
        (b'{"a":[]}', "tensor 'a': is not described by dtype, shape and data_offsets alone"),
        (b'{"a":null}', "tensor 'a': is not described by dtype, shape and data_offsets alone"),
        (b'{"a":{"dtype":"F32","shape":[]}}', "tensor 'a': is not described by dtype, shape and data_offsets alone"),
    ],
)
def test_a_header_that_is_none(tmp_path, text, message):
    assert refusal(tmp_path / "file", file_bytes(text)).startswith(message)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (described(more=1), "tensor 'a': is not described by dtype, shape and data_offsets alone"),
        (described(dtype="I16"), "tensor 'a': dtype 'I16' is none of F64, F32, F16, BF16, U64, U32, U16, U8"),
        (described(dtype="f32"), "tensor 'a': dtype 'f32' is none of F64, F32, F16, BF16, U64, U32, U16, U8"),
        (described(dtype=None), "tensor 'a': dtype None is none of F64, F32, F16, BF16, U64, U32, U16, U8"),
        (described(dtype=["F32"]), "tensor 'a': dtype ['F32'] is none of F64, F32, F16, BF16, U64, U32, U16, U8"),
        (described(dtype={}), "tensor 'a': dtype {} is none of F64, F32, F16, BF16, U64, U32, U16, U8"),
        (described(dtype="F64"), "tensor 'a': data_offsets [0, 4] do not mark the 8 bytes of its shape"),
        (described(shape=1), "tensor 'a': shape 1 is not a list of whole numbers below 2**48"),
        (described(shape=None), "tensor 'a': shape None is not a list of whole numbers below 2**48"),
        (described(shape="1"), "tensor 'a': shape '1' is not a list of whole numbers below 2**48"),
        (described(shape={"1": 1}), "tensor 'a': shape {'1': 1} is not a list of whole numbers below 2**48"),
        (described(shape=[True]), "tensor 'a': shape [True] is not a list of whole numbers below 2**48"),
        (described(shape=[1.0]), "tensor 'a': shape [1.0] is not a list of whole numbers below 2**48"),
        (described(shape=[-1, -1]), "tensor 'a': shape [-1, -1] is not a list of whole numbers below 2**48"),
        (described(shape=[[1]]), "tensor 'a': shape [[1]] is not a list of whole numbers below 2**48"),
        (described(shape=[float("nan")]), "tensor 'a': shape [nan] is not a list of whole numbers below 2**48"),
        (described(shape=[float("inf")]), "tensor 'a': shape [inf] is not a list of whole numbers below 2**48"),
        (described(shape=[2**48]), "tensor 'a': shape [281474976710656] is not a list of whole numbers below 2**48"),
        (described(shape=[2**64 + 1]), "tensor 'a': shape [18446744073709551617] is not a list of whole numbers"),
        (described(shape=[0, 10**4000]), "tensor 'a': shape [0, 10000000000000000000000000000000"),
        (described(shape=[2**32, 2**32]), "tensor 'a': shape [4294967296, 4294967296] takes 2**48 bytes or more"),
        (described(shape=[2**46]), "tensor 'a': shape [70368744177664] takes 2**48 bytes or more"),
        (described(shape=[2**47] * 100_000), "tensor 'a': shape [140737488355328, 140737488355328, "),
        (described(shape=[2]), "tensor 'a': data_offsets [0, 4] do not mark the 8 bytes of its shape"),
        (described(shape=[0]), "tensor 'a': data_offsets [0, 4] do not mark the 0 bytes of its shape"),
        (described(shape=[2**40]), "tensor 'a': data_offsets [0, 4] do not mark the 4398046511104 bytes of its shape"),
        (described(data_offsets=[4, 0]), "tensor 'a': data_offsets [4, 0] do not mark the 4 bytes of its shape"),
        (described(data_offsets=[-4, 0]), "tensor 'a': data_offsets [-4, 0] do not mark the 4 bytes of its shape"),
        (described(data_offsets=[0, 4.0]), "tensor 'a': data_offsets [0, 4.0] do not mark the 4 bytes of its shape"),
        (described(data_offsets=[False, 4]), "tensor 'a': data_offsets [False, 4] do not mark the 4 bytes of its"),
        (described(data_offsets=[0, 4, 4]), "tensor 'a': data_offsets [0, 4, 4] do not mark the 4 bytes of its shape"),
        (described(data_offsets=[4]), "tensor 'a': data_offsets [4] do not mark the 4 bytes of its shape"),
        (described(data_offsets="04"), "tensor 'a': data_offsets '04' do not mark the 4 bytes of its shape"),
        (described(data_offsets=None), "tensor 'a': data_offsets None do not mark the 4 bytes of its shape"),
        (described(data_offsets=[2**64, 2**64 + 4]), "tensor 'a': data_offsets [18446744073709551616, 18446744"),
        (described(data_offsets=[4, 8]), "tensor 'a': leaves a hole before it: begins at byte 4 of the data, not at 0"),
        (described(data_offsets=[2**47, 2**47 + 4]), "tensor 'a': leaves a hole before it: begins at byte 140737488"),
        (described(shape=[2], data_offsets=[0, 8]), "truncated: the tensors take 8 bytes, the file has 4 after its"),
        (described(shape=[0], data_offsets=[0, 0]), "too long: the tensors take 0 bytes, the file has 4 after its"),
        ({}, "too long: the tensors take 0 bytes, the file has 4 after its header"),
        ({"a": FLOAT, "b": FLOAT}, "tensor 'b': overlaps the tensor before it: begins at byte 0 of the data, not at 4"),
        (
            {"a": FLOAT, "b": FLOAT | {"data_offsets": [2, 6]}},
            "tensor 'b': overlaps the tensor before it: begins at byte 2 of the data, not at 4",
        ),
        (
            {"a": FLOAT, "b": FLOAT | {"data_offsets": [8, 12]}},
            "tensor 'b': leaves a hole before it: begins at byte 8 of the data, not at 4",
        ),
        (
            {"a": FLOAT, "b": FLOAT | {"shape": [0], "data_offsets": [2, 2]}},
            "tensor 'b': overlaps the tensor before it: begins at byte 2 of the data, not at 4",
        ),
        ({"\n" * 100: 1}, "tensor '" + 29 * "\\n"),
    ],
)
def test_a_tensor_that_does_not_fit(tmp_path, header, message):
    assert refusal(tmp_path / "file", file_bytes(header, bytes(4))).startswith(message)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e1", "NaN", "Infinity", "-Infinity", "1" * 5000, "-1", "true"])
@pytest.mark.parametrize("field", ["shape", "data_offsets"])
def test_numbers_that_are_no_sizes(tmp_path, field, number):
    text = json.dumps(described(**{field: ["?", 4]})).replace('"?"', number).encode()
    message = refusal(tmp_path / "file", file_bytes(text, bytes(4)))
    expected = "header: not JSON: Exceeds the limit" if len(number) == 5000 else f"tensor 'a': {field} ["
    assert message.startswith(expected)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(("dtype", "form"), [("F64", "<d"), ("F32", "<f"), ("F16", "<e")])
def test_a_weight_is_a_finite_number(tmp_path, dtype, form, number):
    data = struct.pack(form, 1) + struct.pack(form, number)
    header = described(dtype=dtype, shape=[2], data_offsets=[0, len(data)])
    assert refusal(tmp_path / "file", file_bytes(header, data)) == "tensor 'a': holds a number that is not finite"


def test_the_stated_length_of_the_header(tmp_path, monkeypatch):
    path = tmp_path / "file"
    assert refusal(path, b"") == "truncated: 0 bytes, and the length of the header alone takes 8"
    for length in (3, 10**8 + 1, 2**63, 2**64 - 1):
        expected = f"truncated, or not safetensors: a header of {length} bytes in a file of 10"
        assert refusal(path, struct.pack("<Q", length) + b"{}") == expected
    path.write_bytes(file_bytes(b"{}"))
    monkeypatch.setattr(module, "MAX_HEADER", 2)
    assert read_safetensors(path) == ({}, {})
    monkeypatch.setattr(module, "MAX_HEADER", 1)
    assert refusal(path, file_bytes(b"{}")).endswith("a header of 2 bytes in a file of 10")


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 99_999_999) + b"{}",
        file_bytes(described(dtype="F64", shape=[2**40], data_offsets=[0, 2**43]), bytes(8)),
        file_bytes(described(dtype="F64", shape=[2**22], data_offsets=[0, 2**25]), bytes(8)),
    ],
)
def test_a_lie_about_a_size_takes_no_memory(tmp_path, content):
    tracemalloc.start()
    try:
        refusal(tmp_path / "file", content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 500_000


@pytest.mark.parametrize("field", ["dtype", "shape", "data_offsets"])
def test_nesting_of_any_depth(tmp_path, field):
    for depth in range(10, 1500, 70):
        text = json.dumps(described(**{field: "?"})).replace('"?"', "[" * depth + "]" * depth)
        assert refusal(tmp_path / "file", file_bytes(text.encode(), bytes(4)))


def test_a_file_that_shrinks_while_it_is_read(tmp_path, monkeypatch):
    header = described(shape=[4], data_offsets=[0, 16])
    content = file_bytes(header, bytes(16))
    monkeypatch.setattr(os, "fstat", lambda descriptor: SimpleNamespace(st_size=len(content), st_ino=1, st_mtime_ns=1))
    for size in range(len(content)):
        assert refusal(tmp_path / "file", content[:size])


@pytest.fixture
def small(tmp_path) -> bytes:
    """A file with two tensors and metadata."""
    tensors = {"a": ((2,), array("f", [1, 2])), "b": ((), array("d", [3]))}
    write_safetensors(tmp_path / "small", tensors, {"k": "v"})
    return (tmp_path / "small").read_bytes()


def test_a_file_cut_at_any_byte(tmp_path, small):
    for size in range(len(small)):
        assert refusal(tmp_path / "file", small[:size]).startswith("truncated")


def test_a_file_with_more_at_its_end(tmp_path, small):
    for more in range(1, 10):
        assert refusal(tmp_path / "file", small + bytes(more)).startswith("too long: the tensors take 16 bytes")


# --- damage by chance ---------------------------------------------------------------------------------------


def refused_or_sound(path: Path, content: bytes) -> None:
    """Reading gives an InputError of one line, or tensors in which everything fits."""
    path.write_bytes(content)
    try:
        tensors, metadata = read_safetensors(path)
    except InputError:
        refusal(path, content)
        return
    for shape, data in tensors.values():
        assert len(data) == prod(shape)
        assert all(map(isfinite, data))
    taken = sum(len(data) * data.itemsize for _, data in tensors.values())
    assert taken == len(content) - 8 - struct.unpack("<Q", content[:8])[0]
    assert all(isinstance(text, str) for pair in metadata.items() for text in pair)


@given(data=st.data(), tensors=tensor_maps, metadata=st.none() | metadata_maps)
def test_bytes_changed_by_chance(file, data, tensors, metadata):
    write_safetensors(file, tensors, metadata)
    content = bytearray(file.read_bytes())
    places = st.integers(0, len(content) - 1)
    for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4)):
        content[place] = byte
    refused_or_sound(file, bytes(content))


sizes = st.integers(-1, 16) | st.sampled_from([2**31, 2**47, 2**48, 2**63, 2**64])
any_json = st.recursive(
    st.none() | st.booleans() | sizes | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=5,
)
any_entry = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F64", "F16"]) | any_json,
        "shape": st.lists(st.integers(0, 2), max_size=2) | st.lists(sizes, max_size=3) | any_json,
        "data_offsets": st.sampled_from([[0, 0], [0, 4], [4, 8], [0, 8], [8, 16]]) | st.lists(sizes) | any_json,
    }
)


@given(
    header=st.dictionaries(any_text | st.just("__metadata__"), any_entry | any_json, max_size=3) | any_json,
    size=st.sampled_from([0, 4, 8, 16]),
)
def test_headers_by_chance(file, header, size):
    refused_or_sound(file, file_bytes(header, bytes(size)))


@given(content=st.binary(max_size=40))
def test_files_by_chance(file, content):
    refused_or_sound(file, content)


# --- the reference library ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def numpy() -> Any:
    return pytest.importorskip("numpy")


@pytest.fixture(scope="module")
def reference(numpy) -> Any:
    """The library's functions for numpy's arrays."""
    return pytest.importorskip("safetensors.numpy")


def as_arrays(numpy: Any, tensors: dict[str, StoredTensor]) -> dict[str, Any]:
    return {name: numpy.array(data, dtype=data.typecode).reshape(shape) for name, (shape, data) in tensors.items()}


def from_arrays(arrays: dict[str, Any]) -> dict[str, StoredTensor]:
    # WHY replace: numpy calls it L where a C long has 8 bytes.
    return {name: (a.shape, array(a.dtype.char.replace("L", "Q"), a.tobytes())) for name, a in arrays.items()}


one_entry_or_none = st.none() | st.dictionaries(any_text, any_text, max_size=1)


@given(tensors=tensor_maps, metadata=one_entry_or_none)
@example(tensors=dict.fromkeys(["a10", "a9", "Z", "\uffff", "\U0001f600", "é", ""], ONE), metadata=None)
@example(tensors={"".join(map(chr, range(0x100))): ONE, "\u2028\\/\"'<&>": ONE}, metadata={"\x00\n": "\x1f\x7f"})
@example(tensors={"a": ONE, "b": ((1,), array("d", [1]))}, metadata={})
def test_the_bytes_are_those_of_the_reference_library(file, numpy, reference, tensors, metadata):
    if not tensors and metadata == {}:
        return  # OBS: here the library's header is not JSON ("{}," and more), and it cannot read it back.
    theirs = file.with_name("theirs")
    reference.save_file(as_arrays(numpy, tensors), theirs, metadata)
    write_safetensors(file, tensors, metadata)
    assert file.read_bytes() == theirs.read_bytes()


@given(tensors=tensor_maps, metadata=metadata_maps)
def test_the_reference_library_reads_what_we_write(file, reference, tensors, metadata):
    write_safetensors(file, tensors, metadata)
    assert exactly(from_arrays(reference.load_file(file))) == exactly(tensors)
    with reference.safe_open(file, "numpy") as opened:
        assert (opened.metadata() or {}) == metadata


@given(tensors=tensor_maps.filter(bool), metadata=metadata_maps)
def test_we_read_what_the_reference_library_writes(file, numpy, reference, tensors, metadata):
    reference.save_file(as_arrays(numpy, tensors), file, metadata)
    read, read_metadata = read_safetensors(file)
    assert exactly(read) == exactly(tensors)
    assert read_metadata == metadata
    size = file.stat().st_size
    write_safetensors(file, tensors, metadata)
    assert file.stat().st_size == size  # only the order of the metadata may differ


def test_dtypes_that_only_the_reference_library_knows(tmp_path, numpy, reference):
    for dtype, name in (("int64", "I64"), ("bool", "BOOL")):
        content = reference.save({"a": numpy.zeros(3, dtype)})
        assert (
            refusal(tmp_path / "file", content)
            == f"tensor 'a': dtype '{name}' is none of F64, F32, F16, BF16, U64, U32, U16, U8"
        )
