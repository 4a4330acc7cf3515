"""Everything that camrt says of its speed, measured in one run.

    python -m camrt.benchmarks.report.report [--rounds N] [--threads N] [--json FILE] [--chart FILE]
        [--documents FILE ...]

Prints Markdown tables; ``--json`` keeps the numbers, ``--chart`` draws those of whole frames, ``--documents`` fills the
tables of documents anew (see `tables`). Needs the extras ``export``, ``cpu`` and ``bench``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camrt import kernels
from camrt.benchmarks import chart
from camrt.benchmarks.compare import baselines, multi_camera, overlay
from camrt.benchmarks.machine import describe_machine
from camrt.benchmarks.report import tables
from camrt.cores import usable_cores
from camrt.runtime.inference.model import load

FRAMES = ((640, 480), (1920, 1080))
NETWORKS = ("mobilenet_v2", "resnet50")
"""The first is the one that rivals and cameras are measured with."""
CAMERAS = (1, 2, 3)


def measure(threads: int, rounds: int) -> dict[str, Any]:
    """Measure everything on the CPU.

    Args:
        threads: of each library, and the most of the overlay.
        rounds: interleaved rounds; live pipelines and cameras, which take half a second and more a turn, get a fifth.

    Returns: ``machine``, ``threads``, ``rounds``; ``live``, ``whole_frame``, ``libraries``, ``overlay``, ``cameras``,
    ``one_core``: lists of what `bench.measure`, `baselines.whole_frame`, `baselines.overlay_only`,
    `overlay.measure_all`, `multi_camera.measure` and, pinned to one core, `bench.measure` return.
    """
    kernels.warm_up()
    few = max(1, rounds // 5)
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.onnx" for name in NETWORKS}
        networks = {name: baselines.export_network(name, file) for name, file in files.items()}
        live = _camrt_bench(list(files.values()), threads, few)
        one_core = _camrt_bench(list(files.values()), 1, few, cores=1)
        first = NETWORKS[0]
        shared = load(files[first], provider="cpu", threads=threads)
        together = multi_camera.measure(shared, *FRAMES[0], CAMERAS, few)
        contest = baselines.WholeFrame(networks[first], files[first], threads)
        whole = baselines.whole_frame(contest, FRAMES, threads, rounds)
        contest.close()
    return {
        "machine": describe_machine(),
        "threads": threads,
        "rounds": rounds,
        "live": live,
        "whole_frame": whole,
        "libraries": baselines.overlay_only(overlay.SIZES, threads, rounds),
        "overlay": overlay.measure_all(threads, rounds),
        "cameras": together,
        "one_core": one_core,
    }


def _camrt_bench(files: Sequence[Path], threads: int, rounds: int, cores: int | None = None) -> list[dict[str, Any]]:
    """Run ``camrt bench`` in a process of its own, where memory is not torch's, on the first so many cores."""
    sizes = [f"{width}x{height}" for width, height in FRAMES]
    numbers = ["--threads", str(threads), "--rounds", str(rounds)]
    command = [sys.executable, "-m", "camrt.cli", "bench", *map(str, files), "--size", *sizes, *numbers]
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[:cores])  # inherited
    try:
        run = subprocess.run([*command, "--provider", "cpu", "--json"], stdout=subprocess.PIPE, text=True, check=True)
    finally:
        os.sched_setaffinity(0, every)
    return list(json.loads(run.stdout)["runs"])


def main() -> None:
    """Measure, keep, show."""
    parser = argparse.ArgumentParser(description="everything that camrt says of its speed, measured in one run")
    parser.add_argument("--rounds", type=int, default=50, help="interleaved rounds (default 50)")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of each library (default: every core)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the numbers")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw whole frames: a .png or .svg file")
    parser.add_argument("--documents", type=Path, nargs="*", default=[], metavar="FILE", help="fill their tables anew")
    args = parser.parse_args()
    if args.chart is not None:
        chart.check(args.chart, overwrite=True)
    report = measure(args.threads, args.rounds)
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if args.chart is not None:
        chart.draw_rivals(args.chart, report["whole_frame"], report["machine"])
    shown = tables.of(report)
    for document in args.documents:
        document.write_text(tables.fill(document.read_text(encoding="utf-8"), shown), encoding="utf-8")
    print("\n\n".join(f"{name}\n\n{table}" for name, table in shown.items()))


if __name__ == "__main__":
    main()
