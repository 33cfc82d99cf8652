"""Build hooks of the docs site: what a page shows is run, read or drawn when the site is built, never pasted.

In a page's Markdown, a fenced block ```` ```run ```` holds commands, one per line, and ```` ```session ```` holds
Python statements; each becomes what was run, with its real output. All blocks of a page share one folder, with the
repository's corpus/, src/ and benchmarks/ and a copy of artifacts/ladder/ in it; each session starts anew.
builder/directives.py lists what else a page may ask for.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

sys.path.insert(0, str(Path(__file__).parent))  # WHY: mkdocs loads a hook by its path

from builder import commands, directives, site_files, slides

PLAYGROUND = "playground/index.html"
CHART_SCRIPTS = (*site_files.CHART_LIBRARIES, "assets/charts.js")


class ReadableDocstrings(griffe.Extension):
    """Write docstrings as the API page needs them: mkdocstrings knows this project's headings by other names."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class or function."""
        if obj.docstring is not None:
            obj.docstring.value = _docstring_markdown(obj.docstring.value)


def _docstring_markdown(text: str) -> str:
    """Return a docstring with its ``Example`` as a section of code, and with a blank line before each list."""

    def listed(match: re.Match[str]) -> str:
        return "Concepts:\n" + re.sub(r"^ {4}(?=\S)", "- ", match[1], flags=re.MULTILINE)

    text = re.sub(r"^( *)Example:$", r"\1Examples:", text, flags=re.MULTILINE)
    text = re.sub(r"^Concepts:\n((?: {4}.*\n?)+)", listed, text, flags=re.MULTILINE)
    return re.sub(r"^(?!- | )(.+)\n(?=- |REQ\b|WHY\b|OBS\b)", r"\1\n\n", text, flags=re.MULTILINE)


@event_priority(100)
def on_config(config: MkDocsConfig) -> None:
    """Give the extension above to mkdocstrings, before it reads its options."""
    options = config.plugins["mkdocstrings"].config["handlers"]["python"]["options"]
    options["extensions"] = [f"{__file__}:{ReadableDocstrings.__name__}"]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what the site has besides its pages: the explorer, the playground, the libraries.

    Where ONLY_PAGES names pages, for example ``lessons/200-bigram.md``, the others are left out: for writing them.
    """
    if only := os.environ.get("ONLY_PAGES", "").split():
        for file in files.documentation_pages():
            if file.src_uri not in only:
                files.remove(file)
    for name, content in site_files.all_files(config.extra["playground_runtime"]):
        source = {"abs_src_path": str(content)} if isinstance(content, Path) else {"content": content}
        files.append(File.generated(config, name, **source))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Run the blocks of a page, and replace its directives."""
    playground = get_relative_url(PLAYGROUND, page.url)
    return directives.expand(commands.run_blocks(markdown), playground)


def on_page_content(html: str, page: Page, **_: Any) -> str:
    """Add the scripts that draw charts to a page that has one."""
    if "data-chart=" not in html:
        return html
    return html + "".join(f'<script defer src="{get_relative_url(name, page.url)}"></script>' for name in CHART_SCRIPTS)


def on_post_build(config: MkDocsConfig) -> None:
    """Cut the lessons into slides."""
    slides.write_slides(Path(config.site_dir))
