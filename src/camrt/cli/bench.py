"""``camrt bench``: how fast a model file is on this device."""

import argparse
import json
from pathlib import Path
from typing import Any

from camrt.cli.conversion import size
from camrt.cli.options import add_session_flags, open_model
from camrt.errors import UsageError


def add(commands: Any) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "bench",
        help="measure a model file on this device",
        description="Measure a model file on this device: each stage, and frame rates with and without the overlay.",
        epilog="example: camrt bench model.onnx --size 1920x1080",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="file made by camrt attach or export")
    parser.add_argument("--size", default=(640, 480), type=size, metavar="WxH", help="of the frames (default 640x480)")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="interleaved rounds (default 7)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_session_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    width, height = args.size
    if args.rounds < 1:
        raise UsageError(f"--rounds {args.rounds}: at least one")
    model = open_model(args)
    from camrt.benchmarks.bench import measure, startup_seconds
    from camrt.benchmarks.machine import describe_machine

    report = {
        "model": str(model.path),
        "provider": model.provider,
        "threads": model.threads,
        **measure(model, width, height, args.rounds),
        "startup_s": startup_seconds(model.path, model.provider, model.threads),
        "machine": describe_machine(),
    }
    print(json.dumps(report, indent=2) if args.json else _table(report))
    return 0


def _table(report: dict[str, Any]) -> str:
    machine = report["machine"]
    fps = report["fps"]
    rows = [
        f"{report['model']} on {report['provider']}, {report['threads']} threads, "
        f"frames {report['frame'][0]}x{report['frame'][1]} from memory",
        f"{machine['cpu']}, {machine['cores']} cores; " + ", ".join(f"{k} {v}" for k, v in machine["versions"].items()),
        "",
        f"{'stage':<14}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}",
        *(
            f"{stage:<14}{times['p50_ms']:>9.2f}{times['p95_ms']:>9.2f}{times['p99_ms']:>9.2f}"
            for stage, times in report["stages"].items()
        ),
        "",
        f"{'inference only':<24}{fps['inference_only']:>8.1f} fps",
        f"{'with the overlay':<24}{fps['overlay']:>8.1f} fps",
        f"{'ratio':<24}{report['ratio']:>8.2f}      median of {report['rounds']} interleaved rounds of "
        f"{report['frames_per_block']} frames",
        f"{'start to first overlay':<24}{report['startup_s']:>8.2f} s",
        f"{'peak memory':<24}{report['peak_memory_mb']:>8.0f} MB",
    ]
    return "\n".join(rows)
