"""How many viewers and cameras one machine carries: frame rate, delay, processor time and memory.

    python -m camrt.benchmarks.endurance.load [--model FILE] [--viewers N ...] [--cameras N ...] [--seconds S]
        [--json FILE]

``camrt live --serve`` runs in a process of its own, as do its cameras; whoever watches is threads of this one, on the
same machine, so that many of them take from what they measure. With several cameras the mosaic is watched.
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
from camrt.benchmarks.endurance.viewers import Follower, Viewer, state_of
from camrt.benchmarks.machine import describe_machine, format_machine
from camrt.benchmarks.report import tables
from camrt.runtime.assets import DEMO_MODEL

VIEWERS: Final = (1, 2, 4, 8, 16, 32)
CAMERAS: Final = (1, 2, 4, 8)
FPS: Final = 30.0
_WARM_UP_S: Final = 4.0


def measure(model: Path, cameras: int, viewers: int, seconds: float) -> dict[str, Any]:
    """Watch so many cameras, of 640x480 at 30 frames a second, by so many viewers.

    Returns: ``cameras``, ``viewers``; ``camera_fps``, classified and drawn frames per second of a camera, the mean over
    them; ``viewer_fps``, the median over the viewers; ``delay_ms`` and ``delay_p95_ms`` from a frame's arrival to that
    of its picture, over all viewers, for one camera (the pictures of a mosaic have no number); ``cores``, seconds of
    processor time in a second, of ``camrt live`` alone; ``memory_mb``.
    """
    port = free_port()
    with camera(port, FPS), live(model, [f"http://127.0.0.1:{port}/{number}" for number in range(cameras)]) as watched:
        with contextlib.ExitStack() as opened:
            follower = Follower(watched.url)
            opened.callback(follower.close)
            watching = [Viewer(watched.url, 0 if cameras == 1 else "all") for _ in range(viewers)]
            for viewer in watching:
                opened.callback(viewer.close)
            time.sleep(_WARM_UP_S)
            first, busy, start = [viewer.pictures for viewer in watching], watched.busy_s(), time.monotonic()
            time.sleep(seconds)
            passed = time.monotonic() - start
            cores = (watched.busy_s() - busy) / passed
            rates = [(viewer.pictures - before) / passed for viewer, before in zip(watching, first, strict=True)]
            states, memory_mb = state_of(watched.url)["cameras"], watched.memory_mb()
        delays = [
            1e3 * (came - follower.times[0, number])
            for viewer in watching
            for number, came in viewer.came.items()
            if (0, number) in follower.times
        ]
    return {
        "cameras": cameras,
        "viewers": viewers,
        "camera_fps": {kind: statistics.mean(one["fps"][kind] for one in states) for kind in ("classified", "drawn")},
        "viewer_fps": statistics.median(rates),
        "delay_ms": float(np.median(delays)) if delays else None,
        "delay_p95_ms": float(np.percentile(delays, 95)) if delays else None,
        "cores": cores,
        "memory_mb": memory_mb,
    }


def in_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return what `measure` returned as a Markdown table."""
    head = (
        *("cameras", "viewers", "classified a camera", "drawn a camera", "seen a viewer"),
        *("delay, median", "95 of 100 within", "cores", "memory"),
    )
    return tables.table(
        head,
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


def tables_of(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the table of what was found, by the name of its block in documents."""
    return {"load": f"{in_table(found['load'])}\n\n{format_machine(found['machine'])}."}


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description="frame rate, delay and load by the number of viewers and cameras")
    parser.add_argument("--model", type=Path, default=DEMO_MODEL)
    parser.add_argument("--viewers", type=int, nargs="+", default=list(VIEWERS), help="at one camera")
    parser.add_argument("--cameras", type=int, nargs="+", default=list(CAMERAS), help="at one viewer")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found")
    parser.add_argument("--documents", type=Path, nargs="*", default=[], metavar="FILE", help="fill their table anew")
    args = parser.parse_args()
    pairs = dict.fromkeys([*((1, number) for number in args.viewers), *((number, 1) for number in args.cameras)])
    rows = [measure(args.model, cameras, viewers, args.seconds) for cameras, viewers in pairs]
    found = {"load": rows, "machine": describe_machine()}
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    shown = tables_of(found)
    for document in args.documents:
        document.write_text(tables.fill(document.read_text(), shown))
    print(shown["load"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
