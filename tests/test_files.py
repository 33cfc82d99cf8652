"""files.py: text is read exactly, or refused with its place. How files are written together: test_staging.py."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toy_gpt_train.errors import InputError
from toy_gpt_train.files import read_text, utf8_blocks


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
