"""The overlay kernel beside what one would use instead: OpenCV's chain of resize, applyColorMap and addWeighted.

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
from camrt.benchmarks.interleave import compare, interleave
from camrt.benchmarks.machine import describe_machine, format_machine
from camrt.benchmarks.report import tables
from camrt.cores import usable_cores
from camrt.geometry import place
from camrt.images import Image
from camrt.model_file import InputGeometry
from camrt.runtime.maps.overlay import OverlayStyle, paint
from camrt.runtime.maps.row_pool import RowPool

SIZES = ((640, 480), (1280, 720), (1920, 1080), (3840, 2160))
MAPS = ("scene 7", "scene 14", "scene 32", "noise 7", "noise 32")
"""Kind and side of the maps; the first is laid over every size, the others over the first and third."""
WAYS = {
    "camrt": (OverlayStyle(), InputGeometry(width=224, height=224)),
    "by value": (OverlayStyle(alpha_by_value=True), InputGeometry(width=224, height=224)),
    "cropped": (OverlayStyle(), InputGeometry(width=224, height=224, resize="crop")),
    "letterboxed": (OverlayStyle(), InputGeometry(width=224, height=224, resize="letterbox")),
}
"""camrt's ways to draw: all over the frame, opacity by value, and where the network saw a part or had bars around."""


def heatmap_of(name: str) -> NDArray[np.float32]:
    """Return the map of a name in `MAPS`: float32 (side, side), in [0, 1].

    ``scene``: two bumps, about as steep as the maps of trained networks on photos. ``noise``: steeper than those.
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
    """Draw as most scripts do: resize the heatmap as float, colour it, add it."""
    heat = cv2.resize(heatmap, (frame.shape[1], frame.shape[0]))
    colored = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_TURBO)
    return np.asarray(cv2.addWeighted(frame, 0.5, colored, 0.5, 0.0), np.uint8)


class ThriftyChain:
    """The same at its best: 8 bits from the start, and buffers that are kept. Coarser: 256 levels before the resize."""

    def __init__(self, frame: Image) -> None:
        self._heat = np.empty(frame.shape[:2], np.uint8)
        self._colored = np.empty_like(frame)
        self._out = np.empty_like(frame)

    def fits(self, frame: Image) -> bool:
        """Return whether frames of this size are drawn."""
        return self._out.shape == frame.shape

    def __call__(self, frame: Image, heatmap: NDArray[np.float32]) -> Image:
        """Draw into the kept buffer."""
        levels = (255 * heatmap).astype(np.uint8)
        cv2.resize(levels, (frame.shape[1], frame.shape[0]), dst=self._heat)
        cv2.applyColorMap(self._heat, cv2.COLORMAP_TURBO, dst=self._colored)
        cv2.addWeighted(frame, 0.5, self._colored, 0.5, 0.0, dst=self._out)
        return self._out


def measure(width: int, height: int, name: str, threads: int, rounds: int) -> dict[str, Any]:
    """Measure one frame size with one map.

    Returns: ``frame``, ``map`` (its name) and ``threads``; ``ms``: medians of each alternative; ``speedup``: medians of
    the time of each alternative to that of camrt's plain overlay.
    """
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    heatmap = heatmap_of(name)
    out = np.empty_like(frame)
    pool = RowPool(threads)
    thrifty = ThriftyChain(frame)

    def draw(style: OverlayStyle, geometry: InputGeometry) -> None:
        paint(frame, heatmap, place(geometry, width, height), style, out=out, pool=pool)

    alternatives: dict[str, Callable[[], object]] = {way: partial(draw, *how) for way, how in WAYS.items()}
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
    """Measure every size and map, on one thread and on ``threads``."""
    cases = [(size, MAPS[0]) for size in SIZES] + [(size, name) for name in MAPS[1:] for size in SIZES[:3:2]]
    return [measure(*size, name, count, rounds) for count in sorted({1, threads}) for size, name in cases]


def main() -> None:
    """Measure and print a table or JSON."""
    parser = argparse.ArgumentParser(description="the overlay kernel beside OpenCV's chain")
    parser.add_argument("--rounds", type=int, default=60, help="calls of each alternative (default 60)")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="the most threads (default: every core)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    kernels.warm_up()
    machine = describe_machine()
    results = measure_all(args.threads, args.rounds)
    if args.json:
        print(json.dumps({"machine": machine, "rounds": args.rounds, "overlay": results}, indent=2))
        return
    print(format_machine(machine))
    print(f"medians of {args.rounds} interleaved calls; x: theirs / camrt's")
    print(tables.overlay(results))


if __name__ == "__main__":
    main()
