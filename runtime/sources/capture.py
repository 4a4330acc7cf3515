"""`cv2.VideoCapture`, opened the way each kind of source needs it."""

import os
import time
from pathlib import Path
from typing import Any, Final, Protocol

import cv2

from camrt.errors import SourceError
from camrt.images import Image
from camrt.runtime.sources.url import redact, why_not

_SILENT: Final = 0  # LOG_LEVEL_SILENT
FASTEST_FPS: Final = 1000.0
"""A header that states more than this holds a clock's rate (90000 is common), not a frame rate."""


class Capture(Protocol):
    """What a source needs of `cv2.VideoCapture`, and of what stands in for it."""

    def read(self) -> tuple[bool, Any]:
        """Wait for the next picture, uint8 (H, W, 3) BGR; False: there is none, it ended or was lost."""

    def get(self, propId: int, /) -> float:  # noqa: N803 - OpenCV's name
        """Return a property by its number in OpenCV; 0 where it has none."""

    def release(self) -> None:
        """Let go of the device or connection."""


def quiet_decoders() -> None:
    """Keep OpenCV's and FFmpeg's own remarks off the terminal: what matters is told by errors and ``problems``.

    ``OPENCV_LOG_LEVEL`` and ``OPENCV_FFMPEG_LOGLEVEL`` still bring them back.
    """
    if "OPENCV_LOG_LEVEL" not in os.environ:
        # Up to OpenCV 4.12 it is the one, from 4.13 on the other.
        set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
        set_level(_SILENT)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET; read when the first video is opened


class _Jpegs:
    """A stream of JPEGs, decoded here: OpenCV's FFmpeg would scale every picture to the size of the first."""

    def __init__(self, capture: cv2.VideoCapture, read_timeout_s: float) -> None:
        self._capture = capture
        self._read_timeout_s = read_timeout_s
        self.get = capture.get
        self.release = capture.release

    def read(self) -> tuple[bool, Image | None]:
        until_s = time.monotonic() + self._read_timeout_s
        while time.monotonic() < until_s:  # pictures may come all the while, and none of them be whole
            more, data = self._capture.read()
            if not more:
                break
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
            if image is not None:  # a picture that arrived damaged is passed over
                return True, image  # type: ignore[return-value]
        return False, None


def open_url(url: str, open_timeout_s: float, read_timeout_s: float) -> Capture:
    """Open a network stream, and fail after ``open_timeout_s`` rather than wait for ever.

    Raises:
        SourceError: it does not answer, or is not a video. Neither the message nor its cause holds the credentials.
    """
    # One decoder thread: FFmpeg's default, one a core, holds back one frame for each thread but the first. Its options
    # nobuffer and low_delay are left alone: the first came out 0.2 s later here, not sooner, the second made no
    # difference on RTSP and dropped a quarter of a video's frames over HTTP. RTSP goes over TCP where the camera can
    # (OpenCV's default since 4.5.5, opencv#21558); OPENCV_FFMPEG_CAPTURE_OPTIONS is there for a camera that differs.
    parameters = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(open_timeout_s * 1000)),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(read_timeout_s * 1000)),
        *(cv2.CAP_PROP_N_THREADS, 1),
    ]
    asked_s = time.monotonic()
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, parameters)
    if not capture.isOpened():
        in_vain = time.monotonic() - asked_s >= 0.9 * open_timeout_s
        reason = f"no answer within {open_timeout_s:g} s" if in_vain else why_not(url)
        raise SourceError(f"{redact(url)} cannot be opened: {reason}")
    stream = frame_count_of(capture) is None
    if stream and _codec_of(capture) == "MJPG" and capture.set(cv2.CAP_PROP_FORMAT, -1):  # undecoded
        return _Jpegs(capture, read_timeout_s)
    return capture


def open_file(path: Path) -> cv2.VideoCapture:
    """Open a video file, turned upright as its header asks.

    Raises:
        SourceError: it is empty, truncated, or no video.
    """
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    if size == 0:
        raise SourceError(f"{path} is empty (0 bytes); copy or record it again")
    # Absolute: FFmpeg takes what stands before a colon for a protocol.
    capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise SourceError(f"{path} cannot be opened as a video ({size} bytes): it is truncated, or it is not one")
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # the default has changed between versions
    return capture


def gives(capture: Capture) -> str:
    """Return what a camera or stream gives, as in ``MJPG 1280x720 at 30 fps``, as far as it says so."""
    width, height = (round(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    fps = fps_of(capture)
    return f"{_codec_of(capture)} {width}x{height}{'' if fps is None else f' at {fps:g} fps'}".strip()


def _codec_of(capture: Capture) -> str:
    """Return the four letters of a codec, upper case; empty where there are none."""
    letters = (int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF).to_bytes(4, "little")
    return letters.decode("ascii", "replace").strip(" \0").upper() if letters.isascii() else ""


def fps_of(capture: Capture) -> float | None:
    """Return the nominal frame rate; None where the header has none or nonsense: 0, negative, NaN, a clock's rate."""
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if 0.0 < fps <= FASTEST_FPS else None


def frame_count_of(capture: Capture) -> int | None:
    """Return how many frames the header promises; None where it does not: 0, negative or NaN, as for streams."""
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return round(count) if 0 < count < 2**31 else None


def shortfall(name: str, frames: int, last_s: float, promised: int | None, fps: float | None) -> str | None:
    """Tell whether a video ended before its header said it would.

    Containers without a count of frames have it estimated from duration and rate, which is a few frames off, or far
    off where the rate varies. So both the count and the time must fall short, by more than two frames and 2 %.

    Args:
        name: what the line shall call the video.
        frames: how many frames were read.
        last_s: time of the last one, in seconds.
        promised: how many frames the header promised.
        fps: nominal frame rate.

    Returns: a line for ``problems``, or None.
    """
    if promised is None:
        return None
    least = promised - max(2.0, 0.02 * promised)
    if frames >= least or (fps is not None and last_s * fps >= least):
        return None
    return f"{name} stops after frame {frames} of {promised}: truncated or damaged?"
