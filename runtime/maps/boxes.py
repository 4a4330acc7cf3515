"""Boxes around the warm regions of a heatmap."""

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt import kernels

Box = tuple[int, int, int, int, float]
"""(x0, y0, x1, y1, score) in frame pixels, x1 and y1 exclusive."""

# Regions are found on a grid of this many cells along the longer side: finer than any map, and a
# 4K frame costs no more than a small one.
_GRID = 256


def boxes_of(
    heatmap: NDArray[np.float32],
    map_rect: tuple[float, float, float, float],
    seen: tuple[int, int, int, int],
    threshold: float,
) -> list[Box]:
    """Return the boxes of the regions of ``heatmap`` (h, w), in [0, 1], that are above ``threshold`` of its maximum.

    Args:
        heatmap: float32 (h, w).
        map_rect: (u0, v0, u1, v1) in map cells: the part of the map that lies on ``seen``.
        seen: (x0, y0, x1, y1) in frame pixels.
        threshold: fraction of the maximum, in [0, 1).

    Returns: boxes in frame pixels, largest region first.
    """
    x0, y0, x1, y1 = seen
    width, height = x1 - x0, y1 - y0
    scale = min(1.0, _GRID / max(width, height))
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    grid = kernels.upsample(heatmap, columns, rows, map_rect=map_rect)
    peak = float(grid.max())
    if peak <= 0.0:
        return []
    warm = (grid > threshold * peak).astype(np.uint8)
    count, regions, stats, _ = cv2.connectedComponentsWithStats(warm, connectivity=8)
    boxes = []
    for region in sorted(range(1, count), key=lambda region: -int(stats[region, cv2.CC_STAT_AREA])):
        left, top, wide, high, _ = (int(value) for value in stats[region])
        score = float(
            grid[top : top + high, left : left + wide][regions[top : top + high, left : left + wide] == region].max()
        )
        boxes.append(
            (
                x0 + left * width // columns,
                y0 + top * height // rows,
                x0 - (-(left + wide) * width // columns),
                y0 - (-(top + high) * height // rows),
                score,
            )
        )
    return boxes
