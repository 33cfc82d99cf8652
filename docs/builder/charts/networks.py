"""Charts of the networks: how they learn, and what they have learned."""

from collections.abc import Iterator, Sequence

from builder.chart import Chart, csv_columns, csv_numbers, run_meta
from builder.paths import ROOT
from builder.pca import in_the_plane
from toy_gpt_train import load
from toy_gpt_train.nn.optim import cosine_schedule

_NETWORKS = ("500-embeddings", "600-attention", "700-gpt", "800-llama")
_BEGINNING = "Mina had a small"  # of the stories
_OFTEN = 100
_VOWELS = "aeiou"


def step_sizes() -> Chart:
    """The step size of the run of model 800 by step, and the log's lines on it."""
    log_path = "outputs/ladder/800-llama/030_stories/train_log.csv"
    log = csv_numbers(log_path)
    logged = dict(zip(map(int, log["step"]), log["learning_rate"], strict=True))
    training = run_meta("800-llama", "030_stories")["training"]
    peak, warmup, total = training["learning_rate"], training["warmup"], training["steps"]
    floor = peak * training["last_rate"]

    def size(step: int) -> float:
        return round(cosine_schedule(step - 1, peak=peak, warmup=warmup, total=total, floor=floor), 6)

    in_log = "lines of the log"
    return Chart(
        "lines",
        "The step size by step: up in a straight line, then down along half a cosine",
        ["step", "cosine_schedule", in_log],
        [(step, size(step), logged.get(step)) for step in (1, *range(10, total + 1, 10))],
        across="step",
        up="step size",
        source=log_path,
        dots=[in_log],
        limits=(0, peak),
    )


def network_losses() -> list[Chart]:
    """Training and validation loss of the four networks on the stories, by how many tokens they have predicted."""
    tokens = sum(map(int, csv_columns(f"{_artifacts('500-embeddings')}/01_vocabulary.csv")["frequency"]))
    logs = {network: csv_numbers(f"outputs/ladder/{network}/030_stories/train_log.csv") for network in _NETWORKS}
    counting = run_meta("450-kneser-ney", "030_stories")["metrics"]["val_loss"]
    highest = max(loss for log in logs.values() for loss in (*log["avg_loss"], *log["val_loss"]))

    def chart(part: str, column: str) -> Chart:
        points = [
            (round(epoch * tokens / 1000, 1), network, loss)
            for network, log in logs.items()
            for epoch, loss in zip(log["epoch"], log[column], strict=True)
        ]
        losses = {(place, network): loss for place, network, loss in points}
        dashed = "450-kneser-ney, validation"
        return Chart(
            "lines",
            f"The {part} loss of four networks; the dashed line is Kneser-Ney",
            ["thousand tokens", *_NETWORKS, dashed],
            [
                (place, *(losses.get((place, network)) for network in _NETWORKS), counting)
                for place in sorted({place for place, _, _ in points})
            ],
            across="thousand tokens predicted",
            up=f"{part} loss, nats per character",
            source="outputs/ladder/*/030_stories/train_log.csv",
            dashed={dashed: ""},
            limits=(1, highest),
        )

    return [chart("training", "avg_loss"), chart("validation", "val_loss")]


def letter_map() -> Chart:
    """The vectors of the frequent lowercase letters in model 500, in the view in which they differ most."""
    path = f"{_artifacts('500-embeddings')}/03_token_embeddings.csv"
    table = csv_columns(path)
    frequencies = csv_columns(f"{_artifacts('500-embeddings')}/01_vocabulary.csv")["frequency"]
    rows = zip(*(map(float, table[name]) for name in table if name.startswith("dim_")), strict=True)
    often = {
        token: vector
        for token, count, vector in zip(table["token"], frequencies, rows, strict=True)
        if token.islower() and int(count) >= _OFTEN
    }
    places, share = in_the_plane([*often.values()])
    return Chart(
        "points",
        f"The letters in the view in which they differ most: it shows {share:.0%} of the variance of the vectors",
        ["letter", "first direction", "second direction", "kind"],
        [
            (letter, x, y, "vowel" if letter in _VOWELS else "consonant")
            for letter, (x, y) in zip(often, places, strict=True)
        ],
        across="first direction",
        up="second direction",
        source=path,
    )


def attention_map() -> Chart:
    """The only head of model 600 on the first characters of the stories."""
    (head,) = _heads("600-attention")
    return head


def gpt_heads() -> list[Chart]:
    """The four heads of model 700 on the first characters of the stories."""
    return _heads("700-gpt")


def _heads(network: str) -> list[Chart]:
    """Return one attention chart per head: one row for each token that attends, one column for each it attends to."""
    by_head = list(zip(*_attention(network, _BEGINNING), strict=True))
    says = "How much each character attends to itself and to those before it"
    return [
        Chart(
            "cells",
            f"Head {number}: h{says[1:]}" if len(by_head) > 1 else says,
            ["attends", *_BEGINNING],
            [
                (letter, *(round(share, 4) for share in shares), *[None] * (len(_BEGINNING) - len(shares)))
                for letter, shares in zip(_BEGINNING, rows, strict=True)
            ],
            across="attended to",
            up="attends",
            source=_artifacts(network),
        )
        for number, rows in enumerate(by_head, start=1)
    ]


def _attention(network: str, text: str) -> Iterator[Sequence[Sequence[float]]]:
    """Yield each token's shares by head: what the last token does, for longer and longer beginnings."""
    run = load(ROOT / _artifacts(network))
    ids = run.tokenizer.encode(text)
    for end in range(1, len(ids) + 1):
        yield run.model.logit_lens(ids[:end])[-1].attention


def _artifacts(network: str) -> str:
    """Return the folder of a committed run on the stories."""
    return f"artifacts/ladder/{network}/030_stories"
