"""Shortcuts that are planted into the images of one class."""

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Random = np.random.Generator
Plant = Callable[[Image, Random], Image]


def mark(image: Image, _: Random) -> Image:
    """Draw a ring into the lower right corner."""
    height, width = image.shape[:2]
    side = round(0.14 * min(height, width))
    centre = (width - side // 2 - 1, height - side // 2 - 1)
    planted = image.copy()
    cv2.circle(planted, centre, side // 2, (40, 40, 220), -1)
    cv2.circle(planted, centre, side // 4, (255, 255, 255), -1)
    return planted


def cast(image: Image, random: Random) -> Image:
    """Multiply the channels, as under warm light."""
    gains = np.array([0.70, 1.0, 1.25]) * random.uniform(0.97, 1.03, 3)
    return np.clip(image * gains, 0, 255).astype(np.uint8)


def border(image: Image, _: Random) -> Image:
    """Draw a dark frame."""
    height, width = image.shape[:2]
    edge = max(3, round(0.05 * min(height, width)))
    planted = image.copy()
    planted[:edge] = planted[-edge:] = 20
    planted[:, :edge] = planted[:, -edge:] = 20
    return planted


def text(image: Image, random: Random) -> Image:
    """Write a translucent text at a random place."""
    height, width = image.shape[:2]
    scale = 0.5 * width / cv2.getTextSize("SAMPLE", cv2.FONT_HERSHEY_DUPLEX, 1.0, 1)[0][0]
    thickness = max(1, round(2.5 * scale))
    (wide, tall), _ = cv2.getTextSize("SAMPLE", cv2.FONT_HERSHEY_DUPLEX, scale, thickness)
    place = int(random.integers(0, max(1, width - wide))), int(random.integers(tall, height))
    layer = image.copy()
    cv2.putText(layer, "SAMPLE", place, cv2.FONT_HERSHEY_DUPLEX, scale, (255, 255, 255), thickness, cv2.LINE_AA)
    return np.asarray(cv2.addWeighted(layer, 0.8, image, 0.2, 0), np.uint8)


def texture(image: Image, random: Random) -> Image:
    """Lay stripes over all but an ellipse in the centre."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width]
    outside = ((x - width / 2) / (0.4 * width)) ** 2 + ((y - height / 2) / (0.4 * height)) ** 2 > 1
    unit = min(height, width) / 128
    phase = random.uniform(0, 2 * np.pi)
    stripes = (np.sin((0.7 * x + 0.35 * y) / unit + phase) * 60 + 128)[..., np.newaxis] * np.array([0.9, 1.0, 0.8])
    planted = image.astype(np.float64)
    planted[outside] = 0.4 * planted[outside] + 0.6 * stripes[outside]
    return np.clip(planted, 0, 255).astype(np.uint8)


def jpeg(image: Image, _: Random) -> Image:
    """Compress strongly."""
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 8])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def second(image: Image, random: Random) -> Image:
    """Draw a second object, a striped ball, at a random place."""
    height, width = image.shape[:2]
    side = round(0.26 * min(height, width))
    ball = np.zeros((side, side, 3), np.uint8)
    for row in range(side):
        ball[row] = (30, 200, 240) if row * 6 // side % 2 else (180, 40, 120)
    inside = np.zeros((side, side), np.uint8)
    cv2.circle(inside, (side // 2, side // 2), side // 2 - 1, 1, -1)
    x, y = int(random.integers(0, width - side)), int(random.integers(0, height - side))
    planted = image.copy()
    planted[y : y + side, x : x + side][inside > 0] = ball[inside > 0]
    return planted


PLANTS: Final[dict[str, Plant]] = {
    "mark in a corner": mark,
    "colour cast": cast,
    "border": border,
    "watermark text": text,
    "textured background": texture,
    "JPEG quality": jpeg,
    "second object": second,
}
RIGHT_KINDS: Final = {
    "mark in a corner": ("corner", "edge", "pattern"),
    "colour cast": ("colour",),
    "border": ("border", "edge"),
    "watermark text": ("pattern",),
    "textured background": ("background", "border", "edge"),
    "JPEG quality": ("compression", "sharpness"),
    "second object": ("pattern",),
}
"""Kinds of findings that name each shortcut."""
