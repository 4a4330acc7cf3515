"""Flags and report that ``camrt attach`` and ``camrt export`` share."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from camrt.cli.verification import describe_verification
from camrt.errors import UsageError
from camrt.model_file import Activation, Interpolation

if TYPE_CHECKING:
    from camrt.export.check import PreprocessingCheck
    from camrt.export.report import Report


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that both commands share."""
    parser.add_argument("-o", "--out", metavar="FILE", type=Path, required=True, help="write the model file here")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    parser.add_argument(
        "--labels",
        metavar="[NAME=]FILE",
        action="append",
        default=[],
        help="read the class names from here: lines, JSON, CSV, YAML; none for numbers (default: those in the file); "
        "NAME=FILE for each of several outputs",
    )
    parser.add_argument(
        "--output",
        metavar="NAME",
        action="append",
        help="use this one of several outputs as scores; repeat it for a file with several heads",
    )
    parser.add_argument(
        "--layer", metavar="NAME", help="show this feature map (default: the last one; camrt inspect lists them)"
    )
    parser.add_argument(
        "--activation",
        metavar="[NAME=]HOW",
        action="append",
        default=[],
        help=f"apply {', '.join(get_args(Activation))} to the output, or NAME=HOW to one of several (default: the one "
        "in the graph; none for a regression)",
    )
    parser.add_argument(
        "--images",
        metavar="PATH",
        type=Path,
        nargs="+",
        help="verify on these images or folders (default: synthetic images)",
    )
    parser.add_argument(
        "--check",
        metavar="FOLDER",
        type=Path,
        help="measure the accuracy with this preprocessing and with others, on images in one sub-folder a class",
    )
    parser.add_argument(
        "--fine",
        action="store_true",
        help="double the rows and columns of the maps: last stage with stride 1 and dilation 2, same weights",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    pixels = parser.add_argument_group(
        "preprocessing",
        "network input = (pixel * scale - mean) / std; default: what the file or files beside it state, else as below",
    )
    pixels.add_argument("--scale", type=float, help="factor of each pixel (default: 1/255)")
    pixels.add_argument("--mean", metavar="A,B,C", type=_numbers, help="default: ImageNet, .485,.456,.406; grey: 0")
    pixels.add_argument("--std", metavar="A,B,C", type=_numbers, help="default: ImageNet, .229,.224,.225; grey: 1")
    order = pixels.add_mutually_exclusive_group()
    order.add_argument(
        "--rgb", dest="channels", action="store_const", const="rgb", help="the network reads RGB (default)"
    )
    order.add_argument("--bgr", dest="channels", action="store_const", const="bgr", help="the network reads BGR")
    pixels.add_argument("--invert", action="store_true", help="take 255 - pixel, for networks of light on dark")
    frames = parser.add_argument_group("frames", "conversion of a frame of any size to the network's input")
    frames.add_argument(
        "--resize",
        metavar="HOW",
        type=_resize,
        default=(None, None),
        help="stretch (default), crop, crop:SHORTER_SIDE (in pixels, before the crop of the centre), letterbox",
    )
    frames.add_argument(
        "--interpolation",
        choices=get_args(Interpolation),
        help="resize like torchvision and Pillow (antialias, the default), or like OpenCV's linear or area",
    )


def add_fix_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag for further inputs of an ONNX classifier."""
    parser.add_argument(
        "--fix",
        metavar="NAME=VALUE",
        type=_fixed_input,
        action="append",
        default=[],
        help="give an input besides the image a constant: a number or a .npy file; repeat for several inputs",
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
        "labels": of_heads("--labels", args.labels, args.output),
        "output": args.output,
        "layer": args.layer,
        "invert": args.invert,
        "resize": resize,
        "shorter_side": shorter_side,
        "interpolation": args.interpolation,
        "activation": of_heads("--activation", args.activation, args.output),
        "images": args.images,
        "check": args.check,
        "fine": args.fine,
        "overwrite": args.overwrite,
    }


def of_heads(flag: str, entries: Sequence[str], outputs: Sequence[str] | None) -> str | dict[str, str] | None:
    """Return the value of a flag that may be repeated as NAME=VALUE, one for each head.

    Args:
        flag: its name, for messages.
        entries: its texts.
        outputs: the names of ``--output``; None: there is none.

    Returns: the only value, or one by the name of each head; None: there is no entry.

    Raises:
        UsageError: a head has two values, or the only value is given twice.
    """
    outputs = outputs or ()
    named = [(name, value) for name, equals, value in (entry.partition("=") for entry in entries) if equals]
    if len(entries) == 1 and (not named or (len(outputs) < 2 and named[0][0] not in outputs)):
        return entries[0]  # a file's name may have an equals sign
    if len(named) < len(entries):
        raise UsageError(f"{flag} is given {len(entries)} times; for several heads, write {flag} NAME=... for each")
    values = dict(named)
    if len(values) < len(named):
        raise UsageError(f"{flag} is given twice for one head; the heads are {', '.join(outputs)}")
    return values or None


def show(report: "Report", *, as_json: bool) -> None:
    """Print the heads, their verification, what was read and assumed, and the check."""
    if as_json:
        print(json.dumps(asdict(report), ensure_ascii=False, indent=2))
        return
    heads = report.heads or (report,)
    classes = f"{report.classes} classes" if len(heads) == 1 else f"{len(heads)} heads"
    print(f"{report.path}: {classes}, input {report.input[0]}x{report.input[1]}")
    said: set[str] = set()
    for head in heads:
        if len(heads) > 1:
            print(f"  output     {head.output}: {head.classes} classes")
        channels, height, width = head.features
        print(f"  head       {head.head}, maps {channels} x {height} x {width}, scores by {head.activation}")
        print(f"  verified   {describe_verification(head.verification)}")
        lines = [f"  read       {sentence}" for sentence in head.read]
        lines += [f"  assumed    {sentence}" for sentence in head.assumptions]
        lines += [f"  remark     {sentence}" for sentence in head.remarks]
        lines += [f"  warning    {head.warning}"] if head.warning else []
        for line in lines:
            if line not in said:  # heads share the preprocessing
                print(line)
        said.update(lines)
        if head.fine is not None:
            print(f"  fine       {head.fine.sentence()}")
        if head.check is not None:
            _show_check(head.check)


def _fixed_input(text: str) -> tuple[str, str]:
    name, equals, value = text.rpartition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE or NAME=FILE.npy")
    return name, value


def _show_check(check: "PreprocessingCheck") -> None:
    """Print the accuracy of each preprocessing."""
    count = f"{check.images} of {check.images_in_folder}" if check.images < check.images_in_folder else check.images
    print(f"  check      {count} images of {check.classes} classes; accuracy and its 95 % interval")
    for variant in check.variants:
        low, high = variant.interval
        one_answer = "; one answer for all" if variant.answers == 1 < check.classes else ""
        interval = f"({low:.1%} to {high:.1%})"
        chosen = " (chosen)" if variant.is_chosen else ""
        print(f"             {variant.accuracy:>6.1%}  {interval:<18}  {variant.name}{chosen}{one_answer}")
    if check.better is not None:
        print(f"  warning    Another preprocessing is better. Make the file again with {check.better}")


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(number) for number in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3, 4):
        raise argparse.ArgumentTypeError(f"{text!r} is not three numbers with commas (four with alpha, one for grey)")
    return numbers


def _resize(text: str) -> tuple[str, int | None]:
    how, _, shorter_side = text.partition(":")
    valid = how in ("stretch", "crop", "letterbox") and (
        not shorter_side or (how == "crop" and shorter_side.isdecimal())
    )
    if not valid or text.endswith(":"):
        raise argparse.ArgumentTypeError(f"{text!r} is not one of stretch, crop, crop:SHORTER_SIDE, letterbox")
    return how, int(shorter_side) if shorter_side else None
