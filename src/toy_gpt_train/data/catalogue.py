"""catalogue.py - The texts that ``toy-gpt data fetch`` knows: where each one is, and how to recognize it.

Concepts:
    sha256: a fingerprint of a file's bytes. Two files with the same one are the same, so it does not matter who
        delivers the file, or how.
"""

from dataclasses import dataclass
from typing import Final

from toy_gpt_train.errors import InputError


@dataclass(frozen=True)
class Source:
    """One text: its name, its address, its exact size and hash, and what it is."""

    name: str
    url: str
    size: int
    sha256: str
    about: str


CATALOGUE: Final = (
    Source(
        name="tiny-shakespeare",
        url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        size=1_115_394,
        sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        about="40,000 lines of Shakespeare's plays, the usual first text for character models",
    ),
    Source(
        name="names",
        url="https://raw.githubusercontent.com/karpathy/makemore/master/names.txt",
        size=228_145,
        sha256="0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
        about="32,000 given names, one per line",
    ),
)


def find_source(name: str) -> Source:
    """Return the text with this name; InputError if there is none."""
    for source in CATALOGUE:
        if source.name == name:
            return source
    raise InputError(f"unknown text {name!r:.60}; there are {', '.join(source.name for source in CATALOGUE)}")
