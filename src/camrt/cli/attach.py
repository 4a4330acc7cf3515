"""``camrt attach``: make a model file from an ONNX classifier."""

import argparse
from pathlib import Path

from camrt.cli.export_flags import add_fix_flag, add_flags, options, show, size

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
    parser.add_argument(
        "--size",
        metavar="WxH",
        type=size,
        help="input size in pixels; changes a fixed one where the network pools its maps",
    )
    add_fix_flag(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the file and print the report. Raises: CamrtError."""
    from camrt.export import attach

    show(attach(args.classifier, args.out, size=args.size, fix=dict(args.fix), **options(args)), as_json=args.json)
    return 0
