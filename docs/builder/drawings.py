"""Charts, pictures and tables, each made by a function: ``python -m builder.drawings chart ladder:losses`` prints one.

WHY a process for each: while it runs, all that it reads is written down, so that kept.py knows when to make it again.
"""

import importlib
import subprocess
import sys

from builder.chart import Chart, chart_html
from builder.kept import kept


def drawing(kind: str, name: str) -> str:
    """Return a drawing as HTML, made now or kept from an earlier time.

    Args:
        kind: ``chart``, ``picture``, ``summary`` or ``live``.
        name: The function; of a chart, with its module in builder/charts/: ``ladder:losses``. Of a summary, with its
            argument if it has one.

    Raises:
        RuntimeError: It cannot be made.
    """

    def make(environment: dict[str, str]) -> str:
        command = [sys.executable, "-m", "builder.drawings", kind, name]
        done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)  # noqa: S603
        if done.returncode != 0:
            raise RuntimeError(f"{kind} {name} cannot be made: {done.stderr}")
        return done.stdout

    html: str = kept([kind, name], make)
    return html


def _chart(name: str) -> str:
    module, _, function = name.partition(":")
    made: Chart | list[Chart] = getattr(importlib.import_module(f"builder.charts.{module}"), function)()
    if isinstance(made, Chart):
        return chart_html(made)
    return f'<div class="charts">{"".join(map(chart_html, made))}</div>'


def _picture(name: str) -> str:
    return f'<figure class="picture">{getattr(importlib.import_module("builder.pictures"), name)()}</figure>'


def _summary(name: str) -> str:
    function, _, argument = name.partition(":")
    table = getattr(importlib.import_module("builder.summaries"), function)(*filter(None, [argument]))
    return f'<div class="summary" markdown="0">{table}</div>'


def _live(name: str) -> str:
    module, _, function = name.partition(":")
    text: str = getattr(importlib.import_module(f"builder.{module}"), function)()
    return text


KINDS = {"chart": _chart, "picture": _picture, "summary": _summary, "live": _live}

if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write(KINDS[sys.argv[1]](sys.argv[2]))
