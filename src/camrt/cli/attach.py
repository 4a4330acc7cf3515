"""``camrt attach``: make a model file from an ONNX classifier."""

import argparse
from pathlib import Path

from camrt.cli.export_flags import add_flags, options, show, size

EPILOG = """\
examples:
  camrt attach classifier.onnx -o model.onnx --labels labels.txt
  camrt attach caffe.onnx -o model.onnx --bgr --scale 1 --mean 104,117,123 --std 1,1,1 --resize crop:256
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "attach",
        help="make a model file from an ONNX classifier",
        description="Make a model file, with class activation maps, from an ONNX classifier.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("classifier", metavar="CLASSIFIER", type=Path, help="ONNX file: images in, [N, K] out")
    add_flags(parser)
    parser.add_argument("--size", metavar="WxH", type=size, help="input size of a network with an open size, in pixels")
    parser.add_argument(
        "--fix",
        metavar="NAME=VALUE",
        type=_fixed_input,
        action="append",
        default=[],
        help="give an input besides the image a constant: a number or a .npy file; repeat for several inputs",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the file and print the report. Raises: CamrtError."""
    from camrt.export import attach

    show(attach(args.classifier, args.out, size=args.size, fix=dict(args.fix), **options(args)), as_json=args.json)
    return 0


def _fixed_input(text: str) -> tuple[str, str]:
    name, equals, value = text.rpartition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE or NAME=FILE.npy")
    return name, value
