"""bpe_merge.py - What byte-level BPE and sentencepiece's share: the merging of one word, and a memory of words.

It does not know what the first tokens of a word are: bytes, or characters.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import pairwise
from typing import Final

from toy_gpt_train.errors import InputError

# WHY two bounds: 32,768 words of at most 32 bytes take some 7 MB in ordinary text, and never more than 16 MB.
CACHED_WORDS: Final = 1 << 15
CACHED_WORD_BYTES: Final = 32
_NO_TOKEN: Final = -1


def merged(first: Sequence[int], ranks: Mapping[tuple[int, int], int], merged_ids: Sequence[int]) -> list[int]:
    """Merge the tokens of a word, the merge of lowest rank first and its leftmost position first, as far as they go.

    Cost: O(n log n) for n tokens: they are a linked list, and each rank has the positions to merge at. A merge removes
    one token, finds its neighbors in the list at once, and adds at most two positions, each of which enters and leaves
    a heap once.

    Args:
        first: The ids that the word begins as.
        ranks: The rank of each pair of ids that can be merged.
        merged_ids: What the merge of each rank makes.

    Example:
        >>> merged([7, 7, 7, 8], {(7, 7): 0, (7, 8): 1}, [70, 78])
        [70, 78]
    """
    # WHY one entry more: after the last token, and before the first (position -1), stands no token.
    ids = [*first, _NO_TOKEN]
    after = list(range(1, len(ids) + 1))
    before = list(range(-1, len(ids) - 1))
    positions_of: defaultdict[int, list[int]] = defaultdict(list)
    for position, pair in enumerate(pairwise(ids)):
        if pair in ranks:
            positions_of[ranks[pair]].append(position)
    open_ranks = sorted(positions_of)  # a sorted list is a heap, and so are the positions of each rank
    while open_ranks:
        rank = open_ranks[0]
        if not positions_of[rank]:
            del positions_of[heappop(open_ranks)]
            continue
        position = heappop(positions_of[rank])
        removed = after[position]
        if ranks.get((ids[position], ids[removed])) != rank:
            continue  # One of the two has been merged since.
        ids[position], ids[removed] = merged_ids[rank], _NO_TOKEN
        following = after[position] = after[removed]
        before[following] = position
        for left, right in ((before[position], position), (position, following)):
            if (new_rank := ranks.get((ids[left], ids[right]))) is not None:
                if new_rank not in positions_of:
                    heappush(open_ranks, new_rank)
                heappush(positions_of[new_rank], left)
    return [token_id for token_id in ids if token_id != _NO_TOKEN]


class WordCache(dict[str, tuple[int, ...]]):
    """The ids of words met before; a full cache is emptied. InputError if a lone surrogate is in a word."""

    def __init__(self, encode_word: Callable[[str], Sequence[int]]) -> None:
        super().__init__()
        self._encode_word = encode_word

    def __missing__(self, word: str) -> tuple[int, ...]:
        size = len(utf8(word))
        ids = tuple(self._encode_word(word))
        if size <= CACHED_WORD_BYTES:
            if len(self) >= CACHED_WORDS:
                self.clear()
            self[word] = ids
        return ids


def utf8(text: str) -> bytes:
    """Return the bytes of a text; InputError if it holds a lone surrogate."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        surrogate = ord(text[error.start])
        raise InputError(f"the text holds a lone surrogate (U+{surrogate:04X}), which UTF-8 cannot hold") from error
