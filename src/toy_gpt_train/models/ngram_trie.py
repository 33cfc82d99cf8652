"""ngram_trie.py - Counted n-grams in sorted arrays: for each context of 0 to N values, what followed it, and how often.

An n-gram is a string: N values of a context, newest first, then the token that followed. Each value is a code point, so
the n-grams of the contexts that end alike are neighbors once they are sorted. That makes a trie: a context is a node,
its parent is the context without its oldest value, and the nodes of one length, in sorted order, are numbers in arrays.
A look-up goes from the empty context one older value at a time, by bisection among the children of a node.

    n-gram of "cat s" + "a"     values "s", " ", "t", then the token "a"
    its contexts                "" -> "s" -> "s " -> "s t": a node in each length

Below the longest context, a token's count is Kneser and Ney's continuation count: how many different n-grams one value
longer end like this one. So all of the trie follows from the counts of its longest n-grams.

Cost: 3 to 10 bytes per n-gram of each length, and as much per context; no strings and no dictionaries.

Source: Pauls and Klein (2011), "Faster and smaller n-gram language models"; Heafield (2011), "KenLM: faster and smaller
language model queries".
"""

import sys
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, compress, count, islice, pairwise, repeat, starmap
from operator import add, floordiv, lt, mod, mul, ne, or_, sub
from typing import Any, Final, NamedTuple

LARGEST_IN_TABLES: Final = 120_000  # n-grams
MOST_TENSOR_BYTES: Final = 1 << 48  # the format's own limit
_TYPECODES: Final = (("B", 1 << 8), ("H", 1 << 16), ("I", 1 << 32), ("Q", 1 << 64))
_COUNTED_AT_ONCE: Final = 1 << 17  # n-grams
_MOST_PARTS: Final = 250  # which are numbered by bytes
_CHECKED_AT_ONCE: Final = 1 << 16
Tensor = tuple[tuple[int, ...], Any]  # a shape, and whole numbers, perhaps still in their file


class Level(NamedTuple):
    """The contexts of one length, by number. Those that share all but their oldest value are neighbors."""

    values: "array[int]"  # the oldest value of each context; neighbors are sorted by it
    children: "array[int]"  # where each one's children begin among the contexts one longer; at the end, how many
    begins: "array[int]"  # where its followers begin; at the end, how many
    tokens: "array[int]"  # the followers, sorted for each context
    counts: "array[int]"  # of each follower

    def split(self, *columns: "array[Any]") -> Iterator[tuple["array[Any]", ...]]:
        """Yield for each context its part of columns that have a number for every follower."""
        parts = (map(column.__getitem__, map(slice, self.begins, self.begins[1:])) for column in columns)
        return zip(*parts, strict=True)


class NgramTrie:
    """The n-grams of all lengths; ``levels`` has the contexts of 0, 1, … N values.

    Example:
        >>> trie = build_trie("abac", [1, 2], size=2)
        >>> [level.counts.tolist() for level in trie.levels]
        [[1, 1], [1, 2]]
        >>> trie.path("a"), trie.path("b"), trie.followers(1, 0)
        ([0, 0], [0], {98: 1, 99: 2})
    """

    def __init__(self, levels: Sequence[Level]) -> None:
        self.levels = levels
        self.steps = [(shorter.children, longer.values) for shorter, longer in pairwise(levels)]

    def path(self, history: str) -> list[int]:
        """Return the contexts of the last 0, 1, 2, … values of a history (newest first), up to the longest one met."""
        node = 0
        path = [node]
        for value, (children, values) in zip(map(ord, history), self.steps, strict=False):
            end = children[node + 1]
            node = bisect_left(values, value, children[node], end)
            if node == end or values[node] != value:
                break
            path.append(node)
        return path

    def followers(self, length: int, node: int) -> dict[int, int]:
        """Return the tokens that followed a context, by id, and their counts."""
        _, _, begins, tokens, counts = self.levels[length]
        begin, end = begins[node], begins[node + 1]
        return dict(zip(tokens[begin:end], counts[begin:end], strict=True))

    def contexts(self, length: int) -> list[str]:
        """Return the contexts of a length, newest value first, in sorted order."""
        found = [""]
        for shorter, longer in islice(pairwise(self.levels), length):
            parents = chain.from_iterable(map(repeat, found, _sizes(shorter.children)))
            found = list(map(add, parents, map(chr, longer.values)))
        return found

    def ngrams(self) -> Iterator[tuple[str, int]]:
        """Yield the longest n-grams in sorted order, and their counts: what build_trie() takes."""
        longest = self.levels[-1]
        contexts = chain.from_iterable(map(repeat, self.contexts(len(self.levels) - 1), _sizes(longest.begins)))
        return zip(map(add, contexts, map(chr, longest.tokens)), longest.counts, strict=True)

    def num_ngrams(self) -> int:
        """Return how many different longest n-grams there are."""
        return len(self.levels[-1].tokens)

    def tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """Return the longest n-grams, and the contexts of all lengths, as arrays by name: what read_trie() takes."""
        *shorter, longest = self.levels
        arrays = {f"{prefix}ngrams.{part}": getattr(longest, part) for part in ("begins", "tokens", "counts")}
        for length, level in enumerate(shorter):
            arrays[f"{prefix}contexts_{length}.children"] = level.children
            arrays[f"{prefix}contexts_{length + 1}.values"] = self.levels[length + 1].values
        return {name: ((len(numbers),), numbers) for name, numbers in arrays.items()}


EMPTY_TRIE: Final = NgramTrie([Level(array("B", [0]), array("B"), array("B", [0, 0]), array("B"), array("B"))])


def layout_of(num_ngrams: int) -> str:
    """Return how counts are written: more than some go to one binary file, because nobody would read them in tables."""
    return "tables" if num_ngrams <= LARGEST_IN_TABLES else "safetensors"


def count_ngrams(columns: Sequence[str]) -> NgramTrie:
    """Return the trie of all n-grams of a text: the first value of each position in the first column, and so on.

    >>> trie = count_ngrams(["aba", "bab"])
    >>> list(trie.ngrams())
    [('ab', 2), ('ba', 1)]

    WHY in parts: those with the same first value are neighbors, and a part of them takes little memory while counted.
    """
    first, size = Counter(columns[0]), max(len(columns[0]) // _MOST_PARTS + 1, _COUNTED_AT_ONCE)
    before = accumulate((first[value] for value in sorted(first)), initial=0)
    part_of = columns[0].translate(
        {ord(value): start // size for value, start in zip(sorted(first), before, strict=False)}
    )
    parts = part_of.encode("latin-1")
    ngrams, counts = [], array("Q")
    for part in sorted({*parts}):
        is_here = parts.translate(bytes(number == part for number in range(256)))
        counted = Counter(map("".join, compress(zip(*columns, strict=True), is_here)))
        in_order = sorted(counted)
        ngrams.append("".join(in_order))
        counts.extend(map(counted.__getitem__, in_order))
    return build_trie("".join(ngrams), counts, len(columns))


def checked_ngrams(counted: Iterable[tuple[str, int]], name: str) -> dict[str, int]:
    """Return n-grams and their counts; ValueError if one appears twice, a count is below 1, or there are none."""
    ngrams: dict[str, int] = {}
    for ngram, times in counted:
        if ngram in ngrams or times < 1:
            raise ValueError("a count below 1, or a context and token that occur twice")
        ngrams[ngram] = times
    if not ngrams:
        raise ValueError(f"{name}: there is nothing in it")
    return ngrams


def sorted_trie(counted: Mapping[str, int]) -> NgramTrie:
    """Return the trie of n-grams in any order, and their counts."""
    in_order = sorted(counted)
    return build_trie("".join(in_order), map(counted.__getitem__, in_order), len(in_order[0]))


def build_trie(ngrams: str, counts: Iterable[int], size: int) -> NgramTrie:
    """Return the trie of n-grams of some size, which are sorted and joined, and the count of each."""
    new = b"\1" + bytes(len(ngrams) // size - 1)  # whether an n-gram has another context than the one before it
    values = [array("B", [0])]
    children = []
    for column in (_code_points(ngrams[place::size]) for place in range(size - 1)):
        shorter, new = new, bytes(map(or_, new, chain([1], map(ne, column, column[1:]))))
        values.append(smallest_array(compress(column, new)))
        children.append(_places(compress(shorter, new)))
    level = Level(
        values.pop(), array("B"), _places(new), _code_points(ngrams[size - 1 :: size]), smallest_array(counts)
    )
    levels = [level]
    while values:
        level = shortened(level, children.pop())._replace(values=values.pop())
        levels.insert(0, level)
    return NgramTrie(levels)


def shortened(longer: Level, children: "array[int]") -> Level:
    """Return the parents of a level, still without values: their followers have continuation counts."""
    base = max(longer.tokens) + 1
    bounds = array("Q", map(longer.begins.__getitem__, children))
    parents = chain.from_iterable(map(repeat, count(), _sizes(bounds)))
    # A parent and a token are one number; equal ones are then counted.
    times = Counter(sorted(map(add, map(mul, parents, repeat(base)), longer.tokens)))
    begins = _starts(Counter(map(floordiv, times, repeat(base))).values())
    tokens = smallest_array(map(mod, times, repeat(base)))
    return Level(array("B"), children, begins, tokens, smallest_array(times.values()))


def smallest_array(numbers: Iterable[int]) -> "array[int]":
    """Return whole numbers of 0 or more in as few bytes each as the largest one needs.

    >>> smallest_array([1, 255]).typecode, smallest_array([256]).typecode
    ('B', 'H')
    """
    wide = array("Q", numbers)
    most = max(wide, default=0)
    return array(next(typecode for typecode, limit in _TYPECODES if most < limit), wide)


def read_trie(tensors: Mapping[str, Tensor], length: int, vocab_size: int, prefix: str = "") -> NgramTrie:
    """Return the trie of N + 1 values that NgramTrie.tensors() described; ValueError if the numbers describe none.

    REQ: they are not trusted. Nothing is read that is longer than what was found to be counts, or to rise.
    """
    begins = _rising(tensors, f"{prefix}ngrams.begins")
    counts = _numbers(tensors, f"{prefix}ngrams.counts", begins[-1], lambda part: min(part) > 0)
    tokens = _sorted_parts(tensors, f"{prefix}ngrams.tokens", begins, vocab_size)
    level = Level(array("B"), array("B"), begins, tokens, counts)
    levels: list[Level] = []
    while length:
        children = _rising(tensors, f"{prefix}contexts_{length - 1}.children")
        if children[-1] != len(level.begins) - 1:
            raise ValueError(f"{prefix}contexts_{length - 1}.children: not as many as there are contexts of {length}")
        values = _sorted_parts(tensors, f"{prefix}contexts_{length}.values", children, sys.maxunicode + 1)
        levels.insert(0, level._replace(values=values))
        level = shortened(levels[0], children)
        length -= 1
    if len(level.begins) != 2:
        raise ValueError(f"{prefix}contexts_0.children: of more than one empty context")
    return NgramTrie([level._replace(values=array("B", [0])), *levels])


def _rising(tensors: Mapping[str, Tensor], name: str) -> "array[int]":
    """Return whole numbers from 0 on, each of them larger than the one before."""
    (size, *_), _ = tensors.get(name, ((0,), ()))
    found = _numbers(tensors, name, max(size, 2), lambda part: all(map(lt, part, part[1:])))
    if found[0] != 0:
        raise ValueError(f"{name}: does not begin at 0")
    return found


def _sorted_parts(tensors: Mapping[str, Tensor], name: str, starts: "array[int]", limit: int) -> "array[int]":
    """Return whole numbers below a limit, sorted in each part that ``starts`` marks."""
    found = _numbers(tensors, name, starts[-1], lambda part: max(part) < limit)
    parts = chain.from_iterable(map(repeat, count(), _sizes(starts)))
    if not all(starmap(lt, pairwise(map(add, map(mul, parts, repeat(limit)), found)))):
        raise ValueError(f"{name}: not in order, or twice the same")
    return found


def _numbers(
    tensors: Mapping[str, Tensor], name: str, size: int, is_right: Callable[["array[int]"], bool]
) -> "array[int]":
    """Return the whole numbers of a tensor, each piece checked together with the number before it."""
    shape, numbers = tensors.get(name, ((), ()))
    if shape != (size,) or numbers.typecode not in "BHIQ":
        raise ValueError(f"{name}: missing, or not {size} whole numbers")
    found: array[int] = array(numbers.typecode)
    for begin in range(0, size, _CHECKED_AT_ONCE):
        found += numbers[begin : begin + _CHECKED_AT_ONCE]
        if not is_right(found[max(begin - 1, 0) :]):
            raise ValueError(f"{name}: a number that is out of place")
    return found


def as_text(token_ids: Iterable[int]) -> str:
    """Return a string with one code point per token id."""
    # WHY not join(map(chr, ...)): it makes a list of all characters first, of up to 84 bytes each, and is slower.
    return str(array("I", token_ids), f"utf-32-{sys.byteorder[0]}e", "surrogatepass")


def _code_points(text: str) -> "array[int]":
    return smallest_array(array("I", text.encode(f"utf-32-{sys.byteorder[0]}e", "surrogatepass")))


def _places(flags: Iterable[int]) -> "array[int]":
    """Return where ones are among zeros and ones; at the end, how many there are of both."""
    both = bytes(flags)
    return smallest_array(chain(compress(count(), both), [len(both)]))


def _starts(sizes: Iterable[int]) -> "array[int]":
    return smallest_array(accumulate(sizes, initial=0))


def _sizes(starts: "array[int]") -> Iterator[int]:
    return map(sub, islice(starts, 1, None), starts)
