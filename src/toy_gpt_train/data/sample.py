"""sample.py - A fair sample of a text's lines, in one pass.

The learner's question: how do I draw K lines from a file when I do not know how many it has, and cannot hold them all?
Keep a reservoir of K lines; line n (counted from 1) enters it with probability K/n and replaces a random one.

Concepts:
    reservoir sampling (Algorithm R): after n lines, every set of K of them is equally likely to be the reservoir.
    Bernoulli sampling: each line is kept with probability F, independently of the others.

REQ: unless they are shuffled, the lines come out in the order of the file, byte for byte; the same seed gives the same
sample.

Source: Vitter (1985), "Random sampling with a reservoir".
"""

from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import Final, TypeVar

from toy_gpt_train.corpus import check_not_utf16
from toy_gpt_train.disk import whole_file
from toy_gpt_train.errors import InputError

Item = TypeVar("Item")

BOM: Final = b"\xef\xbb\xbf"
# WHY a limit: a file without line ends is one line, and a line is held in memory.
MAX_LINE_BYTES: Final = 64 * 1024 * 1024


def text_lines(path: Path) -> Iterator[str]:
    r"""Yield the lines of a text with their line ends; a line ends at "\n" and nowhere else.

    A leading byte-order mark is dropped; the last line may have no line end. InputError if some bytes are not UTF-8, or
    a line is longer than 64 MB.
    """
    offset = 0
    with path.open("rb") as file:
        check_not_utf16(file.peek(), path)
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), start=1):
            if len(line) > MAX_LINE_BYTES:
                raise InputError(f"{path}, line {number}: longer than {MAX_LINE_BYTES >> 20} MB")
            try:
                text = (line.removeprefix(BOM) if offset == 0 else line).decode("utf-8")
            except UnicodeDecodeError as error:
                bad = offset + len(line) - len(error.object) + error.start
                raise InputError(f"{path}, line {number}: not UTF-8 at byte {bad} ({error.reason})") from error
            offset += len(line)
            if text:
                yield text


def reservoir(items: Iterable[Item], k: int, rng: Random) -> list[Item]:
    """Draw ``k`` items, in their order, without knowing how many there are; all of them if there are fewer."""
    kept: list[tuple[int, Item]] = []
    for index, item in enumerate(items):
        if index < k:
            kept.append((index, item))
        # WHY randrange and not int(random() * n): it gives every slot exactly the same chance.
        elif (slot := rng.randrange(index + 1)) < k:
            kept[slot] = (index, item)
    return [item for _, item in sorted(kept, key=itemgetter(0))]


def sample_lines(
    text: Path,
    out: Path,
    *,
    lines: int | None = None,
    fraction: float | None = None,
    seed: int,
    shuffle: bool = False,
) -> int:
    """Write a sample of a text's lines to a file, which appears only when it is whole; return how many.

    It draws that many ``lines``, or else keeps each line with the probability ``fraction``; the same seed draws
    the same lines. To ``shuffle`` them, all are kept in memory, and the last line of the text gets a line end if it has
    none. InputError if a number makes no sense, the text is not UTF-8, or no line was kept.
    """
    if seed < 0:
        raise InputError(f"the seed must be at least 0, got {seed}")
    rng = Random(seed)
    chosen: Iterable[str]
    if lines is not None:
        if lines < 1:
            raise InputError(f"the number of lines must be at least 1, got {lines}")
        chosen = reservoir(text_lines(text), lines, rng)
    else:
        if fraction is None or not 0 < fraction <= 1:
            raise InputError(f"the fraction must be above 0 and at most 1, got {fraction}")
        chosen = (line for line in text_lines(text) if rng.random() < fraction)
    if shuffle:
        chosen = [line if line.endswith("\n") else f"{line}\n" for line in chosen]
        rng.shuffle(chosen)
    kept = 0
    with whole_file(out) as file:
        for line in chosen:
            file.write(line.encode("utf-8"))
            kept += 1
        if kept == 0:
            raise InputError(f"{text}: no line was kept")
    return kept
