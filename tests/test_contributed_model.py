"""test_contributed_model.py - A new model is one file and one line of the registry: then every command knows it."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import contributed_model
import toy_gpt_train as tg
from toy_gpt_train.models import registry
from toy_gpt_train.models.registry import ModelEntry

TEXT = "the cat sees the dog . the dog sees a cat . a cat runs to the dog ."

LINE = ModelEntry(455, "witten-bell", "what is new comes as often as it came", "contributed_model:WittenBell")


@pytest.fixture(autouse=True)
def on_the_ladder(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one file in models/ and one line in registry.py do."""
    monkeypatch.setitem(sys.modules, "toy_gpt_train.models.contributed_model", contributed_model)
    ladder = registry.LADDER
    for module in list(sys.modules.values()):
        if getattr(module, "LADDER", None) is ladder:
            monkeypatch.setattr(module, "LADDER", (*ladder[:5], LINE, *ladder[5:]))


def test_it_is_short() -> None:
    assert len(Path(contributed_model.__file__).read_text("utf-8").splitlines()) < 60


def test_probabilities_by_hand() -> None:
    model = tg.train("witten-bell", text="a b a c", context=1).model
    # After "a": b and c, once each. Of all three pairs' tokens: b, a, c, once each.
    below = (1 + 3 / 3) / (3 + 3)
    assert model.next_probs([0]) == pytest.approx([2 * below / 4, (1 + 2 * below) / 4, (1 + 2 * below) / 4])
    assert model.next_probs([2]) == pytest.approx([1 / 3, 1 / 3, 1 / 3])  # never seen before anything
    assert model.next_probs([]) == pytest.approx([1 / 3, 1 / 3, 1 / 3])


@pytest.mark.parametrize("context", [0, 1, 2, 4])
def test_from_python(tmp_path: Path, context: int) -> None:
    assert "witten-bell" in tg.models()
    run = tg.train("witten-bell", text=f"{TEXT} {TEXT}", context=context, val_fraction=0.2)
    for prompt in ("", "the", "dog a", "the dog sees a cat"):
        assert sum(p for _, _, p in run.next(prompt, k=8)) == pytest.approx(1)
    assert run.history[0]["loss_floor"] < run.history[0]["avg_loss"] < math.log(8)
    run.save(tmp_path)
    again = tg.load(tmp_path)
    assert again.meta["context_size"] == context
    assert [again.next(prompt, k=8) for prompt in ("the dog", "a")] == [
        run.next(prompt, k=8) for prompt in ("the dog", "a")
    ]
    assert again.generate("the dog", 20, seed=3) == run.generate("the dog", 20, seed=3)
    assert again.score(text="a dog runs").loss == run.score(text="a dog runs").loss
    assert again.model.num_parameters() == run.model.num_parameters()


def test_from_the_command_line(toy_gpt: Callable[..., Any], tmp_path: Path) -> None:
    corpus = tmp_path / "text.txt"
    corpus.write_text(TEXT, "utf-8")
    here = ("--base-dir", tmp_path)
    assert "witten-bell" in toy_gpt("levels").out
    assert "witten-bell" in toy_gpt("train", "--help").out
    done = toy_gpt("train", "--model", "witten-bell", "--corpus", corpus, "--context", 1, *here, "--json")
    assert (done.code, done.err) == (0, "")
    figures = json.loads(done.out)
    files = sorted(path.name for path in (tmp_path / "artifacts").iterdir())
    assert files == ["00_meta.json", "01_vocabulary.csv", "02_counts.csv"]
    assert (tmp_path / "artifacts/02_counts.csv").read_text("utf-8").splitlines()[:3] == [
        "context,token,count",
        ".,a,1",
        ".,the,1",
    ]

    sampled = toy_gpt("infer", *here, "--json", "--num", 5, "--temperature", 1, "--seed", 2)
    assert sampled.code == 0
    assert len(json.loads(sampled.out)["generated"]) == 1 + 5
    scored = json.loads(toy_gpt("evaluate", *here, "--text", corpus, "--json").out)
    assert scored["tokens"] == 19
    assert scored["train_loss"] == round(figures["train_loss"], 6)
    # All but the first token were learned with the context they have here.
    first = tg.load(tmp_path).score(text="the").loss
    assert (19 * scored["val_loss"] - first) / 18 == pytest.approx(figures["train_loss"])
    assert toy_gpt("chat", *here, stdin="the dog\n").out.count(" > ") == 1
    assert toy_gpt("ladder", "--models", "witten-bell", "bigram", "--corpus", corpus, *here).out.count("\n") == 3
    refused = toy_gpt("train", "--model", "witten-bell", "--epochs", 5, *here)
    assert refused.err == "toy-gpt: error: --epochs does not apply to witten-bell\n"


def test_damaged_counts_are_refused(tmp_path: Path) -> None:
    tg.train("witten-bell", text=TEXT).save(tmp_path)
    path = tmp_path / "artifacts/02_counts.csv"
    path.write_text(path.read_text("utf-8").replace(",1\n", ",-1\n", 1), "utf-8")
    with pytest.raises(tg.InputError, match=r"02_counts.csv, line 2"):
        tg.load(tmp_path)
