"""A chart of what compression makes of a text: the models beside general programs."""

from builder.chart import Chart, csv_columns

_RESULTS = "outputs/bench/compression.csv"
_HELPED = ", has read the nine tenths"


def sizes() -> Chart:
    """How many bytes each method makes of the new stories."""
    columns = csv_columns(_RESULTS)
    found = {name: int(size) for name, size in zip(columns["method"], columns["bytes"], strict=True)}
    rows = [(name, size, found.get(name + _HELPED)) for name, size in found.items() if not name.endswith(_HELPED)]
    return Chart(
        "bars",
        "How many bytes each method makes of stories that are new to it; the three programs once without the other "
        "stories, and once with them",
        ["method", "bytes", "bytes, where a program has read the other stories"],
        rows,
        up="bytes",
        source=_RESULTS,
    )
