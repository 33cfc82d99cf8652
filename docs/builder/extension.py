"""The Markdown extension of the docs site: what a page shows is run, read or drawn when the site is built, not pasted.

mkdocs.yml names it among its Markdown extensions, as ``builder.extension``: so it works with any generator that renders
by Python-Markdown. In a page's Markdown, fenced blocks of the languages ``run``, ``script`` and ``session`` are run
(commands.py), directives are replaced (directives.py), and the first use of a term leads to the glossary (glossary.py).
A lesson gets a link to its notebook (notebooks.py).
"""

import posixpath
from typing import Any, Final
from xml.etree.ElementTree import Element

from markdown import Extension, Markdown
from markdown.postprocessors import Postprocessor
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor

from builder import code_blocks, directives, glossary, transcripts

_PLAYGROUND: Final = "playground/index.html"


class PagesExtension(Extension):
    """Expands pages; docstrings, which mkdocstrings renders with the same extensions, stay as they are."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - its name in Python-Markdown
        """Register what changes a page: its Markdown, the tree of its elements, its HTML."""
        md.preprocessors.register(_Expand(md), "toy_gpt_expand", 100)  # before everything else
        md.treeprocessors.register(
            _Terms(md), "toy_gpt_terms", 6
        )  # after inline Markdown, before anchors are collected
        md.postprocessors.register(_CodeBlocks(md), "toy_gpt_code", 5)  # after HTML was put back in its place


class _Expand(Preprocessor):
    def run(self, lines: list[str]) -> list[str]:
        page = page_of(self.md)
        if page is None:
            return lines
        playground = relative(_PLAYGROUND, page)
        if page.startswith("lessons/") and "## The idea" in lines:
            lines = _with_notebook(lines, page)
        try:
            return transcripts.run_blocks(directives.expand("\n".join(lines), playground)).split("\n")
        except Exception as error:
            raise RuntimeError(f"docs/{page}: {error}") from error


def _with_notebook(lines: list[str], page: str) -> list[str]:
    """Return a lesson with a link to its notebook above its first part."""
    start = lines.index("## The idea")
    address = relative(page.replace("lessons/", "notebooks/").replace(".md", ".ipynb"), page)
    return [*lines[:start], f"[This lesson as a notebook]({address}){{ .notebook download }}", "", *lines[start:]]


class _Terms(Treeprocessor):
    def run(self, root: Element) -> None:
        page = page_of(self.md)
        if page == glossary.PAGE:
            glossary.add_anchors(root)
        elif page is not None:
            glossary.add_links(root, page, relative(glossary.PAGE, page))


class _CodeBlocks(Postprocessor):
    def run(self, text: str) -> str:
        return text if page_of(self.md) is None else code_blocks.with_lines(text)


def page_of(md: Markdown) -> str | None:
    """Return the page that is being rendered, as a path below docs/; None where there is none, as for a docstring."""
    processors: Any = md.treeprocessors
    if "mkdocstrings_ids" in processors:
        return None
    if "relpath" in processors:  # MkDocs
        return str(processors["relpath"].file.src_uri)
    if "rendering_context" in md.preprocessors:  # Zensical
        context: Any = md.preprocessors["rendering_context"]
        return str(context.page.path)
    return None


def relative(address: str, page: str) -> str:
    """Return an address below docs/ as seen from a page.

    Example:
        >>> relative("playground/index.html", "lessons/200-bigram.md")
        '../playground/index.html'
    """
    return posixpath.relpath(address, posixpath.dirname(page) or ".")


def makeExtension(**_: Any) -> PagesExtension:  # noqa: N802 - its name in Python-Markdown
    """Return the extension."""
    return PagesExtension()
