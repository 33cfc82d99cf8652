"""char.py - Characters as tokens: every one of them, line ends and all.

Nothing is lost, and the vocabulary is small; but a context of N tokens is now only N characters long.
"""

from collections.abc import Sequence
from typing import Final


class CharTokenizer:
    r"""Single characters (Unicode code points).

    Example:
        >>> CharTokenizer().tokenize("a b\n")
        ['a', ' ', 'b', '\n']
    """

    kind: Final = "char"

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
