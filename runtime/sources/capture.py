"""Open `cv2.VideoCapture` for streams, and read what the headers of streams and files state."""

import os
import time
from typing import Any, Final, Protocol

import cv2

from camrt.errors import SourceError
from camrt.images import Image
from camrt.runtime.sources.url import diagnose, redact

_OLDEST_PYAV: Final = 18
_SILENT: Final = 0  # LOG_LEVEL_SILENT
FASTEST_FPS: Final = 1000.0
"""A higher rate in a header is the rate of a clock (90000 is common), not a frame rate."""
DEFAULT_FPS: Final = 25.0
"""Frame rate of a video that states neither a rate nor times."""
MOST_DAMAGED: Final = 100
"""This many failures in a row are the end of a video. After fewer, reading goes on behind the damaged place."""


class Capture(Protocol):
    """The methods of `cv2.VideoCapture` that a source calls."""

    def read(self) -> tuple[bool, Any]:
        """Wait for the next image, uint8 (H, W, 3) BGR. False: the stream ended or was lost."""

    def get(self, propId: int, /) -> float:  # noqa: N803 - OpenCV's name
        """Return the property with this OpenCV number; 0 if it is not known."""

    def release(self) -> None:
        """Release the device or connection."""


def has_pyav() -> bool:
    """Return whether PyAV is installed, in a version that the decoder and the encoder need (extra ``video``)."""
    try:
        import av
    except ImportError:
        return False
    return int(av.__version__.partition(".")[0]) >= _OLDEST_PYAV


def quiet_decoders() -> None:
    """Silence the log of OpenCV and FFmpeg; errors and ``problems`` report what the user needs.

    The environment variables ``OPENCV_LOG_LEVEL`` and ``OPENCV_FFMPEG_LOGLEVEL`` turn the log on again.
    """
    if "OPENCV_LOG_LEVEL" not in os.environ:
        # The function has different names up to OpenCV 4.12 and from 4.13 on.
        set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
        set_level(_SILENT)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET; read when the first video is opened


class _JpegStream:
    """A stream of JPEGs, decoded here: FFmpeg in OpenCV would scale every image to the size of the first."""

    def __init__(self, capture: cv2.VideoCapture, read_timeout_s: float) -> None:
        self._capture = capture
        self._read_timeout_s = read_timeout_s
        self.get = capture.get
        self.release = capture.release

    def read(self) -> tuple[bool, Image | None]:
        until_s = time.monotonic() + self._read_timeout_s
        while time.monotonic() < until_s:  # images may keep arriving and all be damaged
            more, data = self._capture.read()
            if not more:
                break
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
            if image is not None:  # a damaged image is skipped
                return True, image  # type: ignore[return-value]
        return False, None


def open_url(url: str, open_timeout_s: float, read_timeout_s: float) -> Capture:
    """Open a network stream; give up after ``open_timeout_s`` seconds.

    Args:
        url: the address, with its credentials.
        open_timeout_s: seconds after which opening fails.
        read_timeout_s: seconds after which a read fails.

    Raises:
        SourceError: the address does not answer or gives no video. Neither the message nor its cause holds credentials.
    """
    # One decoder thread: FFmpeg's default is one per core, and every thread but the first delays the stream by one
    # frame. FFmpeg's options nobuffer and low_delay are not set: with nobuffer frames came 0.2 s later, not sooner;
    # low_delay made no difference on RTSP and dropped a quarter of a video's frames over HTTP. RTSP uses TCP if the
    # camera can (OpenCV's default since 4.5.5, opencv#21558); set OPENCV_FFMPEG_CAPTURE_OPTIONS for other cameras.
    parameters = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(open_timeout_s * 1000)),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(read_timeout_s * 1000)),
        *(cv2.CAP_PROP_N_THREADS, 1),
    ]
    start_s = time.monotonic()
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, parameters)
    if not capture.isOpened():
        timed_out = time.monotonic() - start_s >= 0.9 * open_timeout_s
        reason = f"no answer within {open_timeout_s:g} s" if timed_out else diagnose(url)
        raise SourceError(f"{redact(url)} cannot be opened: {reason}")
    stream = frame_count_of(capture) is None
    if stream and codec_of(capture) == "MJPG" and capture.set(cv2.CAP_PROP_FORMAT, -1):  # undecoded
        return _JpegStream(capture, read_timeout_s)
    return capture


def mode_of(capture: Capture) -> str:
    """Return codec, size and frame rate of a camera or stream: ``MJPG 1280x720 at 30 fps``. Unknown parts are left out.

    Sizes are in pixels.
    """
    width, height = (round(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    fps = fps_of(capture)
    return f"{codec_of(capture)} {width}x{height}{'' if fps is None else f' at {fps:g} fps'}".strip()


def codec_of(capture: Capture) -> str:
    """Return the four letters of a codec, upper case; empty if the capture states none."""
    letters = (int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF).to_bytes(4, "little")
    return letters.decode("ascii", "replace").strip(" \0").upper() if letters.isascii() else ""


def fps_of(capture: Capture) -> float | None:
    """Return the nominal frame rate; None if the header has none or an impossible one.

    Impossible are 0, negative numbers, NaN and the rate of a clock (above `FASTEST_FPS`).
    """
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if 0.0 < fps <= FASTEST_FPS else None


def frame_count_of(capture: Capture) -> int | None:
    """Return the number of frames that the header states; None if it is 0, negative or NaN, as for streams."""
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return round(count) if 0 < count < 2**31 else None


def shortfall(name: str, frames: int, last_s: float, expected: int | None, fps: float | None) -> str | None:
    """Report a video that ended earlier than its header states.

    A container without a frame count gets an estimate from its duration and rate. The estimate is a few frames off, or
    far off if the rate varies. So both the count and the time must fall short, by more than two frames and 2 %.

    Args:
        name: name of the video in the report.
        frames: number of frames that were read.
        last_s: time of the last frame, in seconds.
        expected: number of frames in the header.
        fps: nominal frame rate.

    Returns: a line for ``problems``; None if the video is complete.
    """
    if expected is None:
        return None
    least = expected - max(2.0, 0.02 * expected)
    if frames >= least or (fps is not None and last_s * fps >= least):
        return None
    return f"{name} stops after frame {frames} of {expected}: truncated or damaged?"
