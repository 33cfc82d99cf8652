"""start.py - Show the pages of this folder in a browser: python start.py (--help lists the options).

It needs Python 3.11 or newer and nothing else: the package is imported from the wheel beside this file, and nothing is
installed or written.
"""

# WHY no newer syntax: an old Python must get as far as the sentence that names the Python it needs.
import sys
from pathlib import Path

if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - here it is not known yet
        raise SystemExit("This kit needs Python 3.11 or newer, and this is Python " + sys.version.split()[0])
    here = Path(__file__).resolve().parent
    # A wheel is a zip file, and Python imports from those, too.
    sys.path.insert(0, str(next(here.glob("*.whl"))))

    from toy_gpt_train.kit.server import main

    raise SystemExit(main(here / "site"))
