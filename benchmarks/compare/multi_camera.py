"""Measure several cameras on one model: the total frame rate, and whether all cameras get an equal share."""

import statistics
import threading
import time
from collections.abc import Sequence
from typing import Any

from camrt.benchmarks.bench import FramesFromMemory, pipeline, random_images
from camrt.images import Image
from camrt.interleaved_timing import median_ratio
from camrt.runtime.frames import StreamItem
from camrt.runtime.inference.fastest_sharing import Sharing, fastest_sharing
from camrt.runtime.inference.model import Model

_WARM_UP_S = 0.3
_TURN_S = 3.0


def measure(
    model: Model, width: int, height: int, cameras: Sequence[int], rounds: int, *, turn_s: float = _TURN_S
) -> list[dict[str, Any]]:
    """Run one pipeline per camera on a shared model, with frames from memory; the numbers of cameras take turns.

    They share it as in `LiveSession`.

    Args:
        model: opened for one camera.
        width: width of the frames in pixels.
        height: height of the frames in pixels.
        cameras: the numbers of cameras to measure; the first one is the reference of ``throughput``.
        rounds: turns of each number of cameras.
        turn_s: seconds per turn.

    Returns: one row per entry of ``cameras``, with ``cameras``; ``max_batch`` and ``runs``, see `Sharing`; ``fps``,
    frames per second of all cameras, the median over the rounds; ``throughput``, the median ratio of this rate to that
    of the first entry; ``spread``, the difference between the fastest and the slowest camera divided by the mean, over
    all rounds.
    """
    images = random_images(width, height)
    ways = {count: fastest_sharing(model, count) for count in cameras}
    rates: dict[int, list[list[float]]] = {count: [] for count in cameras}
    for _ in range(rounds):
        for count in cameras:
            rates[count].append(_run_turn(ways[count], images, count, turn_s))
    totals = {count: [sum(turn) for turn in turns] for count, turns in rates.items()}
    rows = []
    for count, turns in rates.items():
        means = [statistics.mean(camera) for camera in zip(*turns, strict=True)]
        rows.append(
            {
                "cameras": count,
                "max_batch": ways[count].max_batch,
                "runs": ways[count].runs,
                "fps": statistics.median(totals[count]),
                "throughput": median_ratio(totals[count], to=totals[cameras[0]]),
                "spread": (max(means) - min(means)) / statistics.mean(means),
            }
        )
    return rows


def _run_turn(way: Sharing, images: Sequence[Image], cameras: int, turn_s: float) -> list[float]:
    """Return the frames per second of each camera in one turn."""
    counts = [0] * cameras
    classify = way.share(way.model) if cameras > 1 else way.model
    pipelines = [pipeline(way.model, FramesFromMemory(images, None), classify) for _ in range(cameras)]

    def run(number: int) -> None:
        def count(_: StreamItem) -> None:
            counts[number] += 1

        pipelines[number].run(count)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(cameras)]
    for thread in threads:
        thread.start()
    _sleep(_WARM_UP_S, counts)
    before, start = list(counts), time.perf_counter()
    _sleep(turn_s, counts)
    after, seconds = list(counts), time.perf_counter() - start
    for each in pipelines:
        each.stop()
    for thread in threads:
        thread.join()
    return [(last - first) / seconds for first, last in zip(before, after, strict=True)]


def _sleep(seconds: float, counts: Sequence[int]) -> None:
    """Sleep until the time is over and each camera has shown one more frame, which takes longer on a busy machine."""
    before, until_s = list(counts), time.monotonic() + seconds
    while time.monotonic() < until_s or any(now == then for now, then in zip(counts, before, strict=True)):
        time.sleep(0.01)
