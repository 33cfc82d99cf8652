"""oracle.py - ``toy-gpt evaluate --oracle``: a model beside one who knows the language."""

from typing import Any

from toy_gpt_train.corpus import Corpus
from toy_gpt_train.errors import InputError
from toy_gpt_train.run import Run
from toy_gpt_train.show import table
from toy_gpt_train.world.oracle import Group, distance_of, grouped, kind_of
from toy_gpt_train.world.text import read_truth
from toy_gpt_train.world.trie import Truth


def truth_of(run: Run, corpus: Corpus, unknown: str) -> list[Truth]:
    """Return what is true of each token; InputError if it is not a text of the world, or the model has other tokens."""
    if run.tokenizer.kind != "word":
        raise InputError(f"--oracle needs a model of words; this one reads tokens of kind {run.tokenizer.kind}")
    if unknown == "skip":
        raise InputError("--oracle compares every token: --unknown skip leaves some out")
    return list(read_truth(corpus.text.split()))


def oracle_figures(truth: list[Truth], surprises: list[float]) -> dict[str, Any]:
    """Return what --json adds: the true entropy in nats per token, and the losses by kind and by distance."""
    scored = list(zip(truth, surprises, strict=True))
    total = grouped(scored, lambda _: "all")["all"]
    return {
        "true_entropy": total.true_entropy,
        "by_kind": {name: group._asdict() for name, group in grouped(scored, kind_of).items()},
        "by_distance": {name: group._asdict() for name, group in grouped(scored, distance_of).items()},
    }


def oracle_tables(truth: list[Truth], surprises: list[float]) -> str:
    """Return the same for a person."""
    scored = list(zip(truth, surprises, strict=True))
    total = grouped(scored, lambda _: "all")["all"]
    gap = total.loss - total.true_entropy
    first = f"true entropy {total.true_entropy:.4f} nats per token; the model is {gap:.4f} above it"
    kinds = sorted(grouped(scored, kind_of).items(), key=lambda named: -_excess(named[1], total))
    ranges = sorted(grouped(scored, distance_of).items(), key=lambda named: (named[0] == "no fact", _low(named[0])))
    return "\n".join(
        [
            first,
            _table("kind", kinds, total),
            "",
            _table("tokens back to the fact", ranges, total),
        ]
    )


def _low(name: str) -> int:
    return int(name.split()[0]) if name[0].isdigit() else 0


def _excess(group: Group, total: Group) -> float:
    return (group.loss - group.true_entropy) * group.tokens / total.tokens


def _table(name: str, groups: list[tuple[str, Group]], total: Group) -> str:
    rows = [
        [name, group.tokens, *(f"{n:.4f}" for n in (group.true_entropy, group.loss, _excess(group, total)))]
        for name, group in groups
    ]
    return table([name, "tokens", "true loss", "model's loss", "adds to the loss"], rows)
