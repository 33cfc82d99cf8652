"""e_infer.py - Step e: artifacts become text.

The learner's question: how does it write? One token at a time: look at the last N tokens, get a probability for
every token, take the most likely one, append it, and look again.

Responsibilities:
- Read a run's artifacts and rebuild the model exactly; refuse damaged files.
- Generate text greedily, and show the most likely next tokens.

REQ: it never imports d_train. What inference needs is in the files, or the files are not complete.

Run it: uv run python src/toy_gpt_train/e_infer.py [--start-tokens the cat runs] [--num 8]
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from math import isfinite
from pathlib import Path
from typing import Any

from toy_gpt_train import io_artifacts as io
from toy_gpt_train.a_tokenizer import StepParser, read_text
from toy_gpt_train.b_vocab import Vocabulary
from toy_gpt_train.c_model import SimpleNextTokenModel
from toy_gpt_train.math_training import argmax, top_k
from toy_gpt_train.prompts import prompt_to_tokens


@dataclass
class ArtifactVocabulary(Vocabulary):
    """The vocabulary as 01_vocabulary.csv has it: each token's frequency, in the order of the ids."""

    frequency: Mapping[str, int]

    def __post_init__(self) -> None:
        self._frequency = self.frequency
        self._tokens = list(self.frequency)
        self._ids = {token: token_id for token_id, token in enumerate(self._tokens)}


def token_ids_of(tokens: Sequence[str], vocab: io.VocabularyLike) -> list[int]:
    """Return the ids of tokens; raise ValueError for an unknown one."""
    token_ids = [vocab.get_token_id(token) for token in tokens]
    if None in token_ids:
        raise ValueError(f"unknown token {tokens[token_ids.index(None)][:40]!r}: the vocabulary does not have it")
    return [token_id for token_id in token_ids if token_id is not None]


def require_artifacts(*, meta_path: Path, vocab_path: Path, weights_path: Path, train_hint: str) -> None:
    """Raise FileNotFoundError if a file that inference needs is missing, and say how to make it."""
    missing = [str(path) for path in (meta_path, vocab_path, weights_path) if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"missing {', '.join(missing)}; to make them, run: {train_hint}")


@contextmanager
def _csv_rows(path: Path, header: Sequence[str] | None = None) -> Iterator[Any]:
    """Give the rows of a CSV file below its header; a ValueError in the block then names the file and the line."""
    text = read_text(path)
    csv.field_size_limit(2**31 - 1)  # WHY: a token may be longer than the default limit of 128 KB
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        if next(reader, []) != header and header:
            raise ValueError(f"the header is not {','.join(header)[:60]}")
        yield reader
        if not text.endswith("\n"):
            raise ValueError("the file is cut off")
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from None


def load_vocabulary_csv(path: Path) -> ArtifactVocabulary:
    """Read 01_vocabulary.csv; raise ValueError if it is damaged."""
    frequency: dict[str, int] = {}
    with _csv_rows(path, io.VOCABULARY_HEADER) as rows:
        for token_id, token, count in rows:
            if int(token_id) != len(frequency) or token in frequency:
                raise ValueError(f"expected token_id {len(frequency)} and a new token, found {token_id} and {token!r}")
            frequency[token] = int(count)
    return ArtifactVocabulary(frequency)


def _weights(cells: Sequence[str], vocab_size: int) -> list[float]:
    weights = [float(cell) for cell in cells]
    if len(weights) != vocab_size or not all(map(isfinite, weights)):
        raise ValueError(f"a row has {vocab_size} finite weights")
    return weights


def load_model_weights_csv(path: Path, vocab_size: int, expected_rows: int | None = None) -> list[list[float]]:
    """Read a dense 02_model_weights.csv as a matrix, V weights in each row; raise ValueError if it is damaged."""
    with _csv_rows(path) as rows:
        matrix = [_weights(cells, vocab_size) for _, *cells in rows]
        if expected_rows not in (None, len(matrix)):
            raise ValueError(f"the file has {len(matrix)} rows, not {expected_rows}")
    return matrix


def _dense(rows: Iterable[Any], tokens: Sequence[str]) -> Iterator[list[str]]:
    """Yield the rows of a sparse file as a dense one has them: the line for * gives all other tokens their weight."""
    names = dict.fromkeys(map(io.escape_token, tokens))
    own: list[tuple[str, str, str]] = []
    for label, name, cell in rows:
        if name != io.REST_MARK:
            own.append((label, name, cell))
            continue
        weights = {name: weight for other, name, weight in own if other == label}
        if len(weights) != len(own) or not weights.keys() <= names.keys():
            raise ValueError("a token of this row is unknown or occurs twice, or the row before has no line for *")
        yield [label, *(weights.get(name, cell) for name in names)]
        own = []


def load_run(base_dir: Path) -> tuple[io.JsonObject, ArtifactVocabulary, SimpleNextTokenModel]:
    """Read the metadata, the vocabulary and the model of a table of words; raise ValueError for a damaged file."""
    meta_path, vocab_path, weights_path, _ = io.artifact_paths_from_base_dir(base_dir).values()
    require_artifacts(meta_path=meta_path, vocab_path=vocab_path, weights_path=weights_path, train_hint="d_train.py")
    vocab = load_vocabulary_csv(vocab_path)
    try:
        meta: io.JsonObject = json.loads(read_text(meta_path))
        layout, num_lines = meta["weights"]["layout"], meta["weights"]["rows"]
        model = SimpleNextTokenModel(vocab.vocab_size(), int(meta["context_size"]))
        meta["start_tokens"] = " ".join(meta["start_tokens"]).split()  # a TypeError unless they are words
        if meta["tokenizer"] != {"kind": "word"} or layout not in ("all", "observed", "sparse"):
            raise ValueError(f"{meta['model_kind']} needs toy-gpt infer")
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ValueError(f"{meta_path}: not the metadata of a table of words: {error}") from None
    tokens, sparse = list(vocab.frequency), layout == "sparse"
    with _csv_rows(weights_path, io.SPARSE_HEADER if sparse else ["input_token", *tokens]) as rows:
        for label, *cells in _dense(rows, tokens) if sparse else rows:
            context_ids = tuple(token_ids_of(io.split_label(label), vocab)) if model.context_size else ()
            model.check_context(context_ids)
            if context_ids in model.weights:
                raise ValueError(f"row {label[:40]!r} occurs twice")
            model.weights[context_ids] = _weights(cells, model.vocab_size)
        if rows.line_num - 1 != num_lines:
            raise ValueError(f"the file has {rows.line_num - 1} rows, not {num_lines}")
    return meta, vocab, model


def generate_tokens(
    model: SimpleNextTokenModel, vocab: io.VocabularyLike, start_tokens: Sequence[str], num_tokens: int
) -> list[str]:
    """Continue a text; raise ValueError if a start token is unknown, or there are too few for a context."""
    token_ids = token_ids_of(start_tokens, vocab)
    if len(token_ids) < model.context_size:
        raise ValueError(f"the model needs {model.context_size} tokens to start from, got {len(token_ids)}")
    for _ in range(num_tokens):
        context_ids = token_ids[len(token_ids) - model.context_size :]
        token_ids.append(argmax(model.forward(*context_ids)))
    return [vocab.get_id_token(token_id) or "" for token_id in token_ids]


def generate_tokens_context2(
    model: SimpleNextTokenModel, vocab: io.VocabularyLike, start_tokens: Sequence[str], num_tokens: int
) -> list[str]:
    """Return generate_tokens of two start tokens; an unknown start token gives back the start tokens alone."""
    known = all(vocab.get_token_id(token) is not None for token in start_tokens)
    return generate_tokens(model, vocab, start_tokens, num_tokens) if known else list(start_tokens)


def generate_tokens_context3(
    model: SimpleNextTokenModel, vocab: io.VocabularyLike, seed_0: str, seed_1: str, seed_2: str, num_tokens: int
) -> list[str]:
    """Return generate_tokens of three start tokens; an unknown start token gives back the start tokens alone."""
    return generate_tokens_context2(model, vocab, (seed_0, seed_1, seed_2), num_tokens)


def infer(base_dir: Path, start_tokens: Sequence[str], num: int, topk: int) -> None:
    """Print what a run's model predicts after the start tokens, and the text it writes."""
    meta, vocab, model = load_run(base_dir)
    start = prompt_to_tokens(" ".join(start_tokens)) or meta["start_tokens"]
    generated = generate_tokens(model, vocab, start, num)
    context = start[len(start) - model.context_size :]
    probs = model.forward(*token_ids_of(context, vocab))
    print(f"model      {meta['model_kind']}, vocabulary {vocab.vocab_size()}")
    print(f"context    {' '.join(context) or '(none)'}")
    bars = [f"{vocab.get_id_token(i):14} {'#' * round(24 * p):.<24} {p:.4f}" for i, p in top_k(probs, topk)]
    print("next       " + "\n           ".join(bars))
    print(f"generated  {' '.join(generated)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Read a run and write text; return the exit code."""
    parser = StepParser(__doc__)
    parser.add_argument("--start-tokens", nargs="*", default=[], help="the words to continue (the first of the corpus)")
    parser.add_argument("--num", "--num-tokens", type=int, default=10, help="how many tokens to add (%(default)s)")
    parser.add_argument("--topk", type=int, default=5, help="how many next tokens to show (%(default)s)")
    parser.add_argument("--base-dir", type=Path, default=io.default_base_dir(), help="the folder that has artifacts/")
    return parser.run(infer, argv)


if __name__ == "__main__":
    raise SystemExit(main())
