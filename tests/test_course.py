"""test_course.py - The course: the lettered files on their own, with numbers worked out by hand and committed bytes."""

import ast
import csv
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from toy_gpt_train import a_tokenizer, b_vocab, c_model, d_train, e_infer, io_artifacts
from toy_gpt_train.a_tokenizer import DEFAULT_CORPUS, ROOT, SimpleTokenizer, read_text
from toy_gpt_train.b_vocab import Vocabulary
from toy_gpt_train.c_model import SimpleNextTokenModel, evaluate, token_row_index
from toy_gpt_train.d_train import make_training_pairs, row_labeler, train_model
from toy_gpt_train.e_infer import generate_tokens, load_model_weights_csv, load_run, load_vocabulary_csv
from toy_gpt_train.io_artifacts import (
    context_label,
    format_number,
    split_label,
    weights_layout,
    write_artifacts,
    write_meta_json,
    write_model_weights_csv,
    write_token_embeddings_csv,
    write_training_log,
    write_vocabulary_csv,
)
from toy_gpt_train.math_training import conditional_entropy, softmax
from toy_gpt_train.prompts import normalize_prompt_text, prompt_to_tokens, select_context_tokens

PACKAGE = Path(a_tokenizer.__file__).parent
LETTERED = ["a_tokenizer", "b_vocab", "c_model", "d_train", "e_infer", "f_gpt"]
COURSE = [*LETTERED, "math_training", "io_artifacts", "prompts"]
ARTIFACTS = ["00_meta.json", "01_vocabulary.csv", "02_model_weights.csv", "03_token_embeddings.csv"]
COMMITTED = {
    (0, "000_cat_dog"): "100-unigram",
    (1, "000_cat_dog"): "200-bigram",
    (2, "000_cat_dog"): "300-context-2",
    (3, "000_cat_dog"): "400-context-3",
    (0, "001_animals"): "100-unigram",
    (1, "001_animals"): "200-bigram",
    (2, "001_animals"): "300-context-2",
    (3, "001_animals"): "400-context-3",
}

needs_processes = pytest.mark.skipif(sys.platform == "emscripten", reason="no processes in WebAssembly")
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
words = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=4)
texts = st.lists(words | st.sampled_from(["a", "b", "|", "*", "\\", '"', ","]), min_size=1, max_size=25)


def train(base: Path, text: str | Path, context: int, **options: float) -> Path:
    """Train on a text, below ``base``; returns ``base``."""
    corpus = text
    if isinstance(text, str):
        corpus = base / "texts" / "tiny.txt"
        corpus.parent.mkdir(parents=True, exist_ok=True)
        corpus.write_bytes(text.encode())
    numbers = {"learning_rate": 0.1, "epochs": 1, **options}
    d_train.train_run(corpus=corpus, context=context, base_dir=base, **numbers)
    return base


def artifact(base: Path, name: str) -> bytes:
    return (base / "artifacts" / name).read_bytes()


# --- what the course is -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COURSE)
def test_course_imports_itself_and_the_standard_library(name):
    imported = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            whole = node.module == "toy_gpt_train"
            imported |= {f"toy_gpt_train.{alias.name}" for alias in node.names} if whole else {node.module}
    own = {module for module in imported if module.startswith("toy_gpt_train")}
    assert own <= {f"toy_gpt_train.{module}" for module in COURSE}
    assert {module.partition(".")[0] for module in imported - own} <= sys.stdlib_module_names


def test_course_is_short():
    lines = {name: len((PACKAGE / f"{name}.py").read_text("utf-8").splitlines()) for name in COURSE}
    assert {name: lines[name] for name in LETTERED if lines[name] > 200} == {}
    assert sum(lines.values()) < 1400


@needs_processes
def test_inference_loads_no_training():
    code = "import sys, toy_gpt_train.e_infer; print([m for m in sys.modules if m.startswith('toy_gpt_train.')])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {module.removeprefix("toy_gpt_train.") for module in ast.literal_eval(out)}
    assert loaded == {"a_tokenizer", "b_vocab", "c_model", "e_infer", "io_artifacts", "math_training", "prompts"}


@needs_processes
def test_course_runs_alone_from_an_installed_copy(tmp_path):
    package = tmp_path / "site" / "toy_gpt_train"
    shutil.copytree(ROOT / "corpus", package / "resources" / "corpus")
    (package / "__init__.py").touch()
    for name in COURSE:
        shutil.copy(PACKAGE / f"{name}.py", package)
    base = tmp_path / "here"
    base.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PYTHONUTF8": "1"}

    def step(name: str, *options: str) -> str:
        command = [sys.executable, "-m", f"toy_gpt_train.{name}", *options]
        return subprocess.run(command, cwd=base, env=environment, capture_output=True, text=True, check=True).stdout

    assert "32" in step("a_tokenizer")
    step("d_train")
    assert [artifact(base, name) for name in ARTIFACTS[1:]] == [artifact(ROOT, name) for name in ARTIFACTS[1:]]
    meta, committed = (json.loads(artifact(folder, "00_meta.json")) for folder in (base, ROOT))
    # Another name, and so another hash of the metadata.
    assert meta["sha256"].pop("00_meta.json") != committed["sha256"].pop("00_meta.json")
    assert meta == {**committed, "repo_name": "here"}
    assert step("e_infer").splitlines()[-1] == "generated  the cat runs . the cat sits . the dog runs . the"
    assert "new words:" in step("f_gpt", "--steps", "1")


# --- a: tokens ----------------------------------------------------------------------------------------------


def test_text_is_read_exactly(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes(b"\xef\xbb\xbf\xef\xbb\xbfcaf\xc3\xa9\r\nx\r")
    assert read_text(path) == "\ufeffcafé\r\nx\r"
    assert SimpleTokenizer(path).get_tokens() == ["\ufeffcafé", "x"]


def test_wrong_byte_is_named(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes(b"abc\xff")
    with pytest.raises(ValueError, match=r"t\.txt: not UTF-8 text: byte 0xff at offset 3"):
        read_text(path)


def test_text_without_a_token(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes(b" \n\t")
    with pytest.raises(ValueError, match="empty"):
        SimpleTokenizer(path)


def test_default_corpus():
    tokens = SimpleTokenizer().get_tokens()
    assert (DEFAULT_CORPUS.name, len(tokens), tokens[:4]) == ("000_cat_dog.txt", 32, ["the", "cat", "runs", "."])
    tokens.clear()
    assert len(SimpleTokenizer(DEFAULT_CORPUS).get_tokens()) == 32


# --- b: ids -------------------------------------------------------------------------------------------------


def test_vocabulary_by_hand():
    vocab = Vocabulary(["the", "cat", "the", "."])
    assert [vocab.get_id_token(i) for i in range(-1, 4)] == [None, ".", "cat", "the", None]
    assert [vocab.get_token_id(token) for token in ("the", ".", "dog")] == [2, 0, None]
    assert [vocab.get_token_frequency(token) for token in ("the", ".", "dog")] == [2, 1, 0]
    assert vocab.encode(["cat", "the"]) == [1, 2]
    with pytest.raises(KeyError, match="dog"):
        vocab.encode(["dog"])
    assert vocab.vocab_size() == 3  # asking adds nothing


@quick
@given(st.lists(words))
def test_ids_are_positions_in_sorted_order(tokens):
    vocab = Vocabulary(tokens)
    by_id = [vocab.get_id_token(i) for i in range(vocab.vocab_size())]
    assert by_id == sorted(set(tokens))
    assert [by_id[i] for i in vocab.encode(tokens)] == tokens
    assert {token: vocab.get_token_frequency(token) for token in by_id} == Counter(tokens)


# --- c: probabilities ---------------------------------------------------------------------------------------


def test_row_index_reads_digits():
    assert [token_row_index(ids, 10) for ids in [(), (7,), (2, 5), (1, 2, 5)]] == [0, 7, 25, 125]


@pytest.mark.parametrize(("vocab_size", "context_size"), [(1, 3), (2, 4), (5, 0), (3, 2)])
def test_row_indexes_number_all_contexts_in_order(vocab_size, context_size):
    contexts = product(range(vocab_size), repeat=context_size)
    assert [token_row_index(ids, vocab_size) for ids in contexts] == list(range(vocab_size**context_size))


@quick
@given(st.lists(words, min_size=1, max_size=6), st.integers(0, 4), st.data())
def test_row_index_and_label_are_inverse(tokens, context_size, data):
    vocab = Vocabulary(tokens)
    ids = [data.draw(st.integers(0, vocab.vocab_size() - 1)) for _ in range(context_size)]
    label = row_labeler(vocab, context_size)(token_row_index(ids, vocab.vocab_size()))
    assert label == context_label([vocab.get_id_token(i) for i in ids])


def test_no_such_row():
    for index in (4, -1):
        with pytest.raises(ValueError, match="no row"):
            row_labeler(Vocabulary(["a", "b"]), 2)(index)


def test_forward_by_hand():
    model = SimpleNextTokenModel(vocab_size=3, context_size=2)
    model.weights[2, 1] = [math.log(1), math.log(2), math.log(5)]
    assert model.forward(2, 1) == pytest.approx([0.125, 0.25, 0.625], abs=1e-15)
    assert model.forward(previous_id=2, current_id=1) == model.forward(2, current_id=1) == model.forward(2, 1)
    assert model.forward(1, 2) == [1 / 3] * 3
    assert list(model.weights) == [(2, 1)]  # looking at a row makes none


def test_model_looks_back_three_tokens_by_default():
    assert SimpleNextTokenModel(vocab_size=4).forward(0, 1, 2) == [0.25] * 4


@pytest.mark.parametrize("context", [(), (0,), (0, 1, 1), (0, 2), (-1, 0)])
def test_forward_refuses_what_is_no_context(context):
    with pytest.raises(ValueError, match=r"a context has 2|token ids are 0 to 1"):
        SimpleNextTokenModel(vocab_size=2, context_size=2).forward(*context)


@pytest.mark.parametrize(("vocab_size", "context_size"), [(0, 1), (-1, 0), (2, -1)])
def test_impossible_sizes(vocab_size, context_size):
    with pytest.raises(ValueError, match="at least"):
        SimpleNextTokenModel(vocab_size, context_size)


def test_round_weights_by_hand():
    model = SimpleNextTokenModel(vocab_size=2, context_size=1)
    model.weights = {(0,): [0.1234567, -0.00000049], (1,): [-1e-7, 1e-7]}
    model.round_weights(6)
    assert model.weights == {(0,): [0.123457, 0.0]}
    assert math.copysign(1, model.weights[0,][1]) == 1  # no negative zero


def test_evaluate_by_hand():
    model = SimpleNextTokenModel(vocab_size=2, context_size=1)
    model.weights[0,] = [0.0, math.log(3)]  # 1/4, 3/4
    loss, accuracy = evaluate(model, [((0,), 1), ((0,), 0), ((1,), 0), ((1,), 1)])
    assert loss == pytest.approx((math.log(4 / 3) + math.log(4) + 2 * math.log(2)) / 4, abs=1e-15)
    assert accuracy == 0.5


# --- d: learning --------------------------------------------------------------------------------------------


def test_training_pairs_by_hand():
    assert make_training_pairs([3, 1, 2, 4], 2) == [((3, 1), 2), ((1, 2), 4)]
    assert make_training_pairs([3, 1, 2, 4]) == [((3, 1, 2), 4)]
    assert make_training_pairs([3, 1], 0) == [((), 3), ((), 1)]
    assert make_training_pairs([3, 1], 2) == make_training_pairs([], 0) == []
    with pytest.raises(ValueError, match="at least 0"):
        make_training_pairs([1, 2], -1)


def test_two_steps_by_hand():
    model = SimpleNextTokenModel(vocab_size=3, context_size=1)
    history = train_model(model, [((1,), 0), ((1,), 2)], learning_rate=0.5, epochs=1)
    # Step 1, target 0: all p are 1/3; argmax is 0, right. Each weight loses 0.5/3, the target gains 0.5.
    # Step 2, target 2: exp of 1/3, -1/6, -1/6; times exp(1/6) that is exp(1/2), 1, 1. argmax is 0, wrong.
    total = math.exp(1 / 2) + 1 + 1
    weights = [1 / 3 - 0.5 * math.exp(1 / 2) / total, -1 / 6 - 0.5 / total, -1 / 6 - 0.5 / total + 0.5]
    loss = (math.log(3) + math.log(total)) / 2
    assert history == [{"epoch": 1, "avg_loss": pytest.approx(loss, abs=1e-12), "accuracy": 0.5}]
    assert history[0]["avg_loss"] == pytest.approx(1.1964945290428766, abs=1e-12)
    assert model.weights == {(1,): pytest.approx(weights, abs=1e-12)}
    assert weights == pytest.approx([0.10740195239453032, -0.3037009761972651, 0.1962990238027349], abs=1e-12)


def test_second_epoch_continues():
    model = SimpleNextTokenModel(vocab_size=2, context_size=0)
    first, second = train_model(model, [((), 1)], learning_rate=1.0, epochs=2)
    p = 1 / (1 + math.exp(-1))
    assert (first["avg_loss"], first["accuracy"]) == (pytest.approx(math.log(2), abs=1e-12), 0.0)
    assert (second["avg_loss"], second["accuracy"]) == (pytest.approx(math.log(1 + math.exp(-1)), abs=1e-12), 1.0)
    assert model.weights[()] == pytest.approx([-0.5 - (1 - p), 0.5 + (1 - p)], abs=1e-12)
    again = SimpleNextTokenModel(vocab_size=2, context_size=0)
    train_model(again, [((), 1)], learning_rate=1.0, epochs=1)
    train_model(again, [((), 1)], learning_rate=1.0, epochs=1)
    assert again.weights == model.weights


def test_loss_is_clamped():
    # Weights +15, -15 after the first step; then p(1) = exp(-30), below 1e-12.
    model = SimpleNextTokenModel(vocab_size=2, context_size=0)
    (record,) = train_model(model, [((), 0), ((), 1)], learning_rate=30.0, epochs=1)
    assert record["avg_loss"] == pytest.approx((math.log(2) + 12 * math.log(10)) / 2, abs=1e-12)


@quick
@given(st.lists(st.floats(-4, 4), min_size=2, max_size=6), st.data())
def test_step_is_the_gradient_of_the_loss(row, data):
    target = data.draw(st.integers(0, len(row) - 1))
    model = SimpleNextTokenModel(len(row), context_size=1)
    model.weights[0,] = list(row)
    train_model(model, [((0,), target)], learning_rate=1.0, epochs=1)
    for j in range(len(row)):
        up, down = ([w + h * (i == j) for i, w in enumerate(row)] for h in (1e-5, -1e-5))
        slope = (math.log(softmax(down)[target]) - math.log(softmax(up)[target])) / 2e-5
        assert row[j] - model.weights[0,][j] == pytest.approx(slope, abs=1e-8)


@quick
@given(st.lists(st.integers(0, 3), min_size=2, max_size=30), st.integers(0, 1), st.floats(0.01, 5), st.integers(1, 4))
def test_no_table_gets_below_the_conditional_entropy(ids, context_size, learning_rate, epochs):
    pairs = make_training_pairs(ids, context_size)
    model = SimpleNextTokenModel(4, context_size)
    train_model(model, pairs, learning_rate, epochs)
    assert evaluate(model, pairs)[0] >= conditional_entropy(pairs) - 1e-9


def test_long_training_comes_close_to_the_conditional_entropy():
    pairs = make_training_pairs([0, 1, 0, 2, 0, 1, 2, 1, 0, 1], 1)
    model = SimpleNextTokenModel(3, 1)
    train_model(model, pairs, learning_rate=0.02, epochs=3000)
    assert evaluate(model, pairs)[0] == pytest.approx(conditional_entropy(pairs), abs=0.01)


@pytest.mark.parametrize(
    ("pairs", "learning_rate", "epochs"),
    [
        ([], 0.1, 1),
        ([((0,), 1)], 0.1, 1),
        ([((0, 2), 1)], 0.1, 1),
        ([((0, 1), 1), ((0, 1), 2)], 0.1, 1),
        ([((0, 1), -1)], 0.1, 1),
        ([((0, 1), 1)], 0.0, 1),
        ([((0, 1), 1)], math.nan, 1),
        ([((0, 1), 1)], math.inf, 1),
        ([((0, 1), 1)], 1000.1, 1),
        ([((0, 1), 1)], 0.1, 0),
    ],
)
def test_training_that_makes_no_sense_changes_nothing(pairs, learning_rate, epochs):
    model = SimpleNextTokenModel(vocab_size=2, context_size=2)
    with pytest.raises(ValueError):
        train_model(model, pairs, learning_rate, epochs)
    assert model.weights == {}


# --- the files ----------------------------------------------------------------------------------------------


def test_unigram_files_by_hand(tmp_path):
    # Learning rate 0.1, row [0, 0]. Target a: [.05, -.05]. Target b: p(a) = 1 / (1 + exp(-.1)) = .524979, so
    # [-.002498, .002498]. Target a: p(a) = 1 / (1 + exp(.004996)) = .498751, so [.047627, -.047627].
    train(tmp_path, "a b a\n", 0)
    assert artifact(tmp_path, "01_vocabulary.csv") == b"token_id,token,frequency\n0,a,2\n1,b,1\n"
    assert artifact(tmp_path, "02_model_weights.csv") == b"input_token,a,b\n(no context),0.047627,-0.047627\n"
    assert artifact(tmp_path, "03_token_embeddings.csv") == b"row,label,x,y\n0,(no context),0.047627,-0.047627\n"
    # Losses before each update: log 2, -log .475021, -log .498751; H = (2 log 3/2 + log 3) / 3.
    log = (tmp_path / "outputs/train_log.csv").read_text("utf-8")
    assert log == "epoch,avg_loss,accuracy,loss_floor,above_floor\n1,0.711064,0.333333,0.636514,0.07455\n"
    meta = json.loads(artifact(tmp_path, "00_meta.json"))
    d = 2 * 0.047627
    loss = (2 * math.log1p(math.exp(-d)) + math.log1p(math.exp(d))) / 3
    assert meta["metrics"] == {"train_loss": round(loss, 6), "train_accuracy": 0.666667}
    assert meta["loss_floor"] == 0.636514


def test_bigram_files_by_hand(tmp_path):
    # Pairs a->b, b->a, a->c. Row a: first [-1/30, 1/15, -1/30]; then exp gives [.967216, 1.068939, .967216], sum
    # 3.003371, so minus .1 * [.322043, .355913, .322043] and plus .1 at c. Row b: [1/15, -1/30, -1/30]. Row c: none.
    train(tmp_path, "a b\na c", 1)
    assert artifact(tmp_path, "02_model_weights.csv") == (
        b"input_token,a,b,c\na,-0.065538,0.031075,0.034462\nb,0.066667,-0.033333,-0.033333\nc,0,0,0\n"
    )
    assert artifact(tmp_path, "03_token_embeddings.csv") == (
        b"row,label,x,y\n0,a,-0.065538,0.031075\n1,b,0.066667,-0.033333\n2,c,0,0\n"
    )


def test_observed_and_sparse_layouts_by_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(io_artifacts, "ALL_ROWS_LIMIT", 0.5)
    train(tmp_path, "a b a c", 1)
    observed = b"input_token,a,b,c\na,-0.065538,0.031075,0.034462\nb,0.066667,-0.033333,-0.033333\n"
    assert artifact(tmp_path, "02_model_weights.csv") == observed
    assert json.loads(artifact(tmp_path, "00_meta.json"))["weights"] == {"decimals": 6, "layout": "observed", "rows": 2}
    monkeypatch.setattr(io_artifacts, "DENSE_CELLS_LIMIT", 0)
    train(tmp_path, "a b a c", 1)
    assert artifact(tmp_path, "02_model_weights.csv") == (
        b"input_token,output_token,weight\na,b,0.031075\na,c,0.034462\na,*,-0.065538\nb,a,0.066667\nb,*,-0.033333\n"
    )
    assert json.loads(artifact(tmp_path, "00_meta.json"))["weights"] == {"decimals": 6, "layout": "sparse", "rows": 5}


def test_special_tokens_in_bytes(tmp_path, monkeypatch):
    # Sorted: " * , \ | é: quotes by RFC 4180, escapes of | and \ in labels, and a lone * escaped as well.
    train(tmp_path / "dense", '* | \\ , " é', 1)
    assert artifact(tmp_path / "dense", "01_vocabulary.csv") == (
        'token_id,token,frequency\n0,"""",1\n1,*,1\n2,",",1\n3,\\,1\n4,|,1\n5,é,1\n'.encode()
    )
    header, *lines = artifact(tmp_path / "dense", "02_model_weights.csv").decode().splitlines()
    assert header == 'input_token,"""",*,",",\\,|,é'
    starts = ('"""",', "\\*,", '",",', "\\\\,", "\\|,", "é,")
    assert [line.startswith(start) for line, start in zip(lines, starts, strict=True)] == [True] * 6
    monkeypatch.setattr(io_artifacts, "ALL_ROWS_LIMIT", 0.5)
    monkeypatch.setattr(io_artifacts, "DENSE_CELLS_LIMIT", 0)
    train(tmp_path / "sparse", "| * * |", 2)
    # Contexts (|, *) -> * and (*, *) -> |; each row has two different weights, the smaller is shared.
    assert artifact(tmp_path / "sparse", "02_model_weights.csv") == (
        b"input_token,output_token,weight\n\\*|\\*,\\|,0.05\n\\*|\\*,*,-0.05\n\\||\\*,\\*,0.05\n\\||\\*,*,-0.05\n"
    )


def test_lines_end_in_line_feeds(tmp_path):
    train(tmp_path, "a b c a\r\nb d a\r", 1)
    files = [path for path in tmp_path.rglob("*") if path.suffix in (".csv", ".json")]
    assert len(files) == 5
    assert [path.name for path in files if b"\r" in path.read_bytes() or not path.read_bytes().endswith(b"\n")] == []
    assert [path.name for path in tmp_path.rglob("*.tmp")] == []


def test_numbers_as_text():
    numbers = (0.0000004, 0.0000005001, -0.0, -1e-9, 1e6, 100.0, -1.25)
    assert [format_number(x) for x in numbers] == ["0", "0.000001", "0", "0", "1000000", "100", "-1.25"]
    assert [format_number(x, 0) for x in (10.0, 100.0, -0.2)] == ["10", "100", "0"]


@quick
@given(st.lists(st.text(min_size=1), min_size=1, max_size=4), st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_labels_split_into_their_tokens(tokens, others):
    assert split_label(context_label(tokens)) == tokens
    assert context_label(tokens) != "*"
    assume(tokens != others)
    assert context_label(tokens) != context_label(others)


@pytest.mark.slow
def test_label_of_a_megabyte_of_backslashes():
    token = "\\" * 2**20  # takes minutes if a step costs what was read before it
    assert split_label(context_label([token, "a"])) == [token, "a"]
    with pytest.raises(ValueError, match="escape"):
        split_label("\\" * (2**20 + 1))


@pytest.mark.parametrize(
    ("vocab_size", "context_size", "num_rows", "layout"),
    [
        (10, 4, 1, "all"),  # exactly 10,000 rows
        (100, 2, 1, "all"),  # exactly 10,000 rows, 1,000,000 cells
        (101, 2, 1, "observed"),  # 10,201 rows
        (21, 3, 0, "all"),  # 9,261 rows
        (22, 3, 0, "observed"),  # 10,648 rows
        (1, 9_999, 1, "all"),  # one row
        (2, 13, 1, "all"),  # 8,192 rows
        (2, 14, 1, "observed"),  # 16,384 rows
        (2, 10**9, 1, "observed"),  # as many rows as there are no names for
        (1000, 2, 2000, "observed"),  # exactly 2,000,000 cells
        (1000, 2, 2001, "sparse"),
        (1414, 1, 1, "all"),  # 1,999,396 cells
        (1415, 1, 1, "sparse"),  # 2,002,225 cells in all rows
        (2_000_000, 0, 1, "all"),  # one row, exactly 2,000,000 cells
        (2_000_001, 0, 1, "sparse"),
    ],
)
def test_layout_at_its_limits(vocab_size, context_size, num_rows, layout):
    assert weights_layout(vocab_size, context_size, num_rows) == layout


def test_all_rows_are_in_index_order(tmp_path):
    vocab = Vocabulary(["a", "b", "c"])
    model = SimpleNextTokenModel(3, 2)
    model.weights[2, 1] = [0.5, -0.25, -0.25]
    weights, embeddings = tmp_path / "new" / "w.csv", tmp_path / "new" / "e.csv"
    write_model_weights_csv(weights, vocab, model, row_labeler=row_labeler(vocab, 2))
    write_token_embeddings_csv(embeddings, model, row_labeler=row_labeler(vocab, 2))
    labels = [f"{first}|{second}" for first in "abc" for second in "abc"]
    lines = weights.read_text("utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ["input_token", *labels]
    assert lines[8] == "c|b,0.5,-0.25,-0.25"
    expected = [f"{index},{label},0,0" for index, label in enumerate(labels)]
    expected[7] = "7,c|b,0.5,-0.25"
    assert embeddings.read_text("utf-8").splitlines() == ["row,label,x,y", *expected]


def test_one_token_has_no_second_weight(tmp_path):
    train(tmp_path, "a a a", 1)
    assert artifact(tmp_path, "02_model_weights.csv") == b"input_token,a\na,0\n"
    assert artifact(tmp_path, "03_token_embeddings.csv") == b"row,label,x,y\n0,a,0,0\n"


def test_training_log_by_hand(tmp_path):
    history = [
        {"accuracy": 0.25, "extra": 1 / 3, "epoch": 1, "avg_loss": 1.5},
        {"epoch": 10, "avg_loss": 2, "accuracy": 1.0, "extra": -1e-9},
    ]
    write_training_log(tmp_path / "new" / "log.csv", history)
    assert (tmp_path / "new" / "log.csv").read_bytes() == (
        b"epoch,avg_loss,accuracy,extra\n1,1.5,0.25,0.333333\n10,2,1,0\n"
    )


def test_metadata_by_hand(tmp_path):
    corpus = tmp_path / "elsewhere" / "my text.txt"
    corpus.parent.mkdir()
    corpus.write_bytes(b"\xef\xbb\xbfa b\r\n\r\n \rc\n")
    train(tmp_path / "run", corpus, 2, learning_rate=0.25, epochs=2)
    meta = json.loads(artifact(tmp_path / "run", "00_meta.json"))
    assert meta.pop("concepts").keys() == {
        *("token", "vocabulary", "context", "softmax", "cross_entropy_loss", "gradient_descent", "loss_floor")
    }
    assert len(meta.pop("notes")) == 2
    assert_hashes(tmp_path / "run", meta.pop("sha256"))
    # One pair, a|b -> c. The logit of c is above the others by 1/4 after the first step, by ``above`` after the second.
    p = math.exp(1 / 4) / (math.exp(1 / 4) + 2)
    above = 1 / 4 + (1 - p + (1 - p) / 2) / 4
    loss = math.log(1 + 2 * math.exp(-above))
    assert meta == {
        "schema_version": 1,
        "repo_name": "run",
        "model_kind": "context-2",
        "vocab_size": 3,
        "context_size": 2,
        "training": {"learning_rate": 0.25, "epochs": 2, "epoch_definition": io_artifacts.EPOCH_DEFINITION},
        "corpus": {
            "path": "my text.txt",  # nothing of the folders outside the run
            "filename": "my text.txt",
            "sha256": hashlib.sha256(corpus.read_bytes()).hexdigest(),
            "num_lines": 2,  # a lone carriage return ends a line; blank lines do not count
            "num_chars": 11,  # the byte-order mark is no character of the text
            "description": io_artifacts.CORPUS_DESCRIPTION,
        },
        "artifacts": {name: name for name in ARTIFACTS},
        "tokenizer": {"kind": "word"},
        "start_tokens": ["a", "b"],
        "seed": 0,
        "val_fraction": 0.0,
        "metrics": {"train_loss": pytest.approx(loss, abs=2e-6), "train_accuracy": 1.0},
        "loss_floor": 0.0,
        "weights": {"layout": "all", "decimals": 6, "rows": 9},
    }


def assert_hashes(base: Path, hashes: dict[str, str]) -> None:
    """The metadata have the hash of every other file, and of themselves without the line of that hash."""
    paths = {path.name: path for path in [*base.glob("artifacts/*"), base / "outputs/train_log.csv"]}
    content = {name: path.read_bytes() for name, path in paths.items()}
    own = f'    "00_meta.json": "{hashes["00_meta.json"]}",\n'.encode()
    assert content["00_meta.json"].count(own) == 1
    content["00_meta.json"] = content["00_meta.json"].replace(own, b"")
    assert hashes == {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}


def test_repo_name(tmp_path):
    assert io_artifacts.repo_name_from_base_dir(tmp_path / "my-run") == "my-run"
    assert io_artifacts.repo_name_from_base_dir(ROOT) == "toy-gpt-train"
    (tmp_path / "SE_MANIFEST.toml").write_text('[repo]\nname = "é"\n', encoding="utf-8")
    assert io_artifacts.repo_name_from_base_dir(tmp_path) == "é"


def test_find_single_corpus_file(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        io_artifacts.find_single_corpus_file(tmp_path / "nowhere")
    (tmp_path / ".hidden").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="found 0"):
        io_artifacts.find_single_corpus_file(tmp_path)
    (tmp_path / "a.txt").touch()
    assert io_artifacts.find_single_corpus_file(tmp_path) == tmp_path / "a.txt"
    (tmp_path / "b.txt").touch()
    with pytest.raises(ValueError, match="found 2"):
        io_artifacts.find_single_corpus_file(tmp_path)


def test_a_run_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    train(tmp_path, "a b a c", 1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def no_room(number: float) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(io_artifacts, "format_number", no_room)
    with pytest.raises(OSError, match="No space"):
        train(tmp_path, "a b a c", 0)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


# --- committed runs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("context", "corpus"), COMMITTED)
def test_committed_runs_are_written_byte_for_byte(tmp_path, context, corpus):
    shutil.copy(ROOT / "SE_MANIFEST.toml", tmp_path)
    train(tmp_path, ROOT / "corpus" / f"{corpus}.txt", context, epochs=50)
    name = f"ladder/{COMMITTED[context, corpus]}/{corpus}"
    for file in ARTIFACTS:
        assert artifact(tmp_path, file) == (ROOT / "artifacts" / name / file).read_bytes(), file
    assert (tmp_path / "outputs/train_log.csv").read_bytes() == (ROOT / "outputs" / name / "train_log.csv").read_bytes()


def test_default_run_is_written_byte_for_byte(tmp_path):
    shutil.copy(ROOT / "SE_MANIFEST.toml", tmp_path)
    assert d_train.main(["--base-dir", str(tmp_path)]) == 0
    assert [artifact(tmp_path, name) for name in ARTIFACTS] == [artifact(ROOT, name) for name in ARTIFACTS]
    assert (tmp_path / "outputs/train_log.csv").read_bytes() == (ROOT / "outputs/train_log.csv").read_bytes()


@pytest.mark.slow
def test_committed_sparse_run_is_read_and_written_byte_for_byte(tmp_path):
    # WHY not trained here: 897 weights in each of 2,319 rows, 50 epochs, take the course 20 seconds.
    committed = ROOT / "artifacts/ladder/400-context-3/010_llm_glossary"
    base = tmp_path / "toy-gpt-train"
    shutil.copytree(committed, base / "artifacts")
    meta, vocab, model = load_run(base)
    assert (meta["weights"]["layout"], vocab.vocab_size(), len(model.weights)) == ("sparse", 897, 2319)
    shutil.rmtree(base)
    log = ROOT / "outputs/ladder/400-context-3/010_llm_glossary/train_log.csv"
    how = {"corpus_path": ROOT / "corpus/010_llm_glossary.txt", "row_labeler": row_labeler(vocab, 3)}
    how |= {"vocab": vocab, "model": model, "model_kind": "context-3", "learning_rate": 0.1, "epochs": 50}
    write_artifacts(base_dir=base, **how)
    assert not (base / "outputs").exists()
    history = [
        {name: float(cell) for name, cell in row.items()} for row in csv.DictReader(log.read_text().splitlines())
    ]
    write_artifacts(base_dir=base, history=history, **how)
    assert (base / "outputs/train_log.csv").read_bytes() == log.read_bytes()
    for file in ARTIFACTS:
        assert artifact(base, file) == (committed / file).read_bytes(), file


# --- e: reading back ----------------------------------------------------------------------------------------


@quick
@given(texts, st.integers(0, 3), st.sampled_from(["all", "observed", "sparse"]), st.floats(0.05, 5))
def test_runs_are_read_back_exactly(tmp_path, tokens, context, layout, learning_rate):
    assume(len(tokens) > context)
    limits = {"all": (10_000, 2_000_000), "observed": (0.5, 2_000_000), "sparse": (0.5, -1)}[layout]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io_artifacts, "ALL_ROWS_LIMIT", limits[0])
        patch.setattr(io_artifacts, "DENSE_CELLS_LIMIT", limits[1])
        train(tmp_path, " ".join(tokens), context, learning_rate=learning_rate, epochs=2)
    meta, vocab, model = load_run(tmp_path)
    known = Vocabulary(tokens)
    trained = SimpleNextTokenModel(known.vocab_size(), context)
    pairs = make_training_pairs(known.encode(tokens), context)
    train_model(trained, pairs, learning_rate, 2)
    trained.round_weights(6)
    assert {ids: row for ids, row in model.weights.items() if any(row)} == trained.weights
    assert [vocab.get_id_token(i) for i in range(vocab.vocab_size())] == sorted(set(tokens))
    assert {token: vocab.get_token_frequency(token) for token in tokens} == Counter(tokens)
    assert meta["weights"]["layout"] == layout or (layout == "observed" and meta["weights"]["rows"] <= 1)
    assert round(evaluate(model, pairs)[0], 6) == meta["metrics"]["train_loss"]


def test_very_long_token(tmp_path):
    token = "x" * 200_000
    train(tmp_path, f"{token} b {token}", 1)
    _, vocab, model = load_run(tmp_path)
    assert vocab.get_token_id(token) == 1
    assert model.weights[1,] == [0.05, -0.05]


def test_matrix_of_the_default_run():
    matrix = load_model_weights_csv(ROOT / "artifacts/02_model_weights.csv", 6, expected_rows=216)
    assert (len(matrix), {len(row) for row in matrix}) == (216, {6})
    _, _, model = load_run(ROOT)
    assert dict(zip(product(range(6), repeat=3), matrix, strict=True)) == model.weights


def test_greedy_text_by_hand():
    vocab = Vocabulary(["a", "b", "c"])
    model = SimpleNextTokenModel(3, 1)
    model.weights = {(0,): [0.0, 1.0, 0.0], (1,): [0.0, 0.0, 1.0], (2,): [1.0, 0.0, 1.0]}
    assert generate_tokens(model, vocab, ["c", "b"], 4) == ["c", "b", "c", "a", "b", "c"]  # c: a tie goes to a
    assert generate_tokens(model, vocab, ["a"], 0) == ["a"]
    assert generate_tokens(SimpleNextTokenModel(3, 0), vocab, [], 2) == ["a", "a"]


def test_prompts():
    assert normalize_prompt_text("  The  cat\n") == "The cat"
    assert prompt_to_tokens(" the\tcat ") == ["the", "cat"]
    context = [select_context_tokens(prompt="I saw the", context_window=n).tokens for n in (0, 2, 9)]
    assert context == [(), ("saw", "the"), ("I", "saw", "the")]
    with pytest.raises(ValueError, match="at least 0"):
        select_context_tokens(prompt="a", context_window=-1)


# --- the documented names of the older series ---------------------------------------------------------------


@pytest.mark.parametrize(("kind", "size"), [("context2", 2), ("context3", 3), ("unigram", 1), ("bigram", 2)])
def test_older_series_as_documented(tmp_path, kind, size):
    corpus = tmp_path / "corpus" / "text.txt"
    corpus.parent.mkdir()
    corpus.write_text("the cat runs . the dog sits . the cat sits .", encoding="utf-8")
    path = io_artifacts.find_single_corpus_file(tmp_path / "corpus")
    tokens = SimpleTokenizer(path).get_tokens()
    vocab = Vocabulary(tokens)
    ids = [i for token in tokens if (i := vocab.get_token_id(token)) is not None]
    model = SimpleNextTokenModel(vocab_size=vocab.vocab_size(), context_size=size)
    history = train_model(model, make_training_pairs(ids, context_size=size), learning_rate=0.5, epochs=20)
    assert history[-1]["avg_loss"] < history[0]["avg_loss"]
    common = {"base_dir": tmp_path, "corpus_path": path, "model_kind": kind, "learning_rate": 0.5, "epochs": 20}
    write_artifacts(**common, vocab=vocab, model=model, row_labeler=row_labeler(vocab, size))
    write_training_log(io_artifacts.outputs_dir_from_base_dir(tmp_path) / "train_log.csv", history)
    meta, read, again = load_run(tmp_path)
    assert (meta["model_kind"], meta["context_size"]) == (kind, size)
    start = tokens[:size]
    assert generate_tokens(again, read, start, 5) == generate_tokens(model, vocab, start, 5)
    paths = io_artifacts.artifact_paths_from_base_dir(tmp_path)
    assert load_model_weights_csv(paths["02_model_weights.csv"], 6, expected_rows=6**size)[0] == model.row((0,) * size)


def test_context_2_and_3_names():
    vocab = Vocabulary(["the", "cat"])
    assert d_train.token_row_index_context2((2, 5), 10) == 25
    assert d_train.token_row_index_context3((1, 2, 5), 10) == 125
    assert d_train.row_labeler_context2(vocab, 2)(2) == "the|cat"
    assert d_train.row_labeler_context3(vocab, 2)(4) == "the|cat|cat"
    model = SimpleNextTokenModel(2, context_size=2)
    model.weights[0, 1] = [0.0, 1.0]
    assert e_infer.generate_tokens_context2(model, vocab, ("cat", "the"), 2) == ["cat", "the", "the", "cat"]
    assert e_infer.generate_tokens_context2(model, vocab, ("cat", "dog"), 2) == ["cat", "dog"]
    with pytest.raises(ValueError, match="'dog'"):
        generate_tokens(model, vocab, ("cat", "dog"), 2)
    three = SimpleNextTokenModel(2)
    three.weights[0, 1, 1] = [0.0, 1.0]
    written = e_infer.generate_tokens_context3(three, vocab, seed_0="cat", seed_1="the", seed_2="the", num_tokens=2)
    assert written == ["cat", "the", "the", "the", "cat"]
    assert e_infer.generate_tokens_context3(three, vocab, "a", "the", "the", 1) == ["a", "the", "the"]


def test_single_writers_make_their_folders(tmp_path):
    vocab = Vocabulary(["b", "a", "b"])
    write_vocabulary_csv(tmp_path / "x" / "v.csv", vocab)
    assert (tmp_path / "x" / "v.csv").read_bytes() == b"token_id,token,frequency\n0,a,1\n1,b,2\n"
    numbers = {"vocab_size": 2, "model_kind": "bigram", "learning_rate": 0.1, "epochs": 5}
    write_meta_json(tmp_path / "y" / "m.json", base_dir=tmp_path, corpus_path=DEFAULT_CORPUS, **numbers)
    meta = json.loads((tmp_path / "y" / "m.json").read_bytes())
    assert "schema_version" not in meta
    assert (meta["model_kind"], meta["corpus"]["path"]) == ("bigram", "corpus/000_cat_dog.txt")
    assert (meta["training"]["epochs"], meta["corpus"]["num_lines"], meta["corpus"]["num_chars"]) == (5, 8, 120)


def test_missing_artifacts_are_named(tmp_path):
    paths = {"meta_path": tmp_path / "m", "vocab_path": tmp_path / "v", "weights_path": tmp_path / "w"}
    (tmp_path / "v").touch()
    with pytest.raises(FileNotFoundError) as caught:
        e_infer.require_artifacts(**paths, train_hint="make it")
    assert str(caught.value) == f"missing {tmp_path / 'm'}, {tmp_path / 'w'}; to make them, run: make it"
    (tmp_path / "m").touch()
    (tmp_path / "w").touch()
    e_infer.require_artifacts(**paths, train_hint="make it")


# --- the command line ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (a_tokenizer, "tokens   32, 6 of them different\n"),
        (b_vocab, "32 tokens, 6 different\n"),
        (c_model, "sum 1.0000"),
    ],
)
def test_steps_show_themselves(capsys, module, expected):
    assert module.main([]) == 0
    assert expected in capsys.readouterr().out


def test_default_run_continues_its_corpus(capsys):
    assert e_infer.main([]) == 0
    assert capsys.readouterr().out == (
        "model      context-3, vocabulary 6\n"
        "context    the cat runs\n"
        "next       .              ######################.. 0.9338\n"
        "           cat            ........................ 0.0132\n"
        "           dog            ........................ 0.0132\n"
        "           runs           ........................ 0.0132\n"
        "           sits           ........................ 0.0132\n"
        "generated  the cat runs . the cat sits . the dog runs . the\n"
    )
    options = ["--start-tokens", "I", "the cat runs"]
    assert e_infer.main(["--start-tokens", "the", "cat runs", "--num-tokens", "1", "--topk", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "next       .              ######################.. 0.9338",
        "generated  the cat runs .",
    ]
    assert e_infer.main(options) == 2


@pytest.mark.parametrize("module", [d_train, e_infer])
def test_help_names_the_rest(capsys, module):
    with pytest.raises(SystemExit) as caught:
        module.main(["--help"])
    assert caught.value.code == 0
    assert "toy-gpt has everything else" in capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], code: int) -> str:
    """Check that a command was refused in one line; returns the line."""
    printed = capsys.readouterr()
    assert (code, printed.out, printed.err.count("\n"), printed.err[-1:]) == (2, "", 1, "\n")
    assert printed.err.startswith("error: ")
    return printed.err


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--corpus", "no\nwhere.txt"], "where.txt"),
        (["--corpus", "."], "directory"),
        (["--corpus", "bytes.txt"], "bytes.txt: not UTF-8 text: byte 0xff at offset 2"),
        (["--corpus", "empty.txt"], "empty"),
        (["--context", "7"], "no longer than the context"),
        (["--context", "-1"], "at least 0"),
        (["--context", "x"], "--context"),
        (["--epochs", "0"], "epochs"),
        (["--learning-rate", "nan"], "learning rate"),
        (["--base-dir", "empty.txt"], "empty.txt"),
        (["--unknown"], "--unknown"),
        (["--corpus"], "--corpus"),
    ],
)
def test_useless_training_is_refused(tmp_path, monkeypatch, capsys, options, named):
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("a b c a b c a", encoding="utf-8")
    Path("empty.txt").touch()
    Path("bytes.txt").write_bytes(b"a \xff")
    files = sorted(tmp_path.rglob("*"))
    code = d_train.main(["--corpus", "text.txt", "--context", "1", "--base-dir", "run", *options])
    assert named in refused(capsys, code)
    assert sorted(tmp_path.rglob("*")) == files


@pytest.mark.parametrize("module", [a_tokenizer, b_vocab, c_model])
def test_useless_corpus_is_refused(tmp_path, capsys, module):
    assert "nothing.txt" in refused(capsys, module.main([str(tmp_path / "nothing.txt")]))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--start-tokens", "the", "cta", "runs"], "'cta'"),
        (["--start-tokens", "the", "cat"], "needs 3 tokens"),
        (["--num", "many"], "--num"),
        (["--base-dir", "nowhere"], "00_meta.json"),
    ],
)
def test_useless_inference_is_refused(capsys, options, named):
    assert named in refused(capsys, e_infer.main(options))


DAMAGE = {
    "00_meta.json": [
        (b"{", b"", "00_meta.json"),
        (b'"layout": "all"', b'"layout": "tables"', "00_meta.json"),
        (b'"context_size": 1', b'"context_size": "x"', "00_meta.json"),
        (b'"context_size": 1', b'"context_size": 2', "02_model_weights.csv, line 2:"),
        (b'"start_tokens"', b'"start"', "start_tokens"),
        (b'"word"', b'"char"', "toy-gpt infer"),
        (b'"rows": 3', b'"rows": 4', "not 4"),
    ],
    "01_vocabulary.csv": [
        (b"token_id", b"id", "header"),
        (b"1,b,1", b"2,b,1", "01_vocabulary.csv, line 3:"),
        (b"1,b,1", b"1,a,1", "01_vocabulary.csv, line 3:"),
        (b"1,b,1", b"1,b", "01_vocabulary.csv, line 3:"),
        (b"1,b,1", b"1,b,x", "01_vocabulary.csv, line 3:"),
        (b"2,c,1\n", b"2,c,1", "cut off"),
        (b"1,b,1", b'1,"b,1', "01_vocabulary.csv, line"),
        (b"2,c,1\n", b"", "header"),
    ],
    "02_model_weights.csv": [
        (b"input_token", b"token", "header"),
        (b"b,0.066667", b"b,nan", "02_model_weights.csv, line 3:"),
        (b"b,0.066667", b"b,x", "02_model_weights.csv, line 3:"),
        (b"b,0.066667", b"b,0.1,0.066667", "02_model_weights.csv, line 3:"),
        (b"b,0.066667", b"a,0.066667", "twice"),
        (b"b,0.066667", b"d,0.066667", "unknown token 'd'"),
        (b"b,0.066667", b"a|b,0.066667", "a context has 1"),
        (b"c,0,0,0\n", b"", "not 3"),
        (b"c,0,0,0\n", b"c,0,0,0", "cut off"),
        (b"0.066667", b"\xff", "offset"),
    ],
}


@pytest.mark.parametrize(
    ("name", "old", "new", "named"), [(name, *change) for name, changes in DAMAGE.items() for change in changes]
)
def test_damaged_files_are_refused(tmp_path, capsys, name, old, new, named):
    train(tmp_path, "a b\na c", 1)
    content = artifact(tmp_path, name)
    assert content.count(old) >= 1
    (tmp_path / "artifacts" / name).write_bytes(content.replace(old, new, 1))
    capsys.readouterr()
    assert named in refused(capsys, e_infer.main(["--base-dir", str(tmp_path)]))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (b"a,*,-0.065538\n", b"", "no line for *"),
        (b"a,b,", b"a,d,", "unknown"),
        (b"b,*,-0.033333\n", b"", "not 5"),
        (b"a,b,", b"a,c,", "twice"),
    ],
)
def test_damaged_sparse_file_is_refused(tmp_path, monkeypatch, capsys, old, new, named):
    monkeypatch.setattr(io_artifacts, "ALL_ROWS_LIMIT", 0.5)
    monkeypatch.setattr(io_artifacts, "DENSE_CELLS_LIMIT", 0)
    train(tmp_path, "a b a c", 1)
    content = artifact(tmp_path, "02_model_weights.csv")
    assert old in content
    (tmp_path / "artifacts/02_model_weights.csv").write_bytes(content.replace(old, new, 1))
    capsys.readouterr()
    assert named in refused(capsys, e_infer.main(["--base-dir", str(tmp_path)]))


def test_damaged_vocabulary_names_its_line(tmp_path):
    path = tmp_path / "v.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["token_id", "token", "frequency"], [0, "a", 1], [0, "b", 1]])
    with pytest.raises(ValueError, match=r"v\.csv, line 3: expected token_id 1"):
        load_vocabulary_csv(path)
