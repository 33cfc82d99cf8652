"""project.py - Where things are, and what SE_MANIFEST.toml declares.

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
    repo = _declarations(manifest).get("repo")
    name = repo.get("name") if isinstance(repo, dict) else None
    if not isinstance(name, str):
        raise InputError(f"{manifest}: it declares no name of the repository")
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
    declared = _declarations(path)
    try:
        run = declared["default_run"]
        return Manifest(
            model=_text(run["model"]),
            corpus=_text(run["corpus"]),
            artifacts=_texts(run["artifacts"]),
            evidence=_texts(run["evidence"]),
            ladder=tuple(
                LadderEntry(
                    _text(entry["corpus"]),
                    _texts(entry["models"]),
                    _text(entry.get("tokenizer", "word")),
                    float(entry.get("val_fraction", 0.0)),
                )
                for entry in declared["ladder"]
            ),
            corpora=tuple(
                CorpusEntry(*(_text(entry[name]) for name in ("id", "path", "sha256", "demonstrates")))
                for entry in declared["corpus"]
            ),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: missing or malformed declaration {error}") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]}, which is no text")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(f"{str(values)[:40]}, which is no list")
    return tuple(map(_text, values))


def _declarations(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not valid TOML: {error}") from error
