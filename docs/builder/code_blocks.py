r"""Blocks of code on a page: a line that is too long continues on the next, indented; tables keep their shape.

The lines of every block become elements of their own, with what site.css needs to know of each: how far the text of a
line that is broken is indented. A line of a table is never broken, as its columns would no longer be columns: the block
scrolls.
"""

import html
import re
from typing import Final

_BLOCK: Final = re.compile(
    r'(?P<command><div class="command [^>]*>)?(?P<start><pre\b[^>]*>(?:<span></span>)?<code\b[^>]*>)'
    r"(?P<code>.*?)(?P<end></code></pre>)",
    re.DOTALL,
)
_WORD: Final = re.compile(r"(?<![^\s>])[^\s<>]+(?![^<]*>)")
_TAG: Final = re.compile(r"<[^>]*>")
_PROMPT: Final = re.compile(r"(?:>>>|\.\.\.|\$) ")
_GAP: Final = re.compile(r"(?<=\S) {2,}(?=\S)")
_LONGEST_CELL: Final = 24  # what is longer is a sentence
_BAR: Final = re.compile(r"[#.]{12,}")
_DEEPEST: Final = 12  # characters; a line of a telephone has about forty


def with_lines(page: str) -> str:
    """Return the HTML of a page with each line of its blocks of code as an element."""
    return _BLOCK.sub(_block, page)


def _block(match: re.Match[str]) -> str:
    command, start, code, end = match.groups(default="")
    if command:
        code = _WORD.sub(r'<span class="word">\g<0></span>', code)  # WHY: a line would be broken after any hyphen
    return command + start + _lines(code) + end


def _lines(code: str) -> str:
    return "".join(map(_line, code.rstrip("\n").split("\n")))


def _line(line: str) -> str:
    text = html.unescape(_TAG.sub("", line))
    if is_row(text):
        return f'<span class="line row">{line}\n</span>'
    depth = indentation(text)
    style = f' style="--depth: {depth}"' if depth else ""
    return f'<span class="line"{style}>{line}\n</span>'


def is_row(text: str) -> bool:
    """Return whether a line is a row of a table of numbers: three cells, the last one short, or a bar.

    Example:
        >>> is_row("epoch  avg_loss  accuracy"), is_row("cat    ###............ 0.1309")
        (True, True)
        >>> is_row("result     train loss 1.2932 nats per token"), is_row("cli  24  -> view, run, job, data, models")
        (False, False)
    """
    cells = _GAP.split(text.partition("  # ")[0])
    return (len(cells) > 2 and len(cells[-1]) <= _LONGEST_CELL) or _BAR.search(text) is not None


def indentation(text: str) -> int:
    """Return the column at which a line begins to say something: after spaces, a prompt, or a name and spaces.

    Example:
        >>> indentation("    return x"), indentation(">>> for x in y:"), indentation("...     print(x)")
        (4, 4, 8)
        >>> indentation("result     train loss 1.2932")
        11
    """
    prompt = _PROMPT.match(text)
    start = prompt.end() if prompt else 0
    while start < len(text) and text[start] == " ":
        start += 1
    gap = _GAP.search(text)
    return min(gap.end() if gap and not prompt and gap.end() <= _DEEPEST else start, _DEEPEST)
