"""The pictures of several cameras, side by side in one."""

import threading
from collections.abc import Sequence
from math import ceil, sqrt
from typing import Final

import numpy as np

from camrt.images import Image
from camrt.runtime.frames import Rendered
from camrt.runtime.render.hud import Hud
from camrt.runtime.render.letterbox import fit_into

WINDOW: Final = (1280, 720)
"""Width and height of a window's in pixels."""


def grid(cameras: int) -> tuple[int, int]:
    """Return (columns, rows) for so many cameras, as nearly equal as they can be."""
    columns = ceil(sqrt(cameras))
    return columns, ceil(cameras / columns)


class Mosaic:
    """Keeps the newest picture of each camera in its place."""

    def __init__(self, names: Sequence[str], size: tuple[int, int] = WINDOW) -> None:
        """Make a place for each camera, under its name.

        Args:
            names: of the cameras.
            size: (width, height) of the whole in pixels; what does not go into columns and rows of equal size is cut.
        """
        self._names = names
        cameras = len(names)
        columns, rows = grid(cameras)
        width, height = size[0] // columns, size[1] // rows
        self._picture: Image = np.zeros((rows * height, columns * width, 3), np.uint8)
        self._places: Sequence[Image] = [
            self._picture[row * height : (row + 1) * height, column * width : (column + 1) * width]
            for row, column in (divmod(number, columns) for number in range(cameras))
        ]
        self._changed = threading.Condition()
        self._news = False
        for camera in range(cameras):
            self._write_name(camera)

    def put(self, camera: int, rendered: Rendered) -> None:
        """Take the newest picture of a camera, 0 the first; any thread may call."""
        with self._changed:
            fit_into(rendered.image, self._places[camera])
            self._write_name(camera)
            self._news = True
            self._changed.notify_all()

    def get(self, timeout_s: float) -> Image | None:
        """Wait for news and return a copy of the whole: uint8 (H, W, 3); None when none came in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._news, timeout_s):
                return None
            self._news = False
            return self._picture.copy()

    def copy(self) -> Image:
        """Return a copy of the whole as it is now: uint8 (H, W, 3)."""
        with self._changed:
            return self._picture.copy()

    def _write_name(self, camera: int) -> None:
        place = self._places[camera]
        Hud(place.shape[1], place.shape[0]).name(place, self._names[camera])
