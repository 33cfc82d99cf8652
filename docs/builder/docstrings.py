"""The docstrings of the API pages: mkdocstrings knows this project's headings by other names."""

import re
from typing import Any

import griffe


class ReadableDocstrings(griffe.Extension):
    """Write docstrings as mkdocstrings understands them."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class or function."""
        if obj.docstring is not None:
            obj.docstring.value = docstring_markdown(obj.docstring.value)


def docstring_markdown(text: str) -> str:
    """Return a docstring with its examples and commands as code, and with a blank line before each list."""

    def listed(match: re.Match[str]) -> str:
        return "Concepts:\n" + re.sub(r"^ {4}(?=\S)", "- ", match[1], flags=re.MULTILINE)

    text = re.sub(r"^( *)Example:$", r"\1Examples:", text, flags=re.MULTILINE)
    text = re.sub(r"^Concepts:\n((?: {4}.*\n?)+)", listed, text, flags=re.MULTILINE)
    text = re.sub(r"^(?!- | )(.+)\n(?=- |REQ\b|WHY\b|OBS\b)", r"\1\n\n", text, flags=re.MULTILINE)
    text = re.sub(r"^Run it: (.+)$", r"Run it: `\1`", text, flags=re.MULTILINE)
    # WHY: to Markdown, an example outside of any section is a quotation of a quotation of a quotation.
    return re.sub(r"^>>> .*(?:\n.+)*", r"```pycon\n\g<0>\n```", text, flags=re.MULTILINE)
