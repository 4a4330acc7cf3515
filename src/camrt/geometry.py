"""Geometry between a frame and the network's input, in both directions. Needs NumPy and OpenCV.

``camrt.runtime`` and ``camrt.export`` share it, so that both scale and crop images in the same way.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt.model_file import InputGeometry

_INTERPOLATION = {"linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}


@dataclass(frozen=True, slots=True)
class Placement:
    """Position of the network's input on frames of one size. Heatmap, boxes and overlay all use it."""

    frame_width: int
    frame_height: int
    frame_rect: tuple[int, int, int, int]
    """(x0, y0, x1, y1) in frame pixels: the part of the frame that the network receives."""
    input_rect: tuple[float, float, float, float]
    """(u0, v0, u1, v1) as fractions of the network's input: the part that ``frame_rect`` fills. It is (0, 0, 1, 1),
    except for a letterbox, whose bars show nothing of the frame."""

    def map_rect(self, columns: int, rows: int) -> tuple[float, float, float, float]:
        """Return ``input_rect`` in cells of a map of ``columns`` x ``rows``."""
        u0, v0, u1, v1 = self.input_rect
        return u0 * columns, v0 * rows, u1 * columns, v1 * rows


def place(geometry: InputGeometry, frame_width: int, frame_height: int) -> Placement:
    """Return the placement of an input geometry on frames of ``frame_width`` x ``frame_height`` pixels."""
    frame_rect = (0, 0, frame_width, frame_height)
    input_rect = (0.0, 0.0, 1.0, 1.0)
    if geometry.resize == "crop":
        if geometry.shorter_side is None:
            scale = max(geometry.width / frame_width, geometry.height / frame_height)
        else:
            scale = geometry.shorter_side / min(frame_width, frame_height)
        width = min(frame_width, max(1, round(geometry.width / scale)))
        height = min(frame_height, max(1, round(geometry.height / scale)))
        x0, y0 = (frame_width - width) // 2, (frame_height - height) // 2
        frame_rect = (x0, y0, x0 + width, y0 + height)
    elif geometry.resize == "letterbox":
        x0, y0, width, height = _content(geometry, frame_width, frame_height)
        input_rect = (
            x0 / geometry.width,
            y0 / geometry.height,
            (x0 + width) / geometry.width,
            (y0 + height) / geometry.height,
        )
    return Placement(frame_width, frame_height, frame_rect, input_rect)


def _content(geometry: InputGeometry, frame_width: int, frame_height: int) -> tuple[int, int, int, int]:
    """Return (x, y, width, height) of the scaled frame inside a letterboxed input, in its pixels."""
    scale = min(geometry.width / frame_width, geometry.height / frame_height)
    width = max(1, min(geometry.width, round(frame_width * scale)))
    height = max(1, min(geometry.height, round(frame_height * scale)))
    return (geometry.width - width) // 2, (geometry.height - height) // 2, width, height


def fit(frame: NDArray[np.uint8], geometry: InputGeometry, out: NDArray[np.uint8]) -> None:
    """Fill the network's input ``out``, uint8 (height, width, 3), with ``frame``, uint8 (H, W, 3)."""
    frame_height, frame_width = frame.shape[:2]
    x0, y0, x1, y1 = place(geometry, frame_width, frame_height).frame_rect
    target = out
    if geometry.resize == "letterbox":
        x, y, width, height = _content(geometry, frame_width, frame_height)
        out[...] = 0
        target = out[y : y + height, x : x + width]
    size = (target.shape[1], target.shape[0])
    cv2.resize(frame[y0:y1, x0:x1], size, dst=target, interpolation=_INTERPOLATION[geometry.interpolation])
