"""check.py - ``toy-gpt check``: is what SE_MANIFEST.toml declares what is on disk? It changes nothing."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from toy_gpt_train.artifacts.run_folder import changes, read_run
from toy_gpt_train.cli.arguments import add_base_dir
from toy_gpt_train.cli.ladder import runs_of
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import sha256_of_file
from toy_gpt_train.io_artifacts import artifacts_dir_from_base_dir
from toy_gpt_train.project import load_manifest
from toy_gpt_train.show import one_line, say

HELP: Final = "compare what SE_MANIFEST.toml declares with what is on disk"
LESSON: Final = """It hashes the corpora, reads every declared run, and compares. It trains nothing and writes nothing;
the exit code is 1 where something is not as declared.

example:
  toy-gpt check"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``toy-gpt check``."""
    add_base_dir(parser, "the folder with SE_MANIFEST.toml")
    parser.set_defaults(handler=_check)


def _check(args: argparse.Namespace) -> int:
    wrong = 0
    for what, problem in problems(args.base_dir):
        say(f"ok    {what}" if problem is None else f"WRONG {one_line(f'{what}: {problem}')}")
        wrong += problem is not None
    say("all as declared" if wrong == 0 else f"{wrong} not as declared")
    return 1 if wrong else 0


def problems(base_dir: Path) -> Iterator[tuple[str, str | None]]:
    """Yield each declaration of a folder's manifest with what is wrong with it, or None."""
    manifest = load_manifest(base_dir)
    hashes = {base_dir / corpus.path: corpus.sha256 for corpus in manifest.corpora}
    for corpus in manifest.corpora:
        path = base_dir / corpus.path
        problem = None if path.is_file() else "missing"
        if problem is None and sha256_of_file(path) != corpus.sha256:
            problem = "its sha256 is not the declared one"
        yield f"corpus {corpus.path}", problem
    for name in (*manifest.artifacts, *manifest.evidence):
        yield f"file {name}", None if (base_dir / name).is_file() else "missing"
    yield "default run", _run_problem(base_dir, "", manifest.model, hashes.get(base_dir / manifest.corpus))
    for declared in manifest.ladder:
        corpus_hash = declared.sha256 or hashes.get(base_dir / declared.corpus)
        for model in declared.models:
            try:
                (run,) = runs_of(declared._replace(models=(model,)), base_dir)
            except InputError as error:
                yield f"run of {model!r} on {declared.corpus}", str(error)
            else:
                yield f"run {run.name}", _run_problem(base_dir, run.name, model, corpus_hash)


def _run_problem(base_dir: Path, name: str, model: str, corpus_hash: str | None) -> str | None:
    try:
        saved = read_run(artifacts_dir_from_base_dir(base_dir) / name)
    except InputError as error:
        return str(error)
    except OSError as error:
        return f"unreadable artifacts: {error}"
    meta = saved.meta
    if meta["model_kind"] != model:
        return f"the model is {meta['model_kind']}, declared is {model}"
    if meta["corpus"]["sha256"] != corpus_hash:
        return "it was trained on another corpus than declared"
    return changes(saved)
