r"""pretokenize.py - GPT-2's pre-tokenization: text is cut into short pieces before any byte pair is merged.

The learner's question: why does "dog" never share a token with the "." after it? Merges happen only inside a pre-token:
a word with the space before it, a number, a run of punctuation, or white space.

Concepts:
    pre-token: a piece of text that merges never cross; " the", "2024", "!?" and "'s" are pre-tokens.
    special token: text that stands for itself ("<|endoftext|>"). It is never split, and nothing merges across it.
    certain cut: a position where the text is cut whatever comes before or after, so it can be read in blocks.

It does not know bytes, merges or ids.

Source: Radford et al. (2019), "Language models are unsupervised multitask learners", and the pattern of its code.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final

from toy_gpt_train.errors import InputError

# OBS: for libraries that know \p{L} (letters) and \p{N} (numbers); _patterns() says the same for ``re``.
GPT2_PATTERN: Final = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""

# WHY not \s: it is Unicode's White_Space that the pattern means; in ``re``, \s has U+001C to U+001F besides.
_SPACE: Final = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# WHY so few: there is no number beyond these two planes of Unicode. The tests check every code point.
_NUMBER_PLANES: Final = range(0x20000)
_LONGEST_SPECIAL: Final = 256  # characters; all beginnings of a special token are kept


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    r"""Return the pattern of a pre-token, and the pattern of a text up to its last certain cut.

    WHY the classes look so: in ``re``, \w is exactly the letters, the numbers and "_". With the ranges of the
    numbers from unicodedata, letters are \w without numbers and "_", and signs are "_" and all that is neither
    \w nor white space. That is exact, and shorter and faster than 650 ranges of letters.
    OBS: what is a letter depends on Python's Unicode version; an old Python takes new scripts for signs.
    """
    categories = "".join(unicodedata.category(chr(code))[0] for code in _NUMBER_PLANES)
    number_runs = (run.span() for run in re.finditer("N+", categories))
    number = "".join(rf"\U{start:08x}-\U{end - 1:08x}" for start, end in number_runs)
    letter = rf"\W_{number}"  # inside [^...]
    sign = rf"(?:_|[^\w{_SPACE}])"
    pretoken = rf"'(?:[sdmt]|ll|ve|re)| ?[^{letter}]+| ?[{number}]+| ?{sign}+|[{_SPACE}]+(?![^{_SPACE}])|[{_SPACE}]+"
    # WHY these cuts: in a pre-token white space never follows anything else, only letters follow a letter, and only
    # numbers follow a number. The greedy .* makes ``re`` try the positions from the end.
    last_cut = rf"(?s:.*)(?:[^{_SPACE}](?=[{_SPACE}])|[^{letter}](?=[{letter}])|[{number}](?=[^{number}]))"
    return re.compile(pretoken), re.compile(last_cut)


def pretokenize(text: str) -> list[str]:
    """Cut text without special tokens into pre-tokens; joined they are the text again.

    >>> pretokenize("It's 3 dogs!  Yes")
    ['It', "'s", ' 3', ' dogs', '!', ' ', ' Yes']
    """
    return _patterns()[0].findall(text)


class TextSplitter:
    """Cuts text at special tokens, and a stream of text into blocks that are tokenized one by one.

    Special tokens are never split; the longest wins where several start at one position. InputError if one is empty or
    too long, comes twice, or holds a lone surrogate.
    """

    def __init__(self, special_tokens: Iterable[str] = ()) -> None:
        self.special_tokens = tuple(special_tokens)
        earlier: set[str] = set()
        for token in self.special_tokens:
            if not token:
                raise InputError("a special token is empty")
            if len(token) > _LONGEST_SPECIAL:
                raise InputError(f"special token {token!r:.60} has more than {_LONGEST_SPECIAL} characters")
            if token in earlier:
                raise InputError(f"special token {token!r} is given twice")
            earlier.add(token)
            if any("\ud800" <= char <= "\udfff" for char in token):
                raise InputError(f"special token {token!r} holds a lone surrogate, which UTF-8 cannot hold")
        # WHY sorted: ``re`` takes the first alternative that fits. (?!) fits nowhere: there are no special tokens.
        self._longest = max(map(len, self.special_tokens), default=0)
        longest_first = sorted(self.special_tokens, key=len, reverse=True)
        self._pattern = re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")
        self._beginnings = {token[:end] for token in self.special_tokens for end in range(1, len(token))}

    def split(self, text: str) -> list[str]:
        """Return the text between special tokens (even indices, may be empty) and these tokens (odd indices)."""
        return self._pattern.split(text)

    def blocks(self, chunks: Iterable[str]) -> Iterator[str]:
        """Regroup a stream of text, cut anywhere, so that its blocks, tokenized one by one, give the whole's tokens.

        Blocks end at a special token or at a certain cut. Only what may still change is held back: a pre-token or two,
        and what may become a special token; at most twice that if chunks are smaller.
        """
        # Cost: O(n) characters moved or looked at in total; a text without a cut is looked at again only when it
        # has doubled, and += extends a string in place.
        text, next_look = "", 0
        for chunk in chunks:
            text += chunk
            if len(text) >= next_look:
                cut = self._settled(text)
                if cut:
                    yield text[:cut]
                    text = text[cut:]
                next_look = 2 * len(text)
        if text:
            yield text

    def _settled(self, text: str) -> int:
        """Return how many characters are tokenized the same way whatever follows the text."""
        tail = range(max(0, len(text) - self._longest + 1), len(text))
        # What starts here may become a special token.
        open_at = next((start for start in tail if text[start:] in self._beginnings), len(text))
        settled = 0
        for match in self._pattern.finditer(text):
            if match.end() > open_at:
                open_at = min(open_at, match.start())
                break
            settled = match.end()
        cut = _patterns()[1].match(text, settled, open_at)
        return cut.end() if cut else settled
