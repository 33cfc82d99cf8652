"""token_file.py - A text as numbers on disk: encoded once, then read by training without tokenizing again.

The learner's question: why do real projects train from a .bin file? Tokenizing is slow and always gives the same ids,
so it is done once. And a file of numbers can be mapped into memory: the system shows it as if it were memory, and reads
only the pages that are looked at.

    bytes 0-127   header: magic "TOYGPTID", version, bits per id (16 or 32), number of ids,
                  sha256 of the tokenizer's files, sha256 of the text, zeros
    from 128 on   the ids, little-endian, 2 or 4 bytes each

So ``numpy.fromfile(path, dtype="<u2", offset=128)`` reads it, and so does any other program.

REQ: a file is refused unless its header, its length and its tokenizer all fit.
"""

import mmap
import os
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path
from struct import Struct
from typing import Final, Literal, Self, overload

from toy_gpt_train.disk import whole_file
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import utf8_blocks
from toy_gpt_train.progress import OnProgress
from toy_gpt_train.tokenizers.base import Tokenizer
from toy_gpt_train.tokenizers.saved import load_tokenizer, tokenizer_sha256

MAGIC: Final = b"TOYGPTID"
VERSION: Final = 1
HEADER: Final = Struct("<8sIIQ32s32s40x")  # magic, version, bits, count, tokenizer's sha256, text's sha256
HEADER_SIZE: Final = HEADER.size
TYPECODES: Final[dict[int, Literal["H", "I"]]] = {16: "H", 32: "I"}

BLOCK: Final = 1 << 16  # bytes of text, or ids, in memory at a time


def encode_file(
    text: Path, tokenizer_folder: Path, out: Path, on_progress: OnProgress = lambda fraction, status: None
) -> tuple[int, int]:
    """Write the ids of a text to a token file, a block in memory at a time; return how many, and the bits of each.

    The file appears only when it is whole. InputError if the text is empty, not UTF-8, or has a token that the
    tokenizer in the folder does not know. A leading byte-order mark is dropped. ``on_progress`` is told the fraction of
    the text read.
    """
    _check_byte_order()
    tokenizer, tokenizer_hash = load_tokenizer(tokenizer_folder), tokenizer_sha256(tokenizer_folder)
    bits = bits_for(tokenizer.vocab_size)
    text_hash, read, count = sha256(), 0, 0
    size = text.stat().st_size or 1

    def hashed(blocks: Iterable[str]) -> Iterator[str]:
        nonlocal read
        for block in blocks:
            data = block.encode("utf-8")
            text_hash.update(data)
            read += len(data)
            on_progress(min(read / size, 1.0), f"{count} tokens")
            yield block

    try:
        with text.open("rb") as source, whole_file(out) as file:
            # WHY zeros first: without its magic, an unfinished file is not a token file.
            file.write(bytes(HEADER_SIZE))
            blocks = utf8_blocks(iter(lambda: source.read(BLOCK), b""))
            ids = iter(tokenizer.encode_iterable(hashed(without_bom(blocks))))
            while block := array(TYPECODES[bits], islice(ids, BLOCK)):
                file.write(block)
                count += len(block)
            if count == 0:
                raise InputError("the text is empty: there is no token in it")
            file.seek(0)
            file.write(HEADER.pack(MAGIC, VERSION, bits, count, bytes.fromhex(tokenizer_hash), text_hash.digest()))
    except InputError as error:
        raise InputError(f"{text}: {error}") from error
    return count, bits


def bits_for(vocab_size: int) -> int:
    """Return the bits of an id: the fewest that hold every id below the vocabulary's size; InputError if none do."""
    for bits in TYPECODES:
        if vocab_size <= 1 << bits:
            return bits
    raise InputError(f"token ids up to {vocab_size - 1} do not fit into {bits} bits")


def without_bom(blocks: Iterable[str]) -> Iterator[str]:
    r"""Yield the blocks of a text without a leading byte-order mark."""
    for index, block in enumerate(blocks):
        yield block.removeprefix("\ufeff") if index == 0 else block


def _check_byte_order() -> None:
    # WHY refused: every id would have to be swapped, so the file could not be mapped into memory as is.
    if sys.byteorder != "little":
        raise InputError("token files are little-endian, and this machine is not")


class TokenFile(Sequence[int]):
    """The ids of a token file, read from disk only where they are looked at; use it in a ``with`` block.

    InputError if it is something else or damaged, or if another tokenizer wrote it than that in ``tokenizer_folder``.
    Attributes: the ``bits`` of one id; ``tokenizer_sha256`` (saved.py); ``text_sha256``, of the text as encoded.
    """

    def __init__(self, path: Path, tokenizer_folder: Path | None = None) -> None:
        _check_byte_order()
        with path.open("rb") as file:
            header, size = file.read(HEADER_SIZE), os.fstat(file.fileno()).st_size
            self.bits, self.tokenizer_sha256, self.text_sha256 = _parse_header(header, size, path)
            if tokenizer_folder is not None and tokenizer_sha256(tokenizer_folder) != self.tokenizer_sha256:
                raise InputError(f"{path}: was not written with the tokenizer in {tokenizer_folder}")
            self._map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        self._bytes = memoryview(self._map)[HEADER_SIZE:]
        self._ids = self._bytes.cast(TYPECODES[self.bits])

    @property
    def ids(self) -> memoryview:
        """The ids as they are in the file, which stays open as long as they are used."""
        return self._ids

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> list[int]: ...
    def __getitem__(self, index: int | slice) -> int | list[int]:
        # WHY a list: a view would keep the file open, and cannot outlive it.
        return self._ids[index].tolist() if isinstance(index, slice) else self._ids[index]

    def __iter__(self) -> Iterator[int]:
        for start in range(0, len(self), BLOCK):
            yield from self[start : start + BLOCK]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self._ids.release()
        self._bytes.release()
        self._map.close()


def _parse_header(header: bytes, size: int, path: Path) -> tuple[int, str, str]:  # bits, sha256 of tokenizer and text
    if len(header) < HEADER_SIZE or not header.startswith(MAGIC):
        raise InputError(f"{path}: not a token file")
    _, version, bits, count, tokenizer_hash, text_hash = HEADER.unpack(header)
    if version != VERSION:
        raise InputError(f"{path}: version {version} of token files is unknown; this program reads {VERSION}")
    if bits not in TYPECODES:
        raise InputError(f"{path}: ids of {bits} bits are unknown")
    expected = HEADER_SIZE + count * bits // 8
    if size != expected:
        what = "truncated" if size < expected else "too long"
        raise InputError(f"{path}: {what}: {count} ids take {expected} bytes, the file has {size}")
    return bits, tokenizer_hash.hex(), text_hash.hex()


def decode_file(tokens: Path, tokenizer_folder: Path, out: Path, *, text_check: bool = False) -> int:
    """Write the text of a token file to ``out``, which appears only when it is whole; return the number of bytes.

    InputError if another tokenizer wrote it, or, with ``text_check``, if the text is not the one that was encoded (by
    its sha256).
    """
    tokenizer = load_tokenizer(tokenizer_folder)
    if text_check and not tokenizer.exact:
        raise InputError(f"a {tokenizer.kind} tokenizer forgets white space, so the text cannot be checked")
    text_hash, size = sha256(), 0
    with TokenFile(tokens, tokenizer_folder) as ids, whole_file(out) as file:
        try:
            for text in utf8_blocks(_decoded(tokenizer, ids)):
                data = text.encode("utf-8")
                text_hash.update(data)
                size += file.write(data)
            if text_check and text_hash.hexdigest() != ids.text_sha256:
                raise InputError("its ids do not give the text that was encoded")
        except InputError as error:
            raise InputError(f"{tokens}: {error}") from error
    return size


def _decoded(tokenizer: Tokenizer, ids: TokenFile) -> Iterator[bytes]:  # in blocks that may end inside a character
    for start in range(0, len(ids), BLOCK):
        separator = tokenizer.separator.encode() if start else b""
        yield separator + tokenizer.decode_bytes(ids[start : start + BLOCK])
