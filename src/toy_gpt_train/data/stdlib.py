"""stdlib.py - A real corpus with no download: the running interpreter's own library, tens of megabytes of source text.

It knows where Python keeps its library; it does not know what the text is for.
"""

import os
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EISDIR
from pathlib import Path
from typing import BinaryIO, Final

from toy_gpt_train.errors import InputError

MEGABYTE: Final = 1_000_000
HELP: Final = "collect the running interpreter's own library sources into one text file"


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file that appears only when it is whole; every source in this package writes through it.

    Args:
        path: The file; whatever was there stays until the block ends without an error.

    Yields:
        A binary file under a temporary name beside it.

    Raises:
        OSError: The path is a folder, or cannot be written.

    Example:
        with whole_file(Path("all.txt")) as file: file.write(b"all of it")
    """
    if path.is_dir():  # WHY first: the work before the renaming may be long.
        raise IsADirectoryError(EISDIR, os.strerror(EISDIR), str(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def library_sources(root: Path | None = None) -> Iterator[str]:
    """Yield the text of every module of the standard library, by path; installed packages are left out.

    Args:
        root: The library's folder; the running interpreter's by default.

    Yields:
        UTF-8 texts. OBS: the library's tests hold a few files in other encodings, which are passed over.

    Raises:
        InputError: There is no Python source in the folder.

    Example:
        The first text of CPython 3.11 is that of __future__.py.
    """
    folder = Path(sysconfig.get_path("stdlib")) if root is None else root
    paths = sorted(
        (path for path in folder.rglob("*.py") if not {"site-packages", "dist-packages"} & set(path.parts)),
        key=lambda path: path.relative_to(folder).as_posix(),
    )
    if not paths:
        raise InputError(f"{folder}: there is no Python source to collect")
    for path in paths:
        try:
            yield path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            continue


def collect_stdlib(out: Path, megabytes: float | None = None) -> int:
    """Write the library's sources to one file.

    Args:
        out: The file; it appears only when it is whole.
        megabytes: Stop after this many million bytes, at a character's end; all of it where None.

    Returns:
        How many bytes were written.

    Raises:
        InputError: ``megabytes`` is not above 0, or there is no source.
        OSError: The file cannot be written.
    """
    if megabytes is not None and not 0 < megabytes <= 10**6:
        raise InputError(f"the size must be above 0 and at most a million megabytes, got {megabytes}")
    left = None if megabytes is None else int(megabytes * MEGABYTE)
    written = 0
    with whole_file(out) as file:
        for text in library_sources():
            data = text.encode("utf-8")
            if left is not None:
                # WHY decode again: the cut may fall inside a character.
                data = data[: left - written].decode("utf-8", errors="ignore").encode("utf-8")
            written += file.write(data)
            if left is not None and len(text.encode("utf-8")) > len(data):
                break
    return written
