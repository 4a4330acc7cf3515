"""Read a camera or stream that may be lost and come back; while it is lost, frames carry the reason."""

import random
import threading
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from camrt.errors import SourceError
from camrt.images import Image
from camrt.runtime.frames import Frame
from camrt.runtime.sources.live.capture_thread import CaptureThread

FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 30.0
JITTER: Final = 0.2
"""Random share by which a wait is longer or shorter, so that a dozen cameras do not reconnect at the same moment."""
# After this time with frames, the next loss starts with the shortest wait again.
_STABLE_S = 10.0
# The last frame before a loss has so much time to be classified: a frame without a signal would displace it, and some
# cameras end the connection after each picture.
_LAST_FRAME_S = 0.3
# A frame without a signal comes this often, because the wait counts down on the image.
_TICK_S = 1.0
_BLACK = (360, 640)


def back_off_s(failures: int) -> float:
    """Return the wait before the next attempt, in seconds, after ``failures`` failed attempts in a row."""
    wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(failures, 16))
    return wait_s * random.uniform(1 - JITTER, 1 + JITTER)


class ReconnectingSource:
    """A camera or network stream that is opened again whenever it is lost, until `close`.

    While the source is lost, `read` returns a frame soon and then one each second. It has the reason in
    ``Frame.lost`` and the last image that arrived. The thread that calls `read` does all of this. Each connection is a
    `CaptureThread` with a thread of its own. A new connection starts only when the thread of the old one has ended, so
    connections never pile up, and a device is free before it is opened again.
    """

    def __init__(self, connect: Callable[[], CaptureThread], first: CaptureThread, tell: Callable[[str], None]) -> None:
        """Take over the first connection.

        Args:
            connect: starts a new connection and returns at once.
            first: the first result of ``connect``; it may be open, still opening, or failed.
            tell: takes a line when the source delivers its first frame, is lost, or is back. The thread that reads
                calls it.
        """
        self.name = first.name
        self.live = True
        self.frame_count: int | None = None
        self.fps = first.fps
        self.problems: list[str] = []
        self.lost = ""
        """Why no frames come at the moment, and when the next attempt follows; empty while frames come."""
        self.losses = 0
        """Number of losses so far."""
        self.mode = first.mode
        """Codec, size and frame rate of the newest connection; empty before the first."""
        self._connect = connect
        self._tell = tell
        self._changing = threading.Lock()  # held by `close`, and while a connection is made
        self._connection: CaptureThread | None = first
        self._closed = threading.Event()
        self._reason = "no frame yet"
        self._flowing = False
        self._failures = 0
        self._image: Image = np.zeros((*_BLACK, 3), np.uint8)
        self._next = 0  # number of the next frame
        self._expected = 0  # number of the connection's next frame
        now_s = time.monotonic()
        self._since_s = now_s  # time of the last change between flowing and lost
        self._frame_s = now_s  # time of the last frame
        self._retry_s = now_s  # time of the next attempt
        self._tick_s = now_s  # time of the next frame without a signal

    def read(self) -> Frame | None:
        """Wait for a frame, or for the time of the next frame without a signal.

        Returns: the frame; None after `close`, or at the end of an HTTP address that turned out to be a video file.
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
                        frame = self._connection.read(0.0)  # it may have failed just after the wait: raise its error
                except SourceError as error:
                    self._give_up(str(error))
                else:
                    if frame is not None:
                        return self._forward(frame, self._connection)
                    if self._connection.ended or self._closed.is_set():
                        return None
                    if self._flowing:
                        self._lose(f"was lost: no frame for {self._connection.silence_s:g} s")
            if not self._flowing and not self._closed.is_set() and time.monotonic() >= self._tick_s:
                return self._without_signal()
        return None

    def close(self) -> None:
        """End any wait of `read`, and release the device as soon as OpenCV returns."""
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

    def _forward(self, frame: Frame, connection: CaptureThread) -> Frame:
        if not self._flowing:
            now_s = time.monotonic()
            self.mode = connection.mode
            self.fps = connection.fps if self.fps is None else self.fps
            back = f" is back after {now_s - self._since_s:.0f} s and" if self.losses else ""
            self._tell(f"{self.name}{back} gives {self.mode}")
            self.lost, self._flowing, self._since_s = "", True, now_s
        self._next += frame.index - self._expected  # frames that were never read count too
        self._expected = frame.index + 1
        self._image = frame.image
        self._frame_s = time.monotonic()
        return self._numbered(frame.image, frame.time_s)

    def _give_up(self, reason: str) -> None:
        """Drop the connection and set the time of the next attempt; each failure doubles the wait."""
        reason = reason.removeprefix(self.name).lstrip(": ")
        if self._flowing:
            self._lose(reason)
        self._reason = reason
        self._connection = None
        self._retry_s = time.monotonic() + back_off_s(self._failures)
        self._failures += 1

    def _lose(self, reason: str) -> None:
        if time.monotonic() - self._since_s >= _STABLE_S:
            self._failures = 0
        self._reason = reason
        self._flowing = False
        self.losses += 1
        self._since_s = time.monotonic()
        self._tick_s = max(self._since_s, self._frame_s + _LAST_FRAME_S)  # a frame without a signal follows then
        self._tell(f"{self.name} {reason}; reconnecting until it is back")

    def _without_signal(self) -> Frame:
        now_s = time.monotonic()
        self._tick_s = now_s + _TICK_S
        wait_s = self._retry_s - now_s
        attempt = "trying now" if self._connection is not None else f"trying again in {max(1, round(wait_s))} s"
        self.lost = f"{self._reason}; {attempt}"
        return self._numbered(self._image, time.time(), self.lost)

    def _numbered(self, image: Image, time_s: float, lost: str = "") -> Frame:
        self._next += 1
        return Frame(image, self._next - 1, time_s, self.name, lost)
