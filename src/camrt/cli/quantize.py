"""``camrt quantize``: make a model file with 8-bit integers, and report the effect on classes, maps, size and speed."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
        help="make a model file smaller and faster with 8-bit integers",
        description="Make a model file that computes in 8-bit integers. Compare its predicted classes, maps, size and "
        "speed with those of the original.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="model file in float32, from camrt attach or export")
    parser.add_argument("-o", "--out", metavar="FILE", type=Path, required=True, help="write the new model file here")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument(
        "--calibrate",
        metavar="PATH",
        type=Path,
        nargs="+",
        required=True,
        help="use these folders of images, images or videos; a third calibrates, the rest evaluates",
    )
    parser.add_argument(
        "--method",
        choices=("minmax", "percentile", "entropy"),
        help="calibrate the ranges this way (default: minmax, then percentile if the result is not good enough)",
    )
    parser.add_argument(
        "--fp16", action="store_true", help="use 16-bit floats, for GPUs; scale what leaves their range"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write the report as a page with images")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Quantize, measure, report. Raises: CamrtError."""
    from camrt.export import quantize
    from camrt.files import check_target, write_file
    from camrt.runtime.inference.compare_speed import compare_speed, open_pair
    from camrt.runtime.report.quantization import page

    if args.html is not None:
        check_target(args.html, args.model, overwrite=args.overwrite)
    quantized = quantize(
        args.model,
        args.out,
        calibration=args.calibrate,
        method=args.method,
        fp16=args.fp16,
        overwrite=args.overwrite,
    )
    source_model, quantized_model = open_pair(args.model, args.out)
    report = {**quantized.as_dict(), **compare_speed(source_model, quantized_model, quantized.images[0])}
    if args.html is not None:
        html = page(report, list(quantized.images), source_model, quantized_model)
        write_file(args.html, html.encode())
    if args.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _print(report)
    return 0


def _print(report: Mapping[str, Any]) -> None:
    print(f"{report['path']}: {report['selected']}")
    evaluated = f"evaluated on {report['evaluated_on']}"
    if report["calibrated_on"]:
        others = "other images" if report["held_out"] else "the same"
        evaluated = f"calibrated on {report['calibrated_on']}, {evaluated} ({others})"
    print(f"  images     {evaluated}")
    print(
        f"  size       {report['size_bytes'] / 1e6:.2f} MB instead of {report['source_size_bytes'] / 1e6:.2f}: "
        f"{report['size_ratio']:.2f} times smaller"
    )
    slower = " (slower: this processor does not compute faster in these numbers)" if report["speedup"] < 1 else ""
    print(
        f"  speed      {report['ms']:.2f} ms instead of {report['source_ms']:.2f}: {report['speedup']:.2f} times as "
        f"fast on this machine, {report['provider']}, {report['threads']} threads{slower}"
    )
    print(f"  classes    {report['top1_agreement']:.1%} the same")
    print(
        f"  maps       correlation {report['pearson_median']:.4f} (lowest {report['pearson_least']:.4f}), of ranks "
        f"{report['rank_median']:.4f}, box IoU {report['box_iou_median']:.3f}, distance of peaks "
        f"{report['peak_distance_median']:.1%} of the diagonal (medians)"
    )
    for attempt in report["attempts"] if len(report["attempts"]) > 1 else []:
        print(
            f"  attempt    {attempt['configuration']}: {attempt['top1_agreement']:.1%} the same class, correlation "
            f"{attempt['pearson_median']:.4f}"
        )
    for row in report["classes"][:CLASSES_SHOWN]:
        print(
            f"  worst      {row['label']}: {row['top1_agreement']:.0%} of {row['images']} the same class, "
            f"correlation {row['pearson_median']:.4f}; {row['worst']}"
        )
    for note in report["notes"]:
        print(f"  note       {note}")
