"""Charts of how a table is trained: down to its floor, and how many rows have to be trained at all."""

from builder.chart import Chart, csv_numbers
from builder.paths import STORIES
from builder.texts import read_ids
from toy_gpt_train.models.ngram_table import NGramTable, training_pairs

_DEFAULT_LOG = "outputs/train_log.csv"


def default_run_loss() -> Chart:
    """The loss of the default run by epoch, and its floor."""
    log = csv_numbers(_DEFAULT_LOG)
    floor = "floor of any context-3 table"
    return Chart(
        "lines",
        "Average loss of the default run by epoch, falling toward its floor",
        ["epoch", "average loss", floor],
        list(zip(log["epoch"], log["avg_loss"], log["loss_floor"], strict=True)),
        across="epoch",
        up="nats per token",
        source=_DEFAULT_LOG,
        dashed={floor: ""},
    )


def patterns() -> Chart:
    """Contexts of the stories, and the different patterns of targets among them, by context size."""
    ids, size = read_ids(STORIES)
    return Chart(
        "bars",
        "The stories have thousands of contexts, but far fewer different patterns of targets",
        ["N", "contexts", "different patterns"],
        [(n, *_contexts_and_patterns(ids, size, n)) for n in (1, 2, 3, 4)],
        across="context size N",
        up="rows",
        source="corpus/030_stories.txt",
        values=True,
    )


def _contexts_and_patterns(ids: list[int], vocab_size: int, context_size: int) -> tuple[int, int]:
    """Return how many rows a text trains, and how many different things are learned by them."""
    rows_of = NGramTable(vocab_size, context_size).rows_by_task(training_pairs(ids, context_size))
    return sum(map(len, rows_of.values())), len(rows_of)
