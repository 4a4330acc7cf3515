"""Open an address once, to the end: one still picture, or a video that ends."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from camrt.errors import UsageError
from camrt.runtime.frames import Frame, Source
from camrt.runtime.sources.live.capture_thread import CaptureThread
from camrt.runtime.sources.network.address import NetworkAddress
from camrt.runtime.sources.network.url import check_port, redact
from camrt.runtime.sources.registry import OPEN_S, READ_S
from camrt.text import one_line
from camrt.video_decoding.hardware_devices import SOFTWARE

_NEVER_S: Final = 3600.0  # the connection is closed long before a second picture is due


class SinglePicture:
    """One picture that was read already."""

    live = False
    fps: float | None = None
    frame_count: int | None = 1

    def __init__(self, frame: Frame) -> None:
        self.name = frame.name
        self.problems: list[str] = []
        self._frame: Frame | None = frame

    def read(self) -> Frame | None:
        """Return the picture, then None."""
        frame, self._frame = self._frame, None
        return frame

    def close(self) -> None:
        """Nothing is open."""


def open_finite(url: str, *, decode: str = SOFTWARE, tell: Callable[[str], None] = lambda line: None) -> Source:
    """Open an address that has an end.

    Args:
        url: the address.
        decode: the decoder, see `camrt.video_decoding.hardware_devices.choose_device`.
        tell: takes a line about the decoder of a video, if one was requested.

    Returns: a `SinglePicture`, or a video that gives every frame in order. The caller closes it.

    Raises:
        UsageError: the address is a live stream.
        SourceError: it does not answer, or gives neither a picture nor a video; or the named device does not decode it.
    """
    from camrt.video_decoding.capture import quiet_decoders

    quiet_decoders()
    check_port(url)
    name = one_line(redact(url))
    address = NetworkAddress(
        url,
        open_timeout_s=OPEN_S,
        read_timeout_s=READ_S,
        segments_timeout_s=READ_S,
        every_s=_NEVER_S,
        decode=decode,
    )
    connection = CaptureThread(name, address.open, open_timeout_s=OPEN_S, read_timeout_s=READ_S)
    try:
        connection.wait()
        if not connection.live:
            if connection.remark:
                tell(f"{name} is {connection.remark}")
            return connection
        frame = connection.read() if address.is_still else None
    except BaseException:
        connection.close()
        raise
    connection.close()
    if frame is None:
        raise UsageError(
            f"{name} is a live stream, which has no end; use camrt live with --source, --frames and --output"
        )
    return SinglePicture(Frame(frame.image, 0, 0.0, name, file=Path(name)))
