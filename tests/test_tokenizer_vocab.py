"""Steps a and b: text to tokens, tokens to ids."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toy_gpt_train import a_tokenizer
from toy_gpt_train.a_tokenizer import DEFAULT_CORPUS, SimpleTokenizer, read_text, read_tokens
from toy_gpt_train.b_vocab import Vocabulary
from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers import TOKENIZER_KINDS, cutting_tokenizer, tokenizer_from_meta
from toy_gpt_train.tokenizers.char import CharTokenizer
from toy_gpt_train.tokenizers.word import WordTokenizer

words = st.lists(st.text(min_size=1, max_size=3), max_size=30)


# --- a: text to tokens --------------------------------------------------------------------------------------


def test_words_are_what_stands_between_white_space():
    assert WordTokenizer().tokenize("  the cat\truns\r\n.\n") == ["the", "cat", "runs", "."]
    assert WordTokenizer().tokenize(" \n ") == []
    assert WordTokenizer().join(["the", "cat", "."]) == "the cat ."


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_words_survive_being_joined_and_cut_again(text):
    tokens = WordTokenizer().tokenize(text)
    assert WordTokenizer().tokenize(WordTokenizer().join(tokens)) == tokens
    assert "".join(tokens) == "".join(text.split())


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_characters_join_to_the_very_text(text):
    tokens = CharTokenizer().tokenize(text)
    assert all(len(token) == 1 for token in tokens)
    assert CharTokenizer().join(tokens) == text


def test_tokenizers_are_found_by_their_kind():
    assert [cutting_tokenizer(kind, "a b", 256).kind for kind in TOKENIZER_KINDS] == ["word", "char", "bpe"]
    assert tokenizer_from_meta({"kind": "word"}, Path()).tokenize("a b") == ["a", "b"]
    assert tokenizer_from_meta({"kind": "char"}, Path()).tokenize("a b") == ["a", " ", "b"]
    assert cutting_tokenizer("bpe", "ab ab", 257).tokenize("abb") == ["ab", "b"]


@pytest.mark.parametrize("described", [{"kind": "bpe9"}, {"kind": None}, {"kind": ["char"]}, {}, "char", None])
def test_an_unknown_tokenizer_is_refused(described):
    with pytest.raises(InputError, match="unknown tokenizer"):
        tokenizer_from_meta(described, Path())


def test_read_text_keeps_every_character(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes("eins\r\nzwei\rdrei\n\nµ𝄞\t ".encode())
    assert read_text(path) == "eins\r\nzwei\rdrei\n\nµ𝄞\t "


def test_read_text_drops_one_leading_byte_order_mark_and_no_other(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xef\xbb\xbf\xef\xbb\xbfa\xef\xbb\xbfb")
    assert read_text(path) == "\ufeffa\ufeffb"


def test_read_text_names_the_byte_that_is_not_utf_8(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"caf\xe9 noir")
    with pytest.raises(InputError, match=r"text\.txt: not UTF-8 text: byte 0xe9 at offset 3"):
        read_text(path)


def test_read_text_refuses_a_file_over_the_limit_before_reading_it(tmp_path, monkeypatch):
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xff" * 11)  # not UTF-8 either, so whoever reads it first says something else
    monkeypatch.setattr(a_tokenizer, "MAX_TEXT_BYTES", 10)
    with pytest.raises(InputError, match="too large"):
        read_text(path)
    path.write_bytes(b"x" * 10)
    assert read_text(path) == "x" * 10


def test_read_text_of_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "none.txt")
    with pytest.raises((IsADirectoryError, PermissionError)):
        read_text(tmp_path)


def test_a_text_without_a_token_is_refused(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(" \n\n", encoding="utf-8")
    with pytest.raises(InputError, match="empty"):
        read_tokens(path, WordTokenizer())
    assert read_tokens(path, CharTokenizer()) == [" ", "\n", "\n"]
    path.write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="empty"):
        read_tokens(path, CharTokenizer())


def test_simple_tokenizer_reads_the_given_corpus_or_the_default_one(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("b a\nb", encoding="utf-8")
    assert SimpleTokenizer(path).get_tokens() == ["b", "a", "b"]
    tokens = SimpleTokenizer().get_tokens()
    assert tokens == DEFAULT_CORPUS.read_text(encoding="utf-8").split()
    assert len(tokens) == 32


def test_simple_tokenizer_gives_a_new_list_each_time():
    tokenizer = SimpleTokenizer()
    tokenizer.get_tokens().clear()
    assert len(tokenizer.get_tokens()) == 32


# --- b: tokens to ids ---------------------------------------------------------------------------------------


def test_vocabulary_by_hand():
    vocab = Vocabulary(["b", "a", "b", "C", "b"])
    assert vocab.vocab_size() == 3
    assert vocab.tokens() == ["C", "a", "b"]
    assert [vocab.get_token_id(token) for token in "Cab"] == [0, 1, 2]
    assert [vocab.get_id_token(token_id) for token_id in range(3)] == ["C", "a", "b"]
    assert [vocab.get_token_frequency(token) for token in "Cab"] == [1, 1, 3]
    assert vocab.encode(["b", "C", "b"]) == [2, 0, 2]


@given(words, words)
@settings(max_examples=100, deadline=None)
def test_ids_are_places_in_sorted_order_both_ways(tokens, further):
    vocab = Vocabulary(tokens, further=further)
    expected = sorted(set(tokens) | set(further))
    assert vocab.vocab_size() == len(expected)
    assert vocab.tokens() == expected
    assert [vocab.get_token_id(token) for token in expected] == list(range(len(expected)))
    assert [vocab.get_id_token(token_id) for token_id in range(len(expected))] == expected
    assert [vocab.get_token_frequency(token) for token in expected] == [Counter(tokens)[token] for token in expected]
    assert [vocab.tokens()[token_id] for token_id in vocab.encode(tokens)] == tokens


def test_further_tokens_get_ids_but_are_not_counted():
    vocab = Vocabulary(["b", "d", "b"], further=["c", "b", "a", "c"])
    assert vocab.tokens() == ["a", "b", "c", "d"]
    assert [vocab.get_token_frequency(token) for token in "abcd"] == [0, 2, 0, 1]
    assert vocab.encode(["a", "d"]) == [0, 3]


def test_what_the_vocabulary_does_not_have():
    vocab = Vocabulary(["b", "a"])
    assert vocab.get_token_id("z") is None
    assert vocab.get_token_frequency("z") == 0
    # WHY: a list takes -1 for its last place; an id must not.
    assert [vocab.get_id_token(token_id) for token_id in (-1, -2, 2, 99)] == [None] * 4
    with pytest.raises(KeyError):
        vocab.encode(["a", "z"])


def test_asking_for_an_unknown_token_does_not_add_it():
    vocab = Vocabulary(["b", "a"])
    assert vocab.get_token_frequency("z") == 0
    assert (vocab.vocab_size(), vocab.tokens(), vocab.get_token_id("z")) == (2, ["a", "b"], None)


def test_the_list_of_tokens_is_a_new_one_each_time():
    vocab = Vocabulary(["b", "a"])
    vocab.tokens().clear()
    assert vocab.tokens() == ["a", "b"]


def test_an_empty_vocabulary():
    vocab = Vocabulary([])
    assert (vocab.vocab_size(), vocab.tokens(), vocab.get_id_token(0)) == (0, [], None)
