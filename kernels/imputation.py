"""Noisy linear imputation: fill missing pixels so that their place can hardly be seen.

Source: Rong et al. 2022, arXiv:2202.00449: each missing pixel is the weighted mean of its eight neighbours, missing
ones included, which gives a system of linear equations. A little noise is added, because an image that is too smooth
shows where pixels were missing.
"""

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
_WEIGHTS: Final = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]], np.float32) / np.float32(12)
"""Weights of the neighbours: 1/6 beside and below, 1/12 at the corners."""
NOISE: Final = 2.55
"""Standard deviation of the noise, in grey levels: 0.01 of their range."""
_COARSEST: Final = 8
"""Side in pixels from which on a coarser image is no help for the first guess."""
_TOLERANCE: Final = 1e-4
"""Residual at which the solver ends, as a share of the right-hand side. On photos of 224x224 the pixels are then within
2 grey levels of a direct solver's, 0.3 on average."""
_MOST_STEPS: Final = 1000


def impute(image: NDArray[np.uint8], missing: NDArray[np.bool_], noise: NDArray[np.floating[Any]] | None) -> F32:
    """Return an image whose missing pixels are filled.

    Args:
        image: uint8 (H, W, 3).
        missing: bool (H, W); at least one pixel is not missing.
        noise: float (H, W, 3) that is added to the filled pixels, in grey levels; None: nothing.

    Returns: float32 (H, W, 3), in grey levels, not rounded; with noise it may leave 0 to 255.
    """
    filled = _solve(image.astype(np.float32), ~missing)
    if noise is not None:
        filled[missing] += noise[missing].astype(np.float32)
    return filled


def _solve(values: F32, known: NDArray[np.bool_]) -> F32:
    """Fill the values (H, W, 3) that are not known, by conjugate gradients from the solution of an image half as large.

    The matrix is symmetric and positive definite: the weights of two neighbours for each other are equal, and every
    region of missing pixels has a known neighbour.
    """
    # In place and without broadcasting: temporary arrays take longer than the sums.
    free = np.repeat(~known[..., np.newaxis], 3, axis=2).astype(np.float32)
    diagonal = free * _neighbours(np.ones(known.shape, np.float32))[..., np.newaxis]
    kept = values * (1 - free)
    right = free * _neighbours(kept)
    solution = free * _first_guess(kept, known)
    product, scratch = np.empty_like(kept), np.empty_like(kept)

    def multiply(vector: F32) -> None:
        _neighbours(vector, scratch)
        np.multiply(scratch, free, out=scratch)
        np.multiply(vector, diagonal, out=product)
        np.subtract(product, scratch, out=product)

    multiply(solution)
    residual = right - product
    direction = residual.copy()
    size, enough = _dot(residual, residual), _TOLERANCE**2 * _dot(right, right)
    for _ in range(_MOST_STEPS):
        if size <= enough:
            break
        multiply(direction)
        step = size / _dot(direction, product)
        cv2.scaleAdd(direction, step, solution, dst=solution)
        cv2.scaleAdd(product, -step, residual, dst=residual)
        size, before = _dot(residual, residual), size
        cv2.scaleAdd(direction, size / before, residual, dst=direction)
    return kept + solution


def _neighbours(values: F32, out: F32 | None = None) -> F32:
    return np.asarray(cv2.filter2D(values, -1, _WEIGHTS, dst=out, borderType=cv2.BORDER_CONSTANT), np.float32)


def _dot(first: F32, second: F32) -> float:
    return float(np.dot(first.ravel(), second.ravel()))


def _first_guess(kept: F32, known: NDArray[np.bool_]) -> F32:
    """Return values for all pixels: those of the image of half the size, filled and enlarged."""
    height, width = known.shape
    if max(height, width) <= _COARSEST or known.all():
        mean = kept.sum(axis=(0, 1)) / np.float32(known.sum())
        return np.broadcast_to(mean, kept.shape)
    size = (width + 1) // 2, (height + 1) // 2
    share = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    means = cv2.resize(kept, size, interpolation=cv2.INTER_AREA) / np.maximum(share, np.float32(1e-6))[..., np.newaxis]
    coarse = _solve(np.asarray(means, np.float32), share > 0)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
