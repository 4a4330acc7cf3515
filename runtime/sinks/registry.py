"""Table of the output kinds: which opener handles which output path.

The suffix of a path decides, and a path without a suffix is a folder of images. An opener imports its module when it is
called, so only the outputs that need an extra import it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from camrt.errors import UsageError
from camrt.runtime.frames import Rendered, Sink, Source, StreamItem
from camrt.runtime.sinks.opencv_video import CODECS
from camrt.runtime.sinks.rotation import Rotation

T = TypeVar("T")

Tell = Callable[[str], None]
"""Takes a line for the user."""

_LIVE_EVENTS = Rotation(size=100_000_000, keep=500_000_000)


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """Options that every opener of an output takes; `open_output` describes them."""

    source: Source
    rotation: Rotation | None
    overwrite: bool
    tell: Tell
    threads: int


def open_output(
    path: Path, source: Source, *, rotation: Rotation | None, overwrite: bool, tell: Tell, threads: int
) -> Sink[Rendered]:
    """Open an output: a video, chosen by its suffix, or a folder of images.

    Args:
        path: the video or folder.
        source: source of the overlays. If it is live, a full disk pauses the output; if not, it is an error.
        rotation: when a video continues in a new file; None: a live video does so after an hour. With a rotation, files
            of an earlier run are kept and the numbers continue.
        overwrite: allow existing files to be replaced.
        tell: takes a line for the user.
        threads: threads that encode a video.

    Raises:
        UsageError: the suffix belongs to no output, or the file exists.
        SinkError: the path cannot be written.
    """
    suffix = "" if path.is_dir() else path.suffix.lower()
    if suffix not in OPENERS:
        raise UsageError(f"{path}: a video ends in {' '.join(CODECS)}; for images name a folder, without a suffix")
    sink = OPENERS[suffix](path, OutputOptions(source, rotation, overwrite, tell, threads))
    return _pause_if_live(sink, path, source, tell)


def open_events(
    path: str, source: Source, *, rotation: Rotation | None, overwrite: bool, tell: Tell
) -> Sink[StreamItem]:
    """Open an event log; ``-`` is the standard output.

    Args:
        path: the file.
        source: source of the events. If it is live, a full disk pauses the log; if not, it is an error.
        rotation: when a new file begins; the file of an earlier run is continued. None: a live source gets a new file
            after 100 MB, and 500 MB of older files are kept; other sources get a single file.
        overwrite: allow an existing file to be replaced.
        tell: takes a line for the user.

    Raises:
        UsageError: the file exists.
        SinkError: the file cannot be written.
    """
    from camrt.runtime.sinks.events import EventSink

    default = _LIVE_EVENTS if source.live else None
    sink = EventSink(path, overwrite=overwrite, rotation=rotation or default, resume=rotation is not None)
    return sink if path == "-" else _pause_if_live(sink, Path(path), source, tell)


def _pause_if_live(sink: Sink[T], path: Path, source: Source, tell: Tell) -> Sink[T]:
    from camrt.runtime.sinks.disk_full import PausingSink

    return PausingSink(sink, path, tell) if source.live else sink


def _images(path: Path, options: OutputOptions) -> Sink[Rendered]:
    from camrt.runtime.sinks.images import ImageSink

    return ImageSink(path, overwrite=options.overwrite, live=options.source.live, resume=options.rotation is not None)


def _video(path: Path, options: OutputOptions) -> Sink[Rendered]:
    from camrt.runtime.sinks.video import VideoSink, h264_problem
    from camrt.runtime.sources.files.video import VideoSource
    from camrt.runtime.sources.transform import TransformedSource

    source = options.source
    sink = VideoSink(
        path,
        fps=source.fps,
        overwrite=options.overwrite,
        live=source.live,
        timed=source.fps is not None,
        sound=source.sound if isinstance(source, (VideoSource, TransformedSource)) else None,
        rotation=options.rotation,
        tell=options.tell,
        threads=options.threads,
    )
    if problem := h264_problem(path):
        options.tell(f"{path}: {problem}")
    return sink


OPENERS: Final[Mapping[str, Callable[[Path, OutputOptions], Sink[Rendered]]]] = {
    "": _images,
    **dict.fromkeys(CODECS, _video),
}
"""Opener of each kind of output, by suffix in lower case; the empty suffix is a folder."""
