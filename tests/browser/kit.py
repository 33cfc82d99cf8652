"""What tests in a real browser share: a server, the browser, and a watch on what its pages say and fetch."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, Response

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 10_000  # milliseconds; how long to wait for what must come, on a busy machine too
SCRIPT_LIMIT = 150_000  # bytes


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


def plain_server(folder: Path) -> HTTPServer:
    """Return a server of the files in a folder."""
    return ThreadingHTTPServer(("127.0.0.1", 0), partial(_Plain, directory=str(folder)))


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


def assert_no_sideways_scrolling(page: Page, where: str) -> None:
    """The page is no wider than the window."""
    wide, room = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= room, where
