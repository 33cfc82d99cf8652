"""Gradient descent on a table, held against the textbook's dense algorithm."""

from math import exp, inf, log, nan

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reference import DenseTable, dense_softmax
from toy_gpt_train.errors import InputError, StopTraining
from toy_gpt_train.math_training import conditional_entropy
from toy_gpt_train.models.base import MAX_VOCABULARY, Text
from toy_gpt_train.models.ngram_table import NGramTable, TableRow, compact_row, training_pairs
from toy_gpt_train.models.scores import summarize
from toy_gpt_train.training.tables import TableSettings, descend, descend_in_products, products_fit, row_task

learning_rates = st.floats(0.001, 30) | st.sampled_from([0.001, 0.1, 0.5, 1.0, 2.0, 10.0, 30.0])


@st.composite
def corpora(draw):
    """Draw V, N, and two texts that are long enough for N."""
    vocab_size, context_size = draw(st.integers(1, 6)), draw(st.integers(0, 5))
    text = st.lists(st.integers(0, vocab_size - 1), min_size=context_size + 1, max_size=40)
    return vocab_size, context_size, draw(text), draw(text)


def fit(model, text, learning_rate, epochs, **more):
    """Train a table on a whole text; return the log."""
    return list(model.fit(Text(text, len(text)), TableSettings(epochs, learning_rate), **more))


def assert_trains_alike(model, dense, text, learning_rate, epochs):
    """Train both, and compare every epoch's numbers, weights and probabilities, and at the end the rounded weights."""
    pairs = list(training_pairs(text, model.context_size))
    # WHY a token held out: the rows are brought up to date at every epoch, not only at the end.
    records = model.fit(Text([*text, 0], len(text)), TableSettings(epochs, learning_rate))
    for epoch in range(1, epochs + 1):
        record = next(records)
        loss, accuracy = dense.train_epoch(pairs, learning_rate)
        assert record["epoch"] == epoch
        assert record["avg_loss"] == pytest.approx(loss, abs=1e-9)
        assert record["accuracy"] == accuracy
        assert model.rows.keys() == dense.rows.keys()
        assert_same_table(model, dense, 1e-9)
    assert list(records) == []
    assert model.rows.keys() <= dense.rows.keys()
    assert_same_table(model, dense, 0.5e-6 + 1e-9)


def assert_same_table(model, dense, tolerance):
    for context, row in dense.rows.items():
        assert model.logits(context) == pytest.approx(row, abs=tolerance)
        assert model.next_probs(context) == pytest.approx(dense_softmax(row), abs=2 * tolerance)


def dense_copy(model):
    """Return a dense table with the weights that a model has."""
    dense = DenseTable(model.vocab_size)
    for context, row in model.rows.items():
        dense.rows[context] = row.dense(model.vocab_size)
    return dense


def loss_of(model, text):
    """Return the average loss on all tokens with a full context."""
    return summarize(zip(model.score(text, model.context_size), text[model.context_size :], strict=True)).loss


# --- pairs --------------------------------------------------------------------------------------------------


def test_training_pairs_by_hand():
    assert list(training_pairs([3, 1, 2, 4], 2)) == [((3, 1), 2), ((1, 2), 4)]
    assert list(training_pairs([3, 1, 2, 4], 1)) == [((3,), 1), ((1,), 2), ((2,), 4)]
    assert list(training_pairs([3, 1, 2, 4], 3)) == [((3, 1, 2), 4)]


def test_with_no_context_every_token_is_a_target():
    assert list(training_pairs([3, 1, 3], 0)) == [((), 3), ((), 1), ((), 3)]
    assert list(training_pairs([], 0)) == []


@pytest.mark.parametrize(("length", "context_size"), [(0, 1), (1, 1), (3, 3), (3, 4), (2, 9)])
def test_a_text_no_longer_than_the_context_has_no_pair(length, context_size):
    assert list(training_pairs([0] * length, context_size)) == []


@given(st.lists(st.integers(0, 9), max_size=20), st.integers(0, 6))
@settings(max_examples=50, deadline=None)
def test_each_token_after_a_full_context_is_a_target(text, context_size):
    expected = [(tuple(text[i - context_size : i]), text[i]) for i in range(context_size, len(text))]
    assert list(training_pairs(text, context_size)) == expected


# --- two steps by hand --------------------------------------------------------------------------------------


def test_two_steps_by_hand():
    model = NGramTable(vocab_size=3, context_size=1)
    # The pairs are (1, 0), (0, 1), (1, 2): two steps for the row of 1, one for the row of 0.
    records = model.fit(Text([1, 0, 1, 2, 0], 4), TableSettings(epochs=1, learning_rate=0.5))
    record = next(records)
    # Row 1, step 1, target 0: weights 0, 0, 0; every p is 1/3; argmax is 0, right. Then each weight loses 0.5/3, and
    # the target gains 0.5: 1/3, -1/6, -1/6. Row 0 does the same with target 1; argmax is 0, wrong.
    loss1 = log(3)
    # Row 1, step 2, target 2: exp(1/3), exp(-1/6), exp(-1/6); times exp(1/6) that is exp(1/2), 1, 1. Argmax 0 is wrong.
    total = exp(1 / 2) + 1 + 1
    loss2 = log(total / 1)
    weights = [1 / 3 - 0.5 * exp(1 / 2) / total, -1 / 6 - 0.5 / total, -1 / 6 - 0.5 / total + 0.5]

    assert (record["epoch"], record["accuracy"]) == (1, 1 / 3)
    assert record["avg_loss"] == pytest.approx((2 * loss1 + loss2) / 3, abs=1e-12)
    assert (loss1 + loss2) / 2 == pytest.approx(1.1964945290428766, abs=1e-12)
    assert model.logits([1]) == pytest.approx(weights, abs=1e-12)
    assert model.logits([1]) == pytest.approx([0.10740195239453032, -0.3037009761972651, 0.1962990238027349], abs=1e-12)
    assert model.logits([0]) == pytest.approx([-1 / 6, 1 / 3, -1 / 6], abs=1e-12)
    assert model.next_probs([2]) == [1 / 3] * 3
    assert list(model.rows) == [(1,), (0,)]
    assert list(records) == []
    assert model.logits([1]) == [0.107402, -0.303701, 0.196299]


def test_the_second_epoch_continues_from_the_first():
    model = NGramTable(vocab_size=2, context_size=0)
    first, second = fit(model, [1], learning_rate=1.0, epochs=2)
    # Weights 0, 0 become -1/2, 1/2; then p(1) = 1 / (1 + exp(-1)).
    p = 1 / (1 + exp(-1))
    assert (first["avg_loss"], first["accuracy"]) == (pytest.approx(log(2), abs=1e-12), 0.0)
    assert (second["avg_loss"], second["accuracy"]) == (pytest.approx(log(1 + exp(-1)), abs=1e-12), 1.0)
    assert second["avg_loss"] == pytest.approx(0.31326168751822286, abs=1e-12)
    assert model.logits([]) == [round(-0.5 - (1 - p), 6), round(0.5 + (1 - p), 6)]


def test_loss_is_clamped_as_in_the_cross_entropy():
    # Weights +15, -15 after the first step; then p(1) = exp(-30), below 1e-12.
    (record,) = fit(NGramTable(vocab_size=2, context_size=0), [0, 1], learning_rate=30.0, epochs=1)
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
    assert_trains_alike(NGramTable(vocab_size, context_size), DenseTable(vocab_size), text, learning_rate, epochs)


@given(corpora(), learning_rates, learning_rates, st.integers(1, 2))
@settings(max_examples=120, deadline=None)
def test_training_again_continues_from_the_learned_and_rounded_weights(corpus, learning_rate, second_rate, epochs):
    vocab_size, context_size, text, second_text = corpus
    model = NGramTable(vocab_size, context_size)
    fit(model, text, learning_rate, epochs)
    assert_trains_alike(model, dense_copy(model), second_text, second_rate, epochs)


@pytest.mark.parametrize(
    ("weights", "targets"),
    [
        ((5.0, 5.0, -5.0), [0, 1, 2, 2, 0]),
        ((10.0, 10.0, 0.0), [1, 0, 2, 2, 1]),
        ((5.0, 5.0, -5.0), [0, 0, 1, 2, 2, 1]),
    ],
)
def test_training_continues_from_weights_that_two_tokens_share(weights, targets):
    # Once every token has a weight of its own, the shared weight belongs to none: it must not count as the largest.
    model = NGramTable(3, 0)
    model.rows[()] = compact_row(dict(enumerate(weights)), 0.0, 3)
    assert_trains_alike(model, dense_copy(model), targets, 3.0, 1)


@pytest.mark.parametrize("vocab_size", [3, 40])
def test_a_row_of_many_steps(vocab_size):
    # 700 steps for one row: more than are taken at a time, and no multiple of any power of two above 4.
    text = [(7 * i * i + i // 5) % vocab_size for i in range(700)]
    assert_trains_alike(NGramTable(vocab_size, 0), DenseTable(vocab_size), text, 0.3, 2)


@given(st.integers(1, 9), st.data(), st.floats(0.001, 2))
@settings(max_examples=100, deadline=None)
def test_products_of_exponentials_are_steps_of_weights(vocab_size, data, rate):
    token_ids = st.integers(0, vocab_size - 1)
    before = data.draw(st.dictionaries(token_ids, st.floats(-20, 20)))
    targets = data.draw(st.lists(token_ids, min_size=1, max_size=30))
    task, _ = row_task(before, 0.5, targets, vocab_size)
    weights, loss, correct = descend(list(task.weights), task.targets, task, rate)
    products, same_loss, same_correct = descend_in_products(list(task.weights), task.targets, task, rate)
    assert products == pytest.approx(weights, abs=1e-11, rel=0)
    assert (same_loss, same_correct) == (pytest.approx(loss, abs=1e-11, rel=0), correct)


def test_products_are_for_full_blocks_of_weights_that_are_near():
    block = [0] * 256
    assert products_fit([0.0, 20.0, -20.0], block, 2.0)
    assert not products_fit([0.0, 20.0, -20.0], block[1:], 2.0)
    assert not products_fit([0.0, 20.0, -20.0], block, 2.5)  # 40 + 640
    assert not products_fit([-300.0, 300.0], block, 0.1)


def test_a_row_that_has_seen_every_token_has_no_cell_for_others():
    assert row_task({}, 0.0, [2, 0, 1, 1], 3) == (((2, 0, 1, 1), (0.0, 0.0, 0.0), 0, 0), [0, 1, 2])


@pytest.mark.parametrize("rate", [0.3, 30.0])
def test_a_long_row_with_unseen_tokens(rate):
    # 30 is too large a step for products of exponentials.
    text = [(7 * i * i + i // 5) % 20 + 3 for i in range(700)]
    assert_trains_alike(NGramTable(25, 0), DenseTable(25), text, rate, 2)


def test_rows_with_equal_tasks_each_get_their_weights():
    # After 0 and after 2 comes a pattern x, y, x; only the tokens differ, so the two rows share all steps.
    text = [0, 1, 0, 3, 0, 1, 2, 4, 2, 5, 2, 4]
    model = NGramTable(6, 1)
    shared = [[context for context, _ in rows] for rows in model.rows_by_task(training_pairs(text, 1)).values()]
    assert [(0,), (2,)] in shared
    assert_trains_alike(model, DenseTable(6), text, 1.5, 3)
    assert model.logits([0]) != model.logits([2])
    assert sorted(model.logits([0])) == sorted(model.logits([2]))


def test_a_large_vocabulary_with_small_contexts():
    vocab_size = 700
    text = [(i * i * 37) % vocab_size for i in range(60)] + [0, 699, 0, 699, 1, 0, 699, 698]
    assert_trains_alike(NGramTable(vocab_size, 1), DenseTable(vocab_size), text, 2, 2)


def test_a_vocabulary_that_no_dense_table_could_hold():
    model = NGramTable(MAX_VOCABULARY, 3)
    last = MAX_VOCABULARY - 1
    # The pairs of 1 2 3: the last token, then 7; each other context comes once.
    first, _ = fit(model, [1, 2, 3, last, 0, 1, 2, 3, 7], learning_rate=1.0, epochs=2)
    # The second pair of 1 2 3 comes after one step of its row: 1 for the first target, 0 for the rest, nearly.
    expected = (5 * log(MAX_VOCABULARY) + log(MAX_VOCABULARY - 1 + exp(1))) / 6
    assert first["avg_loss"] == pytest.approx(expected, abs=1e-6)
    assert first["accuracy"] == 1 / 6  # token 0 is the first of all equally likely ones
    assert set(model.rows) == {(1, 2, 3), (2, 3, last), (3, last, 0), (last, 0, 1), (0, 1, 2)}
    assert all(len(row.weights) <= 2 for row in model.rows.values())


@given(corpora(), learning_rates, st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_no_training_gets_below_the_conditional_entropy(corpus, learning_rate, epochs):
    vocab_size, context_size, text, _ = corpus
    model = NGramTable(vocab_size, context_size)
    fit(model, text, learning_rate, epochs)
    floor = conditional_entropy(training_pairs(text, context_size))
    assert model.loss_floor(text) == floor
    assert loss_of(model, text) >= floor - 1e-12


def test_long_training_comes_close_to_the_conditional_entropy():
    # Every token comes after every context: for one that never does, the best weight would be minus infinity.
    text = [0, 0, 1, 1, 2, 2, 0, 2, 1, 0, 0, 1, 0]
    model = NGramTable(3, 1)
    fit(model, text, learning_rate=0.01, epochs=2000)
    assert loss_of(model, text) == pytest.approx(model.loss_floor(text), abs=1e-4)


# --- held-out text and progress -----------------------------------------------------------------------------


def test_held_out_tokens_are_scored_after_each_epoch_and_not_learned():
    text = [0, 1, 0, 2, 0, 1, 1, 2, 2, 0, 1, 0]
    held_out = [2, 1, 0, 1]
    model, alone, dense = NGramTable(3, 1), NGramTable(3, 1), DenseTable(3)
    pairs = list(training_pairs(text, 1))
    losses = []
    history = []
    for record in model.fit(Text(text + held_out, len(text)), TableSettings(3, 0.5)):
        dense.train_epoch(pairs, 0.5)
        probs = [dense_softmax(dense.rows[(c,)]) for c in (0, 2, 1, 0)]  # after the last of the text, then 2, 1, 0
        losses = [-log(p[token]) for p, token in zip(probs, held_out, strict=True)]
        assert list(record) == ["epoch", "avg_loss", "accuracy", "val_loss", "val_accuracy"]
        assert record["val_loss"] == pytest.approx(sum(losses) / 4, abs=1e-9)
        assert record["val_accuracy"] == sum(p.index(max(p)) == t for p, t in zip(probs, held_out, strict=True)) / 4
        history.append(record)
    assert len({record["val_loss"] for record in history}) == 3
    plain = fit(alone, text, 0.5, 3)
    assert plain == [{key: record[key] for key in ("epoch", "avg_loss", "accuracy")} for record in history]
    assert alone.rows == model.rows


def test_progress_rises_to_one():
    calls = []
    fit(NGramTable(5, 0), [i * i % 5 for i in range(601)], 0.1, 2, on_progress=lambda *call: calls.append(call))
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
    model = NGramTable(vocab_size, context_size)
    fit(model, text, 0.1, epochs, on_progress=lambda fraction, _: fractions.append(fraction))
    assert fractions == sorted(fractions)
    assert min(fractions) > 0
    assert fractions[-1] == 1


def test_watching_changes_nothing():
    text = [0, 1, 0, 2, 0, 1, 1, 2, 2, 0, 1, 0]
    watched, alone = NGramTable(3, 1), NGramTable(3, 1)
    assert fit(watched, text, 0.5, 3, on_progress=lambda *_: None) == fit(alone, text, 0.5, 3)
    assert watched.rows == alone.rows


@pytest.mark.parametrize("stop_at", [0.01, 0.34, 0.5, 1.0])
def test_stopped_training_is_shorter_training(stop_at):
    text = [i * i % 5 for i in range(601)]
    stopped, shorter = NGramTable(5, 1), NGramTable(5, 1)

    def on_progress(fraction, _):
        if fraction >= stop_at:
            raise StopTraining

    history = fit(stopped, text, 0.1, 4, on_progress=on_progress)
    epochs = {0.01: 1, 0.34: 2, 0.5: 2, 1.0: 4}[stop_at]
    assert history == fit(shorter, text, 0.1, epochs)
    assert len(history) == epochs
    assert stopped.rows == shorter.rows


# --- what makes no sense ------------------------------------------------------------------------------------


@pytest.mark.parametrize("learning_rate", [0.0, -0.0, -0.1, nan, inf, -inf, 1000.1])
def test_a_learning_rate_that_makes_no_sense_is_refused(learning_rate):
    with pytest.raises(InputError, match="learning rate"):
        TableSettings(1, learning_rate)


@pytest.mark.parametrize("epochs", [0, -1])
def test_epochs_that_make_no_sense_are_refused(epochs):
    with pytest.raises(InputError, match="epochs"):
        TableSettings(epochs)


def test_a_text_without_pairs_is_refused():
    for text in (Text([], 0), Text([0], 1), Text([0, 1], 1)):
        with pytest.raises(InputError, match="training tokens are too few: the model needs at least 2"):
            next(NGramTable(2, 1).fit(text, TableSettings(1)))


@pytest.mark.parametrize("ids", [[0, 2, 1], [2, 0, 1], [0, 1, 2], [-1, 0, 1]])
def test_ids_outside_the_vocabulary_are_refused(ids):
    model = NGramTable(2, 1)
    with pytest.raises(ValueError, match="token ids are 0 to 1"):
        next(model.fit(Text(ids, 3), TableSettings(1)))
    assert model.rows == {}


def test_rows_that_no_pair_meets_stay_as_they_are():
    model = NGramTable(3, 1)
    model.rows[(2,)] = TableRow({1: 0.5}, -0.25)
    fit(model, [0, 1], 0.1, 1)
    assert model.rows[(2,)] == TableRow({1: 0.5}, -0.25)
