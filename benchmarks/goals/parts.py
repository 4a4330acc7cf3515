"""Parts of the measurement of the goals; each runs in a process of its own, so that none disturbs or ends another."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from camrt import kernels
from camrt.benchmarks.compare import graph_replay, multi_camera
from camrt.benchmarks.compare.overlay import MAPS, VARIANTS, synthetic_heatmap
from camrt.cores import usable_cores
from camrt.geometry import place
from camrt.interleaved_timing import interleave, median_ms
from camrt.runtime.inference.model import load
from camrt.runtime.maps.overlay import paint
from camrt.runtime.maps.row_pool import RowPool, drawing_threads

FRAME, SMALL_FRAME = (1920, 1080), (1280, 720)
MOST_CORES: Final = 16
"""The goals are those of a machine with 16 cores, so a larger one uses 16 of its cores."""
FIRST, SECOND = "mobilenet_v2", "resnet50"
SEVERAL, MANY = 16, 64
"""Numbers of streams."""
_ROUNDS = 2
_CALLS_PER_SECOND = 30
"""Interleaved rounds of the overlay, or of all libraries, for each second of a measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the parts measure with."""

    folder: Path
    """Folder of the model files; the part ``networks`` writes them."""
    provider: str
    """Provider of the rows of a GPU: ``cuda``; ``cpu`` tests these parts without one."""
    turn_s: float
    """Seconds of one measurement."""

    def file(self, network: str, *, half: bool = False) -> Path:
        """Return the model file of a network, in fp32 or fp16."""
        return self.folder / f"{network}{'.fp16' if half else ''}.onnx"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the measurement."""

    start_s: int
    """Planned seconds until it measures: imports, opening models, capturing graphs."""
    turns: int
    """Number of measurements; each takes `Setup.turn_s` seconds."""
    measure: Callable[[Setup], Any]
    on_gpu: bool = True
    """It measures the provider of the GPU."""

    def planned_s(self, setup: Setup) -> float:
        """Return the planned duration in seconds."""
        return self.start_s + self.turns * setup.turn_s


def networks(setup: Setup) -> dict[str, Any]:
    """Write MobileNetV2 in fp32 and ResNet-50 in fp32 and fp16, with random weights; returns their sizes in bytes."""
    from camrt.benchmarks.compare.baselines import SIDE, export_network
    from camrt.export import quantize
    from camrt.export.graph.synthetic_images import synthetic_images

    images = setup.folder / "images"
    images.mkdir(exist_ok=True)
    for number, image in enumerate(synthetic_images(SIDE, SIDE)):
        cv2.imwrite(str(images / f"{number}.png"), image)
    for network in (FIRST, SECOND):
        export_network(network, setup.file(network))
    quantize(setup.file(SECOND), setup.file(SECOND, half=True), calibration=images, fp16=True)
    return {file.name: file.stat().st_size for file in sorted(setup.folder.glob("*.onnx"))}


def inference(setup: Setup) -> dict[str, Any]:
    """Return what `graph_replay.measure` returns, for each network."""
    files = {FIRST: setup.file(FIRST), SECOND: setup.file(SECOND, half=True)}
    return {
        name: graph_replay.measure(load(file, provider=setup.provider), setup.turn_s) for name, file in files.items()
    }


def whole_frame(setup: Setup) -> dict[str, Any]:
    """Return a row of `baselines.measure_whole_frame`, for the first network."""
    from camrt.benchmarks.compare import baselines

    device: baselines.Device = "cuda" if setup.provider == "cuda" else "cpu"
    threads = usable_cores()
    libraries = baselines.Libraries(baselines.random_network(FIRST), setup.file(FIRST), threads, device)
    rounds = max(1, round(_CALLS_PER_SECOND * setup.turn_s) // 6)
    (row,) = baselines.measure_whole_frame(libraries, (FRAME,), threads, rounds)
    libraries.close()
    return row


def streams(setup: Setup, *, provider: str | None = None) -> list[dict[str, Any]]:
    """Return the rows of `multi_camera.measure` for 1 and 16 streams of 1080p from memory."""
    model = load(setup.file(FIRST), provider=provider or setup.provider)
    return multi_camera.measure(model, *FRAME, (1, SEVERAL), _ROUNDS, turn_s=setup.turn_s)


def many_streams(setup: Setup) -> list[dict[str, Any]]:
    """Return the row of `multi_camera.measure` for 64 streams of 720p from memory."""
    model = load(setup.file(FIRST), provider=setup.provider)
    return multi_camera.measure(model, *SMALL_FRAME, (MANY,), 1, turn_s=2 * setup.turn_s)


def drawing(setup: Setup) -> list[dict[str, Any]]:
    """Time the overlay at 1080p by the number of threads, on 2, 4, 8 and 16 cores as far as there are so many.

    Returns: one row per number of cores, with ``cores``; ``ms``, the median times by the number of threads;
    ``default``, the number that camrt uses beside a GPU; ``ratio``, its time divided by the shortest.
    """
    frame = np.random.default_rng(0).integers(0, 256, (FRAME[1], FRAME[0], 3), np.uint8)
    out, heatmap = np.empty_like(frame), synthetic_heatmap(MAPS[0])
    style, geometry = VARIANTS["camrt"]
    draw = partial(paint, frame, heatmap, place(geometry, *FRAME), style, out=out)
    every_core = sorted(os.sched_getaffinity(0))
    rows = []
    for cores in (count for count in (2, 4, 8, 16) if count <= usable_cores()):
        os.sched_setaffinity(0, every_core[:cores])  # threads that start now inherit it
        default = drawing_threads(cores)
        counts = sorted({1, 2, 3, 4, 6, 8, 12, 16, default} & set(range(1, cores + 1)))
        pools = {str(count): RowPool(count) for count in counts}
        calls = {name: partial(draw, pool=pool) for name, pool in pools.items()}
        ms = median_ms(interleave(calls, max(3, round(_CALLS_PER_SECOND * setup.turn_s)), turn=3))
        for pool in pools.values():
            pool.close()
        rows.append({"cores": cores, "ms": ms, "default": default, "ratio": ms[str(default)] / min(ms.values())})
    os.sched_setaffinity(0, every_core)
    return rows


PARTS: Final = {
    "networks": Part(60, 0, networks, on_gpu=False),
    "inference": Part(20, 2, inference),
    "whole_frame": Part(20, 10, whole_frame),
    "streams": Part(20, 2 * _ROUNDS, streams),
    "many_streams": Part(30, 2, many_streams),
    "drawing": Part(5, 8, drawing, on_gpu=False),
    "cpu_streams": Part(20, 2 * _ROUNDS, partial(streams, provider="cpu"), on_gpu=False),
}
"""All parts by name, in the order of the measurement."""


def run_part(name: str, setup: Setup) -> Any:
    """Return the result of a part, as JSON holds it."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:MOST_CORES])
    kernels.warm_up()
    return PARTS[name].measure(setup)
