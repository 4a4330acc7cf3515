"""Statistics of a class map: the place and the spread of its evidence, compared between images, cameras and times.

All follow from the positive part of the map, so that they do not depend on the size of the logits.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from camrt.kernels.map_metrics import pearson

Map = NDArray[np.float32]
STATISTICS: Final = {
    "centre": "share on the centre",
    "entropy": "entropy",
    "distance": "distance of the mean map",
}
"""Keys of the statistics, and their words."""


def centre_share(cam: Map) -> float:
    """Return the share of the positive map in the middle half of both sides, in [0, 1]; NaN: nothing is positive.

    Even evidence gives 0.25. Cells count by the part of them that lies in the middle.

    Args:
        cam: float32 (h, w), in logits per cell, without cells of padding.
    """
    positive = np.maximum(cam, 0, dtype=np.float64)
    total = positive.sum()
    if not (np.isfinite(total) and total > 0):
        return float("nan")
    rows, columns = (_middle(side) for side in cam.shape)
    return float(rows @ positive @ columns / total)


def _middle(count: int) -> NDArray[np.float64]:
    """Return the part of each of ``count`` cells that lies between a quarter and three quarters of a side."""
    edges = np.clip(np.linspace(0, 1, count + 1), 0.25, 0.75)
    return np.asarray(np.diff(edges) * count)


def entropy(cam: Map) -> float:
    """Return the entropy of the positive map over its cells, from 0 (one cell) to 1 (even); NaN: nothing is positive.

    Args:
        cam: as for `centre_share`.

    Source: Shannon's entropy divided by the logarithm of the number of cells.
    """
    positive = np.maximum(cam, 0, dtype=np.float64).ravel()
    total = positive.sum()
    if not (np.isfinite(total) and total > 0):
        return float("nan")
    shares = positive[positive > 0] / total
    return float(-(shares * np.log(shares)).sum() / max(np.log(positive.size), 1e-12))


def map_distance(cam: Map, mean_map: Map) -> float:
    """Return 1 minus the correlation of a map with the mean map of its class, in [0, 2].

    Args:
        cam: float32 (h, w), in any unit.
        mean_map: float32 (h, w).
    """
    return 1.0 - pearson(cam, mean_map)
