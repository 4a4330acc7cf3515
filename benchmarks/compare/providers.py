"""Compare execution providers: batches, I/O binding, and many cameras on one model.

    python -m camrt.benchmarks.compare.providers MODEL [--provider P ...] [--size W H] [--seconds S] [--json FILE]

Providers that cannot run here are named with the reason.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from camrt import model_file
from camrt.benchmarks.bench import random_images
from camrt.benchmarks.compare import multi_camera
from camrt.benchmarks.machine import describe_machine, format_machine
from camrt.benchmarks.report.tables import table
from camrt.errors import ProviderError
from camrt.images import Image
from camrt.interleaved_timing import interleave, median_ms, median_ratio
from camrt.runtime.inference.create_session import graph_options
from camrt.runtime.inference.model import Model, load
from camrt.runtime.inference.session import open_session

PROVIDERS = ("cpu", "cuda", "tensorrt")
BATCHES = (1, 2, 4, 8, 16, 32)
STREAMS = (1, 2, 4, 8, 16)
_MIN_BATCHES = 3
_BINDING_ROUNDS = 20
_BINDING_TURN = 6


def measure(path: Path, provider: str, size: tuple[int, int], seconds: float) -> dict[str, Any]:
    """Measure one provider.

    Args:
        path: the model file.
        provider: a key of `camrt.runtime.inference.providers.PROVIDERS`.
        size: width and height of the frames in pixels.
        seconds: duration of the measurement of one batch size or number of cameras.

    Returns: ``provider``; ``batches``, ``binding`` and ``streams``, what `measure_batches`, `measure_binding` and
    `multi_camera.measure` return.

    Raises:
        ProviderError: the provider cannot run here.
    """
    model = load(path, provider=provider)
    images = random_images(*size)
    return {
        "provider": provider,
        "batches": measure_batches(model, images, seconds),
        "binding": measure_binding(model),
        "streams": multi_camera.measure(model, *size, STREAMS, 1, turn_s=seconds),
    }


def measure_batches(model: Model, images: Sequence[Image], seconds: float) -> list[dict[str, Any]]:
    """Return for each size of `BATCHES`: ``batch``, ``fps`` (images per second) and ``ms`` (median time of a batch)."""
    rows = []
    for size in BATCHES:
        batch = [images[index % len(images)] for index in range(size)]
        model(batch)
        times: list[float] = []
        while sum(times) < seconds or len(times) < _MIN_BATCHES:
            start = time.perf_counter()
            model(batch)
            times.append(time.perf_counter() - start)
        median_s = statistics.median(times)
        rows.append({"batch": size, "fps": size / median_s, "ms": 1e3 * median_s})
    return rows


def measure_binding(model: Model) -> dict[str, Any]:
    """Compare camrt's outputs, bound to its own memory, with outputs allocated by ONNX Runtime (``run(None, ...)``).

    Returns: ``ms``, the median times of one frame, ``bound`` and ``unbound``; ``speedup`` of bound outputs;
    ``bytes_in``, and ``bytes_out`` of both: the bytes per frame that are copied to a device and back.
    """
    session = open_session(model.path, model.provider, model.threads).session
    outputs = [node.name for node in session.get_outputs()]
    pixels = np.zeros((1, model.geometry.height, model.geometry.width, 3), np.uint8)

    def unbound() -> list[Any]:
        return list(session.run(None, {model_file.IMAGE: pixels}, graph_options(None)))

    def bound() -> object:
        return model(pixels[0])  # the frame has the network's size, so preprocessing is only a copy

    calls: dict[str, Callable[[], object]] = {"bound": bound, "unbound": unbound}
    seconds = interleave(calls, _BINDING_ROUNDS, turn=_BINDING_TURN)
    sizes = {name: array.nbytes for name, array in zip(outputs, unbound(), strict=True)}
    constants = (model_file.CAM_WEIGHTS, model_file.CAM_BIAS)
    return {
        "ms": median_ms(seconds),
        "speedup": median_ratio(seconds["unbound"], to=seconds["bound"]),
        "bytes_in": pixels.nbytes,
        "bytes_out": {
            "bound": sum(size for name, size in sizes.items() if name not in constants),
            "unbound": sum(sizes.values()),
        },
    }


def _tables(results: Sequence[dict[str, Any]]) -> str:
    names = [result["provider"] for result in results]
    by_batch = [
        (str(size), *(f"{result['batches'][row]['fps']:.0f}" for result in results)) for row, size in enumerate(BATCHES)
    ]
    by_stream = [
        (str(count), *(f"{result['streams'][row]['fps']:.0f}" for result in results))
        for row, count in enumerate(STREAMS)
    ]
    binding = [
        (
            result["provider"],
            *(f"{result['binding']['ms'][kind]:.2f} ms" for kind in ("bound", "unbound")),
            f"{result['binding']['bytes_in'] / 1e3:.0f} kB",
            *(f"{result['binding']['bytes_out'][kind] / 1e3:.0f} kB" for kind in ("bound", "unbound")),
        )
        for result in results
    ]
    return "\n\n".join(
        (
            table(("images per second, batch", *names), by_batch),
            table(("frames per second with the overlay, cameras", *names), by_stream),
            table(("I/O binding", "bound", "unbound", "to the device", "back, bound", "back, unbound"), binding),
        )
    )


def main() -> None:
    """Measure every provider that runs here, and print tables and the reasons of the providers that cannot run."""
    parser = argparse.ArgumentParser(description="compare execution providers")
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("--provider", nargs="+", default=list(PROVIDERS), metavar="P", help="providers")
    parser.add_argument("--size", type=int, nargs=2, default=(1920, 1080), metavar=("W", "H"), help="pixels")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="per measurement (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    args = parser.parse_args()
    results, missing = [], {}
    for provider in args.provider:
        try:
            results.append(measure(args.model, provider, tuple(args.size), args.seconds))
        except ProviderError as error:
            missing[provider] = str(error)
    machine = describe_machine()
    if args.json is not None:
        report = {"machine": machine, "frame": args.size, "results": results, "missing": missing}
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"{format_machine(machine)}\n\n{_tables(results)}")
    print("".join(f"\n{reason}" for reason in missing.values()))


if __name__ == "__main__":
    main()
