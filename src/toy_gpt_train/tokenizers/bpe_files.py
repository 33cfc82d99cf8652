r"""bpe_files.py - The two files of a byte-level BPE tokenizer, as GPT-2 has them: vocab.json and merges.txt.

Concepts:
    printable alphabet: GPT-2 writes each byte as one printable character, so a token is a word without spaces in a
        text file. Bytes that print stand for themselves; the others take the code points from 256 on: the space is
        "Ġ", the line end "Ċ". Special tokens are written as plain text.
    vocab.json: token -> id. merges.txt: a version line, then one merge per line, in the order of learning.
    tokenizer.json: all of it in one file (tokenizer_json.py), with the special tokens, which GPT-2's files do not mark.

REQ: a damaged file is refused with its name, and with the line for merges. One that cannot be read is an OSError.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.files import read_json_object, read_text

VOCAB_NAME: Final = "vocab.json"
MERGES_NAME: Final = "merges.txt"
MERGES_HEADER: Final = "#version: 0.2"
Merge = tuple[bytes, bytes]

_PRINTABLE: Final = (*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1))
_OTHERS: Final = [byte for byte in range(256) if byte not in _PRINTABLE]
BYTE_CHARS: Final = {byte: chr(byte) for byte in _PRINTABLE} | {byte: chr(256 + i) for i, byte in enumerate(_OTHERS)}
# WHY ASCII: there, a special token in plain text and in the printable alphabet are the same.
_MARKED: Final = re.compile(rb"<\|[!-~]+\|>")
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
) -> tuple[dict[int, bytes], list[Merge], list[str]]:
    """Read a vocab.json and its merges.txt: the vocabulary, the merges, and the special tokens.

    Special tokens are plain text there; those with an id need not be in the vocabulary. InputError if a file is
    damaged, or no merge makes a token. WHY together: neither can be much larger than the other.
    """
    merges_bytes = merges_path.stat().st_size
    # Each token has at least its own bytes, a space and a line end in the merges; here, an id and quotes as well.
    most_bytes, most_values = 32 * merges_bytes + 20_000, merges_bytes + 1000
    more = 2000 * len(special_tokens)
    members = read_json_object(vocab_path, unique=True, limit=most_bytes + more, values=most_values + more)
    vocab = parse_vocab(members, special_tokens, vocab_path)
    merges = _read_merges(merges_path, vocab, 16 * vocab_path.stat().st_size)
    return vocab, merges, all_special(vocab, merges, special_tokens, f"{merges_path}: no merge makes", vocab_path.name)


def parse_vocab(members: Mapping[str, Any], special_tokens: Mapping[str, int | None], path: Path) -> dict[int, bytes]:
    """Return the bytes of each id from the members of a vocab.json, and the special tokens that have an id.

    Members may also be id -> token, as {"0": "<|endoftext|>", "1": "!"}. InputError, with the path, if they are
    damaged.
    """
    vocab: dict[int, bytes] = {}
    try:
        pairs = _id_and_spelling(members)
        known = {spelling for _, spelling in pairs}
        pairs += [(i, text) for text, i in special_tokens.items() if i is not None and text not in known]
        for token_id, spelling in pairs:
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


def _id_and_spelling(members: Mapping[str, Any]) -> list[tuple[Any, str]]:
    # WHY all of them: "0" to "9" are tokens too, but no vocabulary has only numbers, and texts as ids.
    by_id = all(isinstance(value, str) for value in members.values())
    if by_id and members.keys() == set(map(str, range(len(members)))):
        return [(int(token_id), spelling) for token_id, spelling in members.items()]
    return [(token_id, spelling) for spelling, token_id in members.items()]


def _plain(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # half a character is refused with the special tokens


def _read_merges(path: Path, vocab: Mapping[int, bytes], most_bytes: int) -> list[Merge]:
    text = read_text(path, most_bytes).replace("\r\n", "\n")
    *lines, end = text.split("\n")
    has_header = text.startswith("#version")
    # WHY only with a header: files without one come from programs that may leave out the last line end.
    if end and has_header:
        raise InputError(f"{path}, line {len(lines) + 1}: the file is cut off in its last line")
    numbered = list(enumerate([*lines, end] if end else lines, start=1))[has_header:]
    return parse_merges(((f"{path}, line {number}", line) for number, line in numbered), vocab)


def parse_merges(lines: Iterable[tuple[str, str]], vocab: Mapping[int, bytes]) -> list[Merge]:
    """Return the merges of lines, each with its place; InputError, with the place, if one is damaged."""
    tokens = set(vocab.values())
    merges: dict[Merge, None] = {}  # WHY a dictionary: it keeps the order, and looks up in O(1).
    for where, line in lines:
        try:
            parts = line.split(" ")
            if len(parts) != 2:
                raise InputError(f"not two tokens with a space between them: {line!r:.60}")
            merge = unspell(parts[0]), unspell(parts[1])
            check_merge(merge, tokens, merges)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        merges[merge] = None
    return list(merges)


def all_special(
    vocab: Mapping[int, bytes], merges: Iterable[Merge], named: Iterable[str], problem: str, vocab_name: str
) -> list[str]:
    """Return the special tokens by id: the ``named`` ones, and those like <|endoftext|> that no merge makes.

    InputError, which begins with ``problem``, if there is another token that no merge makes.
    """
    special = {_plain(text) for text in named}
    made = special | {left + right for left, right in merges}
    for token in vocab.values():
        if len(token) > 1 and token not in made:
            if not _MARKED.fullmatch(token):
                raise InputError(f"{problem} {spell(token)!r:.60}, which is in {vocab_name}")
            special.add(token)
    return [token.decode("utf-8", "surrogatepass") for _, token in sorted(vocab.items()) if token in special]


def file_texts(tokens: Sequence[str], merges: Sequence[Merge]) -> dict[str, str]:
    """Return the text of vocab.json and merges.txt, by file name; ``tokens`` are spelled, by id."""
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    merge_lines = [f"{spell(left)} {spell(right)}" for left, right in merges]
    return {VOCAB_NAME: json_text(ids), MERGES_NAME: "\n".join([MERGES_HEADER, *merge_lines, ""])}


def json_text(content: Mapping[str, Any]) -> str:
    """Return a JSON object as these files have it."""
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"
