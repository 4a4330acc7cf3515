"""Rate of events: frames per second."""

import time
from collections import deque
from typing import Final

_WINDOW: Final = 30
_STALE_S: Final = 2.0
"""After this time without an event the rate is 0."""


class RateMeter:
    """Events per second over the last 30 events."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=_WINDOW)

    def count(self) -> None:
        """Count one event, now."""
        self._times_s.append(time.monotonic())

    def rate(self) -> float | None:
        """Return the rate in events per second; None: fewer than two events yet; 0: none came for a while."""
        if len(self._times_s) < 2:
            return None
        if time.monotonic() - self._times_s[-1] > _STALE_S:
            return 0.0
        return (len(self._times_s) - 1) / max(self._times_s[-1] - self._times_s[0], 1e-9)
