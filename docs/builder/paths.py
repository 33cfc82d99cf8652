"""Where things lie."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"
PACKAGE_NAME: Final = "toy_gpt_train"
PACKAGE: Final = ROOT / "src" / PACKAGE_NAME
STORIES: Final = ROOT / "corpus" / "030_stories.txt"
# What may be made anew at any time, and is not committed.
CACHE: Final = ROOT / ".cache"
