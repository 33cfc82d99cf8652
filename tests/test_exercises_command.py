"""test_exercises_command.py - ``toy-gpt exercises``: what is done, wrong and next, and what helps."""

import re
import tomllib
from pathlib import Path

import pytest

from conftest import needs_processes
from toy_gpt_train.cli import exercises
from toy_gpt_train.errors import InputError
from toy_gpt_train.project import IN_CHECKOUT

TESTS = Path(__file__).parent
HINTS = tomllib.loads((TESTS / "exercises" / "hints.toml").read_text(encoding="utf-8"))
pytestmark = [
    pytest.mark.skipif(not IN_CHECKOUT, reason="the exercises lie in the repository"),
    needs_processes,
]
LINEAR = """

def run_linear(x, weight, bias=None):
    bias = bias or [0.0] * len(weight)
    return [[sum(a * w for a, w in zip(row, part)) + b for part, b in zip(weight, bias)] for row in x]
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The learner's file, which is not there yet."""
    path = tmp_path / "mine.py"
    monkeypatch.setattr(exercises, "_MINE", path)
    return path


def test_every_exercise_is_red_at_first(toy_gpt, mine):
    starter = (TESTS / "exercises" / "starter.py").read_text(encoding="utf-8")
    first = toy_gpt("exercises")
    assert (first.code, first.err) == (0, "")
    assert first.out.splitlines() == [
        f"wrote   {mine}, with the functions that you can write",
        "done    0 of 18",
        f"next    linear, in {mine}",
        "        toy-gpt exercises --hint linear",
    ]
    assert mine.read_text(encoding="utf-8") == starter


def test_what_is_done_wrong_and_next(toy_gpt, mine):
    starter = (TESTS / "exercises" / "starter.py").read_text(encoding="utf-8")
    wrong = "\n\ndef run_softmax(x):\n    return [[1 / len(row) for _ in row] for row in x]\n"
    broken = "\n\ndef run_schedule(step, peak, warmup, total, floor):\n    return peak / 0\n"
    mine.write_text(starter + LINEAR + wrong + broken, encoding="utf-8")
    outcome = toy_gpt("exercises")
    done, softmax, schedule, following, _ = outcome.out.splitlines()
    assert done == "done    1 of 18: linear"
    assert re.fullmatch(r"wrong   softmax: case 1, result\S+: [\d.]+, expected [\d.]+ to within \S+", softmax)
    assert schedule == "wrong   schedule: ZeroDivisionError: float division by zero"
    assert following == f"next    embedding, in {mine}"
    assert mine.read_text(encoding="utf-8") == starter + LINEAR + wrong + broken


@pytest.mark.slow
def test_the_answers_are_right(toy_gpt, mine):
    mine.write_text((TESTS / "adapters.py").read_text(encoding="utf-8"), encoding="utf-8")
    assert toy_gpt("exercises").out == f"done    18 of 18: {', '.join(HINTS)}\n"


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("def run_linear(:\n", "line 1: invalid syntax"),
        ("import nothing_of_this_name\n", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
    ],
)
def test_a_file_that_cannot_be_used(toy_gpt, mine, code, problem):
    mine.write_text(code, encoding="utf-8")
    outcome = toy_gpt("exercises")
    assert outcome.refused
    assert str(mine) in outcome.err
    assert problem in outcome.err


def test_hints(toy_gpt, mine):
    outcome = toy_gpt("exercises", "--hint", "adamw")
    *hints, answer = outcome.out.splitlines()
    assert [hint.partition("  ")[2] for hint in hints] == HINTS["adamw"]["hints"]
    assert answer == "answer  the project's own version is in src/toy_gpt_train/nn/optim.py"
    assert not mine.exists()
    unknown = toy_gpt("exercises", "--hint", "sofmax")
    assert unknown.refused
    assert "softmax" in unknown.err


def test_every_exercise_has_hints():
    readme = (TESTS / "exercises" / "README.md").read_text(encoding="utf-8")
    assert list(HINTS) == re.findall(r"^\|.*`-k (\w+)`", readme, re.MULTILINE)
    for about in HINTS.values():
        assert about["hints"]
        assert (TESTS.parent / "src" / "toy_gpt_train" / about["read"]).is_file()


def test_an_installed_copy_says_what_it_needs(toy_gpt, tmp_path, monkeypatch):
    monkeypatch.setattr(exercises, "_FOLDER", tmp_path / "none")
    outcome = toy_gpt("exercises")
    assert outcome.refused
    assert "in a checkout" in outcome.err


def test_without_pytest_it_says_what_it_needs(mine, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="uv sync"):
        list(exercises._failures())
