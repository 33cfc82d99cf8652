"""Modules of the explorer as one plain script: a page that is opened as a file cannot load modules.

Each module becomes a function that is called once; what it exported is then in ``toyGpt``: ``toyGpt.sampling.softmax``.
"""

import re
from typing import Final

from builder.paths import PACKAGE

CORE: Final = PACKAGE / "view" / "core"
_IMPORT: Final = re.compile(r'^import (\{.+?\}) from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=(?:function|class|const) (\w+))", re.MULTILINE)
# WHY indents too: a reader of the page waits for these bytes.
_COMMENT: Final = re.compile(r"^ *(?://.*|/\*\*(?:.|\n)*?\*/)\n|^\n|^ +", re.MULTILINE)


def bundle(*names: str) -> str:
    r"""Return the modules of these names, and those that they import, as a script.

    Raises:
        RuntimeError: A module imports or exports in a way that is not known here.

    Example:
        >>> bundle("json").startswith("globalThis.toyGpt = {};\ntoyGpt.json = (() => {\nfunction isObject(value) {")
        True
    """
    done: dict[str, str] = {}

    def add(name: str) -> None:
        if name in done:
            return
        source = (CORE / f"{name}.js").read_text(encoding="utf-8")
        for _, imported in _IMPORT.findall(source):
            add(imported)
        exported = ", ".join(_EXPORT.findall(source))
        body = _IMPORT.sub(r"const \1 = toyGpt.\2;\n", _EXPORT.sub("", _COMMENT.sub("", source)))
        several = any(line.count("`") % 2 for line in source.splitlines())  # text over several lines keeps its indents
        if several or re.search(r"^(?:import|export)\b|\bimport\(|\bas \w+ \}", body, re.MULTILINE):
            raise RuntimeError(f"{name}.js imports or exports in a way that cannot be bundled")
        done[name] = f"toyGpt.{name} = (() => {{\n{body}return {{ {exported} }};\n}})();\n"

    for name in names:
        add(name)
    return "globalThis.toyGpt = {};\n" + "".join(done.values())
