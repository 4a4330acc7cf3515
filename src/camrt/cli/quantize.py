"""``camrt quantize``: a model file in fewer bits, and what that did to its answers and maps."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from camrt.export.quantize.quantize import QuantizationReport

EPILOG = """\
examples:
  camrt quantize model.onnx -o model.int8.onnx --calibrate photos
  camrt quantize model.onnx -o model.int8.onnx --calibrate video.mp4 --html report.html
"""
CLASSES_SHOWN = 3


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "quantize",
        help="make a model file smaller and faster: 8-bit integers",
        description="Make a model file that computes in 8-bit integers, and compare its answers, maps, size and speed "
        "with those of the one it was made from.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="file made by camrt attach or export, in float32")
    parser.add_argument("-o", "--out", metavar="FILE", type=Path, required=True, help="the model file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument(
        "--calibrate",
        metavar="PATH",
        type=Path,
        nargs="+",
        required=True,
        help="folder of pictures, or a video, of what the network will see: a third calibrates, the rest judges",
    )
    parser.add_argument(
        "--method",
        choices=("minmax", "percentile", "entropy"),
        help="how ranges are calibrated; default: minmax, and percentile where that is not good enough",
    )
    parser.add_argument("--fp16", action="store_true", help="16-bit floats in place of 8-bit integers")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write the report as a page with pictures")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do the work and show the report. Raises: CamrtError."""
    from camrt.benchmarks.compare_speed import open_pair, speed
    from camrt.export import quantize
    from camrt.files import check_target, write_file
    from camrt.runtime.report.quantization import page
    from camrt.runtime.sources.capture import quiet_decoders

    if args.html is not None:
        check_target(args.html, args.model, overwrite=args.overwrite)
    quiet_decoders()
    report = quantize(
        args.model,
        args.out,
        calibration=args.calibrate,
        method=args.method,
        fp16=args.fp16,
        overwrite=args.overwrite,
    )
    first, second = open_pair(args.model, args.out)
    measured = speed(first, second, report.pictures[0])
    if args.html is not None:
        write_file(args.html, page(report, measured, first, second).encode())
    if args.json:
        print(json.dumps({**report.as_dict(), **measured}, indent=2, ensure_ascii=False))
    else:
        _print(report, measured)
    return 0


def _print(report: "QuantizationReport", measured: Mapping[str, Any]) -> None:
    facts = report.as_dict()
    print(f"{report.path}: {report.chosen}")
    others = "others" if report.held_out else "the same"
    calibrated = f"calibrated on {report.calibrated_on}, judged by {others}: " if report.calibrated_on else "judged by "
    print(f"  pictures   {calibrated}{facts['judged_on']}")
    print(
        f"  size       {report.size / 1e6:.2f} MB for {report.source_size / 1e6:.2f}: "
        f"{facts['size_ratio']:.2f} times smaller"
    )
    slower = " (slower: this processor does not compute faster in these)" if measured["speedup"] < 1 else ""
    print(
        f"  speed      {measured['ms']:.2f} ms for {measured['source_ms']:.2f}: {measured['speedup']:.2f} times as "
        f"fast here, {measured['provider']}, {measured['threads']} threads{slower}"
    )
    print(f"  answers    {facts['top1_agreement']:.1%} the same")
    print(
        f"  maps       correlation {facts['pearson_median']:.4f} (least {facts['pearson_least']:.4f}), of ranks "
        f"{facts['rank_median']:.4f}, overlap of boxes {facts['box_iou_median']:.3f}, peaks "
        f"{facts['peak_distance_median']:.1%} of the diagonal apart (medians)"
    )
    for attempt in facts["tries"] if len(facts["tries"]) > 1 else []:
        print(
            f"  tried      {attempt['way']}: {attempt['top1_agreement']:.1%} the same, correlation "
            f"{attempt['pearson_median']:.4f}"
        )
    for row in facts["classes"][:CLASSES_SHOWN]:
        print(
            f"  worst      {row['label']}: {row['top1_agreement']:.0%} the same of {row['pictures']}, correlation "
            f"{row['pearson_median']:.4f}; {row['worst']}"
        )
    for note in report.notes:
        print(f"  note       {note}")
