"""Tokenizers: ways to cut text into tokens. All have one face; TOKENIZERS finds one by its kind."""

from typing import Any

from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers.base import Tokenizer
from toy_gpt_train.tokenizers.char import CharTokenizer
from toy_gpt_train.tokenizers.word import WordTokenizer

__all__ = ["TOKENIZERS", "CharTokenizer", "Tokenizer", "WordTokenizer", "tokenizer_from_meta"]

TOKENIZERS: dict[str, Tokenizer] = {"word": WordTokenizer(), "char": CharTokenizer()}


def tokenizer_from_meta(described: Any) -> Tokenizer:
    """Return the tokenizer that a run's metadata describes.

    Raises:
        InputError: There is no such tokenizer.

    Example:
        >>> tokenizer_from_meta({"kind": "char"}).kind
        'char'
    """
    kind = described.get("kind") if isinstance(described, dict) else None
    if not isinstance(kind, str) or kind not in TOKENIZERS:
        raise InputError(f"unknown tokenizer {described!r:.60}; there are {', '.join(TOKENIZERS)}")
    return TOKENIZERS[kind]
