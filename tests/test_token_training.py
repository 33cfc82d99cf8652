"""Training from token files: the same run as from the text itself, from files of every kind, the ids on disk."""

import random
import struct
import tracemalloc
from array import array
from collections.abc import Callable
from math import log
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toy_gpt_train as tg
from conftest import IN_WEBASSEMBLY, listing_of, needs_processes
from toy_gpt_train.data.token_file import TokenFile, decode_file, encode_file
from toy_gpt_train.data.token_layout import MAX_NUMPY_HEADER
from toy_gpt_train.data.token_text import TokenIds, TokenSizes, encoded_files
from toy_gpt_train.errors import InputError, InputWarning
from toy_gpt_train.inference.evaluate import evaluate
from toy_gpt_train.models.ngram_table import NGramTable
from toy_gpt_train.models.registry import LADDER
from toy_gpt_train.tokenizers.char import CharTokenizer
from toy_gpt_train.tokenizers.word import WordTokenizer

DRAW = random.Random(0)
TEXT = " ".join(DRAW.choice(["the", "a", "cat", "dog", "sees", "runs", ".", "é€"]) for _ in range(400))
NUMPY_TYPES = {"u2": "H", "u4": "I", "i4": "i", "i8": "q"}


def words_of(text: str, folder: Path) -> Path:
    """Save the tokenizer of a text's words; return its folder."""
    WordTokenizer.from_text(text).save(folder)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A folder with a tokenizer, a text, and its ids in every kind of file."""
    folder = tmp_path_factory.mktemp("tokens")
    words = words_of(TEXT, folder / "words")
    (folder / "text").write_text(TEXT, encoding="utf-8")
    encode_file([folder / "text"], words, folder / "text.tokens")
    encode_file([folder / "text"], words, folder / "text.bin", raw=True)
    ids = WordTokenizer.from_text(TEXT).encode(TEXT)
    for name, typecode in NUMPY_TYPES.items():
        for version in (1, 2):
            (folder / f"{name}.{version}.npy").write_bytes(npy(name, array(typecode, ids), version))
    return folder


def npy(kind: str, ids: "array[int]", version: int = 1, header: str | None = None) -> bytes:
    """Return a .npy file as numpy writes it: a header padded to a multiple of 64 bytes, and the numbers."""
    line = header or f"{{'descr': '<{kind}', 'fortran_order': False, 'shape': ({len(ids)},), }}"
    length = 2 if version == 1 else 4
    line += " " * (-(8 + length + len(line) + 1) % 64) + "\n"
    return b"\x93NUMPY" + bytes([version, 0]) + len(line).to_bytes(length, "little") + line.encode() + ids.tobytes()


def small(model: str) -> dict[str, Any]:
    """Return options that make training of a model quick."""
    entry = next(entry for entry in LADDER if entry.name == model)
    if entry.model_class.trains_in_steps:
        return {"steps": 3, "eval_every": 1, "size": "tiny", "batch_size": 4}
    return {"epochs": 3} if "epochs" in entry.model_class.options else {}


def numbers_of(run: tg.Run) -> tuple[Any, ...]:
    """Return what a run has learned, and how well: every number that must not depend on where the ids come from."""
    content = run.model.content()
    tables = [(table.name, list(table.rows)) for table in content.tables]
    return run.history, run.meta["metrics"], run.frequencies, tables, content.tensors, run.unigram_loss


# --- the same run -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("model", [entry.name for entry in LADDER])
def test_every_model_learns_the_same_from_ids_as_from_the_text(files, model):
    options = {"tokenizer": files / "words", "val_fraction": 0.2, **small(model)}
    expected = tg.train(model, files / "text", **options)
    found = tg.train(model, tokens=files / "text.tokens", **options)
    assert numbers_of(found) == numbers_of(expected)
    assert found.held_out is not None
    # WHY: what is held out is words with one space after each; the text ends without one.
    assert found.held_out.num_bytes == expected.held_out.num_bytes + 1
    assert found.meta["start_tokens"] == expected.meta["start_tokens"]


@pytest.mark.parametrize("name", ["text.bin", *(f"{kind}.{version}.npy" for kind in NUMPY_TYPES for version in (1, 2))])
def test_files_of_every_kind_give_the_same_run(files, name):
    expected = tg.train("bigram", files / "text", tokenizer=files / "words", epochs=2)
    found = tg.train("bigram", tokens=files / name, tokenizer=files / "words", epochs=2)
    assert numbers_of(found) == numbers_of(expected)
    assert (found.meta["corpus"]["filename"], found.meta["corpus"]["num_chars"]) == (name, len(TEXT) + 1)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["context-2", "kneser-ney", "gpt"])
def test_a_second_file_is_held_out(files, tmp_path, model):
    words = TEXT.split(" ")
    for name, part in (("train", words[:320]), ("val", words[320:])):
        (tmp_path / name).write_text(" ".join(part), encoding="utf-8")
    encode_file([tmp_path / "train"], files / "words", tmp_path / "train.tokens")
    encode_file([tmp_path / "val"], files / "words", tmp_path / "val.bin", raw=True)
    expected = tg.train(model, files / "text", tokenizer=files / "words", val_fraction=0.2, **small(model))
    two = {"tokens": tmp_path / "train.tokens", "val_tokens": tmp_path / "val.bin"}
    found = tg.train(model, **two, tokenizer=files / "words", **small(model))
    assert numbers_of(found) == numbers_of(expected)
    assert found.meta["val_corpus"]["filename"] == "val.bin"


@needs_processes
@pytest.mark.slow
def test_worker_processes_change_no_number(files):
    options = {"tokens": files / "text.bin", "tokenizer": files / "words", "val_fraction": 0.2, **small("gpt")}
    alone = tg.train("gpt", **options, micro_batch=2)
    assert numbers_of(tg.train("gpt", **options, micro_batch=2, workers=2)) == numbers_of(alone)


def test_bytes_of_held_out_tokens_are_those_of_the_text(tmp_path):
    text = "né€😀e" * 20
    CharTokenizer.from_text(text).save(tmp_path / "chars")
    (tmp_path / "text").write_text(text, encoding="utf-8")
    encode_file([tmp_path / "text"], tmp_path / "chars", tmp_path / "ids")
    encoded = encoded_files(tmp_path / "ids", None, tmp_path / "chars", 0.25)
    assert list(encoded.held_out_sizes) == [len(char.encode()) for char in text[75:]]
    assert (encoded.num_train, len(encoded.ids), encoded.source.num_chars) == (75, 100, 100)
    assert encoded.frequencies == [15, 15, 15, 15, 15][: len(encoded.frequencies)]


def test_reading_tells_how_far_it_is(files):
    told: list[float] = []
    encoded_files(files / "text.bin", files / "u2.1.npy", files / "words", on_progress=lambda f, s: told.append(f))
    assert told == [0.0, 0.0]


# --- views ----------------------------------------------------------------------------------------------------


@given(
    parts=st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=4),
    cuts=st.lists(st.tuples(st.none() | st.integers(-9, 20), st.none() | st.integers(-9, 20)), max_size=3),
    index=st.integers(-22, 22),
)
@settings(deadline=None)
def test_several_arrays_are_one_sequence(parts, cuts, index):
    ids = TokenIds([memoryview(array("H", part)) for part in parts])
    expected = [token_id for part in parts for token_id in part]
    for start, stop in cuts:
        ids, expected = ids[start:stop], expected[start:stop]
    assert (len(ids), list(ids), list(reversed(ids))) == (len(expected), expected, expected[::-1])
    sizes = TokenSizes(ids, range(10, 20))
    assert (len(sizes), list(sizes)) == (len(expected), [10 + token_id for token_id in expected])
    assert list(sizes[1:3]) == [10 + token_id for token_id in expected[1:3]]
    if -len(expected) <= index < len(expected):
        assert (ids[index], sizes[index]) == (expected[index], expected[index] + 10)
    else:
        with pytest.raises(IndexError):
            ids[index]


def test_a_slice_copies_nothing():
    numbers = array("H", [1, 2, 3])
    view = TokenIds([memoryview(numbers)])[1:]
    numbers[1] = 7
    assert list(view) == [7, 3]
    with pytest.raises(ValueError, match="without a step"):
        view[::2]


# --- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("ids.bin", b"", "the file is empty"),
        ("ids.bin", b"\0\0\1", "truncated: 2 ids take 4 bytes, the file has 3"),
        ("ids.bin", struct.pack("<3H", 0, 8, 1), "holds the id 8, but ids are 0 to 7"),
        ("ids.bin", b"TOYGPTID\0\0", "not a token file"),
        ("ids.txt", b"\0\0\1\0", "not a token file"),
        ("ids.tokens", b"", "not a token file"),
        ("ids.npy", npy("i4", array("i", [0, -1])), "holds the id -1"),
        ("ids.npy", npy("i8", array("q", [2**62])), f"holds the id {2**62}"),
        ("ids.npy", npy("u4", array("I", [0, 1 << 31])), f"holds the id {1 << 31}"),
        ("ids.npy", npy("u2", array("H", [0, 1]))[:-1], "truncated: 2 ids take 132 bytes, the file has 131"),
        ("ids.npy", npy("u2", array("H", [0, 1])) + b"\0", "too long"),
        ("ids.npy", npy("u2", array("H")), "there is no token to learn from"),
        ("ids.bin", npy("f8", array("d", [1.0])), "only one-dimensional arrays of uint16"),
    ],
)
def test_a_file_that_cannot_be_learned(toy_gpt, files, tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    command = ("train", "--model", "bigram", "--tokenizer", files / "words", "--base-dir", tmp_path / "run")
    for option in (("--tokens", tmp_path / name), ("--tokens", files / "text.bin", "--val-tokens", tmp_path / name)):
        done = toy_gpt(*command, *option)
        if "no token to learn" in message and "--val-tokens" in option:
            continue  # nothing held out is nothing wrong
        assert done.refused
        assert f"{tmp_path / name}: " in done.err
        assert message in done.err
        assert listing_of(tmp_path) == {name: data}


NUMPY_LINE = "{'descr': '<u2', 'fortran_order': False, 'shape': (2,), }"


@pytest.mark.parametrize(
    "header",
    [
        NUMPY_LINE.replace("<u2", ">u2"),
        NUMPY_LINE.replace("<u2", "|u1"),
        NUMPY_LINE.replace("<u2", "<f4"),
        NUMPY_LINE.replace("<u2", "|O"),
        NUMPY_LINE.replace("'<u2'", "[('a', '<u2')]"),
        NUMPY_LINE.replace("False", "True"),
        NUMPY_LINE.replace("(2,)", "(1, 2)"),
        NUMPY_LINE.replace("(2,)", "()"),
        NUMPY_LINE.replace("(2,)", "(-2,)"),
        NUMPY_LINE.replace("(2,)", "(2)"),
        NUMPY_LINE.replace("(2,)", f"({'9' * 20},)"),
        NUMPY_LINE.replace("(2,)", "(__import__('os'),)"),
        NUMPY_LINE.replace("}", "'more': 1}"),
        NUMPY_LINE + "\n" + NUMPY_LINE,
        NUMPY_LINE + " " * MAX_NUMPY_HEADER,
        "",
        "(" * 500,
        "\x1b[2J",
    ],
)
def test_a_numpy_header_that_is_not_of_ids(toy_gpt, files, tmp_path, header):
    ids = array("H", [0, 1])
    (tmp_path / "ids.npy").write_bytes(npy("u2", ids, header=header or " "))
    with pytest.raises(InputError, match="only one-dimensional arrays") as refused:
        TokenFile(tmp_path / "ids.npy")
    assert len(str(refused.value)) < 500
    done = toy_gpt("train", "--tokens", tmp_path / "ids.npy", "--tokenizer", files / "words", "--base-dir", tmp_path)
    assert done.refused
    assert "\x1b" not in done.err
    # The line itself is read, so it is the change that is refused.
    (tmp_path / "ids.npy").write_bytes(npy("u2", ids, header=NUMPY_LINE))
    with TokenFile(tmp_path / "ids.npy") as read:
        assert list(read) == [0, 1]


@pytest.mark.parametrize("version", [b"\0\0", b"\1\1", b"\3\0", b"\xff\xff"])
def test_another_version_of_numpy_files(tmp_path, version):
    (tmp_path / "ids.npy").write_bytes(b"\x93NUMPY" + version + npy("u2", array("H", [0]))[8:])
    with pytest.raises(InputError, match=r"version of \.npy files is unknown"):
        TokenFile(tmp_path / "ids.npy")


def test_every_truncation_of_a_numpy_file_is_refused(tmp_path):
    data = npy("u2", array("H", [0, 1]))
    for length in range(len(data)):
        (tmp_path / "ids.npy").write_bytes(data[:length])
        with pytest.raises(InputError):
            TokenFile(tmp_path / "ids.npy")


@given(data=st.binary(max_size=200), kind=st.sampled_from(["npy", "bin", "tokens"]))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_ids_or_refused(tmp_path_factory, data, kind):
    path = tmp_path_factory.getbasetemp() / f"any.{kind}"
    for start in (b"", b"\x93NUMPY\1\0", b"TOYGPTID\1\0\0\0\x10\0\0\0"):
        path.write_bytes(start + data)
        try:
            with TokenFile(path, vocab_size=70_000) as ids:
                assert len(ids) * ids.bits // 8 <= len(start + data)
        except InputError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017 - either is right


def test_numpys_own_files(tmp_path, files):
    numpy = pytest.importorskip("numpy")
    ids = [0, 7, 3, 2]
    for kind in NUMPY_TYPES:
        numpy.save(tmp_path / "ids.npy", numpy.array(ids, dtype=f"<{kind}"))
        with TokenFile(tmp_path / "ids.npy") as read:
            assert list(read) == ids
    numpy.array(ids, dtype="<u2").tofile(tmp_path / "ids.bin")
    with TokenFile(tmp_path / "ids.bin", files / "words", 8) as read:
        assert (list(read), read.bits) == (ids, 16)
    for wrong in (numpy.array([ids]), numpy.array(ids, dtype=">u2"), numpy.array(1), numpy.array(["a"], dtype=object)):
        numpy.save(tmp_path / "ids.npy", wrong)
        with pytest.raises(InputError, match="only one-dimensional"):
            TokenFile(tmp_path / "ids.npy")


def test_options_that_do_not_go_together(toy_gpt, files, tmp_path):
    tokens, words = files / "text.tokens", files / "words"
    for wrong, message in (
        (("--tokens", tokens), "say which tokenizer wrote the tokens"),
        (("--tokens", tokens, "--tokenizer", "bpe"), "say which tokenizer wrote the tokens"),
        (("--tokens", tokens, "--tokenizer", tmp_path / "none"), "unknown tokenizer"),
        (("--tokens", tokens, "--tokenizer", tmp_path), "no tokenizer"),
        (("--tokens", tokens, "--tokenizer", words, "--corpus", files / "text"), "not both"),
        (("--val-tokens", tokens, "--tokenizer", words), "give both files"),
        (("--tokens", tokens, "--val-tokens", tokens, "--tokenizer", words, "--val-fraction", 0.1), "not both"),
        (("--tokens", tokens, "--tokenizer", words, "--val-fraction", 1), "must be at least 0 and below 1"),
        (("--tokens", files, "--tokenizer", words), str(files)),
        (("--tokens", files / "none", "--tokenizer", words), str(files / "none")),
    ):
        done = toy_gpt("train", *wrong, "--base-dir", tmp_path / "run")
        assert done.refused
        assert message in done.err
    assert listing_of(tmp_path) == {}


def test_tokens_of_another_tokenizer(files, tmp_path):
    words_of(f"{TEXT} more", tmp_path / "other")
    with pytest.raises(InputError, match=r"text\.tokens: was not written with the tokenizer in .*other"):
        tg.train("bigram", tokens=files / "text.tokens", tokenizer=tmp_path / "other")


@pytest.mark.slow
def test_a_run_is_resumed_with_the_same_files_only(files, tmp_path):
    changed = bytearray((files / "text.bin").read_bytes())
    changed[0] = (changed[0] + 1) % 8
    (tmp_path / "other.bin").write_bytes(changed)
    options = {"tokenizer": files / "words", **small("gpt")}
    tg.train("gpt", files / "text", **options, save_to=tmp_path / "text")
    tg.train("gpt", tokens=files / "text.bin", **options, save_to=tmp_path / "ids")
    before = listing_of(tmp_path)
    options |= {"resume": True, "steps": 5}
    for wrong in (
        {"tokens": tmp_path / "other.bin"},
        {"tokens": files / "text.bin", "val_tokens": files / "text.bin"},
        {"tokens": files / "text.bin", "val_fraction": 0.1},
    ):
        with pytest.raises(InputError, match=r"corpus|held-out"):
            tg.train("gpt", **wrong, **options, save_to=tmp_path / "ids")
        assert listing_of(tmp_path) == before
    with pytest.warns(InputWarning, match="resumed from step 3 of 5"):
        expected = tg.train("gpt", files / "text", **options, save_to=tmp_path / "text")
    with pytest.warns(InputWarning, match="resumed from step 3 of 5"):
        found = tg.train("gpt", tokens=files / "text.bin", **options, save_to=tmp_path / "ids")
    assert numbers_of(found) == numbers_of(expected)
    assert [record["step"] for record in found.history] == [1, 2, 3, 4, 5]


# --- files without a header ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "typecode"), [(65_536, "H"), (65_537, "I")])
def test_raw_files_are_ids_and_nothing_else(tmp_path, size, typecode):
    chars = CharTokenizer(chr(code) for code in range(size + 0x800) if not 0xD800 <= code < 0xE000)
    chars.save(tmp_path / "chars")
    text = f"{chr(size - 1 + 0x800)}ab"
    (tmp_path / "text").write_text(text, encoding="utf-8")
    encode_file([tmp_path / "text"], tmp_path / "chars", tmp_path / "ids.bin", raw=True)
    assert (tmp_path / "ids.bin").read_bytes() == struct.pack(f"<3{typecode}", size - 1, 97, 98)
    assert decode_file(tmp_path / "ids.bin", tmp_path / "chars", tmp_path / "out") == len(text.encode())
    assert (tmp_path / "out").read_text(encoding="utf-8") == text


def test_commands_for_raw_files(toy_gpt, files, tmp_path):
    command = ("data", "encode", "--text", files / "text", "--tokenizer", files / "words", "--raw", "--out")
    out, again = tmp_path / "ids.bin", tmp_path / "again.txt"
    assert toy_gpt(*command, out) == (0, f"{out}: 400 tokens of 16 bits\n", "")
    assert out.read_bytes() == (files / "text.tokens").read_bytes()[128:]
    decode = ("data", "decode", "--tokens", out, "--tokenizer", files / "words", "--out", again)
    assert toy_gpt(*decode) == (0, f"{again}: {len(TEXT.encode())} bytes\n", "")
    assert again.read_text(encoding="utf-8") == TEXT
    CharTokenizer.from_text(TEXT).save(tmp_path / "chars")
    before = listing_of(tmp_path)
    checked = ("data", "decode", "--tokens", out, "--tokenizer", tmp_path / "chars", "--text-check", "--out", again)
    for wrong, message in (
        ((*command, tmp_path / "ids.tokens"), "called NAME.bin"),
        (checked, "does not say of which text it was made"),
    ):
        done = toy_gpt(*wrong)
        assert done.refused
        assert message in done.err
    assert listing_of(tmp_path) == before


# --- memory ----------------------------------------------------------------------------------------------------

PEAK = """
import sys, toy_gpt_train as tg
if sys.argv[2] == "train":
    tg.train("gpt", tokens=sys.argv[1], tokenizer=sys.argv[3], size="tiny", steps=2, batch_size=2)
else:
    from pathlib import Path
    from toy_gpt_train.data.token_file import encode_file
    encode_file([Path(sys.argv[1])], Path(sys.argv[3]), Path(sys.argv[1] + ".tokens"))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) // 1024)
"""


@pytest.fixture
def peak(python) -> Callable[..., int]:
    """``peak(file, "train", tokenizer)`` gives the memory in MB that another process took at most."""
    # WHY not getrusage: on Linux it begins with the memory of the process that started this one.
    if not Path("/proc/self/status").exists() or IN_WEBASSEMBLY:
        pytest.skip("only Linux tells the peak of a process alone")

    def measured(*arguments: object) -> int:
        done = python("-c", PEAK, *arguments)
        assert done.code == 0, done.err
        return int(done.out)

    return measured


@pytest.mark.slow
def test_training_holds_a_window_and_not_the_text(peak, files, tmp_path):
    block = array("H", (DRAW.randrange(8) for _ in range(100_000))).tobytes()
    (tmp_path / "small.bin").write_bytes(block)
    (tmp_path / "large.bin").write_bytes(block * 60)
    few, many = (peak(tmp_path / f"{name}.bin", "train", files / "words") for name in ("small", "large"))
    # WHY 12 + 8: 12 MB are the pages of the file that were looked at. A list would take 46 MB more.
    assert many < few + 12 + 8


@pytest.mark.slow
def test_the_pages_of_a_file_are_given_back(peak, files, tmp_path):
    ids = array("H", WordTokenizer.from_text(TEXT).encode(TEXT))
    with (tmp_path / "long.bin").open("wb") as file:
        for _ in range(200):
            file.write(ids.tobytes() * 2_000)  # 320 MB in all
    assert peak(tmp_path / "long.bin", "train", files / "words") < 160


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["word", "char", "bpe"])
def test_encoding_holds_a_block_and_not_the_text(peak, toy_gpt, tmp_path, kind):
    line = "".join(f"the cat number {number} sees a dog; é€.\n" for number in range(1000))
    (tmp_path / "line").write_text(line, encoding="utf-8")
    command = ("tokenize", "--corpus", tmp_path / "line", "--tokenizer", kind, "--vocab-size", 300)
    assert toy_gpt(*command, "--text", "the cat", "--save", tmp_path / kind).code == 0
    data = line.encode()
    peaks = []
    for name, megabytes in (("small", 1), ("large", 30)):
        (tmp_path / name).write_bytes(data * (megabytes * 1_000_000 // len(data)))
        peaks.append(peak(tmp_path / name, "encode", tmp_path / kind))
    assert peaks[1] < peaks[0] + 5


class Guarded(TokenIds):
    """Ids that must not be looked at before a position."""

    first = 90

    def __iter__(self):
        raise AssertionError("all of them are read")

    def __getitem__(self, index):
        position = index.start if isinstance(index, slice) else index
        assert position is not None
        assert position >= self.first
        return super().__getitem__(index)


@pytest.mark.parametrize("model", ["context-3", "gpt", "embeddings"])
def test_scoring_looks_back_no_further_than_its_context(model):
    ids = array("H", (DRAW.randrange(5) for _ in range(100)))
    run = tg.train(model, text="a b c d e a c e", **small(model), context=3)
    found = list(run.model.score(Guarded([memoryview(ids)]), 93))
    assert found == list(run.model.score(list(ids), 93))
    assert len(found) == 7


@pytest.mark.slow
def test_evaluation_keeps_nothing_of_each_token():
    ids = TokenIds([memoryview(array("H", [1, 0] * 25_000))])
    table = NGramTable(2, 1)
    tracemalloc.start()
    try:
        scores = evaluate(table, ids, TokenSizes(ids, [1, 2]), [3, 1])
        assert tracemalloc.get_traced_memory()[1] < 100_000  # a list of the losses alone takes 1,600,000
    finally:
        tracemalloc.stop()
    assert (scores.num_tokens, scores.num_bytes) == (50_000, 75_000)
    assert scores.loss == pytest.approx(log(2))
