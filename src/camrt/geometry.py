"""Geometry between a frame and the network's input, in both directions. Needs NumPy, OpenCV and `camrt.kernels`.

``camrt.runtime`` and ``camrt.export`` share it, so that both scale and crop images in the same way.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt import kernels
from camrt.model_file import InputGeometry

_OPENCV = {"linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}


@dataclass(frozen=True, slots=True)
class Placement:
    """Position of the network's input on frames of one size. Heatmap, boxes and overlay all use it."""

    frame_width: int
    frame_height: int
    frame_rect: tuple[int, int, int, int]
    """(x0, y0, x1, y1) in frame pixels: the part of the frame that the network receives, to the nearest pixel."""
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
        x0, y0, x1, y1 = _crop(geometry, frame_width, frame_height)
        frame_rect = (round(x0), round(y0), max(round(x0) + 1, round(x1)), max(round(y0) + 1, round(y1)))
    elif geometry.resize == "letterbox":
        x0, y0, width, height = _content(geometry, frame_width, frame_height)
        input_rect = (
            x0 / geometry.width,
            y0 / geometry.height,
            (x0 + width) / geometry.width,
            (y0 + height) / geometry.height,
        )
    return Placement(frame_width, frame_height, frame_rect, input_rect)


def _crop(geometry: InputGeometry, frame_width: int, frame_height: int) -> tuple[float, float, float, float]:
    """Return (x0, y0, x1, y1) in frame pixels: the part that a resize followed by a crop of the centre shows.

    With ``antialias`` it has fractions of a pixel, because the whole frame is resized to whole pixels and then cropped,
    with the rounding of torchvision's Resize and CenterCrop. The other interpolations resize a part in whole pixels.
    """
    if geometry.interpolation != "antialias":
        return _crop_in_pixels(geometry, frame_width, frame_height)
    side, frame_side = geometry.width, frame_width
    if geometry.shorter_side is not None:
        side, frame_side = geometry.shorter_side, min(frame_width, frame_height)
    elif geometry.width * frame_height < geometry.height * frame_width:
        side, frame_side = geometry.height, frame_height
    resized_width = max(geometry.width, frame_width * side // frame_side)
    resized_height = max(geometry.height, frame_height * side // frame_side)
    left, top = round((resized_width - geometry.width) / 2), round((resized_height - geometry.height) / 2)
    return (
        left * frame_width / resized_width,
        top * frame_height / resized_height,
        (left + geometry.width) * frame_width / resized_width,
        (top + geometry.height) * frame_height / resized_height,
    )


def _crop_in_pixels(geometry: InputGeometry, frame_width: int, frame_height: int) -> tuple[int, int, int, int]:
    if geometry.shorter_side is None:
        scale = max(geometry.width / frame_width, geometry.height / frame_height)
    else:
        scale = geometry.shorter_side / min(frame_width, frame_height)
    width = min(frame_width, max(1, round(geometry.width / scale)))
    height = min(frame_height, max(1, round(geometry.height / scale)))
    x0, y0 = (frame_width - width) // 2, (frame_height - height) // 2
    return x0, y0, x0 + width, y0 + height


def _content(geometry: InputGeometry, frame_width: int, frame_height: int) -> tuple[int, int, int, int]:
    """Return (x, y, width, height) of the scaled frame inside a letterboxed input, in its pixels."""
    scale = min(geometry.width / frame_width, geometry.height / frame_height)
    width = max(1, min(geometry.width, round(frame_width * scale)))
    height = max(1, min(geometry.height, round(frame_height * scale)))
    return (geometry.width - width) // 2, (geometry.height - height) // 2, width, height


def fit(frame: NDArray[np.uint8], geometry: InputGeometry, out: NDArray[np.uint8]) -> None:
    """Fill the network's input ``out``, uint8 (height, width, 3), with ``frame``, uint8 (H, W, 3)."""
    frame_height, frame_width = frame.shape[:2]
    target = out
    if geometry.resize == "letterbox":
        x, y, width, height = _content(geometry, frame_width, frame_height)
        out[...] = 0
        target = out[y : y + height, x : x + width]
    if geometry.interpolation == "antialias":
        crop = _crop(geometry, frame_width, frame_height) if geometry.resize == "crop" else None
        kernels.resize(frame, target.shape[1], target.shape[0], crop, out=target)
        return
    x0, y0, x1, y1 = place(geometry, frame_width, frame_height).frame_rect
    size = (target.shape[1], target.shape[0])
    cv2.resize(frame[y0:y1, x0:x1], size, dst=target, interpolation=_OPENCV[geometry.interpolation])
