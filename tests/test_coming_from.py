"""docs/coming-from.md: every command of the page works as it stands there, on small data."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toy_gpt_train import cli

ToyGpt = Callable[..., Any]
PAGE = Path(__file__).resolve().parents[1] / "docs" / "coming-from.md"
if not PAGE.is_file():
    pytest.skip("the docs lie in the repository", allow_module_level=True)
COMMANDS = [code.replace(r"\|", "|") for code in re.findall(r"`(toy-gpt [^`]*)`", PAGE.read_text("utf-8"))]
TEXT = "def add(a, b):\n    return a + b\n<|endoftext|>\nOnce there was a cat. The cat was small.\n<|endoftext|>\n" * 30
SMALL = "--steps 3 --embedding-dim 8 --heads 2 --layers 1 --context 8 --batch-size 4 --eval-windows 2"


def the_command(*words: str) -> list[str]:
    """Return the arguments of the first command on the page that has these words."""
    found = next(line for line in COMMANDS if all(word in line for word in words))
    return shlex.split(found)[1:]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("input.txt", "code.txt", "stories.txt"):
        Path(name).write_text(TEXT, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_understood(here: Path, command: str) -> None:
    Path("config.toml").write_text('start_tokens = ["the", "cat"]\nnum_tokens = 5\ntopk = 3\n', encoding="utf-8")
    assert cli.build_parser().parse_args(shlex.split(command)[1:]).handler


def test_the_series(here: Path, toy_gpt: ToyGpt) -> None:
    Path("config.toml").write_text('start_tokens = ["cat.", "The"]\nnum_tokens = 5\ntopk = 3\n', encoding="utf-8")
    for words in (("--model unigram",), ("--model context-2",), ("--all-rows",)):
        arguments = [*the_command(*words), "--corpus", "input.txt", "--base-dir", "run"]
        assert toy_gpt(*arguments, *("--model", "context2") * (words == ("--all-rows",))).code == 0
    answer = json.loads(toy_gpt(*the_command("--config config.toml"), "--base-dir", "run", "--json").out)
    assert (answer["start_tokens"], len(answer["top_k"]), len(answer["generated"])) == (["cat.", "The"], 3, 7)
    embeddings = toy_gpt(*the_command("--no-bias"), *["--corpus", "input.txt", "--base-dir", "run", "--steps", "2"])
    assert embeddings.code == 0
    assert not list(Path("run/artifacts").glob("*_b_*"))
    assert "train_log.csv" in {path.name for path in Path("run/outputs").iterdir()}
    assert "project.log" in {path.name for path in Path("run/outputs").iterdir()}


@pytest.mark.slow
def test_toy_gpt_char(here: Path, toy_gpt: ToyGpt) -> None:
    small = [*SMALL.split(), "--sample", "5"]
    trained = toy_gpt(*the_command("--preset toy-gpt-char"), *small)
    assert (trained.code, "a sample of 5 tokens:" in trained.out) == (0, True)
    assert list(Path("char/outputs/checkpoints").iterdir())
    more = toy_gpt(*the_command("--preset toy-gpt-char"), *small[2:], "--resume", "--more-steps", "2")
    assert more.code == 0
    assert toy_gpt(*the_command("--num 500 --temperature 1")).code == 0
    assert toy_gpt(*the_command("--untrained"), "--num", "5").code == 0
    assert toy_gpt(*the_command("--model kneser-ney")).code == 0


def test_tiny_little_gpt(here: Path, toy_gpt: ToyGpt) -> None:
    assert toy_gpt(*the_command("data sample", "--shuffle")).code == 0
    assert toy_gpt(*the_command("tokenize", "--vocab-size 4096")).code == 0
    assert toy_gpt(*the_command("data vocabulary")).code == 0
    assert toy_gpt(*the_command("data encode", "code.txt")).code == 0
    assert toy_gpt(*the_command("--model gpt --tokens"), *SMALL.split()).code == 0
    written = toy_gpt(
        *the_command('--prompt "def"'), "--top-k", 40, "--temperature", 0.8, "--output", "out.txt", "--show-steps"
    )
    assert written.code == 0
    assert Path("out.txt").read_text("utf-8").startswith("def")
    assert toy_gpt("train", "--config", "code/outputs/config.toml", "--base-dir", "again/code").code == 0
    assert Path("again/code/artifacts/00_meta.json").read_bytes() == Path("code/artifacts/00_meta.json").read_bytes()


@pytest.mark.slow
def test_transformer_lm_training(here: Path, toy_gpt: ToyGpt) -> None:
    assert toy_gpt(*the_command("--special", "--workers 4"), "--workers", "1").code == 0
    rate = toy_gpt(*the_command("--bytes-per-token"))
    assert (rate.code, rate.out.count("\n")) == (0, 1)
    size = len(json.loads(Path("bpe/vocab.json").read_text("utf-8")))
    assert f"; {size} tokens in the vocabulary" in rate.out
    assert toy_gpt(*the_command("data encode", "stories.txt")).code == 0
    Path("valid.tokens").write_bytes(Path("train.tokens").read_bytes())
    arguments = the_command("--model llama --tokens")
    sgd = [*SMALL.split(), *["--optimizer", "sgd", "--schedule", "inverse-sqrt", "--clip", "0"]]
    trained = toy_gpt(*arguments, *sgd)
    assert trained.code == 0
    records = [json.loads(line) for line in Path("lm/outputs/train.log").read_text("utf-8").splitlines()]
    assert [record["step"] for record in records if "step" in record] == [1, 2, 3]
    stopped = json.loads(
        toy_gpt("infer", "--base-dir", "lm", "--prompt", "cat", "--num", 400, "--temperature", 1, "--json").out
    )
    assert ("<|endoftext|>" in stopped["generated"]) == (stopped["samples"][0]["finish_reason"] == "stop")
