"""test_crashes.py - A process is killed, or the power fails, at each step of writing: one whole run is there.

Every operation on the disk is recorded while a run is written. Then the disk is rebuilt as it is after each number of
operations, whatever was not flushed is lost in several ways, and the next process opens the folder.
"""

import os
import random
import shutil
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest

import toy_gpt_train as tg
from toy_gpt_train.artifacts.checkpoints import Checkpoints
from toy_gpt_train.artifacts.run_folder import complete_run, locked_run
from toy_gpt_train.errors import InputError
from toy_gpt_train.staging import ensure_whole, write_texts
from toy_gpt_train.training.steps import Checkpoint
from toy_gpt_train.view.server import find_file, runs_index

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows flushes no folders, and moves no open files")

Files = dict[str, bytes]  # by path
FOLDER = object()  # in place of a file's number


class Operation(NamedTuple):
    """What a process did to the disk: its name, the path, and the content written or the new path."""

    name: str
    path: str
    argument: Any = None


def files_in(folder: Path) -> Files:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def shown(files: Files) -> Files:
    """The files that a listing shows: no temporary ones, no lock and no journal."""
    return {name: content for name, content in files.items() if not name.rpartition("/")[2].startswith(".")}


# --- recording ------------------------------------------------------------------------------------------------


@contextmanager
def recorded(folder: Path, fail: Callable[[Operation], None] = lambda operation: None) -> Iterator[list[Operation]]:
    """Record every operation below a folder; ``fail`` may raise before one is done."""
    operations: list[Operation] = []
    known = files_in(folder)

    def note_writes() -> None:
        for name, content in files_in(folder).items():
            if known.get(name) != content:
                operations.append(Operation("write", name, content))
                known[name] = content

    def relative(path: Any) -> str:
        return Path(path).relative_to(folder).as_posix()

    def path_of(number: int) -> Path:
        paths = [folder, *folder.rglob("*"), folder.parent]
        return next(path for path in paths if os.path.samestat(path.stat(), os.fstat(number)))

    def recording(name: str) -> Callable[..., Any]:
        true_function = getattr(os, name)

        def function(first: Any, *arguments: Any, **options: Any) -> Any:
            path = path_of(first) if name == "fsync" else Path(first)
            if not path.is_relative_to(folder):
                return true_function(first, *arguments, **options)
            note_writes()
            new = relative(arguments[0]) if name in ("rename", "replace") else None
            operation = Operation(name, relative(path), new)
            fail(operation)
            done = true_function(first, *arguments, **options)
            operations.append(operation)
            known.clear()
            known.update(files_in(folder))
            return done

        return function

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(shutil, "_use_fd_functions", False))  # paths instead of numbers
        for name in ("fsync", "mkdir", "rename", "replace", "rmdir", "unlink"):
            stack.enter_context(mock.patch.object(os, name, recording(name)))
        yield operations
        note_writes()


# --- rebuilding -----------------------------------------------------------------------------------------------


class Disk:
    """A disk with a write cache: contents and names reach it when they are flushed, or at any time before, or never."""

    def __init__(self, files: Files) -> None:
        self.contents = list(files.values())  # of each file, by its number
        self.flushed: list[bytes] = list(self.contents)
        self.names: dict[str, Any] = {name: number for number, name in enumerate(files)}
        self.names.update({parent: FOLDER for name in files for parent in parents(name)})
        self.flushed_names = dict(self.names)
        self.pending: list[tuple[str, dict[str, Any]]] = []  # changes of names: the folder, the name's new number

    def apply(self, operation: Operation) -> None:
        name, path, argument = operation
        if name == "write":
            if path not in self.names:
                self.contents.append(b"")
                self.flushed.append(b"")
                self._change(path, {path: len(self.contents) - 1})
            self.contents[self.names[path]] = argument
        elif name == "fsync" and self.names.get(path, FOLDER) is FOLDER:
            for folder, change in self.pending:
                if folder == path:
                    changed(self.flushed_names, change)
            self.pending = [(folder, change) for folder, change in self.pending if folder != path]
        elif name == "fsync":
            self.flushed[self.names[path]] = self.contents[self.names[path]]
        elif name in ("rename", "replace") and self.names[path] is FOLDER:
            # What is pending in the folder moves with it, and is still pending.
            self.pending = [(moved(folder, path, argument), change) for folder, change in self.pending]
            for number, (folder, change) in enumerate(self.pending):
                if folder == argument:
                    self.pending[number] = folder, {moved(p, path, argument): n for p, n in change.items()}
            self._change(path, {path: argument})
        elif name in ("rename", "replace"):
            self._change(path, {path: None, argument: self.names[path]})
        else:
            self._change(path, {path: FOLDER if name == "mkdir" else None})

    def _change(self, path: str, change: dict[str, Any]) -> None:
        changed(self.names, change)
        self.pending.append((parent_of(path), change))

    def after_kill(self) -> Files:
        """What is there when the process is gone and the machine runs on."""
        return {name: self.contents[number] for name, number in self.names.items() if number is not FOLDER}

    def after_power_failure(self, reached: Callable[[int], bool], content: Callable[[bytes, bytes], bytes]) -> Files:
        """What is there after a power failure.

        Args:
            reached: Whether the pending change of a name with this number reached the disk.
            content: What of a file is there, of what was flushed and what was written.
        """
        names = dict(self.flushed_names)
        for number, (_, change) in enumerate(self.pending):
            if reached(number):
                changed(names, change)
        return {
            name: flushed if flushed == written else content(flushed, written)
            for name, number in names.items()
            if number is not FOLDER and all(parent in names for parent in parents(name))
            for flushed, written in [(self.flushed[number], self.contents[number])]
        }


def moved(path: str, old: str, new: str) -> str:
    return new + path[len(old) :] if f"{path}/".startswith(f"{old}/") else path


def changed(names: dict[str, Any], change: dict[str, Any]) -> None:
    """Give names to numbers; None takes a name away, and a name in place of a number moves a folder there."""
    for name, number in change.items():
        if number is None:
            names.pop(name, None)
        elif isinstance(number, str):
            entries = {moved(path, name, number): found for path, found in names.items()}
            names.clear()
            names.update(entries)
        else:
            names[name] = number


def parent_of(path: str) -> str:
    return Path(path).parent.as_posix()


def parents(path: str) -> list[str]:
    return [parent.as_posix() for parent in Path(path).parents][:-1]


def flushed_only(flushed: bytes, written: bytes) -> bytes:
    return flushed


def losses(disk: Disk, generator: random.Random, num_random: int) -> Iterator[Files]:
    """Yield what may be on a disk at one moment of the process's life, if that moment is its last."""
    yield disk.after_kill()
    yield disk.after_power_failure(lambda number: False, flushed_only)
    yield disk.after_power_failure(lambda number: True, flushed_only)
    for _ in range(num_random):
        chance = generator.random()
        yield disk.after_power_failure(
            lambda number, chance=chance: generator.random() < chance,
            lambda flushed, written: generator.choice([flushed, written[: len(written) // 2], written]),
        )
        # The names of each folder in order, up to some moment.
        ends = {folder: generator.randint(0, len(disk.pending)) for folder, _ in disk.pending}
        yield disk.after_power_failure(lambda number, ends=ends: number < ends[disk.pending[number][0]], flushed_only)


def crash_states(before: Files, operations: list[Operation], num_random: int) -> list[Files]:
    """Return all different states of a disk after a crash, during and after the operations."""
    generator = random.Random(2024)
    disk = Disk(before)
    states = [disk.after_kill()]
    for operation in operations:
        if operation.name == "write":  # by half
            disk.apply(operation._replace(argument=operation.argument[: len(operation.argument) // 2]))
            states.append(disk.after_kill())
        disk.apply(operation)
        states.extend(losses(disk, generator, num_random))
    return different(states)


def different(states: Iterable[Files]) -> list[Files]:
    return list({tuple(sorted(state.items())): state for state in states}.values())


class Rebuilt:
    """A folder that becomes one state of the disk after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def become(self, files: Files) -> None:
        for path in sorted(self.folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        for name, content in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(content)

    def read(self) -> Files:
        """What a reader finds, which completes what was interrupted."""
        complete_run(self.folder / "artifacts")
        return shown(files_in(self.folder))

    def opened_to_write(self) -> Files:
        """Everything that a writer finds before it writes."""
        with locked_run(self.folder):
            pass
        return files_in(self.folder)


@pytest.fixture
def rebuilt(tmp_path: Path) -> Iterator[Rebuilt]:
    """The folder that is rebuilt; nothing need be flushed in it."""
    (tmp_path / "run").mkdir()
    with mock.patch.object(os, "fsync"):
        yield Rebuilt(tmp_path / "run")


# --- runs -----------------------------------------------------------------------------------------------------


TEXT = "the cat sees the dog . the dog sees a cat . a cat runs to the dog ."


def made(name: str) -> tg.Run | None:
    small = {"embedding_dim": 4, "steps": 1, "batch_size": 1, "context": 2}
    if name == "nothing":
        return None
    if name == "network":
        return tg.train("embeddings", text=TEXT, tokenizer="bpe", bpe_vocab=260, **small)
    run = tg.train("bigram", text=TEXT, epochs=4 if name == "another table" else 3)
    if name == "table without a log":
        run.history.clear()
    return run


CHANGES = [
    ("nothing", "table"),
    ("table", "another table"),
    ("table", "network"),
    ("network", "table without a log"),
]


class Change(NamedTuple):
    """A run in the place of another, and what the disk saw of it."""

    before: Files
    after: Files
    operations: list[Operation]
    run: tg.Run


@pytest.fixture(scope="session")
def change_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Change]:
    """``change_of("table", "network")`` writes one run over another, once."""
    known: dict[tuple[str, str], Change] = {}

    def change(old: str, new: str) -> Change:
        if (old, new) not in known:
            folder = tmp_path_factory.mktemp("change") / "run"
            folder.mkdir()
            first, second = made(old), made(new)
            assert second is not None
            if first is not None:
                first.save(folder)
            before = files_in(folder)
            with recorded(folder) as operations:
                second.save(folder)
            known[old, new] = Change(before, files_in(folder), operations, second)
        return known[old, new]

    return change


def check(rebuilt: Rebuilt, states: list[Files], before: Files, after: Files) -> list[bool]:
    """Open every state to read and to write; return for each whether the new run was there."""
    new = []
    for state in states:
        for opened, left in ((rebuilt.read, shown), (rebuilt.opened_to_write, dict)):
            rebuilt.become(state)
            found = opened()
            assert found in (left(before), left(after)), sorted(state)
            again = opened()
            assert again == found
        new.append(found == after)
    return new


# --- the tests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_recorded_operations_give_the_run(change_of: Callable[[str, str], Change], old: str, new: str) -> None:
    # The harness itself: what it rebuilds after the last operation is what is on the disk, flushed.
    before, after, operations, _ = change_of(old, new)
    disk = Disk(before)
    for operation in operations:
        disk.apply(operation)
    assert disk.after_kill() == after
    for everything in (True, False):
        assert shown(disk.after_power_failure(lambda number: everything, flushed_only)) == after  # noqa: B023
    names = [operation.name for operation in operations]
    assert names.count("replace") == 1 + len(before) + len(after)
    assert names.count("fsync") >= len(after) + 4
    assert before != after


@pytest.mark.slow
@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_crash_at_any_operation(change_of: Callable[[str, str], Change], rebuilt: Rebuilt, old: str, new: str) -> None:
    before, after, operations, _ = change_of(old, new)
    states = crash_states(before, operations, num_random=0)
    assert len(states) > 20
    found = check(rebuilt, states, before, after)
    assert {True, False} == set(found)
    assert not found[0]
    assert found[-1]


@pytest.mark.slow
@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_crash_with_random_losses(
    change_of: Callable[[str, str], Change], rebuilt: Rebuilt, old: str, new: str
) -> None:
    before, after, operations, _ = change_of(old, new)
    states = crash_states(before, operations, num_random=4)
    assert len(states) > 100
    check(rebuilt, states, before, after)


@pytest.mark.parametrize("dropped", ["files", "folders"])
def test_flushing_is_needed(change_of: Callable[[str, str], Change], rebuilt: Rebuilt, dropped: str) -> None:
    # Without the flushes, some of the states are no whole run: the tests above can fail.
    before, after, operations, _ = change_of("table", "another table")
    folders = (".", "artifacts", "outputs")
    kept = [o for o in operations if o.name != "fsync" or (o.path in folders) == (dropped == "files")]
    assert len(kept) < len(operations)
    with pytest.raises((AssertionError, InputError)):
        check(rebuilt, crash_states(before, kept, num_random=2), before, after)


class FailedError(OSError):
    """A failed rename, as of a file that a spreadsheet holds open."""


@pytest.mark.slow
@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_crash_while_old_files_come_back(
    change_of: Callable[[str, str], Change],
    tmp_path: Path,
    rebuilt: Rebuilt,
    old: str,
    new: str,
) -> None:
    # A rename fails, so the old files come back, and that is interrupted too.
    before, after, operations, run = change_of(old, new)
    folder = Rebuilt(tmp_path / "failed" / "run")
    folder.folder.mkdir(parents=True)
    states: list[Files] = []
    for number in range(1, 1 + sum(operation.name == "replace" for operation in operations)):
        folder.become(before)
        left = [number]

        def fail(operation: Operation, left: list[int] = left) -> None:
            left[0] -= operation.name == "replace"
            if operation.name == "replace" and left[0] == 0:
                raise FailedError("in use")

        with recorded(folder.folder, fail) as done, pytest.raises(FailedError):
            run.save(folder.folder)
        assert files_in(folder.folder) == before
        states.extend(crash_states(before, done, num_random=1))
    check(rebuilt, different(states), before, after)


@pytest.mark.slow
@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_crash_while_a_crash_is_repaired(
    change_of: Callable[[str, str], Change], rebuilt: Rebuilt, old: str, new: str
) -> None:
    before, after, operations, _ = change_of(old, new)
    states: list[Files] = []
    for state in crash_states(before, operations, num_random=0)[::6]:
        rebuilt.become(state)
        with recorded(rebuilt.folder) as repairing:
            rebuilt.opened_to_write()
        states.extend(crash_states(state, repairing, num_random=0))
    check(rebuilt, different(states), before, after)


def test_every_reader_completes_a_run(
    change_of: Callable[[str, str], Change], rebuilt: Rebuilt, toy_gpt: Callable[..., Any]
) -> None:
    before, after, operations, _ = change_of("table", "network")
    disk = Disk(before)
    for operation in operations:
        disk.apply(operation)
        names = shown(disk.after_kill())
        if "artifacts/01_vocabulary.csv" not in names:
            break  # the metadata and the vocabulary are aside, and nothing new is there
    assert "artifacts/00_meta.json" not in names
    interrupted = disk.after_kill()
    base, artifacts = rebuilt.folder, rebuilt.folder / "artifacts"
    readers: dict[str, Callable[[], Any]] = {
        "load": lambda: tg.load(base),
        "load the artifacts": lambda: tg.load(artifacts),
        "infer": lambda: toy_gpt("infer", "--base-dir", base),
        "evaluate": lambda: toy_gpt("evaluate", "--base-dir", artifacts, "--text", artifacts / "00_meta.json"),
        "view": lambda: runs_index(base),
        "view the artifacts": lambda: runs_index(artifacts),
        "a file of the view": lambda: find_file(base, "/artifacts/00_meta.json"),
        "train": lambda: toy_gpt("train", "--base-dir", base, "--model", "gtp"),
    }
    completed = []
    for name, read in readers.items():
        rebuilt.become(interrupted)
        read()
        if files_in(base) == after:
            completed.append(name)
    # A command that is refused at once, for an unknown model, touches nothing.
    assert completed == [name for name in readers if name != "train"]


def test_crash_while_a_tokenizer_is_saved(tmp_path: Path, rebuilt: Rebuilt) -> None:
    texts = [{"vocab.json": "{}", "merges.txt": "a b"}, {"vocab.json": "[]", "merges.txt": "", "more.txt": "é"}]
    folder = tmp_path / "tokenizer"
    write_texts(folder, texts[0])
    before = files_in(folder)
    with recorded(folder) as operations:
        write_texts(folder, texts[1])
    after = files_in(folder)
    assert after == {name: text.encode() for name, text in texts[1].items()}
    states = crash_states(before, operations, num_random=3)
    for state in states:
        rebuilt.become(state)
        ensure_whole(rebuilt.folder)
        assert shown(files_in(rebuilt.folder)) in (before, after)
    assert len(states) > 50


def test_crash_while_a_checkpoint_is_saved(tmp_path: Path, rebuilt: Rebuilt) -> None:
    def checkpoint(step: int) -> Checkpoint:
        return Checkpoint(step, {"w": ((1,), array("d", [step]))}, {"m": ((1,), array("d", [-step]))}, {"at": step})

    identity = {"seed": 0}
    folder = tmp_path / "checkpoints"
    Checkpoints(folder, 1, identity).save(checkpoint(1))
    before = files_in(folder)
    with recorded(folder) as operations:
        Checkpoints(folder, 1, identity).save(checkpoint(2))
        Checkpoints(folder, 1, identity).clear()
    cleared = next(i for i, operation in enumerate(operations) if operation.path.startswith("step-00000002"))
    states = crash_states(before, operations[:cleared], num_random=3)
    steps = []
    for state in states:
        rebuilt.become(state)
        found = Checkpoints(rebuilt.folder, 1, identity).load()
        assert found in (checkpoint(1), checkpoint(2))
        steps.append(found.step)
    assert (steps[0], steps[-1]) == (1, 2)
    for state in crash_states(before, operations, num_random=3):
        rebuilt.become(state)
        Checkpoints(rebuilt.folder, 1, identity).load()  # there may be none, but never half of one
        with suppress(FileNotFoundError):
            Checkpoints(rebuilt.folder, 1, identity).clear()
        assert not rebuilt.folder.exists()
        rebuilt.folder.mkdir()
