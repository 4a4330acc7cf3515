"""Measure frame rate, latency, processor time and memory for different numbers of viewers and cameras.

    python -m camrt.benchmarks.endurance.load [--model FILE] [--viewers N ...] [--cameras N ...] [--seconds S]
        [--json FILE]

``camrt live --serve`` and its cameras run in separate processes. The viewers are threads of this process on the same
machine, so many viewers slow down what they measure. With several cameras the viewers watch the mosaic.
"""

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from camrt.benchmarks.endurance.http_camera import camera, free_port
from camrt.benchmarks.endurance.live_process import live
from camrt.benchmarks.endurance.viewers import EventReader, StreamViewer, get_state
from camrt.benchmarks.machine import describe_machine, format_machine
from camrt.benchmarks.report import tables
from camrt.runtime.assets import DEMO_MODEL

VIEWERS: Final = (1, 2, 4, 8, 16, 32)
CAMERAS: Final = (1, 2, 4, 8)
FPS: Final = 30.0
_WARM_UP_S: Final = 4.0


def measure(model: Path, cameras: int, viewers: int, seconds: float) -> dict[str, Any]:
    """Watch ``cameras`` cameras of 640x480 at 30 frames per second with ``viewers`` viewers.

    Args:
        model: the model file.
        cameras: number of cameras.
        viewers: number of viewers.
        seconds: duration of the measurement after a warm-up.

    Returns: ``cameras``, ``viewers``; ``camera_fps``, ``classified`` and ``drawn`` frames per second, the means over
    the cameras; ``viewer_fps``, images per second, the median over the viewers; ``delay_ms`` and ``delay_p95_ms``, the
    latency from the arrival of a frame to the arrival of its image at a viewer, over all viewers, or None for several
    cameras (images of a mosaic have no number); ``cores``, seconds of processor time per second of ``camrt live``;
    ``memory_mb``.
    """
    port = free_port()
    with camera(port, FPS), live(model, [f"http://127.0.0.1:{port}/{number}" for number in range(cameras)]) as process:
        with contextlib.ExitStack() as stack:
            events = EventReader(process.url)
            stack.callback(events.close)
            clients = [StreamViewer(process.url, 0 if cameras == 1 else "all") for _ in range(viewers)]
            for client in clients:
                stack.callback(client.close)
            time.sleep(_WARM_UP_S)
            counts, cpu_s, start = [client.images for client in clients], process.cpu_s(), time.monotonic()
            time.sleep(seconds)
            duration_s = time.monotonic() - start
            cores = (process.cpu_s() - cpu_s) / duration_s
            rates = [(client.images - count) / duration_s for client, count in zip(clients, counts, strict=True)]
            states, memory_mb = get_state(process.url)["cameras"], process.memory_mb()
        latencies_ms = [
            1e3 * (arrival_s - events.times[0, number])
            for client in clients
            for number, arrival_s in client.arrival_s.items()
            if (0, number) in events.times
        ]
    return {
        "cameras": cameras,
        "viewers": viewers,
        "camera_fps": {
            kind: statistics.mean(state["fps"][kind] for state in states) for kind in ("classified", "drawn")
        },
        "viewer_fps": statistics.median(rates),
        "delay_ms": float(np.median(latencies_ms)) if latencies_ms else None,
        "delay_p95_ms": float(np.percentile(latencies_ms, 95)) if latencies_ms else None,
        "cores": cores,
        "memory_mb": memory_mb,
    }


def load_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the Markdown table of rows of `measure`."""
    header = (
        *("cameras", "viewers", "classified per camera", "drawn per camera", "received per viewer"),
        *("latency, median", "latency, 95th percentile", "cores", "memory"),
    )
    return tables.table(
        header,
        [
            (
                *(str(row["cameras"]), str(row["viewers"])),
                *(f"{row['camera_fps'][kind]:.0f} fps" for kind in ("classified", "drawn")),
                f"{row['viewer_fps']:.0f} fps",
                *("" if row[key] is None else f"{row[key]:.0f} ms" for key in ("delay_ms", "delay_p95_ms")),
                *(f"{row['cores']:.2f}", f"{row['memory_mb']:.0f} MB"),
            )
            for row in rows
        ],
    )


def make_tables(report: Mapping[str, Any]) -> dict[str, str]:
    """Return the table of the report that `main` writes, by the name of its block in documents."""
    return {"load": f"{load_table(report['load'])}\n\n{format_machine(report['machine'])}."}


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description="measure frame rate, latency and load")
    parser.add_argument("--model", type=Path, default=DEMO_MODEL)
    parser.add_argument("--viewers", type=int, nargs="+", default=list(VIEWERS), help="with one camera")
    parser.add_argument("--cameras", type=int, nargs="+", default=list(CAMERAS), help="with one viewer")
    parser.add_argument("--seconds", type=float, default=8.0, help="per measurement (default 8)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    parser.add_argument("--documents", type=Path, nargs="*", default=[], metavar="FILE", help="update their table")
    args = parser.parse_args()
    pairs = dict.fromkeys([*((1, number) for number in args.viewers), *((number, 1) for number in args.cameras)])
    rows = [measure(args.model, cameras, viewers, args.seconds) for cameras, viewers in pairs]
    report = {"load": rows, "machine": describe_machine()}
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    shown = make_tables(report)
    for document in args.documents:
        document.write_text(tables.fill(document.read_text(), shown))
    print(shown["load"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
