"""Run all speed measurements of the documents in one run.

    python -m camrt.benchmarks.report.report [--rounds N] [--threads N] [--json FILE] [--chart FILE]
        [--gpu FILE] [--documents FILE ...]

Prints Markdown tables. ``--json`` writes the results, ``--chart`` draws the times of whole frames, and ``--documents``
updates the tables of documents (see `tables`). With ``--gpu`` nothing is measured: the results that
``benchmarks/gpu.sh`` wrote become the table ``gpu``. Needs the extras ``export``, ``cpu`` and ``bench``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from camrt import kernels
from camrt.benchmarks import chart
from camrt.benchmarks.compare import baselines, many_streams, multi_camera, overlay
from camrt.benchmarks.goals.goals import goals_table
from camrt.benchmarks.machine import describe_machine
from camrt.benchmarks.report import tables
from camrt.cores import usable_cores
from camrt.runtime.inference.model import load

FRAMES = ((640, 480), (1920, 1080))
NETWORKS = ("mobilenet_v2", "resnet50")
"""The first one is also measured in other libraries and with several cameras."""
CAMERAS = (1, 2, 3)
STREAMS = (1, 4, 16, 64)
STREAM_TURN_S = 3.0
"""Seconds that each number of streams is measured, or half a second per round if that is less."""


def measure(threads: int, rounds: int) -> dict[str, Any]:
    """Measure everything on the CPU.

    Args:
        threads: threads of each library, and the larger number of threads for the overlay.
        rounds: interleaved rounds. Live pipelines and cameras take at least half a second per turn and get a fifth.

    Returns: ``machine``, ``threads``, ``rounds``, and lists of rows: ``live`` from `bench.measure`, ``whole_frame``
    from `baselines.measure_whole_frame`, ``libraries`` from `baselines.measure_overlay`, ``overlay`` from
    `overlay.measure_all`, ``cameras`` from `multi_camera.measure`, ``streams`` from
    `many_streams.measure`, and ``one_core`` from `bench.measure` on one core.
    """
    kernels.warm_up()
    few = max(1, rounds // 5)
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.onnx" for name in NETWORKS}
        networks = {name: baselines.export_network(name, file) for name, file in files.items()}
        live = _run_bench(list(files.values()), threads, few)
        one_core = _run_bench(list(files.values()), 1, few, cores=1)
        first = NETWORKS[0]
        model = load(files[first], provider="cpu", threads=threads)
        cameras = multi_camera.measure(model, *FRAMES[0], CAMERAS, few)
        streams = many_streams.measure(model, list(many_streams.KINDS), STREAMS, min(STREAM_TURN_S, rounds / 2))
        libraries = baselines.Libraries(networks[first], files[first], threads)
        whole_frame = baselines.measure_whole_frame(libraries, FRAMES, threads, rounds)
        libraries.close()
    return {
        "machine": describe_machine(),
        "threads": threads,
        "rounds": rounds,
        "live": live,
        "whole_frame": whole_frame,
        "libraries": baselines.measure_overlay(overlay.SIZES, threads, rounds),
        "overlay": overlay.measure_all(threads, rounds),
        "cameras": cameras,
        "streams": streams,
        "one_core": one_core,
    }


def _run_bench(files: Sequence[Path], threads: int, rounds: int, cores: int | None = None) -> list[dict[str, Any]]:
    """Run ``camrt bench`` on the first ``cores`` cores, in a separate process so that torch does not use its memory."""
    sizes = [f"{width}x{height}" for width, height in FRAMES]
    flags = ["--size", *sizes, "--threads", str(threads), "--rounds", str(rounds), "--provider", "cpu", "--json"]
    command = [sys.executable, "-m", "camrt.cli", "bench", *map(str, files), *flags]
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(all_cores)[:cores])  # the process inherits it
    try:
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    finally:
        os.sched_setaffinity(0, all_cores)
    return list(json.loads(run.stdout)["runs"])


def main() -> None:
    """Measure, write the results and print the tables."""
    parser = argparse.ArgumentParser(description="run all speed measurements of the documents")
    parser.add_argument("--rounds", type=int, default=50, help="interleaved rounds (default 50)")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="per library (default: one per core)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw times of whole frames (.png or .svg)")
    parser.add_argument("--gpu", type=Path, metavar="FILE", help="show these results of benchmarks/gpu.sh instead")
    parser.add_argument("--documents", type=Path, nargs="*", default=[], metavar="FILE", help="update their tables")
    args = parser.parse_args()
    if args.gpu is not None:
        _show({"gpu": goals_table(json.loads(args.gpu.read_text(encoding="utf-8")))}, args.documents)
        return
    if args.chart is not None:
        chart.check(args.chart, overwrite=True)
    report = measure(args.threads, args.rounds)
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if args.chart is not None:
        chart.draw_baselines(args.chart, report["whole_frame"], report["machine"])
    _show(tables.make_tables(report), args.documents)


def _show(shown: Mapping[str, str], documents: Sequence[Path]) -> None:
    """Print tables, and fill the blocks of documents with them."""
    for document in documents:
        document.write_text(tables.fill(document.read_text(encoding="utf-8"), shown), encoding="utf-8")
    print("\n\n".join(f"{name}\n\n{table}" for name, table in shown.items()))


if __name__ == "__main__":
    main()
