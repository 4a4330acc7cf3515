"""Find validation images that are almost the same as a training image: accuracy on them is no evidence."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

CORRELATION: Final = 0.98
"""Correlation of two grey thumbnails from which on their images may be near-duplicates."""
DIFFERENCE: Final = 6.0
"""Mean difference of their colours, in grey levels, up to which they are."""
_CHUNK: Final = 512


def find_near_duplicates(train: NDArray[np.uint8], val: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return for each validation image the number of the training image that is almost the same; -1: there is none.

    So a copy is found that was saved again, resized or slightly cropped, and the next frame of a slow video.

    Args:
        train: uint8 (N, s, s, 3), thumbnails.
        val: uint8 (M, s, s, 3).

    Returns: int64 (M,).
    """
    found = np.full(len(val), -1, np.int64)
    if not len(train):
        return found
    train_shapes = _shapes(train)
    for begin in range(0, len(val), _CHUNK):
        some = val[begin : begin + _CHUNK]
        correlations = _shapes(some) @ train_shapes.T
        nearest = correlations.argmax(axis=1)
        difference = np.abs(some.astype(np.float32) - train[nearest]).mean(axis=(1, 2, 3))
        same = (correlations[np.arange(len(some)), nearest] >= CORRELATION) & (difference <= DIFFERENCE)
        found[begin : begin + _CHUNK] = np.where(same, nearest, -1)
    return found


def _shapes(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return grey thumbnails without their mean, each of length 1; an image of one colour has a fixed one."""
    grey = thumbnails.astype(np.float32).mean(axis=3).reshape(len(thumbnails), -1)
    grey -= grey.mean(axis=1, keepdims=True)
    length = np.linalg.norm(grey, axis=1, keepdims=True)
    flat = np.full_like(grey, 1 / np.sqrt(grey.shape[1]))
    return np.asarray(np.where(length > 1e-3, grey / np.maximum(length, 1e-3), flat), np.float32)
