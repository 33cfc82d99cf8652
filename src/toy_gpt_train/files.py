"""files.py - One way to read files that may be damaged; staging.py is the one way to write them.

A file is never trusted. It is read up to a limit, as UTF-8, and damage becomes one InputError that names the file and
the place in it. It does not know what the files mean.
"""

import codecs
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.errors import InputError

# WHY a limit: every token of a text becomes a Python object, many times its size on disk. A file that is too large must
# fail at once, not after filling the memory.
MAX_BYTES: Final = 256 * 1024 * 1024
MAX_JSON_BYTES: Final = 64 * 1024 * 1024
MAX_JSON_VALUES: Final = 2_500_000
_BLOCK_BYTES: Final = 1 << 20


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Read a file, a pipe or a device; InputError if it has more than ``limit`` bytes."""
    blocks: list[bytes] = []
    with path.open("rb") as file:
        size, read = os.fstat(file.fileno()).st_size, 0  # a pipe or a device has size 0, and may never end
        # WHY in blocks: read(n) reserves n bytes at once.
        while max(size, read) <= limit and (block := file.read(_BLOCK_BYTES)):
            blocks.append(block)
            read += len(block)
    if max(size, read) > limit:
        raise InputError(f"{path}: too large: the limit is {limit:,} bytes")
    return b"".join(blocks)


def decode_utf8(data: bytes, path: Path) -> str:
    r"""Return bytes as text, unchanged; InputError, with path, line and offset, if they are not UTF-8.

    Example:
        >>> decode_utf8(b"caf\xc3\xa9", Path("menu.txt"))
        'café'
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"byte {data[error.start]:#04x} at offset {error.start}"
        raise InputError(f"{path}, line {line}: not UTF-8 text: {what}") from None


def utf8_blocks(blocks: Iterable[bytes]) -> Iterator[str]:
    """Yield the text of bytes that come in blocks, cut anywhere; InputError, with the offset, if they are not UTF-8.

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
    """Read a text file as UTF-8; line ends stay as they are, and a leading byte-order mark is dropped."""
    return decode_utf8(read_bytes(path, limit), path).removeprefix("\ufeff")


def parse_json_object(text: str, path: Path, *, unique: bool = False, values: int = MAX_JSON_VALUES) -> dict[str, Any]:
    """Return the JSON object in a text; InputError, which names the path, if there is none.

    Args:
        text: The content of a file.
        path: Its name, for the message.
        unique: Refuse a name that comes twice. WHY: another program may take the other, and so see another model.
        values: The most commas and opening brackets. WHY: ``[],`` takes three bytes in a file, and 64 in memory.
    """
    if sum(map(text.count, ",[{")) > values:
        raise InputError(f"{path}: more values than there can be")
    try:
        found = json.loads(text, object_pairs_hook=_unique if unique else None)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: not a JSON object")
    return found


def read_json_object(
    path: Path, *, unique: bool = False, limit: int = MAX_JSON_BYTES, values: int = MAX_JSON_VALUES
) -> dict[str, Any]:
    """Read a file of at most ``limit`` bytes that holds one JSON object; InputError if it is anything else."""
    text = decode_utf8(read_bytes(path, min(limit, MAX_JSON_BYTES)), path)
    return parse_json_object(text, path, unique=unique, values=values)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(f"the name {name!r:.60} comes twice")
        members[name] = value
    return members


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
