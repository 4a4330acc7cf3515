"""Flags of the sources of ``camrt live``: time-outs, and the mode of cameras."""

import argparse
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from camrt.errors import UsageError

if TYPE_CHECKING:
    from camrt.runtime.sources.options import SourceOptions


DECODE_HELP: Final = (
    "decoder of videos: software (default), a device (cuda, vaapi, ...), or auto: a device that gives the same frames"
)


def add_source_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    group = parser.add_argument_group("cameras and streams")
    group.add_argument(
        "--silence-timeout",
        type=float,
        metavar="SECONDS",
        help="time without a frame until a source is lost (default: 5; cameras of this machine 10, HLS 30)",
    )
    group.add_argument(
        "--every", type=float, metavar="SECONDS", help="time between two requests for a still picture (default 1)"
    )
    group.add_argument(
        "--camera-size",
        action="append",
        metavar="WxH",
        help="size of cameras of this machine (default 1280x720); once for all sources, or once for each",
    )
    group.add_argument(
        "--camera-fps",
        action="append",
        type=float,
        metavar="N",
        help="frame rate of cameras of this machine (default 30); once for all sources, or once for each",
    )
    group.add_argument("--decode", action="append", metavar="DEVICE", help=f"{DECODE_HELP}; once, or once for each")


def source_options(args: argparse.Namespace, texts: Sequence[str]) -> "list[SourceOptions]":
    """Return the options of each source. Raises: UsageError: a value is wrong, or no source uses it."""
    from camrt.runtime.sources.options import EVERY_S, SourceOptions
    from camrt.runtime.sources.registry import is_address, is_camera
    from camrt.video_decoding.hardware_devices import SOFTWARE, check_decoding

    for flag in ("silence_timeout", "every"):
        _check_positive(flag, getattr(args, flag))
    if args.every is not None and not any(is_address(text) and text.lower().startswith("http") for text in texts):
        raise UsageError("--every is for still pictures, and no --source is an http or https address")
    for flag in ("camera_size", "camera_fps"):
        if getattr(args, flag) and not any(is_camera(text) or text == "picamera2" for text in texts):
            raise UsageError(f"--{flag.replace('_', '-')} is for cameras of this machine, and no --source is one")
    for fps in args.camera_fps or ():
        _check_positive("camera_fps", fps)
    for decode in args.decode or ():
        check_decoding(decode)
    if args.decode and not any(is_address(text) or _is_path(text) for text in texts):
        raise UsageError("--decode is for videos and network streams, and no --source is one")
    sizes = _for_each("--camera-size", [_size(size) for size in args.camera_size or ()], len(texts))
    rates = _for_each("--camera-fps", args.camera_fps or (), len(texts))
    decoders = _for_each("--decode", args.decode or [SOFTWARE], len(texts))
    return [
        SourceOptions(silence_s=args.silence_timeout, every_s=args.every or EVERY_S, size=size, fps=fps, decode=decode)
        for size, fps, decode in zip(sizes, rates, decoders, strict=True)
    ]


def _is_path(text: str) -> bool:
    from camrt.runtime.sources.registry import is_camera

    return not (is_camera(text) or text in ("synthetic", "picamera2") or text.startswith("gst:"))


def _check_positive(flag: str, value: float | None) -> None:
    if value is not None and not 0 < value < math.inf:
        raise UsageError(f"--{flag.replace('_', '-')} {value:g}: more than 0")


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9][0-9]{0,4})[xX]([1-9][0-9]{0,4})", text)
    if match is None:
        raise UsageError(f"--camera-size {text}: write width and height in pixels, as in 1280x720")
    return int(match[1]), int(match[2])


def _for_each(flag: str, values: Sequence[Any], count: int) -> list[Any]:
    """Return a value for each source: none, the same one, or its own."""
    if len(values) not in (0, 1, count):
        raise UsageError(f"{flag} has {len(values)} values for {count} sources; give one for all, or one for each")
    return list(values) if len(values) == count else [*(values or [None])] * count
