"""io_artifacts.py - The files of a run: artifacts/ (what inference reads) and outputs/ (evidence).

Responsibilities:
- Say what the files are called and what their headers are; other programs read them, so both are fixed.
- Write a trained table so that a person can read it and a program can read it back exactly.

Concepts:
    row label: the tokens of a row's context, oldest first, joined by "|" ("the|cat|runs").
    layout: which rows and cells the weights file holds: all, observed or sparse (see weights_layout).

It does not know how a model learns (d_train.py), or how the files are read back (e_infer.py).
"""

import csv
import json
import re
import shutil
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import chain, product
from math import log
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

from toy_gpt_train.a_tokenizer import IN_CHECKOUT, ROOT, SimpleTokenizer, read_text
from toy_gpt_train.c_model import SimpleNextTokenModel, evaluate, token_row_index
from toy_gpt_train.math_training import conditional_entropy

SCHEMA_VERSION: Final = 1
WEIGHT_DECIMALS: Final = 6

# WHY: a table with all its rows is the clearest to read, as long as a person would scroll through it at all.
ALL_ROWS_LIMIT: Final = 10_000
DENSE_CELLS_LIMIT: Final = 2_000_000

META_NAME: Final = "00_meta.json"
VOCABULARY_NAME: Final = "01_vocabulary.csv"
WEIGHTS_NAME: Final = "02_model_weights.csv"
EMBEDDINGS_NAME: Final = "03_token_embeddings.csv"
TRAIN_LOG_NAME: Final = "train_log.csv"

VOCABULARY_HEADER: Final = ["token_id", "token", "frequency"]
SPARSE_HEADER: Final = ["input_token", "output_token", "weight"]
LOG_COLUMNS: Final = ["epoch", "avg_loss", "accuracy"]
NO_CONTEXT_LABEL: Final = "(no context)"
REST_MARK: Final = "*"

EPOCH_DEFINITION: Final = "One epoch is one pass over all training pairs, in the order of the text."
CORPUS_DESCRIPTION: Final = "Sequential text. Training pairs slide a window of fixed size over its tokens."
CONCEPTS: Final = {
    "token": "A unit of text that the model reads and writes.",
    "vocabulary": "All different tokens of the corpus, numbered in sorted order.",
    "context": "The tokens just before the one to predict, oldest first.",
    "softmax": "Turns scores (logits) into probabilities that sum to 1.",
    "cross_entropy_loss": "How surprised the model is by the token that really came, in nats; lower is better.",
    "gradient_descent": "Moves every weight a small step in the direction that lowers the loss.",
    "loss_floor": "The lowest average loss that any table with this context can reach on this corpus.",
}
NOTES: Final = [
    "Weights are rounded to the printed decimals before the final metrics are computed: these files are the model.",
    "The embeddings of levels 100 to 400 are a view of the first two weights of each row, not learned vectors.",
]

RowLabeler = Callable[[int], str]
JsonObject = dict[str, Any]


class VocabularyLike(Protocol):
    """What a vocabulary can be asked, whether built from text or read from artifacts."""

    def vocab_size(self) -> int:
        """Return V."""

    def get_token_id(self, token: str) -> int | None:
        """Return the id of a token, or None."""

    def get_id_token(self, token_id: int) -> str | None:
        """Return the token of an id, or None."""

    def get_token_frequency(self, token: str) -> int:
        """Return how often a token occurred, 0 if unknown."""


def default_base_dir() -> Path:
    """Return where a run is written: the checkout's root, or the current folder where there is no checkout."""
    return ROOT if IN_CHECKOUT else Path.cwd()


def artifacts_dir_from_base_dir(base_dir: Path) -> Path:
    """Return the folder of a run's artifacts."""
    return Path(base_dir) / "artifacts"


def outputs_dir_from_base_dir(base_dir: Path) -> Path:
    """Return the folder of a run's logs."""
    return Path(base_dir) / "outputs"


def artifact_paths_from_base_dir(base_dir: Path) -> dict[str, Path]:
    """Return the path of each artifact of a table, by file name."""
    folder = artifacts_dir_from_base_dir(base_dir)
    return {name: folder / name for name in (META_NAME, VOCABULARY_NAME, WEIGHTS_NAME, EMBEDDINGS_NAME)}


def find_single_corpus_file(corpus_dir: Path) -> Path:
    """Return the one text file of a folder; raise ValueError if it has none or several. Hidden files do not count."""
    files = [path for path in Path(corpus_dir).iterdir() if path.is_file() and not path.name.startswith(".")]
    if len(files) != 1:
        raise ValueError(f"expected one corpus file in {corpus_dir}, found {len(files)}")
    return files[0]


def repo_name_from_base_dir(base_dir: Path) -> str:
    """Return the name that SE_MANIFEST.toml in this folder declares, or else the folder's own name."""
    # WHY: a clone may be in a folder of any name, and training there must give the same bytes.
    manifest = Path(base_dir) / "SE_MANIFEST.toml"
    repo = tomllib.loads(read_text(manifest)).get("repo") if manifest.is_file() else None
    return str((isinstance(repo, dict) and repo.get("name")) or Path(base_dir).resolve().name)


def format_number(value: float, decimals: int = WEIGHT_DECIMALS) -> str:
    """Return a number rounded to ``decimals``, without trailing zeros.

    Example:
        >>> format_number(0.25), format_number(-1e-9), format_number(-2.0)
        ('0.25', '0', '-2')
    """
    text = f"{value:.{decimals}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def escape_token(token: str) -> str:
    """Return a token as it is written in a label, where "|" joins tokens and "*" means all others."""
    escaped = token.replace("\\", "\\\\").replace("|", "\\|")
    return "\\*" if escaped == REST_MARK else escaped


def context_label(tokens: Sequence[str]) -> str:
    """Return the label of a context: its escaped tokens, oldest first, joined by "|"."""
    return "|".join(map(escape_token, tokens)) if tokens else NO_CONTEXT_LABEL


def split_label(label: str) -> list[str]:
    r"""Return the tokens of a label, at least one; raise ValueError if it ends in the middle of an escape.

    Example:
        >>> split_label("a\\|b|c")
        ['a|b', 'c']
    """
    tokens: list[list[str]] = [[]]
    for match in re.finditer(r"\||\\.?|[^|\\]+", label, re.DOTALL):
        if match[0] == "|":
            tokens.append([])
        elif match[0] == "\\":
            raise ValueError("a label ends in the middle of an escape")
        else:
            tokens[-1].append(match[0].removeprefix("\\"))
    return ["".join(token) for token in tokens]


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """Open a temporary file that takes the name ``path`` when it is complete; make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """Write a CSV file; return how many lines there are below its header."""
    with _new_file(Path(path)) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        return sum(writer.writerow(row) > 0 for row in rows)


def _tokens_of(vocab: VocabularyLike) -> list[str]:
    return [vocab.get_id_token(token_id) or "" for token_id in range(vocab.vocab_size())]


def write_vocabulary_csv(path: Path, vocab: VocabularyLike) -> None:
    """Write 01_vocabulary.csv: ``token_id,token,frequency``, ids 0 to V-1 in order."""
    rows = ([token_id, token, vocab.get_token_frequency(token)] for token_id, token in enumerate(_tokens_of(vocab)))
    _write_csv(path, VOCABULARY_HEADER, rows)


def weights_layout(vocab_size: int, context_size: int, num_rows: int) -> str:
    """Return which rows and cells the weights file of a table holds; training met ``num_rows`` contexts.

    ``all``: V to the N rows in index order, while that is at most 10,000. ``observed``: only the contexts met in
    training. ``sparse``: only those, and only their distinct weights, where a dense file would pass 2,000,000 cells.

    Example:
        >>> weights_layout(6, 3, 11), weights_layout(40, 3, 233), weights_layout(897, 3, 2319)
        ('all', 'observed', 'sparse')
    """
    layout = "observed"
    # WHY logarithms: V to the N itself may have more digits than there is time to compute.
    if context_size * log(vocab_size) <= log(ALL_ROWS_LIMIT) + 1e-9:
        layout, num_rows = "all", vocab_size**context_size
    return "sparse" if num_rows * vocab_size > DENSE_CELLS_LIMIT else layout


def _rows_of(model: SimpleNextTokenModel) -> tuple[str, Iterator[tuple[int, list[float]]]]:
    """Return the layout of a table, and (index, row) for each row that its files hold, in index order."""
    layout = weights_layout(model.vocab_size, model.context_size, len(model.weights))
    every = product(range(model.vocab_size), repeat=model.context_size)
    contexts = every if layout == "all" else sorted(model.weights)
    return layout, ((token_row_index(ids, model.vocab_size), model.row(ids)) for ids in contexts)


def write_model_weights_csv(
    path: Path, vocab: VocabularyLike, model: SimpleNextTokenModel, *, row_labeler: RowLabeler
) -> JsonObject:
    """Write 02_model_weights.csv in the layout that weights_layout chooses; return how to read it, for the metadata.

    Dense (all, observed): header ``input_token`` and then every token by id; one line per row.
    Sparse: header ``input_token,output_token,weight``; one line per token with a weight of its own, then one
    with output token ``*`` for the weight that all other tokens share.
    """
    tokens = _tokens_of(vocab)
    layout, rows = _rows_of(model)
    lines: Iterable[list[str]] = ([row_labeler(index), *map(format_number, row)] for index, row in rows)
    if layout == "sparse":
        lines = chain.from_iterable(_sparse_lines(line, tokens) for line in lines)
    header = SPARSE_HEADER if layout == "sparse" else ["input_token", *tokens]
    return {"layout": layout, "decimals": WEIGHT_DECIMALS, "rows": _write_csv(path, header, lines)}


def _sparse_lines(row: Sequence[str], tokens: Sequence[str]) -> list[list[str]]:
    """Write a row as the exceptions and its most common weight, the smaller one of two equally common."""
    label, *cells = row
    counts = Counter(cells)
    rest = min(counts, key=lambda cell: (-counts[cell], float(cell)))
    own = [[label, escape_token(token), cell] for token, cell in zip(tokens, cells, strict=True) if cell != rest]
    return [*own, [label, REST_MARK, rest]]


def write_token_embeddings_csv(path: Path, model: SimpleNextTokenModel, *, row_labeler: RowLabeler) -> None:
    """Write 03_token_embeddings.csv: ``row,label,x,y``, the first two weights of each row (0 if there is no second)."""
    _, rows = _rows_of(model)
    lines = ([i, row_labeler(i), *map(format_number, [*row, 0.0][:2])] for i, row in rows)
    _write_csv(path, ["row", "label", "x", "y"], lines)


def write_training_log(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write train_log.csv: ``epoch,avg_loss,accuracy``, then whatever else the records hold, one line per epoch."""
    columns = list(dict.fromkeys([*LOG_COLUMNS, *(history[0] if history else ())]))
    _write_csv(path, columns, ([format_number(record[column]) for column in columns] for record in history))


def write_meta_json(
    path: Path,
    *,
    base_dir: Path,
    corpus_path: Path,
    vocab_size: int,
    model_kind: str,
    learning_rate: float,
    epochs: int,
    details: Mapping[str, Any] | None = None,
) -> JsonObject:
    """Write 00_meta.json: what was trained, on what, how, and which files hold the result; return its content.

    ``model_kind`` is written as given. ``details`` adds further fields; without them the file is one of the older
    series, which has no schema_version. Its ``sha256``, by file name, gains that of this file without its own line.
    """
    meta: JsonObject = {
        "repo_name": repo_name_from_base_dir(base_dir),
        "model_kind": model_kind,
        "vocab_size": vocab_size,
        "training": {"learning_rate": learning_rate, "epochs": epochs, "epoch_definition": EPOCH_DEFINITION},
        "corpus": _describe_corpus(Path(corpus_path), Path(base_dir)),
        "artifacts": {name: name for name in artifact_paths_from_base_dir(base_dir)},
        "concepts": CONCEPTS,
        "notes": NOTES,
        **(details or {}),
    }
    if "sha256" in meta:
        meta["sha256"] = {META_NAME: sha256(meta_text(meta).encode()).hexdigest(), **meta["sha256"]}
    with _new_file(Path(path)) as file:
        file.write(meta_text(meta))
    return meta


def meta_text(meta: Mapping[str, Any]) -> str:
    """Return metadata as the text of 00_meta.json, sorted by name."""
    return json.dumps(meta, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _describe_corpus(corpus_path: Path, base_dir: Path) -> JsonObject:
    """Return the metadata of a corpus; its path is relative to the run or the project, or its name alone."""
    resolved = corpus_path.resolve()
    roots = [root for root in (base_dir.resolve(), ROOT) if resolved.is_relative_to(root)]
    text = read_text(corpus_path)
    return {
        "path": resolved.relative_to(*roots[:1] or [resolved.parent]).as_posix(),
        "filename": corpus_path.name,
        "sha256": sha256(corpus_path.read_bytes()).hexdigest(),
        "num_lines": sum(bool(line.strip()) for line in text.replace("\r", "\n").split("\n")),
        "num_chars": len(text),
        "description": CORPUS_DESCRIPTION,
    }


def write_artifacts(
    *,
    base_dir: Path,
    corpus_path: Path,
    vocab: VocabularyLike,
    model: SimpleNextTokenModel,
    model_kind: str,
    learning_rate: float,
    epochs: int,
    row_labeler: RowLabeler,
    history: Sequence[Mapping[str, float]] = (),
) -> JsonObject:
    """Write a whole run below ``base_dir``: artifacts/, and outputs/ if there is a ``history``; return the metadata.

    The model's weights are rounded first. Files of an older run are replaced when all new ones are complete. Raises
    ValueError if the words of the corpus are not those of the vocabulary, or too few; nothing has been written then.
    """
    model.round_weights(WEIGHT_DECIMALS)
    details = _describe_model(model, vocab, corpus_path)
    stage = Path(base_dir) / ".new"
    paths = artifact_paths_from_base_dir(stage)
    try:
        write_vocabulary_csv(paths[VOCABULARY_NAME], vocab)
        details["weights"] = write_model_weights_csv(paths[WEIGHTS_NAME], vocab, model, row_labeler=row_labeler)
        write_token_embeddings_csv(paths[EMBEDDINGS_NAME], model, row_labeler=row_labeler)
        if history:
            write_training_log(outputs_dir_from_base_dir(stage) / TRAIN_LOG_NAME, history)
        files = [outputs_dir_from_base_dir(base_dir) / TRAIN_LOG_NAME, *stage.glob("*/*.csv")]  # an older log stays
        details["sha256"] = {file.name: sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}
        meta = write_meta_json(
            paths[META_NAME],
            base_dir=base_dir,
            corpus_path=corpus_path,
            vocab_size=vocab.vocab_size(),
            model_kind=model_kind,
            learning_rate=learning_rate,
            epochs=epochs,
            details=details,
        )
        for new in sorted(stage.glob("*/*"), reverse=True):  # the log, then the artifacts, the metadata last
            target = base_dir / new.relative_to(stage)
            target.parent.mkdir(parents=True, exist_ok=True)
            new.replace(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return meta


def _describe_model(model: SimpleNextTokenModel, vocab: VocabularyLike, corpus_path: Path) -> JsonObject:
    """Return the metadata that follows from a model and the words of its corpus."""
    size = model.context_size
    tokens = SimpleTokenizer(corpus_path).get_tokens()
    ids = [token_id for token in tokens if (token_id := vocab.get_token_id(token)) is not None]
    if len(ids) != len(tokens) or len(ids) <= size:
        raise ValueError(f"{corpus_path}: its words are not those that the model was trained on")
    pairs = [(tuple(ids[i - size : i]), ids[i]) for i in range(size, len(ids))]
    loss, accuracy = evaluate(model, pairs)
    return {
        "schema_version": SCHEMA_VERSION,
        "context_size": size,
        "tokenizer": {"kind": "word"},
        "start_tokens": tokens[:size],
        "seed": 0,
        "val_fraction": 0.0,
        "metrics": {"train_loss": round(loss, 6), "train_accuracy": round(accuracy, 6)},
        "loss_floor": round(conditional_entropy(pairs), 6),
    }
