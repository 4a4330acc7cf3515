"""Where frames come from: cameras, network streams, video files, pictures, and a scene that is rendered here."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from camrt.errors import SourceError, UsageError
from camrt.images import IMAGE_SUFFIXES, is_image
from camrt.runtime.frames import Source
from camrt.runtime.sources import devices
from camrt.runtime.sources.capture import Capture, open_url, quiet_decoders
from camrt.runtime.sources.capture_thread import CaptureThread
from camrt.runtime.sources.images import ImageSource
from camrt.runtime.sources.paths import VIDEO_SUFFIXES, files_in_folder, files_of_glob
from camrt.runtime.sources.reconnecting import ReconnectingSource
from camrt.runtime.sources.synthetic import Scene, SyntheticSource
from camrt.runtime.sources.url import SCHEMES, redact
from camrt.runtime.sources.video import VideoSource

__all__ = ["open_source"]

KINDS = (
    "a camera number (0), /dev/video0, a picture, a folder or quoted glob of pictures, a video file, "
    "an rtsp, rtmp or http address, 'picamera2', 'gst:' and a GStreamer pipeline, or 'synthetic'"
)

_OPEN_S = 10.0
_READ_S = 5.0
# OpenCV's own for V4L2 is OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT, 10 s.
_READ_CAMERA_S = 10.0
# How long one of several sources may keep the others from starting.
_PATIENCE_S = 3.0


def open_source(text: str, *, patient: bool = False, tell: Callable[[str], None] = lambda line: None) -> Source:
    """Open what a user calls a source.

    A camera or a stream is opened again whenever it is lost; meanwhile its frames say so (`Frame.lost`).

    Args:
        text: a camera's number or device, the path of a picture, a folder of pictures or a video, a glob, an address
            (rtsp, rtmp, http), ``picamera2``, ``gst:`` and a GStreamer pipeline, or ``synthetic`` for the scene that
            is rendered here.
        patient: a camera or stream that does not answer is no error but one that is lost: for one of several sources.
        tell: is given a line when a camera or stream is there and what it gives, is lost, or is back. It is called by
            the thread that reads.

    Returns: the source, opened: a camera has given a frame, a video's header was read. The caller closes it.

    Raises:
        UsageError: the text names nothing that can be a source.
        SourceError: it does, but it is not there or cannot be opened.
        MissingExtra: what reads it is not installed.
    """
    quiet_decoders()
    if not text:
        raise UsageError(f"the source is empty; it can be {KINDS}")
    if text == "synthetic":
        return SyntheticSource(Scene(seed=0))
    if (connect := _live(text)) is not None:
        return _open_live(connect, patient, tell)
    path = Path(text)
    if path.is_dir():
        pictures, problems = files_in_folder(path)
        return ImageSource(pictures, name=text, problems=problems)
    if path.exists():
        return _file(path)
    if any(character in text for character in "*?["):
        return _glob(text)
    raise SourceError(f"there is no {text} (looked for {path.absolute()}); a source can be {KINDS}")


def _open_live(connect: Callable[[], CaptureThread], patient: bool, tell: Callable[[str], None]) -> Source:
    first = connect()
    try:
        first.wait(_PATIENCE_S if patient else None)
    except SourceError:
        if not patient:
            first.close()
            raise
    except BaseException:  # Ctrl-C
        first.close()
        raise
    return ReconnectingSource(connect, first, tell) if first.live else first


def _live(text: str) -> Callable[[], CaptureThread] | None:
    """Return what begins to open a camera or a stream; None: the text names neither. Raises: UsageError."""
    if text.isascii() and text.isdecimal():
        return partial(_camera, int(text))
    if text == "picamera2":
        picamera2 = devices.import_picamera2()
        return partial(_connection, text, lambda: devices.Picamera(picamera2, _READ_S))
    if text.startswith("gst:"):
        pipeline = text.removeprefix("gst:").strip()
        devices.check_gstreamer(pipeline)
        name = f"gst:{pipeline.split()[0]}"  # what follows may hold a password
        return partial(_connection, name, lambda: devices.open_gstreamer(name, pipeline, _OPEN_S, _READ_S))
    if scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text):
        if scheme[1].lower() not in SCHEMES:
            known = ", ".join(SCHEMES)
            raise UsageError(f"{redact(text)}: addresses of {scheme[1]}:// cannot be read; known are {known}")
        return partial(_connection, redact(text), lambda: open_url(text, _OPEN_S, _READ_S))
    if Path(text).is_char_device() or text.startswith("/dev/video"):
        return partial(_camera, text)
    return None


def _camera(device: int | str) -> CaptureThread:
    return CaptureThread(
        f"camera {device}" if isinstance(device, int) else device,
        lambda: devices.open_camera(device),
        open_timeout_s=_OPEN_S,
        read_timeout_s=_READ_CAMERA_S,
        asked=devices.ASKED,
    )


def _connection(name: str, open_capture: Callable[[], Capture]) -> CaptureThread:
    return CaptureThread(name, open_capture, open_timeout_s=_OPEN_S, read_timeout_s=_READ_S)


def _file(path: Path) -> Source:
    suffix = path.suffix.lower()
    if not path.is_file():
        raise SourceError(f"{path} is neither a file nor a folder; a source can be {KINDS}")
    if is_image(path):
        return ImageSource([path], name=str(path))
    if suffix in VIDEO_SUFFIXES:
        return VideoSource(path)
    raise UsageError(
        f"{path}: {f'the suffix {suffix}' if suffix else 'no suffix, so it'} tells neither picture nor video; "
        f"pictures end in {' '.join(sorted(IMAGE_SUFFIXES))}, videos in {' '.join(sorted(VIDEO_SUFFIXES))}"
    )


def _glob(pattern: str) -> Source:
    pictures, videos, problems = files_of_glob(pattern)
    if pictures:
        return ImageSource(pictures, name=pattern, problems=problems)
    if len(videos) == 1:
        return VideoSource(videos[0])
    raise UsageError(f"{pattern} matches {len(videos)} videos; each is a source of its own, so name one")
