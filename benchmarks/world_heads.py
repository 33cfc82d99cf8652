"""world_heads.py - Which head of the committed Llama looks back at the fact that an answer needs?

    uv run python benchmarks/world_heads.py

The truth about a story says how many tokens back the fact stands that a token needs. So a head need not be guessed from
pictures: for each of the two blocks' heads, this measures how much the token before an answer attends to that fact, on
average over answers in new stories. It writes two CSV files to outputs/bench/, and prints their lines.

1. world_heads.csv: for each kind of knowledge and each head, the mean ``share`` of its attention that goes to the fact,
   over ``answers``, beside the ``even`` share, if all tokens in the window had the same.
2. world_head_example.csv: for the answer where the best head for holders finds the fact most clearly, how much it
   attends to each token before it.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from math import fsum
from pathlib import Path
from typing import Any, NamedTuple

import toy_gpt_train as tg
from measured import RESULTS, write_csv
from toy_gpt_train.world.text import corpus_at, read_truth
from toy_gpt_train.world.trie import Truth

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "artifacts" / "ladder" / "800-llama" / "world_400k"
NEW_STORIES = "world:40k:7"
KINDS = ("holder", "place", "color", "thing", "name", "pronoun")
ANSWERS = 40  # of each kind
NEAREST = 6  # tokens; a nearer fact could be found without looking for it


class Answer(NamedTuple):
    """A token that needs a fact, with the tokens before it and the attention of each head to them."""

    context: Sequence[str]
    fact: int  # where in the context the fact stands
    heads: dict[tuple[int, int], Sequence[float]]  # by block and head


def answers_of(run: tg.Run, truth: Sequence[Truth], kind: str) -> Iterator[Answer]:
    """Yield the answers of a kind whose fact is in the window, but not near."""
    size = run.model.context_size
    model: Any = run.model
    for position in range(size, len(truth)):
        distance = truth[position].distance
        if truth[position].kind != kind or distance is None or not NEAREST <= distance <= size:
            continue
        context = [one.token for one in truth[position - size : position]]
        steps = model.logit_lens(run.tokenizer.token_ids(context))
        blocks = [step.attention for step in steps if step.attention]
        heads = {(b, h): head for b, block in enumerate(blocks, 1) for h, head in enumerate(block, 1)}
        yield Answer(context, size - distance, heads)


def main() -> None:
    """Write both files."""
    run = tg.load(RUN)
    truth = list(read_truth(corpus_at(Path(NEW_STORIES)).text.split()))
    found = {kind: list(islice(answers_of(run, truth, kind), ANSWERS)) for kind in KINDS}
    lines: list[Sequence[object]] = [("kind", "block", "head", "answers", "share", "even")]
    best: dict[str, tuple[float, tuple[int, int]]] = {}
    for kind, answers in found.items():
        for head in answers[0].heads:
            share = fsum(answer.heads[head][answer.fact] for answer in answers) / len(answers)
            lines.append((kind, *head, len(answers), f"{share:.4f}", f"{1 / run.model.context_size:.4f}"))
            best[kind] = max(best.get(kind, (0.0, head)), (share, head))
    write_csv(RESULTS / "world_heads.csv", lines)
    head = best["holder"][1]
    shown = max(found["holder"], key=lambda answer: answer.heads[head][answer.fact])
    marks = ["fact" if i == shown.fact else "" for i in range(len(shown.context))]
    rows = zip(shown.context, (f"{share:.4f}" for share in shown.heads[head]), marks, strict=True)
    write_csv(RESULTS / "world_head_example.csv", [("token", f"block {head[0]}, head {head[1]}", "mark"), *rows])


if __name__ == "__main__":
    main()
