"""files.py - One way to read files that may be damaged, and one way to write them so that nothing is lost.

Reading: a file is never trusted. It is read up to a limit, as UTF-8, and damage becomes one InputError that names the
file and the place in it. Writing: files are staged under temporary names and renamed when all of them are whole. If
anything interrupts the work, the old files stay as they were.

It does not know what the files mean.
"""

import codecs
import glob
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from errno import EISDIR
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final

from toy_gpt_train.errors import InputError

# WHY a limit: every token of a text becomes a Python object, many times its size on disk. A file that is too large must
# fail at once, not after filling the memory.
MAX_BYTES: Final = 256 * 1024 * 1024
_BLOCK_BYTES: Final = 1 << 20


# --- reading ------------------------------------------------------------------------------------------------


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Read a file, a pipe or a device of at most ``limit`` bytes.

    Raises:
        OSError: It is missing, a folder, or unreadable.
        InputError: It is larger than the limit.
    """
    blocks: list[bytes] = []
    with path.open("rb") as file:
        size, read = os.fstat(file.fileno()).st_size, 0  # a pipe or a device has size 0, and may never end
        # WHY in blocks: read(n) reserves n bytes at once.
        while max(size, read) <= limit and (block := file.read(_BLOCK_BYTES)):
            blocks.append(block)
            read += len(block)
    if max(size, read) > limit:
        raise InputError(f"{path}: too large to hold in memory: the limit is {limit / 2**20:.0f} MB")
    return b"".join(blocks)


def decode_utf8(data: bytes, path: Path) -> str:
    r"""Return bytes as text, unchanged; ``path`` is for the message.

    Raises:
        InputError: Some bytes are not UTF-8; the message gives the line and the offset.

    Example:
        >>> decode_utf8(b"caf\xc3\xa9", Path("menu.txt"))
        'café'
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {line}: not UTF-8 text: byte {data[error.start]:#04x} at offset {error.start}"
        ) from None


def utf8_blocks(blocks: Iterable[bytes]) -> Iterator[str]:
    """Yield the text of bytes that come in blocks, cut anywhere.

    Raises:
        InputError: They are not UTF-8; the message gives the offset of the byte.

    Example:
        >>> list(utf8_blocks([b"caf", bytes([0xC3]), bytes([0xA9])]))
        ['caf', 'é']
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0  # of the first byte that is not decoded yet
    for data, final in chain(((block, False) for block in blocks), [(b"", True)]):
        try:
            text = decoder.decode(data, final)
        except UnicodeDecodeError as error:
            raise InputError(f"not UTF-8 at byte {offset + error.start} ({error.reason})") from error
        offset += len(text.encode("utf-8"))
        if text:
            yield text


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """Read a text file as UTF-8; line ends stay as they are, and a leading byte-order mark is dropped.

    Raises:
        OSError: It cannot be read.
        InputError: It is too large or not UTF-8.
    """
    return decode_utf8(read_bytes(path, limit), path).removeprefix("\ufeff")


def parse_json_object(text: str, path: Path, *, unique: bool = False) -> dict[str, Any]:
    """Return the JSON object in a text.

    Args:
        text: The content of a file.
        path: Its name, for the message.
        unique: Whether to refuse an object that has a name twice. WHY: another program may take the other of the two,
            and so see another model.

    Raises:
        InputError: It is not JSON, or not an object.
    """
    try:
        found = json.loads(text, object_pairs_hook=_unique if unique else None)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: not a JSON object")
    return found


def read_json_object(path: Path, *, unique: bool = False) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        OSError: It cannot be read.
        InputError: It holds something else.
    """
    return parse_json_object(decode_utf8(read_bytes(path), path), path, unique=unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(f"the name {name!r:.60} comes twice")
        members[name] = value
    return members


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an OSError that names no file this one's name. WHY: a full disk does not say what did not fit."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; raises OSError if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- writing ------------------------------------------------------------------------------------------------


class StagedFiles:
    """Files that are staged, then committed together. Use it through staged_files()."""

    # Temporary files are called .NAME.PID.tmp, and old files that make room for new ones .NAME.old.PID.tmp.

    def __init__(self) -> None:
        self._staged: dict[Path, Path] = {}
        self._replaced: list[Path] = []

    def path(self, target: Path) -> Path:
        """Make the folder of ``target``, remove what killed processes left, and return the temporary path to write."""
        if target.is_dir():
            raise IsADirectoryError(EISDIR, "a folder is in the place of this file", str(target))
        target.parent.mkdir(parents=True, exist_ok=True)
        for leftover in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
            if not _is_running(leftover.suffixes[-2][1:]):
                leftover.unlink(missing_ok=True)
        self._staged[target] = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        return self._staged[target]

    def targets(self) -> list[Path]:
        """Return the paths that will be written, in the order of staging."""
        return list(self._staged)

    def commit(self) -> None:
        """Rename every staged file to its target, in the order of staging.

        The old files are moved aside first, in the opposite order, and come back if anything fails (Ctrl-C, a file that
        a spreadsheet holds open). WHY: a run's metadata is staged last, so it goes first and comes last. Without it a
        run is visibly incomplete, so a kill between two renames leaves no mixture of two runs that reads as one.
        """
        if len(self._staged) == 1:  # one rename replaces one file, and nothing can come between
            for target, temporary in self._staged.items():
                temporary.replace(target)
            return
        for temporary in self._staged.values():
            temporary.stat()  # WHY: one that was never written must be noticed before anything is moved
        aside: dict[Path, Path] = {}
        try:
            for target in reversed(self._staged):
                if target.exists():
                    aside[target] = target.with_name(f".{target.name}.old.{os.getpid()}.tmp")
                    target.replace(aside[target])
            for target, temporary in self._staged.items():
                temporary.replace(target)
        except BaseException:
            for target, temporary in self._staged.items():
                if target not in aside and not temporary.exists():
                    target.unlink(missing_ok=True)
            for target, old in reversed(aside.items()):
                if old.exists():
                    old.replace(target)
            raise
        self._replaced = list(aside.values())

    def discard(self) -> None:
        """Remove temporary files, and the old files that were replaced."""
        interrupted = False
        for temporary in (*self._staged.values(), *self._replaced):
            try:
                temporary.unlink(missing_ok=True)
            except OSError:
                pass  # WHY: the files themselves are whole; the next writer removes what is left
            except KeyboardInterrupt:
                interrupted = True
        if interrupted:
            raise KeyboardInterrupt


def _is_running(owner: str) -> bool:
    """Whether another process has this number: its files are not ours to remove."""
    if os.name == "nt" or not owner.isdecimal() or int(owner) == os.getpid():
        return False  # OBS: Windows lets nobody remove a file that is open
    try:
        os.kill(int(owner), 0)  # signal 0 asks and does nothing
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


@contextmanager
def staged_files() -> Iterator[StagedFiles]:
    """Write several files as one: all are committed at the end of the block, or none.

    Yields:
        The staging area; write to ``staged.path(target)`` instead of ``target``, metadata last.
    """
    staged = StagedFiles()
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
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write one file that appears only when it is whole; an old file stays until then.

    Raises:
        OSError: The path is a folder, or cannot be written.
    """
    with staged_files() as staged, staged.path(path).open("wb") as file:
        yield file


def write_texts(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write several text files, by name, to a folder as one; returns their paths.

    Raises:
        OSError: A file cannot be written.
    """
    with staged_files() as staged:
        for name, text in texts.items():
            staged.path(folder / name).write_bytes(text.encode("utf-8"))
        return staged.targets()
