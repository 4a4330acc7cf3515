"""Thumbnail of a frame, so small that only the scene is left."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from camrt.kernels.jit import kernel

ROWS: Final = 9
COLUMNS: Final = 16
SAMPLES: Final = 4
"""Rows, and columns, of pixels that are read for each cell of a thumbnail, evenly over the cell."""


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the mean grey level of each cell of a coarse grid, from a few of its pixels.

    Args:
        image: uint8 (H, W, 3), of any size of at least 1 x 1; every memory layout.

    Returns: float32 (9, 16), grey levels from 0 to 255: the mean of the three channels at 4 x 4 pixels of each cell.
    """
    if not image.flags.carray:  # the kernel is compiled for one layout; these are the pixels that it reads
        rows, columns = _positions(image.shape[0], ROWS), _positions(image.shape[1], COLUMNS)
        image = np.ascontiguousarray(image[rows[:, None], columns])
    result = np.empty((ROWS, COLUMNS), np.float32)
    _thumbnail(image, result)
    return result


def _positions(side: int, cells: int) -> NDArray[np.intp]:
    """Return the rows or columns that are read: the middles of ``cells * SAMPLES`` equal parts of a side in pixels."""
    return (2 * np.arange(cells * SAMPLES) + 1) * side // (2 * cells * SAMPLES)


@kernel
def _thumbnail(image, out):  # type: ignore[no-untyped-def]
    height, width, _ = image.shape
    rows, columns = out.shape
    for row in range(rows):
        for column in range(columns):
            total = 0
            for part in range(SAMPLES):
                y = (2 * (row * SAMPLES + part) + 1) * height // (2 * rows * SAMPLES)
                for other in range(SAMPLES):
                    x = (2 * (column * SAMPLES + other) + 1) * width // (2 * columns * SAMPLES)
                    total += np.int64(image[y, x, 0]) + image[y, x, 1] + image[y, x, 2]
            out[row, column] = total / (3 * SAMPLES * SAMPLES)
