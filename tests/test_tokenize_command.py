"""``toy-gpt tokenize`` as a user types it: learn from a large file, save, measure, and what it refuses."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Outcome, needs_processes
from toy_gpt_train.data import sample
from toy_gpt_train.data.token_rate import documents, token_rate
from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers.bpe import BPETokenizer
from toy_gpt_train.tokenizers.char import CharTokenizer
from toy_gpt_train.tokenizers.saved import load_tokenizer
from toy_gpt_train.tokenizers.word import WordTokenizer

END = "<|endoftext|>"
ToyGpt = Callable[..., Outcome]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """300 documents of several lines, each with an end mark."""
    rng = random.Random(1)
    texts = ("the cat ran.\nIt sat.", "a dog", "once upon a time\n\nthere was a fox ")
    path = tmp_path / "corpus.txt"
    path.write_text("".join(rng.choice(texts) + END for _ in range(300)), "utf-8", newline="")
    return path


# --- learning and saving ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["word", "char", "bpe"])
def test_a_tokenizer_is_learned_and_saved(kind: str, corpus: Path, tmp_path: Path, toy_gpt: ToyGpt) -> None:
    options = ("--tokenizer", kind, "--corpus", corpus, "--vocab-size", 270, "--special", END, "<pad>")
    outcome = toy_gpt("tokenize", *options, "--save", tmp_path / "saved")
    saved = load_tokenizer(tmp_path / "saved")
    assert outcome == (0, f"written   to {tmp_path / 'saved'}: {saved.vocab_size} tokens\n", "")
    assert (saved.kind, sorted(saved.special)) == (kind, sorted([END, "<pad>"]))
    made = type(saved).from_text(corpus.read_text("utf-8"), 270, [END, "<pad>"])
    assert (saved.tokens, saved.files()) == (made.tokens, made.files())
    outcome = toy_gpt("tokenize", "--tokenizer", tmp_path / "saved", "--text", f"dog{END}")
    assert outcome.out.splitlines()[0].endswith(f"[{END}]")
    assert toy_gpt("tokenize", "--folder", tmp_path / "saved", "--text", f"dog{END}") == outcome


def test_fewer_merges_than_asked_for_are_counted(tmp_path: Path, toy_gpt: ToyGpt) -> None:
    (tmp_path / "small.txt").write_text("hug pug hug")  # hug, Ġhug, Ġpug: ug, hug, Ġhug, and two for Ġpug
    outcome = toy_gpt("tokenize", "--corpus", tmp_path / "small.txt", "--special", END, "--save", tmp_path / "bpe")
    first, second = outcome.out.splitlines()
    assert first == "found     5 merges, not 255: there are no more pairs to merge"
    assert second == f"written   to {tmp_path / 'bpe'}: 262 tokens"


@pytest.mark.slow
@needs_processes
def test_workers_learn_the_same(tmp_path: Path, corpus: Path, toy_gpt: ToyGpt) -> None:
    large = tmp_path / "large.txt"
    large.write_text(corpus.read_text("utf-8") * 160)
    assert large.stat().st_size > 1 << 20
    for workers in (1, 2):
        options = ("--corpus", large, "--vocab-size", 300, "--special", END, "--workers", workers)
        assert toy_gpt("tokenize", *options, "--save", tmp_path / str(workers)).code == 0
    one, two = (BPETokenizer.load(tmp_path / name) for name in ("1", "2"))
    assert (one.merges, one.special) == (two.merges, (END,))


def test_a_tokenizer_of_two_files_is_completed(corpus: Path, tmp_path: Path, toy_gpt: ToyGpt) -> None:
    assert toy_gpt("tokenize", "--corpus", corpus, "--special", "<end>", "--save", tmp_path / "a").code == 0
    (tmp_path / "a" / "tokenizer.json").unlink()
    outcome = toy_gpt("train", "--model", "bigram", "--tokenizer", tmp_path / "a", "--corpus", corpus)
    assert outcome.refused
    assert "no merge makes '<end>'" in outcome.err
    options = ("--tokenizer", tmp_path / "a", "--special", "<end>", "--save", tmp_path / "b")
    assert toy_gpt("tokenize", *options).code == 0
    assert load_tokenizer(tmp_path / "b").special == ("<end>",)


# --- bytes per token ----------------------------------------------------------------------------------------


def test_documents_by_hand(tmp_path: Path, toy_gpt: ToyGpt) -> None:
    WordTokenizer(["a", "b", END], [END]).save(tmp_path / "words")
    (tmp_path / "text.txt").write_text(f"a b{END}a\nb b")
    assert list(documents([f"a b{END[:5]}", f"{END[5:]}a\nb b"], [END])) == [f"a b{END}", "a\nb b"]
    measure = ("tokenize", "--tokenizer", tmp_path / "words", "--file", tmp_path / "text.txt", "--bytes-per-token")
    assert toy_gpt(*measure).out == "6 tokens, 21 bytes: 3.50 bytes per token; 3 tokens in the vocabulary\n"
    drawn = [toy_gpt(*measure, "--documents", 1, "--seed", seed).out for seed in range(8)]
    assert set(drawn) == {
        "1 of 2 documents: 3 tokens, 16 bytes: 5.33 bytes per token; 3 tokens in the vocabulary\n",
        "1 of 2 documents: 3 tokens, 5 bytes: 1.67 bytes per token; 3 tokens in the vocabulary\n",
    }


@pytest.mark.parametrize("special", [[], [END], [END, "a"]])
@pytest.mark.parametrize("cls", [WordTokenizer, CharTokenizer, BPETokenizer])
def test_all_documents_are_the_whole(
    cls: type[WordTokenizer | CharTokenizer | BPETokenizer], special: list[str], corpus: Path
) -> None:
    if cls is BPETokenizer:
        special = [text for text in special if text != "a"]
    text = corpus.read_text("utf-8")
    tokenizer = cls.from_text(text, 300, special)
    whole = token_rate(corpus, tokenizer)
    assert (whole.num_bytes, whole.num_tokens) == (len(text.encode()), len(tokenizer.encode(text)))
    some = token_rate(corpus, tokenizer, 10, seed=1)
    count = sum(map(text.count, special)) + (not text.endswith(END)) if special else text.count("\n") + 1
    assert (some.sampled, some.documents) == (10, count)
    assert some == token_rate(corpus, tokenizer, 10, seed=1) != token_rate(corpus, tokenizer, 10, seed=2)
    every = token_rate(corpus, tokenizer, 10**6)
    assert every.sampled == every.documents == count
    assert every.num_bytes == whole.num_bytes
    if special or cls is not BPETokenizer:  # merges may join a line end and the next one
        assert every.num_tokens == whole.num_tokens


def test_a_document_has_a_limit(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toy_gpt_train.data.token_rate.MAX_LINE_BYTES", 20)
    assert sample.MAX_LINE_BYTES > 1000  # of lines; a document may have many
    with pytest.raises(InputError, match=r"corpus\.txt: a document is longer than"):
        token_rate(corpus, CharTokenizer.from_text(corpus.read_text("utf-8"), special=[END]), 1)


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--special", ""), "a special token is empty"),
        (("--special", END, END), "is given twice"),
        (("--special", "a"), "'a' is a single byte, and every byte is a token already"),
        (("--special", "Ġ"), "cannot be told from an ordinary token"),
        (("--tokenizer", "word", "--special", "a b"), "has a space, which stands between words"),
        (("--tokenizer", "none"), "unknown tokenizer 'none'; there are word, char, bpe, and folders"),
        (("--tokenizer", "{empty}"), "no tokenizer: neither toy_tokenizer.json nor vocab.json with merges.txt"),
        (("--tokenizer", "{empty}", "--corpus", "x"), "a saved tokenizer learns nothing from --corpus"),
        (("--vocab-size", "256", "--special", END), "from 257 (the bytes and the special tokens) to"),
        (("--workers", "0"), "workers must be at least 1"),
        (("--bytes-per-token",), "--bytes-per-token measures a file: give --file"),
        (("--documents", "3"), "--documents goes with --bytes-per-token"),
        (("--bytes-per-token", "--file", "{text}", "--documents", "0"), "at least 1, got 0"),
        (("--bytes-per-token", "--file", "{text}", "--documents", "1", "--seed", "-1"), "the seed must be"),
        (("--bytes-per-token", "--file", "{blank}", "--tokenizer", "word"), "there is no token in it"),
        (("--bytes-per-token", "--file", "{text}", "--tokenizer", "word"), "corpus.txt: unknown token"),
        (("--bytes-per-token", "--file", "{latin}"), "latin.txt, line 1: not UTF-8"),
        (("--corpus", "{latin}"), "latin.txt: not UTF-8"),
        (("--corpus", "{utf16}"), "looks like UTF-16"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    options: tuple[str, ...], message: str, corpus: Path, tmp_path: Path, toy_gpt: ToyGpt
) -> None:
    paths = {name: tmp_path / f"{name}.txt" for name in ("blank", "latin", "utf16")}
    paths["blank"].write_bytes(b" \n")
    paths["latin"].write_bytes(b"caf\xe9")
    paths["utf16"].write_bytes("a text".encode("utf-16"))
    (tmp_path / "empty").mkdir()
    given = [option.format(**paths, empty=tmp_path / "empty", text=corpus) for option in options]
    outcome = toy_gpt("tokenize", *given, "--save", tmp_path / "out")
    assert outcome.refused, outcome
    assert message in outcome.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["word", "char", "bpe"])
def test_special_tokens_from_the_command_line_are_in_the_run(
    kind: str, corpus: Path, tmp_path: Path, toy_gpt: ToyGpt
) -> None:
    options = ("--model", "bigram", "--tokenizer", kind, "--epochs", 1, "--corpus", corpus, "--val-fraction", 0.1)
    outcome = toy_gpt("train", *options, "--special", END, "<pad>", "--base-dir", tmp_path / "run")
    assert outcome.code == 0, outcome
    meta = json.loads((tmp_path / "run" / "artifacts" / "00_meta.json").read_bytes())
    assert meta["tokenizer"] == {"kind": kind, "special": [END, "<pad>"]}
    outcome = toy_gpt("train", *options, "--special", "", "--base-dir", tmp_path / "bad")
    assert outcome.refused
    assert not (tmp_path / "bad" / "artifacts" / "00_meta.json").exists()
    saved = tmp_path / "saved"
    assert toy_gpt("tokenize", "--tokenizer", kind, "--corpus", corpus, "--special", END, "--save", saved).code == 0
    outcome = toy_gpt("train", *options[:2], "--tokenizer", saved, *options[4:], "--base-dir", tmp_path / "again")
    assert outcome.code == 0, outcome
    assert toy_gpt("infer", "--base-dir", tmp_path / "again").code == 0
