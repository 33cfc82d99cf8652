"""a_tokenizer.py - Step a: text becomes tokens.

The learner's question: what does a model read? Not letters, not meaning, but a list of tokens. Here a token is
whatever stands between white space, so "the cat runs ." has four.

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

CORPUS_DIR: Final[Path] = RESOURCE_ROOT / "corpus"
DEFAULT_CORPUS: Final[Path] = CORPUS_DIR / "000_cat_dog.txt"


def read_text(path: Path) -> str:
    """Read a text file as UTF-8, every character as it stands (a leading byte-order mark is dropped).

    Args:
        path: The file.

    Returns:
        Its text; line ends are left alone.

    Raises:
        OSError: The file is missing, a folder, or unreadable.
        InputError: Some bytes are not UTF-8; the message gives the offset of the first.

    Example:
        >>> read_text(DEFAULT_CORPUS).splitlines()[0]
        'the cat runs .'
    """
    try:
        return path.read_bytes().decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not UTF-8 text: byte {error.object[error.start]:#04x} at offset {error.start}"
        ) from None


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
        self._tokens = read_text(self.corpus_path).split()
        if not self._tokens:
            raise InputError(f"{self.corpus_path}: the corpus is empty: there is no token to learn from")

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
