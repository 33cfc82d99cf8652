"""trace.py - ``toy-gpt infer --trace``: which lines of the training text gave the next token its probability."""

import argparse
from pathlib import Path
from typing import Any, Final, NamedTuple

from toy_gpt_train.inference.trace import LineShare, Trace, TrainingIndex, by_line, trace
from toy_gpt_train.math_training import add_up
from toy_gpt_train.run import Run
from toy_gpt_train.show import plain, visible
from toy_gpt_train.tracing import index_of

_SHOWN: Final = 30  # characters of a line, on each side


def add_trace(parser: argparse.ArgumentParser) -> None:
    """Add the options of tracing."""
    meaning = "show which lines of the training text gave the most likely next token, or TOKEN, its probability"
    parser.add_argument("--trace", nargs="?", const="", metavar="TOKEN", help=meaning)


class Traced(NamedTuple):
    """A trace, with what is needed to show it."""

    run: Run
    text: TrainingIndex
    context: list[int]
    token_id: int
    found: Trace
    lines: list[LineShare]


def traced(run: Run, base_dir: Path, corpus: Path | None, ids: list[int], token_id: int) -> Traced:
    """Trace the probability of a token after a text; InputError if the model or the text cannot be traced."""
    found = trace(run.model, text := index_of(run, base_dir, corpus), ids, token_id)
    return Traced(run, text, list(run.model.context(ids)), token_id, found, by_line(found, text))


def as_text(what: Traced, k: int) -> str:
    """Return the k lines that gave most, the longest context in them marked, and what the others gave."""
    tokenizer, found = what.run.tokenizer, what.found
    token = visible(tokenizer.tokens[what.token_id])
    number = f"{len(found.places):,} place{'s' * (len(found.places) != 1)}"
    rows = [f"trace     {token} has {found.probability:.4f}, from {number} in the training text"]
    for share in what.lines[:k]:
        rows.append(f"  {share.probability:.4f}  line {share.number}: {_marked(what, share)}")
    if rest := what.lines[k:]:
        rows.append(f"  {add_up([share.probability for share in rest]):.4f}  {len(rest):,} more lines")
    rows.append(f"  {found.rest:.4f}  no place: every token has the same share of this")
    return "\n".join(rows)


def _marked(what: Traced, share: LineShare) -> str:
    """Return the place of a line that gave most: the tokens before it, the context and the token in brackets."""
    place, more = share.places[0], len(share.places) - 1
    begin, end = place.position - place.length, place.position + 1
    line = what.text.line(share.number)
    tokenizer = what.run.tokenizer
    parts = (range(min(line.start, begin), begin), range(begin, end), range(end, max(line.stop, end)))
    before, marked, after = (plain(tokenizer.decode(what.text.ids(part)).strip("\r\n")) for part in parts)
    shown = tokenizer.separator.join(filter(None, (before[-_SHOWN:], f"[{marked}]", after[:_SHOWN])))
    return f"{shown} and {more} more in it" if more else shown


def as_json(what: Traced, k: int) -> dict[str, Any]:
    """Return a trace as data, with the k lines that gave most."""
    lines = [
        {
            "line": share.number,
            "probability": share.probability,
            "places": [
                {"token": place.position, "context": place.length, "probability": place.probability}
                for place in share.places
            ],
        }
        for share in what.lines[:k]
    ]
    found = what.found
    return {
        "token": what.run.tokenizer.tokens[what.token_id],
        "probability": found.probability,
        "places": len(found.places),
        "lines": lines,
        "rest": found.rest,
    }
