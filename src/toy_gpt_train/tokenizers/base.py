"""base.py - The interface that every tokenizer has: text to token ids, and back.

It does not know models, or how often a token occurs.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple, Self

from toy_gpt_train.errors import InputError
from toy_gpt_train.progress import OnProgress
from toy_gpt_train.tokenizers.special import outside_special

DEFAULT_VOCAB_SIZE: Final = 512
_MAX_NAMED: Final = 5  # unknown tokens in one message


class MergeStep(NamedTuple):
    """One step of encoding a word with BPE: the merge, its rank, and the tokens after it."""

    rank: int
    merge: tuple[bytes, bytes]
    tokens: list[bytes]


class Tokenizer(ABC):
    """Cuts text into tokens and numbers them: ids are 0 to V-1.

    ``tokens`` are by id, as files show them (InputError if two are equal); each stands for its ``token_bytes`` in
    UTF-8.
    """

    kind: ClassVar[str]  # the name on the command line and in metadata
    exact: ClassVar[bool]  # whether decode(encode(text)) is the text
    learned: ClassVar[bool] = False  # whether it is learned from a text; then a held-out part must not be seen
    separator: ClassVar[str] = ""  # what decode puts between two tokens
    special: Sequence[str] = ()  # texts that are one token wherever they stand (special.py)

    def __init__(self, tokens: Sequence[str], token_bytes: Sequence[bytes]) -> None:
        self.tokens = tokens
        self._bytes = token_bytes
        self._ids = {token: token_id for token_id, token in enumerate(tokens)}
        if len(self._ids) < len(tokens):
            twice = next(token for token_id, token in enumerate(tokens) if self._ids[token] != token_id)
            raise InputError(f"the token {twice!r:.60} has two ids")

    @classmethod
    @abstractmethod
    def from_text(cls, text: str, vocab_size: int = DEFAULT_VOCAB_SIZE, special: Sequence[str] = ()) -> Self:
        """Return a tokenizer of a text's tokens; BPE stops merging at ``vocab_size``, InputError if it is too small.

        ``special`` texts are one token wherever they stand, and always in the vocabulary.
        """

    @classmethod
    @abstractmethod
    def from_file(
        cls, path: Path, vocab_size: int, special: Sequence[str], workers: int, on_progress: OnProgress
    ) -> Self:
        """Return what from_text() does, of a text file of any size: it is read in blocks.

        BPE counts words in ``workers`` processes. InputError if the file is not UTF-8.
        """

    @classmethod
    @abstractmethod
    def from_vocabulary(cls, tokens: Sequence[str], folder: Path, special: Sequence[str] = ()) -> Self:
        """Return the tokenizer of a saved run from its vocabulary by id; BPE reads its own files from the run's folder.

        InputError if a file is damaged, or numbers other tokens than the vocabulary, or a special token is not in it.
        """

    @classmethod
    def cut(cls, text: str, share: float, special: Sequence[str] = ()) -> int:
        """Return the character at which the first ``share`` of a text ends, from 0 to 1; never inside a token."""
        # WHY round first: 20 * (1 - 0.8) is a hair below 4 in floating point.
        return outside_special(text, int(round(len(text) * share, 6)), special)

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

        A token without an id gets ``unknown``; where that is None, InputError names it and known tokens like it.
        """

    @abstractmethod
    def encode_iterable(self, lines: Iterable[str]) -> Iterator[int]:
        """Yield the ids of a text that comes in parts, cut anywhere; memory holds one part at a time."""

    def token_ids(self, tokens: Iterable[str]) -> list[int]:
        """Return the ids of tokens; InputError names those that have none, and known tokens like them."""
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
        """Return the text of ids; bytes that are not UTF-8 become U+FFFD. InputError if an id stands for no token."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Iterable[int], *, begins: bool = True) -> bytes:
        """Return the bytes of ids, with which a text ``begins``, or which come after other tokens.

        With BPE they may end inside a character. InputError if an id stands for no token.
        """
        parts = [self._bytes[token_id] for token_id in self._known(ids)]
        return self.separator.encode().join(parts if begins else [b"", *parts])

    def shown(self, ids: Iterable[int]) -> list[str]:
        """Return each token's text, with an escape for what does not print; InputError if an id stands for no token."""
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
        """Return how many UTF-8 bytes of the text each token stands for; their sum is the size of the text.

        A word also stands for the white space after it, the first word for the white space before it too; a text
        without a word has no sizes.
        """

    def merge_steps(self, word: str) -> list[MergeStep]:
        """Return every merge that encodes one word; InputError if there are no merges, or the text is not one word."""
        raise InputError("only the merges of byte-level BPE are shown: choose --tokenizer bpe")

    def description(self) -> dict[str, Any]:
        """Return what the metadata say of it; from_vocabulary() and the run's files give the rest."""
        return {"kind": self.kind, "special": list(self.special)} if self.special else {"kind": self.kind}

    def files(self) -> dict[str, str]:
        """Return the text of the files that a run keeps beside its vocabulary, by name."""
        return {}

    @abstractmethod
    def save(self, folder: Path) -> list[Path]:
        """Write the tokenizer to a folder, for load_tokenizer (saved.py); return the paths."""


def _more(unknown: Sequence[object]) -> list[str]:
    return [f"and {len(unknown) - _MAX_NAMED} more"] if len(unknown) > _MAX_NAMED else []


def _printable(token: bytes) -> str:
    try:
        text = token.decode("utf-8")
    except UnicodeDecodeError:  # a BPE token can be part of a character
        return "".join(f"\\x{byte:02x}" for byte in token)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
