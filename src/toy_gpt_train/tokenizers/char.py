"""char.py - Characters as tokens: every one of them, line ends too.

Nothing is lost and the vocabulary is small, but a context of N tokens is only N characters long.
"""

from toy_gpt_train.tokenizers.listed import ListedTokenizer


class CharTokenizer(ListedTokenizer):
    r"""Single characters (Unicode code points).

    >>> chars = CharTokenizer.from_text("a b\n")
    >>> chars.tokens, chars.encode("ab")
    (['\n', ' ', 'a', 'b'], [2, 3])
    >>> chars.shown([2, 0])
    ['a', '\\n']
    """

    kind = "char"
    exact = True

    def tokenize(self, text: str) -> list[str]:
        """Return the characters of a text, in order."""
        return list(text)

    def sizes(self, text: str) -> list[int]:
        """Return the UTF-8 bytes of each character."""
        return [len(char.encode()) for char in text]

    def _complete(self, text: str) -> int:
        return len(text)
