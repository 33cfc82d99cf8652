"""A chart as a page has it: a table of its values, which docs/assets/charts.js draws.

WHY a table: it is the only copy of the numbers. It can be read without a script and by those who do not see the
drawing, and whatever retrains an artifact changes both at once.
"""

import csv
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from builder.paths import ROOT

Value = str | int | float | None


@dataclass(frozen=True)
class Chart:
    """The numbers of a chart, and how they are to be drawn.

    Attributes:
        kind: ``lines`` (first column: places across; the others: a line each), ``bars`` (first column: names; the
            others: a bar for each; the bars lie), ``points`` (columns: label, across, up, and group if there is one)
            or ``cells`` (first column: names of rows; the others: a column of squares each).
        says: What there is to see in it, as a sentence; the name of the drawing.
        columns: The names of the columns.
        rows: A value for each column; None where there is none.
        across: What the axis across measures; of bars, what their names are.
        up: What the axis upward measures; of bars, what their lengths are.
        source: The files it is made from, or the command that prints it.
        logarithmic: Whether each step upward multiplies.
        dashed: Lines to draw dashed, each with the line that it belongs to and has the color of, or "" for none. Among
            bars, a dashed line stands beside each name in place of a bar.
        values: Whether to write each value beside its point or bar, or into its square.
        dots: Lines to draw as dots that nothing joins.
        limits: Where the axis upward begins and ends, for charts to be compared; as the values need it where None.
    """

    kind: Literal["lines", "bars", "points", "cells"]
    says: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]
    across: str = ""
    up: str = ""
    source: str = ""
    logarithmic: bool = False
    dashed: Mapping[str, str] = field(default_factory=dict)
    values: bool = False
    dots: Sequence[str] = ()
    limits: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not self.rows or any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"{self.says}: each row must have {len(self.columns)} values")


def chart_html(chart: Chart) -> str:
    """Return a chart as the page has it."""
    how = {
        "kind": chart.kind,
        "across": chart.across,
        "up": chart.up,
        "logarithmic": chart.logarithmic,
        "dashed": dict(chart.dashed),
        "values": chart.values,
        "dots": list(chart.dots),
        "limits": chart.limits,
    }
    body = "".join(_row("td", row) for row in chart.rows)
    source = f", from {html.escape(chart.source)}" if chart.source else ""
    return (
        f'<figure class="chart" data-chart="{html.escape(json.dumps(how), quote=True)}">'
        f"<figcaption>{html.escape(chart.says)}</figcaption>"
        f"<details><summary>The values{source}</summary>"
        # WHY tabindex: a long table scrolls, by the keyboard too.
        f'<div class="csv" tabindex="0"><table><thead>{_row("th", chart.columns)}</thead><tbody>{body}</tbody></table>'
        "</div></details></figure>"
    )


def _row(cell: str, values: Sequence[Value]) -> str:
    return f"<tr>{''.join(f'<{cell}>{html.escape(_text(value))}</{cell}>' for value in values)}</tr>"


def _text(value: Value) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # WHY: the numbers of a CSV file are floats, and an epoch is 1, not 1.0
    return "" if value is None else visible(str(value))


def visible(text: str) -> str:
    r"""Return a token as it can be seen; a text of which nothing would be lost stays as it is.

    Example:
        >>> visible(" "), visible("a\n"), visible(" of the"), visible("held-out part")
        ('␣', 'a\\n', '␣of␣the', 'held-out part')
    """
    if text.isprintable() and text == text.strip():
        return text
    return "".join("␣" if c == " " else c if c.isprintable() else repr(c)[1:-1] for c in text)


def csv_columns(path: str) -> dict[str, list[str]]:
    """Return a CSV file of the repository as a list of cells for each column."""
    with (ROOT / path).open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


def run_meta(model: str, corpus: str) -> dict[str, Any]:
    """Return the metadata of a committed run of the ladder."""
    path = ROOT / "artifacts" / "ladder" / model / corpus / "00_meta.json"
    meta: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return meta


def csv_numbers(path: str) -> dict[str, list[float]]:
    """Return a CSV file of numbers as a list for each column."""
    return {name: [float(cell) for cell in cells] for name, cells in csv_columns(path).items()}
