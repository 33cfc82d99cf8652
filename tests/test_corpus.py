"""test_corpus.py - A text is read once: what is recorded of it is what was learned; its bytes are counted in scores."""

import hashlib
import json
import math
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toy_gpt_train as tg
from conftest import TINY_TEXT, needs_processes, needs_threads
from toy_gpt_train.corpus import corpus_of, read_corpus
from toy_gpt_train.tokenizers import tokenizer_class
from toy_gpt_train.tokenizers.encoded import encode_corpus

TINY = TINY_TEXT.encode()
needs_fifo = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")


def recorded(base: Path) -> dict[str, Any]:
    """The metadata's description of the corpus of a saved run."""
    described: dict[str, Any] = json.loads((base / "artifacts/00_meta.json").read_text("utf-8"))["corpus"]
    return described


def fingerprint(data: bytes) -> tuple[str, int]:
    """What must be recorded of these bytes: their hash, and how many characters they are."""
    return hashlib.sha256(data).hexdigest(), len(data.decode("utf-8"))


# --- what is recorded is what was learned ---------------------------------------------------------------------


@needs_fifo
@needs_threads
def test_a_named_pipe_is_learned_and_recorded(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    data = b"\xef\xbb\xbf" + "é b\r\n".encode() * 20_000  # more than a pipe holds at once
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    run = tg.train("bigram", pipe, epochs=1)
    writer.join()
    run.save(tmp_path / "run")
    described = recorded(tmp_path / "run")
    assert (described["sha256"], described["num_chars"], described["num_lines"]) == (
        hashlib.sha256(data).hexdigest(),
        5 * 20_000,
        20_000,
    )
    assert described["path"] == described["filename"] == "pipe.txt"
    assert tg.load(tmp_path / "run").frequencies == [20_000, 20_000]


@pytest.mark.slow
@needs_processes
@pytest.mark.skipif(not Path("/dev/stdin").exists(), reason="/dev/stdin is POSIX")
@pytest.mark.parametrize("tokenizer", ["word", "char", "bpe"])
def test_standard_input_is_learned_and_recorded(tmp_path: Path, python: Callable[..., Any], tokenizer: str) -> None:
    options = ("--corpus", "/dev/stdin", "--model", "bigram", "--epochs", 1, "--tokenizer", tokenizer)
    outcome = python("-m", "toy_gpt_train", "train", *options, "--base-dir", tmp_path, stdin=TINY)
    assert (outcome.code, outcome.err) == (0, "")
    described = recorded(tmp_path)
    assert (described["sha256"], described["num_chars"]) == fingerprint(TINY)
    assert described["path"] == described["filename"] == "stdin"
    ladder = ("ladder", "--models", "unigram", "bigram", *options[:2], "--tokenizer", tokenizer)
    outcome = python("-m", "toy_gpt_train", *ladder, "--base-dir", tmp_path / "ladder", stdin=TINY)
    assert (outcome.code, outcome.err, outcome.out.count("\n")) == (0, "", 3)


def change(path: Path) -> None:
    path.write_bytes(b"another text that nobody has learned")


@pytest.mark.parametrize("happens", [change, Path.unlink], ids=["changes", "vanishes"])
def test_a_file_may_change_while_it_is_learned(tmp_path: Path, happens: Callable[[Path], None]) -> None:
    path = tmp_path / "texts" / "tiny.txt"
    path.parent.mkdir()
    path.write_bytes(TINY)
    undisturbed = tg.train("bigram", path, epochs=3, val_fraction=0.2)
    records: list[object] = []

    def disturb(record: object) -> None:
        if not records:
            happens(path)
        records.append(record)

    run = tg.train("bigram", path, epochs=3, val_fraction=0.2, on_record=disturb)
    assert len(records) == 3
    assert (run.meta, run.history) == (undisturbed.meta, undisturbed.history)
    run.save(tmp_path)
    described = recorded(tmp_path)
    assert (described["sha256"], described["num_chars"]) == fingerprint(TINY)
    assert described["path"] == "texts/tiny.txt"


def test_the_current_folder_may_be_another_one_when_a_run_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("learned", "later"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tiny.txt").write_bytes(name.encode() * 2 + b" " + TINY)
    monkeypatch.chdir(tmp_path / "learned")
    run = tg.train("bigram", "tiny.txt", epochs=1)
    monkeypatch.chdir(tmp_path / "later")
    run.save(tmp_path)
    assert recorded(tmp_path)["path"] == "learned/tiny.txt"


@pytest.mark.parametrize("data", [b"", b"a", b"\n", b"\xef\xbb\xbf", b"a\r\rb\n\n \t\nc", TINY, "é\u2028b".encode()])
def test_sizes_of_a_corpus(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(data)
    corpus = read_corpus(path)
    text = data.decode("utf-8").removeprefix("\ufeff")
    lines = text.replace("\r", "\n").split("\n")
    assert (corpus.text, corpus.name, corpus.path) == (text, "text.txt", path)
    assert corpus.sha256 == hashlib.sha256(data).hexdigest()
    assert corpus.source.num_lines == len([line for line in lines if line.strip()])
    assert corpus_of(text).source.num_lines == corpus.source.num_lines


# --- the bytes that are scored ----------------------------------------------------------------------------------

SPACES = " \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u2003\u2028\u3000"
any_text = st.text(st.one_of(st.sampled_from(SPACES + "aé😀"), st.characters(exclude_categories=["Cs"])), max_size=30)


@settings(max_examples=100, deadline=None)
@given(text=any_text, kind=st.sampled_from(["word", "char", "bpe"]), merges=st.integers(0, 5))
def test_every_byte_of_a_text_belongs_to_one_token(text: str, kind: str, merges: int) -> None:
    tokenizer = tokenizer_class(kind).from_text(text, 256 + merges)
    sizes = tokenizer.sizes(text)
    assert len(sizes) == len(tokenizer.encode(text))
    assert all(size > 0 for size in sizes)
    assert sum(sizes) == (len(text.encode("utf-8")) if sizes else 0)


@settings(max_examples=60, deadline=None)
@given(text=any_text, kind=st.sampled_from(["word", "char", "bpe"]), share=st.sampled_from([0.0, 0.25, 0.5, 0.9]))
def test_the_held_out_tokens_have_the_bytes_of_the_end_of_the_text(text: str, kind: str, share: float) -> None:
    text = "a " + text + " b"
    encoded = encode_corpus(corpus_of(text), kind, 258, share)
    assert len(encoded.held_out_sizes) == len(encoded.ids) - encoded.num_train
    held_out = text.encode("utf-8")[len(text.encode("utf-8")) - sum(encoded.held_out_sizes) :].decode("utf-8")
    assert encoded.tokenizer.encode(held_out) == encoded.ids[encoded.num_train :]


def surprise(run: tg.Run, text: str) -> float:
    """How much a text surprises a run, in bits: the sum over its tokens, from their probabilities."""
    ids = run.tokenizer.encode(text)
    bits = 0.0
    for position, token_id in enumerate(ids):
        before = ids[max(position - run.model.context_size, 0) : position]
        known = len(before) >= run.model.min_context
        bits -= math.log2(run.model.next_probs(before)[token_id] if known else 1 / run.model.vocab_size)
    return bits


@pytest.mark.parametrize(
    ("tokenizer", "text", "num_bytes"),
    [
        ("char", "éé", 4),
        ("char", "\t\r\n 😀\u2028", 4 + 4 + 3),
        ("word", "  é\t\tb \r\n\u3000é", 2 + 4 + 1 + 6 + 2),
        ("word", "\n\n\nb\n\n\n", 7),
        ("bpe", "éé", 4),
        ("bpe", "  b\t\té\r\n", 9),
    ],
)
def test_bits_per_byte_are_those_of_the_file(tmp_path: Path, tokenizer: str, text: str, num_bytes: int) -> None:
    learned = "é b é b b é \t\r\n 😀 \u2028"
    run = tg.train("bigram", text=learned, tokenizer=tokenizer, epochs=5)
    path = tmp_path / "text.txt"
    for mark in (b"", b"\xef\xbb\xbf"):  # a byte-order mark is no part of the text
        path.write_bytes(mark + text.encode())
        found = run.score(path)
        assert found.num_bytes == num_bytes == len(text.encode())
        assert found.bits_per_byte == pytest.approx(surprise(run, text) / num_bytes, rel=1e-12)


def test_bits_per_byte_of_known_tokens_alone() -> None:
    run = tg.train("unigram", text="é b é b", epochs=1)
    skipped = run.score(text=" é  zzz\n\nb ", unknown="skip")
    assert (skipped.unknown_tokens, skipped.num_tokens) == (1, 2)
    assert skipped.num_bytes == (1 + 2 + 2) + 2
    assert skipped.bits_per_byte == pytest.approx(surprise(run, "é b") / 7, rel=1e-12)
    counted = run.score(text=" é  zzz\n\nb ")
    assert counted.num_bytes == 12
    assert counted.bits_per_byte == pytest.approx((surprise(run, "é b") + 1) / 12, rel=1e-12)  # 1/V is 1/2: one bit


def test_bits_per_byte_of_the_held_out_part() -> None:
    run = tg.train("unigram", text="a b  a\té\r\né ", epochs=1, val_fraction=0.4)
    assert run.held_out is not None
    assert (run.held_out.num_tokens, run.held_out.num_bytes) == (2, (2 + 2) + (2 + 1))
    assert run.held_out.bits_per_byte == pytest.approx(surprise(run, "é é") / 7, rel=1e-12)
