"""test_limits.py - A hostile file costs one line and at most 64 MB over what the interpreter has already."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import toy_gpt_train as tg
from toy_gpt_train.errors import InputError
from toy_gpt_train.models import network
from toy_gpt_train.project import RESOURCE_ROOT, load_manifest

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, and a limit on the address space")

MEGABYTES = 64

# Load a good run first, so that all modules are there; then the same command with a hostile file.
LIMITED = """
import resource, sys
from pathlib import Path
from toy_gpt_train import cli
good, hostile, *command = sys.argv[1:]
if cli.main([*command, "--base-dir", good]) != 0:
    sys.exit("the good run does not load")
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (MEGABYTES << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.exit(cli.main([*command, "--base-dir", hostile]))
""".replace("MEGABYTES", str(MEGABYTES))

META, VOCABULARY, WEIGHTS = "00_meta.json", "01_vocabulary.csv", "02_model_weights.csv"
TEXT = "the cat sees the dog . the dog sees a cat . " * 20
GPT = {"steps": 1, "batch_size": 2, "embedding_dim": 4, "hidden_dim": 4, "heads": 2, "context": 4}
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "table": ("context-2", {"epochs": 1}),
    "kneser-ney": ("kneser-ney", {}),
    "bpe": ("bigram", {"epochs": 1, "tokenizer": "bpe", "bpe_vocab": 270}),
    "gpt": ("gpt", GPT),
    "safetensors": ("gpt", GPT),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each kind."""
    folder = tmp_path_factory.mktemp("good")
    for name, (model, options) in RUNS.items():
        with mock.patch.object(network, "LARGEST_IN_TABLES", 0 if name == "safetensors" else 200_000):
            tg.train(model, text=TEXT, **options).save(folder / name)
    return folder


def hole(path: Path, size: int = 1 << 30) -> None:
    """Make a file of zeros that takes no room on the disk."""
    with path.open("r+b") as file:
        file.truncate(size)


def header_and(more: Callable[[], bytes]) -> Callable[[Path], None]:
    """Replace all but the first line of a file."""
    return lambda path: path.write_bytes(path.read_bytes().split(b"\n")[0] + more()) and None


def content(more: Callable[[], bytes]) -> Callable[[Path], None]:
    """Replace a file."""
    return lambda path: path.write_bytes(more()) and None


def lists(megabytes: float) -> bytes:
    """A JSON object with as many empty lists as there is room for."""
    return b'{"a": [' + b"[]," * int(megabytes * 2**20 / 3) + b"[]]}"


def wide_text(megabytes: float) -> bytes:
    """A JSON object with one text, which takes four times its size in memory."""
    return b'{"a": "' + "\U0001f600".encode() + b"x" * int(megabytes * 2**20) + b'"}'


def false_shape(path: Path) -> None:
    """A tensor of a gigabyte, and a file with a hole in its place."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 28], "data_offsets": [0, 1 << 30]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    hole(path, 8 + len(header) + (1 << 30))


def header_of_lists(path: Path) -> None:
    """A header that is all lists."""
    header = lists(0.9)
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def huge_context(path: Path) -> None:
    """Metadata with a context of 10^8."""
    path.write_bytes(json.dumps({**json.loads(path.read_bytes()), "context_size": 10**8}).encode())


TENSORS = "02_model_weights.safetensors"
LOG = "../outputs/train_log.csv"
HOSTILE: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "a gigabyte of zeros as a vocabulary": ("table", VOCABULARY, hole),
    "a vocabulary of long lines": ("table", VOCABULARY, header_and(lambda: b"\n0," + b"x" * 2**27)),
    "a vocabulary of many lines": ("table", VOCABULARY, header_and(lambda: b"\n" + b"0,a,1\n" * 2**20)),
    "a gigabyte of zeros as weights": ("table", WEIGHTS, hole),
    "a header of commas": ("table", WEIGHTS, header_and(lambda: b"," * 2**28)),
    "rows without end": ("table", WEIGHTS, header_and(lambda: b"\n" + b"the|cat,0,0,0,0,0,0,0\n" * 2**22)),
    "a quote without end": ("table", WEIGHTS, header_and(lambda: b'\n"' + b"ab\n" * 2**25)),
    "a gigabyte of zeros as counts": ("kneser-ney", "02_counts.csv", hole),
    "a gigabyte of zeros as metadata": ("table", META, hole),
    "100 MB of lists as metadata": ("table", META, content(lambda: lists(100))),
    "metadata full of lists": ("table", META, content(lambda: lists(3.9))),
    "metadata full of wide text": ("table", META, content(lambda: wide_text(3.9))),
    "a context of 10^8": ("kneser-ney", META, huge_context),
    "a gigabyte of zeros as a log": ("table", LOG, hole),
    "a log without end": ("table", LOG, header_and(lambda: b"\n" + b"1,1,1,1,1" * 2**25)),
    "a log of many lines": ("table", LOG, lambda path: path.write_bytes(path.read_bytes() * 2**20)),
    "a gigabyte of zeros as vocab.json": ("bpe", "vocab.json", hole),
    "a vocab.json of lists": ("bpe", "vocab.json", content(lambda: lists(50))),
    "a gigabyte of zeros as merges": ("bpe", "merges.txt", hole),
    "merges without end": ("bpe", "merges.txt", lambda path: path.write_bytes(path.read_bytes() * 2**18)),
    "a gigabyte of zeros as tokenizer.json": ("bpe", "tokenizer.json", hole),
    "a tokenizer.json of lists": ("bpe", "tokenizer.json", content(lambda: lists(50))),
    "a gigabyte of zeros as a parameter": ("gpt", "05_W_Q.csv", hole),
    "a gigabyte of zeros as tensors": ("safetensors", TENSORS, hole),
    "a tensor of a gigabyte": ("safetensors", TENSORS, false_shape),
    "a header of lists": ("safetensors", TENSORS, header_of_lists),
}  # fmt: skip


@pytest.mark.slow
@needs_linux
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_of_a_run(good: Path, tmp_path: Path, python: Callable[..., Any], what: str) -> None:
    run, name, edit = HOSTILE[what]
    shutil.copytree(good / run, tmp_path / "run")
    path = tmp_path / "run" / "artifacts" / name
    edit(path)
    outcome = python("-c", LIMITED, good / run, tmp_path / "run", "infer")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.err[:2000]
    assert outcome.err.startswith("toy-gpt: error: ")
    assert len(outcome.err) < 1000


def dotted(parts: int, lines: int = 1) -> str:
    return "".join(f"{'a.' * parts}b{number} = 1\n" for number in range(lines))


MANIFESTS: dict[str, tuple[str, str]] = {
    "a name of 20,000 parts": (dotted(20_000), "a line has more than 100 dots"),
    "many names of 100 parts": (dotted(100, 290), "missing or malformed declaration"),
    "too large": (dotted(1, 20_000), "too large: the limit is 65,536 bytes"),
    "a share with 400 zeros": ("val_fraction = 1" + "0" * 400, "int too large to convert to float"),
    "a share of 5,000 digits": ("val_fraction = 1" + "0" * 5000, "not valid TOML: Exceeds the limit"),
    "a share of 5,000 hexadecimal digits": ("val_fraction = 0x1" + "0" * 5000, "int too large to convert to float"),
    "a model of 5,000 hexadecimal digits": ("models = [0x1" + "0" * 5000 + "]", "Exceeds the limit"),
    "a share in words": (f'val_fraction = "{"x" * 50_000}"', "could not convert string to float"),
    "lists in lists": ("models = " + "[" * 5000, "not valid TOML"),
}


def hostile_manifest(folder: Path, what: str) -> None:
    """Write a good manifest with a hostile line in its first entry of the ladder."""
    line, _ = MANIFESTS[what]
    text = (RESOURCE_ROOT / "SE_MANIFEST.toml").read_text(encoding="utf-8")
    entry = text[text.index("[[ladder]]") :].split("\n\n")[0]
    name = line.split(" = ")[0]
    kept = [kept for kept in entry.split("\n") if not kept.startswith(f"{name} =")]
    changed = text.replace(entry, "\n".join([*kept, line]))
    (folder / "SE_MANIFEST.toml").write_text(changed, encoding="utf-8")


@pytest.mark.parametrize("what", MANIFESTS)
def test_a_hostile_manifest(tmp_path: Path, what: str) -> None:
    hostile_manifest(tmp_path, what)
    if what == "many names of 100 parts":
        assert load_manifest(tmp_path).model == load_manifest().model
        return
    with pytest.raises(InputError) as caught:
        load_manifest(tmp_path)
    assert MANIFESTS[what][1] in str(caught.value)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@needs_linux
@pytest.mark.parametrize("what", ["a name of 20,000 parts", "many names of 100 parts", "too large", "lists in lists"])
def test_a_hostile_manifest_costs_little(tmp_path: Path, python: Callable[..., Any], what: str) -> None:
    hostile_manifest(tmp_path, what)
    good = tmp_path / "good"
    good.mkdir()
    for name in ("SE_MANIFEST.toml", "corpus", "artifacts", "outputs"):
        (good / name).symlink_to(RESOURCE_ROOT / name)
    outcome = python("-c", LIMITED, good, tmp_path, "check")
    if what == "many names of 100 parts":  # a manifest may hold more than is read; then no corpus is there
        assert (outcome.code, outcome.err) == (1, "")
    else:
        assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.err[:2000]


@pytest.mark.slow
def test_a_label_with_a_long_token_is_read_quickly(tmp_path: Path) -> None:
    # Ten megabytes with a backslash, in many labels: letter by letter it took 40 seconds.
    token = "a" * 5_000_000 + "\\" + "b" * 5_000_000
    run = tg.train("bigram", text=f"{token} x {token} y {token} z", epochs=1)
    run.save(tmp_path)
    assert tg.load(tmp_path).next(f"q {token}") == run.next(f"q {token}")
