"""test_reading.py - How the site's pages read: lines of code fit a desk and a telephone, long output is folded.

Run as a program, it counts the blocks of code that are wider than their place, page by page:
``uv run --group browser python tests/browser/test_reading.py [SITE]``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # WHY: it may be run as a program

from browser.kit import BROWSER, OPTIONS, PATIENCE, SITE, Watch, needs_site, tab_to

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (uv sync --group browser)")
expect = sync_api.expect
pytestmark = needs_site

LONGEST = 300_000  # bytes
SIZES = ((1366, 768), (375, 800))
# Blocks of code that are wider than their place; and whether each has rows of a table, which are not broken.
TOO_WIDE = """() => {
  document.querySelectorAll("details").forEach((details) => (details.open = true));
  const blocks = [...document.querySelectorAll("article pre > code")];
  const wide = blocks.filter((block) => block.scrollWidth > block.clientWidth + 1);
  return [blocks.length, wide.map((block) => [block.querySelector(".row") !== null, block.textContent.slice(0, 80)])];
}"""
COPIED = """code => {
  code.setAttribute("data-md-copying", ""); // as the theme's button does
  const text = code.innerText;
  code.removeAttribute("data-md-copying");
  return text.trimEnd();
}"""


def pages_of(site: Path) -> list[str]:
    """The pages of a site that were made of Markdown."""
    paths = [path for path in sorted(site.rglob("*.html")) if not path.name.endswith(".slides.html")]
    return [path.relative_to(site).as_posix() for path in paths if "md-content" in path.read_text("utf-8")]


PAGES = pages_of(SITE)


def first_with(text: str) -> str:
    """A page that has something in it."""
    found = next((page for page in PAGES if text in (SITE / page).read_text("utf-8")), None)
    return found or pytest.skip(f"this site has been built without {text}")


def too_wide(page: Page) -> tuple[int, list[tuple[bool, str]]]:
    """How many blocks of code a page has, and those that are wider than their place."""
    number, found = page.evaluate(TOO_WIDE)
    return number, found


@pytest.fixture(scope="module")
def shared(browser: Browser) -> Iterator[BrowserContext]:
    """Where all pages are opened: what they share is fetched once."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_only_tables_are_wider_than_the_page(shared: BrowserContext, site_address: str, name: str) -> None:
    with closing(shared.new_page()) as page:
        page.goto(site_address + name)
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            _, found = too_wide(page)
            assert [text for has_rows, text in found if not has_rows] == [], width


@pytest.mark.parametrize("name", [page for page in PAGES if page.startswith("api")])
def test_an_api_page_is_not_too_long(name: str) -> None:
    assert (SITE / name).stat().st_size < LONGEST


def test_long_output_is_unfolded_by_the_keyboard(context: BrowserContext, watch: Watch) -> None:
    page = context.new_page()
    page.goto((SITE / first_with('<details class="more">')).as_uri())
    page.evaluate("document.querySelectorAll('details:not(.more)').forEach((details) => (details.open = true))")
    folded = page.locator("details.more").first
    summary, last = folded.locator("summary"), folded.locator(".line").last
    expect(last).to_be_attached()  # the search of the browser and of the site finds it
    expect(last).to_be_hidden()
    assert int(re.match(r"\d+", summary.inner_text())[0]) == folded.locator(".line").count()
    summary.evaluate("node => { node.tabIndex = -1; node.focus(); node.removeAttribute('tabindex'); }")
    page.keyboard.press("Shift+Tab")
    tab_to(page, summary)
    page.keyboard.press("Enter")
    expect(last).to_be_visible()
    watch.assert_quiet("")


def test_code_is_copied_line_by_line(context: BrowserContext) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 375, "height": 800})
    page.goto((SITE / first_with('class="command')).as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")
    for code in page.locator("article .highlight code").all()[:12]:
        assert code.evaluate(COPIED) == (code.text_content() or "").rstrip()


def test_a_term_leads_to_its_entry(context: BrowserContext) -> None:
    if "lessons/glossary.html" not in PAGES:
        pytest.skip("this site has been built without the glossary")
    page = context.new_page()
    page.goto((SITE / first_with('class="term"')).as_uri())
    term = page.locator("a.term").first
    says = term.get_attribute("title") or ""
    term.click()
    expect(page).to_have_url(re.compile(r"glossary\.html#[\w-]+$"))
    entry = page.locator(f"li[id='{page.url.partition('#')[2]}']")
    expect(entry).to_be_visible()
    expect(entry).to_contain_text(says)


def main(site: Path) -> None:
    """Print how many blocks of each page are too wide, at each width."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=list(OPTIONS))
        print(f"{'page':40}  blocks  {'  '.join(f'wide at {width}' for width, _ in SIZES)}")
        for name in pages_of(site):
            counts = []
            for width, height in SIZES:
                with closing(browser.new_page(viewport={"width": width, "height": height})) as page:
                    page.goto((site / name).as_uri())
                    number, found = too_wide(page)
                    tables = sum(has_rows for has_rows, _ in found)
                    counts.append(f"{len(found) - tables:4} + {tables:2} t")
            print(f"{name:40}  {number:6}  {'  '.join(f'{count:>12}' for count in counts)}")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else SITE)
