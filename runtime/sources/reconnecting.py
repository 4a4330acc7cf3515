"""A camera that may be lost and come back: frames while it is there, and why there are none while it is not."""

import random
import threading
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from camrt.errors import SourceError
from camrt.images import Image
from camrt.runtime.frames import Frame
from camrt.runtime.sources.capture_thread import CaptureThread

FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 30.0
JITTER: Final = 0.2
"""Share by which a wait is longer or shorter by chance, so that a dozen cameras do not ask a switch at once."""
_STEADY_S = 10.0
# How often it is said anew that there is no signal: the wait counts down on the picture.
_TICK_S = 1.0
_BLACK = (360, 640)


def back_off_s(failures: int) -> float:
    """Return how long to wait before the next attempt, in seconds, after ``failures`` in a row without success."""
    wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(failures, 16))
    return wait_s * random.uniform(1 - JITTER, 1 + JITTER)


class ReconnectingSource:
    """A camera or network stream that is opened again whenever it is lost, until `close`.

    While it is lost `read` gives, at once and then each second, a frame that says so (``Frame.lost``), with the last
    picture that came. All of that happens in the thread that reads; each connection is a `CaptureThread`, with a thread
    of its own, and a new one is opened only when the old one's thread has ended: they never pile up, and a device is
    free before it is opened again.
    """

    def __init__(self, connect: Callable[[], CaptureThread], first: CaptureThread, tell: Callable[[str], None]) -> None:
        """Take over the first connection.

        Args:
            connect: begins to open it anew; does not wait.
            first: one that ``connect`` has made, open or not, or failed.
            tell: is given a line when the camera is there, is lost, or is back; it is called by the thread that reads.
        """
        self.name = first.name
        self.live = True
        self.frame_count: int | None = None
        self.fps = first.fps
        self.problems: list[str] = []
        self.lost = ""
        """Why there are no frames at the moment, and what is being done; empty while they come."""
        self.losses = 0
        """How often it was lost."""
        self.gives = first.gives
        """Codec, size and rate of the newest connection; empty before the first."""
        self._connect = connect
        self._tell = tell
        self._changing = threading.Lock()  # between `close` and a connection that is being made
        self._connection: CaptureThread | None = first
        self._closed = threading.Event()
        self._reason = "no picture yet"
        self._flowing = False
        self._failures = 0
        self._image: Image = np.zeros((*_BLACK, 3), np.uint8)
        self._next = 0  # number of the next frame
        self._expected = 0  # number of the connection's next frame
        # By the monotonic clock:
        now_s = time.monotonic()
        self._since_s = now_s  # frames come, or do not
        self._retry_s = now_s
        self._tick_s = now_s

    def read(self) -> Frame | None:
        """Wait for a frame, or for the time to say that there is none.

        Returns: the frame; None after `close`, or at the end of what came over HTTP and turned out to be a file.
        """
        while not self._closed.is_set():
            if self._connection is None:
                self._closed.wait(max(0.0, min(self._retry_s, self._tick_s) - time.monotonic()))
                if time.monotonic() >= self._retry_s:
                    self._reconnect()
            else:
                try:
                    frame = self._connection.read(self._patience_s(self._connection))
                    if frame is None and self._connection.ended:
                        frame = self._connection.read(0.0)  # it may have ended, and why, just after the time was up
                except SourceError as error:
                    self._give_up(str(error))
                else:
                    if frame is not None:
                        return self._arrived(frame, self._connection)
                    if self._connection.ended or self._closed.is_set():
                        return None
                    if self._flowing:
                        self._lose(f"was lost: no frame for {self._connection.silence_s:g} s")
            if not self._flowing and not self._closed.is_set() and time.monotonic() >= self._tick_s:
                return self._without_signal()
        return None

    def close(self) -> None:
        """End the wait of `read`, whatever it waits for, and let go of the device as soon as OpenCV does."""
        with self._changing:
            self._closed.set()
            connection = self._connection
        if connection is not None:
            connection.close()

    def _patience_s(self, connection: CaptureThread) -> float:
        return connection.silence_s if self._flowing else max(0.0, self._tick_s - time.monotonic())

    def _reconnect(self) -> None:
        with self._changing:
            if not self._closed.is_set():
                self._connection = self._connect()
                self._expected = 0

    def _arrived(self, frame: Frame, connection: CaptureThread) -> Frame:
        if not self._flowing:
            now_s = time.monotonic()
            self.gives = connection.gives
            self.fps = connection.fps if self.fps is None else self.fps
            back = f" is back after {now_s - self._since_s:.0f} s and" if self.losses else ""
            self._tell(f"{self.name}{back} gives {self.gives}")
            self.lost, self._flowing, self._since_s = "", True, now_s
        self._next += frame.index - self._expected  # those that were never read count too
        self._expected = frame.index + 1
        self._image = frame.image
        return self._numbered(frame.image, frame.time_s)

    def _give_up(self, reason: str) -> None:
        """The connection is over: wait before the next one, the longer the more of them failed."""
        reason = reason.removeprefix(self.name).lstrip(": ")
        if self._flowing:
            self._lose(reason)
        self._reason = reason
        self._connection = None
        self._retry_s = time.monotonic() + back_off_s(self._failures)
        self._failures += 1

    def _lose(self, reason: str) -> None:
        if time.monotonic() - self._since_s >= _STEADY_S:
            self._failures = 0
        self._reason = reason
        self._flowing = False
        self.losses += 1
        self._since_s = self._tick_s = time.monotonic()  # to be said at once
        self._tell(f"{self.name} {reason}; it is tried again until it is back")

    def _without_signal(self) -> Frame:
        now_s = time.monotonic()
        self._tick_s = now_s + _TICK_S
        wait_s = self._retry_s - now_s
        doing = "trying now" if self._connection is not None else f"trying again in {max(1, round(wait_s))} s"
        self.lost = f"{self._reason}; {doing}"
        return self._numbered(self._image, time.time(), self.lost)

    def _numbered(self, image: Image, time_s: float, lost: str = "") -> Frame:
        self._next += 1
        return Frame(image, self._next - 1, time_s, self.name, lost)
