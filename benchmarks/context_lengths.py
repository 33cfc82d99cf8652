"""context_lengths.py - How far should a model look back? The losses that the site's charts show.

    uv run python benchmarks/context_lengths.py

It writes two CSV files to outputs/bench/, and prints their lines. Nothing in them depends on the time or the speed of
the computer: a further run writes the same bytes.

1. context_lengths.csv has one line per small training run on the stories with a part held out: plain tables and
   Kneser-Ney with one context length after the other, the mixture, and context mixing. ``train_loss`` is measured on
   the training part (that of the last two at its end, while learning), ``val_loss`` on the held-out part,
   ``val_loss_online`` there by a model that learns each token after scoring it, and ``unigram_loss`` is that of
   guessing by frequency there; all in nats per token.
2. mixture_powers.csv has the mixture weights of the experts after training on all characters, by how many characters
   the longest context matched. How often it had been met counts as well; this is the mean over that.
"""

import argparse
from collections.abc import Iterator, Sequence
from math import fsum
from pathlib import Path
from typing import Any

from measured import RESULTS, write_csv
from toy_gpt_train import train
from toy_gpt_train.models.registry import find_model

ROOT = Path(__file__).resolve().parents[1]
STORIES = ROOT / "corpus" / "030_stories.txt"
LOSSES = ("train_loss", "val_loss", "unigram_loss", "val_loss_online")
COLUMNS = ("tokenizer", "model", "context", "val_fraction", "epochs", *LOSSES)
WORDS = ("bigram", "context-2", "context-3", "kneser-ney")
LONGEST = 5  # characters
# WHY fewer for characters: the row of a character is met far more often than that of a word.
WORD_EPOCHS, CHARACTER_EPOCHS = 20, 6
WORD_FRACTION, CHARACTER_FRACTION = 0.2, 0.1
EXPERTS = ("3 characters", "5 characters", "8 characters", "words", "line")


def measured(tokenizer: str, name: str, val_fraction: float, **options: Any) -> list[object]:
    """Train with a part held out; returns a line of the first file."""
    run = train(name, STORIES, tokenizer=tokenizer, val_fraction=val_fraction, **options)
    known = run.meta["metrics"] | {"unigram_loss": run.unigram_loss}
    shown = (f"{known[name]:.6f}" if name in known else "" for name in LOSSES)
    return [tokenizer, name, run.model.context_size, val_fraction, len(run.history), *shown]


def losses() -> Iterator[Sequence[object]]:
    """Yield the lines of the first file, its header first."""
    yield COLUMNS
    for name in WORDS:
        epochs = {} if name == "kneser-ney" else {"epochs": WORD_EPOCHS}
        yield measured("word", name, WORD_FRACTION, **epochs)
    for n in range(1, LONGEST + 1):
        # WHY find_model: a table that looks back one token is the bigram of the ladder.
        yield measured("char", find_model(f"context-{n}").name, CHARACTER_FRACTION, epochs=CHARACTER_EPOCHS)
    for n in range(1, LONGEST + 1):
        yield measured("char", "kneser-ney", CHARACTER_FRACTION, context=n)
    yield measured("char", "mixture", CHARACTER_FRACTION)
    yield measured("char", "context-mixing", CHARACTER_FRACTION)


def mixture_weights() -> Iterator[Sequence[object]]:
    """Yield the lines of the second file, its header first."""
    yield "matched", *EXPERTS
    model: Any = train("mixture", STORIES, tokenizer="char").model  # a Mixture
    corrections = model.corrections[model.recipe.gates.index("matched")]
    for matched in sorted({value // 10 for value in corrections}):  # the gate's value is 10 times that, and how often
        vectors = [vector for value, vector in corrections.items() if value // 10 == matched]
        means = [fsum(column) / len(vectors) for column in zip(*vectors, strict=True)]
        yield matched, *(f"{base + mean:.6f}" for base, mean in zip(model.base, means, strict=True))


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the files go")
    folder = parser.parse_args().folder
    write_csv(folder / "context_lengths.csv", losses())
    write_csv(folder / "mixture_powers.csv", mixture_weights())


if __name__ == "__main__":
    main()
