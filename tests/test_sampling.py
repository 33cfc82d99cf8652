"""Choosing tokens and continuing a text."""

import random
from collections import Counter
from itertools import islice, pairwise
from math import inf, nan, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toy_gpt_train.errors import InputError
from toy_gpt_train.inference.generate import next_tokens, prompt_ids, prompt_text, write
from toy_gpt_train.inference.sampling import GREEDY, Sampling, choose_token, penalized
from toy_gpt_train.math_training import argmax, softmax, top_k
from toy_gpt_train.models.base import Text
from toy_gpt_train.models.kneser_ney import KneserNey
from toy_gpt_train.models.ngram_table import NGramTable
from toy_gpt_train.tokenizers import tokenizer_class
from toy_gpt_train.training.tables import TableSettings

SENTENCE = "the cat runs . the dog runs . the cat sits ."

distributions = st.lists(st.floats(-20, 20), min_size=1, max_size=8).map(softmax)


def trained_table(text, context_size, kind="word"):
    tokenizer = tokenizer_class(kind).from_text(text)
    ids = tokenizer.encode(text)
    model = NGramTable(tokenizer.vocab_size, context_size)
    list(model.fit(Text(ids, len(ids)), TableSettings(epochs=20, learning_rate=0.5)))
    return model, tokenizer


def generate(model, tokenizer, start, num, sampling=GREEDY):
    """Return the start and the text that follows it."""
    shown = prompt_text(start, tokenizer)
    steps = write(model, tokenizer, tokenizer.encode(start), num, sampling, shown)
    return shown + "".join(step.text for step in steps)


def assert_drawn_as(expected, probs, sampling, draws=20_000):
    """Draw many tokens, and find each as often as expected: within 5 standard deviations of the binomial."""
    generator = random.Random(sampling.seed)
    counts = Counter(choose_token(probs, sampling, generator) for _ in range(draws))
    assert set(counts) <= set(range(len(expected)))
    for token_id, p in enumerate(expected):
        assert abs(counts[token_id] / draws - p) <= 5 * sqrt(p * (1 - p) / draws), (token_id, counts)


# --- the most likely ------------------------------------------------------------------------------------------


def test_top_k_by_hand():
    assert top_k([0.2, 0.5, 0.3], 2) == [(1, 0.5), (2, 0.3)]
    assert top_k([0.2, 0.5, 0.3], 9) == [(1, 0.5), (2, 0.3), (0, 0.2)]
    assert top_k([1.0], 1) == [(0, 1.0)]
    assert top_k([0.2, 0.8], 0) == []


def test_top_k_orders_ties_by_id():
    assert top_k([0.1, 0.3, 0.1, 0.3, 0.2], 5) == [(1, 0.3), (3, 0.3), (4, 0.2), (0, 0.1), (2, 0.1)]
    assert top_k([0.25] * 4, 2) == [(0, 0.25), (1, 0.25)]


@given(st.lists(st.integers(0, 5).map(lambda n: n / 5), min_size=1, max_size=12), st.integers(1, 14))
@settings(max_examples=100, deadline=None)
def test_top_k_is_the_beginning_of_the_sorted_list(probs, k):
    found = top_k(probs, k)
    order = sorted(range(len(probs)), key=lambda token_id: (-probs[token_id], token_id))
    assert found == [(token_id, probs[token_id]) for token_id in order[:k]]
    assert found[0][0] == argmax(probs)


# --- one token ----------------------------------------------------------------------------------------------


@given(distributions, st.floats(0.01, 1))
@settings(max_examples=50, deadline=None)
def test_greedy_is_argmax_whatever_the_rest(probs, top_p):
    assert choose_token(probs, GREEDY, random.Random(1)) == argmax(probs)
    assert choose_token(probs, Sampling(temperature=0, top_p=top_p, seed=3), random.Random(2)) == argmax(probs)


def test_greedy_takes_the_first_of_equals():
    assert choose_token([0.2, 0.4, 0.4], GREEDY, random.Random(0)) == 1
    assert choose_token([0.25] * 4, GREEDY, random.Random(0)) == 0


def test_greedy_asks_no_generator():
    generator = random.Random(5)
    state = generator.getstate()
    choose_token([0.2, 0.8], GREEDY, generator)
    assert generator.getstate() == state


def test_temperature_one_draws_by_the_models_own_probabilities():
    probs = [0.05, 0.4, 0.0, 0.25, 0.3]
    assert_drawn_as(probs, probs, Sampling(temperature=1, seed=1))


def test_temperature_divides_the_logits():
    scores = [0.0, 1.0, 2.0, -1.0]
    probs = softmax(scores)
    assert_drawn_as(softmax([score / 2 for score in scores]), probs, Sampling(temperature=2, seed=2))
    assert_drawn_as(softmax([score / 0.5 for score in scores]), probs, Sampling(temperature=0.5, seed=3))


def test_temperature_by_hand():
    # Square roots of 0.64, 0.32, 0.04 are 0.8, 0.566, 0.2; squares are 0.4096, 0.1024, 0.0016.
    assert_drawn_as([0.51085, 0.36123, 0.12771], [0.64, 0.32, 0.04], Sampling(temperature=2, seed=4))
    assert_drawn_as([0.79751, 0.19938, 0.00312], [0.64, 0.32, 0.04], Sampling(temperature=0.5, seed=5))


def test_a_huge_temperature_is_nearly_uniform():
    probs = [0.001, 0.249, 0.7, 0.05]
    assert_drawn_as(softmax([-0.0690776, -0.0139030, -0.0035667, -0.0299573]), probs, Sampling(100, seed=6))
    generator = random.Random(7)
    counts = Counter(choose_token(probs, Sampling(temperature=100), generator) for _ in range(20_000))
    # (0.001 / 0.7) to the power 1/100 is 0.94: no token is more than 6% behind another, but for chance.
    assert max(counts.values()) / min(counts.values()) < 1.2


@pytest.mark.parametrize("temperature", [0.001, 1e-9, 1e-300, 5e-324])
def test_a_temperature_near_zero_is_argmax(temperature):
    generator = random.Random(8)
    sampling = Sampling(temperature)
    assert {choose_token([0.3, 0.36, 0.34], sampling, generator) for _ in range(300)} == {1}
    assert {choose_token([1e-300, 0.0, 1e-310], sampling, generator) for _ in range(300)} == {0}


def test_a_temperature_near_zero_still_draws_among_equals():
    assert_drawn_as([0.5, 0.0, 0.5], [0.4, 0.2, 0.4], Sampling(temperature=0.001, seed=9))


def test_tokens_without_probability_are_never_drawn():
    generator = random.Random(10)
    for temperature in (0.5, 1, 100):
        sampling = Sampling(temperature)
        assert {choose_token([0.0, 0.5, 0.0, 0.5, 0.0], sampling, generator) for _ in range(2000)} == {1, 3}


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [
        (1.0, [0.2, 0.5, 0.3]),
        (0.81, [0.2, 0.5, 0.3]),  # 0.5 + 0.3 are not enough
        (0.79, [0, 5 / 8, 3 / 8]),  # 0.5 is not enough, 0.5 + 0.3 are
        (0.51, [0, 5 / 8, 3 / 8]),
        (0.5, [0, 1, 0]),
        (0.49, [0, 1, 0]),
    ],
)
def test_top_p_draws_among_the_fewest_most_likely_that_reach_it(top_p, expected):
    assert_drawn_as(expected, [0.2, 0.5, 0.3], Sampling(1.0, top_p, seed=11), draws=5000)


@given(distributions, st.floats(0.01, 100))
@settings(max_examples=100, deadline=None)
def test_a_tiny_top_p_leaves_the_most_likely_only(probs, temperature):
    chosen = choose_token(probs, Sampling(temperature, 1e-9, seed=0), random.Random(12))
    assert probs[chosen] == pytest.approx(max(probs), rel=1e-12)


def test_a_tiny_top_p_leaves_the_first_of_equals():
    generator = random.Random(13)
    assert {choose_token([0.2, 0.4, 0.4], Sampling(1.0, 1e-9), generator) for _ in range(300)} == {1}


def test_top_p_counts_the_probability_after_the_temperature():
    # At temperature 1, 0.64 alone reaches 0.6; at temperature 2 it is 0.511, and needs the second beside it.
    probs = [0.64, 0.32, 0.04]
    assert_drawn_as([1, 0, 0], probs, Sampling(1.0, 0.6, seed=14), draws=2000)
    both = sqrt(0.64) + sqrt(0.32)
    assert_drawn_as([sqrt(0.64) / both, sqrt(0.32) / both, 0], probs, Sampling(2.0, 0.6, seed=15))


@given(distributions, st.floats(0.01, 100), st.floats(0.01, 1), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_what_is_drawn_is_a_token_of_the_nucleus(probs, temperature, top_p, seed):
    chosen = choose_token(probs, Sampling(temperature, top_p, seed), random.Random(seed))
    weights = [p ** (1 / temperature) for p in probs]
    # WHY not quite as likely: the powers of two probabilities a rounding error apart may be equal.
    likelier = sum(q for p, q in zip(probs, weights, strict=True) if p > probs[chosen] * (1 + 1e-9))
    assert likelier < top_p * sum(weights) * (1 + 1e-9)


# --- top-k, the repetition penalty, and all of it in the field's order -----------------------------------------


class Recorder(random.Random):
    """A generator that keeps the weights it was asked to draw by."""

    def choices(self, population, weights=None, *, cum_weights=None, k=1):
        self.drawn_by = {
            i: (s - before) / cum_weights[-1]
            for i, s, before in zip(population, cum_weights, [0, *cum_weights], strict=False)
        }
        return [population[0]]


def drawn_by(probs, sampling):
    """Return the probability that each token would be drawn with; 0 if it is left out."""
    recorder = Recorder()
    choose_token(probs, sampling, recorder)
    return [recorder.drawn_by.get(i, 0.0) for i in range(len(probs))]


def test_top_k_draws_among_the_k_most_likely_by_hand():
    probs = [0.1, 0.4, 0.2, 0.3]
    assert drawn_by(probs, Sampling(1.0, top_k=1)) == [0, 1, 0, 0]
    assert drawn_by(probs, Sampling(1.0, top_k=2)) == pytest.approx([0, 4 / 7, 0, 3 / 7])
    assert drawn_by(probs, Sampling(1.0, top_k=3)) == pytest.approx([0, 4 / 9, 2 / 9, 3 / 9])
    for everything in (None, 0, 4, 99):
        assert drawn_by(probs, Sampling(1.0, top_k=everything)) == pytest.approx(probs)
    assert_drawn_as([0, 4 / 7, 0, 3 / 7], probs, Sampling(1.0, seed=16, top_k=2))


def test_top_k_keeps_the_first_of_equals():
    assert drawn_by([0.25] * 4, Sampling(1.0, top_k=2)) == [0.5, 0.5, 0, 0]


def test_top_p_counts_what_top_k_left():
    # Of 0.5, 0.3 and 0.2 top-k keeps 5/8 and 3/8. The first alone reaches 0.6 of it, though it has only half of all.
    assert drawn_by([0.2, 0.5, 0.3], Sampling(1.0, 0.6, top_k=2)) == [0, 1, 0]
    assert drawn_by([0.2, 0.5, 0.3], Sampling(1.0, 0.6)) == pytest.approx([0, 5 / 8, 3 / 8])


def test_greedy_asks_no_top_k():
    assert choose_token([0.2, 0.5, 0.3], Sampling(top_k=1), random.Random(0)) == 1


def test_the_penalty_divides_what_is_positive_and_multiplies_what_is_negative():
    assert penalized([3.0, -3.0, 0.0, 1.5, -1.5], {0, 1, 2}, 2.0) == [1.5, -6.0, 0.0, 1.5, -1.5]
    assert penalized([3.0, -3.0], {0, 1}, 0.5) == [6.0, -1.5]
    assert penalized([3.0, -3.0], set(), 5.0) == [3.0, -3.0]


class Fixed(KneserNey):
    """A model that always gives the same probabilities or, if they are there, logits."""

    def __init__(self, probs, logits=None):
        super().__init__(len(probs), 2)
        self.given, self.given_logits = probs, logits

    def next_probs(self, ids, cache=None):
        return self.given

    def logits(self, ids, cache=None):
        return super().logits(ids, cache) if self.given_logits is None else self.given_logits


def test_the_penalty_of_a_model_that_gives_probabilities_takes_their_logarithms():
    # log 0.5 and log 0.3, doubled, are log 0.25 and log 0.09: token 0 loses to token 1, and both then to token 2.
    model = Fixed([0.5, 0.3, 0.2])
    steps = islice(next_tokens(model, [], Sampling(repetition_penalty=2.0)), 4)
    assert [token_id for _, token_id in steps] == [0, 1, 0, 0]
    assert [i for _, i in islice(next_tokens(model, [0], Sampling(repetition_penalty=2.0)), 2)] == [1, 0]


def test_the_penalty_of_a_model_that_gives_logits_takes_these():
    logits = [2.0, 1.5, -1.0]
    model = Fixed(softmax(logits), logits)
    # 2 / 1.2 = 1.67 is still above 1.5; 2 / 1.5 = 1.33 is not.
    for penalty, second in ((1.0, 0), (1.2, 0), (1.5, 1)):
        chosen = [i for _, i in islice(next_tokens(model, [], Sampling(repetition_penalty=penalty)), 2)]
        assert chosen == [0, second]


def test_the_penalty_changes_what_is_chosen_and_not_what_is_reported():
    model, tokenizer = trained_table(SENTENCE, 1)
    ids = tokenizer.encode("the cat")
    for probs, token_id in islice(next_tokens(model, ids, Sampling(1.0, seed=4, repetition_penalty=1.5)), 8):
        assert probs == pytest.approx(model.next_probs(ids), rel=1e-12)
        ids.append(token_id)


def test_a_strong_penalty_says_every_token_once():
    model, tokenizer = trained_table("abcabcabcb", 1, "char")
    assert generate(model, tokenizer, "a", 7) == "abcabcab"
    probs = Fixed([0.4, 0.3, 0.2, 0.1])
    chosen = [i for _, i in islice(next_tokens(probs, [], Sampling(repetition_penalty=100.0)), 4)]
    assert chosen == [0, 1, 2, 3]


def reference(logits, seen, sampling):
    """Return what to draw by, as the field computes it on logits: penalty, temperature, top-k, top-p, softmax.

    Top-p goes by the other end: the least likely tokens leave while their sum is at most 1 - P.
    """
    scores = [
        (z / sampling.repetition_penalty if z > 0 else z * sampling.repetition_penalty) if i in seen else z
        for i, z in enumerate(logits)
    ]
    scores = [z / sampling.temperature for z in scores]
    threshold = sorted(scores, reverse=True)[min(sampling.top_k or len(scores), len(scores)) - 1]
    scores = [z if z >= threshold else -inf for z in scores]
    probs = softmax(scores)
    left = 0.0
    for i in sorted(range(len(probs)), key=probs.__getitem__)[:-1]:
        left += probs[i]
        if left <= 1 - sampling.top_p:
            scores[i] = -inf
    return softmax(scores)


@given(
    st.lists(st.integers(-400, 400).map(lambda n: n / 40), min_size=2, max_size=9, unique=True),
    st.sets(st.integers(0, 8)),
    st.sampled_from([0.3, 0.7, 1.0, 1.9]),
    st.integers(0, 10),
    st.sampled_from([0.13, 0.5, 0.871, 0.95, 1.0]),
    st.sampled_from([0.7, 1.0, 1.2, 3.0]),
)
@settings(max_examples=200, deadline=None)
def test_what_is_drawn_by_is_what_the_field_computes(logits, seen, temperature, k, top_p, penalty):
    seen = {i for i in seen if i < len(logits)}
    after = sorted(penalized(logits, seen, penalty))
    if any(b - a < 1e-9 for a, b in pairwise(after)):
        return  # of equals, top-k keeps the first; elsewhere all of them
    sampling = Sampling(temperature, top_p, 0, k, penalty)
    assert drawn_by(softmax(penalized(logits, seen, penalty)), sampling) == pytest.approx(
        reference(logits, seen, sampling), abs=1e-9
    )


# --- settings that make no sense ----------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [-0.1, -inf, 100.1, inf, nan])
def test_a_temperature_that_makes_no_sense_is_refused(temperature):
    with pytest.raises(InputError, match="temperature"):
        Sampling(temperature=temperature)


@pytest.mark.parametrize("k", [-1, -100])
def test_a_top_k_that_makes_no_sense_is_refused(k):
    with pytest.raises(InputError, match="top-k"):
        Sampling(top_k=k)


@pytest.mark.parametrize("penalty", [0.0, -1.0, 0.0099, 100.1, inf, nan])
def test_a_penalty_that_makes_no_sense_is_refused(penalty):
    with pytest.raises(InputError, match="repetition penalty"):
        Sampling(repetition_penalty=penalty)


def test_an_empty_stop_text_is_refused():
    with pytest.raises(InputError, match="stop text"):
        Sampling(stop=("x", ""))


@pytest.mark.parametrize("top_p", [0.0, -0.5, 1.0001, inf, nan])
def test_a_top_p_that_makes_no_sense_is_refused(top_p):
    with pytest.raises(InputError, match="top-p"):
        Sampling(top_p=top_p)


def test_the_limits_themselves_are_allowed():
    assert Sampling() == GREEDY == Sampling(0.0, 1.0, 0)
    assert Sampling(100.0, 1e-300, 0).temperature == 100


# --- a whole text -------------------------------------------------------------------------------------------


def test_greedy_by_hand():
    # After a always b, after b always c, after c mostly a: and so on, forever.
    model, tokenizer = trained_table("abcabcabcb", 1, "char")
    assert generate(model, tokenizer, "a", 7) == "abcabcab"
    assert generate(model, tokenizer, "c", 3) == "cabc"


def test_greedy_with_a_longer_context_by_hand():
    # With one token of context, c and d are equally likely after a b; three tokens tell them apart.
    model, tokenizer = trained_table("xabcyabdxabcyabdx", 3, "char")
    assert generate(model, tokenizer, "xab", 9) == "xabcyabdxabc"
    assert generate(model, tokenizer, "yab", 5) == "yabdxabc"


def test_greedy_without_context_repeats_the_most_frequent_token():
    model, tokenizer = trained_table("abbcb", 0, "char")
    assert generate(model, tokenizer, "", 3) == "bbb"
    assert generate(model, tokenizer, "ac", 2) == "acbb"


def test_an_untrained_model_says_the_first_token():
    tokenizer = tokenizer_class("char").from_text("ba")
    assert generate(NGramTable(2, 1), tokenizer, "b", 3) == "baaa"


def test_only_the_last_tokens_of_the_start_count():
    model, tokenizer = trained_table(SENTENCE, 2)
    short = generate(model, tokenizer, "dog runs", 5)
    assert generate(model, tokenizer, "sits . . dog runs", 5) == f"sits . . {short}"


def test_the_probabilities_are_those_the_token_was_chosen_from():
    model, tokenizer = trained_table(SENTENCE, 2)
    start = tokenizer.encode("the cat")
    text = list(start)
    for probs, token_id in islice(next_tokens(model, start, Sampling(1.0, seed=4)), 12):
        assert probs == model.next_probs(text)
        assert probs[token_id] > 0
        text.append(token_id)
    assert start == tokenizer.encode("the cat")
    assert len(text) == 14


def test_no_tokens_to_add():
    model, tokenizer = trained_table(SENTENCE, 2)
    assert generate(model, tokenizer, "the cat", 0) == "the cat"


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(1.0, seed=3), Sampling(2.0, 0.9, seed=3)])
def test_the_same_seed_gives_the_same_text(sampling):
    model, tokenizer = trained_table(SENTENCE, 1)
    text = generate(model, tokenizer, "the", 40, sampling)
    assert len(text.split()) == 41
    assert set(text.split()) <= set(SENTENCE.split())
    assert generate(model, tokenizer, "the", 40, sampling) == text
    assert generate(model, tokenizer, "the", 20, sampling) == " ".join(text.split()[:21])


def test_other_seeds_give_other_texts():
    model, tokenizer = trained_table(SENTENCE, 1)
    texts = {generate(model, tokenizer, "the", 40, Sampling(1.0, seed=seed)) for seed in range(10)}
    assert len(texts) == 10


def test_drawing_nearly_greedily_is_greedy():
    model, tokenizer = trained_table(SENTENCE, 2)
    greedy = generate(model, tokenizer, "the cat", 20)
    assert generate(model, tokenizer, "the cat", 20, Sampling(1.0, top_p=1e-9, seed=5)) == greedy


def test_generated_pairs_follow_the_models_probabilities():
    model, tokenizer = trained_table(SENTENCE, 1)
    text = tokenizer.encode(generate(model, tokenizer, "the", 20_000, Sampling(1.0, seed=11)))
    for token_id in range(tokenizer.vocab_size):
        after = [b for a, b in pairwise(text) if a == token_id]
        assert len(after) > 100
        for next_id, p in enumerate(model.next_probs([token_id])):
            assert abs(after.count(next_id) / len(after) - p) <= 5 * sqrt(p * (1 - p) / len(after))


def test_a_model_that_backs_off_needs_no_start():
    tokenizer = tokenizer_class("word").from_text(SENTENCE)
    ids = tokenizer.encode(SENTENCE)
    model = KneserNey(tokenizer.vocab_size, 3)
    list(model.fit(Text(ids, len(ids))))
    assert generate(model, tokenizer, "the cat", 2) in ("the cat runs .", "the cat sits .")
    assert generate(model, tokenizer, "", 1) == tokenizer.tokens[argmax(model.next_probs([]))]
    assert len(generate(model, tokenizer, "", 12, Sampling(1.0, seed=2)).split()) == 12


def test_a_text_is_continued_as_its_tokenizer_spaces_it():
    words, unigram = trained_table(SENTENCE, 1)[1], NGramTable(6, 0)
    assert generate(trained_table("the cat runs .", 2)[0], words, "  the \n cat ", 0) == "the cat"
    assert generate(trained_table(SENTENCE, 2)[0], words, "  the \n dog ", 2) == "the dog runs ."
    assert generate(unigram, words, "", 2) == ". ."
    assert generate(unigram, words, "the", 1) == "the ."
    assert generate(unigram, words, "the cat", 0) == "the cat"
    characters = tokenizer_class("char").from_text(f"\n{SENTENCE}")
    assert generate(NGramTable(characters.vocab_size, 0), characters, " the  ", 2) == " the  \n\n"


# --- what to start from -------------------------------------------------------------------------------------


def test_a_prompt_is_its_last_n_ids():
    model, tokenizer = trained_table(SENTENCE, 2)  # . cat dog runs sits the
    assert prompt_ids("the cat the", tokenizer, model) == [1, 5]
    assert prompt_ids("zzz cat the", tokenizer, model) == [1, 5]  # only the last two must be known
    assert prompt_ids("the", tokenizer, model) == [5]
    assert prompt_ids("", tokenizer, model) == []
    assert prompt_ids("zzz the", tokenizer, NGramTable(6, 0)) == []


def test_unknown_tokens_of_a_prompt_are_named_with_their_neighbors():
    model, tokenizer = trained_table(SENTENCE, 3)
    for prompt, message in (
        ("the cta", r"'cta'.*did you mean cat"),
        ("The", r"'The'.*did you mean the"),
        ("zzz the zzz", r"'zzz'.*no known token"),
        ("cta dgo", r"'cta'.*'dgo'"),
    ):
        with pytest.raises(InputError, match=message):
            prompt_ids(prompt, tokenizer, model)


def test_too_few_start_tokens_are_refused():
    model, _ = trained_table(SENTENCE, 3)
    for start in ([], [5], [5, 1]):
        with pytest.raises(InputError, match=f"needs 3 tokens to start from, got {len(start)}"):
            next(next_tokens(model, start))
