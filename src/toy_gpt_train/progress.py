"""progress.py - How far a long run has come, for a person who waits.

A bar in a terminal or a notebook, plain lines elsewhere, nothing for what is over within a second. It writes to
standard error, so that standard output holds results only.
"""

import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib import import_module
from typing import Any, Final, TextIO

from toy_gpt_train.show import one_line

# Told the fraction done, from 0 to 1, and a few words. It may raise errors.StopTraining.
OnProgress = Callable[[float, str], None]

_PATIENCE_SECONDS: Final = 1.0
_REDRAW_SECONDS: Final = 0.1
_BAR_WIDTH: Final = 30


class Progress:
    """Shows how much of some work is done, by default in the notebook that runs this process, or on standard error.

    ``on_estimate`` is called once, after a second of work, with the seconds that it will take in all.
    """

    def __init__(
        self, title: str, stream: TextIO | None = None, on_estimate: Callable[[float], None] | None = None
    ) -> None:
        self._title = one_line(title)
        self._display = _notebook_display() if stream is None else None
        self._stream = stream or sys.stderr or io.StringIO()  # a program without a console has no standard error
        self._has_bar = self._display is not None or self._stream.isatty()
        self._start = self._last = time.monotonic()
        self._first: tuple[float, float] | None = None  # when it was told how far it is, and how far
        self._tenths_shown = 0
        self._shown: Any = None  # once the bar is drawn: in a notebook the bar, elsewhere its length
        self._on_estimate = on_estimate

    def update(self, fraction: float, status: str = "") -> None:
        """Show that ``fraction`` (0 to 1) of the work is done; cheap enough to call often."""
        now = time.monotonic()
        elapsed = now - self._start
        self._first = self._first or (now, fraction)
        if elapsed < _PATIENCE_SECONDS:
            return
        # WHY since then: a run that is resumed begins in the middle.
        began, base = self._first if fraction > self._first[1] else (self._start, 0.0)
        seconds_left = (now - began) * (1 - fraction) / (fraction - base) if 0 < fraction < 1 else 0.0
        left = f", {seconds_left:.0f} s left" if 0 < fraction < 1 else ""
        if self._on_estimate is not None and self._first[1] < fraction < 1:
            self.clear()  # WHY: the line may be for the same screen
            self._on_estimate(elapsed + seconds_left)
            self._on_estimate = None
        if self._has_bar:
            if now - self._last < _REDRAW_SECONDS:
                return
            filled = round(fraction * _BAR_WIDTH)
            bar = "#" * filled + "." * (_BAR_WIDTH - filled)
            self._draw(f"{self._title} [{bar}] {fraction:4.0%} {status}{left}")
        else:
            tenths = int(fraction * 10)
            if tenths <= self._tenths_shown:
                return
            self._tenths_shown = tenths
            self._write(f"{self._title} {tenths * 10}% {status}, {elapsed:.1f} s{left}\n")
        self._last = now

    def clear(self) -> None:
        """Take the bar off the terminal, so that a line can be written there; the next update draws it again."""
        if self._shown is not None and self._display is None:
            self._draw("")

    def close(self) -> None:
        """Take the bar off the screen; a notebook keeps its line, and says there how long it took."""
        if self._shown is not None:
            self._draw("" if self._display is None else f"{self._title}: {time.monotonic() - self._start:.1f} s")

    def _draw(self, line: str) -> None:
        if self._display is None:
            # WHY spaces too: a notebook that runs the command knows no code for erasing a line.
            blank = f"\r{' ' * self._shown}" if self._shown else ""
            self._write(f"{blank}\r{line}\033[K")
            self._shown = len(line)
        elif self._shown is None:
            self._shown = self._display({"text/plain": line}, raw=True, display_id=True)
        else:
            self._shown.update({"text/plain": line}, raw=True)

    def _write(self, text: str) -> None:
        with suppress(OSError):  # the work continues when nobody can watch it any more
            self._stream.write(text)
            self._stream.flush()


@contextmanager
def shown(progress: bool | OnProgress, title: str) -> Iterator[OnProgress | None]:
    """Yield the function to tell of progress: a bar's, the given one, or None."""
    if progress is True:
        with closing(Progress(title)) as bar:
            yield bar.update
    else:
        yield progress or None


def _notebook_display() -> Any:
    """Return IPython's display() in a notebook, where what is shown can be replaced, or None."""
    if "ipykernel" not in sys.modules or import_module("IPython").get_ipython() is None:
        return None
    return import_module("IPython.display").display
