"""Does it run for weeks? A camera that dies again and again, browsers that come and go, and what that leaves behind.

    python -m camrt.benchmarks.endurance.soak [--minutes M] [--model FILE] [--json FILE]

``camrt live --serve`` watches a network camera, which is killed and started again about twice a minute. Viewers stay,
come and go, or do not take the picture that they asked for; a video and events are written and rotated. Memory,
threads and open files are read from outside all the while; at the end the camera must have come back each time, and
pictures must still arrive.
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
from camrt.benchmarks.endurance.live_process import Watched, live
from camrt.benchmarks.endurance.viewers import Viewer, state_of
from camrt.benchmarks.machine import describe_machine, format_machine
from camrt.errors import CamrtError
from camrt.runtime.assets import DEMO_MODEL

WARM_UP_S: Final = 30.0
"""In which memory, threads and files find their level: the first loss, the first viewers, the kernels."""
_ALIVE_S: Final = 15.0
_DEAD_S: Final = 4.0
_SAMPLE_S: Final = 2.0
_TELL_S: Final = 300.0
_STAYING: Final = 2
_ROTATE: Final = "2M"
_MEMORY_MB: Final = 20.0
"""By so much the memory's median may differ between the first and the last third: the allocator's play."""


class Soak:
    """One run."""

    def __init__(self, watched: Watched, camera_port: int) -> None:
        self._watched = watched
        self._camera_port = camera_port
        self._samples: list[dict[str, float]] = []
        self._losses = 1  # the camera that it started with has gone by now
        self._passing = 0
        self._told_s = 0.0

    def run(self, minutes: float) -> dict[str, Any]:
        """Return what was seen; see `verdict`."""
        viewers = [Viewer(self._watched.url) for _ in range(_STAYING)]
        start = time.monotonic()
        end = start + 60.0 * minutes
        with _stalled(self._watched.url):
            while True:
                with camera(self._camera_port):
                    self._wait_for_pictures()
                    self._go_on(min(_ALIVE_S, end - time.monotonic()), start)
                    if time.monotonic() >= end:  # never while it is dead
                        pictures = [viewer.pictures for viewer in viewers]
                        time.sleep(_SAMPLE_S)
                        still = all(viewer.pictures > before for viewer, before in zip(viewers, pictures, strict=True))
                        break
                self._losses += 1
                self._go_on(_DEAD_S, start)
        for viewer in viewers:
            viewer.close()
        state = state_of(self._watched.url)["cameras"][0]
        return verdict(self._samples, minutes, self._losses, self._passing, state, still_watched=still)

    def _go_on(self, seconds: float, start: float) -> None:
        """Take samples, while somebody comes to look, and goes."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            passing = Viewer(self._watched.url)
            time.sleep(min(_SAMPLE_S, max(0.0, until - time.monotonic())))
            if self._watched.process.poll() is not None:
                raise CamrtError(f"camrt live ended by itself: {self._watched.said().strip()[-500:]}")
            now = time.monotonic() - start
            self._samples.append(
                {
                    "time_s": now,
                    "memory_mb": self._watched.memory_mb(),
                    "threads": self._watched.threads(),
                    "files": self._watched.files(),
                }
            )
            passing.close()
            self._passing += 1
            if now >= self._told_s + _TELL_S:  # what is known so far, should it not reach its end
                self._told_s = now
                known = ", ".join(f"{key} {value:g}" for key, value in self._samples[-1].items())
                print(f"{known}; the camera was lost {self._losses} times", file=sys.stderr, flush=True)

    def _wait_for_pictures(self) -> None:
        until = time.monotonic() + 60.0
        while state_of(self._watched.url)["cameras"][0]["state"] != "live":
            if time.monotonic() > until:
                raise CamrtError(f"the camera is there again, but no picture for 60 s after loss {self._losses}")
            time.sleep(0.2)


def verdict(
    samples: list[dict[str, float]],
    minutes: float,
    losses: int,
    passing: int,
    state: dict[str, Any],
    *,
    still_watched: bool,
) -> dict[str, Any]:
    """Return what a run tells.

    Returns: ``minutes``, ``losses`` of the camera, ``reconnects`` that the state counts, ``passing`` viewers,
    ``frames``; for ``memory_mb``, ``threads`` and ``files``: ``first``, ``last`` (medians of the first and the last
    third after the warm-up) and ``most``; ``failures``: one line for each thing that is not as it should be.
    """
    settled = [sample for sample in samples if sample["time_s"] >= WARM_UP_S] or samples
    third = max(1, len(settled) // 3)
    found: dict[str, Any] = {
        "minutes": minutes,
        "losses": losses,
        "reconnects": state["reconnects"],
        "passing": passing,
        "frames": state["frames"],
    }
    failures = []
    for key, play in (("memory_mb", _MEMORY_MB), ("threads", 1.0), ("files", 2.0)):
        first, last = (
            statistics.median(sample[key] for sample in part) for part in (settled[:third], settled[-third:])
        )
        found[key] = {"first": first, "last": last, "most": max(sample[key] for sample in settled)}
        if last - first > play:
            failures.append(f"{key} grew from {first:g} to {last:g}")
    if state["reconnects"] != losses:
        failures.append(f"the camera was lost {losses} times and came back {state['reconnects']} times")
    if not still_watched:
        failures.append("no more pictures at the end")
    return {**found, "failures": failures}


@contextlib.contextmanager
def _stalled(url: str) -> Iterator[None]:
    """Let somebody ask for the pictures and not read them."""
    address = urlsplit(url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 80)) as connection:
        connection.sendall(f"GET /stream HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        yield


def soak(model: Path, minutes: float) -> dict[str, Any]:
    """Run for so many minutes; see `verdict`. Raises: CamrtError: it ended by itself, or its camera stayed away."""
    port = free_port()
    with contextlib.ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        written = ["-o", str(folder / "seen.mp4"), "--events", str(folder / "seen.jsonl"), "--rotate", _ROTATE]
        with camera(port):  # it must be there when `camrt live` starts
            watched = opened.enter_context(live(model, [f"http://127.0.0.1:{port}/"], *written))
        return Soak(watched, port).run(minutes)


def main() -> int:
    """Soak and print; returns 1 if something is not as it should be."""
    parser = argparse.ArgumentParser(description="run for long, with losses, and see what that leaves behind")
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--model", type=Path, default=DEMO_MODEL)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found")
    args = parser.parse_args()
    found = {**soak(args.model, args.minutes), "machine": describe_machine()}
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    print(
        f"{found['minutes']:g} minutes, {found['frames']} frames; the camera was lost {found['losses']} times "
        f"and came back {found['reconnects']} times; {found['passing']} viewers came and went"
    )
    for key in ("memory_mb", "threads", "files"):
        print(f"{key:10} first {found[key]['first']:g}, last {found[key]['last']:g}, most {found[key]['most']:g}")
    print(format_machine(found["machine"]))
    for failure in found["failures"]:
        print(f"NOT AS IT SHOULD BE: {failure}")
    return 1 if found["failures"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
