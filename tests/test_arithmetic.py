"""The arithmetic coder: answers worked out by hand, exact intervals of fractions, and damage."""

from fractions import Fraction
from itertools import accumulate
from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toy_gpt_train.coding.arithmetic import Decoder, Encoder
from toy_gpt_train.errors import InputError

# Frequencies, and symbols that have some: what the coder is asked in turn.
QUESTIONS = st.lists(
    st.lists(st.integers(1, 1 << 28), min_size=1, max_size=6).flatmap(
        lambda frequencies: st.tuples(st.just(frequencies), st.integers(0, len(frequencies) - 1))
    ),
    max_size=60,
)


def encoded(questions):
    encoder = Encoder()
    for frequencies, symbol in questions:
        assert encoder.code(frequencies, symbol) == symbol
    return encoder.num_bits, encoder.finish()


def decoded(data, asked):
    decoder = Decoder(data)
    symbols = [decoder.code(frequencies) for frequencies in asked]
    decoder.finish()
    return symbols


@pytest.mark.parametrize(
    ("frequencies", "symbols", "bits"),
    [
        # Nothing is left to say of the whole interval; the last bit names its middle.
        ([1, 1], [], "1"),
        # A certain symbol takes no bit.
        ([7], [0] * 1000, "1"),
        # Halves: each symbol is a bit.
        ([1, 1], [1, 0, 1, 1, 0, 0, 1], "1011001" + "1"),
        # Bytes that are equally likely are themselves.
        ([1] * 256, list(b"AB"), "01000001" + "01000010" + "1"),
        # [0, 1/3) is in the lower half: 0, and becomes [0, 2/3).
        ([1, 1, 1], [0], "0" + "1"),
        # [1/3, 2/3) is in the middle half: what follows a bit is its opposite; it becomes [1/6, 5/6).
        ([1, 1, 1], [1], "1" + "0"),
        # [2/3, 1) is in the upper half: 1, and becomes [1/3, 1).
        ([1, 1, 1], [2], "1" + "1"),
        # And the first third of that, [1/3, 5/9), is in the middle half: it becomes [1/6, 11/18).
        ([1, 1, 1], [2, 0], "1" + "1" + "0"),
        # 3/4, then its last quarter: [9/16, 12/16) is in the upper half: 1, [2/16, 8/16); in the lower: 0, [4/16, 1).
        ([3, 1], [0, 1], "10" + "1"),
        # [1/2 - 1/8, 1/2 + 1/8) is in the middle three times: in each of them it doubles.
        ([3, 2, 3], [1], "1" + "00"),
    ],
)
def test_bits_worked_out_by_hand(frequencies, symbols, bits):
    data = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    assert encoded([(frequencies, symbol) for symbol in symbols])[1] == data
    assert decoded(data, [frequencies] * len(symbols)) == symbols


@given(QUESTIONS)
def test_what_was_written_is_read(questions):
    _, data = encoded(questions)
    assert decoded(data, [frequencies for frequencies, _ in questions]) == [symbol for _, symbol in questions]


@given(QUESTIONS)
def test_the_number_is_in_the_exact_interval(questions):
    """Fractions divide the interval without rounding; the coder rounds each border down by less than 1 in 2**62."""
    num_bits, data = encoded(questions)
    low, size, slack = Fraction(0), Fraction(1), Fraction(0)
    for frequencies, symbol in questions:
        begin, end = ([0, *accumulate(frequencies)][i] for i in (symbol, symbol + 1))
        slack += size / 2**61
        low, size = low + size * begin / sum(frequencies), size * (end - begin) / sum(frequencies)
    number = Fraction(int.from_bytes(data, "big"), 256 ** len(data))
    assert low - slack <= number < low + size + slack
    # WHY not log2 of a Fraction: it would be 0 as a float.
    exact_bits = log2(size.denominator) - log2(size.numerator)
    assert num_bits == pytest.approx(exact_bits, abs=1e-6)
    assert num_bits - 1 < 8 * len(data) <= num_bits + 8


@given(QUESTIONS, st.data())
def test_other_bytes_are_other_symbols_or_refused(questions, draw):
    _, data = encoded(questions)
    place = draw.draw(st.integers(0, len(data) - 1))
    changed = bytes([data[place] ^ draw.draw(st.integers(1, 255))])
    for other in (
        data[:place] + changed + data[place + 1 :],
        data[:place],
        data + draw.draw(st.binary(min_size=1, max_size=3)),
    ):
        try:
            symbols = decoded(other, [frequencies for frequencies, _ in questions])
        except InputError:
            continue
        assert symbols != [symbol for _, symbol in questions]


def test_a_decoder_does_not_read_on_for_ever():
    with pytest.raises(InputError, match="data end"):
        decoded(b"\x12\x34", [[1, 1]] * 16)


@pytest.mark.parametrize("frequencies", [[0, 1], [1, 1 << 62]])
def test_frequencies_that_leave_nothing_are_an_error(frequencies):
    with pytest.raises(ValueError, match="leaves nothing"):
        Encoder().code(frequencies, 0)
