"""test_import_graph.py - The rooms of the package: who may import whom, and who may ask what a model is."""

import ast
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toy_gpt_train
from toy_gpt_train.models.base import Model
from toy_gpt_train.models.registry import LADDER
from toy_gpt_train.tokenizers import TOKENIZERS, Tokenizer, tokenizer_class

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "import_graph.py"
SOURCE = Path(toy_gpt_train.__file__).parent

_spec = importlib.util.spec_from_file_location("import_graph", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
import_graph: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(import_graph)


def test_script_finds_nothing_wrong(python: Callable[..., Any]) -> None:
    done = python(SCRIPT)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[-1] == "no arrow up or round"
    assert [line.split()[0] for line in lines[:4]] == ["cli", "view", "noise", "forgetting"]
    course = next(line for line in lines if line.startswith("course"))
    assert course.split()[2:] == ["->", "math_training"]


# What the extra [torch] computes with. Nothing else loads these files before it is asked for PyTorch.
OF_TORCH = ("nn/torch_group", "nn/torch_network", "nn/torch_networks", "training/engines/pytorch")


def loaded_with(path: Path) -> set[str]:
    """What a file imports when it is loaded, by full name: not what a function of it imports when it is called."""
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return names


def test_the_core_loads_the_standard_library_alone() -> None:
    of_torch = {SOURCE / f"{name}.py" for name in OF_TORCH}
    modules = {f"toy_gpt_train.{name.replace('/', '.')}" for name in OF_TORCH}
    files = sorted(SOURCE.rglob("*.py"))
    assert of_torch < {*files}
    for path in files:
        loaded = loaded_with(path)
        packages = {name.partition(".")[0] for name in loaded} - {"toy_gpt_train", *sys.stdlib_module_names}
        assert packages == ({"torch"} if path in of_torch else set()), path
        assert path in of_torch or not loaded & modules, path


@pytest.mark.slow
def test_script_measures_imports(python: Callable[..., Any]) -> None:
    done = python(SCRIPT, "--time")
    assert (done.code, done.err) == (0, "")
    package, step_e = done.out.splitlines()[-2:]
    assert package.endswith("ms, 1 of the package's modules")
    assert step_e.startswith("import toy_gpt_train.e_infer ")


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        ({"models.gpt": {"run"}}, "models.gpt imports run: an arrow up"),
        ({"errors": {"tokenizers.base"}}, "errors imports tokenizers.base: an arrow up"),
        ({"e_infer": {"files"}}, "e_infer, a file of the course, imports files"),
        ({"run": {"d_train"}}, "run imports d_train, a file of the course"),
        ({"files": {"corpus"}, "corpus": {"files"}}, "files imports corpus imports files: an arrow round"),
        ({"nn.tensor": {"nn.optim"}, "nn.optim": {"nn.tensor"}}, "nn.tensor imports nn.optim imports nn.tensor"),
        ({"attic": set()}, "attic is in no room"),
    ],
)
def test_offender_is_named(graph: dict[str, set[str]], words: str) -> None:
    assert [line for line in import_graph.offenders(graph) if words in line] != []


def test_what_is_allowed() -> None:
    graph = {
        "cli.train": {"run", "cli.report", "files"},
        "corpus": {"files"},
        "artifacts.metadata": {"io_artifacts", "math_training"},
        "d_train": {"a_tokenizer", "io_artifacts", "math_training"},
    }
    assert list(import_graph.offenders(graph)) == []


def test_every_kind_of_import_is_read(tmp_path: Path) -> None:
    (tmp_path / "nn").mkdir()
    for name in ("__init__", "files", "errors", "show", "run", "nn/__init__", "nn/tensor"):
        (tmp_path / f"{name}.py").write_text("", "utf-8")
    (tmp_path / "cli.py").write_text(
        "import os, toy_gpt_train.files\n"
        "from typing import TYPE_CHECKING\n"
        "from toy_gpt_train import __version__, errors\n"
        "if TYPE_CHECKING:\n"
        "    from toy_gpt_train.run import Run\n"
        "else:\n"
        "    import toy_gpt_train.show\n"
        "def late():\n"
        "    with open('x'):\n"
        "        from toy_gpt_train.nn import tensor\n",
        "utf-8",
    )
    assert import_graph.read_graph(tmp_path)["cli"] == {"files", "errors", "show", "nn.tensor"}


# --- one interface --------------------------------------------------------------------------------------------------


def asked_classes(tree: ast.AST) -> set[str]:
    """The names in the second argument of isinstance and issubclass, and those that type(x) is compared with."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("isinstance", "issubclass")
        ):
            found.update(node.args[1:])
        if isinstance(node, ast.Compare) and any(
            "type(" in ast.unparse(side) for side in (node.left, *node.comparators)
        ):
            found.add(node)
        if isinstance(node, ast.MatchClass):
            found.add(node.cls)
    parts = (part for node in found for part in ast.walk(node))
    return {
        part.id if isinstance(part, ast.Name) else part.attr
        for part in parts
        if isinstance(part, ast.Name | ast.Attribute)
    }


def class_names() -> set[str]:
    """The names of all models and tokenizers, their bases included."""
    models = [base for entry in LADDER for base in entry.model_class.__mro__ if issubclass(base, Model)]
    tokenizers = [base for kind in TOKENIZERS for base in tokenizer_class(kind).__mro__ if issubclass(base, Tokenizer)]
    return {made.__name__ for made in (*models, *tokenizers)}


def test_nobody_asks_which_model_it_is() -> None:
    names = class_names()
    assert {"Model", "Tokenizer", "NGramTable", "NetworkModel", "GPTModel", "BPETokenizer"} <= names
    asking = {}
    for path in sorted(SOURCE.rglob("*.py")):
        room = path.relative_to(SOURCE).parts[0]
        asked = asked_classes(ast.parse(path.read_text("utf-8"))) & names
        if asked and room not in ("models", "tokenizers"):
            asking[path.relative_to(SOURCE).as_posix()] = asked
    assert asking == {}


@pytest.mark.parametrize(
    "code",
    [
        "isinstance(x, Model)",
        "issubclass(type(x), base.Model)",
        "isinstance(x, (str, Model))",
        "isinstance(x, str | Model)",
        "type(x) is Model",
        "match x:\n    case Model(): pass",
    ],
)
def test_asking_is_seen(code: str) -> None:
    assert "Model" in asked_classes(ast.parse(code))


def test_the_package_is_whole() -> None:
    """Every room of the graph exists, so that a rule about it means something."""
    rooms = {import_graph.room_of(module) for module in import_graph.read_graph()}
    assert rooms == set(import_graph.LAYER_OF)
