r"""bpe_files.py - The files of a byte-level BPE tokenizer: GPT-2's vocab.json and merges.txt, and tokenizer.json.

Concepts:
    printable alphabet: GPT-2 writes each byte as one printable character, so that a token is a word without
        spaces in a text file. Bytes that print stand for themselves; the others take the code points from 256 on:
        the space is "Ġ", the line end "Ċ".
    vocab.json: token -> id. merges.txt: a version line, then one merge a line, in the order of learning.
    tokenizer.json: all of it in one file, for Hugging Face's ``tokenizers`` library (written only).

REQ: a damaged file is refused with its name, and the line for merges; files are replaced as a whole.
"""

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.errors import InputError

VOCAB_NAME: Final = "vocab.json"
MERGES_NAME: Final = "merges.txt"
TOKENIZER_NAME: Final = "tokenizer.json"
MERGES_HEADER: Final = "#version: 0.2"


def _printable_alphabet() -> dict[int, str]:
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


# GPT-2's order of the bytes is that of this dictionary: the printable ones first.
BYTE_CHARS: Final = _printable_alphabet()
_CHAR_BYTES: Final = {char: byte for byte, char in BYTE_CHARS.items()}


def spell(token: bytes) -> str:
    """Write a token in the printable alphabet.

    Example:
        >>> spell(b" the")
        'Ġthe'
    """
    return "".join(BYTE_CHARS[byte] for byte in token)


def unspell(spelling: str) -> bytes:
    """Read a token in the printable alphabet.

    Raises:
        InputError: A character is not in the alphabet, or there is none.

    Example:
        >>> unspell("Ġthe")
        b' the'
    """
    strange = next((char for char in spelling if char not in _CHAR_BYTES), None)
    if strange is not None:
        raise InputError(f"{strange!r} in {spelling!r:.60} is not in GPT-2's printable alphabet")
    if not spelling:
        raise InputError("a token is empty")
    return bytes(_CHAR_BYTES[char] for char in spelling)


# --- What must be true of a tokenizer ---------------------------------------------------------------------


def check_vocab(vocab: Mapping[int, bytes]) -> None:
    """Refuse a vocabulary that cannot encode every text, or not in one way only.

    Args:
        vocab: The bytes of each id.

    Raises:
        InputError: A negative id, two ids for the same bytes, or no id for a byte.

    Example:
        The 256 bytes alone are a vocabulary: {0: bytes([0]), ...}.
    """
    id_of: dict[bytes, int] = {}
    for token_id, token in vocab.items():
        if token_id < 0:
            raise InputError(f"token {spell(token)!r:.60} has the negative id {token_id}")
        if token in id_of:
            raise InputError(f"ids {id_of[token]} and {token_id} are the same token {spell(token)!r:.60}")
        id_of[token] = token_id
    for byte in range(256):
        if bytes([byte]) not in id_of:
            raise InputError(f"byte 0x{byte:02x} has no token")


def check_merge(
    merge: tuple[bytes, bytes], tokens: Collection[bytes], earlier: Collection[tuple[bytes, bytes]]
) -> None:
    """Refuse a merge that the vocabulary does not know, or that has been before.

    Args:
        merge: Two tokens.
        tokens: All tokens of the vocabulary.
        earlier: The merges before it.

    Raises:
        InputError: A part or the result is missing, or the merge comes twice.

    Example:
        >>> check_merge((b"a", b"b"), {b"a", b"b", b"ab"}, set())
    """
    for token in (*merge, merge[0] + merge[1]):
        if token not in tokens:
            raise InputError(f"{spell(token)!r:.60} is not in the vocabulary")
    if merge in earlier:
        raise InputError(f"{spell(merge[0])!r:.60} and {spell(merge[1])!r:.60} are merged twice")


# --- Reading ----------------------------------------------------------------------------------------------


def read_vocab(path: Path, special_tokens: Collection[str] = ()) -> dict[int, bytes]:
    """Read a vocab.json.

    Args:
        path: The file.
        special_tokens: Keys that are not in the printable alphabet, but plain text.

    Returns:
        The bytes of each id.

    Raises:
        InputError: The file is damaged.
        OSError: It cannot be read.

    Example:
        The file {"!": 0, "Ġthe": 262, ...} gives {0: b"!", 262: b" the", ...}.
    """
    text = _read_text(path)
    try:
        # WHY pairs: a dictionary would silently keep the last of two equal keys.
        pairs = json.loads(text, object_pairs_hook=_JsonObject)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error})") from error
    if not isinstance(pairs, _JsonObject):
        raise InputError(f"{path}: not a JSON object of tokens and ids")
    vocab: dict[int, bytes] = {}
    try:
        for spelling, token_id in pairs:
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


class _JsonObject(list[tuple[str, Any]]):
    """The members of a JSON object in order, equal keys and all; a JSON array stays a plain list."""


def read_merges(path: Path, vocab: Mapping[int, bytes]) -> list[tuple[bytes, bytes]]:
    """Read a merges.txt.

    Args:
        path: The file.
        vocab: Must know the parts and the result of every merge.

    Returns:
        The merges, in the order of the file.

    Raises:
        InputError: The file is damaged.
        OSError: It cannot be read.

    Example:
        The line "Ġ t" gives (b" ", b"t").
    """
    tokens = set(vocab.values())
    merges: dict[tuple[bytes, bytes], None] = {}  # WHY a dictionary: it keeps the order, and finds what is there.
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
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


def _read_text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not UTF-8 at byte {error.start} of the file") from error


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        InputError: It does not.
        OSError: It cannot be read.
    """
    try:
        described = json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if not isinstance(described, dict):
        raise InputError(f"{path}: not a JSON object")
    return described


def read_special_tokens(path: Path) -> dict[str, int]:
    """Return the special tokens that a tokenizer.json names, and their ids; vocab.json does not tell them apart.

    Raises:
        InputError: The file is damaged.
        OSError: It cannot be read.
    """
    try:
        return {token["content"]: token["id"] for token in read_json_object(path).get("added_tokens") or []}
    except (TypeError, KeyError) as error:
        raise InputError(f"{path}: its added_tokens are not a list of texts and ids") from error


# --- Writing ----------------------------------------------------------------------------------------------


def file_texts(
    vocab: Mapping[int, bytes], merges: Sequence[tuple[bytes, bytes]], special: Mapping[str, int]
) -> dict[str, str]:
    """Return the text of vocab.json, merges.txt and tokenizer.json, by file name.

    Args:
        vocab: The bytes of each id.
        merges: In the order of learning.
        special: The ids of special tokens.

    Raises:
        InputError: A special token cannot be told from another token in these files.
    """
    ids = _spelled_ids(vocab, merges, special)
    merge_lines = [f"{spell(left)} {spell(right)}" for left, right in merges]
    return {
        VOCAB_NAME: _json_text(ids),
        MERGES_NAME: "\n".join([MERGES_HEADER, *merge_lines, ""]),
        TOKENIZER_NAME: _json_text(_hugging_face(ids, merge_lines, special)),
    }


def write_files(
    folder: Path, vocab: Mapping[int, bytes], merges: Sequence[tuple[bytes, bytes]], special: Mapping[str, int]
) -> list[Path]:
    """Write vocab.json, merges.txt and tokenizer.json, each under a temporary name that is then replaced.

    Args:
        folder: Is made where it does not exist.
        vocab: The bytes of each id.
        merges: In the order of learning.
        special: The ids of special tokens.

    Returns:
        The paths written.

    Raises:
        InputError: A special token cannot be told from another token in these files.
        OSError: A file cannot be written.

    Example:
        See BPETokenizer.save.
    """
    contents = file_texts(vocab, merges, special)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = {folder / name: folder / f".{name}.{os.getpid()}.tmp" for name in contents}
    try:
        for path, text in zip(temporary.values(), contents.values(), strict=True):
            path.write_text(text, encoding="utf-8", newline="\n")
        for target, path in temporary.items():
            path.replace(target)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
    return list(temporary)


def _spelled_ids(
    vocab: Mapping[int, bytes], merges: Iterable[tuple[bytes, bytes]], special: Mapping[str, int]
) -> dict[str, int]:
    """Return the id of each token as the files spell it, by id: special tokens are plain text there."""
    ids = {spell(token): token_id for token_id, token in sorted(vocab.items())}
    ordinary = {spell(left + right) for left, right in merges} | set(_CHAR_BYTES)
    for text, token_id in special.items():
        spelling = spell(vocab[token_id])
        if spelling != text and (text in ids or spelling in ordinary):
            raise InputError(f"special token {text!r} cannot be told from an ordinary token in {VOCAB_NAME}")
        del ids[spelling]
        ids[text] = token_id
    return dict(sorted(ids.items(), key=lambda item: item[1]))


def _hugging_face(ids: Mapping[str, int], merge_lines: Sequence[str], special: Mapping[str, int]) -> dict[str, Any]:
    """Return the content of a tokenizer.json that encodes as this project does.

    Source:
        https://huggingface.co/docs/tokenizers (BPE, ByteLevel and AddedToken).
    """
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    as_it_stands = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    by_id = sorted(special.items(), key=lambda item: item[1])
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": token_id, "content": text, **as_it_stands} for text, token_id in by_id],
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
