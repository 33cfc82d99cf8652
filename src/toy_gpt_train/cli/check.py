"""check.py - Is what SE_MANIFEST.toml declares what lies on disk?

It hashes the corpora, reads every declared artifact as inference would, and compares what the metadata says with
what the manifest says. It changes nothing and trains nothing.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from toy_gpt_train.e_infer import load_run
from toy_gpt_train.errors import InputError
from toy_gpt_train.io_artifacts import sha256_of_file
from toy_gpt_train.cli.ladder import run_name
from toy_gpt_train.models.registry import level_for_kind
from toy_gpt_train.project import Manifest, load_manifest

HELP: Final = "compare what SE_MANIFEST.toml declares with what lies on disk"


def check_project(base_dir: Path) -> int:
    """Print a line for each declaration, ``ok`` or what is wrong.

    Args:
        base_dir: The folder with SE_MANIFEST.toml.

    Returns:
        The exit code: 0 if all is as declared, 1 otherwise.

    Raises:
        InputError: The manifest itself cannot be used.
    """
    wrong = 0
    for what, problem in problems(base_dir, load_manifest(base_dir)):
        print(f"{'ok   ' if problem is None else 'WRONG'} {what}{'' if problem is None else ': ' + problem}")
        wrong += problem is not None
    print("all as declared" if wrong == 0 else f"{wrong} not as declared")
    return 1 if wrong else 0


def problems(base_dir: Path, manifest: Manifest) -> Iterator[tuple[str, str | None]]:
    """Yield each declaration with what is wrong with it, or None.

    Args:
        base_dir: The folder the declared paths are relative to.
        manifest: The declarations.

    Yields:
        (what was checked, problem or None).
    """
    hashes: dict[str, str] = {}
    for corpus in manifest.corpora:
        path = base_dir / corpus.path
        hashes[corpus.path] = corpus.sha256
        if not path.is_file():
            yield f"corpus {corpus.path}", "missing"
        else:
            same = sha256_of_file(path) == corpus.sha256
            yield f"corpus {corpus.path}", None if same else "its sha256 is not the declared one"

    for name in (*manifest.artifacts, *manifest.evidence):
        yield f"file {name}", None if (base_dir / name).is_file() else "missing"

    runs = [("default run", manifest.model, manifest.corpus, "")]
    for entry in manifest.ladder:
        for kind in entry.models:
            name = run_name(level_for_kind(kind), Path(entry.corpus))
            runs.append((f"run {name}", kind, entry.corpus, name))
    for what, kind, corpus_path, name in runs:
        yield what, _run_problem(base_dir / "artifacts" / name, kind, hashes.get(corpus_path))


def _run_problem(artifacts_dir: Path, kind: str, corpus_hash: str | None) -> str | None:
    """Return what is wrong with a run, or None: it loads, and is of the declared model and corpus."""
    try:
        meta = load_run(artifacts_dir).meta
    except InputError as error:
        return str(error)
    except (OSError, SystemExit):
        return f"incomplete or unreadable artifacts in {artifacts_dir}"
    if meta["model_kind"] != kind:
        return f"the model is {meta['model_kind']}, declared is {kind}"
    if meta["corpus"]["sha256"] != corpus_hash:
        return "it was trained on another corpus than declared"
    return None
