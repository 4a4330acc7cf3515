"""Letterbox: fit an image into an area of another size, between black bars."""

import cv2
import numpy as np

from camrt.images import Image


def letterbox_into(image: Image, area: Image) -> None:
    """Fill ``area`` with the whole image, scaled and centred between black bars. One missing pixel is padded instead.

    Args:
        image: uint8 (H, W, 3).
        area: uint8 (h, w, 3) to fill, any strides.
    """
    height, width = area.shape[:2]
    down, right = height - image.shape[0], width - image.shape[1]
    if (down, right) == (0, 0):
        area[...] = image
    elif down in (0, 1) and right in (0, 1):
        area[...] = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE)
    else:
        scale = min(width / image.shape[1], height / image.shape[0])
        wide, high = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        top, left = (height - high) // 2, (width - wide) // 2
        area[...] = 0
        shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        area[top : top + high, left : left + wide] = cv2.resize(image, (wide, high), interpolation=shrink)


def letterbox(image: Image, width: int, height: int) -> Image:
    """Return the image letterboxed to ``width`` x ``height``; the image itself if it has that size."""
    if image.shape[:2] == (height, width):
        return image
    area = np.empty((height, width, 3), np.uint8)
    letterbox_into(image, area)
    return area
