"""Context mixing: its parts by hand, no look ahead, and a learner beside its model."""

import json
import random
from array import array
from collections import Counter
from itertools import pairwise
from math import exp, fsum, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toy_gpt_train as tg
from toy_gpt_train.errors import InputError, StopTraining
from toy_gpt_train.math_training import argmax
from toy_gpt_train.models import context_mixing
from toy_gpt_train.models.base import Text
from toy_gpt_train.models.context_mixing import ContextMixing
from toy_gpt_train.models.contexts import Contexts
from toy_gpt_train.models.counters import DELAY, Counters
from toy_gpt_train.models.mixer import CORRECTIONS, SECOND_NAME, WEIGHTS_NAME, Mixer
from toy_gpt_train.models.repeats import REPEATS_NAME, Repeats
from toy_gpt_train.models.runs import LONGEST_RUN, RUNS_NAME, Runs
from toy_gpt_train.models.scores import summarize
from toy_gpt_train.models.token_code import token_code
from toy_gpt_train.project import RESOURCE_ROOT

ALPHABET = ["\n", " ", "'", ".", "A", "a", "b", "é"]
STORY = (RESOURCE_ROOT / "corpus" / "030_stories.txt").read_text("utf-8")
ANIMALS = (RESOURCE_ROOT / "corpus" / "001_animals.txt").read_text("utf-8")
V = len(ALPHABET)
some_ids = st.lists(st.integers(0, V - 1), min_size=1, max_size=90)


def fitted(ids, tokens=ALPHABET):
    model = ContextMixing(len(tokens))
    (record,) = model.fit(Text(ids, len(ids), tokens))
    return model, record


def random_ids(size, seed=1):
    """Return ids of which few are frequent, with a part that comes twice."""
    ids = random.Random(seed).choices(range(V), [1 / (i + 1) for i in range(V)], k=size)
    return ids + ids[size // 3 : size // 2]


@pytest.fixture(scope="module")
def model():
    return fitted(random_ids(400))[0]


def state_of(model):
    """Return everything that a model has learned."""
    content = model.content()
    tables = {table.name: list(table.rows) for table in content.tables}
    return tables, {name: list(numbers) for name, (_, numbers) in content.tensors.items()}


# --- the code -----------------------------------------------------------------------------------------------


def test_a_code_by_hand():
    # In a row: a, b, d; then ".", which is no letter; then A, a capital. They count 6, 2, 2, 5 and 1: 16, so after a
    # and b comes half. Of the other half, d, "." and A, d is nearer to a half than d and ".".
    paths = token_code([1, 0, 5, 4, 1], ["b", "A", "a", ".", "d"]).paths
    assert ["".join(str(bit) for _, bit in path) for path in paths] == ["01", "111", "00", "110", "10"]
    assert token_code([7], ["a"]).paths == [()]
    assert token_code([7], ["a"]).leaves([]) == [1.0]


def test_tokens_of_a_kind_are_side_by_side():
    code = token_code([1] * 52, [*"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"])
    assert {path[0] for path in code.paths[:26]} == {(0, 1)}
    assert {path[0] for path in code.paths[26:]} == {(0, 0)}


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=40))
def test_a_code_takes_few_decisions(frequencies):
    code = token_code(frequencies, [chr(40 + i) for i in range(len(frequencies))])
    assert len(set(code.paths)) == len(frequencies)
    assert sorted(node for node, _ in set().union(*code.paths)) == sorted([*range(len(frequencies) - 1)] * 2)
    weights = [frequency + 1 for frequency in frequencies]
    shares = [weight / sum(weights) for weight in weights]
    length = fsum(share * len(path) for share, path in zip(shares, code.paths, strict=True))
    assert length <= fsum(-share * log(share, 2) for share in shares) + 2


@given(st.lists(st.floats(0.001, 0.999), min_size=1, max_size=30))
def test_leaves_are_the_products_of_their_decisions(decisions):
    code = token_code(range(len(decisions) + 1), [chr(40 + i) for i in range(len(decisions) + 1)])
    leaves = code.leaves(decisions)
    for leaf, path in zip(leaves, code.paths, strict=True):
        product = 1.0
        for node, bit in path:
            product *= decisions[node] if bit else 1 - decisions[node]
        assert leaf == product
    assert abs(fsum(leaves) - 1) <= 1e-12


# --- contexts -----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.integers(0, V), min_size=1, max_size=150), st.data())
def test_contexts_depend_on_the_last_64_tokens(ids, data):
    contexts = Contexts(ALPHABET)
    rows = list(contexts.rows(ids))
    assert len(rows) == len(ids) + 1
    position = data.draw(st.integers(0, len(ids)))
    assert list(contexts.rows(ids, position)) == rows[position:]
    window = ids[max(position - 64, 0) : position]
    assert next(contexts.rows(window, len(window))) == rows[position]


def test_contexts_of_a_long_text_are_those_of_its_parts():
    contexts, ids = Contexts(ALPHABET), random_ids(9000)
    rows = list(contexts.rows(ids))
    assert rows[5000:] == list(contexts.rows(ids, 5000))
    assert rows[8200] == next(contexts.rows(ids[8136:8200], 64))


def test_equal_contexts_have_equal_numbers_and_others_different_ones():
    *numbers, repeat = next(Contexts(ALPHABET).rows([5, 6, 1, 5], 4))
    other, *_ = next(Contexts(ALPHABET).rows([6, 6, 6, 5], 4))
    assert other == numbers[0]  # the last token
    assert len({*numbers, repeat}) == len(numbers) + 1


def test_contexts_that_differ_in_one_token_are_no_neighbors():
    """WHY: the counters of a context lie side by side, one for each node, and must not be those of another one."""
    rows = [next(Contexts(ALPHABET).rows([*[0] * 9, last], 10)) for last in range(V)]
    for numbers in zip(*rows, strict=True):
        slots = sorted(number % (1 << 32) for number in set(numbers))
        assert all(high - low > 1000 for low, high in pairwise(slots))


# --- counters -----------------------------------------------------------------------------------------------


def test_a_counter_by_hand():
    counters = Counters(64)
    inputs, new = counters.read([5], [9], 0)
    assert (inputs, new) == ([0.0, 0.0], [0])  # an unused one says nothing
    p = 0.5
    for n, bit in enumerate((1, 1, 0)):
        counters.learn([5], [9], 0, bit)
        p += (bit - p) / (n + DELAY)
        state = max(counters.states)
        assert (state >> 10) / (1 << 22) == pytest.approx(p, abs=3e-6)
        assert state & 1023 == n + 1
        (stretched, confidence), new = counters.read([5], [9], 0)
        assert new == []
        assert stretched == pytest.approx(log(p / (1 - p)), abs=0.02)
        assert confidence == pytest.approx((p - 0.5) * 4 * (n + 1) / (n + 4), abs=1e-4)


def test_a_tag_tells_counters_apart_that_want_the_same_slot():
    counters = Counters(64)

    def learn(tag, times):
        for _ in range(times):
            counters.learn([5], [tag], 3, 1)

    def slots():
        return {tag: slot for slot, tag in enumerate(counters.tags) if tag}

    def uses():
        return {tag: counters.states[slot] & 1023 for tag, slot in slots().items()}

    learn(9, 3)
    first = slots()[9]
    assert counters.read([5], [8], 3) == ([0.0, 0.0], [0])
    learn(8, 2)  # the neighbor is free
    assert slots() == {9: first, 8: first ^ 1}
    assert uses() == {9: 3, 8: 2}
    assert all(counters.read([5], [tag], 3)[1] == [] for tag in (9, 8))
    learn(7, 1)  # both are taken: the one that was used less, twice, must go
    assert slots() == {9: first, 7: first ^ 1}
    assert uses() == {9: 3, 7: 1}
    assert counters.num_used() == 2


def test_the_nodes_of_a_context_have_counters_of_their_own():
    counters = Counters(64)
    counters.learn([5], [9], 0, 1)
    assert [counters.read([5], [9], node)[1] for node in range(20)] == [[], *[[0]] * 19]


def test_a_counter_gets_sure_and_stays_able_to_change():
    counters = Counters(64)

    def learn(bit, times):
        for _ in range(times):
            counters.learn([5], [9], 3, bit)
        return max(counters.states)

    state = learn(1, 5000)
    assert state & 1023 == 1023
    assert (state >> 10) / (1 << 22) > 0.999
    assert (learn(0, 1200) >> 10) / (1 << 22) < 0.35


def test_a_context_of_kinds_sees_the_shape_of_a_text():
    tokens = [*"abcxyzBR .\n"]
    contexts = Contexts(tokens)
    k = contexts.views.index(("lag_1", "kinds"))

    def number(text):
        return [*contexts.rows([tokens.index(c) for c in text])][-1][k]

    assert number("Bab. xyc") == number("Rzz\n bac")  # capital, small, small, other, space, small, small, c
    assert number("Bab. xyc") != number("Bab. xyb")
    assert number("Bab. xyc") != number("Bab. Ryc")
    assert number("Rz Bab. xyc") == number("..zBab. xyc")  # eight characters back and no further


# --- the mixer ----------------------------------------------------------------------------------------------


def test_a_mixer_by_hand():
    mixer = Mixer(["one", "two"], 0)
    mixed = mixer.mix([2.0, -4.0], 3, (7, 6), (5, 4))
    p = 1 / (1 + exp(0.3))  # all have the weight 0.15, so each sum is -0.3, and so is their mean
    low, high = 1 / (1 + exp(2 / 3)), 0.5  # the corrections at -2/3 and 0, between which it lies
    corrected = low + (high - low) * (2 / 3 - 0.3) / (2 / 3)
    assert mixed.p == pytest.approx((p + 2 * corrected) / 3)
    before = [list(tables) for tables in mixer.corrections]
    mixer.learn(mixed, 1, 0.1, 0.02)
    expected = [0.15 + 0.2 * (1 - p), 0.15 - 0.4 * (1 - p)]
    met, by_before, new = mixer.weights
    assert (met.keys(), by_before.keys(), new.keys()) == ({5}, {6}, {4})
    assert met[5] == by_before[6] == new[4] == pytest.approx(expected)
    assert mixer.second == {3: pytest.approx([1 / 3 + 0.1 * 0.1 * (1 - p) * -0.3] * 3)}
    # In each table, the nearest correction is that at 0, and moves by a fiftieth of the way to 1.
    for start, old, new in zip(mixed.cases, before, mixer.corrections, strict=True):
        old[start + 12] = 0.5 + 0.02 * 0.5
        assert list(new) == pytest.approx(old, abs=1e-7)


def test_one_correction_knows_the_last_token_and_the_other_two():
    mixer = Mixer(["one"], 1_000_000)

    def cases(node, last):
        return mixer.mix([1.0], node, last, (0, 0)).cases

    (first, second), (same, other), (another, third) = cases(3, (7, 6)), cases(3, (7, 5)), cases(4, (7, 6))
    assert first == same != another
    assert len({second, other, third}) == 3


def test_a_mixer_learns_from_every_bit_of_a_token():
    mixer = Mixer(["one"], 0)
    votes = [mixer.mix([2.0], node, (7, 6), (5, node)) for node in (0, 1, 2)]  # all are predicted, then all are learned
    for vote in votes:
        mixer.learn(vote, 1, 0.1, 0.02)
    step = 0.1 * (1 - 1 / (1 + exp(-0.3))) * 2
    met, before, new = mixer.weights
    assert [vector for (vector,) in new.values()] == pytest.approx([0.15 + step] * 3)
    assert met[5] == before[6] == pytest.approx([0.15 + 3 * step])
    assert [*mixer.second] == [0, 1, 2]


def test_a_mixer_learns_nothing_from_a_bit_that_was_certain():
    mixer = Mixer(["one"], 0)
    mixed = mixer.mix([40.0], 0, (7, 6), (5, 4))
    assert mixed.p > 0.99
    mixer.learn(mixed, 1, 0.1, 0.02)
    assert (mixer.weights, mixer.second) == ([{}, {}, {}], {})
    mixer.learn(mixed, 0, 0.1, 0.02)
    assert [len(by_value) for by_value in (*mixer.weights, mixer.second)] == [1] * 4


def test_the_steps_of_a_mixer_are_gradients():
    mixer, inputs, rate, tiny = Mixer(["one", "two"], 0), [0.7, -1.1], 1e-3, 1e-6
    for _ in range(2):  # after the first step, the sums of the three neurons differ
        mixed = mixer.mix(inputs, 0, (0, 0), (0, 0))
        mixer.learn(mixed, 1, rate, 0.02)
        mixer.weights[1][0] = [0.2, -0.3]
    mixed = mixer.mix(inputs, 0, (0, 0), (0, 0))
    before = [*(by_value[0] for by_value in mixer.weights), mixer.second[0]]
    mixer.learn(mixed, 1, rate, 0.02)

    def loss(weights, inputs):
        return log(1 + exp(-sum(w * x for w, x in zip(weights, inputs, strict=True))))

    after = [*(by_value[0] for by_value in mixer.weights), mixer.second[0]]
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        seen, step = (inputs, rate) if number < 3 else (mixed.scores, 0.1 * rate)
        for i, moved in enumerate(new):
            ahead, behind = ([w + side * tiny * (j == i) for j, w in enumerate(old)] for side in (1, -1))
            slope = (loss(behind, seen) - loss(ahead, seen)) / (2 * tiny)
            assert (moved - old[i]) / step == pytest.approx(slope, rel=1e-5)


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-2, 2), st.integers(0, 1)), max_size=60))
def test_a_mixer_is_never_certain(steps):
    mixer = Mixer(["one", "two"], 0)
    for one, two, bit in steps:
        mixed = mixer.mix([one, two], 0, (0, 0), (0, 0))
        assert 1e-5 <= mixed.p <= 1 - 1e-5
        mixer.learn(mixed, bit, 0.5, 0.02)


# --- runs ---------------------------------------------------------------------------------------------------

ONE, OTHER = 5 | 1 << 48, 5 | 2 << 48  # two contexts that want the same slot


def test_a_run_by_hand():
    runs = Runs(2, 4, 10)
    assert runs.find([ONE, 6]) == [(0, 0, 0.0), (0, 0, 0.0)]
    for token_id in (3, 2, 2, 2):
        runs.append([ONE, 6], token_id)
    assert [found[:2] for found in runs.find([ONE, 6])] == [(2, 3), (2, 3)]
    assert runs.num_used() == 2
    runs.count([({}, 3, 0.0), ({4: 1}, 3, 0.0)], 4, 1)
    p, n = 0.75 + 0.25 / 2, 2
    assert (runs.right[0][3], runs.right[1][3], runs.right[1][2]) == ((0.75, 1), (p, n), (0.75, 1))
    assert [score for _, _, score in runs.find([ONE, 6])] == pytest.approx([log(3), log(p / (1 - p))])
    runs.append([ONE, 6], 0)
    assert [found[:2] for found in runs.find([ONE, 6])] == [(0, 1), (0, 1)]
    for _ in range(40):
        runs.append([ONE, 6], 0)
    assert runs.find([ONE, 6])[0][:2] == (0, LONGEST_RUN)


def test_a_tag_tells_two_runs_of_a_slot_apart():
    runs = Runs(1, 4, 10)
    runs.append([ONE], 3)
    assert runs.find([OTHER]) == [(0, 0, 0.0)]
    runs.append([OTHER], 3)
    assert runs.find([OTHER])[0][:2] == (3, 1)  # a run of its own
    assert runs.find([ONE]) == [(0, 0, 0.0)]  # the latest has the slot


# --- repeats ------------------------------------------------------------------------------------------------


def test_a_repeat_by_hand():
    repeats = Repeats(4, 10)
    ids = [0, 1, 2, 3, 1, 2]
    for position, token_id in enumerate(ids[:4]):
        repeats.append(ids[position - 1] if position else 99, token_id)  # the last token is its own number
    assert repeats.find(2, ids, 6) == (3, 2)  # 3 came after 1 2; before that, 0 and 3 differ
    assert repeats.find(3, ids, 4) == (0, 0)  # 3 was the last one
    assert repeats.find(2, [0, 0, 2], 3) == (3, 1)
    p, n = repeats.hits[2]
    repeats.count(2, True)
    assert repeats.hits[2] == (p + (1 - p) / (n + 1), n + 1)


# --- the model ----------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(some_ids)
def test_the_bits_of_the_path_are_the_probability_of_the_token(model, ids):
    scored = list(model.score(ids))
    for position, prediction in enumerate(scored):
        probs = model.next_probs(ids[:position])
        assert abs(fsum(probs) - 1) <= 1e-9
        assert prediction.probability == probs[ids[position]]
        assert prediction.most_likely == argmax(probs)


@settings(deadline=None, max_examples=20)
@given(some_ids, st.integers(0, 89))
def test_one_token_at_a_time_is_a_window(model, ids, start):
    start = min(start, len(ids) - 1)
    whole = list(model.score(ids))
    assert list(model.score(ids, start)) == whole[start:]
    assert [next(iter(model.score(ids[: i + 1], i))) for i in range(len(ids))] == whole


@settings(deadline=None, max_examples=20)
@given(some_ids, some_ids, st.integers(0, 89))
def test_nothing_is_read_before_it_is_predicted(model, ids, other, at):
    at = min(at, len(ids))
    changed = ids[:at] + other
    for one in (lambda: model, model.learner):
        assert list(one().score(ids))[:at] == list(one().score(changed))[:at]
    distributions = []
    for text in (ids, changed):
        learner = model.learner()
        list(learner.score(text[:at]))
        distributions.append(learner.next_probs(text[:at]))
    assert distributions[0] == distributions[1]
    # Training predicts in the same way: another end changes no number of what was before.
    for end in (0, 1):
        twin = model.learner()
        text = [*ids[:at], end]
        probs = twin.next_probs(ids[:at], cache := twin.new_cache())
        assert cache.length == at
        (*_, last) = model.learner().score(text)
        assert last.probability == probs[end]


@pytest.mark.parametrize(("all_predicted", "block"), [(200_000, 4000), (100, 40)])
def test_training_is_learning_while_reading(monkeypatch, all_predicted, block):
    monkeypatch.setattr(context_mixing, "_ALL_PREDICTED", all_predicted)
    monkeypatch.setattr(context_mixing, "_BLOCK", block)
    ids = random_ids(400)
    start = len(ids) - len(ids) // 8
    trained, record = fitted(ids)
    begun, _ = fitted(ids[:1])
    # The same code and sizes, with nothing learned.
    begun._prepare(ALPHABET, [Counter(ids)[i] for i in range(V)])
    learner = begun.learner()

    def count(start, end):
        for position in range(start, end):
            learner.memory.append(next(learner.memory.places(ids[:position], position)), ids[position])

    for begin in range(0, start, block):
        end = min(begin + block, start)
        if begin >= all_predicted and begin // block % 3 > 0:
            count(begin, end)  # two of three blocks are not predicted
        else:
            list(learner.score(ids[:end], begin))
    # Of the last eighth only whom to trust is learned at first, at a rate that falls to 0: each loss before its step.
    losses = []
    for position in range(start, len(ids)):
        losses.append(-log(learner.next_probs(ids[:position])[ids[position]]))
        place = next(learner.memory.places(ids[:position], position))
        votes = {node: learner._vote(place, node) for node in learner.memory.bits[ids[position]]}
        left = 1 - (position - start) / (len(ids) - start)
        learner._weigh(place, votes, ids[position], (0.001 * left, 0.02 * left))
    assert record["avg_loss"] == pytest.approx(fsum(losses) / len(losses), abs=1e-12)
    assert state_of(learner)[0] == state_of(trained)[0]
    # Then what came there is counted.
    count(start, len(ids))
    assert state_of(learner) == state_of(trained)


@settings(deadline=None, max_examples=15)
@given(some_ids, st.integers(1, 89))
def test_a_learner_learns_the_same_from_a_text_however_it_comes(model, ids, cut):
    before = state_of(model)
    whole, parts, cached = model.learner(), model.learner(), model.learner()
    cut = min(cut, len(ids))
    scored = list(whole.score(ids))
    assert [*parts.score(ids[:cut]), *parts.score(ids, cut)] == scored
    cache = cached.new_cache()
    for position, token_id in enumerate(ids):
        probs = cached.next_probs(ids[:position], cache)
        assert probs[token_id] == scored[position].probability
        assert abs(fsum(probs) - 1) <= 1e-9
        assert cached.next_probs(ids[:position], cache) == probs  # what was learned is not learned again
    assert whole.next_probs(ids) == parts.next_probs(ids) == cached.next_probs(ids, cache)
    assert state_of(whole) == state_of(parts) == state_of(cached)
    assert state_of(model) == before
    assert whole.learner().next_probs(ids) == whole.next_probs(ids)


def test_a_frozen_model_learns_nothing(model):
    before = state_of(model)
    assert model.new_cache() is None
    assert list(model.score(random_ids(90, 2))) == list(model.score(random_ids(90, 2)))
    assert state_of(model) == before


def test_a_learner_gets_used_to_a_text():
    half = len(STORY) // 40
    run = tg.train("context-mixing", text=STORY[:half], tokenizer="char")
    text = STORY[half : 2 * half]
    static, online = run.score(text=text, unknown="skip"), run.score(text=text, unknown="skip", online=True)
    assert online.loss < static.loss - 0.02
    assert run.score(text=text, unknown="skip").loss == static.loss


@pytest.mark.parametrize("online", [False, True])
def test_chance_is_not_predicted(online):
    run = tg.train("context-mixing", text=STORY[:6000], tokenizer="char")
    tokens = run.tokenizer.tokens
    noise = "".join(random.Random(5).choices(tokens, k=2000))
    assert run.score(text=noise, online=online).loss >= log(len(tokens))


def test_a_long_repeat_is_found():
    noise = random.Random(2).choices(range(V), k=500)
    model, _ = fitted(noise + noise[300:400])  # which shows that a long repeat can be trusted, and noise cannot
    scored = list(model.score(noise[100:200]))
    assert fsum(-log(one.probability) for one in scored[20:]) / 80 < log(V) / 4


@pytest.mark.parametrize("tokenizer", ["word", "bpe"])
def test_other_tokens_are_mixed_too(tokenizer):
    run = tg.train("context-mixing", text=ANIMALS * 3, tokenizer=tokenizer, val_fraction=0.1, bpe_vocab=300)
    assert run.held_out.loss < run.unigram_loss / 2
    probs = run.model.next_probs(run.start_ids())
    assert abs(fsum(probs) - 1) <= 1e-9
    assert run.generate(num=5, seed=1) == run.generate(num=5, seed=1)


def test_the_online_loss_of_the_held_out_part_is_measured():
    text = ANIMALS * 2
    run = tg.train("context-mixing", text=text, tokenizer="char", val_fraction=0.2)
    ids, start = run.tokenizer.encode(text), sum(run.frequencies)
    online = summarize(zip(run.model.learner().score(ids, start), ids[start:], strict=True)).loss
    assert run.meta["metrics"]["val_loss_online"] == online < run.held_out.loss
    assert "val_loss_online" not in tg.train("bigram", text=text, epochs=1, val_fraction=0.2).meta["metrics"]


@pytest.mark.parametrize("text", ["a", "aa", "ab", "\n", "aaaa aaaa"])
def test_tiny_texts(text, tmp_path):
    run = tg.train("context-mixing", text=text, tokenizer="char")
    run.save(tmp_path)
    loaded = tg.load(tmp_path, strict=True)
    assert loaded.next() == run.next()
    assert loaded.score(text=text, online=True).loss == run.score(text=text, online=True).loss


def test_a_stop_is_passed_on():
    def stop(fraction, message):
        raise StopTraining

    with pytest.raises(StopTraining):
        list(ContextMixing(V).fit(Text(random_ids(100), 100, ALPHABET), on_progress=stop))


def test_its_context_is_fixed():
    with pytest.raises(InputError, match="look back 64 tokens, not 5"):
        ContextMixing(V, 5)


# --- files --------------------------------------------------------------------------------------------------


def loaded_from(content, tokens=ALPHABET, **changed):
    """Return a model from a content, some of whose tables or tensors are others."""
    model = ContextMixing(len(tokens))
    names = model.expected_tables("safetensors", tokens)
    assert [*names] == [table.name for table in content.tables]
    model.load_tensors({**content.tensors, **changed.get("tensors", {})})
    model.load_tables({table.name: table.rows for table in content.tables} | changed.get("tables", {}))
    return model


def test_content_is_read_back_exactly(model):
    loaded = loaded_from(model.content())
    assert state_of(loaded) == state_of(model)
    ids = random_ids(100, 3)
    assert list(loaded.learner().score(ids)) == list(model.learner().score(ids))
    assert loaded.num_parameters() == model.num_parameters()


@pytest.mark.parametrize(
    "name", ["text", "repeat_places", "counters", "counter_tags", "run_tokens", "run_lengths", *CORRECTIONS]
)
def test_tensors_that_do_not_fit_are_refused(model, name):
    content = model.content()
    _, numbers = content.tensors[name]
    with pytest.raises(ValueError, match=f"tensor {name}: not"):
        loaded_from(content, tensors={name: ((len(numbers),), array("Q", map(int, numbers)))})
    if name != "text":
        with pytest.raises(ValueError, match=f"tensor {name}: not {len(numbers)} numbers"):
            loaded_from(content, tensors={name: ((len(numbers) - 1,), numbers[:-1])})
    with pytest.raises(ValueError, match="the tensors are not text, repeat_places"):
        loaded_from(content, tensors={"more": ((1,), numbers[:1])})


def test_a_text_or_places_that_cannot_be_are_refused(model):
    content = model.content()
    _, text = content.tensors["text"]
    wrong = text[:]
    wrong[5] = V
    with pytest.raises(ValueError, match=f"other ids than 0 to {V - 1}"):
        loaded_from(content, tensors={"text": ((len(wrong),), wrong)})
    _, places = content.tensors["repeat_places"]
    wrong = places[:]
    wrong[0] = len(text)
    with pytest.raises(ValueError, match="a repeat is outside the text"):
        loaded_from(content, tensors={"repeat_places": ((len(wrong),), wrong)})
    _, tokens = content.tensors["run_tokens"]
    wrong = tokens[:]
    wrong[0] = V + 1
    with pytest.raises(ValueError, match="a run of another token than there is"):
        loaded_from(content, tensors={"run_tokens": ((len(wrong),), wrong)})
    for name in CORRECTIONS:
        _, corrections = content.tensors[name]
        for value in (1.5, -0.1, float("nan")):
            wrong = corrections[:]
            wrong[7] = value
            with pytest.raises(ValueError, match="a correction is not a probability"):
                loaded_from(content, tensors={name: ((len(wrong),), wrong)})


def test_tables_that_do_not_fit_are_refused(model):
    content = model.content()
    tables = {table.name: list(table.rows) for table in content.tables}

    def refused(name, rows, message):
        with pytest.raises(ValueError, match=message):
            loaded_from(content, tables={name: rows})

    weights, repeats, runs = tables[WEIGHTS_NAME], tables[REPEATS_NAME], tables[RUNS_NAME]
    refused(WEIGHTS_NAME, [*weights, weights[0]], f"the weights of {weights[0][1]} are given twice")
    refused(WEIGHTS_NAME, [("other", *weights[0][1:])], "the weights of 'other' are unknown")
    refused(WEIGHTS_NAME, [(*weights[0][:2], *[1e6] * len(weights[0][2:]))], "out of all proportion")
    second = tables[SECOND_NAME]
    refused(SECOND_NAME, [*second, second[0]], f"the weights of {second[0][0]} are given twice")
    refused(SECOND_NAME, [(0, 0.3, -1e6, 0.3)], "out of all proportion")
    refused(REPEATS_NAME, repeats[1:], "not a probability for each length")
    refused(REPEATS_NAME, [(length, n, -p) for length, n, p in repeats], "not a probability for each length")
    refused(RUNS_NAME, runs[1:], "not a probability for each context")
    refused(RUNS_NAME, [*runs[:-1], (*runs[-1][:-1], 1.1)], "not a probability for each context")


def test_the_files_follow_the_size_of_the_text():
    small, large = (
        sum(len(n) * n.itemsize for _, n in fitted(random_ids(size))[0].content().tensors.values())
        for size in (200, 1600)
    )
    assert small < 120_000
    assert 4 * small < large < 16 * small


# --- the command line ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("mixing")
    tg.train("context-mixing", text=STORY[:5000], tokenizer="char", save_to=base)
    return base


def test_evaluate_online(toy_gpt, base, tmp_path):
    (path := tmp_path / "other.txt").write_text(STORY[5000:6500], "utf-8")
    run = tg.load(base)
    for more in ((), ("--online",)):
        expected = run.score(path, online=bool(more), unknown="skip").loss
        where = ("evaluate", "--base-dir", base, "--text", path, "--unknown", "skip", *more)
        figures = json.loads(toy_gpt(*where, "--json").out)
        assert (figures["val_loss"], figures["online"]) == (expected, bool(more))
        assert ("context-mixing, learning online, on other.txt" in toy_gpt(*where).out) == bool(more)


def test_a_model_that_cannot_learn_says_so(toy_gpt, trained, tmp_path):
    (path := tmp_path / "other.txt").write_text("the cat", "utf-8")
    outcome = toy_gpt("evaluate", "--base-dir", trained("bigram"), "--text", path, "--unknown", "skip", "--online")
    assert outcome.code == 2
    assert "only context-mixing can learn while it reads" in outcome.err


def test_explain_shows_who_voted_how(toy_gpt, base):
    outcome = toy_gpt("infer", "--base-dir", base, "--prompt", "the ", "--num", 1, "--explain", "--json")
    answer = json.loads(outcome.out)
    *votes, last = answer["explanation"]
    assert [vote["place"] for vote in votes][:2] == ["last_1", "last_2"]
    for one in answer["top_k"]:
        assert last["logits"][one["token"]] == pytest.approx(log(one["probability"]))
    shown = toy_gpt("infer", "--base-dir", base, "--prompt", "the ", "--num", 1, "--explain").out
    assert "votes, weights included" in shown


def test_votes_add_up_to_the_sums_of_the_mixer(model):
    ids = random_ids(30, 4)
    *votes, last = model.logit_lens(ids)
    place = next(model.memory.places(ids, len(ids)))
    for token_id, path in enumerate(model.code.paths):
        total = fsum(vote.logits[token_id] for vote in votes)
        sums = []
        for node, bit in path:
            mixed = model._vote(place, node)
            sums.append(mixed.score if bit else -mixed.score)
        assert total == pytest.approx(fsum(sums))
        assert last.logits[token_id] == pytest.approx(log(model.next_probs(ids)[token_id]))
