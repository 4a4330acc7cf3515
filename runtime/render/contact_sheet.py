"""Many pictures on one sheet."""

from collections.abc import Sequence

import numpy as np

from camrt.errors import UsageError
from camrt.images import Image
from camrt.runtime.render.letterbox import fit_into


def contact_sheet(images: Sequence[Image], columns: int, tile: tuple[int, int]) -> Image:
    """Arrange pictures in rows, the first at the top left.

    Args:
        images: uint8 (H, W, 3), of any sizes; each is fitted into a tile, between black bars.
        columns: pictures in a row.
        tile: (width, height) in pixels.

    Returns: uint8 (rows * height, columns * width, 3); tiles that are left over are black.

    Raises:
        UsageError: there is no picture.
    """
    if not images:
        raise UsageError("a contact sheet needs at least one picture")
    width, height = tile
    sheet = np.zeros((-(-len(images) // columns) * height, columns * width, 3), np.uint8)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        place = sheet[row * height : (row + 1) * height, column * width : (column + 1) * width]
        fit_into(image, place)
    return sheet
