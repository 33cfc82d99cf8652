"""toy-gpt data fetch: a download from a real server on this machine that stalls, breaks off and lies."""

import hashlib
import os
import random
import re
import shlex
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from conftest import IN_WEBASSEMBLY, listing_of, needs_threads
from toy_gpt_train import cli
from toy_gpt_train.data import catalogue
from toy_gpt_train.data.catalogue import CATALOGUE, Source, find_source
from toy_gpt_train.data.fetch import MAX_REDIRECTS, Patience, fetch
from toy_gpt_train.errors import InputError

CONTENT = random.Random(0).randbytes(200_000)
SIZE = len(CONTENT)
WRONG = bytes(byte ^ 1 for byte in CONTENT)
SOURCE = Source("text", "http://127.0.0.1:9/unused", SIZE, hashlib.sha256(CONTENT).hexdigest(), "some bytes")
QUICK = Patience(timeout=0.3, attempts=3, pause=0.0)

Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers a request with the next behaviour of the server's script; the last one stays."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers.get("Range"))
        self.server.paths.append(self.path)
        script = self.server.script
        behaviour = script.pop(0) if len(script) > 1 else script[0]
        self.close_connection = True
        with suppress(ConnectionError):
            behaviour(self)

    def answer(self, status: int, body: bytes = b"", **headers: object) -> None:
        self.send_response_only(status)
        for name, value in {"Content_Length": len(body), **headers}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # WHY: server_close then waits for them.

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/text"
        self.script: list[Behaviour] = []
        self.ranges: list[str | None] = []
        self.paths: list[str] = []
        self.release = threading.Event()  # ends what stalls
        self.cut_off = threading.Event()  # is set when a client leaves an endless body


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    if IN_WEBASSEMBLY:
        pytest.skip("no threads in WebAssembly")
    monkeypatch.setenv("no_proxy", "*")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.release.set()
        running.shutdown()
        thread.join()


def whole(handler: Handler) -> None:
    handler.answer(200, CONTENT)


def ranged(handler: Handler) -> None:
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    if asked is None:
        return whole(handler)
    start = int(asked[1])
    return handler.answer(206, CONTENT[start:], Content_Range=f"bytes {start}-{SIZE - 1}/{SIZE}")


def sends(body: bytes, status: int = 200, **headers: object) -> Behaviour:
    return lambda handler: handler.answer(status, body, **headers)


def cut_after(count: int) -> Behaviour:
    return sends(CONTENT[:count], Content_Length=SIZE)


def stall_after(count: int) -> Behaviour:
    def stall(handler: Handler) -> None:
        handler.answer(200, CONTENT[:count], Content_Length=SIZE)
        handler.server.release.wait(20)

    return stall


def silence(handler: Handler) -> None:
    handler.server.release.wait(20)


def raw(data: bytes) -> Behaviour:
    return lambda handler: handler.wfile.write(data) and None


def redirect(location: str | None, status: int = 302, body: bytes = b"moved") -> Behaviour:
    return sends(body, status, Location=location)


def endless(status: int, beginning: bytes = b"", location: str | None = None) -> Behaviour:
    def send(handler: Handler) -> None:
        try:
            handler.answer(status, beginning, Content_Length=None, Location=location)
            for _ in range(4000):
                handler.wfile.write(bytes(1 << 16))
        except ConnectionError:
            handler.server.cut_off.set()

    return send


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "text.txt"


def part_of(out: Path) -> Path:
    return out.with_name(out.name + ".part")


def run(server: Server, out: Path, *script: Behaviour, **options: object) -> bool:
    server.script = list(script)
    return fetch(SOURCE, out, **{"url": server.url, "patience": QUICK, **options})


# --- what goes well -----------------------------------------------------------------------------------------


def test_fetch_writes_the_text_and_nothing_else(server, out):
    told: list[float] = []
    assert run(server, out, whole, on_progress=lambda fraction, status: told.append(fraction)) is True
    assert listing_of(out.parent) == {"text.txt": CONTENT}
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert server.ranges == [None]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_a_pipe_gets_the_whole_text_or_nothing(server, out):
    os.mkfifo(out)
    for script, expected in (((cut_after(100), ranged), CONTENT), ((sends(WRONG),), b"")):
        read: list[bytes] = []
        thread = threading.Thread(target=lambda read=read: read.append(out.read_bytes()))
        thread.start()
        try:
            assert run(server, out, *script) is True
        except InputError:
            out.open("wb").close()  # the pipe was not even opened
        thread.join()
        assert read == [expected]
    assert [path.name for path in out.parent.iterdir()] == ["text.txt"]
    assert out.is_fifo()


@pytest.mark.skipif(os.name == "nt", reason="links need a right that users of Windows lack")
def test_a_link_is_followed(server, out):
    target = out.parent / "folder" / "target.txt"
    target.parent.mkdir()
    out.symlink_to(target)
    assert run(server, out, whole) is True
    assert (out.is_symlink(), target.read_bytes()) == (True, CONTENT)
    assert run(server, out, whole) is False
    target.write_bytes(b"mine")
    with pytest.raises(InputError, match="--force"):
        run(server, out, whole)
    assert run(server, out, whole, force=True) is True
    assert (out.is_symlink(), target.read_bytes()) == (True, CONTENT)
    assert [path.name for path in target.parent.iterdir()] == ["target.txt"]


def test_what_is_there_is_not_fetched_again(server, out):
    out.write_bytes(CONTENT)
    assert run(server, out, whole) is False
    assert server.ranges == []


@pytest.mark.parametrize("old", [b"", b"mine", WRONG])
def test_other_content_is_replaced_only_by_force(server, out, old):
    out.write_bytes(old)
    with pytest.raises(InputError, match="--force"):
        run(server, out, whole)
    assert server.ranges == []
    with pytest.raises(InputError, match="404"):
        run(server, out, sends(b"", 404), force=True)
    assert listing_of(out.parent) == {"text.txt": old}
    assert run(server, out, whole, force=True) is True
    assert listing_of(out.parent) == {"text.txt": CONTENT}


def test_chunks_and_a_body_without_length(server, out):
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (CONTENT[:5], CONTENT[5:99_999], CONTENT[99_999:]))
    assert run(server, out, sends(chunks + b"0\r\n\r\n", Content_Length=None, Transfer_Encoding="chunked"))
    assert out.read_bytes() == CONTENT
    out.unlink()
    assert run(server, out, sends(CONTENT, Content_Length=None))
    assert out.read_bytes() == CONTENT


# --- going on after an interruption -------------------------------------------------------------------------


def test_a_broken_download_goes_on_where_it_broke(server, out):
    assert run(server, out, cut_after(150_000), ranged)
    assert server.ranges == [None, "bytes=150000-"]
    assert listing_of(out.parent) == {"text.txt": CONTENT}


def test_a_chunked_download_goes_on_where_it_broke(server, out):
    broken = b"186a0\r\n" + CONTENT[:50_000]  # 100,000 are announced
    assert run(server, out, sends(broken, Content_Length=None, Transfer_Encoding="chunked"), ranged)
    assert server.ranges == [None, "bytes=50000-"]
    assert out.read_bytes() == CONTENT


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_what_has_arrived_outlives_a_stop(server, out, stop):
    out.write_bytes(b"old")

    def stop_halfway(fraction: float, status: str) -> None:
        if fraction > 0.5:
            raise stop

    with pytest.raises(stop):
        run(server, out, whole, force=True, on_progress=stop_halfway)
    left = listing_of(out.parent)
    assert left.keys() == {"text.txt", "text.txt.part"}
    assert left["text.txt"] == b"old"
    have = len(left["text.txt.part"])
    assert SIZE / 2 < have < SIZE
    assert left["text.txt.part"] == CONTENT[:have]

    server.ranges.clear()
    assert run(server, out, ranged, force=True)
    assert server.ranges == [f"bytes={have}-"]
    assert listing_of(out.parent) == {"text.txt": CONTENT}


def test_a_server_that_ignores_the_range_is_read_from_its_beginning(server, out):
    part_of(out).write_bytes(CONTENT[:1000])
    assert run(server, out, whole)
    assert server.ranges == ["bytes=1000-"]
    assert listing_of(out.parent) == {"text.txt": CONTENT}


@pytest.mark.parametrize(
    "content_range",
    [
        None,
        f"bytes 0-{SIZE - 1}/{SIZE}",
        f"bytes 999-{SIZE - 1}/{SIZE}",
        f"bytes 1000-{SIZE - 2}/{SIZE}",
        f"bytes 1000-{SIZE - 1}/{SIZE + 1}",
        f"bytes */{SIZE}",
        "nonsense",
    ],
)
def test_another_range_than_asked_for_is_not_believed(server, out, content_range):
    part_of(out).write_bytes(CONTENT[:1000])
    assert run(server, out, sends(CONTENT[1000:], 206, Content_Range=content_range), ranged)
    assert server.ranges == ["bytes=1000-", None]
    assert out.read_bytes() == CONTENT


def test_a_range_of_unknown_total_is_believed(server, out):
    part_of(out).write_bytes(CONTENT[:1000])
    assert run(server, out, sends(CONTENT[1000:], 206, Content_Range=f"bytes 1000-{SIZE - 1}/*"))
    assert out.read_bytes() == CONTENT


@pytest.mark.parametrize("content_range", ["bytes */7", f"bytes 1000-{SIZE - 1}/{SIZE}"])
def test_a_range_that_cannot_be_had_starts_over(server, out, content_range):
    part_of(out).write_bytes(CONTENT[:1000])
    assert run(server, out, sends(CONTENT, 416, Content_Range=content_range), whole)
    assert server.ranges == ["bytes=1000-", None]
    assert out.read_bytes() == CONTENT


def test_a_range_that_was_not_asked_for_is_refused(server, out):
    with pytest.raises(InputError, match="range"):
        run(server, out, sends(CONTENT, 206, Content_Range=f"bytes 0-{SIZE - 1}/{SIZE}"))
    assert listing_of(out.parent) == {}


def test_a_part_of_another_text_is_found_out_and_removed(server, out):
    part_of(out).write_bytes(WRONG[:1000])
    assert run(server, out, ranged)
    assert server.ranges == ["bytes=1000-", None]
    assert listing_of(out.parent) == {"text.txt": CONTENT}

    out.unlink()
    part_of(out).write_bytes(WRONG[:1000])
    with pytest.raises(InputError, match="sha256"):
        run(server, out, ranged, patience=Patience(attempts=1))
    assert listing_of(out.parent) == {}


def test_a_part_that_is_already_whole(server, out):
    part_of(out).write_bytes(CONTENT)
    assert run(server, out, whole)
    assert server.ranges == []
    assert listing_of(out.parent) == {"text.txt": CONTENT}


@pytest.mark.parametrize("part", [WRONG, CONTENT + b"x", WRONG + WRONG])
def test_a_part_that_is_too_much_starts_over(server, out, part):
    part_of(out).write_bytes(part)
    assert run(server, out, ranged)
    assert server.ranges == [None]
    assert listing_of(out.parent) == {"text.txt": CONTENT}


# --- servers that lie ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [SIZE, None])
def test_wrong_bytes_are_refused_at_once(server, out, length):
    with pytest.raises(InputError, match="sha256 is not that of text"):
        run(server, out, sends(WRONG, Content_Length=length))
    assert server.ranges == [None]
    assert listing_of(out.parent) == {}


@pytest.mark.parametrize("length", [SIZE + 1, SIZE - 1, 0, 10**15])
@pytest.mark.parametrize("have", [0, 1000])
def test_a_length_that_cannot_be_right_is_refused_at_once(server, out, length, have):
    if have:
        part_of(out).write_bytes(CONTENT[:have])
        lie = sends(CONTENT[have:], 206, Content_Length=length, Content_Range=f"bytes {have}-{SIZE - 1}/{SIZE}")
    else:
        lie = sends(CONTENT, Content_Length=length)
    with pytest.raises(InputError, match=f"offers {length} bytes"):
        run(server, out, lie)
    assert len(server.ranges) == 1
    assert listing_of(out.parent) == ({"text.txt.part": CONTENT[:have]} if have else {})


def test_more_bytes_than_announced_are_not_read(server, out):
    assert run(server, out, sends(CONTENT + b"more", Content_Length=SIZE))
    assert out.read_bytes() == CONTENT


def test_fewer_bytes_than_announced_every_time(server, out):
    with pytest.raises(InputError, match=f"3 attempts: the connection ended after 1000 of {SIZE} bytes"):
        run(server, out, cut_after(1000))
    assert server.ranges == [None, "bytes=1000-", "bytes=1000-"]
    assert listing_of(out.parent) == {"text.txt.part": CONTENT[:1000]}


def test_an_endless_body_is_left_when_the_size_is_reached(server, out, monkeypatch):
    received: list[bytes] = []
    read1 = HTTPResponse.read1

    def recording(response: HTTPResponse, size: int) -> bytes:
        received.append(read1(response, size))
        return received[-1]

    monkeypatch.setattr(HTTPResponse, "read1", recording)
    with pytest.raises(InputError, match="sha256"):
        run(server, out, endless(200))
    assert server.cut_off.wait(10)
    assert b"".join(received) == bytes(SIZE)
    assert listing_of(out.parent) == {}
    received.clear()
    assert run(server, out, endless(200, CONTENT))
    assert b"".join(received) == out.read_bytes() == CONTENT


# --- servers that are slow or broken ------------------------------------------------------------------------


@pytest.mark.slow
def test_a_stalled_server_is_left_and_asked_for_the_rest(server, out):
    assert run(server, out, silence, stall_after(1000), ranged)
    assert server.ranges == [None, None, "bytes=1000-"]
    assert out.read_bytes() == CONTENT


@pytest.mark.slow
def test_a_server_that_always_stalls(server, out):
    with pytest.raises(InputError, match=f"2 attempts: .*timed out after 70000 of {SIZE} bytes"):
        run(server, out, stall_after(70_000), patience=Patience(timeout=0.2, attempts=2, pause=0))
    assert listing_of(out.parent) == {"text.txt.part": CONTENT[:70_000]}


def drip(data: bytes, beginning: bytes = b"") -> Behaviour:
    """Send something again and again, often enough to be never silent."""

    def send(handler: Handler) -> None:
        handler.wfile.write(beginning)
        while not handler.server.release.wait(0.02):
            handler.wfile.write(data)

    return send


HEADERS = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % SIZE
DRIPPING = {
    "100 Continue": drip(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a status line": drip(b"H"),
    "headers": drip(b"A", HEADERS + b"B: "),
    "the text": drip(CONTENT[:1], HEADERS + b"\r\n"),
    "chunks": drip(b"1\r\nx\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "a chunk's size": drip(b"0", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "redirects": drip(b"L", b"HTTP/1.1 302 Found\r\nLocation: "),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", DRIPPING)
def test_a_server_that_is_too_slow_is_left(server, out, what):
    patience = Patience(timeout=5, attempts=2, pause=0, min_speed=1000, window=0.2)
    with pytest.raises(InputError, match="2 attempts: slower than 1000 bytes per second"):
        run(server, out, DRIPPING[what], patience=patience)
    assert len(server.ranges) == 2
    assert run(server, out, whole, patience=patience)


@pytest.mark.slow
@pytest.mark.parametrize("what", DRIPPING)
def test_a_deadline_ends_all_attempts(server, out, what):
    with pytest.raises(InputError, match=r"not fetched within 0\.3 s"):
        run(server, out, DRIPPING[what], patience=Patience(timeout=5, min_speed=0, deadline=0.3))
    assert len(server.ranges) == 1


@pytest.mark.slow
def test_a_deadline_ends_silence_and_pauses(server, out):
    with pytest.raises(InputError, match=r"not fetched within 0\.2 s"):
        run(server, out, silence, patience=Patience(timeout=20, deadline=0.2))
    with pytest.raises(InputError, match=r"not fetched within 0\.2 s"):
        run(server, out, sends(b"", 500), patience=Patience(pause=20, deadline=0.2))


@pytest.mark.slow
def test_what_a_slow_server_sent_is_kept(server, out):
    beginning = HEADERS + b"\r\n" + CONTENT[:1000]
    slow = drip(b"", beginning)
    with pytest.raises(InputError, match=r"not fetched within 0\.3 s"):
        run(server, out, slow, patience=Patience(timeout=5, deadline=0.3))
    assert listing_of(out.parent) == {"text.txt.part": CONTENT[:1000]}
    server.ranges.clear()
    assert run(server, out, ranged)
    assert server.ranges == ["bytes=1000-"]


@pytest.mark.slow
def test_a_server_that_is_fast_enough_is_heard_to_the_end(server, out):
    def steady(handler: Handler) -> None:
        handler.answer(200, b"", Content_Length=SIZE)
        for start in range(0, SIZE, 20_000):
            handler.server.release.wait(0.05)
            handler.wfile.write(CONTENT[start : start + 20_000])

    assert run(server, out, steady, patience=Patience(attempts=1, min_speed=20_000, window=0.1))
    assert out.read_bytes() == CONTENT


def test_patience_that_makes_no_sense(toy_gpt):
    for options in (("--min-speed", -1), ("--min-speed", "nan"), ("--deadline", 0), ("--deadline", "inf")):
        assert toy_gpt("data", "fetch", "names", *options).refused


@pytest.mark.parametrize(
    "answer",
    [b"", b"\x1b[2J garbage\r\n\r\n", b"HTTP/1.1 twohundred OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200],
)
def test_what_is_not_http(server, out, answer):
    with pytest.raises(InputError, match=r"not fetched in 3 attempts: .") as refused:
        run(server, out, raw(answer))
    assert str(refused.value).isprintable()
    assert len(server.ranges) == 3
    assert listing_of(out.parent) == {}
    assert run(server, out, raw(answer), whole)


@pytest.mark.parametrize("size", [b"xyz", b"-5", b"", b"ffffffffffffffffffff"])
def test_chunks_that_are_none(server, out, size):
    lie = sends(size + b"\r\n" + CONTENT, Content_Length=None, Transfer_Encoding="chunked")
    server.script = [lie]
    # Whatever http.client makes of it: either the text was there, or there is no file.
    with suppress(InputError):
        fetch(SOURCE, out, url=server.url, patience=QUICK)
    assert listing_of(out.parent).get("text.txt", CONTENT) == CONTENT


@pytest.mark.parametrize("status", [204, 304, 400, 403, 404, 410, 501])
def test_a_final_answer_is_final(server, out, status):
    with pytest.raises(InputError, match=f"the server answers {status} "):
        run(server, out, sends(b"", status))
    assert len(server.ranges) == 1
    assert listing_of(out.parent) == {}


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_trouble_is_tried_again(server, out, status):
    with pytest.raises(InputError, match=f"3 attempts: the server answers {status} "):
        run(server, out, sends(b"trouble", status))
    assert len(server.ranges) == 3
    assert listing_of(out.parent) == {}
    assert run(server, out, sends(b"trouble", status), sends(b"trouble", status), whole)
    assert out.read_bytes() == CONTENT


@needs_threads
def test_no_server(out, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(InputError, match=r"3 attempts: .*refused"):
            fetch(SOURCE, out, url=url, patience=QUICK)
    assert listing_of(out.parent) == {}


def test_the_pauses_between_attempts_double(server, out, monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr("toy_gpt_train.data.fetch.time.sleep", pauses.append)
    with pytest.raises(InputError):
        run(server, out, sends(b"", 500), patience=Patience(timeout=1, attempts=4, pause=0.5))
    assert pauses == [0.5, 1.0, 2.0]


# --- redirects ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_with_the_range(server, out, status):
    part_of(out).write_bytes(CONTENT[:1000])
    assert run(server, out, redirect("/other", status), redirect("th\xe9re?a=b", status), ranged)
    assert server.paths == ["/text", "/other", "/th%E9re?a=b"]
    assert server.ranges == ["bytes=1000-"] * 3
    assert out.read_bytes() == CONTENT


def test_a_circle_of_redirects_ends(server, out):
    with pytest.raises(InputError, match=f"more than {MAX_REDIRECTS} redirects"):
        run(server, out, redirect("/text"))
    assert len(server.paths) == 1 + MAX_REDIRECTS


@pytest.mark.parametrize(
    "location", ["ftp://127.0.0.1/x", "file:///etc/hostname", "http://[", "data:,x", "http://:80/"]
)
def test_a_redirect_to_somewhere_else_is_refused(server, out, location):
    with pytest.raises(InputError, match="address"):
        run(server, out, redirect(location))
    assert listing_of(out.parent) == {}


def test_a_redirect_without_a_target_is_a_final_answer(server, out):
    with pytest.raises(InputError, match="the server answers 302"):
        run(server, out, redirect(None))


def test_the_body_of_a_redirect_is_not_read(server, out):
    assert run(server, out, endless(302, location="/other"), whole)
    assert server.cut_off.wait(10)


# --- what the user gives ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "names",
        "//127.0.0.1/x",
        "ftp://127.0.0.1/x",
        "file:///etc/hostname",
        "http://",
        "http:///x",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:port/",
        "http://[",
        "http://user:secret@127.0.0.1/",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/\r\nX:y",
        "http://127.0.0.1/\x1b",
        "http://127.0.0.1/\xe9",
        f"http://{'a' * 70}.example/",
    ],
)
def test_what_is_not_an_address(out, url):
    with pytest.raises(InputError, match="is not an http or https address"):
        fetch(SOURCE, out, url=url, patience=QUICK)
    assert listing_of(out.parent) == {}


def test_where_no_file_can_be(server, tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        run(server, tmp_path, whole)
    with pytest.raises(FileNotFoundError):
        run(server, tmp_path / "none" / "text.txt", whole)
    assert server.ranges == []


def test_the_catalogue():
    sizes = {"tiny-shakespeare": 1_115_394, "names": 228_145, "tiny-stories": None, "tiny-stories-valid": None}
    assert {source.name: source.size for source in CATALOGUE} == sizes
    for source in CATALOGUE:
        assert find_source(source.name) is source
        assert source.url.startswith("https://")
        assert source.size is None or re.fullmatch("[0-9a-f]{64}", source.sha256)
    with pytest.raises(InputError, match="tiny-shakespeare, names"):
        find_source("shakespeare")


# --- a text of which only the hash is known -------------------------------------------------------------------

UNSIZED = replace(SOURCE, size=None)


@pytest.mark.parametrize(
    ("script", "ranges"),
    [
        ([whole], [None]),
        ([cut_after(1000), ranged], [None, "bytes=1000-"]),
        ([cut_after(1000), whole], [None, "bytes=1000-"]),
        ([stall_after(1000), sends(b"", 503), ranged], [None, "bytes=1000-", "bytes=1000-"]),
        ([cut_after(1000), sends(b"", 416), whole], [None, "bytes=1000-", None]),
        ([cut_after(1000), sends(CONTENT, 206, Content_Range=f"bytes 0-{SIZE - 1}/{SIZE}"), whole], None),
        ([cut_after(1000), sends(CONTENT[1000:], 206, Content_Range="bytes 1000-1999/2000"), whole], None),
    ],
)
def test_the_size_is_what_the_server_says(server, out, script, ranges):
    server.script = list(script)
    told: list[float] = []
    assert fetch(UNSIZED, out, url=server.url, patience=QUICK, on_progress=lambda part, status: told.append(part))
    assert listing_of(out.parent) == {out.name: CONTENT}
    assert told[-1] == 1.0
    if ranges is not None:
        assert server.ranges == ranges
    assert not fetch(UNSIZED, out, url=server.url, patience=QUICK)


def test_a_part_that_is_whole_is_known_by_its_hash(server, out):
    part_of(out).write_bytes(CONTENT)
    server.script = [sends(b"", 500)]
    assert fetch(UNSIZED, out, url=server.url, patience=QUICK)
    assert listing_of(out.parent) == {out.name: CONTENT}
    assert server.ranges == []


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (sends(WRONG), "its sha256 is not that of text"),
        (sends(CONTENT, Content_Length=None), "does not say how large"),
        (sends(b""), "does not say how large"),
        (sends(CONTENT, Content_Length=None, Transfer_Encoding="chunked"), "does not say how large"),
        (sends(CONTENT, Content_Length=10**17), "and only [0-9]+ are free"),
        (sends(b"", 404), "404"),
    ],
)
def test_a_text_without_size_that_cannot_be_had(server, out, behaviour, message):
    server.script = [behaviour]
    with pytest.raises(InputError, match=message):
        fetch(UNSIZED, out, url=server.url, patience=QUICK)
    assert listing_of(out.parent) == {}
    assert len(server.ranges) == 1


def test_a_text_without_hash_is_not_fetched(server, out):
    with pytest.raises(InputError, match="sha256 of text is not known"):
        fetch(replace(UNSIZED, sha256=None), out, url=server.url, patience=QUICK)
    assert server.ranges == []


# --- the command line ---------------------------------------------------------------------------------------


def test_command_lists_what_there_is(toy_gpt):
    done = toy_gpt("data", "fetch")
    assert done.code == 0
    assert [line.split()[:2] for line in done.out.splitlines()[1:]] == [
        ["tiny-shakespeare", "1115394"],
        ["names", "228145"],
        ["tiny-stories", "unknown"],
        ["tiny-stories-valid", "unknown"],
    ]


def test_command_fetches(server, toy_gpt, tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "CATALOGUE", (SOURCE,))
    monkeypatch.chdir(tmp_path)
    server.script = [whole]
    assert toy_gpt("data", "fetch", "text", "--url", server.url) == (0, f"text.txt: {SIZE} bytes, fetched\n", "")
    assert toy_gpt("data", "fetch", "text") == (0, f"text.txt: {SIZE} bytes, there already\n", "")
    assert listing_of(tmp_path) == {"text.txt": CONTENT}
    (tmp_path / "b.txt").write_bytes(b"mine")
    assert toy_gpt("data", "fetch", "text", "--out", "b.txt").refused
    assert toy_gpt("data", "fetch", "text", "--out", "b.txt", "--url", server.url, "--force").code == 0
    assert listing_of(tmp_path) == {"text.txt": CONTENT, "b.txt": CONTENT}


def test_command_refuses_in_one_line(server, toy_gpt, tmp_path):
    server.script = [sends(b"", 404)]
    out = tmp_path / "names.txt"
    assert toy_gpt("data", "fetch", "nonsense", "--out", out).refused
    assert toy_gpt("data", "fetch", "names", "--out", out, "--url", "file:///etc/hostname").refused
    assert toy_gpt("data", "fetch", "names", "--out", out, "--url", server.url).refused
    assert toy_gpt("data", "fetch", "names", "--out", tmp_path).refused
    assert listing_of(tmp_path) == {}


def test_command_fetches_any_text_by_its_hash(server, toy_gpt, out):
    server.script = [whole]
    by_hash = ("--url", server.url, "--sha256", SOURCE.sha256.upper())
    assert toy_gpt("data", "fetch", *by_hash, "--out", out) == (0, f"{out}: {SIZE} bytes, fetched\n", "")
    assert toy_gpt("data", "fetch", *by_hash, "--out", out) == (0, f"{out}: {SIZE} bytes, there already\n", "")
    assert toy_gpt("data", "fetch", "tiny-stories", *by_hash, "--out", out).code == 0
    assert listing_of(out.parent) == {out.name: CONTENT}
    out.unlink()
    asked = len(server.ranges)
    for wrong, message in (
        (by_hash, "needs --out"),
        (("--url", server.url, "--out", out), "needs both --url and --sha256"),
        (("--sha256", SOURCE.sha256, "--out", out), "needs both --url and --sha256"),
        ((*by_hash[:-1], "abc", "--out", out), "64 digits"),
        ((*by_hash[:-1], "g" * 64, "--out", out), "64 digits"),
        (("tiny-stories", "--url", server.url, "--out", out), "the sha256 of tiny-stories is not known here"),
        (("names", *by_hash, "--out", out), "the sha256 of names is different"),
        (("--url", "ftp://a/b", *by_hash[2:], "--out", out), "not an http or https address"),
    ):
        done = toy_gpt("data", "fetch", *wrong)
        assert done.refused
        assert message in done.err
    assert (listing_of(out.parent), len(server.ranges)) == ({}, asked)
    server.script = [sends(WRONG)]
    assert toy_gpt("data", "fetch", *by_hash, "--out", out).refused
    assert listing_of(out.parent) == {}


@pytest.mark.parametrize("source", ["fetch", "stdlib", "sample", "parquet", "hub", "vocabulary", "encode", "decode"])
def test_help_ends_with_a_line_to_type(toy_gpt, source):
    done = toy_gpt("data", source, "--help")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 120
    example = done.out.rstrip().splitlines()[-1].removeprefix("example:")
    program, *argv = shlex.split(example)
    assert (program, *argv[:2]) == ("toy-gpt", "data", source)
    assert callable(cli.build_parser().parse_args(argv).handler)
