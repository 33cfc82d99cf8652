"""test_artifacts.py - The files of a run: their exact bytes, and that what is read back is what was written."""

import hashlib
import json
import math
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import toy_gpt_train as tg
from toy_gpt_train import io_artifacts
from toy_gpt_train.artifacts.csv_files import csv_line, parse_int, parse_numbers
from toy_gpt_train.artifacts.metadata import new_meta, saved_meta
from toy_gpt_train.artifacts.model_tables import TableReader, write_model_table
from toy_gpt_train.artifacts.train_log import read_training_log, write_training_log
from toy_gpt_train.artifacts.vocabulary import read_vocabulary, write_vocabulary
from toy_gpt_train.corpus import corpus_of, read_corpus
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import sha256_of_file
from toy_gpt_train.io_artifacts import context_label, format_number, split_label, weights_layout
from toy_gpt_train.models.base import Model, Text
from toy_gpt_train.models.ngram_table import NGramTable, TableRow, training_pairs
from toy_gpt_train.models.registry import find_model
from toy_gpt_train.models.scores import summarize
from toy_gpt_train.tokenizers.encoded import encode_corpus
from toy_gpt_train.tokenizers.word import WordTokenizer

KINDS = ("unigram", "bigram", "context-2", "context-3", "context-5", "kneser-ney", "mixture", "context-mixing")
TABLE_FILES = ["00_meta.json", "01_vocabulary.csv", "02_model_weights.csv", "03_token_embeddings.csv"]

# All that CSV, labels, line ends, terminals and Unicode have stumbled over.
NASTY = (
    ",\"|\\*\n\r\0\t ;'=#\x0b\x0c\x1c\x1f\x7f\x85\xa0\u1680\u2003\u2028\u2029\u3000\u200b\u200d\ufeffé\u0301ßİ😀👩0aZ"
)
characters = st.one_of(st.sampled_from(NASTY), st.characters(exclude_categories=["Cs"]))

COUNTING = ("kneser-ney", "mixture", "context-mixing")  # they have no epochs and no step size to be told
ONLINE = ("mixture", "context-mixing")  # their training loss is taken while they learn


def forced_layout(layout: str) -> AbstractContextManager[Any]:
    """Move the two limits so that a small table gets the layout wanted."""
    rows, cells = {"all": (10**9, 10**9), "observed": (0.5, 10**9), "sparse": (0.5, -1)}[layout]
    return mock.patch.multiple(io_artifacts, ALL_ROWS_LIMIT=rows, DENSE_CELLS_LIMIT=cells)


def train_words(tmp_path: Path, kind: str, text: str, *, layout: str | None = None, **options: Any) -> Path:
    """Train one epoch on a text and return the folder of the artifacts."""
    corpus = tmp_path / "texts" / "tiny.txt"
    corpus.parent.mkdir(exist_ok=True)
    corpus.write_bytes(text.encode("utf-8"))
    if kind in COUNTING:
        options = {name: value for name, value in options.items() if name not in ("epochs", "learning_rate")}
    else:
        options = {"epochs": 1, **options}
    with forced_layout(layout) if layout else nullcontext():
        tg.train(kind, corpus, **options).save(tmp_path)
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
    artifacts = train_words(tmp_path, "kneser-ney", "a b a c", context=1)
    assert (artifacts / "02_counts.csv").read_bytes() == b"context,token,count\na,b,1\na,c,1\nb,a,1\n"
    # No n-gram was counted twice, so the discounts are the fixed ones.
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


@pytest.mark.slow
def test_labels_are_read_in_linear_time(tmp_path: Path) -> None:
    # Quadratic time would be hours.
    token = "\\" * 1_000_000
    label = context_label([token, token])
    assert label == "\\" * 2_000_000 + "|" + "\\" * 2_000_000
    begun = time.perf_counter()
    assert split_label(label) == [token, token]
    with pytest.raises(ValueError, match="escape"):
        split_label("\\" * 999_999)
    run = tg.train("bigram", text=f"{token} a {token} b", epochs=1)
    with forced_layout("sparse"):
        run.save(tmp_path)
    assert tg.load(tmp_path).next(token) == run.next(token)
    assert time.perf_counter() - begun < 10


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
    context = find_model(kind).default_context
    assert meta["schema_version"] == 1
    assert meta["repo_name"] == tmp_path.name
    assert meta["model_kind"] == kind
    assert meta["vocab_size"] == 6
    assert meta["context_size"] == context
    assert meta["training"].keys() == {"learning_rate", "epochs", "epoch_definition"}
    # Counting takes no steps and one pass; the mixture has a learning rate of its own.
    done = {"kneser-ney": (0.0, 1), "mixture": (0.003, 1), "context-mixing": (0.02, 1)}.get(kind, (0.25, 2))
    assert (meta["training"]["learning_rate"], meta["training"]["epochs"]) == done
    assert meta["corpus"]["path"] == "texts/tiny.txt"
    assert meta["corpus"]["filename"] == "tiny.txt"
    assert meta["corpus"]["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert (meta["corpus"]["num_lines"], meta["corpus"]["num_chars"]) == (3, len(text))
    assert isinstance(meta["corpus"]["description"], str)
    assert sorted(meta["artifacts"]) == sorted(path.name for path in artifacts.iterdir())
    assert all(name == value for name, value in meta["artifacts"].items())
    assert all(isinstance(sentence, str) for sentence in [*meta["concepts"].values(), *meta["notes"]])
    assert meta["notes"]
    assert meta["concepts"]
    assert meta["tokenizer"] == {"kind": "word"}
    assert meta["start_tokens"] == text.split()[:context]
    assert meta["seed"] == 7
    assert {"train_loss", "train_accuracy"} <= meta["metrics"].keys()
    assert {"layout"} <= meta["weights"].keys()
    assert math.isfinite(meta["loss_floor"])
    assert str(tmp_path) not in raw
    assert not [text for text in strings_in(meta) if text.startswith("/") or "\\" in text]


def recorded_corpus(path: Path, base_dir: Path) -> dict[str, Any]:
    """The metadata's description of a text that was learned and saved to a folder."""
    described: dict[str, Any] = saved_meta(new_meta(read_corpus(path).source, {}), base_dir, path)["corpus"]
    return described


def test_corpus_outside_the_run_is_named_and_nothing_more(tmp_path: Path) -> None:
    corpus = tmp_path / "elsewhere" / "my text.txt"
    corpus.parent.mkdir()
    corpus.write_bytes(b"\xef\xbb\xbfa b\rc\n")
    described = recorded_corpus(corpus, tmp_path / "run")
    assert described["path"] == described["filename"] == "my text.txt"
    # The byte-order mark is no character of the text; a lone carriage return ends a line.
    assert (described["num_lines"], described["num_chars"]) == (2, 6)
    assert described["sha256"] == sha256_of_file(corpus)


def test_corpus_of_the_project_is_named_by_its_place_in_the_project(tmp_path: Path, repository: Path) -> None:
    assert recorded_corpus(repository / "corpus/001_animals.txt", tmp_path)["path"] == "corpus/001_animals.txt"


def test_a_text_in_memory_is_a_corpus_without_a_file(tmp_path: Path) -> None:
    tg.train("bigram", text="é b é", epochs=1).save(tmp_path)
    described = json.loads((tmp_path / "artifacts/00_meta.json").read_text("utf-8"))["corpus"]
    assert (described["path"], described["filename"]) == ("text", "text")
    assert described["sha256"] == hashlib.sha256("é b é".encode()).hexdigest()
    assert (described["num_lines"], described["num_chars"]) == (1, 5)
    with pytest.raises(InputError, match="lone surrogate at character 2"):
        corpus_of("a \ud800")


def test_names_that_utf_8_cannot_hold(tmp_path: Path) -> None:
    # Such file names exist: on Linux as "\udcff" for the byte 0xff, on Windows as any lone surrogate.
    path = tmp_path / "in \udcff" / "\udcff.txt"
    meta = saved_meta(new_meta(corpus_of("a", path.name).source, {}), path.parent, path)
    assert (meta["corpus"]["filename"], meta["corpus"]["path"], meta["repo_name"]) == ("?.txt", "?.txt", "in ?")
    assert new_meta(corpus_of("a", "\ud800").source, {})["corpus"]["filename"] == "?"


def test_name_of_the_project(tmp_path: Path) -> None:
    meta = new_meta(corpus_of("a").source, {})
    base = tmp_path / "my-run"
    base.mkdir()
    assert saved_meta(meta, base, None)["repo_name"] == "my-run"
    assert saved_meta(meta, base / "." / "..", None)["repo_name"] == tmp_path.name
    (base / "SE_MANIFEST.toml").write_text('[repo]\nname = "declared"\n', encoding="utf-8")
    assert saved_meta(meta, base, None)["repo_name"] == "declared"


def test_a_run_that_is_loaded_and_saved_again_has_the_same_bytes(
    tmp_path: Path, listing: Callable[[Path], Any], tiny_corpus: Path
) -> None:
    for kind in ("context-2", "mixture"):
        first, second = tmp_path / kind / "run", tmp_path / f"{kind}-again" / "run"
        tg.train(kind, tiny_corpus, tokenizer="char").save(first)
        tg.load(first).save(second)
        assert listing(second) == listing(first)


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


def test_log_is_read_back(tmp_path: Path) -> None:
    history = [{"epoch": 1.0, "avg_loss": 1.5, "accuracy": 0.25, "extra": -0.333333}]
    write_training_log(tmp_path / "log.csv", history)
    assert read_training_log(tmp_path / "log.csv", 1) == history
    assert read_training_log(tmp_path / "none.csv", 1) == []
    with pytest.raises(InputError, match=r"log\.csv: more than 0 records"):
        read_training_log(tmp_path / "log.csv", 0)


# --- layouts ----------------------------------------------------------------------------------------------------


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
    assert weights_layout(vocab_size, context_size, num_rows) == layout


def table_with_rows(vocab_size: int, context_size: int, num_rows: int) -> NGramTable:
    model = NGramTable(vocab_size, context_size)
    contexts = product(range(vocab_size), repeat=context_size)
    model.rows = {context: TableRow({0: 0.5}, 0.25) for _, context in zip(range(num_rows), contexts, strict=False)}
    return model


@pytest.mark.parametrize(
    ("vocab_size", "context_size", "num_rows", "layout", "lines"),
    [
        (10, 4, 3, "all", 10_000),
        (101, 2, 3, "observed", 3),
        (1000, 2, 2001, "sparse", 4002),  # one line for the weight of its own, one for all other tokens
    ],
)
def test_rows_in_the_metadata(vocab_size: int, context_size: int, num_rows: int, layout: str, lines: int) -> None:
    content = table_with_rows(vocab_size, context_size, num_rows).content()
    assert (content.layout, content.decimals, content.tables[0].num_rows) == (layout, 6, lines)


def write_tables(folder: Path, model: Model, tokens: Sequence[str]) -> list[Path]:
    """Write the tables of a model, in their order; returns their paths."""
    tables = model.content().tables
    for table in tables:
        write_model_table(folder / table.name, table, tokens)
    return [folder / table.name for table in tables]


def test_all_rows_stand_in_index_order(tmp_path: Path) -> None:
    model = NGramTable(3, 2)
    model.rows[(2, 1)] = TableRow({0: 0.5}, -0.25)
    weights, view = write_tables(tmp_path, model, ["a", "b", "c"])
    labels = [f"{first}|{second}" for first in "abc" for second in "abc"]
    lines = weights.read_text("utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ["input_token", *labels]
    assert lines[8] == "c|b,0.5,-0.25,-0.25"
    embeddings = [f"{index},{label},0,0" for index, label in enumerate(labels)]
    embeddings[7] = "7,c|b,0.5,-0.25"
    assert view.read_text("utf-8").splitlines() == ["row,label,x,y", *embeddings]


def test_one_token_has_no_second_weight(tmp_path: Path) -> None:
    artifacts = train_words(tmp_path, "bigram", "a a a")
    assert (artifacts / "02_model_weights.csv").read_bytes() == b"input_token,a\na,0\n"
    assert (artifacts / "03_token_embeddings.csv").read_bytes() == b"row,label,x,y\n0,a,0,0\n"
    assert tg.load(artifacts).model.next_probs([0]) == [1.0]


# --- exact reload -----------------------------------------------------------------------------------------------


def contexts_to_compare(ids: Sequence[int], vocab_size: int, context_size: int) -> list[tuple[int, ...]]:
    """All contexts of the text, and some of which most were never seen."""
    seen = [context for context, _ in training_pairs(ids, context_size)]
    same = [(token_id,) * context_size for token_id in range(min(vocab_size, 5))]
    reverse = [context[::-1] for context in seen]
    return list(dict.fromkeys([*seen, *same, *reverse]))


def assert_same_run(loaded: tg.Run, run: tg.Run, ids: Sequence[int]) -> None:
    """The vocabulary, every probability bit for bit, and the loss that the metadata gives."""
    assert (loaded.tokenizer.tokens, loaded.frequencies) == (run.tokenizer.tokens, run.frequencies)
    assert (loaded.tokenizer.kind, loaded.start_ids()) == (run.tokenizer.kind, run.start_ids())
    model = run.model
    assert (loaded.model.vocab_size, loaded.model.context_size) == (model.vocab_size, model.context_size)
    for context in contexts_to_compare(ids, model.vocab_size, model.context_size):
        assert loaded.model.next_probs(context) == model.next_probs(context)
    for length in range(model.min_context, min(model.context_size, 20)):
        assert loaded.model.next_probs(ids[:length]) == model.next_probs(ids[:length])
    assert list(loaded.model.score(ids, model.min_context)) == list(model.score(ids, model.min_context))
    if run.name not in ONLINE:
        start = model.context_size
        loss = summarize(zip(loaded.model.score(ids, start), ids[start:], strict=True)).loss
        assert abs(loss - loaded.meta["metrics"]["train_loss"]) <= 0.5e-6 + 1e-12


def run_of_tokens(kind: str, tokens: Sequence[str], learned: Sequence[str], **options: Any) -> tuple[tg.Run, list[int]]:
    """Train on tokens that no text needs to have; ``tokens`` are the vocabulary."""
    tokenizer = WordTokenizer(tokens)
    ids = tokenizer.token_ids(learned)
    entry = find_model(kind)
    chosen = entry.model_class.settings(kind, entry.context, **options)
    model = entry.model_class.build(len(tokens), chosen, 0)
    history = list(model.fit(Text(ids, len(ids), tokens), chosen, seed=0))
    start = model.context_size
    loss = 0.0 if kind in ONLINE else summarize(zip(model.score(ids, start), ids[start:], strict=True)).loss
    meta = new_meta(
        corpus_of("any").source,
        model.training_record(chosen, history),
        model_kind=kind,
        vocab_size=len(tokens),
        context_size=model.context_size,
        tokenizer={"kind": "word"},
        start_tokens=list(learned[: model.context_size]),
        metrics={"train_loss": round(loss, 6)},
        loss_floor=0.0,
    )
    return tg.Run(model, tokenizer, [learned.count(token) for token in tokens], meta, history), ids


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), kind=st.sampled_from(KINDS), layout=st.sampled_from(["all", "observed", "sparse"]))
def test_any_words_are_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: str, layout: str
) -> None:
    if layout == "all" and kind == "context-5":
        layout = "observed"  # V to the 5 rows are not worth the wait
    pool = data.draw(st.lists(st.text(characters, min_size=1, max_size=6), min_size=1, max_size=6, unique=True))
    learned = data.draw(st.lists(st.sampled_from(pool), min_size=6, max_size=30)) * (3 if kind == "mixture" else 1)
    more = data.draw(st.lists(st.sampled_from(pool), max_size=2))
    rate = {} if kind in COUNTING else {"learning_rate": data.draw(st.sampled_from([1e-6, 0.1, 3.0, 1000.0]))}
    run, ids = run_of_tokens(kind, sorted({*learned, *more}), learned, **rate, **({"epochs": 2} if rate else {}))
    base = tmp_path_factory.mktemp("words")
    written: list[dict[str, bytes]] = []
    for _ in range(2):
        with forced_layout(layout):
            written.append({path.name: path.read_bytes() for path in run.save(base)})
    assert written[0] == written[1]
    loaded = tg.load(base)
    assert loaded.meta["weights"]["layout"] == (
        "safetensors" if kind == "context-mixing" else "tables" if kind in COUNTING else layout
    )
    assert_same_run(loaded, run, ids)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), kind=st.sampled_from(KINDS), observed=st.booleans(), sparse=st.booleans())
def test_any_characters_are_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: str, observed: bool, sparse: bool
) -> None:
    text = data.draw(st.text(characters, min_size=6, max_size=30)) + data.draw(st.text("ab\n", max_size=12))
    if kind == "mixture":
        text *= 3
    layout = "sparse" if sparse else "observed" if observed or kind in ("context-3", "context-5") else "all"
    descent = {} if kind in COUNTING else {"epochs": 2, "learning_rate": 0.5}
    run = tg.train(kind, text=text, tokenizer="char", **descent)
    base = tmp_path_factory.mktemp("characters")
    with forced_layout(layout):
        run.save(base)
    loaded = tg.load(base)
    assert loaded.tokenizer.tokens == sorted(set(text))
    assert loaded.frequencies == [text.count(token) for token in loaded.tokenizer.tokens]
    assert loaded.start_text == text[: run.model.context_size]
    assert_same_run(loaded, run, loaded.tokenizer.encode(text))


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
    drawn = data.draw(st.lists(st.text(characters, min_size=1, max_size=3), min_size=1, max_size=5))
    tokens = sorted(set(drawn))
    ids = st.integers(0, len(tokens) - 1)
    model = NGramTable(len(tokens), context_size)
    for context in data.draw(st.lists(st.tuples(*[ids] * context_size), max_size=4)):
        model.rows[context] = TableRow(data.draw(st.dictionaries(ids, weights, max_size=5)), data.draw(weights))
    model._round_weights()
    folder = tmp_path_factory.mktemp("weights")
    frequencies = [drawn.count(token) for token in tokens]
    with forced_layout(layout):
        write_vocabulary(folder / "v.csv", tokens, frequencies)
        content = model.content()
        path = write_tables(folder, model, tokens)[0]
    assert content.layout == layout
    assert read_vocabulary(folder / "v.csv", len(tokens), 10_000) == (tokens, frequencies)
    loaded = NGramTable(len(tokens), context_size)
    columns = loaded.expected_tables(layout, tokens)[path.name]
    reader = TableReader(tokens, context_size)
    loaded.load_tables({path.name: reader.rows(path, columns, content.tables[0].num_rows)})
    for context in product(range(len(tokens)), repeat=context_size):
        assert loaded.next_probs(context) == model.next_probs(context)
    assert loaded.rows == model.rows


any_text = st.lists(st.text(characters, max_size=4), min_size=6, max_size=20).map(lambda parts: "".join(parts) * 3)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    text=any_text,
    kind=st.sampled_from(["bigram", "kneser-ney"]),
    merges=st.integers(0, 20),
    unheard=st.text(characters, min_size=1, max_size=20),
)
def test_a_bpe_run_has_one_numbering_and_knows_every_text(
    tmp_path_factory: pytest.TempPathFactory, text: str, kind: str, merges: int, unheard: str
) -> None:
    assume(text)
    corpus = corpus_of(text)
    assume(len(encode_corpus(corpus, "bpe", 256 + merges, 0.0).ids) > 5)
    descent = {} if kind in COUNTING else {"epochs": 2, "learning_rate": 0.5}
    run = tg.train(kind, corpus, tokenizer="bpe", bpe_vocab=256 + merges, **descent)
    base = tmp_path_factory.mktemp("pairs")
    run.save(base)
    artifacts = base / "artifacts"
    tokens, frequencies = read_vocabulary(artifacts / "01_vocabulary.csv", run.model.vocab_size, 10**6)
    numbered = {token: token_id for token_id, token in enumerate(tokens)}
    assert 256 <= len(tokens) <= 256 + merges
    assert json.loads((artifacts / "vocab.json").read_text("utf-8")) == numbered
    assert json.loads((artifacts / "tokenizer.json").read_text("utf-8"))["model"]["vocab"] == numbered
    assert json.loads((artifacts / "00_meta.json").read_text("utf-8"))["vocab_size"] == len(tokens)
    loaded = tg.load(base)
    ids = loaded.tokenizer.encode(text)
    assert loaded.tokenizer.decode(ids) == text
    assert [ids.count(token_id) for token_id in range(len(tokens))] == frequencies
    assert_same_run(loaded, run, ids)
    # A byte that training never met has an id and a probability too.
    assert loaded.next(unheard, 3) == run.next(unheard, 3)
    assert loaded.generate(unheard, 2, temperature=0).startswith(unheard)
    for unknown in ("error", "skip", "uniform"):
        found = loaded.score(text=unheard, unknown=unknown)
        assert (found.unknown_tokens, found.num_bytes) == (0, len(unheard.encode()))


@pytest.mark.parametrize("layout", ["all", "observed", "sparse"])
def test_order_of_weights_in_memory_does_not_matter(tmp_path: Path, layout: str) -> None:
    # Sums of floats depend on their order, and a dictionary may have any.
    tokens = [str(number) for number in range(100, 180)]
    generator = random.Random(1)
    model = NGramTable(80, 0)
    token_ids = generator.sample(range(80), 60)
    model.rows[()] = TableRow({token_id: generator.uniform(-3, 3) for token_id in token_ids}, 0.125)
    model._round_weights()
    with forced_layout(layout):
        table = model.content().tables[0]
        write_model_table(tmp_path / table.name, table, tokens)
    loaded = NGramTable(80, 0)
    columns = loaded.expected_tables(layout, tokens)[table.name]
    loaded.load_tables({table.name: TableReader(tokens, 0).rows(tmp_path / table.name, columns, table.num_rows)})
    assert loaded.next_probs([]) == model.next_probs([])
    assert list(model.rows[()].weights) == sorted(token_ids)


@pytest.mark.parametrize("layout", ["all", "observed", "sparse"])
def test_very_long_tokens(tmp_path: Path, layout: str) -> None:
    # Longer than the csv module's own limit of 131,072 characters; the last one differs from the first in its end.
    tokens = ["x" * 200_000, '"|\\' * 60_000, "b", "x" * 199_999 + "y"]
    run = tg.train("bigram", text=" ".join(tokens), epochs=1)
    with forced_layout(layout):
        run.save(tmp_path)
    assert_same_run(tg.load(tmp_path), run, run.tokenizer.token_ids(tokens))


@pytest.mark.parametrize("layout", ["all", "observed", "sparse"])
@pytest.mark.parametrize("kind", ["bigram", "context-2"])
def test_which_contexts_were_seen_is_read_back(tmp_path: Path, kind: str, layout: str) -> None:
    # Evaluation counts the contexts that training never met, and the numbers that training has set: the same in
    # every layout.
    run = tg.train(kind, text="the cat runs . the cat sits . the dog runs away", epochs=2)
    with forced_layout(layout):
        run.save(tmp_path)
    loaded = tg.load(tmp_path)
    ids = loaded.tokenizer.encode("the dog runs . the cat away the dog .")
    before = [prediction.context_seen for prediction in run.model.score(ids)]
    assert True in before
    assert False in before[3:]
    assert [prediction.context_seen for prediction in loaded.model.score(ids)] == before
    assert loaded.model.num_parameters() == run.model.num_parameters()


def test_layouts_hold_the_same_model(tmp_path: Path, repository: Path) -> None:
    run = tg.train("bigram", repository / "corpus/001_animals.txt", epochs=3)
    runs: list[tg.Run] = []
    for layout in ("all", "observed", "sparse"):
        with forced_layout(layout):
            run.save(tmp_path, layout)
        runs.append(tg.load(tmp_path / "artifacts" / layout))
    assert [loaded.meta["weights"]["layout"] for loaded in runs] == ["all", "observed", "sparse"]
    for token_id in range(run.model.vocab_size):
        probs = run.model.next_probs([token_id])
        assert [loaded.model.next_probs([token_id]) for loaded in runs] == [probs] * 3


@pytest.mark.slow
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


@pytest.mark.parametrize(
    "text", ["08", "00", "", "-1", "+1", "1.0", " 1", "1 ", "1_0", "\u0661", "\u00b2", "0x1", "1" * 19, "nan"]
)
def test_parse_int_refuses(text: str) -> None:
    with pytest.raises(InputError, match=r"^what is"):
        parse_int(text, "what")


def test_parse_int_accepts() -> None:
    assert [parse_int(text, "what") for text in ("0", "7", "9" * 18)] == [0, 7, 10**18 - 1]


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "-inf", "Infinity", "1e999", "1,5", "0x1", "--1"])
def test_parse_numbers_refuses(text: str) -> None:
    for cells in ([text], ["1", text], [text, "-2.5"]):
        with pytest.raises(InputError, match=rf"^what is not a finite number: {re.escape(repr(text))}$"):
            parse_numbers(cells, "what")


@pytest.mark.parametrize("text", ["1_0", " 1", "1\n", "\u3000 1", "\u0661", "\uff10.5"])
def test_parse_numbers_reads_only_what_is_written(text: str) -> None:
    # One damaged byte makes 0.25 into 0_25: that is no weight of 25.
    with pytest.raises(InputError, match=r"^what is"):
        parse_numbers([text], "what")


def test_parse_numbers_accepts() -> None:
    assert parse_numbers(["0", "-0.25", "1e-7", "12"], "what") == [0.0, -0.25, 1e-7, 12.0]


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
