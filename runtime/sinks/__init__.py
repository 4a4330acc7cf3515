"""Sinks for finished overlays: window, video file, image folder and event log."""

from camrt.runtime.sinks.events import EventSink
from camrt.runtime.sinks.images import ImageSink
from camrt.runtime.sinks.registry import open_events, open_output
from camrt.runtime.sinks.rotation import Rotation
from camrt.runtime.sinks.video import VideoSink
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
