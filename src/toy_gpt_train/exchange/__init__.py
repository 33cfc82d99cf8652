"""exchange/ - Models for the software of the field, and from it: one file per format, the reader beside the writer.

A format's module has ``write(run, out)``, which returns the paths it wrote, and ``read(path)``, which returns a run.
Either may be missing: not every format is read here, and none can say everything. What a format cannot say is refused
with the reason.

It knows runs as files hold them (SavedRun), and no command line.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.artifacts.run_folder import SavedRun
from toy_gpt_train.disk import is_stream
from toy_gpt_train.errors import InputError

# What --to names, and the module.
FORMATS: Final = {"hf": "huggingface", "gguf": "gguf", "arpa": "arpa"}


def export_run(run: SavedRun, to: str, out: Path) -> list[Path]:
    """Write a model in a format, all of it or nothing; return the paths.

    Raises:
        InputError: There is no such format, it cannot say what this model is, or something has that name already.
        OSError: Something could not be written.
    """
    if (out.exists() or out.is_symlink()) and not is_stream(out):
        raise InputError(f"{out}: is there already; choose another name")
    write: Callable[[SavedRun, Path], list[Path]] = _module(to).write
    return write(run, out)


def import_run(path: Path) -> SavedRun:
    """Read a model that other software wrote: a folder of Hugging Face, or an ARPA file.

    Raises:
        InputError: It is neither, it is damaged, or this project has no such model.
        OSError: It cannot be read.
    """
    read: Callable[[Path], SavedRun] = _module("hf" if path.is_dir() else "arpa").read
    return read(path)


def _module(name: str) -> Any:
    if name not in FORMATS:
        raise InputError(f"unknown format {name!r:.40}; there are {', '.join(FORMATS)}")
    return import_module(f"{__name__}.{FORMATS[name]}")
