"""test_series.py - Users of the older toy-gpt series: its documented functions as documented, and its runs opened.

The runs are written here by plain csv and json, as the series' documents describe them, and not by this project.
"""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from itertools import product
from math import log
from pathlib import Path
from typing import Any

import pytest

import toy_gpt_train as tg
from toy_gpt_train.a_tokenizer import SimpleTokenizer
from toy_gpt_train.artifacts.older_series import is_older
from toy_gpt_train.b_vocab import Vocabulary
from toy_gpt_train.c_model import SimpleNextTokenModel
from toy_gpt_train.cli.check import problems
from toy_gpt_train.d_train import (
    Context2Pair,
    Context3Pair,
    make_training_pairs,
    row_labeler_context2,
    row_labeler_context3,
    token_row_index_context2,
    token_row_index_context3,
    train_model,
)
from toy_gpt_train.e_infer import (
    ArtifactVocabulary,
    generate_tokens_context2,
    generate_tokens_context3,
    load_model_weights_csv,
    load_vocabulary_csv,
    require_artifacts,
    top_k,
)
from toy_gpt_train.errors import InputError, InputWarning
from toy_gpt_train.io_artifacts import (
    RowLabeler,
    VocabularyLike,
    artifact_paths_from_base_dir,
    artifacts_dir_from_base_dir,
    find_single_corpus_file,
    outputs_dir_from_base_dir,
    repo_name_from_base_dir,
    write_artifacts,
    write_meta_json,
    write_model_weights_csv,
    write_token_embeddings_csv,
    write_training_log,
    write_vocabulary_csv,
)
from toy_gpt_train.math_training import argmax, cross_entropy_loss, softmax
from toy_gpt_train.models.registry import find_model
from toy_gpt_train.view.server import runs_index

META, VOCABULARY, WEIGHTS, EMBEDDINGS = (
    *("00_meta.json", "01_vocabulary.csv", "02_model_weights.csv"),
    "03_token_embeddings.csv",
)
TEXT = "the cat runs . the dog sits . the cat sits ."


# --- the documented functions, called as documented ---------------------------------------------------------------


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A repository of the series: one text in corpus/."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "text.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


def test_training_math_as_documented() -> None:
    assert argmax([0.1, 0.7, 0.2]) == 1
    with pytest.raises(ValueError, match="empty"):
        argmax([])
    assert cross_entropy_loss([0.25, 0.75], 1) == -log(0.75)
    assert cross_entropy_loss(probs=[0.0, 1.0], target_id=0) == -log(1e-12)
    for target_id in (-1, 2):
        with pytest.raises(ValueError, match="target_id"):
            cross_entropy_loss([0.5, 0.5], target_id)


def test_context_2_as_documented(base: Path) -> None:
    corpus_path: Path = find_single_corpus_file(base / "corpus")
    tokens = SimpleTokenizer(corpus_path).get_tokens()
    vocab: VocabularyLike = Vocabulary(tokens)
    size = vocab.vocab_size()
    model = SimpleNextTokenModel(size, context_size=2)  # the context is said once for the model, and once for the pairs
    assert model.forward(previous_id=0, current_id=1) == model.forward(0, 1) == [1 / 6] * 6
    assert make_training_pairs([3, 1, 2, 4], 2) == [((3, 1), 2), ((1, 2), 4)]
    ids = [i for token in tokens if (i := vocab.get_token_id(token)) is not None]
    pairs: list[Context2Pair] = make_training_pairs(ids, 2)
    history: list[dict[str, float]] = train_model(model, pairs, 0.5, 10)
    history += train_model(model=model, pairs=pairs, learning_rate=0.5, epochs=2)
    assert [set(record) for record in history] == [{"epoch", "avg_loss", "accuracy"}] * 12
    assert history[-1]["avg_loss"] < history[0]["avg_loss"]

    row_labeler: RowLabeler = row_labeler_context2(vocab, size)
    # The log first, as the series does it.
    write_training_log(outputs_dir_from_base_dir(base) / "train_log.csv", history)
    write_artifacts(
        base_dir=base,
        corpus_path=corpus_path,
        vocab=vocab,
        model=model,
        model_kind="context2",
        learning_rate=0.5,
        epochs=12,
        row_labeler=row_labeler,
    )
    paths = artifact_paths_from_base_dir(base)
    artifacts = artifacts_dir_from_base_dir(base)
    assert paths == {name: artifacts / name for name in (META, VOCABULARY, WEIGHTS, EMBEDDINGS)}
    hint = "uv run d_train"
    require_artifacts(meta_path=paths[META], vocab_path=paths[VOCABULARY], weights_path=paths[WEIGHTS], train_hint=hint)
    read: ArtifactVocabulary = load_vocabulary_csv(paths[VOCABULARY])
    assert is_dataclass(read)
    assert (read.vocab_size(), read.get_token_id("cat"), read.get_id_token(1), read.get_token_frequency("the")) == (
        *(6, 1, "cat"),
        3,
    )
    weights: list[list[float]] = load_model_weights_csv(paths[WEIGHTS], size, expected_rows=size * size)
    row = token_row_index_context2((5, 1), size)
    assert weights[row] == model.row((5, 1))
    with pytest.raises(ValueError, match="36 rows, not 216"):
        load_model_weights_csv(paths[WEIGHTS], vocab_size=size, expected_rows=size**3)
    likely = top_k(softmax(weights[row]), 2)
    assert [read.get_id_token(i) for i, _ in likely] == ["sits", "runs"]  # the one learned last is ahead
    assert generate_tokens_context2(model, read, ("the", "dog"), 3) == ["the", "dog", "sits", ".", "the"]
    assert generate_tokens_context2(model=model, vocab=read, start_tokens=("the", "cow"), num_tokens=3) == [
        "the",
        "cow",
    ]
    # Everything else reads it too, and says the kind that was given.
    run = tg.load(base, strict=True)
    assert (run.name, run.model.context_size, run.meta["model_kind"]) == ("context2", 2, "context2")
    assert run.model.next_probs([5, 1]) == pytest.approx(model.forward(5, 1), abs=1e-15)
    assert run.history[0]["avg_loss"] == pytest.approx(history[0]["avg_loss"], abs=1e-6)


def test_context_2_rows_as_documented() -> None:
    contexts = [(0, 0), (0, 1), (0, 9), (1, 0), (1, 1), (2, 5)]
    assert [token_row_index_context2(ids, 10) for ids in contexts] == [0, 1, 9, 10, 11, 25]
    label = row_labeler_context2(Vocabulary([f"tok_{i}" for i in range(10)]), 10)
    assert (label(0), label(25)) == ("tok_0|tok_0", "tok_2|tok_5")


def test_context_3_is_the_default(base: Path) -> None:
    corpus_path = base / "corpus" / "text.txt"
    tokens = SimpleTokenizer(corpus_path=corpus_path).get_tokens()
    vocab = Vocabulary(tokens)
    size = vocab.vocab_size()
    model = SimpleNextTokenModel(vocab_size=size)
    assert make_training_pairs([3, 1, 2, 4, 5]) == [((3, 1, 2), 4), ((1, 2, 4), 5)]
    pairs: list[Context3Pair] = make_training_pairs(vocab.encode(tokens))
    history = train_model(model, pairs, 0.5, 20)
    label = row_labeler_context3(vocab, size)
    assert label(token_row_index_context3((5, 1, 3), size)) == "the|cat|runs"
    options: dict[str, Any] = {"base_dir": base, "corpus_path": corpus_path, "learning_rate": 0.5, "epochs": 20}
    write_artifacts(**options, vocab=vocab, model=model, model_kind="context3", row_labeler=label)
    assert len(load_model_weights_csv(base / "artifacts" / WEIGHTS, size, expected_rows=size * size * size)) == 216
    assert model.forward(5, 1, 3)[0] > 0.8
    seeds = {"seed_0": "the", "seed_1": "dog", "seed_2": "sits"}
    assert generate_tokens_context3(model, vocab, **seeds, num_tokens=2) == ["the", "dog", "sits", ".", "the"]
    assert generate_tokens_context3(model, vocab, "a", "dog", "sits", 2) == ["a", "dog", "sits"]
    assert (tg.load(base).name, len(history)) == ("context3", 20)


@pytest.mark.parametrize(("kind", "size"), [("unigram", 1), ("bigram", 2), ("unigram", 0), ("context2", 2)])
def test_single_writers_make_a_run_that_is_read(base: Path, kind: str, size: int) -> None:
    corpus_path = find_single_corpus_file(base / "corpus")
    vocab = Vocabulary(SimpleTokenizer(corpus_path).get_tokens())
    model = SimpleNextTokenModel(vocab.vocab_size(), context_size=size)
    model.weights[(5, 1)[2 - size :] if size else ()] = [0.0, 1.5, 0.0, -0.25, 0.0, 0.0]
    label = _labeler(vocab, size)
    folder = base / "new" / "artifacts"
    write_vocabulary_csv(folder / VOCABULARY, vocab)
    write_model_weights_csv(folder / WEIGHTS, vocab, model, row_labeler=label)
    write_token_embeddings_csv(folder / EMBEDDINGS, model, row_labeler=label)
    write_training_log(base / "new" / "outputs" / "train_log.csv", [{"epoch": 1, "avg_loss": 1.5, "accuracy": 0.25}])
    write_meta_json(
        folder / META,
        base_dir=base,
        corpus_path=corpus_path,
        vocab_size=vocab.vocab_size(),
        model_kind=kind,
        learning_rate=0.1,
        epochs=50,
    )
    assert repo_name_from_base_dir(base) == json.loads((folder / META).read_text("utf-8"))["repo_name"] == base.name
    with pytest.warns(InputWarning, match=f"{kind}, 6 tokens, looks back {size} token"):
        run = tg.load(base / "new")
    assert run.model.logits([5, 1]) == [0.0, 1.5, 0.0, -0.25, 0.0, 0.0]
    assert [record["avg_loss"] for record in run.history] == [1.5]


def _labeler(vocab: Vocabulary, size: int) -> RowLabeler:
    contexts = list(product(range(vocab.vocab_size()), repeat=size))
    return lambda row: "|".join(vocab.get_id_token(i) or "" for i in contexts[row])


@pytest.mark.parametrize(("kind", "size"), [("unigram", 1), ("bigram", 2)])
def test_names_of_the_series_with_its_contexts(base: Path, kind: str, size: int) -> None:
    corpus_path = base / "corpus" / "text.txt"
    tokens = SimpleTokenizer(corpus_path).get_tokens()
    vocab = Vocabulary(tokens)
    model = SimpleNextTokenModel(vocab.vocab_size(), context_size=size)
    train_model(model, make_training_pairs(vocab.encode(tokens), size), 0.5, 5)
    options: dict[str, Any] = {"base_dir": base, "corpus_path": corpus_path, "learning_rate": 0.5, "epochs": 5}
    write_artifacts(**options, vocab=vocab, model=model, model_kind=kind, row_labeler=_labeler(vocab, size))
    run = tg.load(base, strict=True)
    assert (run.name, run.model.context_size, run.meta["start_tokens"]) == (kind, size, tokens[:size])


def test_old_names_on_the_command_line(toy_gpt: Callable[..., Any], base: Path, repository: Path) -> None:
    corpus = base / "corpus" / "text.txt"
    assert toy_gpt("train", "--model", "context2", "--corpus", corpus, "--base-dir", base / "a").code == 0
    assert toy_gpt("train", "--model", "context-2", "--corpus", corpus, "--base-dir", base / "b").code == 0
    first, second = (json.loads((base / name / "artifacts" / META).read_text("utf-8")) for name in "ab")
    assert (first["model_kind"], second["model_kind"]) == ("context2", "context-2")
    for name in (VOCABULARY, WEIGHTS, EMBEDDINGS):
        assert (base / "a" / "artifacts" / name).read_bytes() == (base / "b" / "artifacts" / name).read_bytes()
    assert toy_gpt("infer", "--base-dir", base / "a", "--strict").out.startswith("model      context2, vocabulary 6\n")
    assert [run["name"] for run in runs_index(base / "a")["runs"]] == ["300-context2 on text (default run)"]
    assert (find_model("context7").name, find_model("context7").code, find_model("context7").context) == (
        *("context7", 400),
        7,
    )
    assert toy_gpt("train", "--model", "context", "--corpus", corpus, "--base-dir", base / "c").refused
    assert toy_gpt("train", "--model", "context2", "--context", 3, "--corpus", corpus, "--base-dir", base / "c").refused


def test_check_knows_old_names(base: Path) -> None:
    run = tg.train("context2", base / "corpus" / "text.txt")
    run.save(base)
    manifest = [
        '[repo]\nname = "x"',
        '[default_run]\nmodel = "context2"\ncorpus = "corpus/text.txt"',
        "artifacts = []\nevidence = []",
    ]
    manifest += ['[[ladder]]\ncorpus = "corpus/text.txt"\nmodels = []']
    manifest += ['[[corpus]]\nid = "0"\npath = "corpus/text.txt"', 'demonstrates = "x"']
    manifest += [f'sha256 = "{run.meta["corpus"]["sha256"]}"']
    (base / "SE_MANIFEST.toml").write_text("\n".join(manifest) + "\n", encoding="utf-8")
    assert dict(problems(base)) == {"corpus corpus/text.txt": None, "default run": None}


# --- runs of the series -------------------------------------------------------------------------------------------

TOKENS = ("cat", "dog", "sat", "the")
# Its names, and how many tokens each looks back; a bigram of one token was never written, but decides by its rows.
OLDER = [("unigram", 1), ("unigram", 0), ("bigram", 2), ("bigram", 1), ("context2", 2), ("context3", 3)]


def weight(row: int, column: int) -> str:
    """A weight as the series writes it, of eight decimals; every third row was never trained."""
    return "0.00000000" if row % 3 == 0 else f"{(row * 7 + column * 3) % 11 / 3 - 1:.8f}"


def write_older(
    base: Path, kind: str, context: int, tokens: Sequence[str] = TOKENS, label: Callable[..., str] = "|".join
) -> Path:
    """Write a table as the series does; returns its folder of artifacts. Lines end as csv.writer ends them."""
    contexts = list(product(tokens, repeat=context))
    write_files(
        base,
        kind,
        tokens,
        {
            WEIGHTS: [
                ["input_token", *tokens],
                *([label(c), *(weight(i, j) for j in range(len(tokens)))] for i, c in enumerate(contexts)),
            ],
            EMBEDDINGS: [["row", "label", "x", "y"], *([i, label(c), 0, 0] for i, c in enumerate(contexts))],
        },
    )
    return base / "artifacts"


def write_files(base: Path, kind: str, tokens: Sequence[str], files: Mapping[str, list[list[Any]]]) -> None:
    """Write the files that all runs of the series have, and ``files``."""
    names = (META, VOCABULARY, WEIGHTS, EMBEDDINGS)
    meta = {
        "repo_name": "train-x",
        "model_kind": kind,
        "vocab_size": len(tokens),
        "training": {"learning_rate": 0.1, "epochs": 2, "epoch_definition": "One pass."},
        "corpus": {
            "path": "corpus\\000_cat_dog.txt",
            "filename": "000_cat_dog.txt",
            "sha256": "b0" * 32,
            "num_lines": 4,
            "num_chars": 92,
            "description": "Text.",
        },
        "artifacts": {name: name for name in names},
        "concepts": {"token": "A word."},
        "notes": ["Inspectable."],
    }
    (base / "artifacts").mkdir(parents=True, exist_ok=True)
    (base / "outputs").mkdir(exist_ok=True)
    (base / "artifacts" / META).write_text(json.dumps(meta, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    vocabulary = [["token_id", "token", "frequency"], *([i, token, 3 + i] for i, token in enumerate(tokens))]
    record = [["epoch", "avg_loss", "accuracy"], ["1.0", "1.25", "0.5"], ["2.0", "1.125", "0.75"]]
    for name, rows in {VOCABULARY: vocabulary, **files}.items():
        write_csv(base / "artifacts" / name, rows)
    write_csv(base / "outputs" / "train_log.csv", record)


def write_csv(path: Path, rows: list[list[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def open_older(path: Path) -> tg.Run:
    with pytest.warns(InputWarning, match="an older run of the toy-gpt series"):
        return tg.load(path)


@pytest.mark.parametrize(("kind", "context"), OLDER)
def test_older_tables_are_read(tmp_path: Path, kind: str, context: int) -> None:
    write_older(tmp_path, kind, context)
    run = open_older(tmp_path)
    assert (run.name, run.model.context_size, run.tokenizer.kind) == (kind, context, "word")
    for row, ids in enumerate(product(range(4), repeat=context)):
        assert run.model.logits(ids) == [float(weight(row, column)) for column in range(4)], ids
    assert run.frequencies == [3, 4, 5, 6]
    assert [record["avg_loss"] for record in run.history] == [1.25, 1.125]
    assert repr(run) == f"<Run {kind}, word, V=4, an older run>"
    assert "sha256" not in run.meta
    assert run.next("cat dog sat", 1)[0].probability > 0.2
    scored = run.score(text="the cat sat the dog")
    assert (scored.num_tokens, scored.unknown_tokens) == (5, 0)


def test_what_an_older_run_says(toy_gpt: Callable[..., Any], tmp_path: Path) -> None:
    write_older(tmp_path, "bigram", 2)
    text = tmp_path / "text.txt"
    text.write_text("the cat sat the dog", encoding="utf-8")
    note = (
        "toy-gpt: note: an older run of the toy-gpt series: bigram, 4 tokens, looks back 2 tokens; it records no start "
        "tokens, no final losses, no hashes of its files\n"
    )
    inferred = toy_gpt("infer", "--base-dir", tmp_path, "--prompt", "the cat", "--num", 2)
    assert (inferred.code, inferred.err) == (0, note)
    assert inferred.out.startswith("model      bigram, vocabulary 4\ncontext    the cat\n")
    chatted = toy_gpt("chat", "--base-dir", tmp_path, stdin="the cat\n")
    assert (chatted.code, chatted.err) == (0, note)
    evaluated = toy_gpt("evaluate", "--base-dir", tmp_path, "--text", text)
    assert (evaluated.code, evaluated.err) == (0, note)
    assert "floor" not in evaluated.out
    figures = json.loads(toy_gpt("evaluate", "--base-dir", tmp_path, "--text", text, "--json").out)
    assert (figures["train_loss"], figures["loss_floor"], figures["tokens"]) == (None, None, 5)
    without = toy_gpt("infer", "--base-dir", tmp_path)
    assert (without.code, without.out) == (2, "")
    assert without.err == note + "toy-gpt: error: the run records no start tokens: give a prompt\n"
    strict = toy_gpt("infer", "--base-dir", tmp_path, "--prompt", "the cat", "--strict")
    assert strict.refused
    assert "no sha256" in strict.err


def test_start_tokens_where_they_are_recorded(toy_gpt: Callable[..., Any], tmp_path: Path) -> None:
    path = write_older(tmp_path, "context2", 2) / META
    meta = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**meta, "start_tokens": ["the", "cat"]}), encoding="utf-8")
    outcome = toy_gpt("infer", "--base-dir", tmp_path, "--num", 1)
    assert "\ncontext    the cat\n" in outcome.out
    assert "no start tokens" not in outcome.err


@pytest.mark.parametrize("label", ["".join, lambda c: "x", "|".join, lambda c: "id_0|id_1"])
def test_position_decides_where_labels_do_not(tmp_path: Path, label: Callable[..., str]) -> None:
    tokens = ("a", "a|b", "b", "|")  # a|a|b|b is three contexts at once
    write_older(tmp_path, "context2", 2, tokens, label)
    model = open_older(tmp_path).model
    for row, ids in enumerate(product(range(4), repeat=2)):
        assert model.logits(ids) == [float(weight(row, column)) for column in range(4)]


def test_a_vocabulary_of_one_token(tmp_path: Path) -> None:
    write_older(tmp_path, "bigram", 2, ["a"])
    assert open_older(tmp_path).model.next_probs([0, 0]) == [1.0]


def test_an_older_run_saved_again_is_one_of_today(toy_gpt: Callable[..., Any], tmp_path: Path) -> None:
    write_older(tmp_path / "old", "bigram", 2)
    open_older(tmp_path / "old").save(tmp_path / "new")
    meta = json.loads((tmp_path / "new" / "artifacts" / META).read_text("utf-8"))
    assert (meta["schema_version"], meta["context_size"]) == (1, 2)
    assert meta["weights"] == {"layout": "all", "decimals": 6, "rows": 16}
    again = tg.load(tmp_path / "new", strict=True)  # no warning: its files have hashes
    assert again.model.logits([0, 1]) == [round(float(weight(1, column)), 6) for column in range(4)]
    assert toy_gpt("infer", "--base-dir", tmp_path / "new", "--prompt", "the cat").err == ""
    again.save(tmp_path / "third")
    for path in (tmp_path / "new" / "artifacts").iterdir():
        if path.suffix == ".csv":
            assert path.read_bytes() == (tmp_path / "third" / "artifacts" / path.name).read_bytes()


def test_the_explorer_lists_an_older_run(tmp_path: Path) -> None:
    write_older(tmp_path, "context2", 2)
    index = runs_index(tmp_path)
    assert [(run["name"], run["log"]) for run in index["runs"]] == [
        ("300-context2 on 000_cat_dog (default run)", "outputs/train_log.csv")
    ]
    assert [note.partition(":")[0] for note in index["notes"]] == ["300-context2 on 000_cat_dog (default run)"]


EMBEDDED = {"cat": [0.5, -1.0, 0.25], "dog": [1.5, 0.0, -0.5], "sat": [-0.75, 2.0, 1.0], "the": [0.0, 0.125, -2.0]}
MATRIX = [[0.5, -0.25, 1.0, 0.0], [0.0, 1.0, -1.0, 0.5], [2.0, 0.0, 0.25, -0.5]]
MATRIX += [[-row[0], row[1], row[3], row[2]] for row in MATRIX]


def write_older_embeddings(base: Path) -> Path:
    """Write a level 500 of the series: two vectors of three values side by side, and a matrix of six rows."""
    header = ["token_id", "token", "dim_0", "dim_1", "dim_2"]
    vectors = [[i, token, *(f"{v:.6f}" for v in vector)] for i, (token, vector) in enumerate(EMBEDDED.items())]
    rows = [[f"input_dim_{i}", *(f"{w:.4f}" for w in row)] for i, row in enumerate(MATRIX)]
    files = {WEIGHTS: [["input_token", *EMBEDDED], *rows], EMBEDDINGS: [header, *vectors]}
    write_files(base, "embeddings", list(EMBEDDED), files)
    return base / "artifacts"


def older_logits(first: str, second: str) -> list[float]:
    """What the series' own program computes: both vectors, the older first, times the matrix, without a bias."""
    joined = EMBEDDED[first] + EMBEDDED[second]
    return [sum(x * row[column] for x, row in zip(joined, MATRIX, strict=True)) for column in range(4)]


def test_older_embeddings_are_read(tmp_path: Path) -> None:
    write_older_embeddings(tmp_path)
    run = open_older(tmp_path)
    assert (run.name, run.model.context_size, run.model.num_parameters()) == ("embeddings", 2, 12 + 24)
    assert "no a bias" not in run.meta["origin"]
    for first, second in product(range(4), repeat=2):
        expected = older_logits(TOKENS[first], TOKENS[second])
        assert run.model.logits([first, second]) == pytest.approx(expected, abs=1e-12)
    run.save(tmp_path / "new")
    again = tg.load(tmp_path / "new", strict=True)
    assert again.model.logits([1, 2]) == run.model.logits([1, 2])


# --- damaged ones are refused -------------------------------------------------------------------------------------

DAMAGE: dict[str, tuple[str, str, str, str]] = {
    "a row is missing": (WEIGHTS, "the|sat,", "", "15 rows"),
    "a row too many": (WEIGHTS, "the|the,", "the|the,0,0,0,0\r\nthe|the,", "17 rows"),
    "rows exchanged": (WEIGHTS, "cat|dog,", "dog|cat,", "line 3"),
    "a weight is no number": (WEIGHTS, "0.00000000", "x", "finite number"),
    "a weight is not finite": (WEIGHTS, "0.00000000", "nan", "finite number"),
    "a cell is missing": (WEIGHTS, ",0.00000000", "", "cells"),
    "another header": (WEIGHTS, "input_token,cat", "input_token,cow", "header"),
    "cut off": (WEIGHTS, "\r\nthe|the", "the|the", "15 rows"),
    "ids out of order": (VOCABULARY, "1,dog", "2,dog", "token_id"),
    "fewer tokens": (VOCABULARY, "3,the,6\r\n", "", "3 tokens"),
    "a token twice": (VOCABULARY, "1,dog", "1,cat", "twice"),
    "vocab_size is text": (META, '"vocab_size": 4', '"vocab_size": "4"', "vocab_size"),
    "vocab_size is true": (META, '"vocab_size": 4', '"vocab_size": true', META),
    "vocab_size is another": (META, '"vocab_size": 4', '"vocab_size": 5', "5 to the power of 2"),
    "vocab_size is huge": (META, '"vocab_size": 4', f'"vocab_size": {10**300}', "vocab_size"),
    "model_kind is a number": (META, '"context2"', "2", "model_kind"),
    "model_kind is unknown": (META, '"context2"', '"tetragram"', "tetragram"),
    "model_kind is another": (META, '"context2"', '"context3"', "4 to the power of 3"),
    "model_kind is huge": (META, '"context2"', '"context9999"', "9999"),
    "no table": (META, '"context2"', '"attention"', "cannot be read"),
    "a model of today": (META, '"context2"', '"kneser-ney"', "cannot be read"),
    "embeddings without vectors": (META, '"context2"', '"embeddings"', "learned vectors"),
    "no corpus": (META, '"corpus"', '"notes"', META),
    "start_tokens are a text": (META, '"notes"', '"start_tokens": "the", "notes"', "start_tokens"),
    "an unknown start token": (META, '"notes"', '"start_tokens": ["the", "cow"], "notes"', "cow"),
    "a name of today": (META, '"notes"', '"weights": {}, "notes"', "schema_version"),
}


def write_damaged(base: Path, damage: str) -> Path:
    """Write an older run with one thing wrong; returns its folder of artifacts."""
    name, old, new, _ = DAMAGE[damage]
    path = write_older(base, "context2", 2) / name
    text = path.read_bytes().decode("utf-8")
    assert old in text
    if damage == "a row is missing":
        text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith(old))
    else:
        text = text.replace(old, new, 1)
    path.write_bytes(text.encode("utf-8"))
    return path.parent


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_older_run_is_refused(toy_gpt: Callable[..., Any], tmp_path: Path, damage: str) -> None:
    write_damaged(tmp_path, damage)
    named = DAMAGE[damage][-1]
    outcome = toy_gpt("infer", "--base-dir", tmp_path, "--prompt", "the cat")
    assert outcome.refused, outcome
    assert named in outcome.err


def test_missing_files_are_named(toy_gpt: Callable[..., Any], tmp_path: Path) -> None:
    write_older_embeddings(tmp_path)
    for name in (EMBEDDINGS, WEIGHTS, VOCABULARY):
        (tmp_path / "artifacts" / name).unlink()
        outcome = toy_gpt("infer", "--base-dir", tmp_path, "--prompt", "the cat")
        assert outcome.refused
        assert name in outcome.err


@pytest.mark.parametrize(
    ("name", "old", "new", "named"),
    [
        (EMBEDDINGS, b"dim_1", b"dim_2", "learned vectors"),
        (EMBEDDINGS, b"1,dog", b"1,cow", EMBEDDINGS),
        (EMBEDDINGS, b"-1.000000", b"1e999", "finite"),
        (EMBEDDINGS, b"token_id,token,dim_0,dim_1,dim_2", b"token_id,token", "learned vectors"),
        (WEIGHTS, b"input_dim_0,", b"x,0,0,0,0\r\ninput_dim_0,", "7 rows"),
        (WEIGHTS, b",-0.2500", b",", "finite"),
    ],
)
def test_damaged_older_embeddings_are_refused(
    toy_gpt: Callable[..., Any], tmp_path: Path, name: str, old: bytes, new: bytes, named: str
) -> None:
    path = write_older_embeddings(tmp_path) / name
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    outcome = toy_gpt("infer", "--base-dir", tmp_path, "--prompt", "the cat")
    assert outcome.refused, outcome
    assert named in outcome.err


def test_todays_metadata_without_a_version_are_not_older_ones(base: Path) -> None:
    tg.train("bigram", base / "corpus" / "text.txt").save(base)
    meta = json.loads((base / "artifacts" / META).read_text("utf-8"))
    del meta["schema_version"]
    assert not is_older(meta)
    (base / "artifacts" / META).write_text(json.dumps(meta), encoding="utf-8")
    with pytest.raises(InputError, match="schema_version 'None' is unknown"):
        tg.load(base)


# --- all rows, for the series' own loader -------------------------------------------------------------------------


@pytest.mark.slow
def test_all_rows_are_written_for_its_loader(toy_gpt: Callable[..., Any], tmp_path: Path, repository: Path) -> None:
    options = ("--model", "context-3", "--corpus", repository / "corpus" / "001_animals.txt", "--epochs", 5)
    assert toy_gpt("train", *options, "--all-rows", "--base-dir", tmp_path / "all").code == 0
    assert toy_gpt("train", *options, "--base-dir", tmp_path / "few").code == 0
    meta = json.loads((tmp_path / "all" / "artifacts" / META).read_text("utf-8"))
    assert meta["weights"] == {"layout": "all", "decimals": 6, "rows": 64_000}
    weights = load_model_weights_csv(tmp_path / "all" / "artifacts" / WEIGHTS, 40, expected_rows=64_000)
    every, few = tg.load(tmp_path / "all", strict=True), tg.load(tmp_path / "few")
    assert few.meta["weights"] == {"layout": "observed", "decimals": 6, "rows": 233}
    assert every.model.num_parameters() == few.model.num_parameters() == 233 * 40
    assert every.meta["metrics"] == few.meta["metrics"]
    text = few.tokenizer.token_ids((repository / "corpus" / "001_animals.txt").read_text("utf-8").split())
    for ids in zip(text, text[1:], text[2:], strict=False):
        assert weights[token_row_index_context3(ids, 40)] == few.model.logits(ids)
    assert sum(any(row) for row in weights) == 233


def test_too_many_rows_are_refused_before_training(
    toy_gpt: Callable[..., Any], tmp_path: Path, repository: Path
) -> None:
    glossary = repository / "corpus" / "010_llm_glossary.txt"
    for model, size in (("context-3", "1.31e+06 MB"), ("context-999", "MB")):
        outcome = toy_gpt("train", "--model", model, "--corpus", glossary, "--all-rows", "--base-dir", tmp_path / "run")
        assert outcome.refused
        assert size in outcome.err
    assert not (tmp_path / "run").exists()
    for model in ("kneser-ney", "embeddings"):
        outcome = toy_gpt("train", "--model", model, "--all-rows", "--corpus", glossary, "--base-dir", tmp_path / "run")
        assert outcome.refused
        assert f"--all-rows does not apply to {model}" in outcome.err
    with pytest.raises(InputError, match="all_rows must be true or false, got 1"):
        tg.train("bigram", text="a b a", all_rows=1)


def test_estimate_of_the_file(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tg.train("context-2", repository / "corpus" / "001_animals.txt", all_rows=True)
    run.save(tmp_path)
    size = (tmp_path / "artifacts" / WEIGHTS).stat().st_size
    limit = "toy_gpt_train.models.ngram_table.MOST_BYTES_OF_ALL_ROWS"
    monkeypatch.setattr(limit, size * 1.2)
    assert tg.train("context-2", repository / "corpus" / "001_animals.txt", all_rows=True).model.context_size == 2
    monkeypatch.setattr(limit, size * 0.9)
    with pytest.raises(InputError, match="40 to the power of 2 rows"):
        tg.train("context-2", repository / "corpus" / "001_animals.txt", all_rows=True)
