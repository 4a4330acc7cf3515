"""``camrt export``: make a model file from a torch module."""

import argparse
from dataclasses import replace
from pathlib import Path

from camrt.cli.export_flags import add_flags, options, show, size

EPILOG = """\
example:
  camrt export mypackage.models:make_classifier --checkpoint best.pt --size 224 -o model.onnx --labels labels.txt
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "export",
        help="make a model file from a torch module",
        description="Make a model file, with class activation maps, from a torch classifier.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "module",
        metavar="PACKAGE.MODULE:FACTORY",
        help="torch.nn.Module, or a class or function that returns one; the current folder is searched too",
    )
    add_flags(parser)
    parser.add_argument(
        "--checkpoint", metavar="FILE", type=Path, help="load the weights from here: a torch or safetensors file"
    )
    parser.add_argument("--weights", metavar="NAME", help="use these weights of a checkpoint with several, like ema")
    parser.add_argument("--bytes", action="store_true", help="the module takes pixels as bytes (uint8), 0 to 255")
    parser.add_argument("--size", metavar="WxH", type=size, required=True, help="input size in pixels, or one number")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the file and print the report. Raises: CamrtError."""
    from camrt.export import from_torch
    from camrt.export.load_module import load_module

    module, remarks = load_module(args.module, args.checkpoint, args.weights)
    report = from_torch(module, args.out, input_size=args.size, takes_bytes=args.bytes, **options(args))
    show(replace(report, remarks=(*remarks, *report.remarks)), as_json=args.json)
    return 0
