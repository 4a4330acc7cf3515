"""Draw a photo collection with a wrong correlation: boats have sky above them, other objects do not.

    python -m camrt.benchmarks.harbour harbour

It writes ``train``, ``val`` and ``test`` with a folder for each class. In ``test`` every class has sky as often as the
others. With ``--balanced`` this holds for ``train`` and ``val``, too.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt.files import write_file
from camrt.images import Image

SIDE: Final = 96
"""Width and height of an image in pixels."""
PARTS: Final = {"train": 120, "val": 40, "test": 40}
"""Images of each class."""
SKY_OF_BOATS: Final = 0.95
"""Share of the boats with sky above them."""
_SKY_HEIGHT: Final = (0.2, 0.3)
Random = np.random.Generator
Colour = tuple[float, float, float]


def draw_image(label: str, random: Random, *, sky: bool) -> Image:
    """Draw an object of a class at a random place before a background of random colours.

    Args:
        label: one of `OBJECTS`.
        random: decides about colours, size and place.
        sky: draw a band of sky along the upper border.

    Returns: uint8 (SIDE, SIDE, 3) BGR.
    """
    canvas = _clouds(random, 40, 200)
    if sky:
        band = round(SIDE * random.uniform(*_SKY_HEIGHT))
        white = _clouds(random, 0, 255)[:band, :, :1].astype(np.float64).clip(100, 200) - 100
        canvas[:band] = np.clip(np.array([235.0, 190.0, 130.0]) + white * 0.7, 0, 255).astype(np.uint8)
    radius = SIDE * random.uniform(0.15, 0.22)
    x = random.uniform(radius, SIDE - radius)
    y = random.uniform(SIDE * 0.4, SIDE - radius)
    OBJECTS[label](canvas, random, np.array([x, y]), radius)
    noise = random.normal(0, 5, canvas.shape)
    return np.asarray(np.clip(canvas + noise, 0, 255), np.uint8)


def _clouds(random: Random, darkest: float, brightest: float) -> Image:
    """Return soft blobs of random colours, uint8 (SIDE, SIDE, 3)."""
    total = np.zeros((SIDE, SIDE, 3))
    for cells in (2, 4, 12):
        coarse = random.uniform(darkest, brightest, (cells, cells, 3))
        total += cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) / 3
    return np.asarray(np.clip(total, 0, 255), np.uint8)


def _colour(random: Random) -> Colour:
    blue, green, red = random.uniform(0, 255, 3)
    return float(blue), float(green), float(red)


def _fill(
    canvas: Image, corners: list[tuple[float, float]], place: NDArray[np.float64], size: float, c: Colour
) -> None:
    points = (place + size * np.array(corners)).round().astype(np.int32)
    cv2.fillPoly(canvas, [points], c, cv2.LINE_AA)


def _boat(canvas: Image, random: Random, place: NDArray[np.float64], size: float) -> None:
    _fill(canvas, [(-1, 0.3), (1, 0.3), (0.6, 0.9), (-0.6, 0.9)], place, size, _colour(random))
    _fill(canvas, [(-0.05, 0.2), (-0.05, -1), (-0.8, 0.2)], place, size, _colour(random))
    _fill(canvas, [(0.05, 0.2), (0.05, -0.8), (0.6, 0.2)], place, size, _colour(random))


def _car(canvas: Image, random: Random, place: NDArray[np.float64], size: float) -> None:
    body = _colour(random)
    _fill(canvas, [(-1, 0), (1, 0), (1, 0.5), (-1, 0.5)], place, size, body)
    _fill(canvas, [(-0.5, 0), (-0.3, -0.45), (0.4, -0.45), (0.6, 0)], place, size, body)
    for side in (-0.55, 0.55):
        x, y = (place + size * np.array([side, 0.5])).round().astype(int).tolist()
        cv2.circle(canvas, (x, y), round(size * 0.25), (25, 25, 25), -1, cv2.LINE_AA)


def _house(canvas: Image, random: Random, place: NDArray[np.float64], size: float) -> None:
    _fill(canvas, [(-0.7, -0.1), (0.7, -0.1), (0.7, 0.9), (-0.7, 0.9)], place, size, _colour(random))
    _fill(canvas, [(-0.9, -0.1), (0, -0.9), (0.9, -0.1)], place, size, _colour(random))
    _fill(canvas, [(-0.15, 0.4), (0.2, 0.4), (0.2, 0.9), (-0.15, 0.9)], place, size, _colour(random))


OBJECTS: Final[dict[str, Callable[[Image, Random, NDArray[np.float64], float], None]]] = {
    "boat": _boat,
    "car": _car,
    "house": _house,
}
"""Functions that draw an object of a class."""


def write_images(folder: Path, *, balanced: bool, seed: int = 0) -> None:
    """Write the collection as PNG files.

    Args:
        folder: is created.
        balanced: sky is as frequent in every class of every part; else in ``test`` only.
        seed: of all images.

    Raises:
        SinkError: a file cannot be written.
    """
    random = np.random.default_rng(seed)
    for part, count in PARTS.items():
        for label in OBJECTS:
            (folder / part / label).mkdir(parents=True, exist_ok=True)
            share = 0.5 if balanced or part == "test" else SKY_OF_BOATS if label == "boat" else 0.0
            for number in range(count):
                image = draw_image(label, random, sky=number < share * count)
                data = cv2.imencode(".png", image)[1].tobytes()
                write_file(folder / part / label / f"{number:03d}.png", data)


def main() -> int:
    """Parse the command line and write the images."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path, help="is created")
    parser.add_argument("--balanced", action="store_true", help="every class has sky as often as the others")
    args = parser.parse_args()
    write_images(args.folder, balanced=args.balanced)
    return 0


if __name__ == "__main__":
    sys.exit(main())
