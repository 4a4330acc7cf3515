"""How alike two class activation maps are: one of the classifier as it was, one of the same classifier in fewer bits.

Maps are (h, w), without cells that cover padding only. Their scale and offset do not matter: shapes are compared.
"""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.floating[Any]]
Box = tuple[int, int, int, int]
"""(x0, y0, x1, y1) in cells of the grid that regions are found on, x1 and y1 exclusive."""

GRID = 256
"""Cells along the longer side of that grid: finer than any map."""
WARM = 0.2
"""Fraction of the maximum above which a cell belongs to the object (Zhou et al. 2016, section 3.2)."""


def pearson(first: Map, second: Map) -> float:
    """Return Pearson's correlation of two maps' cells, in [-1, 1]; a constant map is like a constant one only."""
    a, b = (np.asarray(cam, np.float64).ravel() for cam in (first, second))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    if scale == 0.0:
        return 1.0 if not a.any() and not b.any() else 0.0
    return float(np.clip(a @ b / scale, -1.0, 1.0))


def rank_correlation(first: Map, second: Map) -> float:
    """Return Spearman's correlation of two maps' cells: Pearson's of their ranks; equal values share the mean one."""
    return pearson(_ranks(first), _ranks(second))


def _ranks(cam: Map) -> NDArray[np.float64]:
    _, index, count = np.unique(cam, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[index.ravel()])


def warm_box(cam: Map) -> Box | None:
    """Return the box of the largest connected region above 20 % of the map's range (Zhou et al. 2016, section 3.2).

    The map is scaled to [0, 1] and upsampled first, as the runtime does. None: the map is constant.
    """
    low, high = float(cam.min()), float(cam.max())
    if not high > low:
        return None
    height, width = cam.shape
    scale = GRID / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    grid = cv2.resize(((cam - low) / (high - low)).astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    warm = (grid > WARM * grid.max()).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(warm, connectivity=8)
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    left, top, wide, high_ = (int(value) for value in stats[largest, :4])
    return left, top, left + wide, top + high_


def box_iou(first: Box | None, second: Box | None) -> float:
    """Return the intersection of two boxes over their union, in [0, 1]; no box is like no box only."""
    if first is None or second is None:
        return float(first is second)
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(0, wide) * max(0, high)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


def peak_distance(first: Map, second: Map) -> float:
    """Return how far the warmest cells of two maps lie apart, as a fraction of the map's diagonal."""
    (y, x), (other_y, other_x) = (divmod(int(np.argmax(cam)), cam.shape[1]) for cam in (first, second))
    return math.hypot(y - other_y, x - other_x) / math.hypot(*first.shape)
