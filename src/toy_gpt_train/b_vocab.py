"""b_vocab.py - Step b: tokens become numbers.

The learner's question: how do words become numbers? With a list: each different token gets its position in
sorted order, its id. The number says nothing about meaning; it is a row and a column of a table.

Responsibilities:
- Give each different token an id, 0 to V-1.
- Answer both ways: token to id, id to token, and how often a token occurred.

It does not know the order of the tokens in the text: that is what a model learns.

Run it: uv run python src/toy_gpt_train/b_vocab.py [FILE]
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from toy_gpt_train.a_tokenizer import SimpleTokenizer, StepParser


class Vocabulary:
    """All different tokens of a text, numbered in sorted order.

    Example:
        >>> vocab = Vocabulary(["b", "a", "b"])
        >>> vocab.vocab_size(), vocab.get_token_id("b"), vocab.get_id_token(0), vocab.get_token_frequency("b")
        (2, 1, 'a', 2)
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self._frequency: Mapping[str, int] = Counter(tokens)
        self._tokens = sorted(self._frequency)
        self._ids = {token: token_id for token_id, token in enumerate(self._tokens)}

    def vocab_size(self) -> int:
        """Return V, the number of different tokens."""
        return len(self._tokens)

    def get_token_id(self, token: str) -> int | None:
        """Return the id of a token, or None if the text does not have it."""
        return self._ids.get(token)

    def get_id_token(self, token_id: int) -> str | None:
        """Return the token with this id, or None if there is no such id."""
        return self._tokens[token_id] if 0 <= token_id < len(self._tokens) else None

    def get_token_frequency(self, token: str) -> int:
        """Return how often a token occurred; 0 for an unknown one."""
        return self._frequency.get(token, 0)

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Return the ids of known tokens.

        Raises:
            KeyError: A token is not in the vocabulary.

        Example:
            >>> Vocabulary(["b", "a"]).encode(["b", "a", "b"])
            [1, 0, 1]
        """
        return [self._ids[token] for token in tokens]


def show(corpus: Path) -> None:
    """Print the vocabulary of a corpus, and its first tokens as ids."""
    tokens = SimpleTokenizer(corpus).get_tokens()
    vocab = Vocabulary(tokens)
    print(f"{len(tokens)} tokens, {vocab.vocab_size()} different")
    print("id  token   frequency")
    for token_id in range(vocab.vocab_size()):
        token = vocab.get_id_token(token_id) or ""
        print(f"{token_id:2}  {token:6} {vocab.get_token_frequency(token):10}")
    print(f"{tokens[:8]}\nbecomes {vocab.encode(tokens[:8])}")


def main(argv: Sequence[str] | None = None) -> int:
    """Show how words become numbers; return the exit code."""
    return StepParser(__doc__).add_corpus().run(show, argv)


if __name__ == "__main__":
    raise SystemExit(main())
