"""metadata.py - 00_meta.json: what was trained, on what, how, and which files hold the result."""

import json
from collections.abc import Mapping
from math import log
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.corpus import Corpus
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import read_json_object
from toy_gpt_train.io_artifacts import (
    CONCEPTS,
    CORPUS_DESCRIPTION,
    EPOCH_DEFINITION,
    NOTES,
    SCHEMA_VERSION,
)
from toy_gpt_train.math_training import SMALLEST_PROBABILITY
from toy_gpt_train.models.registry import find_model
from toy_gpt_train.project import MANIFEST_NAME, RESOURCE_ROOT, declared_repo_name

Meta = dict[str, Any]

# No average loss is larger: a probability counts as at least 1e-12.
MAX_LOSS: Final = -log(SMALLEST_PROBABILITY)

_METRIC_DECIMALS: Final = 6

_ROWS_TYPE: Final = {"all": int, "observed": int, "sparse": int, "tables": dict}  # of weights.rows, by layout


# --- writing ------------------------------------------------------------------------------------------------


def new_meta(corpus: Corpus, training: Mapping[str, Any], **fields: Any) -> Meta:
    """Return the metadata of a run that has not been saved yet.

    Args:
        corpus: The text that was learned.
        training: How it was learned.
        **fields: Whatever else is known of the run.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "training": {"epoch_definition": EPOCH_DEFINITION, **training},
        "corpus": {
            "filename": _as_utf8(corpus.name),
            "sha256": corpus.sha256,
            "num_lines": corpus.num_lines,
            "num_chars": len(corpus.text),
            "description": CORPUS_DESCRIPTION,
        },
        "concepts": CONCEPTS,
        "notes": NOTES,
        **fields,
    }


def saved_meta(meta: Meta, base_dir: Path, corpus_path: Path | None, **fields: Any) -> Meta:
    """Return metadata as a run's folder has them.

    Args:
        meta: Of the run.
        base_dir: The folder of the run. Its manifest may name the project; the corpus path is given relative to it
            where it lies inside.
        corpus_path: The text that was learned; None where it came from no file.
        **fields: What the files are.
    """
    # WHY: a clone may be in a folder of any name, and training there must give the same bytes.
    name = declared_repo_name(base_dir / MANIFEST_NAME) or base_dir.resolve().name
    corpus = {"path": meta["corpus"]["filename"], **meta["corpus"]}
    if corpus_path is not None:
        resolved = corpus_path.resolve()
        inside = (root for root in (base_dir.resolve(), RESOURCE_ROOT) if resolved.is_relative_to(root))
        corpus["path"] = _as_utf8(resolved.relative_to(next(inside, resolved.parent)).as_posix())
    metrics = {name: round(value, _METRIC_DECIMALS) for name, value in meta["metrics"].items()}
    floor = round(meta["loss_floor"], _METRIC_DECIMALS)
    return {**meta, "metrics": metrics, "loss_floor": floor, "repo_name": _as_utf8(name), "corpus": corpus, **fields}


def _as_utf8(name: str) -> str:
    """Return a file name that UTF-8 can hold; some systems allow names that it cannot."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def write_meta(path: Path, meta: Meta) -> None:
    """Write metadata, names in sorted order."""
    text = json.dumps(meta, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_bytes(text.encode("utf-8") + b"\n")


# --- reading ------------------------------------------------------------------------------------------------


def read_meta(path: Path) -> Meta:
    """Read 00_meta.json and check what inference relies on.

    Raises:
        InputError: It is not JSON, of another schema_version, or a field is missing or of the wrong type.
        OSError: It cannot be read.
    """
    meta = read_json_object(path)
    version = meta.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise InputError(
            f"{path}: schema_version {str(version)[:40]!r} is unknown; this version reads {SCHEMA_VERSION}"
        )
    _require(meta, path, "model_kind", str)
    for name, least in (("vocab_size", 1), ("context_size", 0)):
        if not least <= _require(meta, path, name, int) < 2**53:
            raise InputError(f"{path}: {name} is below {least}, or far too large")
    if not all(isinstance(token, str) for token in _require(meta, path, "start_tokens", list)):
        raise InputError(f"{path}: start_tokens are not all text")
    _require(meta, path, "tokenizer", dict)
    for name in ("filename", "sha256"):
        _require(_require(meta, path, "corpus", dict), path, name, str)
    metrics = _require(meta, path, "metrics", dict)
    for owner, name in ((metrics, "train_loss"), *((metrics, name) for name in metrics), (meta, "loss_floor")):
        loss = owner.get(name)
        if not isinstance(loss, int | float) or isinstance(loss, bool) or not 0 <= loss <= MAX_LOSS:
            raise InputError(f"{path}: {name} is missing or no loss: {str(loss)[:40]}")
    try:
        _check_model(meta, path)
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from error
    return meta


def _check_model(meta: Meta, path: Path) -> None:
    """Check that the model's name, its context size and the layout of its files fit together."""
    entry = find_model(meta["model_kind"])
    if entry.context not in (None, meta["context_size"]):
        raise InputError(f"context_size is {meta['context_size']}, but {entry.name} has {entry.context}")
    weights = _require(meta, path, "weights", dict)
    layout = weights.get("layout")
    if not isinstance(layout, str) or layout not in entry.model_class.layouts:
        raise InputError(f"weights layout {str(layout)[:40]!r} does not fit {entry.name}")
    if layout in _ROWS_TYPE:
        _require(weights, path, "rows", _ROWS_TYPE[layout])


def _require(owner: Mapping[str, Any], path: Path, name: str, kind: type) -> Any:
    value = owner.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{path}: {name} is missing or no {kind.__name__}")
    return value
