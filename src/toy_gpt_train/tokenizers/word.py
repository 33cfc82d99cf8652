"""word.py - Words as tokens: what stands between white space.

The white space itself is lost: decoding puts a single space between two tokens, special tokens too.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.tokenizers.listed import ListedTokenizer

_UP_TO_SPACE: Final = re.compile(r"(?s:.*)\s")


class WordTokenizer(ListedTokenizer):
    r"""White-space words, and special tokens, which need no white space around them.

    >>> words = WordTokenizer.from_text("the cat\n runs")
    >>> words.tokens, words.encode("the cat")
    (['cat', 'runs', 'the'], [2, 0])
    >>> words.decode([2, 0])
    'the cat'
    >>> WordTokenizer(special=["<end>"]).tokenize("runs.<end>The cat")
    ['runs.', '<end>', 'The', 'cat']
    """

    kind = "word"
    exact = False
    separator = " "

    def __init__(self, tokens: Iterable[str] = (), special: Iterable[str] = ()) -> None:
        super().__init__(tokens, special)
        for text in self.special:
            # WHY: decoding puts spaces between words, which could make two words a special token.
            if self.separator in text:
                raise InputError(f"special token {text!r} has a space, which stands between words")

    @staticmethod
    def _cut_ordinary(text: str) -> list[str]:
        return text.split()

    @staticmethod
    def _last_cut(text: str, start: int, end: int) -> int:
        cut = _UP_TO_SPACE.match(text, start, end)
        return cut.end() if cut else start

    @classmethod
    def cut(cls, text: str, share: float, special: Sequence[str] = ()) -> int:
        """Return where the token begins that is the first after this share of all tokens."""
        starts = cls((), special)._starts(text)
        number = int(round(len(starts) * share, 6))
        return starts[number] if number < len(starts) else len(text)

    def sizes(self, text: str) -> list[int]:
        r"""Return the UTF-8 bytes of each token with the white space after it."""
        starts = self._starts(text)
        borders = [0, *starts[1:], len(text)]
        return [len(text[start:end].encode()) for start, end in pairwise(borders)] if starts else []

    def _starts(self, text: str) -> list[int]:
        """Return where each token begins. WHY by searching: only white space stands between two tokens."""
        starts, end = [], 0
        for token in self.tokenize(text):
            starts.append(text.index(token, end))
            end = starts[-1] + len(token)
        return starts
