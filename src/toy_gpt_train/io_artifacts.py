"""io_artifacts.py - How the files of a run look: artifacts/ (what inference reads) and outputs/ (evidence).

Responsibilities:
- Write the artifacts so that a person can read them and a program can read them back exactly.
- Replace a run as a whole: every file is written under a temporary name, then all are renamed, metadata last.
- Read CSV strictly: a damaged file is refused with its name and line.

Concepts:
    artifact: a file from which the trained model can be rebuilt without training.
    row label: the tokens of a row's context, oldest first, joined by "|" ("the|cat|runs").
    layout: which rows and cells the weights file holds: all, observed or sparse (see weights_layout).

It does not know how a model learns or how text is generated.
"""

import csv
import hashlib
import json
import os
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from errno import EISDIR
from itertools import product
from math import isfinite, log, nan
from pathlib import Path
from typing import Any, Final, Protocol

from toy_gpt_train.a_tokenizer import read_tokens
from toy_gpt_train.c_model import Context, SimpleNextTokenModel, TableRow, token_row_index
from toy_gpt_train.errors import InputError
from toy_gpt_train.inference.evaluate import score
from toy_gpt_train.math_training import conditional_entropy
from toy_gpt_train.models.network import NeuralModel
from toy_gpt_train.models.tables import (
    CONTEXT,
    COUNT,
    NUMBER,
    NUMBER_BY_TOKEN,
    TEXT,
    TOKEN,
    Column,
    ModelTable,
    TabularModel,
)
from toy_gpt_train.project import MANIFEST_NAME, RESOURCE_ROOT, declared_repo_name
from toy_gpt_train.artifacts.safetensors import StoredTensor, write_safetensors
from toy_gpt_train.tokenizers.word import WordTokenizer

SCHEMA_VERSION: Final = 1
WEIGHT_DECIMALS: Final = 6
NO_CONTEXT_LABEL: Final = "(no context)"
REST_MARK: Final = "*"

# WHY: a dense table is the clearest to read, as long as a person would scroll through it at all.
ALL_ROWS_LIMIT: Final = 10_000
DENSE_CELLS_LIMIT: Final = 2_000_000

META_NAME: Final = "00_meta.json"
VOCABULARY_NAME: Final = "01_vocabulary.csv"
WEIGHTS_NAME: Final = "02_model_weights.csv"
EMBEDDINGS_NAME: Final = "03_token_embeddings.csv"
SAFETENSORS_NAME: Final = "02_model_weights.safetensors"
TRAIN_LOG_NAME: Final = "train_log.csv"

VOCABULARY_HEADER: Final = ["token_id", "token", "frequency"]
SPARSE_HEADER: Final = ["input_token", "output_token", "weight"]
LOG_COLUMNS: Final = ["epoch", "avg_loss", "accuracy"]

RowLabeler = Callable[[int], str]
JsonObject = dict[str, Any]

# WHY: the csv module refuses fields over 128 KB by default, and a token may be longer (text without any space).
csv.field_size_limit(2**31 - 1)


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


# --- where things are ---------------------------------------------------------------------------------------


def artifacts_dir_from_base_dir(base_dir: Path) -> Path:
    """Return the folder of a run's artifacts.

    Example:
        >>> artifacts_dir_from_base_dir(Path("run")).as_posix()
        'run/artifacts'
    """
    return Path(base_dir) / "artifacts"


def outputs_dir_from_base_dir(base_dir: Path) -> Path:
    """Return the folder of a run's logs.

    Example:
        >>> outputs_dir_from_base_dir(Path("run")).as_posix()
        'run/outputs'
    """
    return Path(base_dir) / "outputs"


def artifact_paths_from_base_dir(base_dir: Path) -> dict[str, Path]:
    """Return the path of each artifact of a table run, by file name.

    Example:
        >>> artifact_paths_from_base_dir(Path("run"))["00_meta.json"].as_posix()
        'run/artifacts/00_meta.json'
    """
    folder = artifacts_dir_from_base_dir(base_dir)
    return {name: folder / name for name in (META_NAME, VOCABULARY_NAME, WEIGHTS_NAME, EMBEDDINGS_NAME)}


def find_single_corpus_file(corpus_dir: Path) -> Path:
    """Return the one text file of a folder that holds a single corpus.

    Args:
        corpus_dir: The folder; hidden files and folders in it do not count.

    Returns:
        The path of its only file.

    Raises:
        FileNotFoundError: There is no such folder, or no file in it.
        ValueError: There are several files.

    Example:
        find_single_corpus_file(Path("my_project/corpus")) gives my_project/corpus/text.txt.
    """
    if not corpus_dir.is_dir():
        raise FileNotFoundError(f"corpus folder not found: {corpus_dir}")
    files = sorted(path for path in corpus_dir.iterdir() if path.is_file() and not path.name.startswith("."))
    if not files:
        raise FileNotFoundError(f"no corpus file in {corpus_dir}")
    if len(files) > 1:
        raise ValueError(f"expected one corpus file in {corpus_dir}, found {len(files)}")
    return files[0]


def repo_name_from_base_dir(base_dir: Path) -> str:
    """Return the name of the project a run belongs to: the manifest's, or else the folder's own.

    Example:
        >>> repo_name_from_base_dir(Path("somewhere/my-run"))
        'my-run'
    """
    # WHY: a clone may lie in a folder of any name, and retraining there must give the same bytes.
    declared = declared_repo_name(base_dir / MANIFEST_NAME)
    return declared or Path(base_dir).resolve().name


def sha256_of_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data`` in hexadecimal.

    Example:
        >>> sha256_of_bytes(b"")[:8]
        'e3b0c442'
    """
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, read in blocks.

    Raises:
        OSError: The file cannot be read.

    Example:
        sha256_of_file(Path("corpus/000_cat_dog.txt")) gives the hash that SE_MANIFEST.toml declares.
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- text of a cell -----------------------------------------------------------------------------------------


def escape_token(token: str) -> str:
    r"""Return a token as it stands in a label, where "|" joins tokens and "*" means all others.

    Example:
        >>> escape_token("a|b")
        'a\\|b'
    """
    escaped = token.replace("\\", "\\\\").replace("|", "\\|")
    return "\\*" if escaped == REST_MARK else escaped


def context_label(tokens: Sequence[str]) -> str:
    """Return the label of a context: its escaped tokens, oldest first, joined by "|".

    Example:
        >>> context_label(["the", "cat"]), context_label([])
        ('the|cat', '(no context)')
    """
    return "|".join(map(escape_token, tokens)) if tokens else NO_CONTEXT_LABEL


def split_label(label: str) -> list[str]:
    r"""Return the tokens of a label; the inverse of context_label for one token and more.

    Raises:
        ValueError: The label ends in the middle of an escape.

    Example:
        >>> split_label("a\\|b|c")
        ['a|b', 'c']
    """
    if "\\" not in label:
        return label.split("|")
    tokens = [""]
    characters = iter(label)
    for character in characters:
        if character == "|":
            tokens.append("")
            continue
        if character == "\\":
            character = next(characters, "")
            if not character:
                raise ValueError("a label ends in the middle of an escape")
        tokens[-1] += character
    return tokens


def token_ids_of_label(label: str, vocab: VocabularyLike, count: int, where: str) -> Context:
    """Return the token ids of a label that names ``count`` tokens.

    Raises:
        InputError: It names another number of tokens, or unknown ones; ``where`` begins the message.

    Example:
        The label ``the|cat`` gives (5, 1) in the default run's vocabulary.
    """
    try:
        tokens = split_label(label)
    except ValueError as error:
        raise InputError(f"{where} {error}: {label[:40]!r}") from error
    if len(tokens) != count:
        raise InputError(f"{where} {label[:40]!r} names {len(tokens)} tokens instead of {count}")
    token_ids: list[int] = []
    for token in tokens:
        token_id = vocab.get_token_id(token)
        if token_id is None:
            raise InputError(f"{where} {label[:40]!r} has a token that is not in the vocabulary")
        token_ids.append(token_id)
    return tuple(token_ids)


def context_of_label(label: str, vocab: VocabularyLike, context_size: int, where: str) -> Context:
    """Return the context that a row label names; the empty one's label is ``(no context)``.

    Raises:
        InputError: The label does not name a context of this size; ``where`` begins the message.

    Example:
        The label ``(no context)`` gives () for context size 0.
    """
    if context_size > 0:
        return token_ids_of_label(label, vocab, context_size, where)
    if label != NO_CONTEXT_LABEL:
        raise InputError(f"{where} the row is {label[:40]!r} instead of {NO_CONTEXT_LABEL!r}")
    return ()


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


def csv_line(cells: Iterable[object]) -> str:
    r"""Return one CSV line by RFC 4180, ended by a line feed.

    WHY not csv.writer: it leaves a lone carriage return unquoted in some Python versions, and a character
    tokenizer makes that a token.

    Example:
        >>> csv_line(["a,b", 1])
        '"a,b",1\n'
    """
    return ",".join(map(_csv_cell, cells)) + "\n"


_NEEDS_QUOTES = re.compile(r'[,"\r\n]')


def _csv_cell(cell: object) -> str:
    text = str(cell)
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text


# --- reading ------------------------------------------------------------------------------------------------


def read_csv(path: Path, header: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of an artifact, refusing whatever is not exactly what was written.

    Args:
        path: The CSV file.
        header: The first line it must have.

    Yields:
        (line number, cells); always as many cells as the header.

    Raises:
        InputError: Wrong header, missing or extra cell, broken quoting, not UTF-8, or cut off: names the line.
        OSError: The file cannot be read.

    Example:
        list(read_csv(Path("artifacts/01_vocabulary.csv"), VOCABULARY_HEADER))[0] is (2, ["0", ".", "8"]).
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(_whole_lines(file, path), strict=True)
        try:
            found = next(reader, [])
            if found != list(header):
                raise InputError(f"{path}: the header is not {_shorten(header)} but {_shorten(found)}")
            for row in reader:
                if len(row) != len(header):
                    raise InputError(f"{path}, line {reader.line_num}: {len(row)} cells instead of {len(header)}")
                yield reader.line_num, row
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}: {error}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{path}, after line {reader.line_num}: not UTF-8 text") from error


def _whole_lines(lines: Iterable[str], path: Path) -> Iterator[str]:
    """Pass lines on, and refuse a file whose last line has no end: a number in it may be cut short."""
    line = "\n"
    for line in lines:
        yield line
    if not line.endswith("\n"):
        raise InputError(f"{path}: the file is cut off in its last line")


def _shorten(cells: Sequence[str]) -> str:
    text = ",".join(cells)
    return repr(text if len(text) <= 60 else text[:57] + "...")


def parse_int(text: str, what: str) -> int:
    """Return a whole number of 0 or more from a cell.

    Raises:
        InputError: It is none; ``what`` says what was read.

    Example:
        >>> parse_int("12", "token_id")
        12
    """
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InputError(f"{what} is not a whole number: {text[:40]!r}")
    return int(text)


_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", re.ASCII)


def parse_number(text: str, what: str) -> float:
    """Return a finite number from a cell.

    Raises:
        InputError: It is none; ``what`` says what was read.

    Example:
        >>> parse_number("-0.25", "weight")
        -0.25
    """
    # WHY a pattern: float() also takes "1_0", " 1" and the digits of other scripts, which nothing here writes.
    number = float(text) if _NUMBER.fullmatch(text) else nan
    if not isfinite(number):
        raise InputError(f"{what} is not a finite number: {text[:40]!r}")
    return number


# --- writing ------------------------------------------------------------------------------------------------


class StagedFiles:
    """Files being written aside, to take their places together. Use it through staged_files()."""

    def __init__(self) -> None:
        self._staged: dict[Path, Path] = {}
        self._replaced: list[Path] = []

    def path(self, target: Path) -> Path:
        """Return the temporary path to write for ``target``; its folder is made, old leftovers are removed."""
        if target.is_dir():
            raise IsADirectoryError(EISDIR, "a folder is in the place of this file", str(target))
        target.parent.mkdir(parents=True, exist_ok=True)
        for leftover in target.parent.glob(f".{target.name}.*.tmp"):
            leftover.unlink()
        self._staged[target] = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        return self._staged[target]

    def targets(self) -> list[Path]:
        """Return the paths that will be written, in the order of staging."""
        return list(self._staged)

    def commit(self) -> None:
        """Rename every staged file to its target, the one staged last (the metadata) last.

        The old files are moved aside first and come back if anything fails (a full disk, Ctrl-C, a file that a
        spreadsheet holds open). WHY the metadata goes first and comes last: without it a run is visibly
        incomplete, so even a kill between two renames leaves no mixture of two runs that reads as one.
        """
        aside: dict[Path, Path] = {}
        try:
            for target in reversed(self._staged):
                if target.exists():
                    aside[target] = target.with_name(f".{target.name}.old.tmp")
                    target.replace(aside[target])
            for target, temporary in self._staged.items():
                temporary.replace(target)
        except BaseException:
            for target, temporary in self._staged.items():
                if target not in aside and not temporary.exists():
                    target.unlink(missing_ok=True)
            for target, old in reversed(aside.items()):
                if old.exists():
                    old.replace(target)
            raise
        self._replaced = list(aside.values())

    def discard(self) -> None:
        """Remove what is still in a temporary place, and the old files that were replaced."""
        interrupted = False
        for temporary in (*self._staged.values(), *self._replaced):
            try:
                temporary.unlink(missing_ok=True)
            except OSError:
                pass  # WHY: the run itself is whole; the next one removes what is left
            except KeyboardInterrupt:
                interrupted = True
        if interrupted:
            raise KeyboardInterrupt


@contextmanager
def staged_files() -> Iterator[StagedFiles]:
    """Write several files as one: all take their places at the end of the block, or none does.

    Yields:
        The staging area; write to ``staged.path(target)`` instead of ``target``, metadata last.

    Example:
        with staged_files() as staged: staged.path(Path("run/artifacts/00_meta.json")).write_text("{}")
    """
    staged = StagedFiles()
    try:
        yield staged
        staged.commit()
    finally:
        staged.discard()


def write_vocabulary_csv(path: Path, vocab: VocabularyLike) -> None:
    """Write 01_vocabulary.csv: ``token_id,token,frequency``, ids 0 to V-1 in order.

    Args:
        path: The file to write.
        vocab: Any vocabulary.

    Example:
        A vocabulary of b, a, b gives the lines ``0,a,1`` and ``1,b,2``.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_line(VOCABULARY_HEADER))
        for token_id, token in enumerate(_tokens_of(vocab)):
            file.write(csv_line([token_id, token, vocab.get_token_frequency(token)]))


def write_model_weights_csv(
    path: Path, vocab: VocabularyLike, model: SimpleNextTokenModel, *, row_labeler: RowLabeler
) -> None:
    """Write 02_model_weights.csv in the layout that weights_layout chooses.

    Dense (all, observed): header ``input_token`` and then every token by id; a line for each row.
    Sparse: header ``input_token,output_token,weight``; a line for each token with a weight of its own, and
    one with output token ``*`` for the weight that all others share.

    Args:
        path: The file to write.
        vocab: Names the columns.
        model: The trained table.
        row_labeler: Names a row by its index.

    Example:
        For a bigram over a, b the second line may read ``a,-0.5,0.5``.
    """
    tokens = _tokens_of(vocab)
    layout = weights_layout(model)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_line(SPARSE_HEADER if layout == "sparse" else ["input_token", *tokens]))
        for index, row in table_rows(model, layout):
            label = row_labeler(index)
            if layout == "sparse":
                file.writelines(
                    csv_line([label, escape_token(tokens[token_id]), format_number(weight)])
                    for token_id, weight in row.weights.items()
                )
                file.write(csv_line([label, REST_MARK, format_number(row.rest)]))
            else:
                cells = [format_number(row.rest)] * model.vocab_size
                for token_id, weight in row.weights.items():
                    cells[token_id] = format_number(weight)
                file.write(csv_line([label, *cells]))


def weights_layout(model: SimpleNextTokenModel) -> str:
    """Return which rows and cells the weights file of a table holds.

    Args:
        model: The table.

    Returns:
        ``all``: V to the N rows in index order, while that is at most 10,000. ``observed``: only the contexts
        met in training. ``sparse``: only those contexts, and only their distinct weights, where a dense file
        would pass 2,000,000 cells.

    Example:
        >>> weights_layout(SimpleNextTokenModel(vocab_size=6, context_size=3))
        'all'
    """
    rows = len(model.rows)
    layout = "observed"
    # WHY logarithms: V to the N itself may have more digits than there is time to compute.
    if model.context_size * log(model.vocab_size) <= log(ALL_ROWS_LIMIT) + 1e-9:
        rows = model.vocab_size**model.context_size
        layout = "all"
    return "sparse" if rows * model.vocab_size > DENSE_CELLS_LIMIT else layout


def table_rows(model: SimpleNextTokenModel, layout: str) -> Iterator[tuple[int, TableRow]]:
    """Yield the (index, row) pairs that a layout holds, by index.

    Example:
        >>> len(list(table_rows(SimpleNextTokenModel(vocab_size=6, context_size=3), "all")))
        216
    """
    every = product(range(model.vocab_size), repeat=model.context_size)
    for context_ids in every if layout == "all" else sorted(model.rows):
        yield token_row_index(context_ids, model.vocab_size), model.row(context_ids)


def write_token_embeddings_csv(path: Path, model: SimpleNextTokenModel, *, row_labeler: RowLabeler) -> None:
    """Write 03_token_embeddings.csv of a table: ``row,label,x,y``, the first two weights of each row.

    OBS: this 2-D view is derived from the weights, not learned as an embedding.

    Args:
        path: The file to write.
        model: The trained table.
        row_labeler: Names a row by its index.

    Example:
        The first row of a bigram over a, b may read ``0,a,-0.5,0.5``.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_line(["row", "label", "x", "y"]))
        for index, row in table_rows(model, weights_layout(model)):
            y = row.logit(1) if model.vocab_size > 1 else 0.0
            file.write(csv_line([index, row_labeler(index), format_number(row.logit(0)), format_number(y)]))


def write_training_log(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write a training log: ``epoch,avg_loss,accuracy``, then whatever else the history records.

    Args:
        path: The file to write.
        history: One record an epoch, all with the same keys.

    Example:
        [{"epoch": 1, "avg_loss": 1.5, "accuracy": 0.25}] gives the lines ``epoch,avg_loss,accuracy`` and
        ``1,1.5,0.25``.
    """
    further = [key for key in (history[0] if history else {}) if key not in LOG_COLUMNS]
    columns = [*LOG_COLUMNS, *further]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_line(columns))
        for record in history:
            file.write(csv_line(format_number(record[column]) for column in columns))


def write_meta_json(
    path: Path,
    *,
    base_dir: Path,
    corpus_path: Path,
    vocab_size: int,
    model_kind: str,
    learning_rate: float,
    epochs: float,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write 00_meta.json: what was trained, on what, how, and which files hold the result.

    Args:
        path: The file to write.
        base_dir: The folder of the run; the corpus path is given relative to it where it lies inside.
        corpus_path: The text that was learned.
        vocab_size: V.
        model_kind: For example ``context-3``.
        learning_rate: Step size of gradient descent.
        epochs: Passes over the pairs.
        details: Further top-level fields; ``artifacts`` among them replaces the table's list, ``training`` adds to it.

    Raises:
        OSError: The corpus cannot be read, or the file not written.

    Example:
        The committed artifacts/00_meta.json of the default run begins with its artifacts and concepts.
    """
    artifacts = {name: name for name in artifact_paths_from_base_dir(base_dir)}
    further = dict(details or {})
    meta: JsonObject = {
        "schema_version": SCHEMA_VERSION,
        "repo_name": _as_utf8(repo_name_from_base_dir(base_dir)),
        "model_kind": model_kind,
        "vocab_size": vocab_size,
        "training": {
            "learning_rate": learning_rate,
            "epochs": epochs,
            "epoch_definition": _EPOCH_DEFINITION,
            **further.pop("training", {}),
        },
        "corpus": describe_corpus(corpus_path, base_dir),
        "artifacts": artifacts,
        "concepts": _CONCEPTS,
        "notes": _NOTES,
        **further,
    }
    with path.open("w", encoding="utf-8", newline="") as file:
        json.dump(meta, file, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        file.write("\n")


def describe_corpus(corpus_path: Path, base_dir: Path) -> JsonObject:
    """Return the metadata of a corpus: its path, hash and size.

    Args:
        corpus_path: The text file.
        base_dir: Paths inside this folder, or inside the project, are given relative to it; others as a name.

    Returns:
        path, filename, sha256, num_lines (non-blank), num_chars, description.

    Raises:
        OSError: The file cannot be read.

    Example:
        >>> describe_corpus(RESOURCE_ROOT / "corpus" / "000_cat_dog.txt", RESOURCE_ROOT)["num_lines"]
        8
    """
    resolved = corpus_path.resolve()
    inside = (root for root in (Path(base_dir).resolve(), RESOURCE_ROOT) if resolved.is_relative_to(root))
    root = next(inside, resolved.parent)
    num_lines = num_chars = 0
    with corpus_path.open(encoding="utf-8-sig", newline="") as file:
        for line in file:
            num_lines += bool(line.strip())
            num_chars += len(line)
    return {
        "path": _as_utf8(resolved.relative_to(root).as_posix()),
        "filename": _as_utf8(corpus_path.name),
        "sha256": sha256_of_file(corpus_path),
        "num_lines": num_lines,
        "num_chars": num_chars,
        "description": "Sequential text. Training pairs slide a window of fixed size over its tokens.",
    }


def _as_utf8(name: str) -> str:
    """Return a file name that UTF-8 can hold; some systems allow names that it cannot."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


_EPOCH_DEFINITION: Final = "One epoch is one pass over all training pairs, in the order of the text."
_CONCEPTS: Final = {
    "token": "A unit of text that the model reads and writes.",
    "vocabulary": "All different tokens of the corpus, numbered in sorted order.",
    "context": "The tokens just before the one to predict, oldest first.",
    "softmax": "Turns scores (logits) into probabilities that sum to 1.",
    "cross_entropy_loss": "How surprised the model is by the token that really came, in nats; lower is better.",
    "gradient_descent": "Moves every weight a small step in the direction that lowers the loss.",
    "loss_floor": "The lowest average loss that any table with this context can reach on this corpus.",
}
_NOTES: Final = [
    "Weights are rounded to the printed decimals before the final metrics are computed: these files are the model.",
    "The embeddings of levels 100 to 400 are a view of the first two weights of each row, not learned vectors.",
]


def write_model_table(path: Path, vocab: VocabularyLike, table: ModelTable) -> None:
    """Write one table of a model beyond the plain table, with tokens in place of their ids.

    Args:
        path: The file to write.
        vocab: Names the tokens.
        table: The model's own description.

    Example:
        A row ((5, 1), 3, 2) of context, token, count becomes ``the|cat,runs,2``.
    """
    tokens = _tokens_of(vocab)
    columns = _with_token_columns(table.columns, tokens)
    texts = [
        (lambda ids: context_label([tokens[i] for i in ids]))
        if holds == CONTEXT
        else (lambda token_id: tokens[token_id])
        if holds == TOKEN
        else str
        for _, holds in columns
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_line(name for name, _ in columns))
        file.writelines(csv_line(text(cell) for text, cell in zip(texts, row, strict=True)) for row in table.rows)


def _with_token_columns(columns: Sequence[Column], tokens: Sequence[str]) -> list[Column]:
    """Put a column of numbers for each token in the place of a column that stands for all of them."""
    each_token = [Column(token, NUMBER) for token in tokens]
    return [one for column in columns for one in (each_token if column.holds == NUMBER_BY_TOKEN else [column])]


def read_model_table(
    path: Path, vocab: VocabularyLike, columns: Sequence[Column], context_size: int
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows that write_model_table wrote, ids in place of tokens.

    Args:
        path: The file to read.
        vocab: Knows the tokens.
        columns: What the model expects.
        context_size: How many tokens a context label has.

    Yields:
        The rows.

    Raises:
        InputError: The file is damaged or does not fit the vocabulary.
        OSError: It cannot be read.

    Example:
        ``the|cat,runs,2`` becomes ((5, 1), 3, 2).
    """

    def parse(holds: str, cell: str, where: str) -> Any:
        if holds == CONTEXT:
            return context_of_label(cell, vocab, context_size, where)
        if holds == TOKEN:
            token_id = vocab.get_token_id(cell)
            if token_id is None:
                raise InputError(f"{where} {cell[:40]!r} is not in the vocabulary")
            return token_id
        if holds == TEXT:
            return cell
        return parse_int(cell, f"{where} count") if holds == COUNT else parse_number(cell, f"{where} number")

    columns = _with_token_columns(columns, _tokens_of(vocab))
    for line, row in read_csv(path, [name for name, _ in columns]):
        where = f"{path}, line {line}:"
        yield tuple(parse(column.holds, cell, where) for column, cell in zip(columns, row, strict=True))


def write_artifacts(
    *,
    base_dir: Path,
    corpus_path: Path,
    vocab: VocabularyLike,
    model: SimpleNextTokenModel | TabularModel,
    model_kind: str,
    learning_rate: float,
    epochs: float,
    row_labeler: RowLabeler,
    history: Sequence[Mapping[str, float]] = (),
    details: Mapping[str, Any] | None = None,
    tokenizer_files: Mapping[str, str] | None = None,
    run_name: str = "",
) -> list[Path]:
    """Write a whole run: the artifacts and the training log, all of it or nothing.

    Args:
        base_dir: The folder of the run; files go to its artifacts/ and outputs/.
        corpus_path: The text that was learned.
        vocab: Its vocabulary.
        model: The trained model; a table's weights are rounded here, if they are not yet.
        model_kind: For example ``context-3``.
        learning_rate: Step size of gradient descent.
        epochs: Passes over the pairs.
        row_labeler: Names a row of a table by its index.
        history: The training log, one record an epoch; no log is written where it is empty.
        details: Further metadata (start_tokens, seed, metrics, loss_floor, tokenizer). Where None, they are worked
            out from the corpus, read as words.
        tokenizer_files: The text of further files that the tokenizer is made of, by name.
        run_name: A folder below artifacts/ and outputs/, for example ``ladder/200-bigram/001_animals``.

    Returns:
        The paths written, the metadata last.

    Raises:
        OSError: Something could not be written; what was there before is still there.
        InputError: ``details`` is None, and the corpus has words that are not in the vocabulary, or too few.

    Example:
        d_train.train_run shows a call with everything it takes.
    """
    artifacts = artifacts_dir_from_base_dir(base_dir) / run_name
    before = _listed_artifacts(artifacts / META_NAME)
    if isinstance(model, SimpleNextTokenModel | NeuralModel):
        model.round_weights(WEIGHT_DECIMALS)  # REQ: the model goes on as the one that the files hold
    log_path = outputs_dir_from_base_dir(base_dir) / run_name / TRAIN_LOG_NAME
    with staged_files() as staged:
        write_vocabulary_csv(staged.path(artifacts / VOCABULARY_NAME), vocab)
        weights = _write_model(staged, artifacts, vocab, model, row_labeler)
        for name, content in (tokenizer_files or {}).items():
            staged.path(artifacts / name).write_text(content, encoding="utf-8", newline="")
        names = [META_NAME, *(path.name for path in staged.targets())]
        if history:
            write_training_log(staged.path(log_path), history)
        write_meta_json(
            staged.path(artifacts / META_NAME),
            base_dir=base_dir,
            corpus_path=corpus_path,
            vocab_size=vocab.vocab_size(),
            model_kind=model_kind,
            learning_rate=learning_rate,
            epochs=epochs,
            details={
                "context_size": model.context_size,
                "weights": weights,
                **({"architecture": asdict(model.architecture)} if isinstance(model, NeuralModel) else {}),
                "artifacts": {name: name for name in names},
                **(_described_by_corpus(corpus_path, vocab, model) if details is None else details),
            },
        )
    # WHY: another kind of model has other files, and what it left would look like a part of this run.
    for name in before - set(names):
        (artifacts / name).unlink(missing_ok=True)
    return staged.targets()


def _write_model(
    staged: StagedFiles,
    artifacts: Path,
    vocab: VocabularyLike,
    model: SimpleNextTokenModel | TabularModel,
    row_labeler: RowLabeler,
) -> JsonObject:
    """Write the files that hold what was learned; return the metadata's ``weights``, which say how to read them."""
    if isinstance(model, SimpleNextTokenModel):
        write_model_weights_csv(staged.path(artifacts / WEIGHTS_NAME), vocab, model, row_labeler=row_labeler)
        write_token_embeddings_csv(staged.path(artifacts / EMBEDDINGS_NAME), model, row_labeler=row_labeler)
        return describe_weights(model)
    if isinstance(model, NeuralModel) and not model.fits_tables:
        named = model.network.named_parameters()
        weights = {name: StoredTensor(parameter.shape, array("f", parameter.data)) for name, parameter in named}
        write_safetensors(staged.path(artifacts / SAFETENSORS_NAME), weights)
        return {"layout": "safetensors"}
    tables = model.to_tables()
    for table in tables:
        write_model_table(staged.path(artifacts / table.name), vocab, table)
    rows = {table.name: table.num_rows for table in tables}
    rounded = {"decimals": WEIGHT_DECIMALS} if isinstance(model, NeuralModel) else {}
    return {"layout": "tables", **rounded, "rows": rows}


def _described_by_corpus(
    corpus_path: Path, vocab: VocabularyLike, model: SimpleNextTokenModel | TabularModel
) -> JsonObject:
    """Return the metadata that follows from a model and the words of its corpus."""
    tokens = read_tokens(corpus_path, WordTokenizer())
    token_ids = [token_id for token in tokens if (token_id := vocab.get_token_id(token)) is not None]
    size = model.context_size
    if len(token_ids) != len(tokens) or len(tokens) <= size:
        raise InputError(f"{corpus_path}: its words are not those the model was trained on")
    scores = score(model, token_ids, size)
    pairs = zip(zip(*(token_ids[k:] for k in range(size)), strict=False), token_ids[size:], strict=False)
    return {
        "tokenizer": {"kind": "word"},
        "start_tokens": tokens[:size],
        "seed": 0,
        "val_fraction": 0.0,
        "metrics": {"train_loss": round(scores.loss, 6), "train_accuracy": round(scores.accuracy, 6)},
        "loss_floor": round(conditional_entropy(pairs if size else (((), i) for i in token_ids)), 6),
    }


def _listed_artifacts(meta_path: Path) -> set[str]:
    """Return the plain file names that a run's metadata lists; none where there is no readable metadata."""
    try:
        listed = json.loads(meta_path.read_bytes())["artifacts"]
        return {name for name in listed if Path(name).name == name and (meta_path.parent / name).is_file()}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()


def describe_weights(model: SimpleNextTokenModel) -> JsonObject:
    """Return the metadata's ``weights`` of a table: how to read the file, and how many lines it has below its header.

    Example:
        >>> describe_weights(SimpleNextTokenModel(vocab_size=6, context_size=3))
        {'layout': 'all', 'decimals': 6, 'rows': 216}
    """
    layout = weights_layout(model)
    rows = model.vocab_size**model.context_size if layout == "all" else len(model.rows)
    if layout == "sparse":
        rows += sum(len(row.weights) for row in model.rows.values())
    return {"layout": layout, "decimals": WEIGHT_DECIMALS, "rows": rows}


def _tokens_of(vocab: VocabularyLike) -> list[str]:
    return [vocab.get_id_token(token_id) or "" for token_id in range(vocab.vocab_size())]
