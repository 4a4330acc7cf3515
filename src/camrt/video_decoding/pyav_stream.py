"""The video in a container: which stream it is, and what its header states. Needs PyAV (extra ``video``)."""

from fractions import Fraction
from typing import Final

import av
from av.stream import Disposition

from camrt.errors import SourceError

_FOURCC: Final = {"mjpeg": "MJPG"}


def choose_stream(container: "av.container.InputContainer") -> av.VideoStream:
    """Return the stream that shows the video: FFmpeg's choice, except for a cover picture. Raises: SourceError."""
    best = container.streams.best("video")
    moving = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not moving:
        others = sorted({"a cover picture" if s.type == "video" else s.type for s in container.streams})
        raise SourceError(f"it has no video, only {' and '.join(others) or 'a header'}")
    stream = best if best in moving else moving[0]
    if stream.codec_context is None:
        raise SourceError(f"its codec is {stream.codec_tag!r}, for which PyAV has no decoder")
    return stream


def time_base(stream: av.VideoStream) -> Fraction:
    """Return the unit of a stream's times, in seconds."""
    return Fraction(1, av.time_base) if stream.time_base is None else Fraction(stream.time_base)


def fourcc_letters(codec: str) -> str:
    """Return the four letters of a codec, padded with spaces."""
    return _FOURCC.get(codec, codec.upper())[:4].ljust(4)
