"""batches.py - Windows of text to learn from, and how surprised a network is by them.

A window is N + 1 tokens: the network reads the first N, and should predict each but the first from those before it.
"""

from collections.abc import Sequence
from random import Random

from toy_gpt_train.nn.functional import cross_entropy
from toy_gpt_train.nn.modules import Network
from toy_gpt_train.nn.tensor import Tensor

Window = Sequence[int]


def draw_windows(token_ids: Sequence[int], context_size: int, batch_size: int, generator: Random) -> list[Window]:
    """Draw windows of N + 1 tokens from random positions of a text; ValueError if the text is shorter."""
    positions = len(token_ids) - context_size
    if positions < 1:
        raise ValueError(f"{len(token_ids)} tokens are too few for a window of {context_size + 1}")
    starts = [generator.randrange(positions) for _ in range(batch_size)]
    # WHY a list: worker processes are sent it, and a view of a file cannot be sent.
    return [list(token_ids[start : start + context_size + 1]) for start in starts]


def window_loss(network: Network, windows: Sequence[Window]) -> tuple[Tensor, int, int]:
    """Return the mean loss in nats, how many tokens were predicted, and for how many the most likely was right."""
    logits = network([window[:-1] for window in windows])
    _, positions, size = logits.shape  # N, or 1 for a network that only predicts what follows the whole window
    targets = [token_id for window in windows for token_id in window[-positions:]]
    rows = (list(logits.data[i : i + size]) for i in range(0, len(logits.data), size))
    correct = sum(row.index(max(row)) == target for row, target in zip(rows, targets, strict=True))
    return cross_entropy(logits, targets), len(targets), correct
