"""server.py - A small web server that shows the explorer on this computer only.

It serves the page in view/, an index of the runs below a base directory, and their files. local_server.py says who
may ask, and how.

REQ: an address is never followed as a path: it must equal the address of a file of the page, or of a run.
REQ: it writes nothing, but it completes a run whose writing was interrupted.
REQ: of a run it serves the metadata, the log, and what the metadata list, if the file really is in the run's folder
(a symbolic link that leads elsewhere is not followed).

It does not know how a model computes: the page does that, from the same files as toy-gpt infer. Only where the weights
are too large to send, or the page does not know the model, it asks for each prediction, which predictions.py computes.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple
from urllib.parse import quote

from toy_gpt_train.artifacts.metadata import read_meta
from toy_gpt_train.artifacts.run_folder import complete_run
from toy_gpt_train.errors import InputError
from toy_gpt_train.io_artifacts import META_NAME, TRAIN_LOG_NAME, artifacts_dir_from_base_dir, outputs_dir_from_base_dir
from toy_gpt_train.local_server import (
    ANY_BYTES,
    DATA_TYPES,
    PAGE_TYPES,
    UTF_8,
    ReadOnlyHandler,
    ReadOnlyServer,
    RefusedError,
    answer_until_stopped,
    open_port,
)
from toy_gpt_train.models.base import TENSORS_NAME
from toy_gpt_train.models.registry import model_of_run
from toy_gpt_train.staging import JOURNAL_NAME
from toy_gpt_train.view import predictions

VIEW_DIR: Final = Path(__file__).resolve().parent
INDEX_NAME: Final = "runs.json"
PREDICT_NAME: Final = "predict"  # below the folder of a run
# Texts to start from: the network is right and sure about what comes next, and a head looks at where that was told.
_TEXTS: Final = {
    "artifacts/demo/": "Mina has a red ball . she is at the market . Ben has a blue car . he is in the barn . where is "
    "Mina ? Mina is at the",
    "artifacts/ladder/800-llama/world_400k/": "Mina has a red hat . Mina wishes for a white boat , because she has no",
}
# WHY two lists of types: a run may come from a stranger, so none of its files is ever served as a page or a script.
_PAGE_FOLDERS: Final = (".", "core", "ui")
_PLAIN_NAME: Final = re.compile(r"[^\x00-\x1f/\\:]+")


def page_files() -> dict[str, Path]:
    """Return the page's own files by address, relative to the page."""
    found = (path for folder in _PAGE_FOLDERS for path in (VIEW_DIR / folder).glob("*"))
    return {path.relative_to(VIEW_DIR).as_posix(): path for path in found if path.suffix in PAGE_TYPES}


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
    A run with ``"remote": true`` is one that the page cannot receive or compute; its folder answers at ``predict``.
    One with ``text`` is shown with that text to start from.
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
            log_url = quote(place.log_url + TRAIN_LOG_NAME, errors=ANY_BYTES) if log else None
            remote = {"remote": True} if _is_remote(place, meta) else {}
            text = {"text": _TEXTS[place.url]} if place.url in _TEXTS else {}
            artifacts = quote(place.url, errors=ANY_BYTES)
            runs.append({"name": name, "artifacts": artifacts, "log": log_url, **remote, **text})
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
    if TENSORS_NAME not in meta["artifacts"] or not path.is_file():
        return False
    # The page computes small networks itself, but no model whose counts are in this file.
    return "parameters" not in meta or path.stat().st_size > predictions.LARGEST_SENT


class Found(NamedTuple):
    """A file that is served, and its type."""

    path: Path
    type: str


def find_file(base_dir: Path, url: str) -> Found | None:
    """Return the file at an address (from its first slash on, not quoted), or None if nothing is served there."""
    if not url.startswith("/"):
        return None
    if page := page_files().get(url[1:] or "index.html"):
        return Found(page, PAGE_TYPES[page.suffix] + UTF_8)
    folder, _, name = url[1:].rpartition("/")
    path = _file_of_run(base_dir, f"{folder}/", name)
    if path is None:
        return None
    kind = DATA_TYPES.get(path.suffix)
    return Found(path, kind + UTF_8 if kind else "application/octet-stream")


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


class ExplorerServer(ReadOnlyServer):
    """A web server for the runs below one base directory; port 0 is any free port. OSError if the port is taken."""

    def __init__(self, base_dir: Path, port: int) -> None:
        self.base_dir = base_dir
        self.predictor = predictions.Predictor()
        super().__init__(_Handler, port)


class _Handler(ReadOnlyHandler):
    server: ExplorerServer

    def find(self, url: str, query: str) -> tuple[str, BinaryIO] | None:
        """Return the type and content of what is at an address; looked up each time, so new runs are shown too."""
        if url == f"/{INDEX_NAME}":
            return _as_json(runs_index(self.server.base_dir))
        if folder := _remote_run(self.server.base_dir, url):
            try:
                return _as_json(self.server.predictor.answer(folder, query))
            except InputError as error:
                raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error
            except predictions.BusyError as error:
                sentence = "Other predictions are being computed."
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, sentence) from error
        found = find_file(self.server.base_dir, url)
        return (found.type, found.path.open("rb")) if found else None


def _as_json(value: dict[str, Any]) -> tuple[str, BinaryIO]:
    text = json.dumps(value, ensure_ascii=False)
    return DATA_TYPES[".json"] + UTF_8, BytesIO(text.encode("utf-8", "replace"))


def open_server(base_dir: Path, port: int) -> ExplorerServer:
    """Return a server that listens on ``port`` or the next free one (0: any free one) and answers in serve_forever().

    InputError if there is no run to show, or no free port.
    """

    def make(candidate: int) -> ExplorerServer:
        return ExplorerServer(base_dir, candidate)

    index = runs_index(base_dir)
    if not index["runs"]:
        hint = f"{base_dir}: there is no run to show; train one first: toy-gpt train"
        raise InputError("; ".join([hint, *index["notes"]]))
    return open_port(make, port)


def serve(base_dir: Path, port: int, open_browser: bool) -> int:
    """Show the runs below a folder in a browser until Ctrl-C; return the exit code. Errors as in open_server."""
    return answer_until_stopped(open_server(base_dir, port), "explorer", open_browser)
