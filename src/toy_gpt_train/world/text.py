"""text.py - Texts of the story world: written to a file or held in memory, and read again with what is true of them."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from math import fsum
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from toy_gpt_train.corpus import Corpus, corpus_of, read_corpus
from toy_gpt_train.disk import whole_file
from toy_gpt_train.errors import InputError
from toy_gpt_train.progress import OnProgress
from toy_gpt_train.world.facts import NAMES
from toy_gpt_train.world.language import END, story
from toy_gpt_train.world.trie import Truth, drawing, read, tell

QUOTE: Final = '"'
TRUTH_COLUMNS: Final = ("position", "token", "kind", "distance", "true_surprise")
_TOKEN: Final = re.compile(r'[.,?!"]|[^\s.,?!"]+')
_SPEC: Final = re.compile(r"world:([0-9]{1,9})([km]?)(?::([0-9]{1,9}))?")
_MOST_IN_MEMORY: Final = 20_000_000
_MOST_TOKENS: Final = 10_000_000_000


class Written(NamedTuple):
    """What was written."""

    tokens: int
    stories: int
    true_entropy: float  # the mean surprise of its tokens, in nats, for one who knows the language


def stories(num_tokens: int, seed: int) -> Iterator[list[Truth]]:
    """Yield whole stories until they have at least ``num_tokens`` tokens; the same seed tells the same stories."""
    if num_tokens < 1:
        raise InputError(f"the number of tokens must be at least 1, got {num_tokens}")
    if num_tokens > _MOST_TOKENS:
        raise InputError(f"the number of tokens must be at most {_MOST_TOKENS:,}, got {num_tokens:,}")
    if seed < 0:
        raise InputError(f"the seed must be at least 0, got {seed}")
    choose = drawing(Random(seed))
    told = 0
    while told < num_tokens:
        one = list(tell(story, choose))
        told += len(one)
        yield one


def line_of(one: Iterable[Truth]) -> str:
    """Return a story as a line of text, with a space between two tokens."""
    return " ".join(truth.token for truth in one) + "\n"


def write_world(
    out: Path, num_tokens: int, seed: int, truth: Path | None = None, on_progress: OnProgress | None = None
) -> Written:
    """Write stories to a file, one per line, and what is true of every token to a CSV file."""
    if truth is not None and truth.resolve() == out.resolve():
        raise InputError(f"{truth}: the text and the truth about it need two files")
    tokens = count = 0
    total = 0.0
    with ExitStack() as files:
        text = files.enter_context(whole_file(out))
        rows = None if truth is None else files.enter_context(whole_file(truth))
        if rows is not None:
            rows.write(_csv([TRUTH_COLUMNS]))
        for one in stories(num_tokens, seed):
            text.write(line_of(one).encode())
            if rows is not None:
                rows.write(_csv(truth_rows(one, tokens)))
            tokens, count, total = tokens + len(one), count + 1, total + fsum(truth.surprise for truth in one)
            if on_progress is not None:
                on_progress(min(tokens / num_tokens, 1.0), f"{tokens} tokens")
    return Written(tokens, count, total / tokens)


def truth_rows(one: Sequence[Truth], start: int) -> Iterator[tuple[object, ...]]:
    """Yield the rows of TRUTH_COLUMNS; an empty distance means that the token needs no fact."""
    for position, (token, kind, distance, surprise) in enumerate(one, start):
        yield position, token, kind, "" if distance is None else distance, f"{surprise:.6f}"


def _csv(rows: Iterable[Sequence[object]]) -> bytes:
    lines = io.StringIO(newline="")
    csv.writer(lines, lineterminator="\n").writerows(rows)
    return lines.getvalue().encode()


def read_truth(tokens: Iterable[str]) -> Iterator[Truth]:
    """Yield what is true of each token of a text; InputError if it is not a text of the world.

    A text begins with a story; the last story may be cut short.

    Example:
        >>> [round(truth.surprise, 2) for truth in read_truth("it is a warm day .".split())]
        [0.0, 0.0, 0.0, 2.3, 0.0, 0.0]
    """
    return read(story, tokens)


def true_entropy(tokens: Iterable[str], start: int = 0) -> float | None:
    """Return the mean true surprise of the tokens from ``start`` on, or None for a text of another language."""
    try:
        surprises = [truth.surprise for truth in read_truth(tokens)][start:]
    except InputError:
        return None
    return fsum(surprises) / len(surprises) if surprises else None


def spec_of(path: Path) -> re.Match[str] | None:
    """Return how many tokens and which seed a name such as ``world:400k`` asks for; None for the name of a file."""
    spec = _SPEC.fullmatch(path.name)
    return None if spec is None or path.exists() else spec


def corpus_at(path: Path) -> Corpus:
    """Read a text file, or make a text of the world: ``world:400k`` has 400,000 tokens, ``world:1m:7`` has the seed 7.

    InputError if the file cannot be used, or the text would be too large.
    """
    spec = spec_of(path)
    if spec is None:
        return read_corpus(path)
    num_tokens = int(spec[1]) * {"": 1, "k": 1000, "m": 1_000_000}[spec[2]]
    if num_tokens > _MOST_IN_MEMORY:
        raise InputError(f"{path.name}: too large to hold in memory: at most {_MOST_IN_MEMORY:,} tokens")
    return corpus_of("".join(map(line_of, stories(num_tokens, int(spec[3] or 0)))), path.name)


def speaks_world(tokens: Iterable[str]) -> bool:
    """Whether a vocabulary is of the story world: it has the children's names and the end mark."""
    return {END, *NAMES} <= set(tokens)


def tokenize(text: str) -> list[str]:
    """Cut a text as a person writes it into tokens of the world; what begins a sentence is small, unless it is a name.

    Example:
        >>> tokenize("Mina is at home. Where is Mina?")
        ['Mina', 'is', 'at', 'home', '.', 'where', 'is', 'Mina', '?']
    """
    tokens: list[str] = []
    for token in _TOKEN.findall(text):
        begins = not tokens or tokens[-1] in (".", "?", "!", QUOTE)
        tokens.append(token if token in NAMES or not begins else token[:1].lower() + token[1:])
    return tokens


def detokenize(tokens: Iterable[str]) -> str:
    r"""Return tokens as a person writes them; a story ends with its line.

    Example:
        >>> detokenize('" where are you , Tom ? " asks Mina . <end>'.split())
        '"Where are you, Tom?" asks Mina.\n'
    """
    parts: list[str] = []
    glued = begins = True  # no space before the next token; it begins a sentence
    is_open = False
    before = ""
    for token in tokens:
        if token == END:
            parts.append("\n")
            glued, begins, is_open = True, True, False
        elif token == QUOTE:
            is_open = not is_open
            parts.append(token if glued or not is_open else f" {token}")
            # WHY after a full stop only: "Where are you?" asks Mina.
            glued, begins = is_open, is_open or before == "."
        else:
            is_mark = token in (".", ",", "?", "!")
            word = token[:1].upper() + token[1:] if begins else token
            parts.append(word if glued or is_mark else f" {word}")
            glued, begins = False, token in (".", "?", "!")
        before = token
    return "".join(parts)
