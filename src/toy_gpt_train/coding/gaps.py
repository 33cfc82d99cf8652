"""gaps.py - What stands between the tokens of a text, as symbols: is it the usual, and if not, which bytes is it?

No model predicts that, so it is counted while it comes: how often something else stood after this token (a line end
mostly follows a full stop), and which byte followed which byte.
"""

from collections.abc import Iterable
from itertools import chain, repeat
from typing import Final

from toy_gpt_train.coding.arithmetic import Decoder, Encoder
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import MAX_BYTES

_END: Final = 256  # after the bytes of a gap, and the context of the first one
_GROWTH: Final = 24


class GapCoder:
    """Codes gaps, one after the other; ``num_bits`` is what they have taken."""

    def __init__(self, coder: Encoder | Decoder) -> None:
        self.num_bits = 0.0
        self._coder = coder
        self._unusual: dict[int, list[int]] = {}  # frequencies by the token before
        self._bytes: dict[int, list[int]] = {}  # and by the byte before

    def code(self, token_before: int, usual: bytes, gap: bytes | None) -> bytes:
        """Code a gap and return it; a decoder is given None. InputError if the data end, or the gap does not."""
        before = self._coder.num_bits
        is_unusual = self._symbol(self._unusual, token_before, 2, None if gap is None else gap != usual)
        coded = self._code_bytes(gap) if is_unusual else usual
        self.num_bits += self._coder.num_bits - before
        return coded

    def _code_bytes(self, gap: bytes | None) -> bytes:
        coded, before = bytearray(), _END
        given: Iterable[int | None] = repeat(None) if gap is None else chain(gap, [_END])
        for each in given:
            before = self._symbol(self._bytes, before, 257, each)
            if before == _END:
                break
            coded.append(before)
            if len(coded) > MAX_BYTES:
                raise InputError(f"the text would have more than {MAX_BYTES:,} bytes")
        return bytes(coded)

    def _symbol(self, counts: dict[int, list[int]], context: int, size: int, symbol: int | None) -> int:
        frequencies = counts.setdefault(context, [1] * size)
        coded = self._coder.code(frequencies, symbol)
        frequencies[coded] += _GROWTH
        return coded
