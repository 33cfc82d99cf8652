"""saved.py - A tokenizer as a folder: which files make it, how to read it back, and its fingerprint.

toy_tokenizer.json                      a word or character tokenizer
vocab.json, merges.txt                  a byte-level BPE tokenizer, as GPT-2 has it;
    tokenizer.json beside them          names its special tokens, if it has any

It does not know how a tokenizer cuts text, or how it learned to.
"""

from collections.abc import Sequence
from hashlib import sha256
from os import PathLike
from pathlib import Path

from toy_gpt_train.errors import InputError
from toy_gpt_train.files import read_json_object, sha256_of_file
from toy_gpt_train.staging import ensure_whole
from toy_gpt_train.tokenizers import TOKENIZERS, bpe_files, listed, tokenizer_class
from toy_gpt_train.tokenizers.base import Tokenizer


def tokenizer_files(folder: Path) -> list[Path]:
    """Return the files that make a tokenizer, by name; tokenizer.json only if it names special tokens.

    InputError if the folder holds no tokenizer, or two, or a damaged tokenizer.json.
    """
    ensure_whole(folder)
    list_file = folder / listed.FILE_NAME
    merges, vocab = folder / bpe_files.MERGES_NAME, folder / bpe_files.VOCAB_NAME
    described = folder / bpe_files.TOKENIZER_NAME
    is_bpe = merges.is_file() and vocab.is_file()
    if list_file.is_file() and is_bpe:
        raise InputError(f"{folder}: holds two tokenizers, {list_file.name} and {vocab.name} with {merges.name}")
    if is_bpe:
        description = bpe_files.read_description(described) if described.is_file() else {}
        has_special = bpe_files.special_tokens_of(description, described)
        return [merges, described, vocab] if has_special else [merges, vocab]
    if not list_file.is_file():
        raise InputError(f"{folder}: no tokenizer: neither {list_file.name} nor {vocab.name} with {merges.name}")
    return [list_file]


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read a tokenizer of any kind that save() has written; errors as in tokenizer_files."""
    first = tokenizer_files(folder)[0]
    if first.name != listed.FILE_NAME:
        from toy_gpt_train.tokenizers.bpe import BPETokenizer  # WHY here: see TOKENIZERS

        return BPETokenizer.load(folder)
    content = read_json_object(first)
    kind, tokens = content.get("kind"), content.get("tokens")
    if kind not in ("word", "char"):
        raise InputError(f"{first}: not a word or char tokenizer")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise InputError(f"{first}: its tokens are not a list of texts")
    try:
        return tokenizer_class(kind).from_vocabulary(tokens, folder)
    except InputError as error:
        raise InputError(f"{first}: {error}") from error


def tokenizer_sha256(folder: Path) -> str:
    """Return a tokenizer's fingerprint: what ``sha256sum FILES | sha256sum`` prints for tokenizer_files, by name."""
    lines = (f"{sha256_of_file(path)}  {path.name}\n" for path in tokenizer_files(folder))
    return sha256("".join(lines).encode("utf-8")).hexdigest()


def kind_or_folder(tokenizer: str | PathLike[str], special: Sequence[str]) -> str | Path:
    """Return a kind of tokenizer, or the folder of a saved one; InputError if it is neither."""
    if str(tokenizer) in TOKENIZERS:
        return str(tokenizer)
    folder = Path(tokenizer)
    if not folder.is_dir():
        known = ", ".join(TOKENIZERS)
        raise InputError(f"unknown tokenizer {str(folder)!r:.60}; there are {known}, and folders of saved ones")
    if special:
        raise InputError(f"{folder}: a saved tokenizer has special tokens of its own, or none")
    return folder
