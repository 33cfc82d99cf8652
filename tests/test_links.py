"""test_links.py - Every link of the built site leads to something, anchors too. It skips where there is no site."""

import subprocess
import sys
from pathlib import Path

import pytest

from browser.kit import SITE, needs_site, plain_server, running

SETTINGS = Path(__file__).with_name("linkchecker.ini")

pytest.importorskip("linkcheck", reason="linkchecker is not installed (uv sync --group docs)")


def check(address):
    # WHY a server and not the files: run by root, linkchecker becomes "nobody", who may not read every folder.
    command = [sys.executable, "-m", "linkcheck", "--config", str(SETTINGS), "--no-status", "--no-robots", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@needs_site
def test_every_link_leads_somewhere(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "folder").symlink_to(SITE)  # a site may lie anywhere
    with running(plain_server(tmp_path)) as address:
        done = check(f"{address}sub/folder/index.html")
    assert done.returncode == 0, done.stdout
    assert "0 errors found" in done.stdout
    checked = int(done.stdout.partition("That's it. ")[2].split()[0])
    assert checked > 300


def test_a_broken_link_and_a_broken_anchor_would_be_found(tmp_path):
    (tmp_path / "index.html").write_text('<title>a</title><a href="no.html">x</a><a href="b.html#no">y</a>')
    (tmp_path / "b.html").write_text('<title>b</title><p id="yes">z</p>')
    with running(plain_server(tmp_path)) as address:
        done = check(f"{address}index.html")
    assert done.returncode == 1
    assert "1 warning found. 1 error found" in done.stdout
