"""The mixture of Kneser-Ney models, held against a product of literal experts and numerical gradients."""

import random
import re
from collections import Counter
from math import fsum, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import LiteralKneserNey, mixture_gradient, product_of_experts
from toy_gpt_train.errors import InputError, StopTraining
from toy_gpt_train.models import views
from toy_gpt_train.models.base import Text
from toy_gpt_train.models.mixture import CHARACTERS, OTHER_TOKENS, Mixture, mix
from toy_gpt_train.models.views import Views

ALPHABET = ["\n", " ", "'", ".", "A", "a", "b", "é"]
WORDS = ["one", "two", "red", "blue", "fish", "."]
texts = st.text(st.sampled_from(ALPHABET), max_size=160)


def ids_of(text):
    return [ALPHABET.index(character) for character in text]


def fitted(tokens, ids, seed=0, **more):
    model = Mixture(len(tokens))
    (record,) = model.fit(Text(ids, len(ids), tokens), seed=seed, **more)
    return model, record


def random_ids(vocab_size, size, seed=1):
    """Return ids of which few are frequent and most are rare."""
    return random.Random(seed).choices(range(vocab_size), [1 / (i + 1) for i in range(vocab_size)], k=size)


# --- views --------------------------------------------------------------------------------------------------


def literal_views(before):
    """Return the views of characters after a text, by name."""
    words = [(m.group().lower()[-16:], m.end()) for m in re.finditer(r"(?:[^\W\d_]|')+", before)]
    prefix = words.pop()[0] if words and words[-1][1] == len(before) else ""
    near = [
        word if len(before) - end <= reach else ""
        for (word, end), reach in zip(reversed(words), (32, 47), strict=False)
    ]
    word_1, word_2 = (*near, "", "")[:2]
    column = min(len(before) - (before.rfind("\n") + 1), 60) // 4
    return {"prefix": prefix, "word_1": word_1, "word_2": word_2, "column": column}


def test_more_words_than_code_points_are_refused(monkeypatch):
    monkeypatch.setattr(views, "maxunicode", 3)
    fitted(ALPHABET, ids_of("a . ab . a. b. "))  # "", a, ab and b are four
    with pytest.raises(InputError, match="more than 4 different words and beginnings of words"):
        fitted(ALPHABET, ids_of("a . ab . a. b. ba"))


def assert_views_are_literal(text):
    views = Views(ALPHABET)
    columns, texts_of = views.columns(ids_of(text)), views.text_of_code()
    for position in range(len(text) + 1):
        found = {name: texts_of[columns[name][position]] for name in ("prefix", "word_1", "word_2")}
        found["column"] = ord(columns["column"][position])
        assert found == literal_views(text[:position])
        for lag in range(1, 9):
            token_id = ord(columns[f"lag_{lag}"][position])
            assert token_id == (ALPHABET.index(text[position - lag]) if position >= lag else len(ALPHABET) + 1)


def test_views_by_hand():
    assert literal_views("Aa b'é.\nab a") == {"prefix": "a", "word_1": "ab", "word_2": "b'é", "column": 1}
    assert literal_views("ab." + "." * 31) == {"prefix": "", "word_1": "ab", "word_2": "", "column": 8}
    assert literal_views("ab." + "." * 32) == {"prefix": "", "word_1": "", "word_2": "", "column": 8}
    assert literal_views("a" * 15 + "bb ")["word_1"] == "a" * 14 + "bb"
    assert_views_are_literal("Aa b'é.\nab a" + "." * 40 + "a" * 20 + " b" * 30 + "\n\n")


@given(texts)
@settings(max_examples=60, deadline=None)
def test_views_are_the_literal_ones(text):
    assert_views_are_literal(text)


@given(texts)
@settings(max_examples=40, deadline=None)
def test_a_window_of_64_tokens_gives_the_views_of_the_whole_text(text):
    views, ids = Views(ALPHABET), ids_of(text)
    whole = views.columns(ids)
    for position in range(len(ids) + 1):
        window = views.columns(ids[max(position - 64, 0) : position])
        assert {name: view[-1] for name, view in window.items()} == {n: view[position] for n, view in whole.items()}


def test_only_characters_with_letters_form_words():
    assert Views(["a", "."]).are_characters
    assert not Views(["1", "."]).are_characters
    assert not Views(["a", "the"]).are_characters
    assert Views(WORDS).columns([0, 1]).keys() == {f"lag_{lag}" for lag in range(1, 9)}


# --- the product --------------------------------------------------------------------------------------------


def test_mix_by_hand():
    # Square roots of 0.5 and 0.9, and of 0.5 and 0.1: 3 to 1.
    logs = [[log(0.5), log(0.5)], [log(0.9), log(0.1)]]
    assert mix(logs, [[0.5, 0.5]]) == pytest.approx([0.75, 0.25], abs=1e-15)
    assert mix(logs, [[0.0, 0.5], [0.0, 0.5]]) == pytest.approx([0.9, 0.1], abs=1e-15)  # vectors add up
    assert mix(logs, [[1.0, 0.0]]) == pytest.approx([0.5, 0.5], abs=1e-15)


@given(st.data(), st.integers(1, 5), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_mix_is_the_normalized_product_of_powers(data, vocab_size, num_experts):
    number = st.floats(0.001, 1)
    rows = data.draw(
        st.lists(st.lists(number, min_size=vocab_size, max_size=vocab_size), min_size=num_experts, max_size=num_experts)
    )
    distributions = [[p / sum(row) for p in row] for row in rows]
    weights = data.draw(st.lists(st.floats(-2, 2), min_size=num_experts, max_size=num_experts))
    logs = [list(map(log, row)) for row in distributions]
    assert mix(logs, [weights]) == pytest.approx(product_of_experts(distributions, weights), abs=1e-12)


# --- learning -----------------------------------------------------------------------------------------------


class LiteralMixture:
    """A mixture over tokens that form no words: memories of 1 and of 3 tokens, and the gate of the match."""

    def __init__(self, ids, vocab_size, seed):
        self.vocab_size = vocab_size
        self.base = [0.5, 0.5]
        self.corrections = {}
        cut = len(ids) - max(int(len(ids) * 0.1), 1)
        self.experts = [LiteralKneserNey(ids[:cut], vocab_size, size) for size in (1, 3)]
        positions = list(range(cut, len(ids)))
        random.Random(seed).shuffle(positions)
        losses = []
        self.correct = 0
        for step, position in enumerate(positions):
            distributions, gate = self.ask(ids[:position])
            correction = self.corrections.setdefault(gate, [0.0, 0.0])
            weights = [a + b for a, b in zip(self.base, correction, strict=True)]
            probs = product_of_experts(distributions, weights)
            losses.append(-log(probs[ids[position]]))
            self.correct += probs.index(max(probs)) == ids[position]
            slopes = mixture_gradient(distributions, weights, ids[position])
            rate = 0.003 * (1 - step / len(positions))
            for vector in (self.base, correction):
                for k, slope in enumerate(slopes):
                    vector[k] -= rate * (slope - sum(slopes) / 2)
        self.loss = sum(losses) / len(losses)
        self.accuracy = self.correct / len(losses)
        self.experts = [LiteralKneserNey(ids, vocab_size, size) for size in (1, 3)]

    def ask(self, ids):
        """Return what each expert says after a text, and the value of the gate."""
        padded = (*[self.vocab_size + 1] * 3, *ids)
        histories = padded[-1:], padded[-3:]
        longest = self.experts[1]
        length = max(n for n in range(4) if longest.after(padded[len(padded) - n :]))
        count = sum(longest.after(padded[len(padded) - length :]).values())
        distributions = [expert.distribution(h) for expert, h in zip(self.experts, histories, strict=True)]
        return distributions, 10 * length + min(len(f"{count:b}"), 9)

    def next_probs(self, ids):
        distributions, gate = self.ask(ids)
        correction = self.corrections.get(gate, [0.0, 0.0])
        return product_of_experts(distributions, [a + b for a, b in zip(self.base, correction, strict=True)])


@pytest.mark.parametrize(("vocab_size", "size", "seed"), [(1, 12, 0), (2, 10, 0), (3, 60, 1), (6, 150, 2)])
def test_learning_is_the_literal_descent(vocab_size, size, seed):
    ids = random_ids(vocab_size, size)
    model, record = fitted(WORDS[:vocab_size], ids, seed)
    literal = LiteralMixture(ids, vocab_size, seed)
    assert model.recipe == OTHER_TOKENS
    assert record == {"epoch": 1, "avg_loss": pytest.approx(literal.loss, abs=1e-9), "accuracy": literal.accuracy}
    assert model.base == pytest.approx(literal.base, abs=1e-9)
    (corrections,) = model.corrections
    assert corrections.keys() == literal.corrections.keys()
    for gate, correction in corrections.items():
        assert correction == pytest.approx(literal.corrections[gate], abs=1e-9)
    for position in range(size + 1):
        assert model.next_probs(ids[:position]) == pytest.approx(literal.next_probs(ids[:position]), abs=1e-8)


def test_experts_of_characters_count_their_views():
    text = "A bab. A babb'a\nab b. " * 4 + "é"
    model, _ = fitted(ALPHABET, ids_of(text))
    assert model.recipe == CHARACTERS
    expected = Counter()
    for position in range(2, len(text)):  # from where both lags lie in the text
        seen = literal_views(text[:position])
        context = seen["word_2"], seen["word_1"], text[position - 2], seen["prefix"], text[position - 1]
        expected[*context, text[position]] += 1
    table = model.content().tables[3]
    assert [column.name for column in table.columns] == "word_2 word_1 lag_2 prefix lag_1 token count".split()  # noqa: SIM905
    found = [
        (w2, w1, ALPHABET[lag2], prefix, ALPHABET[lag1], ALPHABET[t], n)
        for w2, w1, lag2, prefix, lag1, t, n in table.rows
    ]
    assert Counter({row[:-1]: row[-1] for row in found}) == expected
    assert len(found) == table.num_rows == len(expected)


def test_weights_always_sum_to_one():
    model, _ = fitted(ALPHABET, random_ids(len(ALPHABET), 400))
    assert fsum(model.base) == pytest.approx(1, abs=1e-12)
    assert len(set(model.base)) == 5  # they did learn
    assert [len(by_value) > 1 for by_value in model.corrections] == [True] * 3
    for by_value in model.corrections:
        for correction in by_value.values():
            assert fsum(correction) == pytest.approx(0, abs=1e-12)


def test_the_loss_floor_is_that_of_the_longest_memory():
    ids = [0, 1, 2, 3, 0, 1, 2, 4, 0, 1, 2, 3]  # three contexts 0 1 2, followed by 3, 4, 3
    model, _ = fitted(WORDS, ids)
    assert model.loss_floor(ids) == pytest.approx((2 * log(3 / 2) + log(3)) / 9, abs=1e-12)


def test_the_seed_decides_the_order_of_the_steps():
    ids = random_ids(len(ALPHABET), 400)
    first, again, other = (fitted(ALPHABET, ids, seed)[0] for seed in (1, 1, 2))
    assert first.base == again.base != other.base


def test_progress_and_stopping():
    ids = random_ids(6, 3000)
    calls = []
    watched, record = fitted(WORDS, ids, on_progress=lambda *call: calls.append(call))
    alone, plain = fitted(WORDS, ids)
    assert (record, watched.base) == (plain, alone.base)
    assert [fraction for fraction, _ in calls] == [0, 1 / 3, 2 / 3]
    assert all("loss" in status for _, status in calls)

    def stop(*_):
        raise StopTraining

    with pytest.raises(StopTraining):
        fitted(WORDS, ids, on_progress=stop)


# --- predicting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [ALPHABET, WORDS], ids=["characters", "words"])
def test_scores_are_what_next_probs_says_bit_for_bit(tokens):
    model, _ = fitted(tokens, random_ids(len(tokens), 300))
    text = random_ids(len(tokens), 200, seed=3)
    longest = 8 if tokens is ALPHABET else 3
    seen = {
        tuple(context) for context in zip(*(random_ids(len(tokens), 300)[i:299] for i in range(longest)), strict=False)
    }
    for position, prediction in enumerate(model.score(text, 10), start=10):
        probs = model.next_probs(text[:position])
        assert prediction.probability == probs[text[position]]
        assert prediction.most_likely == probs.index(max(probs))
        assert prediction.context_seen == (tuple(text[position - longest : position]) in seen)


def test_an_unknown_token_has_no_probability_and_hides_what_is_before_it():
    model, _ = fitted(WORDS, random_ids(6, 300))
    predictions = list(model.score([0, 6, 0, 1]))
    assert predictions[1].probability == 0
    assert predictions[3].probability == model.next_probs([0])[1]
    assert not any(prediction.context_seen for prediction in predictions)


def test_before_learning_every_token_is_equally_likely():
    model = Mixture(4)
    assert model.next_probs([]) == model.next_probs([3, 1]) == pytest.approx([0.25] * 4, abs=1e-15)


@pytest.mark.parametrize("context_size", [0, 63, 65])
def test_views_fix_the_context(context_size):
    with pytest.raises(InputError, match="look back 64 tokens"):
        Mixture(4, context_size)


# --- as tables, and back ------------------------------------------------------------------------------------


def tables_of(model):
    return {table.name: list(table.rows) for table in model.content().tables}


def load(tables):
    model = Mixture(6)
    model.expected_tables("tables", WORDS)
    model.load_tables(tables)
    return model


def test_tables_by_hand():
    model, _ = fitted(WORDS, [0, 1, 2, 3, 0, 1, 2, 4, 0, 1, 2, 3])
    tables = tables_of(model)
    assert list(tables) == ["02_counts_1.csv", "02_counts_2.csv", "03_discounts.csv", "04_mixing_weights.csv"]
    assert sorted(tables["02_counts_1.csv"]) == [(0, 1, 3), (1, 2, 3), (2, 3, 2), (2, 4, 1), (3, 0, 1), (4, 0, 1)]
    assert (0, 1, 2, 3, 2) in tables["02_counts_2.csv"]  # oldest first, then the token and the count
    assert [row[:2] for row in tables["03_discounts.csv"]] == [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3)]
    # One step, after 0 1 2, which had come twice: the match has three lengths, and the count two binary digits.
    base, correction = tables["04_mixing_weights.csv"]
    assert base == ("base", 0, *model.base)
    assert correction[:2] == ("matched", 32)
    assert correction[2:] == pytest.approx([weight - 0.5 for weight in model.base], abs=1e-15)
    assert model.content().about == {
        "recipe": {"chains": [["lag_1"], ["lag_1", "lag_2", "lag_3"]], "gates": ["matched"]}
    }
    assert load(tables).next_probs([0, 1, 2]) == model.next_probs([0, 1, 2])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("02_counts_2.csv", lambda rows: [], "nothing in it"),
        ("02_counts_1.csv", lambda rows: [*rows, rows[0]], "occur twice"),
        ("02_counts_1.csv", lambda rows: [(*rows[0][:-1], 0), *rows[1:]], "count below 1"),
        ("03_discounts.csv", lambda rows: rows[1:], "not a row for each expert and length"),
        ("03_discounts.csv", lambda rows: [(3, 0, 0.5, 1.0, 1.5), *rows], "not a row for each expert and length"),
        ("03_discounts.csv", lambda rows: [(1, 0, 1.5, 1.0, 1.5), *rows[1:]], "more than was counted"),
        ("04_mixing_weights.csv", lambda rows: rows[1:] + rows[:1], "out of place"),
        ("04_mixing_weights.csv", lambda rows: [*rows, rows[1]], "given twice"),
        ("04_mixing_weights.csv", lambda rows: [*rows, ("column", 1, 0.0, 0.0)], "gate 'column' is unknown"),
        (
            "04_mixing_weights.csv",
            lambda rows: [("base", 0, 1001.0, -1000.0), *rows[1:]],
            "out of all proportion: 1001",
        ),
    ],
)
def test_tables_that_are_no_mixture_are_refused(name, change, message):
    model, _ = fitted(WORDS, [0, 1, 2, 3, 0, 1, 2, 4, 0, 1, 2, 3])
    tables = tables_of(model)
    tables[name] = change(tables[name])
    with pytest.raises(ValueError, match=message):
        load(tables)
