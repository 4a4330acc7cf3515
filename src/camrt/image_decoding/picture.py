"""A picture: one page or frame of an image file."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""uint8 (H, W, 3), BGR, as OpenCV reads it."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One page or frame of an image file."""

    image: Image
    page: int = 1
    """Number of the page or frame in the file, 1 first."""
    pages: int = 1
    """Number of pages or frames of the file."""
    seconds: float | None = None
    """Time that a frame of an animation is shown; None: it is no animation."""
    remark: str = ""
    """What was assumed about the range of its values, or left out; empty: nothing."""
