"""build.py - Packs the built site, the package as a wheel, the corpora and a start script into one zip file.

The same site gives the same bytes: the files are sorted, and have a fixed time. The wheel and the corpora come from the
site, too: its playground has them.

It does not build the site.
"""

from pathlib import Path
from typing import Final
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

from toy_gpt_train.disk import whole_file
from toy_gpt_train.errors import InputError
from toy_gpt_train.files import read_json_object
from toy_gpt_train.kit.server import site_files
from toy_gpt_train.progress import OnProgress

_FOLDER: Final = "toy-gpt-kit"
_HERE: Final = Path(__file__).resolve().parent
_START: Final = ("README.txt", "start.bat", "start.py", "start.sh")
_ABOUT: Final = "playground/playground.json"
_CORPORA: Final = "playground/corpus/"
_SERVER: Final = "toy_gpt_train/kit/server.py"
_BUILD: Final = "uv run --group docs python docs/build.py"
_TIME: Final = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can say
_PROGRAM: Final = 0o100755  # the modes of a file
_PLAIN_FILE: Final = 0o100644


def write_kit(site: Path, out: Path, on_progress: OnProgress | None = None) -> int:
    """Write a kit as a zip file that appears when it is whole; return the number of its files.

    Args:
        site: The folder of the built site.
        out: The file to write; one that is there is replaced.
        on_progress: Told how much is packed.

    Raises:
        InputError: There is no built site, its playground needs a network, or it was built from an older package.
        OSError: A file cannot be read or written.
    """
    if out.resolve().is_relative_to(site.resolve()):
        raise InputError(f"{out}: is in the site's folder, and would be part of the next kit; choose another folder")
    contents = _contents(site)
    with whole_file(out) as file, ZipFile(file, "w", ZIP_DEFLATED) as kit:
        for number, (name, content) in enumerate(sorted(contents.items())):
            info = ZipInfo(f"{_FOLDER}/{name}", _TIME)
            info.compress_type = ZIP_DEFLATED
            info.create_system = 3  # Unix; WHY: otherwise it says which system wrote it, and modes are not kept
            info.external_attr = (_PROGRAM if name == "start.sh" else _PLAIN_FILE) << 16
            data = content.read_bytes()
            kit.writestr(info, data.replace(b"\n", b"\r\n") if name == "start.bat" else data)
            if on_progress is not None:
                on_progress((number + 1) / len(contents), name)
    return len(contents)


def _contents(site: Path) -> dict[str, Path]:
    """Return the files of a kit by name; InputError if the site cannot be used in a class without a network."""
    files = site_files(site)
    if not {"index.html", _ABOUT} <= files.keys():
        raise InputError(f"{site}: there is no built site in this folder; in a checkout, this builds one: {_BUILD}")
    about = read_json_object(files[_ABOUT])
    runtime, wheel = str(about.get("runtime")), str(about.get("wheel"))
    if f"playground/{runtime}pyodide.mjs" not in files:
        raise InputError(f"{site}: its playground needs a network: it has no Pyodide of its own at {runtime}")
    path = files.get(f"playground/{wheel}")
    if path is None or not _can_serve(path):
        raise InputError(f"{site}: it was built from an older package; build it again: {_BUILD}")
    return {
        **{name: _HERE / name for name in _START},
        **{f"site/{address}": file for address, file in files.items()},
        **{f"corpus/{a.removeprefix(_CORPORA)}": file for a, file in files.items() if a.startswith(_CORPORA)},
        wheel: path,
    }


def _can_serve(wheel: Path) -> bool:
    """Whether start.py finds in a wheel what it imports."""
    try:
        with ZipFile(wheel) as package:
            return _SERVER in package.namelist()
    except BadZipFile:
        return False
