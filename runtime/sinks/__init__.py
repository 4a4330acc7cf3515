"""Where finished overlays go: a window, a video file, pictures, a log of events."""

from camrt.runtime.sinks.events import EventSink
from camrt.runtime.sinks.pictures import PictureSink
from camrt.runtime.sinks.video import VideoSink
from camrt.runtime.sinks.window import WindowSink, window_available

__all__ = ["EventSink", "PictureSink", "VideoSink", "WindowSink", "window_available"]
