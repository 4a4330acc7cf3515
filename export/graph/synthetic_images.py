"""Images to verify a model file on: those of the caller, or synthetic ones."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt.images import find_images, read_pictures

Images = NDArray[np.uint8]
"""uint8 (N, H, W, 3), BGR."""
MAX_IMAGES = 32
"""More images take time and show nothing new."""


def read_images(paths: str | Path | Sequence[str | Path], width: int, height: int) -> Images:
    """Read images and stretch them to the network's size.

    Args:
        paths: a folder (its images in natural order), or image files; the first `MAX_IMAGES` are read.
        width: of the network's input, in pixels.
        height: of the network's input, in pixels.

    Raises:
        UsageError: there are no images.
        SourceError: an image cannot be read.
    """
    files = find_images([Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths])
    pictures = (picture for file in files for picture in read_pictures(file))  # every page
    images = [
        cv2.resize(picture.image, (width, height), interpolation=cv2.INTER_AREA)
        for picture in islice(pictures, MAX_IMAGES)
    ]
    return np.stack(images).astype(np.uint8)


def synthetic_images(width: int, height: int) -> Images:
    """Make eight images, the same each time: two of noise, two smooth ramps, and blobs on each of these."""
    random = np.random.default_rng(20160626)
    noise = random.uniform(0, 255, (2, height, width, 3))
    rows, columns = np.mgrid[0 : 1 : complex(0, height), 0 : 1 : complex(0, width)]
    ramps = np.stack([_ramp(random, rows, columns) for _ in range(2)])
    blobs = np.stack([_blobs(random, base, rows, columns) for base in (*ramps, *(noise / 4))])
    return np.concatenate([noise, ramps, blobs]).clip(0, 255).astype(np.uint8)


def _ramp(random: np.random.Generator, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    slope = random.uniform(-1, 1, (2, 3))
    ramp = rows[..., None] * slope[0] + columns[..., None] * slope[1]
    return np.asarray((ramp - ramp.min()) / (np.ptp(ramp) or 1) * 255)


def _blobs(
    random: np.random.Generator,
    base: NDArray[np.float64],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
) -> NDArray[np.float64]:
    image = base.copy()
    for _ in range(3):
        y, x, radius = *random.uniform(0.2, 0.8, 2), random.uniform(0.08, 0.25)
        share = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * radius**2))[..., None]
        image += share * (random.uniform(0, 255, 3) - image)
    return image
