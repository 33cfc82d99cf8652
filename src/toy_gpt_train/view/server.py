"""server.py - A small web server that shows the explorer on this computer only.

It serves the page in view/, an index of the runs below a base directory, and their files.

REQ: an address is never followed as a path: it must equal the address of a file of the page, or of a run.
REQ: it listens on the loopback address only, and answers only GET and HEAD. It writes nothing, but it completes a run
whose writing was interrupted.
REQ: of a run it serves the metadata, the log, and what the metadata list, if the file really is in the run's folder
(a symbolic link that leads elsewhere is not followed).
REQ: a request whose Host is not this server is refused. WHY: otherwise a page from elsewhere could point its own host
name at 127.0.0.1 and read what is served here (DNS rebinding).

It does not know how a model computes: the page does that, from the same files as toy-gpt infer. Only where the weights
are too large to send, the page asks for each prediction, which predictions.py computes.
"""

import json
import os
import re
import socketserver
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import suppress
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple
from urllib.parse import quote, unquote

from toy_gpt_train.artifacts.metadata import read_meta
from toy_gpt_train.artifacts.run_folder import complete_run
from toy_gpt_train.errors import InputError
from toy_gpt_train.io_artifacts import META_NAME, TRAIN_LOG_NAME, artifacts_dir_from_base_dir, outputs_dir_from_base_dir
from toy_gpt_train.models.base import TENSORS_NAME
from toy_gpt_train.models.registry import model_of_run
from toy_gpt_train.staging import JOURNAL_NAME
from toy_gpt_train.view import predictions

DEFAULT_PORT: Final = 8765
VIEW_DIR: Final = Path(__file__).resolve().parent
INDEX_NAME: Final = "runs.json"
PREDICT_NAME: Final = "predict"  # below the folder of a run
_LOOPBACK: Final = "127.0.0.1"
_PORTS_TO_TRY: Final = 20
_SECONDS_TO_ASK: Final = 30
_BLOCK_BYTES: Final = 1 << 16

# WHY two lists: a run may come from a stranger, so none of its files is ever served as a page or a script.
# WHY not mimetypes: it reads the system's registry, and if that calls .js plain text the page does not start.
_PAGE_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_DATA_TYPES: Final = {".json": "application/json", ".csv": "text/csv", ".txt": "text/plain"}
_UTF_8: Final = "; charset=utf-8"

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}

_PAGE_FOLDERS: Final = (".", "core", "ui")
_ANY_BYTES: Final = "surrogateescape"  # how Python writes a folder's name that is not UTF-8
_PLAIN_NAME: Final = re.compile(r"[^\x00-\x1f/\\:]+")


def page_files() -> dict[str, Path]:
    """Return the page's own files by address, relative to the page."""
    found = (path for folder in _PAGE_FOLDERS for path in (VIEW_DIR / folder).glob("*"))
    return {path.relative_to(VIEW_DIR).as_posix(): path for path in found if path.suffix in _PAGE_TYPES}


class Place(NamedTuple):
    """The folders of a run and their addresses: relative to the index, with a slash at the end, not quoted."""

    artifacts: Path
    url: str
    outputs: Path
    log_url: str


def runs_index(base_dir: Path) -> dict[str, Any]:
    """Return runs.json, the index that the page reads.

    ``runs`` has the name, artifacts and log of each run, the default run first. Addresses are relative to ``base_dir``,
    the folder that holds artifacts/ and outputs/; if it is itself a folder of artifacts, its address is ``run/``.
    A run with ``"remote": true`` is too large to send; its folder answers at ``predict``.
    ``notes`` has a sentence for each run left out, and for each of the older toy-gpt series.

    >>> from toy_gpt_train.project import RESOURCE_ROOT
    >>> runs_index(RESOURCE_ROOT / "artifacts" / "ladder" / "200-bigram" / "001_animals")["runs"]
    [{'name': '200-bigram on 001_animals', 'artifacts': 'run/', 'log': None}]
    """
    runs: list[dict[str, str | bool | None]] = []
    notes: list[str] = []
    for place in _places(base_dir):
        try:
            meta = _metadata(place, base_dir)
            name = _name_of(meta, place.url)
        except (InputError, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            # WHY without the folder: the index may be published, and should not say where it was made.
            why = str(why).removeprefix(f"{place.artifacts / META_NAME}: ")
            notes.append(f"{place.url}{META_NAME} cannot be used: {why}")
        else:
            if "origin" in meta:
                notes.append(f"{name}: {meta['origin']}")
            log = _real_file(place.outputs, TRAIN_LOG_NAME, base_dir)
            log_url = quote(place.log_url + TRAIN_LOG_NAME, errors=_ANY_BYTES) if log else None
            remote = {"remote": True} if _is_remote(place, meta) else {}
            runs.append({"name": name, "artifacts": quote(place.url, errors=_ANY_BYTES), "log": log_url, **remote})
    return {"runs": runs, "notes": notes}


def _places(base_dir: Path) -> Iterator[Place]:
    """Yield the folders of every run, after completing those whose writing was interrupted."""
    for pattern in ("", "artifacts/", "artifacts/demo/", "artifacts/ladder/*/*/"):
        for journal in base_dir.glob(f"{pattern}{JOURNAL_NAME}"):
            with suppress(InputError, OSError):  # its metadata are missing, or what is there is whole
                complete_run(journal.parent)
    if (base_dir / META_NAME).is_file():
        yield Place(base_dir, "run/", base_dir, "run/")
        return
    artifacts, outputs = artifacts_dir_from_base_dir(base_dir), outputs_dir_from_base_dir(base_dir)
    if (artifacts / META_NAME).is_file():
        yield Place(artifacts, "artifacts/", outputs, "outputs/")
    for meta in (*artifacts.glob(f"demo/{META_NAME}"), *sorted(artifacts.glob(f"ladder/*/*/{META_NAME}"))):
        name = meta.parent.relative_to(artifacts).as_posix()
        yield Place(meta.parent, f"artifacts/{name}/", outputs / name, f"outputs/{name}/")


def _metadata(place: Place, base_dir: Path) -> dict[str, Any]:
    """Read the metadata of a run; InputError if they are damaged, list no files, or are outside the base directory."""
    path = _real_file(place.artifacts, META_NAME, base_dir)
    if path is None:
        raise InputError("a link leads out of the folder of runs")
    meta = read_meta(path)
    if not isinstance(meta.get("artifacts"), dict):
        raise InputError("it does not list its files")
    return meta


def _name_of(meta: dict[str, Any], url: str) -> str:
    if "/ladder/" in url:
        *_, model, text, _ = url.split("/")
        return f"{model} on {text}"
    name = f"{model_of_run(meta['model_kind']).folder} on {Path(meta['corpus']['filename']).stem}"
    return name + {"artifacts/": " (default run)", "artifacts/demo/": " (demo)"}.get(url, "")


def _real_file(folder: Path, name: str, base_dir: Path) -> Path | None:
    """Return the path of a file if it really is in its folder, below the base directory; None otherwise."""
    path = folder / name
    with suppress(OSError):  # the name is too long, or the folder may not be read
        if path.is_file():
            real = path.resolve()
            return path if real.parent == folder.resolve() and real.is_relative_to(base_dir.resolve()) else None
    return None


def _is_remote(place: Place, meta: dict[str, Any]) -> bool:
    path = place.artifacts / TENSORS_NAME
    return TENSORS_NAME in meta["artifacts"] and path.is_file() and path.stat().st_size > predictions.LARGEST_SENT


class Found(NamedTuple):
    """A file that is served, and its type."""

    path: Path
    type: str


def find_file(base_dir: Path, url: str) -> Found | None:
    """Return the file at an address (from its first slash on, not quoted), or None if nothing is served there."""
    if not url.startswith("/"):
        return None
    if page := page_files().get(url[1:] or "index.html"):
        return Found(page, _PAGE_TYPES[page.suffix] + _UTF_8)
    folder, _, name = url[1:].rpartition("/")
    path = _file_of_run(base_dir, f"{folder}/", name)
    if path is None:
        return None
    kind = _DATA_TYPES.get(path.suffix)
    return Found(path, kind + _UTF_8 if kind else "application/octet-stream")


def _file_of_run(base_dir: Path, folder_url: str, name: str) -> Path | None:
    for place in _places(base_dir):
        if folder_url not in (place.url, place.log_url) or not _PLAIN_NAME.fullmatch(name):
            continue
        try:
            listed = _metadata(place, base_dir)["artifacts"]
        except (InputError, OSError):
            continue
        if folder_url == place.log_url and name == TRAIN_LOG_NAME:
            return _real_file(place.outputs, name, base_dir)
        if folder_url == place.url and (name == META_NAME or name in listed):
            return _real_file(place.artifacts, name, base_dir)
    return None


def _remote_run(base_dir: Path, url: str) -> Path | None:
    """Return the folder of the large run whose predictions an address asks for."""
    for place in _places(base_dir) if url.endswith(f"/{PREDICT_NAME}") else ():
        if url == f"/{place.url}{PREDICT_NAME}":
            with suppress(InputError, OSError):
                # WHY all its files: a link must not lead to weights elsewhere.
                meta = _metadata(place, base_dir)
                own = all(_real_file(place.artifacts, name, base_dir) for name in meta["artifacts"])
                return place.artifacts if own and _is_remote(place, meta) else None
    return None


class ExplorerServer(ThreadingHTTPServer):
    """A web server for the runs below one base directory; port 0 is any free port. OSError if the port is taken."""

    # WHY: on Windows the option lets two programs listen on one port.
    allow_reuse_address = os.name != "nt"

    def __init__(self, base_dir: Path, port: int) -> None:
        self.base_dir = base_dir
        self.predictor = predictions.Predictor()
        super().__init__((_LOOPBACK, port), _Handler)

    def server_bind(self) -> None:
        """Take the port. WHY not inherited: that looks up the computer's name, which may take long offline."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = _LOOPBACK, self.server_address[1]

    @property
    def url(self) -> str:
        """The address to open."""
        return f"http://{_LOOPBACK}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: ExplorerServer
    server_version = "toy-gpt-view"
    sys_version = ""
    timeout = _SECONDS_TO_ASK

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        if not _is_own_host(self.headers, self.server.server_port):
            self.send_error(HTTPStatus.FORBIDDEN, explain=f"This server answers to {self.server.url} only.")
            return
        path, _, query = self.path.partition("?")
        try:
            found = self._open(unquote(path, errors=_ANY_BYTES), query)
        except OSError:
            found = None
        except InputError as error:
            self.send_error(HTTPStatus.BAD_REQUEST, explain=str(error))
            return
        except predictions.BusyError:
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, explain="Other predictions are being computed.")
            return
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND, explain="There is nothing at this address.")
            return
        kind, content = found
        with content:
            self._send(HTTPStatus.OK, kind, content)

    do_HEAD = do_GET  # noqa: N815 - the base class's name; _send leaves the content out

    def _open(self, url: str, query: str) -> tuple[str, BinaryIO] | None:
        """Return the type and content of what is at an address; looked up each time, so new runs are shown too."""
        if url == f"/{INDEX_NAME}":
            return _as_json(runs_index(self.server.base_dir))
        if folder := _remote_run(self.server.base_dir, url):
            return _as_json(self.server.predictor.answer(folder, query))
        found = find_file(self.server.base_dir, url)
        return (found.type, found.path.open("rb")) if found else None

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with a sentence; the base class's own errors come here too."""
        if code == HTTPStatus.NOT_IMPLEMENTED:  # the base class's code for a method that this class lacks
            code, explain = HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are answered: nothing can be changed."
        text = f"{code}: {explain or HTTPStatus(code).phrase}\n".encode()
        self.close_connection = True
        self._send(HTTPStatus(code), _DATA_TYPES[".txt"] + _UTF_8, BytesIO(text))

    def _send(self, status: HTTPStatus, kind: str, content: BinaryIO) -> None:
        size = content.seek(0, os.SEEK_END)
        content.seek(0)
        self.send_response(status)
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(size)}.items():
            self.send_header(name, value)
        self.end_headers()
        # WHY not to the end of the file: a log may grow meanwhile, and the client was told a size.
        while self.command != "HEAD" and (block := content.read(min(size, _BLOCK_BYTES))):
            self.wfile.write(block)
            size -= len(block)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name for it
        """Print nothing: a line for each request would hide the address."""


def _as_json(value: dict[str, Any]) -> tuple[str, BinaryIO]:
    text = json.dumps(value, ensure_ascii=False)
    return _DATA_TYPES[".json"] + _UTF_8, BytesIO(text.encode("utf-8", "replace"))


def _is_own_host(headers: Message, port: int) -> bool:
    """Whether a request names its host exactly once, and it is this server."""
    names = [_LOOPBACK, "localhost"]
    own = [f"{name}:{port}" for name in names] + (names if port == 80 else [])
    hosts = headers.get_all("Host", [])
    return len(hosts) == 1 and hosts[0].strip().lower() in own


def open_server(base_dir: Path, port: int) -> ExplorerServer:
    """Return a server that listens on ``port`` or the next free one (0: any free one) and answers in serve_forever().

    InputError if there is no run to show, or no free port.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"a port is a number from 0 to 65535, got {port}")
    index = runs_index(base_dir)
    if not index["runs"]:
        hint = f"{base_dir}: there is no run to show; train one first: toy-gpt train"
        raise InputError("; ".join([hint, *index["notes"]]))
    last = min(port + _PORTS_TO_TRY - 1, 65535) if port else 0
    for candidate in range(port, last + 1):
        with suppress(OSError):
            return ExplorerServer(base_dir, candidate)
    raise InputError(f"no port from {port} to {last} can be used; choose another with --port, or 0 for any free one")


def serve(base_dir: Path, port: int, open_browser: bool) -> int:
    """Show the runs below a folder in a browser until Ctrl-C; return the exit code. Errors as in open_server."""
    with open_server(base_dir, port) as server:
        print(f"explorer  {server.url}\nCtrl-C ends", flush=True)
        if open_browser:
            # WHY a thread: a browser in the terminal blocks its caller, and its first request waits for an answer.
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        with suppress(KeyboardInterrupt):
            server.serve_forever()
    print("\nended")
    return 0
