"""listed.py - What word and character tokenizers share: the vocabulary is a list, and other tokens have no id."""

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from toy_gpt_train.corpus import text_blocks
from toy_gpt_train.errors import InputError
from toy_gpt_train.progress import OnProgress
from toy_gpt_train.staging import write_texts
from toy_gpt_train.tokenizers.base import DEFAULT_VOCAB_SIZE, Tokenizer
from toy_gpt_train.tokenizers.special import TextSplitter

_BLOCK_BYTES: Final = 1 << 20
FILE_NAME: Final = "toy_tokenizer.json"


class ListedTokenizer(Tokenizer):
    """A tokenizer whose vocabulary is a list. Without ``tokens``, it still cuts text (tokenize)."""

    def __init__(self, tokens: Iterable[str] = (), special: Iterable[str] = ()) -> None:
        listed = list(tokens)
        try:
            encoded = [token.encode("utf-8") for token in listed]
        except UnicodeEncodeError as error:
            raise InputError(f"the token {error.object!r:.60} holds a lone surrogate, half of a character") from None
        super().__init__(listed, encoded)
        self._splitter = TextSplitter(special, self._last_cut)
        self.special = self._splitter.special_tokens

    @classmethod
    def from_text(cls, text: str, vocab_size: int = DEFAULT_VOCAB_SIZE, special: Sequence[str] = ()) -> Self:
        """Return a tokenizer with an id for every token of a text, in sorted order; ``vocab_size`` is ignored."""
        return cls.from_lines([text], special)

    @classmethod
    def from_file(
        cls, path: Path, vocab_size: int, special: Sequence[str], workers: int, on_progress: OnProgress
    ) -> Self:
        """Return the tokenizer of a file; ``vocab_size`` and ``workers`` are ignored."""
        return cls.from_lines(text_blocks(path, _BLOCK_BYTES, on_progress), special)

    @classmethod
    def from_lines(cls, lines: Iterable[str], special: Sequence[str] = ()) -> Self:
        """Return the tokenizer of a text that comes in lines; memory holds only its different tokens."""
        cutter = cls((), special)
        tokens = set(special)
        for block in cutter._splitter.blocks(lines):
            tokens.update(cutter.tokenize(block))
        return cls(sorted(tokens), special)

    @classmethod
    def from_vocabulary(cls, tokens: Sequence[str], folder: Path, special: Sequence[str] = ()) -> Self:
        """Return the tokenizer with these tokens by id; the folder is not read."""
        tokenizer = cls(tokens, special)
        for text in special:
            if text not in tokenizer._ids:
                raise InputError(f"special token {text!r:.60} is not in the vocabulary")
        return tokenizer

    @staticmethod
    @abstractmethod
    def _last_cut(text: str, start: int, end: int) -> int:
        """Return the last position from ``start`` to ``end`` where tokens are separate, whatever follows ``end``."""

    @staticmethod
    @abstractmethod
    def _cut_ordinary(text: str) -> list[str]:
        """Return the tokens of a text without special tokens."""

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text, in order."""
        tokens: list[str] = []
        for index, part in enumerate(self._splitter.split(text)):
            tokens += [part] if index % 2 else self._cut_ordinary(part)
        return tokens

    def encode(self, text: str, unknown: int | None = None) -> list[int]:
        """Return the ids of a text's tokens; see Tokenizer.encode."""
        tokens = self.tokenize(text)
        return self.token_ids(tokens) if unknown is None else [self._ids.get(token, unknown) for token in tokens]

    def encode_iterable(self, lines: Iterable[str]) -> Iterator[int]:
        """Yield the ids of a text that comes in parts, cut anywhere; InputError if a token has no id."""
        for block in self._splitter.blocks(lines):
            yield from self.encode(block)

    def save(self, folder: Path) -> list[Path]:
        """Write toy_tokenizer.json."""
        content = json.dumps({**self.description(), "tokens": self.tokens}, ensure_ascii=False, indent=0)
        return write_texts(folder, {FILE_NAME: f"{content}\n"})
