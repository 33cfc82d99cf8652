"""listed.py - What word and character tokenizers share: the vocabulary is a list, and other tokens have no id."""

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from toy_gpt_train.errors import InputError
from toy_gpt_train.staging import write_texts
from toy_gpt_train.tokenizers.base import DEFAULT_VOCAB_SIZE, Tokenizer

FILE_NAME: Final = "toy_tokenizer.json"


class ListedTokenizer(Tokenizer):
    """A tokenizer whose vocabulary is a list. Without ``tokens``, it still cuts text (tokenize)."""

    def __init__(self, tokens: Iterable[str] = ()) -> None:
        listed = list(tokens)
        try:
            encoded = [token.encode("utf-8") for token in listed]
        except UnicodeEncodeError as error:
            raise InputError(f"the token {error.object!r:.60} holds a lone surrogate, half of a character") from None
        super().__init__(listed, encoded)

    @classmethod
    def from_text(cls, text: str, vocab_size: int = DEFAULT_VOCAB_SIZE, special: Sequence[str] = ()) -> Self:
        """Return a tokenizer with an id for every token of a text, in sorted order; ``vocab_size`` is ignored."""
        return cls.from_lines([text])

    @classmethod
    def from_lines(cls, lines: Iterable[str]) -> Self:
        """Return the tokenizer of a text that comes in lines; memory holds only its different tokens."""
        cutter = cls()
        tokens: set[str] = set()
        for line in lines:
            tokens.update(cutter.tokenize(line))
        return cls(sorted(tokens))

    @classmethod
    def from_vocabulary(cls, tokens: Sequence[str], folder: Path) -> Self:
        """Return the tokenizer with these tokens by id; the folder is not read."""
        return cls(tokens)

    @abstractmethod
    def _complete(self, text: str) -> int:
        """Return how many characters at the start are whole tokens, whatever text follows."""

    def encode(self, text: str, unknown: int | None = None) -> list[int]:
        """Return the ids of a text's tokens; see Tokenizer.encode."""
        tokens = self.tokenize(text)
        return self.token_ids(tokens) if unknown is None else [self._ids.get(token, unknown) for token in tokens]

    def encode_iterable(self, lines: Iterable[str]) -> Iterator[int]:
        """Yield the ids of a text that comes in parts, cut anywhere; InputError if a token has no id."""
        held = ""
        for line in lines:
            held += line
            complete = self._complete(held)
            yield from self.encode(held[:complete])
            held = held[complete:]
        yield from self.encode(held)

    def save(self, folder: Path) -> list[Path]:
        """Write toy_tokenizer.json."""
        content = json.dumps({"kind": self.kind, "tokens": self.tokens}, ensure_ascii=False, indent=0)
        return write_texts(folder, {FILE_NAME: f"{content}\n"})
