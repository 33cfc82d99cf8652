"""levels.py - The ladder: one record a rung.

It says which rungs there are, in which order, and what each adds; how a rung computes is in its model's file.
"""

import re
from dataclasses import dataclass
from typing import Final

from toy_gpt_train.errors import InputError


@dataclass(frozen=True)
class Level:
    """One rung of the ladder.

    Attributes:
        code: Its place on the ladder, for example 400.
        kind: The name used on the command line, for example ``context-3``.
        context_size: N, how many tokens it looks back.
        adds: What it adds to the rung before, in a few words.
    """

    code: int
    kind: str
    context_size: int
    adds: str

    @property
    def folder(self) -> str:
        """The rung's folder in artifacts/ladder/, for example ``400-context-3``."""
        return f"{self.code}-{self.kind}"


LEVELS: Final = (
    Level(100, "unigram", 0, "frequencies, no context"),
    Level(200, "bigram", 1, "one token of context"),
    Level(300, "context-2", 2, "a window of two tokens that slides"),
    Level(400, "context-3", 3, "a longer window; the table explodes: V to the 3 rows"),
)


def level_for_kind(kind: str) -> Level:
    """Return the rung of a kind; ``context-N`` exists for any N.

    Args:
        kind: For example ``bigram`` or ``context-5``.

    Returns:
        The rung; from context-4 on they share the code 400 of the largest named table.

    Raises:
        InputError: There is no such rung.

    Example:
        >>> level_for_kind("context-5").context_size
        5
    """
    for level in LEVELS:
        if level.kind == kind:
            return level
    window = re.fullmatch(r"context-([0-9]{1,4})", kind)
    if window is None:
        known = ", ".join(level.kind for level in LEVELS)
        raise InputError(f"unknown model {kind!r}; there are {known}, and context-N for any N")
    size = int(window[1])
    if size < 2:
        return LEVELS[size]
    return Level(400, f"context-{size}", size, f"a window of {size} tokens; the table would have V to the {size} rows")
