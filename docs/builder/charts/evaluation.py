"""Charts of how a model is judged: its surprise, token by token, and its loss on text that was held out."""

from math import log

from builder.chart import Chart
from builder.paths import ROOT
from toy_gpt_train import load, train

_ANIMALS = ROOT / "corpus" / "001_animals.txt"
_TABLES = ("100-unigram", "200-bigram", "400-context-3")
# WHY this sentence: it is not in the corpus, its words are, and none comes twice; a bar needs a name of its own.
_SENTENCE = ("a", "small", "pig", "fears", "the", "duck", ".")
# The training run that overfits: the page prints the same command.
_EPOCHS, _HELD_OUT = 50, 0.1


def surprise_curve() -> Chart:
    """Surprise by probability."""
    probabilities = [0.01, *(step / 50 for step in range(1, 51))]
    return Chart(
        "lines",
        "The surprise at one token: 0 if the model was certain of it, and unlimited as the probability approaches 0",
        ["probability", "surprise"],
        [(p, abs(round(log(p), 4))) for p in probabilities],
        across="probability that the model gave to the token",
        up="nats",
        source="-log p",
    )


def sentence() -> Chart:
    """How much each token of a new sentence surprises three tables."""
    before = _ANIMALS.read_text(encoding="utf-8").split()[-3:]
    columns = []
    for folder in _TABLES:
        run = load(ROOT / "artifacts" / "ladder" / folder / "001_animals")
        scored = run.model.score(run.tokenizer.token_ids((*before, *_SENTENCE)), len(before))
        columns.append([round(-log(prediction.probability), 4) for prediction in scored])
    return Chart(
        "bars",
        f"The surprise of three tables at a new sentence, read after the end of their corpus ({' '.join(before)})",
        ["token", *_TABLES],
        list(zip(_SENTENCE, *columns, strict=True)),
        up="nats",
        source="artifacts/ladder/*/001_animals",
    )


def overfitting() -> Chart:
    """The loss of a bigram by epoch, on what it learns from and on what is held out."""
    run = train("bigram", _ANIMALS, val_fraction=_HELD_OUT, epochs=_EPOCHS)
    baseline = round(run.unigram_loss, 4)
    by_frequency = "unigram on the held-out part"
    return Chart(
        "lines",
        "The loss of the bigram falls to the end on the training text; on the held-out part it turns upward",
        ["epoch", "training text", "held-out part", by_frequency],
        [
            (int(record["epoch"]), round(record["avg_loss"], 4), round(record["val_loss"], 4), baseline)
            for record in run.history
        ],
        across="epoch",
        up="nats per token",
        source="corpus/001_animals.txt, as in the command on this page",
        dashed={by_frequency: ""},
    )
