"""encoded.py - A corpus as token ids: what of it is learned, and what is held out."""

from collections import Counter
from typing import NamedTuple

from toy_gpt_train.corpus import Corpus
from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers import Tokenizer, tokenizer_class


class EncodedText(NamedTuple):
    """A text as numbers, and what of it is held out."""

    tokenizer: Tokenizer
    ids: list[int]  # of the whole text
    num_train: int  # how many of them are to be learned
    held_out_sizes: list[int]  # the bytes of the text that each held-out token stands for

    @property
    def frequencies(self) -> list[int]:
        """How often the training part has each token, by id."""
        counts = Counter(self.ids[: self.num_train])
        return [counts[token_id] for token_id in range(self.tokenizer.vocab_size)]


def encode_corpus(corpus: Corpus, kind: str, bpe_vocab: int, val_fraction: float) -> EncodedText:
    """Cut a text into a training part and a held-out part, its last ``val_fraction``, and encode both.

    WHY the vocabulary of words and characters has the held-out tokens too: which tokens exist is given (a word list, an
    alphabet); how often they occur, and after what, is learned from the training part alone. BPE learns its merges,
    until it has ``bpe_vocab`` tokens, so it sees the training part only. InputError if there is no such kind of
    tokenizer, a number makes no sense, or the text is empty.
    """
    if not 0 <= val_fraction < 1:
        raise InputError(f"the held-out share must be at least 0 and below 1, got {val_fraction}")
    tokenizer_type = tokenizer_class(kind)
    cut = tokenizer_type.cut(corpus.text, 1 - val_fraction)
    train_text, held_out_text = corpus.text[:cut], corpus.text[cut:]
    tokenizer = tokenizer_type.from_text(train_text if tokenizer_type.learned else corpus.text, bpe_vocab)
    train_ids = tokenizer.encode(train_text)
    held_out_ids = tokenizer.encode(held_out_text)
    if not train_ids and not held_out_ids:
        raise InputError(f"{corpus.path or corpus.name}: the corpus is empty: there is no token to learn from")
    return EncodedText(tokenizer, train_ids + held_out_ids, len(train_ids), tokenizer.sizes(held_out_text))
