"""Flags that change every frame of a source, and the size of the overlays."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from camrt.runtime.render.renderer import Enlargement
    from camrt.runtime.sources.transform import FrameTransform

_LARGEST = 32


def add_frame_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--crop``, ``--rotate-image``, ``--flip`` and ``--scale-output``."""
    group = parser.add_argument_group("frames")
    group.add_argument(
        "--crop", type=_crop, metavar="X,Y,W,H", help="use this part of every frame, in pixels; before the next two"
    )
    group.add_argument(
        "--rotate-image", type=int, choices=(90, 180, 270), help="rotate every frame clockwise, by degrees"
    )
    group.add_argument("--flip", choices=("horizontal", "vertical", "both"), help="mirror every frame")
    group.add_argument(
        "--scale-output",
        type=_scale,
        default=1,
        metavar="FACTOR",
        help="enlarge overlays that are written by a whole number, or 'auto': until the shorter side has 320 pixels",
    )


def transform_of(args: argparse.Namespace) -> "FrameTransform | None":
    """Return the change that the flags ask for; None: no change. Raises: UsageError."""
    from camrt.runtime.sources.transform import FrameTransform

    transform = FrameTransform(crop=args.crop, rotation=args.rotate_image or 0, flip=args.flip or "")
    return None if transform == FrameTransform() else transform


def _crop(text: str) -> tuple[int, int, int, int]:
    from camrt.runtime.sources.transform import parse_crop

    try:
        return parse_crop(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} must be four whole numbers: X,Y,W,H") from error


def _scale(text: str) -> "Enlargement":
    if text == "auto":
        return "auto"
    if text.isdecimal() and 1 <= int(text) <= _LARGEST:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} must be 'auto' or a whole number from 1 to {_LARGEST}")
