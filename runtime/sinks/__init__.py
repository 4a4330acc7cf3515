"""Where finished overlays go: a window, a video file, pictures, a log of events."""

from collections.abc import Callable
from pathlib import Path

from camrt.errors import UsageError
from camrt.runtime.frames import Rendered, Sink, Source, StreamItem
from camrt.runtime.sinks.disk_full import PausingSink
from camrt.runtime.sinks.events import EventSink
from camrt.runtime.sinks.images import ImageSink
from camrt.runtime.sinks.opencv_video import CODECS
from camrt.runtime.sinks.rotation import Rotation
from camrt.runtime.sinks.video import VideoSink, why_not_h264
from camrt.runtime.sinks.window import Window, window_available

__all__ = [
    "EventSink",
    "ImageSink",
    "Rotation",
    "VideoSink",
    "Window",
    "open_events",
    "open_output",
    "window_available",
]

_EVENTS_OF_A_CAMERA = Rotation(size=100_000_000, keep=500_000_000)


def open_output(
    path: Path, source: Source, *, rotation: Rotation | None, overwrite: bool, tell: Callable[[str], None]
) -> Sink[Rendered]:
    """Open what a user calls an output: a video, known by its suffix, or a folder of pictures.

    Args:
        path: where to.
        source: whose overlays it takes. A full disk ends the run of a source that is not live.
        rotation: when a video is continued in a new file; None: when it has become an hour long. Otherwise than None it
            has a run go on behind what an earlier one has left.
        overwrite: old files may be replaced.
        tell: takes a line for the user.

    Raises:
        UsageError: the suffix is that of something else, or the file exists.
        SinkError: nothing can be written there.
    """
    sink: Sink[Rendered]
    if path.suffix.lower() in CODECS and not path.is_dir():
        sink = VideoSink(path, fps=source.fps, overwrite=overwrite, live=source.live, rotation=rotation)
        if remark := why_not_h264(path):
            tell(f"{path}: {remark}")
    elif path.suffix and not path.is_dir():
        raise UsageError(f"{path}: a video ends in {' '.join(CODECS)}; for pictures name a folder, without a suffix")
    else:
        sink = ImageSink(path, overwrite=overwrite, live=source.live, resume=rotation is not None)
    return PausingSink(sink, path, tell) if source.live else sink


def open_events(
    path: str, source: Source, *, rotation: Rotation | None, overwrite: bool, tell: Callable[[str], None]
) -> Sink[StreamItem]:
    """Open a log of events; ``-`` is the standard output.

    Args:
        path: where to.
        source: what happens there. A full disk ends the run of a source that is not live.
        rotation: when a new file is begun; the old one of an earlier run is continued. None: after 100 MB for a live
            source, of whose older files 500 MB are kept, and never for others.
        overwrite: an old file may be replaced.
        tell: takes a line for the user.

    Raises:
        UsageError: the file exists.
        SinkError: nothing can be written there.
    """
    usual = _EVENTS_OF_A_CAMERA if source.live else None
    sink = EventSink(path, overwrite=overwrite, rotation=rotation or usual, resume=rotation is not None)
    return PausingSink(sink, Path(path), tell) if source.live and path != "-" else sink
