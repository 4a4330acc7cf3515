"""Measure the speed of a model file, with and without the overlay; ``camrt bench`` runs this."""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from camrt.errors import CamrtError
from camrt.images import Image
from camrt.interleaved_timing import median_ratio
from camrt.runtime.frames import Frame, Source, StreamItem
from camrt.runtime.inference.model import Model
from camrt.runtime.inference.providers import spin_us
from camrt.runtime.maps.result import Result
from camrt.runtime.render.display_settings import DisplaySettings, SettingsStore
from camrt.runtime.render.renderer import Renderer
from camrt.runtime.stream.pipeline import Pipeline

STAGES = ("preprocess", "inference", "cam", "overlay")
_BLOCK_S = 0.5
_DISTINCT_FRAMES = 8


@dataclass(slots=True)
class FramesFromMemory:
    """A source that returns ``frame_count`` frames without waiting, so that no decoder is measured."""

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
        """Do nothing: there is no device to release."""


def measure(model: Model, width: int, height: int, rounds: int) -> dict[str, Any]:
    """Measure a model on frames of ``width`` x ``height`` pixels from memory.

    Each of ``rounds`` rounds has a block of frames for inference only, a block for the whole pipeline with the overlay,
    and a block for the same stages one after the other in one thread. Rates are medians over the blocks of the first
    two; ``ratio`` is the median of the ratios of neighbouring blocks. The times of the stages are from the third kind
    of block, in which no stage waits for a core.

    Returns: ``model`` (file name), ``head`` (its name in a file with several, else None), ``provider``, ``threads``,
    ``frame`` (width and height in pixels); ``frames_per_block``; ``spin_us``, the microseconds that idle threads of
    ONNX Runtime spin before they sleep; ``stages.<stage>`` with ``p50_ms``, ``p95_ms``, ``p99_ms``;
    ``fps.inference_only`` and ``fps.overlay`` (frames per second), and ``ratio``, the second divided by the first;
    ``cpu_cores`` of both (seconds of processor time per second); ``memory_mb``, see `memory_mb`.
    """
    images = random_images(width, height)
    samples: dict[str, list[float]] = {stage: [] for stage in STAGES}
    rates: dict[str, list[float]] = {"inference_only": [], "overlay": []}
    cores: dict[str, list[float]] = {"inference_only": [], "overlay": []}
    renderer = _renderer(model)

    def infer(frames: int) -> None:
        for index in range(frames):
            model(images[index % len(images)])

    def run_pipeline(frames: int) -> None:
        pipeline(model, FramesFromMemory(images, frames)).run()

    def run_stages(frames: int) -> None:
        source = FramesFromMemory(images, frames)
        while (frame := source.read()) is not None:
            result = model(frame.image)
            item = StreamItem(frame, result, frame.index, stages_ms=result.stages_ms)
            stages_ms = renderer.render(item, DisplaySettings()).item.stages_ms
            for stage in STAGES:
                samples[stage].append(stages_ms[stage])

    run_pipeline(2)  # warm-up
    block = max(4, round(_BLOCK_S * len(images) / _time(run_pipeline, len(images))[0]))
    for _ in range(rounds):
        for name, work in (("inference_only", infer), ("overlay", run_pipeline)):
            seconds, cpu_s = _time(work, block)
            rates[name].append(block / seconds)
            cores[name].append(cpu_s / seconds)
        run_stages(block)
    return {
        "model": model.path.name,
        "head": model.head_name,
        "provider": model.provider,
        "threads": model.threads,
        "spin_us": spin_us() if model.provider == "cpu" else 0,
        "frame": [width, height],
        "frames_per_block": block,
        "stages": {stage: _percentiles(times) for stage, times in samples.items()},
        "fps": {name: statistics.median(values) for name, values in rates.items()},
        "ratio": median_ratio(rates["overlay"], to=rates["inference_only"]),
        "cpu_cores": {name: statistics.median(values) for name, values in cores.items()},
        "memory_mb": memory_mb(),
    }


def random_images(width: int, height: int) -> list[Image]:
    """Return several uint8 (H, W, 3) frames of noise, so that none is still in the cache when it is used again."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (height, width, 3), np.uint8) for _ in range(_DISTINCT_FRAMES)]


def pipeline(model: Model, source: Source, classify: Callable[[Image], Result] | None = None) -> Pipeline:
    """Return the pipeline of ``camrt live --sync``, without sinks and without text on the frame.

    Args:
        model: draws with its number of threads, and classifies if ``classify`` is None.
        source: gives the frames.
        classify: the model, shared with other pipelines.
    """
    settings = SettingsStore(DisplaySettings())
    return Pipeline(classify or model, source, settings, renderer=_renderer(model), every_camera_frame=False)


def _renderer(model: Model) -> Renderer:
    return Renderer(hud=False, provider=model.provider, threads=model.spare_threads)


def memory_mb() -> float:
    """Return the resident memory of this process in megabytes; its peak if the system has no ``/proc``."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1e6 if sys.platform == "darwin" else 1e3)  # bytes on macOS, kilobytes elsewhere
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1e3


def _time(work: Callable[[int], None], frames: int) -> tuple[float, float]:
    """Return the seconds and the seconds of processor time that ``work`` takes for a number of frames."""
    cpu_start, start = time.process_time(), time.perf_counter()
    work(frames)
    return time.perf_counter() - start, time.process_time() - cpu_start


def _percentiles(times_ms: Sequence[float]) -> dict[str, float]:
    p50, p95, p99 = np.percentile(times_ms, (50, 95, 99))
    return {"p50_ms": float(p50), "p95_ms": float(p95), "p99_ms": float(p99)}


def startup_seconds(model: Model) -> float:
    """Return the seconds from the start of a new Python process to the first overlay of a model.

    Raises:
        CamrtError: the process failed.
    """
    code = (
        "import sys, json, numpy, camrt\n"
        "path, settings = json.loads(sys.argv[1])\n"
        "model = camrt.load(path, **settings)\n"
        "frame = numpy.zeros((480, 640, 3), numpy.uint8)\n"
        "model(frame).draw(frame)\n"
    )
    settings = {
        "provider": model.provider,
        "threads": model.threads,
        "provider_options": model.provider_options,
        "head": model.head_name,
    }
    start = time.perf_counter()
    command = [sys.executable, "-P", "-c", code, json.dumps([str(model.path), settings])]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise CamrtError(f"the start-up time cannot be measured: {run.stderr.strip().rpartition(chr(10))[2]}")
    return time.perf_counter() - start
