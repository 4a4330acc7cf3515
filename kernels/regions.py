"""Boxes around the warm regions of a map, for any number of thresholds: the map is upsampled once for all of them."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np

from camrt.kernels.jit import kernel
from camrt.kernels.maps import F32
from camrt.kernels.upsample import Rect, check_map, upsample

GRID: Final = 256
"""Regions are found on a grid with at most this many cells along its longer side. It is finer than any map, and a 4K
frame costs no more than a small one."""


class Box(NamedTuple):
    """The box of a region; ``x1`` and ``y1`` are exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int
    score: float
    """The greatest value of the map in the region."""


def boxes(
    heatmap: F32,
    thresholds: Sequence[float],
    rect: tuple[int, int, int, int] | None = None,
    map_rect: Rect | None = None,
) -> list[list[Box]]:
    """Return the boxes of the regions of a map that are above fractions of its maximum.

    A region is a set of grid cells that touch at a side or a corner.

    Args:
        heatmap: (h, w) float32 in [0, 1], as `normalize` returns it.
        thresholds: T fractions of the maximum of the upsampled map, in [0, 1).
        rect: (x0, y0, x1, y1) in frame pixels, the part of the frame that the map covers. None: the map is enlarged to
            `GRID` cells along its longer side, and the boxes are in these cells.
        map_rect: (u0, v0, u1, v1) in map cells, the part of the map that ``rect`` shows; the whole map when None.

    Returns:
        for each threshold the boxes, largest region first; no box where the map is zero.

    Raises:
        ValueError: a map without cells, a rect without pixels, or a threshold out of range.

    Source: Zhou et al. 2016, arXiv:1512.04150, section 3.2 (threshold 0.2, first box); Choe et al. 2020,
    arXiv:2001.07437, section 3.3 (all thresholds of one map).
    """
    check_map(heatmap)
    if not all(0.0 <= threshold < 1.0 for threshold in thresholds):
        raise ValueError(f"thresholds must be in [0, 1), not {list(thresholds)}")
    x0, y0, x1, y1 = _enlarged(heatmap) if rect is None else rect
    width, height = x1 - x0, y1 - y0
    if width <= 0 or height <= 0:
        raise ValueError(f"rect {rect} must be (x0, y0, x1, y1) with x0 < x1 and y0 < y1")
    scale = min(1.0, GRID / max(width, height))
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    grid = upsample(heatmap, columns, rows, map_rect)
    peak = float(grid.max())
    if peak <= 0.0:
        return [[] for _ in thresholds]
    return [
        [
            Box(
                x0 + left * width // columns,
                y0 + top * height // rows,
                x0 - (-right * width // columns),  # rounded up: the box covers the region
                y0 - (-bottom * height // rows),
                score,
            )
            for left, top, right, bottom, score in _regions(grid, threshold * peak)
        ]
        for threshold in thresholds
    ]


def _regions(grid: F32, level: float) -> list[tuple[int, int, int, int, float]]:
    """Return (left, top, right, bottom, score) of the 8-connected regions above a level, in cells, largest first."""
    count, labels = cv2.connectedComponents((grid > level).astype(np.uint8), connectivity=8)
    shapes = np.tile(np.array([*grid.shape[::-1], 0, 0, 0], np.int64), (count, 1))
    scores = np.zeros(count, np.float32)
    _measure(labels, grid, shapes, scores)
    order = 1 + np.argsort(-shapes[1:, 4], kind="stable")  # label 0 is the rest of the grid
    return [(*shape, score) for shape, score in zip(shapes[order, :4].tolist(), scores[order].tolist(), strict=True)]


@kernel
def _measure(labels, grid, shapes, scores):  # type: ignore[no-untyped-def]
    """Add every cell to its region, a run of equal labels at a time: OpenCV's own statistics take three times as long.

    Args:
        labels: int32 (rows, columns), 0 to n - 1.
        grid: float32 (rows, columns).
        shapes: int64 (n, 5), updated: left, top, right and bottom of the box, and the number of cells.
        scores: float32 (n,), updated: the greatest value.
    """
    rows, columns = labels.shape
    for y in range(rows):
        x = 0
        while x < columns:
            label, first, greatest = labels[y, x], x, grid[y, x]
            while x < columns and labels[y, x] == label:
                greatest = max(greatest, grid[y, x])
                x += 1
            scores[label] = max(scores[label], greatest)
            shapes[label, 0] = min(shapes[label, 0], first)
            shapes[label, 1] = min(shapes[label, 1], y)
            shapes[label, 2] = max(shapes[label, 2], x)
            shapes[label, 3] = max(shapes[label, 3], y + 1)
            shapes[label, 4] += x - first


def _enlarged(heatmap: F32) -> tuple[int, int, int, int]:
    height, width = heatmap.shape
    scale = GRID / max(height, width)
    return 0, 0, max(1, round(width * scale)), max(1, round(height * scale))
