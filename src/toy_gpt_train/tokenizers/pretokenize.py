r"""pretokenize.py - GPT-2's pre-tokenization: text is cut into short pieces before any byte pair is merged.

The learner's question: why does "dog" never share a token with the "." after it? Merges happen only inside a pre-token:
a word with the space before it, a number, a run of punctuation, or white space.

Concepts:
    pre-token: a piece of text that merges never cross; " the", "2024", "!?" and "'s" are pre-tokens.
    certain cut: a position where the text is cut whatever comes before or after, so it can be read in blocks.

It does not know bytes, merges or ids.

Source: Radford et al. (2019), "Language models are unsupervised multitask learners", and the pattern of its code.
"""

import re
import unicodedata
from functools import cache
from typing import Final

# OBS: for libraries that know \p{L} (letters) and \p{N} (numbers); _patterns() says the same for ``re``.
GPT2_PATTERN: Final = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""

# The ways to cut that are known here. Llama 3 leaves punctuation before a word with it, and cuts numbers into three
# digits; its pattern is below. ``digits`` is GPT-2's way, after every digit has been cut out.
CUTS: Final = ("gpt2", "llama3", "digits")
LLAMA3_PATTERN: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# WHY not \s: it is Unicode's White_Space that the pattern means; in ``re``, \s has U+001C to U+001F besides.
_SPACE: Final = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# WHY so few: there is no number beyond these two planes of Unicode. The tests check every code point.
_NUMBER_PLANES: Final = range(0x20000)


@cache
def _patterns(cut: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
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
    space = _SPACE
    pretoken = rf"'(?:[sdmt]|ll|ve|re)| ?[^{letter}]+| ?[{number}]+| ?{sign}+|[{_SPACE}]+(?![^{_SPACE}])|[{_SPACE}]+"
    if cut == "digits":
        # What is before a digit ends there, so white space stays together.
        pretoken = pretoken.replace(f" ?[{number}]+", f"[{number}]").replace("(?![^", f"(?![^{number}")
    elif cut == "llama3":
        space = space.replace(r"\t-\r", r"\t\v\f")  # line ends may belong to the signs before them
        pretoken = (
            rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|(?:_|[^\w\r\n])?[^{letter}]+|[{number}]{{1,3}}| ?{sign}+[\r\n]*"
            rf"|[{_SPACE}]*[\r\n]+|[{_SPACE}]+(?![^{_SPACE}])|[{_SPACE}]+"
        )
    # WHY these cuts: in a pre-token white space never follows anything else, only letters follow a letter, and only
    # numbers follow a number. The greedy .* makes ``re`` try the positions from the end.
    last_cut = rf"(?s:.*)(?:[^{_SPACE}](?=[{space}])|[^{letter}](?=[{letter}])|[{number}](?=[^{number}]))"
    return re.compile(pretoken), re.compile(last_cut)


def pretokenize(text: str, cut: str = "gpt2") -> list[str]:
    """Cut text without special tokens into pre-tokens; joined they are the text again. ``cut`` is one of CUTS.

    >>> pretokenize("It's 3 dogs!  Yes")
    ['It', "'s", ' 3', ' dogs', '!', ' ', ' Yes']
    """
    return _patterns(cut)[0].findall(text)


def last_certain_cut(text: str, start: int, end: int, cut: str = "gpt2") -> int:
    """Return the last position from ``start`` to ``end`` where text is cut whatever follows ``end``; else ``start``."""
    found = _patterns(cut)[1].match(text, start, end)
    return found.end() if found else start
