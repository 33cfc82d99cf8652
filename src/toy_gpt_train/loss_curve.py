"""loss_curve.py - The training log as a picture, for notebooks."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

_WIDTH, _HEIGHT, _MARGIN = 480, 180, 36
_CURVES: Final = {"avg_loss": ("training text", "#00796b"), "val_loss": ("held-out part", "#e64a19")}


def loss_curve_svg(title: str, history: Sequence[Mapping[str, float]]) -> str:
    """Return a title and the loss by epoch as SVG; the title alone where the log has fewer than two records."""
    curves = {name: [(r["epoch"], r[name]) for r in history if name in r] for name in _CURVES}
    points = [point for curve in curves.values() for point in curve]
    if len(history) < 2:
        return f"<p>{escape(title)}</p>"
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)

    def place(x: float, y: float) -> str:
        across = (x - left) / (right - left or 1)
        up = (y - low) / (high - low or 1)
        return f"{_MARGIN + across * (_WIDTH - 2 * _MARGIN):.1f},{_HEIGHT - 24 - up * (_HEIGHT - 48):.1f}"

    drawn = ""
    for (name, (label, color)), offset in zip(_CURVES.items(), (0, 110), strict=True):
        if curves[name]:
            line = " ".join(place(x, y) for x, y in curves[name])
            drawn += f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>'
            drawn += f'<text x="{_WIDTH - 230 + offset}" y="14" fill="{color}">{label}</text>'
    axis = (
        f'<text x="2" y="28">{high:.2f}</text><text x="2" y="{_HEIGHT - 22}">{low:.2f}</text>'
        f'<text x="{_MARGIN}" y="{_HEIGHT - 6}">epoch {left:g} to {right:g}, nats per token</text>'
    )
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg role="img" aria-label="loss by epoch" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" font-family="sans-serif" font-size="11" '
        f'fill="currentColor">{axis}{drawn}</svg></figure>'
    )
