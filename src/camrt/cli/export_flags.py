"""What ``camrt attach`` and ``camrt export`` have in common: their flags and how the result is shown."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from camrt.model_file import Activation, Interpolation

if TYPE_CHECKING:
    from camrt.export.report import Report


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that both commands take."""
    parser.add_argument("-o", "--out", metavar="FILE", type=Path, required=True, help="the model file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    parser.add_argument("--labels", metavar="FILE", type=Path, help="names of the classes, one a line")
    parser.add_argument("--output", metavar="NAME", help="which of several outputs gives the scores")
    parser.add_argument(
        "--layer", metavar="NAME", help="the feature map to show; default: the last (camrt inspect lists them)"
    )
    parser.add_argument(
        "--activation",
        choices=get_args(Activation),
        help="what turns the output into scores; default: as the graph has it",
    )
    parser.add_argument(
        "--pictures",
        metavar="PATH",
        type=Path,
        nargs="+",
        help="folder or pictures to verify on; default: synthetic ones",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    pixels = parser.add_argument_group("preprocessing", "network input = (pixel * scale - mean) / std")
    pixels.add_argument("--scale", type=float, help="default: 1/255")
    pixels.add_argument("--mean", metavar="A,B,C", type=_numbers, help="default: ImageNet's, .485,.456,.406; grey: 0")
    pixels.add_argument("--std", metavar="A,B,C", type=_numbers, help="default: ImageNet's, .229,.224,.225; grey: 1")
    order = pixels.add_mutually_exclusive_group()
    order.add_argument(
        "--rgb", dest="channels", action="store_const", const="rgb", help="the network wants RGB (default)"
    )
    order.add_argument("--bgr", dest="channels", action="store_const", const="bgr", help="the network wants BGR")
    frames = parser.add_argument_group("frames", "how a frame of any size becomes the network's input")
    frames.add_argument(
        "--resize",
        metavar="HOW",
        type=_resize,
        default=("stretch", None),
        help="stretch (default), crop, crop:SHORTER_SIDE (in pixels, before the centre is cut out), letterbox",
    )
    frames.add_argument("--interpolation", choices=get_args(Interpolation), default="linear", help="default: linear")


def size(text: str) -> tuple[int, int]:
    """Read ``--size``: WIDTHxHEIGHT, or one number for both."""
    numbers = text.lower().split("x")
    if len(numbers) > 2 or not all(number.isdecimal() and int(number) > 0 for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT or one number, in pixels")
    return int(numbers[0]), int(numbers[-1])


def options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments that both doors take; what was not said is left to their defaults."""
    resize, shorter_side = args.resize
    given = {name: getattr(args, name) for name in ("scale", "mean", "std", "channels")}
    return {name: value for name, value in given.items() if value is not None} | {
        "labels": args.labels,
        "output": args.output,
        "layer": args.layer,
        "resize": resize,
        "shorter_side": shorter_side,
        "interpolation": args.interpolation,
        "activation": args.activation,
        "pictures": args.pictures,
        "overwrite": args.overwrite,
    }


def show(report: "Report", *, as_json: bool) -> None:
    """Print what was found, what was assumed and how the file was verified."""
    if as_json:
        print(json.dumps(asdict(report), ensure_ascii=False, indent=2))
        return
    channels, height, width = report.features
    verified = report.verification
    print(f"{report.path}: {report.classes} classes, input {report.input[0]}x{report.input[1]}")
    print(f"  head       {report.head}, maps {channels} x {height} x {width}, scores by {report.activation}")
    proof = ""
    if "identity_error" in verified:
        proof = f", CAM identity off by {verified['identity_error']:.1e} (at most {verified['identity_tolerance']:.1e})"
    elif "cells_error" in verified:
        proof = f", maps off by {verified['cells_error']:.1e} from what the head says of each cell"
    print(f"  verified   on {verified['pictures']} pictures: scores off by {verified['scores_error']:.1e}{proof}")
    for sentence in report.assumptions:
        print(f"  assumed    {sentence}")


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(number) for number in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3):
        raise argparse.ArgumentTypeError(f"{text!r} is not three numbers with commas between, or one for grey")
    return numbers


def _resize(text: str) -> tuple[str, int | None]:
    how, _, shorter_side = text.partition(":")
    known = how in ("stretch", "crop", "letterbox") and (
        not shorter_side or (how == "crop" and shorter_side.isdecimal())
    )
    if not known or text.endswith(":"):
        raise argparse.ArgumentTypeError(f"{text!r} is not one of stretch, crop, crop:SHORTER_SIDE, letterbox")
    return how, int(shorter_side) if shorter_side else None
