"""Where finished overlays go: a window, a video file, pictures, a log of events."""

from pathlib import Path

from camrt.errors import UsageError
from camrt.runtime.frames import Sink
from camrt.runtime.sinks.events import EventSink
from camrt.runtime.sinks.pictures import PictureSink
from camrt.runtime.sinks.video import CODECS, VideoSink
from camrt.runtime.sinks.window import WindowSink, window_available

__all__ = ["EventSink", "PictureSink", "VideoSink", "WindowSink", "open_output", "window_available"]


def open_output(path: Path, *, fps: float | None, overwrite: bool) -> Sink:
    """Open what a user calls an output: a video, known by its suffix, or a folder of pictures.

    Args:
        path: where to.
        fps: frame rate of a video; None: 25.
        overwrite: old files may be replaced.

    Raises:
        UsageError: the suffix is that of something else, or the file exists.
        SinkError: nothing can be written there.
    """
    if path.suffix.lower() in CODECS and not path.is_dir():
        return VideoSink(path, fps=fps, overwrite=overwrite)
    if path.suffix and not path.is_dir():
        raise UsageError(f"{path}: a video ends in {' '.join(CODECS)}; for pictures name a folder, without a suffix")
    return PictureSink(path, overwrite=overwrite)
