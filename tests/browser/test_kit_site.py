"""test_kit_site.py - The built site from a kit's server: with its strict headers, everything still works."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from browser.kit import SITE, Watch, needs_site, running
from toy_gpt_train.kit.server import open_site

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (uv sync --group browser)")
pytestmark = needs_site


def test_the_kit_trains_and_draws(context: BrowserContext, watch: Watch) -> None:
    with running(open_site(SITE, 0)) as address:
        page = context.new_page()
        page.goto(f"{address}lessons/200-bigram.html")
        charts = page.locator("figure[data-chart]").count()
        assert charts > 0
        sync_api.expect(page.locator("figure[data-chart] svg[role=img]")).to_have_count(charts)
        page.goto(f"{address}playground/index.html")
        page.get_by_role("button", name="Train", exact=True).click()
        page.get_by_role("region", name="Your run", exact=True).wait_for(timeout=60_000)
        watch.assert_quiet(urlsplit(address).netloc)
