"""Byte-level BPE beside the libraries that everyone uses; each test skips where its library is missing.

Run: uv run --with tokenizers --with tiktoken --with regex pytest tests/test_bpe_reference.py
"""

import random
import sys
import unicodedata
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from toy_gpt_train.tokenizers.bpe import BPETokenizer
from toy_gpt_train.tokenizers.bpe_files import BYTE_CHARS, unspell
from toy_gpt_train.tokenizers.bpe_train import learn_merges, number_tokens, train_bpe
from toy_gpt_train.tokenizers.pretokenize import CUTS, GPT2_PATTERN, LLAMA3_PATTERN, pretokenize

STORIES = Path(__file__).parent.parent / "corpus" / "030_stories.txt"
SPECIAL = ["<|endoftext|>", "<|end", "<début>", "<a b>"]
# WHY: a library may know a newer Unicode than Python does; what Python does not know is left out.
KNOWN = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) not in ("Cn", "Cs")]


def sample_texts() -> list[str]:
    """Prose, every known character between others, and random text with white space and special tokens."""
    rng = random.Random(1)
    pieces = [
        *" \t\r\n\u00a0\u3000\x1c\x1f'aBz019²!?_",
        "  ",
        "'s",
        "'ll",
        "é",
        "日本",
        "👩‍👩‍👧",
        "e\u0301",
        *SPECIAL,
        "<|end",
    ]
    mixed = ["".join(rng.choices(pieces, k=rng.randrange(60))) for _ in range(500)]
    wild = ["".join(rng.choices(KNOWN, k=40)) for _ in range(200)]
    every = [
        "".join(f"x{char}1{char}!{char} {char}" for char in KNOWN[at : at + 1000]) for at in range(0, 60_000, 1000)
    ]
    return [STORIES.read_text(encoding="utf-8"), "'" * 9 + "a" * 999, *mixed, *wild, *every]


@pytest.fixture(scope="module", params=["special-first", "gpt2"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BPETokenizer:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(
        STORIES.read_text(encoding="utf-8") + "日本語 d'été 👩‍👩‍👧 " * 9 + "<|endoftext|>", encoding="utf-8"
    )
    vocab, merges = train_bpe(path, 1000, SPECIAL)
    if request.param == "gpt2":  # bytes in the order of the printable alphabet, merges, special tokens
        merged = [left + right for left, right in merges]
        vocab = dict(enumerate([*(bytes([byte]) for byte in BYTE_CHARS), *merged]))
    return BPETokenizer(vocab, merges, SPECIAL)


def test_regex_agrees_on_every_code_point() -> None:
    regex = pytest.importorskip("regex")
    pattern = regex.compile(GPT2_PATTERN)
    for before, after in (("x", "x"), ("1", "1"), ("!", "!"), (" ", "x"), (" ", " "), ("'", "s")):
        text = "".join(f"{before}{char}{after}\n" for char in KNOWN)
        assert pretokenize(text) == pattern.findall(text)


def test_regex_differs_on_no_character_that_python_knows() -> None:
    regex = pytest.importorskip("regex")
    for name, first in ((r"\p{L}", "L"), (r"\p{N}", "N")):
        theirs = set(regex.findall(name, "".join(map(chr, range(sys.maxunicode + 1)))))
        ours = {char for char in KNOWN if unicodedata.category(char)[0] == first}
        assert ours <= theirs
        assert {unicodedata.category(char) for char in theirs - ours} <= {"Cn"}


@pytest.mark.parametrize(("cut", "source"), [("gpt2", GPT2_PATTERN), ("llama3", LLAMA3_PATTERN)])
def test_regex_agrees_on_sample_texts(cut: str, source: str) -> None:
    regex = pytest.importorskip("regex")
    pattern = regex.compile(source)
    for text in sample_texts():
        assert pretokenize(text, cut) == pattern.findall(text)


@pytest.mark.parametrize("ignore_merges", [False, True])
@pytest.mark.parametrize("cut", CUTS)
def test_hugging_face_cuts_as_we_do_in_every_way(
    trained: BPETokenizer, tmp_path: Path, cut: str, ignore_merges: bool
) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    # "xqz" is a token, but its merges lead to "x" and "qz".
    parts = [(b"q", b"z"), (b"x", b"q"), (b"xq", b"z")]
    size = len(trained.vocab)
    vocab = {**trained.vocab, **{size + i: left + right for i, (left, right) in enumerate(parts)}}
    merges = [*trained.merges, *parts]
    ours = BPETokenizer(vocab, merges, trained.special, cut=cut, ignore_merges=ignore_merges)
    assert len(ours.encode("xqz")) == (1 if ignore_merges else 2)
    ours.save(tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in ("xqz", *sample_texts()):
        assert theirs.encode(text).ids == ours.encode(text)
        assert list(ours.encode_iterable(text[i : i + 7] for i in range(0, len(text), 7))) == ours.encode(text)
    again = BPETokenizer.load(tmp_path)
    assert (again.cut_by, again.ignore_merges) == (cut, ignore_merges)
    (tmp_path / "vocab.json").unlink()
    (tmp_path / "merges.txt").unlink()
    assert BPETokenizer.load(tmp_path).description() == ours.description()


def test_hugging_face_reads_tokenizer_json_and_gives_the_same_ids(trained: BPETokenizer, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    trained.save(tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.get_vocab_size() == len(trained.vocab) == 1000
    assert {token: theirs.token_to_id(token) for token in SPECIAL} == trained.special_tokens
    for text in sample_texts():
        ids = trained.encode(text)
        assert ids == theirs.encode(text).ids
        assert trained.decode(ids) == text
        if "é" not in text:  # OBS: its ByteLevel decoder takes special tokens for the printable alphabet, too.
            assert theirs.decode(ids, skip_special_tokens=False) == text


def test_hugging_face_reads_vocab_and_merges(trained: BPETokenizer, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    trained.save(tmp_path)
    model = tokenizers.models.BPE.from_file(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    theirs = tokenizers.Tokenizer(model)
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.add_special_tokens(SPECIAL)
    text = STORIES.read_text(encoding="utf-8") + "<|endoftext|><début>"
    assert trained.encode(text) == theirs.encode(text).ids


def test_we_read_what_hugging_face_trains_and_saves(tmp_path: Path) -> None:
    text = STORIES.read_text(encoding="utf-8")
    theirs = hugging_face_trained(text, 700)
    theirs.model.save(str(tmp_path))
    ours = BPETokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt", ["<|endoftext|>"])
    assert len(ours.merges) == 700 - 257
    assert ours.encode(text + "<|endoftext|>x") == theirs.encode(text + "<|endoftext|>x").ids


def test_hugging_face_learns_the_same_merges_up_to_the_first_tie(tmp_path: Path) -> None:
    # Its trainer breaks ties by ids, ours by bytes: the first merges that differ must be equally frequent. Words
    # that come 1 to 2,000 times make ties rare.
    rng = random.Random(1)
    words = [word for word in sorted(set(pretokenize(STORIES.read_text(encoding="utf-8")))) if word[1:].isalpha()]
    word_counts = {word: rng.randrange(1, 2000) for word in words if word[0] == " "}
    hugging_face_trained("".join(word * count for word, count in word_counts.items()), 700).model.save(str(tmp_path))
    lines = (tmp_path / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    theirs = [(unspell(left), unspell(right)) for left, right in (line.split(" ") for line in lines)]
    ours = learn_merges(word_counts, len(theirs))
    same = next(place for place, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
    assert same >= 100
    counts: Counter[tuple[bytes, bytes]] = Counter()
    partly = BPETokenizer(number_tokens(ours[:same]), ours[:same])
    for word, count in word_counts.items():
        for pair in pairwise(partly.vocab[token_id] for token_id in partly.encode(word)):
            counts[pair] += count
    assert counts[ours[same]] == counts[theirs[same]] == max(counts.values())
    assert ours[same] > theirs[same]


def hugging_face_trained(text: str, vocab_size: int) -> Any:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def test_tiktoken_gives_the_same_ids(trained: BPETokenizer) -> None:
    tiktoken = pytest.importorskip("tiktoken")
    # OBS: of overlapping special tokens it does not take the longest; so there is none.
    ours = BPETokenizer(trained.vocab, trained.merges, [token for token in SPECIAL if token != "<|end"])
    special = ours.special_tokens
    ranks = {token: token_id for token_id, token in ours.vocab.items() if token_id not in special.values()}
    theirs = tiktoken.Encoding("ours", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens=special)
    for text in sample_texts():
        ids = ours.encode(text)
        assert ids == theirs.encode(text, allowed_special="all")
        assert ours.decode(ids) == text == theirs.decode(ids)
