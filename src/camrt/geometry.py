"""Where the network looks: from a frame to the network's input, and from its map back to the frame.

Needs NumPy and OpenCV. Shared by ``camrt.runtime`` and ``camrt.export``, so that pictures are seen alike by both.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt.model_file import InputGeometry

_INTERPOLATION = {"linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}


@dataclass(frozen=True, slots=True)
class Placement:
    """How the network's input lies on a frame of one size; heatmap, boxes and overlay all go by it."""

    frame_width: int
    frame_height: int
    seen: tuple[int, int, int, int]
    """(x0, y0, x1, y1) in frame pixels: the part of the frame that the network saw."""
    part: tuple[float, float, float, float]
    """(u0, v0, u1, v1) as fractions of the network's input: where that part lies in it; (0, 0, 1, 1) but for a
    letterbox, whose bars show nothing of the frame."""

    def map_rect(self, columns: int, rows: int) -> tuple[float, float, float, float]:
        """Return `part` in cells of a map of ``columns`` x ``rows``."""
        u0, v0, u1, v1 = self.part
        return u0 * columns, v0 * rows, u1 * columns, v1 * rows


def place(geometry: InputGeometry, frame_width: int, frame_height: int) -> Placement:
    """Return the placement of an input geometry on frames of ``frame_width`` x ``frame_height`` pixels."""
    seen = (0, 0, frame_width, frame_height)
    part = (0.0, 0.0, 1.0, 1.0)
    if geometry.resize == "crop":
        if geometry.shorter_side is None:
            scale = max(geometry.width / frame_width, geometry.height / frame_height)
        else:
            scale = geometry.shorter_side / min(frame_width, frame_height)
        width = min(frame_width, max(1, round(geometry.width / scale)))
        height = min(frame_height, max(1, round(geometry.height / scale)))
        x0, y0 = (frame_width - width) // 2, (frame_height - height) // 2
        seen = (x0, y0, x0 + width, y0 + height)
    elif geometry.resize == "letterbox":
        x0, y0, width, height = _content(geometry, frame_width, frame_height)
        part = (
            x0 / geometry.width,
            y0 / geometry.height,
            (x0 + width) / geometry.width,
            (y0 + height) / geometry.height,
        )
    return Placement(frame_width, frame_height, seen, part)


def _content(geometry: InputGeometry, frame_width: int, frame_height: int) -> tuple[int, int, int, int]:
    """Return (x, y, width, height) of the scaled frame inside a letterboxed input, in its pixels."""
    scale = min(geometry.width / frame_width, geometry.height / frame_height)
    width = max(1, min(geometry.width, round(frame_width * scale)))
    height = max(1, min(geometry.height, round(frame_height * scale)))
    return (geometry.width - width) // 2, (geometry.height - height) // 2, width, height


def fit(frame: NDArray[np.uint8], geometry: InputGeometry, out: NDArray[np.uint8]) -> None:
    """Scale ``frame``, uint8 (H, W, 3), into the network's input ``out``, uint8 (height, width, 3)."""
    frame_height, frame_width = frame.shape[:2]
    x0, y0, x1, y1 = place(geometry, frame_width, frame_height).seen
    target = out
    if geometry.resize == "letterbox":
        x, y, width, height = _content(geometry, frame_width, frame_height)
        out[...] = 0
        target = out[y : y + height, x : x + width]
    size = (target.shape[1], target.shape[0])
    cv2.resize(frame[y0:y1, x0:x1], size, dst=target, interpolation=_INTERPOLATION[geometry.interpolation])
