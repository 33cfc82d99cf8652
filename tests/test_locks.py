"""test_locks.py - One writer per folder, whatever happens to it; and nothing is trained that cannot be written."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from platform import node
from typing import Any
from unittest import mock

import pytest

import toy_gpt_train as tg
from conftest import needs_processes
from toy_gpt_train import disk, staging
from toy_gpt_train.artifacts import run_folder
from toy_gpt_train.errors import InputError
from toy_gpt_train.locks import LOCK_NAME, FolderInUseError, locked
from toy_gpt_train.models.network import NetworkModel
from toy_gpt_train.models.ngram_table import NGramTable
from toy_gpt_train.staging import JOURNAL_NAME, ensure_whole, only_writer, write_texts

needs_kill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is POSIX")

HOLD = """
import sys
from pathlib import Path
from toy_gpt_train.locks import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Let another process hold the lock of a folder."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"locked"
        try:
            yield process
        finally:
            process.kill()


def wait_for(path: Path, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.returncode
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- the lock itself ------------------------------------------------------------------------------------------


@needs_processes
def test_second_writer_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path) as process:
        for _ in range(2):
            with pytest.raises(FolderInUseError) as refused, locked(tmp_path):
                pass
            assert str(refused.value) == (
                f"{tmp_path} is being written by process {process.pid} on {node()}; wait for it to end"
            )
    with locked(tmp_path):
        assert (tmp_path / LOCK_NAME).read_text("utf-8") == f"process {os.getpid()} on {node()}"
    assert list(tmp_path.iterdir()) == []


@needs_processes
def test_one_process_holds_a_folder_once(tmp_path: Path) -> None:
    with locked(tmp_path / "a"), locked(tmp_path / "b"):
        with pytest.raises(FolderInUseError, match=f"process {os.getpid()} on "), locked(tmp_path / "a"):
            pass
        with pytest.raises(FolderInUseError), locked(tmp_path / "b"):
            pass
    with locked(tmp_path / "a"):
        pass


@needs_processes
@needs_kill
def test_lock_ends_with_its_process(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path) as process:
        process.kill()
        process.wait()
        assert (tmp_path / LOCK_NAME).read_text("utf-8").startswith(f"process {process.pid} on")
        with locked(tmp_path):
            assert (tmp_path / LOCK_NAME).read_text("utf-8").startswith(f"process {os.getpid()} on")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", [b"", b"process 1 on nowhere", b"\xff" * 5000])
def test_file_that_a_killed_process_left_is_no_lock(tmp_path: Path, left: bytes) -> None:
    (tmp_path / LOCK_NAME).write_bytes(left)
    with locked(tmp_path):
        assert (tmp_path / LOCK_NAME).read_text("utf-8") == f"process {os.getpid()} on {node()}"
    assert list(tmp_path.iterdir()) == []


def test_folder_is_made_for_the_lock_and_removed_if_nothing_is_written(tmp_path: Path) -> None:
    with only_writer(tmp_path / "a" / "b", tmp_path / "c" / "file.csv"):
        assert sorted(path.name for path in tmp_path.rglob("*")) == [LOCK_NAME, "a", "b", "c"]
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    with only_writer(tmp_path / "a" / "b", tmp_path / "c" / "file.csv"):
        (tmp_path / "c" / "file.csv").write_bytes(b"")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "c", "file.csv"]


def test_folder_that_disappears_meanwhile_is_no_matter(tmp_path: Path) -> None:
    with locked(tmp_path / "a"):
        (tmp_path / "a" / LOCK_NAME).unlink()
        (tmp_path / "a").rmdir()
    assert list(tmp_path.iterdir()) == []


COUNT = """
import sys
from pathlib import Path
from toy_gpt_train.locks import FolderInUseError, locked
folder, number = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(100):
    while True:
        try:
            with locked(folder):
                number.write_text(str(int(number.read_text()) + 1))
            break
        except FolderInUseError:
            pass
"""


@needs_processes
def test_only_one_at_a_time(tmp_path: Path) -> None:
    # The lock file goes and comes all the time; nobody gets a lock on one that is gone.
    number = tmp_path / "number"
    number.write_text("0", encoding="utf-8")
    command = [sys.executable, "-c", COUNT, str(tmp_path / "folder"), str(number)]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert number.read_text("utf-8") == "400"


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="links are POSIX")
def test_lock_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_bytes(b"mine")
    folder = tmp_path / "from a stranger"
    folder.mkdir()
    (folder / LOCK_NAME).symlink_to(tmp_path / "mine.txt")
    with pytest.raises(OSError, match=r"\.lock"), locked(folder):
        pass
    assert (tmp_path / "mine.txt").read_bytes() == b"mine"


@needs_processes
def test_name_of_the_holder_is_not_trusted(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path):
        (tmp_path / LOCK_NAME).write_bytes(b"process 1 on \x1b[31mred")
        with pytest.raises(FolderInUseError, match="written by another process;"), locked(tmp_path):
            pass


# --- two trainers ---------------------------------------------------------------------------------------------


def train_command(base: Path, corpus: Path, *options: object) -> list[str]:
    return [sys.executable, "-m", "toy_gpt_train", "train", "--base-dir", str(base), "--corpus", str(corpus)] + [
        str(option) for option in options
    ]


LONG = ("--model", "embeddings", "--steps", 10**6, "--batch-size", 1, "--embedding-dim", 2, "--hidden", 2)


@needs_processes
@needs_kill
def test_second_trainer_is_refused_and_nothing_is_lost(
    tmp_path: Path, tiny_corpus: Path, toy_gpt: Callable[..., Any], listing: Callable[[Path], Any]
) -> None:
    base = tmp_path / "run"
    options = ("--base-dir", base, "--corpus", tiny_corpus, "--model", "bigram", "--epochs", 3)
    assert toy_gpt("train", *options).code == 0
    before = listing(base)
    command = train_command(base, tiny_corpus, *LONG)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(base / "artifacts" / LOCK_NAME, process)
        refused = toy_gpt("train", *options)
        assert refused.refused
        assert refused.err == (
            f"toy-gpt: error: {base / 'artifacts'} is being written by process {process.pid} on {node()}; "
            "wait for it to end\n"
        )
        with pytest.raises(FolderInUseError):
            tg.train("bigram", text="a b a b", epochs=1).save(base)
        # Reading goes on, and another run has another folder.
        assert toy_gpt("infer", "--base-dir", base).code == 0
        tg.train("bigram", text="a b a b", epochs=1, save_to=base, name="other")
        process.kill()
    for name in ("artifacts/other", "outputs/other"):
        for path in (base / name).iterdir():
            path.unlink()
        (base / name).rmdir()
    (base / "artifacts" / LOCK_NAME).unlink()
    assert listing(base) == before
    assert toy_gpt("train", *options).code == 0
    assert listing(base) == before


LOOP = """
import sys
from toy_gpt_train import cli
print([cli.main([*sys.argv[1:], "--epochs", str(1 + number % 3)]) for number in range(6)], file=sys.stderr)
"""


@pytest.mark.slow
@needs_processes
def test_four_loops_in_one_folder(tmp_path: Path, tiny_corpus: Path, toy_gpt: Callable[..., Any]) -> None:
    arguments = train_command(tmp_path / "run", tiny_corpus, "--model", "bigram")[3:]
    command = [sys.executable, "-c", LOOP, *arguments]
    processes = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    lines = [line for process in processes for line in process.communicate()[1].splitlines()]
    codes = [code for line in lines if line.startswith("[") for code in json.loads(line)]
    assert len(codes) == 24
    assert set(codes) <= {0, 2}
    assert 0 in codes
    errors = [line for line in lines if line.startswith("toy-gpt: error")]
    assert len(errors) == codes.count(2)
    # "another process" is one that has the lock, and has not signed it yet.
    assert all("is being written by" in line for line in errors)
    assert toy_gpt("infer", "--base-dir", tmp_path / "run").code == 0
    names = sorted(path.name for path in (tmp_path / "run").rglob("*") if path.is_file())
    tables = ["01_vocabulary.csv", "02_model_weights.csv", "03_token_embeddings.csv"]
    assert names == ["00_meta.json", *tables, "config.toml", "project.log", "train.log", "train_log.csv"]


# --- what cannot be written is not trained -----------------------------------------------------------------------


def a_file(path: str) -> Callable[[Path], None]:
    def make(base: Path) -> None:
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).write_bytes(b"mine")

    return make


def a_folder(path: str) -> Callable[[Path], None]:
    return lambda base: (base / path).mkdir(parents=True)


def a_pipe(path: str) -> Callable[[Path], None]:
    def make(base: Path) -> None:
        if not hasattr(os, "mkfifo"):
            pytest.skip("named pipes are POSIX")
        (base / path).parent.mkdir(parents=True)
        os.mkfifo(base / path)

    return make


OBSTACLES: dict[str, tuple[Callable[[Path], None], str]] = {
    "manifest that is not TOML": (a_file("SE_MANIFEST.toml"), "SE_MANIFEST.toml"),
    "file named artifacts": (a_file("artifacts"), "artifacts"),
    "file named outputs": (a_file("outputs"), "outputs"),
    "folder in place of the metadata": (a_folder("artifacts/00_meta.json/x"), "00_meta.json"),
    "folder in place of the weights": (a_folder("artifacts/02_model_weights.csv"), "02_model_weights.csv"),
    "folder in place of the log": (a_folder("outputs/train_log.csv"), "train_log.csv"),
    "pipe in place of the weights": (a_pipe("artifacts/02_model_weights.csv"), "02_model_weights.csv"),
    "folder in place of the lock": (a_folder("artifacts/.lock"), ".lock"),
    "damaged journal": (a_file(f"artifacts/{JOURNAL_NAME}"), JOURNAL_NAME),
}


@pytest.fixture
def untrained() -> Iterator[None]:
    """Whoever trains fails."""
    with (
        mock.patch.object(NGramTable, "fit", side_effect=AssertionError("trained")),
        mock.patch.object(NetworkModel, "fit", side_effect=AssertionError("trained")),
    ):
        yield


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("obstacle", OBSTACLES)
@pytest.mark.parametrize("model", ["bigram", "gpt"])
def test_obstacle_is_found_before_training(
    tmp_path: Path,
    tiny_corpus: Path,
    toy_gpt: Callable[..., Any],
    listing: Callable[[Path], Any],
    obstacle: str,
    model: str,
) -> None:
    base = tmp_path / "run"
    make, named = OBSTACLES[obstacle]
    make(base)
    before = listing(base)
    outcome = toy_gpt("train", "--model", model, "--corpus", tiny_corpus, "--base-dir", base)
    assert outcome.refused, outcome
    assert named in outcome.err
    assert listing(base) == before
    with pytest.raises((InputError, OSError), match=named):
        tg.train(model, tiny_corpus, save_to=base)
    assert listing(base) == before


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("folder", ["artifacts", "outputs"])
def test_folder_without_write_permission_is_found_before_training(
    tmp_path: Path, tiny_corpus: Path, toy_gpt: Callable[..., Any], listing: Callable[[Path], Any], folder: str
) -> None:
    base = tmp_path / "run"
    (base / folder).mkdir(parents=True)
    true_open = Path.open

    def refusing(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        # WHY not by chmod: for the superuser nothing is read-only.
        if path.parent == base / folder and mode != "r":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return true_open(path, mode, *arguments, **options)

    before = listing(base)
    with mock.patch.object(Path, "open", refusing):
        outcome = toy_gpt("train", "--model", "bigram", "--corpus", tiny_corpus, "--base-dir", base)
    assert outcome.refused
    assert str(base / folder) in outcome.err
    assert "Permission denied" in outcome.err
    assert listing(base) == before


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("name", ["..", "../other", "a/../../b", "artifacts/x", "/etc/run", "a\0b"])
def test_name_of_a_run_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="does not name a folder below artifacts"):
        tg.train("bigram", text="a b a b", save_to=tmp_path / "run", name=name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("untrained")
def test_ladder_looks_at_every_folder_first(
    tmp_path: Path, tiny_corpus: Path, toy_gpt: Callable[..., Any], listing: Callable[[Path], Any]
) -> None:
    a_file("artifacts/ladder/200-bigram")(tmp_path)
    before = listing(tmp_path)
    outcome = toy_gpt("ladder", "--models", "unigram", "bigram", "--corpus", tiny_corpus, "--base-dir", tmp_path)
    assert outcome.refused
    assert "200-bigram" in outcome.err
    assert listing(tmp_path) == before


def test_train_writes_what_save_writes(tmp_path: Path, listing: Callable[[Path], Any]) -> None:
    options: dict[str, Any] = {"text": "a b a b c", "epochs": 2}
    one, other = tmp_path / "1" / "run", tmp_path / "2" / "run"
    run = tg.train("bigram", **options, save_to=one, name="deep/name")
    assert tg.train("bigram", **options).save(other, "deep/name") == [
        other / path.relative_to(one) for path in run.paths
    ]
    assert listing(one) == listing(other)
    assert run.paths[-1] == one / "artifacts/deep/name/00_meta.json"
    assert tg.train("bigram", **options).paths == ()
    assert tg.load(one / "artifacts/deep/name").next("a") == run.next("a")


def test_checkpoints_need_a_folder_to_save_to() -> None:
    with pytest.raises(InputError, match="checkpoints need a folder: give save_to"):
        tg.train("gpt", text="a b a b " * 9, checkpoint_every=1, steps=1)


# --- readers --------------------------------------------------------------------------------------------------


def interrupted(folder: Path) -> None:
    """Leave a commit just after its journal was written."""
    write_texts(folder, {"a.txt": "old", "b.txt": "old"})
    with mock.patch.object(staging.disk, "remove_all"):
        write_texts(folder, {"a.txt": "new", "b.txt": "new"})
    assert (folder / JOURNAL_NAME).exists()


@needs_processes
def test_reader_waits_for_a_writer_and_says_who_it_is(tmp_path: Path) -> None:
    interrupted(tmp_path)
    with (
        held_elsewhere(tmp_path) as process,
        mock.patch.object(staging, "_SECONDS_OF_A_COMMIT", 0.1),
        pytest.raises(FolderInUseError, match=f"is being written by process {process.pid} on"),
    ):
        ensure_whole(tmp_path)
    ensure_whole(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.txt": b"new", "b.txt": b"new"}


def test_reader_of_a_folder_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    interrupted(tmp_path)
    refusal = PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / LOCK_NAME))
    with mock.patch.object(staging, "locked", side_effect=refusal), pytest.raises(InputError) as refused:
        ensure_whole(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path}: writing was interrupted here, and cannot be completed: {tmp_path / LOCK_NAME}: "
        "Permission denied; read it once where it can be written"
    )


GOOD = {"process": 1, "others": [], "staged": ["a.txt"], "removed": ["b.txt"]}
JOURNALS: dict[str, object] = {
    "empty": b"",
    "no JSON": b"{",
    "no UTF-8": b"\xff",
    "a list": [],
    "nothing": {},
    "deep": b"[" * 100_000,
    **{
        f"{key} {value!r:.30}": {**GOOD, key: value}
        for key, values in {
            "process": [None, "1", 1.0, True, []],
            "staged": [None, "a.txt", {"a.txt": 1}, [None], [1.0], [True], [[]], [-1], [1], [10**30]],
            "others": [None, [1], ["x"], ["../x"], {}],
            "removed": ["b.txt", ["../x"], ["/etc/x"], [".."], ["."], [""], [".hidden"], ["a/b"], ["a\\b"], ["c:x"]],
        }.items()
        for value in values
    },
    "removed a\0b": {**GOOD, "removed": ["a\0b"]},
}


@pytest.mark.parametrize("content", JOURNALS.values(), ids=JOURNALS)
def test_journal_from_a_stranger_is_refused(tmp_path: Path, listing: Callable[[Path], Any], content: object) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in (tmp_path / "x", folder / "a.txt", folder / ".a.txt.1.tmp", folder / "b.txt", folder / ".hidden"):
        path.write_bytes(b"mine")
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / JOURNAL_NAME).write_bytes(data)
    before = listing(tmp_path)
    with pytest.raises(InputError, match=JOURNAL_NAME):
        ensure_whole(folder)
    with pytest.raises(InputError, match=JOURNAL_NAME):
        write_texts(folder, {"a.txt": "new"})
    assert listing(tmp_path) == before


def test_good_journal_is_good(tmp_path: Path) -> None:
    # What the test above refuses is refused for the one thing that is wrong with it.
    for name in ("a.txt", ".a.txt.1.tmp", "b.txt", ".hidden"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / JOURNAL_NAME).write_text(json.dumps(GOOD), encoding="utf-8")
    ensure_whole(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a.txt": b".a.txt.1.tmp",
        ".hidden": b".hidden",
    }


def test_run_that_is_replaced_while_it_is_read_is_read_whole(tmp_path: Path) -> None:
    old, new = (tg.train("bigram", text="a b a b c a", epochs=epochs) for epochs in (1, 5))
    old.save(tmp_path)
    true_read = run_folder.read_vocabulary
    calls = []

    def read_and_replace(path: Path, *limits: int) -> Any:
        calls.append(path)
        if len(calls) == 1:  # the metadata were read, the weights were not
            new.save(tmp_path)
        return true_read(path, *limits)

    with mock.patch.object(run_folder, "read_vocabulary", read_and_replace):
        read = tg.load(tmp_path)
    assert len(calls) == 2
    assert (read.meta["training"]["epochs"], read.next("a")) == (5, new.next("a"))


def test_run_that_is_replaced_all_the_time_is_refused(tmp_path: Path) -> None:
    runs = [tg.train("bigram", text="a b a b c a", epochs=epochs) for epochs in (1, 5)]
    runs[0].save(tmp_path)
    true_read = run_folder.read_vocabulary

    def read_and_replace(path: Path, *limits: int) -> Any:
        runs.reverse()
        runs[0].save(tmp_path)
        return true_read(path, *limits)

    with (
        mock.patch.object(run_folder, "read_vocabulary", read_and_replace),
        pytest.raises(InputError, match="keep being written"),
    ):
        tg.load(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="links need a right that users of Windows lack")
def test_interrupted_run_is_completed_only_where_its_log_is_beside_it(
    tmp_path: Path, listing: Callable[[Path], Any]
) -> None:
    base, disk = tmp_path / "run", tmp_path / "disk"
    disk.mkdir()
    base.mkdir()
    (base / "artifacts").symlink_to(disk)
    run = tg.train("bigram", text="a b a b", epochs=1)
    with mock.patch.object(staging, "_end"):
        run.save(base)
    assert (disk / JOURNAL_NAME).exists()
    before = listing(tmp_path)
    for folder in (disk, base / ".." / "disk"):
        with pytest.raises(InputError, match="open the run by the folder that it was saved to"):
            tg.load(folder)
    assert listing(tmp_path) == before
    assert tg.load(base).next("a") == run.next("a")
    assert not (disk / JOURNAL_NAME).exists()
    assert len(tg.load(base).history) == 1


# --- signals --------------------------------------------------------------------------------------------------


@needs_processes
@needs_kill
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_signal_leaves_no_temporary_file(tmp_path: Path, name: str, code: int) -> None:
    # A pipe that nobody closes: the text is begun, and does not end.
    out, text = tmp_path / "out.txt", tmp_path / "text.txt"
    os.mkfifo(text)
    command = [sys.executable, "-m", "toy_gpt_train", "data", "sample", "--text", str(text), "--out", str(out)]
    with subprocess.Popen([*command, "--fraction", "1"], stderr=subprocess.PIPE) as process:
        with text.open("wb", buffering=0) as file:
            file.write(b"line\n" * 100)
            wait_for(tmp_path / f".out.txt.{process.pid}.tmp", process)
            process.send_signal(getattr(signal, name))
            _, err = process.communicate()
        assert (process.returncode, err) == (code, b"\nstopped; nothing is half-written\n")
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


@needs_processes
@needs_kill
def test_signal_ends_training_and_its_lock(tmp_path: Path, tiny_corpus: Path) -> None:
    base = tmp_path / "run"
    with subprocess.Popen(train_command(base, tiny_corpus, *LONG), stderr=subprocess.DEVNULL) as process:
        lock = base / "artifacts" / LOCK_NAME
        wait_for(lock, process)
        while not lock.read_bytes():  # WHY: only a lock that is signed is removed
            assert process.poll() is None
            time.sleep(0.01)
        process.terminate()
        assert process.wait() == 143
    assert not base.exists()


class Interrupted:
    """A context manager that is entered, and then a signal comes before the block has begun."""

    def __init__(self, real: AbstractContextManager[Any]) -> None:
        self.real = real

    def __enter__(self) -> None:
        self.real.__enter__()
        raise KeyboardInterrupt

    def __exit__(self, *error: Any) -> Any:
        return self.real.__exit__(*error)


@pytest.mark.parametrize("step", ["locked", "disk.present"])
def test_signal_between_two_steps_leaves_no_folder(tmp_path: Path, step: str) -> None:
    base = tmp_path / "run"
    real = locked if step == "locked" else disk.present
    with mock.patch(f"toy_gpt_train.staging.{step}", lambda folder: Interrupted(real(folder))):
        with pytest.raises(KeyboardInterrupt), only_writer(base / "artifacts", base / "outputs" / "log.csv"):
            raise AssertionError("the block is not reached")
        assert not base.exists()  # WHY here: what is left to the collector of garbage comes too late


@needs_processes
@needs_kill
def test_nohup_outlives_the_terminal(tmp_path: Path, tiny_corpus: Path) -> None:
    # nohup has the signal ignored before the command begins.
    code = (
        "import os, signal, sys\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\nfrom toy_gpt_train import cli\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "true_run = cli._run\n"
        "def hung_up(argv):\n    os.kill(os.getpid(), signal.SIGHUP)\n    return true_run(argv)\n"
        "cli._run = hung_up\nraise SystemExit(cli.main(sys.argv[1:]))\n"
    )
    arguments = train_command(tmp_path, tiny_corpus, "--model", "bigram", "--epochs", 1)[3:]
    done = subprocess.run([sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == 0


def test_handlers_are_as_before_when_the_command_is_done(toy_gpt: Callable[..., Any]) -> None:
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = [signal.getsignal(getattr(signal, name)) for name in names]
    assert toy_gpt("levels").code == 0
    assert [signal.getsignal(getattr(signal, name)) for name in names] == before
