"""oracle.py - What a model knows and what it does not: its surprise beside the true one, by kind and by distance."""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from toy_gpt_train.world.trie import Truth

_EDGES: Final = (4, 8, 16, 32, 64, 128)


class Group(NamedTuple):
    """Some tokens of a text."""

    tokens: int
    true_entropy: float  # their mean surprise for one who knows the language, in nats
    loss: float  # their mean surprise for the model


def kind_of(truth: Truth) -> str:
    """Return the kind of knowledge that a token takes."""
    return truth.kind


def distance_of(truth: Truth) -> str:
    """Return the range in which the distance to the fact lies.

    Example:
        >>> distance_of(Truth("red", "color", 33, 0.0)), distance_of(Truth("the", "grammar", None, 0.0))
        ('33 to 64', 'no fact')
    """
    if truth.distance is None:
        return "no fact"
    low = 1
    for edge in _EDGES:
        if truth.distance <= edge:
            return f"{low} to {edge}"
        low = edge + 1
    return f"{low} or more"


def grouped(scored: Iterable[tuple[Truth, float]], key: Callable[[Truth], str]) -> dict[str, Group]:
    """Average over the tokens of each group, by name; ``scored`` are tokens with the model's surprise.

    Example:
        >>> grouped([(Truth("red", "color", 5, 0.0), 1.0), (Truth("blue", "color", 9, 0.0), 3.0)], kind_of)
        {'color': Group(tokens=2, true_entropy=0.0, loss=2.0)}
    """
    sums: dict[str, list[float]] = {}
    for truth, surprise in scored:
        group = sums.setdefault(key(truth), [0, 0.0, 0.0])
        group[0] += 1
        group[1] += truth.surprise
        group[2] += surprise
    return {name: Group(int(count), true / count, model / count) for name, (count, true, model) in sums.items()}
