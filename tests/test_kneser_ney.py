"""Rung 450: Kneser-Ney back-off, held against the formula of Chen and Goodman written out literally."""

import random
from itertools import product
from math import inf, nan
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reference import FALLBACK_DISCOUNTS, LiteralKneserNey, modified_discounts
from toy_gpt_train.d_train import make_training_pairs
from toy_gpt_train.inference.evaluate import score
from toy_gpt_train.math_training import argmax, conditional_entropy
from toy_gpt_train.models.kneser_ney import COUNTS_NAME, DISCOUNTS_NAME, KneserNeyModel, estimate_discounts

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


def fitted(vocab_size, context_size, text):
    model = KneserNeyModel(vocab_size, context_size)
    model.fit(text)
    return model


def contexts_up_to(vocab_size, context_size):
    return [context for length in range(context_size + 1) for context in product(range(vocab_size), repeat=length)]


def as_history(context):
    return "".join(map(chr, context))


def reload(model, reorder=list):
    """Return a model rebuilt from another's tables, the rows of counts in another order."""
    tables = {table.name: list(table.rows) for table in model.to_tables()}
    tables[COUNTS_NAME] = reorder(tables[COUNTS_NAME])
    again = KneserNeyModel(model.vocab_size, model.context_size)
    again.from_tables(tables)
    return again


def discounts_of(model):
    """Return the discounts of each context length, from 0 to N."""
    _, discounts = model.to_tables()
    return [row[1:] for row in discounts.rows]


def assert_is_literal(model, text):
    """Compare the model with the literal one, for every context of every length."""
    literal = LiteralKneserNey(text, model.vocab_size, model.context_size)
    for discounts, expected in zip(discounts_of(model), literal.discounts, strict=True):
        assert discounts == pytest.approx(expected, abs=1e-12)
    for context in contexts_up_to(model.vocab_size, model.context_size):
        expected = literal.distribution(context)
        probs = model.forward(*context)
        assert probs == pytest.approx(expected, abs=1e-12)
        assert sum(probs) == pytest.approx(1, abs=1e-12)
        assert min(probs) > 0
        assert_orders_are_literal(model, literal, context)


def assert_orders_are_literal(model, literal, context):
    """Each order's distribution is that of the shorter context, as far as the context was met."""
    distributions = list(model.order_distributions(as_history(context)))
    suffixes = [context[len(context) - length :] for length in range(len(context) + 1)]
    met = [suffix for suffix in suffixes if literal.after(suffix)]
    assert len(distributions) == len(met)
    for suffix, probs in zip(met, distributions, strict=True):
        assert probs == pytest.approx(literal.distribution(suffix), abs=1e-12)


def assert_predicts_as_literal(model, trained_on, text):
    literal = LiteralKneserNey(trained_on, model.vocab_size, model.context_size)
    size = model.context_size
    predictions = list(model.predictions(text))
    assert len(predictions) == len(text)
    for place, prediction in enumerate(predictions):
        context = tuple(text[max(place - size, 0) : place])
        assert prediction.probability == pytest.approx(literal.probability(text[place], context), abs=1e-12)
        assert prediction.context_seen == (len(context) == size and bool(literal.after(context)))
        probs = model.forward(*context)
        first, second = sorted([*probs, 0.0], reverse=True)[:2]
        if first - second > 1e-12:
            assert prediction.likeliest == argmax(probs)
        assert probs[prediction.likeliest] == pytest.approx(first, abs=1e-12)


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
    assert model.forward() == pytest.approx([met, met, met, never], abs=1e-15)
    # After 0: 1 counted twice, 2 once, of 3; gamma = (1.0 + 0.5) / 3 = 1/2.
    expected = [met / 2, (2 - 1) / 3 + met / 2, (1 - 0.5) / 3 + met / 2, never / 2]
    assert model.forward(0) == pytest.approx(expected, abs=1e-15)
    # After 1: 0 counted twice, of 2; gamma = 1.0 / 2.
    assert model.forward(1) == pytest.approx([0.5 + met / 2, met / 2, met / 2, never / 2], abs=1e-15)
    # Nothing came after 2, and 3 was never met.
    assert model.forward(2) == model.forward(3) == model.forward()
    assert model.num_parameters() == 3 + 3 + 2 * 3


def test_the_likeliest_of_equals_is_the_smallest():
    assert [p.likeliest for p in fitted(4, 0, [3, 1, 3, 1, 2]).predictions([0])] == [1]
    # After 0: 3 and 1, once each; both have one continuation.
    assert [p.likeliest for p in fitted(4, 1, [0, 3, 0, 1]).predictions([0, 2], start=1)] == [1]


def test_the_likeliest_may_be_a_token_never_counted_after_the_context():
    # After 0 came ten different tokens, once each; token 25 came after twelve others, never after 0.
    text = [token for other in range(1, 11) for token in (0, other)]
    text += [token for other in range(11, 23) for token in (other, 25)]
    model = fitted(26, 1, text)
    probs = model.forward(0)
    assert [prediction.likeliest for prediction in model.predictions([0, 5], start=1)] == [25]
    assert argmax(probs) == 25
    assert probs == pytest.approx(LiteralKneserNey(text, 26, 1).distribution((0,)), abs=1e-12)
    assert_predicts_as_literal(model, text, text)


def test_francisco_follows_only_san():
    # Token 1 is frequent, but only after 0; token 2 is rarer, but comes after 3, 4 and 5.
    text = [0, 1] * 8 + [3, 2, 4, 2, 5, 2]
    model = fitted(7, 1, text)
    literal = LiteralKneserNey(text, 7, 1)
    assert (literal.counts[0][(1,)], literal.counts[0][(2,)]) == (1, 3)
    assert model.forward(6)[1] < model.forward(6)[2]  # after a token never met
    assert model.forward(0)[1] > 0.8


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
def test_fit_returns_the_scores_of_the_training_text(corpus):
    vocab_size, context_size, text = corpus
    model = KneserNeyModel(vocab_size, context_size)
    found = model.fit(text)
    scores = score(model, text, context_size)
    assert found.keys() == {"avg_loss", "accuracy", "loss_floor"}
    assert found["avg_loss"] == pytest.approx(scores.loss, abs=1e-12)
    assert found["accuracy"] == scores.accuracy
    assert found["loss_floor"] == pytest.approx(conditional_entropy(make_training_pairs(text, context_size)), abs=1e-12)
    assert found["loss_floor"] >= 0
    assert scores.unseen_context_share == 0


@given(corpora())
@settings(max_examples=30, deadline=None)
def test_learning_another_text_forgets_the_first(corpus):
    vocab_size, context_size, text = corpus
    model, fresh = fitted(vocab_size, context_size, [vocab_size - 1] * 9), KneserNeyModel(vocab_size, context_size)
    list(model.predictions([*range(vocab_size), *text]))
    assert model.fit(text) == fresh.fit(text)
    assert list(model.predictions(text)) == list(fresh.predictions(text))
    for context in contexts_up_to(vocab_size, context_size):
        assert model.forward(*context) == fresh.forward(*context)


# --- texts that have little to teach ------------------------------------------------------------------------


@pytest.mark.parametrize("context_size", [0, 1, 4])
def test_one_token_over_and_over(context_size):
    model = KneserNeyModel(3, context_size)
    found = model.fit([1] * 20)
    assert found["accuracy"] == 1
    assert found["loss_floor"] == 0
    assert_is_literal(model, [1] * 20)
    assert argmax(model.forward(*[1] * context_size)) == 1
    # Neither the others, nor their contexts, were ever met.
    assert model.forward()[0] == model.forward()[2] > 0
    if context_size:
        assert model.forward(2) == model.forward()


@pytest.mark.parametrize("context_size", [0, 1, 3])
def test_a_vocabulary_of_one_token(context_size):
    model = KneserNeyModel(1, context_size)
    found = model.fit([0] * 7)
    assert found == {"avg_loss": pytest.approx(0, abs=1e-12), "accuracy": 1.0, "loss_floor": 0.0}
    for context in contexts_up_to(1, context_size):
        assert model.forward(*context) == pytest.approx([1.0], abs=1e-12)


@pytest.mark.parametrize("context_size", [0, 1, 2, 5])
def test_a_text_of_one_gram(context_size):
    text = list(range(context_size + 1))
    model = fitted(context_size + 2, context_size, text)
    literal = LiteralKneserNey(text, context_size + 2, context_size)
    for length in range(context_size + 1):
        context = tuple(text[context_size - length : context_size])
        assert model.forward(*context) == pytest.approx(literal.distribution(context), abs=1e-12)
        assert argmax(model.forward(*context)) == context_size
    assert model.num_parameters() == (1 + 3) * (context_size + 1)  # one count and three discounts a length


def test_no_token_counted_once():
    text = [0, 1, 2] * 6
    assert 1 not in LiteralKneserNey(text, 3, 1).counts[1].values()
    assert_is_literal(fitted(3, 1, text), text)


@pytest.mark.parametrize("context_size", [0, 1, 3])
def test_a_text_that_is_too_short_is_refused(context_size):
    with pytest.raises(ValueError, match="too few"):
        KneserNeyModel(2, context_size).fit([0] * context_size)


def test_a_context_longer_than_python_may_call_deep():
    # 1200 tokens back, and 8 grams of 1201: each length backs off to the one below.
    text = [i * i % 7 for i in range(1208)]
    model = KneserNeyModel(7, 1200)
    found = model.fit(text)
    assert found["accuracy"] == 1
    assert found["loss_floor"] == 0
    assert sum(model.forward(*text[:1200])) == pytest.approx(1, abs=1e-9)
    assert score(model, text, 1200).loss == pytest.approx(found["avg_loss"], abs=1e-12)


def test_before_training_every_token_is_equally_likely():
    model = KneserNeyModel(4, 2)
    assert model.forward() == model.forward(3) == model.forward(0, 3) == [0.25] * 4
    assert [prediction.probability for prediction in model.predictions([0, 1, 2, 3])] == [0.25] * 4
    assert not any(prediction.context_seen for prediction in model.predictions([0, 1, 2, 3]))


# --- asking -------------------------------------------------------------------------------------------------


def test_context_seen_by_hand():
    model = fitted(3, 2, [0, 1, 0, 1, 2])  # tokens came after 01 and after 10; nothing after 12
    seen = [prediction.context_seen for prediction in model.predictions([0, 1, 0, 2, 0, 1, 2, 0])]
    assert seen == [False, False, True, True, False, False, True, False]
    assert [prediction.context_seen for prediction in model.predictions([0, 1, 0, 2], start=2)] == [True, True]


def test_a_token_outside_the_vocabulary_is_a_context_never_met():
    text = [0, 1, 0, 1, 2, 1]
    model = fitted(3, 2, text)
    _, _, after_outside, one_later, two_later = model.predictions([0, 3, 0, 1, 0])
    assert after_outside.probability == model.forward()[0]
    assert one_later.probability == model.forward(0)[1]
    assert two_later.probability == model.forward(0, 1)[0]
    assert [p.context_seen for p in (after_outside, one_later, two_later)] == [False, False, True]


@pytest.mark.parametrize("context", [(0, 0, 0), (3,), (-1,), (0, 3)])
def test_forward_refuses_what_is_no_context(context):
    with pytest.raises(ValueError, match=r"at most 2 token ids|token ids are 0 to 2"):
        fitted(3, 2, [0, 1, 2]).forward(*context)


@pytest.mark.parametrize(("vocab_size", "context_size"), [(0, 1), (-1, 0), (0x110001, 1), (2, -1)])
def test_a_model_of_impossible_size_is_refused(vocab_size, context_size):
    with pytest.raises(ValueError, match=r"vocab_size|context_size"):
        KneserNeyModel(vocab_size, context_size)


def test_the_shortest_context_is_none():
    assert KneserNeyModel(2, 3).least_context == 0
    assert KneserNeyModel(2).context_size == 4


def test_token_ids_where_unicode_has_surrogates():
    # Inside, a token is the code point of its id, and 0xD800 to 0xDFFF are no characters of their own.
    generator = random.Random(3)
    ids = [0xD7FF, 0xD800, 0xD801, 0xDBFF, 0xDC00, 0xDFFF, 0xE000]
    text = [generator.choice(ids) for _ in range(60)]
    model = KneserNeyModel(0xE001, 2)
    found = model.fit(text)
    literal = LiteralKneserNey(text, 0xE001, 2)
    for place, prediction in enumerate(model.predictions(text)):
        context = tuple(text[max(place - 2, 0) : place])
        assert prediction.probability == pytest.approx(literal.probability(text[place], context), abs=1e-12)
    probs = model.forward(0xD800, 0xDC00)
    assert sum(probs) == pytest.approx(1, abs=1e-12)
    assert [probs[i] for i in [*ids, 0, 0xD7FE]] == pytest.approx(
        [literal.probability(i, (0xD800, 0xDC00)) for i in [*ids, 0, 0xD7FE]], abs=1e-12
    )
    assert score(reload(model), text, 2).loss == pytest.approx(found["avg_loss"], abs=1e-12)
    assert reload(model).forward(0xD800, 0xDC00) == probs


# --- as tables, and back ------------------------------------------------------------------------------------


def test_tables_by_hand():
    counts, discounts = fitted(3, 1, [0, 1, 0, 1, 0, 2]).to_tables()
    assert (counts.name, counts.num_rows) == (COUNTS_NAME, 3) == ("02_counts.csv", 3)
    assert list(counts.rows) == [((0,), 1, 2), ((0,), 2, 1), ((1,), 0, 2)]
    assert [column.name for column in counts.columns] == ["context", "token", "count"]
    assert (discounts.name, discounts.num_rows) == (DISCOUNTS_NAME, 2) == ("03_discounts.csv", 2)
    assert list(discounts.rows) == [(0, 0.5, 1.0, 1.5), (1, 0.5, 1.0, 1.5)]
    assert [column.name for column in discounts.columns] == ["context_size", "once", "twice", "three_or_more"]
    assert KneserNeyModel(3, 1).expect_tables(["a", "b", "c"]) == {
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
            assert again.forward(*context) == model.forward(*context)
        assert list(again.predictions(text)) == list(model.predictions(text))
        assert again.num_parameters() == model.num_parameters()
        assert [list(table.rows) for table in again.to_tables()] == [list(table.rows) for table in model.to_tables()]


def test_estimated_discounts_are_read_back_bit_for_bit():
    model = fitted(7, 3, SKEWED_TEXT)
    again = reload(model, lambda rows: random.Random(1).sample(rows, len(rows)))
    for context in contexts_up_to(7, 3):
        assert again.forward(*context) == model.forward(*context)
    assert list(again.predictions(SKEWED_TEXT)) == list(model.predictions(SKEWED_TEXT))


COUNT_ROWS = [((0,), 1, 2), ((0,), 2, 1), ((1,), 0, 2)]
DISCOUNT_ROWS = [(0, 0.5, 1.0, 1.5), (1, 0.5, 1.0, 1.5)]


def load(count_rows, discount_rows):
    model = KneserNeyModel(3, 1)
    model.from_tables({COUNTS_NAME: iter(count_rows), DISCOUNTS_NAME: iter(discount_rows)})
    return model


def test_the_tables_to_be_damaged_are_whole():
    assert load(COUNT_ROWS, DISCOUNT_ROWS).forward(0) == fitted(3, 1, [0, 1, 0, 1, 0, 2]).forward(0)


def test_the_discounts_of_the_tables_count_not_new_estimates():
    # Length 0: 1 each of three, (1 - 0.1) / 3 + 0.1 / 3. After 0: gamma = (0.9 + 1.8) / 3; 1 twice, 2 once.
    model = load(COUNT_ROWS, [(0, 0.1, 0.2, 0.3), (1, 0.9, 1.8, 2.7)])
    assert model.forward() == pytest.approx([1 / 3] * 3, abs=1e-15)
    assert model.forward(0) == pytest.approx([0.3, 0.3 + 0.2 / 3, 0.3 + 0.1 / 3], abs=1e-15)


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


@pytest.mark.parametrize("context", [(), (2, 0)], ids=["short", "long"])
def test_counts_of_another_context_size_are_refused(context):
    with pytest.raises(ValueError):
        load([*COUNT_ROWS, (context, 0, 1)], DISCOUNT_ROWS)


@pytest.mark.parametrize(("context", "token"), [((2,), 3), ((3,), 2)])
def test_counts_of_a_token_outside_the_vocabulary_are_refused(context, token):
    with pytest.raises(ValueError):
        load([*COUNT_ROWS, (context, token, 1)], DISCOUNT_ROWS)


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


def test_discounts_in_another_order_are_refused_or_read_by_their_context_size():
    rows = [(0, 0.1, 0.2, 0.3), (1, 0.9, 1.8, 2.7)]
    right = load(COUNT_ROWS, rows)
    try:
        turned = load(COUNT_ROWS, rows[::-1])
    except ValueError:
        return
    assert turned.forward(0) == right.forward(0)


# --- a real text --------------------------------------------------------------------------------------------


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
