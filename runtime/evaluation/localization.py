"""Localization by maps, on images with boxes of the objects."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from camrt import kernels
from camrt.images import Image, read_image
from camrt.kernels.map_metrics import box_iou, max_box_acc, points_at_box
from camrt.runtime.inference.model import Model

THRESHOLDS: Final = tuple(step / 20 for step in range(20))
"""Fractions of a heatmap's maximum. At each one, the largest region gives the predicted box."""


@dataclass(frozen=True, slots=True)
class BoxedImage:
    """An image with the classes and boxes of its objects."""

    image: Image
    class_ids: Sequence[int]
    """Correct classes; the map of the one with the highest score is evaluated."""
    boxes: Sequence[Sequence[float]]
    """(x0, y0, x1, y1) in pixels, x1 and y1 exclusive."""


@dataclass(frozen=True, slots=True)
class Localization:
    """Result of `localize`, as fractions of the images."""

    pointing_game: float
    """See `camrt.kernels.map_metrics.points_at_box`."""
    max_box_acc: float
    """See `camrt.kernels.map_metrics.max_box_acc`."""


def read_boxes(folder: Path, offset: int = 0) -> list[BoxedImage]:
    """Read the images that ``boxes.json`` in a folder lists.

    Args:
        folder: has the images and ``boxes.json``, a list of objects with ``file``, ``imagenet_indices`` and ``boxes``.
        offset: number that the model's class ids exceed those of ImageNet by.

    Raises:
        SourceError: an image cannot be read.
    """
    entries = json.loads((folder / "boxes.json").read_text(encoding="utf-8"))
    return [
        BoxedImage(
            read_image(folder / entry["file"]),
            [number + offset for number in entry["imagenet_indices"]],
            entry["boxes"],
        )
        for entry in entries
    ]


def localize(model: Model, images: Iterable[BoxedImage]) -> Localization:
    """Compare the maps of the true classes with the boxes of the objects."""
    hits, ious = [], []
    for sample in images:
        result = model(sample.image)
        class_id = max(sample.class_ids, key=lambda number: float(result.scores[number]))
        hits.append(points_at_box(result.heatmap(class_id), sample.boxes))
        cam = kernels.normalize(result.visible_cam(class_id))
        placement = result.placement
        predicted = kernels.boxes(cam, THRESHOLDS, placement.frame_rect, placement.map_rect(*cam.shape[::-1]))
        ious.append([max(box_iou(boxes[0][:4], sample.boxes)) if boxes else 0.0 for boxes in predicted])
    return Localization(float(np.mean(hits)), max_box_acc(ious))
