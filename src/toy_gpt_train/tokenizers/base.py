"""base.py - The interface that every tokenizer has: text to token ids, and back.

It does not know models, or how often a token occurs.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar, Final, NamedTuple, Self

from toy_gpt_train.errors import InputError

DEFAULT_VOCAB_SIZE: Final = 512
_MAX_NAMED: Final = 5  # unknown tokens in one message


class MergeStep(NamedTuple):
    """One step of encoding a word with BPE: the merge, its rank, and the tokens after it."""

    rank: int
    merge: tuple[bytes, bytes]
    tokens: list[bytes]


class Tokenizer(ABC):
    """Cuts text into tokens and numbers them: ids are 0 to V-1.

    Args:
        tokens: The tokens by id, as files show them; no two are equal.
        token_bytes: The UTF-8 bytes that each token stands for.

    Attributes:
        kind: The name on the command line and in metadata.
        exact: Whether decode(encode(text)) is the text.
        learned: Whether it is learned from a text, as a model is; then a held-out part must not be seen.
        separator: What decode puts between two tokens.
        tokens: As given.

    Raises:
        InputError: Two tokens are equal.
    """

    kind: ClassVar[str]
    exact: ClassVar[bool]
    learned: ClassVar[bool] = False
    separator: ClassVar[str] = ""

    def __init__(self, tokens: Sequence[str], token_bytes: Sequence[bytes]) -> None:
        self.tokens = tokens
        self._bytes = token_bytes
        self._ids = {token: token_id for token_id, token in enumerate(tokens)}
        if len(self._ids) < len(tokens):
            twice = next(token for token_id, token in enumerate(tokens) if self._ids[token] != token_id)
            raise InputError(f"the token {twice!r:.60} has two ids")

    @classmethod
    @abstractmethod
    def from_text(cls, text: str, vocab_size: int = DEFAULT_VOCAB_SIZE) -> Self:
        """Return a tokenizer that knows the tokens of a text; ``vocab_size`` is where BPE stops merging.

        Raises:
            InputError: BPE cannot have so many tokens.
        """

    @classmethod
    @abstractmethod
    def from_vocabulary(cls, tokens: Sequence[str], folder: Path) -> Self:
        """Return the tokenizer of a saved run.

        Args:
            tokens: The run's vocabulary by id.
            folder: Where the run's files are; BPE reads its own from there.

        Raises:
            InputError: A file is damaged, or numbers other tokens than the vocabulary.
            OSError: A file cannot be read.
        """

    @classmethod
    def cut(cls, text: str, share: float) -> int:
        """Return the character at which the first ``share`` of a text ends, from 0 to 1; never inside a token."""
        # WHY round first: 20 * (1 - 0.8) is a hair below 4 in floating point.
        return int(round(len(text) * share, 6))

    @property
    def vocab_size(self) -> int:
        """V, the number of tokens."""
        return len(self.tokens)

    @abstractmethod
    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text, in order."""

    @abstractmethod
    def encode(self, text: str, unknown: int | None = None) -> list[int]:
        """Return the ids of a text's tokens.

        Args:
            text: Any text.
            unknown: The id for tokens that have none; such tokens are refused where it is None.

        Raises:
            InputError: A token has no id; the message names it and known tokens like it.
        """

    @abstractmethod
    def encode_iterable(self, lines: Iterable[str]) -> Iterator[int]:
        """Yield the ids of a text that comes in parts, cut anywhere; memory holds one part at a time."""

    def token_ids(self, tokens: Iterable[str]) -> list[int]:
        """Return the ids of tokens.

        Raises:
            InputError: Some tokens have no id; the message names them and known tokens like them.
        """
        tokens = list(tokens)
        try:
            return [self._ids[token] for token in tokens]
        except KeyError:
            unknown = list(dict.fromkeys(token for token in tokens if token not in self._ids))
        messages = [self._unknown_token(token) for token in unknown[:_MAX_NAMED]]
        raise InputError("; ".join([*messages, *_more(unknown)]))

    def _unknown_token(self, token: str) -> str:
        near = get_close_matches(token, self.tokens, n=3, cutoff=0.5)
        near += [known for known in self.tokens if known.lower() == token.lower() and known not in near]
        hint = f"did you mean {' or '.join(near)}?" if near else "no known token is like it"
        return f"unknown token {token[:40]!r}: {hint}"

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of token ids; bytes that are not UTF-8 become U+FFFD.

        Raises:
            InputError: An id stands for no token.
        """
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Return the bytes of token ids; with BPE they may end inside a character.

        Raises:
            InputError: An id stands for no token.
        """
        return self.separator.encode().join([self._bytes[token_id] for token_id in self._known(ids)])

    def shown(self, ids: Iterable[int]) -> list[str]:
        """Return each token's text, with an escape for what does not print.

        Raises:
            InputError: An id stands for no token.
        """
        return [_printable(self._bytes[token_id]) for token_id in self._known(ids)]

    def _known(self, ids: Iterable[int]) -> list[int]:
        ids = list(ids)
        unknown = [token_id for token_id in dict.fromkeys(ids) if not 0 <= token_id < self.vocab_size]
        if unknown:
            named = ", ".join([*map(str, unknown[:_MAX_NAMED]), *_more(unknown)])
            raise InputError(f"unknown token ids {named}; ids are 0 to {self.vocab_size - 1}")
        return ids

    @abstractmethod
    def sizes(self, text: str) -> list[int]:
        """Return how many UTF-8 bytes of the text each token stands for.

        The sum is the size of the text. A word also stands for the white space after it, the first word for the
        white space before it too; a text without a word has no sizes.
        """

    def merge_steps(self, word: str) -> list[MergeStep]:
        """Return every merge that encodes one word, in order.

        Raises:
            InputError: The tokenizer has no merges, or the text is not one word.
        """
        raise InputError("only byte-level BPE has merges: choose --tokenizer bpe")

    def files(self) -> dict[str, str]:
        """Return the text of the files that a run keeps beside its vocabulary, by name."""
        return {}

    @abstractmethod
    def save(self, folder: Path) -> list[Path]:
        """Write the tokenizer to a folder, for load_tokenizer (saved.py); returns the paths.

        Raises:
            OSError: A file cannot be written.
        """


def _more(unknown: Sequence[object]) -> list[str]:
    return [f"and {len(unknown) - _MAX_NAMED} more"] if len(unknown) > _MAX_NAMED else []


def _printable(token: bytes) -> str:
    try:
        text = token.decode("utf-8")
    except UnicodeDecodeError:  # a BPE token can be part of a character
        return "".join(f"\\x{byte:02x}" for byte in token)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
