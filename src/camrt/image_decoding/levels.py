"""Reduce the values of an image to 8 bits: 10 to 16 bits, 32 bits, floats. Needs NumPy.

Thermal, medical and machine-vision images hold 12 bits in 16, 32 bits or floats, and few files say which range is used.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

DEPTHS: Final = (8, 10, 12, 14, 16)
"""Numbers of bits that cameras use."""


def to_bytes(values: NDArray[Any], bits: int | None = None) -> tuple[NDArray[np.uint8], str]:
    """Return values as bytes, and a remark about the range that was assumed.

    =====================================  ==========================================================
    values                                 range that becomes 0 to 255
    =====================================  ==========================================================
    uint8, bool                            unchanged; False and True become 0 and 255
    integers from 0 to 65535               0 to 2**bits - 1; the lower bits are dropped
    floats within [0, 1]                   0 to 1
    floats within [0, 255], some over 127  0 to 255
    any others                             smallest to largest finite value
    =====================================  ==========================================================

    Args:
        values: numbers of any type, of any shape, at least one.
        bits: number of bits that the file states; None: the smallest of `DEPTHS` that holds the largest value.

    Returns: uint8 of the same shape; the remark is empty where the range is that of the type or of the file.
    """
    if values.dtype == np.uint8:
        return np.asarray(values, np.uint8), ""
    if values.dtype == np.bool_:
        return np.where(values, 255, 0).astype(np.uint8), ""
    if np.issubdtype(values.dtype, np.integer):
        low, high = int(values.min()), int(values.max())
        if low >= 0 and high < 2**16:
            depth = bits or next(depth for depth in DEPTHS if high < 2**depth)
            shifted = values >> (depth - 8)
            return np.minimum(shifted, 255).astype(
                np.uint8
            ), "" if bits or depth == 16 else f"read as {depth} bits in 16"
        return _stretch(
            values.astype(np.float64), low, high
        ), f"its values, {low} to {high}, were stretched to 0 to 255"
    return _floats(values)


def _floats(values: NDArray[Any]) -> tuple[NDArray[np.uint8], str]:
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8), "it has no finite value and is black"
    low, high = float(values[finite].min()), float(values[finite].max())
    other = "" if finite.all() else "; NaN and infinite values are black"
    values = np.where(finite, values, low).astype(np.float64)
    if low >= 0.0 and high <= 1.0:
        return _stretch(values, 0.0, 1.0), f"its values were read as 0 to 1{other}"
    if low >= 0.0 and 127.0 < high <= 255.0:
        return values.astype(np.uint8), f"its values were read as 0 to 255{other}"
    return _stretch(values, low, high), f"its values, {low:g} to {high:g}, were stretched to 0 to 255{other}"


def _stretch(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    """Return uint8 in which ``low`` is 0 and ``high`` is 255; a constant image is black."""
    if low == high:
        return np.zeros(values.shape, np.uint8)
    return np.rint((values - low) * (255.0 / (high - low))).clip(0, 255).astype(np.uint8)
