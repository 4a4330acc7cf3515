"""Regions of an image in which shortcuts are looked for."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
CORNER: Final = 0.17
"""Side of a corner, as a fraction of the image's sides."""
BORDER: Final = 0.06
"""Width of the border, as a fraction of the shorter side."""
BAND: Final = 0.15
"""Width of a band along an edge, as a fraction of the side across it."""
REGIONS: Final = {
    "corner": {
        "top left": "top left corner",
        "top right": "top right corner",
        "bottom left": "bottom left corner",
        "bottom right": "bottom right corner",
    },
    "border": {"border": "border"},
    "edge": {"top": "top edge", "bottom": "bottom edge", "left": "left edge", "right": "right edge"},
    "background": {"background": "background"},
}
"""Names of the regions of each kind of finding, and their words."""


def region_mask(name: str, height: int, width: int) -> Mask:
    """Return the pixels of a region: bool (height, width)."""
    mask = np.zeros((height, width), bool)
    if name == "background":
        mask[:] = True
    elif name == "border":
        edge = max(2, round(BORDER * min(height, width)))
        mask[:edge] = mask[-edge:] = True
        mask[:, :edge] = mask[:, -edge:] = True
    elif " " in name:
        mask = _near_sides(name.split(" "), CORNER, height, width)
    else:
        mask = _near_sides([name], BAND, height, width)
    return mask


def _near_sides(sides: list[str], share: float, height: int, width: int) -> Mask:
    """Return the pixels that are within a share of every one of the sides."""
    y, x = np.mgrid[:height, :width]
    tall, wide = max(2, round(share * height)), max(2, round(share * width))
    inside = {"top": y < tall, "bottom": y >= height - tall, "left": x < wide, "right": x >= width - wide}
    return np.asarray(np.logical_and.reduce([inside[side] for side in sides]))
