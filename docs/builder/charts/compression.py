"""A chart of what compression makes of a text: the models beside general programs."""

from builder.chart import Chart, csv_columns

_RESULTS = "outputs/bench/compression.csv"
_HELPED = " after the nine tenths"


def sizes() -> Chart:
    """How many bytes each method makes of the new stories."""
    columns = csv_columns(_RESULTS)
    found = {name: int(size) for name, size in zip(columns["method"], columns["bytes"], strict=True)}
    rows = [(name, size, found.get(name + _HELPED)) for name, size in found.items() if not name.endswith(_HELPED)]
    return Chart(
        "bars",
        "How many bytes each method makes of the last tenth of the stories; the three programs once alone, and once "
        "after the other nine tenths",
        ["method", "bytes", "bytes, after the nine tenths"],
        rows,
        up="bytes",
        source=_RESULTS,
    )
