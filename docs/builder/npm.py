"""Files of npm packages: the libraries that pages use, and those that check them.

docs/package.json has the bounds. What is installed lies in .cache/ and is never committed; a page gets a copy of the
files that it needs.
"""

import shutil
import subprocess
from functools import cache
from pathlib import Path

from builder.paths import CACHE, DOCS

_LIST = "package.json"


@cache
def packages() -> Path:
    """Return the folder of the installed packages; they are installed where the list of them has changed.

    Raises:
        RuntimeError: There is no npm, or it cannot install them.
    """
    folder = CACHE / "npm"
    wanted = (DOCS / _LIST).read_bytes()
    done = folder / "installed.json"
    if not done.is_file() or done.read_bytes() != wanted:
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError("npm (of Node.js) is needed to build the site: it brings the libraries of its pages")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _LIST).write_bytes(wanted)
        # WHY no scripts: the files are all that is needed, and a package's scripts may run anything.
        options = ["--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        command = [npm, "install", *options]
        done_by_npm = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
        if done_by_npm.returncode != 0:
            raise RuntimeError(f"npm cannot install the packages of docs/{_LIST}: {done_by_npm.stderr.strip()}")
        done.write_bytes(wanted)
    return folder / "node_modules"


def package_file(name: str, path: str) -> Path:
    """Return a file of a package.

    Args:
        name: The package.
        path: The file in it.

    Raises:
        RuntimeError: There is no such file.
    """
    file = packages() / name / path
    if not file.is_file():
        raise RuntimeError(f"the npm package {name} has no file {path}; do its bounds in docs/{_LIST} fit?")
    return file
