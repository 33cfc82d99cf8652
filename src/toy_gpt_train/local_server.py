"""local_server.py - A small web server that only reads, and that only this computer can reach unless told otherwise.

REQ: it listens on the loopback address, unless it is given another one. It answers only GET and HEAD.
REQ: a request whose Host is not this server is refused. WHY: otherwise a page from elsewhere could point its own host
name at 127.0.0.1 and read what is served here (DNS rebinding).

It does not know what is at an address: a subclass of ReadOnlyHandler finds it. view/server.py serves runs, and
kit/server.py a site.
"""

import ipaddress
import os
import socketserver
import threading
import webbrowser
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any, BinaryIO, ClassVar, Final, TypeVar
from urllib.parse import unquote

from toy_gpt_train.errors import InputError

DEFAULT_PORT: Final = 8765
LOOPBACK: Final = "127.0.0.1"
UTF_8: Final = "; charset=utf-8"
ANY_BYTES: Final = "surrogateescape"  # how Python writes a folder's name that is not UTF-8
# WHY not mimetypes: it reads the system's registry, and if that calls .js plain text the page does not start.
PAGE_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
DATA_TYPES: Final = {".json": "application/json", ".csv": "text/csv", ".txt": "text/plain"}

_PORTS_TO_TRY: Final = 20
_SECONDS_TO_ASK: Final = 30
_BLOCK_BYTES: Final = 1 << 16


class RefusedError(Exception):
    """A request that is answered with a status and a sentence instead of a file."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class ReadOnlyServer(ThreadingHTTPServer):
    """A web server at one address of this computer; port 0 is any free port. OSError if the port is taken."""

    # WHY: on Windows the option lets two programs listen on one port.
    allow_reuse_address = os.name != "nt"
    # WHY: a class opens a page at the same moment; with the usual 5, Windows turns the others away.
    request_queue_size = 128

    def __init__(self, handler: "type[ReadOnlyHandler]", port: int, host: str = LOOPBACK) -> None:
        super().__init__((host, port), handler)

    def server_bind(self) -> None:
        """Take the port. WHY not inherited: that looks up the computer's name, which may take long offline."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    @property
    def url(self) -> str:
        """The address to open on this computer."""
        host = LOOPBACK if self.server_name == "0.0.0.0" else self.server_name  # noqa: S104 - compared, not bound
        return f"http://{host}:{self.server_port}/"


class ReadOnlyHandler(BaseHTTPRequestHandler):
    """Answers one request; a subclass says what is at an address."""

    server: ReadOnlyServer
    server_version = "toy-gpt"
    sys_version = ""
    timeout = _SECONDS_TO_ASK
    headers_sent: ClassVar[Mapping[str, str]] = {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
    }

    def find(self, url: str, query: str) -> tuple[str, BinaryIO] | None:
        """Return the type and content of what is at an address (not quoted), or None. RefusedError or OSError."""
        raise NotImplementedError

    def handle(self) -> None:
        """Answer, until the client hangs up."""
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        """Answer with what is at the address, or with a sentence."""
        if not _is_own_host(self.headers, self.server):
            self.send_error(HTTPStatus.FORBIDDEN, explain=f"This server answers to {self.server.url} only.")
            return
        path, _, query = self.path.partition("?")
        try:
            found = self.find(unquote(path, errors=ANY_BYTES), query)
        except OSError:
            found = None
        except RefusedError as refused:
            self.send_error(refused.status, explain=str(refused))
            return
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND, explain="There is nothing at this address.")
            return
        kind, content = found
        with content:
            self._send(HTTPStatus.OK, kind, content)

    do_HEAD = do_GET  # noqa: N815 - the base class's name; _send leaves the content out

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with a sentence; the base class's own errors come here too."""
        if code == HTTPStatus.NOT_IMPLEMENTED:  # the base class's code for a method that this class lacks
            code, explain = HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are answered: nothing can be changed."
        text = f"{code}: {explain or HTTPStatus(code).phrase}\n".encode()
        self.close_connection = True
        self._send(HTTPStatus(code), DATA_TYPES[".txt"] + UTF_8, BytesIO(text))

    def _send(self, status: HTTPStatus, kind: str, content: BinaryIO) -> None:
        size = content.seek(0, os.SEEK_END)
        content.seek(0)
        self.send_response(status)
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        for name, value in {**self.headers_sent, "Content-Type": kind, "Content-Length": str(size)}.items():
            self.send_header(name, value)
        self.end_headers()
        # WHY not to the end of the file: a log may grow meanwhile, and the client was told a size.
        while self.command != "HEAD" and (block := content.read(min(size, _BLOCK_BYTES))):
            self.wfile.write(block)
            size -= len(block)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name for it
        """Print nothing: a line for each request would hide the address."""


_Server = TypeVar("_Server", bound=ReadOnlyServer)


def _is_own_host(headers: Message, server: ReadOnlyServer) -> bool:
    """Whether a request names its host exactly once, and it is this server."""
    hosts = headers.get_all("Host", [])
    if len(hosts) != 1:
        return False
    name, colon, port = hosts[0].strip().lower().partition(":")
    if (port if colon else "80") != str(server.server_port):
        return False
    return name in (LOOPBACK, "localhost") or (server.server_name != LOOPBACK and _is_address(name))


def _is_address(name: str) -> bool:
    """Whether a host is a number and not a name. WHY: only a name can be pointed elsewhere (DNS rebinding)."""
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def open_port(make: Callable[[int], _Server], port: int) -> _Server:
    """Return what ``make`` opens on ``port`` or the next free one (0: any free one); InputError if none is free."""
    if not 0 <= port <= 65535:
        raise InputError(f"a port is a number from 0 to 65535, got {port}")
    last = min(port + _PORTS_TO_TRY - 1, 65535) if port else 0
    for candidate in range(port, last + 1):
        with suppress(OSError):
            return make(candidate)
    raise InputError(f"no port from {port} to {last} can be used; choose another with --port, or 0 for any free one")


def answer_until_stopped(server: ReadOnlyServer, what: str, open_browser: bool) -> int:
    """Print the address and answer until Ctrl-C; return the exit code."""
    with server:
        print(f"{what}  {server.url}\nCtrl-C ends", flush=True)
        if open_browser:
            # WHY a thread: a browser in the terminal blocks its caller, and its first request waits for an answer.
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        with suppress(KeyboardInterrupt):
            server.serve_forever()
    print("\nended")
    return 0
