r"""token_layout.py - Where the ids of a file begin, and how each is written: what a file of numbers says of itself.

The learner's question: what is in a .bin file? Numbers, one after the other, and nothing else. So a reader must
be told how large a number is, and which tokens the numbers mean. A header says so.

    our own       magic "TOYGPTID", version, bits per id (16 or 32), number of ids, sha256 of the tokenizer's files,
                  sha256 of the text, zeros: 128 bytes
    NAME.npy      of numpy: magic "\x93NUMPY", version, length of the header, and a line such as
                  {'descr': '<u2', 'fortran_order': False, 'shape': (3,), }
    NAME.bin      no header: ids of 16 bits, or of 32 where the tokenizer has more than 65,536 tokens

REQ: a file is refused unless its length is exactly what it says. Nothing in it is evaluated.
"""

import re
from struct import Struct
from typing import Final, Literal, NamedTuple

from toy_gpt_train.errors import InputError

MAGIC: Final = b"TOYGPTID"
VERSION: Final = 1
HEADER: Final = Struct("<8sIIQ32s32s40x")  # magic, version, bits, count, tokenizer's sha256, text's sha256
HEADER_SIZE: Final = HEADER.size

Typecode = Literal["H", "I", "i", "q"]
TYPECODES: Final[dict[int, Literal["H", "I"]]] = {16: "H", 32: "I"}

NUMPY_MAGIC: Final = b"\x93NUMPY"
MAX_NUMPY_HEADER: Final = 1024  # bytes; that of an array of numbers has 128
_NUMPY_TYPES: Final[dict[bytes, tuple[Typecode, int]]] = {
    b"u2": ("H", 16),
    b"u4": ("I", 32),
    b"i4": ("i", 32),
    b"i8": ("q", 64),
}
_NUMPY_HEADER: Final = re.compile(
    rb"\{'descr': '<(u2|u4|i4|i8)', 'fortran_order': False, 'shape': \(([0-9]{1,19}),\), *\} *\n?"
)


class TokenLayout(NamedTuple):
    """Where the ids of a file begin, how they are written, and where they come from, if the file says so."""

    offset: int  # of the first id, in bytes
    typecode: Typecode  # as in the modules array and struct
    bits: int  # of one id
    tokenizer_sha256: str | None = None
    text_sha256: str | None = None


def bits_for(vocab_size: int) -> int:
    """Return the bits of an id: the fewest that hold every id below the vocabulary's size; InputError if none do."""
    for bits in TYPECODES:
        if vocab_size <= 1 << bits:
            return bits
    raise InputError(f"token ids up to {vocab_size - 1} do not fit into {bits} bits")


def token_layout(start: bytes, size: int, raw_vocab_size: int | None) -> TokenLayout:
    """Return the layout of a file from its first bytes and its size; InputError if it is damaged or something else.

    Args:
        start: The first MAX_NUMPY_HEADER bytes, or all there are.
        size: The number of bytes in the file.
        raw_vocab_size: If a file without a header is one of ids, how many tokens its tokenizer has.
    """
    if start.startswith(NUMPY_MAGIC):
        layout, count = _numpy_layout(start)
    elif start.startswith(MAGIC) and len(start) >= HEADER_SIZE:
        layout, count = _own_layout(start[:HEADER_SIZE])
    elif start.startswith(MAGIC) or raw_vocab_size is None:
        raise InputError("not a token file")
    else:
        bits = bits_for(raw_vocab_size)
        layout, count = TokenLayout(0, TYPECODES[bits], bits), -(-size * 8 // bits)
        if count == 0:
            raise InputError("the file is empty: there is no token in it")
    expected = layout.offset + count * layout.bits // 8
    if size != expected:
        what = "truncated" if size < expected else "too long"
        raise InputError(f"{what}: {count} ids take {expected} bytes, the file has {size}")
    return layout


def _own_layout(header: bytes) -> tuple[TokenLayout, int]:
    _, version, bits, count, tokenizer_hash, text_hash = HEADER.unpack(header)
    if version != VERSION:
        raise InputError(f"version {version} of token files is unknown; this program reads {VERSION}")
    if bits not in TYPECODES:
        raise InputError(f"ids of {bits} bits are unknown")
    return TokenLayout(HEADER_SIZE, TYPECODES[bits], bits, tokenizer_hash.hex(), text_hash.hex()), count


def _numpy_layout(start: bytes) -> tuple[TokenLayout, int]:
    begin = {1: 10, 2: 12}.get(int.from_bytes(start[6:7], "little"), 0)
    if not begin or start[7:8] != b"\0":
        raise InputError("this version of .npy files is unknown; this program reads 1.0 and 2.0")
    offset = begin + int.from_bytes(start[8:begin], "little")
    header = start[begin:offset]
    found = _NUMPY_HEADER.fullmatch(header) if offset <= len(start) else None
    if found is None:
        read = "one-dimensional arrays of uint16, uint32, int32 or int64, little-endian and in C order"
        raise InputError(f"of .npy files, only {read} are read; its header is {header.decode('latin-1').strip()!r:.90}")
    typecode, bits = _NUMPY_TYPES[found[1]]
    return TokenLayout(offset, typecode, bits), int(found[2])
