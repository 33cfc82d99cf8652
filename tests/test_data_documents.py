"""toy-gpt data encode of several texts: one stream, and with --document-per a special token after each document."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import listing_of
from toy_gpt_train.data import documents as documents_module
from toy_gpt_train.data.documents import Documents, files_below, text_blocks
from toy_gpt_train.data.token_file import TokenFile, decode_file, encode_file
from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers.bpe import BPETokenizer
from toy_gpt_train.tokenizers.saved import load_tokenizer

END = "<|endoftext|>"
BYTES = {byte: bytes([byte]) for byte in range(256)}
lines_of_text = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\0"), max_size=5))


@pytest.fixture
def bpe(tmp_path) -> Path:
    """A folder with a tokenizer of bytes that knows the special token, id 256."""
    BPETokenizer(BYTES, [], [END]).save(tmp_path / "bpe")
    return tmp_path / "bpe"


def joined(texts: list[Path], documents: Documents | None) -> str:
    return "".join(block for _, block in text_blocks(texts, documents))


def write(folder: Path, **texts: bytes) -> list[Path]:
    """Write files; return their paths in this order."""
    for name, data in texts.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in texts]


@pytest.mark.parametrize(
    ("per", "expected"),
    [
        (None, "a\n\nb\r\n c\xa0\nd"),
        ("line", f"a{END}b{END} c\xa0{END}d{END}"),
        ("file", f"a\n\nb\r\n{END} c\xa0\nd{END}"),
    ],
)
@pytest.mark.parametrize("block", [1, 3, 1 << 16])
def test_documents_by_hand(tmp_path, monkeypatch, per, expected, block):
    monkeypatch.setattr(documents_module, "BLOCK", block)
    texts = write(tmp_path, x=b"\xef\xbb\xbfa\n\nb\r\n", empty=b"", mark=b"\xef\xbb\xbf", y=" c\xa0\nd".encode())
    assert joined(texts, None if per is None else Documents(per, END)) == expected


@given(texts=st.lists(lines_of_text, min_size=1, max_size=3), block=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_every_line_that_is_not_blank_is_a_document(tmp_path_factory, texts, block):
    folder = tmp_path_factory.mktemp("lines")
    data = {str(number): "\n".join(lines).encode() for number, lines in enumerate(texts)}
    texts = [[line.removeprefix("\ufeff") if i == 0 else line for i, line in enumerate(lines)] for lines in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents_module, "BLOCK", block)
        got = joined(write(folder, **data), Documents("line", END))
    expected = [line.rstrip("\r") for lines in texts for line in lines if line.strip()]
    assert got == "".join(line + END for line in expected)


def test_the_special_token_is_one_id_and_the_text_can_be_checked(tmp_path, bpe):
    texts = write(tmp_path, x="é\n\nb\n".encode(), y=b"c")
    for per, expected in (
        ("line", [0xC3, 0xA9, 256, ord("b"), 256, ord("c"), 256]),
        ("file", [0xC3, 0xA9, 10, 10, ord("b"), 10, 256, ord("c"), 256]),
    ):
        assert encode_file(texts, bpe, tmp_path / "out", documents=Documents(per, END)) == (len(expected), 16)
        with TokenFile(tmp_path / "out", bpe) as ids:
            assert list(ids) == expected
            assert ids.text_sha256 == hashlib.sha256(load_tokenizer(bpe).decode(expected).encode()).hexdigest()
        decode_file(tmp_path / "out", bpe, tmp_path / "back", text_check=True)
        assert (tmp_path / "back").read_text(encoding="utf-8").count(END) == expected.count(256)


def test_files_of_a_folder_in_sorted_order(tmp_path):
    for name in ("b/z.txt", "b/a.txt", "a.txt", "B.txt", "c.text", ".hidden/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "b" / "folder.txt").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in files_below([tmp_path, tmp_path / "c.text"], ".txt")]
    assert found == [".hidden/d.txt", "B.txt", "a.txt", "b/a.txt", "b/z.txt", "c.text"]
    with pytest.raises(InputError, match=r"folder\.txt: there is no \.txt file"):
        files_below([tmp_path, tmp_path / "b" / "folder.txt"], ".txt")


@pytest.mark.parametrize("per", [None, "line", "file"])
def test_what_is_wrong_is_named_with_its_file(tmp_path, bpe, per):
    documents = None if per is None else Documents(per, END)
    for name, data in (("bad", b"ab\xff\n"), ("late", b"a" * 70_000 + b"\xff")):
        texts = write(tmp_path, good=b"good\n", **{name: data}, last=b"last\n")
        before = listing_of(tmp_path)
        with pytest.raises(InputError, match=rf"/{name}(, line 1)?: not UTF-8 at byte {len(data.rstrip()) - 1} ") as e:
            encode_file(texts, bpe, tmp_path / "out", documents=documents)
        assert str(e.value).count(str(tmp_path)) == 1
        assert listing_of(tmp_path) == before
    for texts in (write(tmp_path, empty=b"", blank=b"\xef\xbb\xbf"), [tmp_path / "none"]):
        with pytest.raises((InputError, FileNotFoundError), match=r"the text is empty|none"):
            encode_file(texts, bpe, tmp_path / "out", documents=documents)
    assert not (tmp_path / "out").exists()


def test_a_token_of_a_later_file_that_has_no_id(toy_gpt, tmp_path):
    texts = write(tmp_path, **{"a.txt": b"abc", "b.txt": b"abd"})
    assert toy_gpt("data", "vocabulary", "--text", texts[0], "--kind", "char", "--out", tmp_path / "chars").code == 0
    done = toy_gpt("data", "encode", "--text", *texts, "--tokenizer", tmp_path / "chars", "--out", tmp_path / "out")
    assert done.refused
    assert f"{texts[1]}: unknown token 'd'" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["word", "char"])
def test_commands_with_words_and_characters(toy_gpt, tmp_path, kind):
    folder = tmp_path / "texts"
    folder.mkdir()
    write(folder, **{"1.txt": b"the cat\n\nruns\n", "2.txt": b"a dog"})
    vocabulary = ("data", "vocabulary", "--text", folder, "--kind", kind, "--out", tmp_path / "made")
    assert toy_gpt(*vocabulary, "--special", END).code == 0
    encode = ("data", "encode", "--text", folder, "--tokenizer", tmp_path / "made", "--out", tmp_path / "out")
    assert toy_gpt(*encode, "--special", END, "--document-per", "line").code == 0
    tokenizer = load_tokenizer(tmp_path / "made")
    with TokenFile(tmp_path / "out", tmp_path / "made") as ids:
        space = " " if kind == "word" else ""
        assert tokenizer.decode(ids) == space.join(["the cat", END, "runs", END, "a dog", END])
        end = tokenizer.token_ids([END])[0]
        assert list(ids).count(end) == 3
    trained = toy_gpt(
        *("train", "--model", "bigram", "--epochs", 1, "--tokens", tmp_path / "out", "--tokenizer", tmp_path / "made"),
        *("--base-dir", tmp_path / "run"),
    )
    assert trained.code == 0, trained.err


def test_options_that_go_together(toy_gpt, tmp_path, bpe):
    (text,) = write(tmp_path, text=b"a\n")
    command = ("data", "encode", "--text", text, "--tokenizer", bpe, "--out", tmp_path / "out")
    before = listing_of(tmp_path)
    for wrong, message in (
        (("--special", END), "go together"),
        (("--document-per", "line"), "go together"),
        (("--document-per", "page", "--special", END), "invalid choice"),
        (("--document-per", "line", "--special", "<end>"), f"not a special token of this tokenizer; it has '{END}'"),
        (("--document-per", "line", "--special", ""), "not a special token"),
    ):
        done = toy_gpt(*command, *wrong)
        assert done.refused
        assert message in done.err
    assert listing_of(tmp_path) == before
    assert toy_gpt(*command, "--document-per", "line", "--special", END).out.startswith(f"{tmp_path / 'out'}: 2 tokens")
