"""Charts of the lessons on the unigram and the bigram: what was counted beside what was learned."""

from collections.abc import Iterator

from builder.chart import Chart, csv_columns, csv_numbers
from builder.paths import ROOT
from toy_gpt_train import train
from toy_gpt_train.math_training import softmax

_CORPUS = "001_animals"
_UNIGRAM, _BIGRAM = (f"artifacts/ladder/{folder}/{_CORPUS}" for folder in ("100-unigram", "200-bigram"))
_UNIGRAM_LOG = f"outputs/ladder/100-unigram/{_CORPUS}/train_log.csv"
_SMALL_STEPS = 0.01
_MANY_EPOCHS = 500


def unigram_shares() -> Chart:
    """The twelve most frequent tokens: their relative frequencies, and the probabilities that training gave them."""
    counts = _counts(_UNIGRAM)
    learned = _probabilities(_UNIGRAM)["(no context)"]
    total = sum(counts.values())
    frequent = sorted(counts, key=lambda token: -counts[token])[:12]
    return Chart(
        "bars",
        "The most frequent tokens of the animals: relative frequency, and the probability that the unigram learned",
        ["token", "relative frequency", "learned probability"],
        [(token, round(counts[token] / total, 3), round(learned[token], 3)) for token in frequent],
        up="share of the tokens",
        source=f"01_vocabulary.csv and 02_model_weights.csv in {_UNIGRAM}",
        values=True,
    )


def unigram_loss() -> Chart:
    """The unigram's loss by epoch: the committed run, the same with smaller steps, and the floor."""
    log = csv_numbers(_UNIGRAM_LOG)
    corpus = ROOT / "corpus" / f"{_CORPUS}.txt"
    small = train("unigram", corpus, learning_rate=_SMALL_STEPS, epochs=len(log["epoch"])).history
    return Chart(
        "lines",
        "Loss of the unigram by epoch, with steps of two sizes, and the floor that no unigram can get below",
        ["epoch", "learning rate 0.1", f"learning rate {_SMALL_STEPS}", "floor"],
        [
            (epoch, loss, round(record["avg_loss"], 6), floor)
            for epoch, loss, record, floor in zip(log["epoch"], log["avg_loss"], small, log["loss_floor"], strict=True)
        ],
        across="epoch",
        up="nats per token",
        source=f"{_UNIGRAM_LOG}, and a training run with learning rate {_SMALL_STEPS}",
        dashed={"floor": ""},
    )


def bigram_table() -> Chart:
    """A part of the bigram's table as probabilities: one row for each context."""
    table = _probabilities(_BIGRAM)
    tokens = [".", "the", "a", "small", "cat", "dog", "likes", "says", "meow"]
    return Chart(
        "cells",
        "A part of the bigram's table: how likely the token of each column is after the token of the row",
        ["after", *tokens],
        [(context, *(round(table[context][token], 2) for token in tokens)) for context in tokens],
        across="next token",
        up="context",
        source=f"{_BIGRAM}/02_model_weights.csv",
        values=True,
    )


def bigram_practice() -> Chart:
    """The probability of the full stop after words that nothing else ever follows, by how often the text has them."""
    counts, committed = _counts(_BIGRAM), _probabilities(_BIGRAM)
    long_run = train("bigram", ROOT / "corpus" / f"{_CORPUS}.txt", epochs=_MANY_EPOCHS)
    [period] = long_run.tokenizer.encode(".")

    def rows() -> Iterator[tuple[str, float, float]]:
        for token in ("grass", "eggs", "mud", "milk", "bread"):
            longer = long_run.model.next_probs(long_run.tokenizer.encode(token))[period]
            yield f"{token} ({counts[token]})", round(committed[token]["."], 4), round(longer, 4)

    return Chart(
        "bars",
        "Probability of the full stop after words that nothing else follows (in parentheses: how often they occur)",
        ["context", "50 epochs", f"{_MANY_EPOCHS} epochs"],
        list(rows()),
        up="probability of .",
        source=f"{_BIGRAM}/02_model_weights.csv, and a training run of {_MANY_EPOCHS} epochs",
        values=True,
    )


def _counts(folder: str) -> dict[str, int]:
    """Return how often the text has each token, by token id."""
    columns = csv_columns(f"{folder}/01_vocabulary.csv")
    return dict(zip(columns["token"], map(int, columns["frequency"]), strict=True))


def _probabilities(folder: str) -> dict[str, dict[str, float]]:
    """Return softmax of each row of a committed table: {context: {token: probability}}."""
    columns = csv_columns(f"{folder}/02_model_weights.csv")
    labels = columns.pop("input_token")
    rows = zip(*columns.values(), strict=True)
    return {
        label: dict(zip(columns, softmax([float(weight) for weight in row]), strict=True))
        for label, row in zip(labels, rows, strict=True)
    }
