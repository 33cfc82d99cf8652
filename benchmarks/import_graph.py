"""import_graph.py - Who imports whom: the rooms of the package in layers, and every arrow between them.

It reads the source and runs none of it. Imports inside functions count; those under TYPE_CHECKING do not, because they
never happen. Modules that are named in a string (a model in the registry, say) are loaded when they are used, and are
in the room of the one that names them.

Three rules hold: an arrow points to a lower layer, or sideways to another room of the lowest; no module imports itself
in a circle; and the course stands alone: it imports math_training and itself, and nobody else imports a lettered file.

Run it: uv run python benchmarks/import_graph.py
        uv run python benchmarks/import_graph.py --time     how long two imports take, too
"""

import argparse
import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

PACKAGE: Final = "toy_gpt_train"
SOURCE: Final = Path(__file__).resolve().parents[1] / "src" / PACKAGE

# From the lowest layer up. Only in the lowest are there several rooms.
LAYERS: Final = (
    (
        *("errors", "engine", "progress", "math_training", "float_bits", "show", "loss_curve"),
        *("files", "disk", "locks", "staging", "project", "corpus", "local_server"),
    ),
    *((room,) for room in ("course", "world", "tokenizers", "nn", "training", "models", "inference")),
    *((room,) for room in ("coding", "artifacts", "exchange")),
    *(
        (room,)
        for room in (
            "kit",
            "data",
            "source_text",
            "learned_text",
            "job",
            "run",
            "tracing",
            "forgetting",
            "noise",
            "view",
            "cli",
        )
    ),
)
LAYER_OF: Final = {room: number for number, layer in enumerate(LAYERS) for room in layer}
COURSE: Final = re.compile(r"[a-f]_[a-z]+|io_artifacts|prompts")
LETTERED: Final = re.compile(r"[a-f]_[a-z]+")

Graph = Mapping[str, set[str]]  # a module, and those that it imports; names without the package's


def room_of(module: str) -> str:
    """Return the room of a module.

    Example:
        >>> room_of("models.gpt"), room_of("a_tokenizer"), room_of("__main__")
        ('models', 'course', 'cli')
    """
    first = module.partition(".")[0]
    if COURSE.fullmatch(first):
        return "course"
    return "cli" if first == "__main__" else first


def read_graph(source: Path = SOURCE) -> Graph:
    """Return what every module below a folder imports of the package."""
    paths = {_module_name(path, source): path for path in sorted(source.rglob("*.py"))}
    graph = {
        name: set(_imported(ast.parse(path.read_text("utf-8")).body, paths)) - {name} for name, path in paths.items()
    }
    del graph[""]  # the package itself: it imports nothing until a name of it is used
    return graph


def _module_name(path: Path, source: Path) -> str:
    return ".".join(path.relative_to(source).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


def _imported(body: Sequence[ast.AST], known: Mapping[str, Path]) -> Iterator[str]:
    """Yield the modules that some statements import, however deep inside."""
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _imported(node.orelse, known)
        elif isinstance(node, ast.Import):
            yield from (name for alias in node.names if (name := _inside(alias.name)) in known and name)
        elif isinstance(node, ast.ImportFrom):
            module = _inside(node.module or "")
            if module is None:
                continue
            for alias in node.names:
                submodule = f"{module}.{alias.name}".removeprefix(".")
                if name := submodule if submodule in known else module:
                    yield name
        else:
            yield from _imported(list(ast.iter_child_nodes(node)), known)


def _inside(module: str) -> str | None:
    """Return a module's name inside the package, or None for one from elsewhere."""
    if module != PACKAGE and not module.startswith(f"{PACKAGE}."):
        return None
    return module.removeprefix(PACKAGE).removeprefix(".")


def arrows(graph: Graph) -> dict[str, set[str]]:
    """Return the rooms that each room imports."""
    found: dict[str, set[str]] = {}
    for module, imported in graph.items():
        found.setdefault(room_of(module), set()).update(map(room_of, imported))
    return {room: rooms - {room} for room, rooms in found.items()}


def offenders(graph: Graph) -> Iterator[str]:
    """Yield a line for each import that breaks a rule."""
    for module, imported in graph.items():
        room = room_of(module)
        if room not in LAYER_OF:
            yield f"{module} is in no room"
            continue
        for other in sorted(imported):
            other_room = room_of(other)
            if other_room == "course" and room != "course" and LETTERED.fullmatch(other):
                yield f"{module} imports {other}, a file of the course"
            if room == "course" and other_room not in ("course", "math_training"):
                yield f"{module}, a file of the course, imports {other}"
            elif LAYER_OF.get(other_room, 0) > LAYER_OF[room]:
                yield f"{module} imports {other}: an arrow up"
    if circle := find_circle(graph):
        yield f"{' imports '.join(circle)}: an arrow round"


def find_circle(graph: Graph) -> list[str]:
    """Return modules that import each other in a circle, the first one again at the end; none where there is none.

    Example:
        >>> find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}})
        ['b', 'c', 'b']
    """
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for imported in sorted(graph.get(module, ())):
            if circle := walk(imported, [*path, module]):
                return circle
        done.add(module)
        return []

    return next((circle for module in graph if (circle := walk(module, []))), [])


def drawing(graph: Graph) -> str:
    """Return a line for each room, the highest first: its number of modules, and the rooms that it imports."""
    found = arrows(graph)
    sizes = Counter(map(room_of, graph))
    lines: list[str] = []
    for room in sorted(LAYER_OF, key=lambda room: (-LAYER_OF[room], -len(found.get(room, ())))):
        below = sorted(found.get(room, ()), key=lambda other: (-LAYER_OF.get(other, 0), other))
        lines.append(f"{room:14} {sizes[room]:3}  {'-> ' if below else ''}{', '.join(below)}".rstrip())
    return "\n".join(lines)


def import_time(statement: str) -> tuple[float, int]:
    """Return the milliseconds that an import takes, and how many modules of the package it loads.

    The best of five fresh interpreters; what an interpreter imports for itself is not counted.
    """
    found: list[tuple[float, int]] = []
    for _ in range(5):
        command = [sys.executable, "-X", "importtime", "-c", statement]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=SOURCE.parent)
        # WHY from the last line of site: all before it is the interpreter's own.
        lines = re.findall(r"import time: +(\d+) \| +\d+ \| +(\S+)", done.stderr)
        begin = max(number for number, (_, name) in enumerate(lines) if name == "site") + 1
        ours = [name for _, name in lines if name.startswith(PACKAGE)]
        found.append((sum(int(micro) for micro, _ in lines[begin:]) / 1000, len(ours)))
    return min(found)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the graph and what breaks its rules; the exit code is 1 where something does."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--time", action="store_true", help="measure two imports in fresh interpreters, too")
    args = parser.parse_args(argv)
    graph = read_graph()
    print(drawing(graph))
    wrong = list(offenders(graph))
    print("", *(wrong or ["no arrow up or round"]), sep="\n")
    if args.time:
        for statement in (f"import {PACKAGE}", f"import {PACKAGE}.e_infer"):
            milliseconds, modules = import_time(statement)
            print(f"{statement:30} {milliseconds:6.1f} ms, {modules} of the package's modules")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
