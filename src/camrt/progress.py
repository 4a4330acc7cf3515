"""Progress bar on standard error. Needs only Python."""

import sys
import time
from typing import TextIO

_WIDTH = 30
_PERIOD_S = 0.2


class Progress:
    """A bar with rate and remaining time. It prints nothing if standard error is not a terminal."""

    def __init__(self, total: int | None, unit: str, stream: TextIO | None = None, *, after_s: float = 0.0) -> None:
        """Begin to count.

        Args:
            total: number of units of the whole work; None: unknown.
            unit: name of the units, in the plural.
            stream: where the bar goes; None: standard error.
            after_s: seconds after which the bar appears; it never does if the work takes less.
        """
        self.total = total
        """Number of units of the whole work; it may change."""
        self._unit = unit
        self._stream = stream or sys.stderr
        self._shown = self._stream.isatty()
        self._start = time.perf_counter()
        self._after_s = after_s
        self._last = 0.0
        self._done = 0

    def step(self) -> None:
        """Count one unit."""
        self._done += 1
        now = time.perf_counter()
        if self._shown and now - self._last >= _PERIOD_S and now - self._start >= self._after_s:
            self._last = now
            self._stream.write(f"\r{self.line(now - self._start)}\x1b[K")
            self._stream.flush()

    def close(self) -> None:
        """Print the final bar and a line break."""
        seconds = time.perf_counter() - self._start
        if self._shown and seconds >= self._after_s:
            self._stream.write(f"\r{self.line(seconds)}\x1b[K\n")
            self._stream.flush()

    def line(self, seconds: float) -> str:
        """Return the bar after ``seconds`` of work."""
        rate = self._done / seconds if seconds > 0 else 0.0
        speed = f"{rate:.1f} {self._unit}/s"
        if not self.total:
            return f"{self._done} {self._unit}  {speed}"
        share = min(1.0, self._done / self.total)
        bar = "#" * round(_WIDTH * share)
        left = f"{_clock((self.total - self._done) / rate)} left" if rate and share < 1.0 else _clock(seconds)
        return f"[{bar:<{_WIDTH}}] {self._done}/{self.total} {self._unit}  {speed}  {left}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
