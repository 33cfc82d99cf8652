"""What every tokenizer promises: one interface, one id space, sizes in bytes, a vocabulary that a run gives back."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conftest import Outcome
from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers import TOKENIZERS, tokenizer_class
from toy_gpt_train.tokenizers.base import Tokenizer
from toy_gpt_train.tokenizers.bpe import BPETokenizer
from toy_gpt_train.tokenizers.char import CharTokenizer
from toy_gpt_train.tokenizers.word import WordTokenizer

STORIES = Path(__file__).parent.parent / "corpus" / "030_stories.txt"
MIXED = "café 7 日本"
kinds = pytest.mark.parametrize("kind", ["word", "char", "bpe"])
texts = st.lists(st.sampled_from([*"abc \n\t.7é", "the ", "日本", "\u3000", "\x1c", "👍"]), max_size=40).map("".join)


def small_bpe(*special: str) -> BPETokenizer:
    learned = BPETokenizer.from_text("hug pug hug hugs", 260)
    return BPETokenizer(learned.vocab, learned.merges, special)


def learned_from(kind: str, text: str) -> Tokenizer:
    return tokenizer_class(kind).from_text(text, 270)


# --- kinds --------------------------------------------------------------------------------------------------


def test_tokenizers_are_found_by_their_kind() -> None:
    assert list(TOKENIZERS) == ["word", "char", "bpe"]
    assert [tokenizer_class(kind) for kind in TOKENIZERS] == [WordTokenizer, CharTokenizer, BPETokenizer]
    assert [(cls.kind, cls.exact) for cls in map(tokenizer_class, TOKENIZERS)] == [
        ("word", False),
        ("char", True),
        ("bpe", True),
    ]


@pytest.mark.parametrize("kind", ["bpe9", None, ["char"], {"kind": "word"}, 7, ""])
def test_an_unknown_tokenizer_is_refused(kind: object) -> None:
    with pytest.raises(InputError, match=r"unknown tokenizer .*; there are word, char, bpe"):
        tokenizer_class(kind)


def test_words_load_no_byte_level_bpe(python: Callable[..., Outcome]) -> None:
    code = (
        "import sys; from toy_gpt_train.tokenizers import tokenizer_class; import toy_gpt_train.tokenizers.saved\n"
        "tokenizer_class('word').from_text('a')\n"
        "print([name for name in sys.modules if name.endswith(('.bpe', '.bpe_train', '.bpe_naive'))])"
    )
    assert python("-c", code) == (0, "[]\n", "")


# --- text to tokens -----------------------------------------------------------------------------------------


def test_words_are_what_stands_between_white_space() -> None:
    assert WordTokenizer().tokenize("  the cat\truns\r\n.\n") == ["the", "cat", "runs", "."]
    assert WordTokenizer().tokenize(" \n ") == []
    assert WordTokenizer(["the", "cat", "."]).decode([0, 1, 2]) == "the cat ."


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_words_survive_being_decoded_and_cut_again(text: str) -> None:
    tokenizer = WordTokenizer.from_text(text)
    tokens = tokenizer.tokenize(text)
    assert tokenizer.tokenize(tokenizer.decode(tokenizer.encode(text))) == tokens
    assert "".join(tokens) == "".join(text.split())


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_characters_decode_to_the_very_text(text: str) -> None:
    tokenizer = CharTokenizer.from_text(text)
    assert tokenizer.tokenize(text) == list(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


# --- one id space -------------------------------------------------------------------------------------------


@kinds
def test_ids_are_indices_into_the_vocabulary(kind: str) -> None:
    tokenizer = learned_from(kind, STORIES.read_text(encoding="utf-8"))
    text = "the fox had a lamp"
    ids = tokenizer.encode(text)
    assert [tokenizer.tokens[token_id] for token_id in ids] == tokenizer.tokenize(text)
    assert tokenizer.token_ids(tokenizer.tokenize(text)) == ids == list(tokenizer.encode_iterable(text))
    assert tokenizer.token_ids(tokenizer.tokens) == list(range(tokenizer.vocab_size))
    assert len(set(tokenizer.tokens)) == len(tokenizer.tokens) == tokenizer.vocab_size
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode()


def test_listed_tokens_are_numbered_in_sorted_order() -> None:
    assert WordTokenizer.from_text("b C a b").tokens == ["C", "a", "b"]
    assert CharTokenizer.from_text("b\na").tokens == ["\n", "a", "b"]
    assert WordTokenizer.from_text("b a", 7).encode("a b a") == [0, 1, 0]


@kinds
def test_two_equal_tokens_are_refused(kind: str, tmp_path: Path) -> None:
    if kind == "bpe":
        with pytest.raises(InputError, match="ids 97 and 256 are the same token 'a'"):
            BPETokenizer(dict(enumerate([*small_bpe().vocab.values()][:256])) | {256: b"a"}, [])
    else:
        with pytest.raises(InputError, match="the token 'b' has two ids"):
            tokenizer_class(kind).from_vocabulary(["b", "a", "b"], tmp_path)


@given(text=texts)
@example(MIXED)
@settings(max_examples=60, deadline=None)
def test_bpe_ids_are_the_numbers_in_its_files_and_nothing_is_unknown(text: str) -> None:
    tokenizer = small_bpe("<end>", "7 日")
    files = tokenizer.files()
    vocab = json.loads(files["vocab.json"])
    described = json.loads(files["tokenizer.json"])
    assert list(vocab.values()) == list(range(tokenizer.vocab_size)) == list(range(256 + 4 + 2))
    assert list(vocab) == tokenizer.tokens
    assert described["model"]["vocab"] == vocab
    assert {token["content"]: token["id"] for token in described["added_tokens"]} == {"<end>": 260, "7 日": 261}
    ids = tokenizer.encode(text)
    assert [vocab[token] for token in tokenizer.tokenize(text)] == ids == tokenizer.encode(text, unknown=5)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode()


def test_any_text_is_bytes_to_bpe() -> None:
    tokenizer = small_bpe("7 日")
    assert tokenizer.tokenize(MIXED) == ["c", "a", "f", "Ã", "©", "Ġ", "7 日", "æ", "ľ", "¬"]
    assert tokenizer.encode(MIXED) == [99, 97, 102, 0xC3, 0xA9, 32, 260, 0xE6, 0x9C, 0xAC]


# --- unknown tokens and ids ---------------------------------------------------------------------------------


def test_unknown_tokens_are_named_with_known_ones_like_them() -> None:
    words = WordTokenizer.from_text("the cat The dog")
    for refused in (lambda: words.token_ids(["cta", "xyz", "cta"]), lambda: words.encode("the cta xyz")):
        with pytest.raises(InputError) as caught:
            refused()
        assert str(caught.value) == (
            "unknown token 'cta': did you mean cat?; unknown token 'xyz': no known token is like it"
        )
    with pytest.raises(InputError, match=r"unknown token 'THE': did you mean The or the\?$"):
        words.token_ids(["THE"])
    with pytest.raises(InputError, match="unknown token 'c a': "):
        small_bpe().token_ids(["c a"])


def test_a_message_names_a_few_unknown_tokens_and_counts_the_others() -> None:
    with pytest.raises(InputError, match=r"'e': no known token is like it; and 15 more$"):
        CharTokenizer("z").encode("abcdefghijklmnopqrstz")
    with pytest.raises(InputError) as caught:
        WordTokenizer(["a"]).encode("x" * 1_000_000)
    assert len(str(caught.value)) < 100


def test_unknown_tokens_can_be_given_an_id() -> None:
    assert WordTokenizer(["cat", "the"]).encode("the old cat", unknown=2) == [1, 2, 0]
    assert CharTokenizer("ab").encode("abc", unknown=-1) == [0, 1, -1]


@kinds
def test_unknown_ids_are_named(kind: str) -> None:
    tokenizer = learned_from(kind, "hug pug")
    last = tokenizer.vocab_size - 1
    for refused in (tokenizer.decode, tokenizer.decode_bytes, tokenizer.shown):
        # WHY -1: a list takes it for its last entry; an id must not.
        with pytest.raises(InputError, match=rf"^unknown token ids {last + 1}, -1; ids are 0 to {last}$"):
            refused(iter([0, last + 1, -1, last + 1]))
        with pytest.raises(InputError, match="unknown token ids 300, 301, 302, 303, 304, and 15 more; "):
            refused(range(300, 320))


# --- sizes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "sizes"),
    [
        ("word", "the cat\n", [4, 4]),
        ("word", "\u3000 é\r\n\n日本 .", [3 + 1 + 2 + 3, 6 + 1, 1]),
        ("word", " \n ", []),
        ("char", "é 日", [2, 1, 3]),
        ("bpe", "hug é", [3, 1, 1, 1]),  # é is two bytes, and no merge made them one
        ("bpe", "", []),
    ],
)
def test_sizes_by_hand(kind: str, text: str, sizes: list[int]) -> None:
    assert learned_from(kind, "hug hug" if kind == "bpe" else text).sizes(text) == sizes


@kinds
@given(text=st.one_of(texts, st.text(max_size=30)))
@settings(max_examples=100, deadline=None)
def test_sizes_sum_to_the_bytes_of_the_text(kind: str, text: str) -> None:
    tokenizer = learned_from(kind, text)
    sizes = tokenizer.sizes(text)
    assert len(sizes) == len(tokenizer.encode(text))
    assert sum(sizes) == (len(text.encode()) if sizes else 0)
    assert bool(sizes) == bool(text.split() if kind == "word" else text)
    if kind != "word":
        assert sizes == [len(tokenizer.decode_bytes([token_id])) for token_id in tokenizer.encode(text)]


def test_unknown_tokens_have_sizes_too() -> None:
    assert WordTokenizer(["a"]).sizes("a café") == [2, 5]
    assert CharTokenizer("a").sizes("aé") == [1, 2]


# --- what is shown ------------------------------------------------------------------------------------------


def test_what_does_not_print_is_shown_as_an_escape() -> None:
    assert CharTokenizer("a\n\u00a0é").shown([0, 1, 2, 3]) == ["a", "\\n", "\\xa0", "é"]
    assert small_bpe().shown([97, 10, 0xC3, 257]) == ["a", "\\n", "\\xc3", "hug"]
    assert WordTokenizer(["a\x00b"]).shown([0]) == ["a\\x00b"]


@pytest.mark.parametrize("kind", ["word", "char"])
def test_only_bpe_has_merges_and_files(kind: str) -> None:
    with pytest.raises(InputError, match=r"^only the merges of byte-level BPE are shown: choose --tokenizer bpe$"):
        learned_from(kind, "hug").merge_steps("hug")
    assert learned_from(kind, "hug").files() == {}


# --- the vocabulary of a run --------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [WordTokenizer, CharTokenizer])
def test_listed_tokens_keep_the_order_of_a_run(cls: type[Tokenizer], tmp_path: Path) -> None:
    tokenizer = cls.from_vocabulary(["b", "c", "a"], tmp_path / "none")
    assert tokenizer.tokens == ["b", "c", "a"]
    assert tokenizer.token_ids("abc") == [2, 0, 1]


def test_bpe_must_number_the_tokens_of_the_run(tmp_path: Path) -> None:
    tokenizer = small_bpe("<end>")
    tokenizer.save(tmp_path)
    loaded = BPETokenizer.from_vocabulary(tokenizer.tokens, tmp_path, ["<end>"])
    assert (loaded.tokens, loaded.merges, loaded.special_tokens) == (tokenizer.tokens, tokenizer.merges, {"<end>": 260})
    swapped = [*tokenizer.tokens[:-2], *tokenizer.tokens[:-3:-1]]
    assert sorted(swapped) == sorted(tokenizer.tokens)
    for tokens in (swapped, tokenizer.tokens[:-1], [*tokenizer.tokens, "x"], sorted(tokenizer.tokens), []):
        with pytest.raises(InputError, match=r"01_vocabulary\.csv and vocab\.json do not number the same tokens"):
            BPETokenizer.from_vocabulary(tokens, tmp_path)
    with pytest.raises(FileNotFoundError):
        BPETokenizer.from_vocabulary(tokenizer.tokens, tmp_path / "none")
