"""Times of a stream that may have none, or several clocks. Needs PyAV (extra ``video``)."""

from typing import Final

import av

_TS_DISCONT: Final = 0x0200  # AVFMT_TS_DISCONT: the container allows a new clock within a file, as MPEG-TS does
# FFmpeg's own programs take a longer step forward in such a file for a new clock.
_LONGEST_GAP_S: Final = 10.0
_SMALLEST_JUMP_S: Final = 1.0  # back; a shorter one is a frame in the wrong order


class StreamClock:
    """Times of the frames or packets of a stream, in seconds: its own, without the jumps of a file that was joined."""

    def __init__(self, start_s: float | None, container: "av.container.InputContainer") -> None:
        """Start a clock.

        Args:
            start_s: time of the file that becomes 0; None: that of the first frame.
            container: the file.
        """
        self._start_s = start_s
        self._longest_s = _LONGEST_GAP_S if container.format.flags & _TS_DISCONT else float("inf")
        self._last_s: float | None = None

    def next_s(self, stamp_s: float | None, step_s: float) -> float:
        """Return the time of the next frame or packet.

        Args:
            stamp_s: its time in the file; None: it has none.
            step_s: usual distance from the one before.
        """
        expected_s = 0.0 if self._last_s is None else self._last_s + step_s
        if stamp_s is None:
            self._last_s = expected_s
            return expected_s
        if self._start_s is None:
            self._start_s = stamp_s
        time_s = stamp_s - self._start_s
        if self._last_s is not None and not -_SMALLEST_JUMP_S < time_s - self._last_s < self._longest_s:
            self._start_s += time_s - expected_s
            time_s = expected_s
        self._last_s = time_s
        return time_s
