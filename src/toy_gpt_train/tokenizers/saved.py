"""saved.py - A tokenizer as a folder: which files make it, reading it back, and its fingerprint.

    toy_tokenizer.json                      a word or character tokenizer
    vocab.json, merges.txt                  a byte-level BPE tokenizer, as GPT-2 has it;
        tokenizer.json beside them          names its special tokens, where it has some

It does not know how a tokenizer is trained or how it cuts text.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers import bpe_files
from toy_gpt_train.tokenizers.base import TOKENIZER_NAME, ListedTokenizer
from toy_gpt_train.tokenizers.bpe import BPETokenizer
from toy_gpt_train.tokenizers.char import CharTokenizer
from toy_gpt_train.tokenizers.word import WordTokenizer

SavedTokenizer = ListedTokenizer | BPETokenizer

LISTED: Final[dict[str, type[ListedTokenizer]]] = {"word": WordTokenizer, "char": CharTokenizer}


def tokenizer_files(folder: Path) -> list[Path]:
    """Return the files that make a tokenizer, by name.

    Args:
        folder: What a tokenizer's save() has written.

    Returns:
        toy_tokenizer.json alone; or merges.txt, vocab.json, and tokenizer.json where it names special tokens
        (otherwise it says nothing that the two do not say).

    Raises:
        InputError: The folder holds no tokenizer, or two, or a damaged tokenizer.json.
        OSError: A file cannot be read.
    """
    listed = folder / TOKENIZER_NAME
    merges, vocab = folder / bpe_files.MERGES_NAME, folder / bpe_files.VOCAB_NAME
    described = folder / bpe_files.TOKENIZER_NAME
    is_bpe = merges.is_file() and vocab.is_file()
    if listed.is_file() and is_bpe:
        raise InputError(f"{folder}: holds two tokenizers, {listed.name} and {vocab.name} with {merges.name}")
    if is_bpe:
        return [
            merges,
            *([described] if described.is_file() and bpe_files.read_special_tokens(described) else []),
            vocab,
        ]
    if not listed.is_file():
        raise InputError(f"{folder}: no tokenizer: neither {listed.name} nor {vocab.name} with {merges.name}")
    return [listed]


def load_tokenizer(folder: Path) -> SavedTokenizer:
    """Read a tokenizer that save() has written, whichever kind it is.

    Args:
        folder: Its folder.

    Returns:
        The tokenizer.

    Raises:
        InputError: The folder holds no tokenizer, or two, or a damaged one.
        OSError: A file cannot be read.

    Example:
        After CharTokenizer.from_text("abc").save(folder), load_tokenizer(folder).decode([0]) is "a".
    """
    files = {path.name: path for path in tokenizer_files(folder)}
    if TOKENIZER_NAME in files:
        kind = bpe_files.read_json_object(files[TOKENIZER_NAME]).get("kind")
        if not isinstance(kind, str) or kind not in LISTED:
            raise InputError(f"{files[TOKENIZER_NAME]}: not a {' or '.join(LISTED)} tokenizer")
        return LISTED[kind].load(folder)
    return BPETokenizer.load(folder)


def tokenizer_sha256(folder: Path) -> str:
    """Return the fingerprint of a tokenizer: the sha256 of its files' sha256 and names, as ``sha256sum`` lists them.

    Args:
        folder: Its folder.

    Returns:
        64 hexadecimal digits; what ``sha256sum merges.txt vocab.json | sha256sum`` prints for a folder of these two.

    Raises:
        InputError: See tokenizer_files.
        OSError: A file cannot be read.
    """
    lines = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in tokenizer_files(folder))
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()


def id_limit(tokenizer: SavedTokenizer) -> int:
    """Return the first number that is above every id.

    WHY not the vocabulary's size: a vocab.json may leave numbers out.

    Example:
        >>> id_limit(CharTokenizer("abc"))
        3
    """
    return max(tokenizer.vocab) + 1 if isinstance(tokenizer, BPETokenizer) else tokenizer.vocab_size


def vocabulary_tokenizer(kind: str, lines: Iterable[str]) -> ListedTokenizer:
    r"""Return a tokenizer with an id for every token of a text.

    Args:
        kind: word or char.
        lines: The text, cut at line ends; only its different tokens are held.

    Raises:
        InputError: There is no such kind.

    Example:
        >>> vocabulary_tokenizer("word", ["the cat\n", "the dog"]).encode("dog the")
        [1, 2]
    """
    if kind not in LISTED:
        raise InputError(f"unknown kind {kind!r:.60}; there are {', '.join(LISTED)}")
    tokens: set[str] = set()
    for line in lines:
        tokens.update(LISTED[kind]().tokenize(line))
    return LISTED[kind](tokens)
