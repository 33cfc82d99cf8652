"""staging.py - Files are written whole or not at all: a kill or a power failure leaves the old ones or the new ones.

One file is written under a temporary name, flushed to the disk, and renamed. Several files are one commit:

    1. all new files are written under temporary names, .NAME.PID.tmp, and flushed
    2. .commit.json, the journal, appears with one rename: what becomes of which file. From here on the new files count
    3. old files move aside, to .NAME.old.tmp; new files get their names; what is no longer needed goes
    4. the journal is removed

The next process that opens the folder, to write or to read, completes a commit that has a journal: steps 3 and 4 can
be repeated any number of times. Temporary files without a journal are leftovers, and are removed.

It does not know what the files mean.
"""

import errno
import json
import os
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from shutil import copyfileobj
from stat import S_ISDIR, S_ISREG
from tempfile import TemporaryFile
from typing import BinaryIO, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.files import read_json_object
from toy_gpt_train.locks import FolderInUseError, locked

JOURNAL_NAME: Final = ".commit.json"

_TEMPORARY: Final = re.compile(r"\..+\.([0-9]+|old)\.tmp")
_PLAIN_NAME: Final = re.compile(r"[^./\\:\0][^/\\:\0]*")
_STREAMS: Final = ("/dev/fd/", "/dev/std", "/proc/")  # names of what a process has open, even where it is a file
_OPENED: Final = re.compile(r"/dev/(?:fd/([0-9]{1,9})|(stdout|stderr))")
_NUMBERS: Final = {"stdout": 1, "stderr": 2}
_SECONDS_OF_A_COMMIT: Final = 2.0  # how long a reader waits for a writer
_SECONDS_OF_A_DAY: Final = 86_400.0


# --- one file -----------------------------------------------------------------------------------------------


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write one file that appears only when it is whole; an old file stays until then.

    A link is followed. A device or a pipe is written into, when everything is there to be written.

    Raises:
        OSError: The path is a folder, or cannot be written.
    """
    if is_stream(path):
        with _open_stream(path) as stream, TemporaryFile() as file:
            yield file
            file.seek(0)
            copyfileobj(file, stream)
        return
    target = real_file(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in _temporaries(target.parent):
        of_target = leftover == _temporary(target, _owner(leftover))
        if of_target and _is_abandoned(leftover, in_locked_folder=False):
            leftover.unlink(missing_ok=True)
    temporary = _temporary(target, os.getpid())
    try:
        with temporary.open("wb") as file:
            yield file
        _sync(temporary)
        temporary.replace(target)
        sync_names([target.parent])
    finally:
        temporary.unlink(missing_ok=True)


def is_stream(path: Path) -> bool:
    """Whether a path leads to what is neither a file nor a folder: a device, a pipe, or a stream of this process."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not S_ISDIR(mode) and (not S_ISREG(mode) or path.absolute().as_posix().startswith(_STREAMS))


def _open_stream(path: Path) -> BinaryIO:
    if opened := _OPENED.fullmatch(str(path)):
        # WHY not by its name: that would begin anew at the start of a file, and standard output would write over it.
        return os.fdopen(os.dup(int(opened[1] or _NUMBERS[opened[2]])), "wb")
    return path.open("wb")


def real_file(path: Path) -> Path:
    """Return the file that a path leads to. WHY: renaming a file to a link would replace the link.

    Raises:
        OSError: It leads to something else, or nowhere.
    """
    if is_stream(path):
        raise OSError(errno.EINVAL, "a device or a pipe is in the place of this file", str(path))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder is in the place of this file", str(path))
    real = Path(os.path.realpath(path)) if path.is_symlink() else path
    if real.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return real


# --- several files ------------------------------------------------------------------------------------------


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
        self._real[target] = real_file(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        return _temporary(self._real[target], os.getpid())

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
        new = [(target, _temporary(target, os.getpid())) for target in real]
        old = [*self._removed, *reversed(real)]
        folders = {self._folder, *(target.parent for target in (*self._others, *old))}
        for _, temporary in new:
            _sync(temporary)
        sync_names(folders)
        try:
            self._write_journal()
            for target in old:
                if target.exists():
                    target.replace(_aside(target))
            sync_names(folders)
            for target, temporary in new:
                temporary.replace(target)
        except BaseException:
            # WHY in this order: at each moment the journal can still be completed.
            for target, temporary in reversed(new):
                if not temporary.exists():
                    target.replace(temporary)
            sync_names(folders)
            for target in reversed(old):
                if _aside(target).exists():
                    _aside(target).replace(target)
            _end(self._journal, folders, [])
            raise
        _end(self._journal, folders, map(_aside, old))

    def _write_journal(self) -> None:
        def listed(targets: Iterable[Path]) -> list[str | int]:
            return [self._others.index(path) if path in self._others else path.name for path in targets]

        commit = {
            "process": os.getpid(),
            "others": _relative(self._others, self._folder),
            "staged": listed(self._real),
            "removed": listed(self._removed),
        }
        with whole_file(self._journal) as file:
            file.write(json.dumps(commit).encode("utf-8"))

    def discard(self) -> None:
        """Remove the temporary files that no journal needs."""
        if not self._journal.exists():
            _remove_all(_temporary(target, os.getpid()) for target in self._real.values())


@contextmanager
def staged_files(folder: Path, *others: Path) -> Iterator[StagedFiles]:
    """Write several files as one: all are committed at the end of the block, or none.

    Args:
        folder: Where the files and the journal are; the caller has it for itself, by only_writer().
        others: Further files, in other folders, that may be part of the commit.

    Yields:
        The staging area; write to ``staged.path(target)`` instead of ``target``, metadata last.
    """
    staged = StagedFiles(folder, others)
    try:
        yield staged
        staged.commit()
    finally:
        staged.discard()


@contextmanager
def only_writer(folder: Path, *others: Path) -> Iterator[None]:
    """Have a folder to write to, and be the only one who does.

    It is made if it does not exist, and goes again if nothing is written to it. What a killed process left is completed
    or removed.

    Args:
        folder: Is locked.
        others: Files in other folders that are written only by who holds that lock.

    Raises:
        FolderInUseError: Another process holds the lock.
        OSError: A folder cannot be made or written.
    """
    folders = [folder, *(path.parent for path in others)]
    with ExitStack() as stack:
        for path in folders:
            stack.enter_context(_present(path))
            if path == folder:
                stack.enter_context(locked(folder))
            _check_writable(path)
        _complete(folder, others)
        for path in folders:
            _remove_all(found for found in _temporaries(path) if _is_abandoned(found, in_locked_folder=True))
        yield


def write_texts(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write several text files, by name, to a folder as one; returns their paths.

    Raises:
        FolderInUseError: Another process is writing to the folder.
        OSError: A file cannot be written.
    """
    with only_writer(folder), staged_files(folder) as staged:
        for name, text in texts.items():
            staged.path(folder / name).write_bytes(text.encode("utf-8"))
        return staged.targets()


# --- after a kill -------------------------------------------------------------------------------------------


def ensure_whole(folder: Path, *others: Path) -> None:
    """Before files are read: complete a commit whose process was killed, and wait for one whose process lives.

    Raises:
        InputError: It does not end, or it cannot be completed here.
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
    real = list(map(real_file, staged))
    for target in real:
        temporary = _temporary(target, process)
        if temporary.exists():
            temporary.replace(target)
    folders = {folder, *(target.parent for target in (*others, *real))}
    _end(journal, folders, [*removed, *map(_aside, (*removed, *real))])


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


def _end(journal: Path, folders: Collection[Path], unneeded: Iterable[Path]) -> None:
    """End a commit: all its files have their names."""
    sync_names(folders)
    _remove_all([*unneeded, journal])
    # WHY: a journal that came back after a power failure would be completed without its temporary files.
    sync_names(folders)


def _remove_all(paths: Iterable[Path]) -> None:
    """Remove files that may be missing. WHY not all fail: the next writer removes what is left."""
    interruption: KeyboardInterrupt | None = None
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            pass
        except KeyboardInterrupt as stop:
            interruption = stop
    if interruption is not None:
        raise interruption


def _temporary(target: Path, owner: int | str) -> Path:
    return target.with_name(f".{target.name}.{owner}.tmp")


def _owner(temporary: Path) -> str:
    return temporary.suffixes[-2][1:]


def _aside(target: Path) -> Path:
    return _temporary(target, "old")


def _temporaries(folder: Path) -> list[Path]:
    paths = folder.iterdir() if folder.is_dir() else []
    return [path for path in paths if _TEMPORARY.fullmatch(path.name) and (path.is_symlink() or not path.is_dir())]


def _is_abandoned(temporary: Path, *, in_locked_folder: bool) -> bool:
    """Whether the process that wrote a temporary file is dead, so that it may be removed."""
    owner = _owner(temporary)
    if owner == "old":
        return in_locked_folder
    if os.name == "nt":  # it has no harmless way to ask for a process
        with suppress(OSError):
            return in_locked_folder or time.time() - temporary.stat().st_mtime > _SECONDS_OF_A_DAY
        return False
    if int(owner) == os.getpid():
        return True
    try:
        os.kill(int(owner), 0)  # signal 0 asks and does nothing
    except PermissionError:
        return False
    except (OSError, OverflowError):
        return True
    return False


# --- folders ------------------------------------------------------------------------------------------------


@contextmanager
def _present(folder: Path) -> Iterator[None]:
    """Make a folder; at the end, what was made goes again if it is empty."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    sync_names(path.parent for path in missing)
    try:
        yield
    finally:
        for path in missing:
            with suppress(OSError):
                path.rmdir()


def _check_writable(folder: Path) -> None:
    """Raise OSError unless files can be made in a folder."""
    probe = _temporary(folder / "probe", os.getpid())
    probe.open("wb").close()
    probe.unlink()


def _sync(path: Path) -> None:
    """Flush a file to the disk. WHY: after a power failure a renamed file may otherwise be empty."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flush the files of a folder, and their names, to the disk."""
    for path in folder.iterdir():
        _sync(path)
    sync_names([folder])


def sync_names(folders: Iterable[Path]) -> None:
    """Flush the names in some folders to the disk. Windows has no such call, nor do some shared folders."""
    for folder in folders if os.name != "nt" else ():
        try:
            number = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)
        except OSError as error:
            if error.errno == errno.EIO:
                raise
