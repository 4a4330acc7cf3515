"""Refinements of class activation maps after the forward pass: floor at a percentile, first principal component."""

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


def raise_to_percentile(cams: F32, percent: float) -> F32:
    """Raise the cells of each map that are below a percentile of the map's cells to that percentile.

    With min-max normalisation behind it, this is the percentile normalisation IVR: subtract the percentile, cut
    negative values off, divide by the maximum.

    Args:
        cams: (..., h, w) float32. Cells that are NaN or infinite stay, and are ignored in the percentile.
        percent: from 0 to 100; between two cells it is interpolated.

    Returns: float32, the shape of ``cams``.

    Raises:
        ValueError: a map without cells, or a percentage out of range.

    Source: Kim et al. 2021, arXiv:2107.13221, section 4.
    """
    if cams.ndim < 2 or not (cams.shape[-1] and cams.shape[-2]):
        raise ValueError(f"maps must be (..., h, w) and have cells, not {cams.shape}")
    if not 0.0 <= percent <= 100.0:
        raise ValueError(f"percent {percent} must be within [0, 100]")
    cells = cams.reshape(-1, cams.shape[-2] * cams.shape[-1]).astype(np.float64)
    result = cells.copy()
    for cam, raised in zip(cells, result, strict=True):
        finite = np.isfinite(cam)
        if finite.any():
            raised[finite] = np.maximum(cam[finite], np.percentile(cam[finite], percent))
    return result.reshape(cams.shape).astype(np.float32)


def principal_map(features: F32 | U8, weights: F32, scale: float = 1.0, zero_point: int = 0) -> F32:
    """Project the weighted features of each cell on their first principal component over the cells of the map.

    The samples are the h * w cells, the variables the C channels of ``weight * feature``. The sign is the one that
    agrees with the class activation map.

    Args:
        features: (C, h, w), the maps before the pool: float32, or uint8 from a quantized network.
        weights: (k, C) float32, one row a class.
        scale: of the numbers in ``features``: value = (number - zero_point) * scale.
        zero_point: see ``scale``.

    Returns: float32 (k, h, w), with mean 0; zeros where all cells are equal, NaN where a cell is not finite.

    Raises:
        ValueError: the shapes do not match.

    Source: the class weights as in "CAM Back Again", Yasuki and Taki 2024, CVPR; components of cells as in Eigen-CAM,
    Muhammad and Yeasin 2020, arXiv:2008.00299, section III.
    """
    if features.ndim != 3 or not features[:1].size or weights.shape[1:] != features.shape[:1]:
        raise ValueError(f"weights {weights.shape} and features {features.shape} must be (k, C) and (C, h, w)")
    channels, height, width = features.shape
    values = ((features.astype(np.float64) - zero_point) * scale).reshape(channels, height * width)
    result = np.full((len(weights), height * width), np.nan, np.float64)
    if not np.isfinite(values).all():
        return result.reshape(-1, height, width).astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    for number, row in enumerate(weights.astype(np.float64)):
        weighted = row[:, np.newaxis] * values
        # The Gram matrix of the cells is small, 49 x 49 for a 7x7 map, whatever the number of channels.
        strengths, directions = np.linalg.eigh(weighted.T @ weighted)
        projected = np.sqrt(max(strengths[-1], 0.0)) * directions[:, -1]
        result[number] = -projected if projected @ weighted.sum(axis=0) < 0.0 else projected
    return result.reshape(-1, height, width).astype(np.float32)
