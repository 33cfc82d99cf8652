"""toy-gpt data vocabulary, encode and decode: token files, and tokenizers in folders."""

import hashlib
import json
import random
import struct
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import listing_of
from toy_gpt_train.data import documents, token_file
from toy_gpt_train.data.documents import without_bom
from toy_gpt_train.data.token_file import TokenFile, decode_file, encode_file
from toy_gpt_train.data.token_layout import HEADER_SIZE, bits_for
from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers.bpe import BPETokenizer
from toy_gpt_train.tokenizers.char import CharTokenizer
from toy_gpt_train.tokenizers.saved import load_tokenizer, tokenizer_files, tokenizer_sha256
from toy_gpt_train.tokenizers.word import WordTokenizer

BYTES = {byte: bytes([byte]) for byte in range(256)}
any_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def small_bpe(*special: str) -> BPETokenizer:
    """th, the, and the first two of the three bytes of the euro sign: a token that ends inside a character."""
    merges = [(b"t", b"h"), (b"th", b"e"), (b"\xe2", b"\x82")]
    return BPETokenizer({**BYTES, 256: b"th", 257: b"the", 258: b"\xe2\x82"}, merges, special)


@pytest.fixture
def text(tmp_path) -> Path:
    path = tmp_path / "text.txt"
    path.write_bytes("cab\né€😀\r\n".encode())
    return path


@pytest.fixture
def chars(tmp_path, text) -> Path:
    """A folder with a tokenizer of the text's characters."""
    CharTokenizer.from_text(text.read_bytes().decode()).save(tmp_path / "chars")
    return tmp_path / "chars"


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def tokens(tmp_path, text, chars) -> Path:
    """The token file of the text."""
    encode_file([text], chars, tmp_path / "text.tokens")
    return tmp_path / "text.tokens"


def encoded(folder: Path, tokenizer, data: bytes, block: int = 1 << 16) -> tuple[tuple[int, int], bytes]:
    """Return what encode_file returns, and the file it writes."""
    tokenizer.save(folder / "tokenizer")
    (folder / "text").write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_file, "BLOCK", block)
        patch.setattr(documents, "BLOCK", block)
        counted = encode_file([folder / "text"], folder / "tokenizer", folder / "tokens")
    return counted, (folder / "tokens").read_bytes()


# --- the file, byte for byte --------------------------------------------------------------------------------


def test_a_file_by_hand(tmp_path):
    counted, data = encoded(tmp_path, CharTokenizer("abc"), b"\xef\xbb\xbfcab")
    assert counted == (3, 16)
    tokenizer_json = (tmp_path / "tokenizer" / "toy_tokenizer.json").read_bytes()
    listed = f"{hashlib.sha256(tokenizer_json).hexdigest()}  toy_tokenizer.json\n".encode()
    header = b"TOYGPTID" + bytes([1, 0, 0, 0, 16, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0])
    header += hashlib.sha256(listed).digest() + hashlib.sha256(b"cab").digest() + bytes(40)
    assert len(header) == HEADER_SIZE == 128
    assert data == header + bytes([2, 0, 0, 0, 1, 0])


@pytest.mark.parametrize(("size", "bits"), [(65_536, 16), (65_537, 32)])
def test_ids_take_two_bytes_where_they_can(tmp_path, size, bits):
    tokenizer = CharTokenizer(chr(code) for code in range(size + 0x800) if not 0xD800 <= code < 0xE000)
    assert tokenizer.vocab_size == size
    last = chr(size - 1 + 0x800)
    counted, data = encoded(tmp_path, tokenizer, f"\0{last}a".encode())
    assert counted == (3, bits)
    assert data[HEADER_SIZE:] == struct.pack("<3H" if bits == 16 else "<3I", 0, size - 1, 97)
    with TokenFile(tmp_path / "tokens") as ids:
        assert (ids.bits, list(ids)) == (bits, [0, size - 1, 97])


def test_ids_beyond_32_bits_are_refused():
    assert (bits_for(65_536), bits_for(65_537), bits_for(1 << 32)) == (16, 32, 32)
    with pytest.raises(InputError, match="4294967296 do not fit into 32 bits"):
        bits_for((1 << 32) + 1)


def test_numpy_reads_it(tmp_path):
    numpy = pytest.importorskip("numpy")
    data = "the thé €".encode() * 50
    (count, _), _ = encoded(tmp_path, small_bpe(), data)
    ids = numpy.fromfile(tmp_path / "tokens", dtype="<u2", offset=HEADER_SIZE)
    assert ids.tolist() == small_bpe().encode(data.decode())
    assert len(ids) == count
    mapped = numpy.memmap(tmp_path / "tokens", dtype="<u2", mode="r", offset=HEADER_SIZE)
    assert mapped.tolist() == ids.tolist()


# --- there and back -----------------------------------------------------------------------------------------


@given(text=any_text, block=st.integers(1, 7), kind=st.sampled_from(["char", "bpe", "bpe special"]))
@settings(max_examples=60, deadline=None)
def test_exact_tokenizers_give_every_text_back(tmp_path_factory, text, block, kind):
    folder = tmp_path_factory.mktemp("exact")
    text = text.removeprefix("\ufeff") or "the"
    tokenizer = {"char": CharTokenizer.from_text(text), "bpe": small_bpe(), "bpe special": small_bpe("<a b>", "0")}[
        kind
    ]
    (count, bits), _ = encoded(folder, tokenizer, text.encode(), block)
    assert bits == 16
    with TokenFile(folder / "tokens", folder / "tokenizer") as ids:
        assert list(ids) == tokenizer.encode(text)
        assert len(ids) == count
        assert ids.text_sha256 == hashlib.sha256(text.encode()).hexdigest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_file, "BLOCK", block)
        patch.setattr(documents, "BLOCK", block)
        size = decode_file(folder / "tokens", folder / "tokenizer", folder / "out", text_check=True)
    assert (folder / "out").read_bytes() == text.encode()
    assert size == len(text.encode())


@given(words=st.lists(st.text("abé", min_size=1, max_size=3), min_size=1, max_size=12), block=st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_words_come_back_with_single_spaces(tmp_path_factory, words, block):
    folder = tmp_path_factory.mktemp("words")
    encoded(folder, WordTokenizer(sorted(set(words))), "\r\n ".join(["", *words]).encode(), block)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_file, "BLOCK", block)
        patch.setattr(documents, "BLOCK", block)
        decode_file(folder / "tokens", folder / "tokenizer", folder / "out")
    assert (folder / "out").read_bytes().decode() == " ".join(words)


def test_only_the_first_byte_order_mark_is_dropped(tmp_path):
    data = "\ufeff\ufeffa\ufeff".encode()
    for block in (1, 3, 100):
        assert encoded(tmp_path, CharTokenizer("a\ufeff"), data, block)[1][HEADER_SIZE:] == bytes([1, 0, 0, 0, 1, 0])
    assert "".join(without_bom(["\ufeff", "\ufeffa", "\ufeff"])) == "\ufeffa\ufeff"


def test_the_memory_is_a_block_and_not_the_text(tmp_path):
    line = "the cat sees the dog and a bird .\n"
    WordTokenizer.from_text(line).save(tmp_path / "words")

    def peak(size: int) -> int:
        (tmp_path / "text").write_bytes(line.encode() * size)
        tracemalloc.start()
        try:
            encode_file([tmp_path / "text"], tmp_path / "words", tmp_path / "tokens")
            decode_file(tmp_path / "tokens", tmp_path / "words", tmp_path / "out")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # WHY from 20,000 on: a full block of ids is 65,536, which is 7,300 lines.
    assert peak(40_000) < 1.2 * peak(20_000)


# --- what encode refuses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the text is empty"),
        (b"\xef\xbb\xbf", "the text is empty"),
        (b"abcab\xffc", "not UTF-8 at byte 5 "),
        (b"\xef\xbb\xbfab\xe2\x82", "not UTF-8 at byte 5 "),
        (b"ab" * 500 + b"\xc3(", "not UTF-8 at byte 1000 "),
        (b"abcd", "unknown token 'd'"),
    ],
)
@pytest.mark.parametrize("block", [1, 3, 1 << 16])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_text_that_cannot_be_encoded(tmp_path, data, message, block, old):
    if old is not None:
        (tmp_path / "tokens").write_bytes(old)
    with pytest.raises(InputError, match=f"text: {message}"):
        encoded(tmp_path, CharTokenizer("abc"), data, block)
    left = {name: data for name, data in listing_of(tmp_path).items() if not name.startswith("tokenizer")}
    assert left == {"text": data, **({} if old is None else {"tokens": old})}


def test_a_stop_in_the_middle_leaves_what_was_there(text, chars, out, monkeypatch):
    monkeypatch.setattr(token_file, "BLOCK", 4)
    monkeypatch.setattr(documents, "BLOCK", 4)
    out.write_bytes(b"old")
    before = listing_of(text.parent)

    def stop_halfway(fraction: float, status: str) -> None:
        assert len(listing_of(text.parent)) == len(before) + 1
        if fraction > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_file([text], chars, out, stop_halfway)
    assert listing_of(text.parent) == before


def test_an_unfinished_file_is_no_token_file(text, chars, out):
    seen: list[bytes] = []

    def copy_unfinished(fraction: float, status: str) -> None:
        seen.extend(path.read_bytes() for path in text.parent.glob(".*.tmp"))

    # WHY more than a buffer: what is written comes to the disk when a buffer is full.
    text.write_bytes(text.read_bytes() * 20_000)
    encode_file([text], chars, out, copy_unfinished)
    unfinished = [data for data in seen if len(data) > HEADER_SIZE]
    assert unfinished
    for data in unfinished:
        out.write_bytes(data)
        with pytest.raises(InputError, match="not a token file"):
            TokenFile(out)


def test_encode_tells_how_far_it_is(text, chars, out, monkeypatch):
    monkeypatch.setattr(token_file, "BLOCK", 4)
    monkeypatch.setattr(documents, "BLOCK", 4)
    told: list[float] = []
    encode_file([text], chars, out, lambda fraction, status: told.append(fraction))
    assert told == sorted(told)
    assert len(told) > 2
    assert told[-1] == 1.0


# --- reading ------------------------------------------------------------------------------------------------


@given(ids=st.text("abc", min_size=1, max_size=12), start=st.integers(-14, 14), data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_token_file_is_a_sequence(tmp_path_factory, ids, start, data):
    folder = tmp_path_factory.mktemp("sequence")
    expected = ["abc".index(char) for char in ids]
    encoded(folder, CharTokenizer("abc"), ids.encode())
    part = slice(
        data.draw(st.none() | st.just(start)),
        data.draw(st.none() | st.integers(-14, 14)),
        data.draw(st.sampled_from([None, 1, 2, -1, -3])),
    )
    with TokenFile(folder / "tokens") as read:
        assert len(read) == len(expected)
        assert read[part] == expected[part]
        assert list(read) == expected
        assert list(reversed(read)) == expected[::-1]
        assert (1 in read) == (1 in expected)
        if -len(expected) <= start < len(expected):
            assert read[start] == expected[start]
        else:
            with pytest.raises(IndexError):
                read[start]


def test_a_closed_file(tokens):
    with TokenFile(tokens) as ids:
        first = ids[:3]
    assert first == [4, 2, 3]
    with pytest.raises(ValueError, match="released"):
        ids[0]
    with pytest.raises(ValueError, match="released"):
        len(ids)
    ids.close()
    tokens.unlink()


def test_every_truncation_and_a_byte_too_many_are_refused(tokens):
    data = tokens.read_bytes()
    for length in range(len(data)):
        tokens.write_bytes(data[:length])
        with pytest.raises(InputError, match="truncated" if length >= HEADER_SIZE else "not a token file"):
            TokenFile(tokens)
    for more in (b"\0", b"\0\0", data):
        tokens.write_bytes(data + more)
        with pytest.raises(InputError, match="too long"):
            TokenFile(tokens)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, b"t", "not a token file"),
        (7, b"\0", "not a token file"),
        (8, b"\2", "version 2 of token files is unknown"),
        (9, b"\1", "version 257"),
        (12, b"\x08", "8 bits"),
        (12, b"\0", "0 bits"),
        (12, b"\x20", "truncated"),
        (16, b"\xff", "truncated"),
        (16, b"\1", "too long"),
        (23, b"\xff", "truncated"),
    ],
)
def test_a_damaged_header_is_refused(tokens, offset, value, message):
    data = bytearray(tokens.read_bytes())
    assert data[offset : offset + 1] != value
    data[offset : offset + 1] = value
    tokens.write_bytes(data)
    with pytest.raises(InputError, match=f"{tokens.name}: .*{message}"):
        TokenFile(tokens)


def test_another_tokenizer_is_refused(tokens, chars, out, tmp_path):
    (tmp_path / "other").mkdir()
    CharTokenizer("abc").save(tmp_path / "other")
    with pytest.raises(InputError, match=r"text\.tokens: was not written with the tokenizer in .*other"):
        TokenFile(tokens, tmp_path / "other")
    with pytest.raises(InputError, match="was not written with"):
        decode_file(tokens, tmp_path / "other", out)
    with TokenFile(tokens, chars) as ids:
        assert ids.tokenizer_sha256 == tokenizer_sha256(chars)
    assert not out.exists()


def test_what_cannot_be_opened(tmp_path, chars, out):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(OSError, match=str(path)):
            TokenFile(path)
        with pytest.raises(OSError, match=str(path)):
            encode_file([path], chars, out)
    assert not out.exists()


def test_big_endian_machines_are_told(text, chars, tokens, out, monkeypatch):
    monkeypatch.setattr(sys, "byteorder", "big")
    with pytest.raises(InputError, match="little-endian"):
        TokenFile(tokens)
    with pytest.raises(InputError, match="little-endian"):
        encode_file([text], chars, out)
    assert not out.exists()


# --- what decode refuses ------------------------------------------------------------------------------------


def change_id(tokens: Path, index: int, value: int) -> None:
    data = bytearray(tokens.read_bytes())
    struct.pack_into("<H", data, HEADER_SIZE + 2 * index, value)
    tokens.write_bytes(data)


def test_a_changed_id_is_found_by_the_check_only(text, tokens, chars, out):
    with TokenFile(tokens) as ids:
        other = (ids[0] + 1) % 9
    change_id(tokens, 0, other)
    out.write_bytes(b"old")
    with pytest.raises(InputError, match=r"text\.tokens: its ids do not give the text that was encoded"):
        decode_file(tokens, chars, out, text_check=True)
    assert out.read_bytes() == b"old"
    assert decode_file(tokens, chars, out) > 0
    assert out.read_bytes() != text.read_bytes()


def test_an_unknown_id_is_refused(tokens, chars, out, tmp_path):
    change_id(tokens, 1, 9999)
    with pytest.raises(InputError, match=r"text\.tokens: unknown token ids 9999"):
        decode_file(tokens, chars, out)
    encoded(tmp_path, small_bpe(), b"the")
    change_id(tmp_path / "tokens", 0, 259)
    with pytest.raises(InputError, match="tokens: unknown token ids 259"):
        decode_file(tmp_path / "tokens", tmp_path / "tokenizer", out)
    assert not out.exists()


def test_ids_that_are_not_text_are_refused(tmp_path, out):
    encoded(tmp_path, small_bpe(), b"the cat")
    change_id(tmp_path / "tokens", 1, 258)  # two of the three bytes of a character
    with pytest.raises(InputError, match="tokens: not UTF-8 at byte 3 "):
        decode_file(tmp_path / "tokens", tmp_path / "tokenizer", out)
    assert not out.exists()


def test_words_cannot_be_checked(tmp_path, out):
    encoded(tmp_path, WordTokenizer(["a", "b"]), b"a b")
    with pytest.raises(InputError, match="forgets white space"):
        decode_file(tmp_path / "tokens", tmp_path / "tokenizer", out, text_check=True)
    assert not out.exists()


# --- tokenizers in folders ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tokenizer", [WordTokenizer(["b", "a"]), CharTokenizer("the \n€"), small_bpe(), small_bpe("<end>", "é b", "the")]
)
def test_a_saved_tokenizer_comes_back(tmp_path, tokenizer):
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert type(loaded) is type(tokenizer)
    text = "a b" if isinstance(tokenizer, WordTokenizer) else "the\nthe €" * 2
    assert loaded.encode(text) == tokenizer.encode(text)
    assert loaded.tokens == tokenizer.tokens
    if isinstance(tokenizer, BPETokenizer):
        special = "".join(tokenizer.special_tokens) + "t<end>h<end>é b"
        assert loaded.encode(special) == tokenizer.encode(special)
        assert loaded.special_tokens == tokenizer.special_tokens


def test_the_two_files_of_gpt2_are_enough(tmp_path):
    small_bpe().save(tmp_path)
    fingerprint = tokenizer_sha256(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    assert [path.name for path in tokenizer_files(tmp_path)] == ["merges.txt", "vocab.json"]
    assert load_tokenizer(tmp_path).encode("thé") == [256, 0xC3, 0xA9]
    # What ``sha256sum merges.txt vocab.json | sha256sum`` prints.
    listed = "".join(
        f"{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("merges.txt", "vocab.json")
    )
    assert fingerprint == tokenizer_sha256(tmp_path) == hashlib.sha256(listed.encode()).hexdigest()


def test_special_tokens_are_part_of_the_fingerprint(tmp_path):
    small_bpe("<end>").save(tmp_path)
    assert [path.name for path in tokenizer_files(tmp_path)] == ["merges.txt", "tokenizer.json", "vocab.json"]
    fingerprint = tokenizer_sha256(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"no merge makes '<end>'"):
        load_tokenizer(tmp_path)
    assert tokenizer_sha256(tmp_path) != fingerprint


def test_a_folder_without_a_tokenizer(tmp_path):
    for folder in (tmp_path / "none", tmp_path, Path(__file__)):
        with pytest.raises(InputError, match=r"neither toy_tokenizer\.json nor vocab\.json with merges\.txt"):
            load_tokenizer(folder)
    small_bpe().save(tmp_path)
    (tmp_path / "merges.txt").rename(tmp_path / "merges")
    with pytest.raises(InputError, match="neither"):
        load_tokenizer(tmp_path)
    (tmp_path / "merges").rename(tmp_path / "merges.txt")
    CharTokenizer("a").save(tmp_path)
    with pytest.raises(InputError, match="two tokenizers"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        b"{}",
        b'{"kind": "bpe", "tokens": []}',
        b'{"kind": ["char"], "tokens": []}',
        b'{"kind": "char"}',
        b'{"kind": "char", "tokens": [1]}',
        b'{"kind": "char", "tokens": ["b", "b"]}',
    ],
)
def test_a_damaged_listed_tokenizer(tmp_path, damage):
    (tmp_path / "toy_tokenizer.json").write_bytes(damage)
    with pytest.raises(InputError, match=r"toy_tokenizer\.json(, line 1)?: "):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("vocab.json", b"{}"),
        ("merges.txt", b"x"),
        ("tokenizer.json", b"{"),
        ("tokenizer.json", b'{"added_tokens": [1]}'),
        ("tokenizer.json", b'{"added_tokens": [{"content": "<end>"}]}'),
        ("tokenizer.json", b'{"added_tokens": 1}'),
    ],
)
def test_a_damaged_bpe_tokenizer(tmp_path, name, damage):
    small_bpe("<end>").save(tmp_path)
    (tmp_path / name).write_bytes(damage)
    with pytest.raises(InputError, match=name):
        load_tokenizer(tmp_path)


def test_special_tokens_with_other_ids_than_in_the_vocabulary(tmp_path):
    small_bpe("<end>").save(tmp_path)
    described = json.loads((tmp_path / "tokenizer.json").read_bytes())
    described["added_tokens"][0]["id"] += 1
    (tmp_path / "tokenizer.json").write_text(json.dumps(described))
    with pytest.raises(InputError, match="give special tokens different ids"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("cls", [WordTokenizer, CharTokenizer])
def test_a_vocabulary_of_lines_is_that_of_the_text(tmp_path, cls):
    rng = random.Random(0)
    text = "".join(rng.choice("ab\n\r \t\u2028é\x1c") for _ in range(500))
    cls.from_text(text).save(tmp_path / "whole")
    cls.from_lines(text.splitlines(keepends=True)).save(tmp_path / "lines")
    assert listing_of(tmp_path / "whole") == listing_of(tmp_path / "lines")
    assert json.loads((tmp_path / "lines" / "toy_tokenizer.json").read_bytes())["kind"] == cls.kind


# --- the command line ---------------------------------------------------------------------------------------


def folders(toy_gpt, tmp_path: Path, text: Path) -> Iterator[tuple[Path, int]]:
    """A folder of each kind of tokenizer, and how many ids it gives for the text."""
    content = text.read_bytes().decode()
    for kind, count in (("char", len(content)), ("word", len(content.split()))):
        done = toy_gpt("data", "vocabulary", "--text", text, "--kind", kind, "--out", tmp_path / kind)
        size = len(set(content if kind == "char" else content.split()))
        assert done == (0, f"{tmp_path / kind}: {size} tokens\n", "")
        yield tmp_path / kind, count
    small_bpe("<end>").save(tmp_path / "bpe")
    yield tmp_path / "bpe", len(small_bpe("<end>").encode(content))


def test_commands_there_and_back(toy_gpt, tmp_path, out):
    text, tokens = tmp_path / "text", tmp_path / "tokens"
    content = "the cat .\r\n\nthe €<end>\n".encode()
    text.write_bytes(content)
    for folder, count in folders(toy_gpt, tmp_path, text):
        encode = toy_gpt("data", "encode", "--text", text, "--tokenizer", folder, "--out", tokens)
        assert encode == (0, f"{tokens}: {count} tokens of 16 bits\n", "")
        assert tokens.stat().st_size == HEADER_SIZE + 2 * count
        decode = ("data", "decode", "--tokens", tokens, "--tokenizer", folder, "--out", out)
        if folder.name == "word":
            assert toy_gpt(*decode, "--text-check").refused
            assert toy_gpt(*decode).code == 0
            assert out.read_bytes().decode() == "the cat . the €<end>"
        else:
            assert toy_gpt(*decode, "--text-check") == (0, f"{out}: {len(content)} bytes\n", "")
            assert out.read_bytes() == content
        out.unlink()


def test_commands_refuse_in_one_line(toy_gpt, tmp_path, text, chars, tokens, out):
    empty, blank = tmp_path / "empty", tmp_path / "blank"
    empty.write_bytes(b"")
    blank.write_bytes(b" \n")
    (tmp_path / "other").mkdir()
    CharTokenizer("abc").save(tmp_path / "other")
    before = listing_of(tmp_path)
    for wrong in (
        ("vocabulary", "--text", empty, "--kind", "char"),
        ("vocabulary", "--text", blank, "--kind", "word"),
        ("vocabulary", "--text", text, "--kind", "bpe"),
        ("vocabulary", "--text", tmp_path / "none", "--kind", "char"),
        ("encode", "--text", empty, "--tokenizer", chars),
        ("encode", "--text", text, "--tokenizer", tmp_path),
        ("encode", "--text", text, "--tokenizer", tmp_path / "other"),
        ("encode", "--text", tmp_path / "none", "--tokenizer", chars),
        ("decode", "--tokens", text, "--tokenizer", chars),
        ("decode", "--tokens", tokens, "--tokenizer", tmp_path / "other"),
    ):
        assert toy_gpt("data", *wrong, "--out", out).refused
    assert listing_of(tmp_path) == before
