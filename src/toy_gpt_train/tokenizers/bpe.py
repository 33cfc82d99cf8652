r"""bpe.py - Byte-level BPE: text becomes token ids, and ids become text again, without any loss.

The learner's question: how does GPT read a word it has never seen? As bytes, which it always knows. Then it merges
them, step by step, as far as its merges go. bpe_naive.py shows the steps; here they are fast.

Concepts:
    rank: a merge's position in the order of learning. To encode a word, the merge of lowest rank among its neighbors
        is done first (at its leftmost position), until no neighbors can be merged.
    special token: text that is one token wherever it stands, whatever the merges (special.py).

REQ: decode(encode(text)) == text for every text that UTF-8 can hold, and every id is a number in vocab.json.

Source: Sennrich, Haddow and Birch (2016); Radford et al. (2019) for bytes instead of characters.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final, Self

from toy_gpt_train.errors import InputError
from toy_gpt_train.progress import OnProgress
from toy_gpt_train.staging import write_texts
from toy_gpt_train.tokenizers import bpe_files, bpe_naive, tokenizer_json
from toy_gpt_train.tokenizers.base import DEFAULT_VOCAB_SIZE, MergeStep, Tokenizer
from toy_gpt_train.tokenizers.bpe_files import MERGES_NAME, VOCAB_NAME, Merge, spell
from toy_gpt_train.tokenizers.bpe_merge import WordCache, merged, utf8
from toy_gpt_train.tokenizers.bpe_train import checked_splitter, count_block, learn_merges, number_tokens, train_bpe
from toy_gpt_train.tokenizers.pretokenize import last_certain_cut, pretokenize
from toy_gpt_train.tokenizers.special import TextSplitter
from toy_gpt_train.tokenizers.tokenizer_json import TOKENIZER_NAME

_PART: Final = 1 << 16  # characters of a long text that are encoded at a time, to bound memory


class BPETokenizer(Tokenizer):
    """Encodes text with trained merges; InputError if vocabulary, merges and special tokens do not fit together.

    Args:
        vocab: The bytes of each id, 0 to V-1; all 256 bytes must be among them.
        merges: Pairs of tokens, in the order of learning.
        special_tokens: Texts that are never split; those that the vocabulary lacks get new ids at its end.
        cut: How text is cut before merging: one of CUTS (pretokenize.py).
        ignore_merges: Whether a pre-token that is a token is taken as it is, whatever the merges.

    Example:
        >>> tokenizer = BPETokenizer({byte: bytes([byte]) for byte in range(256)}, [], ["<end>"])
        >>> tokenizer.encode("Hi<end>")
        [72, 105, 256]
        >>> tokenizer.decode([72, 105, 256])
        'Hi<end>'
    """

    kind = "bpe"
    exact = True
    learned = True

    def __init__(
        self,
        vocab: Mapping[int, bytes],
        merges: Iterable[Merge],
        special_tokens: Iterable[str] = (),
        *,
        cut: str = "gpt2",
        ignore_merges: bool = False,
    ) -> None:
        bpe_files.check_vocab(vocab)
        self.cut_by, self.ignore_merges = cut, ignore_merges
        self.vocab = dict(sorted(vocab.items()))
        self.merges = list(merges)
        self._splitter = TextSplitter(special_tokens, partial(last_certain_cut, cut=cut))
        self.special = self._splitter.special_tokens
        id_of = {token: token_id for token_id, token in self.vocab.items()}
        self.special_tokens: dict[str, int] = {}
        for text in self.special:
            self.special_tokens[text] = id_of.setdefault(text.encode(), len(self.vocab))
            self.vocab[self.special_tokens[text]] = text.encode()
        self._whole = id_of if ignore_merges else {}
        self._byte_ids = [id_of[bytes([byte])] for byte in range(256)]
        self._ranks: dict[tuple[int, int], int] = {}  # of a pair of ids
        self._merged_ids: list[int] = []  # by rank
        earlier: set[Merge] = set()
        for rank, (left, right) in enumerate(self.merges):
            try:
                bpe_files.check_merge((left, right), id_of, earlier)
            except InputError as error:
                raise InputError(f"merge {rank}: {error}") from error
            earlier.add((left, right))
            self._ranks[id_of[left], id_of[right]] = rank
            self._merged_ids.append(id_of[left + right])
        super().__init__(self._spelled(), list(self.vocab.values()))
        self._cache = WordCache(self._encode_word)

    def _spelled(self) -> list[str]:
        tokens = [spell(token) for token in self.vocab.values()]
        ordinary = {tokens[token_id] for token_id in (*self._byte_ids, *self._merged_ids)}
        for text, token_id in self.special_tokens.items():
            if tokens[token_id] != text and (text in ordinary or tokens[token_id] in ordinary):
                raise InputError(f"special token {text!r} cannot be told from an ordinary token in {VOCAB_NAME}")
            tokens[token_id] = text
        return tokens

    @classmethod
    def from_text(cls, text: str, vocab_size: int = DEFAULT_VOCAB_SIZE, special: Sequence[str] = ()) -> Self:
        """Train on a text in memory; from_file() trains on a file of any size.

        ``vocab_size`` has the special tokens and the 256 bytes; InputError if it is smaller, or the text holds a lone
        surrogate.

        Example:
            >>> BPETokenizer.from_text("hug pug hug", 258).tokens[256:]
            ['ug', 'hug']
        """
        splitter, max_merges = checked_splitter(vocab_size, special)
        utf8(text)
        merges = learn_merges(count_block(text, splitter), max_merges)
        return cls(number_tokens(merges, splitter.special_tokens), merges, splitter.special_tokens)

    @classmethod
    def from_file(
        cls, path: Path, vocab_size: int, special: Sequence[str], workers: int, on_progress: OnProgress
    ) -> Self:
        """Train on a file of any size, in constant memory but for its different words; see train_bpe."""
        vocab, merges = train_bpe(path, vocab_size, special, workers=workers, on_progress=on_progress)
        return cls(vocab, merges, special)

    @classmethod
    def from_files(cls, vocab_path: Path, merges_path: Path, special_tokens: Iterable[str] = ()) -> Self:
        """Read GPT-2's two files; InputError if one is damaged.

        They do not say which tokens are special: those given are, and those like <|endoftext|> that no merge makes.
        """
        special = dict.fromkeys(special_tokens)
        vocab, merges, found = bpe_files.read_files(vocab_path, merges_path, special)
        return cls(vocab, merges, dict.fromkeys([*found, *special]))

    @classmethod
    def load(cls, folder: Path, special_tokens: Iterable[str] = ()) -> Self:
        """Read what save wrote, or two files as in from_files, or a tokenizer.json without those two.

        Only two files do not say which tokens are special, and need ``special_tokens``. InputError if a file is
        damaged, or two disagree.
        """
        path, vocab_path, merges_path = (folder / name for name in (TOKENIZER_NAME, VOCAB_NAME, MERGES_NAME))
        if not path.is_file():
            return cls.from_files(vocab_path, merges_path, special_tokens)
        if not vocab_path.exists() and not merges_path.exists():
            return cls.from_description(tokenizer_json.read_description(path), path)
        described = tokenizer_json.read_description(path)
        special = tokenizer_json.special_tokens_of(described, path)
        how = tokenizer_json.settings_of(described, path) if "model" in described else {}
        tokenizer = cls(*bpe_files.read_files(vocab_path, merges_path, special), **how)
        if tokenizer.special_tokens != special:
            raise InputError(f"{folder}: {TOKENIZER_NAME} and {VOCAB_NAME} give special tokens different ids")
        tokenizer_json.check_description(described, path, tokenizer.tokens, tokenizer.merges)
        return tokenizer

    @classmethod
    def from_description(cls, description: Mapping[str, Any], path: Path) -> Self:
        """Return the tokenizer of the content of a tokenizer.json; InputError if it is damaged, or another kind."""
        parsed = tokenizer_json.parse_alone(description, path)
        return cls(*parsed, **tokenizer_json.settings_of(description, path))

    @classmethod
    def from_vocabulary(cls, tokens: Sequence[str], folder: Path, special: Sequence[str] = ()) -> Self:
        """Return the tokenizer in a run's folder; see Tokenizer.from_vocabulary."""
        tokenizer = cls.load(folder)
        if list(tokens) != tokenizer.tokens:
            raise InputError(f"{folder}: 01_vocabulary.csv and {VOCAB_NAME} do not number the same tokens")
        if sorted(special) != sorted(tokenizer.special):
            raise InputError(f"{folder}: 00_meta.json and {TOKENIZER_NAME} do not have the same special tokens")
        return tokenizer

    def description(self) -> dict[str, Any]:
        """Return what the metadata say of it; how it cuts only where that is not GPT-2's way."""
        how = {"cut": self.cut_by} if self.cut_by != "gpt2" else {}
        return super().description() | how | ({"ignore_merges": True} if self.ignore_merges else {})

    def files(self) -> dict[str, str]:
        """Return vocab.json and merges.txt as GPT-2 has them, and tokenizer.json for Hugging Face's library."""
        described = tokenizer_json.description_text(
            self.tokens, self.merges, self.special_tokens, cut=self.cut_by, ignore_merges=self.ignore_merges
        )
        return {**bpe_files.file_texts(self.tokens, self.merges), TOKENIZER_NAME: described}

    def save(self, folder: Path) -> list[Path]:
        """Write files() to a folder."""
        return write_texts(folder, self.files())

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text, spelled as files show them; errors as in encode_iterable."""
        return [self.tokens[token_id] for token_id in self.encode(text)]

    def encode(self, text: str, unknown: int | None = None) -> list[int]:
        """Return the token ids of a text; nothing is unknown. Errors as in encode_iterable."""
        return list(self.encode_iterable([text]))

    def encode_iterable(self, lines: Iterable[str]) -> Iterator[int]:
        """Yield each id as soon as no further text can change it; InputError if a lone surrogate is in the text."""
        parts = (line[start : start + _PART] for line in lines for start in range(0, len(line), _PART))
        for block in self._splitter.blocks(parts):
            for index, text in enumerate(self._splitter.split(block)):
                if index % 2:
                    yield self.special_tokens[text]
                else:
                    # Cost: O(1) for a word in the cache, in C from ``re`` to ``yield from``.
                    yield from chain.from_iterable(map(self._cache.__getitem__, pretokenize(text, self.cut_by)))

    def sizes(self, text: str) -> list[int]:
        """Return the number of bytes of each token."""
        return [len(self.vocab[token_id]) for token_id in self.encode(text)]

    def merge_steps(self, word: str) -> list[MergeStep]:
        """Return every merge that encodes a pre-token, for example " lower", in order; InputError for another text."""
        if (parts := pretokenize(word, self.cut_by)) != [word]:
            raise InputError(f"{word!r:.60} is not one pre-token but {len(parts)}")
        utf8(word)
        return bpe_naive.merge_steps(word, self.merges)

    def _encode_word(self, word: str) -> list[int]:
        data = utf8(word)
        if (whole := self._whole.get(data)) is not None:
            return [whole]
        return merged([self._byte_ids[byte] for byte in data], self._ranks, self._merged_ids)
