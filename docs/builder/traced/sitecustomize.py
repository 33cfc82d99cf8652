"""Writes down which files of the repository an interpreter reads; builder/kept.py starts interpreters with this.

Python imports a module of this name when it starts, so that interpreters which a command starts are traced too.
"""

import os
import sys
from contextlib import suppress
from importlib.util import source_from_cache


def trace(notes: str, root: str) -> None:
    """Add each path below ``root`` that is opened or listed from now on to the file ``notes``, one per line."""
    file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    known = set()

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event not in ("open", "os.listdir", "os.scandir") or not isinstance(arguments[0], str | os.PathLike):
            return
        if event == "os.listdir" and "importlib" in sys._getframe(1).f_code.co_filename:
            return  # WHY: an import lists folders, but what matters is the module that it reads
        path = os.path.realpath(arguments[0])
        if path.endswith(".pyc"):
            with suppress(ValueError):  # of other programs' caches
                path = source_from_cache(path)
        if path.startswith(root) and path not in known:
            known.add(path)
            os.write(file, os.fsencode(f"{path}\n"))

    sys.addaudithook(note)


if "TOY_GPT_NOTES" in os.environ:
    trace(os.environ["TOY_GPT_NOTES"], os.environ["TOY_GPT_ROOT"] + os.sep)
