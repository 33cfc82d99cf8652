"""Slides of the lessons: each built page of a lesson, cut into parts that fit a screen.

Nothing is written twice: a deck has the words, the charts and the outputs of its lesson. It lies beside the lesson, so
all links are the same. assets/slides.js lets the arrow keys turn the slides; a browser prints one on each page.

A heading begins a slide, and so does a paragraph that begins with bold words. A slide holds at most one thing to look
at: a chart, a table, a listing. The sources are left out.
"""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Final, NamedTuple

_MOST_WORDS: Final = 90  # of a slide with nothing to look at
_LEFT_OUT: Final = {"Sources"}
_VOID: Final = {"br", "hr", "img", "input", "link", "wbr"}
_TO_LOOK_AT: Final = re.compile(
    r'<(figure|table|div class="((command |output )?highlight|csv|summary|charts|try|language-|md-typeset))'
)
_BEGINS: Final = re.compile(r"<h3|<p><strong>")
# An answer, what a command printed, or the note below a table.
_JOINS: Final = re.compile(r'<details|<div class="output|<p><em>')
_CHART_SCRIPTS: Final = ("d3.min.js", "plot.umd.min.js", "charts.js")


class Slide(NamedTuple):
    """A part of a lesson: the section's name and anchor, and its blocks of HTML."""

    heading: str
    anchor: str
    blocks: list[str]


def write_slides(site: Path) -> int:
    """Write a deck beside every built lesson; return how many there are."""
    lessons = [path for path in sorted((site / "lessons").glob("*.html")) if not path.name.endswith(".slides.html")]
    decks = {path: deck for path in lessons if (deck := deck_of(path.read_text(encoding="utf-8"), path.name))}
    for path, deck in decks.items():
        path.with_suffix(".slides.html").write_text(deck, encoding="utf-8")
    return len(decks)


def deck_of(page: str, name: str) -> str | None:
    """Return the slides of a lesson's page as a page; None if the page is no lesson.

    Args:
        page: The built page.
        name: Its file's name.
    """
    article = re.search(r"<article[^>]*>(.*?)</article>", page, re.DOTALL)
    if article is None or 'id="the-idea"' not in article[1]:
        return None
    blocks = blocks_of(re.sub(r'<a class="headerlink".*?</a>', "", article[1]))
    title = _text(next(block for block in blocks if block.startswith("<h1")))
    slides = cut(blocks)
    styles = re.findall(r'<link rel="(?:stylesheet|icon)" href="[^"]*">', page)
    scripts = [f'<script defer src="../assets/{name}"></script>' for name in _CHART_SCRIPTS if "data-chart=" in page]
    head = [
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Slides: {title}</title>",
        *styles,
        '<link rel="stylesheet" href="../assets/slides.css">',
        *scripts,
        '<script defer src="../assets/slides.js"></script>',
    ]
    first = f'<h1>{title}</h1><p>Arrow keys turn the slides. <a href="{name}">The lesson</a></p>'
    sections = [first, *(f'<h2 id="{s.anchor}">{s.heading}</h2>{"".join(s.blocks)}' for s in slides)]
    body = "\n".join(
        f'<section class="slide md-typeset" id="slide-{number}">{section}'
        f"<footer>{number} / {len(sections)}</footer></section>"
        for number, section in enumerate(sections, start=1)
    )
    scheme = 'data-md-color-scheme="default" data-md-color-primary="teal" data-md-color-accent="deep-orange"'
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n{"".join(head)}\n</head>\n'
        f"<body {scheme}>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def cut(blocks: list[str]) -> list[Slide]:
    """Return the blocks of a lesson as slides.

    Example:
        >>> text = ['<h2 id="a">A</h2>', "<p>x</p>", "<figure>1</figure>", "<p>y:</p>", "<figure>2</figure>"]
        >>> [slide.blocks for slide in cut(text)]
        [['<p>x</p>', '<figure>1</figure>'], ['<p>y:</p>', '<figure>2</figure>']]
    """
    slides: list[Slide] = []
    heading = anchor = ""
    for block in blocks:
        if found := re.match(r'<h2 id="([^"]*)"', block):
            heading, anchor = _text(block), found[1]
            slides.append(Slide(heading, anchor, []))
        elif heading and heading not in _LEFT_OUT:
            if slides[-1].blocks and not _JOINS.match(block) and _is_full(slides[-1].blocks, block):
                last = slides[-1].blocks
                # A sentence that ends with a colon belongs to what comes.
                moved = [last.pop()] if len(last) > 1 and _text(last[-1]).endswith(":") else []
                slides.append(Slide(heading, f"{anchor}-{len(slides)}", moved))
            slides[-1].blocks.append(block)
    return [slide for slide in slides if slide.blocks]


def _is_full(blocks: list[str], block: str) -> bool:
    """Whether a block begins another slide."""
    if _BEGINS.match(block):
        return True
    if any(map(_TO_LOOK_AT.match, blocks)):
        return _TO_LOOK_AT.match(block) is not None or _words([*blocks[1:], block]) > _MOST_WORDS
    return not _TO_LOOK_AT.match(block) and _words([*blocks, block]) > _MOST_WORDS


def _words(blocks: list[str]) -> int:
    return sum(len(_text(block).split()) for block in blocks if not _TO_LOOK_AT.match(block))


def _text(block: str) -> str:
    """Return a block without its tags."""
    return re.sub(r"<[^>]*>", "", block).strip()


def blocks_of(html: str) -> list[str]:
    """Return the outermost elements of some HTML, one after the other.

    Example:
        >>> blocks_of("<p>a <b>b</b></p> <hr> <ul><li>c</li></ul>")
        ['<p>a <b>b</b></p>', '<ul><li>c</li></ul>']
    """
    parser = _Blocks(html)
    parser.feed(html)
    return parser.blocks


class _Blocks(HTMLParser):
    """Finds where each outermost element begins and ends."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=False)
        self.blocks: list[str] = []
        self._html = html
        self._lines = [0, *(match.end() for match in re.finditer("\n", html))]
        self._depth = 0
        self._start = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in _VOID:
            return
        if self._depth == 0:
            self._start = self._place()
        self._depth += 1

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        """<path/> and the like hold nothing."""

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        self._depth -= 1
        if self._depth == 0:
            self.blocks.append(self._html[self._start : self._html.index(">", self._place()) + 1])

    def _place(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column
