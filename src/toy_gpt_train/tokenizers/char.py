"""char.py - Characters as tokens: every one of them, line ends and all.

Nothing is lost, and the vocabulary is small; but a context of N tokens is now only N characters long.
"""

from collections.abc import Sequence

from toy_gpt_train.tokenizers.base import ListedTokenizer


class CharTokenizer(ListedTokenizer):
    r"""Single characters (Unicode code points).

    Example:
        >>> CharTokenizer().tokenize("a b\n")
        ['a', ' ', 'b', '\n']
    """

    kind = "char"

    def tokenize(self, text: str) -> list[str]:
        """Return the characters of a text, in order."""
        return list(text)

    def join(self, tokens: Sequence[str]) -> str:
        """Return the characters as text; the exact inverse of tokenize.

        Example:
            >>> CharTokenizer().join(["a", " "])
            'a '
        """
        return "".join(tokens)

    def _complete_part(self, text: str) -> int:
        return len(text)
