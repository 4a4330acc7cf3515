"""Measure the fidelity of a quantized model file: how similar its predictions and maps are to the float file's."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from camrt.export.graph.session import open_session, run_session
from camrt.export.graph.synthetic_images import Images
from camrt.export.verify.checks import check_finite
from camrt.kernels import boxes, normalize
from camrt.kernels.map_metrics import box_iou, peak_distance, pearson, rank_correlation
from camrt.model_file import CAM_WEIGHTS, SCORES, ModelInfo, maps_output

F64 = NDArray[np.float64]

BOX_THRESHOLD: Final = 0.2
"""Fraction of the maximum above which a cell belongs to the object (Zhou et al. 2016, section 3.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """The predictions of a model file for several images."""

    class_ids: NDArray[np.intp]
    """(N,), the class with the highest score."""
    classes: int
    """K."""
    maps: Sequence[F64]
    """(h, w) each, the map of one class, without cells that see padding only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFidelity:
    """Two files compared on one image; both maps are of the class that the first file predicts."""

    name: str
    class_id: int
    label: str
    other_class_id: int
    """The class that the second file predicts."""
    other_label: str
    pearson: float
    rank: float
    box_iou: float
    peak_distance: float
    """As a fraction of the map's diagonal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Two files compared on several images."""

    images: int
    """Number of images."""
    top1_agreement: float
    """Share of the images for which both predict the same class."""
    pearson_median: float
    pearson_least: float
    rank_median: float
    box_iou_median: float
    peak_distance_median: float


def predict(
    model: ModelProto, info: ModelInfo, images: Images, map_classes: NDArray[np.intp] | None = None
) -> Predictions:
    """Run a model file on images, one by one.

    Args:
        model: the file.
        info: its metadata.
        images: uint8 (N, H, W, 3), BGR, at the network's size.
        map_classes: (N,), the class of the map for each image; None: the predicted class.

    Raises:
        ExportError: the file cannot be run, or gives NaN or infinite numbers.
    """
    assert info.head is not None
    session = open_session(model, "the model file")
    maps_name = maps_output(info.head)
    scale, zero_point = info.quantization_params or (1.0, 0)
    weights = run_session(session, [CAM_WEIGHTS], images[:1], "the model file")[0] if info.head == "linear" else None
    class_ids, class_maps = [], []
    for index, image in enumerate(images):
        scores, maps = run_session(session, [SCORES, maps_name], image[None], "the model file")
        check_finite({SCORES: scores, maps_name: maps})
        class_ids.append(int(np.argmax(scores[0])))
        class_id = class_ids[-1] if map_classes is None else map_classes[index]
        values = (maps[0].astype(np.float64) - zero_point) * scale
        if weights is None:
            class_map = values[class_id]
        else:
            class_map = np.tensordot(weights[class_id].astype(np.float64), values, axes=1)
        margin = info.map_margin
        class_maps.append(class_map[margin : class_map.shape[0] - margin, margin : class_map.shape[1] - margin])
    return Predictions(class_ids=np.array(class_ids), classes=scores.shape[1], maps=class_maps)


def compare(
    first: Predictions, second: Predictions, names: Sequence[str], labels: Sequence[str]
) -> list[ImageFidelity]:
    """Compare two files image by image; the maps of ``second`` are of the classes that ``first`` predicts."""
    return [
        ImageFidelity(
            name=name,
            class_id=int(class_id),
            label=labels[class_id],
            other_class_id=int(other_class_id),
            other_label=labels[other_class_id],
            pearson=pearson(class_map, other_map),
            rank=rank_correlation(class_map, other_map),
            box_iou=_box_iou(class_map, other_map),
            peak_distance=peak_distance(class_map, other_map),
        )
        for name, class_id, other_class_id, class_map, other_map in zip(
            names, first.class_ids, second.class_ids, first.maps, second.maps, strict=True
        )
    ]


def _box_iou(first: F64, second: F64) -> float:
    """Return the IoU of the boxes of two maps' largest regions; a map without a box matches only another one."""
    first_boxes, second_boxes = (
        boxes(normalize(class_map.astype(np.float32)), [BOX_THRESHOLD])[0][:1] for class_map in (first, second)
    )
    if not first_boxes or not second_boxes:
        return float(first_boxes == second_boxes)
    return float(box_iou(first_boxes[0][:4], second_boxes[0][:4]))


def summarize(rows: Sequence[ImageFidelity]) -> Fidelity:
    """Return the share of equal predictions and the medians of the other measures."""
    return Fidelity(
        images=len(rows),
        top1_agreement=sum(row.class_id == row.other_class_id for row in rows) / len(rows),
        pearson_median=median(row.pearson for row in rows),
        pearson_least=min(row.pearson for row in rows),
        rank_median=median(row.rank for row in rows),
        box_iou_median=median(row.box_iou for row in rows),
        peak_distance_median=median(row.peak_distance for row in rows),
    )


def group_by_class(rows: Sequence[ImageFidelity]) -> dict[int, list[ImageFidelity]]:
    """Return the rows of each predicted class, least similar first; the class with the least similar row is first."""
    classes: dict[int, list[ImageFidelity]] = {}
    for row in sorted(rows, key=_similarity):
        classes.setdefault(row.class_id, []).append(row)
    return classes


def _similarity(row: ImageFidelity) -> tuple[Any, ...]:
    """Return a sort key, least similar first: another predicted class, then a low correlation of the maps."""
    return row.class_id == row.other_class_id, row.pearson
