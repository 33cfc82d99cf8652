"""Tokenizers: steps a and b grown up. Ways to cut text into tokens, with one interface (base.py)."""

from importlib import import_module
from typing import Any, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers.base import DEFAULT_VOCAB_SIZE, Tokenizer

__all__ = ["DEFAULT_VOCAB_SIZE", "TOKENIZERS", "Tokenizer", "tokenizer_class"]

# WHY names and not classes: a model of words never loads byte-level BPE.
TOKENIZERS: Final = {"word": "word:WordTokenizer", "char": "char:CharTokenizer", "bpe": "bpe:BPETokenizer"}
# Not made from a text, only read from files.
_IMPORTED: Final = {"sentencepiece": "sentencepiece:SentencePieceTokenizer"}


def tokenizer_class(kind: Any) -> type[Tokenizer]:
    """Return the class of a kind of tokenizer, also of ``sentencepiece``; InputError if there is no such kind.

    Example:
        >>> tokenizer_class("char").from_text("b a").encode("ab")
        [1, 2]
    """
    known = TOKENIZERS | _IMPORTED
    if not isinstance(kind, str) or kind not in known:
        raise InputError(f"unknown tokenizer {kind!r:.60}; there are {', '.join(TOKENIZERS)}")
    module, name = known[kind].split(":")
    found: type[Tokenizer] = getattr(import_module(f"{__name__}.{module}"), name)
    return found
