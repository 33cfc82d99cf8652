"""Kneser-Ney back-off, held against the formula of Chen and Goodman written out literally."""

import random
from itertools import product
from math import inf, nan
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reference import FALLBACK_DISCOUNTS, LiteralKneserNey, modified_discounts
from toy_gpt_train.math_training import argmax, conditional_entropy
from toy_gpt_train.models.base import MAX_VOCABULARY, Text
from toy_gpt_train.models.kneser_ney import COUNTS_NAME, DISCOUNTS_NAME, KneserNey, estimate_discounts, interpolate_all
from toy_gpt_train.models.ngram_table import training_pairs
from toy_gpt_train.models.scores import summarize

TINY_SHAKESPEARE = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "tinyshakespeare.txt"

# Skewed enough, and long enough, that all three discounts are estimated for most lengths.
_generator = random.Random(5)
SKEWED_TEXT = [_generator.choices(range(6), (32, 16, 8, 4, 2, 1))[0] for _ in range(400)]


@st.composite
def corpora(draw):
    """Draw V, N, and a text; often some of the V tokens are not in it."""
    vocab_size, context_size = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    used = draw(st.integers(1, vocab_size))
    text = draw(st.lists(st.integers(0, used - 1), min_size=context_size + 1, max_size=45))
    return vocab_size, context_size, text


def fit(model, text):
    """Learn a whole text; return the one record."""
    (record,) = model.fit(Text(text, len(text)))
    return record


def fitted(vocab_size, context_size, text):
    model = KneserNey(vocab_size, context_size)
    fit(model, text)
    return model


def score(model, text, start):
    return summarize(zip(model.score(text, start), text[start:], strict=True))


def contexts_up_to(vocab_size, context_size):
    return [context for length in range(context_size + 1) for context in product(range(vocab_size), repeat=length)]


def as_history(context):
    return "".join(map(chr, reversed(context)))


def reload(model, reorder=list):
    """Return a model rebuilt from another's tables, the rows of counts in another order."""
    tables = {table.name: list(table.rows) for table in model.content().tables}
    tables[COUNTS_NAME] = reorder(tables[COUNTS_NAME])
    again = KneserNey(model.vocab_size, model.context_size)
    again.load_tables(tables)
    return again


def discounts_of(model):
    """Return the discounts of each context length, from 0 to N."""
    _, discounts = model.content().tables
    return [row[1:] for row in discounts.rows]


def assert_is_literal(model, text):
    """Compare the model with the literal one, for every context of every length."""
    literal = LiteralKneserNey(text, model.vocab_size, model.context_size)
    for discounts, expected in zip(discounts_of(model), literal.discounts, strict=True):
        assert discounts == pytest.approx(expected, abs=1e-12)
    for context in contexts_up_to(model.vocab_size, model.context_size):
        expected = literal.distribution(context)
        probs = model.next_probs(context)
        assert probs == pytest.approx(expected, abs=1e-12)
        assert sum(probs) == pytest.approx(1, abs=1e-12)
        assert min(probs) > 0
        assert_orders_are_literal(model, literal, context)


def assert_orders_are_literal(model, literal, context):
    """Each order's distribution is that of the shorter context, as far as the context was met."""
    matched = model.matched(as_history(context))
    uniform = [1 / model.vocab_size] * model.vocab_size
    distributions = [interpolate_all(matched[:length], uniform) for length in range(1, len(matched) + 1)]
    suffixes = [context[len(context) - length :] for length in range(len(context) + 1)]
    met = [suffix for suffix in suffixes if literal.after(suffix)]
    assert len(distributions) == len(met)
    for suffix, probs in zip(met, distributions, strict=True):
        assert probs == pytest.approx(literal.distribution(suffix), abs=1e-12)


def assert_predicts_as_literal(model, trained_on, text):
    literal = LiteralKneserNey(trained_on, model.vocab_size, model.context_size)
    size = model.context_size
    predictions = list(model.score(text))
    assert len(predictions) == len(text)
    for position, prediction in enumerate(predictions):
        context = tuple(text[max(position - size, 0) : position])
        assert prediction.probability == pytest.approx(literal.probability(text[position], context), abs=1e-12)
        assert prediction.context_seen == (len(context) == size and bool(literal.after(context)))
        probs = model.next_probs(context)
        first, second = sorted([*probs, 0.0], reverse=True)[:2]
        if first - second > 1e-12:
            assert prediction.most_likely == argmax(probs)
        assert probs[prediction.most_likely] == pytest.approx(first, abs=1e-12)


# --- discounts ----------------------------------------------------------------------------------------------


def test_discounts_by_hand():
    # n1..n4 = 4, 2, 1, 1: Y = 4/8; D1 = 1 - 2 Y 2/4, D2 = 2 - 3 Y 1/2, D3 = 3 - 4 Y 1/1
    assert estimate_discounts([1, 1, 1, 1, 2, 2, 3, 4]) == (0.5, 1.25, 1.0)
    # n1..n4 = 10, 5, 3, 2, and larger counts that play no part: Y = 10/20
    counts = [1] * 10 + [2] * 5 + [3] * 3 + [4] * 2 + [5, 17, 1000]
    assert estimate_discounts(counts) == pytest.approx((0.5, 1.1, 3 - 4 * 0.5 * 2 / 3), abs=1e-15)


@pytest.mark.parametrize(
    "counts",
    [
        [],
        [1, 1, 1],
        [2, 3, 4],  # none counted once
        [1, 3, 4],
        [1, 2, 4],
        [1, 2, 3, 5],
        [1, 1, 1, 1, 1, 1, 2, 3, 4],  # D2 = 2 - 3 (6/8) 1/1, negative
        [1, 2, 3, 3, 3, 3, 3, 3, 4],  # D2 = 2 - 3 (1/3) 6/1, negative
        [1, 2, 3, 4, 4, 4, 4],  # D3 = 3 - 4 (1/3) 4/1, negative
        [1, 2, 3, 3, 4],  # D2 = 2 - 3 (1/3) 2/1, nothing
    ],
)
def test_where_counts_do_not_allow_an_estimate_the_discounts_are_fixed(counts):
    assert estimate_discounts(counts) == (0.5, 1.0, 1.5) == FALLBACK_DISCOUNTS


@given(st.lists(st.integers(1, 6), max_size=40))
@settings(max_examples=150, deadline=None)
def test_discounts_are_the_literal_ones(counts):
    discounts = estimate_discounts(iter(counts))
    assert discounts == pytest.approx(modified_discounts(counts), abs=1e-12)
    assert all(0 < discount <= r for r, discount in enumerate(discounts, start=1))


# --- the formula --------------------------------------------------------------------------------------------


def test_a_small_text_by_hand():
    # 0 1 0 1 0 2, N = 1. Pairs: 01 twice, 10 twice, 02 once. Fixed discounts, for no count is 3 or 4.
    # Continuation counts: 0 after {1}, 1 after {0}, 2 after {0}: one each of three.
    model = fitted(4, 1, [0, 1, 0, 1, 0, 2])
    # Length 0: (1 - 0.5) / 3 for each token met, and 3 * 0.5 / 3 = 1/2 of the uniform 1/4.
    met, never = 0.5 / 3 + 0.125, 0.125
    assert model.next_probs([]) == pytest.approx([met, met, met, never], abs=1e-15)
    # After 0: 1 counted twice, 2 once, of 3; gamma = (1.0 + 0.5) / 3 = 1/2.
    expected = [met / 2, (2 - 1) / 3 + met / 2, (1 - 0.5) / 3 + met / 2, never / 2]
    assert model.next_probs([0]) == pytest.approx(expected, abs=1e-15)
    # After 1: 0 counted twice, of 2; gamma = 1.0 / 2.
    assert model.next_probs([1]) == pytest.approx([0.5 + met / 2, met / 2, met / 2, never / 2], abs=1e-15)
    # Nothing came after 2, and 3 was never met.
    assert model.next_probs([2]) == model.next_probs([3]) == model.next_probs([])
    assert model.num_parameters() == 3 + 3 + 2 * 3


def test_the_most_likely_of_equals_is_the_first():
    assert [p.most_likely for p in fitted(4, 0, [3, 1, 3, 1, 2]).score([0])] == [1]
    # After 0: 3 and 1, once each; both have one continuation.
    assert [p.most_likely for p in fitted(4, 1, [0, 3, 0, 1]).score([0, 2], start=1)] == [1]


def test_the_most_likely_may_be_a_token_never_counted_after_the_context():
    # After 0 came ten different tokens, once each; token 25 came after twelve others, never after 0.
    text = [token for other in range(1, 11) for token in (0, other)]
    text += [token for other in range(11, 23) for token in (other, 25)]
    model = fitted(26, 1, text)
    probs = model.next_probs([0])
    assert [prediction.most_likely for prediction in model.score([0, 5], start=1)] == [25]
    assert argmax(probs) == 25
    assert probs == pytest.approx(LiteralKneserNey(text, 26, 1).distribution((0,)), abs=1e-12)
    assert_predicts_as_literal(model, text, text)


def test_francisco_follows_only_san():
    # Token 1 is frequent, but only after 0; token 2 is rarer, but comes after 3, 4 and 5.
    text = [0, 1] * 8 + [3, 2, 4, 2, 5, 2]
    model = fitted(7, 1, text)
    literal = LiteralKneserNey(text, 7, 1)
    assert (literal.counts[0][(1,)], literal.counts[0][(2,)]) == (1, 3)
    assert model.next_probs([6])[1] < model.next_probs([6])[2]  # after a token never met
    assert model.next_probs([0])[1] > 0.8


@given(corpora())
@example((1, 0, [0]))
@example((1, 3, [0, 0, 0, 0]))
@example((3, 3, [2, 2, 2, 2, 2, 2, 2]))
@example((4, 2, [0, 1, 2]))
@example((4, 1, [0, 0, 0, 1, 1, 1, 0, 0, 1, 1]))
@settings(max_examples=60, deadline=None)
def test_every_probability_is_the_formulas(corpus):
    vocab_size, context_size, text = corpus
    assert_is_literal(fitted(vocab_size, context_size, text), text)


@given(corpora(), st.data())
@settings(max_examples=100, deadline=None)
def test_every_prediction_is_the_formulas(corpus, data):
    vocab_size, context_size, text = corpus
    model = fitted(vocab_size, context_size, text)
    assert_predicts_as_literal(model, text, text)
    assert_predicts_as_literal(model, text, data.draw(st.lists(st.integers(0, vocab_size - 1), max_size=15)))


@pytest.mark.parametrize("context_size", [0, 1, 2, 3])
def test_estimated_discounts_give_the_formulas_probabilities(context_size):
    model = fitted(7, context_size, SKEWED_TEXT)
    if context_size == 3:
        assert all(discounts != FALLBACK_DISCOUNTS for discounts in discounts_of(model)[2:])
    assert_is_literal(model, SKEWED_TEXT)
    assert_predicts_as_literal(model, SKEWED_TEXT, [*SKEWED_TEXT[:60], 6, 6, 0, 0, 5, 5, 5, 4, 4])


@given(corpora())
@example((1, 2, [0, 0, 0]))
@example((3, 0, [1]))
@settings(max_examples=100, deadline=None)
def test_fit_records_the_scores_of_the_training_text(corpus):
    vocab_size, context_size, text = corpus
    model = KneserNey(vocab_size, context_size)
    record = fit(model, text)
    scores = score(model, text, context_size)
    assert record.keys() == {"epoch", "avg_loss", "accuracy"}
    assert record["epoch"] == 1
    assert record["avg_loss"] == pytest.approx(scores.loss, abs=1e-12)
    assert record["accuracy"] == scores.accuracy
    assert model.loss_floor() == pytest.approx(conditional_entropy(training_pairs(text, context_size)), abs=1e-12)
    assert model.loss_floor() >= 0
    assert scores.unseen_context_share == 0


@given(corpora())
@settings(max_examples=30, deadline=None)
def test_learning_another_text_forgets_the_first(corpus):
    vocab_size, context_size, text = corpus
    model, fresh = fitted(vocab_size, context_size, [vocab_size - 1] * 9), KneserNey(vocab_size, context_size)
    list(model.score([*range(vocab_size), *text]))
    assert fit(model, text) == fit(fresh, text)
    assert list(model.score(text)) == list(fresh.score(text))
    for context in contexts_up_to(vocab_size, context_size):
        assert model.next_probs(context) == fresh.next_probs(context)


# --- texts that have little to teach ------------------------------------------------------------------------


@pytest.mark.parametrize("context_size", [0, 1, 4])
def test_one_token_over_and_over(context_size):
    model = KneserNey(3, context_size)
    found = fit(model, [1] * 20)
    assert found["accuracy"] == 1
    assert model.loss_floor() == 0
    assert_is_literal(model, [1] * 20)
    assert argmax(model.next_probs([1] * context_size)) == 1
    # Neither the others, nor their contexts, were ever met.
    assert model.next_probs([])[0] == model.next_probs([])[2] > 0
    if context_size:
        assert model.next_probs([2]) == model.next_probs([])


@pytest.mark.parametrize("context_size", [0, 1, 3])
def test_a_vocabulary_of_one_token(context_size):
    model = KneserNey(1, context_size)
    found = fit(model, [0] * 7)
    assert found == {"epoch": 1, "avg_loss": pytest.approx(0, abs=1e-12), "accuracy": 1.0}
    assert model.loss_floor() == 0
    for context in contexts_up_to(1, context_size):
        assert model.next_probs(context) == pytest.approx([1.0], abs=1e-12)


@pytest.mark.parametrize("context_size", [0, 1, 2, 5])
def test_a_text_of_one_ngram(context_size):
    text = list(range(context_size + 1))
    model = fitted(context_size + 2, context_size, text)
    literal = LiteralKneserNey(text, context_size + 2, context_size)
    for length in range(context_size + 1):
        context = tuple(text[context_size - length : context_size])
        assert model.next_probs(context) == pytest.approx(literal.distribution(context), abs=1e-12)
        assert argmax(model.next_probs(context)) == context_size
    assert model.num_parameters() == (1 + 3) * (context_size + 1)  # one count and three discounts per length


def test_no_token_counted_once():
    text = [0, 1, 2] * 6
    assert 1 not in LiteralKneserNey(text, 3, 1).counts[1].values()
    assert_is_literal(fitted(3, 1, text), text)


@pytest.mark.parametrize("context_size", [0, 1, 3])
def test_a_text_that_is_too_short_is_refused(context_size):
    with pytest.raises(ValueError, match="too few"):
        fit(KneserNey(2, context_size), [0] * context_size)


@pytest.mark.parametrize("ids", [[0, 1, 2], [2, 0, 1], [-1, 0, 1]])
def test_ids_outside_the_vocabulary_are_refused(ids):
    with pytest.raises(ValueError, match="token ids are 0 to 1"):
        fit(KneserNey(2, 1), ids)


def test_only_the_training_part_is_learned():
    model = KneserNey(3, 1)
    list(model.fit(Text([0, 1, 0, 1, 2, 2, 2], 4)))
    assert list(model.content().tables[0].rows) == list(fitted(3, 1, [0, 1, 0, 1]).content().tables[0].rows)


def test_a_context_longer_than_python_may_call_deep():
    # 1200 tokens back, and 8 n-grams of 1201: each length backs off to the one below.
    text = [i * i % 7 for i in range(1208)]
    model = KneserNey(7, 1200)
    found = fit(model, text)
    assert found["accuracy"] == 1
    assert model.loss_floor() == 0
    assert sum(model.next_probs(text[:1200])) == pytest.approx(1, abs=1e-9)
    assert score(model, text, 1200).loss == pytest.approx(found["avg_loss"], abs=1e-12)


def test_before_training_every_token_is_equally_likely():
    model = KneserNey(4, 2)
    assert model.next_probs([]) == model.next_probs([3]) == model.next_probs([0, 3]) == [0.25] * 4
    assert [prediction.probability for prediction in model.score([0, 1, 2, 3])] == [0.25] * 4
    assert not any(prediction.context_seen for prediction in model.score([0, 1, 2, 3]))


# --- asking -------------------------------------------------------------------------------------------------


def test_context_seen_by_hand():
    model = fitted(3, 2, [0, 1, 0, 1, 2])  # tokens came after 01 and after 10; nothing after 12
    seen = [prediction.context_seen for prediction in model.score([0, 1, 0, 2, 0, 1, 2, 0])]
    assert seen == [False, False, True, True, False, False, True, False]
    assert [prediction.context_seen for prediction in model.score([0, 1, 0, 2], start=2)] == [True, True]


def test_a_token_outside_the_vocabulary_is_a_context_never_met():
    text = [0, 1, 0, 1, 2, 1]
    model = fitted(3, 2, text)
    _, _, after_outside, one_later, two_later = model.score([0, 3, 0, 1, 0])
    assert after_outside.probability == model.next_probs([])[0]
    assert one_later.probability == model.next_probs([0])[1]
    assert two_later.probability == model.next_probs([0, 1])[0]
    assert [p.context_seen for p in (after_outside, one_later, two_later)] == [False, False, True]


@pytest.mark.parametrize("context", [(3,), (-1,), (0, 3)])
def test_what_is_no_token_is_refused(context):
    with pytest.raises(ValueError, match="token ids are 0 to 2"):
        fitted(3, 2, [0, 1, 2]).next_probs(context)


def test_only_the_last_tokens_count():
    model = fitted(3, 2, [0, 1, 2, 0, 1, 0])
    assert model.next_probs([2, 2, 0, 1]) == model.next_probs([0, 1]) != model.next_probs([1])


@pytest.mark.parametrize(("vocab_size", "context_size"), [(0, 1), (-1, 0), (MAX_VOCABULARY + 1, 1), (2, -1)])
def test_a_model_of_impossible_size_is_refused(vocab_size, context_size):
    with pytest.raises(ValueError, match=r"must have 1 to 1114110|must be at least 0"):
        KneserNey(vocab_size, context_size)


def test_the_shortest_context_is_none():
    assert KneserNey(2, 3).min_context == 0
    assert KneserNey.default_context == 4


def test_token_ids_where_unicode_has_surrogates():
    # Inside, a token is the code point of its id, and 0xD800 to 0xDFFF are no characters of their own.
    generator = random.Random(3)
    ids = [0xD7FF, 0xD800, 0xD801, 0xDBFF, 0xDC00, 0xDFFF, 0xE000]
    text = [generator.choice(ids) for _ in range(60)]
    model = KneserNey(0xE001, 2)
    found = fit(model, text)
    literal = LiteralKneserNey(text, 0xE001, 2)
    for position, prediction in enumerate(model.score(text)):
        context = tuple(text[max(position - 2, 0) : position])
        assert prediction.probability == pytest.approx(literal.probability(text[position], context), abs=1e-12)
    probs = model.next_probs([0xD800, 0xDC00])
    assert sum(probs) == pytest.approx(1, abs=1e-12)
    assert [probs[i] for i in [*ids, 0, 0xD7FE]] == pytest.approx(
        [literal.probability(i, (0xD800, 0xDC00)) for i in [*ids, 0, 0xD7FE]], abs=1e-12
    )
    assert score(reload(model), text, 2).loss == pytest.approx(found["avg_loss"], abs=1e-12)
    assert reload(model).next_probs([0xD800, 0xDC00]) == probs


# --- as tables, and back ------------------------------------------------------------------------------------


def test_tables_by_hand():
    counts, discounts = fitted(3, 1, [0, 1, 0, 1, 0, 2]).content().tables
    assert (counts.name, counts.num_rows) == (COUNTS_NAME, 3) == ("02_counts.csv", 3)
    assert list(counts.rows) == [((0,), 1, 2), ((0,), 2, 1), ((1,), 0, 2)]
    assert [column.name for column in counts.columns] == ["context", "token", "count"]
    assert (discounts.name, discounts.num_rows) == (DISCOUNTS_NAME, 2) == ("03_discounts.csv", 2)
    assert list(discounts.rows) == [(0, 0.5, 1.0, 1.5), (1, 0.5, 1.0, 1.5)]
    assert [column.name for column in discounts.columns] == ["context_size", "once", "twice", "three_or_more"]
    assert KneserNey(3, 1).expected_tables("tables", ["a", "b", "c"]) == {
        COUNTS_NAME: counts.columns,
        DISCOUNTS_NAME: discounts.columns,
    }


@given(corpora(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_what_is_read_back_is_bit_for_bit_the_same(corpus, generator):
    vocab_size, context_size, text = corpus
    model = fitted(vocab_size, context_size, text)

    def shuffled(rows):
        return generator.sample(rows, len(rows))

    for again in (reload(model), reload(model, shuffled), reload(model, lambda rows: rows[::-1])):
        for context in contexts_up_to(vocab_size, context_size):
            assert again.next_probs(context) == model.next_probs(context)
        assert list(again.score(text)) == list(model.score(text))
        assert again.num_parameters() == model.num_parameters()
        assert [list(table.rows) for table in again.content().tables] == [
            list(table.rows) for table in model.content().tables
        ]


def test_estimated_discounts_are_read_back_bit_for_bit():
    model = fitted(7, 3, SKEWED_TEXT)
    again = reload(model, lambda rows: random.Random(1).sample(rows, len(rows)))
    for context in contexts_up_to(7, 3):
        assert again.next_probs(context) == model.next_probs(context)
    assert list(again.score(SKEWED_TEXT)) == list(model.score(SKEWED_TEXT))


COUNT_ROWS = [((0,), 1, 2), ((0,), 2, 1), ((1,), 0, 2)]
DISCOUNT_ROWS = [(0, 0.5, 1.0, 1.5), (1, 0.5, 1.0, 1.5)]


def load(count_rows, discount_rows):
    model = KneserNey(3, 1)
    model.load_tables({COUNTS_NAME: iter(count_rows), DISCOUNTS_NAME: iter(discount_rows)})
    return model


def test_the_tables_to_be_damaged_are_whole():
    assert load(COUNT_ROWS, DISCOUNT_ROWS).next_probs([0]) == fitted(3, 1, [0, 1, 0, 1, 0, 2]).next_probs([0])


def test_the_discounts_of_the_tables_count_not_new_estimates():
    # Length 0: 1 each of three, (1 - 0.1) / 3 + 0.1 / 3. After 0: gamma = (0.9 + 1.8) / 3; 1 twice, 2 once.
    model = load(COUNT_ROWS, [(0, 0.1, 0.2, 0.3), (1, 0.9, 1.8, 2.7)])
    assert model.next_probs([]) == pytest.approx([1 / 3] * 3, abs=1e-15)
    assert model.next_probs([0]) == pytest.approx([0.3, 0.3 + 0.2 / 3, 0.3 + 0.1 / 3], abs=1e-15)


@pytest.mark.parametrize(
    "count_rows",
    [
        [],
        [*COUNT_ROWS, ((0,), 1, 2)],
        [*COUNT_ROWS, ((0,), 1, 3)],
        [*COUNT_ROWS, ((2,), 0, 0)],
        [*COUNT_ROWS, ((2,), 0, -1)],
        [*COUNT_ROWS, ((2,), -1, 1)],
    ],
    ids=["none", "twice", "twice-differently", "zero", "negative", "negative-token"],
)
def test_damaged_counts_are_refused(count_rows):
    with pytest.raises(ValueError):
        load(count_rows, DISCOUNT_ROWS)


@pytest.mark.parametrize(
    "discount_rows",
    [
        [],
        DISCOUNT_ROWS[:1],
        [*DISCOUNT_ROWS, (2, 0.5, 1.0, 1.5)],
        [DISCOUNT_ROWS[0], (1, -0.1, 1.0, 1.5)],
        [DISCOUNT_ROWS[0], (1, 0.0, 1.0, 1.5)],
        [DISCOUNT_ROWS[0], (1, 1.1, 1.0, 1.5)],
        [DISCOUNT_ROWS[0], (1, 0.5, 2.1, 1.5)],
        [(0, 0.5, 1.0, 3.1), DISCOUNT_ROWS[1]],
        [DISCOUNT_ROWS[0], (1, nan, 1.0, 1.5)],
        [DISCOUNT_ROWS[0], (1, 0.5, inf, 1.5)],
    ],
    ids=["none", "one-missing", "one-too-many", "negative", "nothing", "once", "twice", "more", "nan", "inf"],
)
def test_damaged_discounts_are_refused(discount_rows):
    with pytest.raises(ValueError):
        load(COUNT_ROWS, discount_rows)


@pytest.mark.parametrize("sizes", [(0, 0), (0, 2), (1, 2)])
def test_discounts_that_name_other_context_sizes_are_refused(sizes):
    with pytest.raises(ValueError):
        load(COUNT_ROWS, [(size, 0.5, 1.0, 1.5) for size in sizes])


def test_discounts_in_another_order_are_refused():
    with pytest.raises(ValueError, match="out of order"):
        load(COUNT_ROWS, DISCOUNT_ROWS[::-1])


# --- a real text --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not TINY_SHAKESPEARE.is_file(), reason=f"no Tiny Shakespeare at {TINY_SHAKESPEARE}")
def test_tiny_shakespeare_by_characters():
    text = TINY_SHAKESPEARE.read_text(encoding="utf-8")
    id_of = {character: token_id for token_id, character in enumerate(sorted(set(text)))}
    token_ids = [id_of[character] for character in text]
    num_train = int(len(token_ids) * 0.9)
    model = fitted(len(id_of), 6, token_ids[:num_train])
    scores = score(model, token_ids, num_train)
    assert scores.num_tokens == 111_540
    assert scores.loss <= 1.517
    assert round(scores.loss, 4) == 1.5165
