"""Charts of the docs site, drawn as SVG from committed CSV files when the site is built."""

import csv
import io
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]

# WHY grey text and a clear background: the same picture must read on the light and on the dark page.
mpl.rcParams.update(
    {
        "svg.hashsalt": "toy-gpt-train",
        "svg.fonttype": "none",
        "text.color": "#808080",
        "axes.edgecolor": "#808080",
        "axes.labelcolor": "#808080",
        "xtick.color": "#808080",
        "ytick.color": "#808080",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
    }
)


def _columns(path: str) -> dict[str, list[float]]:
    """Return a CSV file of numbers as a list for each column."""
    with (ROOT / path).open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return {name: [float(row[i]) for row in rows] for i, name in enumerate(header)}


def _svg(figure: Figure, description: str) -> str:
    """Return a figure as an SVG element with an accessible name."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    return svg.replace("<svg", f'<svg role="img" aria-label="{description}"', 1).replace("\n\n", "\n")


def default_run_loss() -> str:
    """The loss of the default run by epoch, above its floor."""
    log = _columns("outputs/train_log.csv")
    figure = Figure(figsize=(7, 3))
    axes = figure.subplots()
    axes.plot(log["epoch"], log["avg_loss"], color="#00897b", label="average loss")
    axes.plot(log["epoch"], log["loss_floor"], color="#e65100", linestyle="--", label="floor of any context-3 table")
    axes.set_xlabel("epoch")
    axes.set_ylabel("nats a token")
    axes.legend(labelcolor="#808080")
    return _svg(figure, "Average loss by epoch, falling towards the dashed floor")


def ladder_loss() -> str:
    """The loss curves of the four tables on the animals corpus."""
    figure = Figure(figsize=(7, 3.4))
    axes = figure.subplots()
    rungs = ("100-unigram", "200-bigram", "300-context-2", "400-context-3")
    for rung, color in zip(rungs, ("#6d4c41", "#e65100", "#00897b", "#5e35b1"), strict=True):
        log = _columns(f"outputs/ladder/{rung}/001_animals/train_log.csv")
        axes.plot(log["epoch"], log["avg_loss"], color=color, label=rung)
        axes.plot(log["epoch"], log["loss_floor"], color=color, linestyle=":", linewidth=1)
    axes.set_xlabel("epoch")
    axes.set_ylabel("nats a token")
    axes.legend(labelcolor="#808080", ncols=2)
    return _svg(figure, "Loss by epoch of the unigram, bigram, context-2 and context-3 tables, each with its floor")
