"""token_file.py - A text as numbers on disk: encoded once, then read by training without tokenizing again.

The learner's question: why do real projects train from a .bin file? Tokenizing is slow and always gives the same
ids, so it is done once; and a file of numbers can be mapped into memory, so any part of it is there at once.

    bytes 0-127   header: magic "TOYGPTID", version, bits of an id (16 or 32), how many ids there are,
                  sha256 of the tokenizer's files, sha256 of the text, zeros
    from 128 on   the ids, little-endian, 2 or 4 bytes each

So ``numpy.fromfile(path, dtype="<u2", offset=128)`` reads it, and so does any other program.

Concepts:
    memory-mapped: the system shows a file as if it were memory, and reads only the pages that are looked at.
    exact tokenizer: one that gives the text back as it was (char, bpe; not word, which forgets white space).

REQ: a file is refused unless its header, its length and its tokenizer all fit.
"""

import codecs
import mmap
import os
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from struct import Struct
from typing import Final, Literal, Self, overload

from toy_gpt_train.data.stdlib import whole_file
from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers.bpe import BPETokenizer
from toy_gpt_train.tokenizers.saved import SavedTokenizer, id_limit, load_tokenizer, tokenizer_sha256
from toy_gpt_train.tokenizers.word import WordTokenizer

MAGIC: Final = b"TOYGPTID"
VERSION: Final = 1
HEADER: Final = Struct("<8sIIQ32s32s40x")  # magic, version, bits, count, tokenizer's sha256, text's sha256
HEADER_SIZE: Final = HEADER.size
TYPECODES: Final[dict[int, Literal["H", "I"]]] = {16: "H", 32: "I"}

BLOCK: Final = 1 << 16  # bytes of text, or ids, in hand at a time

Report = Callable[[float, str], None]


# --- Writing ----------------------------------------------------------------------------------------------


def encode_file(
    text: Path, tokenizer_folder: Path, out: Path, report: Report = lambda fraction, status: None
) -> tuple[int, int]:
    """Write the ids of a text to a token file, a block in memory at a time.

    Args:
        text: A text in UTF-8; a leading byte-order mark is dropped.
        tokenizer_folder: What a tokenizer's save() has written.
        out: The token file; it appears only when it is whole.
        report: Is told how far the text has been read.

    Returns:
        How many ids were written, and with how many bits each.

    Raises:
        InputError: The text is empty or not UTF-8, has an unknown token, or there is no tokenizer.
        OSError: A file cannot be read or written.

    Example:
        encode_file(Path("names.txt"), Path("chars"), Path("names.tokens")) returns (228145, 16).
    """
    _check_byte_order()
    tokenizer, tokenizer_hash = load_tokenizer(tokenizer_folder), tokenizer_sha256(tokenizer_folder)
    bits = _bits_for(id_limit(tokenizer))
    text_hash, read, count = sha256(), 0, 0
    size = text.stat().st_size or 1

    def hashed(pieces: Iterable[str]) -> Iterator[str]:
        nonlocal read
        for piece in pieces:
            data = piece.encode("utf-8")
            text_hash.update(data)
            read += len(data)
            report(min(read / size, 1.0), f"{count} tokens")
            yield piece

    try:
        with text.open("rb") as source, whole_file(out) as file:
            # WHY zeros first: without its magic, a file that is not finished is not a token file.
            file.write(bytes(HEADER_SIZE))
            pieces = decode_utf8(iter(lambda: source.read(BLOCK), b""))
            ids = iter(tokenizer.encode_iterable(hashed(without_bom(pieces))))
            while block := array(TYPECODES[bits], islice(ids, BLOCK)):
                file.write(block)
                count += len(block)
            if count == 0:
                raise InputError("the text is empty: there is no token in it")
            file.seek(0)
            hashes = bytes.fromhex(tokenizer_hash), text_hash.digest()
            file.write(HEADER.pack(MAGIC, VERSION, bits, count, *hashes))
    except InputError as error:
        raise InputError(f"{text}: {error}") from error
    return count, bits


def _bits_for(limit: int) -> int:
    """Return how many bits hold every id below the limit."""
    for bits in TYPECODES:
        if limit <= 1 << bits:
            return bits
    raise InputError(f"token ids up to {limit - 1} do not fit into {bits} bits")


def decode_utf8(blocks: Iterable[bytes]) -> Iterator[str]:
    """Yield the text of bytes that come in blocks, cut anywhere.

    Raises:
        InputError: They are not UTF-8; the message gives the offset of the byte.

    Example:
        >>> list(decode_utf8([b"caf", bytes([0xC3]), bytes([0xA9])]))
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


def without_bom(pieces: Iterable[str]) -> Iterator[str]:
    r"""Yield the pieces of a text without a leading byte-order mark.

    Example:
        >>> list(without_bom(["\ufeffa", "\ufeffb"]))
        ['a', '\ufeffb']
    """
    for number, piece in enumerate(pieces):
        yield piece.removeprefix("\ufeff") if number == 0 else piece


def _check_byte_order() -> None:
    # WHY refused: every id would have to be swapped, and so the file could not be used as it lies on disk.
    if sys.byteorder != "little":
        raise InputError("token files are little-endian, and this machine is not")


# --- Reading ----------------------------------------------------------------------------------------------


class TokenFile(Sequence[int]):
    """The ids of a token file, read from disk only where they are looked at.

    Args:
        path: A token file.
        tokenizer_folder: Where given, the file must have been written with this tokenizer.

    Attributes:
        bits: Of one id, 16 or 32.
        tokenizer_sha256: Of the tokenizer that wrote it (see tokenizers/saved.py).
        text_sha256: Of the text, as it was encoded.

    Raises:
        InputError: It is not a token file, is damaged, or another tokenizer wrote it.
        OSError: It cannot be read.

    Example:
        with TokenFile(Path("names.tokens")) as ids: first, rest = ids[0], ids[1:100]
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
        """Give the file back to the system; a second time does nothing."""
        self._ids.release()
        self._bytes.release()
        self._map.close()


def _parse_header(header: bytes, size: int, path: Path) -> tuple[int, str, str]:
    """Return (bits, tokenizer's sha256, text's sha256), or refuse the file."""
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
    """Write the text of a token file.

    Args:
        tokens: The token file.
        tokenizer_folder: The tokenizer that wrote it.
        out: The text file to write; it appears only when it is whole.
        text_check: Refuse unless the text is the one that was encoded, by its sha256.

    Returns:
        How many bytes were written.

    Raises:
        InputError: The token file or the tokenizer cannot be used, or the check fails.
        OSError: A file cannot be read or written.

    Example:
        decode_file(Path("names.tokens"), Path("chars"), Path("names.txt"), text_check=True) returns 228145.
    """
    tokenizer = load_tokenizer(tokenizer_folder)
    if text_check and isinstance(tokenizer, WordTokenizer):
        raise InputError("a word tokenizer forgets white space, so the text cannot be checked")
    text_hash, size = sha256(), 0
    with TokenFile(tokens, tokenizer_folder) as ids, whole_file(out) as file:
        try:
            for text in decode_utf8(_text_blocks(tokenizer, ids)):
                data = text.encode("utf-8")
                text_hash.update(data)
                size += file.write(data)
            if text_check and text_hash.hexdigest() != ids.text_sha256:
                raise InputError("its ids do not give the text that was encoded")
        except InputError as error:
            raise InputError(f"{tokens}: {error}") from error
    return size


def _text_blocks(tokenizer: SavedTokenizer, ids: TokenFile) -> Iterator[bytes]:
    """Yield the bytes of a text, block by block.

    WHY bytes: a byte-level token may end inside a character, and so may a block.
    """
    for start in range(0, len(ids), BLOCK):
        block = ids[start : start + BLOCK]
        if isinstance(tokenizer, BPETokenizer):
            unknown = next((token_id for token_id in block if token_id not in tokenizer.vocab), None)
            if unknown is not None:
                raise InputError(f"unknown token id {unknown}")
            yield b"".join(map(tokenizer.vocab.__getitem__, block))
        else:
            between = tokenizer.join(["", ""]) if start else ""
            yield (between + tokenizer.decode(block)).encode("utf-8", "surrogatepass")
