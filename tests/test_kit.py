"""test_kit.py - One file for a class: what is packed, that it starts with Python alone, and what its server answers."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import toy_gpt_train
from browser.kit import SITE
from conftest import needs_processes, needs_threads
from toy_gpt_train.errors import InputError
from toy_gpt_train.kit import server as kit_server
from toy_gpt_train.kit.build import write_kit
from toy_gpt_train.kit.server import open_site, site_files

PACKAGE = Path(toy_gpt_train.__file__).parent
WHEEL = "toy_gpt_train-0.0.0-py3-none-any.whl"
CORPUS = "the cat sits .\n"
PAGES = {
    "index.html": "<title>home</title>",
    "lessons/200-bigram.html": "<title>bigram</title>",
    "assets/site.js": "let a = 1;",
    "assets/site.css": "p {}",
    "assets/picture.svg": "<svg/>",
    "assets/picture.png": "png",
    "search/search_index.json": "{}",
    "sitemap.xml.gz": "gz",
    "playground/index.html": "<title>playground</title>",
    "playground/corpus/000_cat_dog.txt": CORPUS,
    "playground/pyodide/pyodide.mjs": "export let b = 2;",
    "playground/pyodide/pyodide.asm.wasm": "wasm",
    "playground/pyodide/python_stdlib.zip": "zip",
    "playground/playground.json": json.dumps({"wheel": WHEEL, "runtime": "pyodide/"}),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small site, with the package as a wheel."""
    folder = tmp_path_factory.mktemp("built") / "site"
    for name, text in PAGES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    with zipfile.ZipFile(folder / "playground" / WHEEL, "w") as wheel:
        for path in PACKAGE.rglob("*.py"):
            wheel.write(path, f"toy_gpt_train/{path.relative_to(PACKAGE).as_posix()}")
    return folder


def copy_of(site: Path, folder: Path) -> Path:
    shutil.copytree(site, folder / "site")
    return folder / "site"


# --- the file ---------------------------------------------------------------------------------------------------


def test_what_is_packed(toy_gpt: Callable[..., Any], site: Path, tmp_path: Path) -> None:
    out = tmp_path / "a" / "kit.zip"
    done = toy_gpt("kit", "--site", site, "--out", out)
    assert (done.code, done.err) == (0, "")
    number = len(PAGES) + 1 + 1 + 1 + 4  # the pages and the wheel; the corpus and the wheel again; what starts it
    assert done.out.splitlines()[0] == f"wrote {out}, {out.stat().st_size:,} bytes, {number} files"
    with zipfile.ZipFile(out) as kit:
        assert kit.testzip() is None
        names = kit.namelist()
        start = ["README.txt", "start.bat", "start.py", "start.sh", WHEEL, "corpus/000_cat_dog.txt"]
        expected = [*start, *(f"site/{name}" for name in (*PAGES, f"playground/{WHEEL}"))]
        assert names == sorted(f"toy-gpt-kit/{name}" for name in expected)
        for name, text in PAGES.items():
            assert kit.read(f"toy-gpt-kit/site/{name}") == text.encode()
        assert kit.read(f"toy-gpt-kit/{WHEEL}") == (site / "playground" / WHEEL).read_bytes()
        assert kit.read("toy-gpt-kit/corpus/000_cat_dog.txt") == CORPUS.encode()
        lines = kit.read("toy-gpt-kit/start.bat").split(b"\n")
        assert all(line.endswith(b"\r") for line in lines[:-1])
        modes = {info.filename: info.external_attr >> 16 for info in kit.infolist()}
        assert {name for name, mode in modes.items() if mode != 0o100644} == {"toy-gpt-kit/start.sh"}
        assert modes["toy-gpt-kit/start.sh"] == 0o100755


def test_the_same_site_gives_the_same_bytes(site: Path, tmp_path: Path) -> None:
    write_kit(site, tmp_path / "one.zip")
    again = copy_of(site, tmp_path)
    for path in sorted(again.rglob("*"), reverse=True):
        os.utime(path, (10**9, 10**9))
    write_kit(again, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_an_old_kit_stays_until_the_new_one_is_whole(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "kit.zip"
    out.write_bytes(b"old")

    def fail(fraction: float, name: str) -> None:
        if fraction > 0.5:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_kit(site, out, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["kit.zip"]
    assert out.read_bytes() == b"old"
    write_kit(site, out)
    assert zipfile.is_zipfile(out)


def test_what_is_left_out(site: Path, tmp_path: Path) -> None:
    copy, outside = copy_of(site, tmp_path), tmp_path / "secret.txt"
    outside.write_text("secret")
    before = site_files(copy)
    assert list(before) == sorted((*PAGES, f"playground/{WHEEL}"))
    for name in (".hidden", "assets/.DS_Store", "a b.html", "größe.html", "a'b.html", "-a.html", "~a.html", "%2e.html"):
        (copy / name).write_text("odd")
    if os.name != "nt":
        for name in ("a\\b.html", "C:a.html", "a\nb.html", "a?b.html", "..\\..\\a.html"):
            (copy / name).write_text("odd")
        (copy / "link.html").symlink_to(outside)
        (copy / "inside.html").symlink_to(copy / "index.html")
        (copy / "folder").symlink_to(tmp_path, target_is_directory=True)
        if hasattr(os, "mkfifo"):
            os.mkfifo(copy / "pipe.html")
    assert site_files(copy) == before


@pytest.mark.parametrize("missing", ["index.html", "playground/playground.json"])
def test_without_a_built_site(toy_gpt: Callable[..., Any], site: Path, tmp_path: Path, missing: str) -> None:
    copy = copy_of(site, tmp_path)
    (copy / missing).unlink()
    for folder in (copy, tmp_path / "none"):
        done = toy_gpt("kit", "--site", folder, "--out", tmp_path / "kit.zip")
        assert done.refused
        line = f"{folder}: there is no built site in this folder; in a checkout, this builds one: "
        assert done.err == f"toy-gpt: error: {line}uv run --group docs python docs/build.py\n"
    assert not (tmp_path / "kit.zip").exists()


def test_sites_that_cannot_be_used(toy_gpt: Callable[..., Any], site: Path, tmp_path: Path) -> None:
    copy, out = copy_of(site, tmp_path), tmp_path / "kit.zip"
    about = copy / "playground" / "playground.json"
    cases = {
        '{"wheel": "WHEEL", "runtime": "https://cdn.example/"}': "no Pyodide of its own at https://cdn.example/",
        '{"wheel": "WHEEL"}': "it has no Pyodide of its own at None",
        '{"wheel": "no.whl", "runtime": "pyodide/"}': "built from an older package; build it again: uv run",
        '{"wheel": "../../secret.txt", "runtime": "pyodide/"}': "built from an older package",
        '{"wheel": "corpus/000_cat_dog.txt", "runtime": "pyodide/"}': "built from an older package",
        '{"runtime": "pyodide/"}': "built from an older package",
        "[]": "not a JSON object",
        "{": "not JSON",
    }
    for text, message in cases.items():
        about.write_text(text.replace("WHEEL", WHEEL), encoding="utf-8")
        done = toy_gpt("kit", "--site", copy, "--out", out)
        assert done.refused
        assert message in done.err
    about.write_text(PAGES["playground/playground.json"], encoding="utf-8")
    with zipfile.ZipFile(copy / "playground" / WHEEL, "w") as wheel:
        wheel.writestr("toy_gpt_train/__init__.py", "")
    assert "built from an older package" in toy_gpt("kit", "--site", copy, "--out", out).err
    assert not out.exists()
    inside = copy / "kit.zip"
    assert "would be part of the next kit" in toy_gpt("kit", "--site", copy, "--out", inside).err
    assert not inside.exists()


# --- the server -------------------------------------------------------------------------------------------------


def ask(url: str, path: str, method: str = "GET", host: str | None = None) -> tuple[int, dict[str, str], bytes]:
    """Send one request with the path exactly as it is written; returns the status, the headers and the body."""
    name, _, port = url.removeprefix("http://").strip("/").partition(":")
    connection = http.client.HTTPConnection(name, int(port), timeout=20)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"{name}:{port}")
    connection.endheaders()
    answer = connection.getresponse()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    body = answer.read()
    connection.close()
    return answer.status, headers, body


@contextmanager
def started(*options: str, folder: Path, env: dict[str, str] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Run the start script of an unpacked kit; gives the address of its site, and the lines printed before it.

    WHY -IS: then only the kit and the standard library can be imported, and not what this environment has.
    """
    command = [sys.executable, "-IS", str(folder / "toy-gpt-kit" / "start.py"), "--port", "0", "--no-browser", *options]
    process = subprocess.Popen(command, cwd=folder, env=env or {}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    lines: list[str] = []
    for raw in process.stdout:
        lines.append(raw.decode().rstrip())
        if lines[-1].startswith("site  "):
            break
    try:
        yield lines[-1].removeprefix("site  "), lines[:-1]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert (process.returncode, errors) == (0, b"")
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def unpacked(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kit, unpacked in a folder of its own."""
    folder = tmp_path_factory.mktemp("stick")
    write_kit(site, folder / "kit.zip")
    with zipfile.ZipFile(folder / "kit.zip") as kit:
        kit.extractall(folder)
    (folder / "kit.zip").unlink()
    (folder / "secret.txt").write_text("secret")
    return folder


needs_signals = pytest.mark.skipif(os.name == "nt", reason="a process is not interrupted there as by Ctrl-C")

TYPES = {
    "/": "text/html; charset=utf-8",
    "/index.html": "text/html; charset=utf-8",
    "/playground/": "text/html; charset=utf-8",
    "/lessons/200-bigram.html": "text/html; charset=utf-8",
    "/assets/site.js": "text/javascript; charset=utf-8",
    "/assets/site.css": "text/css; charset=utf-8",
    "/assets/picture.svg": "image/svg+xml; charset=utf-8",
    "/assets/picture.png": "image/png",
    "/search/search_index.json": "application/json; charset=utf-8",
    "/sitemap.xml.gz": "application/octet-stream",
    "/playground/corpus/000_cat_dog.txt": "text/plain; charset=utf-8",
    "/playground/pyodide/pyodide.mjs": "text/javascript; charset=utf-8",
    "/playground/pyodide/pyodide.asm.wasm": "application/wasm",
    "/playground/pyodide/python_stdlib.zip": "application/zip",
    f"/playground/{WHEEL}": "application/octet-stream",
}
ATTACKS = """/../secret.txt /../../../../../../etc/passwd /%2e%2e/secret.txt /..%2fsecret.txt //secret.txt
/site/index.html /lessons/../index.html /lessons/../../start.py /./index.html /index.html/ /index.html%00 /start.py
/../start.py /..\\start.py /%5c..%5cstart.py /lessons /lessons/ /INDEX.HTML /C:/Windows/win.ini
index.html * /%252e%252e/secret.txt
/playground//index.html http://127.0.0.1/index.html file:///etc/passwd /nothing.html"""


@needs_processes
@needs_signals
def test_it_starts_with_python_alone(unpacked: Path, listing: Callable[[Path], Any]) -> None:
    before = listing(unpacked)
    with started(folder=unpacked) as (url, said):
        assert said == []
        assert url.startswith("http://127.0.0.1:")
        for path, kind in TYPES.items():
            name = path[1:] + "index.html" * path.endswith("/")
            status, headers, body = ask(url, path)
            assert (status, headers["content-type"]) == (200, kind)
            assert body == (unpacked / "toy-gpt-kit" / "site" / name).read_bytes()
            assert headers["content-length"] == str(len(body))
            assert headers["x-content-type-options"] == "nosniff"
            assert "Python" not in headers["server"]
            policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
            assert policy["default-src"] == policy["base-uri"].replace("none", "self") == "'self'"
            assert not re.search(r"https?:|\*|'unsafe-eval'", headers["content-security-policy"])
            head = ask(url, path, "HEAD")
            assert (head[0], head[2]) == (200, b"")
            assert head[1] | {"date": ""} == headers | {"date": ""}
        for path in ATTACKS.split():
            status, headers, body = ask(url, path)
            assert (path, status, body) == (path, 404, b"404: There is nothing at this address.\n")
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert ask(url, "/", method)[0] == 405
        port = url.rpartition(":")[2].strip("/")
        hosts = ("elsewhere.example", f"elsewhere.example:{port}", f"192.168.0.7:{port}", f"0.0.0.0:{port}")
        assert [ask(url, "/", host=host)[0] for host in hosts] == [403] * len(hosts)
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.2", int(port)), timeout=0.2)
    assert listing(unpacked) == before  # nothing is written, compiled modules included


@needs_processes
@needs_signals
def test_the_class_can_reach_it_when_asked_for(unpacked: Path) -> None:
    with started("--host", "0.0.0.0", folder=unpacked) as (url, said):
        port = url.rpartition(":")[2].strip("/")
        assert said[0] == "Everyone who can reach this computer over the network can now read these pages, at"
        assert said[1].startswith("http://")
        assert f":{port}/" in said[1]
        assert said[2] == "They can change nothing, and see no other file of this computer."
        if sys.platform == "linux":  # elsewhere a computer has one loopback address only
            assert ask(f"http://127.0.0.2:{port}/", "/index.html")[0] == 200
        assert ask(url, "/../secret.txt")[0] == 404
        assert ask(url, "/", host=f"192.168.0.7:{port}")[0] == 200
        for host in (
            "elsewhere.example",
            f"elsewhere.example:{port}",
            f"192.168.0.7.elsewhere.example:{port}",
            "192.168.0.7",
        ):
            assert ask(url, "/", host=host)[0] == 403


@needs_processes
@pytest.mark.skipif(not Path("/bin/sh").is_file(), reason="no shell")
def test_the_shell_script_looks_for_python(unpacked: Path, tmp_path: Path) -> None:
    dirname = shutil.which("dirname")
    assert dirname is not None
    (tmp_path / "dirname").symlink_to(dirname)
    for name, line in (("python3", "exit 1"), ("python3.12", f'exec {sys.executable} "$@"')):  # an old one; a new one
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)

    def start() -> subprocess.CompletedProcess[str]:
        command = ["/bin/sh", unpacked / "toy-gpt-kit" / "start.sh", "--help"]
        return subprocess.run(
            command, env={"PATH": str(tmp_path)}, cwd="/", capture_output=True, text=True, check=False
        )

    done = start()
    assert (done.returncode, done.stderr) == (0, "")
    assert "--host" in done.stdout
    (tmp_path / "python3.12").unlink()
    message = "Python 3.11 or newer was not found. README.txt says where to get it.\n"
    assert (start().returncode, start().stdout, start().stderr) == (1, "", message)


@needs_processes
def test_an_old_python_is_told_so(unpacked: Path) -> None:
    start = unpacked / "toy-gpt-kit" / "start.py"
    program = f"import runpy, sys; sys.version_info = (3, 10); runpy.run_path({str(start)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("This kit needs Python 3.11 or newer, and this is Python ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "example.org"], "--host takes the numbers of an address, such as 0.0.0.0, got 'example.org'"),
        (["--host", "::"], "--host takes the numbers of an address"),
        (["--host", ""], "--host takes the numbers of an address"),
        (["--host", "192.0.2.1"], "--host 192.0.2.1: this computer has no such address"),
        (["--port", "-1"], "a port is a number from 0 to 65535, got -1"),
        (["--port", "65536"], "a port is a number from 0 to 65535, got 65536"),
    ],
)
@needs_threads
def test_options_that_make_no_sense(
    site: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert kit_server.main(site, [*options, "--no-browser"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"start.py: error: {message}")
    assert printed.err.count("\n") == 1


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no site in this folder; was all of the kit unpacked"):
        open_site(tmp_path, 0)


# --- the real site ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_processes
@needs_signals
@pytest.mark.skipif(not (SITE / "index.html").is_file(), reason="there is no built site")
def test_the_real_site(tmp_path: Path) -> None:
    write_kit(SITE, tmp_path / "kit.zip")
    with zipfile.ZipFile(tmp_path / "kit.zip") as kit:
        kit.extractall(tmp_path)
    everything = {path.relative_to(SITE).as_posix() for path in SITE.rglob("*") if path.is_file()}
    assert set(site_files(SITE)) == {name for name in everything if not name.startswith(".")}
    with started(folder=tmp_path) as (url, _):
        for name in (
            "index.html",
            "playground/index.html",
            "playground/pyodide/pyodide.asm.wasm",
            "explorer/index.html",
        ):
            assert ask(url, f"/{name}")[2] == (SITE / name).read_bytes()
