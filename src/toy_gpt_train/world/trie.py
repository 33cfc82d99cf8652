r"""trie.py - A language of weighted choices, and the exact probability of every next token.

A story is a script: a Python generator that yields decisions. A decision is some weighted options, and an option is
some tokens; the script is told which one came, and continues. No option begins with the whole of another. So the
options of a decision form a trie, a tree of tokens, and the probability of a token follows from the weights below it:

    P(token | tokens so far) = weight of the options that continue with it / weight of the options that are left

A random generator that writes and a text that is read walk the same tries, so writing and reading cannot disagree. It
knows no words: language.py has them.

Concepts:
    surprise: -log P(token), in nats.
    true entropy: the mean surprise when the probabilities are the language's own. No model can stay below it.
    fact: what an earlier token said and this one repeats; the distance is how many tokens lie from one to the other.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from math import log
from random import Random
from typing import Any, Final, NamedTuple, TypeAlias

from toy_gpt_train.errors import InputError

GRAMMAR: Final = "grammar"
Option: TypeAlias = tuple[int, str, Any]  # its weight, its tokens, and what the script is told if it came
Decision: TypeAlias = Sequence[Option]
Script: TypeAlias = Generator[Decision, Any, None]


class Edge(NamedTuple):
    """A token that may come next."""

    weight: int  # of all options that begin so
    kind: str  # of knowledge that it takes to predict it
    fact: str  # what must be known; empty if nothing
    below: "Node | int"  # what follows; or the number of the option that ends here


Node: TypeAlias = dict[str, Edge]
Tagged: TypeAlias = tuple[str, str, str]  # a token, its kind, its fact


@lru_cache(maxsize=100_000)
def grow(options: tuple[tuple[int, str], ...]) -> Node:
    """Make a trie of weighted options. A token is written ``word`` or ``word~kind~fact``.

    A token that several options share needs a fact only if it needs the same one in all of them. ValueError if an
    option begins with the whole of another.

    Example:
        >>> trie = grow(((1, "the cat"), (2, "the dog")))
        >>> trie["the"].weight, trie["the"].below["dog"].weight
        (3, 2)
    """
    return _grow([(weight, [_tagged(token) for token in text.split()], i) for i, (weight, text) in enumerate(options)])


def _grow(options: list[tuple[int, list[Tagged], int]]) -> Node:
    groups: dict[str, list[tuple[int, list[Tagged], int]]] = {}
    for option in options:
        if not option[1]:
            raise ValueError("an option is empty, or the beginning of another")
        groups.setdefault(option[1][0][0], []).append(option)
    node: Node = {}
    for word, group in groups.items():
        tags = {tokens[0][1:] for _, tokens, _ in group}
        kind, fact = tags.pop() if len(tags) == 1 else (GRAMMAR, "")
        _, tokens, number = group[0]
        ends = len(group) == 1 and len(tokens) == 1
        below = number if ends else _grow([(weight, tokens[1:], i) for weight, tokens, i in group])
        node[word] = Edge(sum(weight for weight, _, _ in group), kind, fact, below)
    return node


def _tagged(token: str) -> Tagged:
    word, _, tag = token.partition("~")
    kind, _, fact = tag.partition("~")
    return word, kind or GRAMMAR, fact


class Memory:
    """What a story has said: its tokens, and at which of them each fact was told."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.last: dict[str, int] = {}  # where each token came last
        self.told: dict[str, int] = {}

    def tell(self, fact: str, token: str) -> None:
        """Note that the last ``token`` like this told a fact."""
        self.told[fact] = self.last[token]

    def add(self, token: str, fact: str) -> int | None:
        """Add a token; return how far back its fact was told. A fact that nobody told is the last token of its name."""
        here, where = len(self.tokens), self.told.get(fact, self.last.get(fact))
        if fact in self.told and self.tokens[self.told[fact]] == token:
            self.told[fact] = here
        self.tokens.append(token)
        self.last[token] = here
        return None if where is None else here - where


class Truth(NamedTuple):
    """A token of a story, and what is true of it."""

    token: str
    kind: str  # of knowledge that it takes; grammar: none but the language
    distance: int | None  # in tokens, from where the fact that it needs was told last
    surprise: float  # in nats, for one who knows the language


def tell(script: Callable[[Memory], Script], choose: Callable[[Node], str | None]) -> Iterator[Truth]:
    """Tell one story, token by token, as ``choose`` wants it; it returns a token of the node, or None to stop."""
    memory = Memory()
    story = script(memory)
    decision: Decision | None = next(story, None)
    while decision is not None:
        below: Node | int = grow(tuple([(weight, text) for weight, text, _ in decision]))
        while isinstance(below, dict):
            token = choose(below)
            if token is None:
                return
            edge = below[token]
            surprise = log(total_weight(below) / edge.weight) if len(below) > 1 else 0.0
            distance = memory.add(token, edge.fact)
            yield Truth(token, GRAMMAR if distance is None else edge.kind, distance, surprise)
            below = edge.below
        try:
            decision = story.send(decision[below][2])
        except StopIteration:
            return


def total_weight(node: Node) -> int:
    """Return the weight of all options that are left."""
    return sum([edge.weight for edge in node.values()])


def drawing(rng: Random) -> Callable[[Node], str]:
    """Return a function that draws the next token by its probability.

    WHY random() alone: its numbers are the same in every version of Python.
    """

    def choose(node: Node) -> str:
        left = int(rng.random() * total_weight(node)) if len(node) > 1 else 0
        for token, edge in node.items():
            left -= edge.weight
            if left < 0:
                return token
        raise AssertionError("random() is below 1")

    return choose


def read(script: Callable[[Memory], Script], tokens: Iterable[str]) -> Iterator[Truth]:
    """Yield what is true of each token of a text: stories, of which the last may be cut short.

    InputError if the language has no such text.
    """
    rest, number = iter(tokens), 0

    def following(node: Node) -> str | None:
        nonlocal number
        token = next(story, None)
        if token is not None and token not in node:
            known = ", ".join(map(repr, list(node)[:3])) + (", ..." if len(node) > 3 else "")
            raise InputError(f"not a text of the story world: token {number} is {token!r:.40}, not {known}")
        number += 1
        return token

    for first in rest:
        story = chain([first], rest)
        yield from tell(script, following)
