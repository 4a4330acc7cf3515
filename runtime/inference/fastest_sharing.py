"""Measure how several cameras share one model fastest on this machine."""

import threading
from collections.abc import Sequence
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
_ROUNDS: Final = 7
_MOST_FRAMES: Final = 16
"""Frames of one measurement: more cameras than these share the model as so many do."""


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
    """Measure batches and runs side by side against one frame after the other. Takes about a second.

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
    frames = min(cameras, _MOST_FRAMES)
    ways = [Sharing(model)]
    ways += [Sharing(model, max_batch=size) for size in _powers_of_two(frames)]
    runs = min(frames, model.threads)
    if runs > 1:
        apart = model.with_threads(model.threads - runs + 1) if model.provider == "cpu" else model
        ways.append(Sharing(apart, runs=runs))
    images = _random_images(model, frames)
    seconds = interleave({str(number): partial(_classify, way, images) for number, way in enumerate(ways)}, _ROUNDS)
    ratios = [median_ratio(times, to=seconds["0"]) for times in seconds.values()]
    best = int(np.argmin(ratios))
    return ways[best] if ratios[best] < _WORTHWHILE else ways[0]


def _powers_of_two(most: int) -> list[int]:
    """Return 2, 4, 8, ... up to ``most``, and ``most``."""
    return sorted({*(1 << power for power in range(1, most.bit_length())), most})


def _random_images(model: Model, count: int) -> list[Image]:
    shape = (count, model.geometry.height, model.geometry.width, 3)
    return list(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


def _classify(way: Sharing, images: Sequence[Image]) -> None:
    """Classify all images in one way."""
    if way.runs == 1:
        for first in range(0, len(images), way.max_batch):
            way.model(images[first : first + way.max_batch])
        return
    left = iter(images)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                image = next(left, None)
            if image is None:
                return
            way.model(image)

    threads = [threading.Thread(target=work) for _ in range(way.runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
