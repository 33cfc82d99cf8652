"""learned_text.py - The text that a run has learned, found again: its lines, its tokens, and which tokens are of which.

It does not know models.
"""

import io
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from toy_gpt_train.coding.pieces import cut
from toy_gpt_train.corpus import Corpus, Source, corpus_of
from toy_gpt_train.errors import InputError
from toy_gpt_train.project import RESOURCE_ROOT
from toy_gpt_train.tokenizers import Tokenizer
from toy_gpt_train.world.text import corpus_at, spec_of


@dataclass(frozen=True)
class LearnedText:
    """A text that was learned. Its lines keep their numbers: one that was forgotten is empty, and still there."""

    original: Corpus
    lines: Sequence[str]  # of the training part, with their ends
    held_out: str
    forgotten: Sequence[Sequence[int]] = ()  # the first and the last line of each part, counted from 1

    @property
    def training_part(self) -> str:
        """The lines that are left, as one text."""
        return "".join(self.lines)

    @property
    def source(self) -> Source:
        """What is recorded of what is left."""
        if not self.forgotten:
            return self.original.source
        rest = corpus_of(self.training_part + self.held_out, self.original.name)
        return rest.source._replace(path=self.original.path)

    def without(self, first: int, last: int) -> "LearnedText":
        """Return the text without some lines; InputError if there are no such lines, or a forgotten one among them."""
        if not 1 <= first <= last:
            raise InputError(f"lines are counted from 1, the first before the last, got {first}-{last}")
        if last > len(self.lines):
            raise InputError(f"the training part has {len(self.lines)} lines; line {last} was not learned")
        if not all(self.lines[first - 1 : last]):
            raise InputError(f"a line from {first} to {last} was forgotten before")
        lines = [*self.lines[: first - 1], *[""] * (last - first + 1), *self.lines[last:]]
        return replace(self, lines=lines, forgotten=[*self.forgotten, [first, last]])

    def line_starts(self, tokenizer: Tokenizer) -> list[int]:
        """Return the number of each line's first token; of an empty line, that of the next token."""
        pieces = cut(self.training_part, tokenizer)
        begins, position = array("Q"), 0
        for gap, token_id in zip(pieces.gaps, pieces.ids, strict=False):
            begins.append(position + len(gap))
            position = begins[-1] + len(tokenizer.decode_bytes([token_id]))
        # A token belongs to the line that it begins in.
        sizes = (len(line.encode("utf-8")) for line in self.lines)
        return [bisect_left(begins, start) for start in list(accumulate(sizes, initial=0))[:-1]]


def lines_of(text: str) -> list[str]:
    """Return the lines of a text with their ends, as an editor counts them."""
    return list(io.StringIO(text, newline=""))


def find_text(meta: Mapping[str, Any], tokenizer: Tokenizer, base_dir: Path, given: Path | None = None) -> LearnedText:
    """Return the text that a run has learned.

    Args:
        meta: The metadata of the run, which say where the text was, what its hash is, and what was forgotten.
        tokenizer: Its tokenizer.
        base_dir: The folder of the run.
        given: Where the text is now, if it is elsewhere.

    Raises:
        InputError: The text is not there, or is another one.
    """
    original = _found(meta["corpus"], base_dir, given)
    kind = type(tokenizer)
    end = kind.cut(original.text, 1 - meta.get("val_fraction", 0.0), tokenizer.special)
    text = LearnedText(original, lines_of(original.text[:end]), original.text[end:])
    for first, last in meta.get("forgotten", []):
        text = text.without(first, last)
    if text.source.sha256 != meta["corpus"]["sha256"]:
        raise InputError(f"{original.path or original.name}: another text than the one that was learned")
    return text


def _found(recorded: Mapping[str, Any], base_dir: Path, given: Path | None) -> Corpus:
    name = recorded.get("path") or recorded["filename"]
    if not isinstance(name, str):
        raise InputError(f"the metadata say that the text is at {name!r:.40}, which is no path")
    # WHY corpus/: of a copy of one of the project's texts, only the name is recorded.
    roots = base_dir, RESOURCE_ROOT, Path(), RESOURCE_ROOT / "corpus"
    places = [given] if given is not None else [root / name for root in roots]
    if given is None and spec_of(Path(name)) is not None:
        places = [Path(name)]
    for place in places:
        if spec_of(place) is not None or place.is_file():
            return corpus_at(place)
    raise InputError(f"{given or name}: the text that was learned is not here; say where it is with --corpus")
