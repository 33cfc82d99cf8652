"""Step d: gradient descent, held against a textbook's dense algorithm."""

from math import exp, inf, log, nan

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reference import DenseTable, dense_softmax
from toy_gpt_train.c_model import SimpleNextTokenModel, TableRow, compact_row
from toy_gpt_train.d_train import make_training_pairs, train_model
from toy_gpt_train.errors import StopTraining
from toy_gpt_train.inference.evaluate import score
from toy_gpt_train.math_training import conditional_entropy

learning_rates = st.floats(0.001, 30) | st.sampled_from([0.001, 0.1, 0.5, 1.0, 2.0, 10.0, 30.0])


@st.composite
def corpora(draw):
    """Draw V, N, and two texts that are long enough for N."""
    vocab_size, context_size = draw(st.integers(1, 6)), draw(st.integers(0, 5))
    text = st.lists(st.integers(0, vocab_size - 1), min_size=context_size + 1, max_size=40)
    return vocab_size, context_size, draw(text), draw(text)


def assert_trains_alike(model, dense, pairs, learning_rate, epochs):
    """Train both, and compare every epoch's numbers and then every weight and probability."""
    history = train_model(model, pairs, learning_rate, epochs)
    assert [record["epoch"] for record in history] == list(range(1, epochs + 1))
    for record in history:
        loss, accuracy = dense.train_epoch(pairs, learning_rate)
        assert record["avg_loss"] == pytest.approx(loss, abs=1e-9)
        assert record["accuracy"] == accuracy
    assert model.rows.keys() == dense.rows.keys()
    assert_same_table(model, dense)


def assert_same_table(model, dense):
    for context, row in dense.rows.items():
        logits = [model.row(context).logit(token_id) for token_id in range(model.vocab_size)]
        assert logits == pytest.approx(row, abs=1e-9)
        assert model.forward(*context) == pytest.approx(dense_softmax(row), abs=1e-9)


def dense_copy(model):
    """Return a dense table with the weights a model has."""
    dense = DenseTable(model.vocab_size)
    for context, row in model.rows.items():
        dense.rows[context] = [row.logit(token_id) for token_id in range(model.vocab_size)]
    return dense


# --- pairs --------------------------------------------------------------------------------------------------


def test_training_pairs_by_hand():
    assert make_training_pairs([3, 1, 2, 4], 2) == [((3, 1), 2), ((1, 2), 4)]
    assert make_training_pairs([3, 1, 2, 4], 1) == [((3,), 1), ((1,), 2), ((2,), 4)]
    assert make_training_pairs([3, 1, 2, 4], 3) == [((3, 1, 2), 4)]


def test_with_no_context_every_token_is_a_target():
    assert make_training_pairs([3, 1, 3], 0) == [((), 3), ((), 1), ((), 3)]
    assert make_training_pairs([], 0) == []


@pytest.mark.parametrize(("length", "context_size"), [(0, 1), (1, 1), (3, 3), (3, 4), (2, 9)])
def test_a_text_no_longer_than_the_context_has_no_pair(length, context_size):
    assert make_training_pairs([0] * length, context_size) == []


def test_a_negative_context_is_refused():
    with pytest.raises(ValueError, match="context_size"):
        make_training_pairs([1, 2, 3], -1)


@given(st.lists(st.integers(0, 9), max_size=20), st.integers(0, 6))
@settings(max_examples=50, deadline=None)
def test_each_token_after_a_full_context_is_a_target(text, context_size):
    expected = [(tuple(text[i - context_size : i]), text[i]) for i in range(context_size, len(text))]
    assert make_training_pairs(text, context_size) == expected


# --- two steps by hand --------------------------------------------------------------------------------------


def test_two_steps_by_hand():
    model = SimpleNextTokenModel(vocab_size=3, context_size=1)
    history = train_model(model, [((1,), 0), ((1,), 2)], learning_rate=0.5, epochs=1)

    # Step 1, target 0: weights 0, 0, 0; every p is 1/3; argmax is 0, right. Then each weight loses 0.5/3, and the
    # target gains 0.5: 1/3, -1/6, -1/6.
    loss1 = log(3)
    # Step 2, target 2: exp(1/3), exp(-1/6), exp(-1/6); times exp(1/6) that is exp(1/2), 1, 1. argmax is 0, wrong.
    total = exp(1 / 2) + 1 + 1
    loss2 = log(total / 1)
    weights = [1 / 3 - 0.5 * exp(1 / 2) / total, -1 / 6 - 0.5 / total, -1 / 6 - 0.5 / total + 0.5]

    assert history == [{"epoch": 1, "avg_loss": pytest.approx((loss1 + loss2) / 2, abs=1e-12), "accuracy": 0.5}]
    assert history[0]["avg_loss"] == pytest.approx(1.1964945290428766, abs=1e-12)
    row = model.row((1,))
    logits = [row.logit(token_id) for token_id in range(3)]
    assert logits == pytest.approx(weights, abs=1e-12)
    assert logits == pytest.approx([0.10740195239453032, -0.3037009761972651, 0.1962990238027349], abs=1e-12)
    assert model.forward(0) == model.forward(2) == [1 / 3] * 3
    assert list(model.rows) == [(1,)]


def test_the_second_epoch_goes_on_from_the_first():
    model = SimpleNextTokenModel(vocab_size=2, context_size=0)
    first, second = train_model(model, [((), 1)], learning_rate=1.0, epochs=2)
    # Weights 0, 0 become -1/2, 1/2; then p(1) = 1 / (1 + exp(-1)).
    p = 1 / (1 + exp(-1))
    assert (first["avg_loss"], first["accuracy"]) == (pytest.approx(log(2), abs=1e-12), 0.0)
    assert (second["avg_loss"], second["accuracy"]) == (pytest.approx(log(1 + exp(-1)), abs=1e-12), 1.0)
    assert second["avg_loss"] == pytest.approx(0.31326168751822286, abs=1e-12)
    assert [model.row(()).logit(i) for i in (0, 1)] == pytest.approx([-0.5 - (1 - p), 0.5 + (1 - p)], abs=1e-12)


def test_loss_is_clamped_as_in_the_cross_entropy():
    # Weights +15, -15 after the first step; then p(1) = exp(-30), below 1e-12.
    model = SimpleNextTokenModel(vocab_size=2, context_size=0)
    (record,) = train_model(model, [((), 0), ((), 1)], learning_rate=30.0, epochs=1)
    assert record["avg_loss"] == pytest.approx((log(2) + 12 * log(10)) / 2, abs=1e-12)


# --- the fast trainer and the textbook's --------------------------------------------------------------------


@given(corpora(), learning_rates, st.integers(1, 4))
@example((1, 0, [0, 0, 0], [0]), 30.0, 4)
@example((1, 3, [0] * 9, [0] * 4), 0.1, 2)
@example((2, 1, [0, 1, 0, 1, 1], [1, 0]), 30.0, 4)
@example((5, 2, [4, 4, 4, 4, 3, 4, 4, 0], [4, 4, 4]), 2.0, 3)
@settings(max_examples=250, deadline=None)
def test_every_epoch_and_weight_is_the_textbooks(corpus, learning_rate, epochs):
    vocab_size, context_size, text, _ = corpus
    model, dense = SimpleNextTokenModel(vocab_size, context_size), DenseTable(vocab_size)
    assert_trains_alike(model, dense, make_training_pairs(text, context_size), learning_rate, epochs)


@given(corpora(), learning_rates, learning_rates, st.integers(1, 2))
@settings(max_examples=120, deadline=None)
def test_training_again_goes_on_from_the_learned_weights(corpus, learning_rate, second_rate, epochs):
    vocab_size, context_size, text, second_text = corpus
    model, dense = SimpleNextTokenModel(vocab_size, context_size), DenseTable(vocab_size)
    assert_trains_alike(model, dense, make_training_pairs(text, context_size), learning_rate, epochs)
    assert_trains_alike(model, dense, make_training_pairs(second_text, context_size), second_rate, epochs)


@given(corpora(), st.floats(0.001, 5), st.integers(0, 6))
@settings(max_examples=120, deadline=None)
def test_training_goes_on_from_rounded_weights_too(corpus, learning_rate, decimals):
    vocab_size, context_size, text, second_text = corpus
    model = SimpleNextTokenModel(vocab_size, context_size)
    train_model(model, make_training_pairs(text, context_size), learning_rate, 1)
    model.round_weights(decimals)
    assert_trains_alike(model, dense_copy(model), make_training_pairs(second_text, context_size), learning_rate, 2)


@pytest.mark.parametrize(
    ("weights", "targets"),
    [
        ((5.0, 5.0, -5.0), [0, 1, 2, 2, 0]),
        ((10.0, 10.0, 0.0), [1, 0, 2, 2, 1]),
        ((5.0, 5.0, -5.0), [0, 0, 1, 2, 2, 1]),
    ],
)
def test_training_goes_on_from_weights_that_two_tokens_share(weights, targets):
    # Once every token has a weight of its own, the shared weight is nobody's: it must not count as the largest.
    model = SimpleNextTokenModel(3, 0)
    model.rows[()] = compact_row(dict(enumerate(weights)), 0.0, 3)
    assert_trains_alike(model, dense_copy(model), [((), target) for target in targets], 3.0, 1)


def test_pairs_need_not_come_from_one_text():
    pairs = [((2, 0), 1), ((0, 0), 3), ((2, 0), 1), ((1, 3), 0), ((0, 0), 2), ((2, 0), 3)]
    assert_trains_alike(SimpleNextTokenModel(4, 2), DenseTable(4), pairs, 0.7, 3)


@pytest.mark.parametrize("vocab_size", [3, 40])
def test_a_row_of_many_steps(vocab_size):
    # 700 steps for one row: more than are taken at a time, and no multiple of any power of two above 4.
    text = [(7 * i * i + i // 5) % vocab_size for i in range(700)]
    assert_trains_alike(SimpleNextTokenModel(vocab_size, 0), DenseTable(vocab_size), [((), i) for i in text], 0.3, 2)


def test_rows_with_equal_tasks_each_get_their_weights():
    # After 0, 2 and 4 comes a pattern x, y, x; only the tokens differ, so two of the rows share all steps.
    pairs = [((c,), t) for c, targets in ((0, (1, 3, 1)), (2, (4, 5, 4)), (4, (5, 3, 5))) for t in targets]
    assert_trains_alike(SimpleNextTokenModel(6, 1), DenseTable(6), pairs, 1.5, 3)


def test_a_large_vocabulary_with_small_contexts():
    vocab_size = 700
    text = [(i * i * 37) % vocab_size for i in range(60)] + [0, 699, 0, 699, 1, 0, 699, 698]
    assert_trains_alike(SimpleNextTokenModel(vocab_size, 1), DenseTable(vocab_size), make_training_pairs(text, 1), 2, 2)


def test_a_vocabulary_that_no_dense_row_could_hold():
    vocab_size = 10**12
    model = SimpleNextTokenModel(vocab_size, 3)
    pairs = [((1, 2, 3), 10**12 - 1), ((1, 2, 4), 0), ((1, 2, 3), 7)]
    first, _ = train_model(model, pairs, learning_rate=1.0, epochs=2)
    # The third pair comes after one step of its row: 1 for the first target, 0 for the rest, nearly.
    expected = (2 * log(vocab_size) + log(vocab_size - 1 + exp(1))) / 3
    assert first["avg_loss"] == pytest.approx(expected, abs=1e-9)
    assert first["accuracy"] == 1 / 3  # token 0 is the first of all equally likely ones
    assert set(model.rows) == {(1, 2, 3), (1, 2, 4)}


@given(corpora(), learning_rates, st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_no_training_gets_below_the_conditional_entropy(corpus, learning_rate, epochs):
    vocab_size, context_size, text, _ = corpus
    pairs = make_training_pairs(text, context_size)
    model = SimpleNextTokenModel(vocab_size, context_size)
    train_model(model, pairs, learning_rate, epochs)
    assert score(model, text, context_size).loss >= conditional_entropy(pairs) - 1e-12


def test_long_training_comes_close_to_the_conditional_entropy():
    # Every token comes after every context: where one never does, its weight has minus infinity to go to.
    text = [0, 0, 1, 1, 2, 2, 0, 2, 1, 0, 0, 1, 0]
    pairs = make_training_pairs(text, 1)
    model = SimpleNextTokenModel(3, 1)
    train_model(model, pairs, learning_rate=0.01, epochs=2000)
    assert score(model, text, 1).loss == pytest.approx(conditional_entropy(pairs), abs=1e-4)


# --- being told ---------------------------------------------------------------------------------------------


def test_progress_rises_to_one():
    pairs = make_training_pairs([i * i % 5 for i in range(601)], 0)
    calls = []
    train_model(SimpleNextTokenModel(5, 0), pairs, 0.1, 2, on_progress=lambda *call: calls.append(call))
    fractions = [fraction for fraction, _ in calls]
    assert fractions == sorted(set(fractions))
    assert fractions[0] > 0
    assert fractions[-1] == 1
    assert len(fractions) >= 4  # within a long row too
    assert all(isinstance(status, str) and status for _, status in calls)


@given(corpora(), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_progress_of_any_training_ends_at_one(corpus, epochs):
    vocab_size, context_size, text, _ = corpus
    fractions = []
    model = SimpleNextTokenModel(vocab_size, context_size)
    pairs = make_training_pairs(text, context_size)
    train_model(model, pairs, 0.1, epochs, on_progress=lambda fraction, _: fractions.append(fraction))
    assert fractions == sorted(fractions)
    assert min(fractions) > 0
    assert fractions[-1] == 1


def test_after_each_epoch_the_model_is_up_to_date_and_the_answer_joins_the_record():
    text = [0, 1, 0, 2, 0, 1, 1, 2, 2, 0, 1, 0]
    pairs = make_training_pairs(text, 1)
    model, dense = SimpleNextTokenModel(3, 1), DenseTable(3)
    calls = []

    def after_epoch():
        dense.train_epoch(pairs, 0.5)
        assert_same_table(model, dense)
        calls.append(score(model, text, 1).loss)
        return {"val_loss": calls[-1], "val_accuracy": 0.25}

    history = train_model(model, pairs, 0.5, 3, after_epoch=after_epoch)
    assert len(calls) == 3
    assert len(set(calls)) == 3
    assert [record["val_loss"] for record in history] == calls
    assert [list(record) for record in history] == [
        ["epoch", "avg_loss", "accuracy", "val_loss", "val_accuracy"],
    ] * 3
    assert_same_table(model, dense)


def test_whoever_watches_changes_nothing():
    pairs = make_training_pairs([0, 1, 0, 2, 0, 1, 1, 2, 2, 0, 1, 0], 1)
    watched, alone = SimpleNextTokenModel(3, 1), SimpleNextTokenModel(3, 1)
    history = train_model(watched, pairs, 0.5, 3, on_progress=lambda *_: None, after_epoch=dict)
    assert history == train_model(alone, pairs, 0.5, 3)
    assert watched.rows == alone.rows


@pytest.mark.parametrize("stop_at", [0.01, 0.34, 0.5, 1.0])
def test_a_stopped_training_is_a_shorter_one(stop_at):
    pairs = make_training_pairs([i * i % 5 for i in range(601)], 1)
    stopped, shorter, records = SimpleNextTokenModel(5, 1), SimpleNextTokenModel(5, 1), []

    def on_progress(fraction, _):
        if fraction >= stop_at:
            raise StopTraining

    history = train_model(stopped, pairs, 0.1, 4, on_progress=on_progress, on_record=records.append)
    epochs = {0.01: 1, 0.34: 2, 0.5: 2, 1.0: 4}[stop_at]
    assert history == records == train_model(shorter, pairs, 0.1, epochs)
    assert len(history) == epochs
    assert stopped.rows == shorter.rows


# --- what makes no sense ------------------------------------------------------------------------------------


@pytest.mark.parametrize("learning_rate", [0.0, -0.0, -0.1, nan, inf, -inf])
def test_a_learning_rate_that_makes_no_sense_is_refused(learning_rate):
    model = SimpleNextTokenModel(2, 0)
    with pytest.raises(ValueError, match="learning rate"):
        train_model(model, [((), 1)], learning_rate, 1)
    assert model.rows == {}


@pytest.mark.parametrize("epochs", [0, -1])
def test_epochs_that_make_no_sense_are_refused(epochs):
    with pytest.raises(ValueError, match="epochs"):
        train_model(SimpleNextTokenModel(2, 0), [((), 1)], 0.1, epochs)


def test_no_pairs_are_refused():
    with pytest.raises(ValueError, match="no training pairs"):
        train_model(SimpleNextTokenModel(2, 0), [], 0.1, 1)


@pytest.mark.parametrize("context", [(), (0, 1), (2,), (-1,)])
def test_a_pair_of_another_context_is_refused(context):
    model = SimpleNextTokenModel(2, 1)
    with pytest.raises(ValueError, match=r"context has 1 token ids|token ids are 0 to 1"):
        train_model(model, [((0,), 1), (context, 0)], 0.1, 1)
    assert model.rows == {}


def test_rows_that_no_pair_meets_stay_as_they_are():
    model = SimpleNextTokenModel(3, 1)
    model.rows[(2,)] = TableRow({1: 0.5}, -0.25)
    train_model(model, [((0,), 1)], 0.1, 1)
    assert model.rows[(2,)] == TableRow({1: 0.5}, -0.25)
