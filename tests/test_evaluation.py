"""How good is a model? Every figure worked out by hand, and against forward() on random texts."""

from math import log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toy_gpt_train.c_model import Prediction, SimpleNextTokenModel, TableRow
from toy_gpt_train.d_train import make_training_pairs, train_model
from toy_gpt_train.inference.evaluate import Scores, score, score_with_unknown, summarize, unigram_loss
from toy_gpt_train.math_training import argmax, cross_entropy_loss


def one_row_bigram():
    """Return a bigram over two tokens that has seen only context 0, and says 1/4, 3/4 after it."""
    model = SimpleNextTokenModel(2, 1)
    model.rows[(0,)] = TableRow({1: log(3)}, 0.0)
    return model


# --- figures ------------------------------------------------------------------------------------------------


def test_figures_follow_from_the_loss():
    scores = Scores(num_tokens=10, loss=log(8), accuracy=0.5, unseen_context_share=0.0)
    assert scores.perplexity == pytest.approx(8, abs=1e-12)
    assert scores.bits_per_token == pytest.approx(3, abs=1e-12)
    assert scores.bits_per_byte(60) == pytest.approx(0.5, abs=1e-12)  # 10 tokens of 3 bits in 60 bytes
    certain = Scores(10, 0.0, 1.0, 0.0)
    assert (certain.perplexity, certain.bits_per_token, certain.bits_per_byte(7)) == (1, 0, 0)


def test_summarize_by_hand():
    scored = [
        (Prediction(0.5, 3, True), 3),
        (Prediction(0.25, 3, False), 1),
        (Prediction(0.125, 0, False), 2),
        (Prediction(1.0, 2, True), 2),
    ]
    scores = summarize(iter(scored))
    assert scores.num_tokens == 4
    assert scores.loss == pytest.approx((1 + 2 + 3 + 0) * log(2) / 4, abs=1e-15)
    assert scores.accuracy == 0.5
    assert scores.unseen_context_share == 0.5


def test_a_probability_counts_as_at_least_1e_12():
    scores = summarize([(Prediction(0.0, 1, True), 0), (Prediction(1e-300, 1, True), 0)])
    assert scores.loss == pytest.approx(12 * log(10), abs=1e-12)
    assert scores.loss == pytest.approx(cross_entropy_loss([0.0, 1.0], 0), abs=1e-12)


def test_nothing_to_score():
    with pytest.raises(ValueError, match="no token"):
        summarize([])
    with pytest.raises(ValueError, match="no token"):
        score(SimpleNextTokenModel(2, 1), [0, 1], start=2)
    with pytest.raises(ValueError, match="no token"):
        score_with_unknown(SimpleNextTokenModel(2, 1), [None, None], "skip")


# --- score --------------------------------------------------------------------------------------------------


def test_score_by_hand():
    # The tokens 0 1 1 0 0 after nothing, 0, 1, 1, 0: 1/2 (guess 0), 3/4 (guess 1), 1/2 (0), 1/2 (0), 1/4 (1).
    scores = score(one_row_bigram(), [0, 1, 1, 0, 0])
    assert scores.num_tokens == 5
    assert scores.loss == pytest.approx((log(2) + log(4 / 3) + log(2) + log(2) + log(4)) / 5, abs=1e-15)
    assert scores.accuracy == 3 / 5
    assert scores.unseen_context_share == 3 / 5


def test_score_from_a_place_on_looks_back_across_it():
    scores = score(one_row_bigram(), [1, 0, 1, 0], start=2)
    assert scores.num_tokens == 2
    assert scores.loss == pytest.approx((log(4 / 3) + log(2)) / 2, abs=1e-15)
    assert scores.accuracy == 1
    assert scores.unseen_context_share == 0.5


def test_a_uniform_model_is_as_surprised_as_there_are_tokens():
    scores = score(SimpleNextTokenModel(4, 2), [0, 3, 1, 2, 0])
    assert scores.loss == pytest.approx(1.3862943611198906, abs=1e-15)
    assert scores.perplexity == pytest.approx(4, abs=1e-12)
    assert scores.bits_per_token == pytest.approx(2, abs=1e-12)
    assert scores.accuracy == 0.4  # the guess is token 0, the first of all
    assert scores.unseen_context_share == 1


def test_unseen_contexts_by_hand():
    model = SimpleNextTokenModel(3, 1)
    train_model(model, make_training_pairs([0, 1, 0, 2], 1), 0.1, 1)  # met the contexts 0 and 1
    assert score(model, [0, 1, 2, 2, 0], start=1).unseen_context_share == 2 / 4
    assert score(model, [0, 1, 2, 2, 0]).unseen_context_share == 3 / 5  # the first has no full context
    assert score(model, [0, 1, 0, 2], start=1).unseen_context_share == 0


@given(st.integers(1, 4), st.integers(0, 3), st.data())
@settings(max_examples=60, deadline=None)
def test_score_is_the_mean_over_forward(vocab_size, context_size, data):
    ids = st.integers(0, vocab_size - 1)
    trained_on, text = (data.draw(st.lists(ids, min_size=context_size + 1, max_size=20)) for _ in range(2))
    model = SimpleNextTokenModel(vocab_size, context_size)
    train_model(model, make_training_pairs(trained_on, context_size), 1.0, 2)
    pairs = make_training_pairs(text, context_size)
    scores = score(model, text, context_size)
    losses = [cross_entropy_loss(model.forward(*context), target) for context, target in pairs]
    assert scores.num_tokens == len(pairs)
    assert scores.loss == pytest.approx(sum(losses) / len(pairs), abs=1e-12)
    correct = sum(argmax(model.forward(*context)) == target for context, target in pairs)
    assert scores.accuracy == correct / len(pairs)
    assert scores.unseen_context_share == sum(context not in model.rows for context, _ in pairs) / len(pairs)


# --- unknown tokens -----------------------------------------------------------------------------------------

# After nothing: 1/2, guess 0. Unknown. After the unknown: 1/2, guess 0. After 1, never met: 1/2, guess 0. After 0: 3/4.
WITH_UNKNOWN = [0, None, 1, 0, 1]


def test_unknown_tokens_left_out():
    scores, scored_ids = score_with_unknown(one_row_bigram(), WITH_UNKNOWN, "skip")
    assert scored_ids == [0, 1, 0, 1]
    assert scores.num_tokens == 4
    assert scores.loss == pytest.approx((3 * log(2) + log(4 / 3)) / 4, abs=1e-15)
    assert scores.accuracy == 3 / 4  # not the 1 after the unknown token
    assert scores.unseen_context_share == 3 / 4


def test_unknown_tokens_as_likely_as_any():
    scores, scored_ids = score_with_unknown(one_row_bigram(), WITH_UNKNOWN, "uniform")
    assert scored_ids == [0, 2, 1, 0, 1]
    assert scores.num_tokens == 5
    assert scores.loss == pytest.approx((3 * log(2) + log(2) + log(4 / 3)) / 5, abs=1e-15)
    assert scores.accuracy == 3 / 5  # nobody guesses a token that does not exist


def test_an_unknown_token_may_stand_after_a_context_that_training_met():
    scores, _ = score_with_unknown(one_row_bigram(), [0, None, 0, None], "uniform")
    # Nothing: not met. 0: met. The unknown token: not met. 0: met.
    assert scores.unseen_context_share == 2 / 4


def test_an_unknown_token_spoils_every_context_it_is_in():
    model = SimpleNextTokenModel(2, 2)
    train_model(model, make_training_pairs([0, 0, 0, 0, 1], 2), 1.0, 1)
    scores, scored_ids = score_with_unknown(model, [0, 0, 0, None, 0, 0, 0], "skip")
    assert scored_ids == [0] * 6
    # Seen are the contexts of the third token and of the last one.
    assert scores.unseen_context_share == 4 / 6


@pytest.mark.parametrize("unknown", ["skip", "uniform"])
def test_without_unknown_tokens_both_are_the_plain_score(unknown):
    text = [0, 1, 1, 0, 0]
    assert score_with_unknown(one_row_bigram(), text, unknown) == (score(one_row_bigram(), text), text)


# --- the unigram baseline -----------------------------------------------------------------------------------


def test_unigram_loss_by_hand():
    # Frequencies 3, 1, 0 and one more each: 4/7, 2/7, 1/7.
    assert unigram_loss([3, 1, 0], [0]) == pytest.approx(log(7 / 4), abs=1e-15)
    assert unigram_loss([3, 1, 0], [1, 1]) == pytest.approx(log(7 / 2), abs=1e-15)
    assert unigram_loss([3, 1, 0], [0, 1, 2, 2]) == pytest.approx((log(7 / 4) + log(7 / 2) + 2 * log(7)) / 4, abs=1e-15)


def test_unigram_loss_of_a_token_outside_the_vocabulary_is_that_of_one_never_met():
    assert unigram_loss([3, 1], [2]) == pytest.approx(log(6), abs=1e-15)
    assert unigram_loss([3, 1], [0, 2]) == pytest.approx((log(6 / 4) + log(6)) / 2, abs=1e-15)


def test_unigram_loss_of_a_text_never_read_is_uniform():
    assert unigram_loss([0] * 5, [0, 4, 2]) == pytest.approx(log(5), abs=1e-15)
