"""One connection to a camera or network stream: the newest frame, whatever the pace of the reader."""

import threading
import time
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np

from camrt.errors import SourceError
from camrt.runtime.frames import Frame
from camrt.runtime.sources.capture import Capture, fps_of, frame_count_of, gives, shortfall

PATIENCE_S: Final = 5.0
"""How much longer than its own time-out OpenCV is waited for: it looks up host names without one."""
# Most reads end within it, and the device is free when `close` returns; one that waits is left behind.
_JOIN_S = 0.5


class CaptureThread:
    """A camera or network stream, until it is lost.

    A `cv2.VideoCapture` that waits for a frame can neither be interrupted nor released. So a thread of its own opens
    it, reads it and releases it, and `wait` and `read` wait for that thread: `close` ends their wait at once, and the
    thread ends when OpenCV's own time-out lets it go.

    Over HTTP comes what is no stream but a file. It is known by its number of frames, and gives every frame in order.
    """

    def __init__(
        self,
        name: str,
        open_capture: Callable[[], Capture],
        *,
        open_timeout_s: float,
        read_timeout_s: float,
        asked: str = "",
    ) -> None:
        """Begin to open it; `wait` or `read` say what came of that.

        Args:
            name: what to call it, without credentials.
            open_capture: opens it; it runs in the thread, and raises SourceError.
            open_timeout_s: after how many seconds OpenCV gives up opening.
            read_timeout_s: after how many seconds OpenCV gives up waiting for a frame.
            asked: what the camera was asked to give, worded as ``gives`` is.
        """
        self.name = name
        self.live = True
        self.fps: float | None = None
        self.frame_count: int | None = None
        self.problems: list[str] = []
        self.gives = ""
        """Codec, size and rate, as in ``MJPG 1280x720 at 30 fps``; empty until it is open."""
        self.ended = False
        """The thread is done: nothing more will come, and the device is free."""
        self._open_capture = open_capture
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        self._asked = asked
        self._news = threading.Condition()  # guards what follows, and ``ended``
        self._closed = False
        self._error: SourceError | None = None
        self._newest: Frame | None = None
        self._thread = threading.Thread(target=self._run, name=f"read {name}", daemon=True)
        self._thread.start()

    @property
    def silence_s(self) -> float:
        """How long to wait for a frame before it is certain that OpenCV does not even give up, in seconds."""
        return self._read_timeout_s + PATIENCE_S

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the first frame is there: only then is it known what this is, and that it works.

        Args:
            timeout_s: return after so many seconds all the same; None: what opening and reading may take.

        Raises:
            SourceError: it cannot be opened, or, without ``timeout_s``, did not answer.
        """
        patience_s = self._open_timeout_s + self.silence_s if timeout_s is None else timeout_s
        with self._news:
            came = self._news.wait_for(lambda: self.ended or self._newest is not None, patience_s)
            if self._newest is None and self._error is not None:
                raise self._error
        if not came and timeout_s is None:
            raise SourceError(f"{self.name} did not answer for {patience_s:g} s")

    def read(self, timeout_s: float | None = None) -> Frame | None:
        """Wait for a frame that was not read yet.

        Args:
            timeout_s: how many seconds at most; None: until it is certain that OpenCV will not even give up.

        Returns: the frame; None at the end (``ended``), after `close`, or when none came within ``timeout_s``.

        Raises:
            SourceError: it could not be opened, or was lost.
        """
        patience_s = self.silence_s if timeout_s is None else timeout_s
        with self._news:
            came = self._news.wait_for(lambda: self._closed or self.ended or self._newest is not None, patience_s)
            frame, self._newest = self._newest, None
            self._news.notify_all()  # a file waits until its frame was taken
            if frame is None and self._error is not None and not self._closed:
                raise self._error
        if not came and timeout_s is None:
            raise SourceError(f"{self.name} gave no frame for {patience_s:g} s")
        return frame

    def close(self) -> None:
        """End the waits, and let go of the device as soon as OpenCV does."""
        with self._news:
            again, self._closed = self._closed, True
            self._newest = None
            self._news.notify_all()
        if not again:
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        try:
            capture = self._open_capture()
            try:
                self._describe(capture)
                self._read_all(capture)
            finally:
                capture.release()
        except SourceError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001 - whatever it was must not look like the end of a stream
            self._error = SourceError(f"{self.name} failed: {type(error).__name__}: {error}")
        finally:
            with self._news:
                self.ended = True
                self._news.notify_all()

    def _describe(self, capture: Capture) -> None:
        self.fps = fps_of(capture)
        self.frame_count = frame_count_of(capture)
        self.live = self.frame_count is None
        self.gives = gives(capture)
        if self._asked and self._asked != self.gives:
            self.gives += f", asked for {self._asked}"

    def _read_all(self, capture: Capture) -> None:
        frames, time_s = 0, 0.0
        while not self._closed:
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
        if not self.live:
            missing = shortfall(self.name, frames, time_s, self.frame_count, self.fps)
            self.problems += [] if missing is None else [missing]
        elif waited_s >= 0.9 * self._read_timeout_s:
            raise SourceError(f"{self.name} was lost: no frame for {waited_s:.0f} s after {frames} frames")
        else:  # a server that ends its stream closes the connection; a device that is pulled out does so too
            raise SourceError(f"{self.name} was lost: it ended after {frames} frames")
