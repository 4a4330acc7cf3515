"""Images with parts replaced, in the order of a map's values: what metrics of faithfulness show a network."""

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
BLUR: Final = 1 / 16
"""Standard deviation of the blur, as a share of the image's shorter side.

With RISE's blur, about 1/45, some photos keep nine tenths of their score, so that there is nothing to insert; with this
one they keep less than two hundredths."""


def importance_order(heat: F32) -> NDArray[np.intp]:
    """Return the flat indices of a map's pixels, the greatest value first; equal values in reading order."""
    return np.argsort(-heat, axis=None, kind="stable")


def mixed(image: U8, other: U8, order: NDArray[np.intp], count: int) -> U8:
    """Return an image with its first ``count`` pixels of an order taken from another one.

    Args:
        image: uint8 (H, W, 3).
        other: uint8 (H, W, 3).
        order: (H * W,) flat indices of pixels.
        count: from 0 to H * W.
    """
    result = image.copy()
    first = order[:count]
    result.reshape(-1, 3)[first] = other.reshape(-1, 3)[first]
    return result


def mean_colour(image: U8) -> U8:
    """Return an image of the same size in one colour, the mean of all pixels."""
    filled = np.empty_like(image)
    filled[:] = np.rint(image.mean(axis=(0, 1), dtype=np.float64)).astype(np.uint8)
    return filled


def blurred(image: U8) -> U8:
    """Return an image without details: a Gaussian blur, its deviation `BLUR` of the shorter side."""
    sigma = BLUR * min(image.shape[:2])
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.uint8)


def faded(image: U8, heat: F32) -> U8:
    """Return an image times a map from 0 to 1: black where the map is 0."""
    return np.asarray(np.rint(image * heat[..., np.newaxis]), np.uint8)


def area(curve: NDArray[np.floating[Any]], shares: NDArray[np.floating[Any]]) -> float:
    """Return the area below a curve, by the trapezoidal rule.

    Args:
        curve: (n,) values.
        shares: (n,) places of the values, from 0 to 1.
    """
    return float(np.trapezoid(curve.astype(np.float64), shares))
