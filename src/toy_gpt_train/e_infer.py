"""e_infer.py - Step e: artifacts become text.

The learner's question: how does it write? One token at a time: look at the last N tokens, get a probability for
every token, choose one, append it, and look again.

Responsibilities:
- Read a run's artifacts and rebuild the model, exactly; refuse damaged ones.
- Choose tokens: greedy (always the likeliest) or sampled (temperature, top-p).

REQ: it never imports d_train. What inference needs is in the files, or the files are not complete.

Run it: uv run python src/toy_gpt_train/e_infer.py
        uv run python src/toy_gpt_train/e_infer.py --start-tokens the cat runs --num 8
"""

import json
import random
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from heapq import nsmallest
from itertools import accumulate
from math import log
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.c_model import ZERO_ROW, Context, NextTokenModel, SimpleNextTokenModel, compact_row
from toy_gpt_train.errors import InputError
from toy_gpt_train.io_artifacts import (
    META_NAME,
    REST_MARK,
    SAFETENSORS_NAME,
    SCHEMA_VERSION,
    SPARSE_HEADER,
    VOCABULARY_HEADER,
    VOCABULARY_NAME,
    WEIGHTS_NAME,
    JsonObject,
    VocabularyLike,
    context_of_label,
    parse_int,
    parse_number,
    read_csv,
    read_model_table,
    token_ids_of_label,
)
from toy_gpt_train.models.registry import level_for_kind
from toy_gpt_train.math_training import SMALLEST_PROBABILITY, argmax
from toy_gpt_train.models.network import Architecture, NeuralModel
from toy_gpt_train.models.tables import CountingModel, TabularModel
from toy_gpt_train.nn.tensor import Tensor
from toy_gpt_train.artifacts.safetensors import read_safetensors
from toy_gpt_train.tokenizers import Tokenizer, tokenizer_from_meta

# No average loss is larger: a probability counts as at least 1e-12.
MAX_LOSS: Final = -log(SMALLEST_PROBABILITY)

_LEAST_BYTES_A_WEIGHT: Final = 2  # a digit and what parts it from the next


# --- reading a run ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ArtifactVocabulary:
    """The vocabulary as 01_vocabulary.csv has it; answers the same questions as the one built from text.

    Attributes:
        token_to_id: Ids by token.
        id_to_token: Tokens by id.
        token_freq: How often each token occurred in the corpus.

    Example:
        >>> ArtifactVocabulary({"a": 0}, {0: "a"}, {"a": 3}).get_token_frequency("a")
        3
    """

    token_to_id: Mapping[str, int]
    id_to_token: Mapping[int, str]
    token_freq: Mapping[str, int]

    def vocab_size(self) -> int:
        """Return V."""
        return len(self.id_to_token)

    def get_token_id(self, token: str) -> int | None:
        """Return the id of a token, or None for an unknown one."""
        return self.token_to_id.get(token)

    def get_id_token(self, token_id: int) -> str | None:
        """Return the token of an id, or None where there is no such id."""
        return self.id_to_token.get(token_id)

    def get_token_frequency(self, token: str) -> int:
        """Return how often a token occurred; 0 for an unknown one."""
        return self.token_freq.get(token, 0)


def require_artifacts(*, meta_path: Path, vocab_path: Path, weights_path: Path, train_hint: str) -> None:
    """End with exit code 2 where a file that inference needs is missing, naming it and the way to make it.

    Args:
        meta_path: 00_meta.json.
        vocab_path: 01_vocabulary.csv.
        weights_path: The file with the model's weights.
        train_hint: The command that writes them.

    Raises:
        SystemExit: With code 2, after one line on standard error.

    Example:
        In an empty folder it prints the three names and ``run: toy-gpt train``.
    """
    missing = [str(path) for path in dict.fromkeys((meta_path, vocab_path, weights_path)) if not path.is_file()]
    if missing:
        names = " ".join(", ".join(missing).split())  # one line, whatever the folder is called
        print(f"error: missing {names}; to make them, run: {train_hint}", file=sys.stderr)
        raise SystemExit(2)


def load_meta(path: Path) -> JsonObject:
    """Read 00_meta.json and check what inference relies on.

    Args:
        path: The file.

    Returns:
        Its content.

    Raises:
        InputError: It is not JSON, of another schema_version, or a field is missing or of the wrong type.
        OSError: It cannot be read.

    Example:
        load_meta(Path("artifacts/00_meta.json"))["model_kind"] is "context-3" for the default run.
    """
    try:
        meta = json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if not isinstance(meta, dict):
        raise InputError(f"{path}: not a JSON object")
    version = meta.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise InputError(f"{path}: schema_version {version!r} is unknown; this version reads {SCHEMA_VERSION}")
    _require(meta, path, "model_kind", str)
    for name, least in (("vocab_size", 1), ("context_size", 0)):
        if _require(meta, path, name, int) < least:
            raise InputError(f"{path}: {name} is {meta[name]}, below {least}")
    if not all(isinstance(token, str) for token in _require(meta, path, "start_tokens", list)):
        raise InputError(f"{path}: start_tokens are not all text")
    _require(meta, path, "tokenizer", dict)
    for name in ("filename", "sha256"):
        _require(_require(meta, path, "corpus", dict), path, name, str)
    for owner, name in ((_require(meta, path, "metrics", dict), "train_loss"), (meta, "loss_floor")):
        loss = owner.get(name)
        if not isinstance(loss, int | float) or isinstance(loss, bool) or not 0 <= loss <= MAX_LOSS:
            raise InputError(f"{path}: {name} is missing or no loss: {str(loss)[:40]}")
    _check_weights(meta, path)
    return meta


def _check_weights(meta: JsonObject, path: Path) -> None:
    """Check that the model's kind, its context size and the layout of its files fit together."""
    level = level_for_kind(meta["model_kind"])
    if level.fixed_context and level.context_size != meta["context_size"]:
        raise InputError(f"{path}: context_size is {meta['context_size']}, but {level.kind} has {level.context_size}")
    weights = _require(meta, path, "weights", dict)
    rows: type | None = dict
    layout = weights.get("layout")
    if issubclass(level.model, SimpleNextTokenModel):
        fits, rows = layout in ("all", "observed", "sparse"), int
    elif issubclass(level.model, NeuralModel):
        fits, rows = layout in ("tables", "safetensors"), dict if layout == "tables" else None
        _require(meta, path, "architecture", dict)
    else:
        fits = layout == "tables"
    if not fits:
        raise InputError(f"{path}: weights layout {str(layout)[:40]!r} does not fit {level.kind}")
    if rows is not None:
        _require(weights, path, "rows", rows)


def _require(owner: Mapping[str, Any], path: Path, name: str, kind: type) -> Any:
    value = owner.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{path}: {name} is missing or no {kind.__name__}")
    return value


def load_vocabulary_csv(path: Path) -> ArtifactVocabulary:
    """Read 01_vocabulary.csv.

    Args:
        path: The file.

    Returns:
        The vocabulary.

    Raises:
        InputError: The file is damaged: a wrong header, a missing cell, ids that are not 0, 1, 2, …, a token twice.
        OSError: It cannot be read.

    Example:
        load_vocabulary_csv(Path("artifacts/01_vocabulary.csv")).get_token_id("cat") is 1 for the default run.
    """
    token_to_id: dict[str, int] = {}
    frequency: dict[str, int] = {}
    for line, (id_text, token, frequency_text) in read_csv(path, VOCABULARY_HEADER):
        where = f"{path}, line {line}:"
        token_id = parse_int(id_text, f"{where} token_id")
        if token_id != len(token_to_id):
            raise InputError(f"{where} token_id {token_id} where {len(token_to_id)} should stand")
        if token in token_to_id:
            raise InputError(f"{where} token {token[:40]!r} is there twice")
        token_to_id[token] = token_id
        frequency[token] = parse_int(frequency_text, f"{where} frequency")
    return ArtifactVocabulary(token_to_id, {i: token for token, i in token_to_id.items()}, frequency)


def load_model_weights_csv(
    path: Path, vocab: VocabularyLike, *, context_size: int, layout: str = "all", expected_rows: int | None = None
) -> SimpleNextTokenModel:
    """Read 02_model_weights.csv and rebuild the table.

    Args:
        path: The file.
        vocab: Names the tokens in labels and columns.
        context_size: N, how many tokens a label has.
        layout: ``all``, ``observed`` or ``sparse``, as the metadata says.
        expected_rows: How many lines there must be below the header; not checked where None.

    Returns:
        A model that gives bit for bit the probabilities of the one that was written.

    Raises:
        InputError: The file is damaged, or does not fit the vocabulary or the metadata.
        OSError: It cannot be read.

    Example:
        load_model_weights_csv(Path("artifacts/02_model_weights.csv"), vocab, context_size=3) is the default run's.
    """
    model = SimpleNextTokenModel(vocab.vocab_size(), context_size)
    read = _read_sparse_rows if layout == "sparse" else _read_dense_rows
    num_rows = read(path, vocab, model)
    if expected_rows is not None and num_rows != expected_rows:
        raise InputError(f"{path}: {num_rows} rows where the metadata says {expected_rows}")
    return model


def _read_dense_rows(path: Path, vocab: VocabularyLike, model: SimpleNextTokenModel) -> int:
    """Read one row a line; return how many lines there were."""
    tokens = [vocab.get_id_token(token_id) or "" for token_id in range(vocab.vocab_size())]
    there: set[Context] = set()
    for line, (label, *cells) in read_csv(path, ["input_token", *tokens]):
        where = f"{path}, line {line}:"
        context_ids = context_of_label(label, vocab, model.context_size, where)
        if context_ids in there:
            raise InputError(f"{where} row {label[:40]!r} is there twice")
        there.add(context_ids)
        weights = {token_id: parse_number(cell, f"{where} weight") for token_id, cell in enumerate(cells)}
        row = compact_row(weights, 0.0, model.vocab_size)
        # WHY: layout "all" also holds the contexts that training never met.
        if row != ZERO_ROW:
            model.rows[context_ids] = row
    return len(there)


def _read_sparse_rows(path: Path, vocab: VocabularyLike, model: SimpleNextTokenModel) -> int:
    """Read rows of several lines, each ended by the line of all other tokens; return how many lines there were."""
    num_lines = 0
    weights: dict[int, float] = {}
    current = None
    where = f"{path}:"
    for line, (label, output, cell) in read_csv(path, SPARSE_HEADER):
        num_lines += 1
        where = f"{path}, line {line}:"
        if current not in (None, label):
            raise InputError(f"{where} row {str(current)[:40]!r} has no line for {REST_MARK!r}, all other tokens")
        current = label
        weight = parse_number(cell, f"{where} weight")
        if output != REST_MARK:
            (token_id,) = token_ids_of_label(output, vocab, 1, where)
            if token_id in weights:
                raise InputError(f"{where} token {output[:40]!r} is there twice in its row")
            weights[token_id] = weight
            continue
        context_ids = context_of_label(label, vocab, model.context_size, where)
        if context_ids in model.rows:
            raise InputError(f"{where} row {label[:40]!r} is there twice")
        model.rows[context_ids] = compact_row(weights, weight, model.vocab_size)
        weights, current = {}, None
    if current is not None:
        raise InputError(f"{where} the file ends in the middle of row {current[:40]!r}")
    return num_lines


@dataclass(frozen=True)
class Run:
    """A trained model as its artifacts give it.

    Attributes:
        meta: 00_meta.json.
        vocab: The vocabulary.
        model: The model, ready to predict.
        tokenizer: How its text was cut into tokens.
    """

    meta: JsonObject
    vocab: ArtifactVocabulary
    model: SimpleNextTokenModel | CountingModel | NeuralModel
    tokenizer: Tokenizer


def load_run(artifacts_dir: Path, train_hint: str = "toy-gpt train") -> Run:
    """Read all artifacts of a run.

    Args:
        artifacts_dir: The folder with 00_meta.json.
        train_hint: The command to name where files are missing.

    Returns:
        The run.

    Raises:
        SystemExit: With code 2 where a file is missing.
        InputError: A file is damaged, or two disagree.

    Example:
        load_run(Path("artifacts")).model.forward(5, 1, 3) gives the default run's probabilities.
    """
    meta_path, vocab_path = artifacts_dir / META_NAME, artifacts_dir / VOCABULARY_NAME
    require_artifacts(meta_path=meta_path, vocab_path=vocab_path, weights_path=meta_path, train_hint=train_hint)
    meta = load_meta(meta_path)
    vocab = load_vocabulary_csv(vocab_path)
    if vocab.vocab_size() != meta["vocab_size"]:
        raise InputError(f"{vocab_path}: {vocab.vocab_size()} tokens where the metadata says {meta['vocab_size']}")
    model_class = level_for_kind(meta["model_kind"]).model
    model: SimpleNextTokenModel | CountingModel | NeuralModel
    if issubclass(model_class, SimpleNextTokenModel):
        weights_path = artifacts_dir / WEIGHTS_NAME
        require_artifacts(meta_path=meta_path, vocab_path=vocab_path, weights_path=weights_path, train_hint=train_hint)
        model = load_model_weights_csv(
            weights_path,
            vocab,
            context_size=meta["context_size"],
            layout=meta["weights"]["layout"],
            expected_rows=meta["weights"]["rows"],
        )
    elif issubclass(model_class, NeuralModel):
        model = _empty_network(artifacts_dir, meta, model_class)
        if meta["weights"]["layout"] == "safetensors":
            _load_safetensors(artifacts_dir, model, train_hint)
        else:
            _load_tables(artifacts_dir, meta, vocab, model, train_hint)
    else:
        model = model_class(vocab.vocab_size(), meta["context_size"])
        _load_tables(artifacts_dir, meta, vocab, model, train_hint)
    return Run(meta, vocab, model, tokenizer_from_meta(meta["tokenizer"], artifacts_dir))


def _empty_network(artifacts_dir: Path, meta: JsonObject, model_class: type[NeuralModel]) -> NeuralModel:
    """Build a network of the size that the metadata gives, with whatever weights it starts with."""
    try:
        size = meta["vocab_size"], meta["context_size"], Architecture.from_mapping(meta["architecture"])
        # WHY: a size that is not true must not fill the memory before the weights are read.
        num_bytes = sum(path.stat().st_size for path in artifacts_dir.iterdir() if path.is_file())
        if len(meta["start_tokens"]) != meta["context_size"]:
            raise InputError(f"{len(meta['start_tokens'])} start_tokens for a context of {meta['context_size']}")
        num_weights = model_class.count_parameters(*size)
        if num_weights * _LEAST_BYTES_A_WEIGHT > num_bytes:
            raise InputError(f"a network of {num_weights} weights is described, but the files are too small to hold it")
        return model_class(*size)
    except InputError as error:
        raise InputError(f"{artifacts_dir / META_NAME}: {error}") from error


def _load_safetensors(artifacts_dir: Path, model: NeuralModel, train_hint: str) -> None:
    """Give a network the weights of a safetensors file."""
    path = artifacts_dir / SAFETENSORS_NAME
    require_artifacts(meta_path=path, vocab_path=path, weights_path=path, train_hint=train_hint)
    stored, _ = read_safetensors(path)
    try:
        model.load_weights({name: Tensor(data, shape) for name, (shape, data) in stored.items()})
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _load_tables(
    artifacts_dir: Path, meta: JsonObject, vocab: ArtifactVocabulary, model: TabularModel, train_hint: str
) -> None:
    """Make a model the one that described itself with tables."""
    expected = model.expect_tables([vocab.id_to_token[i] for i in range(vocab.vocab_size())])
    if expected.keys() != meta["weights"]["rows"].keys():
        different = ", ".join(sorted(expected.keys() ^ meta["weights"]["rows"].keys()))
        raise InputError(f"{artifacts_dir / META_NAME}: the rows of other files than the model has: {different[:200]}")
    tables: dict[str, Iterator[tuple[Any, ...]]] = {}
    for name, columns in expected.items():
        path = artifacts_dir / name
        require_artifacts(meta_path=path, vocab_path=path, weights_path=path, train_hint=train_hint)
        rows = read_model_table(path, vocab, columns, meta["context_size"])
        tables[name] = _counted(rows, meta["weights"]["rows"].get(name), path)
    try:
        model.from_tables(tables)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{artifacts_dir}: {error}") from error


def _counted(rows: Iterable[tuple[Any, ...]], expected: object, path: Path) -> Iterator[tuple[Any, ...]]:
    """Pass rows on, and refuse a file that ends before, or goes on after, as many as the metadata says."""
    count = 0
    for row in rows:
        count += 1
        yield row
    if count != expected:
        raise InputError(f"{path}: {count} rows where the metadata says {expected}")


# --- choosing tokens ----------------------------------------------------------------------------------------


def top_k(probs: Sequence[float], k: int) -> list[tuple[int, float]]:
    """Return the k likeliest tokens with their probabilities, likeliest first, ties by id.

    Args:
        probs: A probability for each token.
        k: How many; all of them where there are fewer.

    Returns:
        (token id, probability) pairs.

    Example:
        >>> top_k([0.2, 0.5, 0.3], 2)
        [(1, 0.5), (2, 0.3)]
    """
    return nsmallest(k, enumerate(probs), key=lambda item: (-item[1], item[0]))


@dataclass(frozen=True)
class Sampling:
    """How to choose the next token.

    Attributes:
        temperature: 0 is greedy, always the likeliest token; 1 draws by the model's own probabilities; below 1 the
            likely ones gain, above 1 they lose.
        top_p: Draw only among the likeliest tokens that together have this probability (nucleus sampling).
        seed: The same seed gives the same text.

    Source:
        Holtzman et al. (2020), "The curious case of neural text degeneration", for top-p.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 100:
            raise InputError(f"the temperature must be from 0 to 100, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top-p must be above 0 and at most 1, got {self.top_p}")


GREEDY = Sampling()


def choose_token(probs: Sequence[float], sampling: Sampling, generator: random.Random) -> int:
    """Choose the next token from its distribution.

    Args:
        probs: A probability for each token.
        sampling: Greedy, or how to draw.
        generator: The source of randomness.

    Returns:
        A token id.

    Example:
        >>> choose_token([0.1, 0.9], GREEDY, random.Random(0))
        1
    """
    if sampling.temperature == 0:
        return argmax(probs)
    # p to the power 1/T is softmax(log p / T): the temperature divides the logits. Dividing by the largest
    # probability first keeps the powers from underflowing all at once.
    best = max(probs)
    ranked = top_k([(probability / best) ** (1 / sampling.temperature) for probability in probs], len(probs))
    limit = sampling.top_p * sum(weight for _, weight in ranked)
    sums = list(accumulate(weight for _, weight in ranked))
    nucleus = next((i for i, total in enumerate(sums) if total >= limit), len(sums) - 1) + 1
    return generator.choices([token_id for token_id, _ in ranked[:nucleus]], cum_weights=sums[:nucleus])[0]


def start_token_ids(vocab: VocabularyLike, start_tokens: Sequence[str], least_context: int) -> list[int]:
    """Return the ids of the tokens that generation starts from.

    Args:
        vocab: The model's vocabulary.
        start_tokens: At least ``least_context`` known tokens.
        least_context: How many tokens the model needs.

    Returns:
        Their ids.

    Raises:
        InputError: A token is unknown (the nearest known ones are named), or there are too few.

    Example:
        start_token_ids(vocab, ["the", "cta"], 2) names "cta" and asks: did you mean cat?
    """
    unknown = [token for token in start_tokens if vocab.get_token_id(token) is None]
    if unknown:
        known = [vocab.get_id_token(token_id) or "" for token_id in range(vocab.vocab_size())]
        raise InputError("; ".join(_unknown_message(token, known) for token in dict.fromkeys(unknown)))
    if len(start_tokens) < least_context:
        raise InputError(
            f"the model needs {least_context} token{'s' if least_context > 1 else ''} to start from, "
            f"got {len(start_tokens)}"
        )
    return [token_id for token in start_tokens if (token_id := vocab.get_token_id(token)) is not None]


def _unknown_message(token: str, known: Sequence[str]) -> str:
    near = get_close_matches(token, known, n=3, cutoff=0.5)
    near += [word for word in known if word.lower() == token.lower() and word not in near]
    hint = f"did you mean {' or '.join(near)}?" if near else "no known token is like it"
    return f"unknown token {token!r}: {hint}"


def next_token_probs(model: NextTokenModel, token_ids: Sequence[int]) -> list[float]:
    """Return the distribution of the token after a text: forward() of its last N tokens.

    Example:
        >>> next_token_probs(SimpleNextTokenModel(vocab_size=2, context_size=1), [0, 1, 1])
        [0.5, 0.5]
    """
    return model.forward(*token_ids[max(len(token_ids) - model.context_size, 0) :])


def generate_tokens(
    model: NextTokenModel,
    vocab: VocabularyLike,
    start_tokens: Sequence[str],
    num_tokens: int,
    sampling: Sampling = GREEDY,
) -> list[str]:
    """Continue a text: predict, choose, append, and look again.

    Args:
        model: Any rung.
        vocab: Its vocabulary.
        start_tokens: The beginning, at least as many tokens as the context holds.
        num_tokens: How many to add.
        sampling: How to choose; greedy by default.

    Returns:
        The start tokens and ``num_tokens`` more.

    Raises:
        InputError: A start token is unknown, or there are too few of them.

    Example:
        An untrained model over the tokens a, b continues ["b"] greedily with a, a, a, …
    """
    generator = random.Random(sampling.seed)
    token_ids = start_token_ids(vocab, start_tokens, model.least_context)
    generated = list(start_tokens)
    for _ in range(num_tokens):
        next_id = choose_token(next_token_probs(model, token_ids), sampling, generator)
        token_ids.append(next_id)
        generated.append(vocab.get_id_token(next_id) or "")
    return generated


def generate_tokens_context2(
    model: NextTokenModel, vocab: VocabularyLike, start_tokens: Sequence[str], num_tokens: int
) -> list[str]:
    """Return generate_tokens for a model that looks back two tokens.

    Raises:
        ValueError: The model has another context size.
    """
    return _generate_for(2, model, vocab, start_tokens, num_tokens)


def generate_tokens_context3(
    model: NextTokenModel, vocab: VocabularyLike, start_tokens: Sequence[str], num_tokens: int
) -> list[str]:
    """Return generate_tokens for a model that looks back three tokens.

    Raises:
        ValueError: The model has another context size.
    """
    return _generate_for(3, model, vocab, start_tokens, num_tokens)


def _generate_for(
    context_size: int, model: NextTokenModel, vocab: VocabularyLike, start_tokens: Sequence[str], num_tokens: int
) -> list[str]:
    if model.context_size != context_size:
        raise ValueError(f"the model looks back {model.context_size} tokens, not {context_size}")
    return generate_tokens(model, vocab, start_tokens, num_tokens)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``toy-gpt infer`` with the same arguments; returns the exit code."""
    from toy_gpt_train import cli  # WHY here: the command line imports this module

    return cli.main(["infer", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    raise SystemExit(main())
