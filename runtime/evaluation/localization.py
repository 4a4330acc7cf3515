"""How well maps find objects whose boxes are known."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from camrt.images import Image
from camrt.runtime.inference.model import Model

THRESHOLDS = tuple(step / 20 for step in range(20))
"""Fractions of a heatmap's maximum at which its largest region is boxed."""
RIGHT = 0.5
"""IoU that a box must have with one of the object's."""

Box = Sequence[float]
"""(x0, y0, x1, y1) in pixels."""


@dataclass(frozen=True, slots=True)
class Boxed:
    """A photo, what is on it, and where."""

    image: Image
    class_ids: Sequence[int]
    """The classes that it may be called; the map is that of the one with the highest score."""
    boxes: Sequence[Box]


@dataclass(frozen=True, slots=True)
class Localization:
    """Shares of the photos."""

    pointing_game: float
    """The heatmap's peak lies in a box (Zhang et al. 2018, IJCV 126, section 4.1, without their margin)."""
    max_box_acc: float
    """The box of the largest region is right, at the threshold that is best over all (Choe et al. 2020, CVPR)."""


def read_boxes(folder: Path, offset: int = 0) -> list[Boxed]:
    """Read photos with boxes: a folder with ``boxes.json``; ``offset`` is added to the classes' ImageNet numbers."""
    entries = json.loads((folder / "boxes.json").read_text(encoding="utf-8"))
    return [
        Boxed(
            np.asarray(cv2.imread(str(folder / entry["file"])), np.uint8),
            [number + offset for number in entry["imagenet_indices"]],
            entry["boxes"],
        )
        for entry in entries
    ]


def localize(model: Model, photos: Iterable[Boxed]) -> Localization:
    """Let the maps of the true classes point at their objects."""
    points, right = [], []
    for photo in photos:
        result = model(photo.image)
        class_id = max(photo.class_ids, key=lambda number: float(result.scores[number]))
        heatmap = result.heatmap(class_id)
        y, x = divmod(int(heatmap.argmax()), heatmap.shape[1])
        points.append(any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in photo.boxes))
        found = [result.boxes(class_id, threshold)[:1] for threshold in THRESHOLDS]
        right.append([any(_iou(box[0], true) >= RIGHT for true in photo.boxes) if box else False for box in found])
    return Localization(float(np.mean(points)), float(np.mean(right, axis=0).max()))


def _iou(first: Box, second: Box) -> float:
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(0.0, wide) * max(0.0, high)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)
