"""locks.py - One writer per folder: a lock that ends with its process, however that ends.

The lock is the operating system's, on the file .lock in the folder. The text of the file only says who holds it: the
file that a killed process leaves is not locked, and the next writer takes it over.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Final

from toy_gpt_train.errors import InputError

LOCK_NAME: Final = ".lock"

_HOLDER: Final = re.compile(r"process [0-9]+ on [\w.-]*")
_ATTEMPTS: Final = 100

if sys.platform == "win32":
    import msvcrt

    def _lock(file: FileIO) -> None:
        file.seek(1 << 20)  # WHY: nobody can read the locked bytes, and the text is at the start
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

elif sys.platform in ("emscripten", "wasi"):

    def _lock(file: FileIO) -> None:
        """Do nothing: WebAssembly has a single process."""

else:
    import fcntl

    def _lock(file: FileIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FolderInUseError(InputError):
    """Another process is writing to a folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made if it does not exist; FolderInUseError says who else holds it."""
    path = folder / LOCK_NAME
    file = _acquire(path)
    try:
        _sign(file)
        yield
    finally:
        # WHY removed while it is locked: a process that waits for this file sees that it is gone. Windows removes no
        # open file, so there a process that opens it in between keeps it.
        if os.name != "nt" and _is_at(file, path):
            with suppress(OSError):
                path.unlink()
        file.close()
        if os.name == "nt":
            with suppress(OSError):
                path.unlink()


def _acquire(path: Path) -> FileIO:  # open and locked
    for _ in range(_ATTEMPTS):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = open(path, "a+b", buffering=0, opener=_follow_no_link)  # noqa: SIM115 - locked() closes it
        except FileNotFoundError:
            continue  # the holder before removed the folder, which was empty
        try:
            _lock(file)
            # WHY: the holder before may have removed this file after it was opened here; then it guards nothing.
            if os.name == "nt" or _is_at(file, path):
                return file
        except (BlockingIOError, PermissionError):
            holder = _holder(file)
            file.close()
            raise FolderInUseError(f"{path.parent} is being written by {holder}; wait for it to end") from None
        except BaseException:
            file.close()
            raise
        file.close()
    raise FolderInUseError(f"{path.parent} is being written by several processes; try again")


def _follow_no_link(path: str, flags: int) -> int:
    # WHY: a link in a folder from a stranger would have this process overwrite any file of the user.
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _sign(file: FileIO) -> None:
    computer = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    file.truncate(0)
    file.write(f"process {os.getpid()} on {computer}".encode())


def _is_at(file: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _holder(file: FileIO) -> str:
    file.seek(0)
    text = file.read(200).decode("utf-8", "replace")
    return text if _HOLDER.fullmatch(text) else "another process"
