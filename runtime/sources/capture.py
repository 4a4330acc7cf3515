"""`cv2.VideoCapture`, opened the way each kind of source needs it."""

import glob
import os
import sys
import time
from pathlib import Path
from typing import Final

import cv2

from camrt.errors import SourceError
from camrt.runtime.sources.address import redact, why_not

_SILENT: Final = 0  # LOG_LEVEL_SILENT
FASTEST_FPS: Final = 1000.0
"""A header that states more than this holds a clock's rate (90000 is common), not a frame rate."""


def quiet_decoders() -> None:
    """Keep OpenCV's and FFmpeg's own remarks off the terminal: what matters is told by errors and ``problems``.

    ``OPENCV_LOG_LEVEL`` and ``OPENCV_FFMPEG_LOGLEVEL`` still bring them back.
    """
    if "OPENCV_LOG_LEVEL" not in os.environ:
        # Up to OpenCV 4.12 it is the one, from 4.13 on the other.
        set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
        set_level(_SILENT)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET; read when the first video is opened


def open_camera(device: int | str) -> cv2.VideoCapture:
    """Open a camera by number or device file.

    Raises:
        SourceError: there is none, or it cannot be opened; the message says which there are.
    """
    if sys.platform == "linux":
        path = Path(f"/dev/video{device}" if isinstance(device, int) else device)
        if not path.exists():
            found = ", ".join(sorted(glob.glob("/dev/video*"))) or "none"  # noqa: PTH207 - Path cannot glob "/dev/v*"
            raise SourceError(f"no camera {device} ({path}); found: {found}. Plug it in, or name another with --source")
        if not os.access(path, os.R_OK | os.W_OK):
            raise SourceError(
                f"camera {path} may not be opened by this user; add the user to its group (often 'video')"
            )
        capture = cv2.VideoCapture(str(path), cv2.CAP_V4L2)
    else:
        capture = cv2.VideoCapture(device, cv2.CAP_ANY)
    if not capture.isOpened():
        raise SourceError(f"camera {device} cannot be opened; another program may hold it, or it is no video device")
    # Raw YUYV is all that USB has room for at 5 to 10 fps; MJPG must be asked for before the size (opencv#9540).
    # A camera without it keeps its own format, and takes the nearest size it has.
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, 1280)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, 720)
    capture.set(cv2.CAP_PROP_FPS, 30)
    return capture


def open_url(url: str, open_timeout_s: float, read_timeout_s: float) -> cv2.VideoCapture:
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


def fps_of(capture: cv2.VideoCapture) -> float | None:
    """Return the nominal frame rate; None where the header has none or nonsense: 0, negative, NaN, a clock's rate."""
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if 0.0 < fps <= FASTEST_FPS else None


def frame_count_of(capture: cv2.VideoCapture) -> int | None:
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
