"""word.py - Words as tokens: what stands between white space.

The white space itself is lost: decoding puts a single space between two words.
"""

import re

from toy_gpt_train.tokenizers.listed import ListedTokenizer


class WordTokenizer(ListedTokenizer):
    r"""White-space words.

    >>> words = WordTokenizer.from_text("the cat\n runs")
    >>> words.tokens, words.encode("the cat")
    (['cat', 'runs', 'the'], [2, 0])
    >>> words.decode([2, 0])
    'the cat'
    """

    kind = "word"
    exact = False
    separator = " "

    def tokenize(self, text: str) -> list[str]:
        """Return the words of a text, in order."""
        return text.split()

    @classmethod
    def cut(cls, text: str, share: float) -> int:
        """Return where the word begins that is the first after this share of all words."""
        starts = [word.start() for word in re.finditer(r"\S+", text)]
        number = int(round(len(starts) * share, 6))
        return starts[number] if number < len(starts) else len(text)

    def sizes(self, text: str) -> list[int]:
        r"""Return the UTF-8 bytes of each word with the white space after it."""
        sizes = [len(word.encode()) for word in re.findall(r"\S+\s*", text)]
        if sizes:
            sizes[0] += len(text[: len(text) - len(text.lstrip())].encode())
        return sizes

    def _complete(self, text: str) -> int:
        if not text or text[-1].isspace():
            return len(text)
        return len(text) - len(text.rsplit(maxsplit=1)[-1])
