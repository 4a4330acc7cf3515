"""``camrt collect``: store the classes and maps of many images, one row an image."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camrt.cli.common_flags import add_head_flag, add_session_flags, open_model, stop_on_signals
from camrt.cli.messages import say, tell

if TYPE_CHECKING:
    from camrt.runtime.collect.collect import Report

EPILOG = """\
examples:
  camrt collect model.onnx photos -o maps.parquet           a folder, with all its sub-folders
  camrt collect model.onnx list.txt clip.mp4 --every 25 -o maps.parquet
  camrt collect model.onnx VOC2012 -o maps.parquet && camrt eval maps.parquet VOC2012

The same command goes on where an earlier run was interrupted. The rows are the same for any number of workers.
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "collect",
        help="store the classes and maps of many images, with all cores",
        description="Run a model over many images with worker processes, and write one row for each image: best "
        "classes, maps, pooled features, boxes. The store is a folder of Parquet files. camrt eval reads it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="model file from camrt attach, export or quantize")
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help="folder, image, video, text file with one path a line, table of labels (.csv, .json), or glob",
    )
    parser.add_argument(
        "-o", "--out", metavar="STORE", type=Path, required=True, help="folder to write, such as maps.parquet"
    )
    parser.add_argument("--overwrite", action="store_true", help="start again where the store exists")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every N-th frame of videos (default 1)")
    parser.add_argument(
        "--classes",
        metavar="FILE",
        type=Path,
        help="table from names of folders to labels of the model: lines 'class,label' or 'n02123045 tabby'",
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="number of processes, which share the threads (default: one a thread)"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_head_flag(parser)
    add_session_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Collect, report; returns 1 if the run was stopped."""
    from camrt.runtime.collect.collect import Collector

    model = open_model(args.model, args.provider, args.threads, args.provider_option, args.head)
    collector = Collector(
        model,
        args.inputs,
        args.out,
        every=args.every,
        classes=args.classes,
        workers=args.workers,
        overwrite=args.overwrite,
    )
    stop_on_signals(collector.stop)
    report = collector.run()
    if args.json:
        print(json.dumps(_values(report), indent=2, ensure_ascii=False))
    else:
        _print(report)
    for remark in report.remarks:
        say(remark)
    if report.stopped:
        tell("stopped before the end; the same command goes on")
    return 1 if report.stopped else 0


def _values(report: "Report") -> dict[str, Any]:
    from camrt.runtime.collect.collect import ENGINE

    return {
        "store": str(report.store),
        "rows": report.rows,
        "skipped": report.skipped,
        "new_rows": report.new,
        "complete": not report.stopped,
        "images_per_second": report.images_per_second,
        "decode_share": report.decode_share,
        "seconds": report.seconds,
        "engine": ENGINE,
        "workers": report.workers,
        "threads_per_worker": report.threads,
        "remarks": list(report.remarks),
    }


def _print(report: "Report") -> None:
    broken = f", {report.skipped} of them with an error instead of a map" if report.skipped else ""
    earlier = f", {report.rows - report.new} of an earlier run" if report.new < report.rows else ""
    print(f"{report.store}: {report.rows} rows{broken}{earlier}")
    if report.images_per_second is not None and report.decode_share is not None:
        print(
            f"{report.images_per_second:.1f} images/s with {report.workers} workers of {report.threads} threads; "
            f"{report.decode_share:.0%} of their time is reading and decoding"
        )
