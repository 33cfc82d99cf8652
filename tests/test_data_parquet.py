"""toy-gpt data parquet and hub: a column of texts out of tables; what needs pyarrow or datasets skips without it."""

import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import listing_of
from toy_gpt_train.data.hub import hub_texts
from toy_gpt_train.data.parquet import parquet_texts, write_texts
from toy_gpt_train.errors import InputError

texts_of_any_kind = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@pytest.fixture(scope="module")
def pa() -> Any:
    pytest.importorskip("pyarrow.parquet")
    return pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[Any]:
    """The package datasets, with no network and a cache of its own: it reads both settings when it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield pytest.importorskip("datasets")


def write_table(pa: Any, path: Path, columns: dict[str, Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pa.parquet.write_table(pa.table(columns), path, **options)
    return path


# --- writing texts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "separator", "expected"),
    [
        (["a"], "--", b"a"),
        (["a", "b", "c"], "--", b"a--b--c"),
        (["a\n", "", "é"], "\n\n", b"a\n\n\n\n\n\xc3\xa9"),
        (["", ""], "|", b"|"),
        (["a", "b"], "", b"ab"),
    ],
)
def test_the_separator_stands_between_two_texts(tmp_path, texts, separator, expected):
    assert write_texts(tmp_path / "out", texts, separator) == (len(texts), len(expected))
    assert listing_of(tmp_path) == {"out": expected}


def test_no_text_and_a_stop_leave_what_was_there(tmp_path):
    def stopping() -> Iterator[str]:
        yield "a" * 100_000
        raise KeyboardInterrupt

    for old in ({}, {"out": b"old"}):
        for name, data in old.items():
            (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="no text"):
            write_texts(tmp_path / "out", [], "\n")
        with pytest.raises(KeyboardInterrupt):
            write_texts(tmp_path / "out", stopping(), "\n")
        assert listing_of(tmp_path) == old


# --- without the packages -----------------------------------------------------------------------------------


def test_a_missing_package_is_named_with_what_to_install(toy_gpt, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "datasets", None)
    out = tmp_path / "out"
    for source, package in (("parquet", "pyarrow"), ("hub", "datasets")):
        done = toy_gpt("data", source, tmp_path / "table", "--column", "text", "--out", out)
        assert done.refused
        assert package in done.err
        assert 'pip install "toy-gpt-train[data]"' in done.err
    assert listing_of(tmp_path) == {}


def test_a_limit_that_makes_no_sense(toy_gpt, tmp_path):
    for limit in (0, -1):
        done = toy_gpt("data", "hub", tmp_path, "--column", "text", "--out", tmp_path / "out", "--limit", limit)
        assert done.refused
        assert f"--limit must be at least 1, got {limit}" in done.err


# --- parquet ------------------------------------------------------------------------------------------------


def test_the_texts_of_several_files_in_order(pa, tmp_path):
    first = write_table(pa, tmp_path / "1", {"n": [1, 2, 3], "text": ["a", None, "b\n"]})
    second = write_table(pa, tmp_path / "2", {"text": ["", "é😀", None], "other": ["x", "y", "z"]})
    assert list(parquet_texts([first, second], "text")) == ["a", "b\n", "", "é😀"]
    assert list(parquet_texts([second, first, second], "text")) == ["", "é😀", "a", "b\n", "", "é😀"]
    assert list(parquet_texts([second], "other")) == ["x", "y", "z"]


@pytest.mark.parametrize("rows_a_group", [1, 100, 256, 300, 2000])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_batches_and_row_groups_lose_nothing(pa, tmp_path, rows_a_group, compression):
    column = [None if number % 7 == 0 else str(number) for number in range(1100)]
    path = write_table(pa, tmp_path / "t", {"text": column}, row_group_size=rows_a_group, compression=compression)
    assert list(parquet_texts([path], "text")) == [text for text in column if text is not None]


def test_other_columns_are_not_read(pa, tmp_path):
    path = write_table(pa, tmp_path / "t", {"text": ["a", "b"], "other": ["c" * 1000, "d"]}, compression="zstd")
    start = pa.parquet.read_metadata(path).row_group(0).column(1).dictionary_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 40] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"t: ."):
        list(parquet_texts([path], "other"))
    assert list(parquet_texts([path], "text")) == ["a", "b"]


@given(column=st.lists(st.none() | texts_of_any_kind, max_size=20))
@settings(max_examples=30, deadline=None)
def test_any_texts(pa, tmp_path_factory, column):
    path = tmp_path_factory.mktemp("any") / "t"
    write_table(pa, path, {"text": pa.array(column, pa.string())})
    assert list(parquet_texts([path], "text")) == [text for text in column if text is not None]


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "dictionary"])
def test_every_kind_of_text_column(pa, tmp_path, kind):
    column = pa.array(["a", None, "b", "a"])
    column = column.dictionary_encode() if kind == "dictionary" else column.cast(getattr(pa, kind)())
    assert list(parquet_texts([write_table(pa, tmp_path / "t", {"a.b": column})], "a.b")) == ["a", "b", "a"]


@pytest.mark.parametrize("column", ["n", "raw", "list", "flags", "none", "text.x", "Text", ""])
def test_a_column_without_texts_is_refused_and_the_columns_named(pa, tmp_path, column):
    columns = {"text": ["a"], "n": [1], "raw": [b"a"], "list": [["a"]], "flags": pa.array([1]).dictionary_encode()}
    path = write_table(pa, tmp_path / "t", columns)
    with pytest.raises(InputError, match=r"t: .*there are text \(string\), n \(int64\), raw \(binary\)"):
        list(parquet_texts([path], column))


def test_two_columns_of_one_name_are_refused(pa, tmp_path):
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pa.parquet.write_table(table, tmp_path / "t")
    with pytest.raises(InputError, match="more than one column 'text'"):
        list(parquet_texts([tmp_path / "t"], "text"))


def test_damaged_files_are_refused_with_their_name(pa, tmp_path):
    path = write_table(pa, tmp_path / "t", {"text": ["some text", "more text"] * 50}, compression="none")
    data = path.read_bytes()
    for damage in (b"", b"PAR1", b"junk" * 100, data[:-9], data[9:], data[:100] + data[120:]):
        path.write_bytes(damage)
        with pytest.raises(InputError, match=r"t: ."):
            list(parquet_texts([path], "text"))
    for missing in (tmp_path, tmp_path / "none"):
        with pytest.raises(OSError, match=str(missing)):
            list(parquet_texts([missing], "text"))


def test_texts_that_are_not_utf8_are_refused(pa, tmp_path):
    raw = pa.array([b"fine", b"caf\xe9"]).view(pa.string())  # parquet itself does not look
    with pytest.raises(InputError, match=r"t: 'utf-8' codec can't decode byte 0xe9"):
        list(parquet_texts([write_table(pa, tmp_path / "t", {"text": raw})], "text"))


def test_command_parquet(pa, toy_gpt, tmp_path):
    table = write_table(pa, tmp_path / "t", {"text": ["a", None, "b"], "n": [1, 2, 3], "no": pa.nulls(3, pa.string())})
    out = tmp_path / "out"
    command = ("data", "parquet", table, table, "--out", out, "--column")
    assert toy_gpt(*command, "text") == (0, f"{out}: 4 texts, 10 bytes\n", "")
    assert out.read_bytes() == b"a\n\nb\n\na\n\nb"
    assert toy_gpt(*command, "text", "--separator", r"<end>\n\t") == (0, f"{out}: 4 texts, 25 bytes\n", "")
    assert out.read_bytes() == b"a<end>\n\tb<end>\n\ta<end>\n\tb"
    before = listing_of(tmp_path)
    for column in ("n", "none", "no"):
        assert toy_gpt(*command, column).refused
    (tmp_path / "broken").write_bytes(b"junk")
    assert toy_gpt("data", "parquet", table, tmp_path / "broken", "--column", "text", "--out", out).refused
    assert listing_of(tmp_path) == {**before, "broken": b"junk"}


def test_folders_of_parquet_files(pa, toy_gpt, tmp_path):
    folder = tmp_path / "set"
    for name in ("b/2", "b/1", "a", "c/d/0"):
        write_table(pa, folder / f"{name}.parquet", {"text": [name]})
    (folder / "b" / "notes.txt").write_bytes(b"not a table")
    (folder / "b" / "x.parquet").mkdir()
    alone = write_table(pa, tmp_path / "alone", {"text": ["alone"]})
    out = tmp_path / "out"
    command = ("data", "parquet", "--column", "text", "--separator", "|", "--out", out)
    assert toy_gpt(*command, alone, folder, folder / "b").code == 0
    assert out.read_bytes() == b"alone|a|b/1|b/2|c/d/0|b/1|b/2"
    (tmp_path / "empty").mkdir()
    before = listing_of(tmp_path)
    done = toy_gpt(*command, folder, tmp_path / "empty")
    assert done.refused
    assert f"{tmp_path / 'empty'}: there is no .parquet file" in done.err
    (folder / "z.parquet").write_bytes(b"junk")
    assert toy_gpt(*command, folder).refused
    (folder / "z.parquet").unlink()
    assert listing_of(tmp_path) == before


# --- the hub ------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(pa, tmp_path) -> Path:
    """A dataset in a local folder; the package reads it with the code it has for the hub."""
    folder = tmp_path / "set"
    write_table(pa, folder / "data" / "train-0.parquet", {"text": ["a", None, "b"], "n": [1, 2, 3]})
    write_table(pa, folder / "data" / "train-1.parquet", {"text": ["é", "c", "d"], "n": [1, 2, 3]})
    write_table(pa, folder / "data" / "validation-0.parquet", {"text": ["v"], "n": [1]})
    return folder


def test_a_dataset_is_streamed(hub, folder):
    assert list(hub_texts(str(folder), "text")) == ["a", "b", "é", "c", "d"]
    assert list(hub_texts(str(folder), "text", split="validation")) == ["v"]
    assert list(hub_texts(str(folder), "text", config="default", split="validation")) == ["v"]
    with closing(hub_texts(str(folder), "text")) as texts:
        assert list(islice(texts, 2)) == ["a", "b"]


def test_a_dataset_of_json_lines(hub, tmp_path):
    (tmp_path / "train.jsonl").write_bytes(b'{"story": "x"}\n{"story": null}\n{"story": "y\\u00e9"}\n')
    assert list(hub_texts(str(tmp_path), "story")) == ["x", "yé"]
    with pytest.raises(InputError, match="no column 'text'; there are story"):
        list(hub_texts(str(tmp_path), "text"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"column": "none"}, "no column 'none'; there are text, n"),
        ({"column": "n"}, "column 'n' does not hold texts but int"),
        ({"column": "text", "split": "test"}, "split"),
        ({"column": "text", "config": "other"}, "other"),
    ],
)
def test_what_a_dataset_does_not_have(hub, folder, options, message):
    with pytest.raises(InputError, match=message) as refused:
        list(hub_texts(str(folder), **options))
    assert str(refused.value).startswith(f"{folder}: ")
    assert "InputError" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_dataset_that_is_not_there(hub, tmp_path):
    for name in ("nobody-at-all/nothing", str(tmp_path / "none"), ""):
        with pytest.raises(InputError, match=f"{name}: "):
            list(hub_texts(name, "text"))


def test_a_folder_inside_a_dataset(hub, pa, toy_gpt, tmp_path):
    for name in ("en", "de"):
        write_table(pa, tmp_path / "set" / name / "train-0.parquet", {"text": [name]})
    assert list(hub_texts(str(tmp_path / "set"), "text", data_dir="de")) == ["de"]
    command = ("data", "hub", tmp_path / "set", "--column", "text", "--out", tmp_path / "out", "--data-dir")
    assert toy_gpt(*command, "en").code == 0
    assert (tmp_path / "out").read_bytes() == b"en"
    assert toy_gpt(*command, "fr").refused
    assert (tmp_path / "out").read_bytes() == b"en"


def test_command_hub(hub, toy_gpt, folder, tmp_path):
    out = tmp_path / "out"
    command = ("data", "hub", folder, "--out", out, "--column")
    assert toy_gpt(*command, "text") == (0, f"{out}: 5 texts, 14 bytes\n", "")
    assert out.read_bytes() == "a\n\nb\n\né\n\nc\n\nd".encode()
    assert toy_gpt(*command, "text", "--limit", 3, "--separator", "|") == (0, f"{out}: 3 texts, 6 bytes\n", "")
    assert toy_gpt(*command, "text", "--limit", 9, "--separator", "|") == (0, f"{out}: 5 texts, 10 bytes\n", "")
    assert toy_gpt(*command, "text", "--split", "validation") == (0, f"{out}: 1 texts, 1 bytes\n", "")
    before = listing_of(tmp_path)
    for wrong in (("n",), ("text", "--split", "test"), ("text", "--config", "other")):
        assert toy_gpt(*command, *wrong).refused
    assert listing_of(tmp_path) == before
