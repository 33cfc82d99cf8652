"""char.py - Characters as tokens: every one of them, line ends too.

Nothing is lost and the vocabulary is small, but a context of N tokens is only N characters long.
"""

from toy_gpt_train.tokenizers.listed import ListedTokenizer


class CharTokenizer(ListedTokenizer):
    r"""Single characters (Unicode code points), and special tokens.

    >>> chars = CharTokenizer.from_text("a b\n")
    >>> chars.tokens, chars.encode("ab")
    (['\n', ' ', 'a', 'b'], [2, 3])
    >>> chars.shown([2, 0])
    ['a', '\\n']
    """

    kind = "char"
    exact = True

    @staticmethod
    def _cut_ordinary(text: str) -> list[str]:
        return list(text)

    @staticmethod
    def _last_cut(text: str, start: int, end: int) -> int:
        return end

    def sizes(self, text: str) -> list[int]:
        """Return the UTF-8 bytes of each token."""
        return [len(token.encode()) for token in self.tokenize(text)]
