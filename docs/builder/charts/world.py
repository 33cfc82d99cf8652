"""Charts of the story world: what each model knows, and how far back it looks for it."""

from builder.chart import Chart, csv_columns, csv_numbers

_LADDER = "outputs/bench/story_world.csv"
_KINDS = "outputs/bench/story_world_kinds.csv"
_DISTANCES = "outputs/bench/story_world_distances.csv"
_ORDER = ("grammar", "pronoun", "number", "name", "thing", "holder", "place", "color", "reason", "ending")
_SHOWN = 0.02  # of the attention
_RANGES = ("1 to 4", "5 to 8", "9 to 16", "17 to 32", "33 to 64", "65 to 128", "129 or more")


def _groups(path: str, name: str) -> dict[tuple[str, str], tuple[float, float]]:
    """Return the true loss and the model's, by model and group."""
    columns = csv_columns(path)
    rows = zip(columns["model"], columns[name], columns["true_loss"], columns["loss"], strict=True)
    return {(model, group): (float(true), float(loss)) for model, group, true, loss in rows}


def _models() -> list[str]:
    return csv_columns(_LADDER)["model"]


def what_each_knows() -> Chart:
    """The share of what can be known that each model knows, by kind of knowledge."""
    groups = _groups(_KINDS, "kind")

    def share(model: str, kind: str) -> int:
        true, loss = groups[model, kind]
        start = groups["unigram", kind][1]
        return max(round(100 * (start - loss) / (start - true)), 0)

    return Chart(
        "cells",
        "Percent of what can be known: first comes the grammar; only llama begins to know names, things and holders",
        ["model", *_ORDER],
        [(model, *(share(model, kind) for kind in _ORDER)) for model in _models() if model != "unigram"],
        across="kind of knowledge",
        up="model",
        source=_KINDS,
        values=True,
    )


def how_far_back() -> Chart:
    """The loss above the true one of tokens that need a fact, by how far back it was told."""
    groups = _groups(_DISTANCES, "distance")
    models = [model for model in _models() if model not in ("unigram", "bigram", "context-2")]
    return Chart(
        "bars",
        "Loss above the floor by how many tokens back the fact was told: beyond 8 tokens, only llama finds it",
        ["tokens back", *models],
        [(reach, *(round(loss - true, 3) for true, loss in (groups[m, reach] for m in models))) for reach in _RANGES],
        up="nats per token above the floor",
        source=_DISTANCES,
    )


def heads() -> Chart:
    """How much each head of the committed Llama attends to the fact that an answer needs."""
    path = "outputs/bench/world_heads.csv"
    columns = csv_columns(path)
    shares: dict[str, dict[str, float]] = {}
    for kind, block, head, share in zip(*(columns[name] for name in ("kind", "block", "head", "share")), strict=True):
        shares.setdefault(f"block {block}, head {head}", {})[kind] = round(100 * float(share), 1)
    kinds = list(dict.fromkeys(columns["kind"]))
    return Chart(
        "cells",
        "Percent of a head's attention that goes to the fact, by what the answer is about",
        ["head", *kinds],
        [(head, *(of_head[kind] for kind in kinds)) for head, of_head in shares.items()],
        across="kind of fact",
        up="head",
        source=path,
        values=True,
    )


def head_example() -> Chart:
    """Where the best head for holders looks when an answer is due."""
    path = "outputs/bench/world_head_example.csv"
    columns = csv_columns(path)
    (head,) = columns.keys() - {"token", "mark"}
    rows = list(zip(columns["token"], map(float, columns[head]), columns["mark"], strict=True))
    # WHY numbers: a token may come twice.
    told = [
        (f"{len(rows) - i} back: {token}{mark and ' (the fact)'}", share)
        for i, (token, share, mark) in enumerate(rows)
        if share >= _SHOWN or mark
    ]
    return Chart(
        "bars",
        f"What {head} looks at when the next token is the one who has the thing",
        ["token", "share of its attention"],
        told,
        up="share of its attention",
        source=path,
        values=True,
    )


def overtake() -> Chart:
    """The loss on new stories by the length of the text that was learned."""
    path = "outputs/bench/overtake.csv"
    columns = csv_numbers(path)
    names = [f"{int(tokens):,} tokens" for tokens in columns.pop("tokens")]
    return Chart(
        "bars",
        "Loss on new stories by the length of the text: the network is ahead from 30,000 tokens on",
        ["text learned", *columns],
        list(zip(names, *columns.values(), strict=True)),
        up="nats per token",
        source=path,
        dashed={"floor": ""},
        values=True,
    )
