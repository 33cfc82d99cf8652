"""test_run_log.py - What training says: the plan, the report, project.log, train.log, and experiment trackers."""

import csv
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import toy_gpt_train as tg
from conftest import Outcome
from toy_gpt_train import cli
from toy_gpt_train.cli.report import memorized
from toy_gpt_train.progress import Progress

ToyGpt = Callable[..., Outcome]
Python = Callable[..., Outcome]

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING) (.+)")


@pytest.fixture(autouse=True)
def _no_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOG_LEVEL", raising=False)


@pytest.fixture
def train(toy_gpt: ToyGpt, tiny_corpus: Path, tmp_path: Path) -> Callable[..., Outcome]:
    def run(*options: object, model: str = "bigram") -> Outcome:
        argv = ("train", "--model", model, "--corpus", tiny_corpus, "--base-dir", tmp_path)
        return toy_gpt(*argv, *(options or ("--epochs", 3)))

    return run


GPT = ("--steps", 4, "--eval-every", 2, "--batch-size", 2, "--context", 3, "--embedding-dim", 4, "--heads", 1)


def lines_of(text: str) -> list[tuple[str, str]]:
    """The level and the message of each line."""
    found = [LINE.fullmatch(line) for line in text.splitlines()]
    assert all(found)
    return [(match[1], match[2]) for match in found if match]


# --- the logs ---------------------------------------------------------------------------------------------------


def test_project_log(train: ToyGpt, tmp_path: Path, tiny_corpus: Path) -> None:
    assert train("--epochs", 3, "--val-fraction", 0.25).err == ""
    lines = lines_of((tmp_path / "outputs/project.log").read_text("utf-8"))
    assert {level for level, _ in lines} == {"INFO"}
    said = [message for _, message in lines]
    run = tg.load(tmp_path)
    assert said[0].startswith(f"toy-gpt {tg.__version__}, Python 3.")
    assert said[1] == "model bigram (200): one token of context"
    assert said[2] == f"corpus tiny.txt, SHA-256 {run.meta['corpus']['sha256'][:12]}"
    assert said[3] == "tokenizer word: 14 tokens to learn, 5 held out, 8 different"
    assert said[4] == "settings epochs=3, learning_rate=0.1, context=1, all_rows=False, seed=0"
    for record, line in zip(run.history, said[5:8], strict=True):
        assert line.startswith(f"epoch={record['epoch']:.0f}, avg_loss={record['avg_loss']:.6g}, accuracy=")
    assert said[8].startswith(f"result train_loss={run.meta['metrics']['train_loss']:.6g}, ")
    assert said[9] == f"writing to {tmp_path / 'artifacts'} and {tmp_path / 'outputs'}"
    assert len(said) == 10


@pytest.mark.parametrize(
    ("model", "options"), [("bigram", ("--epochs", 3)), ("gpt", GPT), ("kneser-ney", ("--seed", 1))]
)
def test_train_log_has_the_records_as_json_lines(
    train: ToyGpt, tmp_path: Path, model: str, options: tuple[object, ...]
) -> None:
    assert train(*options, model=model).code == 0
    records = [json.loads(line) for line in (tmp_path / "outputs/train.log").read_text("utf-8").splitlines()]
    with (tmp_path / "outputs/train_log.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(records) == len(rows) > 0
    for record, row in zip(records, rows, strict=True):
        assert [round(value, 6) for value in record.values()] == [float(row[name]) for name in record]
        assert list(record) == list(row)


def test_two_runs_in_one_process_have_their_own_logs(train: ToyGpt, tmp_path: Path) -> None:
    for epochs in (2, 1):
        assert train("--epochs", epochs).code == 0
        assert len((tmp_path / "outputs/train.log").read_text("utf-8").splitlines()) == epochs
        assert (tmp_path / "outputs/project.log").read_text("utf-8").count(" INFO model ") == 1


@pytest.mark.parametrize(
    ("level", "on_screen", "in_file"),
    [
        ("", set(), {"INFO"}),
        ("INFO", {"INFO"}, {"INFO"}),
        (" debug ", {"DEBUG", "INFO"}, {"DEBUG", "INFO"}),
        ("WARNING", set(), set()),
        ("ERROR", set(), set()),
    ],
)
def test_levels(
    train: ToyGpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str, on_screen: set[str], in_file: set[str]
) -> None:
    monkeypatch.setenv("LOG_LEVEL", level)
    outcome = train()
    assert outcome.code == 0
    assert {found for found, _ in lines_of(outcome.err)} == on_screen
    text = (tmp_path / "outputs/project.log").read_text("utf-8")
    assert {found for found, _ in lines_of(text)} == in_file
    assert not on_screen or outcome.err == text


@pytest.mark.parametrize("level", ["LOUD", "10", "INFO\nx", "NOTSET"])
def test_unknown_level(train: ToyGpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    monkeypatch.setenv("LOG_LEVEL", level)
    outcome = train()
    assert outcome.refused
    assert "the levels are DEBUG, INFO, WARNING, ERROR, CRITICAL" in outcome.err
    assert not any(tmp_path.iterdir())


def test_run_that_fails_leaves_the_former_logs(train: ToyGpt, tmp_path: Path) -> None:
    assert train("--epochs", 2).code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "outputs").iterdir() if path.is_file()}
    assert train("--context", 10_000, model="kneser-ney").code == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "outputs").iterdir() if path.is_file()} == before


def test_file_names_cannot_forge_lines(toy_gpt: ToyGpt, tmp_path: Path) -> None:
    text = tmp_path / "a\n2026-01-01 00:00:00,000 INFO forged \x1b[31m.txt"
    try:
        text.write_text("a b a b", "utf-8")
    except OSError:
        pytest.skip("not a file name here")
    assert toy_gpt("train", "--model", "bigram", "--corpus", text, "--base-dir", tmp_path / "run").code == 0
    log = (tmp_path / "run/outputs/project.log").read_text("utf-8")
    assert len([line for line in log.splitlines() if "forged" in line]) == 1
    assert "\x1b" not in log
    assert lines_of(log)


def test_logging_is_not_imported_unless_used(python: Python) -> None:
    code = "import sys, toy_gpt_train, toy_gpt_train.run\nprint(sorted({'logging', 'tensorboardX'} & {*sys.modules}))"
    assert python("-c", code).out == "[]\n"


# --- the plan ---------------------------------------------------------------------------------------------------


def test_plan_is_said_before_the_first_step(train: ToyGpt) -> None:
    said: list[str] = []
    with (
        mock.patch("toy_gpt_train.cli.train.say", said.append),
        mock.patch.object(Progress, "update", side_effect=lambda *_: said.append("progress")),
    ):
        assert train("--epochs", 4).code == 0
    assert said[0].splitlines()[2:] == [
        "plan      4 epochs, each once through the text: 18 steps",
        "          looking back 1 token; 64 weights",
    ]
    assert set(said[1:-1]) == {"progress"}
    assert said[-1].splitlines()[0].split() == ["epoch", "avg_loss", "accuracy"]


@pytest.mark.parametrize(
    ("model", "plan", "size"),
    [
        ("unigram", "2 epochs, each once through the text: 19 steps", "looking at no earlier token; 8 weights"),
        ("context-2", "2 epochs, each once through the text: 17 steps", None),
        ("kneser-ney", "once through the text: this model counts what follows what", "looking back 4 tokens"),
        ("mixture", "once through the text: this model counts what follows what", "looking back 64 tokens"),
    ],
)
def test_plan_of_a_table(train: ToyGpt, tmp_path: Path, model: str, plan: str, size: str | None) -> None:
    epochs = ("--seed", 0) if "count" in plan else ("--epochs", 2)
    lines = train(*epochs, model=model).out.splitlines()
    learned = tg.load(tmp_path).model.num_parameters()
    assert lines[2] == f"plan      {plan}"
    assert lines[3] == f"          {size or f'looking back 2 tokens; {learned} weights'}"
    assert f"learned   {learned} numbers in " in lines[-2]


def test_time_is_told_once_after_a_second() -> None:
    told: list[float] = []
    now = [100.0]
    with mock.patch("toy_gpt_train.progress.time.monotonic", side_effect=lambda: now[0]):
        progress = Progress("training", mock.Mock(isatty=lambda: False), told.append)
        for elapsed, fraction in ((0.5, 0.5), (0.9, 0.52), (1.5, 0.54), (2.5, 0.58)):  # it was resumed in the middle
            now[0] = 100 + elapsed
            progress.update(fraction)
    assert told == [pytest.approx(1.5 + 46 / 4)]  # 4 % a second, 46 % to go


def test_estimate_is_printed(train: ToyGpt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toy_gpt_train.progress._PATIENCE_SECONDS", 0.0)
    times = [line for line in train("--epochs", 50).out.splitlines() if line.startswith("time")]
    assert len(times) == 1
    assert re.fullmatch(r"time      about \d+ s", times[0])


def test_json_has_no_plan(train: ToyGpt) -> None:
    outcome = train("--json", "--sample", 3, "--epochs", 2)
    assert (outcome.code, outcome.out.count("\n")) == (0, 1)
    assert len(json.loads(outcome.out)["sample"].split()) == 4
    assert "sample" not in json.loads(train("--json", "--epochs", 2).out)


# --- the report -------------------------------------------------------------------------------------------------


def test_sample_is_what_generate_writes(train: ToyGpt, tmp_path: Path) -> None:
    for options, num in ((("--sample", 7), 7), (("--sample",), 100)):
        outcome = train(*options)
        expected = tg.load(tmp_path).generate(num=num, temperature=0.8, seed=0)
        assert outcome.out.endswith(f"\na sample of {num} tokens:\n{expected}\n")
    assert "a sample of" not in train("--epochs", 2).out


@pytest.mark.parametrize("value", [0, -3, "many", 2.5])
def test_bad_sample(train: ToyGpt, tmp_path: Path, value: object) -> None:
    outcome = train("--sample", value)
    assert outcome.refused
    assert "--sample" in outcome.err
    assert not any(tmp_path.iterdir())


def test_memorized_is_less_than_half() -> None:
    def advice(train_loss: float, kind: str = "bigram", **more: float) -> str | None:
        return memorized({"model_kind": kind, "metrics": {"train_loss": train_loss, **more}})

    assert advice(0.1) is None  # nothing was held out
    assert advice(1.0, val_loss=2.0) is None
    assert "fewer epochs" in (advice(0.999, val_loss=2.0) or "")
    assert "--keep best" in (advice(0.5, "gpt", val_loss=2.0) or "")
    assert "judge this model" in (advice(0.5, "kneser-ney", val_loss=2.0) or "")


def test_memorized_is_said_in_the_report_and_the_log(toy_gpt: ToyGpt, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("a b c d e f g h " * 8 + "h g f e d c b a", "utf-8")
    options = ("train", "--model", "bigram", "--corpus", text, "--val-fraction", 0.1, "--base-dir", tmp_path)
    outcome = toy_gpt(*options)
    metrics = tg.load(tmp_path).meta["metrics"]
    assert metrics["train_loss"] < metrics["val_loss"] / 2
    assert outcome.out.count("note      memorized: ") == 1
    assert (tmp_path / "outputs/project.log").read_text("utf-8").count(" WARNING memorized: ") == 1
    assert "memorized: " not in toy_gpt(*options, "--epochs", 1).out


MODELS = ("unigram", "context-3", "kneser-ney", "mixture", "gpt")


@pytest.mark.parametrize("model", MODELS)
def test_words_of_the_terminal(train: ToyGpt, model: str) -> None:
    options = GPT if model == "gpt" else ("--seed", 0)
    out = train(*options, "--val-fraction", 0.3, model=model).out
    for word in ("above_floor", "explode", ".csv", ".json", "learning_rate", "grad_norm"):
        assert word not in out
    assert model == "context-3" or "rows" not in out  # what that model adds is about rows
    assert not re.search(r"\d\.\d{5}", out)
    assert len([line for line in out.splitlines() if line.startswith("wrote ")]) == 1


# --- trackers ---------------------------------------------------------------------------------------------------


def events(folder: Path) -> dict[tuple[str, int], float]:
    """Every scalar of the only event file in a folder, by name and step: records of length, CRC, data, CRC."""
    proto = pytest.importorskip("tensorboardX.proto.event_pb2")
    (path,) = folder.iterdir()
    data, found = path.read_bytes(), {}
    while data:
        (length,) = struct.unpack_from("<Q", data)
        event = proto.Event.FromString(data[12 : 12 + length])
        found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
        data = data[16 + length :]
    return found


@pytest.mark.parametrize(("model", "options"), [("bigram", ("--epochs", 3)), ("gpt", GPT)])
def test_tensorboard_has_the_numbers_of_the_log(
    train: ToyGpt, tmp_path: Path, model: str, options: tuple[object, ...]
) -> None:
    pytest.importorskip("tensorboardX")
    for _ in range(2):  # the second run takes the place of the first
        assert train(*options, "--log-to", "tensorboard", "--val-fraction", 0.3, model=model).code == 0
    history = tg.load(tmp_path).history
    expected = {
        (name, int(record.get("step", record["epoch"]))): pytest.approx(value, abs=1e-6, rel=1e-6)
        for record in history
        for name, value in record.items()
        if name not in ("loss_floor", "above_floor")  # they join the log at the end
    }
    assert events(tmp_path / "outputs/tensorboard") == expected


def test_tracker_that_is_not_installed(train: ToyGpt, tmp_path: Path) -> None:
    with mock.patch.dict("sys.modules", {"tensorboardX": None}):
        outcome = train("--log-to", "tensorboard")
    assert outcome.refused
    assert 'run: pip install "toy-gpt-train[log]"' in outcome.err
    assert not any(tmp_path.iterdir())
    assert train("--log-to", "paper").refused


def test_tracker_with_a_small_stand_in(train: ToyGpt, tmp_path: Path) -> None:
    package: Any = mock.Mock()
    with mock.patch.dict("sys.modules", {"tensorboardX": package}):
        assert train("--log-to", "tensorboard", "--epochs", 2).code == 0
    package.SummaryWriter.assert_called_once_with(str(tmp_path / "outputs" / "tensorboard"))
    writer = package.SummaryWriter.return_value
    assert [call.args[::2] for call in writer.add_scalar.call_args_list] == [
        (name, epoch) for epoch in (1, 2) for name in ("epoch", "avg_loss", "accuracy")
    ]
    writer.close.assert_called_once_with()
    assert (cli.build_parser().parse_args(["train"]).log_to) is None
