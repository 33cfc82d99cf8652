"""The arithmetic of learning: numbers worked out by hand, and the formulas on random inputs."""

from functools import reduce
from math import exp, inf, log
from operator import add

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toy_gpt_train.math_training import add_up, argmax, conditional_entropy, cross_entropy_loss, softmax, top_k

moderate = st.floats(-300, 300)
finite = st.floats(allow_nan=False, allow_infinity=False)


# --- sums ---------------------------------------------------------------------------------------------------


@given(st.lists(finite, min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_sums_are_taken_from_left_to_right(values):
    assert repr(add_up(iter(values))) == repr(reduce(add, values, 0))  # repr, for NaN
    assert add_up([1e16, 1.0, -1e16]) == 0.0  # what is exact is 1


# --- argmax -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3.0], 0), ([0.2, 0.5, 0.3], 1), ([0.2, 0.5, 0.5], 1), ([0.0, -0.0], 0), ([-2.0, -1.0], 1), ([1.0, inf], 1)],
)
def test_argmax_is_the_first_largest(values, expected):
    assert argmax(values) == expected


@given(st.lists(st.integers(0, 3).map(float), min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_argmax_has_nothing_larger_after_and_nothing_as_large_before(values):
    best = argmax(values)
    assert all(value < values[best] for value in values[:best])
    assert all(value <= values[best] for value in values[best:])


def test_argmax_of_nothing():
    with pytest.raises(ValueError, match="empty"):
        argmax([])


@pytest.mark.parametrize(
    ("k", "expected"),
    [(1, [(1, 0.5)]), (3, [(1, 0.5), (0, 0.25), (2, 0.25)]), (9, [(1, 0.5), (0, 0.25), (2, 0.25), (3, 0.0)]), (0, [])],
)
def test_top_k_orders_ties_by_id(k, expected):
    assert top_k([0.25, 0.5, 0.25, 0.0], k) == expected


@given(st.lists(st.sampled_from([0.0, 0.1, 0.3]), max_size=12), st.integers(0, 14))
@settings(max_examples=100, deadline=None)
def test_top_k_is_the_beginning_of_the_sorted_list(probs, k):
    ranked = sorted(enumerate(probs), key=lambda pair: -pair[1])
    assert top_k(probs, k) == ranked[:k]


# --- softmax ------------------------------------------------------------------------------------------------


def test_softmax_by_hand():
    assert softmax([0.0, 0.0, 0.0, 0.0]) == [0.25] * 4
    # exp(log 1), exp(log 2), exp(log 5) over their sum, 8
    assert softmax([log(1), log(2), log(5)]) == pytest.approx([0.125, 0.25, 0.625], abs=1e-15)
    assert softmax([1.0, 2.0]) == pytest.approx([0.2689414213699951, 0.7310585786300049], abs=1e-15)


def test_softmax_of_extreme_scores():
    assert softmax([1e308, -1e308]) == [1.0, 0.0]
    assert softmax([-1e308, 1e308, 1e308]) == [0.0, 0.5, 0.5]
    assert softmax([-1e308]) == [1.0]
    assert softmax([1e308, 1e308]) == [0.5, 0.5]
    assert softmax([-1000.0, -1001.0]) == pytest.approx([1 / (1 + exp(-1)), exp(-1) / (1 + exp(-1))], abs=1e-15)


@given(st.lists(finite, min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_softmax_of_any_scores_is_a_distribution(scores):
    probs = softmax(scores)
    assert len(probs) == len(scores)
    assert sum(probs) == pytest.approx(1, abs=1e-12)
    assert min(probs) >= 0
    assert probs[argmax(scores)] == max(probs)


@given(st.lists(moderate, min_size=1, max_size=10), moderate)
@settings(max_examples=100, deadline=None)
def test_softmax_does_not_change_with_a_shift_of_all_scores(scores, shift):
    # WHY the tolerance: score + shift is itself rounded, by up to 6e-14 at this size.
    assert softmax([score + shift for score in scores]) == pytest.approx(softmax(scores), rel=1e-12, abs=1e-300)


@given(st.lists(moderate, min_size=2, max_size=10))
@settings(max_examples=100, deadline=None)
def test_softmax_ratios_are_exponentials_of_differences(scores):
    probs = softmax(scores)
    best = argmax(scores)
    for score, probability in zip(scores, probs, strict=True):
        assert probability == pytest.approx(exp(score - scores[best]) * probs[best], rel=1e-12, abs=1e-300)


def test_softmax_of_nothing():
    with pytest.raises(ValueError, match="empty"):
        softmax([])


# --- cross-entropy ------------------------------------------------------------------------------------------


def test_cross_entropy_loss_is_minus_log_of_the_probability():
    assert cross_entropy_loss([0.25, 0.75], 0) == pytest.approx(1.3862943611198906, abs=1e-15)
    assert cross_entropy_loss([0.25, 0.75], 1) == pytest.approx(0.28768207245178085, abs=1e-15)
    assert cross_entropy_loss([0.0, 1.0], 1) == 0
    assert cross_entropy_loss([0.1] * 10, 9) == pytest.approx(log(10), abs=1e-15)


def test_cross_entropy_loss_takes_a_probability_as_at_least_1e_12():
    largest = 27.631021115928547  # 12 log(10)
    assert cross_entropy_loss([0.0, 1.0], 0) == pytest.approx(largest, abs=1e-12)
    assert cross_entropy_loss([1e-300, 1.0], 0) == pytest.approx(largest, abs=1e-12)
    assert cross_entropy_loss([1e-12, 1.0], 0) == pytest.approx(largest, abs=1e-12)
    assert cross_entropy_loss([2e-12, 1.0], 0) == pytest.approx(largest - log(2), abs=1e-12)


@pytest.mark.parametrize("target_id", [2, 3, -1, -2, -3])
def test_cross_entropy_loss_of_a_token_that_is_none(target_id):
    with pytest.raises(ValueError, match="outside"):
        cross_entropy_loss([0.5, 0.5], target_id)


def test_cross_entropy_loss_of_no_probabilities():
    with pytest.raises(ValueError):
        cross_entropy_loss([], 0)


# --- conditional entropy ------------------------------------------------------------------------------------


def test_conditional_entropy_by_hand():
    # After a: 1 or 2, one of each, log 2 per pair; after b: always 1. Two of four pairs surprise by log 2.
    assert conditional_entropy([("a", 1), ("a", 2), ("b", 1), ("b", 1)]) == pytest.approx(log(2) / 2, abs=1e-15)
    # One context, counts 3 and 1: -(3/4) log(3/4) - (1/4) log(1/4)
    assert conditional_entropy([((), 0)] * 3 + [((), 1)]) == pytest.approx(0.5623351446188083, abs=1e-15)
    # One context, eight equally frequent targets
    assert conditional_entropy([((), target) for target in range(8)]) == pytest.approx(log(8), abs=1e-15)


def test_conditional_entropy_of_no_choice_is_zero():
    assert conditional_entropy([]) == 0
    assert conditional_entropy([((0,), 1), ((1,), 2), ((0,), 1)]) == 0


def test_conditional_entropy_reads_any_iterable_once():
    pairs = [((0,), 1), ((0,), 2), ((1,), 1)]
    assert conditional_entropy(iter(pairs)) == conditional_entropy(pairs) == pytest.approx(2 / 3 * log(2), abs=1e-15)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_conditional_entropy_is_the_mean_surprise_of_relative_frequencies(pairs):
    naive = 0.0
    for context, target in pairs:
        targets_here = [other for other_context, other in pairs if other_context == context]
        naive -= log(targets_here.count(target) / len(targets_here))
    assert conditional_entropy(pairs) == pytest.approx(naive / len(pairs), abs=1e-12)
