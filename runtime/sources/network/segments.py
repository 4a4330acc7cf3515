"""Play a stream of segments (HLS) at its own pace, and no frame of it twice."""

import threading
import time
from collections import deque
from typing import Final

import cv2
import numpy as np

from camrt.images import Image
from camrt.video_decoding.capture import Capture

_LATE_S: Final = 0.5
"""Frames that are later than this do not catch up: the stream goes on from there, evenly."""
_GAP_S: Final = 10.0
"""A larger step of the presentation times is a cut between two programmes, and no wait follows."""
_REMEMBERED: Final = 4096  # frames: two minutes at 30 fps, more than the segments that a server lists
_NEW: Final = 300  # frames of a new connection that were not shown; after these, none is looked up


class ShownFrames:
    """Frames that one source has shown, over all of its connections. A new connection begins some segments back."""

    def __init__(self) -> None:
        self._order: deque[int] = deque(maxlen=_REMEMBERED)

    def new_connection(self) -> "RepeatedFrames":
        """Return the test for the frames of a new connection."""
        return RepeatedFrames(self._order)


class RepeatedFrames:
    """Test whether frames of a connection were shown by an earlier one."""

    def __init__(self, order: deque[int]) -> None:
        self._order = order
        self._shown = set(order)
        self._last = order[-1] if order else None
        self._new = 0

    def was_shown(self, image: Image) -> bool:
        """Return whether an earlier connection has shown an image, and remember the image."""
        # A decoder gives the same pixels again, and two frames of a camera differ by noise.
        print_of_image = hash(np.ascontiguousarray(image[::8, ::8]).tobytes())
        if self._last is not None and self._new < _NEW:
            if print_of_image == self._last:  # from here on everything is new
                self._last = None
                return True
            if print_of_image in self._shown:
                return True
            self._new += 1
        self._order.append(print_of_image)
        return False


class Pace:
    """Times at which the frames of a stream are due, from their presentation times."""

    def __init__(self) -> None:
        self._shift_s: float | None = None
        self._last_s = 0.0

    def wait_s(self, time_s: float, now_s: float) -> float:
        """Return the seconds until a frame is due.

        Args:
            time_s: presentation time of the frame.
            now_s: the time now, of `time.monotonic`.
        """
        step_s, self._last_s = time_s - self._last_s, time_s
        if self._shift_s is None or step_s > _GAP_S or now_s - time_s - self._shift_s > _LATE_S:
            self._shift_s = now_s - time_s
        return max(0.0, time_s + self._shift_s - now_s)


class SegmentCapture:
    """A stream of segments with the methods of `cv2.VideoCapture`. `read` returns each frame when it is due."""

    def __init__(self, capture: Capture, repeated: RepeatedFrames, pause_s: float) -> None:
        """Take an open capture.

        Args:
            capture: gives frames as fast as it can; `release` releases it.
            repeated: the test for frames that were shown.
            pause_s: seconds without a frame that are no loss, beyond the source's time-out.
        """
        self.pause_s = pause_s
        self.get = capture.get
        self.release = capture.release
        self.remark = getattr(capture, "remark", "")
        """The decoder, half a sentence; empty if none was requested."""
        self._capture = capture
        self._repeated = repeated
        self._pace = Pace()
        self._interrupted = threading.Event()

    def read(self) -> tuple[bool, Image | None]:
        """Wait for the next frame and its time; False: the stream ended or was lost."""
        while not self._interrupted.is_set():
            more, image = self._capture.read()
            if not more:
                break
            if self._repeated.was_shown(image):
                continue
            time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
            self._interrupted.wait(self._pace.wait_s(time_s, time.monotonic()))
            return True, image
        return False, None

    def interrupt(self) -> None:
        """End the wait of another thread."""
        self._interrupted.set()
