"""test_workflows.py - The workflows of the repository parse, ask for few permissions, and do what the docs say."""

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="the docs group installs it")

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))


def parsed(name: str) -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load((FOLDER / name).read_text("utf-8"))
    return loaded


def steps_of(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_workflows_are_there() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "docs.yml", "links.yml", "release.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_asks_for_little(path: Path) -> None:
    workflow = parsed(path.name)
    assert workflow["permissions"] == {"contents": "read"}
    uses = [step["uses"] for step in steps_of(workflow) if "uses" in step]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@(release/)?v[0-9]+", action) for action in uses)
    for step in steps_of(workflow):
        assert ("uses" in step) != ("run" in step)
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"] == {"persist-credentials": False}


def test_only_publishing_gets_an_identity() -> None:
    release = parsed("release.yml")
    # WHY True: YAML 1.1 reads the key "on" as a truth value.
    assert release[True] == {"push": {"tags": ["v[0-9]*"]}}
    jobs = release["jobs"]
    assert {name: job.get("permissions") for name, job in jobs.items()} == {
        "build": None,
        "publish": {"id-token": "write"},
    }
    assert jobs["publish"]["needs"] == "build"
    assert [step["uses"].partition("@")[0] for step in jobs["publish"]["steps"]] == [
        "actions/download-artifact",
        "pypa/gh-action-pypi-publish",
    ]
    uploaded = next(step for step in jobs["build"]["steps"] if "upload-artifact" in step.get("uses", ""))
    assert uploaded["with"]["name"] == jobs["publish"]["steps"][0]["with"]["name"]


def test_the_wheel_is_tried_before_it_is_published() -> None:
    commands = "\n".join(step.get("run", "") for step in parsed("release.yml")["jobs"]["build"]["steps"])
    order = [commands.index(part) for part in ("uv build", "uv pip install", 'cd "$RUNNER_TEMP/empty"')]
    order += [commands.index(part) for part in ('toy-gpt" train', 'toy-gpt" infer')]
    assert order == sorted(order)


IN_THE_DOCS_GROUP = {"yaml", "markdown", "latex2mathml", "griffe", "nbformat", "numpy"}  # all tests run beside it
IN_PYTHON = {"termios"}


def test_ci_names_every_test_that_needs_a_library() -> None:
    # Where the library is missing, such a test skips: nobody would see that it never runs.
    named = (ROOT / ".ci" / "run").read_text("utf-8").split()
    for path in sorted(ROOT.glob("tests/test_*.py")):
        needed = set(re.findall(r'importorskip\("(\w+)', path.read_text("utf-8")))
        if needed - IN_THE_DOCS_GROUP - IN_PYTHON:
            assert any(fnmatch(f"tests/{path.name}", step) for step in named), f"{path.name} needs {needed}"
