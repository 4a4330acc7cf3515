"""Positions of evidence: shares of the maps in parts of the image, against the other classes."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from camrt.runtime.audit.significance import permutation_floor

F64 = NDArray[np.float64]
PARTS: Final = ("top left", "top right", "bottom left", "bottom right", "border", "centre")
_FEWEST: Final = 4
_SHARED: Final = 0.9
"""Share of the classes that a hot spot must be common to."""
_HOT: Final = 2.0
"""Mean value of a shared hot spot, in multiples of the mean of all cells."""


def part_masks(rows: int, columns: int) -> NDArray[np.bool_]:
    """Return the cells of `PARTS`: bool (len(PARTS), rows, columns)."""
    y, x = np.mgrid[:rows, :columns]
    tall, wide = max(1, rows // 4), max(1, columns // 4)
    top, bottom, left, right = y < tall, y >= rows - tall, x < wide, x >= columns - wide
    border = (y == 0) | (y == rows - 1) | (x == 0) | (x == columns - 1)
    centre = ~(top | bottom | left | right)
    return np.stack([top & left, top & right, bottom & left, bottom & right, border, centre])


def part_shares(maps: NDArray[np.uint8]) -> F64:
    """Return the share of each map in each part: float64 (N, len(PARTS)); 0 for a map without any range."""
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    masks = part_masks(*maps.shape[1:]).reshape(len(PARTS), -1)
    totals = flat.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(flat @ masks.T, totals, out=np.zeros((len(maps), len(PARTS))), where=totals > 0))


def class_scores(shares: F64, classes: NDArray[np.intp]) -> tuple[NDArray[np.intp], F64]:
    """Return for each class and part how far its mean share exceeds that of all images, in standard errors.

    Returns: class numbers (K,) with at least four images, and float64 (K, parts).
    """
    numbers, inverse, counts = np.unique(classes, return_inverse=True, return_counts=True)
    sums = np.zeros((len(numbers), shares.shape[1]))
    np.add.at(sums, inverse, shares)
    means = sums / counts[:, np.newaxis]
    error = np.maximum(shares.std(axis=0), 1e-9) / np.sqrt(counts)[:, np.newaxis]
    keep = counts >= _FEWEST
    return numbers[keep], np.asarray((means - shares.mean(axis=0)) / error)[keep]


def unusual_positions(maps: NDArray[np.uint8], classes: NDArray[np.intp]) -> dict[int, list[tuple[str, float]]]:
    """Return the parts in which classes have more evidence than permuted labels give, most unusual first.

    The floor is the 99th percentile of the largest score of all classes and parts under permuted labels, so that it
    holds for all of them together. A high value is a suspicion, no proof: objects have positions, too.
    """
    shares = part_shares(maps)
    numbers, scores = class_scores(shares, classes)
    if len(numbers) < 2:
        return {}
    floor = permutation_floor(lambda labels: class_scores(shares, labels)[1].ravel(), classes)
    found: dict[int, list[tuple[str, float]]] = {}
    for number, row in zip(numbers.tolist(), scores, strict=True):
        outside = [(PARTS[part], float(row[part])) for part in np.argsort(-row) if row[part] > floor]
        outside = [one for one in outside if one[0] != "centre"]
        if outside:
            found[number] = outside
    return found


def shared_hot_spot(mean_maps: NDArray[np.float32]) -> tuple[int, int] | None:
    """Return the cell (row, column) at the edge that is hot for nearly all classes, whatever the image; None: none is.

    Padding in convolutions gives such artefacts. They say nothing about one class.

    Args:
        mean_maps: (K, h, w), of each class, in [0, 1].
    """
    if len(mean_maps) < 3 or min(mean_maps.shape[1:]) < 3:
        return None
    relative = mean_maps / np.maximum(mean_maps.mean(axis=(1, 2), keepdims=True), 1e-9)
    common = (relative >= _HOT).mean(axis=0)
    common[1:-1, 1:-1] = 0
    if common.max() < _SHARED:
        return None
    row, column = np.unravel_index(int(common.argmax()), common.shape)
    return int(row), int(column)
