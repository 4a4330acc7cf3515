"""Scores of one object: which metrics of its map and of the predicted class an image contributes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from camrt.errors import SourceError
from camrt.images import Image
from camrt.kernels import localization
from camrt.kernels.map_metrics import box_iou, energy_in_mask, mask_of_boxes, points_at_mask
from camrt.runtime.evaluation.datasets.labelled import LabelledImage, Target
from camrt.runtime.evaluation.datasets.mask import read_mask
from camrt.runtime.evaluation.map_sources import MapSource
from camrt.runtime.maps.result import Result

TOLERANCE: Final = 15
"""Pixels of ``pointing_game_15px``."""
LEAST_IOU: Final = 0.5
"""IoU from which on a box is right, except for MaxBoxAccV2."""
_OVERHANG: Final = 2
"""Pixels by which a box may exceed its image: tools round, and count pixels from 0 or from 1."""


@dataclass(frozen=True, slots=True)
class Truth:
    """An object's place in its image."""

    boxes: tuple[tuple[float, float, float, float], ...]
    mask: NDArray[np.bool_] | None
    """bool (H, W); None: only boxes are known, or nothing."""
    ignored: NDArray[np.bool_] | None
    """bool (H, W), pixels that do not count."""


def truth_of(labelled: LabelledImage, target: Target, image: Image) -> Truth:
    """Return the place of an object, checked against its image.

    Raises:
        SourceError: the annotation belongs to an image of another size, or a mask cannot be read.
    """
    height, width = image.shape[:2]
    if labelled.size not in (None, (width, height)):
        stated = "x".join(map(str, labelled.size or ()))
        raise SourceError(f"{labelled.name}: the annotation is for {stated} pixels, the image has {width}x{height}")
    for x0, y0, x1, y1 in target.boxes:
        if min(x0, y0) < -_OVERHANG or x1 > width + _OVERHANG or y1 > height + _OVERHANG:
            raise SourceError(
                f"{labelled.name}: box {x0:g},{y0:g},{x1:g},{y1:g} exceeds the image of {width}x{height} pixels"
            )
    boxes = tuple((max(x0, 0.0), max(y0, 0.0), min(x1, width), min(y1, height)) for x0, y0, x1, y1 in target.boxes)
    if not target.masks:
        return Truth(boxes, None, None)
    mask, ignored = np.zeros((2, height, width), np.bool_)
    for entry in target.masks:
        one, rest = read_mask(entry) if isinstance(entry, Path) else (entry, np.zeros_like(entry))
        if one.shape != (height, width):
            stated = f"{one.shape[1]}x{one.shape[0]}"
            raise SourceError(f"{labelled.name}: its mask has {stated} pixels, the image {width}x{height}")
        mask |= one
        ignored |= rest
    return Truth(boxes, mask, ignored & ~mask)


def score_class(result: Result, class_ids: Collection[int]) -> dict[str, Any]:
    """Return ``top1`` and ``top5`` of an image, whose right classes are any of ``class_ids``."""
    best = [number for number, _, _ in result.top(5)]
    return {"top1": best[0] in class_ids, "top5": any(number in class_ids for number in best)}


def score_map(source: MapSource, truth: Truth, *, right: bool, wanted: Collection[str]) -> dict[str, Any]:
    """Return the rows of an object's metrics for one map, by metric.

    Args:
        source: the map.
        truth: the object's place.
        right: the predicted class is one of the right ones.
        wanted: names of the metrics to compute.
    """
    height, width = source.placement.frame_height, source.placement.frame_width
    rows: dict[str, Any] = {}
    area = truth.mask if truth.mask is not None else mask_of_boxes(truth.boxes, width, height)
    if (truth.boxes or truth.mask is not None) and {"pointing_game", "pointing_game_15px", "energy_in_box"} & set(
        wanted
    ):
        heat = source.heatmap()
        rows["pointing_game"] = points_at_mask(heat, area)
        rows["pointing_game_15px"] = points_at_mask(heat, area, TOLERANCE)
        inside = mask_of_boxes(truth.boxes, width, height) if truth.boxes else area
        rows["energy_in_box"] = energy_in_mask(heat, inside)
    if truth.boxes and {"max_box_acc", "max_box_acc_v2", "top1_box_acc"} & set(wanted):
        true = localization.frame_boxes(truth.boxes, width, height)
        largest, best = localization.ious_of_cuts(source.cut_boxes(), true)
        rows["max_box_acc"] = largest >= LEAST_IOU
        rows["max_box_acc_v2"] = best >= np.array(localization.IOUS)[:, np.newaxis]
        rows["top1_box_acc"] = np.stack([largest >= LEAST_IOU, (largest >= LEAST_IOU) & right])
    if truth.boxes and {"box_acc_at_threshold", "top1_box_acc_at_threshold"} & set(wanted):
        box = source.box()
        iou = 0.0 if box is None else float(np.max(box_iou(box[:4], truth.boxes)))
        rows["box_acc_at_threshold"] = iou >= LEAST_IOU
        rows["top1_box_acc_at_threshold"] = iou >= LEAST_IOU and right
        rows["iou"] = iou
    if truth.mask is not None and "pxap" in wanted:
        rows["pxap"] = localization.pixel_histograms(source.scores(), truth.mask, truth.ignored)
    return rows


def best_class(result: Result, class_ids: Sequence[int]) -> int:
    """Return the right class with the highest score: its map is evaluated."""
    return max(class_ids, key=lambda number: float(np.nan_to_num(result.scores[number], nan=-np.inf)))
