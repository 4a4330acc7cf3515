"""What ``camrt bench`` runs: how fast a model file is here, with and without the overlay."""

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from camrt.benchmarks.interleave import median_ratio
from camrt.errors import CamrtError
from camrt.runtime.frames import Frame, Image
from camrt.runtime.model import Model
from camrt.runtime.overlay import OverlayStyle
from camrt.runtime.pipeline import Pipeline
from camrt.runtime.renderer import Renderer
from camrt.runtime.view import View

STAGES = ("preprocess", "inference", "cam", "overlay")
_BLOCK_S = 0.5
_DISTINCT_FRAMES = 8


@dataclass(slots=True)
class FramesFromMemory:
    """A source that gives ``frame_count`` frames as fast as they are taken: no decoder is measured."""

    images: Sequence[Image]
    frame_count: int | None
    name: str = "memory"
    live: bool = False
    fps: float | None = None
    problems: list[str] = field(default_factory=list)
    _next: int = 0

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end."""
        index = self._next
        if index == self.frame_count:
            return None
        self._next += 1
        return Frame(self.images[index % len(self.images)], index, float(index), self.name)

    def close(self) -> None:
        """Nothing to let go of."""


def measure(model: Model, width: int, height: int, rounds: int) -> dict[str, Any]:
    """Measure a model on frames of ``width`` x ``height`` from memory.

    Inference alone and the whole pipeline with its overlay take turns, a block of frames each, ``rounds`` times; the
    rates are medians over the blocks and ``ratio`` is the median of the ratios of neighbouring blocks.

    Returns: ``stages.<stage>`` with ``p50_ms``, ``p95_ms``, ``p99_ms``; ``fps.inference_only`` and ``fps.overlay``
    (frames per second); ``ratio`` of the two; ``peak_memory_mb`` of this process.
    """
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (height, width, 3), np.uint8) for _ in range(_DISTINCT_FRAMES)]
    samples: dict[str, list[float]] = {stage: [] for stage in STAGES}
    bare: list[float] = []
    drawn: list[float] = []
    _overlay_fps(model, images, 2, samples)  # warms up
    block = max(4, round(_BLOCK_S * _overlay_fps(model, images, len(images), samples)))
    samples = {stage: [] for stage in STAGES}
    for _ in range(rounds):
        bare.append(_inference_fps(model, images, block))
        drawn.append(_overlay_fps(model, images, block, samples))
    return {
        "frame": [width, height],
        "rounds": rounds,
        "frames_per_block": block,
        "stages": {stage: _percentiles(times) for stage, times in samples.items()},
        "fps": {"inference_only": statistics.median(bare), "overlay": statistics.median(drawn)},
        "ratio": median_ratio(drawn, to=bare),
        # Kilobytes on Linux, bytes on macOS.
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / (1e6 if sys.platform == "darwin" else 1e3),
    }


def _inference_fps(model: Model, images: Sequence[Image], frames: int) -> float:
    start = time.perf_counter()
    for index in range(frames):
        model(images[index % len(images)])
    return frames / (time.perf_counter() - start)


def _overlay_fps(model: Model, images: Sequence[Image], frames: int, samples: Mapping[str, list[float]]) -> float:
    """Run the pipeline without writing on the picture and without a sink: inference, map and overlay."""
    renderer = Renderer(View(OverlayStyle()), hud=False, provider=model.provider, threads=model.spare_threads)
    pipeline = Pipeline(model, FramesFromMemory(images, frames), renderer, [])

    def collect(rendered: Any) -> None:
        for stage in STAGES:
            samples[stage].append(rendered.stages_ms[stage])

    return frames / pipeline.run(collect).seconds


def _percentiles(times_ms: Sequence[float]) -> dict[str, float]:
    p50, p95, p99 = np.percentile(times_ms, (50, 95, 99))
    return {"p50_ms": float(p50), "p95_ms": float(p95), "p99_ms": float(p99)}


def startup_seconds(model: Path, provider: str, threads: int) -> float:
    """Return the seconds from the start of Python to the first finished overlay, in a process of its own.

    Raises:
        CamrtError: that process failed.
    """
    code = (
        "import sys, numpy, camrt\n"
        "model = camrt.load(sys.argv[1], provider=sys.argv[2], threads=int(sys.argv[3]))\n"
        "frame = numpy.zeros((480, 640, 3), numpy.uint8)\n"
        "model(frame).draw(frame)\n"
    )
    start = time.perf_counter()
    command = [sys.executable, "-c", code, str(model), provider, str(threads)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise CamrtError(f"the start cannot be measured: {run.stderr.strip().rpartition(chr(10))[2]}")
    return time.perf_counter() - start
