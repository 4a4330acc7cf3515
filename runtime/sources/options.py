"""Options of sources, where a kind of source has them."""

from dataclasses import dataclass
from typing import Final

from camrt.video_decoding.hardware_devices import SOFTWARE

EVERY_S: Final = 1.0
"""Seconds between two requests for a still picture, by default."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Options of one source. A kind of source that has no use for an option leaves it out."""

    silence_s: float | None = None
    """Seconds without a frame until a camera or stream is lost. None: 10 for cameras of this machine, 30 for streams of
    segments (HLS), 5 for all others."""
    every_s: float = EVERY_S
    """Seconds between two requests for a still picture."""
    size: tuple[int, int] | None = None
    """Width and height that a camera of this machine is set to, in pixels. None: 1280x720."""
    fps: float | None = None
    """Frame rate that a camera of this machine is set to. None: 30."""
    decode: str = SOFTWARE
    """Decoder of videos and network streams: ``software``, ``auto``, or the name of a device, such as ``cuda``. See
    `camrt.video_decoding.hardware_devices.choose_device`."""
