r"""bpe_train.py - Learn the merges of a byte-level BPE tokenizer from a text, fast. bpe_naive.py shows the idea.

Concepts:
    word: a pre-token (pretokenize.py). Equal words are counted once and weigh as often as they occur.
    merge: two tokens that become one wherever they are neighbors; its rank is its position in the order of learning.
    tie: of equally frequent pairs, the one with the greater bytes is merged, so the result is determined.

REQ: the same text gives the same merges, whatever the number of processes or the size of the blocks.
WHY a word is kept as a string: each of its characters stands for one token (chr(0) to chr(255) are the bytes,
then come the merges), so a pair is a string of two characters, and str.split finds it at the speed of C.

It does not know how text is encoded with the merges (bpe.py) or how they are stored (bpe_files.py).
"""

import sys
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from heapq import heapify, heappop, heappush, heapreplace
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from toy_gpt_train.corpus import text_blocks
from toy_gpt_train.errors import InputError
from toy_gpt_train.progress import OnProgress
from toy_gpt_train.tokenizers.bpe_naive import Merge
from toy_gpt_train.tokenizers.pretokenize import last_certain_cut, pretokenize
from toy_gpt_train.tokenizers.special import TextSplitter

BLOCK_BYTES: Final = 1 << 20  # read, and handed to a process, at a time
# A token is one character while training, and there are only so many characters.
MAX_VOCAB_SIZE: Final = sys.maxunicode + 1
_COMPLEMENT: Final = bytes(range(255, -1, -1))


def train_bpe(
    input_path: Path,
    vocab_size: int,
    special_tokens: Iterable[str] = (),
    *,
    workers: int = 1,
    on_progress: OnProgress = lambda fraction, status: None,
) -> tuple[dict[int, bytes], list[Merge]]:
    """Train a byte-level BPE tokenizer on a text file of any size, in UTF-8; every byte counts, line ends too.

    Return the bytes of each token id (see number_tokens), and the merges in the order of learning. It stops at
    ``vocab_size`` tokens (special tokens, 256 bytes and merges), or when the text has no pairs left. Special tokens are
    boundaries in the text, not trained on. A leading byte-order mark is dropped. InputError if the file is not UTF-8,
    or an argument makes no sense.

    ``workers`` are processes that cut and count the words of a large file. OBS: with more than one, the calling script
    must keep its work below ``if __name__ == "__main__":``, as always with multiprocessing.
    """
    splitter, max_merges = checked_splitter(vocab_size, special_tokens)
    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    counts = count_words(input_path, splitter, workers, lambda share, status: on_progress(share / 2, status))
    merges = learn_merges(counts, max_merges, lambda share, status: on_progress(0.5 + share / 2, status))
    return number_tokens(merges, splitter.special_tokens), merges


def checked_splitter(vocab_size: int, special_tokens: Iterable[str]) -> tuple[TextSplitter, int]:
    """Return what cuts a text to be trained on, and the most merges; InputError if an argument makes no sense."""
    splitter = TextSplitter(special_tokens, last_certain_cut)
    for token in splitter.special_tokens:
        if len(token.encode()) == 1:
            raise InputError(f"special token {token!r} is a single byte, and every byte is a token already")
    smallest = 256 + len(splitter.special_tokens)
    if not smallest <= vocab_size <= MAX_VOCAB_SIZE:
        what = "the bytes and the special tokens" if splitter.special_tokens else "the bytes"
        raise InputError(f"the vocabulary size must be from {smallest} ({what}) to {MAX_VOCAB_SIZE}, got {vocab_size}")
    return splitter, vocab_size - smallest


def count_words(
    path: Path, splitter: TextSplitter, workers: int = 1, on_progress: OnProgress = lambda fraction, status: None
) -> Counter[str]:
    """Count the pre-tokens of a file, without special tokens; InputError if it is not UTF-8.

    Cost: O(n) characters, nearly all in ``re`` and Counter; memory is bounded by the different words.
    """
    counts: Counter[str] = Counter()
    size = path.stat().st_size
    blocks = splitter.blocks(text_blocks(path, BLOCK_BYTES, on_progress))
    if workers == 1 or size <= BLOCK_BYTES:
        for block in blocks:
            counts.update(count_block(block, splitter))
        return counts
    # WHY spawn: the one way to start a process that works alike everywhere, and beside threads.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        pending: deque[Future[Counter[str]]] = deque()
        for block in blocks:
            pending.append(pool.submit(count_block, block, splitter))
            if len(pending) > 2 * workers:  # WHY: the file is not read faster than it is counted.
                counts.update(pending.popleft().result())
        for future in pending:
            counts.update(future.result())
    return counts


def count_block(block: str, splitter: TextSplitter) -> Counter[str]:
    """Count the pre-tokens of a text, without special tokens."""
    counts: Counter[str] = Counter()
    for text in splitter.split(block)[::2]:
        counts.update(pretokenize(text))
    return counts


def learn_merges(
    word_counts: Mapping[str, int], max_merges: int, on_progress: OnProgress = lambda fraction, status: None
) -> list[Merge]:
    """Merge the most frequent pair of neighbors, again and again: bpe_naive.train, fast.

    >>> learn_merges({"hug": 2, "pug": 1}, 2)
    [(b'u', b'g'), (b'h', b'ug')]
    """
    # One character for each byte: Latin-1 is the code in which byte and code point are the same number.
    words = [word.encode().decode("latin-1") for word in word_counts]
    frequencies = list(word_counts.values())
    token_of = {chr(byte): bytes([byte]) for byte in range(256)}
    pair_counts, words_with = _count_pairs(words, frequencies)
    heap = [_heap_entry(pair, count, token_of) for pair, count in pair_counts.items()]
    heapify(heap)
    merges: list[Merge] = []
    while len(merges) < max_merges and (pair := _pop_best_pair(heap, pair_counts)):
        new = chr(256 + len(merges))
        merges.append((token_of[pair[0]], token_of[pair[1]]))
        token_of[new] = token_of[pair[0]] + token_of[pair[1]]
        new_counts: Counter[str] = Counter()
        # Cost: only the words that hold the pair are touched, and Python's work in a word is O(its merged pairs);
        # a merge shortens the word, so over all merges that is O(length of the different words).
        for index in words_with.pop(pair):
            pieces = words[index].split(pair)
            words[index] = new.join(pieces)
            for old_pair, new_pair in _changed_pairs(pieces, pair, new):
                pair_counts[old_pair] -= frequencies[index]
                new_counts[new_pair] += frequencies[index]
                words_with[new_pair].add(index)
        del pair_counts[pair]
        pair_counts.update(new_counts)
        for new_pair, count in new_counts.items():
            heappush(heap, _heap_entry(new_pair, count, token_of))
        on_progress(len(merges) / max_merges, f"merge {len(merges)}")
    return merges


def _count_pairs(words: Sequence[str], frequencies: Sequence[int]) -> tuple[Counter[str], defaultdict[str, set[int]]]:
    """Count all pairs of neighbors once, and note which words hold them; merges keep both up to date.

    OBS: a word may lose a pair and stay noted; splitting it then changes nothing.
    """
    pair_counts: Counter[str] = Counter()
    words_with: defaultdict[str, set[int]] = defaultdict(set)
    for index, (word, frequency) in enumerate(zip(words, frequencies, strict=True)):
        for pair in map("".join, pairwise(word)):  # Cost: O(length of the different words)
            pair_counts[pair] += frequency
            words_with[pair].add(index)
    return pair_counts, words_with


def _changed_pairs(pieces: Sequence[str], pair: str, new: str) -> Iterator[tuple[str, str]]:
    """Yield (pair that was, pair that is now) for the neighbors of each merged pair, in a word split at it."""
    left, right = pair[0], pair[1]
    for piece in pieces[1:-1]:
        if piece:
            yield right + piece[0], new + piece[0]
            yield piece[-1] + left, piece[-1] + new
        else:
            yield right + left, new + new
    if len(pieces) > 1:
        if pieces[0]:
            yield pieces[0][-1] + left, pieces[0][-1] + new
        if pieces[-1]:
            yield right + pieces[-1][0], new + pieces[-1][0]


def _pop_best_pair(heap: list[tuple[int, str, str]], pair_counts: Counter[str]) -> str:
    """Take the best pair from the heap, or return "" where no pair is left.

    WHY lazily: a pair enters with the merge that makes it possible, and later only loses to other merges. So an
    entry is never too low; one that has become too high is put back with its true count when it comes to the top.
    """
    while heap:  # Cost: O(log pairs) each time; a pair comes up again at most as often as its count has changed
        entry_count, order, pair = heap[0]
        count = pair_counts[pair]
        if count == -entry_count:
            heappop(heap)
            return pair
        if count:
            heapreplace(heap, (-count, order, pair))
        else:
            heappop(heap)
    return ""


def _heap_entry(pair: str, count: int, token_of: Mapping[str, bytes]) -> tuple[int, str, str]:
    """Return (order of count, order among equal counts, pair): the smallest entry is the best pair."""
    return -count, _falling(token_of[pair[0]]) + _falling(token_of[pair[1]]), pair


def _falling(token: bytes) -> str:
    """Return a string that sorts the other way round than the token.

    WHY the end mark: a token is greater than its own beginning, so its string must be smaller. The mark also
    keeps the strings of two tokens apart when they are joined.
    """
    return token.translate(_COMPLEMENT).decode("latin-1") + "\u0100"


def number_tokens(merges: Sequence[Merge], special_tokens: Iterable[str] = ()) -> dict[int, bytes]:
    """Give every token its id: special tokens as given, then bytes 0 to 255, then the results of the merges."""
    special = (token.encode() for token in special_tokens)
    merged = (left + right for left, right in merges)
    return dict(enumerate([*special, *(bytes([byte]) for byte in range(256)), *merged]))
