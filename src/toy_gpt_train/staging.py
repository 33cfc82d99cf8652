"""staging.py - Several files are written as one: a kill or a power failure leaves the old ones or the new ones.

    1. all new files are written under temporary names, .NAME.PID.tmp, and flushed to the disk
    2. .commit.json, the journal, appears with one rename: what becomes of which file. From here on the new files count
    3. old files move aside, to .NAME.old.tmp; new files get their names; what is no longer needed goes
    4. the journal is removed

The next process that opens the folder, to write or to read, completes a commit that has a journal: steps 3 and 4 can
be repeated any number of times. Temporary files without a journal are leftovers, and are removed.
"""

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from toy_gpt_train import disk
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import read_json_object
from toy_gpt_train.locks import FolderInUseError, locked

JOURNAL_NAME: Final = ".commit.json"

_PLAIN_NAME: Final = re.compile(r"[^./\\:\0][^/\\:\0]*")
_SECONDS_OF_A_COMMIT: Final = 2.0  # how long a reader waits for a writer


class StagedFiles:
    """Files that are staged, then committed together. Use it through staged_files()."""

    def __init__(self, folder: Path, others: Sequence[Path]) -> None:
        self._folder = folder
        self._others = others
        self._journal = folder / JOURNAL_NAME
        self._real: dict[Path, Path] = {}  # what is staged, and where that really is
        self._removed: list[Path] = []

    def path(self, target: Path) -> Path:
        """Return the temporary path to write instead of ``target``."""
        if not self._may_be_named(target):
            raise ValueError(f"{target} is not in {self._folder}")
        self._real[target] = disk.real_file(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        return disk.temporary_path(self._real[target], os.getpid())

    def remove(self, targets: Iterable[Path]) -> None:
        """Let these files go with the commit, unless they are staged; call it when all are."""
        # WHY without case: on Windows and macOS one file answers to both names.
        staged = {str(target).casefold() for target in self._real}
        gone = {target for target in targets if self._may_be_named(target) and str(target).casefold() not in staged}
        self._removed = sorted(gone)

    def targets(self) -> list[Path]:
        """Return the paths that will be written, in the order of staging."""
        return list(self._real)

    def _may_be_named(self, target: Path) -> bool:
        in_folder = target.parent == self._folder and _PLAIN_NAME.fullmatch(target.name) is not None
        return in_folder or target in self._others

    def commit(self) -> None:
        """Give every staged file its name, in the order of staging.

        The old files are moved aside first, in the opposite order, and come back if anything fails (Ctrl-C, a file that
        a spreadsheet holds open). WHY the order: a run's metadata is staged last, so it goes first and comes last. To a
        program that does not know the journal, a run without it is visibly incomplete.
        """
        real = list(self._real.values())
        new = [(target, disk.temporary_path(target, os.getpid())) for target in real]
        old = [*self._removed, *reversed(real)]
        folders = sorted({self._folder, *(target.parent for target in (*self._others, *old))})
        for _, temporary in new:
            disk.sync_file(temporary)
        disk.sync_names(folders)
        try:
            self._write_journal()
            for target in old:
                if target.exists():
                    target.replace(disk.aside_path(target))
            disk.sync_names(folders)
            for target, temporary in new:
                temporary.replace(target)
        except BaseException:
            # WHY in this order: at each moment the journal can still be completed.
            for target, temporary in reversed(new):
                if not temporary.exists():
                    target.replace(temporary)
            disk.sync_names(folders)
            for target in reversed(old):
                if disk.aside_path(target).exists():
                    disk.aside_path(target).replace(target)
            _end(self._journal, folders, [])
            raise
        _end(self._journal, folders, map(disk.aside_path, old))

    def _write_journal(self) -> None:
        def listed(targets: Iterable[Path]) -> list[str | int]:
            return [self._others.index(path) if path in self._others else path.name for path in targets]

        commit = {
            "process": os.getpid(),
            "others": _relative(self._others, self._folder),
            "staged": listed(self._real),
            "removed": listed(self._removed),
        }
        with disk.whole_file(self._journal) as file:
            file.write(json.dumps(commit).encode("utf-8"))

    def discard(self) -> None:
        """Remove the temporary files that no journal needs."""
        if not self._journal.exists():
            disk.remove_all(disk.temporary_path(target, os.getpid()) for target in self._real.values())


@contextmanager
def staged_files(folder: Path, *others: Path) -> Iterator[StagedFiles]:
    """Write several files as one: all are committed at the end of the block, or none.

    The folder is that of the files and the journal; the caller has it for itself, by only_writer(). Of files in other
    folders, only ``others`` may be part of the commit. Write to ``staged.path(target)`` instead of ``target``, metadata
    last.
    """
    staged = StagedFiles(folder, others)
    try:
        yield staged
        staged.commit()
    except OSError as error:
        if error.filename is None and error.errno is not None and staged.targets():
            error.filename = str(staged.targets()[-1])  # it was being written
        raise
    finally:
        staged.discard()


@contextmanager
def only_writer(folder: Path, *others: Path) -> Iterator[None]:
    """Have a folder to write to, with ``others``, files in other folders, and be the only one who does.

    It is made if it does not exist, and goes again if nothing is written to it. What a killed process left is completed
    or removed. FolderInUseError if another process holds the lock, OSError if a folder cannot be made or written.
    """
    folders = [folder, *(path.parent for path in others)]
    with ExitStack() as stack:
        for path in folders:
            for step in (disk.present(path), *([locked(folder)] if path == folder else [])):
                # WHY before it is entered: after a signal in between, its end would come too late, or never.
                stack.push(step)
                step.__enter__()
            disk.check_writable(path)
        _complete(folder, others)
        for path in folders:
            disk.remove_all(disk.leftovers(path, is_locked=True))
        yield


def write_texts(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write several text files, by name, to a folder as one; returns their paths. Errors as in only_writer."""
    with only_writer(folder), staged_files(folder) as staged:
        for name, text in texts.items():
            staged.path(folder / name).write_bytes(text.encode("utf-8"))
        return staged.targets()


def ensure_whole(folder: Path, *others: Path) -> None:
    """Before files are read: complete a commit whose process was killed, and wait for one whose process lives.

    InputError if it does not end, or cannot be completed here.
    """
    deadline = time.monotonic() + _SECONDS_OF_A_COMMIT
    while (folder / JOURNAL_NAME).exists():
        try:
            with locked(folder):
                _complete(folder, others)
        except FolderInUseError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        except OSError as error:
            raise InputError(
                f"{folder}: writing was interrupted here, and cannot be completed: {error.filename}: {error.strerror}; "
                "read it once where it can be written"
            ) from error


def _complete(folder: Path, others: Sequence[Path]) -> None:
    """Complete a commit, if there is one; the caller holds the lock.

    REQ: a journal is not trusted. It names files of the folder and the others only, and all that it does is to remove
    them or to let their own temporary files take their places.
    """
    journal = folder / JOURNAL_NAME
    if not journal.exists():
        return
    content = read_json_object(journal)
    process = content.get("process")
    staged, removed = (_listed(content.get(name), folder, others) for name in ("staged", "removed"))
    if type(process) is not int or staged is None or removed is None:
        raise InputError(f"{journal}: not a journal of files in this folder")
    if content.get("others") != _relative(others, folder):
        # WHY: the same folder by another name has other folders beside it.
        raise InputError(f"{journal}: writing was interrupted here; open the run by the folder that it was saved to")
    real = list(map(disk.real_file, staged))
    # WHY renamed first: a removal must have reached the disk before the journal goes.
    for old, new in (
        *((target, disk.aside_path(target)) for target in removed),
        *((disk.temporary_path(target, process), target) for target in real),
    ):
        if old.exists():
            old.replace(new)
    folders = sorted({folder, *(target.parent for target in (*others, *real))})
    _end(journal, folders, map(disk.aside_path, (*removed, *real)))


def _relative(others: Sequence[Path], folder: Path) -> list[str]:
    return [Path(os.path.relpath(path, folder)).as_posix() for path in others]


def _listed(found: object, folder: Path, others: Sequence[Path]) -> list[Path] | None:
    """Return the files that a journal names; None if it names anything else."""
    paths = []
    for name in found if isinstance(found, list) else [None]:
        if isinstance(name, str) and _PLAIN_NAME.fullmatch(name):
            paths.append(folder / name)
        elif type(name) is int and 0 <= name < len(others):
            paths.append(others[name])
        else:
            return None
    return paths


def _end(journal: Path, folders: Sequence[Path], unneeded: Iterable[Path]) -> None:
    disk.sync_names(folders)
    disk.remove_all([*unneeded, journal])
    # WHY: a journal that came back after a power failure would be completed without its temporary files.
    disk.sync_names(folders)
