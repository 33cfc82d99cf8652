"""Tokenizers: three ways to cut text into tokens, with one face. TOKENIZER_KINDS names them."""

from pathlib import Path
from typing import Any, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers.base import Tokenizer
from toy_gpt_train.tokenizers.bpe import BPETokenizer
from toy_gpt_train.tokenizers.char import CharTokenizer
from toy_gpt_train.tokenizers.word import WordTokenizer

__all__ = [
    "TOKENIZER_KINDS",
    "BPETokenizer",
    "CharTokenizer",
    "Tokenizer",
    "WordTokenizer",
    "cutting_tokenizer",
    "tokenizer_from_meta",
]

TOKENIZER_KINDS: Final = ("word", "char", "bpe")


def cutting_tokenizer(kind: str, text: str, vocab_size: int) -> Tokenizer:
    """Return a tokenizer that can cut a text into tokens, made from the text where it must be learned.

    Args:
        kind: ``word``, ``char`` or ``bpe``.
        text: What byte-level BPE learns its merges from; the others need none.
        vocab_size: Where BPE stops.

    Raises:
        InputError: There is no such kind, or ``vocab_size`` is too small.

    Example:
        >>> cutting_tokenizer("char", "", 0).tokenize("ab")
        ['a', 'b']
    """
    if kind == "bpe":
        return BPETokenizer.from_text(text, vocab_size)
    return tokenizer_from_meta({"kind": kind}, Path())


def tokenizer_from_meta(described: Any, artifacts_dir: Path) -> Tokenizer:
    """Return the tokenizer that a run's metadata describes; BPE's merges lie beside it.

    Args:
        described: The metadata's ``tokenizer``.
        artifacts_dir: The folder of the run's artifacts.

    Raises:
        InputError: There is no such tokenizer, or its files are damaged.
        OSError: Its files cannot be read.

    Example:
        >>> tokenizer_from_meta({"kind": "char"}, Path()).kind
        'char'
    """
    kind = described.get("kind") if isinstance(described, dict) else None
    if kind == "word":
        return WordTokenizer()
    if kind == "char":
        return CharTokenizer()
    if kind == "bpe":
        return BPETokenizer.load(artifacts_dir)
    raise InputError(f"unknown tokenizer {described!r:.60}; there are {', '.join(TOKENIZER_KINDS)}")
