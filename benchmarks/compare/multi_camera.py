"""Several cameras on one model: what all get together, and whether each gets its share."""

import statistics
import threading
import time
from collections.abc import Sequence
from typing import Any

from camrt.benchmarks.bench import FramesFromMemory, pipeline, random_images
from camrt.benchmarks.interleave import median_ratio
from camrt.images import Image
from camrt.runtime.frames import StreamItem
from camrt.runtime.inference.model import Model

_WARM_UP_S = 0.3
_TURN_S = 3.0


def measure(
    model: Model, width: int, height: int, cameras: Sequence[int], rounds: int, *, turn_s: float = _TURN_S
) -> list[dict[str, Any]]:
    """Run so many pipelines at once on one model, each with frames from memory, in turns.

    Args:
        model: shared by all.
        width: of the frames, pixels.
        height: of the frames, pixels.
        cameras: how many at once; the first is what the others are compared with.
        rounds: turns of each.
        turn_s: seconds of a turn.

    Returns, for each of ``cameras``: ``cameras``; ``fps``, of all together, the median over the rounds; ``throughput``,
    the median of its ratio to the first's; ``spread``: over all rounds, (most - least) / mean of a camera's frames.
    """
    images = random_images(width, height)
    taken: dict[int, list[list[float]]] = {count: [] for count in cameras}
    for _ in range(rounds):
        for count in cameras:
            taken[count].append(_turn(model, images, count, turn_s))
    totals = {count: [sum(rates) for rates in turns] for count, turns in taken.items()}
    rows = []
    for count, turns in taken.items():
        each = [statistics.mean(rates) for rates in zip(*turns, strict=True)]
        rows.append(
            {
                "cameras": count,
                "fps": statistics.median(totals[count]),
                "throughput": median_ratio(totals[count], to=totals[cameras[0]]),
                "spread": (max(each) - min(each)) / statistics.mean(each),
            }
        )
    return rows


def _turn(model: Model, images: Sequence[Image], cameras: int, turn_s: float) -> list[float]:
    """Return the frames per second of each camera."""
    counts = [0] * cameras
    pipelines = [pipeline(model, FramesFromMemory(images, None)) for _ in range(cameras)]

    def run(number: int) -> None:
        def count(_: StreamItem) -> None:
            counts[number] += 1

        pipelines[number].run(count)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(cameras)]
    for thread in threads:
        thread.start()
    time.sleep(_WARM_UP_S)
    before, start = list(counts), time.perf_counter()
    time.sleep(turn_s)
    after, seconds = list(counts), time.perf_counter() - start
    for one in pipelines:
        one.stop()
    for thread in threads:
        thread.join()
    return [(late - early) / seconds for early, late in zip(before, after, strict=True)]
