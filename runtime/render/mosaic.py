"""Mosaic: the images of several cameras in one."""

from collections.abc import Sequence
from math import ceil, sqrt
from typing import Final

import numpy as np

from camrt.images import Image
from camrt.runtime.render.hud import Hud
from camrt.runtime.render.letterbox import letterbox_into

WINDOW: Final = (1280, 720)
"""Width and height for a window, in pixels."""


def grid(cameras: int) -> tuple[int, int]:
    """Return (columns, rows) for a number of cameras, as square as possible."""
    columns = ceil(sqrt(cameras))
    return columns, ceil(cameras / columns)


class Mosaic:
    """Keeps the newest image of each camera in its place. Belongs to one thread."""

    def __init__(self, names: Sequence[str], size: tuple[int, int] = WINDOW) -> None:
        """Make a place for each camera, under its name.

        Args:
            names: of the cameras.
            size: (width, height) of the mosaic in pixels; what does not divide into equal columns and rows is cut.
        """
        self._names = names
        cameras = len(names)
        columns, rows = grid(cameras)
        width, height = size[0] // columns, size[1] // rows
        self.image: Image = np.zeros((rows * height, columns * width, 3), np.uint8)
        """The mosaic: uint8 (H, W, 3); `put` changes it."""
        self._places: Sequence[Image] = [
            self.image[row * height : (row + 1) * height, column * width : (column + 1) * width]
            for row, column in (divmod(number, columns) for number in range(cameras))
        ]
        for camera in range(cameras):
            self._write_name(camera)

    def put(self, camera: int, image: Image) -> None:
        """Put an image, uint8 (H, W, 3), into the place of a camera, 0 first."""
        letterbox_into(image, self._places[camera])
        self._write_name(camera)

    def _write_name(self, camera: int) -> None:
        place = self._places[camera]
        Hud(place.shape[1], place.shape[0]).name(place, self._names[camera])
