"""show.py - Numbers and texts on a terminal: bars, tables, and text that cannot command it."""

import sys
from collections.abc import Iterable, Sequence
from typing import Final
from unicodedata import category

_BAR_WIDTH: Final = 24
_TOKEN_WIDTH: Final = 14
_LINE_LIMIT: Final = 500
# Control characters, invisible formatting (also what reverses a line), half characters, and Unicode's line ends.
_HIDDEN: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")
_HARMLESS: Final = "\n\t\u200c\u200d"  # the last two shape Persian words and emoji


def say(text: str = "", *, raw: bool = False, end: str = "\n") -> None:
    """Print to standard output; ``raw`` as it is, otherwise as plain() text. An OSError names standard output."""
    try:
        print(text if raw else plain(text), end=end, flush=True)
    except OSError as error:
        error.filename = "standard output"
        raise


def say_pieces(pieces: Iterable[str], *, raw: bool = False) -> str:
    """Print a text that comes in pieces, and a line end; return the text. A terminal shows each piece at once."""
    shown: list[str] = []
    for piece in pieces:
        shown.append(piece)
        if sys.stdout.isatty():
            say(piece, raw=raw, end="")
    text = "".join(shown)
    say("" if sys.stdout.isatty() else text, raw=raw)
    return text


def plain(text: str) -> str:
    """Return a text that a terminal shows and does not obey: line ends and tabs stay, other control characters show."""
    if text.isprintable():
        return text
    return "".join(
        char if char in _HARMLESS or category(char) not in _HIDDEN else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def one_line(text: str, limit: int = _LINE_LIMIT) -> str:
    """Return a message as one plain line; what is too long loses its middle."""
    line = plain(" ".join(text.split()))
    half = (limit - 3) // 2
    return line if len(line) <= limit else f"{line[:half]}...{line[-half:]}"


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
    cells = [[plain(str(cell)) for cell in row] for row in [header, *rows]]
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
