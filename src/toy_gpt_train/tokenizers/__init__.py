"""Tokenizers: steps a and b grown up. Three ways to cut text into tokens, with one interface (base.py)."""

from importlib import import_module
from typing import Any, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers.base import DEFAULT_VOCAB_SIZE, Tokenizer

__all__ = ["DEFAULT_VOCAB_SIZE", "TOKENIZERS", "Tokenizer", "tokenizer_class"]

# WHY names and not classes: a model of words never loads byte-level BPE.
TOKENIZERS: Final = {"word": "word:WordTokenizer", "char": "char:CharTokenizer", "bpe": "bpe:BPETokenizer"}


def tokenizer_class(kind: Any) -> type[Tokenizer]:
    """Return the class of a kind of tokenizer; InputError for anything but ``word``, ``char`` and ``bpe``.

    Example:
        >>> tokenizer_class("char").from_text("b a").encode("ab")
        [1, 2]
    """
    if not isinstance(kind, str) or kind not in TOKENIZERS:
        raise InputError(f"unknown tokenizer {kind!r:.60}; there are {', '.join(TOKENIZERS)}")
    module, name = TOKENIZERS[kind].split(":")
    found: type[Tokenizer] = getattr(import_module(f"{__name__}.{module}"), name)
    return found
