"""Metrics of maps: similarity of two maps, and localization of an object with a known place.

Maps are (h, w) of any float type, without cells that cover padding only. Boxes are (x0, y0, x1, y1), x1 and y1
exclusive.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Map = NDArray[np.floating[Any]]
F64 = NDArray[np.float64]


def pearson(first: Map, second: Map) -> float:
    """Return Pearson's correlation of the cells of two maps, in [-1, 1]. Scale and offset do not matter.

    Two constant maps have correlation 1; a constant map and another one have 0.
    """
    a, b = (np.asarray(cam, np.float64).ravel() for cam in (first, second))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    if scale == 0.0:
        return 1.0 if not a.any() and not b.any() else 0.0
    return float(np.clip(a @ b / scale, -1.0, 1.0))


def rank_correlation(first: Map, second: Map) -> float:
    """Return Spearman's correlation of the cells of two maps: Pearson's of their ranks; ties share the mean rank."""
    return pearson(_ranks(first), _ranks(second))


def _ranks(cam: Map) -> F64:
    _, index, count = np.unique(cam, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[index.ravel()])


def peak(cam: Map) -> tuple[int, int]:
    """Return (y, x) of the greatest value of a map, the first one in reading order."""
    y, x = divmod(int(np.argmax(cam)), cam.shape[1])
    return y, x


def peak_distance(first: Map, second: Map) -> float:
    """Return the distance between the peaks of two maps of one shape, as a fraction of the map's diagonal."""
    (y, x), (other_y, other_x) = peak(first), peak(second)
    return math.hypot(y - other_y, x - other_x) / math.hypot(*first.shape)


def box_iou(first: ArrayLike, second: ArrayLike) -> F64:
    """Return the intersection over union of boxes, in [0, 1].

    Args:
        first: (..., 4).
        second: (..., 4); the leading axes broadcast, so (n, 1, 4) and (m, 4) give all pairs.

    Returns: float64 (...). Boxes without area have IoU 0.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    sides = np.minimum(a[..., 2:4], b[..., 2:4]) - np.maximum(a[..., 0:2], b[..., 0:2])
    shared = np.maximum(sides, 0.0).prod(axis=-1)
    union = (a[..., 2:4] - a[..., 0:2]).prod(axis=-1) + (b[..., 2:4] - b[..., 0:2]).prod(axis=-1) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0.0))


def points_at_mask(heatmap: Map, mask: NDArray[np.bool_], tolerance: float = 0.0) -> bool:
    """Play the pointing game: tell whether the peak of a heatmap lies on the object.

    Args:
        heatmap: (H, W).
        mask: bool (H, W), True on the object.
        tolerance: pixels from the object within which the peak may lie, as the crow flies.

    Source: Zhang et al. 2018, IJCV 126, section 4.1, who allow 15 pixels.
    """
    y, x = peak(heatmap)
    reach = int(tolerance)
    top, left = max(0, y - reach), max(0, x - reach)
    rows, columns = np.nonzero(mask[top : y + reach + 1, left : x + reach + 1])
    return bool(((rows + top - y) ** 2 + (columns + left - x) ** 2 <= tolerance**2).any())


def energy_in_mask(heatmap: Map, mask: NDArray[np.bool_]) -> float:
    """Return the share of a heatmap that lies on the object, in [0, 1].

    Args:
        heatmap: (H, W), not negative. A map of zeros has share 0.
        mask: bool (H, W), True on the object.

    Source: Wang et al. 2020, arXiv:1910.01279, section 4.3 (energy-based pointing game).
    """
    total = float(heatmap.sum(dtype=np.float64))
    return float(heatmap.sum(dtype=np.float64, where=mask)) / total if total > 0.0 else 0.0


def mask_of_boxes(boxes: ArrayLike, width: int, height: int) -> NDArray[np.bool_]:
    """Return the pixels of an image that lie in boxes (n, 4), fractions included: bool (height, width)."""
    mask = np.zeros((height, width), np.bool_)
    edges = np.ceil(np.asarray(boxes, np.float64).reshape(-1, 4)).clip(0).astype(np.int64)
    for x0, y0, x1, y1 in edges.tolist():
        mask[y0:y1, x0:x1] = True
    return mask
