"""encoded.py - A text as token ids: what of it is learned, and what is held out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from toy_gpt_train.corpus import Corpus, Source
from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers import Tokenizer, tokenizer_class
from toy_gpt_train.world.text import true_entropy

_BEGINNING: Final = 200  # tokens: no other text agrees with the stories for so long


@dataclass(frozen=True, eq=False)
class EncodedText:
    """A text as numbers, and what of it is held out."""

    tokenizer: Tokenizer
    ids: Sequence[int]  # of the whole text; cheap to slice
    num_train: int  # how many of them are to be learned
    frequencies: list[int]  # how often the training part has each token, by id
    held_out_sizes: Sequence[int]  # the bytes of the text that each held-out token stands for
    source: Source
    val_fraction: float = 0.0  # the share that was asked to be held out
    held_out_source: Source | None = None  # if the held-out part is a text of its own

    @cached_property
    def is_world(self) -> bool:
        """Whether the text begins as one of the story world, word by word."""
        return self._true_entropy(self.ids[:_BEGINNING], 0) is not None

    def true_entropy(self) -> float | None:
        """Return the true entropy of the held-out part, in nats per token, if this is the story world, word by word."""
        return self._true_entropy(self.ids, self.num_train)

    def _true_entropy(self, ids: Sequence[int], start: int) -> float | None:
        if self.tokenizer.kind != "word":
            return None
        tokens = [*self.tokenizer.tokens, ""]  # WHY one more: its id stands for an unknown token
        return true_entropy(map(tokens.__getitem__, ids), start)


def encode_corpus(
    corpus: Corpus,
    tokenizer: str | Tokenizer,
    bpe_vocab: int,
    val_fraction: float,
    special: Sequence[str] = (),
) -> EncodedText:
    """Cut a text into a training part and a held-out part, its last ``val_fraction``, and encode both.

    WHY the vocabulary of words and characters has the held-out tokens too: which tokens exist is given (a word list, an
    alphabet); how often they occur, and after what, is learned from the training part alone. BPE learns its merges,
    until it has ``bpe_vocab`` tokens, so it sees the training part only. InputError if a number makes no sense, or the
    text is empty.

    Args:
        corpus: The text.
        tokenizer: A kind of tokenizer, which is made for this text; or one that is there already.
        bpe_vocab: Where BPE stops merging.
        val_fraction: The share at the end that is held out.
        special: Texts that are one token wherever they stand, for a tokenizer that is made.
    """
    check_val_fraction(val_fraction)
    kind = tokenizer_class(tokenizer) if isinstance(tokenizer, str) else type(tokenizer)
    cut = kind.cut(corpus.text, 1 - val_fraction, special if isinstance(tokenizer, str) else tokenizer.special)
    train_text, held_out_text = corpus.text[:cut], corpus.text[cut:]
    if isinstance(tokenizer, str):
        tokenizer = kind.from_text(train_text if kind.learned else corpus.text, bpe_vocab, special)
    train_ids = tokenizer.encode(train_text)
    held_out_ids = tokenizer.encode(held_out_text)
    if not train_ids and not held_out_ids:
        raise InputError(f"{corpus.path or corpus.name}: the corpus is empty: there is no token to learn from")
    counts = Counter(train_ids)
    frequencies = [counts[token_id] for token_id in range(tokenizer.vocab_size)]
    sizes, ids = tokenizer.sizes(held_out_text), train_ids + held_out_ids
    return EncodedText(tokenizer, ids, len(train_ids), frequencies, sizes, corpus.source, val_fraction)


def check_val_fraction(val_fraction: float) -> None:
    """Refuse, with InputError, a share that is below 0, or leaves nothing to learn."""
    if not 0 <= val_fraction < 1:
        raise InputError(f"the held-out share must be at least 0 and below 1, got {val_fraction}")
