"""``camrt audit``: search for shortcuts, and prove them by experiments."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from camrt.cli.common_flags import add_head_flag, add_session_flags, open_model
from camrt.cli.messages import say, tell
from camrt.errors import UsageError

if TYPE_CHECKING:
    from camrt.runtime.audit.finding import Audit

EPILOG = """\
examples:
  camrt audit model.onnx photos                       a folder for each class
  camrt audit model.onnx photos --json > audit.json
  camrt audit model.onnx photos --fail-on any         exit status 1 where something is found

A finding is a part or a property of images, other than the object, that decides: images of other classes get it, images
of the class lose it, and answers flip in both directions, more than by the same change without it.
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "audit",
        help="find out whether the model decides by the wrong parts of images",
        description="Search for shortcuts of a model on labelled images: marks, borders, backgrounds, patterns, colour "
        "casts, compression. Each finding is proved by experiments with forward passes.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="model file from camrt attach, export or quantize")
    parser.add_argument(
        "data",
        metavar="DATA",
        type=Path,
        help="folder with one folder for each class, Pascal VOC XML, COCO JSON or a CSV; or the .json or .csv file",
    )
    parser.add_argument(
        "--passes",
        metavar="N",
        type=int,
        default=40_000,
        help="forward passes of the experiments, about 2500 a class (default: 40000)",
    )
    parser.add_argument(
        "--fail-on",
        metavar="KIND",
        action="append",
        default=[],
        help="exit status 1 if there is a finding of this kind, or of 'any'; repeatable",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of images (default: 0)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_head_flag(parser)
    add_session_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Audit and report; returns 1 if there is a finding of a kind of ``--fail-on``."""
    from camrt.runtime.audit.audit import KINDS, audit

    for kind in args.fail_on:
        if kind not in (*KINDS, "any"):
            raise UsageError(f"--fail-on {kind}: unknown kind; known are any, {', '.join(KINDS)}")
    model = open_model(args.model, args.provider, args.threads, args.provider_option, args.head)
    result = audit(model, args.data, passes=args.passes, seed=args.seed)
    if args.json:
        print(result.to_json())
    else:
        _print(result)
    failed = [one for one in result.findings if one.kind in args.fail_on or "any" in args.fail_on]
    if failed:
        tell(f"{len(failed)} findings of a kind of --fail-on")
    return 1 if failed else 0


def _print(result: "Audit") -> None:
    print(f"{result.model} on {result.images} images of {len(result.classes)} classes of {result.dataset}\n")
    if result.clean:
        print(
            f"clean: none of {result.tests} experiments on {result.tested_classes} classes rises above the noise floor"
        )
    for number, one in enumerate(result.findings, 1):
        low, high = one.interval
        print(f"{number}. {one.title}")
        print(f"   {one.kind}, effect {one.effect:.0%} ({low:.0%} to {high:.0%}), p {one.p_value:.1g}")
        print(f"   images: {', '.join(one.images[:3])}")
    width = max(len("class"), *(len(one.label) for one in result.classes))
    print(f"\n{'class':<{width}}  images  right  score  map on object  mostly confused with")
    for summary in result.classes:
        share = "-" if summary.on_object is None else f"{summary.on_object:.0%}"
        confused = ", ".join(f"{name} ({count})" for name, count in summary.confusions[:2])
        print(
            f"{summary.label:<{width}}  {summary.images:>6}  {summary.accuracy:>5.0%}  {summary.confidence:>5.2f}"
            f"  {share:>13}  {confused}"
        )
    print()
    for remark in result.remarks:
        say(remark)
