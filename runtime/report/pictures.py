"""Pictures of a report page: images and maps, reduced to the size at which they are shown."""

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt.geometry import place
from camrt.images import Image
from camrt.model_file import InputGeometry
from camrt.runtime.maps.overlay import OverlayStyle, colors, paint


def resized(image: Image, side: int) -> Image:
    """Return an image whose longer side has ``side`` pixels: uint8 (H, W, 3)."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=way), np.uint8)


def with_map(image: Image, cam: NDArray[np.float32], geometry: InputGeometry, side: int) -> Image:
    """Return an image, resized as `resized` does, with a map over the part that the network saw.

    Args:
        image: uint8 (H, W, 3) BGR, as it was classified.
        cam: float32 (h, w), without cells of padding.
        geometry: how the image becomes the network's input.
        side: pixels of the longer side.
    """
    frame = resized(image, side)
    return paint(frame, cam, place(geometry, frame.shape[1], frame.shape[0]), OverlayStyle())


def map_alone(values: NDArray[np.float32], side: int) -> Image:
    """Return a map in colours, cold to hot: uint8, ``side`` pixels on its longer side.

    Args:
        values: float32 (h, w), in [0, 1].
        side: pixels.
    """
    rows, columns = values.shape
    scale = side / max(rows, columns)
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    heat = np.clip(cv2.resize(values, size, interpolation=cv2.INTER_CUBIC), 0, 1)
    return np.asarray(colors("turbo")[np.rint(heat * 255).astype(np.uint8)], np.uint8)
