"""test_links.py - Every link of the built site leads to something, anchors too. It skips where there is no site."""

import os
import subprocess
import sys
import threading
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SITE = Path(os.environ.get("TOY_GPT_SITE", REPOSITORY / "site"))
SETTINGS = Path(__file__).with_name("linkchecker.ini")

pytest.importorskip("linkcheck", reason="linkchecker is not installed (uv sync --group docs)")
if not (SITE / "index.html").is_file():
    pytest.skip("no site has been built (uv run --group docs mkdocs build)", allow_module_level=True)


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing, not even of whoever has heard enough."""

    def handle(self):
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, *_args):
        """Say nothing."""


@pytest.fixture
def address(tmp_path):
    """The address of the site, which lies in a subfolder here, as it may anywhere."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "folder").symlink_to(SITE)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/sub/folder/index.html"
        server.shutdown()


def check(address):
    # WHY a server and not the files: run by root, linkchecker becomes "nobody", who may not read every folder.
    command = [sys.executable, "-m", "linkcheck", "--config", str(SETTINGS), "--no-status", "--no-robots", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def test_every_link_leads_somewhere(address):
    done = check(address)
    assert done.returncode == 0, done.stdout
    assert "0 errors found" in done.stdout
    checked = int(done.stdout.partition("That's it. ")[2].split()[0])
    assert checked > 300


def test_a_broken_link_and_a_broken_anchor_would_be_found(tmp_path):
    (tmp_path / "index.html").write_text('<title>a</title><a href="no.html">x</a><a href="b.html#no">y</a>')
    (tmp_path / "b.html").write_text('<title>b</title><p id="yes">z</p>')
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        done = check(f"http://127.0.0.1:{server.server_port}/index.html")
        server.shutdown()
    assert done.returncode == 1
    assert "1 warning found. 1 error found" in done.stdout
