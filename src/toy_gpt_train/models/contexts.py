"""contexts.py - What came before a token, as numbers: one for each of several contexts.

A context is a choice of views (views.py): the last three tokens, say, or the word so far and the word before it. One
more view is of this file alone: the kinds of the last eight characters, which is the shape of a text. The value of a
context at a position becomes one number of 60 bits, a hash. Equal values have equal numbers; different ones have
different numbers, but for rare accidents.

REQ: the numbers depend on the last 64 tokens only, and are the same on every machine.
WHY not hash(): it differs from one run of Python to the next.
"""

from collections.abc import Iterator, Sequence
from typing import Final
from zlib import crc32

from toy_gpt_train.models.views import LAGS, LOOK_BACK, TEXT_VIEWS, Views

# OBS: compared inside the training part of Tiny Shakespeare: nine tenths learned, another one scored, four times.
# WHY other tenths than the last, too: what suits the next pages of the same play need not suit another play.
_WORDS: Final = (
    ("lag_1", "prefix"),
    ("lag_1", "prefix", "word_1"),
    ("lag_1", "prefix", "word_2"),
    ("lag_1", "prefix", "column"),
    ("lag_1", "lag_2", "column"),
    ("lag_1", "kinds"),
    ("lag_1", "prefix", "kinds"),
)
# WHY not the last five, too: they are worth 0.0008.
CHARACTERS: Final = (*(LAGS[:n] for n in (1, 2, 3, 4, 6)), *_WORDS)
OTHER_TOKENS: Final = ((), LAGS[:1], LAGS[:2], LAGS[:3], LAGS[1:2], LAGS[1:3])

_CHUNK: Final = 4096  # positions at a time
_MULTIPLIER: Final = 0x9E3779B97F4A7C15  # odd, with bits that look random
_BITS: Final = 60
_KINDS_SEEN: Final = (1 << 16) - 1  # two bits for each of the last eight characters


class Contexts:
    """Computes the contexts of a text from the vocabulary's tokens, by id.

    ``views`` lists what each looks at. The first ``num_plain`` contexts are simply the last tokens.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = tokens
        are_characters = Views(tokens).are_characters
        self.views: tuple[tuple[str, ...], ...] = CHARACTERS if are_characters else OTHER_TOKENS
        self.num_plain = sum(view == LAGS[: len(view)] for view in self.views)
        self._repeat = LAGS[:8] if are_characters else LAGS[:3]  # so many equal tokens are a repeat
        self._kind_of = [_kind(token) for token in (*tokens, "")]  # the last is an unknown token

    def rows(self, ids: Sequence[int], start: int = 0) -> Iterator[tuple[int, ...]]:
        """Yield K + 1 numbers for each position from ``start`` on, before each token and after the last.

        There is one for each of the K contexts, and one for the last tokens by which a repeat is found.
        """
        for begin in range(start, len(ids) + 1, _CHUNK):
            first = max(begin - LOOK_BACK, 0)
            window = ids[first : begin + _CHUNK - 1]
            yield from zip(*(numbers[begin - first :] for numbers in self._numbers(window)), strict=True)

    def _numbers(self, ids: Sequence[int]) -> Iterator[list[int]]:
        """Yield the numbers of each context at all positions."""
        views = Views(self._tokens)
        columns = views.columns(ids)
        words = {code: crc32(text.encode("utf-8", "surrogatepass")) for code, text in views.text_of_code().items()}
        values = {
            name: list(map(words.__getitem__ if name in TEXT_VIEWS else ord, column))
            for name, column in columns.items()
        }
        values["kinds"] = self._kinds(ids)
        # WHY kept: many contexts begin like another.
        known: dict[tuple[str, ...], list[int]] = {(): [0] * (len(ids) + 1)}
        for k, names in enumerate((*self.views, self._repeat), start=1):
            for end, name in enumerate(names):
                if names[: end + 1] not in known:
                    pairs = zip(known[names[:end]], values[name], strict=True)
                    known[names[: end + 1]] = [
                        (number * _MULTIPLIER + value + 1) % (1 << _BITS) for number, value in pairs
                    ]
            # WHY once more: contexts that differ only in their last value must not be neighbors.
            numbers = [(number + k) * _MULTIPLIER % (1 << _BITS) for number in known[names]]
            yield [number ^ number >> _BITS // 2 for number in numbers]

    def _kinds(self, ids: Sequence[int]) -> list[int]:
        """Return at each position the kinds of the last eight characters: the shape of a text without its letters."""
        kinds = [0]
        for token_id in ids:
            kinds.append((kinds[-1] << 2 | self._kind_of[token_id]) & _KINDS_SEEN)
        return kinds


def table_size(wanted: int, limits: tuple[int, int]) -> int:
    """Return how many slots a table has in which numbers are looked up: a power of two, between two limits.

    >>> table_size(1000, (64, 4096)), table_size(3, (64, 4096))
    (1024, 64)
    """
    least, most = limits
    return min(max(1 << wanted.bit_length(), least), most)


def _kind(character: str) -> int:
    return 0 if character.islower() else 1 if character.isupper() else 2 if character == " " else 3
