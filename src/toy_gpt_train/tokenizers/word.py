"""word.py - Words as tokens: what stands between white space.

Simple, and it forgets the white space itself: joining words again gives single spaces, not the original text.
"""

from collections.abc import Sequence
from typing import Final


class WordTokenizer:
    r"""White-space words.

    Example:
        >>> WordTokenizer().tokenize("the cat\n runs")
        ['the', 'cat', 'runs']
    """

    kind: Final = "word"

    def tokenize(self, text: str) -> list[str]:
        """Return the words of a text, in order."""
        return text.split()

    def join(self, tokens: Sequence[str]) -> str:
        """Return the words as text, a space between two.

        Example:
            >>> WordTokenizer().join(["the", "cat"])
            'the cat'
        """
        return " ".join(tokens)
