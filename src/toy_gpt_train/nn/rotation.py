"""rotation.py - How fast each pair of values turns with its token's position (RoPE); attention.py turns it.

The pair (2i, 2i+1) of a head of D values turns by base^(-2i/D) radians per position. The fast pairs tell near tokens
apart, the slow ones far tokens.

Source: Su et al. (2021), "RoFormer: enhanced Transformer with rotary position embedding".
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class RopeScaling:
    """Slower rotations, which let a network that learned from short texts read longer ones.

    A frequency f becomes f / factor (``linear``). If ``original_context`` is above 0 (``llama3``), only the slow ones
    do, those that turned less than ``low_freq_factor`` times in the original context. Those that turned more than
    ``high_freq_factor`` times stay, and between the two the change is gradual.

    Source: Chen et al. (2023), "Extending context window of large language models via positional interpolation";
    Llama Team (2024), "The Llama 3 herd of models", and its code.
    """

    factor: float
    low_freq_factor: float = 0.0
    high_freq_factor: float = 0.0
    original_context: int = 0

    def scaled(self, frequency: float) -> float:
        """Return what a frequency becomes, in radians per position.

        >>> RopeScaling(4.0).scaled(0.5)
        0.125
        """
        kept = 0.0
        if self.original_context:
            turns = self.original_context * frequency / (2 * math.pi)
            kept = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
            kept = min(max(kept, 0.0), 1.0)
        return frequency * ((1 - kept) / self.factor + kept)


def rope_frequencies(size: int, base: float = 10000.0, scaling: RopeScaling | None = None) -> list[float]:
    """Return the angle per position of each pair of a head of D values, in radians; ValueError if D is odd.

    >>> rope_frequencies(4)
    [1.0, 0.01]
    """
    if size % 2:
        raise ValueError(f"rotation takes values in pairs, a head has {size}")
    frequencies = [base ** (-2 * i / size) for i in range(size // 2)]
    return frequencies if scaling is None else list(map(scaling.scaled, frequencies))
