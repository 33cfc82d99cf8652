"""show.py - Numbers as text on a terminal: bars and tables."""

from collections.abc import Sequence
from typing import Final

_BAR_WIDTH: Final = 24
_TOKEN_WIDTH: Final = 14


def visible(token: str) -> str:
    r"""Return a token as it can be seen in a line: white space and control characters as escapes.

    Example:
        >>> visible("cat"), visible("\n")
        ('cat', "'\\n'")
    """
    return token if token.isprintable() and token.strip() == token and token else repr(token)


def bars(rows: Sequence[tuple[str, float]]) -> list[str]:
    """Return a line for each (token, probability): the token, a bar, the number.

    Example:
        >>> bars([("cat", 0.5)])
        ['cat            ############............ 0.5000']
    """
    lines: list[str] = []
    for token, probability in rows:
        filled = round(probability * _BAR_WIDTH)
        bar = "#" * filled + "." * (_BAR_WIDTH - filled)
        lines.append(f"{visible(token):{_TOKEN_WIDTH}} {bar} {probability:.4f}")
    return lines


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as aligned columns: words to the left, numbers (formatted or not) to the right.

    Example:
        >>> print(table(["a", "b"], [["x", 1], ["yy", 10]]))
        a    b
        x    1
        yy  10
    """
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = [all(_is_number(row[i]) or not row[i] for row in cells[1:]) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    )


def _is_number(cell: str) -> bool:
    return cell.removeprefix("-").replace(".", "").isdigit()
