"""The exercises themselves: the starter fits the adapters, -k finds one component, snapshots are reproducible."""

import doctest
import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path

import make_snapshots
import pytest
import starter

import adapters

HERE = Path(__file__).parent
COMPONENTS = [
    *("linear", "embedding", "rmsnorm", "rope", "swiglu", "softmax", "cross_entropy"),
    *("attention", "multihead", "block", "lm"),
    *("clipping", "adamw", "schedule", "batches", "checkpoint", "tokenizer", "bpe_training"),
]


def functions_of(module: object) -> dict[str, Callable[..., object]]:
    return {name: function for name, function in vars(module).items() if name.startswith("run_")}


def test_starter_and_adapters_fit():
    ours, theirs = functions_of(adapters), functions_of(starter)
    assert list(ours) == list(theirs)
    for name, function in ours.items():
        assert inspect.signature(function) == inspect.signature(theirs[name]), name
        # REQ: the starter explains shapes and formulas; an adapter repeats only its first line.
        assert str(function.__doc__).splitlines()[0] == str(theirs[name].__doc__).splitlines()[0], name


def test_starter_does_nothing():
    for function in functions_of(starter).values():
        with pytest.raises(NotImplementedError):
            function(*[None] * len(inspect.signature(function).parameters))


def test_examples_of_the_starter_hold():
    num_examples = 0
    for name, function in functions_of(starter).items():
        _, _, after = str(inspect.getdoc(function)).partition("Example:\n")
        lines = after.partition("\n\n")[0].splitlines()
        # WHY not ">>>": pytest would run it in the starter, where nothing is implemented yet.
        examples = [doctest.Example(line.strip() + "\n", "True\n") for line in lines]
        runner = doctest.DocTestRunner()
        runner.run(doctest.DocTest(examples, functions_of(adapters), name, "starter.py", 0, None))
        assert (runner.failures, runner.tries) == (0, len(lines)), name
        num_examples += len(lines)
    assert num_examples == 17


def test_every_component_has_its_function_tests_and_place_in_the_readme():
    stems = {re.sub(r"^run_|_(save|load|encode|decode)$", "", name) for name in functions_of(adapters)}
    assert stems == set(COMPONENTS)
    in_readme = re.findall(r"^\|.*`-k (\w+)`", (HERE / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(in_readme) == sorted(COMPONENTS)
    # REQ: -k NAME, which compares the names of folders, files and tests, runs the tests of one component.
    paths = sorted(HERE.glob("test_*.py"))
    assert not any(component in f"tests/exercises/{path.name}" for component in COMPONENTS for path in paths)
    names = [name for path in paths for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))]
    for component in COMPONENTS:
        own = [name for name in names if component in name]
        assert own
        assert all(name.startswith(f"test_{component}") for name in own)


def test_snapshots_come_from_elsewhere():
    script = (HERE / "make_snapshots.py").read_text(encoding="utf-8")
    assert not re.search(r"(from|import) +toy_gpt_train", script)
    makers = {maker.__name__ for group in make_snapshots.MAKERS.values() for maker in group}
    assert makers == {path.stem for path in (HERE / "snapshots").iterdir()}
    assert makers == set(COMPONENTS) - {"batches", "checkpoint"} | {"masked_attention"}


def test_exact_snapshots_are_made_again():
    for maker in make_snapshots.MAKERS["decimal"]:
        committed = (HERE / "snapshots" / f"{maker.__name__}.json").read_text(encoding="utf-8")
        assert make_snapshots.snapshot_text("decimal", maker) == committed, maker.__name__


def test_snapshots_of_text_are_made_again():
    pytest.importorskip("tokenizers")
    pytest.importorskip("regex")
    for maker in make_snapshots.MAKERS["tokenizers"]:
        committed = json.loads((HERE / "snapshots" / f"{maker.__name__}.json").read_text(encoding="utf-8"))
        assert maker() == committed["cases"], maker.__name__
