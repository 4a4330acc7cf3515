"""Measure several cameras on one model: the total frame rate, and whether all cameras get an equal share."""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from camrt.benchmarks.bench import FramesFromMemory, pipeline, random_images
from camrt.benchmarks.compare.stage_cores import stage_seconds
from camrt.interleaved_timing import median_ratio
from camrt.runtime.frames import Source, StreamItem
from camrt.runtime.inference.fastest_sharing import Sharing, fastest_sharing
from camrt.runtime.inference.model import Model

OpenSources = Callable[[int], Sequence[Source]]

_WARM_UP_S = 0.3
_TURN_S = 3.0


def measure(
    model: Model,
    width: int,
    height: int,
    cameras: Sequence[int],
    rounds: int,
    *,
    turn_s: float = _TURN_S,
    open_sources: OpenSources | None = None,
) -> list[dict[str, Any]]:
    """Run one pipeline per camera on a shared model; the numbers of cameras take turns.

    They share it as in `LiveSession`.

    Args:
        model: opened for one camera.
        width: width of the frames in pixels.
        height: height of the frames in pixels.
        cameras: the numbers of cameras to measure; the first one is the reference of ``throughput``.
        rounds: turns of each number of cameras.
        turn_s: seconds per turn.
        open_sources: opens so many sources without an end, which give such frames; None: frames from memory.

    Returns: one row per entry of ``cameras``, with ``cameras``; ``max_batch`` and ``runs``, see `Sharing`; ``fps``,
    frames per second of all cameras, the median over the rounds; ``throughput``, the median ratio of this rate to that
    of the first entry; ``spread``, the difference between the fastest and the slowest camera divided by the mean, over
    all rounds; ``cores``, the seconds of processor time per second of each of `stage_cores.STAGES`, the mean over the
    rounds; empty where the system has no ``/proc``.
    """
    if open_sources is None:
        images = random_images(width, height)

        def open_sources(count: int) -> list[Source]:
            return [FramesFromMemory(images, None) for _ in range(count)]

    ways = {count: fastest_sharing(model, count) for count in cameras}
    rates: dict[int, list[list[float]]] = {count: [] for count in cameras}
    cores: dict[int, list[dict[str, float]]] = {count: [] for count in cameras}
    for _ in range(rounds):
        for count in cameras:
            turn, used = _run_turn(ways[count], open_sources(count), turn_s)
            rates[count].append(turn)
            cores[count].append(used)
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
                "cores": {stage: statistics.mean(turn[stage] for turn in cores[count]) for stage in cores[count][0]},
            }
        )
    return rows


def _run_turn(way: Sharing, sources: Sequence[Source], turn_s: float) -> tuple[list[float], dict[str, float]]:
    """Return the classified and drawn frames per second of each camera in one turn, and the cores of each stage."""
    cameras = len(sources)
    counts = [0] * cameras
    classify = way.share(way.model) if cameras > 1 else way.model
    pipelines = [pipeline(way.model, source, classify) for source in sources]

    def run(number: int) -> None:
        def count(item: StreamItem) -> None:
            counts[number] += item.result is not None

        pipelines[number].run(count)

    threads = [threading.Thread(target=run, args=(number,), name=f"camrt-stream-{number}") for number in range(cameras)]
    for thread in threads:
        thread.start()
    _sleep(_WARM_UP_S, counts)
    before, used, start = list(counts), stage_seconds(), time.perf_counter()
    _sleep(turn_s, counts)
    after, seconds = list(counts), time.perf_counter() - start
    at_end = stage_seconds()  # with hundreds of threads this takes a while
    measured_s = time.perf_counter() - start
    cores = {stage: (total - used[stage]) / measured_s for stage, total in at_end.items()}
    for each in pipelines:
        each.stop()
    for thread in threads:
        thread.join()
    return [(last - first) / seconds for first, last in zip(before, after, strict=True)], cores


def _sleep(seconds: float, counts: Sequence[int]) -> None:
    """Sleep until the time is over and each camera has shown one more frame, which takes longer on a busy machine."""
    before, until_s = list(counts), time.monotonic() + seconds
    while time.monotonic() < until_s or any(now == then for now, then in zip(counts, before, strict=True)):
        time.sleep(0.01)
