"""What was run on a page, as Markdown: commands, scripts and statements, with what they printed.

Of long output only the beginning is shown at first. The result of a training run, which is at its end, stays too.
"""

import re
from typing import Final

from builder.commands import BLOCK, Block, Step, blocks_of, results

_LINES_SHOWN: Final = 6
_LINES_WORTH_HIDING: Final = 3
_RESULT: Final = re.compile(r"(?:result|final) +\S")


def run_blocks(markdown: str) -> str:
    """Return a page with each block of commands or Python replaced by what it shows.

    Raises:
        RuntimeError: A command or a statement failed.
    """
    blocks = blocks_of(markdown)
    shown = map(_shown, blocks, results(blocks))
    return BLOCK.sub(lambda _: next(shown), markdown)


def _shown(block: Block, steps: list[Step]) -> str:
    """Return a block as Markdown."""
    if block.kind == "session":
        return _session(steps)
    if block.kind == "script":
        [(code, printed)] = steps
        command = _fence("console command", f"uv run python {block.name}")
        return "\n\n".join([_fence("python", code, block.name), command, *output(printed)])
    parts = (
        part for asked, printed in steps for part in (_fence("console command", f"uv run {asked}"), *output(printed))
    )
    return "\n\n".join(parts)


def _session(steps: list[Step]) -> str:
    """Return statements as a session at Python's prompt; long output gets a block of its own, to be folded."""
    parts: list[str] = []
    lines: list[str] = []
    for asked, printed in steps:
        first, *others = asked.splitlines()
        lines += [f">>> {first}", *(f"... {other}" for other in others)]
        shown = output(printed)
        if len(shown) > 1:
            parts += [_fence("pycon", "\n".join(lines)), *shown]
            lines = []
        else:
            lines += printed.splitlines()
    return "\n\n".join(parts + ([_fence("pycon", "\n".join(lines))] if lines else []))


def output(printed: str, title: str = "") -> list[str]:
    """Return what was printed, or a file of it, as Markdown: its first lines, those to unfold, and its result."""
    lines = printed.rstrip().splitlines()
    if not lines:
        return []
    end = next((number for number, line in enumerate(lines) if _RESULT.match(line)), len(lines))
    if end - _LINES_SHOWN < _LINES_WORTH_HIDING:
        return [_fence("text output", "\n".join(lines), title)]
    first, folded, result = lines[:_LINES_SHOWN], lines[_LINES_SHOWN:end], lines[end:]
    return [
        _fence("text output", "\n".join(first), title),
        '<details class="more" markdown="1">',
        f"<summary>{len(folded)} more lines</summary>",
        _fence("text output", "\n".join(folded)),
        "</details>",
        *([_fence("text output", "\n".join(result))] if result else []),
    ]


def _fence(classes: str, text: str, title: str = "") -> str:
    """Return a fenced block of a language and further classes."""
    language, *others = classes.split()
    names = f"{{ .{language} {' '.join(f'.{name}' for name in others)}" if others else language
    heading = f' title="{title}"' if title else ""
    return f"~~~~~~~~{names}{heading}{' }' if others else ''}\n{text}\n~~~~~~~~"
