"""disk.py - One file that appears only when it is whole; and what it takes to be sure of that on a disk.

A file is written under a temporary name, .NAME.PID.tmp, flushed to the disk, and renamed. An old file that makes room
for a new one is called .NAME.old.tmp meanwhile.

It does not know what the files mean; staging.py writes several of them as one.
"""

import errno
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import copyfileobj, rmtree
from stat import S_ISDIR, S_ISREG
from tempfile import TemporaryFile
from typing import BinaryIO, Final

from toy_gpt_train.errors import InputError

_TEMPORARY: Final = re.compile(r"\..+\.([0-9]+|old)\.tmp")
_STREAMS: Final = ("/dev/fd/", "/dev/std", "/proc/")  # names of what a process has open, even where it is a file
_OPENED: Final = re.compile(r"/dev/(?:fd/([0-9]{1,9})|(stdout|stderr))")
_NUMBERS: Final = {"stdout": 1, "stderr": 2}
_SECONDS_OF_A_DAY: Final = 86_400.0


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write one file that appears only when it is whole; an old file stays until then.

    A link is followed. A device or a pipe is written into, when everything is there to be written.
    """
    if is_stream(path):
        with naming(path), _open_stream(path) as stream, TemporaryFile() as file:
            yield file
            file.seek(0)
            copyfileobj(file, stream)
        return
    target = real_file(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_all(path for path in leftovers(target.parent) if path == temporary_path(target, _owner(path)))
    temporary = temporary_path(target, os.getpid())
    try:
        with naming(target), temporary.open("wb") as file:
            yield file
        sync_file(temporary)
        temporary.replace(target)
        sync_names([target.parent])
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Have a folder to write files to, which appears under its name only when all of it is written.

    InputError if something has that name already.
    """
    if path.exists() or path.is_symlink():
        raise InputError(f"{path}: already exists; choose another name")
    temporary = temporary_path(path.absolute(), os.getpid())
    rmtree(temporary, ignore_errors=True)  # a killed process of the same number may have left it
    with present(temporary.parent), naming(path):
        try:
            temporary.mkdir()
            yield temporary
            sync_folder(temporary)
            temporary.rename(path)
            sync_names([path.parent])
        finally:
            rmtree(temporary, ignore_errors=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an OSError that names no file this one's name. WHY: a full disk does not say what did not fit."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


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
    """Return the file that a path leads to; OSError if it leads to something else, or nowhere.

    WHY: renaming a file to a link would replace the link.
    """
    if is_stream(path):
        raise OSError(errno.EINVAL, "a device or a pipe is in the place of this file", str(path))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder is in the place of this file", str(path))
    real = Path(os.path.realpath(path)) if path.is_symlink() else path
    if real.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return real


def remove_all(paths: Iterable[Path]) -> None:
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


def temporary_path(target: Path, owner: int | str) -> Path:
    """Return the name under which the process ``owner`` writes a file."""
    return target.with_name(f".{target.name}.{owner}.tmp")


def aside_path(target: Path) -> Path:
    """Return the name of an old file while a new one takes its place."""
    return temporary_path(target, "old")


def leftovers(folder: Path, *, is_locked: bool = False) -> list[Path]:
    """Return the temporary files that killed processes left in a folder; ``is_locked``: nobody else writes there."""
    paths = folder.iterdir() if folder.is_dir() else []
    temporary = [path for path in paths if _TEMPORARY.fullmatch(path.name) and (path.is_symlink() or path.is_file())]
    return [path for path in temporary if _is_abandoned(path, is_locked)]


def _owner(temporary: Path) -> str:
    return temporary.suffixes[-2][1:]


def _is_abandoned(temporary: Path, in_locked_folder: bool) -> bool:
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


@contextmanager
def present(folder: Path) -> Iterator[None]:
    """Make a folder; at the end, what was made goes again if it is empty."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sync_names(path.parent for path in missing)
        yield
    finally:
        for path in missing:
            with suppress(OSError):
                path.rmdir()


def check_writable(folder: Path) -> None:
    """Raise OSError unless files can be made in a folder."""
    probe = temporary_path(folder / "probe", os.getpid())
    try:
        probe.open("wb").close()
    finally:
        probe.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Flush a file to the disk. WHY: after a power failure a renamed file may otherwise be empty."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flush the files of a folder, and their names, to the disk."""
    for path in folder.iterdir():
        sync_file(path)
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
