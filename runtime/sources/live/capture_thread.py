"""Read one connection to a camera or network stream in a thread, and keep its newest frame."""

import threading
import time
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np

from camrt.errors import SourceError
from camrt.runtime.frames import Frame
from camrt.runtime.sources.network.url import redact_text
from camrt.video_decoding.capture import Capture, fps_of, frame_count_of, mode_of, shortfall

PATIENCE_S: Final = 5.0
"""Seconds to wait for a decoder beyond its own time-out, because it looks up host names without a time-out."""
# Most reads end within this time, so the device is free when `close` returns. A longer read ends in the background.
_JOIN_S = 0.5


class CaptureThread:
    """One connection to a camera or network stream, until it is lost.

    A decoder that waits for a frame can be neither interrupted nor released. So this class opens, reads and releases it
    in a thread of its own, and `wait` and `read` wait for that thread. `close` ends their wait at once. The thread ends
    later, at the decoder's own time-out, or at once if the capture has a method ``interrupt``. A capture may have
    ``pause_s``: seconds that may pass between two frames beyond the time-out.

    An HTTP address may be a video file. A file states its number of frames, and `read` returns each of them in order.
    """

    def __init__(
        self,
        name: str,
        open_capture: Callable[[], Capture],
        *,
        open_timeout_s: float,
        read_timeout_s: float,
        requested_mode: str = "",
    ) -> None:
        """Start the thread, which opens the connection; `wait` and `read` raise its errors.

        Args:
            name: name of the source, without credentials.
            open_capture: opens the connection in the thread; raises SourceError.
            open_timeout_s: seconds after which the decoder gives up opening.
            read_timeout_s: seconds after which the decoder gives up waiting for a frame.
            requested_mode: the mode that the camera was set to, in the format of ``mode``.
        """
        self.name = name
        self.live = True
        self.fps: float | None = None
        self.frame_count: int | None = None
        self.problems: list[str] = []
        self.mode = ""
        """Codec, size and frame rate: ``MJPG 1280x720 at 30 fps``; empty until the connection is open. The decoder
        follows if one was requested."""
        self.remark = ""
        """The decoder, half a sentence; empty if none was requested."""
        self.ended = False
        """The thread has ended: no more frames will come, and the device is free."""
        self._open_capture = open_capture
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        self._requested_mode = requested_mode
        self._changed = threading.Condition()  # guards the attributes below and ``ended``
        self._closed = False
        self._capture: Capture | None = None
        self._pause_s = 0.0
        self._error: SourceError | None = None
        self._newest: Frame | None = None
        self._thread = threading.Thread(target=self._run, name=f"read {name}", daemon=True)
        self._thread.start()

    @property
    def silence_s(self) -> float:
        """Seconds without a frame after which the decoder's own time-out has certainly failed."""
        return self._read_timeout_s + self._pause_s + PATIENCE_S

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait for the first frame: it shows that the source works, and whether it is live.

        Args:
            timeout_s: return after this many seconds without a frame; None: wait as long as opening and reading may
                take.

        Raises:
            SourceError: the connection cannot be opened; or, with ``timeout_s=None``, it did not answer in time.
        """
        patience_s = self._open_timeout_s + self.silence_s if timeout_s is None else timeout_s
        with self._changed:
            in_time = self._changed.wait_for(lambda: self.ended or self._newest is not None, patience_s)
            if self._newest is None and self._error is not None:
                raise self._error
        if not in_time and timeout_s is None:
            raise SourceError(f"{self.name} did not answer for {patience_s:g} s")

    def read(self, timeout_s: float | None = None) -> Frame | None:
        """Wait for a frame that was not read yet.

        Args:
            timeout_s: seconds to wait at most; None: `silence_s`.

        Returns: the frame; None at the end (``ended``), after `close`, or if no frame came within ``timeout_s``.

        Raises:
            SourceError: the connection could not be opened, or was lost; or, with ``timeout_s=None``, no frame came.
        """
        patience_s = self.silence_s if timeout_s is None else timeout_s
        with self._changed:
            in_time = self._changed.wait_for(lambda: self._closed or self.ended or self._newest is not None, patience_s)
            frame, self._newest = self._newest, None
            self._changed.notify_all()  # the thread of a file waits until its frame was read
            if frame is None and self._error is not None and not self._closed:
                raise self._error
        if not in_time and timeout_s is None:
            raise SourceError(f"{self.name} gave no frame for {patience_s:g} s")
        return frame

    def close(self) -> None:
        """End the waits, and release the device as soon as the decoder returns."""
        with self._changed:
            was_closed, self._closed = self._closed, True
            self._newest = None
            interrupt = getattr(self._capture, "interrupt", None)
            self._changed.notify_all()
        if not was_closed:
            if interrupt is not None:
                interrupt()
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        try:
            capture = self._open_capture()
            with self._changed:
                self._capture = capture
                self._pause_s = getattr(capture, "pause_s", 0.0)
            try:
                self._describe(capture)
                self._read_all(capture)
            finally:
                capture.release()
        except SourceError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001 - no failure may look like the end of a stream
            self._error = SourceError(f"{self.name} failed: {type(error).__name__}: {redact_text(str(error))}")
        finally:
            with self._changed:
                self.ended = True
                self._changed.notify_all()

    def _describe(self, capture: Capture) -> None:
        self.fps = fps_of(capture)
        self.frame_count = frame_count_of(capture)
        self.live = self.frame_count is None
        self.mode = mode_of(capture)
        if self._requested_mode and self._requested_mode != self.mode:
            self.mode += f" (requested: {self._requested_mode})"
        self.remark = getattr(capture, "remark", "")
        self.mode += f", {self.remark}" if self.remark else ""

    def _read_all(self, capture: Capture) -> None:
        frames, time_s = 0, 0.0
        while not self._closed:
            start_s = time.monotonic()
            try:
                more, image = capture.read()
            except SourceError as error:
                raise SourceError(f"{self.name} was lost: {error}") from error
            if not more:
                self._classify_end(frames, time_s, waited_s=time.monotonic() - start_s)
                return
            time_s = time.time() if self.live else capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
            frame = Frame(np.asarray(image, np.uint8), frames, time_s, self.name)
            frames += 1
            with self._changed:
                self._changed.wait_for(lambda: self.live or self._newest is None or self._closed)
                if self._closed:
                    return
                self._newest = frame
                self._changed.notify_all()

    def _classify_end(self, frames: int, time_s: float, waited_s: float) -> None:
        """Return at the end of a file; raise SourceError for a loss. A decoder reports both as a missing frame."""
        failure = getattr(self._capture, "failure", "")
        if frames == 0:
            reason = failure or "is it in use elsewhere, or not a video?"
            raise SourceError(f"{self.name} was opened but gave no frame; {reason}")
        if not self.live:
            missing = shortfall(self.name, frames, time_s, self.frame_count, self.fps)
            self.problems += [] if missing is None else [f"{missing} {failure}".strip()]
        elif waited_s >= 0.9 * self._read_timeout_s + self._pause_s:
            silence_s = self._read_timeout_s + self._pause_s
            raise SourceError(f"{self.name} was lost: no frame for {silence_s:g} s after {frames} frames")
        else:  # the server closed the connection, or the device was pulled out
            raise SourceError(f"{self.name} was lost: {failure or f'it ended after {frames} frames'}")
