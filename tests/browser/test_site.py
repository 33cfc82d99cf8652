"""test_site.py - The built docs site in a real browser: every page, its charts, and what a lesson lets one do.

The site is served from a sub-folder of a plain server, and read from its files too, as one does without a network. A
page may say nothing in the console, ask nothing of another host, and scroll in one direction only.
"""

from __future__ import annotations

import csv
import html
import json
import posixpath
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

from browser.kit import (
    AXE_COLORS,
    PATIENCE,
    REPOSITORY,
    SAVES_DATA,
    SITE,
    WIDTHS,
    Watch,
    assert_no_sideways_scrolling,
    axe_violations,
    needs_site,
    plain_server,
    running,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Frame, Locator, Page

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (uv sync --group browser)")
expect = sync_api.expect
pytestmark = needs_site

OWN_PAGES = ("explorer/index.html", "playground/index.html")  # these have tests of their own
_ALL = {path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html")}
DECKS = sorted(page for page in _ALL if page.endswith(".slides.html"))
PAGES = sorted(_ALL - set(OWN_PAGES) - set(DECKS))
ABOUT_PAGES = ("explorer.html", "playground.html")  # they are linked from those
TRAINING = 120_000  # milliseconds; how long a small training may take, Python included


@cache
def source_of(page: str) -> str:
    return (SITE / page).read_text("utf-8")


def pages_with(pattern: str) -> list[str]:
    """The pages that have something in them."""
    return [page for page in PAGES if re.search(pattern, source_of(page))]


def there_is(page: str) -> None:
    """Skip the test where the site has been built without the page."""
    if page not in PAGES:
        pytest.skip(f"this site has been built without {page}")


# --- every page -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(browser: Browser) -> Iterator[tuple[BrowserContext, Watch]]:
    """Where all pages are opened: what they share is fetched once."""
    context = browser.new_context(color_scheme="light")
    context.set_default_timeout(PATIENCE)
    yield context, Watch(context)
    context.close()


@pytest.fixture(scope="module")
def top_address() -> Iterator[str]:
    """The address of the built site at the top of its server, which is where it takes its 404 page for granted."""
    with running(plain_server(SITE)) as address:
        yield address


# WHY some only: a page may have hundreds of such parts, all with the same few colors, and axe looks long at each.
THIN_OUT = """() => {
  for (const [parts, most] of [[".highlight", 4], [".doc-object", 12], ["tbody tr", 30]]) {
    [...document.querySelectorAll(parts)].slice(most).forEach((part) => part.remove());
  }
}"""
PARTS_OF_PICTURES = "svg[role=img] > *"  # the picture has a name, and its parts have none
SAME_EVERYWHERE = ".md-sidebar"  # the navigation; it is looked at on the first page


@pytest.mark.parametrize("name", PAGES)
def test_every_page(shared: tuple[BrowserContext, Watch], site_address: str, top_address: str, name: str) -> None:
    context, watch = shared
    watch.forget()
    address = top_address if name == "404.html" else site_address
    with closing(context.new_page()) as page:
        page.goto(address + name)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert_charts_are_drawn(page, name)
            for scheme in ("slate", "default"):
                use_scheme(page, scheme)
                assert_no_sideways_scrolling(page, f"{name}, {width}, {scheme}")
        page.evaluate(THIN_OUT)
        left_out = [PARTS_OF_PICTURES] if name == "index.html" else [PARTS_OF_PICTURES, SAME_EVERYWHERE]
        violations = axe_violations(page, exclude=left_out)
        use_scheme(page, "slate")
        violations += axe_violations(page, AXE_COLORS, exclude=left_out)
    watch.assert_quiet(urlsplit(address).netloc)
    assert not violations, "\n".join(violations)


def use_scheme(page: Page, scheme: str) -> None:
    """Give the page the light colors ("default") or the dark ones ("slate"), as mkdocs-material's own button does."""
    page.evaluate(
        """scheme => {
          document.body.dataset.mdColorScheme = scheme;
          document.getAnimations().forEach((change) => change.finish()); // no color between the two
        }""",
        scheme,
    )


def test_the_theme_is_that_of_the_system(context: BrowserContext, watch: Watch, site_address: str) -> None:
    page = context.new_page()
    page.emulate_media(color_scheme="dark")
    page.goto(site_address + "index.html")
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
    page.get_by_title("Switch to light").click()
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "default")
    watch.assert_quiet(urlsplit(site_address).netloc)


@pytest.mark.parametrize("name", ["index.html", "lessons/200-bigram.html"])
def test_the_search(context: BrowserContext, watch: Watch, top_address: str, name: str) -> None:
    page = context.new_page()
    page.goto(top_address + name)
    search_for(page, "Kneser")
    watch.assert_quiet(urlsplit(top_address).netloc)


def search_for(page: Page, word: str) -> None:
    """Type a word, and wait for the pages that have it."""
    page.get_by_role("textbox", name="Search").click()
    page.keyboard.type(word)
    expect(page.locator(".md-search-result__item").first).to_be_visible()
    expect(page.locator(".md-search-result__meta")).to_have_text(re.compile(r"\d+ matching documents?"))


def test_all_pages_share_a_theme_and_a_bar(context: BrowserContext, watch: Watch, site_address: str) -> None:
    context.add_init_script(SAVES_DATA)
    page = context.new_page()
    page.emulate_media(color_scheme="light")
    page.goto(site_address + "index.html")
    page.get_by_title("Switch to dark").click()  # the page is dark, though the system is light
    for name, own, about in (
        ("explorer/index.html", "Explorer", "explorer.html"),
        ("playground/index.html", "Playground", "playground.html"),
    ):
        page.goto(site_address + name, wait_until="networkidle")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        bar = page.get_by_role("banner")
        links = [link.evaluate("link => link.href") for link in bar.get_by_role("link").all()]
        places = ("index.html", "lessons/index.html", "playground/index.html", "explorer/index.html", about)
        assert links == [site_address + place for place in places]
        expect(bar.locator("[aria-current=page]")).to_have_text(own)
    page.get_by_role("button", name="Dark").click()
    page.get_by_role("link", name="Toy-GPT Train").click()
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "default")
    watch.assert_quiet(urlsplit(site_address).netloc)


def test_what_trains_in_a_lesson_is_compact_on_a_phone(context: BrowserContext, site_address: str) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 375, "height": 812})
    page.goto(site_address + "lessons/700-gpt.html")
    box = page.locator(".try").bounding_box()
    assert box
    assert box["height"] < 150
    broken = "words => words.filter((word) => word.getClientRects().length > 1).length"  # after a hyphen
    assert page.locator(".try .word").evaluate_all(broken) == 0


# --- charts -----------------------------------------------------------------------------------------------------


class Figure(NamedTuple):
    """A chart as the page has it before it is drawn."""

    says: str
    how: dict[str, Any]
    source: str
    columns: list[str]
    rows: list[list[str]]

    def values(self, column: int) -> list[float]:
        """The numbers of a column that are there."""
        return [float(row[column]) for row in self.rows if row[column]]


@cache
def figures_of(page: str) -> list[Figure]:
    """The charts of a page, from its HTML."""

    def texts(cell: str, text: str) -> list[str]:
        return [html.unescape(found) for found in re.findall(rf"<{cell}>(.*?)</{cell}>", text, re.S)]

    found = re.findall(r'<figure [^>]*data-chart="(.*?)">(.*?)</figure>', source_of(page), re.S)
    return [
        Figure(
            texts("figcaption", body)[0],
            json.loads(html.unescape(how)),
            texts("summary", body)[0],
            texts("th", body),
            [texts("td", row) for row in texts("tr", body)[1:]],
        )
        for how, body in found
    ]


MARKS = """svg => {
  const colored = (name) => [...svg.querySelectorAll(`${name}[fill^="var("], ${name}[stroke^="var("]`)];
  const steps = (path) => [...path.getAttribute("d").matchAll(/[ML]([^,MLZ]+),([^,MLZ]+)/g)];
  const points = (path) => steps(path).map(([, x, y]) => [Number(x), Number(y)]);
  return {
    lines: colored("path").map(points).filter((line) => line.length),
    bars: colored("rect").length,
    dots: colored("circle").length,
    texts: colored("text").map((text) => text.textContent),
  };
}"""


def drawing_of(page: Page, number: int) -> Locator:
    return page.locator("figure[data-chart]").nth(number).locator("svg")


def assert_charts_are_drawn(page: Page, name: str) -> None:
    """Each chart is a picture with a name, and has a mark for each number of its table."""
    figures = figures_of(name)
    expect(page.locator("figure[data-chart] svg[role=img]")).to_have_count(len(figures))
    for number, figure in enumerate(figures):
        drawing = drawing_of(page, number)
        expect(drawing).to_have_attribute("aria-label", figure.says)
        marks = drawing.evaluate(MARKS)
        if figure.how["kind"] == "points":
            assert marks["texts"] == [row[0] for row in figure.rows], figure.says
            continue
        counts = [(series, len(figure.values(column))) for column, series in enumerate(figure.columns) if column]
        dashed, dots = figure.how["dashed"], figure.how["dots"]
        if figure.how["kind"] == "lines":
            lines = [count for series, count in counts if series not in dots]
            assert sorted(map(len, marks["lines"])) == sorted(lines), figure.says
            assert marks["dots"] >= sum(count for series, count in counts if series in dots), figure.says
        else:  # bars or cells
            bars = sum(count for series, count in counts if series not in dashed)
            assert marks["bars"] == bars > 0, figure.says


RUNS_OF_ANIMALS = ("100-unigram", "200-bigram", "300-context-2", "400-context-3")
DEFAULT_RUN = {
    "average loss": ("outputs/train_log.csv", "avg_loss"),
    "floor of any context-3 table": ("outputs/train_log.csv", "loss_floor"),
}
# The page, which of its charts, and for each of its columns a file and a column there.
COMMITTED = {
    ("ladder.html", 0): {
        name: (f"outputs/ladder/{run}/001_animals/train_log.csv", column)
        for run in RUNS_OF_ANIMALS
        for name, column in ((run, "avg_loss"), (f"floor of {run.partition('-')[2]}", "loss_floor"))
    },
    ("tutorial.html", 0): DEFAULT_RUN,
    ("training.html", 0): DEFAULT_RUN,
    ("lessons/100-unigram.html", 1): {
        "learning rate 0.1": ("outputs/ladder/100-unigram/001_animals/train_log.csv", "avg_loss"),
        "floor": ("outputs/ladder/100-unigram/001_animals/train_log.csv", "loss_floor"),
    },
    ("lessons/training-networks.html", 0): {
        "lines of the log": ("outputs/ladder/800-llama/030_stories/train_log.csv", "learning_rate")
    },
    ("lessons/training-networks.html", 1): {
        run: (f"outputs/ladder/{run}/030_stories/train_log.csv", "avg_loss")
        for run in ("500-embeddings", "600-attention", "700-gpt", "800-llama")
    },
    ("lessons/training-networks.html", 2): {
        run: (f"outputs/ladder/{run}/030_stories/train_log.csv", "val_loss")
        for run in ("500-embeddings", "600-attention", "700-gpt", "800-llama")
    },
}


def committed(path: str, column: str) -> list[float]:
    """A column of a CSV file of the repository."""
    with (REPOSITORY / path).open(encoding="utf-8", newline="") as file:
        return [float(row[column]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(("name", "number"), COMMITTED, ids=lambda part: str(part))
def test_charts_have_the_committed_numbers(
    context: BrowserContext, watch: Watch, site_address: str, name: str, number: int
) -> None:
    there_is(name)
    figure = figures_of(name)[number]
    page = context.new_page()
    page.goto(site_address + name)
    drawing = drawing_of(page, number)
    expect(drawing).to_be_visible()
    lines = drawing.evaluate(MARKS)["lines"]
    for series, (path, column) in COMMITTED[name, number].items():
        values = committed(path, column)
        assert figure.values(figure.columns.index(series)) == values, series
        if series not in figure.how["dots"]:
            assert any(is_drawing_of(line, values) for line in lines), series
    watch.assert_quiet(urlsplit(site_address).netloc)


def is_drawing_of(line: list[list[float]], values: list[float]) -> bool:
    """Whether the heights of a line's points are those of values: higher is less, in one scale."""
    if len(line) != len(values):
        return False
    heights = [y for _, y in line]
    low, high = values.index(min(values)), values.index(max(values))
    if values[low] == values[high]:
        return max(heights) - min(heights) < 0.01
    scale = (heights[high] - heights[low]) / (values[high] - values[low])
    return scale < 0 and all(
        abs(heights[low] + (value - values[low]) * scale - height) < 0.5
        for value, height in zip(values, heights, strict=True)
    )


@pytest.mark.parametrize("name", pages_with("data-chart=")[:1])
def test_a_chart_can_be_read_point_by_point(
    context: BrowserContext, watch: Watch, site_address: str, name: str
) -> None:
    page = context.new_page()
    page.goto(site_address + name)
    figure, drawing = figures_of(name)[0], drawing_of(page, 0)
    drawing.hover()
    tip = drawing.locator("g[text-anchor=start] text, g text").filter(has_text=re.compile("|".join(figure.columns[1:])))
    expect(tip.last).to_be_attached()
    page.locator("figure[data-chart] summary").first.click()
    expect(page.locator("figure[data-chart]").first.get_by_role("row")).to_have_count(len(figure.rows) + 1)
    assert_no_sideways_scrolling(page, name)
    watch.assert_quiet(urlsplit(site_address).netloc)


# --- training in a lesson ---------------------------------------------------------------------------------------


def flags_of(command: str) -> dict[str, str]:
    """The options of a command that have a value."""
    return dict(re.findall(r"(--[a-z-]+)[= ]([^- ]\S*)", command))


def frame_of(page: Page) -> Frame:
    """The playground in the page, once its form is there."""
    expect(page.locator(".try iframe")).to_be_visible()
    frame = page.locator(".try iframe").element_handle().content_frame()
    assert frame
    return frame


@pytest.mark.parametrize("name", [page for page in pages_with('class="try"') if "bigram" in page][:1])
def test_training_in_a_lesson(context: BrowserContext, watch: Watch, site_address: str, name: str) -> None:
    page = context.new_page()
    page.emulate_media(color_scheme="light")
    page.goto(site_address + name)
    page.get_by_title("Switch to dark").click()  # the page is dark, though the system is light
    command = page.locator(".try .command").first.text_content() or ""
    page.get_by_role("link", name="Train it on this page").first.click()
    expect(page.locator(".try iframe")).to_have_count(1)
    frame = frame_of(page)
    expect(frame.locator("html")).to_have_attribute("data-theme", "dark")
    result = frame.get_by_role("region", name="Your run", exact=True)
    expect(result).to_be_visible(timeout=TRAINING)
    assert flags_of(command).items() <= flags_of(frame.locator("code.command").text_content() or "").items()
    expect(frame.get_by_role("banner")).to_be_hidden()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(300)  # the frame follows
        assert_no_sideways_scrolling(page, f"{name}, {width}")
        size = "[scrollWidth, clientWidth, scrollHeight, clientHeight]"
        wide, room, tall, height = frame.evaluate(f"(({{ documentElement: {{ {size[1:-1]} }} }}) => {size})(document)")
        assert wide <= room, width
        assert tall <= height, width  # the frame is as tall as what is in it: no bars side by side
    assert axe_violations(frame) == []
    watch.assert_quiet(urlsplit(site_address).netloc)


def test_the_playground_understands_all_train_links(context: BrowserContext, watch: Watch, site_address: str) -> None:
    found = {link for page in PAGES for link in re.findall(r'href="[^"]*(\?train=[^"]+)"', source_of(page))}
    context.add_init_script(SAVES_DATA)
    page = context.new_page()
    for query in sorted(found):
        page.goto(f"{site_address}playground/index.html{html.unescape(query)}")
        wanted = flags_of(parse_qs(html.unescape(query)[1:])["train"][0])
        expect(page.get_by_role("button", name="Train", exact=True)).to_be_visible()
        assert page.locator("#message").text_content() == ""
        assert wanted.items() <= flags_of(page.locator("code.command").text_content() or "").items()
    watch.assert_quiet(urlsplit(site_address).netloc)


# --- slides -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DECKS)
def test_the_arrow_keys_turn_the_slides(context: BrowserContext, watch: Watch, site_address: str, name: str) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 1280, "height": 720})
    page.goto(site_address + name)
    number = page.locator(".slide").count()
    assert number > 8
    expect(page.locator("figure[data-chart] svg[role=img]")).to_have_count(page.locator("figure[data-chart]").count())
    for key, shown in (("ArrowRight", 2), ("ArrowDown", 3), ("ArrowLeft", 2), ("End", number), ("PageDown", number)):
        page.keyboard.press(key)
        expect(page.locator(f"#slide-{shown}")).to_be_in_viewport(ratio=0.9)
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True))) == number
    watch.assert_quiet(urlsplit(site_address).netloc)


# --- without a server -------------------------------------------------------------------------------------------


@pytest.fixture
def from_file(context: BrowserContext, watch: Watch) -> Callable[[str], Page]:
    """``from_file("index.html")`` opens a page as a file."""

    def open_page(name: str) -> Page:
        page = context.new_page()
        page.goto((SITE / name).as_uri())
        return page

    return open_page


@pytest.mark.parametrize(
    "name", ["index.html", *[page for page in pages_with("data-chart=") if "lessons/" in page][:2]]
)
def test_a_page_from_a_file(from_file: Callable[[str], Page], watch: Watch, name: str) -> None:
    page = from_file(name)
    assert_charts_are_drawn(page, name)
    search_for(page, "Kneser")
    watch.assert_quiet("")


@pytest.mark.parametrize("name", OWN_PAGES)
def test_what_needs_a_server_says_so(from_file: Callable[[str], Page], watch: Watch, name: str) -> None:
    page = from_file(name)
    expect(page.locator("#main")).to_contain_text("If this stays here, the page was opened as a file")
    assert_no_sideways_scrolling(page, name)
    assert watch.hosts <= {""}


def test_training_from_a_file_leads_to_the_playground(from_file: Callable[[str], Page], watch: Watch) -> None:
    name = next(iter(pages_with('class="try"')), None)
    if name is None:
        pytest.skip("this site has been built without such a page")
    page = from_file(name)
    page.get_by_role("link", name="Train it on this page").first.click()
    expect(page.locator("#main")).to_contain_text("If this stays here, the page was opened as a file")
    assert watch.hosts <= {""}


# --- the way through the lessons --------------------------------------------------------------------------------


def nav() -> list[str]:
    """The pages in the order of mkdocs.yml that this site has."""
    _, _, lines = (REPOSITORY / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")
    pages = [page.replace(".md", ".html") for page in re.findall(r"^ +- .+: (\S+\.(?:md|html))$", lines, re.M)]
    return [page for page in pages if page in (*PAGES, *OWN_PAGES)]


def footer_of(page: str) -> dict[str, str]:
    """Where the links in a page's footer lead: ``prev`` and ``next``."""
    links = re.findall(r'<a href="([^"]+)" class="md-footer__link md-footer__link--(prev|next)"', source_of(page))
    return {which: posixpath.normpath(posixpath.join(posixpath.dirname(page), href)) for href, which in links}


def test_the_footer_leads_through_all_pages(context: BrowserContext, watch: Watch, site_address: str) -> None:
    pages = nav()
    assert {*pages, *ABOUT_PAGES, "404.html"} == {*PAGES, *OWN_PAGES}  # no other page is left out of the navigation
    for before, name in pairwise(pages):
        assert before in OWN_PAGES or footer_of(before)["next"] == name
        assert name in OWN_PAGES or footer_of(name)["prev"] == before
    assert "next" not in footer_of(pages[-1])
    assert "prev" not in footer_of(pages[0])
    page = context.new_page()
    page.goto(site_address + pages[0], wait_until="networkidle")
    page.get_by_role("link", name=re.compile("^Next:")).click()
    expect(page).to_have_url(site_address + pages[1])
    page.wait_for_load_state("networkidle")
    watch.assert_quiet(urlsplit(site_address).netloc)
