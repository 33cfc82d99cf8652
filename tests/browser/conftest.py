"""conftest.py - The browser that the tests of this folder drive: one that is installed already."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from browser.kit import BROWSER, OPTIONS, PATIENCE, SITE, Watch, plain_server, running
from browser.pictures import PICTURES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if item.path.is_relative_to(__file__.rpartition("/")[0]):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed (uv sync --group browser)"
    )
    if BROWSER is None:
        pytest.skip("no Chromium is installed")
    sync_api.expect.set_options(timeout=PATIENCE)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=list(OPTIONS))
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


@pytest.fixture
def watch(context: BrowserContext) -> Watch:
    """What the pages of a test say and fetch."""
    return Watch(context)


@pytest.fixture(scope="session")
def site_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the built site, which is in a subfolder of its server.

    WHY an empty index of the search: every page reads it at once, which takes as long as all else on the page.
    test_site.py searches in the whole one.
    """
    top = tmp_path_factory.mktemp("server")
    folder = top / "some" / "where"
    (folder / "search").mkdir(parents=True)
    for entry in SITE.iterdir():
        if entry.name != "search":
            (folder / entry.name).symlink_to(entry)
    index = json.loads((SITE / "search" / "search_index.json").read_text("utf-8"))
    (folder / "search" / "search_index.json").write_text(json.dumps({**index, "docs": []}), encoding="utf-8")
    with running(plain_server(top)) as address:
        yield f"{address}some/where/"


@pytest.fixture
def picture(context: BrowserContext, watch: Watch, site_address: str) -> Iterator[Callable[[str], Locator]]:
    """``picture("sampling")`` opens a lesson, and gives its picture once it answers."""

    def open_lesson(lesson: str) -> Locator:
        if not (SITE / "lessons" / f"{lesson}.html").is_file():
            pytest.skip("this site has been built without the lesson")
        page = context.new_page()
        page.goto(f"{site_address}lessons/{lesson}.html")
        found = page.locator(f'form.ready[data-picture="{PICTURES[lesson]}"]')
        found.wait_for()
        return found

    yield open_lesson
    watch.assert_quiet(urlsplit(site_address).netloc)
