"""project.py - Where things lie, and what SE_MANIFEST.toml declares.

Two places matter:

- RESOURCE_ROOT holds what is given: corpus/ and SE_MANIFEST.toml. In a checkout that is the repository's root;
  installed from a wheel it is a folder of package data with the default corpus.
- BASE_DIR is where a run is written by default (BASE_DIR/artifacts, BASE_DIR/outputs): the repository's root
  in a checkout, the current folder otherwise.

It does not know how a model is trained or what artifacts contain.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.errors import InputError

MANIFEST_NAME: Final = "SE_MANIFEST.toml"

_PACKAGE_DIR: Final = Path(__file__).resolve().parent
_CHECKOUT: Final = _PACKAGE_DIR.parents[1]

IN_CHECKOUT: Final = (_CHECKOUT / MANIFEST_NAME).is_file()
RESOURCE_ROOT: Final = _CHECKOUT if IN_CHECKOUT else _PACKAGE_DIR / "resources"
BASE_DIR: Final = _CHECKOUT if IN_CHECKOUT else Path.cwd()


def declared_repo_name(manifest: Path) -> str | None:
    """Return the repository name that a manifest declares, or None where there is no such file.

    Example:
        >>> declared_repo_name(RESOURCE_ROOT / MANIFEST_NAME)
        'toy-gpt-train'
    """
    if not manifest.is_file():
        return None
    name: str = _declarations(manifest)["repo"]["name"]
    return name


@dataclass(frozen=True)
class CorpusEntry:
    """One declared corpus: its id, its path below the manifest's folder, its hash, what it is good for."""

    corpus_id: str
    path: str
    sha256: str
    demonstrates: str


@dataclass(frozen=True)
class LadderEntry:
    """One corpus of the committed ladder, the models trained on it, and how its text is cut and held out."""

    corpus: str
    models: tuple[str, ...]
    tokenizer: str = "word"
    val_fraction: float = 0.0


@dataclass(frozen=True)
class Manifest:
    """What SE_MANIFEST.toml declares: the default run and its files, the ladder, and the corpora."""

    model: str
    corpus: str
    artifacts: tuple[str, ...]
    evidence: tuple[str, ...]
    ladder: tuple[LadderEntry, ...]
    corpora: tuple[CorpusEntry, ...]


def load_manifest(root: Path = RESOURCE_ROOT) -> Manifest:
    """Read what the manifest in ``root`` declares.

    Args:
        root: The folder that holds SE_MANIFEST.toml.

    Returns:
        The declared default run and corpora.

    Raises:
        InputError: The file is missing, is not TOML, or lacks a declaration.

    Example:
        >>> load_manifest().model
        'context-3'
    """
    path = root / MANIFEST_NAME
    try:
        declared = _declarations(path)
        run = declared["default_run"]
        return Manifest(
            model=run["model"],
            corpus=run["corpus"],
            artifacts=tuple(run["artifacts"]),
            evidence=tuple(run["evidence"]),
            ladder=tuple(
                LadderEntry(
                    entry["corpus"],
                    tuple(entry["models"]),
                    entry.get("tokenizer", "word"),
                    entry.get("val_fraction", 0.0),
                )
                for entry in declared["ladder"]
            ),
            corpora=tuple(
                CorpusEntry(entry["id"], entry["path"], entry["sha256"], entry["demonstrates"])
                for entry in declared["corpus"]
            ),
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: missing or malformed declaration {error}") from error


def _declarations(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid TOML: {error}") from error
