"""Texts of the repository as token ids, for charts."""

from functools import cache
from pathlib import Path

from toy_gpt_train.corpus import read_corpus
from toy_gpt_train.tokenizers import tokenizer_class


@cache
def read_ids(path: Path, kind: str = "word") -> tuple[list[int], int]:
    """Return a text as token ids, and the size of its vocabulary.

    Args:
        path: The text.
        kind: The tokenizer: ``word`` or ``char``.
    """
    text = read_corpus(path).text
    tokenizer = tokenizer_class(kind).from_text(text)
    return tokenizer.encode(text), tokenizer.vocab_size
