"""What tests in a real browser share: a server, the browser, and a watch on what its pages say and fetch."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Frame, Locator, Page, Request, Response

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # WHY the first two: every window loads two pages for the suggestions below its address bar. Nobody sees them here,
    # and they took a third of the time of these tests. WHY the others: Playwright turns them off, too, but of two such
    # lists the browser reads the last.
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,"
    "AimEnabled,AvoidUnnecessaryBeforeUnloadCheckSync,DestroyProfileOnBrowserClose,HttpsFirstBalancedModeAutoEnable,"
    "HttpsUpgrades,LensOverlay,MediaRouter,NetworkTimeServiceQuerying,OptimizationHints,PaintHolding,"
    "PreconnectToSearch,ThirdPartyStoragePartitioning",
)
PATIENCE = 60_000  # milliseconds; how long to wait for what must come, on a busy machine too
SCRIPT_LIMIT = 150_000  # bytes
# A visitor who saves data: the playground fetches Python only when something is to be trained.
SAVES_DATA = "Object.defineProperty(navigator, 'connection', { value: { saveData: true } });"
WIDTHS = (375, 1440)  # of a telephone, of a desk

REPOSITORY = Path(__file__).resolve().parents[2]
SITE = Path(os.environ.get("TOY_GPT_SITE") or REPOSITORY / "site").resolve()
needs_site = pytest.mark.skipif(
    not (SITE / "index.html").is_file(),
    reason="no site is built (uv run --group docs python docs/build.py); TOY_GPT_SITE may name the folder of one",
)
# Building the site installs it.
AXE = REPOSITORY / ".cache" / "npm" / "node_modules" / "axe-core" / "axe.min.js"


@contextmanager
def running(server: HTTPServer) -> Iterator[str]:
    """Let a server answer in a thread; gives its address."""
    # WHY a short poll: shutdown() waits for the next one.
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


class _Plain(SimpleHTTPRequestHandler):
    """A web server as simple as there are: a file for an address."""

    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript", ".mjs": "text/javascript"}  # noqa: RUF012

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *args: Any) -> None:
        """Say nothing: a page that is left hangs up in the middle of a file."""


def plain_server(folder: Path) -> HTTPServer:
    """Return a server of the files in a folder."""
    return _Server(("127.0.0.1", 0), partial(_Plain, directory=str(folder)))


class Watch:
    """Keeps what the pages of a test said and fetched."""

    def __init__(self, context: BrowserContext) -> None:
        self.complaints: list[str] = []
        self.responses: list[Response] = []
        self.hosts: set[str] = set()
        context.on("console", self._heard)
        context.on("weberror", lambda error: self.complaints.append(f"error: {error.error}"))
        context.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))
        context.on("request", self._requested)
        context.on("response", lambda response: self.responses.append(response))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _requested(self, request: Request) -> None:
        self.hosts.add(urlsplit(request.url).netloc)

    def scripts(self) -> dict[str, int]:
        """The bytes of every script that was fetched, by address."""
        return {answer.url: len(answer.body()) for answer in self.responses if answer.url.endswith(".js")}

    def forget(self) -> None:
        """Start again, for another test."""
        for kept in (self.complaints, self.responses, self.hosts):
            kept.clear()

    def assert_quiet(self, host: str) -> None:
        """No message in the console, no error, and nothing asked of any other host or asked for in vain."""
        hosts = self.hosts - {""}  # what the page has made itself, a blob: or data:, comes from no host
        missing = [answer.url for answer in self.responses if answer.status not in (200, 304)]
        assert not self.complaints, self.complaints
        assert hosts <= {host}, hosts
        assert not missing, missing


def assert_no_sideways_scrolling(page: Page, where: str) -> None:
    """The page is no wider than the window, once its layout has settled."""
    for _ in range(100):
        wide, room = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        if wide <= room:
            return
        page.wait_for_timeout(50)
    pytest.fail(f"{where}: {wide} pixels wide, with room for {room}")


def scroll_to(target: Locator) -> None:
    """Bring something to the middle of the window; what has come into sight is loaded then."""
    target.evaluate("node => node.scrollIntoView({ block: 'center' })")


AXE_TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa")
AXE_COLORS = ("color-contrast", "link-in-text-block")  # the rules that a theme has to do with


def axe_violations(page: Page | Frame, rules: Sequence[str] = AXE_TAGS, exclude: Sequence[str] = ()) -> list[str]:
    """What axe-core finds against WCAG 2.1, levels A and AA, or against some rules; ``exclude`` leaves parts out."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: building the site (docs/build.py) does that")
    if not page.evaluate("'axe' in window"):
        page.evaluate(f"{AXE.read_text('utf-8')};0")
    found: list[str] = page.evaluate(
        """async ([rules, exclude]) => {
          const there = exclude.filter((part) => document.querySelector(part) !== null);
          const { violations } = await axe.run({ exclude: there }, { runOnly: rules, resultTypes: ["violations"] });
          const first = (nodes) => nodes.slice(0, 3).map(({ target, any, all, none }) =>
            [target.flat().join(" "), ...[...any, ...all, ...none].map(({ message }) => message)].join(": "));
          return violations.map(({ id, nodes }) => `${id}, ${nodes.length} times: ${first(nodes).join("; ")}`);
        }""",
        [list(rules), list(exclude)],
    )
    return found


# --- the keyboard -----------------------------------------------------------------------------------------------

FOCUS = """() => {
  const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(document.activeElement);
  return boxShadow !== "none" || (outlineStyle !== "none" && parseFloat(outlineWidth) > 0);
}"""


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until something has the focus; the focus is visible at every step."""
    for _ in range(60):
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUS), page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
        if target.evaluate("node => node === document.activeElement"):
            return
    pytest.fail(f"the Tab key does not come to {target}")


# --- a run in the explorer --------------------------------------------------------------------------------------


def open_tab(column: Locator, name: str) -> Locator:
    """Open one of the tabs of a run; gives its panel."""
    column.get_by_role("tab", name=name, exact=True).click()
    panel = column.get_by_role("tabpanel", name=name, exact=True)
    panel.wait_for()
    return panel


def table_of(place: Locator, caption: str) -> Locator:
    """The table whose caption begins so."""
    return place.get_by_role("table", name=re.compile(f"^{re.escape(caption)}"))


def rows_of(table: Locator) -> list[list[str]]:
    """The texts of a table's body, cell by cell, once the table is there."""
    table.wait_for()
    rows: list[list[str]] = table.locator("tbody tr").evaluate_all(
        "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    return rows


def written_of(column: Locator) -> str:
    """The text so far: the prompt and what was added."""
    return column.get_by_role("group", name="Text so far").text_content() or ""


def has_added(column: Locator, count: int) -> None:
    """Wait until so many tokens have been added."""
    noun = "token" if count == 1 else "tokens"
    column.get_by_role("status").filter(has_text=f"{count} {noun} added").wait_for()
