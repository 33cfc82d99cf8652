"""The same numbers on every version of Python: runs trained here are those of the repository, or were seen on 3.11."""

import sys

import pytest

import toy_gpt_train as tg
from toy_gpt_train.cli.ladder import declared_runs
from toy_gpt_train.project import RESOURCE_ROOT as ROOT

COUNTED = {run.name: run for run in declared_runs(ROOT) if not run.entry.model_class.trains_in_steps}

# The losses on the training text and on another one, with all their digits.
ANOTHER_TEXT = "The cat sees a bird. The bird sees the cat.\n"
SHORT_RUNS = {
    "mixture": ({}, [0.6605040163943168], 2.2891800946301455),
    "gpt": ({"steps": 2, "eval_every": 1}, [3.726632518213402, 3.217220706163304], 2.8358412318408153),
    "llama": ({"steps": 1}, [3.5955151318249436], 3.2365494741208405),
}


def files_below(base, *folders):
    paths = [path for folder in folders for path in (base / folder).rglob("*")]
    return {path.relative_to(base).as_posix(): path.read_bytes() for path in paths if path.is_file()}


def test_committed_tables_and_counts(toy_gpt, tmp_path):
    names = {run.entry.name for run in COUNTED.values()}
    (tmp_path / "SE_MANIFEST.toml").write_bytes((ROOT / "SE_MANIFEST.toml").read_bytes())  # how paths are written
    assert toy_gpt("ladder", "--models", *names, "--base-dir", tmp_path).code == 0
    folders = [f"{place}/{name}" for place in ("artifacts", "outputs") for name in COUNTED]
    committed = files_below(ROOT, *folders)
    assert files_below(tmp_path, "artifacts", "outputs") == committed != {}


@pytest.mark.parametrize("name", SHORT_RUNS)
def test_short_runs(name):
    options, losses, another = SHORT_RUNS[name]
    run = tg.train(name, ROOT / "corpus" / "001_animals.txt", tokenizer="char", **options)
    found = [*(record["avg_loss"] for record in run.history), run.score(text=ANOTHER_TEXT).loss]
    # WHY: elsewhere another library computes exp and log, perhaps with another last digit.
    digits = 0 if sys.platform in ("linux", "emscripten") else 1e-9
    assert found == pytest.approx([*losses, another], rel=digits, abs=0)
