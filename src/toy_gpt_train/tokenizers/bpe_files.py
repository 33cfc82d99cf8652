r"""bpe_files.py - The files of a byte-level BPE tokenizer: GPT-2's vocab.json and merges.txt, and tokenizer.json.

Concepts:
    printable alphabet: GPT-2 writes each byte as one printable character, so a token is a word without spaces in a
        text file. Bytes that print stand for themselves; the others take the code points from 256 on: the space is
        "Ġ", the line end "Ċ". Special tokens are written as plain text.
    vocab.json: token -> id. merges.txt: a version line, then one merge per line, in the order of learning.
    tokenizer.json: all of it in one file, for Hugging Face's ``tokenizers`` library. It is read for its special tokens,
        and must not contradict the others.

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
Merge = tuple[bytes, bytes]

_PRINTABLE: Final = (*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1))
_OTHERS: Final = [byte for byte in range(256) if byte not in _PRINTABLE]
BYTE_CHARS: Final = {byte: chr(byte) for byte in _PRINTABLE} | {byte: chr(256 + i) for i, byte in enumerate(_OTHERS)}
_CHAR_BYTES: Final = {char: byte for byte, char in BYTE_CHARS.items()}


def spell(token: bytes) -> str:
    """Write a token in the printable alphabet.

    Example:
        >>> spell(b" the"), unspell("Ġthe")
        ('Ġthe', b' the')
    """
    return token.decode("latin-1").translate(BYTE_CHARS)


def unspell(spelling: str) -> bytes:
    """Undo spell(); InputError if a character is not in the alphabet, or there is none."""
    if not spelling:
        raise InputError("a token is empty")
    try:
        return bytes([_CHAR_BYTES[char] for char in spelling])
    except KeyError as unknown:
        char = unknown.args[0]
    raise InputError(f"{char!r} in {spelling!r:.60} is not in GPT-2's printable alphabet")


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


def check_merge(merge: Merge, tokens: Collection[bytes], earlier: Collection[Merge]) -> None:
    """Refuse, with InputError, a merge if the vocabulary lacks a part or the result, or if it is an earlier one."""
    for token in (*merge, merge[0] + merge[1]):
        if token not in tokens:
            raise InputError(f"{spell(token)!r:.60} is not in the vocabulary")
    if merge in earlier:
        raise InputError(f"{spell(merge[0])!r:.60} and {spell(merge[1])!r:.60} are merged twice")


def read_files(
    vocab_path: Path, merges_path: Path, special_tokens: Mapping[str, int | None]
) -> tuple[dict[int, bytes], list[Merge]]:
    """Read a vocab.json and its merges.txt; InputError if one is damaged, or a token is made by no merge.

    Special tokens are plain text there; those with an id need not be in the vocabulary.
    WHY together: neither can be much larger than the other.
    """
    merges_bytes = merges_path.stat().st_size
    vocab = _read_vocab(vocab_path, special_tokens, merges_bytes)
    merges = _read_merges(merges_path, vocab, 16 * vocab_path.stat().st_size)
    made = {left + right for left, right in merges} | {_plain(text) for text in special_tokens}
    for token in vocab.values():
        if len(token) > 1 and token not in made:
            raise InputError(f"{merges_path}: no merge makes {spell(token)!r:.60}, which is in {vocab_path.name}")
    return vocab, merges


def _read_vocab(path: Path, special_tokens: Mapping[str, int | None], merges_bytes: int) -> dict[int, bytes]:
    vocab: dict[int, bytes] = {}
    # Each token has at least its own bytes, a space and a line end in the merges; here, an id and quotes as well.
    most_bytes, most_values = 32 * merges_bytes + 20_000, merges_bytes + 1000
    more = 2000 * len(special_tokens)
    members = read_json_object(path, unique=True, limit=most_bytes + more, values=most_values + more)
    for text, special_id in special_tokens.items():
        if special_id is not None:
            members.setdefault(text, special_id)
    try:
        for spelling, token_id in members.items():
            token = _plain(spelling) if spelling in special_tokens else unspell(spelling)
            if type(token_id) is not int:  # WHY not isinstance: true is an int to Python, but no id.
                raise InputError(f"the id of {spelling!r:.60} is not a whole number")
            if token_id in vocab:
                raise InputError(f"{spell(vocab[token_id])!r:.60} and {spelling!r:.60} have the same id {token_id}")
            vocab[token_id] = token
        check_vocab(vocab)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return vocab


def _plain(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # half a character is refused with the special tokens


def _read_merges(path: Path, vocab: Mapping[int, bytes], most_bytes: int) -> list[Merge]:
    tokens = set(vocab.values())
    merges: dict[Merge, None] = {}  # WHY a dictionary: it keeps the order, and looks up in O(1).
    *lines, end = read_text(path, most_bytes).replace("\r\n", "\n").split("\n")
    if end:
        raise InputError(f"{path}, line {len(lines) + 1}: the file is cut off in its last line")
    for number, line in enumerate(lines, start=1):
        if number == 1 and line.startswith("#version"):
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


def read_description(path: Path) -> dict[str, Any]:
    """Read a tokenizer.json; the files beside it bound its size."""
    beside = sum(path.with_name(name).stat().st_size for name in (VOCAB_NAME, MERGES_NAME))
    return read_json_object(path, limit=16 * beside + 100_000, values=beside + 10_000)


def special_tokens_of(description: Mapping[str, Any], path: Path) -> dict[str, int]:
    """Return the special tokens that a tokenizer.json names, by id; vocab.json does not mark them."""
    found: dict[str, int] = {}
    added = description.get("added_tokens") or []
    for token in added if isinstance(added, list) else [added]:
        text, token_id = (token.get("content"), token.get("id")) if isinstance(token, dict) else (None, None)
        if not isinstance(text, str) or type(token_id) is not int or text in found:
            raise InputError(f"{path}: its added_tokens are not a list of different texts and ids")
        for setting in ("lstrip", "rstrip", "single_word"):
            if token.get(setting, False) is not False:
                raise InputError(f"{path}: {setting} of the added token {text!r:.60} is not supported")
        found[text] = token_id
    return dict(sorted(found.items(), key=lambda item: item[1]))


def check_description(
    description: Mapping[str, Any], path: Path, tokens: Sequence[str], merges: Sequence[Merge]
) -> None:
    """Refuse a tokenizer.json that describes another tokenizer than the files beside it; it may name tokens only."""
    if "model" not in description:
        return
    model, cut = description["model"], description.get("pre_tokenizer")
    if not isinstance(model, dict) or not isinstance(cut, dict):
        raise InputError(f"{path}: its model or its pre_tokenizer is not an object")
    cuts = cut.get("type"), cut.get("add_prefix_space"), cut.get("use_regex", True)
    if description.get("normalizer") is not None or cuts != ("ByteLevel", False, True):
        raise InputError(f"{path}: its normalizer or its pre_tokenizer does not leave and cut text as GPT-2 does")
    for setting in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges"):
        if model.get(setting):
            raise InputError(f"{path}: {setting} of its model is not supported")
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    vocab, listed = model.get("vocab"), model.get("merges")
    if not isinstance(vocab, dict) or ids != {**special_tokens_of(description, path), **vocab}:
        raise InputError(f"{path}: its tokens are not those of {VOCAB_NAME}")
    pairs = listed if isinstance(listed, list) else []
    lines = [" ".join(map(str, pair)) if isinstance(pair, list) else pair for pair in pairs]
    if lines != [f"{spell(left)} {spell(right)}" for left, right in merges]:
        raise InputError(f"{path}: its merges are not those of {MERGES_NAME}")


def file_texts(tokens: Sequence[str], merges: Sequence[Merge], special: Mapping[str, int]) -> dict[str, str]:
    """Return the text of vocab.json, merges.txt and tokenizer.json, by file name; ``tokens`` are spelled, by id."""
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    merge_lines = [f"{spell(left)} {spell(right)}" for left, right in merges]
    return {
        VOCAB_NAME: _json_text(ids),
        MERGES_NAME: "\n".join([MERGES_HEADER, *merge_lines, ""]),
        TOKENIZER_NAME: _json_text(_hugging_face(ids, merge_lines, special)),
    }


def _hugging_face(ids: Mapping[str, int], merge_lines: Sequence[str], special: Mapping[str, int]) -> dict[str, Any]:
    # Source: https://huggingface.co/docs/tokenizers (BPE, ByteLevel and AddedToken).
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    literal = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    by_id = sorted(special.items(), key=lambda item: item[1])
    model: dict[str, Any] = {"type": "BPE"}
    model |= dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"))
    model |= dict.fromkeys(("fuse_unk", "byte_fallback", "ignore_merges"), False)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": token_id, "content": text, **literal} for text, token_id in by_id],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {**model, "vocab": ids, "merges": merge_lines},
    }


def _json_text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"
