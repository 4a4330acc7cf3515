"""Cameras and network streams: the newest frame, whatever the pace of the reader."""

import threading
import time
from collections.abc import Callable
from typing import Final, Self

import cv2
import numpy as np

from camrt.errors import SourceError
from camrt.runtime.frames import Frame
from camrt.runtime.sources.address import redact
from camrt.runtime.sources.capture import fps_of, frame_count_of, open_camera, open_url, shortfall

PATIENCE_S: Final = 5.0
"""How much longer than its own time-out OpenCV is waited for: it looks up host names without one."""


class LiveSource:
    """A camera or network stream.

    A `cv2.VideoCapture` that waits for a frame can neither be interrupted nor released. So a thread of its own opens
    it, reads it and releases it, and `read` waits for that thread: `close` ends the wait at once, and the thread ends
    when OpenCV's own time-out lets it go.

    Over HTTP comes what is no stream but a file. It is known by its number of frames, and gives every frame in order.
    """

    def __init__(
        self,
        name: str,
        open_capture: Callable[[], cv2.VideoCapture],
        *,
        open_timeout_s: float,
        read_timeout_s: float,
        endless: bool,
    ) -> None:
        """Open the source and wait until it has answered. Most callers want `camera` or `url`.

        Args:
            name: what to call it, without credentials.
            open_capture: opens it; it runs in the thread, and raises SourceError.
            open_timeout_s: after how many seconds OpenCV gives up opening.
            read_timeout_s: after how many seconds OpenCV gives up waiting for a frame.
            endless: it ends only by being lost, as a camera does and a stream does not.

        Raises:
            SourceError: it cannot be opened.
        """
        self.name = name
        self.live = True
        self.fps: float | None = None
        self.frame_count: int | None = None
        self.problems: list[str] = []
        self._open_capture = open_capture
        self._read_timeout_s = read_timeout_s
        self._endless = endless
        self._news = threading.Condition()  # guards what follows
        self._opened = False
        self._ended = False
        self._closed = False
        self._error: SourceError | None = None
        self._newest: Frame | None = None
        self._thread = threading.Thread(target=self._run, name=f"read {name}", daemon=True)
        self._thread.start()
        try:
            self._wait_for(lambda: self._opened or self._ended, open_timeout_s, "did not answer")
        except BaseException:  # Ctrl-C too
            self.close()
            raise
        if self._error is not None:
            raise self._error

    @classmethod
    def camera(cls, device: int | str) -> Self:
        """Open a camera by number or device file. Raises: SourceError."""
        return cls(
            f"camera {device}" if isinstance(device, int) else device,
            lambda: open_camera(device),
            open_timeout_s=10.0,
            read_timeout_s=10.0,  # OpenCV's own for V4L2: OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT
            endless=True,
        )

    @classmethod
    def url(cls, url: str, *, open_timeout_s: float = 10.0, read_timeout_s: float = 5.0) -> Self:
        """Open a network stream.

        Args:
            url: its address, with credentials where it needs them.
            open_timeout_s: how long it may take to answer, in seconds.
            read_timeout_s: how long it may go without a frame before it counts as lost, in seconds.

        Raises:
            SourceError: it cannot be opened.
        """
        return cls(
            redact(url),
            lambda: open_url(url, open_timeout_s, read_timeout_s),
            open_timeout_s=open_timeout_s,
            read_timeout_s=read_timeout_s,
            endless=False,
        )

    def read(self) -> Frame | None:
        """Wait for a frame that was not read yet and return it; None at the end of the stream, or when closed.

        Raises:
            SourceError: the source was lost.
        """
        self._wait_for(
            lambda: self._closed or self._ended or self._newest is not None, self._read_timeout_s, "gave no frame"
        )
        with self._news:
            frame, self._newest = self._newest, None
            self._news.notify_all()  # a file waits until its frame was taken
            if frame is None and self._error is not None and not self._closed:
                raise self._error
            return frame

    def close(self) -> None:
        """End the wait of `read`, and let go of the device as soon as OpenCV does."""
        with self._news:
            self._closed = True
            self._newest = None
            self._news.notify_all()
        self._thread.join(timeout=1.0)

    def _wait_for(self, happened: Callable[[], bool], timeout_s: float, complaint: str) -> None:
        patience_s = timeout_s + PATIENCE_S
        with self._news:
            if not self._news.wait_for(happened, timeout=patience_s):
                raise SourceError(f"{self.name} {complaint} for {patience_s:g} s")

    def _run(self) -> None:
        try:
            capture = self._open_capture()
            try:
                self._announce(capture)
                self._read_all(capture)
            finally:
                capture.release()
        except SourceError as error:
            self._error = error
        except cv2.error as error:
            self._error = SourceError(f"{self.name}: OpenCV failed: {error}")
        finally:
            with self._news:
                self._ended = True
                self._news.notify_all()

    def _announce(self, capture: cv2.VideoCapture) -> None:
        with self._news:
            self.fps = fps_of(capture)
            self.frame_count = None if self._endless else frame_count_of(capture)
            self.live = self.frame_count is None
            self._opened = True
            self._news.notify_all()

    def _read_all(self, capture: cv2.VideoCapture) -> None:
        frames, time_s = 0, 0.0
        while True:
            asked_s = time.monotonic()
            more, image = capture.read()
            if not more:
                self._judge_end(frames, time_s, waited_s=time.monotonic() - asked_s)
                return
            time_s = time.time() if self.live else capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
            frame = Frame(np.asarray(image, np.uint8), frames, time_s, self.name)
            frames += 1
            with self._news:
                self._news.wait_for(lambda: self.live or self._newest is None or self._closed)
                if self._closed:
                    return
                self._newest = frame
                self._news.notify_all()

    def _judge_end(self, frames: int, time_s: float, waited_s: float) -> None:
        """Tell an end from a loss; OpenCV says of both only that there is no frame."""
        if frames == 0:
            raise SourceError(f"{self.name} was opened but gave no frame; is it in use elsewhere, or not a video?")
        if self._endless:
            raise SourceError(f"{self.name} was lost after frame {frames}; is it still plugged in?")
        if not self.live:
            missing = shortfall(self.name, frames, time_s, self.frame_count, self.fps)
            self.problems += [] if missing is None else [missing]
        elif waited_s >= 0.9 * self._read_timeout_s:
            # A server that ends its stream closes the connection; one that is gone lets it wait.
            raise SourceError(f"{self.name} was lost: no frame for {waited_s:.0f} s after frame {frames}")
