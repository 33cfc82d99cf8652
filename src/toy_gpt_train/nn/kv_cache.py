"""kv_cache.py - What a Transformer remembers of a text, so that the same tokens need not be read again.

While a text grows token by token, the keys and values of the tokens already read do not change.

Shapes: B sequences, H heads, T tokens, D values per head.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from toy_gpt_train.nn.kernels import doubles
from toy_gpt_train.nn.tensor import Tensor


def same_beginning(ids: Sequence[int], others: Sequence[int]) -> int:
    """Return how many of the first ids of two texts are the same.

    >>> same_beginning([3, 1, 4], [3, 1, 5, 9])
    2
    """
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ids, others, strict=False)))


@dataclass
class KVCache:
    """The keys and values of tokens already read, so that they need not be read again for the next token."""

    keys: Tensor | None = None
    values: Tensor | None = None

    def __len__(self) -> int:
        return 0 if self.keys is None else self.keys.shape[2]

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append the keys and values of new tokens, (B, H, T, D) each; return those of all tokens."""
        self.keys, self.values = _append(self.keys, keys), _append(self.values, values)
        return self.keys, self.values

    def keys_with(self, keys: Tensor) -> Tensor:
        """Return the keys of all tokens, those of new ones included, and remember nothing."""
        return _append(self.keys, keys)

    def cut(self, length: int) -> None:
        """Forget all but the first tokens."""
        if self.keys is not None and self.values is not None and length < len(self):
            self.keys, self.values = _first(self.keys, length), _first(self.values, length)


def _append(old: Tensor | None, new: Tensor) -> Tensor:  # along T; no gradient flows back: training uses no cache
    batch, heads, added, size = new.shape
    length = 0 if old is None else old.shape[2]
    data = doubles(new.data)  # WHY an array: a long text has a quarter of the memory
    joined = array("d")
    for i in range(batch * heads):
        if old is not None:
            joined += old.data[i * length * size : (i + 1) * length * size]  # type: ignore[arg-type]
        joined += data[i * added * size : (i + 1) * added * size]
    return Tensor(joined, (batch, heads, length + added, size), exact=new.exact)


def _first(x: Tensor, length: int) -> Tensor:
    batch, heads, tokens, size = x.shape
    kept = array("d")
    for begin in range(0, len(x.data), tokens * size):
        kept += x.data[begin : begin + length * size]  # type: ignore[arg-type]
    return Tensor(kept, (batch, heads, length, size), exact=x.exact)
