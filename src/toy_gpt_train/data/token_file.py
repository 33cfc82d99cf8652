"""token_file.py - A text as numbers on disk: encoded once, then read by training without tokenizing again.

The learner's question: why do real projects train from a .bin file? Tokenizing is slow and always gives the same ids,
so it is done once. And a file of numbers can be mapped into memory: the system shows it as if it were memory, and reads
only the pages that are looked at.

The ids are little-endian, 2 or 4 bytes each, after a header of 128 bytes, or none (token_layout.py). So
``numpy.fromfile(path, dtype="<u2", offset=128)`` reads them, and so does any other program.

REQ: a file is refused unless its header, its length and its tokenizer all fit.
"""

import mmap
import os
import sys
from array import array
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Final, Self, overload

from toy_gpt_train.data.documents import Documents, text_blocks
from toy_gpt_train.data.token_layout import (
    HEADER,
    HEADER_SIZE,
    MAGIC,
    MAX_NUMPY_HEADER,
    TYPECODES,
    VERSION,
    bits_for,
    token_layout,
)
from toy_gpt_train.disk import is_stream, whole_file
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import utf8_blocks
from toy_gpt_train.progress import OnProgress
from toy_gpt_train.tokenizers.base import Tokenizer
from toy_gpt_train.tokenizers.saved import load_tokenizer, tokenizer_sha256

BLOCK: Final = 1 << 16  # bytes of text, or ids, in memory at a time


def encode_file(
    texts: Sequence[Path],
    tokenizer_folder: Path,
    out: Path,
    on_progress: OnProgress = lambda fraction, status: None,
    *,
    raw: bool = False,
    documents: Documents | None = None,
) -> tuple[int, int]:
    """Write the ids of texts to a token file, a block in memory at a time; return how many, and the bits of each.

    Args:
        texts: The files; a leading byte-order mark is dropped.
        tokenizer_folder: The tokenizer.
        out: The file to write, which appears only when it is whole.
        on_progress: Is told the fraction of the texts read.
        raw: Whether to leave out the header, so that the file is ids and nothing else.
        documents: What a document is, and the special token after each one; without it, none is added.

    Raises:
        InputError: There is no text, a file is not UTF-8, or the tokenizer does not know a token, or the special one.
    """
    _check_byte_order()
    if raw and out.suffix.lower() != ".bin" and not is_stream(out):
        raise InputError(f"{out}: ids without a header are called NAME.bin, which says what they are")
    tokenizer, tokenizer_hash = load_tokenizer(tokenizer_folder), tokenizer_sha256(tokenizer_folder)
    if documents is not None:
        documents.check(tokenizer, tokenizer_folder)
    bits = bits_for(tokenizer.vocab_size)
    text_hash, read, count, current = sha256(), 0, 0, texts[0]
    size = sum(text.stat().st_size for text in texts) or 1

    def hashed() -> Iterator[str]:
        nonlocal read, current
        for path, block in text_blocks(texts, documents):
            current = path
            data = block.encode("utf-8")
            text_hash.update(data)
            read += len(data)
            on_progress(min(read / size, 1.0), f"{count} tokens")
            yield block

    with whole_file(out) as file:
        # WHY zeros first: without its magic, an unfinished file is not a token file.
        file.write(bytes(0 if raw else HEADER_SIZE))
        ids = iter(tokenizer.encode_iterable(hashed()))
        try:
            while block := array(TYPECODES[bits], islice(ids, BLOCK)):
                file.write(block)
                count += len(block)
        except InputError as error:
            if str(error).startswith(tuple(f"{text}{mark}" for text in texts for mark in ":,")):
                raise
            raise InputError(f"{current}: {error}") from error
        if count == 0:
            raise InputError(f"{current}: the text is empty: there is no token in it")
        if not raw:
            file.seek(0)
            file.write(HEADER.pack(MAGIC, VERSION, bits, count, bytes.fromhex(tokenizer_hash), text_hash.digest()))
    return count, bits


def _check_byte_order() -> None:
    # WHY refused: every id would have to be swapped, so the file could not be mapped into memory as is.
    if sys.byteorder != "little":
        raise InputError("token files are little-endian, and this machine is not")


class TokenFile(Sequence[int]):
    """The ids of a token file, read from disk only where they are looked at; use it in a ``with`` block.

    Args:
        path: A token file, a .npy file, or a .bin file of ids and nothing else.
        tokenizer_folder: The tokenizer that must have written it, if the file says which did.
        vocab_size: How many tokens the tokenizer has; a .bin file without a header is refused without it.

    Raises:
        InputError: The file is something else or damaged, or another tokenizer wrote it.

    Attributes: the ``bits`` of one id; ``tokenizer_sha256`` (saved.py) and ``text_sha256``, of the text as encoded;
    None where the file does not say.
    """

    def __init__(self, path: Path, tokenizer_folder: Path | None = None, vocab_size: int | None = None) -> None:
        _check_byte_order()
        with path.open("rb") as file:
            start, size = file.read(MAX_NUMPY_HEADER), os.fstat(file.fileno()).st_size
            try:
                layout = token_layout(start, size, vocab_size if path.suffix.lower() == ".bin" else None)
            except InputError as error:
                raise InputError(f"{path}: {error}") from error
            self.bits, self.tokenizer_sha256, self.text_sha256 = layout[2:]
            if tokenizer_folder is not None and self.tokenizer_sha256 not in (None, tokenizer_sha256(tokenizer_folder)):
                raise InputError(f"{path}: was not written with the tokenizer in {tokenizer_folder}")
            self._map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        self._bytes = memoryview(self._map)[layout.offset :]
        self._ids = self._bytes.cast(layout.typecode)

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


def decode_file(tokens: Path, tokenizer_folder: Path, out: Path, *, text_check: bool = False) -> int:
    """Write the text of a token file to ``out``, which appears only when it is whole; return the number of bytes.

    InputError if another tokenizer wrote it, or, with ``text_check``, if the text is not the one that was encoded (by
    its sha256).
    """
    tokenizer = load_tokenizer(tokenizer_folder)
    if text_check and not tokenizer.exact:
        raise InputError(f"a {tokenizer.kind} tokenizer forgets white space, so the text cannot be checked")
    text_hash, size = sha256(), 0
    with TokenFile(tokens, tokenizer_folder, tokenizer.vocab_size) as ids, whole_file(out) as file:
        try:
            if text_check and ids.text_sha256 is None:
                raise InputError("does not say of which text it was made, so the text cannot be checked")
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
        yield tokenizer.decode_bytes(ids[start : start + BLOCK], begins=start == 0)
