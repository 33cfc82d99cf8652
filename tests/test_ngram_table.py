"""The table of next-token weights: the canonical form of its rows, its predictions, and its content."""

from collections import Counter
from itertools import product
from math import copysign, exp, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import dense_softmax
from toy_gpt_train.io_artifacts import EMBEDDINGS_NAME, WEIGHTS_NAME
from toy_gpt_train.math_training import argmax
from toy_gpt_train.models.base import Text
from toy_gpt_train.models.ngram_table import NGramTable, TableRow, compact_row, row_probabilities
from toy_gpt_train.models.scores import Prediction
from toy_gpt_train.training.tables import TableSettings

# WHY so few values: the canonical form is about equal weights, and random floats are never equal.
few_weights = st.sampled_from([-2.5, -0.5, 0.0, 0.25, 1.0])
any_weights = st.floats(-700, 700)


@st.composite
def rows(draw, weights=few_weights):
    """Draw a vocabulary size and a row: weights of some of its tokens, and of the rest."""
    vocab_size = draw(st.integers(1, 8))
    own = draw(st.dictionaries(st.integers(0, vocab_size - 1), weights, max_size=vocab_size))
    return vocab_size, own, draw(weights)


def logits(row, vocab_size):
    return [row.logit(token_id) for token_id in range(vocab_size)]


@st.composite
def texts(draw):
    """Draw V, N, a text to learn and how, and a text that is not learned."""
    vocab_size, context_size = draw(st.integers(1, 5)), draw(st.integers(0, 4))
    ids = st.integers(0, vocab_size - 1)
    text = draw(st.lists(ids, min_size=context_size + 1, max_size=25))
    how = TableSettings(draw(st.integers(1, 3)), draw(st.floats(0.01, 10)))
    return vocab_size, context_size, text, how, draw(st.lists(ids, max_size=25))


def trained(vocab_size, context_size, text, how):
    model = NGramTable(vocab_size, context_size)
    list(model.fit(Text(text, len(text)), how))
    return model


@st.composite
def trained_models(draw):
    """Draw a trained table, the text it was trained on, and another."""
    vocab_size, context_size, text, how, other = draw(texts())
    return trained(vocab_size, context_size, text, how), text, other


# --- one row ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "rest", "vocab_size", "expected"),
    [
        ({0: 0.5, 1: -0.5, 2: -0.5}, 0.0, 3, TableRow({0: 0.5}, -0.5)),  # no token has the old rest
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
    model = NGramTable(5, context_size)
    assert model.next_probs([4] * context_size) == [0.2] * 5
    assert model.logits([4] * context_size) == [0.0] * 5
    assert model.num_parameters() == 0
    assert model.min_context == model.context_size == context_size


def test_next_probs_by_hand():
    model = NGramTable(4, 2)
    model.rows[(0, 3)] = TableRow({2: log(5)}, 0.0)
    assert model.next_probs([0, 3]) == pytest.approx([0.125, 0.125, 0.625, 0.125], abs=1e-15)
    assert model.next_probs([2, 1, 0, 3]) == model.next_probs([0, 3])  # only the last two count
    assert model.next_probs([3, 0]) == [0.25] * 4
    assert model.logits([0, 3]) == [0.0, 0.0, log(5), 0.0]
    assert model.num_parameters() == 4


@pytest.mark.parametrize("context", [(), (0,), (0, 4), (-1, 0), (4, 4)])
def test_what_is_no_context_is_refused(context):
    model = NGramTable(4, 2)
    with pytest.raises(ValueError, match=r"needs 2 tokens|token ids are 0 to 3"):
        model.next_probs(context)
    with pytest.raises(ValueError, match=r"needs 2 tokens|token ids are 0 to 3"):
        model.logits(context)


@pytest.mark.parametrize(("vocab_size", "context_size"), [(0, 1), (-1, 1), (1, -1), (0x110000, 1)])
def test_a_model_of_impossible_size_is_refused(vocab_size, context_size):
    with pytest.raises(ValueError, match=r"must have 1 to 1114110|must be at least 0"):
        NGramTable(vocab_size, context_size)


def test_looking_at_a_row_does_not_make_one():
    model = NGramTable(3, 1)
    model.next_probs([2])
    model.logits([2])
    list(model.score([0, 1, 2]))
    assert model.rows == {}


# --- predictions --------------------------------------------------------------------------------------------


def test_score_by_hand():
    model = NGramTable(3, 1)
    model.rows[(0,)] = TableRow({2: log(2)}, 0.0)  # 1/4, 1/4, 1/2
    model.rows[(1,)] = TableRow({0: -log(2)}, 0.0)  # 1/5, 2/5, 2/5
    expected = [
        Prediction(1 / 3, 0, False),  # no token before it
        Prediction(0.25, 2, True),
        Prediction(0.4, 1, True),
        Prediction(1 / 3, 0, False),  # a context never trained
    ]
    predictions = list(model.score([0, 1, 2, 0]))
    for found, wanted in zip(predictions, expected, strict=True):
        assert found.probability == pytest.approx(wanted.probability, abs=1e-15)
        assert found[1:] == wanted[1:]
    assert list(model.score([0, 1, 2, 0], start=2)) == predictions[2:]
    assert list(model.score([0, 1, 2, 0], start=4)) == []


@given(rows())
@settings(max_examples=150, deadline=None)
def test_the_most_likely_token_of_any_row_is_argmax(drawn):
    # Rows as they come, canonical or not: an own weight may equal that of the rest.
    vocab_size, own, rest = drawn
    model = NGramTable(vocab_size, 0)
    model.rows[()] = TableRow(own, rest)
    (prediction,) = model.score([0])
    assert prediction == Prediction(model.next_probs([])[0], argmax(model.next_probs([])), True)


@pytest.mark.parametrize(
    ("row", "most_likely"),
    [
        (TableRow({1: 0.0}, 0.0), 0),
        (TableRow({0: -1.0, 2: 0.0}, 0.0), 1),
        (TableRow({0: -1.0, 1: 0.0}, 0.0), 1),
        (TableRow({2: 1.0, 1: 1.0}, 0.0), 1),
        (TableRow({0: -1.0, 1: -1.0}, 0.0), 2),
        (TableRow({0: 1.0, 1: 2.0, 2: 2.0, 3: 0.0}, 9.0), 1),  # no token has the rest's weight
    ],
)
def test_the_most_likely_of_equals_is_the_first(row, most_likely):
    model = NGramTable(4, 0)
    model.rows[()] = row
    assert [prediction.most_likely for prediction in model.score([3])] == [most_likely]


@given(trained_models())
@settings(max_examples=150, deadline=None)
def test_scores_are_what_next_probs_says_at_every_position(drawn):
    model, trained_on, other = drawn
    size = model.context_size
    for text in (trained_on, other):
        predictions = list(model.score(text))
        assert len(predictions) == len(text)
        for position, prediction in enumerate(predictions):
            if position < size:
                assert prediction == Prediction(1 / model.vocab_size, 0, False)
                continue
            context = tuple(text[position - size : position])
            probs = model.next_probs(context)
            assert prediction == Prediction(probs[text[position]], argmax(probs), context in model.rows)


@given(trained_models(), st.data())
@settings(max_examples=50, deadline=None)
def test_scores_from_a_position_on_are_the_last_of_all(drawn, data):
    model, text, _ = drawn
    start = data.draw(st.integers(0, len(text)))
    assert list(model.score(text, start)) == list(model.score(text))[start:]


# --- rounding -----------------------------------------------------------------------------------------------


def test_rounding_by_hand():
    model = NGramTable(4, 1)
    model.rows[(0,)] = TableRow({0: 1.23456789, 1: -0.00000049, 2: 0.0000004}, -0.7500001)
    list(model.fit(Text([3, 3], 2), TableSettings(epochs=1)))  # touches the row of 3 alone; all rows are rounded
    assert model.rows[(0,)] == TableRow({0: 1.234568, 3: -0.75}, 0.0)
    assert copysign(1, model.rows[(0,)].rest) == 1


@given(texts())
@settings(max_examples=150, deadline=None)
def test_training_ends_with_every_logit_rounded_to_six_decimals_and_nothing_else(drawn):
    vocab_size, context_size, text, how, _ = drawn
    model = NGramTable(vocab_size, context_size)
    for _ in model.fit(Text([*text, 0], len(text)), how):  # the held-out token: rows are up to date at each record
        before = {context: logits(row, vocab_size) for context, row in model.rows.items()}
    # A row that rounds to zeros is the row of a context never met, and is forgotten.
    assert model.rows.keys() == {c for c, row in before.items() if any(round(weight, 6) for weight in row)}
    for context, row in model.rows.items():
        rounded = logits(row, vocab_size)
        assert rounded == [round(weight, 6) for weight in before[context]]
        assert all(copysign(1, weight) == 1 for weight in rounded if weight == 0)  # "-0" is no weight
        assert row == compact_row(row.weights, row.rest, vocab_size)
        counts = Counter(rounded)
        assert counts[row.rest] == max(counts.values())


@given(trained_models())
@settings(max_examples=100, deadline=None)
def test_next_probs_is_softmax_over_the_dense_row(drawn):
    model, _, _ = drawn
    for context, row in model.rows.items():
        assert model.logits(context) == logits(row, model.vocab_size) == row.dense(model.vocab_size)
        dense = [exp(weight - max(row.dense(model.vocab_size))) for weight in row.dense(model.vocab_size)]
        expected = [e / sum(dense) for e in dense]
        assert model.next_probs(context) == pytest.approx(expected, abs=1e-12)
        assert sum(model.next_probs(context)) == pytest.approx(1, abs=1e-12)


# --- its content --------------------------------------------------------------------------------------------


def loaded(vocab_size, context_size, layout, lines):
    """Return the table that was written as these lines."""
    model = NGramTable(vocab_size, context_size)
    model.expected_tables(layout, [""] * vocab_size)
    model.load_tables({WEIGHTS_NAME: iter(lines)})
    return model


def sparse_lines(model):
    """Return the lines of layout ``sparse``: a token's weight each, and for each row that of all other tokens."""
    return [
        (context, token_id, weight)
        for context, row in model.rows.items()
        for token_id, weight in [*row.weights.items(), (None, row.rest)]
    ]


def test_content_by_hand():
    model = NGramTable(3, 2)
    model.rows[(1, 2)] = TableRow({0: 0.5}, -0.25)
    model.rows[(0, 0)] = TableRow({2: 1.5}, 0.0)
    content = model.content()
    assert (content.layout, content.decimals, content.about) == ("all", 6, {})
    weights, view = content.tables
    assert (weights.name, weights.num_rows) == (WEIGHTS_NAME, 9)
    zeros = [(context, 0.0, 0.0, 0.0) for context in product(range(3), repeat=2)]
    expected = [*zeros]
    expected[0] = ((0, 0), 0.0, 0.0, 1.5)
    expected[5] = ((1, 2), 0.5, -0.25, -0.25)
    assert list(weights.rows) == expected
    assert (view.name, view.num_rows) == (EMBEDDINGS_NAME, 9)
    assert list(view.rows) == [(index, row[0], row[1], row[2]) for index, row in enumerate(expected)]


def test_a_vocabulary_of_one_token_has_a_view_too():
    model = NGramTable(1, 2)
    _, view = model.content().tables
    assert list(view.rows) == [(0, (0, 0), 0.0, 0.0)]


def test_many_rows_are_written_as_observed_and_many_cells_as_sparse():
    observed = NGramTable(101, 2)  # 10,201 rows would be more than 10,000
    observed.rows[(100, 1)] = TableRow({7: 0.25}, -0.125)
    weights, view = observed.content().tables
    assert (observed.content().layout, weights.num_rows, view.num_rows) == ("observed", 1, 1)
    assert list(weights.rows) == [((100, 1), *[-0.125] * 7, 0.25, *[-0.125] * 93)]
    assert list(view.rows) == [(100 * 101 + 1, (100, 1), -0.125, -0.125)]
    sparse = NGramTable(1_000_001, 1)  # two dense rows would be 2,000,002 cells
    sparse.rows[(3,)] = TableRow({7: 0.25, 9: 0.5}, -0.125)
    sparse.rows[(1,)] = TableRow({}, 0.5)
    weights, view = sparse.content().tables
    assert (sparse.content().layout, weights.num_rows, view.num_rows) == ("sparse", 4, 2)
    assert list(weights.rows) == [((1,), None, 0.5), ((3,), 7, 0.25), ((3,), 9, 0.5), ((3,), None, -0.125)]


@given(trained_models())
@settings(max_examples=100, deadline=None)
def test_dense_and_sparse_lines_become_the_same_model_again(drawn):
    model, _, _ = drawn
    size = model.vocab_size, model.context_size
    weights, _ = model.content().tables
    dense, sparse = loaded(*size, "all", weights.rows), loaded(*size, "sparse", sparse_lines(model))
    observed = loaded(*size, "observed", ((context, *row.dense(size[0])) for context, row in model.rows.items()))
    for again in (dense, sparse, observed):
        assert again.rows == model.rows
        assert all(list(again.rows[c].weights) == list(row.weights) for c, row in model.rows.items())
        assert [again.next_probs(c) for c in model.rows] == [model.next_probs(c) for c in model.rows]


def test_loading_forgets_what_was_there():
    model = trained(2, 1, [0, 1, 0, 1], TableSettings(epochs=1))
    model.expected_tables("observed", ["a", "b"])
    model.load_tables({WEIGHTS_NAME: [((1,), 0.0, 2.0)]})
    assert model.rows == {(1,): TableRow({1: 2.0}, 0.0)}


@pytest.mark.parametrize(
    ("layout", "lines", "message"),
    [
        ("observed", [((0,), 1.0, 0.0), ((1,), 0.0, 1.0), ((0,), 1.0, 0.0)], "row occurs twice"),
        ("all", [((0,), 0.0, 0.0), ((0,), 0.0, 0.0)], "row occurs twice"),
        ("sparse", [((0,), None, 1.0), ((0,), None, 1.0)], "row occurs twice"),
        ("sparse", [((0,), 1, 1.0), ((0,), 1, 2.0), ((0,), None, 0.0)], "token occurs twice"),
        ("sparse", [((0,), 1, 1.0), ((1,), 1, 2.0), ((1,), None, 0.0)], "the row before has no line"),
        ("sparse", [((0,), None, 1.0), ((1,), 1, 2.0)], "ends in the middle of a row"),
    ],
)
def test_lines_that_are_no_table_are_refused(layout, lines, message):
    with pytest.raises(ValueError, match=message):
        loaded(2, 1, layout, lines)
