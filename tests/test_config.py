"""test_config.py - Options in files: --config and --preset, which of several wins, and the file that repeats a run."""

import argparse
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import toy_gpt_train as tg
from conftest import TINY_TEXT, Outcome
from toy_gpt_train import cli
from toy_gpt_train.cli import config
from toy_gpt_train.cli.config import config_text
from toy_gpt_train.errors import InputError
from toy_gpt_train.models.registry import LADDER

ToyGpt = Callable[..., Outcome]
Listing = Callable[[Path], dict[str, Any]]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TINY_TEXT * 3, encoding="utf-8")
    return path


def parsed(*typed: object) -> argparse.Namespace:
    return cli.build_parser().parse_args(["train", *map(str, typed)])


# --- which wins: typed > file > preset > default ---------------------------------------------------------------

FOUR = [  # the option's place in the namespace, its default, and what a preset, a file, and the command line say
    ("steps", None, "steps = 1", "steps = 2", ("--steps", 3), (1, 2, 3)),
    ("learning_rate", None, "learning_rate = 1", "learning_rate = 0.25", ("--learning-rate=1e-3",), (1.0, 0.25, 1e-3)),
    ("hidden_dim", None, "hidden = 4", "hidden = 8", ("--hidden", 16), (4, 8, 16)),
    ("seed", 0, "seed = 1", "[random]\nseed = 2", ("--seed", 3), (1, 2, 3)),
    ("size", None, 'size = "small"', 'size = "medium"', ("--size", "tiny"), ("small", "medium", "tiny")),
    ("model", None, 'model = "gpt"', 'model = "llama"', ("--model", "bigram"), ("gpt", "llama", "bigram")),
    ("special", [], 'special = ["a", "b"]', 'special = ["c"]', ("--special", "d"), (["a", "b"], ["c"], ["d"])),
    ("sample", None, "sample = true", "sample = 7", ("--sample", 8), (100, 7, 8)),
    ("log_to", None, 'log_to = "tensorboard"', 'log-to = "tensorboard"', (), ("tensorboard",) * 3),
]  # fmt: skip


@pytest.mark.parametrize(("name", "default", "preset", "file", "typed", "expected"), FOUR)
def test_what_is_typed_wins_over_the_file_and_the_file_over_the_preset(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    default: object,
    preset: str,
    file: str,
    typed: tuple[object, ...],
    expected: tuple[object, ...],
) -> None:
    monkeypatch.setattr(config, "PRESETS", tmp_path)
    (tmp_path / "known.toml").write_text(preset, "utf-8")
    (tmp_path / "run.toml").write_text(file, "utf-8")
    with_preset, with_file = ("--preset", "known"), ("--config", tmp_path / "run.toml")
    assert getattr(parsed(), name) == default
    assert getattr(parsed(*with_preset), name) == expected[0]
    assert getattr(parsed(*with_file), name) == expected[1]
    assert getattr(parsed(*with_file, *with_preset), name) == expected[1]
    assert getattr(parsed(*typed, *with_file, *with_preset), name) == expected[2]  # in any order
    assert getattr(parsed(*with_preset, *with_file, *typed), name) == expected[2]
    assert getattr(parsed(*with_preset, *typed), name) == (expected[2] if typed else expected[0])


def test_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "PRESETS", tmp_path)
    (tmp_path / "known.toml").write_text("no_keep = true\nresume = false", "utf-8")
    (tmp_path / "run.toml").write_text("no_keep = false", "utf-8")
    assert parsed().keep_checkpoint is True
    assert (parsed("--preset", "known").keep_checkpoint, parsed("--preset", "known").resume) == (False, False)
    assert parsed("--preset", "known", "--config", tmp_path / "run.toml").keep_checkpoint is True
    assert parsed("--no-keep", "--config", tmp_path / "run.toml").keep_checkpoint is False


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    file = tmp_path / "deep" / "run.toml"
    file.write_text('corpus = "../a.txt"\nbase_dir = "out"\ntokenizer = "saved"\n', "utf-8")
    args = parsed("--config", file)
    assert (args.corpus, args.base_dir) == (tmp_path / "a.txt", tmp_path / "deep" / "out")
    assert args.tokenizer == tmp_path / "deep" / "saved"
    assert parsed("--config", file, "--corpus", "b.txt").corpus == Path("b.txt")  # typed: relative to here
    monkeypatch.chdir(tmp_path)
    assert parsed("--config", "deep/run.toml").corpus == Path("a.txt")
    file.write_text(f'corpus = "{(tmp_path / "c.txt").as_posix()}"\ntokenizer = "char"', "utf-8")
    assert parsed("--config", file).corpus == tmp_path / "c.txt"
    assert parsed("--config", file).tokenizer == "char"


def test_a_shortened_name_of_the_option_reads_the_file_too(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("seed = 5", "utf-8")
    assert parsed("--conf", tmp_path / "run.toml").seed == 5


# --- files that cannot be used ----------------------------------------------------------------------------------

BAD: dict[str, tuple[str | bytes, str]] = {
    "no TOML": ("steps 3", "not valid TOML"),
    "a name twice": ("steps = 3\nsteps = 4", "not valid TOML"),
    "cut short": ('model = "gpt', "not valid TOML"),
    "no text": (b"\xff\xfe", "not UTF-8"),
    "NUL": ("steps = 3\0", "not valid TOML"),
    "NUL in a path": ('corpus = "a\\u0000b"', "NUL"),
    "unknown name": ("stepps = 3", "'stepps' is not an option of toy-gpt train"),
    "unknown name in a table": ("[training]\nstepps = 3", "'stepps' is not an option"),
    "another file of options": ('config = "run.toml"', "'config' is not an option"),
    "a preset": ('preset = "x"', "'preset' is not an option"),
    "help": ("help = true", "'help' is not an option"),
    "a name with an equals sign": ('"config=run.toml" = 1', "is not an option"),
    "a name with a line end": ('"a\\nb" = 1', "is not an option"),
    "a word for a number": ('steps = "many"', "--steps"),
    "a fraction for a whole number": ("steps = 2.5", "--steps"),
    "truth for a number": ("steps = true", "steps takes one number or text"),
    "a list for a number": ("steps = [1, 2]", "steps takes one number or text"),
    "a list of truths": ("special = [true]", "special takes one number or text"),
    "a date": ("steps = 2026-01-01", "steps is neither a number nor a text"),
    "a table in a table": ("[a.b]\nsteps = 3", "'b' is not an option"),
    "a table for an option": ("[a.steps]\nx = 3", "steps is neither a number nor a text"),
    "lists in lists": (f"steps = {'[' * 30_000}{']' * 30_000}", "not valid TOML"),
    "a number for a flag": ("no_keep = 1", "no-keep must be true or false"),
    "an unknown choice": ('size = "huge"', "'huge'"),
    "an option in a list": ('special = ["a", "--resume"]', "none can begin with -"),
    "thousands of digits": (f"steps = {'9' * 5000}", "not valid TOML"),
    "thousands of hexadecimal digits": (f"steps = 0x{'f' * 60_000}", "steps is too large"),
    "thousands of dots": (f"{'a.' * 20_000}a = 1", "dots"),
    "too large": ("#" * 70_000, "too large"),
    "an unknown model": ('model = "gtp"', "unknown model 'gtp'"),
}


@pytest.mark.parametrize("kind", BAD)
def test_unusable_file(toy_gpt: ToyGpt, listing: Listing, tmp_path: Path, kind: str) -> None:
    content, words = BAD[kind]
    file = tmp_path / "run.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    before = listing(tmp_path)
    outcome = toy_gpt("train", "--config", file, "--base-dir", tmp_path / "run")
    assert outcome.refused, outcome
    assert words in outcome.err
    assert len(outcome.err) < 600
    assert listing(tmp_path) == before


def test_file_that_is_none(toy_gpt: ToyGpt, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.toml", ""):
        assert toy_gpt("train", "--config", path, "--base-dir", tmp_path / "run").refused
    assert toy_gpt("train", "--config").refused
    assert "invalid choice" in toy_gpt("train", "--preset", "../x", "--base-dir", tmp_path / "run").err


# --- the file that training writes ------------------------------------------------------------------------------

FAST = {
    "embeddings": "--steps 4 --batch-size 2 --context 3 --embedding-dim 4 --hidden 5",
    "attention": "--steps 4 --batch-size 2 --context 3 --embedding-dim 4 --warmup 2 --no-bias --optimizer sgd "
    "--momentum 0.5 --schedule inverse-sqrt --clip 0",
    "gpt": "--steps 4 --batch-size 4 --piece-size 2 --context 3 --embedding-dim 4 --heads 2 --dropout 0.1 --no-keep "
    "--keep best --val-fraction 0.2",
    "llama": "--steps 4 --batch-size 2 --context 3 --embedding-dim 4 --heads 1 --learning-rate 0.003 --seed 7",
    "kneser-ney": "--context 2 --tokenizer bpe --bpe-vocab 262",
    "bigram": "--epochs 2 --all-rows",
    "context-2": "--epochs 3 --learning-rate 0.3 --tokenizer char --val-fraction 0.3",
}


def artifacts_of(base: Path, listing: Listing) -> dict[str, Any]:
    return {**listing(base / "artifacts"), "log": (base / "outputs/train_log.csv").read_bytes()}


def repeated(toy_gpt: ToyGpt, listing: Listing, tmp_path: Path) -> dict[str, Any]:
    """Repeat the run in tmp_path/run; its config, after the files were found to be the same.

    WHY a folder of the same name: the metadata record it.
    """
    file = tmp_path / "run" / "outputs" / "config.toml"
    base = tmp_path / "again" / "run"
    outcome = toy_gpt("train", "--config", file, "--base-dir", base)
    assert outcome.code == 0, outcome.err
    assert artifacts_of(base, listing) == artifacts_of(tmp_path / "run", listing)
    text = file.read_text("utf-8")
    assert str(tmp_path) not in text
    options = tomllib.loads(text)
    deeper = {name: f"../{options[name]}" for name in ("corpus", "tokenizer") if "/" in options[name]}
    assert tomllib.loads((base / "outputs/config.toml").read_text("utf-8")) == options | deeper
    return options


@pytest.mark.parametrize("kind", [entry.name for entry in LADDER])
def test_run_repeated_from_its_file(toy_gpt: ToyGpt, listing: Listing, corpus: Path, tmp_path: Path, kind: str) -> None:
    options = shlex.split(FAST.get(kind, ""))
    base = tmp_path / "run"
    assert toy_gpt("train", "--model", kind, "--corpus", corpus, "--base-dir", base, *options).code == 0
    written = repeated(toy_gpt, listing, tmp_path)
    assert (written["model"], written["corpus"]) == (kind, "../../text.txt")
    known = cli.build_parser().parse_args(["train", *options])
    for action in known.actions:
        name = action.option_strings[0][2:].replace("-", "_")
        if name != "no_keep" and (value := getattr(known, action.dest, action.default)) != action.default:
            assert written[name] == (True if action.nargs == 0 else value)
    meta = tg.load(base).meta
    assert {name: written[name] for name in written if name in meta["training"]}.items() <= meta["training"].items()
    fixed = ("unigram", "bigram", "context-2", "context-3", "mixture", "context-mixing")
    assert ("context" in written) == (kind not in fixed)


def test_run_with_a_preset_a_file_and_typed_options_is_repeated_without_them(
    toy_gpt: ToyGpt, listing: Listing, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    presets = tmp_path / "presets"
    presets.mkdir()
    (presets / "known.toml").write_text('model = "gpt"\nsize = "tiny"\ndropout = 0.2\nsteps = 9\n', "utf-8")
    file = tmp_path / "run.toml"
    file.write_text(
        'corpus = "text.txt"\nspecial = ["."]\nembedding_dim = 4\nheads = 1\ncontext = 3\nsteps = 5', "utf-8"
    )
    given = ("--preset", "known", "--config", file, "--steps", 3, "--base-dir", tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(config, "PRESETS", presets)
        patch.setattr(cli, "build_parser", cli.build_parser)
        args = parsed(*given)
        assert args.handler(args) == 0
    written = repeated(toy_gpt, listing, tmp_path)
    expected = {"model": "gpt", "dropout": 0.2, "embedding_dim": 4, "steps": 3, "special": ["."]}
    assert expected.items() <= written.items()
    assert not {"preset", "config", "size", "base_dir"} & written.keys()


def test_saved_tokenizer(toy_gpt: ToyGpt, listing: Listing, corpus: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    assert toy_gpt("data", "vocabulary", "--kind", "word", "--text", corpus, "--out", saved).code == 0
    options = ("--model", "bigram", "--tokenizer", saved, "--corpus", corpus)
    assert toy_gpt("train", *options, "--base-dir", tmp_path / "run").code == 0
    assert repeated(toy_gpt, listing, tmp_path)["tokenizer"] == "../../saved"


def test_resumed_run(toy_gpt: ToyGpt, listing: Listing, corpus: Path, tmp_path: Path) -> None:
    small = shlex.split("--batch-size 2 --context 3 --embedding-dim 4 --heads 1 --warmup 1 --eval-every 2")
    options = ("train", "--model", "gpt", "--corpus", corpus, "--base-dir", tmp_path / "run", *small)
    assert toy_gpt(*options, "--steps", 4).code == 0
    assert toy_gpt(*options, "--resume", "--more-steps", 3).code == 0
    text = (tmp_path / "run/outputs/config.toml").read_text("utf-8")
    written = tomllib.loads(text)
    assert written["steps"] == 7
    assert not {"resume", "more_steps"} & written.keys()
    assert "It was resumed from step 4 with another plan" in text
    assert (
        toy_gpt("train", "--config", tmp_path / "run/outputs/config.toml", "--base-dir", tmp_path / "again").code == 0
    )
    assert tg.load(tmp_path / "again").meta["training"]["steps"] == 7


def test_only_the_command_writes_it(toy_gpt: ToyGpt, corpus: Path, tmp_path: Path) -> None:
    names = {"config.toml", "project.log", "train.log"}
    assert toy_gpt("train", "--model", "bigram", "--corpus", corpus, "--base-dir", tmp_path).code == 0
    assert names <= {path.name for path in (tmp_path / "outputs").iterdir()}
    # Those of a former run would be false beside the new one.
    tg.train("unigram", corpus, save_to=tmp_path)
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["train_log.csv"]
    assert toy_gpt("ladder", "--models", "unigram", "--corpus", corpus, "--base-dir", tmp_path / "ladder").code == 0
    assert not [path for path in (tmp_path / "ladder").rglob("*") if path.name in names]


@given(st.text(), st.floats(allow_nan=False), st.lists(st.text(), min_size=1), st.integers(-(2**62), 2**62))
def test_every_value_is_read_back(text: str, number: float, texts: list[str], whole: int) -> None:
    options = {"a": text, "b": number, "c": texts, "d": whole, "e": True}
    read = tomllib.loads(config_text(options, Path("out"), ["line\nend", text]))
    lossless = {**options, "a": known(text), "c": [known(one) for one in texts]}
    assert read == lossless


def known(text: str) -> str:
    """A text as TOML can hold it: without lone surrogates."""
    return text.encode("utf-8", "replace").decode("utf-8")


def test_hostile_file_names(toy_gpt: ToyGpt, listing: Listing, tmp_path: Path) -> None:
    for number, name in enumerate(('a"b\\.txt', "-x.txt", "é #=.txt", "tab\there.txt", "line\nend.txt", "\x7f.txt")):
        text = tmp_path / str(number) / name
        text.parent.mkdir()
        try:
            text.write_text(TINY_TEXT, "utf-8")
        except OSError:
            continue  # not a name on this system
        base = text.parent / "run"
        assert toy_gpt("train", "--model", "bigram", "--epochs", 2, f"--corpus={text}", "--base-dir", base).code == 0
        assert repeated(toy_gpt, listing, text.parent)["corpus"] == f"../../{name}"


def test_unusable_value_of_a_default() -> None:
    with pytest.raises(InputError, match="not an option"):
        parsed("--config", Path(__file__).parents[1] / "SE_MANIFEST.toml")
