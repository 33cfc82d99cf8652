"""test_artifacts.py - The files of a run: their exact bytes, and that what is read back is what was written."""

import json
import math
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from toy_gpt_train import io_artifacts
from toy_gpt_train.b_vocab import Vocabulary
from toy_gpt_train.c_model import SimpleNextTokenModel, TableRow
from toy_gpt_train.d_train import TrainSettings, make_training_pairs, row_labeler, train_model, train_run
from toy_gpt_train.e_infer import Run, load_model_weights_csv, load_run, load_vocabulary_csv
from toy_gpt_train.errors import InputError
from toy_gpt_train.inference.evaluate import score
from toy_gpt_train.io_artifacts import (
    VocabularyLike,
    context_label,
    csv_line,
    describe_corpus,
    describe_weights,
    find_single_corpus_file,
    format_number,
    parse_int,
    parse_number,
    repo_name_from_base_dir,
    sha256_of_bytes,
    sha256_of_file,
    split_label,
    weights_layout,
    write_artifacts,
    write_model_weights_csv,
    write_token_embeddings_csv,
    write_training_log,
    write_vocabulary_csv,
)
from toy_gpt_train.models.registry import level_for_kind
from toy_gpt_train.models.kneser_ney import KneserNeyModel
from toy_gpt_train.models.mixture import MixtureModel

KINDS = ("unigram", "bigram", "context-2", "context-3", "context-5", "kneser-ney", "mixture")
TABLE_FILES = ["00_meta.json", "01_vocabulary.csv", "02_model_weights.csv", "03_token_embeddings.csv"]

# All that CSV, labels, line ends, terminals and Unicode have stumbled over.
NASTY = (
    ",\"|\\*\n\r\0\t ;'=#\x0b\x0c\x1c\x1f\x7f\x85\xa0\u1680\u2003\u2028\u2029\u3000\u200b\u200d\ufeffé\u0301ßİ😀👩0aZ"
)
characters = st.one_of(st.sampled_from(NASTY), st.characters(exclude_categories=["Cs"]))

COUNTING = ("kneser-ney", "mixture")  # they have no epochs and no step size to be told


def forced_layout(layout: str) -> AbstractContextManager[Any]:
    """Move the two limits so that a small table gets the layout wanted."""
    rows, cells = {"all": (10**9, 10**9), "observed": (0.5, 10**9), "sparse": (0.5, -1)}[layout]
    return mock.patch.multiple(io_artifacts, ALL_ROWS_LIMIT=rows, DENSE_CELLS_LIMIT=cells)


def train_words(tmp_path: Path, kind: str, text: str, *, layout: str | None = None, **options: Any) -> Path:
    """Train one epoch on a text and return the folder of the artifacts."""
    corpus = tmp_path / "texts" / "tiny.txt"
    corpus.parent.mkdir(exist_ok=True)
    corpus.write_bytes(text.encode("utf-8"))
    with forced_layout(layout) if layout else nullcontext():
        train_run(TrainSettings(level_for_kind(kind), corpus, tmp_path, **{"epochs": 1, **options}))
    return tmp_path / "artifacts"


# --- exact bytes ----------------------------------------------------------------------------------------------


def test_unigram_files_by_hand(tmp_path: Path) -> None:
    # Learning rate 0.1, row [0, 0]. Target a: [.05, -.05]. Target b: p(a) = 1 / (1 + exp(-.1)) = .524979, so
    # [-.002498, .002498]. Target a: p(a) = 1 / (1 + exp(.004996)) = .498751, so [.047627, -.047627].
    artifacts = train_words(tmp_path, "unigram", "a b a\n")
    assert (artifacts / "01_vocabulary.csv").read_bytes() == b"token_id,token,frequency\n0,a,2\n1,b,1\n"
    assert (artifacts / "02_model_weights.csv").read_bytes() == b"input_token,a,b\n(no context),0.047627,-0.047627\n"
    assert (artifacts / "03_token_embeddings.csv").read_bytes() == (
        b"row,label,x,y\n0,(no context),0.047627,-0.047627\n"
    )
    # Losses before each update: log 2, -log .475021, -log .498751; the first guess is right (a tie goes to a).
    log = [line.split(",") for line in (tmp_path / "outputs/train_log.csv").read_text("utf-8").splitlines()]
    assert log[0][:3] == ["epoch", "avg_loss", "accuracy"]
    assert log[1][:3] == ["1", "0.711064", "0.333333"]
    # H = (2 log 3/2 + log 3) / 3
    meta = json.loads((artifacts / "00_meta.json").read_text("utf-8"))
    assert meta["loss_floor"] == 0.636514
    d = 2 * 0.047627
    assert meta["metrics"]["train_loss"] == round((2 * math.log1p(math.exp(-d)) + math.log1p(math.exp(d))) / 3, 6)
    assert meta["metrics"]["train_accuracy"] == 0.666667


def test_bigram_files_by_hand(tmp_path: Path) -> None:
    # Pairs a->b, b->a, a->c. Row a: first [-1/30, 1/15, -1/30]; then exp gives [.967216, 1.068939, .967216], sum
    # 3.003371, so minus .1 * [.322043, .355913, .322043] and plus .1 at c. Row b: [1/15, -1/30, -1/30]. Row c: none.
    artifacts = train_words(tmp_path, "bigram", "a b\na c")
    assert (artifacts / "01_vocabulary.csv").read_bytes() == b"token_id,token,frequency\n0,a,2\n1,b,1\n2,c,1\n"
    assert (artifacts / "02_model_weights.csv").read_bytes() == (
        b"input_token,a,b,c\na,-0.065538,0.031075,0.034462\nb,0.066667,-0.033333,-0.033333\nc,0,0,0\n"
    )
    assert (artifacts / "03_token_embeddings.csv").read_bytes() == (
        b"row,label,x,y\n0,a,-0.065538,0.031075\n1,b,0.066667,-0.033333\n2,c,0,0\n"
    )
    # log 3 twice, then -log .322043
    log = (tmp_path / "outputs/train_log.csv").read_text("utf-8").splitlines()
    assert log[1].startswith("1,1.110098,0.333333,")


def test_context_2_files_by_hand(tmp_path: Path) -> None:
    artifacts = train_words(tmp_path, "context-2", "a b a")
    assert (artifacts / "02_model_weights.csv").read_bytes() == (
        b"input_token,a,b\na|a,0,0\na|b,0.05,-0.05\nb|a,0,0\nb|b,0,0\n"
    )
    assert (artifacts / "03_token_embeddings.csv").read_bytes() == (
        b"row,label,x,y\n0,a|a,0,0\n1,a|b,0.05,-0.05\n2,b|a,0,0\n3,b|b,0,0\n"
    )


def test_observed_layout_by_hand(tmp_path: Path) -> None:
    artifacts = train_words(tmp_path, "bigram", "a b a c", layout="observed")
    assert (artifacts / "02_model_weights.csv").read_bytes() == (
        b"input_token,a,b,c\na,-0.065538,0.031075,0.034462\nb,0.066667,-0.033333,-0.033333\n"
    )
    assert (artifacts / "03_token_embeddings.csv").read_bytes() == (
        b"row,label,x,y\n0,a,-0.065538,0.031075\n1,b,0.066667,-0.033333\n"
    )
    weights = json.loads((artifacts / "00_meta.json").read_text("utf-8"))["weights"]
    assert weights == {"layout": "observed", "decimals": 6, "rows": 2}


def test_sparse_layout_by_hand(tmp_path: Path) -> None:
    artifacts = train_words(tmp_path, "bigram", "a b a c", layout="sparse")
    assert (artifacts / "02_model_weights.csv").read_bytes() == (
        b"input_token,output_token,weight\na,b,0.031075\na,c,0.034462\na,*,-0.065538\nb,a,0.066667\nb,*,-0.033333\n"
    )
    weights = json.loads((artifacts / "00_meta.json").read_text("utf-8"))["weights"]
    assert (weights["layout"], weights["decimals"]) == ("sparse", 6)


def test_kneser_ney_files_by_hand(tmp_path: Path) -> None:
    corpus = tmp_path / "tiny.txt"
    corpus.write_text("a b a c", encoding="utf-8")
    train_run(TrainSettings(level_for_kind("kneser-ney", 1), corpus, tmp_path))
    artifacts = tmp_path / "artifacts"
    assert (artifacts / "02_counts.csv").read_bytes() == b"context,token,count\na,b,1\na,c,1\nb,a,1\n"
    # No gram was counted twice, so the discounts are the fixed ones.
    assert (artifacts / "03_discounts.csv").read_bytes() == (
        b"context_size,once,twice,three_or_more\n0,0.5,1.0,1.5\n1,0.5,1.0,1.5\n"
    )
    meta = json.loads((artifacts / "00_meta.json").read_text("utf-8"))
    assert meta["weights"] == {"layout": "tables", "rows": {"02_counts.csv": 3, "03_discounts.csv": 2}}
    names = ["00_meta.json", "01_vocabulary.csv", "02_counts.csv", "03_discounts.csv"]
    assert meta["artifacts"] == {name: name for name in names}
    assert sorted(path.name for path in artifacts.iterdir()) == names


def test_special_tokens_in_bytes(tmp_path: Path) -> None:
    # Sorted: " * , \ | — quotes by RFC 4180, escapes of | and \ in labels, and a lone * escaped as well.
    artifacts = train_words(tmp_path, "bigram", '* | \\ , " é')
    assert (artifacts / "01_vocabulary.csv").read_bytes() == (
        'token_id,token,frequency\n0,"""",1\n1,*,1\n2,",",1\n3,\\,1\n4,|,1\n5,é,1\n'.encode()
    )
    lines = (artifacts / "02_model_weights.csv").read_text("utf-8").split("\n")
    assert lines[0] == 'input_token,"""",*,",",\\,|,é'
    starts = ('"""",', "\\*,", '",",', "\\\\,", "\\|,", "é,")
    assert [line.startswith(start) for line, start in zip(lines[1:], starts, strict=False)] == [True] * 6


def test_special_tokens_in_sparse_bytes(tmp_path: Path) -> None:
    artifacts = train_words(tmp_path, "context-2", "| * * |", layout="sparse")
    # V = 2 (* then |); contexts (|, *) -> * and (*, *) -> |; each row has two different weights, the smaller is shared.
    assert (artifacts / "02_model_weights.csv").read_bytes() == (
        b"input_token,output_token,weight\n\\*|\\*,\\|,0.05\n\\*|\\*,*,-0.05\n\\||\\*,\\*,0.05\n\\||\\*,*,-0.05\n"
    )


def test_carriage_return_and_line_feed_are_quoted(tmp_path: Path) -> None:
    artifacts = train_words(tmp_path, "unigram", "a\r\nb", tokenizer="char")
    assert (artifacts / "01_vocabulary.csv").read_bytes() == (
        b'token_id,token,frequency\n0,"\n",1\n1,"\r",1\n2,a,1\n3,b,1\n'
    )


@pytest.mark.parametrize("kind", KINDS)
def test_lines_end_in_line_feeds(tmp_path: Path, kind: str) -> None:
    train_words(tmp_path, kind, "a b c a b d a e f a b\r\n")
    files = [path for path in tmp_path.rglob("*") if path.suffix in (".csv", ".json")]
    assert len(files) >= 5
    for path in files:
        content = path.read_bytes()
        assert b"\r" not in content
        assert content.endswith(b"\n")


def test_csv_numbers() -> None:
    assert csv_line(["", " a ", 1, 0.5]) == ", a ,1,0.5\n"
    assert csv_line(["\r", '"', "a\nb", "a,b"]) == '"\r","""","a\nb","a,b"\n'
    assert [format_number(x) for x in (0.0000004, 0.0000005001, -0.0, 1e6, 100.0, -1.25)] == [
        "0",
        "0.000001",
        "0",
        "1000000",
        "100",
        "-1.25",
    ]


def test_format_number_without_decimals_keeps_the_number() -> None:
    assert [format_number(x, 0) for x in (10.0, 100.0, 0.0, -20.0)] == ["10", "100", "0", "-20"]


@given(st.lists(st.text(characters, min_size=1), min_size=1, max_size=4))
def test_labels_split_into_the_tokens_they_were_made_of(tokens: list[str]) -> None:
    assert split_label(context_label(tokens)) == tokens


@given(st.lists(st.text(characters, min_size=1, max_size=3), min_size=1, max_size=3), st.data())
def test_labels_of_different_contexts_differ(tokens: list[str], data: st.DataObject) -> None:
    others = data.draw(st.lists(st.text(characters, min_size=1, max_size=3), min_size=1, max_size=3))
    assume(tokens != others)
    assert context_label(tokens) != context_label(others)
    # "*" alone stands for all other tokens: no token may have it as its label.
    assert context_label(tokens) != "*"


def test_split_label_refuses_half_an_escape() -> None:
    with pytest.raises(ValueError, match="escape"):
        split_label("a\\")


# --- the metadata ---------------------------------------------------------------------------------------------


def strings_in(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings_in(inner)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_has_every_field_of_the_contract(tmp_path: Path, kind: str) -> None:
    text = "the cat runs .\n\n \nthe dog sits .\nthe cat sits ."
    artifacts = train_words(tmp_path, kind, text, epochs=2, learning_rate=0.25, seed=7)
    raw = (artifacts / "00_meta.json").read_text("utf-8")
    meta = json.loads(raw)
    level = level_for_kind(kind)
    assert meta["schema_version"] == 1
    assert meta["repo_name"] == tmp_path.name
    assert meta["model_kind"] == kind
    assert meta["vocab_size"] == 6
    assert meta["context_size"] == level.context_size
    assert meta["training"].keys() == {"learning_rate", "epochs", "epoch_definition"}
    # Counting takes no steps and one pass; the mixture has a learning rate of its own.
    done = {"kneser-ney": (0.0, 1), "mixture": (0.003, 1)}.get(kind, (0.25, 2))
    assert (meta["training"]["learning_rate"], meta["training"]["epochs"]) == done
    assert meta["corpus"]["path"] == "texts/tiny.txt"
    assert meta["corpus"]["filename"] == "tiny.txt"
    assert meta["corpus"]["sha256"] == sha256_of_bytes(text.encode())
    assert (meta["corpus"]["num_lines"], meta["corpus"]["num_chars"]) == (3, len(text))
    assert isinstance(meta["corpus"]["description"], str)
    assert sorted(meta["artifacts"]) == sorted(path.name for path in artifacts.iterdir())
    assert all(name == value for name, value in meta["artifacts"].items())
    assert all(isinstance(sentence, str) for sentence in [*meta["concepts"].values(), *meta["notes"]])
    assert meta["notes"]
    assert meta["concepts"]
    assert meta["tokenizer"] == {"kind": "word"}
    assert meta["start_tokens"] == text.split()[: level.context_size]
    assert meta["seed"] == 7
    assert {"train_loss", "train_accuracy"} <= meta["metrics"].keys()
    assert {"layout"} <= meta["weights"].keys()
    assert math.isfinite(meta["loss_floor"])
    assert str(tmp_path) not in raw
    assert not [text for text in strings_in(meta) if text.startswith("/") or "\\" in text]


def test_corpus_outside_the_run_is_named_and_nothing_more(tmp_path: Path) -> None:
    corpus = tmp_path / "elsewhere" / "my text.txt"
    corpus.parent.mkdir()
    corpus.write_bytes(b"\xef\xbb\xbfa b\rc\n")
    described = describe_corpus(corpus, tmp_path / "run")
    assert described["path"] == described["filename"] == "my text.txt"
    # The byte-order mark is no character of the text; a lone carriage return ends a line.
    assert (described["num_lines"], described["num_chars"]) == (2, 6)
    assert described["sha256"] == sha256_of_file(corpus)


def test_corpus_of_the_project_is_named_by_its_place_in_the_project(tmp_path: Path, repository: Path) -> None:
    assert describe_corpus(repository / "corpus/001_animals.txt", tmp_path)["path"] == "corpus/001_animals.txt"


def test_held_out_part_in_metadata_and_log(tmp_path: Path) -> None:
    # 8 tokens, the last 2 held out. Unigram, one step a token; val_loss follows from the weights after each epoch.
    text = "a b a a b a | b a"
    words = text.replace("| ", "").split()
    artifacts = train_words(tmp_path, "unigram", text.replace("| ", ""), epochs=2, val_fraction=0.25)
    meta = json.loads((artifacts / "00_meta.json").read_text("utf-8"))
    assert meta["val_fraction"] == 0.25
    gap = 0.0  # weight of a minus weight of b
    val_losses: list[float] = []
    for _ in range(2):
        for word in words[:6]:
            p = 1 / (1 + math.exp(-gap))
            gap += 2 * 0.1 * ((word == "a") - p)
        p = 1 / (1 + math.exp(-gap))
        val_losses.append(-(math.log(p) + math.log(1 - p)) / 2)
    assert meta["metrics"]["val_loss"] == pytest.approx(val_losses[-1], abs=2e-6)
    assert meta["metrics"]["val_accuracy"] == 0.5
    assert meta["artifacts"].keys() == set(TABLE_FILES)
    rows = [line.split(",") for line in (tmp_path / "outputs/train_log.csv").read_text("utf-8").splitlines()]
    assert rows[0][:3] == ["epoch", "avg_loss", "accuracy"]
    assert {"val_loss", "val_accuracy"} <= set(rows[0])
    column = rows[0].index("val_loss")
    assert [float(row[column]) for row in rows[1:]] == pytest.approx(val_losses, abs=1e-6)


def test_training_log_by_hand(tmp_path: Path) -> None:
    history = [
        {"accuracy": 0.25, "further": 1 / 3, "epoch": 1, "avg_loss": 1.5},
        {"epoch": 10, "avg_loss": 2, "accuracy": 1.0, "further": -1e-9},
    ]
    write_training_log(tmp_path / "log.csv", history)
    assert (tmp_path / "log.csv").read_bytes() == (b"epoch,avg_loss,accuracy,further\n1,1.5,0.25,0.333333\n10,2,1,0\n")


# --- layouts ----------------------------------------------------------------------------------------------------


def table_with_rows(vocab_size: int, context_size: int, num_rows: int) -> SimpleNextTokenModel:
    model = SimpleNextTokenModel(vocab_size, context_size)
    row = TableRow({}, 0.0)
    for number, context in enumerate(product(range(vocab_size), repeat=context_size)):
        if number == num_rows:
            break
        model.rows[context] = row
    return model


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
def test_layout_at_its_limits(vocab_size: int, context_size: int, num_rows: int, layout: str) -> None:
    model = SimpleNextTokenModel(vocab_size, context_size)
    if context_size <= 4:
        model = table_with_rows(vocab_size, context_size, num_rows)
    else:
        model.rows[tuple([0] * min(context_size, 9_999))] = TableRow({}, 0.0)
    assert weights_layout(model) == layout


def test_rows_in_the_metadata() -> None:
    assert describe_weights(table_with_rows(10, 4, 3)) == {"layout": "all", "decimals": 6, "rows": 10_000}
    assert describe_weights(table_with_rows(101, 2, 3)) == {"layout": "observed", "decimals": 6, "rows": 3}
    assert describe_weights(table_with_rows(1000, 2, 2001))["layout"] == "sparse"


def test_all_rows_stand_in_index_order(tmp_path: Path) -> None:
    vocab = Vocabulary(["a", "b", "c"])
    model = SimpleNextTokenModel(3, 2)
    model.rows[(2, 1)] = TableRow({0: 0.5}, -0.25)
    write_model_weights_csv(tmp_path / "w.csv", vocab, model, row_labeler=row_labeler(vocab, 2))
    write_token_embeddings_csv(tmp_path / "e.csv", model, row_labeler=row_labeler(vocab, 2))
    labels = [f"{first}|{second}" for first in "abc" for second in "abc"]
    lines = (tmp_path / "w.csv").read_text("utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ["input_token", *labels]
    assert lines[8] == "c|b,0.5,-0.25,-0.25"
    embeddings = [f"{index},{label},0,0" for index, label in enumerate(labels)]
    embeddings[7] = "7,c|b,0.5,-0.25"
    assert (tmp_path / "e.csv").read_text("utf-8").splitlines() == ["row,label,x,y", *embeddings]


def test_one_token_has_no_second_weight(tmp_path: Path) -> None:
    artifacts = train_words(tmp_path, "bigram", "a a a")
    assert (artifacts / "02_model_weights.csv").read_bytes() == b"input_token,a\na,0\n"
    assert (artifacts / "03_token_embeddings.csv").read_bytes() == b"row,label,x,y\n0,a,0,0\n"
    assert load_run(artifacts).model.forward(0) == [1.0]


# --- exact reload -----------------------------------------------------------------------------------------------


def contexts_to_compare(token_ids: Sequence[int], vocab_size: int, context_size: int) -> list[tuple[int, ...]]:
    """All contexts of the text, and some of which most were never seen."""
    seen = [context for context, _ in make_training_pairs(token_ids, context_size)]
    same = [(token_id,) * context_size for token_id in range(min(vocab_size, 5))]
    reverse = [context[::-1] for context in seen]
    return list(dict.fromkeys([*seen, *same, *reverse]))


def assert_same_vocabulary(loaded: VocabularyLike, vocab: Vocabulary) -> None:
    assert loaded.vocab_size() == vocab.vocab_size()
    for token_id, token in enumerate(vocab.tokens()):
        assert loaded.get_id_token(token_id) == token
        assert loaded.get_token_id(token) == token_id
        assert loaded.get_token_frequency(token) == vocab.get_token_frequency(token)


AnyModel = SimpleNextTokenModel | KneserNeyModel | MixtureModel


def assert_same_model(run: Run, model: AnyModel, token_ids: Sequence[int], vocab: Vocabulary) -> None:
    """The vocabulary, every probability bit for bit, and the loss that the metadata gives."""
    assert_same_vocabulary(run.vocab, vocab)
    assert (run.model.vocab_size, run.model.context_size) == (model.vocab_size, model.context_size)
    for context in contexts_to_compare(token_ids, model.vocab_size, model.context_size):
        assert run.model.forward(*context) == model.forward(*context)
    for length in range(run.model.least_context, min(model.context_size, 20)):
        assert run.model.forward(*token_ids[:length]) == model.forward(*token_ids[:length])
    start = model.least_context
    assert list(run.model.predictions(token_ids, start)) == list(model.predictions(token_ids, start))
    if not isinstance(model, MixtureModel):  # its loss is taken while it learns
        loss = score(run.model, token_ids, model.context_size).loss
        assert abs(loss - run.meta["metrics"]["train_loss"]) <= 0.5e-6 + 1e-12


def fitted_model(
    kind: str, vocab: Vocabulary, token_ids: Sequence[int], learning_rate: float, epochs: int = 2
) -> AnyModel:
    """Train in memory: what the files must give back."""
    level = level_for_kind(kind)
    model = level.model(vocab.vocab_size(), level.context_size)
    if isinstance(model, SimpleNextTokenModel):
        train_model(model, make_training_pairs(token_ids, level.context_size), learning_rate, epochs)
        model.round_weights(6)
    else:
        model.fit(token_ids, vocab.tokens(), seed=0)
    assert isinstance(model, AnyModel)
    return model


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), kind=st.sampled_from(KINDS), layout=st.sampled_from(["all", "observed", "sparse"]))
def test_any_words_are_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: str, layout: str
) -> None:
    if layout == "all" and kind == "context-5":
        layout = "observed"  # V to the 5 rows are not worth the wait
    pool = data.draw(st.lists(st.text(characters, min_size=1, max_size=6), min_size=1, max_size=6, unique=True))
    tokens = data.draw(st.lists(st.sampled_from(pool), min_size=6, max_size=30)) * (3 if kind == "mixture" else 1)
    learning_rate = data.draw(st.sampled_from([1e-6, 0.1, 3.0, 1000.0]))
    vocab = Vocabulary(tokens, further=data.draw(st.lists(st.sampled_from(pool), max_size=2)))
    token_ids = vocab.encode(tokens)
    model = fitted_model(kind, vocab, token_ids, learning_rate)
    loss = 0.0 if kind == "mixture" else score(model, token_ids, model.context_size).loss
    base = tmp_path_factory.mktemp("words")
    corpus = base / "corpus.txt"
    corpus.write_bytes(b"any\n")
    written: list[dict[str, bytes]] = []
    for _ in range(2):
        with forced_layout(layout):
            paths = write_artifacts(
                base_dir=base,
                corpus_path=corpus,
                vocab=vocab,
                model=model,
                model_kind=kind,
                learning_rate=learning_rate,
                epochs=2,
                row_labeler=row_labeler(vocab, model.context_size),
                details={
                    "tokenizer": {"kind": "word"},
                    "start_tokens": tokens[: model.context_size],
                    "metrics": {"train_loss": round(loss, 6)},
                    "loss_floor": 0.0,
                },
            )
        written.append({path.name: path.read_bytes() for path in paths})
    assert written[0] == written[1]
    run = load_run(base / "artifacts")
    assert run.meta["weights"]["layout"] == ("tables" if kind in ("kneser-ney", "mixture") else layout)
    assert_same_model(run, model, token_ids, vocab)
    assert run.meta["start_tokens"] == tokens[: model.context_size]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), kind=st.sampled_from(KINDS), observed=st.booleans(), sparse=st.booleans())
def test_any_characters_are_read_back_exactly(
    toy_gpt: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    kind: str,
    observed: bool,
    sparse: bool,
) -> None:
    text = data.draw(st.text(characters, min_size=6, max_size=30)) + data.draw(st.text("ab\n", max_size=12))
    if kind == "mixture":
        text *= 3
    tokens = list(text.removeprefix("\ufeff"))
    assume(len(tokens) > 5)
    base = tmp_path_factory.mktemp("characters")
    corpus = base / "corpus.txt"
    corpus.write_bytes(text.encode("utf-8"))
    layout = "sparse" if sparse else "observed" if observed or kind in ("context-3", "context-5") else "all"
    descent = () if kind in COUNTING else ("--epochs", 2, "--learning-rate", 0.5)
    options = ("--tokenizer", "char", *descent)
    with forced_layout(layout):
        outcome = toy_gpt("train", "--model", kind, "--corpus", corpus, "--base-dir", base, *options)
    assert outcome.code == 0, outcome.err
    run = load_run(base / "artifacts")
    vocab = Vocabulary(tokens)
    token_ids = vocab.encode(tokens)
    model = fitted_model(kind, vocab, token_ids, 0.5)
    assert_same_model(run, model, token_ids, vocab)
    assert run.tokenizer.join(run.meta["start_tokens"]) == "".join(tokens[: model.context_size])


weights = st.one_of(
    st.sampled_from([0.0, -0.0, 1e-7, -1e-7, 5e-7, 0.1, 123456.789012, 2.0**32 + 1 / 3, -700.25]),
    st.floats(-1e6, 1e6),
    st.floats(-1e12, 1e12),
)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), layout=st.sampled_from(["all", "observed", "sparse"]), context_size=st.integers(0, 2))
def test_any_weights_are_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, layout: str, context_size: int
) -> None:
    vocab = Vocabulary(data.draw(st.lists(st.text(characters, min_size=1, max_size=3), min_size=1, max_size=5)))
    ids = st.integers(0, vocab.vocab_size() - 1)
    model = SimpleNextTokenModel(vocab.vocab_size(), context_size)
    for context in data.draw(st.lists(st.tuples(*[ids] * context_size), max_size=4)):
        model.rows[context] = TableRow(data.draw(st.dictionaries(ids, weights, max_size=5)), data.draw(weights))
    model.round_weights(6)
    folder = tmp_path_factory.mktemp("weights")
    with forced_layout(layout):
        write_vocabulary_csv(folder / "v.csv", vocab)
        write_model_weights_csv(folder / "w.csv", vocab, model, row_labeler=row_labeler(vocab, context_size))
        described = describe_weights(model)
    assert described["layout"] == layout
    loaded_vocab = load_vocabulary_csv(folder / "v.csv")
    assert_same_vocabulary(loaded_vocab, vocab)
    loaded = load_model_weights_csv(
        folder / "w.csv",
        loaded_vocab,
        context_size=context_size,
        layout=described["layout"],
        expected_rows=described["rows"],
    )
    for context in product(range(vocab.vocab_size()), repeat=context_size):
        assert loaded.forward(*context) == model.forward(*context)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), kind=st.sampled_from(["bigram", "kneser-ney"]), merges=st.integers(0, 20))
def test_any_text_in_byte_pairs_is_read_back_exactly(
    toy_gpt: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    kind: str,
    merges: int,
) -> None:
    text = "".join(data.draw(st.lists(st.text(characters, max_size=4), min_size=6, max_size=20))) * 3
    assume(len(text.removeprefix("\ufeff")) > 5)
    base = tmp_path_factory.mktemp("pairs")
    corpus = base / "corpus.txt"
    corpus.write_bytes(text.encode("utf-8"))
    descent = () if kind in COUNTING else ("--epochs", 2, "--learning-rate", 0.5)
    options = ("--tokenizer", "bpe", "--bpe-vocab", 256 + merges, *descent)
    outcome = toy_gpt("train", "--model", kind, "--corpus", corpus, "--base-dir", base, *options)
    if "too few" in outcome.err:
        assert outcome.refused
        return
    assert outcome.code == 0, outcome.err
    run = load_run(base / "artifacts")
    text = text.removeprefix("\ufeff")
    tokens = run.tokenizer.tokenize(text)
    assert run.tokenizer.join(tokens) == text
    vocab = Vocabulary(tokens)
    token_ids = vocab.encode(tokens)
    assert_same_model(run, fitted_model(kind, vocab, token_ids, 0.5), token_ids, vocab)


@pytest.mark.parametrize("layout", ["all", "observed", "sparse"])
def test_order_of_weights_in_memory_does_not_matter(tmp_path: Path, layout: str) -> None:
    # Sums of floats depend on their order, and a dictionary may have any.
    vocab = Vocabulary(map(str, range(100, 180)))
    generator = random.Random(1)
    model = SimpleNextTokenModel(80, 0)
    token_ids = generator.sample(range(80), 60)
    model.rows[()] = TableRow({token_id: generator.uniform(-3, 3) for token_id in token_ids}, 0.125)
    model.round_weights(6)
    with forced_layout(layout):
        write_model_weights_csv(tmp_path / "w.csv", vocab, model, row_labeler=row_labeler(vocab, 0))
    loaded = load_model_weights_csv(tmp_path / "w.csv", vocab, context_size=0, layout=layout)
    assert loaded.forward() == model.forward()
    assert list(model.rows[()].weights) == sorted(token_ids)


@pytest.mark.parametrize("layout", ["all", "observed", "sparse"])
def test_very_long_tokens(tmp_path: Path, layout: str) -> None:
    # Longer than the csv module's own limit of 131,072 characters; the last one differs from the first in its end.
    tokens = ["x" * 200_000, '"|\\' * 60_000, "b", "x" * 199_999 + "y"]
    artifacts = train_words(tmp_path, "bigram", " ".join(tokens), layout=layout)
    run = load_run(artifacts)
    vocab = Vocabulary(tokens)
    model = fitted_model("bigram", vocab, vocab.encode(tokens), 0.1, epochs=1)
    assert_same_model(run, model, vocab.encode(tokens), vocab)


@pytest.mark.parametrize("layout", ["all", "observed", "sparse"])
@pytest.mark.parametrize("kind", ["bigram", "context-2"])
def test_which_contexts_were_seen_is_read_back(tmp_path: Path, kind: str, layout: str) -> None:
    # Evaluation counts the contexts that training never met, and the numbers that training has set: the same in
    # whatever way the table lies in its file.
    text = "the cat runs . the cat sits . the dog runs away"
    with forced_layout(layout):
        corpus = tmp_path / "corpus.txt"
        corpus.write_text(text, encoding="utf-8")
        result = train_run(TrainSettings(level_for_kind(kind), corpus, tmp_path, epochs=2))
    run = load_run(tmp_path / "artifacts")
    words = ["the", "dog", "runs", ".", "the", "cat", "away", "the", "dog", "."]
    token_ids = [run.vocab.token_to_id[word] for word in words]
    before = [prediction.context_seen for prediction in result.model.predictions(token_ids)]
    assert True in before
    assert False in before[3:]
    assert [prediction.context_seen for prediction in run.model.predictions(token_ids)] == before
    assert run.model.num_parameters() == result.model.num_parameters()


def test_layouts_hold_the_same_model(tmp_path: Path, repository: Path) -> None:
    corpus = repository / "corpus/001_animals.txt"
    runs: list[Run] = []
    for layout in ("all", "observed", "sparse"):
        with forced_layout(layout):
            train_run(TrainSettings(level_for_kind("bigram"), corpus, tmp_path / layout, epochs=3))
        runs.append(load_run(tmp_path / layout / "artifacts"))
    assert [run.meta["weights"]["layout"] for run in runs] == ["all", "observed", "sparse"]
    for token_id in range(runs[0].vocab.vocab_size()):
        assert runs[0].model.forward(token_id) == runs[1].model.forward(token_id) == runs[2].model.forward(token_id)


@pytest.mark.parametrize("seed", ["1", "2"])
def test_bytes_do_not_depend_on_the_hash_seed(
    tmp_path_factory: pytest.TempPathFactory,
    python: Callable[..., Any],
    listing: Callable[..., Any],
    repository: Path,
    seed: str,
) -> None:
    code = (
        "import sys\nfrom toy_gpt_train import cli\n"
        "for kind in ('unigram', 'context-2', 'kneser-ney', 'mixture'):\n"
        "    cli.main(['train', '--model', kind, '--corpus', sys.argv[1], '--base-dir', kind])\n"
    )
    corpus = repository / "corpus" / "000_cat_dog.txt"
    trees: list[dict[str, bytes | None]] = []
    for hash_seed in ("0", seed):
        folder = tmp_path_factory.mktemp("hash") / "run"
        folder.mkdir()
        done = python("-c", code, corpus, cwd=folder, PYTHONHASHSEED=hash_seed)
        assert done.code == 0, done.err
        trees.append(listing(folder))
    assert {name.partition("/")[0] for name in trees[0]} == {"unigram", "context-2", "kneser-ney", "mixture"}
    assert trees[0] == trees[1]


# --- small things ---------------------------------------------------------------------------------------------


def test_find_single_corpus_file(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    with pytest.raises(FileNotFoundError):
        find_single_corpus_file(folder)
    folder.mkdir()
    (folder / ".hidden").write_text("x")
    (folder / "sub").mkdir()
    with pytest.raises(FileNotFoundError):
        find_single_corpus_file(folder)
    (folder / "b.txt").write_text("x")
    assert find_single_corpus_file(folder) == folder / "b.txt"
    (folder / "a.txt").write_text("x")
    with pytest.raises(ValueError, match="found 2"):
        find_single_corpus_file(folder)


def test_repo_name(tmp_path: Path) -> None:
    base = tmp_path / "my-run"
    base.mkdir()
    assert repo_name_from_base_dir(base) == "my-run"
    assert repo_name_from_base_dir(base / "." / "..") == tmp_path.name
    (base / "SE_MANIFEST.toml").write_text('[repo]\nname = "declared"\n', encoding="utf-8")
    assert repo_name_from_base_dir(base) == "declared"


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", " 1", "1 ", "1_0", "\u0661", "\u00b2", "0x1", "1" * 19, "nan"])
def test_parse_int_refuses(text: str) -> None:
    with pytest.raises(InputError, match=r"^what is"):
        parse_int(text, "what")


def test_parse_int_accepts() -> None:
    assert [parse_int(text, "what") for text in ("0", "7", "9" * 18)] == [0, 7, 10**18 - 1]


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "-inf", "Infinity", "1e999", "1,5", "0x1", "--1"])
def test_parse_number_refuses(text: str) -> None:
    with pytest.raises(InputError, match=r"^what is"):
        parse_number(text, "what")


@pytest.mark.parametrize("text", ["1_0", " 1", "1\n", "\u3000 1", "\u0661", "\uff10.5"])
def test_parse_number_reads_only_what_is_written(text: str) -> None:
    # One damaged byte makes 0.25 into 0_25: that is no weight of 25.
    with pytest.raises(InputError, match=r"^what is"):
        parse_number(text, "what")


def test_parse_number_accepts() -> None:
    assert [parse_number(text, "what") for text in ("0", "-0.25", "1e-7", "12")] == [0.0, -0.25, 1e-7, 12.0]


def test_no_file_is_opened_in_the_default_encoding(tmp_path: Path, python: Callable[..., Any]) -> None:
    # A person's console may be anything; the files are UTF-8.
    corpus = tmp_path / "corpus.txt"
    corpus.write_bytes("é 😀 é\n".encode())
    environment = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONWARNDEFAULTENCODING": "1"}
    arguments = ("-X", "warn_default_encoding", "-W", "error::EncodingWarning", "-m", "toy_gpt_train")
    options = ("--model", "bigram", "--corpus", corpus, "--base-dir", tmp_path)
    done = python(*arguments, "train", *options, cwd=tmp_path, **environment)
    assert (done.code, done.err) == (0, "")
    assert "\n1,😀,1\n" in (tmp_path / "artifacts/01_vocabulary.csv").read_text("utf-8")
    done = python(*arguments, "infer", "--base-dir", tmp_path, cwd=tmp_path, **environment)
    assert (done.code, done.err) == (0, "")
    assert os.fspath(tmp_path) not in done.out


@pytest.mark.parametrize("context_size", [0, 1, 3])
def test_a_run_written_without_details_is_described_by_its_corpus(tmp_path: Path, context_size: int) -> None:
    corpus = tmp_path / "text.txt"
    corpus.write_text("the cat runs . the dog sits . the cat sits .", encoding="utf-8")
    tokens = corpus.read_text("utf-8").split()
    vocab = Vocabulary(tokens)
    model = SimpleNextTokenModel(vocab.vocab_size(), context_size)
    train_model(model, make_training_pairs(vocab.encode(tokens), context_size), 0.1, 5)
    kind = ("unigram", "bigram", "context-2", "context-3")[context_size]
    write_artifacts(
        base_dir=tmp_path,
        corpus_path=corpus,
        vocab=vocab,
        model=model,
        model_kind=kind,
        learning_rate=0.1,
        epochs=5,
        row_labeler=row_labeler(vocab, context_size),
    )
    meta = load_run(tmp_path / "artifacts").meta
    settings = TrainSettings(level_for_kind(kind), corpus, tmp_path / "other", epochs=5)
    result = train_run(settings)
    assert meta == load_run(result.paths[-1].parent).meta | {"repo_name": meta["repo_name"], "corpus": meta["corpus"]}
