"""stdlib.py - A real corpus with no download: the running interpreter's own library, megabytes of source text."""

import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from toy_gpt_train.disk import whole_file
from toy_gpt_train.errors import InputError


def library_sources(root: Path | None = None) -> Iterator[str]:
    """Yield the text of every module of the standard library, by path; installed packages are left out.

    OBS: the library's tests hold a few files in other encodings than UTF-8, which are skipped. InputError if there is
    no source below ``root``, by default the running interpreter's library.
    """
    folder = Path(sysconfig.get_path("stdlib")) if root is None else root
    paths = sorted(
        (path for path in folder.rglob("*.py") if not {"site-packages", "dist-packages"} & set(path.parts)),
        key=lambda path: path.relative_to(folder).as_posix(),
    )
    if not paths:
        raise InputError(f"{folder}: there is no Python source to collect")
    for path in paths:
        with suppress(UnicodeDecodeError):
            yield path.read_bytes().decode("utf-8")


def collect_stdlib(out: Path, megabytes: float | None = None) -> int:
    """Write the library's sources to a file, which appears only when it is whole; return the number of bytes.

    It stops after so many million bytes, at a character's end; InputError if that is not above 0.
    """
    if megabytes is not None and not 0 < megabytes <= 10**6:
        raise InputError(f"the size must be above 0 and at most a million megabytes, got {megabytes}")
    limit = None if megabytes is None else int(megabytes * 1_000_000)
    written = 0
    with whole_file(out) as file:
        for text in library_sources():
            data = text.encode("utf-8")
            if limit is not None and written + len(data) > limit:
                # WHY decode again: the cut may fall inside a character.
                cut = data[: limit - written].decode("utf-8", errors="ignore")
                return written + file.write(cut.encode("utf-8"))
            written += file.write(data)
    return written
