"""test_view_predictions.py - The server computes the predictions of a run that is too large to send, one at a time."""

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from conftest import needs_threads
from test_view_server import Answer, Started, ask
from toy_gpt_train.inference.explain import explain
from toy_gpt_train.math_training import top_k
from toy_gpt_train.models import network, ngram_trie
from toy_gpt_train.models.gpt import GPTModel
from toy_gpt_train.run import Run, load, train
from toy_gpt_train.view import predictions
from toy_gpt_train.view.server import ExplorerServer

CONTEXT = 6
URL = "/artifacts/predict"
SHAPE = {"embedding_dim": 8, "hidden_dim": 8, "heads": 2, "layers": 2, "context": CONTEXT}

pytestmark = needs_threads


def save_run(base: Path, seed: int) -> Run:
    with mock.patch.object(network, "LARGEST_IN_TABLES", 1):
        run = train("gpt", text="the cat sat on the mat. " * 20, tokenizer="char", steps=2, seed=seed, **SHAPE)
        run.save(base)
    return run


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in one safetensors file."""
    folder = tmp_path_factory.mktemp("large")
    save_run(folder, 0)
    return folder


@pytest.fixture(scope="module")
def run(base: Path) -> Run:
    return load(base)


@pytest.fixture
def server(base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExplorerServer]:
    """A server for which every run is too large to send."""
    monkeypatch.setattr(predictions, "LARGEST_SENT", 0)
    started = Started()
    yield started(base)
    started.end()


def predicted(server: ExplorerServer, ids: list[int], k: int = 0) -> Answer:
    return ask(server, f"{URL}?ids={','.join(map(str, ids))}&k={k}")


def test_the_index_says_which_runs_are_computed_by_the_server(
    server: ExplorerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (entry,) = json.loads(ask(server, "/runs.json").body)["runs"]
    assert entry["remote"] is True
    monkeypatch.setattr(predictions, "LARGEST_SENT", 1 << 26)
    (entry,) = json.loads(ask(server, "/runs.json").body)["runs"]
    assert "remote" not in entry
    assert predicted(server, [0]).status == 404


def test_probabilities_are_those_of_the_model(server: ExplorerServer, run: Run) -> None:
    for ids in ([0], [0, 1], [0, 1, 2, 3], [0, 1, 4], [5, 1, 4, 3, 2, 1]):
        answer = predicted(server, ids)
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        assert json.loads(answer.body) == {"probs": run.model.next_probs(ids)}


def test_an_explanation_is_that_of_the_model(server: ExplorerServer, run: Run) -> None:
    for ids in ([3], [0, 1, 2], [0, 1, 2, 4, 5, 1]):
        found = json.loads(predicted(server, ids, k=3).body)
        expected = explain(run.model, ids, run.tokenizer.tokens, 3)
        assert found["probs"] == run.model.next_probs(ids)
        assert found["best"] == [i for _, i, _ in expected.most_likely]
        assert found["steps"] == [
            {"step": step.place, "attention": step.attention, "logits": [step.logits[i] for i in found["best"]]}
            for step in expected.steps
        ]


@pytest.mark.parametrize("name", ["kneser-ney", "mixture"])
def test_counts_too_many_for_tables_are_asked_by_the_server(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ngram_trie, "LARGEST_IN_TABLES", 10)
    run = train(name, text="the cat sat on the mat. " * 20, tokenizer="char")
    run.save(tmp_path)
    started = Started()
    server = started(tmp_path)
    try:
        (entry,) = json.loads(ask(server, "/runs.json").body)["runs"]
        assert entry["remote"] is True  # however small its file is
        for ids in ([0], [0, 1], [3, 1, 2, 5]):
            probs = run.model.next_probs(ids)
            assert json.loads(predicted(server, ids).body) == {"probs": probs}
            found = json.loads(predicted(server, ids, k=3).body)
            assert found == {"probs": probs, "best": [i for i, _ in top_k(probs, 3)], "steps": []}
    finally:
        started.end()


BAD = [
    "",
    "k=0",
    "ids=&k=0",
    "ids=1",
    "ids=1&k=",
    "ids=1&k=-1",
    "ids=1&k=100",
    "ids=-1&k=0",
    "ids=1.5&k=0",
    "ids=1,,2&k=0",
    "ids=1,2,&k=0",
    "ids=1&k=0&k=1",
    "ids=1&k=0&run=../..",
    "ids=%31&k=0",
    "ids=10000000&k=0",
    "ids=9999999&k=0",
    "ids=\u0661&k=0",
    "ids=0,0,0,0,0,0,0&k=0",  # more than the context
    f"ids={','.join(['0'] * 20_000)}&k=0",
    f"ids={'9' * 50_000}&k=0",
]


@pytest.mark.parametrize("query", BAD, ids=[query[:24] for query in BAD])
def test_what_is_no_context_is_refused_in_one_line(server: ExplorerServer, query: str) -> None:
    answer = ask(server, f"{URL}?{query}")
    assert answer.status == 400
    assert answer.body.startswith(b"400: ")
    assert answer.body.count(b"\n") == 1
    assert len(answer.body) < 200


def test_an_id_that_the_vocabulary_lacks(server: ExplorerServer, run: Run) -> None:
    size = run.model.vocab_size
    assert predicted(server, [size - 1]).status == 200
    assert predicted(server, [size]).status == 400


def test_other_requests_are_treated_as_before(server: ExplorerServer) -> None:
    query = "?ids=0&k=0"
    assert ask(server, f"/predict{query}").status == 404
    assert ask(server, f"/artifacts/../artifacts/predict{query}").status == 404
    assert ask(server, f"/outputs/predict{query}").status == 404
    assert ask(server, f"{URL}/{query}").status == 404
    assert ask(server, f"{URL}{query}", host="elsewhere.org").status == 403
    assert ask(server, f"{URL}{query}", method="POST").status == 405
    head = ask(server, f"{URL}{query}", method="HEAD")
    assert (head.status, head.body) == (200, b"")


def test_a_link_to_weights_elsewhere_is_not_followed(server: ExplorerServer, base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(base, folder)
    weights = folder / "artifacts" / "02_model_weights.safetensors"
    outside = tmp_path / "outside.safetensors"
    weights.rename(outside)
    try:
        weights.symlink_to(outside)
    except OSError:
        pytest.skip("no links here")
    server.base_dir = folder
    assert predicted(server, [0]).status == 404


def test_one_is_computed_at_a_time(server: ExplorerServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = GPTModel.logits
    alone, most = threading.Lock(), []
    contexts = [[i, i] for i in range(6)]
    expected = {tuple(ids): run.model.next_probs(ids) for ids in contexts}

    def watched(model: GPTModel, ids: list[int], cache: object = None) -> list[float]:
        most.append(alone.acquire(blocking=False))
        try:
            return real(model, ids, cache)
        finally:
            alone.release()

    monkeypatch.setattr(GPTModel, "logits", watched)
    found: dict[tuple[int, ...], list[float]] = {}

    def request(ids: list[int]) -> None:
        found[tuple(ids)] = json.loads(predicted(server, ids).body)["probs"]

    threads = [threading.Thread(target=request, args=(ids,)) for ids in contexts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == [True] * len(contexts)
    assert found == expected


def test_who_would_wait_too_long_is_refused(server: ExplorerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "_PATIENCE", 0)
    with server.predictor._alone:
        answer = predicted(server, [0])
    assert (answer.status, answer.body) == (503, b"503: Other predictions are being computed.\n")
    assert predicted(server, [0]).status == 200


def test_a_run_that_is_replaced_meanwhile(server: ExplorerServer, base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(base, folder)
    server.base_dir = folder
    before = json.loads(predicted(server, [0, 1]).body)["probs"]
    new = save_run(folder, 1)
    after = json.loads(predicted(server, [0, 1]).body)["probs"]
    assert after == new.model.next_probs([0, 1])
    assert after != before


def test_a_run_that_is_damaged_is_an_error_of_one_line(server: ExplorerServer, base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(base, folder)
    server.base_dir = folder
    path = folder / "artifacts" / "02_model_weights.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    answer = predicted(server, [0])
    assert answer.status == 400
    assert b"02_model_weights.safetensors: " in answer.body
    assert answer.body.count(b"\n") == 1


def test_a_model_that_the_page_cannot_compute_is_computed_by_the_server(tmp_path: Path) -> None:
    trained = train("context-mixing", text="the cat sat on the mat. " * 20, tokenizer="char", save_to=tmp_path)
    started = Started()
    server = started(tmp_path)
    try:
        (entry,) = json.loads(ask(server, "/runs.json").body)["runs"]
        assert entry["remote"] is True
        answer = json.loads(predicted(server, [0, 1, 2], 3).body)
        assert answer["probs"] == pytest.approx(trained.model.next_probs([0, 1, 2]))
        assert [step["step"] for step in answer["steps"]][-2:] == ["bias", "log p"]
    finally:
        started.end()
