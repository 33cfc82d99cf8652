"""run_folder.py - A whole run on disk: written as one, read back exactly.

BASE/artifacts/NAME/   what inference reads
BASE/outputs/NAME/     the log
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from toy_gpt_train import io_artifacts
from toy_gpt_train.artifacts import metadata
from toy_gpt_train.artifacts.metadata import Meta, write_meta
from toy_gpt_train.artifacts.model_tables import TableReader, write_model_table
from toy_gpt_train.artifacts.safetensors import StoredTensor, open_safetensors, write_safetensors
from toy_gpt_train.artifacts.train_log import read_training_log, write_training_log
from toy_gpt_train.artifacts.vocabulary import read_vocabulary, write_vocabulary
from toy_gpt_train.disk import real_file, whole_file
from toy_gpt_train.engine import ranks
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import MAX_BYTES, read_json_object, sha256_of_file
from toy_gpt_train.io_artifacts import META_NAME, TRAIN_LOG_NAME, VOCABULARY_NAME
from toy_gpt_train.models.base import TENSORS_NAME, Content, Model
from toy_gpt_train.models.registry import model_of_run
from toy_gpt_train.project import MANIFEST_NAME, declared_repo_name
from toy_gpt_train.staging import JOURNAL_NAME, ensure_whole, only_writer, staged_files
from toy_gpt_train.tokenizers import Tokenizer, tokenizer_class
from toy_gpt_train.tokenizers.bpe_files import VOCAB_NAME
from toy_gpt_train.tokenizers.tokenizer_json import TOKENIZER_NAME

# What a run may have beside its log.
CONFIG_NAME: Final = "config.toml"
PROJECT_LOG: Final = "project.log"
TRAIN_LOG: Final = "train.log"
TRACE_NAME: Final = "04_trace.safetensors"  # an index of the training text
EVIDENCE_NAMES: Final = (CONFIG_NAME, PROJECT_LOG, TRAIN_LOG)
_LEAST_BYTES_PER_NUMBER: Final = 2  # a digit and a separator
_SUFFIXES: Final = (".csv", ".json", ".safetensors", ".txt")  # of the files of runs
_ATTEMPTS: Final = 10  # to read a run while others are written
_BYTES_PER_TOKEN: Final = 64  # of the vocabulary's lines, besides the token itself
_MOST_HASHED: Final = 16 * MAX_BYTES


class SavedRun(NamedTuple):
    """What the files of a run hold."""

    meta: Meta
    tokenizer: Tokenizer  # has the vocabulary
    frequencies: list[int]  # how often the training text had each token, by id
    model: Model
    history: list[dict[str, float]]  # the log; empty if there is none
    changed_files: Sequence[str] = ()  # not as training wrote them; none if nothing says how they were
    text_index: Mapping[str, StoredTensor] = MappingProxyType({})  # of the training text, only to be written


class RunFolder(NamedTuple):
    """Where a run is: BASE/artifacts/NAME and BASE/outputs/NAME; locked_run() gives one to write to."""

    base_dir: Path
    artifacts: Path  # what inference reads
    log: Path
    checkpoints: Path  # a folder


# --- writing ------------------------------------------------------------------------------------------------


def run_folder(base_dir: Path, name: str = "") -> RunFolder:
    """Return where a run is; InputError if the name leads out of the folder."""
    if PurePath(name).is_absolute() or {"..", "artifacts"} & {*PurePath(name).parts} or "\0" in f"{base_dir}{name}":
        raise InputError(f"{name!r:.60} does not name a folder below artifacts/")
    artifacts = io_artifacts.artifacts_dir_from_base_dir(base_dir) / name
    outputs = io_artifacts.outputs_dir_from_base_dir(base_dir) / name
    return RunFolder(base_dir, artifacts, outputs / TRAIN_LOG_NAME, outputs / "checkpoints")


@contextmanager
def locked_run(base_dir: Path, name: str = "") -> Iterator[RunFolder]:
    """Have the folder of a run to write to, alone; what can stand in the way of writing is noticed here.

    FolderInUseError if another process writes to it; InputError if the name leads out of it, or its manifest cannot be
    read; OSError if it cannot be written, or a folder is in the place of a file.
    """
    folder = run_folder(base_dir, name)
    declared_repo_name(base_dir / MANIFEST_NAME)
    with only_writer(folder.artifacts, folder.log):
        for path in (folder.log, *folder.artifacts.iterdir()):
            if path.suffix in _SUFFIXES:
                real_file(path)
        yield folder


@contextmanager
def folder_of_all(base_dir: Path, name: str = "") -> Iterator[RunFolder]:
    """Have the folder of a run that several processes train: alone where this one writes, else to read checkpoints."""
    if ranks().is_first:
        with locked_run(base_dir, name) as folder:
            yield folder
    else:
        yield run_folder(base_dir, name)


def write_run(run: SavedRun, folder: RunFolder, corpus_path: Path | None = None) -> list[Path]:
    """Write a whole run inside locked_run(), or nothing: on an OSError the old run is still there.

    Returns the paths written, the metadata last. ``corpus_path`` is the file that was learned, if there was one.
    """
    artifacts = folder.artifacts
    content = run.model.content()
    with staged_files(artifacts, folder.log) as staged:
        write_vocabulary(staged.path(artifacts / VOCABULARY_NAME), run.tokenizer.tokens, run.frequencies)
        for table in content.tables:
            write_model_table(staged.path(artifacts / table.name), table, run.tokenizer.tokens)
        if content.tensors:
            write_safetensors(staged.path(artifacts / TENSORS_NAME), content.tensors)
        if run.text_index:
            write_safetensors(staged.path(artifacts / TRACE_NAME), run.text_index)
        for file, text in run.tokenizer.files().items():
            staged.path(artifacts / file).write_bytes(text.encode("utf-8"))
        names = [META_NAME, *(path.name for path in staged.targets())]
        if run.history:
            write_training_log(staged.path(folder.log), run.history)
        hashes = {path.name: sha256_of_file(staged.path(path)) for path in staged.targets()}
        fields = {"artifacts": {file: file for file in names}, "weights": _weights_record(content), "sha256": hashes}
        fields |= {**metadata.rounded_figures(run.meta), **content.about}
        meta = metadata.saved_meta(run.meta, folder.base_dir, corpus_path, **fields)
        write_meta(staged.path(artifacts / META_NAME), meta)
        # WHY: the run that was here may have had other files, which would look like a part of this run.
        staged.remove([*_listed_artifacts(artifacts), folder.log])
    return staged.targets()


def write_evidence(folder: RunFolder, evidence: Mapping[str, str]) -> None:
    """Write further files beside the log, by name, each whole or not at all; remove those of a former run.

    Call it inside locked_run(), after write_run().
    """
    for name, text in evidence.items():
        with whole_file(folder.log.with_name(name)) as file:
            file.write(text.encode("utf-8", "replace"))
    for name in {*EVIDENCE_NAMES} - evidence.keys():
        folder.log.with_name(name).unlink(missing_ok=True)


def _weights_record(content: Content) -> dict[str, Any]:
    """Return the metadata's ``weights``, which say how to read the model's files."""
    record: dict[str, Any] = {"layout": content.layout}
    if content.decimals is not None:
        record["decimals"] = content.decimals
    if content.tables:
        rows = {table.name: table.num_rows for table in content.tables}
        # In the layouts of n-gram tables the second file is a view of the first, and is not read.
        is_ngram_table = content.layout not in ("tables", "safetensors")
        record["rows"] = content.tables[0].num_rows if is_ngram_table else rows
    return record


def _listed_artifacts(folder: Path) -> set[Path]:
    """Return the files that the metadata in a folder list, if they are in this folder."""
    try:
        listed = read_json_object(folder / META_NAME)["artifacts"]
        return {folder / name for name in listed if Path(name).name == name and (folder / name).is_file()}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


# --- reading ------------------------------------------------------------------------------------------------


def find_artifacts(path: Path) -> Path:
    """Return the folder of a run's artifacts: PATH itself if it holds the metadata, or else PATH/artifacts."""
    return path if holds_run(path) else io_artifacts.artifacts_dir_from_base_dir(path)


def holds_run(folder: Path) -> bool:
    """Return whether the files of a run are in a folder, or were being written to it."""
    return any((folder / name).is_file() for name in (META_NAME, JOURNAL_NAME))


def complete_run(folder: Path) -> None:
    """Complete the writing of a run whose process was killed; see ensure_whole()."""
    ensure_whole(folder, _log_of(folder))


def read_run(folder: Path, *, strict: bool = False) -> SavedRun:
    """Read the run whose 00_meta.json is in a folder; if another one takes its place meanwhile, that one.

    InputError if a file is missing or damaged, or two disagree; where ``strict``, also if one has changed since
    training, or nothing says whether it has.

    REQ: its model gives bit for bit the probabilities of the one that was written.
    """
    for attempts_left in reversed(range(_ATTEMPTS)):
        complete_run(folder)
        version = _version(folder)
        try:
            run = _read_files(folder, strict)
        except (InputError, OSError):
            if _version(folder) == version or not attempts_left:
                raise
        else:
            if _version(folder) == version:
                return run
    raise InputError(f"{folder}: other runs keep being written here; try again")


def _version(folder: Path) -> tuple[int, ...] | None:
    """Return what changes when another run is written: its metadata leave first, and come last."""
    with suppress(OSError):
        found = (folder / META_NAME).stat()
        return found.st_ino, found.st_mtime_ns, found.st_size
    return None


def _read_files(folder: Path, strict: bool) -> SavedRun:
    _require_files(folder, [META_NAME, VOCABULARY_NAME])
    meta = metadata.read_meta(folder / META_NAME)
    tokens, frequencies = _read_vocabulary(folder, meta)
    described = meta["tokenizer"]
    try:
        tokenizer = tokenizer_class(described["kind"]).from_vocabulary(tokens, folder, described.get("special", []))
    except InputError as error:  # the messages about BPE's own files name them
        raise InputError(str(error) if str(error).startswith(str(folder)) else f"{folder}: {error}") from error
    if any(tokenizer.description().get(name) != described.get(name) for name in ("cut", "ignore_merges")):
        raise InputError(f"{folder}: {META_NAME} and the tokenizer's files say that text is cut in different ways")
    try:
        # WHY: a false size must not fill the memory before the weights are read.
        num_bytes = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
        model_class = model_of_run(meta["model_kind"]).model_class
        _check_text(meta, tokens, frequencies, model_class.min_tokens(meta["context_size"]))
        model = model_class.from_meta(meta, num_bytes // _LEAST_BYTES_PER_NUMBER)
    except InputError as error:
        raise InputError(f"{folder / META_NAME}: {error}") from error
    _read_content(folder, meta, model, tokens, frequencies)
    history = read_training_log(_log_of(folder), metadata.most_records(meta))
    saved = SavedRun(meta, tokenizer, frequencies, model, history, _changed_files(folder, meta))
    if strict and (problem := changes(saved)):
        raise InputError(f"{folder}: {problem}")
    return saved


def changes(run: SavedRun) -> str | None:
    """Return how a run is not as training wrote it; None if it is."""
    if "sha256" not in run.meta:
        return f"{META_NAME} has no sha256, so nothing says whether the files have changed since training"
    return f"changed since training: {', '.join(run.changed_files):.2000}" if run.changed_files else None


def _read_vocabulary(folder: Path, meta: Meta) -> tuple[list[str], list[int]]:
    # With BPE, tokens overlap, and may be longer than the text together.
    spelled = [path for name in (VOCAB_NAME, TOKENIZER_NAME) if (path := folder / name).is_file()]
    characters = meta["corpus"]["num_chars"] + sum(path.stat().st_size for path in spelled)
    # WHY 8: UTF-8 has up to four bytes for a character, and CSV writes a quote twice.
    most_bytes = min(_BYTES_PER_TOKEN * meta["vocab_size"] + 8 * characters, MAX_BYTES)
    return read_vocabulary(folder / VOCABULARY_NAME, meta["vocab_size"], most_bytes)


def _check_text(meta: Meta, tokens: Sequence[str], frequencies: Sequence[int], min_tokens: int) -> None:
    """Refuse sizes, frequencies and first tokens that are not those of one text."""
    num_tokens, size, start = sum(frequencies), meta["context_size"], meta["start_tokens"]
    # An imported model does not say what it has read.
    if num_tokens < min_tokens and (num_tokens or "origin" not in meta):
        raise InputError(f"context_size is {size}, but the model has learned {num_tokens} tokens")
    if not min(size, num_tokens) <= len(start) <= size and (start or "origin" not in meta):
        raise InputError(f"{len(start)} start_tokens for a context of {size}")
    known = dict(zip(tokens, frequencies, strict=True))
    for token, count in Counter(start[:num_tokens]).items():
        if count > known.get(token, 0):
            raise InputError(f"start_tokens has {token[:40]!r} more often than {VOCABULARY_NAME}")


def _changed_files(folder: Path, meta: Meta) -> list[str]:
    """Return the names of the files that have another hash than in the metadata; a missing one has not changed."""
    if (recorded := meta.get("sha256")) is None:
        return []
    names = sorted({*recorded, META_NAME, TRAIN_LOG_NAME})
    paths = {name: _log_of(folder) if name == TRAIN_LOG_NAME else folder / name for name in names}
    return [name for name, path in paths.items() if path.is_file() and _sha256(path) != recorded.get(name)]


def _sha256(path: Path) -> str | None:
    if path.stat().st_size > _MOST_HASHED:  # a file with holes may claim any size
        return None
    return metadata.own_sha256(path) if path.name == META_NAME else sha256_of_file(path)


def _log_of(folder: Path) -> Path:
    """Return the log of a run: BASE/outputs/NAME/train_log.csv for the folder BASE/artifacts/NAME."""
    parts = folder.absolute().parts
    if "artifacts" not in parts:
        return folder / TRAIN_LOG_NAME
    at = len(parts) - 1 - parts[::-1].index("artifacts")
    return Path(*parts[:at], "outputs", *parts[at + 1 :], TRAIN_LOG_NAME)


def _require_files(folder: Path, names: Sequence[str]) -> None:
    missing = [str(folder / name) for name in names if not (folder / name).is_file()]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise InputError(f"missing {', '.join(missing[:3])}{more}; to make them, run: toy-gpt train")


def _read_content(folder: Path, meta: Meta, model: Model, tokens: Sequence[str], frequencies: Sequence[int]) -> None:
    layout, rows = meta["weights"]["layout"], meta["weights"].get("rows", {})
    expected = model.expected_tables(layout, tokens)
    in_columns = any(column.by_token for columns in expected.values() for column in columns)
    # WHY the hash: a saved tokenizer may have another order; then the file must be the one that training wrote.
    known_order = meta.get("sha256", {}).get(VOCABULARY_NAME) == sha256_of_file(folder / VOCABULARY_NAME)
    has_order = in_columns or known_order or tokenizer_class(meta["tokenizer"]["kind"]).learned
    if not has_order and list(tokens) != sorted(tokens):
        # WHY: without columns named by token, the order alone says which weight belongs to which token.
        raise InputError(f"{folder / VOCABULARY_NAME}: the tokens are not in sorted order")
    if layout == "safetensors":
        _require_files(folder, [TENSORS_NAME])
        tensors, _ = open_safetensors(folder / TENSORS_NAME, model.most_tensor_bytes)
        try:
            model.load_tensors(tensors)
        except ValueError as error:
            raise InputError(f"{folder / TENSORS_NAME}: {error}") from error
    num_rows: Mapping[str, int] = rows if isinstance(rows, dict) else dict.fromkeys(expected, rows)
    if expected.keys() != num_rows.keys():
        different = ", ".join(sorted(expected.keys() ^ num_rows.keys()))
        raise InputError(f"{folder / META_NAME}: the rows of other files than the model has: {different[:200]}")
    _require_files(folder, list(expected))
    reader = TableReader(tokens, meta["context_size"], in_order=meta["weights"].get("in_order") is True)
    try:
        if expected:
            model.load_tables({name: reader.rows(folder / name, expected[name], num_rows[name]) for name in expected})
    except ValueError as error:
        # The reader's messages name the file; the model's do not.
        located = str(error).startswith(tuple(str(folder / name) for name in expected))
        raise InputError(str(error) if located else f"{reader.where or folder} {error}") from error
    for name, counted, begin in model.counted_tokens():
        before = Counter(meta["start_tokens"][:begin])
        for token, frequency, count in zip(tokens, frequencies, counted, strict=True):
            if count != frequency - before[token]:
                problem = f"is counted {count} times, which does not fit its frequency of {frequency}"
                raise InputError(f"{folder / name}: {token[:40]!r} {problem} in {VOCABULARY_NAME}")
