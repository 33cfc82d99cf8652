"""test_cli.py - The commands: what they print, what they write, and how they refuse."""

import argparse
import io
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from conftest import needs_processes
from toy_gpt_train import cli
from toy_gpt_train.cli import data
from toy_gpt_train.cli.chat import DEMO
from toy_gpt_train.inference.sampling import top_k
from toy_gpt_train.models.registry import LADDER
from toy_gpt_train.progress import Progress
from toy_gpt_train.run import Run, load

ToyGpt = Callable[..., Any]
Trained = Callable[..., Path]

FIGURES = {
    "train_loss",
    "val_loss",
    "perplexity",
    "bits_per_byte",
    "loss_floor",
    "unseen_context_share",
    "parameters",
    "train_seconds",
    "evaluate_seconds",
}
OPTIONS = {
    "train": "--model --corpus --tokenizer --bpe-vocab --context --val-fraction --epochs --learning-rate --seed "
    "--base-dir --json --size --embedding-dim --hidden --heads --layers --dropout --steps --batch-size --piece-size "
    "--warmup --weight-decay --clip --eval-every --workers --checkpoint-every --resume --sample --log-to --config",
    "infer": "--base-dir --start-tokens --prompt --num --topk --temperature --top-p --seed --explain --json --raw "
    "--output",
    "evaluate": "--base-dir --text --unknown --json",
    "chat": "--base-dir --num --topk --temperature --top-p --seed",
    "view": "--base-dir --port --no-browser",
    "ladder": "--corpus --models --tokenizer --bpe-vocab --val-fraction --base-dir --workers",
    "levels": "",
    "check": "--base-dir",
}
# WHY not all: a network learns for a minute and more.
QUICK_ENTRIES = tuple(entry for entry in LADDER if not entry.model_class.trains_in_steps)
QUICK = ("--models", *(entry.name for entry in QUICK_ENTRIES))
COURSE = Path(cli.__file__).parents[1]  # the lettered files
# What each step says when it is run alone, and the files it writes.
SAID = {
    "a_tokenizer": "32, 6 of them different",
    "b_vocab": "32 tokens, 6 different",
    "c_model": "216 rows",
    "d_train": "epoch",
    "e_infer": "the cat",
}
WRITTEN = [
    "artifacts/00_meta.json",
    "artifacts/01_vocabulary.csv",
    "artifacts/02_model_weights.csv",
    "artifacts/03_token_embeddings.csv",
    "outputs/train_log.csv",
]


def strict_json(text: str) -> Any:
    """Parse one JSON object on one line; NaN and Infinity are no JSON."""

    def no_constant(name: str) -> None:
        raise AssertionError(name)

    assert text.count("\n") == 1
    assert text.endswith("\n")
    return json.loads(text, parse_constant=no_constant)


def run_of(base: Path) -> Run:
    return load(base)


@pytest.fixture
def text_file(tmp_path: Path) -> Callable[[str], Path]:
    """``text_file("a b")`` writes a text and gives its path."""

    def write(text: str) -> Path:
        path = tmp_path / f"text-{len(list(tmp_path.iterdir()))}.txt"
        path.write_bytes(text.encode("utf-8"))
        return path

    return write


# --- help and usage ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", OPTIONS)
def test_help_names_the_options(toy_gpt: ToyGpt, command: str) -> None:
    outcome = toy_gpt(command, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    words = set(outcome.out.replace(",", " ").replace("]", " ").replace("[", " ").split())
    assert set(OPTIONS[command].split()) <= words


def test_help_names_the_commands(toy_gpt: ToyGpt) -> None:
    outcome = toy_gpt("--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert set(OPTIONS) <= set(outcome.out.split())
    assert toy_gpt() == outcome  # who types no command asks what there is


@needs_processes
def test_a_command_loads_no_other() -> None:
    """WHY: every start would wait for what all the others load."""
    script = "import sys; from toy_gpt_train import cli; cli.main(['levels']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    loaded = done.stdout.split()
    assert "toy_gpt_train.cli.levels" in loaded
    others = [name for name in cli._COMMANDS if name != "levels"]
    assert not {f"toy_gpt_train.cli.{name}" for name in others} & set(loaded)


def test_every_option_has_a_help_text() -> None:
    parser = cli.build_parser()
    choices = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction)).choices
    for command in OPTIONS:
        assert [action.dest for action in choices[command]._actions if not action.help] == []


def commands_with_help() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command and every source of ``data``, with its parser."""
    parsers = [("toy-gpt", cli.build_parser())]
    while parsers:
        name, parser = parsers.pop()
        yield name, parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += ((f"{name} {choice}", below) for choice, below in action.choices.items())


@pytest.mark.parametrize(("name", "parser"), list(commands_with_help()))
def test_help_gives_lines_to_type_that_work(name: str, parser: argparse.ArgumentParser) -> None:
    # Two spaces before it make a line a command, and two after it begin what explains it.
    examples = re.findall(r"^(?:example:)?  (toy-gpt .*?)(?:  .*)?$", parser.epilog or "", re.MULTILINE)
    if parser.epilog != data.LESSON:
        assert any(line.startswith(name) for line in examples)
    for line in examples:
        if "COMMAND" not in line:
            assert cli.build_parser().parse_args(shlex.split(line)[1:]).handler


def test_version(toy_gpt: ToyGpt) -> None:
    outcome = toy_gpt("--version")
    assert (outcome.code, outcome.out.split()[0]) == (0, "toy-gpt")


@pytest.mark.parametrize(
    "argv",
    [
        ("fly",),
        ("train", "--fly"),
        ("train", "text.txt"),
        ("infer", "--start-tokens"),
        ("infer", "--prompt"),
        ("infer", "--prompt", "a", "--start-tokens", "a"),
        ("evaluate",),
        ("evaluate", "--text"),
        ("evaluate", "--text", "a", "--unknown", "guess"),
        ("ladder", "--tokenizer", "syllable"),
        ("levels", "5"),
    ],
)
def test_wrong_usage_is_one_line(toy_gpt: ToyGpt, argv: tuple[str, ...]) -> None:
    outcome = toy_gpt(*argv)
    assert outcome.refused, outcome
    assert "--help" in outcome.err


def test_argument_with_a_line_end_is_one_line(toy_gpt: ToyGpt) -> None:
    assert toy_gpt("levels", "two\nlines").refused


# --- commands in other processes --------------------------------------------------------------------------------


@pytest.mark.parametrize("step", SAID)
def test_lettered_file_runs_alone(
    python: Callable[..., Any], listing: Callable[[Path], Any], trained: Trained, tmp_path: Path, step: str
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    arguments: dict[str, tuple[object, ...]] = {
        "d_train": ("--base-dir", here, "--epochs", 1, "--context", 1),
        "e_infer": ("--base-dir", trained("bigram"), "--start-tokens", "the", "cat", "--num", 3),
    }
    done = python(COURSE / f"{step}.py", *arguments.get(step, ()), cwd=here)
    assert (done.code, done.err) == (0, "")
    assert SAID[step] in done.out
    files = [path for path, content in listing(here).items() if content is not None]
    assert files == (WRITTEN if step == "d_train" else [])


def test_module_runs_as_the_command_does(
    python: Callable[..., Any], toy_gpt: ToyGpt, trained: Trained, tmp_path: Path
) -> None:
    base = trained("context-2")
    for argv in (
        ("infer", "--base-dir", base, "--json"),
        ("train", "--epochs", "0", "--base-dir", tmp_path),
    ):
        done = python("-m", "toy_gpt_train", *argv, cwd=tmp_path)
        assert done == toy_gpt(*argv)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", ["train", "infer", "d_train", "e_infer"])
def test_console_that_cannot_show_a_token(python: Callable[..., Any], tmp_path: Path, how: str) -> None:
    corpus = tmp_path / "é.txt"
    corpus.write_text("😀 é 😀 é b", encoding="utf-8")
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    train: tuple[object, ...] = ("-m", "toy_gpt_train", "train", "--model", "bigram")
    if how == "d_train":
        train = (COURSE / "d_train.py", "--context", 1)
    done = python(*train, "--corpus", corpus, "--epochs", 1, "--base-dir", tmp_path, **ascii_only)
    if "infer" in how:
        assert done.code == 0
        infer = (COURSE / "e_infer.py",) if how == "e_infer" else ("-m", "toy_gpt_train", "infer")
        done = python(*infer, "--base-dir", tmp_path, cwd=tmp_path, **ascii_only)
    assert (done.code, done.err) == (0, "")
    assert "\\xe9" in done.out


CLOSED_PIPE = [
    ("levels",),
    ("--help",),
    ("infer", "--num", "2000"),
    ("chat",),
]


@pytest.mark.slow
@needs_processes
@pytest.mark.skipif(os.name == "nt", reason="pipes break in another way on Windows")
@pytest.mark.parametrize("argv", CLOSED_PIPE, ids=" ".join)
def test_reader_that_has_gone(trained: Trained, argv: tuple[str, ...]) -> None:
    base = ("--base-dir", str(trained("bigram"))) if argv[0] in ("infer", "chat") else ()
    child = subprocess.Popen(
        [sys.executable, "-m", "toy_gpt_train", *argv, *base],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    assert child.stdout is not None
    child.stdout.close()  # as `| head -1` does after its line
    child.stdout = None
    _, err = child.communicate(b"the cat\n" * 2000, timeout=60)
    assert (child.returncode, err) == (0, b"")


INTERRUPTED = """
import signal, sys
from toy_gpt_train import cli
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
raise SystemExit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
@needs_processes
@pytest.mark.skipif(os.name == "nt", reason="SIGINT is POSIX")
def test_control_c_leaves_the_old_run(
    toy_gpt: ToyGpt, listing: Callable[[Path], Any], repository: Path, tmp_path: Path
) -> None:
    corpus = repository / "corpus/001_animals.txt"
    options = ("train", "--model", "bigram", "--corpus", str(corpus), "--base-dir", str(tmp_path))
    assert toy_gpt(*options, "--epochs", 2).code == 0
    before = listing(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *options, "--epochs", "1000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    plan = [child.stdout.readline() for _ in range(4)]
    assert b"1,000,000 epochs" in b"".join(plan)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (130, b"")
    # A terminal has shown ^C, so the message begins on a line of its own.
    assert err.strip() == b"stopped; nothing is half-written"
    assert listing(tmp_path) == before


# --- train: what cannot be used ---------------------------------------------------------------------------------

TEXT_COMMANDS = ("train", "ladder", "evaluate")


@pytest.fixture
def refuse(toy_gpt: ToyGpt, listing: Callable[[Path], Any], tmp_path: Path) -> Callable[..., str]:
    """``refuse("train", "--epochs", 0)`` asserts exit code 2, one line, nothing written; gives the line."""
    base = tmp_path / "run"

    def check(command: str, *options: object, base_dir: Path = base) -> str:
        before = listing(tmp_path)
        outcome = toy_gpt(command, *options, "--base-dir", base_dir)
        assert outcome.refused, outcome
        assert "Traceback" not in outcome.err
        assert listing(tmp_path) == before
        message: str = outcome.err
        return message

    return check


BAD_TEXTS: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "No such file"),
    "empty": (b"", "empty"),
    "white space": (b" \n\t\r\n \xe2\x80\x83\n", "empty"),
    "only a byte-order mark": (b"\xef\xbb\xbf", "empty"),
    "not UTF-8": (b"a b \xe9 c", "0xe9 at offset 4"),
    "UTF-8 cut short": (b"the cat \xf0\x9f\x98", "offset 8"),
    "UTF-16": ("a b c".encode("utf-16"), "looks like UTF-16"),
    "UTF-16 without a mark": ("the cat sat\n".encode("utf-16-le"), "looks like UTF-16"),
    "UTF-16 that is not UTF-8": ("café au lait\n".encode("utf-16-be"), "looks like UTF-16"),
}


@pytest.mark.parametrize("text", BAD_TEXTS)
@pytest.mark.parametrize("command", TEXT_COMMANDS)
def test_unusable_text_is_refused(
    refuse: Callable[..., str], trained: Trained, tmp_path: Path, command: str, text: str
) -> None:
    content, words = BAD_TEXTS[text]
    path = tmp_path / "bad text.txt"
    if content is not None:
        path.write_bytes(content)
    if command == "evaluate":
        message = refuse("evaluate", "--text", path, base_dir=trained("bigram"))
    else:
        message = refuse(command, "--corpus", path)
    assert "bad text.txt" in message
    assert words in message


@pytest.mark.parametrize("command", TEXT_COMMANDS)
def test_folder_as_text_is_refused(refuse: Callable[..., str], trained: Trained, tmp_path: Path, command: str) -> None:
    (tmp_path / "folder").mkdir()
    if command == "evaluate":
        message = refuse("evaluate", "--text", tmp_path / "folder", base_dir=trained("bigram"))
    else:
        message = refuse(command, "--corpus", tmp_path / "folder")
    assert "folder" in message


@pytest.mark.skipif(os.name == "nt", reason="no file has such a name there")
def test_file_name_with_a_line_end_is_refused_in_one_line(
    refuse: Callable[..., str], trained: Trained, tmp_path: Path
) -> None:
    strange = tmp_path / "two\nlines"
    refuse("train", "--corpus", strange)
    refuse("infer", base_dir=strange)
    strange.write_bytes(b"\xff")
    refuse("train", "--corpus", strange)
    refuse("evaluate", "--text", strange, base_dir=trained("bigram"))


@pytest.mark.parametrize(
    ("kind", "options", "needed"),
    [
        ("bigram", (), 2),
        ("context-2", (), 3),
        ("context-3", (), 4),
        ("context-9999", (), 10_000),
        ("kneser-ney", (), 5),
        ("kneser-ney", ("--context", 6), 7),
        ("kneser-ney", ("--context", 10**9), 10**9 + 1),
    ],
)
def test_text_too_short_for_the_context(
    toy_gpt: ToyGpt,
    refuse: Callable[..., str],
    tmp_path: Path,
    text_file: Callable[[str], Path],
    kind: str,
    options: tuple[object, ...],
    needed: int,
) -> None:
    short = text_file(" ".join("ab"[i % 2] for i in range(min(needed, 50) - 1)))
    message = refuse("train", "--model", kind, *options, "--corpus", short)
    assert kind in message
    assert str(needed) in message
    if needed < 50:
        enough = text_file(" ".join("ab"[i % 2] for i in range(needed)))
        outcome = toy_gpt("train", "--model", kind, *options, "--corpus", enough, "--base-dir", tmp_path / "enough")
        assert outcome.code == 0


def test_training_part_too_short(refuse: Callable[..., str], text_file: Callable[[str], Path]) -> None:
    assert "1 training tokens" in refuse(
        "train", "--model", "bigram", "--corpus", text_file("a b c d"), "--val-fraction", 0.75
    )


def test_ladder_checks_the_text_before_it_writes(refuse: Callable[..., str], text_file: Callable[[str], Path]) -> None:
    # Enough for the unigram and the bigram, too little for context-3.
    assert "context-3" in refuse("ladder", "--corpus", text_file("a b c"))


@pytest.mark.parametrize("share", [0.1, 0.2, 0.25, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9])
def test_held_out_part_is_the_share_asked_for(
    toy_gpt: ToyGpt, tmp_path: Path, text_file: Callable[[str], Path], share: float
) -> None:
    corpus = text_file("a b " * 10)
    options = ("--model", "unigram", "--epochs", 1, "--corpus", corpus, "--base-dir", tmp_path, "--json")
    figures = strict_json(toy_gpt("train", *options, "--val-fraction", share).out)
    assert figures["tokens"] == round(20 * share)


@pytest.mark.parametrize(
    "kind", ["", "gpt5", "context", "context-", "context--1", "context-1.5", "Bigram", "context-10000"]
)
def test_unknown_model_is_refused(refuse: Callable[..., str], tiny_corpus: Path, kind: str) -> None:
    message = refuse("train", "--model", kind, "--corpus", tiny_corpus)
    assert repr(kind) in message
    for entry in LADDER:
        assert entry.name in message


NO_INTEGERS = ("nan", "inf", "1e309", "1.5", "many", "", "0x10")
NO_FLOATS = ("many", "", "0x10", "1,5")
BAD_TRAIN_NUMBERS = {
    "--epochs": ("0", "-1", *NO_INTEGERS),
    "--learning-rate": ("0", "-1", "nan", "inf", "-inf", "1e309", "1001", *NO_FLOATS),
    "--val-fraction": ("1", "-0.1", "nan", "inf", "1e309", "2", *NO_FLOATS),
    "--seed": ("-1", "-5", *NO_INTEGERS),
    "--bpe-vocab": ("255", "0", "-1", *NO_INTEGERS),
}


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option, values in BAD_TRAIN_NUMBERS.items() for value in values]
)
@pytest.mark.parametrize("kind", ["context-2", "kneser-ney"])
def test_bad_number_in_training_is_refused(
    refuse: Callable[..., str], tiny_corpus: Path, kind: str, option: str, value: str
) -> None:
    cut = ("--tokenizer", "bpe") if option == "--bpe-vocab" else ()
    message = refuse("train", "--model", kind, "--corpus", tiny_corpus, *cut, f"{option}={value}")
    names = {"--val-fraction": "held-out share", "--learning-rate": "learning rate", "--bpe-vocab": "vocabulary size"}
    words = names.get(option, "\0")
    assert option.strip("-") in message or words in message


@pytest.mark.parametrize(
    ("kind", "context"),
    [
        *(("kneser-ney", value) for value in ("-1", *NO_INTEGERS)),
        ("unigram", "1"),
        ("bigram", "0"),
        ("bigram", "3"),
        ("context-2", "3"),
        ("context-5", "-1"),
        ("context-3", "-3"),
    ],
)
def test_context_that_does_not_fit_is_refused(
    refuse: Callable[..., str], tiny_corpus: Path, kind: str, context: str
) -> None:
    assert "context" in refuse("train", "--model", kind, "--corpus", tiny_corpus, "--context", context)


@pytest.mark.parametrize(("kind", "context"), [("context-2", 2), ("unigram", 0), ("kneser-ney", 0), ("kneser-ney", 2)])
def test_context_that_fits(toy_gpt: ToyGpt, tiny_corpus: Path, tmp_path: Path, kind: str, context: int) -> None:
    options = ("--corpus", tiny_corpus, "--base-dir", tmp_path)
    assert toy_gpt("train", "--model", kind, "--context", context, *options).code == 0
    assert run_of(tmp_path).model.context_size == context
    assert toy_gpt("infer", "--base-dir", tmp_path).code == 0


def test_base_dir_that_is_a_file(
    refuse: Callable[..., str], tiny_corpus: Path, text_file: Callable[[str], Path]
) -> None:
    path = text_file("x")
    for command in (("train", "--model", "bigram"), ("ladder", *QUICK)):
        assert path.name in refuse(*command, "--corpus", tiny_corpus, base_dir=path)
    (path.parent / "run").mkdir()
    (path.parent / "run" / "artifacts").write_text("x", encoding="utf-8")
    assert "artifacts" in refuse("train", "--model", "bigram", "--corpus", tiny_corpus)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_base_dir_that_is_read_only(refuse: Callable[..., str], tiny_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o555)
    assert "run" in refuse("train", "--model", "bigram", "--corpus", tiny_corpus)


@pytest.mark.skipif(sys.platform == "emscripten", reason="no name is too long there")
def test_base_dir_with_a_name_too_long(refuse: Callable[..., str], tiny_corpus: Path, tmp_path: Path) -> None:
    far = tmp_path / ("x" * 300)
    refuse("train", "--model", "bigram", "--corpus", tiny_corpus, base_dir=far)
    refuse("infer", base_dir=far)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are text there")
@pytest.mark.parametrize("where", ["corpus", "base"])
def test_file_name_that_is_no_text(toy_gpt: ToyGpt, listing: Callable[[Path], Any], tmp_path: Path, where: str) -> None:
    strange = os.fsdecode(b"caf\xe9")
    corpus = tmp_path / (strange if where == "corpus" else "corpus.txt")
    corpus.write_text("a b c", encoding="utf-8")
    base = tmp_path / (strange if where == "base" else "run")
    before = listing(tmp_path)
    outcome = toy_gpt("train", "--model", "bigram", "--corpus", corpus, "--base-dir", base)
    if outcome.code == 0:
        assert toy_gpt("infer", "--base-dir", base).code == 0
    else:
        assert outcome.refused
        assert listing(tmp_path) == before


@pytest.mark.parametrize(
    "manifest",
    ["x = 1\n", "repo = 1\n", "[repo]\n", "[repo]\nname = 5\n", "[[[", 'repo = "toy"\n', "[repo]\nname = []\n"],
)
def test_unusable_manifest_in_the_base_dir(toy_gpt: ToyGpt, tiny_corpus: Path, tmp_path: Path, manifest: str) -> None:
    # The run takes its repository's name from there: refused, or done without; nothing in between.
    (tmp_path / "SE_MANIFEST.toml").write_text(manifest, encoding="utf-8")
    outcome = toy_gpt("train", "--model", "bigram", "--corpus", tiny_corpus, "--base-dir", tmp_path, "--epochs", 1)
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "SE_MANIFEST.toml"]
    if outcome.code == 0:
        assert isinstance(run_of(tmp_path).meta["repo_name"], str)
    else:
        assert outcome.refused
        assert written == []


# --- train: what it prints --------------------------------------------------------------------------------------


def test_train_report(toy_gpt: ToyGpt, tiny_corpus: Path, tmp_path: Path) -> None:
    outcome = toy_gpt("train", "--model", "bigram", "--corpus", tiny_corpus, "--base-dir", tmp_path, "--epochs", 3)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0].startswith("model     bigram: ")
    assert "tiny.txt: 19 training tokens (word), 8 different" in lines[1]
    metrics = run_of(tmp_path).meta["metrics"]
    # 18 pairs, one for each word but the first; every different word comes before another and so has a row.
    assert lines[2:4] == [
        "plan      3 epochs, each once through the text: 18 steps",
        f"          looking back 1 token; {run_of(tmp_path).model.num_parameters()} weights",
    ]
    assert f"train loss {metrics['train_loss']:.4f} nats" in outcome.out
    epochs = [line.split()[0] for line in lines if line.split()[0].isdigit()]
    assert epochs == ["1", "2", "3"]
    assert lines[-1] == f"wrote     5 files to {tmp_path / 'artifacts'} and {tmp_path / 'outputs'}"


def test_train_json(toy_gpt: ToyGpt, tiny_corpus: Path, tmp_path: Path) -> None:
    for kind in ("unigram", "kneser-ney"):
        options = ("--model", kind, "--corpus", tiny_corpus, "--base-dir", tmp_path, "--json")
        figures = strict_json(toy_gpt("train", *options).out)
        assert figures.keys() >= FIGURES
        meta = run_of(tmp_path).meta
        assert round(figures["train_loss"], 6) == meta["metrics"]["train_loss"]
        assert round(figures["loss_floor"], 6) == meta["loss_floor"]
        for name in ("val_loss", "perplexity", "bits_per_byte", "unseen_context_share", "evaluate_seconds"):
            assert figures[name] is None
        assert isinstance(figures["train_seconds"], float)
        figures = strict_json(toy_gpt("train", *options, "--val-fraction", 0.25).out)
        assert [name for name in FIGURES if figures[name] is None] == []
        assert figures["tokens"] == 5
        assert figures["perplexity"] == pytest.approx(math.exp(figures["val_loss"]))


def test_train_json_by_hand(toy_gpt: ToyGpt, tmp_path: Path, text_file: Callable[[str], Path]) -> None:
    # Unigram on "a b a" with learning rate 0.1: weights .047627 and -.047627 (see test_artifacts). Held out: "b é".
    options = ("--model", "unigram", "--epochs", 1, "--base-dir", tmp_path, "--json", "--val-fraction", 0.4)
    figures = strict_json(toy_gpt("train", *options, "--corpus", text_file("a b a b é")).out)
    # V = 3 with é: target a [2/30, -1/30, -1/30]; and so on, by the plain rule.
    weights = [0.0, 0.0, 0.0]
    for target in (0, 1, 0):
        exps = [math.exp(weight) for weight in weights]
        weights = [
            w - 0.1 * (e / sum(exps) - (i == target)) for i, (w, e) in enumerate(zip(weights, exps, strict=True))
        ]
    weights = [round(weight, 6) for weight in weights]
    total = sum(math.exp(weight) for weight in weights)
    surprise = [math.log(total) - weight for weight in weights]
    assert figures["train_loss"] == pytest.approx((2 * surprise[0] + surprise[1]) / 3, abs=1e-9)
    assert figures["val_loss"] == pytest.approx((surprise[1] + surprise[2]) / 2, abs=1e-9)
    assert figures["perplexity"] == pytest.approx(math.exp((surprise[1] + surprise[2]) / 2))
    assert figures["bits_per_byte"] == pytest.approx(
        (surprise[1] + surprise[2]) / math.log(2) / 4
    )  # b, space, é: 4 bytes
    assert figures["loss_floor"] == pytest.approx(math.log(3) - 2 / 3 * math.log(2))
    assert figures["unseen_context_share"] == 0
    assert figures["parameters"] == 3
    # Laplace's rule: (1 + 1) / (3 + 3) for b, (0 + 1) / (3 + 3) for é.
    assert figures["unigram_loss"] == pytest.approx((math.log(3) + math.log(6)) / 2)


def test_repeated_training_prints_the_same_figures(toy_gpt: ToyGpt, tiny_corpus: Path, tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        options = ("--model", "context-2", "--corpus", tiny_corpus, "--base-dir", tmp_path, "--json")
        figures = strict_json(toy_gpt("train", *options, "--val-fraction", 0.2, "--epochs", 3).out)
        seen.append({name: value for name, value in figures.items() if not name.endswith("seconds")})
    assert seen[0] == seen[1]


KINDS = ("unigram", "bigram", "context-2", "context-3", "kneser-ney", "mixture")


@pytest.mark.parametrize("kind", KINDS)
def test_report_names_the_best_epoch_of_the_held_out_part(
    toy_gpt: ToyGpt, tiny_corpus: Path, tmp_path: Path, kind: str
) -> None:
    outcome = toy_gpt("train", "--model", kind, "--corpus", tiny_corpus, "--base-dir", tmp_path, "--val-fraction", 0.3)
    assert (outcome.code, outcome.err) == (0, "")
    history = run_of(tmp_path).history
    named = [line.strip() for line in outcome.out.splitlines() if "best held-out loss" in line]
    if "val_loss" in history[0]:
        best = min(history, key=lambda record: record["val_loss"])
        assert named == [f"best held-out loss {best['val_loss']:.4f} at epoch {best['epoch']:.0f}"]
    else:  # it only counts
        assert named == []


# --- infer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_infer_json_gives_what_next_probs_gives(toy_gpt: ToyGpt, trained: Trained, kind: str) -> None:
    base = trained(kind)
    run = run_of(base)
    start = ["sees", "the", "dog", "."]
    outcome = toy_gpt(
        "infer", "--base-dir", base, "--json", "--greedy", "--num", 4, "--topk", 3, "--start-tokens", *start
    )
    assert (outcome.code, outcome.err) == (0, "")
    answer = strict_json(outcome.out)
    assert list(answer) == ["start_tokens", "top_k", "generated", "samples"]
    assert answer["start_tokens"] == start
    ids = [*run.tokenizer.token_ids(start)]
    probs = run.model.next_probs(ids)
    assert [list(row) for row in answer["top_k"]] == [["token", "id", "probability"]] * 3
    assert [(row["id"], row["probability"]) for row in answer["top_k"]] == top_k(probs, 3)
    assert [row["token"] for row in answer["top_k"]] == [run.tokenizer.tokens[row["id"]] for row in answer["top_k"]]
    assert [row["probability"] for row in answer["top_k"]] == sorted(probs, reverse=True)[:3]
    # Greedy: always the most likely, the first of equals.
    for _ in range(4):
        probs = run.model.next_probs(ids)
        ids.append(probs.index(max(probs)))
    assert answer["generated"] == [run.tokenizer.tokens[token_id] for token_id in ids]


def test_infer_starts_from_the_corpus(toy_gpt: ToyGpt, trained: Trained) -> None:
    answer = strict_json(toy_gpt("infer", "--base-dir", trained("context-3"), "--json", "--num", 0).out)
    assert answer["start_tokens"] == answer["generated"] == ["the", "cat", "sees"]
    assert len(answer["top_k"]) == 5
    answer = strict_json(toy_gpt("infer", "--base-dir", trained("unigram"), "--json", "--topk", 100).out)
    assert answer["start_tokens"] == []
    assert len(answer["generated"]) == 100
    assert len(answer["top_k"]) == 8
    assert sum(row["probability"] for row in answer["top_k"]) == pytest.approx(1)


def test_infer_after_a_context_never_seen(toy_gpt: ToyGpt, trained: Trained) -> None:
    # All tokens are equally likely; of equals, the smallest id comes first.
    options = ("--base-dir", trained("context-3"), "--json", "--greedy", "--num", 1, "--topk", 4)
    answer = strict_json(toy_gpt("infer", *options, "--start-tokens", "runs", "runs", "runs").out)
    assert [(row["id"], row["probability"]) for row in answer["top_k"]] == [
        (0, 1 / 8),
        (1, 1 / 8),
        (2, 1 / 8),
        (3, 1 / 8),
    ]
    assert answer["generated"][3:] == ["."]


def test_infer_from_a_prompt(toy_gpt: ToyGpt, trained: Trained) -> None:
    # Longer than the context: only the last tokens count, the unknown ones before do not.
    options = ("--base-dir", trained("context-2"), "--json", "--num", 2)
    answer = strict_json(toy_gpt("infer", *options, "--prompt", "  zebras:  the\tcat \n").out)
    assert answer["start_tokens"] == ["the", "cat"]
    assert answer["generated"][:2] == ["the", "cat"]
    (sample,) = answer["samples"]
    assert sample["text"] == " ".join(["zebras:", *sample["generated"]])
    sample["text"] = " ".join(sample["generated"])
    assert answer == strict_json(toy_gpt("infer", *options, "--start-tokens", "the", "cat").out)
    shown = toy_gpt("infer", *options[:2], "--prompt", "zebras: the cat", "--num", 1)
    assert shown.out.splitlines()[-1].startswith("generated  zebras: the cat ")
    # Back-off needs no full context, nor any.
    for prompt in ("cat", ""):
        options = ("--base-dir", trained("kneser-ney"), "--json", "--num", 2)
        answer = strict_json(toy_gpt("infer", *options, "--prompt", prompt).out)
        assert answer["start_tokens"] == prompt.split()
        assert len(answer["generated"]) == len(prompt.split()) + 2


def test_infer_text(toy_gpt: ToyGpt, trained: Trained) -> None:
    outcome = toy_gpt("infer", "--base-dir", trained("bigram"), "--start-tokens", "the", "--num", 3, "--topk", 2)
    answer = strict_json(
        toy_gpt(
            "infer", "--base-dir", trained("bigram"), "--start-tokens", "the", "--num", 3, "--topk", 2, "--json"
        ).out
    )
    lines = outcome.out.splitlines()
    assert lines[0] == "model      bigram, vocabulary 8"
    assert lines[1] == "context    the"
    for line, row in zip(lines[2:4], answer["top_k"], strict=True):
        assert line.removeprefix("next").split()[0] == row["token"]
        assert line.endswith(f"{row['probability']:.4f}")
    assert lines[4:] == ["generated  " + " ".join(answer["generated"])]


@pytest.mark.parametrize("options", [(), ("--temperature", 1), ("--temperature", 0.7, "--top-p", 0.9, "--seed", 3)])
def test_infer_is_deterministic(toy_gpt: ToyGpt, trained: Trained, options: tuple[object, ...]) -> None:
    argv = ("infer", "--base-dir", trained("bigram"), "--num", 30, *options)
    assert toy_gpt(*argv) == toy_gpt(*argv)


def test_seed_changes_sampled_text_only(toy_gpt: ToyGpt, trained: Trained) -> None:
    argv = ("infer", "--base-dir", trained("bigram"), "--num", 30, "--json")
    sampled = {toy_gpt(*argv, "--temperature", 1, "--seed", seed).out for seed in range(5)}
    assert len(sampled) == 5
    assert toy_gpt(*argv) == toy_gpt(*argv, "--temperature", 0.8, "--seed", 0)
    greedy = [toy_gpt(*argv, "--greedy", "--seed", seed) for seed in range(5)]
    assert len({tuple(strict_json(answer.out)["generated"]) for answer in greedy}) == 1
    # What can be said stays what was learned: the first token's distribution does not depend on the drawing.
    assert len({json.dumps(strict_json(out)["top_k"]) for out in sampled}) == 1
    # Almost no probability left to draw from is the most likely token alone.
    assert toy_gpt(*argv, "--temperature", 1, "--top-p", 1e-9) == greedy[0]
    assert toy_gpt(*argv, "--temperature", 1e-9) == greedy[0] == toy_gpt(*argv, "--temperature", 0)
    assert toy_gpt(*argv, "--temperature", 1, "--greedy").refused


def test_infer_reads_a_folder_of_artifacts(toy_gpt: ToyGpt, trained: Trained) -> None:
    base = trained("bigram")
    assert toy_gpt("infer", "--base-dir", base / "artifacts") == toy_gpt("infer", "--base-dir", base)


def test_unknown_start_tokens_are_named(refuse: Callable[..., str], trained: Trained) -> None:
    base = trained("context-2")
    message = refuse("infer", "--start-tokens", "the", "cot", base_dir=base)
    assert "'cot'" in message
    assert "did you mean cat?" in message
    message = refuse("infer", "--start-tokens", "The", "zzz", base_dir=base)
    assert "'The'" in message
    assert "the" in message.replace("'The'", "")
    assert "'zzz'" in message
    message = refuse("infer", "--prompt", "I saw the dgo", base_dir=base)
    assert "'dgo'" in message
    assert "dog" in message


@pytest.mark.parametrize(
    ("kind", "start", "needed"), [("bigram", (), 1), ("context-3", ("the", "cat"), 3), ("context-2", ("the",), 2)]
)
def test_too_few_start_tokens(
    refuse: Callable[..., str], trained: Trained, kind: str, start: tuple[str, ...], needed: int
) -> None:
    options = ("--prompt", " ".join(start)), ("--start-tokens", *start)
    for option in options if start else options[:1]:
        message = refuse("infer", *option, base_dir=trained(kind))
        assert f"needs {needed}" in message
        assert f"got {len(start)}" in message


BAD_SAMPLING_NUMBERS = {
    "--num": ("-1", *NO_INTEGERS),
    "--topk": ("0", "-1", *NO_INTEGERS),
    "--temperature": ("-1", "-0.001", "nan", "inf", "-inf", "1e309", "101", *NO_FLOATS),
    "--top-p": ("0", "-1", "1.001", "nan", "inf", "1e309", *NO_FLOATS),
    "--seed": ("-1", *NO_INTEGERS),
}


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option, values in BAD_SAMPLING_NUMBERS.items() for value in values]
)
@pytest.mark.parametrize("command", ["infer", "chat"])
def test_bad_number_in_sampling_is_refused(
    refuse: Callable[..., str], trained: Trained, command: str, option: str, value: str
) -> None:
    message = refuse(command, f"{option}={value}", base_dir=trained("bigram"))
    assert option.strip("-") in message


# --- evaluate ---------------------------------------------------------------------------------------------------


def test_evaluate_by_hand(toy_gpt: ToyGpt, tmp_path: Path, text_file: Callable[[str], Path]) -> None:
    # Bigram on "a b a c", one epoch at 0.1 (see test_artifacts); the text "a b é": é is not known.
    corpus = text_file("a b a c")
    options = ("--model", "bigram", "--corpus", corpus, "--epochs", 1, "--base-dir", tmp_path)
    assert toy_gpt("train", *options).code == 0
    row_a, row_b = (-0.065538, 0.031075, 0.034462), (0.066667, -0.033333, -0.033333)

    def surprise(row: tuple[float, ...], target: int) -> float:
        return math.log(sum(map(math.exp, row))) - row[target]

    def evaluate(text: str, *more: object) -> Any:
        outcome = toy_gpt("evaluate", "--base-dir", tmp_path, "--text", text_file(text), "--json", *more)
        assert (outcome.code, outcome.err) == (0, "")
        return strict_json(outcome.out)

    figures = evaluate("a b\na")
    assert figures.keys() >= FIGURES
    # The first token has no context: each of 3 tokens is as likely.
    loss = (math.log(3) + surprise(row_a, 1) + surprise(row_b, 0)) / 3
    assert figures["val_loss"] == pytest.approx(loss, abs=1e-12)
    assert figures["perplexity"] == pytest.approx(math.exp(loss))
    assert figures["bits_per_token"] == pytest.approx(loss / math.log(2))
    assert figures["bits_per_byte"] == pytest.approx(3 * loss / math.log(2) / 5)
    # Told: the smallest id (a) first, then the most likely after a (c), then after b (a).
    assert figures["val_accuracy"] == pytest.approx(2 / 3)
    assert figures["unseen_context_share"] == pytest.approx(1 / 3)
    assert figures["tokens"] == 3
    assert figures["train_loss"] == run_of(tmp_path).meta["metrics"]["train_loss"]
    assert figures["train_loss"] == round((surprise(row_a, 1) + surprise(row_b, 0) + surprise(row_a, 2)) / 3, 6)
    assert figures["loss_floor"] == round(2 / 3 * math.log(2), 6)
    assert figures["train_seconds"] is None
    # Laplace's rule on 4 tokens, 3 different: a 3/7, b 2/7.
    assert figures["unigram_loss"] == pytest.approx((2 * math.log(7 / 3) + math.log(7 / 2)) / 3)

    uniform = evaluate("a é b", "--unknown", "uniform")
    assert uniform["tokens"] == 3
    assert uniform["val_loss"] == pytest.approx(math.log(3))
    # The first token has no context, and the last stands after an unknown one; a is known.
    assert uniform["unseen_context_share"] == pytest.approx(2 / 3)
    assert uniform["bits_per_byte"] == pytest.approx(3 * math.log(3) / math.log(2) / 6)  # a é b: 6 bytes
    assert uniform["unigram_loss"] == pytest.approx((math.log(7 / 3) + math.log(7) + math.log(7 / 2)) / 3)

    skipped = evaluate("a b é", "--unknown", "skip")
    assert skipped["tokens"] == 2
    assert skipped["val_loss"] == pytest.approx((math.log(3) + surprise(row_a, 1)) / 2)
    # A word stands for the white space after it as well: "a b " without é.
    assert skipped["bits_per_byte"] == pytest.approx(2 * skipped["val_loss"] / math.log(2) / 4)
    assert evaluate("a b", "--unknown", "skip")["val_loss"] == skipped["val_loss"]
    assert evaluate("a b", "--unknown", "uniform") | {"evaluate_seconds": 0} == evaluate("a b") | {
        "evaluate_seconds": 0
    }


def test_evaluate_unknown_tokens(
    refuse: Callable[..., str], toy_gpt: ToyGpt, trained: Trained, text_file: Callable[[str], Path]
) -> None:
    strange = text_file("the zebra and the gnu and the emu and the cat")
    message = refuse("evaluate", "--text", strange, base_dir=trained("bigram"))
    assert "4 different" in message
    assert "'zebra'" in message
    assert "--unknown" in message
    only = text_file("zebra gnu")
    assert "none" in refuse("evaluate", "--text", only, "--unknown", "skip", base_dir=trained("bigram"))
    for kind in KINDS:
        options = ("evaluate", "--base-dir", trained(kind), "--text", only, "--unknown", "uniform", "--json")
        assert strict_json(toy_gpt(*options).out)["val_loss"] == pytest.approx(math.log(8))


def test_evaluate_text_report(toy_gpt: ToyGpt, trained: Trained, tiny_corpus: Path) -> None:
    options = ("evaluate", "--base-dir", trained("bigram"), "--text", tiny_corpus)
    figures = strict_json(toy_gpt(*options, "--json").out)
    outcome = toy_gpt(*options)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0].startswith("19 tokens scored, ")
    shown = (figures["val_loss"], figures["perplexity"], figures["bits_per_token"], figures["bits_per_byte"])
    assert lines[2].split()[-4:] == [f"{value:.4f}" for value in shown]
    assert lines[3].split()[-4] == f"{figures['unigram_loss']:.4f}"
    assert lines[4].split()[-3] == f"{figures['train_loss']:.4f}"
    assert lines[5].split()[-3] == f"{figures['loss_floor']:.4f}"


def split_text(text_file: Callable[[str], Path], fraction: float, context_size: int) -> tuple[Path, Path, int]:
    """A corpus, and its last part with the tokens just before it."""
    words = ("the cat sits . the dog runs . the cat runs . a dog sits . " * 3).split()
    num_train = int(len(words) * (1 - fraction))
    held_out = words[num_train - context_size :]
    return text_file(" ".join(words)), text_file(" ".join(held_out)), len(words) - num_train


@pytest.mark.parametrize("kind", ["unigram", "bigram"])
def test_evaluate_agrees_with_the_held_out_loss(
    toy_gpt: ToyGpt, tmp_path: Path, text_file: Callable[[str], Path], kind: str
) -> None:
    context_size = 0 if kind == "unigram" else 1
    corpus, held_out, count = split_text(text_file, 0.25, context_size)
    options = ("--model", kind, "--epochs", 3, "--base-dir", tmp_path, "--val-fraction", 0.25, "--json")
    trained_figures = strict_json(toy_gpt("train", *options, "--corpus", corpus).out)
    figures = strict_json(toy_gpt("evaluate", "--base-dir", tmp_path, "--text", held_out, "--json").out)
    # The bigram's text has one token more, in front, for its context; without one, that token costs log V.
    vocab_size = run_of(tmp_path).tokenizer.vocab_size
    loss = (figures["val_loss"] * figures["tokens"] - context_size * math.log(vocab_size)) / count
    assert trained_figures["tokens"] == count
    assert loss == pytest.approx(trained_figures["val_loss"], abs=1e-12)
    assert run_of(tmp_path).meta["metrics"]["val_loss"] == round(trained_figures["val_loss"], 6)


@pytest.mark.parametrize("kind", ["bigram", "context-2", "kneser-ney"])
def test_evaluate_agrees_with_training_on_what_was_learned(
    toy_gpt: ToyGpt, tmp_path: Path, text_file: Callable[[str], Path], kind: str
) -> None:
    # "away" comes last in the training part, so no table has a row for it that it learned.
    corpus = text_file("the cat runs . the dog sits . the cat sits . the cat away . the away cat .")
    options = ("--model", kind, "--base-dir", tmp_path, "--val-fraction", 0.25, "--json")
    options = (*options, "--context", 2) if kind == "kneser-ney" else (*options, "--epochs", 3)
    trained_figures = strict_json(toy_gpt("train", *options, "--corpus", corpus).out)
    context_size = run_of(tmp_path).model.context_size
    words = corpus.read_text("utf-8").split()
    text = text_file(" ".join(words[15 - context_size :]))
    figures = strict_json(toy_gpt("evaluate", "--base-dir", tmp_path, "--text", text, "--json").out)
    assert trained_figures["tokens"] == 5
    unseen = figures["unseen_context_share"] * figures["tokens"] - context_size
    assert unseen == pytest.approx(trained_figures["unseen_context_share"] * 5)
    assert unseen > 0
    assert figures["parameters"] == trained_figures["parameters"]


# --- chat -------------------------------------------------------------------------------------------------------


def test_chat_answers_every_line(toy_gpt: ToyGpt, trained: Trained) -> None:
    base = trained("context-2")
    outcome = toy_gpt(
        "chat", "--base-dir", base, "--num", 2, "--topk", 3, stdin="the cat\n\n  \nI see the zzz\nthe\nsees the dog\n"
    )
    assert (outcome.code, outcome.err) == (0, "")
    answer = strict_json(toy_gpt("infer", "--base-dir", base, "--json", "--num", 2, "--prompt", "the cat").out)
    lines = outcome.out.splitlines()
    assert lines[3] == "the cat > " + " ".join(answer["generated"][2:])
    assert [line.split()[0] for line in lines[:3]] == [row["token"] for row in answer["top_k"][:3]]
    assert "'zzz'" in lines[4]  # and goes on
    assert "needs 2" in lines[5]
    assert lines[9].startswith("sees the dog > ")
    assert len([line for line in lines if line]) == 10


@pytest.mark.skipif(not DEMO.is_dir(), reason="the network lies in the repository")
def test_chat_with_the_network_of_the_project(toy_gpt: ToyGpt) -> None:
    told = "It is a sunny day. Mina and Ben are friends. Mina is at the market. She has a red ball. Where is Mina?\n"
    outcome = toy_gpt("chat", "--demo", "--greedy", "--topk", 1, stdin=told)
    assert outcome.code == 0
    assert "Mina is at the market." in outcome.out.splitlines()


def test_chat_without_input_ends(toy_gpt: ToyGpt, trained: Trained) -> None:
    outcome = toy_gpt("chat", "--base-dir", trained("bigram"), stdin="")
    assert (outcome.code, outcome.out.strip(), outcome.err) == (0, "", "")
    # The last line may lack its end.
    assert " > " in toy_gpt("chat", "--base-dir", trained("bigram"), stdin="the").out


def test_chat_greets_at_a_terminal(toy_gpt: ToyGpt, trained: Trained) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    outcome = toy_gpt("chat", "--base-dir", trained("bigram"), stdin=Terminal("the\n"))
    assert outcome.code == 0
    assert outcome.out.startswith("bigram on tiny.txt: it looks back 1 token.\nTry: the ")


def test_chat_is_deterministic(toy_gpt: ToyGpt, trained: Trained) -> None:
    argv = ("chat", "--base-dir", trained("bigram"), "--temperature", 1, "--num", 20)
    same = {toy_gpt(*argv, "--seed", 1, stdin="the cat\n").out for _ in range(2)}
    assert len(same) == 1
    assert len({toy_gpt(*argv, "--seed", seed, stdin="the cat\n").out for seed in range(4)}) == 4


def test_chat_survives_bytes_that_are_no_text(python: Callable[..., Any], trained: Trained, tmp_path: Path) -> None:
    # As typed on a Latin-1 keyboard into a UTF-8 program.
    argv = ("-m", "toy_gpt_train", "chat", "--base-dir", trained("bigram"), "--num", "1")
    strict = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "utf-8:strict"}
    done = python(*argv, stdin=b"the caf\xe9\nthe cat\n", cwd=tmp_path, **strict)
    assert (done.code, done.err) == (0, "")
    assert "the cat > " in done.out


def test_chat_in_another_process(python: Callable[..., Any], toy_gpt: ToyGpt, trained: Trained, tmp_path: Path) -> None:
    argv = ("chat", "--base-dir", trained("kneser-ney"), "--num", "3")
    done = python("-m", "toy_gpt_train", *argv, stdin=b"the cat\nzzz\na dog", cwd=tmp_path)
    assert done == toy_gpt(*argv, stdin="the cat\nzzz\na dog")
    assert "'zzz'" in done.out


# --- levels, ladder -----------------------------------------------------------------------------------------------


def test_levels_lists_the_ladder(toy_gpt: ToyGpt) -> None:
    outcome = toy_gpt("levels")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0].split()[:3] == ["code", "model", "context"]
    assert [line.split()[:3] for line in lines[1:]] == [
        [str(entry.code), entry.name, str(entry.default_context)] for entry in LADDER
    ]


def test_ladder_on_one_text(toy_gpt: ToyGpt, tiny_corpus: Path, tmp_path: Path) -> None:
    outcome = toy_gpt("ladder", "--corpus", tiny_corpus, "--base-dir", tmp_path, *QUICK)
    assert (outcome.code, outcome.err) == (0, "")
    rows = [line.split() for line in outcome.out.splitlines()]
    header = [
        "code",
        "model",
        "corpus",
        "tokens",
        "loss",
        "floor",
        "accuracy",
        "held-out",
        "loss",
        "numbers",
        "bytes",
        "seconds",
    ]
    assert rows[0] == header
    assert [row[1] for row in rows[1:]] == [entry.name for entry in QUICK_ENTRIES]
    for row, entry in zip(rows[1:], QUICK_ENTRIES, strict=True):
        name = f"ladder/{entry.code}-{entry.name}/tiny"
        artifacts, log = tmp_path / "artifacts" / name, tmp_path / "outputs" / name / "train_log.csv"
        meta = load(artifacts).meta
        assert meta["model_kind"] == entry.name
        assert row[3] == "word"
        assert row[4:7] == [
            f"{value:.4f}"
            for value in (meta["metrics"]["train_loss"], meta["loss_floor"], meta["metrics"]["train_accuracy"])
        ]
        size = log.stat().st_size + sum(path.stat().st_size for path in artifacts.iterdir())
        assert int(row[8]) == size  # nothing was held out
        # The same as one training, file by file.
        base = tmp_path / entry.name / tmp_path.name
        assert toy_gpt("train", "--model", entry.name, "--corpus", tiny_corpus, "--base-dir", base).code == 0
        for path in artifacts.iterdir():
            assert path.read_bytes() == (base / "artifacts" / path.name).read_bytes()


def test_ladder_cuts_the_text_as_told(toy_gpt: ToyGpt, tiny_corpus: Path, tmp_path: Path) -> None:
    options = ("--tokenizer", "char", "--val-fraction", 0.2, *QUICK)
    outcome = toy_gpt("ladder", "--corpus", tiny_corpus, "--base-dir", tmp_path, *options)
    assert (outcome.code, outcome.err) == (0, "")
    for line, entry in zip(outcome.out.splitlines()[1:], QUICK_ENTRIES, strict=True):
        meta = load(tmp_path / f"artifacts/ladder/{entry.folder}/tiny").meta
        assert (meta["tokenizer"]["kind"], meta["val_fraction"]) == ("char", 0.2)
        assert line.split()[3:8:4] == ["char", f"{meta['metrics']['val_loss']:.4f}"]


def test_training_reports_progress_in_order(toy_gpt: ToyGpt, tiny_corpus: Path, tmp_path: Path) -> None:
    fractions: list[float] = []

    def note(shown: Progress, fraction: float, status: str = "") -> None:
        fractions.append(fraction)

    with mock.patch.object(Progress, "update", note):
        options = ("--model", "bigram", "--corpus", tiny_corpus, "--base-dir", tmp_path, "--epochs", 5)
        assert toy_gpt("train", *options).code == 0
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < 0.2
    assert fractions[-1] == pytest.approx(1)


def test_json_has_the_online_loss_of_a_model_that_has_one(toy_gpt: ToyGpt, tiny_corpus: Path, tmp_path: Path) -> None:
    how = ("--corpus", tiny_corpus, "--val-fraction", 0.2, "--json", "--base-dir")
    counted, mixed = (
        json.loads(toy_gpt("train", "--model", name, *how, tmp_path / name).out)
        for name in ("kneser-ney", "context-mixing")
    )
    saved = load(tmp_path / "context-mixing").meta["metrics"]["val_loss_online"]
    assert round(mixed["val_loss_online"], 6) == saved
    assert mixed.keys() - counted.keys() == {"val_loss_online"}


def test_ladder_shows_the_online_loss_of_a_model_that_has_one(
    toy_gpt: ToyGpt, tiny_corpus: Path, tmp_path: Path
) -> None:
    models = ("--models", "kneser-ney", "context-mixing")
    how = ("--tokenizer", "char", "--val-fraction", 0.2, "--base-dir", tmp_path)
    _, counted, mixed = toy_gpt("ladder", "--corpus", tiny_corpus, *models, *how).out.splitlines()
    metrics = load(tmp_path / "artifacts/ladder/470-context-mixing/tiny").meta["metrics"]
    assert mixed.split()[7:9] == [f"{metrics['val_loss']:.4f}", f"{metrics['val_loss_online']:.4f}"]
    assert len(mixed.split()) == len(counted.split()) + 1


def test_ladder_options_without_a_text_are_refused(refuse: Callable[..., str]) -> None:
    assert "--corpus" in refuse("ladder", "--tokenizer", "char")
    assert "--corpus" in refuse("ladder", "--val-fraction", 0.5)


def test_ladder_of_chosen_models(toy_gpt: ToyGpt, tmp_path: Path, refuse: Callable[..., str]) -> None:
    outcome = toy_gpt("ladder", "--models", "bigram", "--base-dir", tmp_path)
    assert [line.split()[1:3] for line in outcome.out.splitlines()[1:]] == [
        ["bigram", "000_cat_dog"],
        ["bigram", "001_animals"],
    ]
    assert "context-9" in refuse("ladder", "--models", "context-9")
    assert "unknown model 'bigrom'" in refuse("ladder", "--models", "bigram", "bigrom")


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        ("bigram", "--steps", 5),
        ("context-2", "--workers", 2),
        ("kneser-ney", "--epochs", 5),
        ("kneser-ney", "--learning-rate", 0.1),
        ("mixture", "--hidden", 8),
        ("gpt", "--epochs", 5),
        ("bigram", "--piece-size", 5),
        ("bigram", "--checkpoint-every", 5),
        ("kneser-ney", "--eval-every", 5),
    ],
)
def test_option_without_meaning(refuse: Callable[..., str], kind: str, option: str, value: float) -> None:
    message = f"toy-gpt: error: {option} does not apply to {kind}\n"
    assert refuse("train", "--model", kind, option, value) == message


def test_resume_means_nothing_to_a_table(refuse: Callable[..., str]) -> None:
    assert "--resume does not apply to bigram" in refuse("train", "--model", "bigram", "--resume")
