r"""bpe_naive.py - Byte-level BPE in its plainest form. Read it before the fast one (bpe_train.py, bpe.py).

The learner's question: who decides that " the" is one token? The text does. Training starts from single bytes and
repeats one step: find the most frequent pair of neighbors, and make it a new token. Encoding repeats these merges.

    "hug pug hug"  ->  h u g, p u g, h u g  ->  u+g = ug  ->  h+ug = hug  ->  ...

Both work on words, the pre-tokens of pretokenize.py. The tests compare the fast ones with them.

Source: Sennrich, Haddow and Birch (2016), "Neural machine translation of rare words with subword units".
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from toy_gpt_train.tokenizers.base import MergeStep

Merge = tuple[bytes, bytes]


def train(words: Iterable[str], max_merges: int) -> list[Merge]:
    """Return the merges in the order of learning; of equally frequent pairs the one with the greater bytes is merged.

    >>> train(["hug", " pug", " hug"], 2)
    [(b'u', b'g'), (b'h', b'ug')]
    """
    split = [single_bytes(word) for word in words]
    merges: list[Merge] = []
    while len(merges) < max_merges:
        counts = Counter(pair for tokens in split for pair in pairwise(tokens))
        if not counts:
            break
        merges.append(max(counts, key=lambda pair: (counts[pair], pair)))
        split = [merge_all(tokens, merges[-1]) for tokens in split]
    return merges


def encode(word: str, merges: Sequence[Merge]) -> list[bytes]:
    """Return the tokens of a word."""
    steps = merge_steps(word, merges)
    return steps[-1].tokens if steps else single_bytes(word)


def merge_steps(word: str, merges: Sequence[Merge]) -> list[MergeStep]:
    """Return every step from single bytes to tokens: the merge learned first goes first, at its leftmost position."""
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    tokens = single_bytes(word)
    steps: list[MergeStep] = []
    while found := [(ranks[pair], start) for start, pair in enumerate(pairwise(tokens)) if pair in ranks]:
        rank, start = min(found)
        tokens = [*tokens[:start], tokens[start] + tokens[start + 1], *tokens[start + 2 :]]
        steps.append(MergeStep(rank, merges[rank], tokens))
    return steps


def single_bytes(word: str) -> list[bytes]:
    """Return the UTF-8 bytes of a word, one by one."""
    return [bytes([byte]) for byte in word.encode()]


def merge_all(tokens: Sequence[bytes], merge: Merge) -> list[bytes]:
    """Merge a pair wherever it stands, from left to right.

    >>> merge_all([b"a", b"a", b"a"], (b"a", b"a"))
    [b'aa', b'a']
    """
    merged: list[bytes] = []
    start = 0
    while start < len(tokens):
        end = start + (2 if tuple(tokens[start : start + 2]) == merge else 1)
        merged.append(b"".join(tokens[start:end]))
        start = end
    return merged
