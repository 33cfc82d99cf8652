"""test_view_server.py - What the explorer's server sends, and that it sends nothing else."""

import http.client
import json
import mimetypes
import os
import re
import shutil
import socket
import struct
import threading
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conftest import IN_WEBASSEMBLY, needs_threads
from toy_gpt_train.errors import InputError
from toy_gpt_train.project import IN_CHECKOUT
from toy_gpt_train.view import server as view_server
from toy_gpt_train.view.server import VIEW_DIR, ExplorerServer, find_file, open_server, page_files, runs_index, serve

Trained = Callable[..., Path]
Listing = Callable[[Path], dict[str, bytes | None]]
needs_checkout = pytest.mark.skipif(not IN_CHECKOUT, reason="the committed runs lie in the repository")


class Answer(NamedTuple):
    """An HTTP answer; header names in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask_raw(server: ExplorerServer, request: bytes) -> Answer:
    """Send bytes, read until the server closes, and take the answer apart."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return Answer(int(first.split()[1]), {name.lower(): value for name, _, value in pairs}, body)


def ask(server: ExplorerServer, path: bytes | str, method: str = "GET", host: str | None = None) -> Answer:
    """Send one request exactly as it is written: nothing in the path is tidied up."""
    raw_path = path if isinstance(path, bytes) else path.encode()
    raw_host = (host or f"127.0.0.1:{server.server_port}").encode()
    return ask_raw(server, method.encode() + b" " + raw_path + b" HTTP/1.1\r\nHost: " + raw_host + b"\r\n\r\n")


class Started:
    """Starts servers in threads, and ends them all."""

    def __init__(self) -> None:
        self._running: list[tuple[ExplorerServer, threading.Thread]] = []

    def __call__(self, base_dir: Path) -> ExplorerServer:
        if IN_WEBASSEMBLY:
            pytest.skip("no threads in WebAssembly")
        server = ExplorerServer(base_dir, 0)
        # WHY a short poll: shutdown() waits for the next one.
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        self._running.append((server, thread))
        return server

    def end(self) -> None:
        for server, thread in self._running:
            server.shutdown()
            thread.join(10)
            server.server_close()


@pytest.fixture(scope="module")
def started() -> Iterator[Started]:
    servers = Started()
    yield servers
    servers.end()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, trained: Trained) -> Path:
    """A folder with a default run, two runs of a ladder, and files that must stay secret."""
    folder = tmp_path_factory.mktemp("base")
    shutil.copytree(trained("bigram"), folder, dirs_exist_ok=True)
    for kind, name in (("unigram", "100-unigram/tiny"), ("bigram", "200-bigram/tiny")):
        shutil.copytree(trained(kind) / "artifacts", folder / "artifacts" / "ladder" / name)
        shutil.copytree(trained(kind) / "outputs", folder / "outputs" / "ladder" / name)
    for secret in ("secret.txt", "artifacts/unlisted.csv", "outputs/bench.txt", "artifacts/ladder/secret.csv"):
        (folder / secret).write_text("secret", encoding="utf-8")
    (folder.parent / "outside.txt").write_text("secret", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def server(started: Started, base: Path) -> ExplorerServer:
    return started(base)


def copy_of(base: Path, target: Path) -> Path:
    """A copy of a base folder, to be changed."""
    shutil.copytree(base, target)
    return target


def change_meta(path: Path, **changes: Any) -> None:
    meta = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(meta | changes), encoding="utf-8")


# --- what is served ---------------------------------------------------------------------------------------------

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
}


def test_the_page(server: ExplorerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # A system whose registry calls scripts plain text; a browser would not run them.
    monkeypatch.setattr(mimetypes, "guess_type", lambda *_, **__: ("text/plain", None))
    names = {path.relative_to(VIEW_DIR).as_posix() for path in VIEW_DIR.rglob("*") if path.suffix in TYPES}
    assert {"index.html", "explorer.css", "icon.svg", "ui/app.js", "core/run.js"} <= names
    assert set(page_files()) == names
    for name in names:
        answer = ask(server, f"/{name}")
        assert answer.status == 200
        assert answer.headers["content-type"] == TYPES[Path(name).suffix]
        assert answer.body == (VIEW_DIR / name).read_bytes()
        assert answer.headers["content-length"] == str(len(answer.body))
    assert ask(server, "/").body == ask(server, "/index.html").body
    assert ask(server, "/?run=a&beside=../b").body == ask(server, "/").body


def test_only_pages_are_served_of_the_page_folder(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = (
        "index.html",
        "core/run.js",
        "notes.md",
        "secret.py",
        "ui/secret.py",
        "no_suffix",
        "more/a.js",
        "ui/in/a.js",
    )
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    monkeypatch.setattr(view_server, "VIEW_DIR", tmp_path)
    found = {name: find_file(base, f"/{name}") for name in ("", *files)}
    assert {name for name, file in found.items() if file} == {"", "index.html", "core/run.js"}


def test_the_page_asks_only_for_what_there_is() -> None:
    pages = page_files()
    for path in pages.values():
        text = path.read_text("utf-8")
        wanted = re.findall(r'(?:from|import\() ?"(\.[^"]+)"', text)
        if path.suffix == ".html":
            wanted += re.findall(r'(?:src|href)="([^"#]+)"', text)
        assert {(path.parent / name).resolve() for name in wanted} <= {page.resolve() for page in pages.values()}, path
        assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}, path.name  # a namespace's name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text), path.name


def test_the_index(server: ExplorerServer) -> None:
    answer = ask(server, "/runs.json")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert json.loads(answer.body) == {
        "runs": [
            {"name": "200-bigram on tiny (default run)", "artifacts": "artifacts/", "log": "outputs/train_log.csv"},
            *(
                {"name": f"{kind} on tiny", "artifacts": f"artifacts/{there}/", "log": f"outputs/{there}/train_log.csv"}
                for kind in ("100-unigram", "200-bigram")
                for there in [f"ladder/{kind}/tiny"]
            ),
        ],
        "notes": [],
    }


def test_all_files_of_a_run(server: ExplorerServer, base: Path) -> None:
    for run in runs_index(base)["runs"]:
        folder = base / run["artifacts"]
        names = json.loads((folder / "00_meta.json").read_text("utf-8"))["artifacts"]
        assert len(names) == 4
        for url in [*(run["artifacts"] + name for name in names), run["log"]]:
            answer = ask(server, f"/{url}")
            assert (answer.status, answer.body) == (200, (base / url).read_bytes())
            kind = "application/json" if url.endswith(".json") else "text/csv"
            assert answer.headers["content-type"] == f"{kind}; charset=utf-8"


def test_the_core_needs_no_page() -> None:
    core = sorted((VIEW_DIR / "core").iterdir())
    assert len(core) > 10
    for path in core:
        text = path.read_text("utf-8")
        assert "../" not in text, path.name
        assert not re.search(r"\b(document|window|localStorage)\.", text), path.name


@needs_checkout
def test_the_committed_runs(repository: Path) -> None:
    index = runs_index(repository)
    assert index["notes"] == []
    names = [run["name"] for run in index["runs"]]
    assert names[0] == "400-context-3 on 000_cat_dog (default run)"
    assert {"100-unigram on 000_cat_dog", "400-context-3 on 001_animals", "450-kneser-ney on 030_stories"} <= set(names)
    assert names[1] == "800-llama on world:4m (demo)"
    metas = [repository / "artifacts" / name / "00_meta.json" for name in ("", "demo")]
    metas += repository.glob("artifacts/ladder/*/*/00_meta.json")
    assert len(names) == len(set(names)) == len(metas)
    assert str(repository) not in json.dumps(index)
    for run in index["runs"]:
        for name in json.loads((repository / run["artifacts"] / "00_meta.json").read_bytes())["artifacts"]:
            found = find_file(repository, f"/{run['artifacts']}{name}")
            assert found is not None
            assert found.path == repository / run["artifacts"] / name
        assert (found := find_file(repository, f"/{run['log']}")) is not None
        assert found.path == repository / run["log"]


def test_a_folder_that_is_a_run_itself(started: Started, base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(base / "artifacts" / "ladder" / "100-unigram" / "tiny", folder)
    name = "100-unigram on tiny"
    assert runs_index(folder)["runs"] == [{"name": name, "artifacts": "run/", "log": None}]
    shutil.copy(base / "outputs" / "train_log.csv", folder)
    assert runs_index(folder)["runs"] == [{"name": name, "artifacts": "run/", "log": "run/train_log.csv"}]
    here = started(folder)
    for name in ("00_meta.json", "01_vocabulary.csv", "train_log.csv"):
        assert ask(here, f"/run/{name}").body == (folder / name).read_bytes()
    assert ask(here, "/00_meta.json").status == 404


def test_a_run_that_is_trained_meanwhile(started: Started, base: Path, tmp_path: Path) -> None:
    folder = copy_of(base, tmp_path / "base")
    here = started(folder)
    before = json.loads(ask(here, "/runs.json").body)["runs"]
    shutil.copytree(folder / "artifacts/ladder/100-unigram/tiny", folder / "artifacts/ladder/100-unigram/new")
    after = json.loads(ask(here, "/runs.json").body)["runs"]
    new = {"name": "100-unigram on new", "artifacts": "artifacts/ladder/100-unigram/new/", "log": None}
    assert [run for run in after if run not in before] == [new]
    assert ask(here, "/artifacts/ladder/100-unigram/new/00_meta.json").status == 200


@pytest.mark.parametrize("name", ["a b", "50% #1 ?x=y&z", "größe 猫", "..a", "%2e%2e", "a'b\"c<d>"])
def test_strange_names_of_folders(started: Started, base: Path, tmp_path: Path, name: str) -> None:
    if os.name == "nt" and re.search(r'[?"<>]', name):
        pytest.skip("no name for a folder here")
    folder = tmp_path / "base"
    shutil.copytree(base / "artifacts/ladder/100-unigram/tiny", folder / "artifacts" / "ladder" / "100-unigram" / name)
    (run,) = runs_index(folder)["runs"]
    assert run["name"] == f"100-unigram on {name}"
    assert re.fullmatch(r"[\w/%.~-]+", run["artifacts"], re.ASCII)
    answer = ask(started(folder), f"/{run['artifacts']}00_meta.json")
    assert answer.body == (folder / unquote(run["artifacts"]) / "00_meta.json").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="names of folders are text there")
def test_a_folder_whose_name_is_no_text(started: Started, base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    there = os.fsencode(folder / "artifacts" / "ladder" / "100-unigram") + b"/\xff"
    try:
        shutil.copytree(os.fsencode(base / "artifacts/ladder/100-unigram/tiny"), there)
    except OSError:
        pytest.skip("this file system takes text only")
    here = started(folder)
    (run,) = json.loads(ask(here, "/runs.json").body)["runs"]
    assert run["artifacts"] == "artifacts/ladder/100-unigram/%FF/"
    assert ask(here, f"/{run['artifacts']}00_meta.json").status == 200


# --- what is not ------------------------------------------------------------------------------------------------

ATTACKS = [
    "/secret.txt",
    "/artifacts/unlisted.csv",
    "/artifacts/ladder/secret.csv",
    "/outputs/bench.txt",
    "/outputs/00_meta.json",
    "/artifacts/train_log.csv",
    "/artifacts",
    "/artifacts/",
    "/artifacts/ladder/",
    "/outputs/",
    "/artifacts/../secret.txt",
    "/../outside.txt",
    "/../../../../../../etc/passwd",
    "/artifacts/../../outside.txt",
    "/artifacts/./00_meta.json",
    "/./index.html",
    "/artifacts/../artifacts/00_meta.json",
    "/artifacts//00_meta.json",
    "//etc/passwd",
    "///etc/passwd",
    "/artifacts//etc/passwd",
    "/artifacts/%2e%2e/secret.txt",
    "/artifacts/%2e%2e%2fsecret.txt",
    "/artifacts/..%2f..%2foutside.txt",
    "/%2e%2e/outside.txt",
    "/%252e%252e/outside.txt",
    "/artifacts/%252e%252e%252fsecret.txt",
    "/artifacts/%c0%ae%c0%ae/secret.txt",
    "/artifacts/..\\secret.txt",
    "/artifacts/..%5csecret.txt",
    "/artifacts\\00_meta.json",
    "/artifacts%5c00_meta.json",
    "/..\\..\\outside.txt",
    "/C:/Windows/win.ini",
    "/C:%5cWindows%5cwin.ini",
    "/artifacts/C:00_meta.json",
    "/artifacts/00_meta.json::$DATA",
    "/artifacts/00_meta.json%00",
    "/artifacts/00_meta.json%00.csv",
    "/%00",
    "/index.html%00",
    "/index.html/",
    "/index.html/../../outside.txt",
    "/app.js",
    "/run.js",
    "/core",
    "/core/",
    "/ui/",
    "/ui/app.js/",
    "/ui/APP.JS",
    "/core//run.js",
    "/./core/run.js",
    "/core/../core/run.js",
    "/core/../server.py",
    "/core%5crun.js",
    "/ui/../core/run.js",
    "/core/index.html",
    "/core/00_meta.json",
    "/artifacts/00_META.JSON",
    "/__pycache__/",
    "/../server.py",
    "/server.py",
    "/__init__.py",
    "/view/index.html",
    "http://127.0.0.1/artifacts/00_meta.json",
    "http://elsewhere.example/secret.txt",
    "file:///etc/passwd",
    "index.html",
    "artifacts/00_meta.json",
    "*",
    "/runs.json/",
    "/artifacts/runs.json",
    "/%FF%FE",
    "/favicon.ico",
    "/" + "a" * 3000,
    "/" + "../" * 1000 + "etc/passwd",
]


@pytest.mark.parametrize("path", ATTACKS, ids=lambda path: path[:40])
def test_nothing_else_is_served(server: ExplorerServer, path: str) -> None:
    answer = ask(server, path)
    assert answer.status == 404
    assert answer.body == b"404: There is nothing at this address.\n"


def test_bytes_that_are_no_text(server: ExplorerServer) -> None:
    assert ask(server, b"/artifacts/\xff\xfe").status == 404
    assert ask(server, b"/\x00").status == 404
    assert ask(server, b"/artifacts/00_meta.json\x00").status == 404


def test_strange_requests(server: ExplorerServer) -> None:
    for request in (
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / nonsense\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            assert b" 200 " not in connection.recv(65536).partition(b"\r\n")[0]
    assert ask_raw(server, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n").status == 431
    assert ask_raw(server, b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n").status == 414
    assert ask(server, "/").status == 200


PIECES = """/ // .. . %2e%2e %2f \\ C: ~ \x00 core ui run.js artifacts ladder outputs 100-unigram tiny index.html
00_meta.json 01_vocabulary.csv train_log.csv secret.txt unlisted.csv"""
PARTS = st.sampled_from(PIECES.split())


@given(parts=st.lists(PARTS, max_size=9))
@example(parts=["/", "artifacts", "/", "ladder", "/", "100-unigram", "/", "tiny", "/", "00_meta.json"])
@settings(max_examples=150, deadline=None)
def test_only_listed_files_are_found(base: Path, parts: list[str]) -> None:
    url = "".join(parts)
    found = find_file(base, url)
    own = {f"/{address}": path for address, path in page_files().items()} | {"/": VIEW_DIR / "index.html"}
    for run in runs_index(base)["runs"]:
        names = json.loads((base / run["artifacts"] / "00_meta.json").read_bytes())["artifacts"]
        own |= {f"/{run['artifacts']}{name}": base / run["artifacts"] / name for name in names}
        own[f"/{run['log']}"] = base / run["log"]
    assert (found and found.path) == own.get(url)


@pytest.mark.parametrize(
    "name",
    ["../../secret.txt", "..", ".", "", "ladder", "sub/file.csv", "sub\\file.csv", "a\x00b", "\ud800", "C:x.csv"],
)
def test_metadata_cannot_list_what_lies_elsewhere(started: Started, base: Path, tmp_path: Path, name: str) -> None:
    folder = copy_of(base, tmp_path / "base")
    (folder / "artifacts" / "sub").mkdir()
    (folder / "artifacts" / "sub" / "file.csv").write_text("secret", encoding="utf-8")
    if os.name != "nt":
        (folder / "artifacts" / "sub\\file.csv").write_text("a name like a Windows path", encoding="utf-8")
    change_meta(folder / "artifacts" / "00_meta.json", artifacts={name: name})
    raw = name.encode("utf-8", "surrogatepass")
    assert ask(started(folder), b"/artifacts/" + b"".join(b"%%%02x" % byte for byte in raw)).status == 404
    assert find_file(folder, f"/artifacts/{name}") is None


def test_files_of_a_stranger_are_never_pages_or_scripts(started: Started, base: Path, tmp_path: Path) -> None:
    folder = copy_of(base, tmp_path / "base")
    names = ["a.html", "a.js", "a.svg", "a.css", "a.JSON", "a", "02_model_weights.safetensors", "merges.txt"]
    for name in names:
        (folder / "artifacts" / name).write_text("<script>", encoding="utf-8")
    change_meta(folder / "artifacts" / "00_meta.json", artifacts=dict.fromkeys(names, ""))
    here = started(folder)
    types = [ask(here, f"/artifacts/{name}").headers["content-type"] for name in names]
    assert types == ["application/octet-stream"] * 7 + ["text/plain; charset=utf-8"]


# --- links ------------------------------------------------------------------------------------------------------


def link(path: Path, target: Path) -> None:
    """Replace whatever is at a path with a symbolic link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    try:
        path.symlink_to(target, target_is_directory=target.is_dir())
    except OSError:
        pytest.skip("no symbolic links here")


def test_links_that_lead_out_are_not_followed(started: Started, base: Path, tmp_path: Path) -> None:
    folder, outside = copy_of(base, tmp_path / "base"), copy_of(base, tmp_path / "outside")
    link(folder / "artifacts" / "01_vocabulary.csv", outside / "artifacts" / "01_vocabulary.csv")
    link(folder / "artifacts" / "02_model_weights.csv", folder / "secret.txt")  # below the base, but of no run
    link(folder / "outputs" / "train_log.csv", outside / "outputs" / "train_log.csv")
    link(folder / "artifacts/ladder/100-unigram/tiny", outside / "artifacts/ladder/100-unigram/tiny")
    link(folder / "artifacts/ladder/200-bigram/tiny/00_meta.json", outside / "artifacts" / "00_meta.json")
    here = started(folder)
    index = json.loads(ask(here, "/runs.json").body)
    assert [(run["artifacts"], run["log"]) for run in index["runs"]] == [("artifacts/", None)]
    assert index["notes"] == [
        f"artifacts/ladder/{kind}/tiny/00_meta.json cannot be used: a link leads out of the folder of runs"
        for kind in ("100-unigram", "200-bigram")
    ]
    for url in (
        "/artifacts/01_vocabulary.csv",
        "/artifacts/02_model_weights.csv",
        "/outputs/train_log.csv",
        "/artifacts/ladder/100-unigram/tiny/00_meta.json",
        "/artifacts/ladder/100-unigram/tiny/01_vocabulary.csv",
        "/artifacts/ladder/200-bigram/tiny/00_meta.json",
        "/artifacts/ladder/200-bigram/tiny/01_vocabulary.csv",
    ):
        assert ask(here, url).status == 404
    assert ask(here, "/artifacts/00_meta.json").status == 200


def test_the_base_itself_may_be_a_link(started: Started, base: Path, tmp_path: Path) -> None:
    link(tmp_path / "link", base)
    assert runs_index(tmp_path / "link") == runs_index(base)
    assert ask(started(tmp_path / "link"), "/artifacts/00_meta.json").status == 200


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_is_no_file_is_not_opened(started: Started, base: Path, tmp_path: Path) -> None:
    folder = copy_of(base, tmp_path / "base")
    (folder / "artifacts" / "01_vocabulary.csv").unlink()
    os.mkfifo(folder / "artifacts" / "01_vocabulary.csv")
    assert ask(started(folder), "/artifacts/01_vocabulary.csv").status == 404


# --- who may ask, and how ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"])
@pytest.mark.parametrize("path", ["/", "/artifacts/00_meta.json", "/artifacts/new.csv", "*"])
def test_nothing_can_be_changed(server: ExplorerServer, base: Path, listing: Listing, method: str, path: str) -> None:
    before = listing(base)
    host = f"127.0.0.1:{server.server_port}"
    answer = ask_raw(server, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n\r\ntext".encode())
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert listing(base) == before


def test_head(server: ExplorerServer) -> None:
    for path in ("/", "/runs.json", "/artifacts/00_meta.json", "/nothing"):
        get, head = ask(server, path), ask(server, path, "HEAD")
        assert head.body == b""
        assert get.body != b""
        assert (head.status, {**head.headers, "date": ""}) == (get.status, {**get.headers, "date": ""})


def test_own_hosts(server: ExplorerServer) -> None:
    for name in ("127.0.0.1", "localhost", "LocalHost"):
        assert ask(server, "/artifacts/00_meta.json", host=f"{name}:{server.server_port}").status == 200


@pytest.mark.parametrize("path", ["/", "/runs.json", "/artifacts/00_meta.json", "/nothing"])
@pytest.mark.parametrize(
    "host",
    [
        "elsewhere.example",
        "elsewhere.example:{port}",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:{other}",
        "localhost.elsewhere.example:{port}",
        "127.0.0.1.elsewhere.example:{port}",
        "127.0.0.1:{port}.elsewhere.example",
        "127.0.0.1:{port}@elsewhere.example",
        "elsewhere.example@127.0.0.1:{port}",
        "127.0.0.1:{port}, elsewhere.example",
        "[::1]:{port}",
        "0.0.0.0:{port}",
        "127.1:{port}",
        "",
    ],
)
def test_other_hosts_are_refused(server: ExplorerServer, path: str, host: str) -> None:
    port = server.server_port
    name = host.format(port=port, other=port + 1)
    answer = ask_raw(server, f"GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
    assert answer.status == 403
    assert answer.body == f"403: This server answers to http://127.0.0.1:{port}/ only.\n".encode()


def test_no_host_or_two_are_refused(server: ExplorerServer) -> None:
    own = f"Host: 127.0.0.1:{server.server_port}\r\n"
    for hosts in ("", own + own, own + "Host: elsewhere.example\r\n", "Host: elsewhere.example\r\n" + own):
        assert ask_raw(server, f"GET / HTTP/1.1\r\n{hosts}\r\n".encode()).status == 403
    assert ask_raw(server, b"GET / HTTP/1.0\r\n\r\n").status == 403


def test_headers_of_every_answer(server: ExplorerServer) -> None:
    answers = [
        ask(server, "/"),
        ask(server, "/ui/app.js"),
        ask(server, "/runs.json"),
        ask(server, "/artifacts/00_meta.json"),
        ask(server, "/nothing"),
        ask(server, "/", method="POST"),
        ask(server, "/", host="elsewhere.example"),
        ask_raw(server, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n"),
    ]
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 404, 405, 403, 431]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'self'"
        assert set(policy.values()) == {"'self'", "'none'"}
        assert "access-control-allow-origin" not in answer.headers
        assert "Python" not in answer.headers["server"]


# --- damage -----------------------------------------------------------------------------------------------------


def test_damaged_metadata_are_left_out_with_a_note(base: Path, tmp_path: Path) -> None:
    folder = copy_of(base, tmp_path / "base")
    (folder / "artifacts" / "00_meta.json").write_text("{", encoding="utf-8")
    change_meta(folder / "artifacts/ladder/100-unigram/tiny/00_meta.json", artifacts=["01_vocabulary.csv"])
    index = runs_index(folder)
    assert [run["name"] for run in index["runs"]] == ["200-bigram on tiny"]
    first, second = index["notes"]
    assert first.startswith("artifacts/00_meta.json cannot be used: not JSON: ")
    assert second == "artifacts/ladder/100-unigram/tiny/00_meta.json cannot be used: it does not list its files"
    assert str(tmp_path) not in first
    for url in ("/artifacts/00_meta.json", "/artifacts/01_vocabulary.csv", "/outputs/train_log.csv"):
        assert find_file(folder, url) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"\xff", b"null", b"[" * 100_000, b'{"schema_version": 1}', b'{"schema_version": 2}', b'{"a": 1e999}'],
)
def test_no_damage_stops_the_index(base: Path, tmp_path: Path, content: bytes) -> None:
    folder = copy_of(base, tmp_path / "base")
    (folder / "artifacts" / "00_meta.json").write_bytes(content)
    index = runs_index(folder)
    assert len(index["runs"]) == 2
    assert len(index["notes"]) == 1


def test_a_file_that_is_gone(started: Started, base: Path, tmp_path: Path) -> None:
    folder = copy_of(base, tmp_path / "base")
    (folder / "artifacts" / "01_vocabulary.csv").unlink()
    assert ask(started(folder), "/artifacts/01_vocabulary.csv").status == 404


def test_a_name_that_is_too_long_for_a_file(started: Started, base: Path, tmp_path: Path) -> None:
    folder = copy_of(base, tmp_path / "base")
    name = "a" * 300
    change_meta(folder / "artifacts" / "00_meta.json", artifacts={name: name})
    assert ask(started(folder), f"/artifacts/{name}").status == 404


def test_folders_that_may_not_be_read(started: Started, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = base / "outputs"
    is_file = Path.is_file

    def refuse_in_closed(path: Path, **options: Any) -> bool:
        if closed in path.parents:
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path, **options)

    monkeypatch.setattr(Path, "is_file", refuse_in_closed)
    here = started(base)
    assert [run["log"] for run in json.loads(ask(here, "/runs.json").body)["runs"]] == [None] * 3
    assert ask(here, "/outputs/train_log.csv").status == 404
    assert ask(here, "/artifacts/00_meta.json").status == 200
    closed = base / "artifacts"
    assert [ask(here, url).status for url in ("/runs.json", "/artifacts/00_meta.json", "/")] == [404, 404, 200]


@pytest.mark.parametrize("added", [b"more", b"more" * 100_000])
def test_a_file_that_grows_is_sent_as_long_as_was_said(
    started: Started, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, added: bytes
) -> None:
    folder = copy_of(base, tmp_path / "base")
    path = folder / "outputs" / "train_log.csv"
    before = path.read_bytes()
    end_headers = view_server._Handler.end_headers

    def grow(handler: view_server._Handler) -> None:
        with path.open("ab") as file:
            file.write(added)
        end_headers(handler)

    monkeypatch.setattr(view_server._Handler, "end_headers", grow)
    answer = ask(started(folder), "/outputs/train_log.csv")
    assert path.read_bytes() == before + added
    assert (answer.headers["content-length"], answer.body) == (str(len(before)), before)


# --- the command ------------------------------------------------------------------------------------------------


def test_only_this_computer_can_connect(server: ExplorerServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"
    with pytest.raises(OSError):  # refused, unreachable or timed out, as the system sees it
        socket.create_connection(("127.0.0.2", server.server_port), timeout=0.2)


@needs_threads
def test_the_next_port_where_one_is_taken(base: Path) -> None:
    with open_server(base, 0) as first, open_server(base, first.server_port) as second:
        assert first.server_port < second.server_port < first.server_port + 20


@pytest.mark.parametrize("port", [-1, 65536, 10**9])
def test_ports_that_do_not_exist(base: Path, port: int) -> None:
    with pytest.raises(InputError, match="a port is a number from 0 to 65535"):
        open_server(base, port)


def test_no_port_is_free(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def refuse(_: Path, port: int) -> ExplorerServer:
        tried.append(port)
        raise PermissionError

    monkeypatch.setattr(view_server, "ExplorerServer", refuse)
    with pytest.raises(InputError, match="no port from 65530 to 65535 can be used"):
        open_server(base, 65530)
    assert tried == list(range(65530, 65536))


def test_no_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no run to show; train one first: toy-gpt train$"):
        serve(tmp_path, 0, False)
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "00_meta.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match=r"train one first: toy-gpt train; artifacts/00_meta\.json cannot be used"):
        serve(tmp_path, 0, False)


@needs_threads
@pytest.mark.parametrize("open_browser", [True, False])
def test_serve_until_it_is_stopped(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], open_browser: bool
) -> None:
    opened: list[str] = []
    asked = threading.Event()
    started_at: list[str] = []

    def browse(url: str) -> None:
        opened.append(url)
        asked.set()

    def stopped(server: ExplorerServer) -> None:
        started_at.append(server.url)
        assert asked.wait(10) == open_browser if open_browser else not opened
        raise KeyboardInterrupt

    monkeypatch.setattr(webbrowser, "open", browse)
    monkeypatch.setattr(ExplorerServer, "serve_forever", stopped)
    assert serve(base, 0, open_browser) == 0
    (url,) = started_at
    assert opened == [url] * open_browser
    assert capsys.readouterr() == (f"explorer  {url}\nCtrl-C ends\n\nended\n", "")


def test_requests_are_answered_silently(server: ExplorerServer, capfd: pytest.CaptureFixture[str]) -> None:
    for path in ("/", "/nothing", "/artifacts/00_meta.json"):
        ask(server, path)
    ask(server, "/", method="POST")
    connection_of_a_client = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection_of_a_client.request("GET", "/runs.json")
    assert connection_of_a_client.getresponse().read() == ask(server, "/runs.json").body
    connection_of_a_client.close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("length", [0, 7, 20, None], ids=str)
def test_a_client_that_hangs_up_is_no_error(
    started: Started, base: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], length: int | None
) -> None:
    here = started(base)
    request = f"GET /ui/app.js HTTP/1.1\r\nHost: 127.0.0.1:{here.server_port}\r\n\r\n".encode()[:length]
    ended = threading.Event()
    shutdown_request = here.shutdown_request

    def end(connection: Any) -> None:
        shutdown_request(connection)
        ended.set()

    monkeypatch.setattr(here, "shutdown_request", end)
    with socket.create_connection(("127.0.0.1", here.server_port)) as connection:
        connection.sendall(request)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # gone at once
    assert ended.wait(10)
    assert capfd.readouterr() == ("", "")
