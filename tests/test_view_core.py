"""test_view_core.py - The explorer's modules compute the numbers of this package from the same files.

Node runs the modules of view/core, one process for all tests (view_driver.mjs). Without node the tests are skipped.
"""

import base64
import csv
import io
import json
import random
import re
import shutil
import subprocess
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from itertools import product
from math import dist, exp, fsum, hypot, log
from operator import mul
from pathlib import Path
from statistics import fmean
from typing import Any
from unicodedata import ucd_3_2_0
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import test_exchange_arpa
import test_sentencepiece
import test_series
from toy_gpt_train import io_artifacts
from toy_gpt_train.artifacts.csv_files import csv_line, parse_numbers, read_csv
from toy_gpt_train.errors import InputError
from toy_gpt_train.forgetting import forget
from toy_gpt_train.inference.explain import as_json, explain
from toy_gpt_train.inference.sampling import Sampling, choose_token, top_k
from toy_gpt_train.inference.trace import by_line, trace
from toy_gpt_train.io_artifacts import context_label, split_label
from toy_gpt_train.math_training import softmax
from toy_gpt_train.models import network, ngram_trie
from toy_gpt_train.models.architecture import Architecture
from toy_gpt_train.models.backoff import Backoff
from toy_gpt_train.models.kneser_ney import KneserNey, interpolate_all
from toy_gpt_train.models.llama import LlamaModel
from toy_gpt_train.models.network import NetworkModel
from toy_gpt_train.models.ngram_table import NGramTable
from toy_gpt_train.models.ngram_trie import as_text
from toy_gpt_train.models.parameter_tables import parameter_file
from toy_gpt_train.nn.rotation import RopeScaling
from toy_gpt_train.run import Run, train
from toy_gpt_train.run import load as load_run
from toy_gpt_train.show import visible
from toy_gpt_train.tokenizers.bpe import BPETokenizer
from toy_gpt_train.tokenizers.char import CharTokenizer
from toy_gpt_train.tokenizers.pretokenize import CUTS, pretokenize
from toy_gpt_train.tokenizers.sentencepiece_json import PREFIXES
from toy_gpt_train.tokenizers.word import WordTokenizer
from toy_gpt_train.tracing import index_of as text_index
from toy_gpt_train.tracing import keep_index
from toy_gpt_train.view.server import VIEW_DIR
from toy_gpt_train.world.text import stories

NODE = shutil.which("node")
OLDEST_NODE = 20
REPOSITORY = Path(__file__).resolve().parent.parent
CORE = REPOSITORY / "src" / "toy_gpt_train" / "view" / "core"
DRIVER = Path(__file__).with_name("view_driver.mjs")
META, VOCABULARY, WEIGHTS = "00_meta.json", "01_vocabulary.csv", "02_model_weights.csv"
COUNTS, SAFETENSORS = "02_counts.csv", "02_model_weights.safetensors"
TOLERANCE = 1e-9

# Tokens that need escapes and quotes, a lone carriage return, spaces of many kinds, code points of two units.
AWKWARD = (
    'a|b \\ * "q", \r x*\r\n é\u0301 😀 | * \\ Ab,c "q" \u2028\x85\u00a0Üß İ 3.5 \ufeff*\n|||\\\\** a a|b\'s\n' * 3
)

Files = dict[str, bytes]
Ask = Callable[..., Any]


class ViewError(Exception):
    """A module's message about what it refused."""


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """``ask("nextProbs", contexts=[[0]])`` returns the modules' answer; what they refuse is a ViewError."""
    if NODE is None:
        pytest.skip("node is not on PATH")
    version = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"node {version.strip()} is older than {OLDEST_NODE}")
    folder = tmp_path_factory.mktemp("view")
    for path in CORE.glob("*.js"):
        shutil.copy(path, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    with subprocess.Popen(
        [NODE, DRIVER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def request(what: str, **more: Any) -> Any:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps({"ask": what, **more}) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            if "error" in answer:
                # WHY: a bug in the modules raises another kind of error than the sentence for a damaged file.
                assert answer["kind"] == "Error", answer
                assert "\n" not in answer["error"], answer
                raise ViewError(answer["error"])
            return answer["answer"]

        yield request
        process.stdin.close()
    assert process.returncode == 0


def files_of(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def load(ask: Ask, files: Files, **more: Any) -> Any:
    """Open a run in the modules."""
    return ask("load", files={name: base64.b64encode(data).decode() for name, data in files.items()}, **more)


def load_in_python(folder: Path, files: Files) -> Run:
    """Open a run of changed files in Python, in a folder that holds nothing else afterwards."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return load_run(folder)


# --- the runs ---------------------------------------------------------------------------------------------------


def committed_runs() -> list[Path]:
    found = [REPOSITORY / "artifacts", *sorted((REPOSITORY / "artifacts" / "ladder").glob("*/*"))]
    return [folder for folder in found if (folder / META).is_file()]


SMALL = ("--steps", 2, "--batch-size", 2, "--embedding-dim", 8)
CHARACTERS = ("--tokenizer", "char")
# Every kind of run, with awkward tokens; a layout of tables where one is named.
OPTIONS: dict[str, tuple[object, ...]] = {
    "all": ("bigram", *CHARACTERS, "--epochs", 3, "--seed", 1),
    "observed": ("context-2", *CHARACTERS, "--epochs", 3, "--seed", 2),
    "sparse": ("context-3", *CHARACTERS, "--epochs", 3, "--seed", 3),
    "words": ("bigram", "--epochs", 3),
    "unigram": ("unigram", *CHARACTERS, "--epochs", 3),
    "kneser-ney": ("kneser-ney", *CHARACTERS),
    "kneser-ney 0": ("kneser-ney", *CHARACTERS, "--context", 0),
    "mixture of characters": ("mixture", *CHARACTERS),
    "mixture of words": ("mixture",),
    "bpe": ("kneser-ney", "--tokenizer", "bpe", "--bpe-vocab", 270, "--context", 2),
    "embeddings": ("embeddings", *SMALL, *CHARACTERS, "--context", 3),
    "without bias": ("attention", *SMALL, *CHARACTERS, "--context", 5, "--no-bias"),
    "hidden layer": ("embeddings", *SMALL, *CHARACTERS, "--hidden", 5),
    "attention": ("attention", *SMALL, *CHARACTERS, "--context", 9),
    "gpt": ("gpt", *SMALL, *CHARACTERS, "--heads", 2, "--layers", 2, "--context", 12),
    "llama": ("llama", *SMALL, *CHARACTERS, "--heads", 2, "--layers", 2, "--context", 12),
    "rope base": ("llama", *SMALL, *CHARACTERS, "--heads", 2, "--context", 12, "--rope-base", 50),
    "tied gpt": ("gpt", *SMALL, *CHARACTERS, "--heads", 2, "--context", 12, "--tied"),
    "grouped llama": ("llama", *SMALL, *CHARACTERS, "--heads", 4, "--kv-heads", 2, "--context", 12, "--tied"),
    "safetensors": ("llama", *SMALL, *CHARACTERS, "--heads", 2, "--layers", 2, "--context", 12, "--seed", 4),
}
LAYOUT_LIMITS = {"all": (10**9, 10**9), "observed": (0.5, 10**9), "sparse": (0.5, -1)}


@pytest.fixture(scope="module")
def made(trained: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``made("sparse")`` gives the artifacts of a run on the awkward text."""
    corpus = tmp_path_factory.mktemp("corpus") / "awkward.txt"
    corpus.write_bytes(AWKWARD.encode("utf-8"))

    def folder_of(run: str) -> Path:
        if run == "back-off":
            return imported
        rows, cells = LAYOUT_LIMITS.get(run, (io_artifacts.ALL_ROWS_LIMIT, io_artifacts.DENSE_CELLS_LIMIT))
        in_tables = 1 if run == "safetensors" else network.LARGEST_IN_TABLES
        with (
            mock.patch.multiple(io_artifacts, ALL_ROWS_LIMIT=rows, DENSE_CELLS_LIMIT=cells),
            mock.patch.object(network, "LARGEST_IN_TABLES", in_tables),
        ):
            return trained(*OPTIONS[run], corpus=corpus) / "artifacts"

    arpa = tmp_path_factory.mktemp("imported") / "there.arpa"
    load_run(folder_of("kneser-ney")).export("arpa", arpa)
    imported = load_run(arpa).save(arpa.parent)[-1].parent
    return folder_of


def some_contexts(run: Run, count: int) -> list[list[int]]:
    """The start tokens, contexts of a text that the model continues, and random ones of any length."""
    model = run.model
    least, most = model.min_context, model.context_size
    generator = random.Random(5)
    start = run.start_ids()
    text = list(start)
    for _ in range(count):
        probs = model.next_probs(text)
        text += generator.choices(range(len(probs)), probs)
    continued = [text[max(end - most, 0) : end] for end in range(len(start), len(text))]
    lengths = [generator.randint(least, most) for _ in range(count)]
    random_ones = [[generator.randrange(model.vocab_size) for _ in range(length)] for length in lengths]
    return [start[max(len(start) - most, 0) :], *continued, *random_ones, *([[]] if least == 0 else [])]


def assert_same_predictions(ask: Ask, run: Run, count: int) -> None:
    """The modules have opened the same run."""
    contexts = some_contexts(run, count)
    answers = ask("nextProbs", contexts=contexts)
    assert len(answers) == len(contexts)
    for context, probs in zip(contexts, answers, strict=True):
        assert probs == pytest.approx(run.model.next_probs(context), rel=0, abs=TOLERANCE), context


def assert_same_interface(info: Mapping[str, Any], run: Run) -> None:
    model = run.model
    assert info["meta"] == run.meta
    assert info["tokens"] == list(run.tokenizer.tokens)
    assert info["ids"] == list(range(model.vocab_size))
    assert info["frequency"] == run.frequencies
    sizes = [model.vocab_size, model.context_size, model.min_context]
    assert [info["vocabSize"], info["contextSize"], info["minContext"]] == sizes
    assert (info["kind"], info["tokenizer"]) == (run.meta["model_kind"], run.tokenizer.kind)
    assert info["lossFloor"] == run.meta.get("loss_floor")  # an imported run has none


@pytest.mark.slow
@pytest.mark.parametrize("folder", committed_runs(), ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_a_committed_run_predicts_the_same(ask: Ask, folder: Path) -> None:
    log_path = REPOSITORY / "outputs" / folder.relative_to(REPOSITORY / "artifacts") / "train_log.csv"
    run = load_run(folder)
    info = load(ask, {**files_of(folder), "train_log.csv": log_path.read_bytes()})
    assert_same_interface(info, run)
    assert_same_predictions(ask, run, 3 if isinstance(run.model, NetworkModel) else 20)
    columns, *rows = csv.reader(log_path.read_text("utf-8").splitlines())
    assert info["log"] == {"columns": columns, "rows": [list(map(float, row)) for row in rows]}


@pytest.mark.parametrize("name", [*OPTIONS, "back-off"])
def test_a_run_of_every_kind_predicts_the_same(ask: Ask, made: Callable[[str], Path], name: str) -> None:
    run = load_run(made(name))
    info = load(ask, files_of(made(name)))
    if name in LAYOUT_LIMITS:
        assert run.meta["weights"]["layout"] == name
    if name == "safetensors":
        assert run.meta["weights"]["layout"] == "safetensors"
    assert_same_interface(info, run)
    assert info["log"] is None
    assert_same_predictions(ask, run, 10)


@pytest.mark.parametrize("name", ["tied gpt", "grouped llama", "safetensors"])
def test_an_imported_model_predicts_the_same(ask: Ask, made: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    load_run(made(name)).export("hf", tmp_path / "hf")
    load_run(tmp_path / "hf").save(tmp_path / "run")
    run = load_run(tmp_path / "run")
    info = load(ask, files_of(tmp_path / "run" / "artifacts"))
    assert info["meta"] == run.meta
    contexts = [[1], [3, 2, 1], list(range(12))]
    for context, probs in zip(contexts, ask("nextProbs", contexts=contexts), strict=True):
        assert probs == pytest.approx(run.model.next_probs(context), rel=0, abs=TOLERANCE)


SCALINGS = {"linear": RopeScaling(4.0), "llama3": RopeScaling(8.0, 1.0, 4.0, 8), "none": None}


@pytest.mark.parametrize("scaling", SCALINGS)
def test_what_only_imported_models_have_predicts_the_same(ask: Ask, tmp_path: Path, scaling: str) -> None:
    unusual = {"head_dim": 6, "attention_bias": True, "mlp_bias": True, "rope_scaling": SCALINGS[scaling]}
    sizes = {"embedding_dim": 8, "hidden_dim": 8, "heads": 4, "kv_heads": 2, "layers": 2}
    run = train("llama", text="abc dab\n" * 30, tokenizer="char", steps=1, batch_size=2, context=12)
    model = LlamaModel(run.model.vocab_size, 12, Architecture(**sizes, **unusual))
    generator = random.Random(3)
    for parameter in model.network.parameters():
        parameter.data = array("d", [round(generator.gauss(0, 1), 6) for _ in parameter.data])
    replace(run, model=model).save(tmp_path)
    run, files = load_run(tmp_path), files_of(tmp_path / "artifacts")
    load(ask, files)
    assert_same_predictions(ask, run, 10)
    if run.model.architecture.rope_scaling is not None:  # type: ignore[attr-defined]
        architecture = run.meta["architecture"]
        for wrong in ({}, None, {**architecture["rope_scaling"], "factor": 0}):
            in_meta(architecture={**architecture, "rope_scaling": wrong})(files)
            with pytest.raises(ViewError, match="the architecture's rope_scaling is damaged"):
                load(ask, files)


@pytest.mark.parametrize("name", ["gpt", "observed", "kneser-ney", "back-off", "mixture of characters", "embeddings"])
def test_what_is_not_a_context_is_refused(ask: Ask, made: Callable[[str], Path], name: str) -> None:
    info = load(ask, files_of(made(name)))
    least, most, size = info["minContext"], info["contextSize"], info["vocabSize"]
    wrong = [[0] * (most + 1), [size] * most, [-1] * most, [0.5] * most, *([[0] * (least - 1)] if least else [])]
    for context in wrong:
        with pytest.raises(ViewError, match="token ids"):
            ask("nextProbs", contexts=[context])
        with pytest.raises(ViewError, match="token ids"):
            ask("explain", context=context, k=1)


def test_what_a_transformer_remembers_changes_nothing(ask: Ask, made: Callable[[str], Path]) -> None:
    load(ask, files_of(made("llama")))
    growing = [list(range(length)) for length in range(1, 13)]
    one_after_another = ask("nextProbs", contexts=growing)
    ask("explain", context=[3, 2, 1], k=1)
    for context, probs in reversed(list(zip(growing, one_after_another, strict=True))):
        assert ask("nextProbs", contexts=[context])[0] == pytest.approx(probs, rel=0, abs=1e-14)


# --- explanations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["embeddings", "without bias", "hidden layer", "attention", "gpt", "llama", "grouped llama", "safetensors"]
)
def test_a_network_is_explained_as_infer_explain_does(ask: Ask, made: Callable[[str], Path], name: str) -> None:
    run = load_run(made(name))
    load(ask, files_of(made(name)))
    for context in some_contexts(run, 3):
        answer = ask("explain", context=context, k=4)
        expected = explain(run.model, context, run.tokenizer.tokens, 4)
        assert (answer["kind"], answer["context"]) == ("network", expected.context)
        assert [entry["token"] for entry in answer["entries"]] == [token for token, _, _ in expected.most_likely]
        probs = [probability for _, _, probability in expected.most_likely]
        assert [entry["probability"] for entry in answer["entries"]] == pytest.approx(probs, rel=0, abs=TOLERANCE)
        for step, wanted in zip(answer["steps"], as_json(expected), strict=True):
            assert step["step"] == wanted["place"]
            assert [entry["token"] for entry in step["entries"]] == list(wanted["logits"])
            logits = [entry["logit"] for entry in step["entries"]]
            assert logits == pytest.approx(list(wanted["logits"].values()), rel=0, abs=TOLERANCE)
            assert len(step["attention"]) == len(wanted["attention"])
            for weights, shares in zip(step["attention"], wanted["attention"], strict=True):
                assert weights == pytest.approx(list(shares), rel=0, abs=TOLERANCE)


@pytest.mark.parametrize("name", ["attention", "gpt", "llama", "grouped llama", "safetensors"])
def test_a_prediction_is_traced_part_by_part(ask: Ask, made: Callable[[str], Path], name: str) -> None:
    run = load_run(made(name))
    load(ask, files_of(made(name)))
    for context in some_contexts(run, 3):
        trace, size = ask("trace", context=context), len(context)
        assert trace["tokens"] == [run.tokenizer.tokens[i] for i in context]
        assert trace["logits"] == pytest.approx(list(run.model.logits(context)), rel=0, abs=TOLERANCE)
        # What each token looks at is what it looks at where the text ends with it.
        for end in range(1, size + 1):
            steps = as_json(explain(run.model, context[:end], run.tokenizer.tokens, 1))
            for heads, step in zip(trace["attention"], steps[1:], strict=True):
                for matrix, shares in zip(heads, step["attention"], strict=True):
                    row = matrix[(end - 1) * size : end * size]
                    assert row == pytest.approx([*shares, *[0.0] * (size - end)], rel=0, abs=TOLERANCE)
        for heads, block in zip(trace["attention"], trace["blocks"], strict=True):
            assert [matrix[-size:] for matrix in heads] == block["weights"]
            for scores, weights in zip(block["scores"], block["weights"], strict=True):
                powers = [exp(score - max(scores)) for score in scores]
                assert weights == pytest.approx([power / sum(powers) for power in powers], rel=0, abs=TOLERANCE)
            if "forward" in block:  # each half adds to what came in
                sums = [a + b for a, b in zip(block["input"], block["attended"], strict=True)]
                assert block["between"] == sums
                assert block["output"] == [a + b for a, b in zip(sums, block["forward"], strict=True)]
        assert trace["blocks"][0]["input"] == trace["embedding"]


@pytest.mark.parametrize("name", ["all", "observed", "sparse", "unigram"])
def test_a_table_is_explained_by_its_row(ask: Ask, made: Callable[[str], Path], name: str) -> None:
    run = load_run(made(name))
    model = run.model
    assert isinstance(model, NGramTable)
    load(ask, files_of(made(name)))
    seen = []
    for context in some_contexts(run, 10):
        answer = ask("explain", context=context, k=3)
        probs = model.next_probs(context)
        tokens = run.tokenizer.tokens
        assert answer["label"] == context_label([tokens[i] for i in context])
        assert answer["seen"] == (tuple(context) in model.rows)
        best = top_k(probs, 3)
        row = model.logits(context)
        assert [entry["token"] for entry in answer["entries"]] == [tokens[i] for i, _ in best]
        assert [entry["logit"] for entry in answer["entries"]] == [row[i] for i, _ in best]
        assert [entry["probability"] for entry in answer["entries"]] == pytest.approx([p for _, p in best])
        seen.append(answer["seen"])
    assert any(seen)


def test_places_are_those_that_python_finds(ask: Ask, tmp_path: Path) -> None:
    text = "the cat sees the dog .\nthe dog sees a cat .\n\na cat runs to the dog .\nthe cat runs .\n" * 3
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(text, encoding="utf-8", newline="")
    run = train("kneser-ney", corpus, tokenizer="char", context=3, save_to=tmp_path)
    keep_index(tmp_path)
    load(ask, files_of(tmp_path / "artifacts"))
    for struck in (None, 6):
        if struck:
            forget(tmp_path, struck, struck)
            run = load_run(tmp_path)
        index = text_index(run, tmp_path)
        for context in some_contexts(run, 3):
            for token_id in range(run.model.vocab_size):
                found = trace(run.model, index, context, token_id)
                asked = ask("places", context=context, id=token_id, struck=[struck] if struck else [])
                assert asked["probability"] == pytest.approx(found.probability, abs=1e-12)
                assert asked["rest"] == pytest.approx(found.rest, abs=1e-12)
                ours = {share.number: share for share in by_line(found, index)}
                theirs = {line["number"]: line for line in asked["lines"]}
                assert ours.keys() == theirs.keys()
                for number, share in ours.items():
                    assert theirs[number]["probability"] == pytest.approx(share.probability, abs=1e-12)
                    assert {place["position"] for place in theirs[number]["places"]} == {
                        p.position for p in share.places
                    }


def test_back_off_is_explained_length_by_length(ask: Ask, made: Callable[[str], Path]) -> None:
    run = load_run(made("kneser-ney"))
    model = run.model
    assert isinstance(model, KneserNey)
    load(ask, files_of(made("kneser-ney")))
    tokens = run.tokenizer.tokens
    unmet = 0
    for context in some_contexts(run, 10):
        levels = ask("explain", context=context, k=model.vocab_size)["levels"]
        chain = model.matched(as_text(context)[::-1])
        assert [level["context"] for level in levels] == [
            [tokens[i] for i in context[start:]] for start in range(len(context) + 1)
        ]
        for length, level in enumerate(reversed(levels)):
            taken = [level["once"], level["twice"], level["threeOrMore"]]
            assert taken == list(model.discounts[length])
            if length >= len(chain):
                assert (level["count"], level["entries"], level["weightOfShorter"]) == (0, [], 1)
                unmet += 1
                continue
            counts = {tokens[i]: count for i, count in chain[length].counts.items()}
            assert {entry["token"]: entry["count"] for entry in level["entries"]} == counts
            assert level["count"] == sum(counts.values())
            assert level["weightOfShorter"] == chain[length].gamma
            shown = [entry["probability"] for entry in level["entries"]]
            distribution = interpolate_all(chain[: length + 1], [1 / model.vocab_size] * model.vocab_size)
            probs = dict(zip(tokens, distribution, strict=True))
            assert shown == pytest.approx([probs[entry["token"]] for entry in level["entries"]])
            assert shown == sorted(shown, reverse=True)
            assert fsum(entry["share"] for entry in level["entries"]) + level["weightOfShorter"] == pytest.approx(1)
    assert unmet > 0


def test_an_imported_list_is_explained_length_by_length(ask: Ask, made: Callable[[str], Path]) -> None:
    run = load_run(made("back-off"))
    model = run.model
    assert isinstance(model, Backoff)
    load(ask, files_of(made("back-off")))
    tokens = run.tokenizer.tokens
    unmet = 0
    for context in some_contexts(run, 10):
        answer = ask("explain", context=context, k=model.vocab_size)
        known = {len(level.context): level for level in model.levels(as_text(context))}
        assert answer["kind"] == "ngrams"
        for start, level in enumerate(answer["levels"]):
            length = len(context) - start
            assert level["context"] == [tokens[i] for i in context[start:]]
            assert level["found"] == (length in known)
            if length not in known:
                assert (level["followers"], level["entries"]) == (0, [])
                unmet += 1
                continue
            followers = dict(known[length].followers())
            assert level["weight"] == pytest.approx(known[length].weight)
            assert level["followers"] == len(level["entries"]) == len(followers)
            probs = model.next_probs(context[start:])
            shown = {entry["token"]: entry["probability"] for entry in level["entries"]}
            assert shown == pytest.approx({tokens[i]: probs[i] for i in followers}, abs=TOLERANCE)
            assert [*shown.values()] == sorted(shown.values(), reverse=True)
    assert unmet > 0


def test_a_list_that_does_not_sum_to_one_predicts_the_same(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "odd.arpa"
    path.write_text(test_exchange_arpa.SENTENCES, "utf-8")
    run = load_run(path)
    load(ask, files_of(run.save(tmp_path)[-1].parent))
    assert_same_predictions(ask, run, 30)
    assert ask("session")["text"] == "</s>"


@pytest.mark.parametrize("name", ["mixture of characters", "mixture of words"])
def test_a_mixture_is_explained_by_its_experts(ask: Ask, made: Callable[[str], Path], name: str) -> None:
    run = load_run(made(name))
    load(ask, files_of(made(name)))
    size = run.model.vocab_size
    for context in some_contexts(run, 5):
        answer = ask("explain", context=context, k=size)
        assert len(answer["experts"]) == (5 if name == "mixture of characters" else 2)
        assert fsum(expert["weight"] for expert in answer["experts"]) == pytest.approx(1)
        scores = dict.fromkeys(run.tokenizer.tokens, 0.0)
        for expert in answer["experts"]:
            assert fsum(entry["probability"] for entry in expert["entries"]) == pytest.approx(1)
            for entry in expert["entries"]:
                scores[entry["token"]] += expert["weight"] * log(entry["probability"])
        mixed = {entry["token"]: entry["probability"] for entry in answer["entries"]}
        assert [mixed[token] for token in scores] == pytest.approx(softmax(list(scores.values())))
        assert [mixed[token] for token in scores] == pytest.approx(run.model.next_probs(context))


# --- runs of the older series -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["unigram 1", "unigram 0", "bigram 2", "bigram 1", "context2 2", "context3 3", "bars"])
def test_an_older_table_predicts_the_same(ask: Ask, tmp_path: Path, kind: str) -> None:
    name, _, context = kind.partition(" ")
    folder = (
        test_series.write_older(tmp_path, "context2", 2, ["a", "a|b", "b", "|"])
        if kind == "bars"
        else test_series.write_older(tmp_path, name, int(context))
    )
    run = test_series.open_older(folder)
    loaded = load(ask, files_of(folder))
    assert (loaded["kind"], loaded["contextSize"], loaded["lossFloor"]) == (run.name, run.model.context_size, None)
    contexts = [list(ids) for ids in product(range(4), repeat=run.model.context_size)]
    answers = ask("nextProbs", contexts=contexts)
    for ids, probs in zip(contexts, answers, strict=True):
        assert probs == pytest.approx(run.model.next_probs(ids), rel=TOLERANCE)
    assert len(ask("matrices")[0]["rows"]) == len(contexts)
    assert ask("session")["text"] == ""


def test_older_embeddings_predict_the_same(ask: Ask, tmp_path: Path) -> None:
    folder = test_series.write_older_embeddings(tmp_path)
    assert load(ask, files_of(folder))["contextSize"] == 2
    for first, second in product(range(4), repeat=2):
        logits = test_series.older_logits(test_series.TOKENS[first], test_series.TOKENS[second])
        (probs,) = ask("nextProbs", contexts=[[first, second]])
        assert probs == pytest.approx(softmax(logits), rel=TOLERANCE)


@pytest.mark.parametrize("damage", test_series.DAMAGE)
def test_a_damaged_older_run_is_refused(ask: Ask, tmp_path: Path, damage: str) -> None:
    folder = test_series.write_damaged(tmp_path, damage)
    with pytest.raises(ViewError, match=r"\.(json|csv)"):
        load(ask, files_of(folder))


# --- matrices and vectors ---------------------------------------------------------------------------------------


def table_of(folder: Path, file: str) -> tuple[list[str], list[list[str]]]:
    header, *rows = csv.reader(io.StringIO((folder / file).read_bytes().decode("utf-8"), newline=""))
    return header, rows


@pytest.mark.parametrize("name", ["embeddings", "hidden layer", "attention", "gpt", "llama"])
def test_matrices_of_a_network_are_its_files(ask: Ask, made: Callable[[str], Path], name: str) -> None:
    folder = made(name)
    meta = load(ask, files_of(folder))["meta"]
    matrices = ask("matrices")
    assert [matrix["file"] for matrix in matrices] == sorted(meta["weights"]["rows"])
    for matrix in matrices:
        header, rows = table_of(folder, matrix["file"])
        labels = len(header) - len(matrix["columns"])
        assert matrix["columns"] == header[labels:]
        assert matrix["rows"] == [row[labels - 1] for row in rows]
        assert matrix["numbers"] == [float(cell) for row in rows for cell in row[labels:]]
    vectors = ask("vectors")
    _, rows = table_of(folder, "03_token_embeddings.csv")
    assert vectors["labels"] == [row[1] for row in rows]
    assert vectors["numbers"] == [float(cell) for row in rows for cell in row[2:]]
    assert vectors["size"] == 8


def test_matrices_of_safetensors_are_inputs_by_outputs(ask: Ask, made: Callable[[str], Path]) -> None:
    run = load_run(made("safetensors"))
    assert isinstance(run.model, NetworkModel)
    load(ask, files_of(made("safetensors")))
    with mock.patch.object(network, "LARGEST_IN_TABLES", 10**9):
        tables = {table.name: list(table.rows) for table in run.model.content().tables}
    matrices = ask("matrices")
    assert [matrix["name"] for matrix in matrices] == [name for name, _ in run.model.network.named_parameters()]
    for matrix in matrices:
        wide = len(matrix["columns"])
        assert matrix["file"] == SAFETENSORS
        rows = tables[parameter_file(matrix["name"])]
        assert matrix["numbers"] == [float(cell) for row in rows for cell in row[-wide:]]


@pytest.mark.parametrize("name", ["all", "observed", "sparse", "unigram"])
def test_the_matrix_and_vectors_of_a_table_are_its_rows(ask: Ask, made: Callable[[str], Path], name: str) -> None:
    folder = made(name)
    run = load_run(folder)
    model = run.model
    assert isinstance(model, NGramTable)
    load(ask, files_of(folder))
    (matrix,) = ask("matrices")
    vectors = ask("vectors")
    _, rows = table_of(folder, "03_token_embeddings.csv")
    assert matrix["rows"] == vectors["labels"] == [row[1] for row in rows]
    assert vectors["numbers"] == [float(cell) for row in rows for cell in row[2:]]
    assert (matrix["columns"], vectors["size"]) == (list(run.tokenizer.tokens), 2)
    contexts = [run.tokenizer.token_ids(split_label(label)) if model.context_size else [] for label in matrix["rows"]]
    assert matrix["numbers"] == [logit for context in contexts for logit in model.logits(context)]


def test_matrices_of_back_off_and_of_a_mixture(ask: Ask, made: Callable[[str], Path]) -> None:
    run = load_run(made("kneser-ney"))
    load(ask, files_of(made("kneser-ney")))
    pairs, discounts = ask("matrices")
    assert pairs["numbers"] == pytest.approx(
        [p for i in range(run.model.vocab_size) for p in run.model.next_probs([i])]
    )
    _, rows = table_of(made("kneser-ney"), "03_discounts.csv")
    assert discounts["numbers"] == [float(cell) for row in rows for cell in row[1:]]
    assert ask("vectors") is None
    load(ask, files_of(made("mixture of characters")))
    (weights,) = ask("matrices")
    _, rows = table_of(made("mixture of characters"), "04_mixing_weights.csv")
    assert weights["numbers"] == [float(cell) for row in rows for cell in row[2:]]
    assert (weights["rows"][0], len(weights["rows"])) == ("base", len(rows))
    assert ask("vectors") is None


# --- tokenizers -------------------------------------------------------------------------------------------------

# WHY of Unicode 3.2: they are what they are in every later version, Python's or node's.
ASSIGNED = [chr(code) for code in range(sys.maxunicode + 1) if ucd_3_2_0.category(chr(code)) not in ("Cn", "Cs")]
STRANGE = st.text(
    st.one_of(
        st.sampled_from("aB_1²'\u0301 \t\r\n\x1c\x1f\x85\xa0\u2028\u3000\ufeff\u200b\u07c0٣ŉ'sll"),
        st.sampled_from(ASSIGNED),
    )
)


def test_characters_of_every_kind_are_cut_as_in_python(ask: Ask) -> None:
    # Of ideographs and private characters there are many thousands, all alike.
    many = [char for char in ASSIGNED if ucd_3_2_0.category(char) in ("Lo", "Co")]
    characters = sorted({*ASSIGNED}.difference(many).union(many[::13]))
    assert {ucd_3_2_0.category(char) for char in characters} == {ucd_3_2_0.category(char) for char in ASSIGNED}
    text = "".join(f"a{c}1{c}{c} {c}\u0301_{c}'s" for c in characters)
    (words,) = ask("cut", kind="word", texts=[text])
    assert words == WordTokenizer().tokenize(text)
    for cut in CUTS:
        assert ask("pretokenize", texts=[text], cut=cut) == [pretokenize(text, cut)]


@settings(max_examples=30, deadline=None)
@given(st.lists(STRANGE, min_size=1, max_size=20))
def test_random_text_is_cut_as_in_python(ask: Ask, texts: list[str]) -> None:
    assert ask("cut", kind="word", texts=texts) == [WordTokenizer().tokenize(text) for text in texts]
    assert ask("cut", kind="char", texts=texts) == [CharTokenizer().tokenize(text) for text in texts]
    for cut in CUTS:
        assert ask("pretokenize", texts=texts, cut=cut) == [pretokenize(text, cut) for text in texts]


LISTED_SPECIAL = ["<e>", "<e><e>", "a.*(b", "ab", "bc", "\n", "😀😀", "😀|"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(STRANGE, st.sampled_from([*LISTED_SPECIAL, "<e", ">", "abc", "😀", "\ud83d"])), max_size=12))
def test_special_tokens_are_cut_as_in_python(ask: Ask, parts: list[str]) -> None:
    texts = ["".join(parts), *parts]
    for tokenizer in (WordTokenizer(special=LISTED_SPECIAL), CharTokenizer(special=LISTED_SPECIAL)):
        cut = ask("cut", kind=tokenizer.kind, special=LISTED_SPECIAL, texts=texts)
        assert cut == [tokenizer.tokenize(text) for text in texts]


@pytest.mark.parametrize("kind", ["word", "char", "bpe"])
def test_special_tokens_that_are_no_list_of_texts_are_refused(ask: Ask, kind: str) -> None:
    for special in ("ab", [1], [""], None, {"a": 1}, ["a", "a"]):
        with pytest.raises(ViewError, match="special token"):
            ask("cut", kind=kind, special=special, texts=["a"])
    with pytest.raises(ViewError, match="stands between words"):
        ask("cut", kind="word", special=["a b"], texts=["a"])


@pytest.mark.parametrize("kind", ["word", "char", "bpe"])
def test_a_run_with_special_tokens_opens(ask: Ask, kind: str, tmp_path: Path) -> None:
    text = "the cat.<|end|>The dog<|end|>the cat"
    train("kneser-ney", text=text, tokenizer=kind, special=["<|end|>"], bpe_vocab=260, context=2).save(tmp_path)
    run = load_run(tmp_path)
    files = files_of(tmp_path / "artifacts")
    assert_same_interface(load(ask, files), run)
    assert ask("tokenize", texts=[text]) == [run.tokenizer.tokenize(text)]
    assert ask("join", lists=[run.tokenizer.tokenize(text)]) == [run.tokenizer.decode(run.tokenizer.encode(text))]
    assert_same_predictions(ask, run, 3)
    meta = json.loads(files[META])
    for special in (["<|end|>", "<other>"], "<|end|>", [""]):
        changed = json.dumps({**meta, "tokenizer": {"kind": kind, "special": special}}).encode()
        with pytest.raises(ViewError, match="special token"):
            load(ask, {**files, META: changed})


def ids_of(tokenizer: BPETokenizer) -> dict[str, int]:
    """The tokens and ids of a tokenizer's vocab.json."""
    ids: dict[str, int] = json.loads(tokenizer.files()["vocab.json"])
    return ids


def assert_same_bpe(ask: Ask, tokenizer: BPETokenizer, texts: list[str]) -> list[list[str]]:
    """The modules' tokens of some texts have the ids that Python gives them; returns the tokens."""
    ids = ids_of(tokenizer)
    tokens: list[list[str]] = ask("tokenize", texts=texts)
    assert [[ids[token] for token in one] for one in tokens] == [tokenizer.encode(text) for text in texts]
    return tokens


@pytest.fixture(scope="module")
def special_bpe(made: Callable[[str], Path]) -> BPETokenizer:
    """The tokenizer of a run, with special tokens."""
    learned = load_run(made("bpe")).tokenizer
    assert isinstance(learned, BPETokenizer)
    return BPETokenizer(learned.vocab, learned.merges, ["<|end|>", "<|end|><|end|>", "a.*(b", " x y"])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(STRANGE, st.sampled_from(["<|end|>", "<|end|><|end|><|end|>", "the cat's", "a.*(b", " x y", "猫"]))
    )
)
def test_bpe_is_the_same(ask: Ask, special_bpe: BPETokenizer, parts: list[str]) -> None:
    assert ask("bpe", files=special_bpe.files(), special=special_bpe.special) == ids_of(special_bpe)
    texts = ["".join(parts), *parts]
    tokens = assert_same_bpe(ask, special_bpe, texts)
    assert ask("join", lists=tokens) == texts
    ids = ids_of(special_bpe)
    halves = [one[::2] for one in tokens]
    assert ask("join", lists=halves) == [special_bpe.decode(map(ids.__getitem__, one)) for one in halves]


def test_bpe_of_a_trained_run_is_the_same(ask: Ask, made: Callable[[str], Path]) -> None:
    run = load_run(made("bpe"))
    assert isinstance(run.tokenizer, BPETokenizer)
    info = load(ask, files_of(made("bpe")))
    ids = ids_of(run.tokenizer)
    assert info["tokens"] == sorted(ids, key=ids.__getitem__)
    assert_same_bpe(ask, run.tokenizer, [AWKWARD, "", "a|b" * 3000 + "|" * 5000])
    with pytest.raises(ViewError, match="lone surrogate"):
        ask("tokenize", texts=["a\ud800b"])
    with pytest.raises(ViewError, match="printable alphabet"):
        ask("join", lists=[["a b"]])


def test_merges_happen_in_the_order_of_their_ranks(ask: Ask) -> None:
    # "undefined" is what JavaScript says of an index behind the end; ab + a comes before a + b here.
    parts = [
        *(("undefined"[:end], "undefined"[end]) for end in range(1, 9)),
        ("x", "undefined"),
        ("ab", "a"),
        ("a", "b"),
    ]
    merges = [(left.encode(), right.encode()) for left, right in parts]
    vocab = {byte: bytes([byte]) for byte in range(256)}
    vocab.update(enumerate((left + right for left, right in merges), start=256))
    tokenizer = BPETokenizer(vocab, merges)
    ask("bpe", files=tokenizer.files())
    tokens = assert_same_bpe(ask, tokenizer, ["abab", "x", "xundefined", "undefinedx", "ababab", "babaab"])
    assert tokens[0] == ["aba", "b"]


def with_bpe(files: Files, tokenizer: BPETokenizer) -> Files:
    """Give a run a byte-level BPE that has all tokens of its own, and more."""
    ids = ids_of(tokenizer)
    rows_before = csv.reader(io.StringIO(files[VOCABULARY].decode("utf-8"), newline=""))
    frequencies = {token: count for _, token, count in rows_before}
    rows = [csv_line([ids[token], token, frequencies.get(token, 0)]) for token in sorted(ids, key=ids.__getitem__)]
    meta = {**json.loads(files[META]), "vocab_size": len(ids), "tokenizer": tokenizer.description()}
    texts = {
        **tokenizer.files(),
        VOCABULARY: "token_id,token,frequency\n" + "".join(rows),
        META: json.dumps({**meta, "artifacts": {**meta["artifacts"], "tokenizer.json": "tokenizer.json"}}),
    }
    return {**files, **{name: text.encode("utf-8") for name, text in texts.items()}}


def test_a_vocabulary_with_other_ids_than_the_tokenizer_is_refused(
    ask: Ask, made: Callable[[str], Path], special_bpe: BPETokenizer
) -> None:
    files = files_of(made("bpe"))
    swapped = files[VOCABULARY].replace(b"\n65,A,", b"\n65,tmp,").replace(b"\n66,B,", b"\n66,A,")
    with pytest.raises(ViewError, match=r'^01_vocabulary\.csv: token "B" has the id 65, but not in vocab\.json$'):
        load(ask, {**files, VOCABULARY: swapped.replace(b"\n65,tmp,", b"\n65,B,")})
    size = load(ask, with_bpe(files, special_bpe))["vocabSize"]
    whole = with_bpe(files, special_bpe)
    plain = json.dumps({**json.loads(whole[META]), "tokenizer": {"kind": "bpe"}}).encode()
    more = {**whole, META: plain, "vocab.json": files["vocab.json"], "tokenizer.json": b"{}"}
    with pytest.raises(ViewError, match=r"^01_vocabulary\.csv: token .* has the id \d+, but not in vocab\.json$"):
        load(ask, more)
    lines = whole[VOCABULARY].splitlines(keepends=True)
    shorter = json.dumps({**json.loads(whole[META]), "vocab_size": size - 1}).encode()
    with pytest.raises(ViewError, match=r'^01_vocabulary\.csv: the special token " x y" is missing$'):
        load(ask, {**whole, VOCABULARY: b"".join(lines[:-1]), META: shorter})
    added = whole["vocab.json"].replace(b"{", b'{"ABC": %d,' % size, 1)
    with pytest.raises(ViewError, match=rf"^01_vocabulary\.csv: {size} tokens, but vocab\.json has {size + 1}$"):
        load(ask, {**whole, "vocab.json": added})
    with pytest.raises(ViewError, match=r"^tokenizer\.json: its special tokens are not those of the metadata$"):
        load(ask, {**whole, META: plain})


def test_words_and_characters_are_joined_as_in_python(ask: Ask, made: Callable[[str], Path]) -> None:
    for name, tokens in (("words", ["a|b", "\\", "é\u0301"]), ("all", ["a", "\r", "😀", " "])):
        load(ask, files_of(made(name)))
        tokenizer = load_run(made(name)).tokenizer
        assert ask("join", lists=[tokens, []]) == [tokenizer.decode(tokenizer.token_ids(tokens)), ""]


BPE_DAMAGE: dict[str, tuple[str, Callable[[str], str]]] = {
    "vocab is not JSON": ("vocab.json", lambda text: text[:-3]),
    "vocab is a list": ("vocab.json", lambda text: "[]"),
    "a byte is missing": ("vocab.json", lambda text: text.replace('"!"', '"!!"')),
    "an id is text": ("vocab.json", lambda text: text.replace('"!": 33', '"!": "33"')),
    "an id occurs twice": ("vocab.json", lambda text: text.replace('"!": 33', '"!": 34')),
    "a token has a space": ("vocab.json", lambda text: text.replace("{", '{"a b": 999,', 1)),
    "a merge of three": ("merges.txt", lambda text: text + "a b c\n"),
    "a merge of what is unknown": ("merges.txt", lambda text: text + "q q\n"),
    "a merge twice": ("merges.txt", lambda text: text + text.splitlines()[1] + "\n"),
    "special tokens are not a list": ("tokenizer.json", lambda text: '{"added_tokens": 3}'),
    "a special token of another id": ("tokenizer.json", lambda text: text.replace('"id": 270', '"id": 999', 1)),
}


@pytest.mark.parametrize("damage", BPE_DAMAGE)
def test_damaged_bpe_is_refused_by_both(
    ask: Ask, made: Callable[[str], Path], special_bpe: BPETokenizer, tmp_path: Path, damage: str
) -> None:
    files = with_bpe(files_of(made("bpe")), special_bpe)
    name, change = BPE_DAMAGE[damage]
    load_in_python(tmp_path, files)
    before = files[name].decode("utf-8")
    files[name] = change(before).encode("utf-8")
    assert files[name] != before.encode("utf-8")
    with pytest.raises(InputError):
        load_in_python(tmp_path, files)
    with pytest.raises(ViewError, match="vocab.json" if damage.endswith("another id") else name):
        load(ask, files)


# --- cells, labels and numbers ------------------------------------------------------------------------------------

CELLS = st.text(st.sampled_from('a,"|\\*\r\n\u0085é😀 ')) | st.text()


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1)))
def test_what_was_written_is_read(ask: Ask, rows: list[list[str]]) -> None:
    text = "".join(map(csv_line, rows))
    assert ask("rows", text=text, header=rows[0]) == rows[1:]


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from('a,"\r\n'), max_size=12))
def test_any_text_is_read_or_refused_as_in_python(
    ask: Ask, tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    content = "a,b\n" + text
    path.write_bytes(content.encode("utf-8"))
    try:
        expected = [row for _, row in read_csv(path, ["a", "b"])]
    except InputError:
        with pytest.raises(ViewError, match=r"a\.csv"):
            ask("rows", text=content, header=["a", "b"])
    else:
        assert ask("rows", text=content, header=["a", "b"]) == expected


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(st.sampled_from("0123456789.-+e"), max_size=9), st.floats().map(repr), st.text(max_size=3)))
def test_a_number_is_read_or_refused_as_in_python(ask: Ask, cell: str) -> None:
    try:
        (expected,) = parse_numbers([cell], "cell")
    except InputError:
        with pytest.raises(ViewError, match="finite number"):
            ask("number", cell=cell)
    else:
        assert float(ask("number", cell=cell)) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(CELLS, unique=True, max_size=5))
def test_labels_are_those_of_python(ask: Ask, tokens: list[str]) -> None:
    label = context_label(tokens)
    assert ask("label", tokens=tokens) == label
    assert ask("ids", label=label, tokens=tokens, count=len(tokens)) == list(range(len(tokens)))
    with pytest.raises(ViewError):
        ask("ids", label=label, tokens=tokens, count=len(tokens) + 1)


def test_labels_that_name_nothing_are_refused(ask: Ask) -> None:
    for label, count in (("a|", 2), ("a\\", 1), ("b", 1), ("a", 0), ("(no context)", 1), ("a|a|a", 2)):
        with pytest.raises(ViewError):
            ask("ids", label=label, tokens=["a"], count=count)


def test_errors_name_the_line_that_a_row_begins_at(ask: Ask) -> None:
    with pytest.raises(ViewError, match=r"a\.csv, line 4: 1 cells instead of 2"):
        ask("rows", text='a,b\n"x\r\n",y\nz\n', header=["a", "b"])


# --- chance -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 42, 2**32 - 1, 2**32, 2**53 - 1])
def test_chance_is_that_of_python(ask: Ask, seed: int) -> None:
    generator = random.Random(seed)
    assert ask("random", seed=seed, count=1500) == [generator.random() for _ in range(1500)]


@pytest.mark.parametrize("temperature", [0, 0.3, 1, 2.5])
@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 1])
def test_the_same_seed_chooses_the_same_tokens(ask: Ask, temperature: float, top_p: float) -> None:
    probs = softmax([0.1 * (i * 7 % 23) for i in range(30)])
    sampling = Sampling(temperature, top_p, 3)
    generator = random.Random(3)
    expected = [choose_token(probs, sampling, generator) for _ in range(200)]
    assert ask("choose", probs=probs, temperature=temperature, topP=top_p, seed=3, count=200) == expected


def test_choosing_and_ranking_on_hand_made_numbers(ask: Ask) -> None:
    assert ask("topK", numbers=[0.2, 0.5, 0.3, 0.5], k=3) == [1, 3, 2]
    assert ask("topK", numbers=[0.2], k=3) == [0]
    assert ask("choose", probs=[0.4, 0.4, 0.2], temperature=0, topP=1, seed=0, count=2) == [0, 0]
    for wrong in ({"temperature": -1, "topP": 1}, {"temperature": 1, "topP": 0}, {"temperature": 1, "topP": 1.5}):
        with pytest.raises(ViewError, match=r"temperature must|top-p must"):
            ask("choose", probs=[1.0], seed=0, count=1, **wrong)
    with pytest.raises(ViewError, match="seed"):
        ask("random", seed=-1, count=1)


@pytest.mark.parametrize("temperature", [0, 0.3, 1, 2.5])
@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 1])
def test_what_is_drawn_has_the_probability_that_is_shown(ask: Ask, temperature: float, top_p: float) -> None:
    probs = softmax([0.1 * (i * 7 % 23) for i in range(30)])
    drawn = ask("drawn", probs=probs, temperature=temperature, topP=top_p)
    assert fsum(drawn) == pytest.approx(1)
    chosen = ask("choose", probs=probs, temperature=temperature, topP=top_p, seed=4, count=4000)
    for i, probability in enumerate(drawn):
        # Five standard deviations.
        assert abs(chosen.count(i) / 4000 - probability) <= 5 * (probability * (1 - probability) / 4000) ** 0.5


def test_drawn_probabilities_of_hand_made_numbers(ask: Ask) -> None:
    assert ask("drawn", probs=[0.25, 0.5, 0.25], temperature=0, topP=1) == [0, 1, 0]
    assert ask("drawn", probs=[0.25, 0.5, 0.25], temperature=1, topP=0.75) == pytest.approx([1 / 3, 2 / 3, 0])
    assert ask("drawn", probs=[0.2, 0.4, 0.4], temperature=0.5, topP=1) == pytest.approx([1 / 9, 4 / 9, 4 / 9])


# --- a text being written -----------------------------------------------------------------------------------------

PROMPTS = {"words": "a|b\n a", "sparse": 'a|b \\ * "q"', "kneser-ney": "x*|", "bpe": " 😀 |", "llama": "a|b's a"}


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("sampling", [(0, 1, 0), (0.8, 0.9, 7)], ids=["greedy", "sampled"])
def test_a_session_writes_what_generate_writes(
    ask: Ask, made: Callable[[str], Path], name: str, sampling: tuple[float, float, int]
) -> None:
    run = load_run(made(name))
    load(ask, files_of(made(name)))
    temperature, top_p, seed = sampling
    for prompt in ("", PROMPTS[name]):
        answer = ask(
            "session", prompt=prompt or run.start_text, count=15, temperature=temperature, topP=top_p, seed=seed
        )
        assert answer["text"] == run.generate(prompt or None, 15, temperature=temperature, top_p=top_p, seed=seed)
        assert (len(answer["added"]), answer["problem"], answer["unknown"]) == (15, None, [])
        assert answer["used"] == len(answer["context"]) <= run.model.context_size


def test_a_session_starts_with_the_text_that_was_learned(ask: Ask, made: Callable[[str], Path]) -> None:
    run = load_run(made("sparse"))
    load(ask, files_of(made("sparse")))
    answer = ask("session")
    assert (answer["text"], answer["context"]) == (run.start_text, run.start_ids())
    assert answer["added"] == []


def test_a_session_says_why_it_cannot_predict(ask: Ask, made: Callable[[str], Path]) -> None:
    load(ask, files_of(made("sparse")))
    answer = ask("session", prompt="Z a\t猫")
    assert answer["unknown"] == ["\t", "猫"]  # Z is further back than the model looks
    assert answer["problem"] == "The model does not know '\\t', 猫, so it cannot say what comes next."
    short = "This model looks back 3 tokens, so it needs that many to start from; there "
    assert ask("session", prompt="a")["problem"] == f"{short}is 1. Write more."
    assert ask("session", prompt="")["problem"] == f"{short}are 0. Write more."


# --- tokens and numbers for a reader ------------------------------------------------------------------------------


@pytest.mark.slow
def test_tokens_are_shown_as_in_python(ask: Ask) -> None:
    tokens = ["", " ", "it's", "it's \t", "'\"\n", '"\n', "\\", "\\ ", *ASSIGNED, *(f"a{char}b" for char in ASSIGNED)]
    shown = ask("text", name="visible", values=tokens)
    assert [pair for pair in zip(tokens, shown, strict=True) if visible(pair[0]) != pair[1]] == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1e-12, 1), min_size=1))
def test_probabilities_are_rounded_to_four_decimals(ask: Ask, probs: list[float]) -> None:
    for p, text in zip(probs, ask("text", name="probabilityText", values=probs), strict=True):
        if p < 0.00005:
            assert text == re.sub("e-0", "e-", f"{p:.1e}")
        else:
            assert text == str(Decimal(p).quantize(Decimal("0.0001"), ROUND_HALF_UP))


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("probabilityText", [0, 1, 0.5, 1.2e-7], ["0.0000", "1.0000", "0.5000", "1.2e-7"]),
        ("percentText", [0, 0.126, 0.004, 1], ["0\xa0%", "13\xa0%", "0.4\xa0%", "100\xa0%"]),
        ("numberText", [0, -0.5, 2, 1 / 3, -1e-7], ["0", "\u22120.5", "2", "0.3333", "\u22121.0e\u22127"]),
        ("numberText", [[1 / 3, 6], [1e-6, 6], [1e-7, 6]], ["0.333333", "0.000001", "1.0e\u22127"]),
        ("countText", [0, 999, 1000, 25670, 1234567], ["0", "999", "1 000", "25 670", "1 234 567"]),
        ("plural", [[1, "token"], [2, "token"], [0, "row"]], ["1 token", "2 tokens", "0 rows"]),
    ],
)
def test_numbers_for_a_reader(ask: Ask, name: str, values: list[object], expected: list[str]) -> None:
    thin = [text.replace(" ", "\u202f") if name == "countText" else text for text in expected]
    assert ask("text", name=name, values=values) == thin


def test_known_tokens_like_an_unknown_one(ask: Ask) -> None:
    assert ask("nearest", token="dgo", known=["the", "god", "cat", "dog", "do"]) == ["do", "god", "dog"]
    assert ask("nearest", token="The", known=["cat", "the", "then", "there", "them"]) == ["the", "then", "them"]
    assert ask("nearest", token="猫", known=["the", "cat"]) == []


# --- vectors ------------------------------------------------------------------------------------------------------


def test_components_of_hand_made_vectors(ask: Ask) -> None:
    # They differ most in the second number, then in the third, least in the first; none of them is 0 on average.
    around = [(0, 3, 0), (0, -3, 0), (0, 0, 2), (0, 0, -2), (1, 0, 0), (-1, 0, 0)]
    answer = ask("components", numbers=[x + 5 for vector in around for x in vector], size=3)
    assert answer["share"] == pytest.approx(26 / 28)
    for point, (_, second, third) in zip(answer["points"], around, strict=True):
        assert point == pytest.approx([second, third], abs=1e-9)


def test_components_of_a_plane_keep_all_distances(ask: Ask) -> None:
    generator = random.Random(6)
    first, second = ([generator.gauss(0, 1) for _ in range(5)] for _ in range(2))
    places = [(generator.gauss(0, 3), generator.gauss(0, 1)) for _ in range(40)]
    vectors = [[a * x + b * y + 1 for x, y in zip(first, second, strict=True)] for a, b in places]
    answer = ask("components", numbers=[x for vector in vectors for x in vector], size=5)
    assert answer["share"] == pytest.approx(1)
    points = answer["points"]
    assert [dist(points[0], point) for point in points] == pytest.approx([dist(vectors[0], one) for one in vectors])
    assert fsum(x * y for x, y in points) == pytest.approx(0, abs=1e-6)
    assert fsum(x * x for x, _ in points) > fsum(y * y for _, y in points)


def test_vectors_without_a_second_direction(ask: Ask) -> None:
    assert ask("components", numbers=[2.0, 3.0], size=2) == {"points": [[0, 0]], "share": 1}
    answer = ask("components", numbers=[1.0, 3.0, 8.0], size=1)
    assert answer["share"] == pytest.approx(1)
    assert [x for point in answer["points"] for x in point] == pytest.approx([-3, 0, -1, 0, 4, 0])


def test_the_nearest_vectors_are_those_of_the_largest_cosine(ask: Ask) -> None:
    generator = random.Random(7)
    vectors = [[generator.gauss(0, 1) for _ in range(4)] for _ in range(30)]
    vectors[3] = [0.0] * 4
    vectors[9] = [2 * x for x in vectors[8]]
    numbers = [x for vector in vectors for x in vector]
    assert ask("cosines", numbers=numbers, size=4, chosen=3, k=5) == []

    def cosine(other: list[float]) -> float:
        return fsum(map(mul, other, vectors[8])) / (hypot(*other) * hypot(*vectors[8]))

    expected = sorted((i for i in range(30) if i not in (3, 8)), key=lambda i: -cosine(vectors[i]))[:5]
    answer = ask("cosines", numbers=numbers, size=4, chosen=8, k=5)
    assert [one["place"] for one in answer] == expected
    assert expected[0] == 9
    assert [one["cosine"] for one in answer] == pytest.approx([cosine(vectors[i]) for i in expected])


# --- tokenizers of imported models --------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", PREFIXES)
def test_sentencepiece_is_the_same(ask: Ask, prefix: str) -> None:
    tokenizer = test_sentencepiece.made(prefix, strips=prefix != "never")
    special = list(tokenizer.special)
    ids = ask("bpe", kind="sentencepiece", files=tokenizer.files(), special=special)
    assert ids == {token: token_id for token_id, token in enumerate(tokenizer.tokens)}

    @settings(max_examples=60, deadline=None)
    @given(st.lists(test_sentencepiece.TEXTS, max_size=8))
    def check(texts: list[str]) -> None:
        tokens = ask("tokenize", texts=texts)
        assert tokens == [tokenizer.tokenize(text) for text in texts]
        halves = [one[len(one) // 2 :] for one in tokens]
        assert ask("join", lists=halves) == [tokenizer.decode(tokenizer.token_ids(one)) for one in halves]

    check()
    long = "a" * 3000 + "the  cat" * 500
    assert ask("tokenize", texts=[long]) == [tokenizer.tokenize(long)]
    with pytest.raises(ViewError, match="a lone surrogate"):
        ask("tokenize", texts=["a\ud800"])


@pytest.fixture(scope="module")
def of_sentencepiece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of a run with such a tokenizer."""
    folder = tmp_path_factory.mktemp("sentencepiece")
    test_sentencepiece.made().save(folder / "tokenizer")
    text = "the  cat <s>aaaaa</s> é😀 cat.\n" * 8
    train("bigram", text=text, tokenizer=folder / "tokenizer", epochs=2).save(folder / "run")
    return folder / "run" / "artifacts"


def test_a_run_with_sentencepiece_predicts_and_writes_the_same(ask: Ask, of_sentencepiece: Path) -> None:
    run = load_run(of_sentencepiece)
    assert_same_interface(load(ask, files_of(of_sentencepiece)), run)
    assert_same_predictions(ask, run, 5)
    answer = ask("session", prompt="the  cat", count=12)
    assert answer["text"] == run.generate("the  cat", 12, temperature=0, ignore_eos=True)


def in_description(change: Callable[[dict[str, Any]], object]) -> Callable[[Files], object]:
    def changed(files: Files) -> None:
        content = json.loads(files["tokenizer.json"])
        change(content)
        files["tokenizer.json"] = json.dumps(content).encode()

    return changed


@pytest.mark.parametrize(
    "damage",
    [
        lambda files: files.pop("tokenizer.json"),
        lambda files: files.update({"tokenizer.json": b"{"}),
        in_description(lambda d: d.pop("model")),
        in_description(lambda d: d.update(added_tokens={})),
        in_description(lambda d: d.update(added_tokens=[None])),
        in_description(lambda d: d["added_tokens"].pop()),
        in_description(lambda d: d["model"].update(vocab=[])),
        in_description(lambda d: d["model"]["vocab"].pop("<0x41>")),
        in_description(lambda d: d["model"]["vocab"].update(a=1)),
        in_description(lambda d: d["model"]["vocab"].update(a="x")),
        in_description(lambda d: d["model"]["vocab"].update(zz=len(d["model"]["vocab"]))),
        in_description(lambda d: d["model"].update(merges=3)),
        in_description(lambda d: d["model"]["merges"].append(["t", "t"])),
        in_description(lambda d: d["model"]["merges"].append([1, None])),
        in_description(lambda d: d.update(normalizer=None)),
        in_description(lambda d: d.update(decoder=None)),
    ],
)
def test_damaged_sentencepiece_is_refused_by_both(
    ask: Ask, of_sentencepiece: Path, tmp_path: Path, damage: Callable[[Files], object]
) -> None:
    files = files_of(of_sentencepiece)
    damage(files)
    with pytest.raises(ViewError, match=r"tokenizer\.json"):
        load(ask, files)
    with pytest.raises((InputError, OSError)):
        load_in_python(tmp_path, files)


# --- damaged files ------------------------------------------------------------------------------------------------


def in_meta(**changes: Any) -> Callable[[Files], object]:
    """Replace top-level fields of the metadata; None takes one away."""

    def change(files: Files) -> None:
        meta = {**json.loads(files[META]), **changes}
        kept = {name: value for name, value in meta.items() if value is not None}
        files[META] = json.dumps(kept).encode("utf-8")

    return change


def replaced(name: str, old: bytes, new: bytes) -> Callable[[Files], object]:
    def change(files: Files) -> None:
        assert old in files[name]
        files[name] = files[name].replace(old, new, 1)

    return change


def cut(name: str, size: int) -> Callable[[Files], object]:
    return lambda files: files.update({name: files[name][:-size]})


ARCHITECTURE = {"embedding_dim": 8, "hidden_dim": 32, "heads": 2, "layers": 2, "dropout": 0.0}  # of the run "gpt"
# A run, what is done to its files, and the file that the sentence names.
DAMAGE: dict[str, tuple[str, Callable[[Files], object], str]] = {
    "no metadata": ("all", lambda files: files.pop(META), META),
    "no vocabulary": ("all", lambda files: files.pop(VOCABULARY), VOCABULARY),
    "no weights": ("all", lambda files: files.pop(WEIGHTS), WEIGHTS),
    "no counts": ("kneser-ney", lambda files: files.pop(COUNTS), COUNTS),
    "no parameter": ("gpt", lambda files: files.pop("05_W_Q_block_2.csv"), "05_W_Q_block_2.csv"),
    "no merges": ("bpe", lambda files: files.pop("merges.txt"), "merges.txt"),
    "metadata cut": ("all", cut(META, 5), META),
    "metadata no object": ("all", lambda files: files.update({META: b"[]"}), META),
    "metadata no UTF-8": ("all", replaced(META, b"repo_name", b"repo\xffname"), META),
    "another schema": ("all", in_meta(schema_version=2), META),
    "an unknown kind": ("all", in_meta(model_kind="oracle"), META),
    "a kind that is not text": ("all", in_meta(model_kind=3), META),
    "another context": ("all", in_meta(context_size=3), META),
    "the older series' context of a bigram": ("all", in_meta(context_size=2), WEIGHTS),
    "a context that is not a number": ("all", in_meta(context_size="1"), META),
    "a context beyond all counts": ("kneser-ney", in_meta(context_size=10**15), "03_discounts.csv"),
    "another vocabulary": ("all", in_meta(vocab_size=3), VOCABULARY),
    "start tokens no texts": ("all", in_meta(start_tokens=[1]), META),
    "no tokenizer": ("all", in_meta(tokenizer=None), META),
    "an unknown tokenizer": ("all", in_meta(tokenizer={"kind": "runes"}), "runes"),
    "a loss out of range": ("all", in_meta(loss_floor=99), META),
    "no metrics": ("all", in_meta(metrics={}), META),
    "an unknown layout": ("all", in_meta(weights={"layout": "dense", "rows": 1}), META),
    "a layout of another model": ("all", in_meta(weights={"layout": "tables", "rows": {}}), META),
    "another layout": ("all", in_meta(weights={"layout": "sparse", "rows": 1}), WEIGHTS),
    "rows not said": ("all", in_meta(weights={"layout": "all"}), META),
    "another number of rows": ("all", in_meta(weights={"layout": "all", "rows": 1}), WEIGHTS),
    "no architecture": ("gpt", in_meta(architecture=None), META),
    "heads that share nothing evenly": ("gpt", in_meta(architecture={**ARCHITECTURE, "heads": 3}), META),
    "heads with half a pair": (
        "llama",
        in_meta(architecture={**ARCHITECTURE, "heads": 8, "hidden_dim": 24}),
        META,
    ),
    "rotation by no number": ("llama", in_meta(architecture={**ARCHITECTURE, "rope_base": None}), META),
    "heads that share keys unevenly": ("llama", in_meta(architecture={**ARCHITECTURE, "kv_heads": 3}), META),
    "no number to add to a variance": ("gpt", in_meta(architecture={**ARCHITECTURE, "norm_eps": 0}), META),
    "tied, but with an output layer": ("gpt", in_meta(architecture={**ARCHITECTURE, "tied": True}), META),
    "rotation backward": ("llama", in_meta(architecture={**ARCHITECTURE, "rope_base": 0.5}), META),
    "too many blocks": (
        "gpt",
        in_meta(architecture={**ARCHITECTURE, "layers": 60_000}),
        META,
    ),
    "an embedding of another size": (
        "attention",
        in_meta(architecture={**ARCHITECTURE, "embedding_dim": 60_000, "hidden_dim": 0, "heads": 1, "layers": 1}),
        META,
    ),
    "a context beyond all positions": ("attention", in_meta(context_size=10**15), META),
    "an architecture without heads": ("gpt", in_meta(architecture={"embedding_dim": 8, "hidden_dim": 32}), META),
    "a token twice": ("all", replaced(VOCABULARY, b"\n1,", b'\n1,"\n",1\n2,'), VOCABULARY),
    "an id left out": ("all", replaced(VOCABULARY, b"\n3,", b"\n4,"), VOCABULARY),
    "a row twice": ("all", lambda files: files.update({WEIGHTS: last_line_again(files[WEIGHTS])}), WEIGHTS),
    "a weight that is text": ("observed", replaced(WEIGHTS, b"0.", b"O."), WEIGHTS),
    "weights cut": ("sparse", cut(WEIGHTS, 1), WEIGHTS),
    "no line for all others": ("sparse", replaced(WEIGHTS, b",*,", b",\\*,"), WEIGHTS),
    "an unknown context": ("sparse", replaced(WEIGHTS, b"a|", b"q|"), WEIGHTS),
    "a count of nothing": ("kneser-ney", replaced(COUNTS, b",3\n", b",0\n"), COUNTS),
    "a discount of too much": ("kneser-ney", replaced("03_discounts.csv", b"\n0,0", b"\n0,1"), "03_discounts.csv"),
    "a probability above 1": ("back-off", replaced("02_ngrams_2.csv", b",-0.", b",0."), "02_ngrams_2.csv"),
    "a token without a probability": ("back-off", cut("02_ngrams_1.csv", 1), "02_ngrams_1.csv"),
    "an n-gram twice": (
        "back-off",
        lambda files: files.update({"02_ngrams_3.csv": last_line_again(files["02_ngrams_3.csv"])}),
        "02_ngrams_3.csv",
    ),
    "a length too many": ("back-off", in_meta(context_size=5), META),
    "an expert too many": (
        "mixture of words",
        replaced("03_discounts.csv", b"\n1,0,", b"\n3,0,"),
        "03_discounts.csv",
    ),
    "an unknown gate": (
        "mixture of words",
        replaced("04_mixing_weights.csv", b"\nmatched", b"\nclosed"),
        "04_mixing_weights.csv",
    ),
    "a power beyond all proportion": (
        "mixture of words",
        replaced("04_mixing_weights.csv", b"base,0,0", b"base,0,1001"),
        "04_mixing_weights.csv",
    ),
    "a value of no view": (
        "mixture of characters",
        replaced("02_counts_5.csv", b"\n1,", b"\n1114112,"),
        "02_counts_5.csv",
    ),
    "rows of a parameter in another order": ("gpt", replaced("05_W_Q.csv", b"\n3,", b"\n4,"), "05_W_Q.csv"),
    "a token of another id": (
        "gpt",
        replaced("03_token_embeddings.csv", b"a,", b"b,"),
        "03_token_embeddings.csv",
    ),
    "safetensors cut": ("safetensors", cut(SAFETENSORS, 4), SAFETENSORS),
    "safetensors of one byte": ("safetensors", lambda files: files.update({SAFETENSORS: b"\0"}), SAFETENSORS),
    "safetensors with bytes to spare": (
        "safetensors",
        lambda files: files.update({SAFETENSORS: files[SAFETENSORS] + b"\0\0\0\0"}),
        SAFETENSORS,
    ),
    "safetensors with a long header": (
        "safetensors",
        lambda files: files.update({SAFETENSORS: b"\xff" * 8 + files[SAFETENSORS][8:]}),
        SAFETENSORS,
    ),
    "safetensors with no JSON": ("safetensors", replaced(SAFETENSORS, b"{", b"["), SAFETENSORS),
    "safetensors of another dtype": ("safetensors", replaced(SAFETENSORS, b'"F32"', b'"F16"'), SAFETENSORS),
    "safetensors of another shape": (
        "safetensors",
        replaced(SAFETENSORS, b'"shape":[8,8]', b'"shape":[4,8]'),
        SAFETENSORS,
    ),
    "safetensors with a hole": (
        "safetensors",
        replaced(SAFETENSORS, b'"data_offsets":[0,', b'"data_offsets":[4,'),
        SAFETENSORS,
    ),
    "safetensors without a parameter": (
        "safetensors",
        replaced(SAFETENSORS, b"norm.weight", b"norm.weighs"),
        SAFETENSORS,
    ),
    "safetensors with no number": (
        "safetensors",
        lambda files: files.update({SAFETENSORS: files[SAFETENSORS][:-4] + b"\0\0\xc0\x7f"}),
        SAFETENSORS,
    ),
}


def last_line_again(content: bytes) -> bytes:
    return content + content.splitlines(keepends=True)[-1]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_refused_with_a_sentence_that_names_the_file(
    ask: Ask, made: Callable[[str], Path], tmp_path: Path, damage: str
) -> None:
    run, change, named = DAMAGE[damage]
    files = files_of(made(run))
    change(files)
    with pytest.raises((InputError, OSError, SystemExit)):
        load_in_python(tmp_path, files)
    with pytest.raises(ViewError) as refused:
        load(ask, files)
    assert named in str(refused.value)


def test_the_true_entropy_on_the_page_is_that_of_the_stories() -> None:
    (shown,) = re.findall(r"WORLD_ENTROPY = ([0-9.]+);", (VIEW_DIR / "core" / "floor.js").read_text("utf-8"))
    surprises = [truth.surprise for story in stories(50_000, 1) for truth in story]
    assert float(shown) == pytest.approx(fmean(surprises), abs=0.01)


def parameters_of(files: Files) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(files[META])["parameters"]
    return found


# What is done to the list of parameters, and what the page says.
PARAMETERS_DAMAGE: dict[str, tuple[Callable[[list[dict[str, Any]]], object], str]] = {
    "no list": (lambda _: {}, "its parameters are not a list"),
    "an entry that is none": (lambda found: [*found, 3], "its parameters are not a list"),
    "a name twice": (lambda found: [found[0], {**found[1], "name": found[0]["name"]}, *found[2:]], "are not a list"),
    "a file twice": (lambda found: [found[0], {**found[1], "file": found[0]["file"]}, *found[2:]], "are not a list"),
    "a file of no table": (lambda found: [{**found[0], "file": META}, *found[1:]], "its parameters are not a list"),
    "a shape of three": (lambda found: [{**found[0], "shape": [1, 2, 3]}, *found[1:]], "are not a list"),
    "a size of 0": (lambda found: [{**found[0], "shape": [0, 8]}, *found[1:]], "its parameters are not a list"),
    "a bias is missing": (
        lambda found: [one for one in found if one["name"] != "norm.bias"],
        "its parameters are not a list",
    ),
    "a name the network lacks": (
        lambda found: [{**one, "name": one["name"].replace("norm_2.weight", "norm_3.weight")} for one in found],
        "its parameters lack blocks.0.norm_2.weight of the shape 8",
    ),
    "a name too many": (
        lambda found: [{**one, "name": one["name"].replace("norm_2.bias", "norm_3.bias")} for one in found],
        "the network has no use for its parameter",
    ),
}


@pytest.mark.parametrize("damage", PARAMETERS_DAMAGE)
def test_damaged_parameters_are_refused(ask: Ask, made: Callable[[str], Path], damage: str) -> None:
    files = files_of(made("gpt"))
    found = parameters_of(files)
    change, said = PARAMETERS_DAMAGE[damage]
    in_meta(parameters=change(found))(files)
    with pytest.raises(ViewError) as refused:
        load(ask, files)
    assert str(refused.value).startswith(f"{META}: ")
    assert said in str(refused.value)


@pytest.mark.parametrize("name", ["gpt", "safetensors"])
def test_shapes_are_compared_with_the_files(ask: Ask, made: Callable[[str], Path], name: str) -> None:
    files = files_of(made(name))
    found = parameters_of(files)
    for i, parameter in enumerate(found):
        wrong = {**parameter, "shape": [parameter["shape"][0] + 1, *parameter["shape"][1:]]}
        changed = dict(files)
        in_meta(parameters=[*found[:i], wrong, *found[i + 1 :]])(changed)
        with pytest.raises(ViewError, match=f"^{re.escape(parameter['file'])}"):
            load(ask, changed)


@pytest.mark.parametrize(
    ("name", "field"), [("gpt", "parameters"), ("safetensors", "parameters"), ("mixture of words", "recipe")]
)
def test_a_run_of_an_earlier_version_is_refused(ask: Ask, made: Callable[[str], Path], name: str, field: str) -> None:
    files = files_of(made(name))
    in_meta(**{field: None})(files)
    with pytest.raises(
        ViewError, match=rf"^00_meta\.json: it (has|lists) no {field}: an earlier version .*train it again$"
    ):
        load(ask, files)


@pytest.mark.parametrize(
    "recipe",
    [
        3,
        {"chains": [], "gates": []},
        {"chains": [[]], "gates": []},
        {"chains": [["lag_9"]], "gates": []},
        {"chains": [["lag_1"]], "gates": ["open"]},
        {"chains": [["lag_1"]]},
    ],
)
def test_a_damaged_recipe_is_refused(ask: Ask, made: Callable[[str], Path], recipe: object) -> None:
    files = files_of(made("mixture of words"))
    in_meta(recipe=recipe)(files)
    with pytest.raises(ViewError, match=r"^00_meta\.json: its recipe"):
        load(ask, files)


def test_a_damaged_log_is_refused(ask: Ask, made: Callable[[str], Path]) -> None:
    files = files_of(made("all"))
    assert load(ask, {**files, "train_log.csv": b"epoch,avg_loss\n1,0.5\n"})["log"]["rows"] == [[1, 0.5]]
    for log_text in (b"", b"epoch,avg_loss\n1\n", b"epoch,avg_loss\n1,x\n", b"epoch,avg_loss\n1,0.5"):
        with pytest.raises(ViewError, match=r"train_log\.csv"):
            load(ask, {**files, "train_log.csv": log_text})


@pytest.mark.parametrize(
    ("name", "file"),
    [
        *(("all", VOCABULARY), ("kneser-ney", VOCABULARY), ("kneser-ney", "02_counts.csv")),
        *(("mixture of words", f"02_counts_{k}.csv") for k in (1, 2)),
    ],
)
def test_counts_that_are_not_of_one_text_are_refused_by_both(
    ask: Ask, made: Callable[[str], Path], tmp_path: Path, name: str, file: str
) -> None:
    files = files_of(made(name))
    start = json.loads(files[META])["start_tokens"][0]
    lines = files[file].decode("utf-8").split("\n")
    wanted = rf",{re.escape(start)},[0-9]+$" if file == VOCABULARY else ",[0-9]+$"
    changed = next(i for i, line in enumerate(lines) if re.search(wanted, line))
    lines[changed] = re.sub(r"[0-9]+$", "0" if file == VOCABULARY else "77", lines[changed])
    files[file] = "\n".join(lines).encode("utf-8")
    with pytest.raises(InputError):
        load_in_python(tmp_path, files)
    with pytest.raises(ViewError, match=rf"^({VOCABULARY}|{file}|02_counts\.csv): "):
        load(ask, files)


@st.composite
def edits(draw: st.DrawFn) -> list[tuple[float, int, bytes]]:
    """A few places of a file, by their share of its length; how many bytes go away there, and what comes instead."""
    one = st.tuples(
        st.floats(0, 1), st.integers(0, 3), st.sampled_from([b"", b"0", b"-", b",", b"\n", b'"', b"a", b"|"])
    )
    return draw(st.lists(one, min_size=1, max_size=2))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_an_edited_table_is_read_or_refused_as_in_python(
    ask: Ask, made: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(["all", "sparse", "kneser-ney", "back-off", "mixture of words", "attention"]))
    files = files_of(made(name))
    read = [
        file for file in files if file.endswith(".csv") and (name == "attention" or file != "03_token_embeddings.csv")
    ]
    edited = data.draw(st.sampled_from(read))
    content = files[edited]
    for share, gone, instead in data.draw(edits()):
        at = int(share * len(content))
        content = content[:at] + instead + content[at + gone :]
    files[edited] = content
    try:
        run = load_in_python(tmp_path_factory.getbasetemp() / "edited", files)
    except InputError:
        with pytest.raises(ViewError, match=r"^[0-9]{2}_\w+\.csv"):
            load(ask, files)
        return
    load(ask, files)
    known = {token: token_id for token_id, token in enumerate(run.tokenizer.tokens)}
    context = [known.get(token, 0) for token in run.meta["start_tokens"][: run.model.context_size]]
    (probs,) = ask("nextProbs", contexts=[context])
    assert probs == pytest.approx(run.model.next_probs(context), rel=0, abs=TOLERANCE)


# --- the list of runs ---------------------------------------------------------------------------------------------


def index_of(runs: object) -> dict[str, str]:
    return {"index.json": base64.b64encode(json.dumps({"runs": runs}).encode()).decode()}


def test_the_list_of_runs_gives_whole_urls(ask: Ask) -> None:
    one = {"name": "one", "artifacts": "runs/1/", "log": "../logs/1.csv", "text": "a text to start from"}
    whole = {"artifacts": "http://page/view/runs/1/", "log": "http://page/logs/1.csv"}
    assert ask("loadRuns", files=index_of([one, {"name": "two", "artifacts": "/2/"}])) == [
        {**one, **whole, "remote": False},
        {"name": "two", "text": None, "remote": False, "artifacts": "http://page/2/", "log": None},
    ]


@pytest.mark.parametrize(
    "runs",
    [
        *(None, 3, [3], [{"name": "one"}]),
        *([{"name": 1, "artifacts": "1/", "log": None}], [{"name": "one", "artifacts": "1/", "text": 1}]),
    ],
)
def test_a_damaged_list_of_runs_is_refused(ask: Ask, runs: object) -> None:
    with pytest.raises(ViewError, match=r"index\.json"):
        ask("loadRuns", files=index_of(runs))


def test_no_list_of_runs_is_refused(ask: Ask) -> None:
    with pytest.raises(ViewError, match=r"index\.json is missing"):
        ask("loadRuns", files={})


def test_another_host_is_asked_for_nothing(ask: Ask, made: Callable[[str], Path]) -> None:
    assert load(ask, files_of(made("all")), artifacts="run")["name"] == "a run"  # a folder without its slash
    with pytest.raises(ViewError, match="another host, elsewhere"):
        load(ask, files_of(made("all")), artifacts="http://elsewhere/run/")


def test_a_run_made_in_the_page_has_a_url_for_each_file(ask: Ask, made: Callable[[str], Path]) -> None:
    files = files_of(made("all"))
    urls = {name: f"http://page/made/{name}" for name in files}
    assert load(ask, files, urls=urls)["meta"] == load(ask, files)["meta"]
    with pytest.raises(ViewError, match="another host"):
        load(ask, files, urls={name: f"http://elsewhere/{name}" for name in files})
    del urls[WEIGHTS]
    with pytest.raises(ViewError, match=f"^{re.escape(WEIGHTS)} is missing$"):
        load(ask, files, urls=urls)


# --- a run whose predictions the server computes ------------------------------------------------------------------


def load_remote(ask: Ask, files: Files, answer: object) -> Any:
    """Open a run without its weights; every request for a prediction gets this answer."""
    kept = {name: data for name, data in files.items() if not name.endswith(".safetensors")}
    return load(ask, {**kept, "predict": json.dumps(answer).encode()}, remote=True)


@pytest.fixture
def answered(made: Callable[[str], Path]) -> tuple[Files, Run, dict[str, Any]]:
    """The files of a network, the network, and what the server answers for its token 1."""
    folder = made("safetensors")
    run = load_run(folder)
    steps = run.model.logit_lens([1])
    probs = run.model.next_probs([1])
    best = [i for i, _ in top_k(probs, 8)]
    shown = [{"step": s.place, "attention": s.attention, "logits": [s.logits[i] for i in best]} for s in steps]
    return files_of(folder), run, {"probs": probs, "best": best, "steps": shown}


def test_a_remote_run_shows_what_the_server_answers(ask: Ask, answered: tuple[Files, Run, dict[str, Any]]) -> None:
    files, run, answer = answered
    load_remote(ask, files, answer)
    with pytest.raises(ViewError, match="was not asked for this context"):
        ask("nextProbs", contexts=[[1]])
    assert ask("prepare", contexts=[[1]], explained=True) == {"queries": ["?ids=1&k=8"], "errors": [None]}
    assert ask("nextProbs", contexts=[[1]]) == [run.model.next_probs([1])]
    explanation = ask("explain", context=[1], k=8)
    load(ask, files)
    expected = ask("explain", context=[1], k=8)
    assert [step["step"] for step in explanation["steps"]] == [step["step"] for step in expected["steps"]]
    for found, same in zip(explanation["steps"], expected["steps"], strict=True):
        assert [one["token"] for one in found["entries"]] == [one["token"] for one in same["entries"]]
        logits = [one["logit"] for one in same["entries"]]
        assert [one["logit"] for one in found["entries"]] == pytest.approx(logits, rel=0, abs=TOLERANCE)
    assert explanation["context"] == expected["context"]
    assert [one["token"] for one in explanation["entries"]] == [one["token"] for one in expected["entries"]]


@pytest.mark.parametrize("name", ["kneser-ney", "mixture"])
def test_a_remote_run_of_counts_has_no_steps_to_show(ask: Ask, tmp_path: Path, name: str) -> None:
    with mock.patch.object(ngram_trie, "LARGEST_IN_TABLES", 10):
        run = train(name, text="the cat sat on the mat. " * 20, tokenizer="char")
        files = files_of(run.save(tmp_path)[-1].parent)
    probs = run.model.next_probs([1])
    best = [i for i, _ in top_k(probs, 8)]
    load_remote(ask, files, {"probs": probs, "best": best, "steps": []})
    assert ask("prepare", contexts=[[1]], explained=True) == {"queries": ["?ids=1&k=8"], "errors": [None]}
    assert ask("nextProbs", contexts=[[1]]) == [probs]
    explanation = ask("explain", context=[1], k=8)
    assert explanation["kind"] == "probabilities"
    shown = [(one["token"], one["probability"]) for one in explanation["entries"]]
    assert shown == [(run.tokenizer.tokens[i], probs[i]) for i in best]
    with pytest.raises(
        ViewError, match=f"{name} run; open it with toy-gpt view --base-dir RUN, whose server predicts$"
    ):
        load(ask, files)  # without a server


def test_a_remote_run_asks_only_for_what_is_needed_last(ask: Ask, answered: tuple[Files, Run, dict[str, Any]]) -> None:
    files, _, answer = answered
    load_remote(ask, files, answer)
    contexts = [[1], [1, 2], [1, 2, 3], [1, 2, 3, 0]]
    assert ask("prepare", contexts=contexts, explained=False)["queries"] == ["?ids=1,2,3,0&k=0"]
    assert ask("prepare", contexts=contexts[-1:], explained=False)["queries"] == []
    assert ask("prepare", contexts=contexts[-1:], explained=True)["queries"] == ["?ids=1,2,3,0&k=8"]


@pytest.mark.parametrize(
    "change",
    [
        {"probs": [0.5]},
        {"probs": None},
        {"best": [-1]},
        {"best": [10**6]},
        {"steps": [3]},
        {"steps": [{"step": 1, "attention": [], "logits": []}]},
        {"steps": [{"step": "one", "attention": [None], "logits": []}]},
    ],
    ids=str,
)
def test_an_answer_that_is_none_is_refused(
    ask: Ask, answered: tuple[Files, Run, dict[str, Any]], change: dict[str, Any]
) -> None:
    files, _, answer = answered
    load_remote(ask, files, {**answer, **change})
    (error,) = ask("prepare", contexts=[[1]], explained=True)["errors"]
    assert error == "predict: not a list of probabilities and steps"
    load_remote(ask, files, answer)
    assert ask("prepare", contexts=[[1]], explained=True)["errors"] == [None]
