"""Run ``camrt live --serve`` for a long time with failing cameras and changing viewers, and check for leaks.

    python -m camrt.benchmarks.endurance.soak [--minutes M] [--model FILE] [--json FILE]

``camrt live --serve`` watches a network camera that is killed and restarted two to three times a minute. Some viewers
stay, some connect and leave, and one never reads the images that it requested. A video and events are written and
rotated. Memory, threads and open files are measured from outside. At the end the camera must have reconnected after
each loss, and images must still arrive.
"""

import argparse
import contextlib
import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from camrt.benchmarks.endurance.http_camera import camera, free_port
from camrt.benchmarks.endurance.live_process import LiveProcess, live
from camrt.benchmarks.endurance.viewers import StreamViewer, get_state
from camrt.benchmarks.machine import describe_machine, format_machine
from camrt.errors import CamrtError
from camrt.runtime.assets import DEMO_MODEL

WARM_UP_S: Final = 30.0
"""Time for the first loss, the first viewers and the compiled kernels. Earlier samples are not compared."""
_ALIVE_S: Final = 15.0
_DEAD_S: Final = 4.0
_SAMPLE_S: Final = 2.0
_REPORT_S: Final = 300.0
_PERMANENT_VIEWERS: Final = 2
_ROTATE: Final = "2M"
_MEMORY_MB: Final = 20.0
"""Largest allowed growth of the median memory from the first to the last third; the allocator needs some room."""


class Soak:
    """One run against a live process and its camera."""

    def __init__(self, process: LiveProcess, camera_port: int) -> None:
        self._process = process
        self._camera_port = camera_port
        self._samples: list[dict[str, float]] = []
        self._losses = 1  # the camera of the start has been killed already
        self._passing_viewers = 0
        self._report_s = 0.0

    def run(self, minutes: float) -> dict[str, Any]:
        """Run for a number of minutes; returns the results of `evaluate_samples`."""
        viewers = [StreamViewer(self._process.url) for _ in range(_PERMANENT_VIEWERS)]
        start = time.monotonic()
        end = start + 60.0 * minutes
        with _stalled_viewer(self._process.url):
            while True:
                with camera(self._camera_port):
                    self._wait_for_images()
                    self._sample(min(_ALIVE_S, end - time.monotonic()), start)
                    if time.monotonic() >= end:  # the run never ends without a camera
                        counts = [viewer.images for viewer in viewers]
                        time.sleep(_SAMPLE_S)
                        receiving = all(viewer.images > count for viewer, count in zip(viewers, counts, strict=True))
                        break
                self._losses += 1
                self._sample(_DEAD_S, start)
        for viewer in viewers:
            viewer.close()
        state = get_state(self._process.url)["cameras"][0]
        return evaluate_samples(self._samples, minutes, self._losses, self._passing_viewers, state, receiving=receiving)

    def _sample(self, seconds: float, start: float) -> None:
        """Take samples, each while one more viewer connects and leaves."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            viewer = StreamViewer(self._process.url)
            time.sleep(min(_SAMPLE_S, max(0.0, until - time.monotonic())))
            if self._process.process.poll() is not None:
                raise CamrtError(f"camrt live ended unexpectedly: {self._process.output().strip()[-500:]}")
            now = time.monotonic() - start
            self._samples.append(
                {
                    "time_s": now,
                    "memory_mb": self._process.memory_mb(),
                    "threads": self._process.threads(),
                    "files": self._process.files(),
                }
            )
            viewer.close()
            self._passing_viewers += 1
            if now >= self._report_s + _REPORT_S:  # the latest numbers, in case the run does not reach its end
                self._report_s = now
                numbers = ", ".join(f"{key} {value:g}" for key, value in self._samples[-1].items())
                print(f"{numbers}; the camera was lost {self._losses} times", file=sys.stderr, flush=True)

    def _wait_for_images(self) -> None:
        until = time.monotonic() + 60.0
        while get_state(self._process.url)["cameras"][0]["state"] != "live":
            if time.monotonic() > until:
                raise CamrtError(f"the camera runs again, but no image arrived for 60 s after loss {self._losses}")
            time.sleep(0.2)


def evaluate_samples(
    samples: list[dict[str, float]],
    minutes: float,
    losses: int,
    passing: int,
    state: dict[str, Any],
    *,
    receiving: bool,
) -> dict[str, Any]:
    """Check the samples of a run for growth, and its losses for reconnections.

    Args:
        samples: ``time_s``, ``memory_mb``, ``threads`` and ``files`` of each sample.
        minutes: duration of the run.
        losses: number of times the camera was killed.
        passing: number of viewers that connected and left.
        state: state of the camera at the end, from the API.
        receiving: whether the permanent viewers still received images at the end.

    Returns: ``minutes``, ``losses``, ``reconnects`` and ``frames`` of the state, ``passing``; for ``memory_mb``,
    ``threads`` and ``files``: ``first``, ``last`` (medians of the first and the last third after the warm-up) and
    ``most``; ``failures``: one line per failure.
    """
    settled = [sample for sample in samples if sample["time_s"] >= WARM_UP_S] or samples
    third = max(1, len(settled) // 3)
    report: dict[str, Any] = {
        "minutes": minutes,
        "losses": losses,
        "reconnects": state["reconnects"],
        "passing": passing,
        "frames": state["frames"],
    }
    failures = []
    for key, tolerance in (("memory_mb", _MEMORY_MB), ("threads", 1.0), ("files", 2.0)):
        first, last = (
            statistics.median(sample[key] for sample in part) for part in (settled[:third], settled[-third:])
        )
        report[key] = {"first": first, "last": last, "most": max(sample[key] for sample in settled)}
        if last - first > tolerance:
            failures.append(f"{key} grew from {first:g} to {last:g}")
    if state["reconnects"] != losses:
        failures.append(f"the camera was lost {losses} times and reconnected {state['reconnects']} times")
    if not receiving:
        failures.append("no images arrived at the end")
    return {**report, "failures": failures}


@contextlib.contextmanager
def _stalled_viewer(url: str) -> Iterator[None]:
    """Keep a connection that requests the stream and never reads it."""
    address = urlsplit(url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 80)) as connection:
        connection.sendall(f"GET /stream HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        yield


def soak(model: Path, minutes: float) -> dict[str, Any]:
    """Run for a number of minutes; returns the results of `evaluate_samples`.

    Raises:
        CamrtError: ``camrt live`` ended unexpectedly, or did not reconnect to its camera.
    """
    port = free_port()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        outputs = ["-o", str(folder / "seen.mp4"), "--events", str(folder / "seen.jsonl"), "--rotate", _ROTATE]
        with camera(port):  # camrt live needs it at its start
            process = stack.enter_context(live(model, [f"http://127.0.0.1:{port}/"], *outputs))
        return Soak(process, port).run(minutes)


def main() -> int:
    """Run and print the results; returns 1 if there are failures."""
    parser = argparse.ArgumentParser(description="run camrt live for a long time and check for leaks")
    parser.add_argument("--minutes", type=float, default=120.0, help="default: 120")
    parser.add_argument("--model", type=Path, default=DEMO_MODEL)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    args = parser.parse_args()
    report = {**soak(args.model, args.minutes), "machine": describe_machine()}
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    print(
        f"{report['minutes']:g} minutes, {report['frames']} frames; the camera was lost {report['losses']} times "
        f"and reconnected {report['reconnects']} times; {report['passing']} viewers connected and left"
    )
    for key in ("memory_mb", "threads", "files"):
        print(f"{key:10} first {report[key]['first']:g}, last {report[key]['last']:g}, most {report[key]['most']:g}")
    print(format_machine(report["machine"]))
    for failure in report["failures"]:
        print(f"FAILED: {failure}")
    return 1 if report["failures"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
