"""The overlay kernel beside what one would use instead: OpenCV's chain of resize, applyColorMap and addWeighted.

python -m camrt.benchmarks.overlay [--rounds N] [--threads N] [--json]
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt import kernels
from camrt.benchmarks.interleave import interleave, median_ms, median_ratio
from camrt.benchmarks.machine import describe_machine
from camrt.runtime.frames import Image
from camrt.runtime.geometry import Placement
from camrt.runtime.overlay import OverlayStyle, paint
from camrt.runtime.threads import RowPool, usable_cores

SIZES = ((640, 480), (1280, 720), (1920, 1080), (3840, 2160))
MAP_SIDE = 7
STYLES = {"camrt": OverlayStyle(), "by value": OverlayStyle(alpha_by_value=True)}


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

    def __call__(self, frame: Image, heatmap: NDArray[np.float32]) -> Image:
        """Draw into the kept buffer."""
        levels = (255 * heatmap).astype(np.uint8)
        cv2.resize(levels, (frame.shape[1], frame.shape[0]), dst=self._heat)
        cv2.applyColorMap(self._heat, cv2.COLORMAP_TURBO, dst=self._colored)
        cv2.addWeighted(frame, 0.5, self._colored, 0.5, 0.0, dst=self._out)
        return self._out


def measure(width: int, height: int, threads: int, rounds: int) -> dict[str, Any]:
    """Measure one frame size.

    Returns: ``frame`` and ``threads``; ``ms``: medians of each alternative; ``speedup``: for each way of camrt, the
    median of (time of the chain) / (time of camrt) over the rounds, ``usual`` and ``thrifty``.
    """
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (height, width, 3), np.uint8)
    heatmap = random.random((MAP_SIDE, MAP_SIDE), np.float32)
    out = np.empty_like(frame)
    placement = Placement(width, height, (0, 0, width, height), (0.0, 0.0, 1.0, 1.0))
    pool = RowPool(threads)
    thrifty = ThriftyChain(frame)
    alternatives: dict[str, Callable[[], object]] = {
        name: lambda style=style: paint(frame, heatmap, placement, style, out=out, pool=pool)  # type: ignore[misc]
        for name, style in STYLES.items()
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
        "threads": threads,
        "ms": median_ms(seconds),
        "speedup": {
            name: {chain: median_ratio(seconds[chain], to=seconds[name]) for chain in ("usual", "thrifty")}
            for name in STYLES
        },
    }


def main() -> None:
    """Measure every size, on one thread and on all, and print a table or JSON."""
    parser = argparse.ArgumentParser(description="the overlay kernel beside OpenCV's chain")
    parser.add_argument("--rounds", type=int, default=100, help="calls of each alternative (default 100)")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="the most threads (default: every core)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    kernels.warm_up()
    machine = describe_machine()
    results = [
        measure(width, height, threads, args.rounds) for threads in sorted({1, args.threads}) for width, height in SIZES
    ]
    if args.json:
        print(json.dumps({"machine": machine, "rounds": args.rounds, "results": results}, indent=2))
        return
    print(f"{machine['cpu']}, {machine['cores']} cores; {machine['versions']}")
    print(f"a {MAP_SIDE}x{MAP_SIDE} map over a frame; medians of {args.rounds} interleaved calls, in ms")
    header = "".join(f"{name:>10}" for name in results[0]["ms"])
    print(f"{'frame':>10}{'threads':>9}{header}   camrt is faster than usual, thrifty")
    for result in results:
        frame = "x".join(map(str, result["frame"]))
        times = "".join(f"{ms:10.3f}" for ms in result["ms"].values())
        gain = result["speedup"]["camrt"]
        print(f"{frame:>10}{result['threads']:>9}{times}   {gain['usual']:.1f}x, {gain['thrifty']:.1f}x")


if __name__ == "__main__":
    main()
