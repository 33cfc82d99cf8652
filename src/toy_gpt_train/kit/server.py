"""server.py - Serves a built site from a folder: to this computer only, unless another address is asked for.

REQ: an address is never followed as a path: it must equal the address of a file that was in the site at the start.
local_server.py says who may ask, and how.

start.py in the kit calls main().
"""

import argparse
import ipaddress
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, ClassVar, Final

from toy_gpt_train.errors import InputError
from toy_gpt_train.local_server import (
    DATA_TYPES,
    DEFAULT_PORT,
    LOOPBACK,
    PAGE_TYPES,
    UTF_8,
    ReadOnlyHandler,
    ReadOnlyServer,
    answer_until_stopped,
    open_port,
)

# WHY the first character: hidden files are the system's own, such as .DS_Store.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_TEXT_TYPES: Final = {
    **PAGE_TYPES,
    **DATA_TYPES,
    ".mjs": "text/javascript",
    ".py": "text/plain",
    ".map": "application/json",
    ".xml": "application/xml",
}
_BINARY_TYPES: Final = {
    ".wasm": "application/wasm",  # WHY: with another type, a browser refuses to compile it while it is fetched
    ".zip": "application/zip",
    ".png": "image/png",
    ".ico": "image/vnd.microsoft.icon",
    ".woff2": "font/woff2",
}


def site_files(site: Path) -> dict[str, Path]:
    """Return the files of a site by address, sorted.

    Hidden files, names with anything but letters, digits, ``_.+-``, and links that lead elsewhere are left out.
    """
    top = site.resolve()
    found = {path.relative_to(site).as_posix(): path for path in site.rglob("*") if path.is_file()}
    return {
        address: found[address]
        for address in sorted(found)
        if all(map(_PLAIN.fullmatch, address.split("/"))) and found[address].resolve() == top / address
    }


class SiteServer(ReadOnlyServer):
    """A web server for the files of one folder, as they are named when it starts; port 0 is any free port."""

    def __init__(self, site: Path, port: int, host: str = LOOPBACK) -> None:
        self.files = site_files(site)
        super().__init__(_Handler, port, host)


class _Handler(ReadOnlyHandler):
    server: SiteServer
    # REQ: nothing from another host. WHY unsafe: the pages of the theme have scripts and styles in them, and Pyodide
    # compiles WebAssembly. WHY blob: the playground hands a trained run to the explorer in that form.
    headers_sent: ClassVar[Mapping[str, str]] = {
        **ReadOnlyHandler.headers_sent,
        "Cache-Control": "max-age=3600",  # WHY: a page that trains fetches 13 MB of Python
        "Content-Security-Policy": (
            "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
            "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self' blob:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
        ),
    }

    def find(self, url: str, query: str) -> tuple[str, BinaryIO] | None:
        """Return the type and content of a page or of another file of the site."""
        address = url.removeprefix("/")
        if url.endswith("/"):
            address += "index.html"
        path = self.server.files.get(address) if url.startswith("/") else None
        if path is None:
            return None
        text = _TEXT_TYPES.get(path.suffix)
        kind = text + UTF_8 if text else _BINARY_TYPES.get(path.suffix, "application/octet-stream")
        return kind, path.open("rb")


def open_site(site: Path, port: int, host: str = LOOPBACK) -> SiteServer:
    """Return a server of a site on ``port`` or the next free one (0: any free one).

    InputError if there is no site, no such address, or no free port.
    """
    if not (site / "index.html").is_file():
        raise InputError(f"{site}: there is no site in this folder; was all of the kit unpacked?")
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        raise InputError(f"--host takes the numbers of an address, such as 0.0.0.0, got {host!r:.60}") from None
    try:
        socket.create_server((host, 0)).close()
    except OSError as error:
        raise InputError(f"--host {host}: this computer has no such address") from error
    return open_port(lambda candidate: SiteServer(site, candidate, host), port)


def main(site: Path, argv: Sequence[str] | None = None) -> int:
    """Serve a site until Ctrl-C; return the exit code: 2 if it cannot be served."""
    parser = argparse.ArgumentParser(prog="start.py", description="Show the pages of this folder in a browser.")
    meaning = "where to listen: this computer only (default: %(default)s), or 0.0.0.0 for everyone in the same network"
    parser.add_argument("--host", default=LOOPBACK, metavar="A", help=meaning)
    meaning = "the port, or the next free one; 0 for any free one (default: %(default)s)"
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, metavar="P", help=meaning)
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    args = parser.parse_args(argv)
    try:
        server = open_site(site, args.port, args.host)
    except InputError as error:
        print(f"start.py: error: {error}", file=sys.stderr)
        return 2
    if not ipaddress.IPv4Address(args.host).is_loopback:
        print(
            f"Everyone who can reach this computer over the network can now read these pages, at\n{_class_url(server)}"
        )
        print("They can change nothing, and see no other file of this computer.")
    return answer_until_stopped(server, "site", not args.no_browser)


def _class_url(server: SiteServer) -> str:
    """Return the address for the other computers."""
    if server.server_name != "0.0.0.0":  # noqa: S104 - compared, not bound
        return server.url
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent: the system only chooses the address it would send from
        return f"http://{probe.getsockname()[0]}:{server.server_port}/"
    return f"http://ADDRESS:{server.server_port}/ with the address of this computer, which its network settings show"
