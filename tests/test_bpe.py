"""Byte-level BPE against bpe_naive.py, hard text, cut streams, damaged files."""

import json
import os
import tracemalloc
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conftest import needs_processes
from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers import bpe_files, bpe_merge, bpe_naive, bpe_train
from toy_gpt_train.tokenizers.bpe import BPETokenizer
from toy_gpt_train.tokenizers.bpe_train import train_bpe
from toy_gpt_train.tokenizers.pretokenize import last_certain_cut, pretokenize
from toy_gpt_train.tokenizers.special import TextSplitter
from toy_gpt_train.tokenizers.tokenizer_json import TOKENIZER_NAME

STORIES = Path(__file__).parent.parent / "corpus" / "030_stories.txt"
BYTES = [bytes([byte]) for byte in range(256)]
SPECIAL = ["<a>", "<a><b>", "a<", "'s '", "<end of text>"]
HARD_TEXTS = [
    "",
    "plain",
    "  two  spaces, \t tabs \n\n and ends \r\n\r\n  ",
    "it's we'll I'd they've 'tis 'S 'LL ''s '",
    "👩‍👩‍👧‍👦 👍🏽 🇫🇷 e\u0301 a\u0308\u0323 ⅷ ² ½ ٣ १२",
    "日本語の文章。中文,한국어 ไทย עברית العربية",
    "def f(x):\n    return {x**2: 'a_b'}  # ok\n\tif __name__ == \"__main__\":\r\n",
    "\x00\x01\x1c\x1d\x1e\x1f \x1c \x85\xa0\u2028\u3000\ufeff\ufffe\U0010ffff",
    "<a><b><a <a<a>< <end of text> <end of",
]


# --- The plain definitions, beside bpe_naive.py -----------------------------------------------------------


def naive_pretokenize(text: str) -> list[str]:
    """GPT-2's pattern, alternative by alternative, read off Unicode's categories."""

    def kind(char: str) -> str:
        if unicodedata.category(char)[0] in "LN":
            return unicodedata.category(char)[0]
        return "space" if char.isspace() and not "\x1c" <= char <= "\x1f" else "sign"

    pieces: list[str] = []
    start = 0
    while start < len(text):
        short = next((s for s in ("'s", "'d", "'m", "'t", "'ll", "'ve", "'re") if text.startswith(s, start)), None)
        first = start + (text[start] == " ")
        if short:
            end = start + len(short)
        elif first < len(text) and kind(text[first]) != "space":
            end = first
            while end < len(text) and kind(text[end]) == kind(text[first]):
                end += 1
        else:
            end = start
            while end < len(text) and kind(text[end]) == "space":
                end += 1
            if end < len(text) and end - start > 1:
                end -= 1
        pieces.append(text[start:end])
        start = end
    return pieces


def naive_split(text: str, special: Sequence[str]) -> list[str]:
    """Text and special tokens in turn; the leftmost special token, and of those the longest."""
    pieces = [""]
    start = 0
    while start < len(text):
        found = max((token for token in special if text.startswith(token, start)), key=len, default="")
        if found:
            pieces += [found, ""]
        else:
            pieces[-1] += text[start]
        start += len(found) or 1
    return pieces


def naive_train(text: str, num_merges: int, special: Sequence[str] = ()) -> list[tuple[bytes, bytes]]:
    words = [word for piece in naive_split(text, special)[::2] for word in naive_pretokenize(piece)]
    return bpe_naive.train(words, num_merges)


def naive_encode(text: str, tokenizer: BPETokenizer) -> list[int]:
    id_of = {token: token_id for token_id, token in tokenizer.vocab.items()}
    ids: list[int] = []
    for index, piece in enumerate(naive_split(text, list(tokenizer.special_tokens))):
        if index % 2:
            ids.append(tokenizer.special_tokens[piece])
        else:
            tokens = [bpe_naive.encode(word, tokenizer.merges) for word in naive_pretokenize(piece)]
            ids += [id_of[token] for word in tokens for token in word]
    return ids


def make_tokenizer(merges: list[tuple[bytes, bytes]], special: Sequence[str] = ()) -> BPETokenizer:
    tokens = dict.fromkeys([*BYTES, *(left + right for left, right in merges)])
    return BPETokenizer(dict(enumerate(tokens)), merges, special)


def train_text(text: str, vocab_size: int, special: Sequence[str] = (), workers: int = 1) -> BPETokenizer:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "text.txt"
        path.write_bytes(text.encode())
        vocab, merges = train_bpe(path, vocab_size, special, workers=workers)
    return BPETokenizer(vocab, merges, special)


# Few different characters, so that pairs repeat, tie and overlap; all the kinds that the pattern tells apart.
texts = st.lists(
    st.sampled_from([*"aaabb  cslv''re<>!19\n\t_", "é", "日", "²", "\u00a0", "\x1c", "👍", *SPECIAL]), max_size=60
).map("".join)


@st.composite
def cut_texts(draw: st.DrawFn) -> list[str]:
    text = draw(texts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]


@st.composite
def any_merges(draw: st.DrawFn) -> list[tuple[bytes, bytes]]:
    """Merges of tokens made before, then shuffled: ranks need not follow the order of making."""
    tokens = [b"a", b"b", b"c", b" "]
    merges: list[tuple[bytes, bytes]] = []
    for left, right in draw(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=14)):
        merges.append((tokens[left % len(tokens)], tokens[right % len(tokens)]))
        tokens.append(b"".join(merges[-1]))
    return draw(st.permutations(list(dict.fromkeys(merges))))


# --- Pre-tokenization -------------------------------------------------------------------------------------


def test_pretokens_by_hand() -> None:
    assert pretokenize("We've  3x\n\n y'all!'s _") == [
        "We",
        "'ve",
        " ",
        " 3",
        "x",
        "\n\n",
        " y",
        "'",
        "all",
        "!'",
        "s",
        " _",
    ]
    assert pretokenize("a \n") == ["a", " \n"]
    assert pretokenize("a\x1cb\u3000\u3000c") == ["a", "\x1c", "b", "\u3000", "\u3000", "c"]


@settings(deadline=None, max_examples=300)
@given(st.one_of(texts, st.text(max_size=30)))
def test_pretokens_are_those_of_the_pattern(text: str) -> None:
    assert pretokenize(text) == naive_pretokenize(text)


@pytest.mark.slow
def test_every_code_point_has_the_class_of_its_category() -> None:
    chars = [chr(code) for code in range(0x110000)]

    def joining(char: str, before: str) -> set[str]:
        """Return the characters that make one pre-token with ``char``, as only those of its kind do."""
        pretokens = set(pretokenize("".join(f"{before}{char}{other}" for other in chars)))
        return {other for other in chars if char + other in pretokens}

    letters, numbers, signs = joining("x", "!"), joining("1", "!"), joining("!", "x")
    assert letters == {char for char in chars if unicodedata.category(char)[0] == "L"}
    assert numbers == {char for char in chars if unicodedata.category(char)[0] == "N"}
    assert signs.isdisjoint(letters | numbers)
    assert set(chars) - letters - numbers - signs == {char for char in chars if char.isspace()} - set(
        "\x1c\x1d\x1e\x1f"
    )


@settings(deadline=None, max_examples=300)
@given(texts)
def test_special_tokens_are_found_leftmost_and_longest(text: str) -> None:
    assert TextSplitter(SPECIAL, last_certain_cut).split(text) == naive_split(text, SPECIAL)


def test_a_stream_holds_back_only_what_may_change() -> None:
    splitter = TextSplitter(["<end>"], last_certain_cut)
    stream = splitter.blocks(iter(["one two thr", "ee <en", "d> four", " it'", "ll", " "]))
    assert list(stream) == ["one two", " three", " <end>", " four it", "'ll "]


@settings(deadline=None, max_examples=500)
@given(cut_texts())
@example(["1", "9 ", "9", "é", "日 ", " ", "'", "l", "l"])
def test_blocks_of_a_stream_have_the_pretokens_of_the_whole(chunks: list[str]) -> None:
    def pieces(parts: list[str]) -> list[str]:
        return [
            piece for place, part in enumerate(parts) for piece in ([part] if place % 2 else naive_pretokenize(part))
        ]

    splitter = TextSplitter(SPECIAL, last_certain_cut)
    found = [piece for block in splitter.blocks(chunks) for piece in pieces(splitter.split(block))]
    assert found == pieces(naive_split("".join(chunks), SPECIAL))


@settings(deadline=None, max_examples=300)
@given(cut_texts(), st.sampled_from(["llama3", "digits"]))
@example(["a!", "\n", "\n", "b"], "llama3")
@example(["12", "34", "5 ", "6"], "llama3")
@example(["a ", " ", "1"], "digits")
def test_blocks_have_the_pretokens_of_the_whole_in_other_ways_to_cut(chunks: list[str], cut: str) -> None:
    splitter = TextSplitter([], partial(last_certain_cut, cut=cut))
    found = [piece for block in splitter.blocks(chunks) for piece in pretokenize(block, cut)]
    assert found == pretokenize("".join(chunks), cut)


def test_other_ways_to_cut() -> None:
    text = "It'S  $x 1234 \n\n(a)!\n b"
    assert pretokenize(text, "llama3") == ["It", "'S", " ", " $", "x", " ", "123", "4", " \n\n", "(a", ")!\n", " b"]
    assert pretokenize("a  12 b", "digits") == ["a", "  ", "1", "2", " b"]


def test_a_whole_token_needs_no_merges() -> None:
    vocab = {byte: bytes([byte]) for byte in range(256)} | {256: b"ab", 257: b"bc", 258: b"abc"}
    merges = [(b"b", b"c"), (b"a", b"b"), (b"ab", b"c")]
    assert BPETokenizer(vocab, merges).encode("abc") == [97, 257]
    assert BPETokenizer(vocab, merges, ignore_merges=True).encode("abc") == [258]


# --- Training ---------------------------------------------------------------------------------------------


def test_training_by_hand_with_a_tie() -> None:
    # l+o 3, o+w 3, w+e 1, e+r 1: the tie of l+o and o+w goes to the greater o+w; then l+ow 3;
    # then low+e 1 and e+r 1: the greater is low+e; then lowe+r; and no pair is left.
    trained = train_text("low,low,lower", 300)
    assert trained.merges == [(b"o", b"w"), (b"l", b"ow"), (b"low", b"e"), (b"lowe", b"r")]
    assert trained.vocab[259] == b"lower"
    assert len(trained.vocab) == 260


def test_ties_compare_bytes_not_ids_and_beginnings_are_smaller() -> None:
    assert bpe_train.learn_merges({"az": 1, "b!": 1, "ÿ": 1}, 3) == [(b"\xc3", b"\xbf"), (b"b", b"!"), (b"a", b"z")]
    # a+b is id 256, but ("ab", "c") is smaller than ("b", "c"), and ("a", "z") than ("ab", "c").
    words = {"ab": 5, "abc": 2, "bc": 2, "az": 2}
    assert bpe_train.learn_merges(words, 4) == [(b"a", b"b"), (b"b", b"c"), (b"ab", b"c"), (b"a", b"z")]
    assert bpe_train.learn_merges(words, 99) == bpe_train.learn_merges(words, 4)


@settings(deadline=None, max_examples=200)
@given(texts, st.integers(0, 40))
@example("aaaaaaa aaaa aaa", 40)
def test_training_agrees_with_recounting(text: str, num_merges: int) -> None:
    trained = train_text(text, 256 + len(SPECIAL) + num_merges, SPECIAL)
    assert trained.merges == naive_train(text, num_merges, SPECIAL)


def test_training_agrees_with_recounting_on_prose() -> None:
    text = STORIES.read_text(encoding="utf-8")[:3000]
    assert train_text(text, 256 + 60).merges == naive_train(text, 60)


def test_special_tokens_come_first_then_bytes_then_merges() -> None:
    trained = train_text("abab<x>abab", 261, ["<x>", "<y>"])
    assert trained.merges == [(b"a", b"b"), (b"ab", b"ab")]
    assert [trained.vocab[i] for i in (0, 1, 2, 257, 258, 259)] == [b"<x>", b"<y>", b"\x00", b"\xff", b"ab", b"abab"]
    assert list(trained.vocab) == list(range(260))
    assert trained.special_tokens == {"<x>": 0, "<y>": 1}


def test_special_tokens_are_boundaries_and_not_trained_on() -> None:
    trained = train_text("ab<q>ab<q>ab<q>", 300, ["<q>"])
    assert trained.merges == [(b"a", b"b")]


def test_an_empty_file_teaches_nothing() -> None:
    assert train_text("", 300).merges == []


@pytest.mark.parametrize("block_bytes", [1, 2, 7, 1000])
def test_block_size_changes_nothing(block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = STORIES.read_text(encoding="utf-8")[:2000] + "<a><b> it'll 日本語 \r\n  x<end of text>" * 20
    whole = train_text(text, 320, SPECIAL).merges
    monkeypatch.setattr(bpe_train, "BLOCK_BYTES", block_bytes)
    assert train_text(text, 320, SPECIAL).merges == whole
    assert len(whole) == 320 - 256 - len(SPECIAL)


@needs_processes
def test_two_processes_train_what_one_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe_train, "BLOCK_BYTES", 1 << 12)
    text = STORIES.read_text(encoding="utf-8").replace("\n\n", "<end of text>")
    one = train_text(text, 500, SPECIAL)
    two = train_text(text, 500, SPECIAL, workers=2)
    assert (two.vocab, two.merges) == (one.vocab, one.merges)
    assert len(one.merges) == 500 - 256 - len(SPECIAL)


@pytest.mark.parametrize("block_bytes", [1, 3, 1 << 20])
@pytest.mark.parametrize(("data", "offset"), [(b"abc\xffdef", 3), ("é".encode() * 4 + b"\xc3", 8), (b"a\xe6\x97x", 1)])
def test_text_that_is_not_utf8(
    data: bytes, offset: int, block_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bpe_train, "BLOCK_BYTES", block_bytes)
    path = tmp_path / "bad.txt"
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"bad\.txt: not UTF-8 at byte {offset} \("):
        train_bpe(path, 300, [])


@pytest.mark.parametrize(
    ("vocab_size", "special", "workers", "message"),
    [
        (255, [], 1, "from 256"),
        (257, ["<a>", "<b>"], 1, "from 258"),
        (1 << 21, [], 1, "to 1114112"),
        (300, [""], 1, "special token is empty"),
        (300, ["<a>", "<b>", "<a>"], 1, "'<a>' is given twice"),
        (300, ["\ud800"], 1, "lone surrogate"),
        (300, ["a"], 1, "'a' is a single byte"),
        (300, [], 0, "workers must be at least 1"),
    ],
)
def test_training_arguments_that_make_no_sense(vocab_size: int, special: list[str], workers: int, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        train_text("abc", vocab_size, special, workers)
    assert "\n" not in str(caught.value)


# --- Encoding and decoding --------------------------------------------------------------------------------


def test_encoding_by_hand() -> None:
    tokenizer = make_tokenizer([(b"u", b"g"), (b"h", b"ug"), (b" ", b"hug")], ["<s>"])
    assert tokenizer.encode("hug hug bug<s>u") == [257, 258, 32, 98, 256, 259, 117]
    assert tokenizer.decode([257, 258, 32, 98, 256, 259, 117]) == "hug hug bug<s>u"


def test_a_lower_rank_goes_first_even_if_it_was_just_made_possible() -> None:
    # a+b at the left makes ab+a possible, which has the lower rank: it is done before a+b at the right.
    tokenizer = make_tokenizer([(b"ab", b"a"), (b"a", b"b")])
    assert [tokenizer.vocab[token_id] for token_id in tokenizer.encode("abab")] == [b"aba", b"b"]


@settings(deadline=None, max_examples=400)
@given(any_merges(), st.text("aabc <", max_size=30))
def test_encoding_is_lowest_rank_first(merges: list[tuple[bytes, bytes]], text: str) -> None:
    tokenizer = make_tokenizer(merges, ["<", "b<a"])
    ids = tokenizer.encode(text)
    assert ids == naive_encode(text, tokenizer)
    assert tokenizer.decode_bytes(ids) == text.encode()


@settings(deadline=None, max_examples=200)
@given(texts, texts)
def test_trained_merges_encode_and_decode_any_text(trained_on: str, text: str) -> None:
    tokenizer = train_text(trained_on, 290, SPECIAL)
    ids = tokenizer.encode(text)
    assert ids == naive_encode(text, tokenizer)
    assert tokenizer.decode(ids) == text


@settings(deadline=None)
@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    tokenizer = make_tokenizer([(b"\xf0", b"\x9f"), (b"a", b"a")], SPECIAL)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_hard_text_comes_back(text: str) -> None:
    tokenizer = train_text("".join(HARD_TEXTS), 340, SPECIAL)
    assert tokenizer.decode_bytes(tokenizer.encode(text)) == text.encode()
    assert tokenizer.encode(text) == naive_encode(text, tokenizer)


@pytest.mark.slow
def test_a_million_times_one_character() -> None:
    text = "a" * 1_000_000
    tokenizer = train_text(text, 300)
    assert tokenizer.merges[:2] == [(b"a", b"a"), (b"aa", b"aa")]
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode("a" * 7) == [tokenizer.encode("aaaa")[0], tokenizer.encode("aa")[0], 97]


@settings(deadline=None, max_examples=500)
@given(cut_texts())
@example(["it'", "l", "l be <en", "d of", " text", "> ", " ", "x"])
@example(["<a", "><", "b", "><a>", "<", "a"])
def test_a_cut_stream_has_the_ids_of_the_whole(chunks: list[str]) -> None:
    merges = [(b"a", b"a"), (b"'", b"l"), (b"l", b"l"), (b" ", b" "), (b" ", b"a"), (b"<", b"a"), (b" ", b"<")]
    tokenizer = make_tokenizer(merges, SPECIAL)
    text = "".join(chunks)
    assert list(tokenizer.encode_iterable(chunks)) == naive_encode(text, tokenizer) == tokenizer.encode(text)


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_a_book_in_chunks(size: int) -> None:
    text = STORIES.read_text(encoding="utf-8")[:20_000] + "".join(HARD_TEXTS)
    tokenizer = train_text(text, 400, SPECIAL)
    chunks = (text[start : start + size] for start in range(0, len(text), size))
    assert list(tokenizer.encode_iterable(chunks)) == tokenizer.encode(text)


def test_ids_come_while_the_stream_goes_on() -> None:
    tokenizer = make_tokenizer([])

    def endless() -> Iterator[str]:
        while True:
            yield "word "

    ids = tokenizer.encode_iterable(endless())
    assert tokenizer.decode([next(ids) for _ in range(50)]) == "word " * 10


@pytest.mark.slow
def test_a_stream_takes_constant_memory() -> None:
    tokenizer = make_tokenizer([(b"o", b"n")], ["<end>"])
    lines = ("once upon a time, there was a fox.\n" for _ in range(20_000))
    tracemalloc.start()
    try:
        count = sum(1 for _ in tokenizer.encode_iterable(lines))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 20_000 * (35 - 2)
    assert peak < 100_000  # the text has 700,000 bytes


def test_the_word_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe_merge, "CACHED_WORDS", 10)
    tokenizer = make_tokenizer([(b"a", b"b")])
    text = " ".join(f"ab{chr(97 + i)}" for i in range(26)) + "x" * 1000
    for _ in range(2):
        assert tokenizer.encode(text) == naive_encode(text, tokenizer)
        assert 0 < len(tokenizer._cache) <= 10
    assert max(map(len, tokenizer._cache)) <= bpe_merge.CACHED_WORD_BYTES


@pytest.mark.parametrize("text", ["\ud800", "fine so far \udfff", "<\ud83d>"])
def test_a_lone_surrogate_is_refused(text: str) -> None:
    tokenizer = make_tokenizer([])
    with pytest.raises(InputError, match=r"lone surrogate \(U\+D"):
        tokenizer.encode(text)
    with pytest.raises(InputError, match=r"lone surrogate \(U\+D"):
        list(tokenizer.encode_iterable(text))


def test_decoding_what_is_not_utf8() -> None:
    tokenizer = make_tokenizer([])
    assert tokenizer.decode([97, 0xE6, 0x97]) == "a\ufffd"
    assert tokenizer.decode_bytes([97, 0xE6, 0x97]) == b"a\xe6\x97"
    assert tokenizer.decode([0xE6, 0x97, 0xA5]) == "日"


def test_a_special_token_that_the_vocabulary_lacks_is_appended() -> None:
    vocab = dict(enumerate([*BYTES, b"<known>", b"zz"]))
    tokenizer = BPETokenizer(vocab, [], ["<new>", "<known>"])
    assert tokenizer.special_tokens == {"<new>": 258, "<known>": 256}
    assert tokenizer.encode("<known><new>") == [256, 258]
    assert tokenizer.decode([258]) == "<new>"
    assert (tokenizer.vocab_size, len(vocab)) == (259, 258)


def test_overlapping_special_tokens() -> None:
    tokenizer = make_tokenizer([], ["<a>", "<a><b>", "><"])
    ids = tokenizer.special_tokens
    assert tokenizer.encode("<a><b><a><a") == [ids["<a><b>"], ids["<a>"], 60, 97]
    assert tokenizer.encode("b><a>") == [98, ids["><"], 97, 62]
    tokenizer = make_tokenizer([], ["<", "<a>"])
    assert list(tokenizer.encode_iterable("<<a><a")) == [60, 256, 60, 97]


def test_merge_steps_by_hand() -> None:
    tokenizer = make_tokenizer([(b"u", b"g"), (b"h", b"ug"), (b" ", b"hug")])
    steps = tokenizer.merge_steps(" hugs")
    assert [step.rank for step in steps] == [0, 1, 2]
    assert [step.merge for step in steps] == tokenizer.merges
    assert [step.tokens for step in steps][::2] == [[b" ", b"h", b"ug", b"s"], [b" hug", b"s"]]
    assert tokenizer.merge_steps("x") == []
    with pytest.raises(InputError, match="not one pre-token but 2"):
        tokenizer.merge_steps("two words")
    with pytest.raises(InputError, match="not one pre-token but 0"):
        tokenizer.merge_steps("")


@settings(deadline=None, max_examples=200)
@given(any_merges(), st.text("abc", min_size=1, max_size=20))
def test_merge_steps_end_where_encoding_ends(merges: list[tuple[bytes, bytes]], word: str) -> None:
    tokenizer = make_tokenizer(merges)
    tokens = [bytes([byte]) for byte in word.encode()]
    for step in tokenizer.merge_steps(word):
        assert len(step.tokens) == len(tokens) - 1
        assert tokenizer.merges[step.rank] == step.merge
        tokens = step.tokens
    assert [tokenizer.vocab[token_id] for token_id in tokenizer.encode(word)] == tokens


# --- What a tokenizer is made of --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vocab", "merges", "special", "message"),
    [
        (BYTES[:65] + BYTES[66:], [], [], "byte 0x41 has no token"),
        ([*BYTES, b"A"], [], [], "ids 65 and 256 are the same token 'A'"),
        (BYTES, [(b"a", b"b")], [], "merge 0: 'ab' is not in the vocabulary"),
        ([*BYTES, b"abc"], [(b"ab", b"c")], [], "merge 0: 'ab' is not in the vocabulary"),
        ([*BYTES, b"ab"], [(b"a", b"b"), (b"a", b"b")], [], "merge 1: 'a' and 'b' are merged twice"),
        (BYTES, [], ["<a>", "<a>"], "'<a>' is given twice"),
        (BYTES, [], [""], "special token is empty"),
    ],
)
def test_parts_that_do_not_fit(
    vocab: list[bytes], merges: list[tuple[bytes, bytes]], special: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        BPETokenizer(dict(enumerate(vocab)), merges, special)


@pytest.mark.parametrize("token_id", [-1, 257, 1 << 32])
def test_ids_are_numbered_without_gaps(token_id: int) -> None:
    with pytest.raises(InputError, match=f"token 'ab' has the id {token_id}; ids must be 0 to 256"):
        BPETokenizer({token_id: b"ab"} | dict(enumerate(BYTES)), [])


# --- Files ------------------------------------------------------------------------------------------------


def gpt2_numbers(trained: BPETokenizer) -> BPETokenizer:
    """The same tokenizer numbered as GPT-2 does: bytes in the order of the printable alphabet, merges, the rest."""
    merged = [left + right for left, right in trained.merges]
    vocab = dict(enumerate([*(bytes([byte]) for byte in bpe_files.BYTE_CHARS), *merged]))
    return BPETokenizer(vocab, trained.merges, trained.special_tokens)


@pytest.mark.parametrize("order", ["special-first", "gpt2"])
def test_files_give_the_same_tokenizer(order: str, tmp_path: Path) -> None:
    text = STORIES.read_text(encoding="utf-8")[:5000] + "".join(HARD_TEXTS)
    special = [*SPECIAL, "<début>"]
    trained = train_text(text, 400, special)
    trained = gpt2_numbers(trained) if order == "gpt2" else trained
    written = trained.save(tmp_path / "new" / "folder")
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == sorted(p.name for p in written)
    read = BPETokenizer.from_files(written[0], written[1], special)
    assert (read.vocab, read.merges, read.special_tokens) == (trained.vocab, trained.merges, trained.special_tokens)
    assert list(read.vocab) == sorted(trained.vocab)
    assert read.encode(text) == trained.encode(text)


def test_the_files_look_like_gpt2s(tmp_path: Path) -> None:
    vocab_path, merges_path, tokenizer_path = gpt2_numbers(train_text("the the\nthe", 260, ["<e>"])).save(tmp_path)
    assert merges_path.read_bytes().decode() == "#version: 0.2\nt h\nth e\nĠ the\n"
    vocab = json.loads(vocab_path.read_text(encoding="utf-8"))
    assert {key: vocab[key] for key in ("!", "Ġ", "Ċ", "th", "the", "Ġthe", "<e>")} == {
        "!": 0, "Ġ": 220, "Ċ": 198, "th": 256, "the": 257, "Ġthe": 258, "<e>": 259
    }  # fmt: skip
    described = json.loads(tokenizer_path.read_text(encoding="utf-8"))
    assert described["model"]["vocab"] == vocab
    assert described["model"]["merges"] == ["t h", "th e", "Ġ the"]
    assert described["pre_tokenizer"]["add_prefix_space"] is False
    assert [(token["id"], token["content"], token["special"]) for token in described["added_tokens"]] == [
        (259, "<e>", True)
    ]


def test_the_printable_alphabet() -> None:
    assert bpe_files.spell(b" \n\x00a\xff") == "ĠĊĀaÿ"
    assert bpe_files.unspell("ĠĊĀaÿ") == b" \n\x00a\xff"
    assert len(set(bpe_files.BYTE_CHARS.values())) == 256


def test_saving_replaces_all_files_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tokenizer([(b"a", b"b")]).save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_bytes = Path.write_bytes

    def full_disk(path: Path, data: bytes) -> int:
        if TOKENIZER_NAME in path.name:
            raise OSError("disk full")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="disk full"):
        make_tokenizer([(b"c", b"d")]).save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.skipif(not hasattr(os, "link"), reason="no hard links here")
def test_saving_renames_instead_of_overwriting(tmp_path: Path) -> None:
    vocab_path = make_tokenizer([(b"a", b"b")]).save(tmp_path)[0]
    before = vocab_path.read_bytes()
    (tmp_path / "link").hardlink_to(vocab_path)
    make_tokenizer([(b"c", b"d")]).save(tmp_path)
    assert (tmp_path / "link").read_bytes() == before != vocab_path.read_bytes()


@pytest.mark.parametrize(("merges", "special"), [([(b" ", b"a")], ["Ġa"]), ([], ["\n"]), ([(b"\xc3", b"\xa9")], ["é"])])
def test_a_special_token_like_an_ordinary_one_is_refused(merges: list[tuple[bytes, bytes]], special: list[str]) -> None:
    with pytest.raises(InputError, match=r"cannot be told from an ordinary token in vocab\.json"):
        make_tokenizer(merges, special)


GOOD_VOCAB = {bpe_files.spell(token): token_id for token_id, token in enumerate([*BYTES, b"ab", b"abc"])}
NO_SPACE = {"abx" if key == "Ġ" else key: token_id for key, token_id in GOOD_VOCAB.items()}


@pytest.mark.parametrize(
    ("vocab", "message"),
    [
        ("", "not JSON"),
        ('{"a": 0', "not JSON"),
        ("[" * 1_000, "not JSON"),
        ("[" * 2_000, "more values than there can be"),
        ("[" * 100_000, "too large: the limit is 20,448 bytes"),
        ('["a"]', "not a JSON object"),
        ("17", "not a JSON object"),
        ('{"a": "0"}', "the id of 'a' is not a whole number"),
        ('{"a": 1.0}', "the id of 'a' is not a whole number"),
        ('{"a": true}', "the id of 'a' is not a whole number"),
        ('{"a": {"b": 1}}', "the id of 'a' is not a whole number"),
        ('{"a": 0, "b": 0}', "'a' and 'b' have the same id 0"),
        ('{"a": 0, "a": 1}', "the name 'a' comes twice"),
        ('{"a b": 0}', "' ' in 'a b' is not in GPT-2's printable alphabet"),
        ('{"日": 0}', "is not in GPT-2's printable alphabet"),
        ('{"a\\n": 0}', "is not in GPT-2's printable alphabet"),
        ('{"": 0}', "a token is empty"),
        ('{"a": -1}', "token 'a' has the id -1"),
        ('{"a": 1}', "token 'a' has the id 1; ids must be 0 to 0"),
        ('{"a": 0}', "byte 0x00 has no token"),
        (json.dumps(NO_SPACE), "byte 0x20 has no token"),
        (b'{"a": 0,\n "\xff": 1}', "line 2: not UTF-8 text: byte 0xff at offset 11"),
    ],
)
def test_a_damaged_vocab_file(vocab: str | bytes, message: str, tmp_path: Path) -> None:
    vocab_path, merges_path = tmp_path / "my-vocab.json", tmp_path / "merges.txt"
    vocab_path.write_bytes(vocab.encode() if isinstance(vocab, str) else vocab)
    merges_path.write_text("#version: 0.2\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        BPETokenizer.from_files(vocab_path, merges_path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(vocab_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("merges", "line", "message"),
    [
        ("#version: 0.2\na b\nab\n", 3, "not two tokens with a space between them: 'ab'"),
        ("#version: 0.2\na b c\n", 2, "not two tokens"),
        ("a  b\n", 1, "not two tokens"),
        ("a \n", 1, "a token is empty"),
        ("#version: 0.2\na b\n#version: 0.2 x\n", 3, "not two tokens"),
        ("#version: 0.2\n日 b\n", 2, "is not in GPT-2's printable alphabet"),
        ("#version: 0.2\na\tb c\n", 2, "is not in GPT-2's printable alphabet"),
        ("#version: 0.2\na b\nabx c\n", 3, "'abx' is not in the vocabulary"),
        ("#version: 0.2\na b\nab x\n", 3, "'abx' is not in the vocabulary"),
        ("#version: 0.2\na b\na b\n", 3, "'a' and 'b' are merged twice"),
        ("#version: 0.2\na b\n\nab c\n", 3, "not two tokens with a space between them: ''"),
        ("#version: 0.2\na b\nab c\n\n", 4, "not two tokens with a space between them: ''"),
        ("#version: 0.2\na b\nab c", 3, "the file is cut off in its last line"),
        ("#version", 1, "the file is cut off in its last line"),
        (b"#version: 0.2\na b\n\xff c\n", 3, "not UTF-8 text: byte 0xff at offset 18"),
    ],
)
def test_a_damaged_merges_file(merges: str | bytes, line: int, message: str, tmp_path: Path) -> None:
    vocab_path, merges_path = tmp_path / "vocab.json", tmp_path / "my-merges.txt"
    vocab_path.write_text(json.dumps(GOOD_VOCAB), encoding="utf-8")
    merges_path.write_bytes(merges.encode() if isinstance(merges, str) else merges)
    with pytest.raises(InputError) as caught:
        BPETokenizer.from_files(vocab_path, merges_path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{merges_path}, line {line}: ")
    assert "\n" not in str(caught.value)


def test_merges_with_windows_line_ends_and_without_header(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps(GOOD_VOCAB), encoding="utf-8")
    (tmp_path / "merges.txt").write_bytes(b"a b\r\nab c\r\n")
    tokenizer = BPETokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt")
    assert tokenizer.merges == [(b"a", b"b"), (b"ab", b"c")]
    assert tokenizer.encode("abcab") == [257, 256]


def written_by_others(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Save a tokenizer with a merge and two special tokens; change its tokenizer.json."""
    make_tokenizer([(b"a", b"b")], ["<a>", "<b>"]).save(folder)
    described = json.loads((folder / "tokenizer.json").read_bytes())
    edit(described)
    (folder / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")


def test_a_vocabulary_token_that_no_merge_makes_is_refused(tmp_path: Path) -> None:
    make_tokenizer([(b"a", b"b"), (b"ab", b"c")]).save(tmp_path)
    (tmp_path / "merges.txt").write_bytes(b"#version: 0.2\na b\n")
    with pytest.raises(InputError, match=r"merges\.txt: no merge makes 'abc', which is in vocab\.json"):
        BPETokenizer.load(tmp_path)


def test_added_tokens_in_any_order_and_in_the_gaps_of_the_vocabulary(tmp_path: Path) -> None:
    # As real files have them: vocab.json lacks the special tokens, and tokenizer.json lists them in another order.
    written_by_others(tmp_path, lambda described: described["added_tokens"].reverse())
    vocab = json.loads((tmp_path / "vocab.json").read_bytes())
    assert BPETokenizer.load(tmp_path).special_tokens == {"<a>": 257, "<b>": 258}
    for lacks in ("<b>", "<a>"):
        del vocab[lacks]
        (tmp_path / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
        loaded = BPETokenizer.load(tmp_path)
        assert (loaded.special_tokens, loaded.encode("<b>ab<a>")) == ({"<a>": 257, "<b>": 258}, [258, 256, 257])


def test_gaps_in_the_ids_are_refused(tmp_path: Path) -> None:
    written_by_others(tmp_path, lambda described: described.pop("model"))
    vocab = json.loads((tmp_path / "vocab.json").read_bytes())
    (tmp_path / "vocab.json").write_text(json.dumps({**vocab, "<b>": 300}), encoding="utf-8")
    with pytest.raises(InputError, match=r"vocab\.json: token '<b>' has the id 300; ids must be 0 to 258$"):
        BPETokenizer.load(tmp_path)


DISAGREEING: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "lstrip": (lambda d: d["added_tokens"][0].update(lstrip=True), "lstrip of the added token '<a>' is not supported"),
    "rstrip": (lambda d: d["added_tokens"][1].update(rstrip=True), "rstrip of the added token '<b>' is not supported"),
    "single_word": (lambda d: d["added_tokens"][0].update(single_word=1), "single_word of the added token '<a>'"),
    "normalizer": (lambda d: d.update(normalizer={"type": "NFC"}), "its normalizer (NFC) changes the text"),
    "prefix space": (
        lambda d: d["pre_tokenizer"].update(add_prefix_space=True),
        "add_prefix_space of its pre_tokenizer is True",
    ),
    "other cuts": (lambda d: d.update(pre_tokenizer={"type": "Whitespace"}), "its pre_tokenizer (Whitespace) is not"),
    "no cuts": (lambda d: d.update(pre_tokenizer=None), "its pre_tokenizer is not an object"),
    "no object": (lambda d: d.update(model=[]), "its model or"),
    "dropout": (lambda d: d["model"].update(dropout=0.1), "dropout of its model is not supported"),
    "ignore_merges": (lambda d: d["model"].update(ignore_merges=1), "ignore_merges of its model is neither true nor"),
    "another id": (lambda d: d["model"]["vocab"].update(ab=0), "its tokens are not those of vocab.json"),
    "a token more": (lambda d: d["model"]["vocab"].update(abc=259), "its tokens are not those of vocab.json"),
    "no vocab": (lambda d: d["model"].update(vocab=None), "its tokens are not those of vocab.json"),
    "another merge": (lambda d: d["model"].update(merges=["b a"]), "its merges are not those of merges.txt"),
    "no merges": (lambda d: d["model"].pop("merges"), "its merges are not those of merges.txt"),
    "merges of numbers": (lambda d: d["model"].update(merges=[1]), "its merges are not those of merges.txt"),
    "merges that are a number": (lambda d: d["model"].update(merges=1), "its merges are not those of merges.txt"),
    "a token twice": (lambda d: d["added_tokens"].append(d["added_tokens"][0]), "a list of different texts and ids"),
    "a number as content": (lambda d: d["added_tokens"][0].update(content=5), "a list of different texts and ids"),
    "true as an id": (lambda d: d["added_tokens"][0].update(id=True), "a list of different texts and ids"),
}


@pytest.mark.parametrize("what", DISAGREEING)
def test_a_tokenizer_json_that_says_something_else_is_refused(tmp_path: Path, what: str) -> None:
    edit, message = DISAGREEING[what]
    written_by_others(tmp_path, edit)
    with pytest.raises(InputError) as caught:
        BPETokenizer.load(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "tokenizer.json"))
    assert message in str(caught.value)


def test_a_tokenizer_json_may_have_pairs_as_lists_and_no_special_tokens_in_its_vocab(tmp_path: Path) -> None:
    def edit(described: dict[str, Any]) -> None:
        described["model"]["merges"] = [line.split(" ") for line in described["model"]["merges"]]
        described["model"]["vocab"] = {key: i for key, i in described["model"]["vocab"].items() if i < 257}
        described["added_tokens"][0]["normalized"] = True  # as GPT-2 has it; there is no normalizer

    written_by_others(tmp_path, edit)
    assert BPETokenizer.load(tmp_path).encode("<a>ab") == [257, 256]


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        BPETokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt")
    with pytest.raises(FileNotFoundError):
        train_bpe(tmp_path / "text.txt", 300, [])


def test_load_reads_what_save_wrote_special_tokens_too(tmp_path):
    trained = BPETokenizer.from_text("hug pug hug hugs", 260)
    special = BPETokenizer(trained.vocab, trained.merges, ["<end>", "<end><end>"])
    for number, tokenizer in enumerate((trained, special)):
        folder = tmp_path / str(number)
        tokenizer.save(folder)
        loaded = BPETokenizer.load(folder)
        assert (loaded.vocab, loaded.merges, loaded.special_tokens) == (
            tokenizer.vocab,
            tokenizer.merges,
            tokenizer.special_tokens,
        )
    assert BPETokenizer.load(tmp_path / "1").encode("hug<end><end>") == special.encode("hug<end><end>")
