"""Contact sheet: many images on one."""

from collections.abc import Sequence

import numpy as np

from camrt.errors import UsageError
from camrt.images import Image
from camrt.runtime.render.letterbox import letterbox_into


def contact_sheet(images: Sequence[Image], columns: int, tile: tuple[int, int]) -> Image:
    """Arrange images in rows, the first at the top left.

    Args:
        images: uint8 (H, W, 3), of any sizes; each is letterboxed into a tile.
        columns: images in a row.
        tile: (width, height) in pixels.

    Returns: uint8 (rows * height, columns * width, 3); unused tiles are black.

    Raises:
        UsageError: there is no image.
    """
    if not images:
        raise UsageError("a contact sheet needs at least one image")
    width, height = tile
    sheet = np.zeros((-(-len(images) // columns) * height, columns * width, 3), np.uint8)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        area = sheet[row * height : (row + 1) * height, column * width : (column + 1) * width]
        letterbox_into(image, area)
    return sheet
