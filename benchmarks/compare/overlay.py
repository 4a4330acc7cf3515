"""Compare the overlay kernel with OpenCV's chain of resize, applyColorMap and addWeighted.

python -m camrt.benchmarks.compare.overlay [--rounds N] [--threads N] [--json]
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt import kernels
from camrt.benchmarks.machine import describe_machine, format_machine
from camrt.benchmarks.report import tables
from camrt.cores import usable_cores
from camrt.geometry import place
from camrt.images import Image
from camrt.interleaved_timing import compare, interleave
from camrt.model_file import InputGeometry
from camrt.runtime.maps.overlay import OverlayStyle, paint
from camrt.runtime.maps.row_pool import RowPool

SIZES = ((640, 480), (1280, 720), (1920, 1080), (3840, 2160))
MAPS = ("scene 7", "scene 14", "scene 32", "noise 7", "noise 32")
"""Kind and side of the maps; the first is measured with every size, the others with the first and third size."""
STYLE = OverlayStyle(alpha=0.5, alpha_by_value=False)
"""One opacity for all pixels, which is what OpenCV's chain can draw."""
VARIANTS = {
    "camrt": (STYLE, InputGeometry(width=224, height=224)),
    "by value": (OverlayStyle(alpha=0.5, alpha_by_value=True), InputGeometry(width=224, height=224)),
    "cropped": (STYLE, InputGeometry(width=224, height=224, resize="crop")),
    "letterboxed": (STYLE, InputGeometry(width=224, height=224, resize="letterbox")),
}
"""camrt's variants: the whole frame, opacity by value, a map of a part of the frame, and a map with bars around it."""


def synthetic_heatmap(name: str) -> NDArray[np.float32]:
    """Return the map of a name in `MAPS`: float32 (side, side), in [0, 1].

    ``scene`` has two peaks, about as steep as the maps of trained networks on photos. ``noise`` is steeper.
    """
    kind, side = name.split()
    if kind == "noise":
        return np.random.default_rng(0).random((int(side), int(side)), np.float32)
    y, x = (np.mgrid[: int(side), : int(side)] + 0.5) / int(side)
    heat = np.exp(-((x - 0.4) ** 2 + (y - 0.45) ** 2) / 0.045) + 0.6 * np.exp(
        -((x - 0.75) ** 2 + (y - 0.8) ** 2) / 0.02
    )
    return np.asarray((heat - heat.min()) / (heat.max() - heat.min()), np.float32)


def usual_chain(frame: Image, heatmap: NDArray[np.float32]) -> Image:
    """Draw as most scripts do: resize the map as float32, colour it, and blend it over the frame."""
    heat = cv2.resize(heatmap, (frame.shape[1], frame.shape[0]))
    colored = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_TURBO)
    return np.asarray(cv2.addWeighted(frame, 0.5, colored, 0.5, 0.0), np.uint8)


class ThriftyChain:
    """The same chain as fast as OpenCV allows: 8 bits from the start, and reused buffers.

    It is less accurate, because the map has 256 levels before it is resized.
    """

    def __init__(self, frame: Image) -> None:
        self._heat = np.empty(frame.shape[:2], np.uint8)
        self._colored = np.empty_like(frame)
        self._out = np.empty_like(frame)

    def fits(self, frame: Image) -> bool:
        """Return whether the buffers have the size of this frame."""
        return self._out.shape == frame.shape

    def __call__(self, frame: Image, heatmap: NDArray[np.float32]) -> Image:
        """Draw into the reused buffer: uint8 (H, W, 3), valid until the next call."""
        levels = (255 * heatmap).astype(np.uint8)
        cv2.resize(levels, (frame.shape[1], frame.shape[0]), dst=self._heat)
        cv2.applyColorMap(self._heat, cv2.COLORMAP_TURBO, dst=self._colored)
        cv2.addWeighted(frame, 0.5, self._colored, 0.5, 0.0, dst=self._out)
        return self._out


def measure(width: int, height: int, name: str, threads: int, rounds: int) -> dict[str, Any]:
    """Measure one frame size with one map.

    Returns: ``frame``, ``map`` (its name) and ``threads``; ``ms``, the median time of each alternative; ``speedup``,
    the median ratio of the time of each alternative to the time of camrt's plain overlay.
    """
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    heatmap = synthetic_heatmap(name)
    out = np.empty_like(frame)
    pool = RowPool(threads)
    thrifty = ThriftyChain(frame)

    def draw(style: OverlayStyle, geometry: InputGeometry) -> None:
        paint(frame, heatmap, place(geometry, width, height), style, out=out, pool=pool)

    alternatives: dict[str, Callable[[], object]] = {
        name: partial(draw, *variant) for name, variant in VARIANTS.items()
    }
    alternatives |= {
        "usual": lambda: usual_chain(frame, heatmap),
        "thrifty": lambda: thrifty(frame, heatmap),
        "copy": lambda: np.copyto(out, frame),
    }
    cv2.setNumThreads(threads)
    seconds = interleave(alternatives, rounds)
    pool.close()
    return {
        "frame": [width, height],
        "map": name,
        "threads": threads,
        **compare(seconds, to="camrt"),
    }


def measure_all(threads: int, rounds: int) -> list[dict[str, Any]]:
    """Measure every size and map on one thread and on ``threads``; returns one row of `measure` per case."""
    cases = [(size, MAPS[0]) for size in SIZES] + [(size, name) for name in MAPS[1:] for size in SIZES[:3:2]]
    return [measure(*size, name, count, rounds) for count in sorted({1, threads}) for size, name in cases]


def main() -> None:
    """Measure and print a table or JSON."""
    parser = argparse.ArgumentParser(description="compare the overlay kernel with OpenCV's chain")
    parser.add_argument("--rounds", type=int, default=60, metavar="N", help="calls per case (default 60)")
    parser.add_argument("--threads", type=int, default=usable_cores(), metavar="N", help="default: one per core")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    kernels.warm_up()
    machine = describe_machine()
    results = measure_all(args.threads, args.rounds)
    if args.json:
        print(json.dumps({"machine": machine, "rounds": args.rounds, "overlay": results}, indent=2))
        return
    print(format_machine(machine))
    print(f"medians of {args.rounds} interleaved calls; 2x means twice the time of camrt")
    print(tables.overlay(results))


if __name__ == "__main__":
    main()
