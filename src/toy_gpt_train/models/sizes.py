"""sizes.py - How large each neural rung is, and how long it learns: one dial, and the numbers behind it.

- ``tiny`` shows the idea: under two minutes on a text of 50 KB.
- ``small`` is for a text of 1 MB: some ten minutes with two processes.
- ``medium`` is for the same text and more patience: seven times as many multiply-adds.
"""

from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.models.network import Architecture


@dataclass(frozen=True)
class NeuralSettings:
    """All that decides how a network looks and learns, beside the text and the seed.

    Attributes:
        context: N, the tokens it looks back.
        architecture: How large it is.
        steps: How many batches it learns from.
        batch_size: Windows a batch.
        piece_size: Windows worked on at a time; pieces are shared out among processes.
        learning_rate: The largest step size of AdamW.
        warmup: Steps until it is reached; from there it falls along a cosine to a tenth.
        weight_decay: The share of the step size that is taken off every weight.
        clip: The greatest length of a gradient.
        eval_every: Steps from one line of the log to the next.
    """

    context: int
    architecture: Architecture
    steps: int
    batch_size: int
    piece_size: int
    learning_rate: float
    warmup: int
    weight_decay: float = 0.1
    clip: float = 1.0
    eval_every: int = 50

    def __post_init__(self) -> None:
        for name in ("context", "steps", "batch_size", "piece_size", "eval_every"):
            if getattr(self, name) < 1:
                raise InputError(f"the {name.replace('_', ' ')} must be at least 1, got {getattr(self, name)}")
        if self.warmup < 0:
            raise InputError(f"warmup must be at least 0, got {self.warmup}")
        for name, most in (("learning_rate", 1000.0), ("clip", 1e9)):
            if not 0 < getattr(self, name) <= most:
                raise InputError(
                    f"the {name.replace('_', ' ')} must be above 0 and at most {most:g}, got {getattr(self, name)}"
                )
        if not (isfinite(self.weight_decay) and 0 <= self.weight_decay * self.learning_rate < 1):
            raise InputError(f"the weight decay times the learning rate must be from 0 to 1, got {self.weight_decay}")


@dataclass(frozen=True)
class _Size:
    """A point on the dial; what is not said follows from it."""

    context: int
    embedding_dim: int
    steps: int
    batch_size: int
    learning_rate: float
    heads: int = 1
    layers: int = 1
    hidden_dim: int = 0


SIZE_NAMES: Final = ("tiny", "small", "medium")
DEFAULT_SIZE: Final = SIZE_NAMES[0]
SIZES: Final = {
    "embeddings": {
        "tiny": _Size(8, 16, steps=1500, batch_size=128, learning_rate=0.01),
        "small": _Size(8, 32, steps=6000, batch_size=128, learning_rate=0.01, hidden_dim=128),
        "medium": _Size(12, 32, steps=16000, batch_size=128, learning_rate=0.005, hidden_dim=256),
    },
    "attention": {
        "tiny": _Size(16, 32, steps=600, batch_size=16, learning_rate=0.01),
        "small": _Size(32, 64, steps=3000, batch_size=16, learning_rate=0.01),
        "medium": _Size(64, 128, steps=4000, batch_size=16, learning_rate=0.005),
    },
    "gpt": {
        "tiny": _Size(16, 32, steps=800, batch_size=8, learning_rate=0.01, heads=4, layers=1),
        "small": _Size(32, 32, steps=1000, batch_size=16, learning_rate=0.01, heads=4, layers=2),
        "medium": _Size(64, 64, steps=2000, batch_size=8, learning_rate=0.005, heads=4, layers=2),
    },
    "llama": {
        "tiny": _Size(32, 32, steps=800, batch_size=4, learning_rate=0.01, heads=4, layers=1),
        "small": _Size(32, 32, steps=1000, batch_size=16, learning_rate=0.01, heads=4, layers=2),
        "medium": _Size(64, 64, steps=2000, batch_size=8, learning_rate=0.005, heads=4, layers=2),
    },
}

_AS_WORDS: Final = {"hidden_dim": "hidden or feed-forward layer"}
_ARCHITECTURE: Final = tuple(field.name for field in fields(Architecture))


def settings_for(kind: str, uses: tuple[str, ...], size: str = DEFAULT_SIZE, **numbers: Any) -> NeuralSettings:
    """Return the settings of a neural rung: a size, with some of its numbers replaced.

    Args:
        kind: ``embeddings``, ``attention``, ``gpt`` or ``llama``.
        uses: The numbers of an Architecture that the rung has.
        size: ``tiny``, ``small`` or ``medium``.
        **numbers: Fields of NeuralSettings and of Architecture; None leaves a number as it is.

    Returns:
        The settings. What follows from other numbers and is not given follows the given ones: the feed-forward layer
        from the embedding, the warm-up and the log from the steps.

    Raises:
        InputError: There is no such size, the rung has no such number, or a number makes no sense.

    Example:
        >>> settings_for("gpt", ("embedding_dim", "heads"), embedding_dim=16).architecture.hidden_dim
        64
    """
    if size not in SIZE_NAMES:
        raise InputError(f"unknown size {size!r}; there are {', '.join(SIZE_NAMES)}")
    given = {name: value for name, value in numbers.items() if value is not None}
    known = {field.name for settings in (NeuralSettings, Architecture) for field in fields(settings)}
    for name in given:
        if name not in known - {"architecture"}:
            raise TypeError(f"a network has no number {name!r}")
        if name in _ARCHITECTURE and name not in uses:
            raise InputError(f"{kind} has no {_AS_WORDS.get(name, name)} to set")
    start = SIZES[kind][size]
    merged = {field.name: given.get(field.name, getattr(start, field.name)) for field in fields(_Size)}
    if "hidden_dim" not in given:
        merged["hidden_dim"] = _feed_forward_dim(kind, merged["embedding_dim"]) or start.hidden_dim
    steps = merged["steps"]
    follow = {"warmup": steps // 20, "eval_every": max(steps // 20, 1), "piece_size": _pieces(merged["batch_size"])}
    rest = {**follow, **merged, **given}
    return NeuralSettings(
        architecture=Architecture(**{name: rest[name] for name in _ARCHITECTURE if name in rest}),
        **{field.name: rest[field.name] for field in fields(NeuralSettings) if field.name in rest},
    )


def _feed_forward_dim(kind: str, embedding_dim: int) -> int:
    """Return F for C: four times as much in GPT; in Llama 8/3, so that its three maps weigh as much as GPT's two."""
    if kind == "gpt":
        return 4 * embedding_dim
    return -(-8 * embedding_dim // 24) * 8 if kind == "llama" else 0


def _pieces(batch_size: int) -> int:
    """Return how many windows to work on at a time: a quarter of the batch, so that up to four processes share it."""
    return max(batch_size // 4, 1)
