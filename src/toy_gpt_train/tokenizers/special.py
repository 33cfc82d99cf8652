r"""special.py - Special tokens: texts that are one token wherever they stand, as "<|endoftext|>" between documents.

The learner's question: how does a model learn where a text ends? A text that nobody writes stands there, and it is one
token whatever the tokenizer: "end.<|endoftext|>The" is "end.", "<|endoftext|>", "The" to words.

It does not know how the text between special tokens is cut.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from toy_gpt_train.errors import InputError

_LONGEST_SPECIAL: Final = 256  # characters; all beginnings of a special token are kept
_MOST_CHARACTERS: Final = 100_000  # of all together


def check_special(special: Iterable[str]) -> tuple[str, ...]:
    """Return special tokens; InputError if one is empty or too long, comes twice, or holds a lone surrogate."""
    checked: dict[str, None] = {}
    for token in special:
        if not token:
            raise InputError("a special token is empty")
        if len(token) > _LONGEST_SPECIAL:
            raise InputError(f"special token {token!r:.60} has more than {_LONGEST_SPECIAL} characters")
        if token in checked:
            raise InputError(f"special token {token!r} is given twice")
        if any("\ud800" <= char <= "\udfff" for char in token):
            raise InputError(f"special token {token!r} holds a lone surrogate, which UTF-8 cannot hold")
        checked[token] = None
    if (total := sum(map(len, checked))) > _MOST_CHARACTERS:
        raise InputError(f"the special tokens have {total:,} characters; the limit is {_MOST_CHARACTERS:,}")
    return tuple(checked)


def special_pattern(special: Iterable[str]) -> re.Pattern[str]:
    """Return what matches any special token, the longest where several start at one position."""
    # WHY sorted: ``re`` takes the first alternative that fits. (?!) fits nowhere: there are no special tokens.
    longest_first = sorted(special, key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")


def outside_special(text: str, position: int, special: Iterable[str]) -> int:
    """Return a position in a text, moved to the start of the special token that it is inside of.

    Example:
        >>> [outside_special("a<end>b", position, ["<end>"]) for position in (1, 2, 5, 6)]
        [1, 1, 1, 6]
    """
    for match in special_pattern(special).finditer(text):
        if match.end() > position:
            return min(position, match.start())
    return position


class TextSplitter:
    """Cuts text at special tokens, and a stream of text into blocks that are tokenized one by one.

    Special tokens are never split; the longest wins where several start at one position. Errors as in check_special.

    Args:
        special_tokens: The texts.
        last_cut: Takes a text without special tokens, a start and an end in it; returns the last position between them
            where tokens are separate whatever follows the end.

    Example:
        >>> TextSplitter(["<end>"], lambda text, start, end: end).split("a b<end>c")
        ['a b', '<end>', 'c']
    """

    def __init__(self, special_tokens: Iterable[str], last_cut: Callable[[str, int, int], int]) -> None:
        self.special_tokens = check_special(special_tokens)
        self._last_cut = last_cut
        self._longest = max(map(len, self.special_tokens), default=0)
        self._pattern = special_pattern(self.special_tokens)
        self._beginnings = {token[:end] for token in self.special_tokens for end in range(1, len(token))}

    def split(self, text: str) -> list[str]:
        """Return the text between special tokens (even indices, may be empty) and these tokens (odd indices)."""
        return self._pattern.split(text) if self.special_tokens else [text]

    def blocks(self, chunks: Iterable[str]) -> Iterator[str]:
        """Regroup a stream of text, cut anywhere, so that its blocks, tokenized one by one, give the whole's tokens.

        Blocks end at a special token or at a certain cut. Only what may still change is held back: a token or two,
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
        if not self.special_tokens:
            return self._last_cut(text, 0, len(text))
        tail = range(max(0, len(text) - self._longest + 1), len(text))
        # What starts here may become a special token.
        open_at = next((start for start in tail if text[start:] in self._beginnings), len(text))
        settled = 0
        for match in self._pattern.finditer(text):
            if match.end() > open_at:
                open_at = min(open_at, match.start())
                break
            settled = match.end()
        return self._last_cut(text, settled, open_at)
