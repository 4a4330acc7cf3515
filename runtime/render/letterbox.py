"""A picture of any size in a place of another."""

import cv2
import numpy as np

from camrt.images import Image


def fit_into(image: Image, place: Image) -> None:
    """Fill ``place`` with the whole of ``image``, scaled and centred between black bars; sides a pixel off are padded.

    Args:
        image: uint8 (H, W, 3).
        place: uint8 (h, w, 3) to fill, any strides.
    """
    height, width = place.shape[:2]
    down, right = height - image.shape[0], width - image.shape[1]
    if (down, right) == (0, 0):
        place[...] = image
    elif down in (0, 1) and right in (0, 1):
        place[...] = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE)
    else:
        scale = min(width / image.shape[1], height / image.shape[0])
        wide, high = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        top, left = (height - high) // 2, (width - wide) // 2
        place[...] = 0
        shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        place[top : top + high, left : left + wide] = cv2.resize(image, (wide, high), interpolation=shrink)


def fitted(image: Image, width: int, height: int) -> Image:
    """Return ``image`` at exactly ``width`` x ``height``, as `fit_into` does it; itself where it is of that size."""
    if image.shape[:2] == (height, width):
        return image
    place = np.empty((height, width, 3), np.uint8)
    fit_into(image, place)
    return place
