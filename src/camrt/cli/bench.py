"""``camrt bench``: measure the speed of model files on this device."""

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camrt.cli.common_flags import add_head_flag, add_session_flags, open_model, provider_options
from camrt.cli.export_flags import size
from camrt.errors import UsageError


def add(commands: Any) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "bench",
        help="measure the speed of model files on this device",
        description="Measure model files on this device: each stage, and frame rates with and without the overlay. "
        "If a flag has several values, every combination is measured.",
        epilog="example: camrt bench model.onnx --size 640x480 1920x1080 --threads 1 2 --chart speed.png",
    )
    parser.add_argument(
        "models", nargs="+", type=Path, metavar="MODEL", help="one or more files made by camrt attach or export"
    )
    parser.add_argument(
        "--size",
        nargs="+",
        default=[(640, 480)],
        type=size,
        metavar="WxH",
        help="measure frames of these sizes in pixels (default 640x480)",
    )
    add_head_flag(parser)
    add_session_flags(parser, several=True)
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="run N interleaved rounds (default 7)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw the results as a .png or .svg file")
    parser.add_argument("--overwrite", action="store_true", help="replace the chart if it exists")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    if args.rounds < 1:
        raise UsageError(f"--rounds {args.rounds}: at least 1 is needed")
    from camrt.benchmarks import chart
    from camrt.benchmarks.bench import measure, startup_seconds
    from camrt.benchmarks.machine import describe_machine, format_machine
    from camrt.runtime.inference.model import load

    if args.chart is not None:
        chart.check(args.chart, overwrite=args.overwrite)
    options = provider_options(args.provider_option)
    if options and len(args.provider) > 1:
        raise UsageError("--provider-option works with one provider at a time, but --provider names several")
    sessions = list(itertools.product(args.models, args.provider, args.threads))
    for session in sessions[1:]:  # errors of later sessions are raised before anything is measured
        load(*session, provider_options=options, head=args.head)
    runs = []
    for path, provider, threads in sessions:
        model = open_model(path, provider, threads, args.provider_option, args.head)
        startup_s = startup_seconds(model)
        shared = {"precision": model.precision, "running_precision": model.running_precision, "startup_s": startup_s}
        runs += [measure(model, width, height, args.rounds) | shared for width, height in args.size]
        del model  # frees its memory before the next one is measured
    machine = describe_machine()
    if args.json:
        print(json.dumps({"machine": machine, "rounds": args.rounds, "runs": runs}, indent=2))
    else:
        print(format_machine(machine))
        print(_details(runs[0], args.rounds) if len(runs) == 1 else _overview(runs, args.rounds))
    if args.chart is not None:  # after the numbers are printed, so that a full disk does not lose them
        chart.draw(args.chart, runs, machine)
    return 0


def _details(run: dict[str, Any], rounds: int) -> str:
    fps, cores = run["fps"], run["cpu_cores"]
    spin = f"threads spin for {run['spin_us']} us" if run["spin_us"] else "threads do not spin"
    head = f", head {run['head']}," if run["head"] else ""
    rows = [
        f"{run['model']}{head} on {run['provider']}, {run['threads']} threads, {run['running_precision']}, "
        f"frames {run['frame'][0]}x{run['frame'][1]} from memory",
        "",
        f"{'stage':<14}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}",
        *(
            f"{stage:<14}{times['p50_ms']:>9.2f}{times['p95_ms']:>9.2f}{times['p99_ms']:>9.2f}"
            for stage, times in run["stages"].items()
        ),
        "",
        f"{'inference only':<24}{fps['inference_only']:>8.1f} fps  {cores['inference_only']:.1f} cores busy; {spin}",
        f"{'with the overlay':<24}{fps['overlay']:>8.1f} fps  {cores['overlay']:.1f} cores busy",
        f"{'ratio':<24}{run['ratio']:>8.2f}      median of {rounds} interleaved rounds of "
        f"{run['frames_per_block']} frames",
        f"{'start to first overlay':<24}{run['startup_s']:>8.2f} s",
        f"{'memory':<24}{run['memory_mb']:>8.0f} MB",
    ]
    return "\n".join(rows)


def _overview(runs: Sequence[dict[str, Any]], rounds: int) -> str:
    name = max(len(run["model"]) for run in runs)
    provider = max(len("provider"), *(len(run["provider"]) for run in runs)) + 1
    header = (
        f"{'model':<{name}}  {'provider':<{provider}}{'precision':<9}{'threads':>8}{'frame':>11}"
        f"{'fps without':>13}{'with':>8}{'ratio':>7}"
        f"{'pre ms':>8}{'infer ms':>10}{'cam ms':>8}{'overlay ms':>12}{'cores':>7}{'MB':>6}{'start s':>9}"
    )
    rows = [
        f"{run['model']:<{name}}  {run['provider']:<{provider}}{run['precision']:<9}{run['threads']:>8}"
        f"{'x'.join(map(str, run['frame'])):>11}"
        f"{run['fps']['inference_only']:>13.1f}{run['fps']['overlay']:>8.1f}{run['ratio']:>7.2f}"
        f"{run['stages']['preprocess']['p50_ms']:>8.2f}{run['stages']['inference']['p50_ms']:>10.2f}"
        f"{run['stages']['cam']['p50_ms']:>8.2f}{run['stages']['overlay']['p50_ms']:>12.2f}"
        f"{run['cpu_cores']['overlay']:>7.1f}{run['memory_mb']:>6.0f}{run['startup_s']:>9.2f}"
        for run in runs
    ]
    return "\n".join([f"medians of {rounds} interleaved rounds; frames from memory", "", header, *rows])
