"""older_series.py - Runs of the older toy-gpt series: what their 00_meta.json leaves out, the other files say.

Their metadata have no schema_version and no context_size. A table's file has all V to the N rows in index order, so the
number of its rows gives N; what a row is labelled does not matter. Their embeddings are N vectors side by side and one
matrix; its bias was trained, but not written, and their own programs predict without it.
"""

from collections.abc import Mapping
from functools import partial
from math import log2
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.io_artifacts import EMBEDDINGS_NAME, META_NAME, SCHEMA_VERSION, VOCABULARY_NAME, WEIGHTS_NAME
from toy_gpt_train.models.registry import find_model

_NAMES: Final = ("repo_name", "model_kind", "vocab_size", "training", "corpus", "artifacts", "concepts", "notes")
_FILES: Final = (META_NAME, VOCABULARY_NAME, WEIGHTS_NAME, EMBEDDINGS_NAME)
_LONGEST_HEADER: Final = 1 << 20  # bytes
_BLOCK_BYTES: Final = 1 << 20


def is_older(meta: Mapping[str, Any]) -> bool:
    """Whether these are metadata of the older series, and not today's with a damaged name."""
    return meta.keys() <= {*_NAMES, "start_tokens"} and "model_kind" in meta


def as_today(meta: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the older series' metadata with what today's readers need; ``origin`` says in a line what the run is.

    InputError if the weights in the folder do not fit, or the kind of model is unknown.
    """
    kind, vocab_size = meta.get("model_kind"), meta.get("vocab_size")
    if not isinstance(kind, str) or not isinstance(vocab_size, int) or not 1 <= vocab_size < 2**53:
        raise InputError("model_kind is not a word, or vocab_size is not a whole number above 0")
    for name in (WEIGHTS_NAME, EMBEDDINGS_NAME)[: 1 + (kind == "embeddings")]:
        if not (folder / name).is_file():
            raise InputError(f"{name}, which an older run has, is missing")
    found = _embeddings(vocab_size, folder) if kind == "embeddings" else _table(kind, vocab_size, folder)
    context = found["context_size"]
    start = meta.get("start_tokens", [])
    missing = [] if start or context == 0 else ["start tokens"]
    missing += [*(["bias"] if kind == "embeddings" else []), "final losses", "hashes of its files"]
    looks_back = f"looks back {context} token{'s' * (context != 1)}"
    origin = f"an older run of the toy-gpt series: {kind}, {vocab_size} tokens, {looks_back}"
    return {
        **meta,
        **found,
        "schema_version": SCHEMA_VERSION,
        "tokenizer": {"kind": "word"},
        "start_tokens": start,
        "artifacts": {name: name for name in _FILES},
        "metrics": {},
        "origin": f"{origin}; it records no {', no '.join(missing)}",
    }


def _table(kind: str, vocab_size: int, folder: Path) -> dict[str, Any]:
    """Return the metadata of a table; N is the one that its number of rows is the N-th power of V for."""
    entry = find_model(kind)
    if entry.context is None or entry.model_class.layouts[0] != "all":
        raise InputError(f"{kind[:40]!r} of the older toy-gpt series cannot be read: its files lack what it needs")
    # WHY from the larger N: the series' unigram looks back one token, and its bigram two; with V = 1 both would do.
    sizes = [size for size in (entry.context + 1, entry.context) if entry.may_have(size)]
    num_rows = _num_rows(folder / WEIGHTS_NAME)
    for size in sizes:
        # WHY logarithms: V to the N itself may have more digits than there is time to compute.
        if size * log2(vocab_size) < 64 and vocab_size**size == num_rows:
            return {"context_size": size, "weights": {"layout": "all", "rows": num_rows, "in_order": True}}
    wanted = " or ".join(f"{vocab_size} to the power of {size}" for size in sizes)
    raise InputError(f"{WEIGHTS_NAME} has {num_rows} rows, but an older run of {kind} has {wanted}")


def _embeddings(vocab_size: int, folder: Path) -> dict[str, Any]:
    """Return the metadata of embeddings; N is how often the length of a vector goes into the rows of the matrix."""
    with (folder / EMBEDDINGS_NAME).open("rb") as file:
        header = file.readline(_LONGEST_HEADER).decode("utf-8", "replace").strip().split(",")
    size, num_rows = len(header) - 2, _num_rows(folder / WEIGHTS_NAME)
    if size < 1 or header != ["token_id", "token", *(f"dim_{i}" for i in range(size))]:
        raise InputError(f"{EMBEDDINGS_NAME} has no header of learned vectors, which is token_id,token,dim_0 and so on")
    if num_rows < size or num_rows % size:
        raise InputError(
            f"{WEIGHTS_NAME} has {num_rows} rows, which is not a multiple of the {size} values of a vector"
        )
    shapes = {
        "output.weight": (WEIGHTS_NAME, [vocab_size, num_rows]),
        "token_embeddings.weight": (EMBEDDINGS_NAME, [vocab_size, size]),
    }
    return {
        "context_size": num_rows // size,
        "weights": {
            "layout": "tables",
            "rows": {WEIGHTS_NAME: num_rows, EMBEDDINGS_NAME: vocab_size},
            "in_order": True,
        },
        "architecture": {
            "embedding_dim": size,
            "hidden_dim": 0,
            "heads": 1,
            "layers": 1,
            "dropout": 0.0,
            "bias": False,
        },
        "parameters": [{"name": name, "file": file, "shape": shape} for name, (file, shape) in shapes.items()],
    }


def _num_rows(path: Path) -> int:
    """Return how many lines a file has below its header; no word of the series has a line end in it."""
    with path.open("rb") as file:
        return max(sum(block.count(b"\n") for block in iter(partial(file.read, _BLOCK_BYTES), b"")) - 1, 0)
