"""metadata.py - 00_meta.json: what was trained, on what text, how, and which files hold the result."""

import re
from collections.abc import Mapping
from hashlib import sha256
from math import log
from pathlib import Path
from typing import Any, Final

from toy_gpt_train import io_artifacts
from toy_gpt_train.artifacts import older_series
from toy_gpt_train.corpus import Source
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import read_bytes, read_json_object
from toy_gpt_train.io_artifacts import META_NAME, SCHEMA_VERSION, VOCABULARY_NAME, meta_text
from toy_gpt_train.math_training import SMALLEST_PROBABILITY
from toy_gpt_train.models.registry import model_of_run
from toy_gpt_train.project import MANIFEST_NAME, RESOURCE_ROOT, declared_repo_name
from toy_gpt_train.tokenizers import Tokenizer, tokenizer_class
from toy_gpt_train.tokenizers.special import check_special

Meta = dict[str, Any]

MAX_LOSS: Final = -log(SMALLEST_PROBABILITY)  # no average loss is larger: a probability counts as at least 1e-12
_METRIC_DECIMALS: Final = 6
_MOST_BYTES: Final = 4 * 1024 * 1024  # besides start_tokens, which may be of any length
_MOST_VALUES: Final = 200_000
_FILE_NAME: Final = re.compile(r"[\w-][\w.-]{0,99}")
_OWN_SHA256: Final = re.compile(rf'\n    "{META_NAME}": "[0-9a-f]{{64}}",'.encode())
_NAMES_BEFORE_SHA256: Final = {
    *("schema_version", "repo_name", "model_kind", "vocab_size", "context_size", "tokenizer", "start_tokens", "seed"),
    *("val_fraction", "training", "corpus", "weights", "artifacts", "metrics", "loss_floor", "concepts", "notes"),
    *("architecture", "parameters", "recipe"),
}
# Of weights.rows, by layout.
_ROWS_TYPE: Final = {"all": int, "observed": int, "sparse": int, "tables": dict, "safetensors": dict}


def new_meta(source: Source, training: Mapping[str, Any], **fields: Any) -> Meta:
    """Return the metadata of a run that has not been saved: its text, how it was learned, and other fields."""
    return {
        "schema_version": SCHEMA_VERSION,
        "training": {"epoch_definition": io_artifacts.EPOCH_DEFINITION, **training},
        "corpus": {
            "filename": _as_utf8(source.name),
            "sha256": source.sha256,
            "num_lines": source.num_lines,
            "num_chars": source.num_chars,
            "description": io_artifacts.CORPUS_DESCRIPTION,
        },
        "concepts": io_artifacts.CONCEPTS,
        "notes": io_artifacts.NOTES,
        **fields,
    }


def imported_meta(origin: str, kind: str, tokenizer: Tokenizer, context_size: int) -> Meta:
    """Return the metadata of a model that other software wrote; ``origin`` says in what: ``a Hugging Face folder``.

    What such a model does not record is left out: the text that it learned, how it learned, and its losses.
    """
    size = tokenizer.vocab_size
    is_from = (
        f"an import of {origin}: {kind}, {size:,} tokens, looks back {context_size:,} token{'s' * (context_size != 1)}"
    )
    return {
        "schema_version": SCHEMA_VERSION,
        "model_kind": kind,
        "vocab_size": size,
        "context_size": context_size,
        "tokenizer": tokenizer.description(),
        "start_tokens": [],
        "training": {},
        "corpus": {"filename": "", "sha256": "", "num_lines": 0, "num_chars": 0, "description": "not recorded"},
        "concepts": io_artifacts.CONCEPTS,
        "notes": [],
        "metrics": {},
        "origin": f"{is_from}; it records no start tokens, no final losses, no text",
    }


def saved_meta(meta: Meta, base_dir: Path, corpus_path: Path | None, **fields: Any) -> Meta:
    """Return metadata as a run's folder has them, with the project's name and where the corpus is.

    A corpus inside ``base_dir`` or the project has its path relative to it; of any other, only the name is recorded.
    """
    # WHY: a clone may be in a folder of any name, and training there must give the same bytes.
    name = declared_repo_name(base_dir / MANIFEST_NAME) or base_dir.resolve().name
    corpus = {"path": meta["corpus"]["filename"], **meta["corpus"]}
    if corpus_path is not None:
        resolved = corpus_path.resolve()
        inside = [root for root in (base_dir.resolve(), RESOURCE_ROOT) if resolved.is_relative_to(root)]
        corpus["path"] = _as_utf8(resolved.relative_to(inside[0]).as_posix() if inside else corpus_path.name)
    return {**meta, "repo_name": _as_utf8(name), "corpus": corpus, **fields}


def rounded_figures(meta: Meta) -> Meta:
    """Return the figures of a run as its folder has them; in memory they have all their digits."""
    figures = {"metrics": {name: round(value, _METRIC_DECIMALS) for name, value in meta["metrics"].items()}}
    return figures | {name: round(meta[name], _METRIC_DECIMALS) for name in ("loss_floor",) if name in meta}


def _as_utf8(name: str) -> str:  # with "?" for what UTF-8 cannot hold: some systems allow such file names
    return name.encode("utf-8", "replace").decode("utf-8")


def write_meta(path: Path, meta: Meta) -> None:
    """Write metadata; their ``sha256``, by file name, gains that of this file without its own line."""
    own = sha256(meta_text(meta).encode("utf-8")).hexdigest()
    path.write_bytes(meta_text({**meta, "sha256": {META_NAME: own, **meta["sha256"]}}).encode("utf-8"))


def read_meta(path: Path) -> Meta:
    """Read 00_meta.json and check what inference relies on; InputError if it is damaged, too large or unknown.

    Metadata of the older toy-gpt series are completed from the other files; ``origin`` then says what the run is.
    """
    vocabulary = path.with_name(VOCABULARY_NAME)
    limit = _MOST_BYTES + 8 * (vocabulary.stat().st_size if vocabulary.is_file() else 0)
    meta = read_json_object(path, unique=True, limit=limit, values=_MOST_VALUES)
    try:
        if older_series.is_older(meta):
            meta = older_series.as_today(meta, path.parent)
        _check_fields(meta)
        _check_model(meta)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return meta


def own_sha256(path: Path) -> str:
    """Return the hash that metadata record of themselves: of the file without the line of that hash."""
    return sha256(_OWN_SHA256.sub(b"", read_bytes(path), count=1)).hexdigest()


def most_records(meta: Meta) -> int:
    """Return how many records the training log can have."""
    return int(max(meta["training"].get(name, 0) for name in ("epochs", "steps"))) + 1


def _check_fields(meta: Meta) -> None:
    version = meta.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise InputError(f"schema_version {str(version)[:40]!r} is unknown; this version reads {SCHEMA_VERSION}")
    corpus, training = _require(meta, "corpus", dict), _require(meta, "training", dict)
    for owner, name, least in (
        (meta, "vocab_size", 1),
        (meta, "context_size", 0),
        (corpus, "num_chars", 0 if "origin" in meta else 1),
    ):
        if not least <= _require(owner, name, int) < 2**53:
            raise InputError(f"{name} is below {least}, or far too large")
    for name in ("epochs", "steps"):
        _require_number(training, name, 2**53, 0)
    if not all(isinstance(token, str) for token in _require(meta, "start_tokens", list)):
        raise InputError("start_tokens are not all text")
    tokenizer_class(_require(meta, "tokenizer", dict).get("kind"))
    special = meta["tokenizer"].get("special", [])
    if not isinstance(special, list) or not all(isinstance(text, str) for text in special):
        raise InputError("special of the tokenizer is not a list of texts")
    check_special(special)
    for name in ("filename", "sha256"):
        _require(corpus, name, str)
    _require_number(meta, "val_fraction", 1, 0)
    forgotten = meta.get("forgotten", [])
    if not isinstance(forgotten, list) or not all(
        isinstance(lines, list) and [type(line) for line in lines] == [int, int] for lines in forgotten
    ):
        raise InputError("forgotten does not list the first and the last line of each part")
    if "origin" in meta:
        _require(meta, "origin", str)
    elif "sha256" not in meta and (unknown := min(meta.keys() - _NAMES_BEFORE_SHA256, default="")):
        raise InputError(f"no sha256, but {unknown[:40]!r}: a name that no metadata has")  # the damaged name of sha256?
    for name, value in (_require(meta, "sha256", dict) if "sha256" in meta else {}).items():
        if not _FILE_NAME.fullmatch(name) or not isinstance(value, str):
            raise InputError("sha256 is not the hash of each file by its name")
    metrics = _require(meta, "metrics", dict)
    required = () if "origin" in meta else ((metrics, "train_loss"), (meta, "loss_floor"))
    for owner, name in (*required, *((metrics, name) for name in metrics)):
        _require_number(owner, name, MAX_LOSS)


def _check_model(meta: Meta) -> None:
    entry = model_of_run(_require(meta, "model_kind", str))
    if not entry.may_have(meta["context_size"]):
        raise InputError(f"context_size is {meta['context_size']}, but {entry.name} has {entry.context}")
    weights = _require(meta, "weights", dict)
    layout = weights.get("layout")
    if not isinstance(layout, str) or layout not in entry.model_class.layouts:
        raise InputError(f"weights layout {str(layout)[:40]!r} does not fit {entry.name}")
    if "rows" in weights or layout != "safetensors":  # tensors alone have no rows
        rows = _require(weights, "rows", _ROWS_TYPE[layout])
        for name in rows if isinstance(rows, dict) else ():
            _require(rows, name, int)


def _require(owner: Mapping[str, Any], name: str, kind: type) -> Any:
    value = owner.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{name} is missing or not of type {kind.__name__}")
    return value


def _require_number(owner: Mapping[str, Any], name: str, most: float, default: Any = None) -> None:
    value = owner.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= most:
        raise InputError(f"{name} is missing, or not a number from 0 to {most:.3g}: {str(value)[:40]}")
