"""progress.py - How far a long run has come, for a person who waits.

A bar on a terminal, plain lines elsewhere, and nothing at all for what is over within a second. It writes to
standard error, so that standard output holds results only.
"""

import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

# Told the fraction done, from 0 to 1, and a few words. It may raise errors.StopTraining.
OnProgress = Callable[[float, str], None]

_PATIENCE_SECONDS: Final = 1.0
_REDRAW_SECONDS: Final = 0.1
_BAR_WIDTH: Final = 30


class Progress:
    """Shows how much of some work is done.

    Args:
        title: What is being done.
        stream: Where to show it.

    Example:
        progress = Progress("training"); progress.update(0.25, "epoch 5/20") after a quarter of the work.
    """

    def __init__(self, title: str, stream: TextIO | None = None) -> None:
        self._title = title
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty()
        self._start = self._last = time.monotonic()
        self._tenths_shown = 0
        self._drawn = False

    def update(self, fraction: float, status: str = "") -> None:
        """Show that ``fraction`` (0 to 1) of the work is done; cheap enough to call often."""
        now = time.monotonic()
        elapsed = now - self._start
        if elapsed < _PATIENCE_SECONDS:
            return
        left = f", {elapsed * (1 - fraction) / fraction:.0f} s left" if 0 < fraction < 1 else ""
        if self._is_terminal:
            if now - self._last < _REDRAW_SECONDS:
                return
            filled = round(fraction * _BAR_WIDTH)
            bar = "#" * filled + "." * (_BAR_WIDTH - filled)
            self._stream.write(f"\r{self._title} [{bar}] {fraction:4.0%} {status}{left}\033[K")
            self._drawn = True
        else:
            tenths = int(fraction * 10)
            if tenths <= self._tenths_shown:
                return
            self._tenths_shown = tenths
            self._stream.write(f"{self._title} {tenths * 10}% {status}, {elapsed:.1f} s{left}\n")
        self._stream.flush()
        self._last = now

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._drawn:
            self._stream.write("\r\033[K")
            self._stream.flush()
