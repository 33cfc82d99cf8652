"""The glossary: each of its terms has an anchor, and the first use of a term on another page leads there.

Words that are common in English too, such as "step" or "value", lead there from no page: most of their uses would be
something else.
"""

import re
from functools import cache
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from builder.paths import DOCS

PAGE: Final = "lessons/glossary.md"
_ENTRY: Final = re.compile(r"^- \*\*(.+?)\*\*: (.+) \[.+\]\((.+?)\)$", re.MULTILINE)
_ORDINARY: Final = {
    *("block", "cache", "confidence", "example", "greedy", "id", "key", "leak", "merge", "query", "row", "sample"),
    *("seed", "step", "target", "validation", "value", "window"),
}
_LEFT_ALONE: Final = {"a", "abbr", "code", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "strong", "summary", "th"}


class Term(NamedTuple):
    """A term of the glossary."""

    name: str
    says: str
    page: str  # the lesson that explains it first, below docs/


@cache
def terms() -> dict[str, Term]:
    """Return the terms that other pages lead to, by how they are written in lower case."""
    found = [Term(*match.groups()) for match in _ENTRY.finditer((DOCS / PAGE).read_text(encoding="utf-8"))]
    return {
        term.name.lower(): term._replace(page=f"lessons/{term.page}") for term in found if term.name not in _ORDINARY
    }


@cache
def _pattern() -> re.Pattern[str]:
    """What finds a term in a text, in its plural too; of two that begin at the same place, the longer one."""
    names = sorted(terms(), key=len, reverse=True)
    return re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, names))})(?:s|es)?(?![\w-])", re.IGNORECASE)


def anchor(name: str) -> str:
    """Return the anchor of a term.

    Example:
        >>> anchor("conditional entropy"), anchor("top-p")
        ('conditional-entropy', 'top-p')
    """
    return re.sub(r"[^\w-]+", "-", name.lower())


def add_anchors(root: Element) -> None:
    """Give each entry of the glossary its anchor."""
    for entry in root.iter("li"):
        if len(entry) and entry[0].tag == "strong" and entry[0].text:
            entry.set("id", anchor(entry[0].text))


def add_links(root: Element, page: str, address: str) -> None:
    """Let the first use of each term on a page lead to the glossary; the lesson that explains it does that itself.

    Args:
        root: The page.
        page: Its path below docs/.
        address: The glossary, as seen from the page.
    """
    wanted = {name for name, term in terms().items() if term.page != page}
    _walk(root, wanted, address)


def _walk(element: Element, wanted: set[str], address: str) -> None:
    """Look for terms in the texts of an element and of those in it, in the order of reading."""
    children = list(element)
    if element.text and not _is_stash(element.text):
        links, element.text = _linked(element.text, wanted, address)
        for place, link in enumerate(links):
            element.insert(place, link)
    for child in children:
        if child.tag not in _LEFT_ALONE:
            _walk(child, wanted, address)
        if child.tail:
            links, child.tail = _linked(child.tail, wanted, address)
            place = list(element).index(child) + 1
            for offset, link in enumerate(links):
                element.insert(place + offset, link)


def _linked(text: str, wanted: set[str], address: str) -> tuple[list[Element], str]:
    """Return the links that a text needs, each with the text after it as its tail, and the text before the first."""
    links: list[Element] = []
    before, end = text, 0
    for match in _pattern().finditer(text):
        name = match[1].lower()
        if name not in wanted:
            continue
        wanted.remove(name)
        link = Element("a", {"class": "term", "href": f"{address}#{anchor(name)}", "title": terms()[name].says})
        link.text = match[0]
        if links:
            links[-1].tail = text[end : match.start()]
        else:
            before = text[: match.start()]
        end = match.end()
        links.append(link)
    if links:
        links[-1].tail = text[end:]
    return links, before


def _is_stash(text: str) -> bool:
    """Return whether a text only holds the place of raw HTML."""
    return text.startswith("\x02") and text.endswith("\x03")
