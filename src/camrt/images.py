"""Images: the array type."""

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""uint8 (H, W, 3), BGR, as OpenCV reads it."""
