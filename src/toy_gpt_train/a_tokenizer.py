"""a_tokenizer.py - Step a: text becomes tokens.

The learner's question: what does a model read? Not meaning, but a list of tokens. Here a token is whatever stands
between white space, so "the cat runs ." has four. Other ways to cut text are in tokenizers/.

Responsibilities:
- Read a corpus file, exactly, and refuse what is not text.
- Split it into tokens.

It does not know numbers: ids come in b_vocab.py.

Run it: uv run python src/toy_gpt_train/a_tokenizer.py
"""

from pathlib import Path
from typing import Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.project import RESOURCE_ROOT
from toy_gpt_train.tokenizers import Tokenizer
from toy_gpt_train.tokenizers.word import WordTokenizer

CORPUS_DIR: Final[Path] = RESOURCE_ROOT / "corpus"
# WHY a limit: every token of a text becomes a Python object or a place in a list, many times its size on disk. A file
# far too large must fail at once, not after filling the memory; docs/limits says what fits.
MAX_TEXT_BYTES: Final = 256 * 1024 * 1024

DEFAULT_CORPUS: Final[Path] = CORPUS_DIR / "000_cat_dog.txt"


def read_text(path: Path) -> str:
    """Read a text file as UTF-8, every character as it stands (a leading byte-order mark is dropped).

    Args:
        path: The file.

    Returns:
        Its text; line ends are left alone.

    Raises:
        OSError: The file is missing, a folder, or unreadable.
        InputError: The file is larger than 256 MB, or some bytes are not UTF-8 (the message gives the offset).

    Example:
        >>> read_text(DEFAULT_CORPUS).splitlines()[0]
        'the cat runs .'
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        # WHY not read(): a device or a pipe has no size, and may never end.
        data = file.read(MAX_TEXT_BYTES + 1) if size <= MAX_TEXT_BYTES else b""
    if max(size, len(data)) > MAX_TEXT_BYTES:
        shown = f"{size / 2**20:.0f} MB" if size else "an endless stream"
        limit = MAX_TEXT_BYTES // 2**20
        raise InputError(f"{path}: {shown} of text is too large to hold in memory; the limit is {limit} MB")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not UTF-8 text: byte {error.object[error.start]:#04x} at offset {error.start}"
        ) from None


def read_tokens(path: Path, tokenizer: Tokenizer) -> list[str]:
    """Read a text file and cut it into tokens.

    Args:
        path: The file.
        tokenizer: How to cut it.

    Returns:
        The tokens in the order of the text, at least one.

    Raises:
        OSError: The file cannot be read.
        InputError: It is not UTF-8, or holds no token at all.

    Example:
        >>> read_tokens(DEFAULT_CORPUS, WordTokenizer())[:2]
        ['the', 'cat']
    """
    tokens = tokenizer.tokenize(read_text(path))
    if not tokens:
        raise InputError(f"{path}: the text is empty: there is no token in it")
    return tokens


class SimpleTokenizer:
    """The words of a corpus: what stands between white space, in the order of the text.

    Args:
        corpus_path: The text file; by default the corpus that comes with the project.

    Raises:
        OSError: The file cannot be read.
        InputError: It is not UTF-8, or holds no token at all.

    Example:
        >>> SimpleTokenizer().get_tokens()[:4]
        ['the', 'cat', 'runs', '.']
    """

    def __init__(self, corpus_path: Path | None = None) -> None:
        self.corpus_path = DEFAULT_CORPUS if corpus_path is None else Path(corpus_path)
        self._tokens = read_tokens(self.corpus_path, WordTokenizer())

    def get_tokens(self) -> list[str]:
        """Return the tokens in the order of the text; a new list each time.

        Example:
            >>> len(SimpleTokenizer().get_tokens())
            32
        """
        return list(self._tokens)


def main() -> None:
    """Show the default corpus and its tokens."""
    tokens = SimpleTokenizer().get_tokens()
    print(f"corpus   {DEFAULT_CORPUS.name}")
    print(f"text     {' / '.join(read_text(DEFAULT_CORPUS).splitlines()[:3])} / ...")
    print(f"tokens   {len(tokens)}, of which {len(set(tokens))} different")
    print(f"first    {tokens[:8]}")


if __name__ == "__main__":
    main()
