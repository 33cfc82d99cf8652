r"""bpe.py - Byte-level BPE: text becomes token ids, and ids become text again, without any loss.

The learner's question: how does GPT read a word it has never seen? As bytes, which it always knows, and then it
merges them, step by step, as far as its merges go.

Concepts:
    rank: the place of a merge in the order of learning. To encode a word, the merge of lowest rank among its
        neighbours is done first (at its leftmost place), until no neighbours can be merged.
    special token: text that is one token wherever it stands, whatever the merges ("<|endoftext|>").

REQ: decode(encode(text)) == text for every text that UTF-8 can hold.

It does not know how merges are learned (bpe_train.py) or stored (bpe_files.py).

Source:
    Sennrich, Haddow and Birch (2016); Radford et al. (2019) for bytes instead of characters.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import heappop, heappush
from itertools import chain, pairwise
from pathlib import Path
from typing import Final, NamedTuple

from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers.bpe_files import (
    MERGES_NAME,
    TOKENIZER_NAME,
    VOCAB_NAME,
    check_merge,
    check_vocab,
    file_texts,
    read_merges,
    read_special_tokens,
    read_vocab,
    spell,
    unspell,
    write_files,
)
from toy_gpt_train.tokenizers.bpe_train import MAX_VOCAB_SIZE, Merge, Vocab, learn_merges, number_tokens, train_bpe
from toy_gpt_train.tokenizers.pretokenize import TextSplitter, pretokenize

__all__ = ["BPETokenizer", "MergeStep", "train_bpe"]

# WHY two bounds: 32,768 words of at most 32 bytes take some 7 MB in ordinary text, and never more than 16 MB.
CACHED_WORDS: Final = 1 << 15
CACHED_WORD_BYTES: Final = 32
# Long chunks are encoded in parts of this many characters, to keep what is in hand small.
_PART: Final = 1 << 16
_NO_TOKEN: Final = -1


class MergeStep(NamedTuple):
    """One step on the way from bytes to tokens.

    Example:
        MergeStep(0, (b"u", b"g"), [b"h", b"ug"]): merge 0 turned h u g into h ug.
    """

    rank: int
    merge: Merge
    tokens: list[bytes]


class BPETokenizer:
    """Encodes text with trained merges.

    Args:
        vocab: The bytes of each token id; all 256 bytes must be among them.
        merges: Pairs of tokens, in the order of learning.
        special_tokens: Texts that are never split; those the vocabulary lacks are appended with new ids.

    Attributes:
        vocab: The bytes of each token id, appended special tokens included.
        merges: As given.
        special_tokens: The id of each special token.

    Raises:
        InputError: Vocabulary, merges and special tokens do not fit together.

    Example:
        >>> tokenizer = BPETokenizer({byte: bytes([byte]) for byte in range(256)}, [], ["<end>"])
        >>> tokenizer.encode("Hi<end>")
        [72, 105, 256]
        >>> tokenizer.decode([72, 105, 256])
        'Hi<end>'
    """

    kind: Final = "bpe"

    def __init__(
        self, vocab: Mapping[int, bytes], merges: Iterable[Merge], special_tokens: Iterable[str] | None = None
    ) -> None:
        self.vocab: Vocab = dict(vocab)
        self.merges = list(merges)
        self._splitter = TextSplitter(special_tokens or ())
        check_vocab(self.vocab)
        id_of = {token: token_id for token_id, token in self.vocab.items()}
        self.special_tokens: dict[str, int] = {}
        for text in self._splitter.special_tokens:
            token = text.encode()
            if token not in id_of:
                id_of[token] = max(self.vocab) + 1
                self.vocab[id_of[token]] = token
            self.special_tokens[text] = id_of[token]
        self._byte_ids = [id_of[bytes([byte])] for byte in range(256)]
        self._ranks: dict[tuple[int, int], int] = {}
        self._merged_ids: list[int] = []
        earlier: set[Merge] = set()
        for rank, (left, right) in enumerate(self.merges):
            try:
                check_merge((left, right), id_of, earlier)
            except InputError as error:
                raise InputError(f"merge {rank}: {error}") from error
            earlier.add((left, right))
            self._ranks[id_of[left], id_of[right]] = rank
            self._merged_ids.append(id_of[left + right])
        self._cache = _WordCache(self._encode_word)

    @classmethod
    def from_text(cls, text: str, vocab_size: int) -> "BPETokenizer":
        """Train on a text in memory; train_bpe does the same for a file of any size.

        Args:
            text: What to learn the merges from.
            vocab_size: How many tokens to stop at, the 256 bytes included.

        Raises:
            InputError: ``vocab_size`` is below 256, or the text holds a lone surrogate.

        Example:
            >>> BPETokenizer.from_text("hug pug hug", 258).merges
            [(b'u', b'g'), (b'h', b'ug')]
        """
        if not 256 <= vocab_size <= MAX_VOCAB_SIZE:
            raise InputError(f"the vocabulary size must be from 256 (the bytes) to {MAX_VOCAB_SIZE}, got {vocab_size}")
        _utf8(text)
        merges = learn_merges(Counter(pretokenize(text)), vocab_size - 256)
        return cls(number_tokens(merges, (), "special-first"), merges)

    @property
    def vocab_size(self) -> int:
        """How many tokens there are, special tokens included."""
        return len(self.vocab)

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text as GPT-2's printable alphabet spells their bytes.

        Example:
            >>> BPETokenizer.from_text("hug hug", 258).tokenize("a hug")
            ['a', 'Ġ', 'hug']
        """
        spelled = {token_id: spell(token) for token_id, token in self.vocab.items()}
        return [spelled[token_id] for token_id in self.encode_iterable([text])]

    def join(self, tokens: Iterable[str]) -> str:
        """Return the text of spelled tokens; bytes that are no UTF-8 become U+FFFD.

        Example:
            >>> BPETokenizer.from_text("hug hug", 258).join(["a", "Ġ", "hug"])
            'a hug'
        """
        return b"".join(map(unspell, tokens)).decode("utf-8", "replace")

    def file_texts(self) -> dict[str, str]:
        """Return the text of the files that save writes, by file name."""
        return file_texts(self.vocab, self.merges, self.special_tokens)

    @classmethod
    def from_files(
        cls,
        vocab_path: str | os.PathLike[str],
        merges_path: str | os.PathLike[str],
        special_tokens: Iterable[str] | None = None,
    ) -> "BPETokenizer":
        """Read GPT-2's two files.

        Args:
            vocab_path: A vocab.json.
            merges_path: A merges.txt.
            special_tokens: As for the class; the files do not say which tokens are special.

        Returns:
            The tokenizer.

        Raises:
            InputError: A file is damaged; the message names it, and the line of a merge.
            OSError: A file cannot be read.

        Example:
            BPETokenizer.from_files("bpe/vocab.json", "bpe/merges.txt", ["<|endoftext|>"])
        """
        special = tuple(special_tokens or ())
        vocab = read_vocab(Path(vocab_path), special)
        return cls(vocab, read_merges(Path(merges_path), vocab), special)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "BPETokenizer":
        """Read what save wrote; special tokens are those that tokenizer.json names, where it is there.

        Args:
            folder: The folder.

        Returns:
            The tokenizer.

        Raises:
            InputError: A file is damaged, or two disagree.
            OSError: A file cannot be read.

        Example:
            BPETokenizer.load("bpe").encode(text) gives what the saved tokenizer gave.
        """
        described = Path(folder) / TOKENIZER_NAME
        special = read_special_tokens(described) if described.is_file() else {}
        tokenizer = cls.from_files(Path(folder) / VOCAB_NAME, Path(folder) / MERGES_NAME, special)
        if tokenizer.special_tokens != special:
            raise InputError(f"{folder}: {TOKENIZER_NAME} and {VOCAB_NAME} number special tokens apart")
        return tokenizer

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write vocab.json and merges.txt as GPT-2 has them, and tokenizer.json for Hugging Face's library.

        Args:
            folder: Is made where it does not exist.

        Returns:
            The paths written.

        Raises:
            InputError: A special token cannot be told from another token in these files.
            OSError: A file cannot be written.

        Example:
            tokenizer.save("bpe") writes bpe/vocab.json, bpe/merges.txt and bpe/tokenizer.json.
        """
        return write_files(Path(folder), self.vocab, self.merges, self.special_tokens)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text.

        Args:
            text: Any text; it is not changed in any way before.

        Returns:
            The ids, in order.

        Raises:
            InputError: The text holds a lone surrogate, half of a character that UTF-8 cannot hold.

        Example:
            See the class.
        """
        return list(self.encode_iterable([text]))

    def encode_iterable(self, lines: Iterable[str]) -> Iterator[int]:
        """Encode a text that comes in chunks, in constant memory; the ids are those of the chunks joined.

        Args:
            lines: The text, cut anywhere; an open file gives its lines.

        Yields:
            The ids, in order, each as soon as no further text can change it (see TextSplitter.blocks).

        Raises:
            InputError: The text holds a lone surrogate.

        Example:
            with open("story.txt", encoding="utf-8", newline="") as file: ids = list(t.encode_iterable(file))
        """
        parts = (line[start : start + _PART] for line in lines for start in range(0, len(line), _PART))
        for block in self._splitter.blocks(parts):
            for place, text in enumerate(self._splitter.split(block)):
                if place % 2:
                    yield self.special_tokens[text]
                else:
                    # Cost: O(1) for a word in the cache, in C from ``re`` to ``yield from``.
                    yield from chain.from_iterable(map(self._cache.__getitem__, pretokenize(text)))

    def decode(self, ids: Iterable[int], errors: str = "replace") -> str:
        """Return the text of token ids.

        Args:
            ids: Token ids; their bytes are joined before they are read as UTF-8.
            errors: "replace": what is not UTF-8 becomes U+FFFD, as when ids end inside a character. "strict":
                it is refused.

        Returns:
            The text.

        Raises:
            InputError: An id is unknown, or the bytes are not UTF-8 and errors is "strict".

        Example:
            See the class.
        """
        if errors not in ("replace", "strict"):
            raise InputError(f"errors must be 'replace' or 'strict', got {errors!r}")
        ids = list(ids)
        unknown = list(dict.fromkeys(token_id for token_id in ids if token_id not in self.vocab))
        if unknown:
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            raise InputError(f"unknown token ids: {', '.join(map(repr, unknown[:5]))}{more}")
        try:
            return b"".join(self.vocab[token_id] for token_id in ids).decode("utf-8", errors)
        except UnicodeDecodeError as error:
            raise InputError(f"the ids are not UTF-8 text: {error.reason} at byte {error.start}") from error

    def merge_steps(self, word: str) -> list[MergeStep]:
        """Show how a word is encoded: every merge, in order. This is the definition of encoding, in plain steps.

        Args:
            word: One pre-token, for example " lower".

        Returns:
            The steps; before the first, the tokens are the single bytes. The last holds the tokens of the word.

        Raises:
            InputError: The word is not one pre-token, or holds a lone surrogate.

        Example:
            With the merges u+g and h+ug, "hug" has the steps [h, ug] and [hug].
        """
        if pretokenize(word) != [word]:
            raise InputError(f"{word!r:.60} is not one pre-token but {len(pretokenize(word))}")
        ranks = {merge: rank for rank, merge in enumerate(self.merges)}
        tokens = [bytes([byte]) for byte in _utf8(word)]
        steps: list[MergeStep] = []
        # Cost: O(n) a step, O(n^2) in all; _encode_word does the same faster.
        while candidates := [(ranks[pair], place) for place, pair in enumerate(pairwise(tokens)) if pair in ranks]:
            rank, place = min(candidates)
            tokens = [*tokens[:place], tokens[place] + tokens[place + 1], *tokens[place + 2 :]]
            steps.append(MergeStep(rank, self.merges[rank], tokens))
        return steps

    def _encode_word(self, word: bytes) -> tuple[int, ...]:
        """Do what merge_steps shows, fast: a linked list of tokens, and for each rank the places to merge at.

        Cost: O(n log n) for n bytes. A merge removes one token, finds its neighbours in the list at once, and
        makes at most two new places, each of which enters and leaves a heap once.
        """
        ranks = self._ranks
        # WHY one entry more: behind the last token, and before the first (place -1), stands no token.
        ids = [*(self._byte_ids[byte] for byte in word), _NO_TOKEN]
        after = list(range(1, len(ids) + 1))
        before = list(range(-1, len(ids) - 1))
        places_of: defaultdict[int, list[int]] = defaultdict(list)
        for place, pair in enumerate(pairwise(ids)):
            if pair in ranks:
                places_of[ranks[pair]].append(place)
        open_ranks = sorted(places_of)  # a sorted list is a heap, and so are the places of each rank
        while open_ranks:
            rank = open_ranks[0]
            if not places_of[rank]:
                del places_of[heappop(open_ranks)]
                continue
            place = heappop(places_of[rank])
            removed = after[place]
            if ranks.get((ids[place], ids[removed])) != rank:
                continue  # One of the two has been merged since.
            ids[place], ids[removed] = self._merged_ids[rank], _NO_TOKEN
            following = after[place] = after[removed]
            before[following] = place
            for left, right in ((before[place], place), (place, following)):
                new_rank = ranks.get((ids[left], ids[right]))
                if new_rank is not None:
                    if new_rank not in places_of:
                        heappush(open_ranks, new_rank)
                    heappush(places_of[new_rank], left)
        return tuple(token_id for token_id in ids if token_id != _NO_TOKEN)


class _WordCache(dict[str, tuple[int, ...]]):
    """The ids of words met before; a full cache starts again from nothing."""

    def __init__(self, encode_word: Callable[[bytes], tuple[int, ...]]) -> None:
        super().__init__()
        self._encode_word = encode_word

    def __missing__(self, word: str) -> tuple[int, ...]:
        data = _utf8(word)
        ids = self._encode_word(data)
        if len(data) <= CACHED_WORD_BYTES:
            if len(self) >= CACHED_WORDS:
                self.clear()
            self[word] = ids
        return ids


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        surrogate = ord(text[error.start])
        raise InputError(f"the text holds a lone surrogate (U+{surrogate:04X}), which UTF-8 cannot hold") from error
