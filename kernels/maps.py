"""From feature maps to heatmaps: weighted sum, normalisation, upsampling."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from camrt.kernels import reference

F32 = NDArray[np.float32]
Method = Literal["minmax", "relu_max", "range"]


def weighted_sum(features: F32, weights: F32, out: F32 | None = None) -> F32:
    """Sum the feature maps over their channels, weighted by one row of the classifier for each class.

    Args:
        features: (C, h, w) float32, the maps that are pooled.
        weights: (k, C) float32, rows of the linear layer; or (C,), one row.
        out: (k, h, w), or (h, w), float32 buffer to fill; allocated when None.

    Returns:
        (k, h, w), or (h, w), float32 class activation maps in logit units, not normalised; ``out`` if it was given.
    """
    result = reference.weighted_sum_reference(features, weights)
    if out is None:
        return result
    out[...] = result
    return out


def normalize(
    cams: F32, method: Method = "minmax", value_range: tuple[float, float] | None = None, out: F32 | None = None
) -> F32:
    """Bring each map (the last two axes) to [0, 1].

    ``minmax``: (v - min) / (max - min). ``relu_max``: max(v, 0) / max. ``range``: (v - low) / (high - low), clipped.
    A constant map gives zeros (but with ``range`` what the range says). Cells that are NaN or infinite become 0 and
    count neither for min nor for max.
    """
    result = reference.normalize_reference(cams, method, value_range)
    if out is None:
        return result
    out[...] = result
    return out


def upsample(
    heatmap: F32,
    width: int,
    height: int,
    map_rect: tuple[float, float, float, float] | None = None,
    out: F32 | None = None,
) -> F32:
    """Resize a map bilinearly: half-pixel centres, edges clamped, as cv2.resize with INTER_LINEAR.

    ``map_rect``: (u0, v0, u1, v1) in map cells, the part of the map that the output covers; the whole map when None.
    """
    result = reference.upsample_reference(heatmap, width, height, map_rect)
    if out is None:
        return result
    out[...] = result
    return out
