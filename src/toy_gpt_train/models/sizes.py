"""sizes.py - How large each network is, and how long it learns: one dial, and the numbers behind it.

- ``tiny`` shows the idea: under two minutes on a text of 50 KB.
- ``small`` is for a text of 1 MB: about ten minutes with two processes.
- ``medium`` is for the same text and more patience: seven times as many multiply-adds.
- ``large`` is for PyTorch on a processor: 0.8 million weights, a few minutes.
- ``xl`` is for a graphics card: nanoGPT's network for characters, of 10 million weights.
"""

from dataclasses import dataclass, fields
from typing import Any, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.models.architecture import SIZE_NAMES, Architecture
from toy_gpt_train.models.base import Settings
from toy_gpt_train.training.steps import EVALUATED_TOKENS, OPEN, StepSettings


@dataclass(frozen=True, kw_only=True)
class NetworkSettings(StepSettings, Settings):
    """How large a network is, and how it learns: all that decides the result but the text and the seed."""

    architecture: Architecture


@dataclass(frozen=True)
class _Size:
    """A point on the dial; the other settings follow from it."""

    context: int
    embedding_dim: int
    steps: int
    batch_size: int
    learning_rate: float
    heads: int = 1
    layers: int = 1
    hidden_dim: int = 0
    dropout: float = 0.0


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
        "large": _Size(64, 128, steps=6000, batch_size=16, learning_rate=0.004, heads=4, layers=4),
        "xl": _Size(256, 384, steps=5000, batch_size=64, learning_rate=0.001, heads=6, layers=6, dropout=0.2),
    },
    "llama": {
        "tiny": _Size(32, 32, steps=800, batch_size=4, learning_rate=0.01, heads=4, layers=1),
        "small": _Size(32, 32, steps=1000, batch_size=16, learning_rate=0.01, heads=4, layers=2),
        "medium": _Size(64, 64, steps=2000, batch_size=8, learning_rate=0.005, heads=4, layers=2),
        "large": _Size(64, 128, steps=6000, batch_size=16, learning_rate=0.004, heads=4, layers=4),
        "xl": _Size(256, 384, steps=5000, batch_size=64, learning_rate=0.001, heads=6, layers=6, dropout=0.2),
    },
}


def settings_for(name: str, size: str = SIZE_NAMES[0], **numbers: Any) -> NetworkSettings:
    """Return the settings of a network: a size, with some of its numbers replaced.

    A number that is not given follows those that are: the feed-forward layer from the embedding, the micro-batch from
    the batch, the warm-up and the log from the steps. The numbers are fields of NetworkSettings and of Architecture.

    Example:
        >>> settings_for("gpt", embedding_dim=16).architecture.hidden_dim
        64
    """
    if size not in SIZES[name]:
        raise InputError(f"unknown size {size!r:.40} of {name}; there are {', '.join(SIZES[name])}")
    given = {number: value for number, value in numbers.items() if value is not None}
    start = SIZES[name][size]
    merged = {field.name: given.get(field.name, getattr(start, field.name)) for field in fields(_Size)}
    if "hidden_dim" not in given:
        merged["hidden_dim"] = _feed_forward_dim(name, merged["embedding_dim"]) or start.hidden_dim
    steps = merged["steps"]
    predictions = 1 if name == "embeddings" else max(merged["context"], 1)  # in a window
    follow = {
        "warmup": 0 if given.get("schedule") in OPEN else steps // 20,
        "eval_every": max(steps // 20, 1),
        "eval_windows": max(EVALUATED_TOKENS // predictions, 1),
        "micro_batch": max(merged["batch_size"] // 4, 1),  # so that up to four processes can share a batch
    }
    rest = {**follow, **merged, **given}
    architecture = Architecture(**{f.name: rest.pop(f.name) for f in fields(Architecture) if f.name in rest})
    settings = NetworkSettings(architecture=architecture, **rest)
    for number, to in settings.unused().items():
        if number in given:
            raise InputError(f"--{number.replace('_', '-')} does not apply to {to}")
    return settings


def _feed_forward_dim(name: str, embedding_dim: int) -> int:
    """Return F for C: 4 C in GPT; in Llama 8/3 C, so that its three matrices have as many weights as GPT's two."""
    if name == "gpt":
        return 4 * embedding_dim
    return -(-8 * embedding_dim // 24) * 8 if name == "llama" else 0
