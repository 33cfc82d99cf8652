"""Charts of the ladder: how far counting gets, what remains unpredictable, and what a text never showed."""

from collections.abc import Sequence

from builder.chart import Chart, csv_columns, csv_numbers, run_meta
from builder.paths import STORIES
from builder.texts import read_ids
from toy_gpt_train.models.ngram_table import training_pairs

_TABLES = ("100-unigram", "200-bigram", "300-context-2", "400-context-3")
_ONE_PASS = ("kneser-ney", "mixture", "context-mixing")
_NETWORKS = ("500-embeddings", "600-attention", "700-gpt", "800-llama")
_LENGTHS = "outputs/bench/context_lengths.csv"
_POWERS = "outputs/bench/mixture_powers.csv"
_PIECES = "outputs/bench/mixing_pieces.csv"


def animals_losses() -> Chart:
    """The loss of the four tables on the animals by epoch, each with its floor."""
    logs = {folder: csv_numbers(f"outputs/ladder/{folder}/001_animals/train_log.csv") for folder in _TABLES}
    floors = {folder: f"floor of {folder.partition('-')[2]}" for folder in _TABLES}
    lines = [log["avg_loss"] for log in logs.values()] + [log["loss_floor"] for log in logs.values()]
    return Chart(
        "lines",
        "Loss by epoch of the unigram, bigram, context-2 and context-3 tables, each with its floor dashed",
        ["epoch", *_TABLES, *floors.values()],
        list(zip(logs[_TABLES[0]]["epoch"], *lines, strict=True)),
        across="epoch",
        up="nats per token",
        source="outputs/ladder/*/001_animals/train_log.csv",
        dashed={floor: folder for folder, floor in floors.items()},
    )


def row_explosion() -> Chart:
    """Rows that a full table would have, and contexts that occur in the text, by context size."""
    ids, size = read_ids(STORIES)
    met = [len({context for context, _ in training_pairs(ids, n)}) for n in range(1, 6)]
    return Chart(
        "lines",
        "Rows of the table by context size: V to the N explodes, but the contexts in the text level off",
        ["N", f"V to the N, with V = {size:,}", "contexts in the text"],
        [(n, size**n, contexts) for n, contexts in enumerate(met, start=1)],
        across="context size N",
        up="rows",
        source="corpus/030_stories.txt",
        logarithmic=True,
        values=True,
    )


def held_out() -> Chart:
    """Loss on the training part and on the held-out part of the stories, words, model by model."""
    runs = _runs("word")
    unigram = "unigram, held-out part"
    epochs = runs[0]["epochs"]
    return Chart(
        "bars",
        f"After {epochs} epochs, the longer a table's window, the higher its loss on the held-out part; "
        "Kneser-Ney does better",
        ["model", "training part", "held-out part", unigram],
        [(run["model"], float(run["train_loss"]), float(run["val_loss"]), float(run["unigram_loss"])) for run in runs],
        up="nats per token",
        source=_LENGTHS,
        dashed={unigram: ""},
        values=True,
    )


def stories_losses() -> Chart:
    """Loss on the held-out tenth of the stories, characters, model by model."""
    runs = _runs("char")
    held_out = {run["model"]: float(run["val_loss"]) for run in runs if run["model"] != "kneser-ney"}
    counting = {
        "unigram": float(runs[0]["unigram_loss"]),
        **{kind: held_out[kind] for kind in ("bigram", "context-2", "context-3")},
        "kneser-ney": _committed_loss("450-kneser-ney"),
        "mixture": held_out["mixture"],
        "context-mixing": held_out["context-mixing"],
        "the same, online": float(runs[-1]["val_loss_online"]),
    }
    networks = {folder.partition("-")[2]: _committed_loss(folder) for folder in _NETWORKS}
    return Chart(
        "bars",
        "Loss on the held-out part of the stories: the models above the tables are lowest",
        ["model", f"counting (tables: {runs[0]['epochs']} epochs)", "network"],
        [(kind, loss, None) for kind, loss in counting.items()]
        + [(kind, None, loss) for kind, loss in networks.items()],
        up="nats per character",
        source=f"{_LENGTHS} and artifacts/ladder/*/030_stories/00_meta.json",
        values=True,
    )


def kneser_ney_context() -> Chart:
    """Held-out loss by context length, plain tables beside Kneser-Ney, characters of the stories."""
    runs = _runs("char")
    tables = {run["context"]: run for run in runs if run["model"] not in _ONE_PASS}
    backing_off = {run["context"]: run for run in runs if run["model"] == "kneser-ney"}
    return Chart(
        "lines",
        "With a longer context the held-out loss of the plain table turns upward, and that of Kneser-Ney keeps falling",
        ["N", f"plain table, {tables['1']['epochs']} epochs", "kneser-ney"],
        [(n, float(tables[n]["val_loss"]), float(backing_off[n]["val_loss"])) for n in tables],
        across="context size N, in characters",
        up="held-out loss, nats per character",
        source=_LENGTHS,
        values=True,
    )


def mixture_powers() -> Chart:
    """The mixture weights of the experts by how many characters the longest context matched."""
    columns = csv_numbers(_POWERS)
    return Chart(
        "lines",
        "The mixture weight of each of the five experts, by how many characters the longest context matched",
        list(columns),
        list(zip(*columns.values(), strict=True)),
        across="characters that the longest context matched",
        up="mixture weight",
        source=_POWERS,
    )


def mixing_pieces() -> Chart:
    """The loss of context mixing on another text than it was trained on, static and online, piece by piece."""
    columns = csv_numbers(_PIECES)
    return Chart(
        "lines",
        "Trained on the stories, reading the glossary: the online loss falls within a few thousand characters",
        list(columns),
        list(zip(*columns.values(), strict=True)),
        across="characters read",
        up="nats per character",
        source=_PIECES,
    )


def _runs(tokenizer: str) -> Sequence[dict[str, str]]:
    """Return the lines of context_lengths.csv with this tokenizer."""
    columns = csv_columns(_LENGTHS)
    lines = (dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True))
    return [line for line in lines if line["tokenizer"] == tokenizer]


def _committed_loss(folder: str) -> float:
    """Return the loss of a committed run on the held-out part of the stories."""
    loss: float = run_meta(folder, "030_stories")["metrics"]["val_loss"]
    return loss
