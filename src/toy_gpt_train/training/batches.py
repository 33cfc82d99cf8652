"""batches.py - Windows of text to learn from, and how surprised a network is by them.

A window is N + 1 tokens: the network reads the first N, and should predict each but the first from those before it.
"""

from bisect import bisect_left
from collections.abc import Sequence
from random import Random
from typing import Final

from toy_gpt_train.nn.functional import cross_entropy, without_first
from toy_gpt_train.nn.modules import Network
from toy_gpt_train.nn.tensor import Tensor

Window = Sequence[int]

_AT_STARTS: Final = 1 / 3  # of the windows


def draw_windows(
    token_ids: Sequence[int], context_size: int, batch_size: int, generator: Random, starts: Sequence[int] = ()
) -> list[Window]:
    """Draw windows of N + 1 tokens from random positions of a text; ValueError if the text is shorter.

    About a third of them begin at one of ``starts``, in rising order, if a window fits there.
    """
    positions = len(token_ids) - context_size
    if positions < 1:
        raise ValueError(f"{len(token_ids)} tokens are too few for a window of {context_size + 1}")
    room = bisect_left(starts, positions)  # so many of the starts leave room for a window

    def start() -> int:
        at_start = room and generator.random() < _AT_STARTS
        return starts[generator.randrange(room)] if at_start else generator.randrange(positions)

    begins = [start() for _ in range(batch_size)]
    # WHY a list: worker processes are sent it, and a view of a file cannot be sent.
    return [list(token_ids[begin : begin + context_size + 1]) for begin in begins]


def starts_after(token_ids: Sequence[int], token_id: int) -> list[int]:
    """Return the positions right after each occurrence of a token.

    >>> starts_after([5, 0, 7, 0], 0)
    [2, 4]
    """
    return [position for position, found in enumerate(token_ids, start=1) if found == token_id]


def window_loss(network: Network, windows: Sequence[Window], burn_in: int = 0) -> tuple[Tensor, int, int]:
    """Return the mean loss in nats, how many tokens were predicted, and for how many the most likely was right.

    At the first ``burn_in`` positions of a window nothing is predicted: they are only read.
    """
    logits = without_first(network([window[:-1] for window in windows]), burn_in)
    _, positions, size = logits.shape  # N, or 1 for a network that only predicts what follows the whole window
    targets = [token_id for window in windows for token_id in window[-positions:]]
    rows = (list(logits.data[i : i + size]) for i in range(0, len(logits.data), size))
    correct = sum(row.index(max(row)) == target for row, target in zip(rows, targets, strict=True))
    return cross_entropy(logits, targets), len(targets), correct
