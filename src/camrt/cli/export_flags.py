"""Flags and report that ``camrt attach`` and ``camrt export`` share."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from camrt.model_file import Activation, Interpolation

if TYPE_CHECKING:
    from camrt.export.report import Report


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that both commands share."""
    parser.add_argument("-o", "--out", metavar="FILE", type=Path, required=True, help="write the model file here")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    parser.add_argument("--labels", metavar="FILE", type=Path, help="read the class names from here, one a line")
    parser.add_argument("--output", metavar="NAME", help="use this one of several outputs as scores")
    parser.add_argument(
        "--layer", metavar="NAME", help="show this feature map (default: the last one; camrt inspect lists them)"
    )
    parser.add_argument(
        "--activation",
        choices=get_args(Activation),
        help="apply this activation to the output (default: the one in the graph)",
    )
    parser.add_argument(
        "--images",
        metavar="PATH",
        type=Path,
        nargs="+",
        help="verify on these images or folders (default: synthetic images)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    pixels = parser.add_argument_group("preprocessing", "network input = (pixel * scale - mean) / std")
    pixels.add_argument("--scale", type=float, help="factor of each pixel (default: 1/255)")
    pixels.add_argument("--mean", metavar="A,B,C", type=_numbers, help="default: ImageNet, .485,.456,.406; grey: 0")
    pixels.add_argument("--std", metavar="A,B,C", type=_numbers, help="default: ImageNet, .229,.224,.225; grey: 1")
    order = pixels.add_mutually_exclusive_group()
    order.add_argument(
        "--rgb", dest="channels", action="store_const", const="rgb", help="the network reads RGB (default)"
    )
    order.add_argument("--bgr", dest="channels", action="store_const", const="bgr", help="the network reads BGR")
    frames = parser.add_argument_group("frames", "conversion of a frame of any size to the network's input")
    frames.add_argument(
        "--resize",
        metavar="HOW",
        type=_resize,
        default=("stretch", None),
        help="stretch (default), crop, crop:SHORTER_SIDE (in pixels, before the crop of the centre), letterbox",
    )
    frames.add_argument(
        "--interpolation",
        choices=get_args(Interpolation),
        help="resize like torchvision and Pillow (antialias, the default), or like OpenCV's linear or area",
    )


def size(text: str) -> tuple[int, int]:
    """Parse ``--size``: WIDTHxHEIGHT, or one number for both."""
    numbers = text.lower().split("x")
    if len(numbers) > 2 or not all(number.isdecimal() and int(number) > 0 for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT or one number, in pixels")
    return int(numbers[0]), int(numbers[-1])


def options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments that `attach` and `from_torch` share, without flags that the user left out."""
    resize, shorter_side = args.resize
    preprocessing = {name: getattr(args, name) for name in ("scale", "mean", "std", "channels")}
    return {name: value for name, value in preprocessing.items() if value is not None} | {
        "labels": args.labels,
        "output": args.output,
        "layer": args.layer,
        "resize": resize,
        "shorter_side": shorter_side,
        "interpolation": args.interpolation,
        "activation": args.activation,
        "images": args.images,
        "overwrite": args.overwrite,
    }


def show(report: "Report", *, as_json: bool) -> None:
    """Print the head, the verification and the assumptions."""
    if as_json:
        print(json.dumps(asdict(report), ensure_ascii=False, indent=2))
        return
    channels, height, width = report.features
    verification = report.verification
    print(f"{report.path}: {report.classes} classes, input {report.input[0]}x{report.input[1]}")
    print(f"  head       {report.head}, maps {channels} x {height} x {width}, scores by {report.activation}")
    proof = ""
    if "identity_error" in verification:
        error, tolerance = verification["identity_error"], verification["identity_tolerance"]
        proof = f", CAM identity off by {error:.1e} (at most {tolerance:.1e})"
    elif "cells_error" in verification:
        proof = f", maps off by {verification['cells_error']:.1e} from the head on each cell"
    print(f"  verified   on {verification['images']} images: scores off by {verification['scores_error']:.1e}{proof}")
    for sentence in report.assumptions:
        print(f"  assumed    {sentence}")


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(number) for number in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3):
        raise argparse.ArgumentTypeError(f"{text!r} is not three numbers with commas, or one number for grey")
    return numbers


def _resize(text: str) -> tuple[str, int | None]:
    how, _, shorter_side = text.partition(":")
    valid = how in ("stretch", "crop", "letterbox") and (
        not shorter_side or (how == "crop" and shorter_side.isdecimal())
    )
    if not valid or text.endswith(":"):
        raise argparse.ArgumentTypeError(f"{text!r} is not one of stretch, crop, crop:SHORTER_SIDE, letterbox")
    return how, int(shorter_side) if shorter_side else None
