"""test_links.py - Every link of the built site leads to something, anchors too. It skips where there is no site.

WHY not a link checker from a package: linkchecker reads a page once for each of its anchors (11 minutes here),
and linkinator does not look for the anchors of a page that it has already read.
"""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from browser.kit import SITE, needs_site

HOST, FOLDER = "http://site/", "any/where/"  # links are resolved as a browser does; nothing is asked of this host
ADDRESSES = {"href", "src", "poster", "data-src"}


class Page(HTMLParser):
    """What one page offers as anchors, and where its links lead."""

    def __init__(self, text):
        super().__init__()
        self.anchors = set()
        self.links = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)
            elif name in ADDRESSES and value:
                self.links.add(value)


def broken_links(folder: Path) -> tuple[int, list[str]]:
    """Count the links of the pages of a folder to its own host, and list those that lead nowhere.

    The folder may lie anywhere on the host: a link that leaves it leads nowhere.
    """
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    # WHY not this one: a server shows it under any address, so its links begin at the top of the host.
    pages.pop(folder / "404.html", None)
    checked, broken = 0, []
    for path, page in pages.items():
        for link in sorted(page.links):
            address = urljoin(HOST + FOLDER + path.relative_to(folder).as_posix(), link)
            if not address.startswith(HOST):
                continue
            checked += 1
            parts = urlsplit(address)
            inside = parts.path.startswith(f"/{FOLDER}")
            target = folder / unquote(parts.path.removeprefix(f"/{FOLDER}"))
            if target.is_dir():
                target /= "index.html"
            anchor = unquote(parts.fragment)
            missing = target in pages and anchor and anchor not in pages[target].anchors
            if not inside or not target.is_file() or missing:
                broken.append(f"{path.relative_to(folder)}: {link}")
    return checked, broken


@needs_site
def test_every_link_leads_somewhere():
    checked, broken = broken_links(SITE)
    assert broken == []
    assert checked > 2000


def test_a_broken_link_and_a_broken_anchor_would_be_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="no.html">x</a><a href="b.html#no">y</a><a href="b.html#yes">y</a><a href="#here">z</a>'
        '<img src="b.html"><script src="no.js"></script><a href="https://elsewhere.example/no">e</a><a href="">self</a>'
    )
    (tmp_path / "b.html").write_text(
        '<p id="yes">z</p><a href="a.html?query=1">back</a><a href="../b.html">out</a><a href="/b.html">top</a>'
    )
    checked, broken = broken_links(tmp_path)
    assert checked == 9
    assert broken == [
        *("a.html: #here", "a.html: b.html#no", "a.html: no.html", "a.html: no.js"),
        *("b.html: ../b.html", "b.html: /b.html"),
    ]
