"""test_slides.py - Lessons cut into slides: where a slide begins, and that nothing of a lesson is lost."""

import re
import sys
from pathlib import Path

import pytest

from browser.kit import SITE, needs_site

DOCS = Path(__file__).resolve().parents[1] / "docs"
if not (DOCS / "builder").is_dir():
    pytest.skip("the docs lie in the repository", allow_module_level=True)
sys.path.insert(0, str(DOCS))

from builder.slides import blocks_of, cut, deck_of, write_slides  # noqa: E402

FIGURE, CODE = '<figure data-chart="x">f</figure>', '<div class="highlight"><pre>c</pre></div>'
PAGE = f"""<html><head><link rel="icon" href="../a.png"><link rel="stylesheet" href="../assets/main.css"></head>
<body><p>no</p>
<article class="md-content__inner"><h1 id="t">200: <em>bigram</em><a class="headerlink" href="#t">¶</a></h1>
<h2 id="the-idea">The idea<a class="headerlink" href="#the-idea">¶</a></h2>
<p>A <b>bigram</b><br> looks back.</p>
<h2 id="a-picture">A picture</h2><p>Look:</p>{FIGURE}<p>Explained.</p><p>Another:</p>{CODE}
<h2 id="ex">Exercises</h2><p><strong>1. One.</strong></p><details><summary>Check</summary><p>a</p>{CODE}</details>
<p><strong>2. Two.</strong></p><details><p>b</p></details>
<h2 id="sources">Sources</h2><ul><li>A book</li></ul></article>
<script defer src="../assets/site.js"></script></body></html>"""


def test_blocks_by_hand() -> None:
    html = '<p>a<br>b<img src="x"> &amp; &#8594;</p>\n text <div>\n<div>c</div>\n<path d="1"/></div >\n\n'
    html += "<hr><ul><li>d</li></ul>"
    assert blocks_of(html) == [
        '<p>a<br>b<img src="x"> &amp; &#8594;</p>',
        '<div>\n<div>c</div>\n<path d="1"/></div >',
        "<ul><li>d</li></ul>",
    ]


def test_a_deck_by_hand() -> None:
    deck = deck_of(PAGE, "200-bigram.html")
    assert deck is not None
    assert "headerlink" not in deck
    assert "A book" not in deck
    sections = re.findall(r'<section class="slide md-typeset" id="slide-(\d+)">(.*?)<footer>(.*?)</footer>', deck, re.S)
    assert [footer for *_, footer in sections] == [f"{n} / 6" for n in range(1, 7)]
    bodies = [body for _, body, _ in sections]
    assert bodies[0].startswith("<h1>200: bigram</h1>")
    assert '<a href="200-bigram.html">' in bodies[0]
    answer = f"<details><summary>Check</summary><p>a</p>{CODE}</details>"
    assert bodies[1:] == [
        '<h2 id="the-idea">The idea</h2><p>A <b>bigram</b><br> looks back.</p>',
        f'<h2 id="a-picture">A picture</h2><p>Look:</p>{FIGURE}<p>Explained.</p>',
        f'<h2 id="a-picture-2">A picture</h2><p>Another:</p>{CODE}',
        f'<h2 id="ex">Exercises</h2><p><strong>1. One.</strong></p>{answer}',
        '<h2 id="ex-4">Exercises</h2><p><strong>2. Two.</strong></p><details><p>b</p></details>',
    ]
    assert '<link rel="icon" href="../a.png"><link rel="stylesheet" href="../assets/main.css">' in deck
    assert '<script defer src="../assets/d3.min.js">' in deck
    assert "other.js" not in deck


def test_a_long_text_takes_several_slides() -> None:
    words = "<p>" + "word " * 40 + "</p>"
    assert [len(slide.blocks) for slide in cut(["<h2 id='a'>"] + [words] * 5)] == []
    slides = cut(['<h2 id="a">A</h2>', *[words] * 5, "<p><em>a note</em></p>"])
    assert [len(slide.blocks) for slide in slides] == [2, 2, 2]
    assert [slide.anchor for slide in slides] == ["a", "a-1", "a-2"]


def test_other_pages_have_no_slides(tmp_path: Path) -> None:
    assert deck_of("<article><h1>Glossary</h1></article>", "glossary.html") is None
    assert deck_of("<p>no article</p>", "a.html") is None
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons" / "200-bigram.html").write_text(PAGE, encoding="utf-8")
    (tmp_path / "lessons" / "glossary.html").write_text("<article><h1>Glossary</h1></article>", encoding="utf-8")
    for _ in range(2):  # a deck has no deck
        assert write_slides(tmp_path) == 1
        names = sorted(path.name for path in (tmp_path / "lessons").iterdir())
        assert names == ["200-bigram.html", "200-bigram.slides.html", "glossary.html"]


@needs_site
@pytest.mark.parametrize("path", sorted((SITE / "lessons").glob("*.slides.html")), ids=lambda path: path.name)
def test_the_decks_have_what_the_lessons_have(path: Path) -> None:
    deck = path.read_text("utf-8")
    lesson = path.with_name(path.name.replace(".slides", "")).read_text("utf-8")
    body = lesson.partition("<article")[2].partition("</article>")[0].partition('id="the-idea"')[2]
    body = body.partition('<h2 id="sources"')[0]
    for tag in ("<figure", "<details", "<table", "<pre", "<math", "<li>"):
        assert deck.count(tag) == body.count(tag), tag
