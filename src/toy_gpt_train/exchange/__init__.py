"""exchange/ - Models for the software of the field, and from it: one file per format, the reader beside the writer.

A format's module has ``write(run, out)``, which returns the paths it wrote, and ``read(path)``, which returns a run.
Either may be missing: not every format is read here, and none can express everything. What a format cannot
express is refused with the reason.

It knows runs as files hold them (SavedRun), and no command line.
"""

import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from toy_gpt_train.artifacts.run_folder import SavedRun, find_artifacts, holds_run, read_run
from toy_gpt_train.disk import is_stream
from toy_gpt_train.errors import InputError, InputWarning

# What --to names, and the module.
FORMATS: Final = {"hf": "huggingface", "gguf": "gguf", "arpa": "arpa"}


def open_run(path: Path, *, strict: bool) -> SavedRun:
    """Read a run of this project, or else a model of other software; an InputWarning says if a run is of an older kind.

    Raises:
        InputError: A file is missing or damaged, or has changed and ``strict`` refuses that.
        OSError: A file cannot be read.
    """
    artifacts = find_artifacts(path)
    is_foreign = path.suffix == ".arpa" or (path / "config.json").is_file()
    if is_foreign and not holds_run(artifacts):  # WHY: a config.json may be of something else in the folder
        return import_run(path)
    saved = read_run(artifacts, strict=strict)
    if "origin" in saved.meta and "sha256" not in saved.meta:
        warnings.warn(saved.meta["origin"], InputWarning, stacklevel=3)
    return saved


def export_run(run: SavedRun, to: str, out: Path) -> list[Path]:
    """Write a model in a format, all of it or nothing; return the paths.

    Raises:
        InputError: There is no such format, it cannot express this model, or something has that name already.
        OSError: Something could not be written.
    """
    if (out.exists() or out.is_symlink()) and not is_stream(out):
        raise InputError(f"{out}: already exists; choose another name")
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
