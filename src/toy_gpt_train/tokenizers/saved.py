"""saved.py - A tokenizer as a folder: which files make it, how to read it back, and its fingerprint.

toy_tokenizer.json                      a word or character tokenizer
vocab.json, merges.txt                  a byte-level BPE tokenizer, as GPT-2 has it;
    tokenizer.json beside them          names its special tokens, if it has any, and how it cuts text
tokenizer.json alone                    byte-level BPE, or one like sentencepiece's, as Hugging Face's library has it

It does not know how a tokenizer cuts text, or how it learned to.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from os import PathLike
from pathlib import Path
from typing import Any

from toy_gpt_train.errors import InputError
from toy_gpt_train.files import read_json_object, sha256_of_file
from toy_gpt_train.staging import ensure_whole
from toy_gpt_train.tokenizers import TOKENIZERS, bpe_files, listed, tokenizer_class, tokenizer_json
from toy_gpt_train.tokenizers.base import Tokenizer
from toy_gpt_train.tokenizers.sentencepiece_json import is_sentencepiece


def tokenizer_files(folder: Path) -> list[Path]:
    """Return the files that make a tokenizer, by name; tokenizer.json only if it is alone or matters.

    InputError if the folder holds no tokenizer, or two, or a damaged tokenizer.json.
    """
    ensure_whole(folder)
    list_file = folder / listed.FILE_NAME
    merges, vocab = folder / bpe_files.MERGES_NAME, folder / bpe_files.VOCAB_NAME
    described = folder / tokenizer_json.TOKENIZER_NAME
    is_bpe = merges.is_file() and vocab.is_file()
    is_alone = described.is_file() and not merges.exists() and not vocab.exists()
    if list_file.is_file() and (is_bpe or is_alone):
        other = f"{vocab.name} with {merges.name}" if is_bpe else described.name
        raise InputError(f"{folder}: holds two tokenizers, {list_file.name} and {other}")
    if is_bpe:
        description = tokenizer_json.read_description(described) if described.is_file() else {}
        matters = tokenizer_json.special_tokens_of(description, described) or tokenizer_json.is_unlike_gpt2(description)
        return [merges, described, vocab] if matters else [merges, vocab]
    if not list_file.is_file() and not is_alone:
        names = f"{list_file.name} nor {vocab.name} with {merges.name}, nor {described.name} alone"
        raise InputError(f"{folder}: no tokenizer: neither {names}")
    return [described] if is_alone else [list_file]


def load_tokenizer(folder: Path, special: Sequence[str] = ()) -> Tokenizer:
    """Read a tokenizer of any kind that save() has written, or another program; errors as in tokenizer_files.

    ``special`` names the special tokens of GPT-2's two files, which do not mark them; other files do.
    """
    first = tokenizer_files(folder)[0]
    if special and (first.name != bpe_files.MERGES_NAME or (folder / tokenizer_json.TOKENIZER_NAME).exists()):
        raise InputError(f"{folder}: a saved tokenizer has special tokens of its own, or none")
    if first.name == tokenizer_json.TOKENIZER_NAME:
        return described_tokenizer(tokenizer_json.read_description(first), first)
    if first.name != listed.FILE_NAME:
        from toy_gpt_train.tokenizers.bpe import BPETokenizer  # WHY here: see TOKENIZERS

        return BPETokenizer.load(folder, special)
    content = read_json_object(first, unique=True)
    kind, tokens, named = content.get("kind"), content.get("tokens", ""), content.get("special", [])
    if kind not in ("word", "char"):
        raise InputError(f"{first}: not a word or char tokenizer")
    for name, texts in (("tokens", tokens), ("special", named)):
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise InputError(f"{first}: its {name} are not a list of texts")
    try:
        return tokenizer_class(kind).from_vocabulary(tokens, folder, named)
    except InputError as error:
        raise InputError(f"{first}: {error}") from error


def described_tokenizer(description: Mapping[str, Any], path: Path) -> Tokenizer:
    """Return the tokenizer of the content of a tokenizer.json; InputError if it is damaged, or of no known kind."""
    kind: Any = tokenizer_class("sentencepiece" if is_sentencepiece(description) else "bpe")
    tokenizer: Tokenizer = kind.from_description(description, path)
    return tokenizer


def tokenizer_sha256(folder: Path) -> str:
    """Return a tokenizer's fingerprint: what ``sha256sum FILES | sha256sum`` prints for tokenizer_files, by name."""
    lines = (f"{sha256_of_file(path)}  {path.name}\n" for path in tokenizer_files(folder))
    return sha256("".join(lines).encode("utf-8")).hexdigest()


def kind_or_folder(tokenizer: str | PathLike[str], special: Sequence[str]) -> str | Path:
    """Return a kind of tokenizer, or the folder of a saved one, as which any Path counts; InputError if it is neither.

    So a folder that has the name of a kind can be given too: ``./bpe``.
    """
    if isinstance(tokenizer, str) and tokenizer in TOKENIZERS:
        return tokenizer
    folder = Path(tokenizer)
    if not folder.is_dir():
        known = ", ".join(TOKENIZERS)
        raise InputError(f"unknown tokenizer {str(folder)!r:.60}; there are {known}, and folders of saved ones")
    if special:
        raise InputError(f"{folder}: a saved tokenizer has special tokens of its own, or none")
    return folder
