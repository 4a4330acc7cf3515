"""Read every frame of a video file, in order."""

import threading
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from camrt.errors import SourceError
from camrt.file_kind import kind_of
from camrt.runtime.frames import Frame, Sound
from camrt.runtime.sources.decoding.capture import Capture, fps_of, frame_count_of, has_pyav, shortfall


class FileCapture(Capture, Protocol):
    """A capture that tells why frames are missing."""

    damaged: int
    """Damaged frames since the newest one that `read` returned, or since the start."""
    lasts_s: float
    """Seconds that the newest frame is shown; 0: unknown."""
    failure: str
    """Reason why `read` returned False, half a sentence; empty at the regular end."""

    @property
    def reached_end(self) -> bool:
        """The end that the header states was read; False if that is not known."""

    @property
    def start_s(self) -> float | None:
        """Time at which the video starts, on the clock that it shares with its sound, in seconds."""

    @property
    def has_sound(self) -> bool | None:
        """The file has sound; None: unknown."""


class VideoSource:
    """Every frame of a video file, in order, upright and with square pixels.

    With PyAV (extra ``video``), interlaced frames are deinterlaced, and each frame has the size that it has in the
    file. With OpenCV, interlaced frames are an error, and all frames have the size of the first.
    """

    live = False

    def __init__(self, path: Path, *, name: str = "") -> None:
        """Open a video file.

        Args:
            path: the file.
            name: name of the source; empty: the path.

        Raises:
            SourceError: the file does not exist, is empty or truncated, or is not a video.
        """
        self.name = name or str(path)
        self._capture = open_video(path)
        self.fps = fps_of(self._capture)
        self.frame_count = frame_count_of(self._capture)
        self.problems: list[str] = []
        self._ended = False
        has_sound = self._capture.has_sound
        self.sound: Sound | None = None
        """The sound of the file; None: it has none."""
        if has_sound is not False:
            start_s = self._capture.start_s or 0.0
            self.sound = Sound(path, start_s, lambda: self._ended, certain=has_sound is not None)
        self._frames = 0
        self._time_s = 0.0
        self._closed = False
        self._reading = threading.Lock()  # releasing a capture during a read crashes the process

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end. ``problems`` lists damaged places and an early end.

        Raises:
            SourceError: no frame could be decoded, or the decoder cannot convert one.
        """
        with self._reading:
            if self._closed:
                return None
            try:
                more, image = self._capture.read()
            except SourceError as error:
                self._release()
                raise SourceError(f"{self.name}: {error}") from error
            if self._capture.damaged:
                self.problems.append(
                    f"{self.name}: {self._capture.damaged} damaged frames after {self._time_s:.2f} s were skipped"
                )
            if not more:
                self._ended = True
                self._end()
                return None
            self._time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
            self._frames += 1
            image = np.asarray(image, np.uint8)
            return Frame(image, self._frames - 1, self._time_s, self.name, lasts_s=self._capture.lasts_s)

    def close(self) -> None:
        """Release the file as soon as the current read is done."""
        with self._reading:
            self._release()

    def _end(self) -> None:
        failure, whole = self._capture.failure, self._capture.reached_end
        self._release()
        if self._frames == 0:
            raise SourceError(f"{self.name}: {failure or 'no frame can be decoded: the file is damaged or truncated'}")
        if failure:
            self.problems.append(f"{self.name} ends after frame {self._frames}: {failure}")
        missing = None if whole else shortfall(self.name, self._frames, self._time_s, self.frame_count, self.fps)
        self.problems += [] if missing is None else [missing]

    def _release(self) -> None:
        self._closed = True
        self._capture.release()


def open_video(path: Path) -> FileCapture:
    """Open a video file, with PyAV if it is installed.

    Raises:
        SourceError: the file cannot be read, is empty or truncated, or is not a video.
    """
    try:
        size = path.stat().st_size
        kind = kind_of(path)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    if size == 0:
        raise SourceError(f"{path} is empty (0 bytes); copy or record it again")
    try:
        return _open_decoder(path)
    except SourceError as error:
        reason = str(error)
    if kind.kind == "other":
        reason = f"it is {kind.name}{kind.advice and f': {kind.advice}'}"
    else:
        reason += f" ({kind.name})"
    raise SourceError(f"{path} cannot be opened as a video ({size} bytes): {reason}")


def _open_decoder(path: Path) -> FileCapture:
    if not has_pyav():
        from camrt.runtime.sources.decoding.opencv_file import OpencvFile

        return OpencvFile(path)
    import av.error

    from camrt.runtime.sources.decoding.pyav_capture import PyavCapture

    try:
        # Absolute, because FFmpeg takes the text before a colon for a protocol.
        return PyavCapture(str(path.absolute()))
    except av.error.FFmpegError as error:
        raise SourceError("it is truncated or damaged") from error
