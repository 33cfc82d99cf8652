"""Counts in sorted arrays, held against the plain algorithm with dictionaries; as tensors, read back, and damaged."""

import copy
from array import array
from collections import Counter
from itertools import pairwise
from math import log
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conftest import IN_WEBASSEMBLY
from toy_gpt_train.errors import InputError
from toy_gpt_train.math_training import argmax
from toy_gpt_train.models import ngram_trie
from toy_gpt_train.models.base import TENSORS_NAME, Text
from toy_gpt_train.models.expert import Expert
from toy_gpt_train.models.kneser_ney import KneserNey, estimate_discounts
from toy_gpt_train.models.ngram_trie import build_trie, count_ngrams, read_trie, smallest_array, sorted_trie
from toy_gpt_train.run import load, train

values = st.text("abc\x00\ud800\U0010ffff", min_size=0, max_size=40)


def plain_orders(ngrams):
    """Return the followers of every context of each length, by dictionaries alone: the specification of the trie."""
    orders = []
    for _ in range(len(next(iter(ngrams)))):
        contexts = {}
        for ngram, count in ngrams.items():
            contexts.setdefault(ngram[:-1], {})[ord(ngram[-1])] = count
        orders.insert(0, contexts)
        # Without the oldest value of its context, each different n-gram counts once.
        ngrams = Counter(ngram[:-2] + ngram[-1] for ngram in ngrams if len(ngram) > 1)
    return orders


def columns_of(text, length):
    """Return the columns of a text: the newest value before each position first, and the token there."""
    back = text[::-1]
    targets = len(text) - length
    return [back[lag : lag + targets] for lag in (*range(1, length + 1), 0)]


def assert_is_plain(trie, ngrams):
    orders = plain_orders(ngrams)
    assert len(trie.levels) == len(orders)
    for length, contexts in enumerate(orders):
        assert trie.contexts(length) == sorted(contexts)
        for node, context in enumerate(sorted(contexts)):
            assert trie.path(context)[-1] == node
            assert len(trie.path(context)) == length + 1
            followers = trie.followers(length, node)
            assert followers == contexts[context]
            assert list(followers) == sorted(followers)
    assert list(trie.ngrams()) == sorted(ngrams.items())
    assert trie.num_ngrams() == len(ngrams)


@given(values, st.integers(0, 5), st.sampled_from([1, 3, 1 << 17]))
@example("aaaaaaaa", 3, 1)
@settings(max_examples=200, deadline=None)
def test_the_trie_of_a_text_is_the_plain_one(text, length, at_once):
    if len(text) <= length:
        return
    columns = columns_of(text, length)
    with mock.patch.object(ngram_trie, "_COUNTED_AT_ONCE", at_once):
        trie = count_ngrams(columns)
    ngrams = Counter(map("".join, zip(*columns, strict=True)))
    assert_is_plain(trie, ngrams)
    # In another order, and from the sorted pairs that it gives itself.
    assert sorted_trie(dict(reversed(ngrams.items()))).levels == trie.levels
    in_order, counts = zip(*trie.ngrams(), strict=True)
    assert build_trie("".join(in_order), counts, length + 1).levels == trie.levels


def test_more_parts_than_a_byte_can_number():
    with mock.patch.object(ngram_trie, "_COUNTED_AT_ONCE", 1):
        text = "".join(map(chr, [*range(700), *range(300)]))
        assert_is_plain(
            count_ngrams(columns_of(text, 1)), Counter(map("".join, zip(*columns_of(text, 1), strict=True)))
        )


def test_a_path_ends_where_a_context_was_never_met():
    trie = build_trie("abxacxbax", [1, 1, 1], 3)
    assert [len(trie.path(history)) for history in ("", "z", "a", "ab", "az", "abb", "\U0010ffff")] == [
        1,
        1,
        2,
        3,
        2,
        3,
        1,
    ]


@pytest.mark.parametrize(
    ("numbers", "typecode"),
    [([], "B"), ([255], "B"), ([256], "H"), ([65535], "H"), ([65536], "I"), ([1 << 32], "Q"), ([(1 << 64) - 1], "Q")],
)
def test_numbers_take_as_few_bytes_as_they_need(numbers, typecode):
    assert smallest_array(numbers).typecode == typecode
    assert smallest_array(iter(numbers)).tolist() == numbers


# --- an expert ----------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 4), min_size=6, max_size=60), st.lists(st.integers(0, 5), max_size=8), st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_an_expert_gives_the_logs_of_kneser_ney_but_for_one_number(ids, history, length):
    expert = Expert(5, length)
    list(expert.fit(Text(ids, len(ids))))
    for known in ([*ids, *history], history, ids):
        back = "".join(map(chr, reversed(known)))[:length]
        matched = expert.matched(back)
        reached, logs = expert.log_probs(back)
        probs = [expert.interpolate(matched, token_id) for token_id in range(5)]
        less = [log(p) - x for p, x in zip(probs, logs, strict=True)]
        assert less == pytest.approx([less[0]] * 5, abs=1e-11)
        assert argmax(logs) == argmax([round(p, 12) for p in probs]) or max(probs) - probs[argmax(logs)] < 1e-12
        assert reached.length == len(matched) - 1
        assert reached.total == sum(matched[-1].counts.values())


# --- as tensors ---------------------------------------------------------------------------------------------------

TEXT = "the cat sat on the mat and the dog sat on the cat. " * 3


def large():
    return mock.patch.object(ngram_trie, "LARGEST_IN_TABLES", 10)


def counted():
    text = "".join(chr(ord(c) % 30) for c in TEXT)
    return count_ngrams(columns_of(text, 3))


def test_tensors_are_read_back_as_they_were():
    trie = counted()
    assert read_trie(trie.tensors("x."), 3, 30, "x.").levels == trie.levels
    flat = count_ngrams(columns_of("abca", 0))
    assert read_trie(flat.tensors(), 0, 128).levels == flat.levels


def changed(name, change):
    tensors = {key: (shape, copy.copy(numbers)) for key, (shape, numbers) in counted().tensors().items()}
    _, numbers = tensors.pop(name)
    found = change(numbers)
    if found is not None:
        tensors[name] = ((len(found),), found)
    return tensors


def swapped(numbers):
    """Exchange two neighbors that are in order."""
    at = next(i for i, (a, b) in enumerate(pairwise(numbers)) if a < b)
    numbers[at], numbers[at + 1] = numbers[at + 1], numbers[at]
    return numbers


def with_first(value):
    return lambda numbers: array("Q", [value, *numbers[1:]])


STARTS = ["ngrams.begins", "contexts_0.children", "contexts_1.children", "contexts_2.children"]
VALUES = ["ngrams.tokens", "contexts_1.values", "contexts_2.values", "contexts_3.values"]


@pytest.mark.parametrize("name", [*STARTS, *VALUES, "ngrams.counts"])
@pytest.mark.parametrize(
    "change",
    [
        lambda numbers: None,
        lambda numbers: numbers[:-1],
        lambda numbers: numbers[:0],
        lambda numbers: numbers + numbers[-1:],
        lambda numbers: array("d", numbers),
    ],
    ids=["missing", "short", "empty", "long", "floats"],
)
def test_arrays_that_do_not_fit_are_refused(name, change):
    with pytest.raises(ValueError, match=r"ngrams|contexts"):
        read_trie(changed(name, change), 3, 30)


@pytest.mark.parametrize("name", STARTS)
@pytest.mark.parametrize("change", [swapped, with_first(1), lambda n: array("Q", bytes(8 * len(n)))])
def test_starts_that_do_not_rise_from_zero_are_refused(name, change):
    with pytest.raises(ValueError, match=r"out of place|begin at 0|not as many|whole numbers"):
        read_trie(changed(name, change), 3, 30)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        *((name, swapped, "not in order") for name in ("ngrams.tokens", "contexts_1.values", "contexts_2.values")),
        *((name, with_first(1 << 40), "out of place") for name in VALUES),
        ("ngrams.tokens", with_first(30), "out of place"),
        ("ngrams.counts", with_first(0), "out of place"),
    ],
)
def test_numbers_that_are_no_counts_are_refused(name, change, message):
    with pytest.raises(ValueError, match=message):
        read_trie(changed(name, change), 3, 30)


def test_a_matrix_is_no_array():
    tensors = counted().tensors()
    _, numbers = tensors["ngrams.counts"]
    tensors["ngrams.counts"] = ((len(numbers), 1), numbers)
    with pytest.raises(ValueError, match="whole numbers"):
        read_trie(tensors, 3, 30)


@pytest.mark.parametrize("name", ["kneser-ney", "mixture"])
@pytest.mark.parametrize("tokenizer", ["char", "word"])
def test_a_large_run_is_the_same_in_tables_and_in_tensors(tmp_path: Path, name, tokenizer):
    run = train(name, text=TEXT, tokenizer=tokenizer)
    run.save(tmp_path / "small")
    with large():
        run.save(tmp_path / "large")
        first = (tmp_path / "large" / "artifacts" / TENSORS_NAME).read_bytes()
        small, big = load(tmp_path / "small"), load(tmp_path / "large")
        assert not (tmp_path / "large" / "artifacts" / "02_counts.csv").exists()
        ids = [*run.tokenizer.encode(TEXT), 0, run.model.vocab_size, 1, 2, 0]
        assert list(big.model.score(ids)) == list(run.model.score(ids))
        assert list(small.model.score(ids)) == list(run.model.score(ids))
        assert big.model.num_parameters() == run.model.num_parameters()
        assert big.model.next_probs(ids[:9]) == run.model.next_probs(ids[:9])
        assert big.changed_files == []
        big.save(tmp_path / "again")
    assert (tmp_path / "again" / "artifacts" / TENSORS_NAME).read_bytes() == first
    big.save(tmp_path / "tables")
    for path in (tmp_path / "small" / "artifacts").glob("*.csv"):
        assert path.read_bytes() == (tmp_path / "tables" / "artifacts" / path.name).read_bytes(), path.name


@pytest.mark.parametrize("name", ["kneser-ney", "mixture"])
def test_a_damaged_file_of_counts_is_refused(tmp_path: Path, name):
    with large():
        train(name, text=TEXT, tokenizer="char").save(tmp_path)
    path = tmp_path / "artifacts" / TENSORS_NAME
    whole = path.read_bytes()
    header = int.from_bytes(whole[:8], "little") + 8
    refused = 0
    for at in range(header, len(whole), max((len(whole) - header) // 120, 1)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            model = load(tmp_path).model
        except InputError:
            refused += 1
        else:  # another count or another token, but a model all the same
            assert sum(model.next_probs([0, 1, 2])) == pytest.approx(1)
    assert refused > 60
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="safetensors"):
        load(tmp_path)


@pytest.mark.skipif(IN_WEBASSEMBLY, reason="files are in memory, holes and all")
def test_a_file_full_of_holes_takes_no_memory(tmp_path: Path):
    with large():
        train("kneser-ney", text=TEXT, tokenizer="char", context=1).save(tmp_path)
    path = tmp_path / "artifacts" / TENSORS_NAME
    size = 1 << 40
    names = ["ngrams.begins", "ngrams.counts", "ngrams.tokens", "contexts_0.children", "contexts_1.values"]
    entries = [
        f'"{name}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{i * size},{(i + 1) * size}]}}'
        for i, name in enumerate(names)
    ]
    header = f"{{{','.join(entries)}}}".encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        try:
            file.truncate(8 + len(header) + len(names) * size)
        except OSError:
            pytest.skip("this file system has no files with holes")
    with pytest.raises(InputError, match="out of place"):
        load(tmp_path)


def test_the_discounts_come_from_the_counts_of_each_length():
    model = KneserNey(30, 3)
    model.learn_counts(counted())
    assert model.discounts == [estimate_discounts(level.counts) for level in counted().levels]
