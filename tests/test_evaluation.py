"""How good is a model? Every figure worked out by hand, and against next_probs() on random texts."""

from math import log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toy_gpt_train.inference.evaluate import Evaluation, evaluate, unigram_loss, watched
from toy_gpt_train.math_training import argmax, conditional_entropy, cross_entropy_loss
from toy_gpt_train.models.base import Text
from toy_gpt_train.models.ngram_table import NGramTable, TableRow, training_pairs
from toy_gpt_train.models.scores import Prediction, Scores, longest_context_floor, summarize
from toy_gpt_train.training.tables import TableSettings


def one_row_bigram():
    """Return a bigram over two tokens that has seen only context 0, and says 1/4, 3/4 after it."""
    model = NGramTable(2, 1)
    model.rows[(0,)] = TableRow({1: log(3)}, 0.0)
    return model


def trained(vocab_size, context_size, text, epochs=1, learning_rate=1.0):
    model = NGramTable(vocab_size, context_size)
    list(model.fit(Text(text, len(text)), TableSettings(epochs, learning_rate)))
    return model


def score(model, text, start=0, *, skip_unknown=False):
    """Evaluate a text of tokens of one byte each; frequencies play no part."""
    return evaluate(model, text, [1] * (len(text) - start), [1] * model.vocab_size, start, skip_unknown=skip_unknown)


# --- figures ------------------------------------------------------------------------------------------------


def test_figures_follow_from_the_loss():
    scores = Scores(num_tokens=10, loss=log(8), accuracy=0.5, unseen_context_share=0.0)
    assert scores.perplexity == pytest.approx(8, abs=1e-12)
    assert scores.bits_per_token == pytest.approx(3, abs=1e-12)
    certain = Scores(10, 0.0, 1.0, 0.0)
    assert (certain.perplexity, certain.bits_per_token) == (1, 0)


def test_bits_per_byte_are_all_bits_over_all_bytes():
    evaluation = Evaluation(10, log(8), 0.5, 0.0, num_bytes=60, unigram_loss=2.5, unknown_tokens=0, seconds=0.1)
    assert evaluation.bits_per_byte == pytest.approx(0.5, abs=1e-12)  # 10 tokens of 3 bits in 60 bytes
    assert repr(evaluation) == "<Evaluation: loss 2.0794, perplexity 8.00, 0.5000 bits per byte, 10 tokens>"
    unknown = Evaluation(10, 0.0, 0.5, None, num_bytes=7, unigram_loss=2.5, unknown_tokens=2, seconds=0.1)
    assert unknown.bits_per_byte == 0
    assert repr(unknown).endswith("10 tokens, 2 unknown>")


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


def test_where_one_model_keeps_no_record_the_share_of_unseen_contexts_is_unknown():
    assert summarize([(Prediction(0.5, 3, None), 3), (Prediction(0.5, 3, True), 3)]).unseen_context_share is None


def test_a_probability_counts_as_at_least_1e_12():
    scores = summarize([(Prediction(0.0, 1, True), 0), (Prediction(1e-300, 1, True), 0)])
    assert scores.loss == pytest.approx(12 * log(10), abs=1e-12)
    assert scores.loss == pytest.approx(cross_entropy_loss([0.0, 1.0], 0), abs=1e-12)


def test_nothing_to_score():
    with pytest.raises(ValueError, match="no token"):
        summarize([])
    with pytest.raises(ValueError, match="no token"):
        score(NGramTable(2, 1), [0, 1], start=2)
    with pytest.raises(ValueError, match="no token"):
        score(NGramTable(2, 1), [2, 2], skip_unknown=True)


# --- evaluate --------------------------------------------------------------------------------------------------


def test_score_by_hand():
    # The tokens 0 1 1 0 0 after nothing, 0, 1, 1, 0: 1/2 (guess 0), 3/4 (guess 1), 1/2 (0), 1/2 (0), 1/4 (1).
    scores = score(one_row_bigram(), [0, 1, 1, 0, 0])
    assert scores.num_tokens == 5
    assert scores.loss == pytest.approx((log(2) + log(4 / 3) + log(2) + log(2) + log(4)) / 5, abs=1e-15)
    assert scores.accuracy == 3 / 5
    assert scores.unseen_context_share == 3 / 5


def test_a_score_from_a_position_on_looks_back_across_it():
    scores = score(one_row_bigram(), [1, 0, 1, 0], start=2)
    assert scores.num_tokens == 2
    assert scores.loss == pytest.approx((log(4 / 3) + log(2)) / 2, abs=1e-15)
    assert scores.accuracy == 1
    assert scores.unseen_context_share == 0.5


def test_a_uniform_model_is_as_surprised_as_there_are_tokens():
    scores = score(NGramTable(4, 2), [0, 3, 1, 2, 0])
    assert scores.loss == pytest.approx(1.3862943611198906, abs=1e-15)
    assert scores.perplexity == pytest.approx(4, abs=1e-12)
    assert scores.bits_per_token == pytest.approx(2, abs=1e-12)
    assert scores.accuracy == 0.4  # the guess is token 0, the first of all
    assert scores.unseen_context_share == 1


def test_unseen_contexts_by_hand():
    model = trained(3, 1, [0, 1, 0, 2])  # met the contexts 0 and 1
    assert score(model, [0, 1, 2, 2, 0], start=1).unseen_context_share == 2 / 4
    assert score(model, [0, 1, 2, 2, 0]).unseen_context_share == 3 / 5  # the first has no full context
    assert score(model, [0, 1, 0, 2], start=1).unseen_context_share == 0


@given(st.integers(1, 4), st.integers(0, 3), st.data())
@settings(max_examples=60, deadline=None)
def test_a_score_is_the_mean_over_next_probs(vocab_size, context_size, data):
    ids = st.integers(0, vocab_size - 1)
    trained_on, text = (data.draw(st.lists(ids, min_size=context_size + 1, max_size=20)) for _ in range(2))
    model = trained(vocab_size, context_size, trained_on, epochs=2)
    pairs = list(training_pairs(text, context_size))
    scores = score(model, text, context_size)
    losses = [cross_entropy_loss(model.next_probs(context), target) for context, target in pairs]
    assert scores.num_tokens == len(pairs)
    assert scores.loss == pytest.approx(sum(losses) / len(pairs), abs=1e-12)
    correct = sum(argmax(model.next_probs(context)) == target for context, target in pairs)
    assert scores.accuracy == correct / len(pairs)
    assert scores.unseen_context_share == sum(context not in model.rows for context, _ in pairs) / len(pairs)


def test_bytes_and_the_baseline_are_of_the_scored_tokens():
    evaluation = evaluate(one_row_bigram(), [0, 1, 2, 0], [2, 4, 8], [3, 1], 1)
    assert (evaluation.num_tokens, evaluation.num_bytes, evaluation.unknown_tokens) == (3, 14, 1)
    assert evaluation.unigram_loss == unigram_loss([3, 1], [1, 2, 0])
    skipped = evaluate(one_row_bigram(), [0, 1, 2, 0], [2, 4, 8], [3, 1], 1, skip_unknown=True)
    assert (skipped.num_tokens, skipped.num_bytes, skipped.unknown_tokens) == (2, 10, 1)
    assert skipped.unigram_loss == unigram_loss([3, 1], [1, 0])
    assert skipped.seconds >= 0


def test_progress_is_told_every_200_tokens():
    calls = []
    text = [0, 1] * 250
    predictions = list(watched(one_row_bigram(), text, 40, lambda *call: calls.append(call)))
    assert predictions == list(one_row_bigram().score(text, 40))
    assert calls == [(1.0, "scored 200 of 460 tokens"), (1.0, "scored 400 of 460 tokens")]


# --- unknown tokens -----------------------------------------------------------------------------------------

# Token 2 is unknown. After nothing: 1/2, guess 0. Unknown. After it: 1/2, guess 0. After 1, never met: 1/2, guess 0.
# After 0: 3/4.
WITH_UNKNOWN = [0, 2, 1, 0, 1]


def test_unknown_tokens_left_out():
    scores = score(one_row_bigram(), WITH_UNKNOWN, skip_unknown=True)
    assert scores.num_tokens == 4
    assert scores.loss == pytest.approx((3 * log(2) + log(4 / 3)) / 4, abs=1e-15)
    assert scores.accuracy == 3 / 4  # not the 1 after the unknown token
    assert scores.unseen_context_share == 3 / 4


def test_unknown_tokens_as_likely_as_any():
    scores = score(one_row_bigram(), WITH_UNKNOWN)
    assert scores.num_tokens == 5
    assert scores.loss == pytest.approx((3 * log(2) + log(2) + log(4 / 3)) / 5, abs=1e-15)
    assert scores.accuracy == 3 / 5  # no model guesses a token that does not exist


def test_an_unknown_token_may_stand_after_a_context_that_training_met():
    # Nothing: not met. 0: met. The unknown token: not met. 0: met.
    assert score(one_row_bigram(), [0, 2, 0, 2]).unseen_context_share == 2 / 4


def test_an_unknown_token_spoils_every_context_it_is_in():
    model = trained(2, 2, [0, 0, 0, 0, 1])
    scores = score(model, [0, 0, 0, 2, 0, 0, 0], skip_unknown=True)
    assert scores.num_tokens == 6
    # Seen are the contexts of the third token and of the last one.
    assert scores.unseen_context_share == 4 / 6


def test_without_unknown_tokens_both_are_the_plain_score():
    text = [0, 1, 1, 0, 0]
    plain = summarize(zip(one_row_bigram().score(text), text, strict=True))
    for skip_unknown in (False, True):
        found = score(one_row_bigram(), text, skip_unknown=skip_unknown)
        assert Scores(found.num_tokens, found.loss, found.accuracy, found.unseen_context_share) == plain


# --- the loss floor -----------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.integers(0, 14))
@settings(max_examples=150, deadline=None)
def test_the_floor_of_a_long_context_is_the_conditional_entropy(text, context_size):
    context_size = min(context_size, len(text) - 1)
    expected = conditional_entropy(training_pairs(text, context_size))
    assert longest_context_floor(text, context_size) == pytest.approx(expected, abs=1e-12)


def test_the_floor_of_a_long_context_by_hand():
    # The same twelve tokens, then 0, and again, then 1: of the 14 pairs, two share their context.
    text = [*range(12), 0, *range(12), 1]
    assert longest_context_floor(text, 12) == pytest.approx(2 * log(2) / 14, abs=1e-12)


@pytest.mark.parametrize("text", [[], [0], [0, 1], [0, 1, 0]])
def test_a_text_without_a_full_context_leaves_nothing_to_guess(text):
    assert longest_context_floor(text, 3) == 0


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
