"""Read a video file, with PyAV (extra ``video``) if it is installed, else with OpenCV."""

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from camrt.errors import SourceError
from camrt.file_kind import kind_of
from camrt.images import Image
from camrt.video_decoding.capture import Capture, fps_of, frame_count_of, has_pyav, shortfall
from camrt.video_decoding.hardware_devices import SOFTWARE, software_remark


class FileCapture(Capture, Protocol):
    """A capture that tells why frames are missing."""

    damaged: int
    """Damaged frames since the newest one that `read` returned, or since the start."""
    lasts_s: float
    """Seconds that the newest frame is shown; 0: unknown."""
    failure: str
    """Reason why `read` returned False, half a sentence; empty at the regular end."""
    remark: str
    """The decoder, half a sentence; empty if none was requested. It may change during a read."""

    @property
    def reached_end(self) -> bool:
        """The end that the header states was read; False if that is not known."""

    @property
    def start_s(self) -> float | None:
        """Time at which the video starts, on the clock that it shares with its sound, in seconds."""

    @property
    def has_sound(self) -> bool | None:
        """The file has sound; None: unknown."""


class VideoFile:
    """Every image of a video file, in order, upright and with square pixels.

    With PyAV (extra ``video``), interlaced frames are deinterlaced, and each frame has the size that it has in the
    file. With OpenCV, interlaced frames are an error, and all frames have the size of the first.
    """

    def __init__(self, path: Path, name: str = "", *, decode: str = SOFTWARE) -> None:
        """Open a video file.

        Args:
            path: the file.
            name: name of the video in errors and problems; empty: the path.
            decode: the decoder, see `camrt.video_decoding.hardware_devices.choose_device`.

        Raises:
            SourceError: the file does not exist, is empty or truncated, or is not a video; or the named device does not
                decode it.
        """
        self._name = name or str(path)
        self._capture = _open(path, decode)
        self.fps = fps_of(self._capture)
        """Nominal frame rate; None if the header has none."""
        self.frame_count = frame_count_of(self._capture)
        """Number of frames that the header states; None if it states none."""
        self.start_s = self._capture.start_s or 0.0
        """Time at which the video starts, on the clock that it shares with its sound, in seconds."""
        self.has_sound = self._capture.has_sound
        """The file has sound; None: unknown."""
        self.problems: list[str] = []
        """One line about each damaged place and about an early end, as far as the file was read."""
        self.frames = 0
        """Number of frames that were read."""
        self.time_s = 0.0
        """Time of the newest frame since the start of the video, in seconds."""
        self.lasts_s = 0.0
        """Seconds that the newest frame is shown; 0: unknown."""
        self.ended = False
        """All frames were read."""

    def read(self) -> Image | None:
        """Return the next frame, uint8 (H, W, 3) BGR, or None at the end, which releases the file.

        Raises:
            SourceError: no frame could be decoded, or the decoder cannot convert one.
        """
        try:
            more, image = self._capture.read()
        except SourceError as error:
            self.close()
            raise SourceError(f"{self._name}: {error}") from error
        if self._capture.damaged:
            self.problems.append(
                f"{self._name}: {self._capture.damaged} damaged frames after {self.time_s:.2f} s were skipped"
            )
        if not more:
            self.ended = True
            self._end()
            return None
        self.time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
        self.lasts_s = self._capture.lasts_s
        self.frames += 1
        return np.asarray(image, np.uint8)

    @property
    def remark(self) -> str:
        """The decoder, half a sentence; empty if none was requested. It may change during a read."""
        return self._capture.remark

    def close(self) -> None:
        """Release the file. Not during a read, which would crash the process."""
        self._capture.release()

    def _end(self) -> None:
        failure, whole = self._capture.failure, self._capture.reached_end
        self.close()
        if self.frames == 0:
            raise SourceError(f"{self._name}: {failure or 'no frame can be decoded: the file is damaged or truncated'}")
        if failure:
            self.problems.append(f"{self._name} ends after frame {self.frames}: {failure}")
        missing = None if whole else shortfall(self._name, self.frames, self.time_s, self.frame_count, self.fps)
        self.problems += [] if missing is None else [missing]


def _open(path: Path, decode: str) -> FileCapture:
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
        return _open_decoder(path, decode)
    except SourceError as error:
        reason = str(error)
    if kind.kind == "other":
        reason = f"it is {kind.name}{kind.advice and f': {kind.advice}'}"
    else:
        reason += f" ({kind.name})"
    raise SourceError(f"{path} cannot be opened as a video ({size} bytes): {reason}")


def _open_decoder(path: Path, decode: str) -> FileCapture:
    if not has_pyav():
        from camrt.video_decoding.opencv_file import OpencvFile

        return OpencvFile(path, software_remark(decode))
    import av.error

    from camrt.video_decoding.pyav_capture import PyavCapture

    try:
        # Absolute, because FFmpeg takes the text before a colon for a protocol.
        return PyavCapture(str(path.absolute()), decode=decode)
    except av.error.FFmpegError as error:
        raise SourceError("it is truncated or damaged") from error
