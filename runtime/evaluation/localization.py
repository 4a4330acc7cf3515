"""How well maps find objects whose boxes are known."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from camrt import kernels
from camrt.images import Image, read_image
from camrt.kernels.map_metrics import box_iou, max_box_acc, points_at_box
from camrt.runtime.inference.model import Model

THRESHOLDS = tuple(step / 20 for step in range(20))
"""Fractions of a heatmap's maximum at which its largest region is boxed."""


@dataclass(frozen=True, slots=True)
class Boxed:
    """A photo, what is on it, and where."""

    image: Image
    class_ids: Sequence[int]
    """The classes that it may be called; the map is that of the one with the highest score."""
    boxes: Sequence[Sequence[float]]
    """(x0, y0, x1, y1) in pixels."""


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
            read_image(folder / entry["file"]),
            [number + offset for number in entry["imagenet_indices"]],
            entry["boxes"],
        )
        for entry in entries
    ]


def localize(model: Model, photos: Iterable[Boxed]) -> Localization:
    """Let the maps of the true classes point at their objects."""
    points, ious = [], []
    for photo in photos:
        result = model(photo.image)
        class_id = max(photo.class_ids, key=lambda number: float(result.scores[number]))
        points.append(points_at_box(result.heatmap(class_id), photo.boxes))
        cam = kernels.normalize(result.visible_cam(class_id))
        placement = result.placement
        boxes = kernels.boxes(cam, THRESHOLDS, placement.seen, placement.map_rect(*cam.shape[::-1]))
        ious.append([max(box_iou(found[0][:4], photo.boxes)) if found else 0.0 for found in boxes])
    return Localization(float(np.mean(points)), max_box_acc(ious))
