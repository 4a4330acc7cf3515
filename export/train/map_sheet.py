"""Contact sheet of class activation maps: the same images after each epoch."""

from collections.abc import Sequence
from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt import kernels
from camrt.images import Image

F32 = NDArray[np.float32]
TILE: Final = 160
"""Pixels of the longer side of an image on a sheet."""
_LINE: Final = 20
_COLUMNS: Final = 4
_OPACITY: Final = 0.7
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_SCALE: Final = 0.42


def draw_sheet(images: Sequence[Image], maps: Sequence[F32], captions: Sequence[str], title: str) -> Image:
    """Draw maps over their images, with a title, as `camrt live` draws them: each over all colours, cold is clear.

    Args:
        images: uint8 (H, W, 3) BGR, of any sizes.
        maps: float32 (h, w), over the whole of each image.
        captions: a line for each.
        title: a line above all.

    Returns: uint8 (H, W, 3) BGR with even sides, as H.264 needs them; the same size for the same images.
    """
    columns = min(_COLUMNS, len(images))
    rows = -(-len(images) // columns)
    sheet = np.full((_LINE + rows * (TILE + _LINE), max(2, columns) * TILE, 3), 24, np.uint8)
    _write(sheet, title, 0, 0, (255, 255, 255))
    for number, (image, cam, caption) in enumerate(zip(images, maps, captions, strict=True)):
        row, column = divmod(number, columns)
        top, left = _LINE + row * (TILE + _LINE), column * TILE
        scale = TILE / max(image.shape[:2])
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        small = kernels.resize(image, width, height)
        y, x = top + (TILE - height) // 2, left + (TILE - width) // 2
        sheet[y : y + height, x : x + width] = kernels.overlay(small, cam, _table())
        _write(sheet[:, : left + TILE], caption, left, top + TILE, (220, 220, 220))
    return sheet


@cache
def _table() -> kernels.BlendTable:
    # Two explicit axes: OpenCV 5 reads a one-dimensional array as a row.
    ramp = np.arange(256, dtype=np.uint8).reshape(256, 1)
    colours = np.ascontiguousarray(cv2.applyColorMap(ramp, cv2.COLORMAP_TURBO).reshape(256, 3))
    return kernels.blend_table(colours.astype(np.uint8), np.linspace(0.0, _OPACITY, 256, dtype=np.float32))


def _write(sheet: Image, text: str, x: int, y: int, colour: tuple[int, int, int]) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV's font has no other letters
    cv2.putText(sheet, plain, (x + 4, y + 14), _FONT, _SCALE, colour, 1, cv2.LINE_AA)
