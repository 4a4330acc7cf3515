"""Connections to network cameras that lose patience sooner than camrt's own."""

from camrt.runtime.sources.capture import open_url
from camrt.runtime.sources.capture_thread import CaptureThread
from camrt.runtime.sources.url import redact


def connect(url, *, open_timeout_s=5.0, read_timeout_s=5.0):
    """Begin to open a stream."""
    return CaptureThread(
        redact(url),
        lambda: open_url(url, open_timeout_s, read_timeout_s),
        open_timeout_s=open_timeout_s,
        read_timeout_s=read_timeout_s,
    )
