"""A chart as a page has it: a table of its values, which docs/assets/charts.js draws.

WHY a table: it is the only copy of the numbers. It can be read without a script and by those who do not see the
drawing, and whatever retrains an artifact changes both at once.
"""

import csv
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from builder.paths import ROOT

Value = str | int | float | None


@dataclass(frozen=True)
class Chart:
    """The numbers of a chart, and how they are to be drawn.

    Attributes:
        kind: ``lines`` (first column: places across; the others: a line each), ``bars`` (first column: names; the
            others: a bar for each), ``points`` (columns: label, across, up, and group if there is one) or ``cells``
            (first column: names of rows; the others: a column of squares each).
        says: What there is to see in it, as a sentence; the name of the drawing.
        columns: The names of the columns.
        rows: A value for each column; None where there is none.
        across: What the axis across measures.
        up: What the axis upward measures.
        source: The files it is made from, or the command that prints it.
        logarithmic: Whether each step upward multiplies.
        dashed: Lines to draw dashed, each with the line that it belongs to and has the colour of, or "" for none.
        values: Whether to write each value beside its point or bar.
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
    }
    body = "".join(_row("td", row) for row in chart.rows)
    source = f", from {html.escape(chart.source)}" if chart.source else ""
    return (
        f'<figure class="chart" data-chart="{html.escape(json.dumps(how), quote=True)}">'
        f"<figcaption>{html.escape(chart.says)}</figcaption>"
        f"<details><summary>The values{source}</summary>"
        f'<div class="csv"><table><thead>{_row("th", chart.columns)}</thead><tbody>{body}</tbody></table></div>'
        "</details></figure>"
    )


def _row(cell: str, values: Sequence[Value]) -> str:
    shown = ["" if value is None else html.escape(str(value)) for value in values]
    return f"<tr>{''.join(f'<{cell}>{text}</{cell}>' for text in shown)}</tr>"


def csv_columns(path: str) -> dict[str, list[str]]:
    """Return a CSV file of the repository as a list of cells for each column."""
    with (ROOT / path).open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


def csv_numbers(path: str) -> dict[str, list[float]]:
    """Return a CSV file of numbers as a list for each column."""
    return {name: [float(cell) for cell in cells] for name, cells in csv_columns(path).items()}
