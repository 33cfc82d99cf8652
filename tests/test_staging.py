"""test_staging.py - A run is replaced as a whole: whatever happens on the way, the old one or the new one is there."""

import ast
import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard
from unittest import mock

import pytest

import toy_gpt_train as tg
from conftest import needs_processes
from toy_gpt_train import cli
from toy_gpt_train.artifacts import run_folder
from toy_gpt_train.artifacts.checkpoints import Checkpoints
from toy_gpt_train.disk import whole_file
from toy_gpt_train.staging import staged_files, write_texts
from toy_gpt_train.training.steps import Checkpoint

# Each writer of a file of the run, and which of its calls: a table has its weights and a view of them.
WRITERS = (
    ("write_vocabulary", 1),
    ("write_model_table", 1),
    ("write_model_table", 2),
    ("write_training_log", 1),
    ("write_meta", 1),
)
NUM_FILES = len(WRITERS)
NUM_RENAMES = 1 + 2 * NUM_FILES  # the journal appears, old files move aside, new files take their places
RUN_FILES = [
    "artifacts/00_meta.json",
    "artifacts/01_vocabulary.csv",
    "artifacts/02_model_weights.csv",
    "artifacts/03_token_embeddings.csv",
    "outputs/train_log.csv",
]

Listing = dict[str, bytes]
Train = Callable[..., Any]


def files_below(folder: Path) -> Listing:
    """The bytes of every file of the run, temporary ones too; not of those that are written after it."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in run_folder.EVIDENCE_NAMES]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def shown_files(folder: Path) -> Listing:
    """The bytes of the files that a listing shows: no temporary ones, no lock and no journal."""
    return {name: data for name, data in files_below(folder).items() if not name.rpartition("/")[2].startswith(".")}


@pytest.fixture(scope="session")
def train(toy_gpt: Callable[..., Any], tiny_corpus: Path) -> Train:
    """``train(base, 3)`` trains three epochs of a bigram into a folder."""

    def run(base: Path, epochs: int, kind: str = "bigram") -> Any:
        options = ("--corpus", tiny_corpus, "--model", kind, *(("--epochs", epochs) if kind == "bigram" else ()))
        return toy_gpt("train", "--base-dir", base, *options)

    return run


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The folder of a run; its name is in the metadata, so good runs to compare with have the same."""
    return tmp_path / "run"


@pytest.fixture(scope="session")
def good(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Listing]:
    """``good(3)`` gives the bytes of an undisturbed run of three epochs."""
    known: dict[int, Listing] = {}

    def run(epochs: int) -> Listing:
        if epochs not in known:
            folder = tmp_path_factory.mktemp(f"good-{epochs}") / "run"
            assert train(folder, epochs).code == 0
            known[epochs] = files_below(folder)
        return known[epochs]

    return run


def full_disk(*arguments: object, **options: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def control_c(*arguments: object, **options: object) -> None:
    raise KeyboardInterrupt


FAILURES = {"full disk": (full_disk, 2), "Ctrl-C": (control_c, 130)}


@contextmanager
def failing_once(method: str, call: int, failure: Callable[..., None], *, after: bool) -> Iterator[list[Path]]:
    """Let one call of a Path method fail, before or after it has done its work; yields the paths it was called on."""
    true_method = getattr(Path, method)
    calls: list[Path] = []

    def failing(path: Path, *arguments: Any, **options: Any) -> Any:
        calls.append(path)
        if len(calls) == call and not after:
            failure()
        done = true_method(path, *arguments, **options)
        if len(calls) == call and after:
            failure()
        return done

    with mock.patch.object(Path, method, failing):
        yield calls


# --- through the command line -----------------------------------------------------------------------------------


def test_run_is_replaced(base: Path, train: Train, good: Callable[[int], Listing]) -> None:
    assert train(base, 3).code == 0
    assert sorted(files_below(base)) == RUN_FILES
    assert files_below(base) == good(3)
    assert train(base, 4).code == 0
    assert files_below(base) == good(4)
    assert good(3) != good(4)
    # Every file of the run depends on the epochs, or nothing could be told from comparing them ...
    differing = [name for name, content in good(3).items() if content != good(4)[name]]
    # ... but the vocabulary.
    assert sorted(differing) == [name for name in RUN_FILES if name != "artifacts/01_vocabulary.csv"]


@pytest.mark.parametrize("halfway", [False, True], ids=["at once", "halfway"])
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize(("writer", "call"), WRITERS)
def test_failing_writer_leaves_the_old_run(
    base: Path, train: Train, good: Callable[[int], Listing], writer: str, call: int, failure: str, halfway: bool
) -> None:
    assert train(base, 3).code == 0
    fail, code = FAILURES[failure]
    true_writer = getattr(run_folder, writer)
    paths: list[Path] = []

    def failing(path: Path, *arguments: Any) -> None:
        paths.append(path)
        if halfway or len(paths) < call:
            true_writer(path, *arguments)
        if len(paths) == call:
            if halfway:
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            fail()

    with mock.patch.object(run_folder, writer, failing):
        outcome = train(base, 4)
    assert len(paths) == call
    assert outcome.code == code
    assert len([line for line in outcome.err.splitlines() if line]) == 1
    assert files_below(base) == good(3)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("call", range(1, NUM_RENAMES + 1))
def test_failing_rename_leaves_the_old_run(
    base: Path, train: Train, good: Callable[[int], Listing], call: int, failure: str, after: bool
) -> None:
    assert train(base, 3).code == 0
    fail, code = FAILURES[failure]
    with failing_once("replace", call, fail, after=after) as calls:
        outcome = train(base, 4)
    assert len(calls) >= call
    assert outcome.code == code
    assert files_below(base) == good(3)
    assert train(base, 4).code == 0
    assert files_below(base) == good(4)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("call", range(1, 1 + NUM_FILES + 1))
def test_failing_rename_of_a_first_run_leaves_nothing(
    base: Path, train: Train, call: int, failure: str, after: bool
) -> None:
    fail, code = FAILURES[failure]
    with failing_once("replace", call, fail, after=after) as calls:
        outcome = train(base, 4)
    assert len(calls) >= call
    assert outcome.code == code
    assert files_below(base) == {}


def test_renames_are_as_many_as_the_tests_above_think(base: Path, train: Train) -> None:
    for expected in (1 + NUM_FILES, NUM_RENAMES):
        with failing_once("replace", 0, full_disk, after=False) as calls:
            assert train(base, 3).code == 0
        assert (
            len([path for path in calls if not any(name in path.name for name in run_folder.EVIDENCE_NAMES)])
            == expected
        )


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("call", [1, 3, NUM_FILES])
def test_failure_while_tidying_up_leaves_one_whole_run(
    base: Path, train: Train, good: Callable[[int], Listing], call: int, failure: str, after: bool
) -> None:
    # The new run is in place and the old files are being removed. One of them may refuse to go; the others do.
    assert train(base, 3).code == 0
    with failing_once("unlink", call, FAILURES[failure][0], after=after) as calls:
        outcome = train(base, 4)
    assert len(calls) >= call
    files = files_below(base)
    left = [name for name in files if name.endswith(".tmp")]
    whole = {name: content for name, content in files.items() if name not in left}
    assert whole in (good(3), good(4))
    if failure == "full disk":
        assert outcome.code == (0 if whole == good(4) else 2)
    assert len(left) <= 1
    assert train(base, 4).code == 0
    assert files_below(base) == good(4)


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("call", [1, 3])
def test_failing_folder_leaves_the_old_run(
    base: Path, train: Train, good: Callable[[int], Listing], call: int, failure: str
) -> None:
    assert train(base, 3).code == 0
    fail, code = FAILURES[failure]
    with failing_once("mkdir", call, fail, after=False) as calls:
        assert train(base, 4).code == code
    assert len(calls) >= call
    assert files_below(base) == good(3)


@pytest.mark.parametrize("name", RUN_FILES)
def test_folder_in_place_of_a_target_changes_nothing(base: Path, train: Train, name: str) -> None:
    assert train(base, 3).code == 0
    (base / name).unlink()
    (base / name / "inside").mkdir(parents=True)
    before = files_below(base)
    for _ in range(2):
        outcome = train(base, 4)
        assert outcome.refused, outcome
        assert files_below(base) == before
        assert (base / name / "inside").is_dir()


@pytest.mark.slow
@needs_processes
@pytest.mark.skipif(not hasattr(os, "fork"), reason="file size limits are POSIX")
@pytest.mark.parametrize("limit", [0, 100, 800])
def test_really_no_room_leaves_the_old_run(
    base: Path, train: Train, good: Callable[[int], Listing], tiny_corpus: Path, limit: int
) -> None:
    assert train(base, 3).code == 0
    code = (
        "import resource, sys\nfrom toy_gpt_train import cli\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "raise SystemExit(cli.main(sys.argv[1:]))\n"
    )
    options = ("--model", "bigram", "--epochs", "4", "--corpus", str(tiny_corpus), "--base-dir", str(base))
    done = subprocess.run([sys.executable, "-c", code, "train", *options], capture_output=True, check=False, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert files_below(base) == good(3)


@needs_processes
def test_leftovers_of_a_killed_process_are_removed_and_files_of_a_running_one_stay(
    base: Path, train: Train, good: Callable[[int], Listing]
) -> None:
    assert train(base, 3).code == 0
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        names = (".00_meta.json.old.{}.tmp", ".02_model_weights.csv.{}.tmp", "../outputs/.train_log.csv.{}.tmp")
        paths = [base / "artifacts" / name.format(process.pid) for name in names]
        for path in paths:
            path.write_bytes(b"in work")
        assert train(base, 4).code == 0
        assert [path.read_bytes() for path in paths] == [b"in work"] * 3
        process.kill()
    (base / "artifacts" / f".00_meta.json.{os.getpid()}.tmp").write_bytes(b"left by an earlier process of this number")
    (base / "artifacts/mine.tmp").write_bytes(b"not ours")
    assert train(base, 3).code == 0
    assert files_below(base) == {**good(3), "artifacts/mine.tmp": b"not ours"}


def test_another_model_takes_the_place_of_a_run(base: Path, train: Train, toy_gpt: Callable[..., Any]) -> None:
    assert train(base, 3).code == 0
    assert train(base, 3, "kneser-ney").code == 0
    outcome = toy_gpt("infer", "--base-dir", base)
    assert (outcome.code, outcome.out.split(",")[0]) == (0, "model      kneser-ney")
    assert train(base, 3).code == 0
    assert toy_gpt("infer", "--base-dir", base).out.startswith("model      bigram")


KILLED_AT_A_STEP = """
import os, signal, sys
from pathlib import Path
from toy_gpt_train import cli
method, last = sys.argv[1], int(sys.argv[2])
true_method, calls = getattr(Path, method), []
def killed(path, *arguments, **options):
    true_method(path, *arguments, **options)
    calls.append(path)
    if len(calls) == last:
        os.kill(os.getpid(), signal.SIGKILL)
setattr(Path, method, killed)
cli.main(sys.argv[3:])
"""


@pytest.mark.slow  # test_crashes.py stops at each operation too, in this process
@needs_processes
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is POSIX")
@pytest.mark.parametrize(
    ("method", "call", "remains"),
    [
        *(("replace", call, 4) for call in range(1, NUM_RENAMES + 1)),
        # Two probes of folders; the temporary name of the journal; old files; the journal itself; the lock.
        *(("unlink", call, 3) for call in (1, 2)),
        *(("unlink", call, 4) for call in range(3, 3 + NUM_FILES + 3)),
    ],
)
def test_killed_right_after_a_step(
    base: Path,
    train: Train,
    good: Callable[[int], Listing],
    toy_gpt: Callable[..., Any],
    tiny_corpus: Path,
    method: str,
    call: int,
    remains: int,
) -> None:
    assert train(base, 3).code == 0
    options = ("--model", "bigram", "--epochs", "4", "--corpus", str(tiny_corpus), "--base-dir", str(base))
    arguments = (sys.executable, "-c", KILLED_AT_A_STEP, method, str(call), "train", *options)
    assert subprocess.run(arguments, stdout=subprocess.DEVNULL, check=False).returncode == -signal.SIGKILL
    assert toy_gpt("infer", "--base-dir", base).code == 0
    assert shown_files(base) == good(remains)
    assert train(base, 3).code == 0
    assert files_below(base) == good(3)


@pytest.mark.slow
@needs_processes
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is POSIX")
def test_killed_at_any_moment(
    base: Path,
    train: Train,
    good: Callable[[int], Listing],
    toy_gpt: Callable[..., Any],
    tiny_corpus: Path,
) -> None:
    # Train on and on, three epochs, then four, then three; kill it somewhere; look at what is there.
    code = (
        "import sys, itertools\nfrom toy_gpt_train import cli\n"
        "for epochs in itertools.cycle('34'):\n"
        "    cli.main([*sys.argv[1:], '--epochs', epochs])\n"
    )
    arguments = ("train", "--model", "bigram", "--corpus", str(tiny_corpus), "--base-dir", str(base))
    expected = {epochs: good(epochs) for epochs in (3, 4)}
    generator = random.Random(2024)
    for _ in range(15):
        child = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert any(line.startswith(b"wrote") for line in child.stdout)  # the first training is done
        time.sleep(generator.uniform(0, 0.02))
        child.kill()
        child.wait()
        child.stdout.close()
        assert toy_gpt("infer", "--base-dir", base).code == 0
        assert shown_files(base) in expected.values()
        assert train(base, 3).code == 0
        assert files_below(base) == expected[3]


def test_files_of_an_earlier_run_are_removed_and_others_stay(base: Path, tiny_corpus: Path) -> None:
    tg.train("mixture", tiny_corpus, tokenizer="char").save(base)
    (base / "artifacts/notes.txt").write_bytes(b"mine")
    assert len(files_below(base)) == 9 + 1 + 1  # artifacts, log, notes
    without_log = tg.train("bigram", tiny_corpus, epochs=1)
    without_log.history.clear()  # as of a run that was loaded without its log
    without_log.save(base)
    # The log of the mixture must not pass for one of the bigram.
    assert sorted(files_below(base)) == sorted([*RUN_FILES[:4], "artifacts/notes.txt"])


@pytest.mark.parametrize("name", ["../outside.txt", "sub/inside.txt", "..", ".", "", "/etc/hostname", "a\0b", 7, None])
def test_metadata_cannot_name_files_elsewhere_to_be_removed(base: Path, train: Train, name: object) -> None:
    assert train(base, 3).code == 0
    for other in ("outside.txt", "artifacts/sub/inside.txt"):
        (base / other).parent.mkdir(exist_ok=True)
        (base / other).write_bytes(b"mine")
    meta = json.loads((base / "artifacts/00_meta.json").read_text("utf-8"))
    meta["artifacts"] = [*meta["artifacts"], name]
    (base / "artifacts/00_meta.json").write_text(json.dumps(meta), encoding="utf-8")
    assert train(base, 4).code == 0
    assert sorted(files_below(base)) == sorted([*RUN_FILES, "outside.txt", "artifacts/sub/inside.txt"])


def test_checkpoints_touch_nothing_else_in_their_folder(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    mine = {"photos/a.jpg": b"1", "notes.txt": b"2", "step-1.txt": b"3", ".step-1.tmp": b"4"}
    for name, content in mine.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / ".step-00000001.12345.tmp").mkdir()  # left by a killed process
    checkpoints = Checkpoints(tmp_path, 1, {"seed": 0})
    for step in (1, 2):
        checkpoints.save(Checkpoint(step, {"a": ((1,), array("d", [step]))}, {}, {}))
        state = [f"step-{step:08}/{name}" for name in ("optimizer.safetensors", "state.json", "weights.safetensors")]
        assert sorted(files_below(tmp_path)) == sorted([*mine, *state])
        assert not (tmp_path / ".step-00000001.12345.tmp").exists()
    checkpoints.clear()
    assert files_below(tmp_path) == mine
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    checkpoints.save(Checkpoint(3, {}, {}, {}))
    checkpoints.clear()
    assert not tmp_path.exists()  # an empty folder is of no use


# --- the one mechanism ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("call", range(1, 5))
def test_several_texts_are_written_as_one(tmp_path: Path, call: int, failure: str) -> None:
    old = {"a.txt": "old a", "b.txt": "old b"}
    assert write_texts(tmp_path / "new", old) == [tmp_path / "new/a.txt", tmp_path / "new/b.txt"]
    before = files_below(tmp_path)
    with (
        pytest.raises((OSError, KeyboardInterrupt)),
        failing_once("replace", call, FAILURES[failure][0], after=call % 2 == 0),
    ):
        write_texts(tmp_path / "new", {"a.txt": "é\r\n", "b.txt": ""})
    assert files_below(tmp_path) == before == {"new/a.txt": b"old a", "new/b.txt": b"old b"}
    write_texts(tmp_path / "new", {"a.txt": "é\r\n", "b.txt": ""})
    assert files_below(tmp_path) == {"new/a.txt": "é\r\n".encode(), "new/b.txt": b""}


@pytest.mark.parametrize("stop", [OSError, KeyboardInterrupt, GeneratorExit])
def test_a_file_appears_only_when_it_is_whole(tmp_path: Path, stop: type[BaseException]) -> None:
    path = tmp_path / "folder" / "data.bin"

    def half() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            file.flush()
            raise stop

    for before in ({}, {"folder/data.bin": b"old"}):
        with pytest.raises(stop):
            half()
        assert files_below(tmp_path) == before
        path.write_bytes(b"old")
    with whole_file(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert files_below(tmp_path) == {"folder/data.bin": b"new"}
    with pytest.raises(IsADirectoryError, match="folder"), whole_file(path.parent) as file:
        pass


# Where files are written: by these three; in a path that the caller has staged; in a folder that gets its name when it
# is whole; and downloads, which are continued where they were cut off.
WRITING = {
    "locks.py": {"_acquire"},
    "disk.py": {"_open_stream", "check_writable", "sync_file", "whole_file", "whole_folder"},
    "staging.py": {"_complete", "commit", "write_texts"},
    "artifacts/metadata.py": {"write_meta"},
    "artifacts/model_tables.py": {"write_model_table"},
    "artifacts/run_folder.py": {"write_run"},
    "artifacts/safetensors.py": {"write_safetensors"},
    "artifacts/train_log.py": {"write_training_log"},
    "artifacts/vocabulary.py": {"write_vocabulary"},
    "artifacts/checkpoints.py": {"save", "_set_aside"},
    "data/fetch.py": {"fetch", "_transfer"},
    "exchange/huggingface.py": {"write"},
}
WRITERS_OF_A_PATH = ("write_meta", "write_model_table", "write_safetensors", "write_training_log", "write_vocabulary")


def calls_in(source: Path) -> Iterator[tuple[str, str, ast.Call]]:
    """Every call in a module: the function it is in, the name of what is called, and the call."""
    for function in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(function, ast.FunctionDef):
            for call in ast.walk(function):
                if isinstance(call, ast.Call):
                    yield function.name, getattr(call.func, "attr", getattr(call.func, "id", "")), call


def writes(name: str, call: ast.Call) -> bool:
    if name == "open":
        modes = [node.value for node in (*call.args, *(word.value for word in call.keywords)) if is_text(node)]
        return any(set(mode) & set("wax+") and set(mode) <= set("rwaxbt+") for mode in modes)
    # With one argument: str.replace has two.
    is_method = isinstance(call.func, ast.Attribute)
    return name in ("write_text", "write_bytes") or (
        name in ("rename", "replace") and is_method and len(call.args) == 1
    )


def is_text(node: ast.expr) -> TypeGuard[Any]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_every_file_is_written_through_the_one_mechanism() -> None:
    package = Path(tg.__file__).parent
    found: dict[str, set[str]] = {}
    for source in sorted(package.rglob("*.py")):
        module = source.relative_to(package).as_posix()
        if "/" not in module and re.match(r"[a-f]_|io_artifacts", module):
            continue  # the course stands alone
        for function, name, call in calls_in(source):
            if writes(name, call):
                found.setdefault(module, set()).add(function)
            if name in WRITERS_OF_A_PATH:
                target = ast.unparse(call.args[0])
                assert target.startswith(("staged.path(", "staged / ")), f"{module}: {ast.unparse(call)}"
    assert found == WRITING


# --- StagedFiles itself -----------------------------------------------------------------------------------------


def test_staged_files_take_their_places_together(tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "one.txt", tmp_path / "b" / "two.txt"
    first.parent.mkdir()
    with staged_files(first.parent, second) as staged:
        for target in (first, second):
            staged.path(target).write_text(target.name, encoding="utf-8")
            assert staged.path(target).parent == target.parent
            staged.path(target).write_text(target.name, encoding="utf-8")
        assert staged.targets() == [first, second]
        assert not first.exists()
        assert not second.exists()
    assert files_below(tmp_path) == {"a/one.txt": b"one.txt", "b/two.txt": b"two.txt"}


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_exception_in_the_block_changes_nothing(tmp_path: Path, stop: type[BaseException]) -> None:
    target = tmp_path / "one.txt"
    target.write_text("old", encoding="utf-8")

    def interrupted() -> None:
        with staged_files(tmp_path) as staged:
            staged.path(target).write_text("new", encoding="utf-8")
            raise stop

    with pytest.raises(stop):
        interrupted()
    assert files_below(tmp_path) == {"one.txt": b"old"}


def test_file_that_was_staged_and_never_written(tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in ("one.txt", "two.txt", "three.txt"))
    for target in (one, two):
        target.write_text("old", encoding="utf-8")

    def incomplete() -> None:
        with staged_files(tmp_path) as staged:
            staged.path(one).write_text("new", encoding="utf-8")
            staged.path(three).write_text("new", encoding="utf-8")
            staged.path(two)

    with pytest.raises(FileNotFoundError):
        incomplete()
    assert files_below(tmp_path) == {"one.txt": b"old", "two.txt": b"old"}


def test_no_old_file_is_lost_when_one_was_never_written(tmp_path: Path) -> None:
    # The file that was never written has an old one, and the move of another one fails: both must stay.
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    for target in (one, two):
        target.write_text("old", encoding="utf-8")

    def incomplete() -> None:
        with staged_files(tmp_path) as staged:
            staged.path(one)
            staged.path(two).write_text("new", encoding="utf-8")

    with failing_once("replace", 1, full_disk, after=False), pytest.raises(OSError, match=r"one\.txt"):
        incomplete()
    assert files_below(tmp_path) == {"one.txt": b"old", "two.txt": b"old"}


def test_metadata_leaves_first_and_comes_last(base: Path, train: Train) -> None:
    assert train(base, 3).code == 0
    order: list[str] = []
    true_replace = Path.replace

    def watched(path: Path, target: Path) -> Path:
        order.append(Path(target).name)
        # Between the two, there is no metadata: nobody can read a mixture of two runs.
        assert len(order) in (1, 2) or len(order) >= NUM_RENAMES or not (base / "artifacts/00_meta.json").exists()
        return true_replace(path, target)

    with mock.patch.object(Path, "replace", watched):
        assert cli.main(["train", "--base-dir", str(base), "--epochs", "2"]) == 0
    assert order[0] == ".commit.json"
    assert order[1].startswith(".00_meta.json")
    assert order[NUM_RENAMES - 1] == "00_meta.json"
    assert {*order[NUM_RENAMES:]} == {*run_folder.EVIDENCE_NAMES}
