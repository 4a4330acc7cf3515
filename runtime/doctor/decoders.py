"""Check the hardware decoders of videos, which ``--decode`` takes."""

from collections.abc import Iterator
from typing import Final

from camrt.runtime.doctor.finding import OK, Finding

_SUBJECT: Final = "hardware decoding"


def findings() -> Iterator[Finding]:
    """Yield a finding that lists the devices of this FFmpeg with their codecs, or why they cannot be used."""
    try:
        from camrt.video_decoding.capture import has_pyav
        from camrt.video_decoding.hardware_devices import codec_name, devices
    except ImportError:  # a finding of OpenCV
        return
    if not has_pyav():
        yield Finding(_SUBJECT, OK, "none: it needs PyAV; videos are decoded in software")
        return
    parts = []
    for device in devices():
        codecs = ", ".join(map(codec_name, device.codecs))
        parts.append(f"{device.name}: {device.reason or f'can be opened (at most {codecs})'}")
    usable = "for --decode" if any(not device.reason for device in devices()) else "none"
    yield Finding(_SUBJECT, OK, f"{usable}; {'; '.join(parts) or 'this FFmpeg has no devices'}")
