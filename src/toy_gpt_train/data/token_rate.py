"""token_rate.py - Bytes per token: how short a tokenizer makes a text, all of it or a sample of its documents.

The text is read once, and only one document of it, or the sample, is in memory.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from toy_gpt_train.data.sample import MAX_LINE_BYTES, reservoir, text_lines
from toy_gpt_train.errors import InputError
from toy_gpt_train.progress import OnProgress
from toy_gpt_train.tokenizers import Tokenizer
from toy_gpt_train.tokenizers.special import TextSplitter


class TokenRate(NamedTuple):
    """The size of a text, or of some of its documents, in bytes and in tokens."""

    num_bytes: int
    num_tokens: int
    sampled: int | None = None  # documents
    documents: int = 0  # how many there are, if some were sampled

    @property
    def bytes_per_token(self) -> float:
        """The larger, the shorter is the text for a model."""
        return self.num_bytes / self.num_tokens


def token_rate(
    path: Path, tokenizer: Tokenizer, sample: int | None = None, seed: int = 0, on_progress: OnProgress | None = None
) -> TokenRate:
    """Count the bytes and tokens of a text, or of ``sample`` documents of it drawn at random.

    A special token ends a document and belongs to it; to a tokenizer without special tokens, lines are documents.
    InputError if a number makes no sense, or the text has no token, or one that has no id.
    """
    if sample is not None and sample < 1:
        raise InputError(f"the number of documents must be at least 1, got {sample}")
    if seed < 0:
        raise InputError(f"the seed must be at least 0, got {seed}")
    read = _Read(_lines(path, on_progress))
    try:
        if sample is None:
            num_tokens = sum(1 for _ in tokenizer.encode_iterable(read))
            rate = TokenRate(read.num_bytes, num_tokens)
        else:
            found = _Read(documents(read, tokenizer.special))
            drawn = reservoir(found, sample, Random(seed))
            num_tokens = sum(len(tokenizer.encode(document)) for document in drawn)
            rate = TokenRate(sum(map(_size, drawn)), num_tokens, len(drawn), found.count)
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from error
    if not num_tokens:
        raise InputError(f"{path}: there is no token in it")
    return rate


def _lines(path: Path, on_progress: OnProgress | None) -> Iterator[str]:
    """Yield the lines of a text, as text_lines() does, and tell how much of it is read."""
    size, read = path.stat().st_size or 1, 0
    for line in text_lines(path):
        yield line
        read += _size(line)
        if on_progress is not None:
            on_progress(min(read / size, 1.0), f"{read:,} bytes")


def documents(texts: Iterable[str], special: Iterable[str]) -> Iterator[str]:
    r"""Yield the documents of a text that comes in parts; each ends with a special token.

    Without special tokens, the parts are the documents. InputError if one is longer than a line may be.

    Example:
        >>> list(documents(["a<en", "d>b\n", "c"], ["<end>"]))
        ['a<end>', 'b\nc']
    """
    splitter = TextSplitter(special, lambda text, start, end: end)
    if not splitter.special_tokens:
        yield from texts
        return
    held: list[str] = []
    size = 0
    for block in splitter.blocks(texts):
        for index, part in enumerate(splitter.split(block)):
            held.append(part)
            size += len(part)
            if size > MAX_LINE_BYTES:
                raise InputError(f"a document is longer than {MAX_LINE_BYTES >> 20} million characters")
            if index % 2:
                yield "".join(held)
                held, size = [], 0
    if rest := "".join(held):
        yield rest


class _Read:
    """Texts that are counted as they are read."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts
        self.num_bytes = self.count = 0

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.num_bytes += _size(text)
            self.count += 1
            yield text


def _size(text: str) -> int:
    return len(text.encode("utf-8"))
