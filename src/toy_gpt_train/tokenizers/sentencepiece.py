r"""sentencepiece.py - BPE over characters, as Llama 2 and tinyllamas have it. It is imported, not trained here.

The learner's question: how is a text cut if nothing cuts it into words first? A space is written as one more character,
``▁``, and so is the beginning of a text. Then characters are merged, step by step, wherever the merges lead: a token
may begin with a space. A character without a token becomes its bytes in UTF-8, each of which has one.

    "Hi you😀"  ->  "▁Hi▁you😀"  ->  "▁Hi", "▁you", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>"

Concepts:
    prefix: where a ``▁`` is put before a text: one of PREFIXES (sentencepiece_json.py).
    byte token: ``<0x00>`` to ``<0xFF>``.
    joint: two neighbor characters that some merge joins. Between any others the text may be cut: no merge gets there.

OBS: what is decoded may have other spaces than the text: ``▁`` itself becomes one, and a space at the beginning may be
missing.

Source: Kudo and Richardson (2018), "SentencePiece: a simple and language independent subword tokenizer and detokenizer
for neural text processing".
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Final, NoReturn, Self

from toy_gpt_train.errors import InputError
from toy_gpt_train.progress import OnProgress
from toy_gpt_train.staging import write_texts
from toy_gpt_train.tokenizers import sentencepiece_json
from toy_gpt_train.tokenizers.base import DEFAULT_VOCAB_SIZE, Tokenizer
from toy_gpt_train.tokenizers.bpe_merge import WordCache, merged, utf8
from toy_gpt_train.tokenizers.sentencepiece_json import SPACE, Merge
from toy_gpt_train.tokenizers.special import TextSplitter
from toy_gpt_train.tokenizers.tokenizer_json import TOKENIZER_NAME, read_description

_BYTE: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_BYTE_TOKENS: Final = tuple(f"<0x{byte:02X}>" for byte in range(256))
_PART: Final = 1 << 16  # characters of a long text that are encoded at a time, to bound memory


class SentencePieceTokenizer(Tokenizer):
    """Encodes text with the merges of a vocabulary; InputError if it lacks a byte token or ``▁``, or they do not fit.

    Args:
        tokens: The vocabulary by id; a space is written as ``▁``.
        merges: Pairs of tokens, the most important first.
        special: Those tokens that are never split.
        prefix: One of PREFIXES.
        strips: Whether decoding leaves out a space at the beginning.

    Example:
        >>> letters = [*(f"<0x{byte:02X}>" for byte in range(256)), "▁", "H", "i", "Hi", "▁Hi"]
        >>> tokenizer = SentencePieceTokenizer(letters, [("H", "i"), ("▁", "Hi")])
        >>> tokenizer.tokenize("Hi Hi!")
        ['▁Hi', '▁Hi', '<0x21>']
        >>> tokenizer.decode(tokenizer.encode("Hi Hi!"))
        'Hi Hi!'
    """

    kind = "sentencepiece"
    exact = False
    learned = True

    def __init__(
        self,
        tokens: Sequence[str],
        merges: Iterable[Merge],
        special: Iterable[str] = (),
        *,
        prefix: str = "every",
        strips: bool = True,
    ) -> None:
        super().__init__(tokens, list(map(_bytes_of, tokens)))
        self.prefix, self.strips, self.merges = prefix, strips, list(merges)
        self._splitter = TextSplitter(special, self._last_cut)
        self.special = self._splitter.special_tokens
        for token in (*_BYTE_TOKENS, SPACE, *self.special):
            if token not in self._ids:
                raise InputError(f"{token!r:.60} is not in the vocabulary")
        self.byte_ids = [self._ids[token] for token in _BYTE_TOKENS]
        self._ranks: dict[tuple[int, int], int] = {}  # of a pair of ids
        self._merged_ids: list[int] = []  # by rank
        whole = self._ids.keys() - {*_BYTE_TOKENS}
        for rank, (left, right) in enumerate(self.merges):
            for token in (left, right, left + right):
                if token not in whole:
                    raise InputError(f"merge {rank}: {token!r:.60} is not in the vocabulary, or stands for a byte")
            if self._ranks.setdefault((self._ids[left], self._ids[right]), rank) != rank:
                raise InputError(f"merge {rank}: {left!r:.60} and {right!r:.60} are merged twice")
            self._merged_ids.append(self._ids[left + right])
        self._joints = {(left[-1], right[0]) for left, right in self.merges}
        self._cache = WordCache(self._encode_word)

    @classmethod
    def from_text(cls, text: str, vocab_size: int = DEFAULT_VOCAB_SIZE, special: Sequence[str] = ()) -> Self:
        """Refuse: no such tokenizer is trained here."""
        _refuse()

    @classmethod
    def from_file(
        cls, path: Path, vocab_size: int, special: Sequence[str], workers: int, on_progress: OnProgress
    ) -> Self:
        """Refuse: no such tokenizer is trained here."""
        _refuse()

    @classmethod
    def from_description(cls, description: Mapping[str, Any], path: Path) -> Self:
        """Return the tokenizer of the content of a tokenizer.json; InputError if it is damaged, or another kind."""
        parsed = sentencepiece_json.parse(description, path)
        try:
            return cls(parsed.tokens, parsed.merges, parsed.special, prefix=parsed.prefix, strips=parsed.strips)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    @classmethod
    def from_vocabulary(cls, tokens: Sequence[str], folder: Path, special: Sequence[str] = ()) -> Self:
        """Return the tokenizer in a run's folder; see Tokenizer.from_vocabulary."""
        path = folder / TOKENIZER_NAME
        tokenizer = cls.from_description(read_description(path), path)
        if list(tokens) != tokenizer.tokens:
            raise InputError(f"{folder}: 01_vocabulary.csv and {TOKENIZER_NAME} do not number the same tokens")
        if sorted(special) != sorted(tokenizer.special):
            raise InputError(f"{folder}: 00_meta.json and {TOKENIZER_NAME} do not have the same special tokens")
        return tokenizer

    def files(self) -> dict[str, str]:
        """Return tokenizer.json, for Hugging Face's library."""
        parts = self.tokens, self.merges, self.special, self.prefix, self.strips
        return {TOKENIZER_NAME: sentencepiece_json.text_of(sentencepiece_json.Parsed(*parts))}

    def save(self, folder: Path) -> list[Path]:
        """Write files() to a folder."""
        return write_texts(folder, self.files())

    # --- encoding ------------------------------------------------------------------------------------------

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        return [self.tokens[token_id] for token_id in self.encode(text)]

    def encode(self, text: str, unknown: int | None = None) -> list[int]:
        """Return the token ids of a text; nothing is unknown. InputError if it holds a lone surrogate."""
        return list(self.encode_iterable([text]))

    def encode_iterable(self, lines: Iterable[str]) -> Iterator[int]:
        """Yield each id as soon as no further text can change it; errors as in encode()."""
        parts = (line[start : start + _PART] for line in lines for start in range(0, len(line), _PART))
        for part, written in self._written(parts):
            if written is None:
                yield self._ids[part]
            else:
                yield from chain.from_iterable(map(self._cache.__getitem__, self._pieces(written)))

    def _written(self, lines: Iterable[str]) -> Iterator[tuple[str, str | None]]:
        """Yield a text in parts, each with what is merged: its characters and the prefix; None for a special token."""
        is_first = begins = True  # of the text; of a part between special tokens
        for block in self._splitter.blocks(lines):
            for index, part in enumerate(self._splitter.split(block)):
                if index % 2:
                    yield part, None
                    is_first, begins = False, True
                elif part:
                    written = part.replace(" ", SPACE)
                    yield part, SPACE + written if begins and self._needs_prefix(written, is_first) else written
                    is_first = begins = False

    def _needs_prefix(self, written: str, is_first: bool) -> bool:
        if self.prefix == "every":
            return True
        return not written.startswith(SPACE) and (self.prefix == "always" or (self.prefix == "first" and is_first))

    def _pieces(self, written: str) -> list[str]:
        """Cut what is merged where no merge gets; a piece is a word in most texts, but may be all of it."""
        cuts = [at for at, pair in enumerate(pairwise(written), start=1) if pair not in self._joints]
        return [written[start:end] for start, end in pairwise([0, *cuts, len(written)])]

    def _last_cut(self, text: str, start: int, end: int) -> int:
        """Return the last position from ``start`` to ``end`` where text is cut whatever follows ``end``."""
        written = text[start:end].replace(" ", SPACE)
        places = range(len(written) - 1, 0, -1)
        return start + next((at for at in places if (written[at - 1], written[at]) not in self._joints), 0)

    def _encode_word(self, written: str) -> list[int]:
        return self.merge(self.first_ids(written))

    def first_ids(self, written: str) -> list[int]:
        """Return the ids that a piece begins as: those of its characters, or of their bytes."""
        first: list[int] = []
        for char in written:
            if (token_id := self._ids.get(char)) is not None:
                first.append(token_id)
            else:
                first += [self.byte_ids[byte] for byte in utf8(char)]
        return first

    def merge(self, first: Sequence[int]) -> list[int]:
        """Return what the merges make of the ids that a piece begins as."""
        return merged(first, self._ranks, self._merged_ids)

    # --- and back ------------------------------------------------------------------------------------------

    def decode_bytes(self, ids: Iterable[int], *, begins: bool = True) -> bytes:
        """Return the bytes of ids; see Tokenizer.decode_bytes."""
        data = super().decode_bytes(ids)
        return data.removeprefix(b" ") if begins and self.strips else data

    def sizes(self, text: str) -> list[int]:
        """Return the number of bytes of each token; the prefix has none."""
        sizes: list[int] = []
        byte_ids = {*self.byte_ids}
        for part, written in self._written([text]):
            if written is None:
                sizes.append(len(utf8(part)))
                continue
            widths = [*[0] * (len(written) - len(part)), *(len(utf8(char)) for char in part)]
            place = waiting = 0  # the next character, and how many of its bytes have had a token
            for token_id in chain.from_iterable(map(self._cache.__getitem__, self._pieces(written))):
                if token_id in byte_ids:
                    sizes.append(1)
                    waiting = (waiting + 1) % widths[place]
                    place += not waiting
                else:
                    end = place + len(self.tokens[token_id])
                    sizes.append(sum(widths[place:end]))
                    place = end
        return sizes


def _bytes_of(token: str) -> bytes:
    if not token:
        raise InputError("a token is empty")
    found = _BYTE.fullmatch(token)
    return bytes([int(found[1], 16)]) if found else utf8(token.replace(SPACE, " "))


def _refuse() -> NoReturn:
    raise InputError("tokenizers in the style of sentencepiece are imported, not trained: choose --tokenizer bpe")
