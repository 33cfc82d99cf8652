"""test_network_files.py - The files of the networks: what they are called, and that they are the whole model."""

import csv
import json
import math
import random
import tracemalloc
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import toy_gpt_train as tg
from conftest import lay_out
from toy_gpt_train.artifacts.safetensors import StoredTensor, read_safetensors, write_safetensors
from toy_gpt_train.errors import InputError
from toy_gpt_train.models import network
from toy_gpt_train.models.architecture import Architecture
from toy_gpt_train.models.llama import LlamaModel
from toy_gpt_train.models.network import SCORED_OF_TRAINING, NetworkModel
from toy_gpt_train.models.scores import summarize
from toy_gpt_train.nn.rotation import RopeScaling
from toy_gpt_train.run import Run

META, VOCABULARY, SAFETENSORS = "00_meta.json", "01_vocabulary.csv", "02_model_weights.safetensors"
TEXT = "the cat sees the dog . a dog runs to the cat . the dog sees a bird and sits . the bird sees the cat ."
N = 3

Files = dict[str, bytes]

# Every set of files there is: with and without a hidden layer, with one block and with two, tables and safetensors.
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "embeddings": ("embeddings", {"embedding_dim": 2}),
    "hidden": ("embeddings", {"embedding_dim": 2, "hidden_dim": 5}),
    "attention": ("attention", {"embedding_dim": 4}),
    "gpt": ("gpt", {"embedding_dim": 4, "hidden_dim": 6, "heads": 2, "layers": 2}),
    "llama": ("llama", {"embedding_dim": 4, "hidden_dim": 6, "heads": 2, "layers": 2}),
    "safetensors": ("gpt", {"embedding_dim": 4, "hidden_dim": 6, "heads": 2, "layers": 1}),
}
TABLES = tuple(RUNS)[:-1]


def train(base: Path, run: str, text: str = TEXT, *, in_tables: int | None = None, **options: Any) -> Run:
    """Train a tiny network for a few steps, and save it; ``in_tables`` weights at most are written as tables."""
    kind, numbers = RUNS[run]
    corpus = base.parent / "tiny.txt"
    corpus.parent.mkdir(exist_ok=True)
    corpus.write_bytes(text.encode("utf-8"))
    few = {"context": N, "steps": 4, "batch_size": 4, "learning_rate": 0.1, "eval_every": 2, "val_fraction": 0.2}
    if in_tables is None:
        in_tables = 1 if run == "safetensors" else 10**9
    with mock.patch.object(network, "LARGEST_IN_TABLES", in_tables):
        trained = tg.train(kind, corpus, **{**few, **numbers, **options})
        trained.save(base)
    return trained


@pytest.fixture(scope="module")
def base_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``base_of("gpt")`` gives the base folder of a run, trained once; only to be read."""
    known: dict[str, Path] = {}

    def once(run: str) -> Path:
        if run not in known:
            known[run] = tmp_path_factory.mktemp(run) / "run"
            train(known[run], run)
        return known[run]

    return once


@pytest.fixture(scope="module")
def files_of(base_of: Callable[[str], Path]) -> Callable[[str], Files]:
    """``files_of("gpt")`` gives a run's artifacts by name."""
    return lambda run: {path.name: path.read_bytes() for path in sorted((base_of(run) / "artifacts").iterdir())}


def loaded_model(base: Path) -> NetworkModel:
    model = tg.load(base).model
    assert isinstance(model, NetworkModel)
    return model


def weights_of(model: NetworkModel) -> dict[str, list[float]]:
    return {name: list(parameter.data) for name, parameter in model.network.named_parameters()}


def table_of(content: bytes) -> list[list[str]]:
    return list(csv.reader(content.decode("utf-8").splitlines(keepends=True), strict=True))


# --- names and headers ------------------------------------------------------------------------------------------

BLOCK_OF_GPT = {
    "05_W_Q": (4, 4),
    "06_W_K": (4, 4),
    "07_W_V": (4, 4),
    "08_b_Q": (4,),
    "09_b_K": (4,),
    "10_b_V": (4,),
    "11_W_O": (4, 4),
    "12_b_O": (4,),
    "13_W_up": (4, 6),
    "14_b_up": (6,),
    "16_W_down": (6, 4),
    "17_b_down": (4,),
    "20_norm_1_gain": (4,),
    "21_norm_1_shift": (4,),
    "22_norm_2_gain": (4,),
    "23_norm_2_shift": (4,),
}
BLOCK_OF_LLAMA = {
    "05_W_Q": (4, 4),
    "06_W_K": (4, 4),
    "07_W_V": (4, 4),
    "11_W_O": (4, 4),
    "13_W_up": (4, 6),
    "15_W_gate": (4, 6),
    "16_W_down": (6, 4),
    "20_norm_1_gain": (4,),
    "22_norm_2_gain": (4,),
}


def second_block(block: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {f"{name}_block_2": shape for name, shape in block.items()}


# Each file but the metadata, the vocabulary and 02_model_weights.csv: inputs and outputs of a matrix, or a length.
FILES: dict[str, dict[str, tuple[int, ...]]] = {
    "embeddings": {"03_token_embeddings": (11, 2), "26_output_bias": (11,)},
    "hidden": {
        "03_token_embeddings": (11, 2),
        "18_W_hidden": (6, 5),
        "19_b_hidden": (5,),
        "26_output_bias": (11,),
    },
    "attention": {
        "03_token_embeddings": (11, 4),
        "04_positional_embeddings": (3, 4),
        "05_W_Q": (4, 4),
        "06_W_K": (4, 4),
        "07_W_V": (4, 4),
        "26_output_bias": (11,),
    },
    "gpt": {
        "03_token_embeddings": (11, 4),
        "04_positional_embeddings": (3, 4),
        **BLOCK_OF_GPT,
        **second_block(BLOCK_OF_GPT),
        "24_final_norm_gain": (4,),
        "25_final_norm_shift": (4,),
    },
    "llama": {
        "03_token_embeddings": (11, 4),
        **BLOCK_OF_LLAMA,
        **second_block(BLOCK_OF_LLAMA),
        "24_final_norm_gain": (4,),
    },
}
LAST_LAYER = {
    "embeddings": ["-3|dim_0", "-3|dim_1", "-2|dim_0", "-2|dim_1", "-1|dim_0", "-1|dim_1"],
    "hidden": [f"dim_{i}" for i in range(5)],
}
TOKENS = [".", "a", "and", "bird", "cat", "dog", "runs", "sees", "sits", "the", "to"]


def expected_head(name: str, shape: tuple[int, ...]) -> tuple[list[str], list[list[str]]]:
    """The header of a file, and the first cells of its rows."""
    numbers = [f"dim_{j}" for j in range(shape[1])] if len(shape) == 2 else ["value"]
    if name in ("03_token_embeddings", "26_output_bias"):
        return ["token_id", "token", *numbers], [[str(i), token] for i, token in enumerate(TOKENS)]
    first = "position" if name == "04_positional_embeddings" else "dim"
    return [first, *numbers], [[str(i)] for i in range(shape[0])]


@pytest.mark.parametrize("run", TABLES)
def test_names_headers_and_rows(files_of: Callable[[str], Files], run: str) -> None:
    files = files_of(run)
    names = [META, VOCABULARY, "02_model_weights.csv", *(f"{name}.csv" for name in FILES[run])]
    assert sorted(files) == sorted(names)
    header, *rows = table_of(files["02_model_weights.csv"])
    assert header == ["input_token", *TOKENS]
    assert [row[0] for row in rows] == LAST_LAYER.get(run, [f"dim_{i}" for i in range(4)])
    for name, shape in FILES[run].items():
        header, *rows = table_of(files[f"{name}.csv"])
        expected_header, first_cells = expected_head(name, shape)
        assert header == expected_header
        assert [row[: len(first_cells[0])] for row in rows] == first_cells
        assert {len(row) for row in rows} == {len(header)}
    for name, content in files.items():
        assert content.endswith(b"\n")
        assert b"\r" not in content
        assert name == META or b"-0," not in content.replace(b"\n", b",")


@pytest.mark.parametrize("run", TABLES)
def test_every_weight_stands_in_one_file(
    base_of: Callable[[str], Path], files_of: Callable[[str], Files], run: str
) -> None:
    model = loaded_model(base_of(run))
    inside = [number for numbers in weights_of(model).values() for number in numbers]
    written: list[float] = []
    for name, content in files_of(run).items():
        if name not in (META, VOCABULARY):
            header, *rows = table_of(content)
            words = 2 if header[0] == "token_id" else 1
            written += [float(cell) for row in rows for cell in row[words:]]
    assert sorted(written) == sorted(inside)
    assert len(written) == model.num_parameters()
    assert all(round(number, 6) == number for number in written)


def test_matrices_are_inputs_by_outputs(base_of: Callable[[str], Path], files_of: Callable[[str], Files]) -> None:
    # x W: row i holds what input i adds to each output. Inside, a matrix is outputs by inputs.
    matrices = loaded_model(base_of("gpt")).network.state_dict()
    for file, name in (
        ("05_W_Q.csv", "blocks.0.attention.q_proj.weight"),
        ("13_W_up_block_2.csv", "blocks.1.feed_forward.up_proj.weight"),
        ("02_model_weights.csv", "output.weight"),
    ):
        rows = table_of(files_of("gpt")[file])[1:]
        outputs = matrices[name].tolist()
        assert len(rows) == matrices[name].shape[1]
        for i, row in enumerate(rows):
            assert [float(cell) for cell in row[1:]] == [numbers[i] for numbers in outputs]


GROUPED = {"embedding_dim": 8, "hidden_dim": 6, "heads": 4, "kv_heads": 2, "tied": True}


@pytest.mark.parametrize("in_tables", [1, 10**6])
def test_a_shared_weight_is_written_once(tmp_path: Path, in_tables: int) -> None:
    with mock.patch.object(network, "LARGEST_IN_TABLES", in_tables):
        run = tg.train("llama", text=TEXT, context=N, steps=2, batch_size=2, save_to=tmp_path, **GROUPED)
    read = tg.load(tmp_path)
    assert read.model.logits([1, 2, 3]) == run.model.logits([1, 2, 3])
    assert "output.weight" not in {parameter["name"] for parameter in read.meta["parameters"]}
    assert not (tmp_path / "artifacts" / "02_model_weights.csv").exists()
    assert GROUPED.items() <= read.meta["architecture"].items()
    assert "norm_eps" not in read.meta["architecture"]


UNUSUAL = {"head_dim": 6, "attention_bias": True, "mlp_bias": True, "rope_scaling": RopeScaling(2.0, 1.0, 4.0, 8)}


def test_what_only_imported_models_have_is_read_back(tmp_path: Path) -> None:
    run = tg.train("llama", text=TEXT, context=N, steps=2, batch_size=2)
    run = replace(run, model=LlamaModel(run.model.vocab_size, N, Architecture(**GROUPED, **UNUSUAL), seed=1))
    run.model._round_weights()
    run.save(tmp_path)
    read = tg.load(tmp_path)
    assert read.model.logits([1, 2, 3]) == run.model.logits([1, 2, 3])
    assert read.model.architecture == run.model.architecture
    assert read.meta["architecture"]["rope_scaling"] == asdict(UNUSUAL["rope_scaling"])
    assert (tmp_path / "artifacts" / "27_b_gate.csv").exists()
    meta = tmp_path / "artifacts" / META
    for scaling, words in (
        (3, "rope_scaling of the architecture is not an object"),
        ({"factor": 2.0}, "the rope_scaling has no low_freq_factor"),
        ({"factor": True}, "factor of the rope_scaling is not of type float"),
        ({"speed": 2.0}, "the rope_scaling has an unknown number 'speed'"),
    ):
        changed = {**read.meta, "architecture": {**read.meta["architecture"], "rope_scaling": scaling}}
        meta.write_text(json.dumps(changed), "utf-8")
        with pytest.raises(InputError, match=words):
            tg.load(tmp_path)


@pytest.mark.parametrize("run", RUNS)
def test_metadata(base_of: Callable[[str], Path], files_of: Callable[[str], Files], run: str) -> None:
    files = files_of(run)
    meta = json.loads(files[META])
    kind, numbers = RUNS[run]
    assert (meta["model_kind"], meta["vocab_size"], meta["context_size"]) == (kind, 11, N)
    assert meta["artifacts"] == {name: name for name in files}
    assert meta["start_tokens"] == ["the", "cat", "sees"]
    default = {"hidden_dim": 0, "heads": 1, "layers": 1, "dropout": 0.0, "rope_base": 10_000.0, "bias": True}
    assert meta["architecture"] == {**default, **numbers}
    training = meta["training"]
    assert (training["steps"], training["batch_size"], training["learning_rate"], training["context"]) == (4, 4, 0.1, N)
    # 27 words, of which 21 are learned; a step reads 4 windows and predicts N tokens of each, or one in model 500.
    assert training["epochs"] == round(4 * 4 * (1 if kind == "embeddings" else N) / 21, 6)
    assert sorted(meta["metrics"]) == ["train_accuracy", "train_loss", "val_accuracy", "val_loss"]
    parameters = dict(loaded_model(base_of(run)).network.named_parameters())
    assert [parameter["name"] for parameter in meta["parameters"]] == list(parameters)
    for parameter in meta["parameters"]:
        assert list(parameter) == ["file", "name", "shape"]
        assert tuple(parameter["shape"]) == parameters[parameter["name"]].shape
    described = {parameter["file"] for parameter in meta["parameters"]}
    assert described == files.keys() - {META, VOCABULARY}
    if run == "safetensors":
        assert meta["weights"] == {"layout": "safetensors"}
    else:
        rows = {name: len(table_of(files[name])) - 1 for name in described}
        assert meta["weights"] == {"layout": "tables", "decimals": 6, "rows": rows}
        assert len(described) == len(parameters)
    log = (base_of(run) / "outputs/train_log.csv").read_text("utf-8").splitlines()
    assert log[0].startswith("epoch,avg_loss,accuracy,step,learning_rate,grad_norm,val_loss,val_accuracy")
    assert [line.split(",")[3] for line in log[1:]] == ["2", "4"]


# --- what is read back is what was evaluated --------------------------------------------------------------------


@pytest.mark.parametrize("run", RUNS)
def test_model_that_is_read_is_the_one_that_was_trained(tmp_path: Path, run: str) -> None:
    trained = train(tmp_path / "run", run)
    loaded, model = tg.load(tmp_path / "run"), loaded_model(tmp_path / "run")
    assert isinstance(trained.model, NetworkModel)
    assert weights_of(model) == weights_of(trained.model)
    for context in ([0, 1, 2], [10, 10, 10], [3, 9, 4]):
        assert model.next_probs(context) == trained.model.next_probs(context)
    # And its figures are those that the metadata give, to the last of six decimals.
    ids = loaded.tokenizer.encode(TEXT)
    assert len(ids) < SCORED_OF_TRAINING
    start = model.min_context
    seen = summarize(zip(model.score(ids[:21], start), ids[start:21], strict=True))
    held_out = summarize(zip(model.score(ids, 21), ids[21:], strict=True))
    assert loaded.meta["metrics"] == {
        "train_loss": round(seen.loss, 6),
        "train_accuracy": round(seen.accuracy, 6),
        "val_loss": round(held_out.loss, 6),
        "val_accuracy": round(held_out.accuracy, 6),
    }
    assert trained.held_out is not None
    found = trained.held_out
    assert (found.num_tokens, found.loss, found.accuracy) == (held_out.num_tokens, held_out.loss, held_out.accuracy)
    assert loaded.frequencies == trained.frequencies
    assert loaded.meta["training"] == trained.meta["training"]


@pytest.mark.parametrize("run", RUNS)
def test_training_twice_gives_the_same_bytes(
    tmp_path: Path, base_of: Callable[[str], Path], listing: Callable[[Path], Any], run: str
) -> None:
    train(tmp_path / "run", run)
    assert listing(tmp_path / "run") == listing(base_of(run))
    train(tmp_path / "other/run", run, seed=1)
    differing = [
        name for name, content in listing(tmp_path / "other/run").items() if content != listing(base_of(run))[name]
    ]
    assert "artifacts/02_model_weights" in "".join(differing)


def test_long_training_text_is_scored_at_its_end(tmp_path: Path) -> None:
    with mock.patch.object(network, "SCORED_OF_TRAINING", 5):
        train(tmp_path / "run", "gpt", val_fraction=0.0)
    loaded = tg.load(tmp_path / "run")
    ids = loaded.tokenizer.encode(TEXT)
    start = len(ids) - 5
    scores = summarize(zip(loaded.model.score(ids, start), ids[start:], strict=True))
    assert loaded.meta["metrics"]["train_loss"] == round(scores.loss, 6)


UNUSUAL_TEXTS = {
    "char": 'a,b "c" |d|\\\n*e* a,\r\n"b" |\\n| é😀 \t;\x00a,b "c" |d|\\\n*e*',
    "word": '* | \\ , " "" input_token token_id * dim_0 \\| é 😀 * | \\ , " , value 0 1 nan',
    "bpe": 'a,b "c" |d|\\\n*e* a,\r\n"b" |\\n| é😀 ' * 3,
}


@pytest.mark.parametrize("tokenizer", UNUSUAL_TEXTS)
@pytest.mark.parametrize("run", ["embeddings", "gpt", "safetensors"])
def test_unusual_tokens(tmp_path: Path, tokenizer: str, run: str) -> None:
    text = UNUSUAL_TEXTS[tokenizer]
    trained = train(tmp_path / "run", run, text, tokenizer=tokenizer, bpe_vocab=258)
    loaded = tg.load(tmp_path / "run")
    tokens = loaded.tokenizer.tokens
    assert set(",|") <= set("".join(tokens))
    if run != "safetensors":
        with (tmp_path / "run/artifacts/02_model_weights.csv").open(encoding="utf-8", newline="") as file:
            assert next(csv.reader(file)) == ["input_token", *tokens]
        with (tmp_path / "run/artifacts/03_token_embeddings.csv").open(encoding="utf-8", newline="") as file:
            assert [row[1] for row in csv.reader(file)][1:] == tokens
    assert loaded.model.next_probs([0, 1, 2]) == trained.model.next_probs([0, 1, 2])


# --- predictions from the CSV files alone -----------------------------------------------------------------------

Vector = list[float]
Matrix = list[list[float]]


class Tables:
    """The content of the CSV files, and the few operations that a network is made of; nothing from the project."""

    def __init__(self, folder: Path) -> None:
        self._rows: dict[str, Matrix] = {}
        for path in folder.glob("*.csv"):
            with path.open(encoding="utf-8", newline="") as file:
                header, *rows = csv.reader(file)
            words = 2 if header[0] == "token_id" else 1
            if path.stem != "01_vocabulary":
                self._rows[path.stem] = [[float(cell) for cell in row[words:]] for row in rows]

    def rows(self, name: str, block: int = 1) -> Matrix:
        return self._rows[name if block == 1 else f"{name}_block_{block}"]

    def vector(self, name: str, block: int = 1) -> Vector:
        return [number for (number,) in self.rows(name, block)]

    def linear(self, x: Vector, weight: str, bias: str = "", block: int = 1) -> Vector:
        """X W + b, with W as it is written."""
        rows = self.rows(weight, block)
        start = self.vector(bias, block) if bias else [0.0] * len(rows[0])
        return [b + sum(x[i] * row[j] for i, row in enumerate(rows)) for j, b in enumerate(start)]

    def layer_norm(self, x: Vector, gain: str, shift: str, block: int = 1) -> Vector:
        mean = sum(x) / len(x)
        deviation = math.sqrt(sum((a - mean) ** 2 for a in x) / len(x) + 1e-5)
        gains, shifts = self.vector(gain, block), self.vector(shift, block)
        return [(a - mean) / deviation * g + s for a, g, s in zip(x, gains, shifts, strict=True)]

    def rms_norm(self, x: Vector, gain: str, block: int = 1) -> Vector:
        size = math.sqrt(sum(a * a for a in x) / len(x) + 1e-5)
        return [a / size * g for a, g in zip(x, self.vector(gain, block), strict=True)]


def plus(x: Vector, y: Vector) -> Vector:
    return [a + b for a, b in zip(x, y, strict=True)]


def attend(queries: Matrix, keys: Matrix, values: Matrix, heads: int) -> Matrix:
    """For each token the weighted sum of the values up to it, head by head."""
    size = len(queries[0]) // heads
    told: Matrix = []
    for t, query in enumerate(queries):
        row: Vector = []
        for begin in range(0, heads * size, size):
            part = slice(begin, begin + size)
            scores = [sum(a * b for a, b in zip(query[part], key[part], strict=True)) for key in keys[: t + 1]]
            powers = [math.exp(score / math.sqrt(size)) for score in scores]
            weights = [power / sum(powers) for power in powers]
            row += [sum(weights[s] * values[s][begin + j] for s in range(t + 1)) for j in range(size)]
        told.append(row)
    return told


def rotate(x: Vector, position: int, heads: int) -> Vector:
    """RoPE: each pair of a head is rotated by its own angle times the position."""
    size = len(x) // heads
    rotated: Vector = []
    for i in range(0, len(x), 2):
        angle = position * 10000.0 ** (-(i % size) / size)
        rotated += [
            x[i] * math.cos(angle) - x[i + 1] * math.sin(angle),
            x[i] * math.sin(angle) + x[i + 1] * math.cos(angle),
        ]
    return rotated


def embeddings_logits(files: Tables, context: Sequence[int]) -> Vector:
    x = [number for token_id in context for number in files.rows("03_token_embeddings")[token_id]]
    return files.linear(x, "02_model_weights", "26_output_bias")


def hidden_logits(files: Tables, context: Sequence[int]) -> Vector:
    x = [number for token_id in context for number in files.rows("03_token_embeddings")[token_id]]
    x = list(map(math.tanh, files.linear(x, "18_W_hidden", "19_b_hidden")))
    return files.linear(x, "02_model_weights", "26_output_bias")


def tokens_and_positions(files: Tables, context: Sequence[int]) -> Matrix:
    positions = files.rows("04_positional_embeddings")
    return [plus(files.rows("03_token_embeddings")[token_id], positions[t]) for t, token_id in enumerate(context)]


def attention_logits(files: Tables, context: Sequence[int]) -> Vector:
    xs = tokens_and_positions(files, context)
    queries, keys, values = ([files.linear(x, name) for x in xs] for name in ("05_W_Q", "06_W_K", "07_W_V"))
    return files.linear(attend(queries, keys, values, 1)[-1], "02_model_weights", "26_output_bias")


def gpt_logits(files: Tables, context: Sequence[int]) -> Vector:
    xs = tokens_and_positions(files, context)
    for block in (1, 2):
        normed = [files.layer_norm(x, "20_norm_1_gain", "21_norm_1_shift", block) for x in xs]
        layers = (("05_W_Q", "08_b_Q"), ("06_W_K", "09_b_K"), ("07_W_V", "10_b_V"))
        queries, keys, values = ([files.linear(x, *names, block) for x in normed] for names in layers)
        told = attend(queries, keys, values, 2)
        xs = [plus(x, files.linear(row, "11_W_O", "12_b_O", block)) for x, row in zip(xs, told, strict=True)]
        for t, x in enumerate(xs):
            up = files.linear(
                files.layer_norm(x, "22_norm_2_gain", "23_norm_2_shift", block), "13_W_up", "14_b_up", block
            )
            hidden = [a / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a**3))) for a in up]
            xs[t] = plus(x, files.linear(hidden, "16_W_down", "17_b_down", block))
    return files.linear(files.layer_norm(xs[-1], "24_final_norm_gain", "25_final_norm_shift"), "02_model_weights")


def llama_logits(files: Tables, context: Sequence[int]) -> Vector:
    xs = [files.rows("03_token_embeddings")[token_id] for token_id in context]
    for block in (1, 2):
        normed = [files.rms_norm(x, "20_norm_1_gain", block) for x in xs]
        queries = [rotate(files.linear(x, "05_W_Q", "", block), t, 2) for t, x in enumerate(normed)]
        keys = [rotate(files.linear(x, "06_W_K", "", block), t, 2) for t, x in enumerate(normed)]
        values = [files.linear(x, "07_W_V", "", block) for x in normed]
        told = attend(queries, keys, values, 2)
        xs = [plus(x, files.linear(row, "11_W_O", "", block)) for x, row in zip(xs, told, strict=True)]
        for t, x in enumerate(xs):
            inner = files.rms_norm(x, "22_norm_2_gain", block)
            gates, ups = files.linear(inner, "15_W_gate", "", block), files.linear(inner, "13_W_up", "", block)
            gated = [gate / (1 + math.exp(-gate)) * up for gate, up in zip(gates, ups, strict=True)]
            xs[t] = plus(x, files.linear(gated, "16_W_down", "", block))
    return files.linear(files.rms_norm(xs[-1], "24_final_norm_gain"), "02_model_weights")


BY_HAND: dict[str, Callable[[Tables, Sequence[int]], Vector]] = {
    "embeddings": embeddings_logits,
    "hidden": hidden_logits,
    "attention": attention_logits,
    "gpt": gpt_logits,
    "llama": llama_logits,
}


@pytest.mark.parametrize("run", BY_HAND)
def test_prediction_from_the_files_alone(base_of: Callable[[str], Path], run: str) -> None:
    model = loaded_model(base_of(run))
    files = Tables(base_of(run) / "artifacts")
    for context in ([0, 10, 3], [5, 5, 5], [9, 4], [7]):
        if len(context) < model.min_context:
            continue
        powers = list(map(math.exp, BY_HAND[run](files, context)))
        assert model.next_probs(context) == pytest.approx([power / sum(powers) for power in powers], abs=1e-9)


# --- too many weights for tables --------------------------------------------------------------------------------


def test_safetensors_hold_every_weight(base_of: Callable[[str], Path], files_of: Callable[[str], Files]) -> None:
    files = files_of("safetensors")
    assert sorted(files) == [META, VOCABULARY, SAFETENSORS]
    # The format, read by hand: the header's length, the header, the numbers.
    content = files[SAFETENSORS]
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    model = loaded_model(base_of("safetensors"))
    assert header.keys() == model.network.state_dict().keys()
    assert "blocks.0.attention.q_proj.bias" in header
    for name, numbers in weights_of(model).items():
        entry = header[name]
        assert entry["dtype"] == "F32"
        assert tuple(entry["shape"]) == model.network.state_dict()[name].shape
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        assert list(array("f", content[begin:end])) == numbers


@pytest.mark.parametrize("run", ["hidden", "llama"])
def test_where_tables_end(tmp_path: Path, run: str) -> None:
    count = train(tmp_path / "run", run).model.num_parameters()
    for in_tables, layout in ((count, "tables"), (count - 1, "safetensors")):
        train(tmp_path / "run", run, in_tables=in_tables)
        names = {path.name for path in (tmp_path / "run/artifacts").iterdir()}
        assert (SAFETENSORS in names) == (layout == "safetensors")
        assert tg.load(tmp_path / "run").meta["weights"]["layout"] == layout


# --- one run replaces another -----------------------------------------------------------------------------------


def test_another_kind_leaves_nothing_of_the_one_before(tmp_path: Path) -> None:
    base = tmp_path / "run"
    artifacts = base / "artifacts"
    artifacts.mkdir(parents=True)
    (artifacts / "notes.txt").write_text("mine", encoding="utf-8")
    for run in ("gpt", "llama", "safetensors", "bigram", "attention", "kneser-ney", "hidden", "embeddings", "unigram"):
        if run in RUNS:
            train(base, run)
        else:
            tg.train(run, text=TEXT).save(base)
        meta = json.loads((artifacts / META).read_bytes())
        assert sorted(path.name for path in artifacts.iterdir()) == [*sorted(meta["artifacts"]), "notes.txt"]
        assert tg.load(base).meta["model_kind"] == RUNS.get(run, (run,))[0]
    assert (artifacts / "notes.txt").read_text("utf-8") == "mine"


# --- damage -----------------------------------------------------------------------------------------------------


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[Files], str]:
    """``refused(files)`` writes files as a run's, asserts that it is refused with one line, and gives the line."""

    def check(files: Files) -> str:
        lay_out(tmp_path, files)
        with pytest.raises(InputError) as refusal:
            tg.load(tmp_path)
        message = str(refusal.value)
        assert message
        assert "\n" not in message
        return message

    return check


def edit_lines(content: bytes, edit: Callable[[list[str]], object]) -> bytes:
    lines = content.decode("utf-8").splitlines()
    edit(lines)
    return "".join(line + "\n" for line in lines).encode("utf-8")


def set_cell(line: int, cell: int, text: str) -> Callable[[list[str]], object]:
    """Replace one cell; the tiny text has none that needs quotes."""

    def edit(lines: list[str]) -> None:
        cells = lines[line].split(",")
        cells[cell] = text
        lines[line] = ",".join(cells)

    return edit


def swap(first: int, second: int) -> Callable[[list[str]], object]:
    def edit(lines: list[str]) -> None:
        lines[first], lines[second] = lines[second], lines[first]

    return edit


def without_column(column: int) -> Callable[[list[str]], object]:
    def edit(lines: list[str]) -> None:
        rows = [line.split(",") for line in lines]
        for row in rows:
            row.pop(column)
        lines[:] = map(",".join, rows)

    return edit


def some_of(files: Files) -> list[str]:
    """The metadata, the vocabulary, and the others: of a Transformer's many files every fifth, of all sorts."""
    first, others = [META, VOCABULARY], [name for name in files if name not in (META, VOCABULARY)]
    return first + (others if len(others) < 8 else others[::5])


DAMAGE: dict[str, Callable[[list[str]], object]] = {
    "empty": lambda lines: lines.clear(),
    "only the header": lambda lines: lines.__delitem__(slice(1, None)),
    "no header": lambda lines: lines.pop(0),
    "first row missing": lambda lines: lines.pop(1),
    "last row missing": lambda lines: lines.pop(),
    "first row twice": lambda lines: lines.insert(1, lines[1]),
    "one row more": lambda lines: lines.append(lines[-1]),
    "blank line": lambda lines: lines.insert(1, ""),
    "first rows swapped": swap(1, 2),
    "last rows swapped": swap(-1, -2),
    "first column missing": without_column(0),
    "last column missing": without_column(-1),
    "column more": lambda lines: lines.__setitem__(slice(None), [f"{line},0" for line in lines]),
    "another header": set_cell(0, -1, "other"),
    "another first header": set_cell(0, 0, "Dim"),
    "another label": set_cell(1, 0, "7"),
    "label of text": set_cell(1, 0, "first"),
    "cell missing": lambda lines: lines.__setitem__(1, lines[1].rpartition(",")[0]),
    **{
        f"cell is {text!r}": set_cell(1, -1, text)
        for text in ("", "x", "nan", "NaN", "inf", "-inf", "1e999", "0x1", "1_0", " 1", "1 ", "--1", "1,5", "٣")
    },
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("run", TABLES)
def test_damaged_table_is_refused(
    files_of: Callable[[str], Files], refused: Callable[[Files], str], run: str, damage: str
) -> None:
    files = files_of(run)
    for name in some_of(files)[2:]:
        damaged = edit_lines(files[name], DAMAGE[damage])
        assert damaged != files[name]
        assert name in refused({**files, name: damaged})


@pytest.mark.parametrize("run", TABLES)
def test_every_file_is_needed(files_of: Callable[[str], Files], refused: Callable[[Files], str], run: str) -> None:
    files = files_of(run)
    for name in files:
        rest = {other: content for other, content in files.items() if other != name}
        assert name in refused(rest)
        if name.endswith(".csv"):
            assert name in refused({**files, name: edit_lines(files[name], lambda lines: lines.pop())})


def offsets(size: int) -> Iterator[int]:
    yield from range(0, size - 3, max(size // 5, 1))
    yield from range(max(size - 3, 0), size)


@pytest.mark.parametrize("run", RUNS)
def test_truncated_file_is_refused(files_of: Callable[[str], Files], refused: Callable[[Files], str], run: str) -> None:
    files = files_of(run)
    for name in some_of(files):
        # The metadata may lose its last line end and still be whole.
        for offset in offsets(len(files[name]) - (name == META)):
            assert name in refused({**files, name: files[name][:offset]})


@pytest.mark.parametrize("run", ["attention", "llama"])
def test_wrong_vocabulary_is_refused(
    files_of: Callable[[str], Files], refused: Callable[[Files], str], run: str
) -> None:
    files = files_of(run)
    for edit in (swap(1, 2), set_cell(3, 1, "zzz"), lambda lines: lines.append("11,zzz,1")):
        refused({**files, VOCABULARY: edit_lines(files[VOCABULARY], edit)})


@pytest.mark.parametrize("run", TABLES)
def test_rows_that_the_metadata_do_not_say(
    files_of: Callable[[str], Files], refused: Callable[[Files], str], run: str
) -> None:
    # Both the file and its number of rows changed: only the architecture tells that a row is too many or missing.
    files = files_of(run)
    edits: dict[int, Callable[[list[str]], object]] = {-1: list.pop, 1: lambda lines: lines.append(lines[-1])}
    for change, edit in edits.items():
        for name in ("02_model_weights.csv", list(files)[-1]):
            meta = json.loads(files[META])
            meta["weights"]["rows"][name] += change
            damaged = edit_lines(files[name], edit)
            message = refused({**files, name: damaged, META: json.dumps(meta).encode()})
            assert name in message
            assert name in refused({**files, META: json.dumps(meta).encode()})


# --- hostile metadata -------------------------------------------------------------------------------------------

MISSING = "(missing)"
NO_SIZES: tuple[Any, ...] = (10**9, 2**70, -1, 0, True, 4.0, "4", None, [])

# (field, what is wrong with it)
WRONG_META: list[tuple[str, Sequence[Any]]] = [
    ("architecture.embedding_dim", (*NO_SIZES, 65_536, 8, 3, MISSING)),
    ("architecture.hidden_dim", [value for value in NO_SIZES if value != 0]),
    ("architecture.heads", (*NO_SIZES, 3)),
    ("architecture.layers", NO_SIZES),
    ("architecture.dropout", (1, -0.5, True, "0", None, float("nan"), 10**400)),
    ("architecture.depth", (1,)),
    ("architecture", (MISSING, [], {}, None, "4")),
    ("weights.layout", ("all", "observed", "sparse", "", None, [], MISSING)),
    ("context_size", (0, -1, True, "3", MISSING)),
    ("vocab_size", (10, 12, 10**9, 2**70)),
    ("model_kind", ("bigram", "context-3", "kneser-ney", "mixture", "gpt2")),
]
# What is wrong with some runs only: the others do not have it.
WRONG_SOMEWHERE: list[tuple[str, str, Sequence[Any]]] = [
    *((run, "weights.layout", ("safetensors",)) for run in TABLES),
    *((run, "weights.rows", (MISSING, {}, [], 7, {"02_model_weights.csv": 4})) for run in TABLES),
    *((run, "context_size", (2, 4, 10**9, 2**70)) for run in RUNS),
    ("hidden", "architecture.hidden_dim", (MISSING, 0, 4, 6, 65_536)),
    *((run, "architecture.hidden_dim", (MISSING, 0, 7, 65_536)) for run in ("gpt", "llama", "safetensors")),
    *((run, "architecture.layers", (3, 65_536)) for run in ("gpt", "llama", "safetensors")),
    # A block's files would be left over, or a head would get other values: a model that nobody trained.
    *((run, "architecture.layers", (value,)) for run in ("gpt", "llama") for value in (1, MISSING)),
    *((run, "architecture.heads", (MISSING,)) for run in ("gpt", "llama", "safetensors")),
]


def changed_meta(content: bytes, field: str, value: Any) -> bytes:
    meta = json.loads(content)
    owner, *inner = [meta, *field.split(".")]
    for name in inner[:-1]:
        owner = owner[name]
    if value is MISSING:
        del owner[inner[-1]]
    else:
        assert repr(owner.get(inner[-1])) != repr(value)
        owner[inner[-1]] = value
    return json.dumps(meta).encode()


@contextmanager
def little_memory() -> Iterator[None]:
    """Fail if a network as large as hostile metadata claim is made, before it fills the memory."""
    weights = iter(range(5_000))

    def gauss(generator: random.Random, mean: float, std: float) -> float:
        assert next(weights, None) is not None, "endless weights"
        return 0.5

    tracemalloc.start()
    try:
        with mock.patch.object(random.Random, "gauss", gauss):
            yield
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("run", "field", "values"),
    [*((run, *wrong) for run in RUNS for wrong in WRONG_META), *WRONG_SOMEWHERE],
    ids=lambda value: value if isinstance(value, str) else "" if len(value) > 2 else str(value)[:20],
)
def test_wrong_metadata_is_refused(
    files_of: Callable[[str], Files], refused: Callable[[Files], str], run: str, field: str, values: Sequence[Any]
) -> None:
    files = files_of(run)
    for value in values:
        damaged = changed_meta(files[META], field, value)
        with little_memory():
            refused({**files, META: damaged})


@pytest.mark.parametrize("kind", ["embeddings", "attention", "gpt", "llama"])
@pytest.mark.parametrize("run", RUNS)
def test_kind_of_another_network_is_refused(
    files_of: Callable[[str], Files], refused: Callable[[Files], str], run: str, kind: str
) -> None:
    files = files_of(run)
    if RUNS[run][0] != kind:
        refused({**files, META: changed_meta(files[META], "model_kind", kind)})


# --- damaged safetensors ----------------------------------------------------------------------------------------

Tensors = dict[str, StoredTensor]


def change(name: str, shape: tuple[int, ...], typecode: str = "f") -> Callable[[Tensors], object]:
    def edit(tensors: Tensors) -> None:
        tensors[name] = shape, array(typecode, [0.5] * math.prod(shape))

    return edit


TENSOR_DAMAGE: dict[str, tuple[str, Callable[[Tensors], object]]] = {
    "a parameter missing": ("norm.bias", lambda tensors: tensors.pop("norm.bias")),
    "a parameter more": ("norm.gain", change("norm.gain", (4,))),
    "another name": ("norm.gain", lambda tensors: tensors.update({"norm.gain": tensors.pop("norm.bias")})),
    "a vector that is too long": ("norm.bias", change("norm.bias", (5,))),
    "a vector as a matrix": ("norm.bias", change("norm.bias", (1, 4))),
    "a transposed matrix": ("up_proj", change("blocks.0.feed_forward.up_proj.weight", (4, 6))),
    "a matrix of too many": ("up_proj", change("blocks.0.feed_forward.up_proj.weight", (7, 4))),
    "a single number": ("norm.bias", change("norm.bias", ())),
    "no numbers": ("norm.bias", change("norm.bias", (0,))),
    "a second block": ("blocks.1", change("blocks.1.norm_1.weight", (4,))),
    "none at all": ("output.weight", lambda tensors: tensors.clear()),
}


@pytest.mark.parametrize("damage", TENSOR_DAMAGE)
def test_tensors_that_do_not_fit_are_refused(
    tmp_path_factory: pytest.TempPathFactory,
    base_of: Callable[[str], Path],
    files_of: Callable[[str], Files],
    refused: Callable[[Files], str],
    damage: str,
) -> None:
    tensors, _ = read_safetensors(base_of("safetensors") / "artifacts" / SAFETENSORS)
    named, edit = TENSOR_DAMAGE[damage]
    edit(tensors)
    path = tmp_path_factory.mktemp("tensors") / SAFETENSORS
    write_safetensors(path, tensors)
    message = refused({**files_of("safetensors"), SAFETENSORS: path.read_bytes()})
    assert SAFETENSORS in message
    assert named in message


def test_tensors_of_8_bytes_are_the_same_model(base_of: Callable[[str], Path], tmp_path: Path) -> None:
    # The other dtype that the format's reader knows: the same numbers, or a refusal; nothing in between.
    artifacts = base_of("safetensors") / "artifacts"
    tensors, _ = read_safetensors(artifacts / SAFETENSORS)
    for name in (META, VOCABULARY):
        (tmp_path / name).write_bytes((artifacts / name).read_bytes())
    write_safetensors(
        tmp_path / SAFETENSORS, {name: (shape, array("d", data)) for name, (shape, data) in tensors.items()}
    )
    assert weights_of(loaded_model(tmp_path)) == weights_of(loaded_model(artifacts))


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"F32"', b'"F16"'), (b'"F32"', b'"I32"'), (b'"norm.bias"', b'"norm.bjas"'), (b"[4]", b"[9]"), (b"{", b"[")],
)
def test_header_of_tensors_is_checked(
    files_of: Callable[[str], Files], refused: Callable[[Files], str], old: bytes, new: bytes
) -> None:
    files = files_of("safetensors")
    damaged = files[SAFETENSORS].replace(old, new, 1)
    assert damaged != files[SAFETENSORS]
    assert SAFETENSORS in refused({**files, SAFETENSORS: damaged})


@pytest.mark.parametrize("number", [b"\x00\x00\x80\x7f", b"\x00\x00\x80\xff", b"\x00\x00\xc0\x7f"])
def test_tensors_that_are_not_finite_are_refused(
    files_of: Callable[[str], Files], refused: Callable[[Files], str], number: bytes
) -> None:
    files = files_of("safetensors")
    assert "not finite" in refused({**files, SAFETENSORS: files[SAFETENSORS][:-4] + number})
    assert SAFETENSORS in refused({**files, SAFETENSORS: files[SAFETENSORS] + number})


# --- whatever happens to a file ---------------------------------------------------------------------------------


@pytest.mark.parametrize("run", ["attention", "llama"])
@pytest.mark.parametrize("number", ["1e308", "-1e308"])
def test_number_out_of_all_proportion(
    files_of: Callable[[str], Files], toy_gpt: Callable[..., Any], tmp_path: Path, run: str, number: str
) -> None:
    # It is a finite number. The run is refused, or what it says are probabilities.
    files = files_of(run)
    for name in files:
        if name in (META, VOCABULARY):
            continue
        for other, content in files.items():
            (tmp_path / other).write_bytes(content)
        (tmp_path / name).write_bytes(edit_lines(files[name], set_cell(1, -1, number)))
        outcome = toy_gpt(
            "infer", "--base-dir", tmp_path, "--json", "--temperature", 1, "--start-tokens", ".", "a", "."
        )
        if outcome.code == 0:
            assert all(0 <= row["probability"] <= 1 for row in json.loads(outcome.out)["top_k"]), name
        else:
            assert outcome.refused, (name, outcome)


@pytest.mark.slow
@pytest.mark.parametrize("run", ["hidden", "gpt", "safetensors"])
def test_random_damage(files_of: Callable[[str], Files], toy_gpt: Callable[..., Any], tmp_path: Path, run: str) -> None:
    files = files_of(run)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(sorted(files)), st.data())
    def check(name: str, data: st.DataObject) -> None:
        content = files[name]
        begin = data.draw(st.integers(0, len(content) - 1))
        end = data.draw(st.integers(begin, min(begin + 4, len(content))))
        piece = data.draw(
            st.one_of(st.binary(max_size=3), st.sampled_from([b"0", b"-", b",", b"\n", b'"', b".", b"{"]))
        )
        (tmp_path / name).write_bytes(content[:begin] + piece + content[end:])
        outcome = toy_gpt("infer", "--base-dir", tmp_path, "--json")
        (tmp_path / name).write_bytes(content)
        if outcome.code == 0:
            assert all(0 <= row["probability"] <= 1 for row in json.loads(outcome.out)["top_k"])
        else:
            assert outcome.refused, outcome

    check()
