"""Measure how several cameras share one model fastest on this machine."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from camrt.images import Image
from camrt.interleaved_timing import interleave, median_ratio
from camrt.runtime.inference.head_switch import HeadSwitch
from camrt.runtime.inference.model import Model
from camrt.runtime.inference.shared_model import SharedModel

_WORTHWHILE: Final = 0.97
"""A way must take at most this share of the time of the simpler one; a smaller saving is noise."""
_BUDGET_S: Final = 2.0
_MOST_ROUNDS: Final = 7
_MOST_CAMERAS: Final = 16
"""More cameras than these share the model as so many do."""
_FRAMES_PER_CAMERA: Final = 3
_FRAME_SIZE: Final = (480, 640)


@dataclass(frozen=True, slots=True)
class Sharing:
    """A way of running the frames of several cameras."""

    model: Model
    max_batch: int = 1
    """Largest number of frames in a batch."""
    runs: int = 1
    """Number of batches that run at once."""

    def share(self, model: Model | HeadSwitch) -> SharedModel:
        """Return a model with as many threads as `model`, or a switch between its heads, shared in this way."""
        return SharedModel(model, max_batch=self.max_batch, runs=self.runs)


def fastest_sharing(model: Model, cameras: int) -> Sharing:
    """Measure batches and runs side by side against one frame after the other. Takes about two seconds.

    Each camera classifies a frame and draws its map, in turn. Without the drawing, a batch on all cores looks faster
    than it is: in a stream, the threads that draw delay the threads of its operators, which wait for each other.

    On the CPU, operators of runs side by side need no synchronization of threads: each run has one thread, and the
    session's threads help as far as there are more cores than runs.

    Args:
        model: opened for one camera, with all threads.
        cameras: number of cameras; one needs no measurement.

    Returns: the fastest way, and the model with its number of threads. The simplest one where the others save less than
    three percent.
    """
    if cameras == 1:
        return Sharing(model)
    streams = min(cameras, _MOST_CAMERAS)
    ways = [Sharing(model)]
    ways += [Sharing(model, max_batch=size) for size in _powers_of_two(streams)]
    runs = min(streams, model.threads)
    if runs > 1:
        apart = model.with_threads(model.threads - runs + 1) if model.provider == "cpu" else model
        ways.append(Sharing(apart, runs=runs))
    calls = {str(number): partial(_run, way, streams) for number, way in enumerate(ways)}
    start = time.perf_counter()
    seconds = interleave(calls, 1)
    rounds = int(_BUDGET_S / (time.perf_counter() - start))
    if rounds > 1:
        seconds = interleave(calls, min(rounds, _MOST_ROUNDS))
    ratios = [median_ratio(times, to=seconds["0"]) for times in seconds.values()]
    best = int(np.argmin(ratios))
    return ways[best] if ratios[best] < _WORTHWHILE else ways[0]


def _powers_of_two(most: int) -> list[int]:
    """Return 2, 4, 8, ... up to ``most``, and ``most``."""
    return sorted({*(1 << power for power in range(1, most.bit_length())), most})


def _run(way: Sharing, cameras: int) -> None:
    """Classify and draw frames of several cameras until there are `_FRAMES_PER_CAMERA` for each on average."""
    shared = way.share(way.model)
    image: Image = np.random.default_rng(0).integers(0, 256, (*_FRAME_SIZE, 3), np.uint8)
    left = cameras * _FRAMES_PER_CAMERA
    lock = threading.Lock()
    over = threading.Event()

    def work(_: int) -> None:
        nonlocal left
        drawn = np.empty_like(image)
        try:
            while not over.is_set():
                shared(image).draw(image, out=drawn)
                with lock:
                    left -= 1
                    if left <= 0:
                        over.set()
        finally:  # an error of one camera ends the others
            over.set()

    with ThreadPoolExecutor(cameras) as threads:
        list(threads.map(work, range(cameras)))
