"""catalogue.py - The texts that ``toy-gpt data fetch`` knows: where each one is, and how to recognize it.

Concepts:
    sha256: a fingerprint of a file's bytes. Two files with the same one are the same, so it does not matter who
        delivers the file, or how.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from toy_gpt_train.errors import InputError


@dataclass(frozen=True)
class Source:
    """One text: its name, its address, its exact size and hash, where they are known, and what it is."""

    name: str
    url: str
    size: int | None
    sha256: str | None
    about: str


_TINY_STORIES: Final = "https://huggingface.co/datasets/roneneldan/TinyStories/resolve/main/TinyStoriesV2-GPT4"
_NOT_KNOWN: Final = "with <|endoftext|> between two; needs --sha256"


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
    Source("tiny-stories", f"{_TINY_STORIES}-train.txt", None, None, f"stories in simple words, {_NOT_KNOWN}"),
    Source("tiny-stories-valid", f"{_TINY_STORIES}-valid.txt", None, None, f"more of them, to hold out, {_NOT_KNOWN}"),
)


def find_source(name: str) -> Source:
    """Return the text with this name; InputError if there is none."""
    for source in CATALOGUE:
        if source.name == name:
            return source
    raise InputError(f"unknown text {name!r:.60}; there are {', '.join(source.name for source in CATALOGUE)}")


def source_to_fetch(name: str | None, url: str | None, sha256: str | None) -> Source:
    """Return a known text, or one that is known by its address and hash; InputError if something is missing."""
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise InputError(f"a sha256 has 64 digits from 0 to f, got {sha256!r:.80}")
    if name is None:
        if url is None or sha256 is None:
            raise InputError("a text without a NAME needs both --url and --sha256")
        return Source("the text", url, None, sha256.lower(), "")
    source = find_source(name)
    if sha256 is None and source.sha256 is None:
        raise InputError(
            f"the sha256 of {name} is not known here: give the one on the page of {source.url:.200} with --sha256"
        )
    if sha256 is not None and source.sha256 not in (None, sha256.lower()):
        raise InputError(f"the sha256 of {name} is different: {source.sha256}")
    return replace(source, sha256=source.sha256 or str(sha256).lower())
