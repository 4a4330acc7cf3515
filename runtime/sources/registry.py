"""Table of the source kinds: which opener handles which source text.

A text that begins with a key of `OPENERS` belongs to that opener. Any other text is a camera of this machine or a path.
An opener imports its module when it is called. So only the sources that need an extra import it, and ``camrt doctor``
can list cameras while packages are broken.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from camrt.errors import MissingInput, SourceError, UsageError
from camrt.runtime.sources.network.url import SCHEMES, check_port, redact, redact_text
from camrt.runtime.sources.options import SourceOptions
from camrt.text import one_line

if TYPE_CHECKING:
    from camrt.media_files import MediaFiles
    from camrt.runtime.frames import Source
    from camrt.video_decoding.capture import Capture

Tell = Callable[[str], None]
"""Takes a line for the user."""

KINDS: Final = (
    "a camera number (0), /dev/video0, an image, a folder or quoted glob of images, a video file, "
    "an address (rtsp, rtmp, http, udp, ...), 'picamera2', 'gst:' and a GStreamer pipeline, or 'synthetic'"
)

OPEN_S = 10.0
"""Seconds after which opening a stream fails."""
READ_S = 5.0
"""Seconds without a frame after which a stream is lost, by default."""
# OpenCV's own time-out for V4L2, OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT, is 10 s.
_READ_CAMERA_S = 10.0
# A segment often has 6 to 10 s, and a server may be late with it.
_READ_SEGMENTS_S = 30.0
# How long one of several sources may delay the others.
_PATIENCE_S = 3.0


@dataclass(frozen=True, slots=True)
class PreparedSource:
    """A source that has a name and is not open yet."""

    name: str
    """Its own name, without credentials, made printable (`one_line`); another source may have the same."""
    open: "Callable[[str, bool, Tell], Source]"
    """Open the source; the arguments are the name to give it, and ``patient`` and ``tell`` of `open_source`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", one_line(self.name))


def open_source(
    text: str,
    *,
    patient: bool = False,
    tell: Tell = lambda line: None,
    options: SourceOptions = SourceOptions(),  # noqa: B008 - it is frozen
) -> "Source":
    """Open a source.

    A camera or stream is opened again whenever it is lost. Until it is back, its frames give the reason in
    `Frame.lost`.

    Args:
        text: number or device file of a camera; path of an image, of a folder of images or of a video; a glob; an
            address (a scheme of `SCHEMES`); ``picamera2``; ``gst:`` and a GStreamer pipeline; or ``synthetic``.
        patient: treat a camera or stream that does not answer as lost. False: raise SourceError. Use True for one of
            several sources.
        tell: takes a line when a camera or stream delivers its first frame, is lost, or is back. The thread that calls
            ``read`` calls it.
        options: time-outs, and sizes and rates of cameras.

    Returns: the open source. A camera has delivered a frame, the header of a video was read. The caller closes it.

    Raises:
        UsageError: the text names no kind of source.
        SourceError: the source does not exist or cannot be opened.
        MissingExtra: a package that reads this kind of source is not installed.
    """
    source = prepare_source(text, options)
    return source.open(source.name, patient, tell)


def prepare_source(text: str, options: SourceOptions) -> PreparedSource:
    """Find the kind of a source and check everything that needs no opening. Raises: as `open_source` does."""
    from camrt.video_decoding.capture import quiet_decoders

    quiet_decoders()
    if not text:
        raise UsageError(f"the source is empty; it can be {KINDS}")
    prefix = re.match(r"gst:|[A-Za-z][A-Za-z0-9+.-]*://", text)
    key = text if prefix is None else prefix[0].lower()
    if key in OPENERS:
        return OPENERS[key](text, options)
    if prefix is not None:
        raise UsageError(f"{redact(text)}: {key} addresses cannot be read; use one of {', '.join(SCHEMES)}")
    return _camera(text, options) if is_camera(text) else _path(text, options)


def is_camera(text: str) -> bool:
    """Return whether a source is a camera of this machine: a number, or a device file, which may be missing.

    A missing path below ``/dev`` is a camera that is not plugged in, for example of ``/dev/v4l/by-id``.
    """
    if text.isascii() and text.isdecimal():
        return True
    path = Path(os.path.abspath(text))  # noqa: PTH100 - `Path.resolve` would follow the link of a camera
    if not path.exists():
        return path.is_relative_to("/dev") and not path.is_relative_to("/dev/shm") and not _is_glob(text)
    return path.is_char_device()


def is_address(text: str) -> bool:
    """Return whether a source is an address that can be read."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme.lower() in SCHEMES


def _is_glob(text: str) -> bool:
    return any(character in text for character in "*?[")


def _synthetic(text: str, options: SourceOptions) -> PreparedSource:
    from camrt.runtime.sources.synthetic import SyntheticSource
    from camrt.synthetic_scene import Scene

    return PreparedSource(text, lambda name, patient, tell: SyntheticSource(Scene(seed=0), name=name))


def _camera(text: str, options: SourceOptions) -> PreparedSource:
    from camrt.runtime.sources.cameras import devices

    device = int(text) if text.isdecimal() else text
    mode = devices.CameraMode.requested(options)
    return _live(
        f"camera {device}" if isinstance(device, int) else device,
        lambda: devices.open_camera(device, mode),
        read_timeout_s=options.silence_s or _READ_CAMERA_S,
        requested_mode=f"MJPG {mode}",
    )


def _picamera2(text: str, options: SourceOptions) -> PreparedSource:
    from camrt.runtime.sources.cameras import devices

    picamera2 = devices.import_picamera2()
    mode = devices.CameraMode.requested(options)
    read_timeout_s = options.silence_s or READ_S
    return _live(
        text,
        lambda: devices.Picamera(picamera2, mode, read_timeout_s),
        read_timeout_s=read_timeout_s,
        requested_mode=str(mode),
    )


def _gstreamer(text: str, options: SourceOptions) -> PreparedSource:
    from camrt.runtime.sources.cameras import devices

    pipeline = text.removeprefix("gst:").strip()
    devices.check_gstreamer(pipeline)
    name = redact_text(f"gst:{pipeline.split()[0]}")  # the rest may hold a password
    read_timeout_s = options.silence_s or READ_S
    return _live(
        name,
        lambda: devices.open_gstreamer(name, pipeline, OPEN_S, read_timeout_s),
        read_timeout_s=read_timeout_s,
    )


def _stream(text: str, options: SourceOptions) -> PreparedSource:
    from camrt.runtime.sources.network.address import NetworkAddress

    check_port(text)
    read_timeout_s = options.silence_s or READ_S
    address = NetworkAddress(
        text,
        open_timeout_s=OPEN_S,
        read_timeout_s=read_timeout_s,
        segments_timeout_s=options.silence_s or _READ_SEGMENTS_S,
        every_s=options.every_s,
        decode=options.decode,
    )
    return _live(redact(text), address.open, read_timeout_s=read_timeout_s)


OPENERS: Final[Mapping[str, Callable[[str, SourceOptions], PreparedSource]]] = {
    "synthetic": _synthetic,
    "picamera2": _picamera2,
    "gst:": _gstreamer,
    **{f"{scheme}://": _stream for scheme in SCHEMES},
}
"""Opener of each kind that is known by how its text begins: a whole word, or a prefix that ends in ``:`` or ``://``."""


def _live(
    name: str, open_capture: "Callable[[], Capture]", *, read_timeout_s: float, requested_mode: str = ""
) -> PreparedSource:
    """Return a camera or stream that reconnects; the arguments are those of `CaptureThread`."""
    from camrt.runtime.sources.live.capture_thread import CaptureThread
    from camrt.runtime.sources.live.reconnecting import ReconnectingSource

    def open_live(name: str, patient: bool, tell: Tell) -> "Source":
        connect = partial(
            CaptureThread,
            name,
            open_capture,
            open_timeout_s=OPEN_S,
            read_timeout_s=read_timeout_s,
            requested_mode=requested_mode,
        )
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
        if first.live:
            return ReconnectingSource(connect, first, tell)
        if first.remark:
            tell(f"{name} is {first.remark}")
        return first

    return PreparedSource(name, open_live)


def _path(text: str, options: SourceOptions) -> PreparedSource:
    path = Path(text)
    if path.is_dir():
        return _folder(path, text)
    if path.exists():
        return _file(path, options)
    if _is_glob(text):
        return _glob(text, options)
    place = f" (looked for {path.absolute()})" if redact_text(text) == text else ""
    raise MissingInput(f"there is no {redact_text(text)}{place}; a source can be {KINDS}")


def _folder(path: Path, text: str) -> PreparedSource:
    from camrt.runtime.sources.files.paths import files_in_folder

    return _images(text, files_in_folder(path))


def _file(path: Path, options: SourceOptions) -> PreparedSource:
    from camrt.media_files import MediaFiles, kind_of_input

    if not path.is_file():
        raise SourceError(f"{path} is neither a file nor a folder; a source can be {KINDS}")
    kind = kind_of_input(path)
    return _images(str(path), MediaFiles(kinds={path: kind})) if kind.kind == "image" else _video(path, options)


def _glob(pattern: str, options: SourceOptions) -> PreparedSource:
    from camrt.runtime.sources.files.paths import files_of_glob

    found = files_of_glob(pattern)
    if found.images:
        return _images(pattern, found)
    if len(found.videos) == 1:
        return _video(found.videos[0], options)
    raise UsageError(
        f"{pattern} matches {len(found.videos)} videos; name one of them, or pass each as a source of its own"
    )


def _images(name: str, found: "MediaFiles") -> PreparedSource:
    from camrt.runtime.sources.files.images import ImageSource

    def open_images(name: str, patient: bool, tell: Tell) -> "Source":
        for line in found.lines(videos=False):
            tell(f"{name}: {line}")
        return ImageSource(found.images, name=name, problems=found.problems, tell=tell)

    return PreparedSource(name, open_images)


def _video(path: Path, options: SourceOptions) -> PreparedSource:
    from camrt.runtime.sources.files.animation import open_video

    return PreparedSource(
        str(path), lambda name, patient, tell: open_video(path, name, decode=options.decode, tell=tell)
    )
