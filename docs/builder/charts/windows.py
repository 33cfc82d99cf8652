"""Charts of the tables with a longer window: how rarely their rows are met, and what that does to unseen text."""

from collections import Counter
from collections.abc import Sequence
from math import fsum, log

from builder.chart import Chart, Value, run_meta
from builder.paths import ROOT, STORIES
from builder.texts import read_ids
from toy_gpt_train import train
from toy_gpt_train.corpus import read_corpus
from toy_gpt_train.models.base import Model, Text
from toy_gpt_train.models.ngram_table import Context, training_pairs
from toy_gpt_train.models.registry import find_model
from toy_gpt_train.tokenizers.encoded import EncodedText, encode_corpus

_ANIMALS = ROOT / "corpus" / "001_animals.txt"
_SHORT_WINDOWS = ("100-unigram", "200-bigram", "300-context-2")
_RATES = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
_HELD_OUT = 0.2
# The training run that overfits: the page 400-context-3 prints the same command.
_TABLE, _LEARNING_RATE, _EPOCHS = "context-3", 0.5, 40
_OVERFITTING = "corpus/030_stories.txt, as in the command on this page"


def rows_met() -> Chart:
    """How many rows of each table the animals meet once, a few times and often."""
    ids, _ = read_ids(_ANIMALS)
    met = [Counter(_context_counts(ids, size).values()) for size in range(len(_SHORT_WINDOWS))]
    classes = {"once": (1, 1), "2 to 4": (2, 4), "5 to 9": (5, 9), "10 to 19": (10, 19), "20 or more": (20, 10**9)}
    rows: list[list[Value]] = [
        [name, *(sum(number for times, number in counts.items() if low <= times <= high) for counts in met)]
        for name, (low, high) in classes.items()
    ]
    return Chart(
        "bars",
        "Most rows of the context-2 table are met once or a few times per epoch, and hardly any is met often",
        ["times met", *map(_kind, _SHORT_WINDOWS)],
        rows,
        across="how often one epoch meets the row",
        up="rows",
        source="corpus/001_animals.txt",
        values=True,
    )


def floor_and_loss() -> Chart:
    """The loss floor and the loss of the three trained tables on the animals."""
    rows: list[list[Value]] = []
    for folder in _SHORT_WINDOWS:
        meta = run_meta(folder, "001_animals")
        floor, loss = meta["loss_floor"], meta["metrics"]["train_loss"]
        rows.append([_kind(folder), floor, loss, round(loss - floor, 6)])
    return Chart(
        "bars",
        "From bigram to context-2 the floor falls further than the loss, so the gap between them grows",
        ["model", "loss floor", "loss after 50 epochs", "gap"],
        rows,
        up="nats per token",
        source="artifacts/ladder/*/001_animals/00_meta.json",
        values=True,
    )


def gap_by_learning_rate() -> Chart:
    """How far above their floors bigram and context-2 end on the animals, for several learning rates."""
    rows: list[list[Value]] = [
        [f"rate {rate}", *(_gap(name, rate) for name in ("bigram", "context-2"))] for rate in _RATES
    ]
    return Chart(
        "bars",
        "Context-2 comes closest to its floor with a larger learning rate than the bigram",
        ["learning rate", *map(_kind, _SHORT_WINDOWS[1:])],
        rows,
        up="nats above the floor",
        source="corpus/001_animals.txt, 50 epochs each",
        values=True,
    )


def contexts_by_count() -> Chart:
    """How many contexts of one to four words the stories have once, twice, and more often."""
    ids, _ = read_ids(STORIES)
    rows: list[list[Value]] = []
    for size in range(1, 5):
        counts = Counter(_context_counts(ids, size).values())
        name = "1 word" if size == 1 else f"{size} words"
        rows.append([name, counts[1], counts[2], counts.total() - counts[1] - counts[2]])
    return Chart(
        "bars",
        "The longer the window, the more of its contexts occur only once in the stories",
        ["window", "met once", "met twice", "met more often"],
        rows,
        up="different contexts",
        source="corpus/030_stories.txt",
        values=True,
    )


def unseen_contexts() -> Chart:
    """The share of held-out tokens after a context that training never met, for words and for characters."""
    texts = [_stories(kind) for kind in ("word", "char")]
    rows = [[size, *(round(100 * _unseen_share(text, size), 1) for text in texts)] for size in range(1, 9)]
    return Chart(
        "lines",
        "Three words back, most held-out tokens follow a context that the training part never had; "
        "three characters back, hardly any do",
        ["N", "words", "characters"],
        rows,
        across="N, tokens in the window",
        up="percent of the held-out tokens",
        source="corpus/030_stories.txt, its last fifth held out",
    )


def overfitting() -> Chart:
    """The loss of a context-3 table on its training text and on the held-out part, epoch by epoch."""
    text = _stories("word")
    model_class = find_model(_TABLE).model_class
    settings = model_class.settings(_TABLE, 3, learning_rate=_LEARNING_RATE, epochs=_EPOCHS)
    model = model_class.build(text.tokenizer.vocab_size, settings, 0)
    history = [
        {**record, **_held_out_losses(model, text)} for record in model.fit(Text(text.ids, text.num_train), settings)
    ]
    never = "held out, context never met"
    lines = {
        "training text": "avg_loss",
        "held out, all": "all",
        "held out, context met": "met",
        never: "never met",
    }
    return Chart(
        "lines",
        "The loss on the training text falls to the end; on the held-out part it falls a little, then rises",
        ["epoch", *lines],
        [[int(record["epoch"]), *(round(record[key], 4) for key in lines.values())] for record in history],
        across="epoch",
        up="nats per token",
        source=_OVERFITTING,
        dashed={never: ""},
    )


def _kind(folder: str) -> str:
    """Return the name of a model without its number."""
    return folder.partition("-")[2]


def _stories(kind: str) -> EncodedText:
    """Return the stories as token ids, cut as ``--val-fraction`` cuts them."""
    return encode_corpus(read_corpus(STORIES), kind, 0, _HELD_OUT)


def _context_counts(ids: Sequence[int], size: int) -> Counter[Context]:
    """Count how often each context is one to learn from."""
    return Counter(context for context, _ in training_pairs(ids, size))


def _gap(name: str, learning_rate: float) -> float:
    """Return how far above its floor the loss of a table ends on the animals."""
    meta = train(name, _ANIMALS, learning_rate=learning_rate).meta
    return round(meta["metrics"]["train_loss"] - meta["loss_floor"], 4)


def _unseen_share(text: EncodedText, size: int) -> float:
    """Return the share of held-out tokens whose context the training part never had."""
    ids = text.ids
    met = _context_counts(ids[: text.num_train], size)
    positions = range(text.num_train, len(ids))
    return sum(tuple(ids[i - size : i]) not in met for i in positions) / len(positions)


def _held_out_losses(model: Model, text: EncodedText) -> dict[str, float]:
    """Return the loss on the held-out part: of all its tokens, and by whether training met the context."""
    predictions = list(model.score(text.ids, text.num_train))
    met = [-log(prediction.probability) for prediction in predictions if prediction.context_seen]
    never = [-log(prediction.probability) for prediction in predictions if not prediction.context_seen]
    both = [*met, *never]
    return {name: fsum(some) / len(some) for name, some in (("all", both), ("met", met), ("never met", never))}
