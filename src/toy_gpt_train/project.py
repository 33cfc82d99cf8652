"""project.py - Where files are, and what SE_MANIFEST.toml declares.

RESOURCE_ROOT holds corpus/ and SE_MANIFEST.toml: the repository's root, or package data in an installed copy.
BASE_DIR is where a run is written by default: the repository's root, or the current folder in an installed copy.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from toy_gpt_train.errors import InputError
from toy_gpt_train.files import read_text

MANIFEST_NAME: Final = "SE_MANIFEST.toml"
_MOST_BYTES: Final = 65_536
_MOST_DOTS: Final = 100
_PACKAGE_DIR: Final = Path(__file__).resolve().parent
_CHECKOUT: Final = _PACKAGE_DIR.parents[1]
IN_CHECKOUT: Final = (_CHECKOUT / MANIFEST_NAME).is_file()
RESOURCE_ROOT: Final = _CHECKOUT if IN_CHECKOUT else _PACKAGE_DIR / "resources"
BASE_DIR: Final = _CHECKOUT if IN_CHECKOUT else Path.cwd()


def declared_repo_name(manifest: Path) -> str | None:
    """Return the repository name that a manifest declares, None if there is no such file; InputError if it has none.

    Example:
        >>> declared_repo_name(RESOURCE_ROOT / MANIFEST_NAME)
        'toy-gpt-train'
    """
    if not manifest.is_file():
        return None
    repo = read_toml(manifest).get("repo")
    name = repo.get("name") if isinstance(repo, dict) else None
    if not isinstance(name, str):
        raise InputError(f"{manifest}: it declares no repository name")
    return name


class CorpusEntry(NamedTuple):
    """One declared corpus: its id, its path below the manifest's folder, its hash, and what it shows."""

    corpus_id: str
    path: str
    sha256: str
    demonstrates: str


class LadderEntry(NamedTuple):
    """One corpus of the committed ladder, the models trained on it, and how.

    Attributes:
        corpus: Its path, or a text made on the spot, for example ``world:400k``.
        models: Their names.
        tokenizer: How the text is cut.
        val_fraction: The share held out.
        options: By model, those that are not as usual.
        sha256: Of a text made on the spot; other texts are declared as corpora.
        is_long: Whether training takes minutes, so that it is done only when asked for.
    """

    corpus: str
    models: tuple[str, ...]
    tokenizer: str = "word"
    val_fraction: float = 0.0
    options: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    sha256: str = ""
    is_long: bool = False


class Manifest(NamedTuple):
    """The declarations of SE_MANIFEST.toml: the default run and its files, the ladder, and the corpora."""

    model: str
    corpus: str
    artifacts: tuple[str, ...]
    evidence: tuple[str, ...]
    ladder: tuple[LadderEntry, ...]
    corpora: tuple[CorpusEntry, ...]


def load_manifest(root: Path = RESOURCE_ROOT) -> Manifest:
    """Read the SE_MANIFEST.toml of a folder; InputError if it is missing, is not TOML, or lacks a declaration.

    Example:
        >>> load_manifest().model
        'context-3'
    """
    path = root / MANIFEST_NAME
    declared = read_toml(path)
    try:
        run = declared["default_run"]
        return Manifest(
            model=_text(run["model"]),
            corpus=_text(run["corpus"]),
            artifacts=_texts(run["artifacts"]),
            evidence=_texts(run["evidence"]),
            ladder=tuple(map(_ladder_entry, declared["ladder"])),
            corpora=tuple(
                CorpusEntry(*(_text(entry[name]) for name in ("id", "path", "sha256", "demonstrates")))
                for entry in declared["corpus"]
            ),
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: missing or malformed declaration {str(error)[:200]}") from error


def _ladder_entry(entry: Mapping[str, Any]) -> LadderEntry:
    return LadderEntry(
        _text(entry["corpus"]),
        _texts(entry["models"]),
        _text(entry.get("tokenizer", "word")),
        float(entry.get("val_fraction", 0.0)),
        {model: dict(options) for model, options in entry.get("options", {}).items()},
        _text(entry.get("sha256", "")),
        entry.get("long") is True,
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]}, which is not text")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(f"{str(values)[:40]}, which is not a list")
    return tuple(map(_text, values))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a small TOML file; InputError if it cannot be read, or is not valid."""
    try:
        text = read_text(path, _MOST_BYTES)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(str(error) if isinstance(error, InputError) else f"{path}: no file has this name") from error
    # WHY: the time and the memory that a dotted name takes grow with the square of its parts.
    if any(line.count(".") > _MOST_DOTS for line in text.splitlines()):
        raise InputError(f"{path}: a line has more than {_MOST_DOTS} dots")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid TOML: {str(error)[:200]}") from error
