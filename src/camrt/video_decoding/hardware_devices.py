"""Choose the decoder of videos: software, or a device that FFmpeg reaches through PyAV (extra ``video``)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from camrt.errors import MissingExtra, SourceError, UsageError
from camrt.video_decoding.capture import has_pyav

if TYPE_CHECKING:
    from av.codec.hwaccel import HWAccel

AUTO: Final = "auto"
SOFTWARE: Final = "software"
_CODECS: Final = ("h264", "hevc", "vp9", "av1", "vp8", "mpeg2video", "mpeg4", "mjpeg", "vc1")
"""FFmpeg's names of the decoders that devices may support."""
_NAMES: Final = {"h264": "H.264", "hevc": "H.265", "mpeg2video": "MPEG-2", "mpeg4": "MPEG-4", "vc1": "VC-1"}
# The devices of one process share one CUDA context, also with ONNX Runtime; each own one takes hundreds of megabytes.
_OPTIONS: Final[dict[str, dict[str, object]]] = {"cuda": {"primary_ctx": "1"}}


@dataclass(frozen=True, slots=True)
class Device:
    """A kind of device that FFmpeg was built with."""

    name: str
    """FFmpeg's name, such as ``cuda``."""
    codecs: tuple[str, ...]
    """Names of the codecs whose decoders support such devices; whether a device does, shows when a video is opened."""
    reason: str
    """Why it cannot be used, half a sentence; empty: it can be opened."""


def devices() -> tuple[Device, ...]:
    """Return the kinds of devices of this FFmpeg, and try to open each. PyAV must be installed."""
    from av.codec.hwaccel import hwdevices_available

    return tuple(_try(name) for name in hwdevices_available())


def check_decoding(wanted: str) -> None:
    """Check a value of ``--decode``.

    Args:
        wanted: `AUTO`, `SOFTWARE` or the name of a device.

    Raises:
        UsageError: FFmpeg knows no such device, or PyAV was built without it.
        MissingExtra: a device is named, and PyAV is not installed.
        SourceError: the named device cannot be opened.
    """
    if wanted in (AUTO, SOFTWARE):
        return
    if not has_pyav():
        raise MissingExtra(f"--decode {wanted} needs PyAV: pip install 'camrt[video]'")
    found = {device.name: device for device in devices()}
    if wanted not in found:
        raise UsageError(f"--decode {wanted}: use {AUTO}, {SOFTWARE}, or a device of this FFmpeg: {', '.join(found)}")
    if reason := found[wanted].reason:
        raise SourceError(f"--decode {wanted} cannot be used: {reason}; --decode {SOFTWARE} always works")


def choose_device(wanted: str) -> tuple[str | None, str]:
    """Return the device to decode with, None for software; and the remark where `AUTO` finds none.

    Args:
        wanted: `AUTO`, `SOFTWARE` or the name of a device.

    Raises:
        UsageError, MissingExtra, SourceError: as `check_decoding` does.
    """
    check_decoding(wanted)
    if wanted != AUTO:
        return (None if wanted == SOFTWARE else wanted), ""
    if not has_pyav():
        return None, "decoded in software: hardware needs PyAV (pip install 'camrt[video]')"
    usable = [device.name for device in devices() if not device.reason]
    if usable:
        return usable[0], ""
    return None, "decoded in software: no hardware decoder works here (camrt doctor lists them)"


def software_remark(wanted: str) -> str:
    """Return the remark about a decoder that is always software. Raises: as `check_decoding`; a device is refused."""
    device, remark = choose_device(wanted)
    if device is not None and wanted != AUTO:
        raise SourceError(f"its pictures are decoded in software; leave out --decode {wanted}")
    return remark if device is None else "decoded in software: it consists of pictures"


def hardware(name: str) -> "HWAccel":
    """Return PyAV's settings of a device. A stream that it cannot decode is an error there, and not software's."""
    from av.codec.hwaccel import HWAccel

    return HWAccel(name, allow_software_fallback=False, options=_OPTIONS.get(name))


def codec_name(codec: str) -> str:
    """Return the usual name of a codec: ``H.264`` for ``h264``."""
    return _NAMES.get(codec, codec.upper())


def _try(name: str) -> Device:
    """Open a device with the first decoder that supports its kind."""
    import av
    import av.error

    codecs = tuple(_supporting(name))
    if not codecs:
        return Device(name, (), "no decoder of FFmpeg runs on it through PyAV")
    try:
        av.CodecContext.create(codecs[0], "r", hwaccel=hardware(name))
    except av.error.FFmpegError as error:
        return Device(name, codecs, f"the device or its driver is missing ({(error.strerror or '').lower()})")
    return Device(name, codecs, "")


def _supporting(name: str) -> Iterator[str]:
    import av
    import av.codec.codec

    for codec in _CODECS:
        try:
            configs = av.Codec(codec, "r").hardware_configs
        except av.codec.codec.UnknownCodecError:
            continue
        if any(config.is_supported and config.device_type.name == name for config in configs):
            yield codec
