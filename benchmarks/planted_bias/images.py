"""Labelled images for planting: photos of insects, fruits, and drawn scenes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from camrt.benchmarks.planted_bias.plants import Image, Random
from camrt.images import list_images, read_image

Box = tuple[int, int, int, int]
SIDE: Final = 128
"""Pixels of the shorter side of every image."""
SHAPES: Final = ("disc", "square", "triangle", "cross")
FRUITS: Final = ("Banana", "Kiwi", "Lemon", "Mango", "Orange", "Strawberry")


@dataclass(frozen=True, slots=True)
class Split:
    """Images with their classes."""

    images: list[Image]
    classes: list[int]
    boxes: list[Box] | None = None
    """(x0, y0, x1, y1) of the object of each image; None: not known."""


@dataclass(frozen=True, slots=True)
class Images:
    """Images to train on and to audit."""

    labels: tuple[str, ...]
    train: Split
    test: Split


def read(name: str, data: Path, seed: int = 0) -> Images:
    """Return the images called ``hymenoptera``, ``fruits`` or ``scenes``."""
    if name == "hymenoptera":
        labels: tuple[str, ...] = ("ants", "bees")
        return Images(labels, *(_folder(data / name / part, labels, None) for part in ("train", "val")))
    if name == "fruits":
        return Images(FRUITS, _folder(data / name / "Training", FRUITS, 60), _folder(data / name / "Test", FRUITS, 40))
    return Images(SHAPES, draw_scenes(90, seed), draw_scenes(40, seed + 1000))


def _folder(root: Path, labels: tuple[str, ...], most: int | None) -> Split:
    split = Split([], [])
    for number, label in enumerate(labels):
        files = list_images(root / label)
        for file in files[:: max(1, len(files) // most)][:most] if most else files:
            image = read_image(file)
            height, width = image.shape[:2]
            scale = SIDE / min(height, width)
            size = round(width * scale), round(height * scale)
            split.images.append(np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8))
            split.classes.append(number)
    return split


def draw_scenes(per_class: int, seed: int) -> Split:
    """Draw one shape of a random colour, size and place on a cloudy background, for each image."""
    random = np.random.default_rng(seed)
    classes = [number for number in range(len(SHAPES)) for _ in range(per_class)]
    drawn = [draw_scene(number, random) for number in classes]
    return Split([image for image, _ in drawn], classes, [box for _, box in drawn])


def draw_scene(shape: int, random: Random) -> tuple[Image, Box]:
    """Draw one scene: uint8 (SIDE, SIDE, 3) BGR, and the box of the shape."""
    image = np.zeros((SIDE, SIDE, 3), np.float64)
    for cells in (2, 5, 14):
        clouds = random.uniform(0, 255, (cells, cells, 3))
        image += cv2.resize(clouds, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) / 3
    canvas = np.clip(0.6 * image + 40 + random.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    radius = int(random.integers(SIDE // 6, SIDE // 4))
    x, y = (int(value) for value in random.integers(radius + 12, SIDE - radius - 12, 2))
    colour = tuple(int(value) for value in random.integers(0, 256, 3))
    if shape == 0:
        cv2.circle(canvas, (x, y), radius, colour, -1, cv2.LINE_AA)
    elif shape == 3:
        arm = radius // 3
        cv2.rectangle(canvas, (x - radius, y - arm), (x + radius, y + arm), colour, -1)
        cv2.rectangle(canvas, (x - arm, y - radius), (x + arm, y + radius), colour, -1)
    else:
        corners = 4 if shape == 1 else 3
        angles = random.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(corners) / corners
        points = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1).round().astype(np.int32)
        cv2.fillPoly(canvas, [points], colour, cv2.LINE_AA)
    return canvas, (x - radius, y - radius, x + radius + 1, y + radius + 1)
