"""The pictures of several cameras, side by side in one."""

import threading
from collections.abc import Sequence
from math import ceil, sqrt
from typing import Final

import numpy as np

from camrt.runtime.fitting import fit_into
from camrt.runtime.frames import Image, Rendered
from camrt.runtime.hud import Hud

SIZE: Final = (1280, 720)
"""Width and height in pixels."""


class Mosaic:
    """Keeps the newest picture of each camera in its place; rows and columns as nearly equal as they can be."""

    def __init__(self, names: Sequence[str]) -> None:
        """Make a place for each camera, under its name."""
        self._names = names
        cameras = len(names)
        columns = ceil(sqrt(cameras))
        rows = ceil(cameras / columns)
        width, height = SIZE[0] // columns, SIZE[1] // rows
        self._picture: Image = np.zeros((rows * height, columns * width, 3), np.uint8)
        self._places: Sequence[Image] = [
            self._picture[row * height : (row + 1) * height, column * width : (column + 1) * width]
            for row, column in (divmod(number, columns) for number in range(cameras))
        ]
        self._changed = threading.Condition()
        self._news = False

    def put(self, camera: int, rendered: Rendered) -> None:
        """Take the newest picture of a camera, 0 the first; any thread may call."""
        with self._changed:
            place = self._places[camera]
            fit_into(rendered.image, place)
            Hud(place.shape[1], place.shape[0]).name(place, self._names[camera])
            self._news = True
            self._changed.notify_all()

    def get(self, timeout_s: float) -> Image | None:
        """Wait for news and return a copy of the whole: uint8 (H, W, 3); None when none came in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._news, timeout_s):
                return None
            self._news = False
            return self._picture.copy()
