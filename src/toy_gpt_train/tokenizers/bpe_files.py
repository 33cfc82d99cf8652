r"""bpe_files.py - The files of a byte-level BPE tokenizer: GPT-2's vocab.json and merges.txt, and tokenizer.json.

Concepts:
    printable alphabet: GPT-2 writes each byte as one printable character, so a token is a word without spaces in a
        text file. Bytes that print stand for themselves; the others take the code points from 256 on: the space is
        "Ġ", the line end "Ċ". Special tokens are written as plain text.
    vocab.json: token -> id. merges.txt: a version line, then one merge per line, in the order of learning.
    tokenizer.json: all of it in one file, for Hugging Face's ``tokenizers`` library. Only its special tokens are read.

REQ: a damaged file is refused with its name, and with the line for merges. One that cannot be read is an OSError.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.files import read_json_object, read_text

VOCAB_NAME: Final = "vocab.json"
MERGES_NAME: Final = "merges.txt"
TOKENIZER_NAME: Final = "tokenizer.json"
MERGES_HEADER: Final = "#version: 0.2"

_PRINTABLE: Final = (*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1))
_OTHERS: Final = [byte for byte in range(256) if byte not in _PRINTABLE]
BYTE_CHARS: Final = {byte: chr(byte) for byte in _PRINTABLE} | {byte: chr(256 + i) for i, byte in enumerate(_OTHERS)}
_CHAR_BYTES: Final = {char: byte for byte, char in BYTE_CHARS.items()}


def spell(token: bytes) -> str:
    """Write a token in the printable alphabet.

    Example:
        >>> spell(b" the")
        'Ġthe'
    """
    return token.decode("latin-1").translate(BYTE_CHARS)


def unspell(spelling: str) -> bytes:
    """Read a token in the printable alphabet; InputError if a character is not in the alphabet, or there is none.

    Example:
        >>> unspell("Ġthe")
        b' the'
    """
    if not spelling:
        raise InputError("a token is empty")
    try:
        return bytes([_CHAR_BYTES[char] for char in spelling])
    except KeyError as unknown:
        char = unknown.args[0]
    raise InputError(f"{char!r} in {spelling!r:.60} is not in GPT-2's printable alphabet")


# --- What must be true of a tokenizer ---------------------------------------------------------------------


def check_vocab(vocab: Mapping[int, bytes]) -> None:
    """Refuse, with InputError, a vocabulary that cannot encode every text in exactly one way."""
    id_of: dict[bytes, int] = {}
    for token_id, token in vocab.items():
        if not 0 <= token_id < len(vocab):
            raise InputError(f"token {spell(token)!r:.60} has the id {token_id}; ids must be 0 to {len(vocab) - 1}")
        if token in id_of:
            raise InputError(f"ids {id_of[token]} and {token_id} are the same token {spell(token)!r:.60}")
        id_of[token] = token_id
    for byte in range(256):
        if bytes([byte]) not in id_of:
            raise InputError(f"byte 0x{byte:02x} has no token")


def check_merge(
    merge: tuple[bytes, bytes], tokens: Collection[bytes], earlier: Collection[tuple[bytes, bytes]]
) -> None:
    """Refuse, with InputError, a merge if the vocabulary lacks a part or the result, or if it is an earlier one."""
    for token in (*merge, merge[0] + merge[1]):
        if token not in tokens:
            raise InputError(f"{spell(token)!r:.60} is not in the vocabulary")
    if merge in earlier:
        raise InputError(f"{spell(merge[0])!r:.60} and {spell(merge[1])!r:.60} are merged twice")


# --- Reading ----------------------------------------------------------------------------------------------


def read_vocab(path: Path, special_tokens: Collection[str] = ()) -> dict[int, bytes]:
    """Read a vocab.json: ``{"!": 0, "Ġthe": 262, ...}`` gives ``{0: b"!", 262: b" the", ...}``.

    Special tokens are plain text, not in the printable alphabet. InputError if the file is damaged.
    """
    vocab: dict[int, bytes] = {}
    members = read_json_object(path, unique=True)
    try:
        for spelling, token_id in members.items():
            token = spelling.encode() if spelling in special_tokens else unspell(spelling)
            if type(token_id) is not int:  # WHY not isinstance: true is an int to Python, but no id.
                raise InputError(f"the id of {spelling!r:.60} is not a whole number")
            if token_id in vocab:
                raise InputError(f"{spell(vocab[token_id])!r:.60} and {spelling!r:.60} have the same id {token_id}")
            vocab[token_id] = token
        check_vocab(vocab)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return vocab


def read_merges(path: Path, vocab: Mapping[int, bytes]) -> list[tuple[bytes, bytes]]:
    """Read a merges.txt, in its order: the line "Ġ t" gives ``(b" ", b"t")``; InputError if the file is damaged.

    The vocabulary must have the parts and the result of every merge.
    """
    tokens = set(vocab.values())
    merges: dict[tuple[bytes, bytes], None] = {}  # WHY a dictionary: it keeps the order, and looks up in O(1).
    for number, line in enumerate(read_text(path).replace("\r\n", "\n").split("\n"), start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        try:
            parts = line.split(" ")
            if len(parts) != 2:
                raise InputError(f"not two tokens with a space between them: {line!r:.60}")
            merge = unspell(parts[0]), unspell(parts[1])
            check_merge(merge, tokens, merges)
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
        merges[merge] = None
    return list(merges)


def read_special_tokens(path: Path) -> dict[str, int]:
    """Return the ids of the special tokens that a tokenizer.json names; InputError if the file is damaged."""
    try:
        found = {token["content"]: token["id"] for token in read_json_object(path).get("added_tokens") or []}
        if all(isinstance(text, str) for text in found):
            return found
    except (TypeError, KeyError):
        pass
    raise InputError(f"{path}: its added_tokens are not a list of texts and ids")


# --- Writing ----------------------------------------------------------------------------------------------


def file_texts(
    tokens: Sequence[str], merges: Sequence[tuple[bytes, bytes]], special: Mapping[str, int]
) -> dict[str, str]:
    """Return the text of vocab.json, merges.txt and tokenizer.json, by file name.

    Args:
        tokens: The spelled tokens by id.
        merges: In the order of learning.
        special: The ids of special tokens.
    """
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    merge_lines = [f"{spell(left)} {spell(right)}" for left, right in merges]
    return {
        VOCAB_NAME: _json_text(ids),
        MERGES_NAME: "\n".join([MERGES_HEADER, *merge_lines, ""]),
        TOKENIZER_NAME: _json_text(_hugging_face(ids, merge_lines, special)),
    }


def _hugging_face(ids: Mapping[str, int], merge_lines: Sequence[str], special: Mapping[str, int]) -> dict[str, Any]:
    """Return the content of a tokenizer.json that encodes as this project does.

    Source: https://huggingface.co/docs/tokenizers (BPE, ByteLevel and AddedToken).
    """
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    literal = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    by_id = sorted(special.items(), key=lambda item: item[1])
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": token_id, "content": text, **literal} for text, token_id in by_id],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": ids,
            "merges": merge_lines,
        },
    }


def _json_text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"
