"""Charts of all rungs of the counting kind: how they learn, and what remains unpredictable."""

from builder.chart import Chart, csv_numbers

_TABLES = ("100-unigram", "200-bigram", "300-context-2", "400-context-3")


def animals_losses() -> Chart:
    """The loss of the four tables on the animals by epoch, each with its floor."""
    logs = {rung: csv_numbers(f"outputs/ladder/{rung}/001_animals/train_log.csv") for rung in _TABLES}
    floors = {rung: f"floor of {rung.partition('-')[2]}" for rung in _TABLES}
    lines = [log["avg_loss"] for log in logs.values()] + [log["loss_floor"] for log in logs.values()]
    return Chart(
        "lines",
        "Loss by epoch of the unigram, bigram, context-2 and context-3 tables, each with its floor dashed",
        ["epoch", *_TABLES, *floors.values()],
        list(zip(logs[_TABLES[0]]["epoch"], *lines, strict=True)),
        across="epoch",
        up="nats a token",
        source="outputs/ladder/*/001_animals/train_log.csv",
        dashed={floor: rung for rung, floor in floors.items()},
    )
