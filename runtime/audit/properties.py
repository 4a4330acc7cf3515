"""Properties of an image as a whole, and changes that shift them.

They are measured around the object: its colour is no cast, and its texture no sharpness.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt.images import Image
from camrt.runtime.audit.regions import Mask

F64 = NDArray[np.float64]
PROPERTIES: Final = (
    *("blue", "green", "red", "sharpness"),
    *("blockiness", "quality", "width", "height", "aspect"),
)
"""Columns of `measure`: log mean of each channel and log sharpness around the object, JPEG traces, log size."""
COLOUR: Final = slice(0, 3)
_OFFSET: Final = 4.0
_RING: Final = (0.09, 0.2)
"""Distances from the edge between which properties are measured, as fractions of the sides."""
_LEAST_OUTSIDE: Final = 0.05
"""Share of the ring that lies outside the object at least; else the whole ring is measured."""
TRACED: Final = 0.1
"""`blockiness` from which on pixels have traces of JPEG."""
_QUALITIES: Final = range(2, 31)
_TRACED_SIDE: Final = 256
_DIP: Final = 0.6
"""Most change of an image by its own quality, as a share of that by the qualities beside it."""
_LEAST_CHANGE: Final = 0.05
_LARGEST: Final = 512
"""Sides above this are reduced before contrast and sharpness are measured."""


def measure(image: Image, data: bytes, objects: Mask | None = None) -> F64:
    """Return the properties of an image: float64 (len(PROPERTIES),), NaN where there is none.

    Args:
        image: uint8 (H, W, 3) BGR.
        data: the file, for its JPEG tables; empty: unknown.
        objects: place of the object, bool (H, W); None: it is not certain.
    """
    height, width = image.shape[:2]
    colour = light_colour(image, objects)
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    blocks = blockiness(grey)
    scale = _LARGEST / max(height, width)
    if scale < 1:
        grey = np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        if objects is not None:
            size = (grey.shape[1], grey.shape[0])
            objects = cv2.resize(objects.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    ring = _ring(grey.shape[0], grey.shape[1], objects)
    sharpness = np.log(cv2.Laplacian(grey.astype(np.float64), cv2.CV_64F)[ring].var() + 1.0)
    size_values = np.log(width), np.log(height), np.log(width / height)
    quality = jpeg_quality(data)
    if np.isnan(quality) and blocks >= TRACED:
        quality = traced_quality(image)
    return np.array([*colour, sharpness, blocks, quality, *size_values])


def light_colour(image: Image, objects: Mask | None = None) -> F64:
    """Return the log mean of each channel around the object, for the colour of the light: float64 (3,), BGR.

    Args:
        image: uint8 (H, W, 3) BGR.
        objects: place of the object, bool (H, W); None: it is not certain.
    """
    ring = image[_ring(image.shape[0], image.shape[1], objects)].astype(np.float64)
    return np.asarray(np.log(ring.mean(axis=0) + _OFFSET))


def _ring(height: int, width: int, objects: Mask | None) -> Mask:
    """Return the pixels between two distances from the edge: a frame lies outside, and most objects inside."""
    near = np.minimum(np.arange(height)[:, np.newaxis] / height, np.arange(width) / width)
    far = np.minimum(np.arange(height)[::-1, np.newaxis] / height, np.arange(width)[::-1] / width)
    distance = np.minimum(near, far)
    ring = (distance >= _RING[0]) & (distance < _RING[1])
    if not ring.any():
        return np.ones((height, width), bool)
    outside = ring if objects is None else ring & ~objects
    return np.asarray(outside if outside.sum() >= _LEAST_OUTSIDE * ring.sum() else ring)


def blockiness(grey: NDArray[np.uint8]) -> float:
    """Return the log ratio of steps on the grid of JPEG's blocks of 8 pixels to those beside it; 0: no trace.

    Args:
        grey: uint8 (H, W) at the size of the file.
    """
    ratios = []
    for values in (grey, grey.T):
        if values.shape[1] < 24:
            return 0.0
        steps = np.abs(np.diff(values.astype(np.int16), axis=1)).mean(axis=0)
        columns = [float(steps[offset::8].mean()) for offset in range(8)]
        ratios.append((columns[7] + 0.5) / (float(np.median(columns)) + 0.5))
    return float(np.log(np.mean(ratios)))


def traced_quality(image: Image) -> float:
    """Return the quality with which pixels were compressed as JPEG before; NaN: none of `_QUALITIES` stands out.

    Compression with the same quality again changes an image much less than a little more or less does.

    Args:
        image: uint8 (H, W, 3) BGR at the size that it was compressed in.

    Source: Farid 2009, Exposing Digital Forgeries From JPEG Ghosts.
    """
    height, width = (min(side, _TRACED_SIDE) for side in image.shape[:2])
    top, left = ((side - part) // 32 * 16 for side, part in zip(image.shape[:2], (height, width), strict=True))
    part = image[top : top + height, left : left + width]
    changes = np.array([np.abs(compress(part, one).astype(np.int16) - part).mean() for one in _QUALITIES])
    ratios = changes[1:-1] / (np.minimum(changes[:-2], changes[2:]) + _LEAST_CHANGE)
    best = int(ratios.argmin())
    return float(_QUALITIES[best + 1]) if ratios[best] <= _DIP else float("nan")


def jpeg_quality(data: bytes) -> float:
    """Return the quality of a JPEG file by its luminance table, about 1 to 100; NaN: it is no JPEG file.

    Source: the scaling of the standard's table in libjpeg, ``jpeg_quality_scaling``, inverted on the mean of its first
    eight values, 13.1.
    """
    if data[:2] != b"\xff\xd8":
        return float("nan")
    position = 2
    while position + 5 <= len(data) and data[position] == 0xFF and data[position + 1] != 0xDA:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        wide = bool(data[position + 4] >> 4)
        raw = data[position + 5 : position + 5 + (16 if wide else 8)]
        if marker == 0xDB and data[position + 4] & 15 == 0 and len(raw) == (16 if wide else 8):
            scale = max(1.0, 100.0 * float(np.frombuffer(raw, ">u2" if wide else "u1").mean()) / 13.125)
            return float(np.clip(5000.0 / scale if scale > 100 else (200.0 - scale) / 2, 1, 100))
        position += 2 + length
    return float("nan")


def shift_colour(image: Image, log_gains: F64) -> Image:
    """Multiply the channels of an image: uint8, the shape of ``image``.

    Args:
        image: uint8 (H, W, 3) BGR.
        log_gains: float64 (3,), natural logarithm of each channel's factor.

    Source: von Kries' model of an illuminant, one gain a channel.
    """
    table = np.clip(np.rint(np.arange(256)[:, np.newaxis] * np.exp(log_gains)), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[np.newaxis]), np.uint8)


def shift_sharpness(image: Image, sigma: float) -> Image:
    """Blur an image (``sigma`` above 0, in pixels), or sharpen it by as much with an unsharp mask (below 0)."""
    if abs(sigma) < 0.2:
        return image
    blurred = cv2.GaussianBlur(image, (0, 0), abs(sigma))
    return np.asarray(blurred if sigma > 0 else cv2.addWeighted(image, 2.0, blurred, -1.0, 0.0), np.uint8)


def compress(image: Image, quality: int) -> Image:
    """Return an image after JPEG compression."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
