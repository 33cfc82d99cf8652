"""a_tokenizer.py - Step a: text becomes tokens.

The learner's question: what does a model read? Not meaning, but a list of tokens. Here a token is a word:
whatever stands between white space, so "the cat runs ." has four. tokenizers/ has other ways to cut a text.

Responsibilities:
- Read a corpus file exactly as it is.
- Split it into tokens.

It does not know numbers: ids come in b_vocab.py.

Run it: uv run python src/toy_gpt_train/a_tokenizer.py [FILE]
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Final, NoReturn, Self

# WHY two places: a checkout has its corpora in corpus/; an installed copy has them inside the package.
_PACKAGE: Final = Path(__file__).resolve().parent
IN_CHECKOUT: Final = (_PACKAGE.parents[1] / "SE_MANIFEST.toml").is_file()
ROOT: Final = _PACKAGE.parents[1] if IN_CHECKOUT else _PACKAGE / "resources"
DEFAULT_CORPUS: Final = ROOT / "corpus" / "000_cat_dog.txt"


def read_text(path: Path) -> str:
    """Read a text file as UTF-8, or raise ValueError; line ends are left alone, a byte-order mark is dropped.

    Example:
        >>> read_text(DEFAULT_CORPUS).splitlines()[0]
        'the cat runs .'
    """
    data = Path(path).read_bytes()
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text: byte {data[error.start]:#x} at offset {error.start}") from None


class SimpleTokenizer:
    """The words of a corpus, in the order of the text; by default of the corpus that comes with the project.

    Raises:
        ValueError: The file is not UTF-8, or there is no token in it.

    Example:
        >>> SimpleTokenizer().get_tokens()[:4]
        ['the', 'cat', 'runs', '.']
    """

    def __init__(self, corpus_path: Path | None = None) -> None:
        self.corpus_path = DEFAULT_CORPUS if corpus_path is None else Path(corpus_path)
        self._tokens = read_text(self.corpus_path).split()
        if not self._tokens:
            raise ValueError(f"{self.corpus_path}: the text is empty: there is no token in it")

    def get_tokens(self) -> list[str]:
        """Return the tokens; a new list each time."""
        return list(self._tokens)


class StepParser(argparse.ArgumentParser):
    """The command line of a step: a user error becomes one line on standard error and exit code 2."""

    def __init__(self, about: str) -> None:
        more = "toy-gpt has everything else: other models and tokenizers, sampling, scoring, speed; see toy-gpt --help."
        super().__init__(description=about.partition("\n")[0], epilog=more)

    def error(self, message: str) -> NoReturn:
        """Report a wrong argument."""
        raise ValueError(message)

    def run(self, step: Callable[..., None], argv: Sequence[str] | None) -> int:
        """Call ``step`` with the arguments by name; return the exit code."""
        if isinstance(sys.stdout, TextIOWrapper):  # WHY: a console may be unable to show a token
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            step(**vars(self.parse_args(argv)))
        except (OSError, ValueError) as error:
            print("error:", *str(error).split(), file=sys.stderr)
            return 2
        return 0

    def add_corpus(self, name: str = "corpus") -> Self:
        """Let the user name a text; return the parser."""
        nargs = None if name.startswith("-") else "?"
        self.add_argument(name, nargs=nargs, type=Path, default=DEFAULT_CORPUS, help=f"a text ({DEFAULT_CORPUS.name})")
        return self


def show(corpus: Path) -> None:
    """Print a corpus and its tokens."""
    tokens = SimpleTokenizer(corpus).get_tokens()
    print(f"corpus   {corpus.name}")
    print(f"text     {' / '.join(read_text(corpus).splitlines()[:3])} / ...")
    print(f"tokens   {len(tokens)}, {len(set(tokens))} of them different")
    print(f"first    {tokens[:8]}")


def main(argv: Sequence[str] | None = None) -> int:
    """Show what a model reads; return the exit code."""
    return StepParser(__doc__).add_corpus().run(show, argv)


if __name__ == "__main__":
    raise SystemExit(main())
