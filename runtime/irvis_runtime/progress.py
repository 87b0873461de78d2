"""One line that shows how far a long thing is: redrawn on a terminal, printed now and then into a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType


class Progress:
    """Counts steps towards `total` on stderr; a context manager, closed by a newline.

    On a terminal the line is redrawn ten times a second; elsewhere a new line is printed every 15 seconds.
    """

    def __init__(self, label: str, total: int, start: int = 0) -> None:
        self.label, self.total, self.done = label, total, start
        self._start, self._first = time.monotonic(), start
        self._is_terminal = sys.stderr.isatty()
        self._drawn_at = 0.0 if self._is_terminal else self._start
        self._note = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_terminal or kind is None:
            self._draw()
        if self._is_terminal:
            sys.stderr.write("\n")

    def step(self, note: str = "", count: int = 1) -> None:
        """Adds `count` steps; `note` is a short text behind the numbers."""
        self.done += count
        self._note = note
        now = time.monotonic()
        if now - self._drawn_at >= (0.1 if self._is_terminal else 15.0):
            self._drawn_at = now
            self._draw()

    def _draw(self) -> None:
        elapsed_s = time.monotonic() - self._start
        rate = (self.done - self._first) / elapsed_s if elapsed_s > 0 else 0.0
        is_running = rate > 0 and self.done < self.total
        left = f", {_clock((self.total - self.done) / rate)} left" if is_running else ""
        text = f"{self.label} {self.done}/{self.total} ({_clock(elapsed_s)}{left}) {self._note}".rstrip()
        sys.stderr.write(f"\r\x1b[K{text}" if self._is_terminal else f"{text}\n")
        sys.stderr.flush()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
