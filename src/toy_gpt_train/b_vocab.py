"""b_vocab.py - Step b: tokens become numbers.

The learner's question: how do words become numbers? By a list: every different token gets the number of its
place in sorted order, its id. The number says nothing about meaning; it is a row and a column of a table.

Responsibilities:
- Give each different token an id, 0 to V-1.
- Answer both ways: token to id, id to token, and how often a token occurred.

It does not know the order of the tokens in the text: that is what a model learns.

Run it: uv run python src/toy_gpt_train/b_vocab.py
"""

from collections import Counter
from collections.abc import Iterable

from toy_gpt_train.a_tokenizer import SimpleTokenizer


class Vocabulary:
    """All different tokens of a text, numbered in sorted order.

    Args:
        tokens: The tokens of the text, repeats and all.
        further: Tokens that get an id too, but are not counted: those of a held-out part of the text.

    Example:
        >>> vocab = Vocabulary(["b", "a", "b"])
        >>> vocab.get_token_id("b"), vocab.get_id_token(0), vocab.get_token_frequency("b")
        (1, 'a', 2)
    """

    def __init__(self, tokens: Iterable[str], further: Iterable[str] = ()) -> None:
        self._frequency = Counter(tokens)
        self._tokens = sorted({*self._frequency, *further})
        self._ids = {token: token_id for token_id, token in enumerate(self._tokens)}

    def vocab_size(self) -> int:
        """Return V, the number of different tokens.

        Example:
            >>> Vocabulary(["b", "a", "b"]).vocab_size()
            2
        """
        return len(self._tokens)

    def get_token_id(self, token: str) -> int | None:
        """Return the id of ``token``, 0 to V-1, or None where the text never had it.

        Example:
            >>> Vocabulary(["b", "a"]).get_token_id("z") is None
            True
        """
        return self._ids.get(token)

    def get_id_token(self, token_id: int) -> str | None:
        """Return the token with this id, or None where there is no such id.

        Example:
            >>> Vocabulary(["b", "a"]).get_id_token(1)
            'b'
        """
        return self._tokens[token_id] if 0 <= token_id < len(self._tokens) else None

    def get_token_frequency(self, token: str) -> int:
        """Return how often ``token`` occurred; 0 for an unknown one.

        Example:
            >>> Vocabulary(["b", "a", "b"]).get_token_frequency("z")
            0
        """
        return self._frequency[token]

    def tokens(self) -> list[str]:
        """Return all tokens by id; a new list each time.

        Example:
            >>> Vocabulary(["b", "a"]).tokens()
            ['a', 'b']
        """
        return list(self._tokens)

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Return the ids of tokens that the text had.

        Raises:
            KeyError: A token is not in the vocabulary.

        Example:
            >>> Vocabulary(["b", "a"]).encode(["b", "a", "b"])
            [1, 0, 1]
        """
        return [self._ids[token] for token in tokens]


def main() -> None:
    """Show the vocabulary of the default corpus."""
    tokens = SimpleTokenizer().get_tokens()
    vocab = Vocabulary(tokens)
    print(f"{len(tokens)} tokens, {vocab.vocab_size()} different")
    print("id  token   frequency")
    for token_id in range(vocab.vocab_size()):
        token = vocab.get_id_token(token_id) or ""
        print(f"{token_id:2}  {token:6} {vocab.get_token_frequency(token):10}")
    print(f"{tokens[:8]}\nbecomes {vocab.encode(tokens[:8])}")


if __name__ == "__main__":
    main()
