"""Sizes of frames whose pixels are not square, as on DVDs and in many recorders."""

from fractions import Fraction
from typing import Final

MOST_STRETCH: Final = 10
"""A pixel whose sides differ by more than this factor comes from a damaged header and counts as square."""


def square_size(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Return width and height with square pixels; the shorter side of a pixel is stretched, so no detail is lost.

    Args:
        width: width of the frame, in its own pixels.
        height: height of the frame, in its own pixels.
        aspect: width of a pixel divided by its height; None: square.
    """
    if aspect is None or not Fraction(1, MOST_STRETCH) <= aspect <= MOST_STRETCH:
        return width, height
    return max(width, round(width * aspect)), max(height, round(height / aspect))
