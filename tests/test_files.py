"""test_files.py - Text is read exactly, or refused with its place; no size is trusted. Writing: test_staging.py."""

import io
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toy_gpt_train.errors import InputError
from toy_gpt_train.files import parse_json_object, read_bytes, read_json_object, read_text, utf8_blocks


def test_read_text_keeps_every_character(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes("eins\r\nzwei\rdrei\n\nµ𝄞\t ".encode())
    assert read_text(path) == "eins\r\nzwei\rdrei\n\nµ𝄞\t "


def test_read_text_drops_one_leading_byte_order_mark_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xef\xbb\xbf\xef\xbb\xbfa\xef\xbb\xbfb")
    assert read_text(path) == "\ufeffa\ufeffb"


def test_read_text_names_the_byte_that_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"un\ncaf\xe9 noir")
    with pytest.raises(InputError, match=r"text\.txt, line 2: not UTF-8 text: byte 0xe9 at offset 6$"):
        read_text(path)


def test_read_text_refuses_a_file_over_the_limit_before_decoding_it(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xff" * 11)  # not UTF-8 either: decoding it first would say something else
    with pytest.raises(InputError, match="too large"):
        read_text(path, limit=10)
    path.write_bytes(b"x" * 10)
    assert read_text(path, limit=10) == "x" * 10


def peak_memory_of_reading(path: Path, limit: int) -> int:
    """How many bytes are reserved at most while a file is read or refused."""
    tracemalloc.start()
    try:
        read_bytes(path, limit)
    except InputError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak


def test_a_small_file_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"x" * 120)
    assert read_bytes(path) == b"x" * 120
    assert peak_memory_of_reading(path, 1 << 28) < 2_000_000  # and not the 256 MB that are allowed


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(8 << 20))
    with pytest.raises(InputError, match=r"large: too large: the limit is 7,340,032 bytes$"):
        read_bytes(path, 7 << 20)
    assert peak_memory_of_reading(path, 7 << 20) < 100_000 + io.DEFAULT_BUFFER_SIZE


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="/dev/zero is POSIX")
def test_a_device_that_never_ends_is_refused() -> None:
    with pytest.raises(InputError, match=r"/dev/zero: too large"):
        read_bytes(Path("/dev/zero"), 3 << 20)
    assert peak_memory_of_reading(Path("/dev/zero"), 3 << 20) < 8 << 20


def test_a_file_of_many_blocks_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "data"
    data = os.urandom((3 << 20) + 1)
    path.write_bytes(data)
    assert read_bytes(path, len(data)) == data
    with pytest.raises(InputError):
        read_bytes(path, len(data) - 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON: Expecting value"),
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
        ("{" * 10, "not JSON: Expecting property name"),
        ("[" * 200_000, "not JSON: "),
        ('{"a":' * 200_000, "not JSON: "),
        ('{"a": ' + "1" * 5000 + "}", "not JSON: Exceeds the limit"),
    ],
)
def test_what_is_no_json_object_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_json_object(path)
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("content", [{}, {"a": [1.5, None, "é\n"], "b": {"a": 1}}])
def test_a_json_object_is_read(tmp_path: Path, content: dict[str, Any]) -> None:
    (tmp_path / "file.json").write_text(json.dumps(content), encoding="utf-8")
    assert read_json_object(tmp_path / "file.json", unique=True) == content


def test_a_name_that_comes_twice_is_refused_where_it_matters() -> None:
    text = '{"a": {"b": 1, "b": 2}}'
    assert parse_json_object(text, Path("x")) == {"a": {"b": 2}}
    with pytest.raises(InputError, match=r"^x: not JSON: the name 'b' comes twice$"):
        parse_json_object(text, Path("x"), unique=True)


def test_read_text_of_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "none.txt")
    with pytest.raises((IsADirectoryError, PermissionError)):
        read_text(tmp_path)


any_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(data=st.binary(max_size=12) | any_text.map(str.encode), block=st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_blocks_decode_as_the_whole(data: bytes, block: int) -> None:
    blocks = [data[start : start + block] for start in range(0, len(data), block)]
    try:
        expected = data.decode("utf-8")
    except UnicodeDecodeError as error:
        with pytest.raises(InputError, match=f"not UTF-8 at byte {error.start} "):
            list(utf8_blocks(blocks))
    else:
        assert "".join(utf8_blocks(blocks)) == expected
