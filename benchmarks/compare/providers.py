"""Execution providers beside each other: batches, I/O binding, and many cameras on one model.

    python -m camrt.benchmarks.compare.providers MODEL [--provider P ...] [--size W H] [--seconds S] [--json FILE]

``benchmarks/compare/gpu.sh`` runs it on a machine with a GPU; its CPU half is the same code.
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
from camrt.benchmarks.interleave import interleave, median_ms, median_ratio
from camrt.benchmarks.machine import describe_machine, format_machine
from camrt.benchmarks.report.tables import table
from camrt.errors import ProviderError
from camrt.images import Image
from camrt.runtime.inference.model import Model, load
from camrt.runtime.inference.session import open_session

PROVIDERS = ("cpu", "cuda", "tensorrt")
BATCHES = (1, 2, 4, 8, 16, 32)
STREAMS = (1, 2, 4, 8, 16)
_FEWEST_BATCHES = 3
_BINDING_ROUNDS = 20
_BINDING_TURN = 6


def measure(path: Path, provider: str, size: tuple[int, int], seconds: float) -> dict[str, Any]:
    """Measure one provider; see `batches`, `binding` and `multi_camera.measure`.

    Raises:
        ProviderError: it cannot run here.
    """
    model = load(path, provider=provider)
    images = random_images(*size)
    return {
        "provider": provider,
        "batches": batches(model, images, seconds),
        "binding": binding(model),
        "streams": multi_camera.measure(model, *size, STREAMS, 1, turn_s=seconds),
    }


def batches(model: Model, images: Sequence[Image], seconds: float) -> list[dict[str, Any]]:
    """Return, for each size of `BATCHES`: ``batch``, ``fps`` (pictures a second) and ``ms`` (of a batch, median)."""
    rows = []
    for size in BATCHES:
        batch = [images[index % len(images)] for index in range(size)]
        model(batch)
        times: list[float] = []
        while sum(times) < seconds or len(times) < _FEWEST_BATCHES:
            start = time.perf_counter()
            model(batch)
            times.append(time.perf_counter() - start)
        middle = statistics.median(times)
        rows.append({"batch": size, "fps": size / middle, "ms": 1e3 * middle})
    return rows


def binding(model: Model) -> dict[str, Any]:
    """Compare outputs bound to memory, as camrt has them, with those that ONNX Runtime allocates (``run(None, ...)``).

    Returns: ``ms``, medians of one frame of the network's size, ``bound`` and ``unbound``; ``speedup`` of the first;
    ``bytes_in``, and ``bytes_out`` of both: what crosses to a device and back for each frame, where there is one.
    """
    session = open_session(model.path, model.provider, model.threads).session
    outputs = [node.name for node in session.get_outputs()]
    pixels = np.zeros((1, model.geometry.height, model.geometry.width, 3), np.uint8)

    def unbound() -> list[Any]:
        return list(session.run(None, {model_file.IMAGE: pixels}))

    def bound() -> object:
        return model(pixels[0])  # of the network's size: scaling it is a copy

    ways: dict[str, Callable[[], object]] = {"bound": bound, "unbound": unbound}
    seconds = interleave(ways, _BINDING_ROUNDS, turn=_BINDING_TURN)
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
    bound = [
        (
            result["provider"],
            *(f"{result['binding']['ms'][way]:.2f} ms" for way in ("bound", "unbound")),
            f"{result['binding']['bytes_in'] / 1e3:.0f} kB",
            *(f"{result['binding']['bytes_out'][way] / 1e3:.0f} kB" for way in ("bound", "unbound")),
        )
        for result in results
    ]
    return "\n\n".join(
        (
            table(("pictures per second, batch", *names), by_batch),
            table(("frames per second with overlay, cameras", *names), by_stream),
            table(("I/O binding", "bound", "unbound", "to the device", "back, bound", "back, unbound"), bound),
        )
    )


def main() -> None:
    """Measure every provider that runs here, say why the others do not, and print tables."""
    parser = argparse.ArgumentParser(description="execution providers beside each other")
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("--provider", nargs="+", default=list(PROVIDERS), metavar="P")
    parser.add_argument("--size", type=int, nargs=2, default=(1920, 1080), metavar=("W", "H"), help="of the frames")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each number (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the numbers")
    args = parser.parse_args()
    results, missing = [], {}
    for provider in args.provider:
        try:
            results.append(measure(args.model, provider, tuple(args.size), args.seconds))
        except ProviderError as error:
            missing[provider] = str(error)
    machine = describe_machine()
    if args.json is not None:
        kept = {"machine": machine, "frame": args.size, "results": results, "missing": missing}
        args.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(f"{format_machine(machine)}\n\n{_tables(results)}")
    print("".join(f"\n{reason}" for reason in missing.values()))


if __name__ == "__main__":
    main()
