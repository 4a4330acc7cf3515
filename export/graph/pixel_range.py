"""Decide which pixels a normalisation expects, by its numbers.

A step (x - zero) / unit expects the pixels that it moves to about [-3, 3]:

    pixels 0 to 255   zero -10 to 260, unit 20 to 450; or a mean alone: unit 0.5 to 2, zero 10 to 250
    pixels 0 to 1     zero 0 to 1, unit from 0.04 to the largest deviation of data with this mean,
                      sqrt(zero * (1 - zero)); a mean alone: unit near 1, zero 0.2 to 0.8; or a factor of 255
    pixels -1 to 1    zero -1 (the step gives 0 to 1 or 0 to 255); or zero -0.9 to -0.02, unit 0.1 to 0.8; or a factor
                      of 127.5

A BatchNormalization is decided by the mean and the standard deviation of its training data, not by its factors. Data
from 0 to 255 have a deviation of 10 or more. Data from 0 to 1 have a deviation of at most 0.38, and a variance of at
most mean * (1 - mean). Data that were normalised by ImageNet's mean and std have a deviation near 1 and fit neither,
nor does a layer that was never trained (0 and 1).
"""

from typing import Final, Literal

PixelRange = Literal["0 to 255", "0 to 1", "-1 to 1"]
RANGES: Final[dict[PixelRange, tuple[float, float]]] = {"0 to 255": (0, 255), "0 to 1": (0, 1), "-1 to 1": (-1, 1)}
"""Values of a black and of a white pixel."""
_NEAR: Final = 0.02


def range_of_step(zero: float, unit: float) -> PixelRange | None:
    """Return the pixels that (x - zero) / unit expects; None: it fits no range."""
    if (20 <= unit <= 450 and -10 <= zero <= 260) or (0.5 <= unit <= 2 and 10 <= zero <= 250):
        return "0 to 255"
    if abs(unit * 127.5 - 1) <= _NEAR and -1 <= zero <= 1:
        return "-1 to 1"
    if abs(zero + 1) <= _NEAR or (-0.9 <= zero < -_NEAR and 0.1 <= unit <= 0.8):
        return "-1 to 1"
    if abs(unit * 255 - 1) <= _NEAR and -_NEAR <= zero <= 1:
        return "0 to 1"
    if 0 < zero < 1 and unit >= 0.04 and unit**2 <= 1.1 * zero * (1 - zero):
        return "0 to 1"
    if 0.2 <= zero <= 0.8 and abs(unit - 1) <= _NEAR:
        return "0 to 1"
    return None


def range_of_data(mean: float, deviation: float) -> PixelRange | None:
    """Return the range of data with this mean and standard deviation; None: it fits none."""
    if 0 < mean < 255 and deviation >= 10 and deviation**2 <= 1.2 * mean * (255 - mean):
        return "0 to 255"
    if _NEAR < mean < 1 and 0.03 <= deviation <= 0.38 and deviation**2 <= 1.1 * mean * (1 - mean):
        return "0 to 1"
    return None


def range_of_ends(low: float, high: float) -> PixelRange | None:
    """Return the range that a quantizer from ``low`` to ``high`` was calibrated for; None: it fits none."""
    for pixels, (bottom, top) in RANGES.items():
        slack = 0.05 * (top - bottom)
        if abs(low - bottom) <= slack and abs(high - top) <= slack:
            return pixels
    return None
