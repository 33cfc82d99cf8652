"""source_text.py - What is learned or scored: a file, a text, the story world or token files; it becomes token ids.

It does not know models.
"""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from toy_gpt_train.corpus import Corpus, corpus_of
from toy_gpt_train.errors import InputError
from toy_gpt_train.progress import OnProgress
from toy_gpt_train.project import RESOURCE_ROOT, load_manifest
from toy_gpt_train.tokenizers import Tokenizer
from toy_gpt_train.tokenizers.encoded import EncodedText, encode_corpus
from toy_gpt_train.tokenizers.saved import kind_or_folder, load_tokenizer
from toy_gpt_train.world.text import corpus_at

AnyPath = str | PathLike[str]


class SourceText:
    """The text that a run learns, and how it is cut; the arguments are those of the public train().

    A file of text is read at once. InputError if the arguments contradict each other, or it cannot be used.
    """

    def __init__(
        self,
        corpus: AnyPath | Corpus | None,
        text: str | None,
        tokenizer: AnyPath,
        special: Sequence[str] = (),
        tokens: AnyPath | None = None,
        val_tokens: AnyPath | None = None,
    ) -> None:
        self._made = kind_or_folder(tokenizer, special)
        self._special = special
        self._tokens, self._val_tokens = tokens, val_tokens
        if tokens is None and val_tokens is not None:
            raise InputError("held-out tokens go with training tokens: give both files")
        if tokens is not None and (corpus is not None or text is not None):
            raise InputError("give a file of tokens or a text, not both")
        self._corpus = None if tokens is not None else chosen_corpus(corpus, text)

    def encoded(self, bpe_vocab: int, val_fraction: float = 0.0, on_progress: OnProgress | None = None) -> EncodedText:
        """Return it as ids; ``on_progress`` is told how much of a token file is checked."""
        if self._corpus is None:
            return self._encoded_files(val_fraction, on_progress)
        maker = load_tokenizer(self._made) if isinstance(self._made, Path) else self._made
        return encode_corpus(self._corpus, maker, bpe_vocab, val_fraction, self._special)

    def _encoded_files(self, val_fraction: float, on_progress: OnProgress | None) -> EncodedText:
        from toy_gpt_train.data.token_text import encoded_files  # WHY here: it needs mmap, which a text does without

        if self._tokens is None or not isinstance(self._made, Path):
            raise InputError(
                "say which tokenizer wrote the tokens: --tokenizer takes the folder of a saved one (in Python, "
                "tokenizer=)"
            )
        held_out = None if self._val_tokens is None else Path(self._val_tokens)
        return encoded_files(Path(self._tokens), held_out, self._made, val_fraction, on_progress)


def chosen_corpus(path: AnyPath | Corpus | None, text: str | None) -> Corpus:
    """Return a text file or a text; the project's corpus if neither is given, InputError if both are."""
    if isinstance(path, Corpus):
        return path
    if path is not None and text is not None:
        raise InputError("give a corpus or a text, not both")
    if text is not None:
        return corpus_of(text)
    if isinstance(path, str) and _seems_text(path):
        raise InputError(f"there is no file {path!r:.60}; if this is the text itself, write text=")
    return corpus_at(RESOURCE_ROOT / load_manifest().corpus if path is None else Path(path))


def _seems_text(name: str) -> bool:
    """Return whether the name of a file is rather a text: several words, and no file is called that."""
    try:
        return len(name.split()) > 1 and not Path(name).exists()
    except OSError:  # too long for a name
        return True


def ids_to_score(read: Corpus, tokenizer: Tokenizer, unknown: str) -> list[int]:
    """Return the ids of a text; the id V stands for a token outside the vocabulary.

    InputError if the text is empty or, unless ``unknown`` is ``uniform``, cannot be scored for its unknown tokens.
    """
    if unknown not in ("uniform", "skip", "error"):
        raise InputError(f"unknown must be uniform, skip or error, got {unknown!r:.40}")
    name, vocab_size = read.path or read.name, tokenizer.vocab_size
    ids = tokenizer.encode(read.text, vocab_size)
    if not ids:
        raise InputError(f"{name}: the text is empty: there is no token in it")
    if unknown == "uniform" or vocab_size not in ids:
        return ids
    tokens = tokenizer.tokenize(read.text)
    extra = list(dict.fromkeys(token for token, i in zip(tokens, ids, strict=True) if i == vocab_size))
    if unknown == "error":
        raise InputError(
            f"{name}: {len(extra)} different tokens are not in the vocabulary, among them "
            f"{', '.join(map(repr, extra[:3])):.200}; choose --unknown skip or --unknown uniform"
        )
    if set(ids) == {vocab_size}:
        raise InputError(f"{name}: none of its tokens is in the vocabulary")
    return ids
