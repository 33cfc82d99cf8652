"""test_course_gpt.py - The GPT in one file: slopes against differences, steps against numbers by hand."""

import math
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toy_gpt_train import f_gpt
from toy_gpt_train.a_tokenizer import ROOT
from toy_gpt_train.f_gpt import BOUNDARY, GPT, Value, attention, dot, rms_norm, softmax, train

NAMES = ROOT / "corpus" / "020_names.txt"


def numbers(values):
    return [value.data for value in values]


def values_of(data):
    return [Value(x) for x in data]


# --- slopes -------------------------------------------------------------------------------------------------

EXPRESSIONS = {
    "sum": lambda x, y: x + y + 3.0,
    "product": lambda x, y: x * y * -2.0,
    "power": lambda x, y: x**3 + y**-0.5,
    "exponential": lambda x, y: (x * y).exp(),
    "logarithm": lambda x, y: (x + y).log(),
    "dot product": lambda x, y: dot([x, y, x], [y, y, x]),
    "root mean square": lambda x, y: dot(rms_norm([x, y]), [x, y * 2.0]),
    "softmax": lambda x, y: softmax([x, y, x * y])[1],
    "attention": lambda x, y: attention([x, y] * 8, [[x] * 16, [y] * 16], [[y] * 16, [x * y] * 16])[5],
    "used again": lambda x, y: (x * x + y) * x * (y * x + y * y),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
@settings(max_examples=20, deadline=None)
@given(a=st.floats(0.3, 2), b=st.floats(0.3, 2))
def test_slopes_are_differences(name, a, b):
    function, h = EXPRESSIONS[name], 1e-5
    x, y = Value(a), Value(b)
    function(x, y).backward()
    in_x = (function(Value(a + h), Value(b)).data - function(Value(a - h), Value(b)).data) / (2 * h)
    in_y = (function(Value(a), Value(b + h)).data - function(Value(a), Value(b - h)).data) / (2 * h)
    assert x.grad == pytest.approx(in_x, abs=1e-6, rel=1e-6)
    assert y.grad == pytest.approx(in_y, abs=1e-6, rel=1e-6)


def test_gradients_add_up():
    x = Value(3.0)
    (x * x).backward()
    (x * 2.0).backward()
    assert x.grad == 8.0


def test_numbers_by_hand():
    x = Value(2.0)
    assert (x + x * 3.0).data == (x**3).data == 8.0
    assert (x.exp().log() * 0.5).data == pytest.approx(1.0)
    assert dot(values_of([1.0, 2.0]), values_of([3.0, -4.0])).data == -5.0
    assert numbers(softmax(values_of([0.0, math.log(3)]))) == pytest.approx([1 / 4, 3 / 4])
    assert numbers(softmax(values_of([1e4, 1e4]))) == [0.5, 0.5]
    scale = (25 / 2 + 1e-5) ** -0.5
    assert numbers(rms_norm(values_of([3.0, 4.0]))) == pytest.approx([3 * scale, 4 * scale], abs=1e-12)


def test_attention_by_hand():
    # Head 0 has a query of 2, 0, 0, 0; its keys give scores 2 * k * 4**-0.5 = k. Keys log 1 and log 3: shares 1/4, 3/4.
    query = values_of([2.0] + [0.0] * 15)
    keys = [values_of([math.log(k)] + [0.0] * 15) for k in (1, 3)]
    values = [values_of([v] * 16) for v in (4.0, 8.0)]
    found = numbers(attention(query, keys, values))
    assert found[:4] == pytest.approx([7.0] * 4, abs=1e-12)
    assert found[4:] == pytest.approx([6.0] * 12, abs=1e-12)  # heads without a query look at both alike


# --- the model ----------------------------------------------------------------------------------------------


def test_model_has_4192_weights():
    model = GPT(random.Random(0))
    shapes = {name: (len(matrix), len(matrix[0])) for name, matrix in model.weights.items()}
    assert sum(rows * columns for rows, columns in shapes.values()) == 4192
    assert shapes["token"] == shapes["output"] == (27, 16)
    assert (shapes["position"], shapes["up"], shapes["down"]) == ((16, 16), (64, 16), (16, 64))
    assert {shapes[name] for name in ("query", "key", "value", "merge")} == {(16, 16)}


def test_model_without_weights_guesses_alike():
    model = GPT(random.Random(0))
    for row in model.weights["output"]:
        for weight in row:
            weight.data = 0.0
    assert model.loss("cat").data == pytest.approx(math.log(27), abs=1e-12)


def test_loss_is_the_mean_over_letters_and_end():
    model = GPT(random.Random(1))
    keys, values, losses = [], [], []
    for token, target in [(BOUNDARY, 0), (0, 1), (1, BOUNDARY)]:
        logits = numbers(model.logits(token, keys, values))
        losses.append(math.log(sum(map(math.exp, logits))) - logits[target])
    assert model.loss("ab").data == pytest.approx(sum(losses) / 3, abs=1e-12)


def test_what_comes_later_changes_nothing_before():
    model = GPT(random.Random(2))
    keys, values = [], []
    first = [numbers(model.logits(i, keys, values)) for i in (BOUNDARY, 3, 4)]
    keys, values = [], []
    second = [numbers(model.logits(i, keys, values)) for i in (BOUNDARY, 3, 20)]
    assert first[:2] == second[:2]
    assert first[2] != second[2]


def test_long_word_is_cut_to_the_context():
    model = GPT(random.Random(3))
    assert model.loss("a" * 16).data == model.loss("a" * 40).data


def test_gradients_of_all_matrices_are_differences():
    model = GPT(random.Random(4))
    model.loss("abba").backward()
    h = 1e-5
    for name, matrix in model.weights.items():
        row = max(range(len(matrix)), key=lambda i: max(abs(w.grad) for w in matrix[i]))
        weight = max(matrix[row], key=lambda w: abs(w.grad))
        center = weight.data
        weight.data = center + h
        above = model.loss("abba").data
        weight.data = center - h
        below = model.loss("abba").data
        weight.data = center
        assert abs(weight.grad) > 1e-6, name
        assert weight.grad == pytest.approx((above - below) / (2 * h), rel=1e-4, abs=1e-8), name


# --- training and writing -----------------------------------------------------------------------------------


def test_first_step_moves_each_weight_by_the_learning_rate():
    # Adam's first step is rate * g / (|g| + 1e-8): the rate, whatever the size of the gradient.
    model, same = GPT(random.Random(5)), GPT(random.Random(5))
    same.loss("ab").backward()
    next(train(model, ["ab"], 10))
    moved = 0
    for name, matrix in model.weights.items():
        for row, old_row in zip(matrix, same.weights[name], strict=True):
            for weight, old in zip(row, old_row, strict=True):
                step = 0.01 * old.grad / (abs(old.grad) + 1e-8)
                assert weight.data == pytest.approx(old.data - step, abs=1e-9)
                moved += abs(step) > 0.009
    assert moved > 2000


def test_second_step_by_hand():
    untrained, model = GPT(random.Random(6)), GPT(random.Random(6))
    untrained.loss("ab").backward()
    learning = train(model, ["ab", "ba"], 4)
    next(learning)
    model.loss("ba").backward()
    weights = model.weights["output"][1]
    before = [
        (weight.data, old.grad, weight.grad)
        for weight, old in zip(weights, untrained.weights["output"][1], strict=True)
    ]
    for matrix in model.weights.values():
        for row in matrix:
            for weight in row:
                weight.grad = 0.0
    next(learning)
    for weight, (data, g1, g2) in zip(weights, before, strict=True):
        mean = (0.9 * 0.1 * g1 + 0.1 * g2) / (1 - 0.9**2)
        mean_square = (0.95 * 0.05 * g1**2 + 0.05 * g2**2) / (1 - 0.95**2)
        step = 0.01 * 3 / 4 * mean / (mean_square**0.5 + 1e-8)  # the rate falls from 0.01 to 0 in 4 steps
        assert abs(step) > 1e-5
        assert weight.data == pytest.approx(data - step, abs=1e-12)


@pytest.mark.slow
def test_model_learns_a_word():
    model = GPT(random.Random(7))
    losses = list(train(model, ["abca"], 80))
    assert losses[0] == pytest.approx(math.log(27), abs=0.3)
    assert losses[-1] < 0.05
    assert [model.write(random.Random(seed)) for seed in range(3)] == ["abca"] * 3


def test_words_come_again_in_order():
    model = GPT(random.Random(8))
    first = GPT(random.Random(8)).loss("ab").data
    losses = list(train(model, ["ab", "cd", "ef"], 4))
    assert losses[0] == first
    assert losses[3] < losses[0]  # "ab" again


@pytest.mark.parametrize(("drawn", "word"), [([0] * 99, "a" * 16), ([2, 0, 19, BOUNDARY, 5], "cat"), ([BOUNDARY], "")])
def test_word_ends_at_the_boundary_or_the_context(drawn, word):
    class Drawing(random.Random):
        def choices(self, population, weights):
            assert (list(population), len(weights)) == (list(range(27)), 27)
            return [drawn.pop(0)]

    assert GPT(random.Random(9)).write(Drawing()) == word


def test_names_are_listed_once():
    lines = NAMES.read_text("utf-8").splitlines()
    assert lines == sorted(set(lines))
    assert len(lines) > 400
    assert all(re.fullmatch("[a-z]{2,15}", name) for name in lines)


# --- the command line ---------------------------------------------------------------------------------------


def run(capsys, *argv):
    code = f_gpt.main([str(argument) for argument in argv])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.slow
def test_new_words_are_not_in_the_text(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(f_gpt, "CONTEXT", 4)  # short words are soon written
    path = tmp_path / "words.txt"
    path.write_text("Ab, ba! ab\n", encoding="utf-8")
    code, out, err = run(capsys, path, "--steps", 25, "--seed", 3)
    assert (code, err) == (0, "")
    first, *losses, last = out.splitlines()
    assert first.startswith("2 words, the first ['")
    assert [line.partition(":")[0] for line in losses] == ["mean loss of 2 steps"] * 12 + ["mean loss of 1 steps"]
    words = last.removeprefix("new words: ").split()
    assert words == sorted(set(words) - {"ab", "ba"})
    assert run(capsys, path, "--steps", 25, "--seed", 3)[1] == out
    assert run(capsys, path, "--steps", 25, "--seed", 4)[1] != out


@pytest.mark.parametrize("content", [None, b"", b"123 !\n", b"\xff\n"])
def test_useless_text_is_refused(tmp_path, capsys, content):
    path = tmp_path / "words.txt"
    if content is not None:
        path.write_bytes(content)
    code, out, err = run(capsys, path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "words.txt" in err


def test_useless_option_is_refused(capsys):
    code, out, err = run(capsys, Path("x"), "--steps", "many")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--steps" in err
