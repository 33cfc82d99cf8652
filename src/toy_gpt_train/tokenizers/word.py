"""word.py - Words as tokens: what stands between white space.

Simple, and it forgets the white space itself: joining words again gives single spaces, not the original text.
"""

from collections.abc import Sequence

from toy_gpt_train.tokenizers.base import ListedTokenizer


class WordTokenizer(ListedTokenizer):
    r"""White-space words.

    Example:
        >>> WordTokenizer().tokenize("the cat\n runs")
        ['the', 'cat', 'runs']
        >>> WordTokenizer.from_text("the cat").encode("cat the")
        [0, 1]
    """

    kind = "word"

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

    def _complete_part(self, text: str) -> int:
        *_, last = text.split() or [""]
        return len(text) if not last or text[-1].isspace() else len(text) - len(last)
