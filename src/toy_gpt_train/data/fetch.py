"""fetch.py - Download one known text over HTTP, and accept it only if its size and hash are right.

The learner's question: how do I get a file from a network that stalls, disconnects and lies? Ask for what is missing,
wait only so long, retry a few times, and check the whole file at the end. A server that sends a byte now and then is
never silent, so there are also a minimum speed and a deadline.

Concepts:
    part file: NAME.part, what has arrived so far. It survives an interruption, and the next download resumes there.
    range: ``Range: bytes=500-`` asks for the rest of a file. A server that supports it answers 206 and says which
        bytes it sends; another one answers 200 and sends the whole file.

REQ: the file appears only when its hash is right, and never more than its size is read. Where the size is not known,
the server must say it first, and there must be room for it.
"""

import io
import socket
import string
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, responses
from math import inf
from pathlib import Path
from shutil import copyfileobj, disk_usage
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Final
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import AbstractHTTPHandler, HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from toy_gpt_train.data.catalogue import Source
from toy_gpt_train.disk import is_stream, naming, real_file, whole_file
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import sha256_of_file
from toy_gpt_train.progress import OnProgress
from toy_gpt_train.show import visible

BLOCK_BYTES: Final = 1 << 16
MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_TEMPORARY: Final = (408, 425, 429, 500, 502, 503, 504)  # errors that may be gone a moment later


@dataclass(frozen=True)
class Patience:
    """How long to bear with a server, in seconds; InputError if that makes no sense."""

    timeout: float = 20.0  # for a server that is silent
    attempts: int = 4
    pause: float = 0.5  # between the first two attempts; then it is doubled
    min_speed: float = 1000.0  # bytes of the text per second; an attempt that is slower ends
    window: float = 30.0  # over which the speed is measured
    deadline: float = 3600.0  # for all attempts together

    def __post_init__(self) -> None:
        if not (0 <= self.min_speed < inf and 0 < self.deadline < inf):
            got = f"{self.min_speed:g} bytes per second and {self.deadline:g} s"
            raise InputError(f"the minimum speed must be at least 0 and the deadline above 0, got {got}")


class _TransferError(Exception):
    """This attempt failed; another one may succeed."""


class _Watch:
    def __init__(self, url: str, patience: Patience) -> None:
        self._url, self._patience = url, patience
        self._end = time.monotonic() + patience.deadline
        self.start()

    def start(self) -> None:
        self._since, self.received = time.monotonic(), 0

    def timeout(self) -> float:
        """Return how long to wait; InputError if the deadline is over, _TransferError if the server is too slow."""
        now, patience = time.monotonic(), self._patience
        if now >= self._end:
            raise InputError(f"{self._url}: not fetched within {patience.deadline:g} s; the next try resumes here")
        if now - self._since >= patience.window:
            if self.received < patience.min_speed * (now - self._since):
                raise _TransferError(f"slower than {patience.min_speed:g} bytes per second")
            self.start()
        return min(patience.timeout, self._end - now)

    def pause(self, seconds: float) -> None:  # but not beyond the deadline
        time.sleep(max(min(seconds, self._end - time.monotonic()), 0.0))


class _WatchedStream(io.RawIOBase):
    """What a server sends. WHY here: a response may be endless before its first byte of text ("100 Continue")."""

    def __init__(self, sock: socket.socket, stream: io.RawIOBase, watch: _Watch) -> None:
        self._sock, self._stream, self._watch = sock, stream, watch

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._watch.timeout())
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()


class _WatchedResponse(HTTPResponse):
    def __init__(self, watch: _Watch, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.fp: Any = io.BufferedReader(_WatchedStream(sock, self.fp.detach(), watch))


def _watched(handler: AbstractHTTPHandler, watch: _Watch) -> AbstractHTTPHandler:
    open_plain: Any = handler.do_open

    def open_watched(connect: Any, request: Request, **more: Any) -> Any:
        def connected(host: str, **options: Any) -> HTTPConnection:
            connection: HTTPConnection = connect(host, **options)
            connection.response_class = partial(_WatchedResponse, watch)  # type: ignore[assignment]
            return connection

        return open_plain(connected, request, **more)

    handler.do_open = open_watched  # type: ignore[assignment, method-assign]
    return handler


def fetch(
    source: Source,
    out: Path,
    *,
    url: str | None = None,
    force: bool = False,
    patience: Patience | None = None,
    on_progress: OnProgress = lambda fraction, status: None,
) -> bool:
    """Download a text, or what is missing of it, to the file ``out``; return False if it was there already.

    The part file is beside it. A device or a pipe is written into, when all is there. ``url`` is another address of the
    same text. InputError if the file has other content, unless ``force`` replaces it, or if patience is used up.
    ``on_progress`` is called for each block with the fraction downloaded.
    """
    if source.sha256 is None:
        raise InputError(f"the sha256 of {source.name} is not known, so what arrives could not be checked")
    address = source.url if url is None else url
    _check_url(address)
    if out.is_dir():
        raise InputError(f"{out} is a folder")
    if is_stream(out):
        with TemporaryDirectory() as folder:
            part = Path(folder) / "text"
            _download(source, address, part, patience or Patience(), on_progress)
            with part.open("rb") as text, whole_file(out) as file:
                copyfileobj(text, file)
        return True
    out = real_file(out)
    if out.exists():
        if _is_source(out, source):
            return False
        if not force:
            raise InputError(f"{out} exists and is not {source.name}; --force replaces it")
    part = out.with_name(f"{out.name}.part")
    try:
        _download(source, address, part, patience or Patience(), on_progress)
        part.replace(out)
    finally:
        if part.exists() and part.stat().st_size == 0:
            part.unlink()
    return True


def _is_source(path: Path, source: Source) -> bool:
    return source.size in (None, path.stat().st_size) and sha256_of_file(path) == source.sha256


def _download(source: Source, url: str, part: Path, patience: Patience, on_progress: OnProgress) -> None:
    problem, watch = "no attempt was made", _Watch(url, patience)
    for attempt in range(patience.attempts):
        if attempt:
            watch.pause(patience.pause * 2 ** (attempt - 1))
        watch.start()
        try:
            resumed = _transfer(source, url, part, watch, on_progress)
        except _TransferError as error:
            problem = str(error)
            continue
        if _is_source(part, source):
            return
        part.unlink()
        problem = f"its sha256 is not that of {source.name}"
        if not resumed:  # WHY no retry: all of it came from this server, just now.
            raise InputError(f"{url}: {problem}")
    raise InputError(f"{url}: not fetched in {patience.attempts} attempts: {problem}")


def _transfer(source: Source, url: str, part: Path, watch: _Watch, on_progress: OnProgress) -> bool:
    """Fill the part file up to the text's size; return whether it kept bytes of an earlier attempt."""
    with naming(part), part.open("ab") as file:
        have = file.tell()
        if source.size is not None and have > source.size:
            have = file.truncate(0)
        if have and (have == source.size if source.size is not None else _is_source(part, source)):
            return True
        with _open(url, have, watch) as response:
            start = have if response.status == 206 else 0
            size = _announced_size(response, start, url, part) if source.size is None else source.size
            if response.status != 200 and not _continues(response, have, size):
                file.truncate(0)
                raise _TransferError("the server did not send the range that was asked for")
            resumed = start > 0
            file.truncate(start)
            if response.length not in (None, size - start):
                raise InputError(f"{url}: offers {response.length} bytes, {source.name} has {size - start} left")
            for position in _receive(response, file, start, size):
                watch.received += position - start
                start = position
                on_progress(position / size, f"{position / 1e6:.1f} of {size / 1e6:.1f} MB")
        return resumed


def _announced_size(response: HTTPResponse, start: int, url: str, part: Path) -> int:
    """Return the size that a server says a text has, of which it sends all from ``start`` on; InputError if none."""
    if response.status == 416:
        return start
    if not response.length:
        raise InputError(f"{url}: the server does not say how large the text is")
    if response.length > (free := disk_usage(part.parent).free):
        raise InputError(f"{url}: offers {response.length} bytes, and only {free} are free in {part.parent}")
    return start + response.length


def _continues(response: HTTPResponse, have: int, size: int) -> bool:  # the rest of the file from byte ``have``
    ranges = [f"bytes {have}-{size - 1}/{size}", f"bytes {have}-{size - 1}/*"]
    return have > 0 and response.status == 206 and response.headers.get("Content-Range") in ranges


def _receive(response: HTTPResponse, file: BinaryIO, position: int, size: int) -> Iterator[int]:
    """Append what arrives to the file, up to the size; yield the file's length after each block."""
    while position < size:
        try:
            # WHY read1: it returns what has arrived; read would wait for a whole block.
            block = response.read1(min(BLOCK_BYTES, size - position))
        except (OSError, HTTPException) as error:
            raise _TransferError(f"{_reason(error)} after {position} of {size} bytes") from error
        if not block:
            raise _TransferError(f"the connection ended after {position} of {size} bytes")
        position += file.write(block)
        yield position


def _open(url: str, have: int, watch: _Watch) -> HTTPResponse:
    """Ask for a file from byte ``have`` on, and follow redirects.

    WHY not urlopen: it would also follow redirects to ftp:, and read a redirect's body to the end, however long.
    """
    opener = OpenerDirector()
    for handler in (ProxyHandler(), _watched(HTTPHandler(), watch), _watched(HTTPSHandler(), watch)):
        opener.add_handler(handler)
    for _ in range(1 + MAX_REDIRECTS):
        request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 (_check_url)
        try:
            response: HTTPResponse = opener.open(request, timeout=watch.timeout())
        except (OSError, HTTPException) as error:
            raise _TransferError(_reason(error)) from error
        if response.status in (200, 206, 416):
            return response
        location = response.headers.get("Location")
        response.close()
        if response.status not in _REDIRECTS or location is None:
            answer = f"the server answers {response.status} {responses.get(response.status, '')}".rstrip()
            if response.status in _TEMPORARY:
                raise _TransferError(answer)
            raise InputError(f"{url}: {answer}")
        url = _redirected(url, location)
    raise InputError(f"{url}: more than {MAX_REDIRECTS} redirects")


def _redirected(url: str, location: str) -> str:
    # WHY Latin-1: http.client decodes headers with it; what is not ASCII becomes %XX of its original bytes.
    try:
        target = urljoin(url, quote(location, safe=string.punctuation, encoding="latin-1"))
    except ValueError as error:
        raise InputError(f"{url}: redirects to {location!r:.60}, which is not an address") from error
    _check_url(target)
    return target


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.username is None and url.isascii() and url.isprintable()
        # Both raise ValueError for an impossible host or port.
        usable = usable and " " not in url and bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"{url!r:.200} is not an http or https address")


def _reason(error: Exception) -> str:
    # WHY visible: a server may send anything in its first line, also a terminal's control characters.
    return visible(str(getattr(error, "reason", "") or error)[:200])
