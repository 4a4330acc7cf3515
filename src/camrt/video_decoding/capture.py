"""Captures: the methods of `cv2.VideoCapture`, and what the headers of streams and files state."""

import os
from typing import Any, Final, Protocol

import cv2

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
