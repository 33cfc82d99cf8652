"""base.py - The one face of all tokenizers, and what word and character tokenizers share.

It knows how text becomes tokens and ids; it does not know models, or how frequent a token is.
"""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Final, Protocol, Self

from toy_gpt_train.errors import InputError

TOKENIZER_NAME: Final = "toy_tokenizer.json"


class Tokenizer(Protocol):
    """Text to tokens to ids, and back.

    Cutting text (tokenize, join) works in tokens as text; coding (encode, decode) in ids of the tokenizer's own
    vocabulary.
    """

    @property
    def kind(self) -> str:
        """Its name on the command line and in metadata: word, char or bpe."""

    @property
    def vocab_size(self) -> int:
        """How many tokens it has ids for."""

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text, in order."""

    def join(self, tokens: Sequence[str]) -> str:
        """Return the text of tokens."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text's tokens."""

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of token ids."""

    def encode_iterable(self, lines: Iterable[str]) -> Iterator[int]:
        """Yield the ids of a text that comes in pieces, in constant memory."""

    def save(self, folder: Path) -> object:
        """Write the tokenizer to a folder."""


class ListedTokenizer(ABC):
    """A tokenizer whose vocabulary is a list of tokens, numbered in sorted order.

    Args:
        tokens: The tokens that have an id; without any, it still cuts text (tokenize, join).

    Attributes:
        kind: Its name.
    """

    kind: ClassVar[str]

    def __init__(self, tokens: Iterable[str] = ()) -> None:
        self._tokens = sorted(set(tokens))
        self._ids = {token: token_id for token_id, token in enumerate(self._tokens)}

    @abstractmethod
    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text, in order."""

    @abstractmethod
    def join(self, tokens: Sequence[str]) -> str:
        """Return the text of tokens."""

    @abstractmethod
    def _complete_part(self, text: str) -> int:
        """Return how many characters at the beginning are whole tokens, whatever text follows."""

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return a tokenizer that has an id for every token of a text."""
        return cls(cls().tokenize(text))

    @property
    def vocab_size(self) -> int:
        """How many tokens have an id."""
        return len(self._tokens)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text's tokens.

        Raises:
            InputError: A token has no id; it is named.
        """
        try:
            return [self._ids[token] for token in self.tokenize(text)]
        except KeyError as unknown:
            raise InputError(f"unknown token {str(unknown.args[0])[:40]!r}") from None

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of token ids.

        Raises:
            InputError: An id stands for no token; it is named.
        """
        wanted = list(ids)
        unknown = [token_id for token_id in wanted if not 0 <= token_id < len(self._tokens)]
        if unknown:
            raise InputError(
                f"unknown token ids {', '.join(map(str, unknown[:5]))}; ids are 0 to {self.vocab_size - 1}"
            )
        return self.join([self._tokens[token_id] for token_id in wanted])

    def encode_iterable(self, lines: Iterable[str]) -> Iterator[int]:
        """Yield the ids of a text that comes in pieces; the pieces may be cut anywhere.

        Raises:
            InputError: A token has no id; it is named.
        """
        held = ""
        for piece in lines:
            held += piece
            complete = self._complete_part(held)
            yield from self.encode(held[:complete])
            held = held[complete:]
        yield from self.encode(held)

    def save(self, folder: Path) -> None:
        """Write the tokenizer to ``folder``/toy_tokenizer.json; the file appears only when it is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / TOKENIZER_NAME
        temporary = folder / f".{TOKENIZER_NAME}.{os.getpid()}.tmp"
        try:
            described = json.dumps({"kind": self.kind, "tokens": self._tokens}, ensure_ascii=False, indent=0)
            temporary.write_bytes(described.encode("utf-8") + b"\n")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what save wrote.

        Raises:
            InputError: The file is damaged, or of another kind of tokenizer.
            OSError: It cannot be read.
        """
        path = folder / TOKENIZER_NAME
        try:
            described = json.loads(path.read_bytes().decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: not JSON: {error}") from error
        if not isinstance(described, dict) or described.get("kind") != cls.kind:
            raise InputError(f"{path}: not a {cls.kind} tokenizer")
        tokens = described.get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise InputError(f"{path}: its tokens are not a list of texts")
        if tokens != sorted(set(tokens)):
            raise InputError(f"{path}: its tokens are not in sorted order, or one is there twice")
        return cls(tokens)
