"""Step c: the table of next-token weights, its rows' canonical form, and its predictions."""

from collections import Counter
from itertools import product
from math import copysign, exp, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import dense_softmax
from toy_gpt_train.b_vocab import Vocabulary
from toy_gpt_train.c_model import (
    Prediction,
    SimpleNextTokenModel,
    TableRow,
    compact_row,
    row_probabilities,
    token_row_index,
)
from toy_gpt_train.d_train import (
    make_training_pairs,
    row_labeler,
    row_labeler_context2,
    row_labeler_context3,
    token_row_index_context2,
    token_row_index_context3,
    train_model,
)
from toy_gpt_train.io_artifacts import NO_CONTEXT_LABEL, split_label
from toy_gpt_train.math_training import argmax

# WHY so few values: the canonical form is about equal weights, and random floats are never equal.
few_weights = st.sampled_from([-2.5, -0.5, 0.0, 0.25, 1.0])
any_weights = st.floats(-700, 700)
# Every character that labels treat in a special way, and some they do not.
strange_tokens = st.text(alphabet="|\\*ab() ", min_size=1, max_size=4)


@st.composite
def rows(draw, weights=few_weights):
    """Draw a vocabulary size and a row: weights of some of its tokens, and of the rest."""
    vocab_size = draw(st.integers(1, 8))
    own = draw(st.dictionaries(st.integers(0, vocab_size - 1), weights, max_size=vocab_size))
    return vocab_size, own, draw(weights)


def logits(row, vocab_size):
    return [row.logit(token_id) for token_id in range(vocab_size)]


@st.composite
def trained_models(draw):
    """Draw a trained table and the texts it was trained on and not."""
    vocab_size, context_size = draw(st.integers(1, 5)), draw(st.integers(0, 4))
    ids = st.integers(0, vocab_size - 1)
    text = draw(st.lists(ids, min_size=context_size + 1, max_size=25))
    model = SimpleNextTokenModel(vocab_size, context_size)
    train_model(model, make_training_pairs(text, context_size), draw(st.floats(0.01, 10)), draw(st.integers(1, 3)))
    if draw(st.booleans()):
        model.round_weights(draw(st.integers(0, 6)))
    return model, text, draw(st.lists(ids, max_size=25))


# --- which row ----------------------------------------------------------------------------------------------


def test_row_index_reads_a_context_as_digits():
    assert token_row_index((), 7) == 0
    assert token_row_index((4,), 7) == 4
    assert token_row_index((2, 5), 10) == 25
    assert token_row_index((1, 0, 1, 1), 2) == 11
    assert token_row_index([0, 0, 3], 5) == 3


@pytest.mark.parametrize(("vocab_size", "context_size"), [(1, 0), (1, 3), (2, 4), (3, 3), (5, 2), (6, 1), (4, 0)])
def test_row_indexes_number_all_contexts_in_order(vocab_size, context_size):
    contexts = product(range(vocab_size), repeat=context_size)
    assert [token_row_index(context, vocab_size) for context in contexts] == list(range(vocab_size**context_size))


@given(st.sets(strange_tokens, min_size=1, max_size=6), st.integers(0, 4), st.data())
@settings(max_examples=100, deadline=None)
def test_row_index_and_label_are_inverse(tokens, context_size, data):
    vocab = Vocabulary(tokens)
    label = row_labeler(vocab, context_size)
    index = data.draw(st.integers(0, vocab.vocab_size() ** context_size - 1))
    if context_size == 0:
        assert label(index) == NO_CONTEXT_LABEL == "(no context)"
    else:
        named = vocab.encode(split_label(label(index)))
        assert len(named) == context_size
        assert token_row_index(named, vocab.vocab_size()) == index
    for outside in (-1, vocab.vocab_size() ** context_size):
        with pytest.raises(ValueError, match="no row"):
            label(outside)


@given(st.sets(strange_tokens, min_size=1, max_size=5), st.data())
@settings(max_examples=50, deadline=None)
def test_the_names_for_two_and_three_tokens_agree_with_the_general_ones(tokens, data):
    vocab = Vocabulary(tokens)
    size = vocab.vocab_size()
    three = data.draw(st.tuples(*[st.integers(0, size - 1)] * 3))
    assert token_row_index_context2(three[1:], size) == token_row_index(three[1:], size)
    assert token_row_index_context3(three, size) == token_row_index(three, size)
    index2, index3 = token_row_index(three[1:], size), token_row_index(three, size)
    assert row_labeler_context2(vocab, size)(index2) == row_labeler(vocab, 2)(index2)
    assert row_labeler_context3(vocab, size)(index3) == row_labeler(vocab, 3)(index3)
    for labeler in (row_labeler_context2, row_labeler_context3):
        with pytest.raises(ValueError, match="vocab_size"):
            labeler(vocab, size + 1)


def test_labels_by_hand():
    vocab = Vocabulary(["*", "\\", "a|b", "c"])  # sorted: * \ a|b c
    assert row_labeler(vocab, 2)(token_row_index((3, 2), 4)) == r"c|a\|b"
    assert row_labeler(vocab, 3)(token_row_index((1, 0, 1), 4)) == r"\\|\*|\\"
    assert split_label(r"\\|\*|\\") == ["\\", "*", "\\"]
    assert split_label(r"c|a\|b") == ["c", "a|b"]


# --- one row ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "rest", "vocab_size", "expected"),
    [
        ({0: 0.5, 1: -0.5, 2: -0.5}, 0.0, 3, TableRow({0: 0.5}, -0.5)),  # nobody has the old rest
        ({0: 0.5}, 0.25, 2, TableRow({0: 0.5}, 0.25)),  # one each: the smaller is the rest
        ({0: 0.25}, 0.5, 2, TableRow({1: 0.5}, 0.25)),
        ({0: 0.0, 3: 2.0}, 0.0, 5, TableRow({3: 2.0}, 0.0)),  # an own weight equal to the rest
        ({1: 2.0, 2: 2.0, 3: 2.0}, 0.0, 5, TableRow({0: 0.0, 4: 0.0}, 2.0)),  # the rest is the rarer
        ({4: 1.0, 0: 3.0}, 0.0, 9, TableRow({0: 3.0, 4: 1.0}, 0.0)),  # by token id
        ({}, -1.5, 4, TableRow({}, -1.5)),
        ({0: 7.0}, 3.0, 1, TableRow({}, 7.0)),
    ],
)
def test_compact_row_by_hand(weights, rest, vocab_size, expected):
    row = compact_row(weights, rest, vocab_size)
    assert row == expected
    assert list(row.weights) == sorted(row.weights)


@given(rows())
@settings(max_examples=200, deadline=None)
def test_compact_row_keeps_every_logit_and_is_canonical(drawn):
    vocab_size, own, rest = drawn
    before = [own.get(token_id, rest) for token_id in range(vocab_size)]
    row = compact_row(own, rest, vocab_size)
    assert logits(row, vocab_size) == before
    assert compact_row(row.weights, row.rest, vocab_size) == row
    counts = Counter(before)
    assert row.rest == min(weight for weight, count in counts.items() if count == max(counts.values()))
    assert list(row.weights) == [token_id for token_id in range(vocab_size) if before[token_id] != row.rest]


@given(rows(), st.data())
@settings(max_examples=100, deadline=None)
def test_equal_rows_written_in_different_ways_become_one(drawn, data):
    vocab_size, own, rest = drawn
    dense = {token_id: own.get(token_id, rest) for token_id in range(vocab_size)}
    another_order = dict(data.draw(st.permutations(list(dense.items()))))
    one, other = compact_row(own, rest, vocab_size), compact_row(another_order, 99.0, vocab_size)
    assert one == other
    assert list(one.weights) == list(other.weights)
    assert row_probabilities(one, vocab_size) == row_probabilities(other, vocab_size)


def test_row_probabilities_by_hand():
    assert row_probabilities(TableRow({}, -3.0), 4) == ({}, 0.25)
    seen, rest = row_probabilities(TableRow({1: log(3), 4: log(2)}, 0.0), 5)  # 1, 3, 1, 1, 2 over 8
    assert seen == pytest.approx({1: 0.375, 4: 0.25}, abs=1e-15)
    assert rest == pytest.approx(0.125, abs=1e-15)
    seen, rest = row_probabilities(TableRow({0: -1000.0}, 1000.0), 3)
    assert (seen, rest) == ({0: 0.0}, 0.5)
    seen, rest = row_probabilities(TableRow({0: 1e308}, -1e308), 3)
    assert (seen, rest) == ({0: 1.0}, 0.0)


def test_row_probabilities_cost_nothing_where_v_is_huge():
    seen, rest = row_probabilities(TableRow({7: log(10**9)}, 0.0), 10**9 + 1)
    assert seen[7] == pytest.approx(0.5, abs=1e-12)
    assert rest == pytest.approx(0.5e-9, rel=1e-12, abs=0)


@given(rows(any_weights))
@settings(max_examples=200, deadline=None)
def test_row_probabilities_are_softmax_over_the_whole_row(drawn):
    vocab_size, own, rest = drawn
    row = compact_row(own, rest, vocab_size)
    seen, others = row_probabilities(row, vocab_size)
    assert list(seen) == list(row.weights)
    assert sum(seen.values()) + (vocab_size - len(seen)) * others == pytest.approx(1, abs=1e-12)
    dense = dense_softmax(logits(row, vocab_size))
    assert [seen.get(token_id, others) for token_id in range(vocab_size)] == pytest.approx(dense, abs=1e-12)


# --- the model ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context_size", [0, 1, 3])
def test_an_untrained_model_is_uniform(context_size):
    model = SimpleNextTokenModel(5, context_size)
    assert model.forward(*[4] * context_size) == [0.2] * 5
    assert model.num_parameters() == 0
    assert model.least_context == model.context_size == context_size


def test_a_model_looks_back_three_tokens_unless_told():
    assert SimpleNextTokenModel(2).context_size == 3


def test_forward_by_hand():
    model = SimpleNextTokenModel(4, 2)
    model.rows[(0, 3)] = TableRow({2: log(5)}, 0.0)
    assert model.forward(0, 3) == pytest.approx([0.125, 0.125, 0.625, 0.125], abs=1e-15)
    assert model.forward(3, 0) == [0.25] * 4
    assert model.row((0, 3)).logit(2) == log(5)
    assert model.row((0, 3)).logit(1) == 0.0
    assert model.row((3, 0)) == TableRow({}, 0.0)
    assert model.num_parameters() == 4


@pytest.mark.parametrize("context", [(), (0,), (0, 1, 2), (0, 4), (-1, 0), (4, 4)])
def test_forward_refuses_what_is_no_context(context):
    model = SimpleNextTokenModel(4, 2)
    with pytest.raises(ValueError, match=r"context has 2 token ids|token ids are 0 to 3"):
        model.forward(*context)


@pytest.mark.parametrize(("vocab_size", "context_size"), [(0, 1), (-1, 1), (1, -1)])
def test_a_model_of_impossible_size_is_refused(vocab_size, context_size):
    with pytest.raises(ValueError, match="must be at least"):
        SimpleNextTokenModel(vocab_size, context_size)


def test_looking_at_a_row_does_not_make_one():
    model = SimpleNextTokenModel(3, 1)
    model.forward(2)
    list(model.predictions([0, 1, 2]))
    assert model.rows == {}


# --- predictions --------------------------------------------------------------------------------------------


def test_predictions_by_hand():
    model = SimpleNextTokenModel(3, 1)
    model.rows[(0,)] = TableRow({2: log(2)}, 0.0)  # 1/4, 1/4, 1/2
    model.rows[(1,)] = TableRow({0: -log(2)}, 0.0)  # 1/5, 2/5, 2/5
    expected = [
        Prediction(1 / 3, 0, False),  # no token before it
        Prediction(0.25, 2, True),
        Prediction(0.4, 1, True),
        Prediction(1 / 3, 0, False),  # a context never trained
    ]
    predictions = list(model.predictions([0, 1, 2, 0]))
    for found, wanted in zip(predictions, expected, strict=True):
        assert found.probability == pytest.approx(wanted.probability, abs=1e-15)
        assert found[1:] == wanted[1:]
    assert list(model.predictions([0, 1, 2, 0], start=2)) == predictions[2:]
    assert list(model.predictions([0, 1, 2, 0], start=4)) == []


@given(rows())
@settings(max_examples=150, deadline=None)
def test_the_likeliest_of_any_row_is_argmax(drawn):
    # Rows as they come, canonical or not: an own weight may equal that of the rest.
    vocab_size, own, rest = drawn
    model = SimpleNextTokenModel(vocab_size, 0)
    model.rows[()] = TableRow(own, rest)
    (prediction,) = model.predictions([0])
    assert prediction == Prediction(model.forward()[0], argmax(model.forward()), True)


@pytest.mark.parametrize(
    ("row", "likeliest"),
    [
        (TableRow({1: 0.0}, 0.0), 0),
        (TableRow({0: -1.0, 2: 0.0}, 0.0), 1),
        (TableRow({0: -1.0, 1: 0.0}, 0.0), 1),
        (TableRow({2: 1.0, 1: 1.0}, 0.0), 1),
        (TableRow({0: -1.0, 1: -1.0}, 0.0), 2),
        (TableRow({0: 1.0, 1: 2.0, 2: 2.0, 3: 0.0}, 9.0), 1),  # nobody has the rest's weight
    ],
)
def test_the_likeliest_of_equals_is_the_smallest(row, likeliest):
    model = SimpleNextTokenModel(4, 0)
    model.rows[()] = row
    assert [prediction.likeliest for prediction in model.predictions([3])] == [likeliest]


@given(trained_models())
@settings(max_examples=150, deadline=None)
def test_predictions_are_what_forward_says_at_every_place(drawn):
    model, trained_on, other = drawn
    size = model.context_size
    for text in (trained_on, other):
        predictions = list(model.predictions(text))
        assert len(predictions) == len(text)
        for place, prediction in enumerate(predictions):
            if place < size:
                assert prediction == Prediction(1 / model.vocab_size, 0, False)
                continue
            context = tuple(text[place - size : place])
            probs = model.forward(*context)
            assert prediction == Prediction(probs[text[place]], argmax(probs), context in model.rows)


@given(trained_models(), st.data())
@settings(max_examples=50, deadline=None)
def test_predictions_from_a_place_on_are_the_last_of_all(drawn, data):
    model, text, _ = drawn
    start = data.draw(st.integers(0, len(text)))
    assert list(model.predictions(text, start)) == list(model.predictions(text))[start:]


# --- rounding -----------------------------------------------------------------------------------------------


def test_round_weights_by_hand():
    model = SimpleNextTokenModel(4, 0)
    model.rows[()] = TableRow({0: 1.23456, 1: -0.00049, 2: 0.0004}, -0.7501)
    model.round_weights(3)
    assert model.rows[()] == TableRow({0: 1.235, 3: -0.75}, 0.0)
    assert copysign(1, model.rows[()].rest) == 1


@given(trained_models(), st.integers(0, 6))
@settings(max_examples=150, deadline=None)
def test_round_weights_rounds_every_logit_and_nothing_else(drawn, decimals):
    model, _, _ = drawn
    before = {context: logits(row, model.vocab_size) for context, row in model.rows.items()}
    model.round_weights(decimals)
    # A row that has come to nothing is the row of a context never met, and is forgotten.
    assert model.rows.keys() == {c for c, row in before.items() if any(round(weight, decimals) for weight in row)}
    for context, row in model.rows.items():
        rounded = logits(row, model.vocab_size)
        assert rounded == [round(weight, decimals) for weight in before[context]]
        assert all(copysign(1, weight) == 1 for weight in rounded if weight == 0)  # "-0" is no weight
        assert row == compact_row(row.weights, row.rest, model.vocab_size)
        counts = Counter(rounded)
        assert counts[row.rest] == max(counts.values())
    once = dict(model.rows)
    model.round_weights(decimals)
    assert model.rows == once


@given(trained_models())
@settings(max_examples=100, deadline=None)
def test_forward_is_softmax_over_the_dense_row(drawn):
    model, _, _ = drawn
    for context, row in model.rows.items():
        dense = [exp(weight - max(logits(row, model.vocab_size))) for weight in logits(row, model.vocab_size)]
        expected = [e / sum(dense) for e in dense]
        assert model.forward(*context) == pytest.approx(expected, abs=1e-12)
        assert sum(model.forward(*context)) == pytest.approx(1, abs=1e-12)
