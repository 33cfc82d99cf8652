"""Charts and pictures as images that need no site around them: each is an SVG with its colors in it.

A chart is drawn by the script that draws it on the page, in a process of Node.js.
"""

import base64
import html
import json
import re
import subprocess
from collections.abc import Iterable
from functools import cache
from typing import Final

from builder.drawings import drawing
from builder.npm import package_file
from builder.paths import DOCS

_DRAW: Final = DOCS / "builder" / "draw_charts.mjs"
# As the site's light theme has them.
_PAGE_COLORS: Final = """:root { --md-default-bg-color: #fff; --md-default-fg-color: #212121; color: #212121; }
:root { --md-default-fg-color--light: #5c5c5c; --md-default-fg-color--lightest: #ededed; }"""


def images(drawings: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return charts and pictures as HTML, by kind and name; a chart of several parts has an image for each.

    Raises:
        RuntimeError: A chart cannot be drawn.
    """
    asked = {key: drawing(*key) for key in drawings}
    charts = [key for key in asked if key[0] == "chart"]
    drawn = iter(_draw("\n".join(asked[key] for key in charts)))
    found = {key: " ".join(next(drawn) for _ in range(asked[key].count("<figure"))) for key in charts}
    return found | {key: _picture(asked[key]) for key in asked if key[0] == "picture"}


def _draw(charts: str) -> list[str]:
    scripts = [package_file("d3", "dist/d3.min.js"), package_file("@observablehq/plot", "dist/plot.umd.min.js")]
    command = ["node", _DRAW, package_file("linkedom", "esm/index.js"), *scripts, DOCS / "assets" / "charts.js"]
    done = subprocess.run(command, input=charts, capture_output=True, encoding="utf-8", check=False)  # noqa: S603
    if done.returncode != 0:
        raise RuntimeError(f"the charts cannot be drawn: {done.stderr}")
    return [image(**chart) for chart in json.loads(done.stdout)]


def _picture(figure: str) -> str:
    svg = figure[figure.index("<svg") : figure.rindex("</svg>") + len("</svg>")]
    says = re.search(r'aria-label="([^"]*)"', svg)
    assert says
    _, _, width, height = _box(svg)
    sized = svg.replace("<svg", f'<svg width="{width}" height="{height}" font-family="sans-serif"', 1)
    return image(sized, html.unescape(says[1]))


def image(svg: str, says: str) -> str:
    """Return an SVG as an HTML image that holds it, on white paper; ``says`` is its text."""
    x, y, width, height = _box(svg)
    head, rest = svg.split(">", 1)
    head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    paper = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" style="fill: #fff; stroke: none"/>'
    data = base64.b64encode(f"{head}><style>{_styles()}</style>{paper}{rest}".encode()).decode()
    return f'<img alt="{html.escape(says)}" src="data:image/svg+xml;base64,{data}">'


def _box(svg: str) -> list[str]:
    """Return the left edge, the upper edge, the width and the height of an SVG."""
    box = re.search(r'viewBox="([^"]*)"', svg)
    assert box
    return box[1].split()


@cache
def _styles() -> str:
    """The colors of charts, and the looks of pictures, from the site's own style sheet."""
    css = (DOCS / "assets" / "site.css").read_text(encoding="utf-8")
    colors = re.search(r"^:root \{.*?^\}", css, re.MULTILINE | re.DOTALL)
    assert colors
    return "\n".join([_PAGE_COLORS, colors[0], *re.findall(r"^svg\.picture .*", css, re.MULTILINE)])
