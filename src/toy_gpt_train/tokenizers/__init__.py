"""Tokenizers: ways to cut text into tokens. All have one face; TOKENIZERS finds one by its kind."""

from collections.abc import Sequence
from typing import Any, Protocol

from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers.char import CharTokenizer
from toy_gpt_train.tokenizers.word import WordTokenizer


class Tokenizer(Protocol):
    """Text to tokens, and tokens to text."""

    @property
    def kind(self) -> str:
        """Its name on the command line and in the metadata."""

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text, in order."""

    def join(self, tokens: Sequence[str]) -> str:
        """Return the text of tokens."""


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
