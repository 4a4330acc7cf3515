"""Run a model file on pictures, and tell how alike its answers and maps are to those of the one it was made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from camrt.export.graph import session as ort
from camrt.export.graph.synthetic_images import Pictures
from camrt.kernels import boxes, normalize
from camrt.kernels.map_metrics import box_iou, peak_distance, pearson, rank_correlation
from camrt.model_file import CAM_WEIGHTS, CLASS_MAPS, FEATURES, SCORES, ModelInfo

F64 = NDArray[np.float64]

BOX_THRESHOLD: Final = 0.2
"""Fraction of the maximum above which a cell belongs to the object (Zhou et al. 2016, section 3.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a model file says of pictures."""

    answers: NDArray[np.intp]
    """(N,), the class with the highest score."""
    cams: Sequence[F64]
    """(h, w) each, the map of the class that was asked for, without cells that cover padding only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFidelity:
    """How alike the two files are on one picture; the maps are those of the class that the first one predicts."""

    name: str
    class_id: int
    label: str
    other_class_id: int
    """What the second one predicts."""
    other_label: str
    pearson: float
    rank: float
    box_iou: float
    peak_distance: float
    """As a fraction of the map's diagonal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """The same over several pictures."""

    pictures: int
    top1_agreement: float
    """Share of the pictures on which both predict the same class."""
    pearson_median: float
    pearson_least: float
    rank_median: float
    box_iou_median: float
    peak_distance_median: float


def maps_of(info: ModelInfo) -> str:
    """Return the name of the output that maps are made of."""
    return FEATURES if info.head == "linear" else CLASS_MAPS


def observe(
    model: ModelProto, info: ModelInfo, pictures: Pictures, classes: NDArray[np.intp] | None = None
) -> Observed:
    """Run a model file on pictures, one by one.

    Args:
        model: the file.
        info: its metadata.
        pictures: uint8 (N, H, W, 3), BGR, at the network's size.
        classes: (N,), whose maps are wanted; None: of the class that is predicted.

    Raises:
        ExportError: it cannot be run.
    """
    session = ort.open_session(model, "the model file")
    maps_name = maps_of(info)
    scale, zero_point = info.quantization_params or (1.0, 0)
    weights = ort.run(session, [CAM_WEIGHTS], pictures[:1], "it")[0] if info.head == "linear" else None
    answers, cams = [], []
    for index, picture in enumerate(pictures):
        scores, maps = ort.run(session, [SCORES, maps_name], picture[None], "the model file")
        answers.append(int(np.argmax(scores[0])))
        wanted = answers[-1] if classes is None else classes[index]
        values = (maps[0].astype(np.float64) - zero_point) * scale
        cam = values[wanted] if weights is None else np.tensordot(weights[wanted].astype(np.float64), values, axes=1)
        margin = info.map_margin
        cams.append(cam[margin : cam.shape[0] - margin, margin : cam.shape[1] - margin])
    return Observed(answers=np.array(answers), cams=cams)


def compare(first: Observed, second: Observed, names: Sequence[str], labels: Sequence[str]) -> list[PictureFidelity]:
    """Compare what two files say of the same pictures; ``second`` was asked for the classes that ``first`` predicts."""
    return [
        PictureFidelity(
            name=name,
            class_id=int(answer),
            label=labels[answer],
            other_class_id=int(other),
            other_label=labels[other],
            pearson=pearson(cam, other_cam),
            rank=rank_correlation(cam, other_cam),
            box_iou=_box_iou(cam, other_cam),
            peak_distance=peak_distance(cam, other_cam),
        )
        for name, answer, other, cam, other_cam in zip(
            names, first.answers, second.answers, first.cams, second.cams, strict=True
        )
    ]


def _box_iou(cam: F64, other_cam: F64) -> float:
    """Return the IoU of the boxes of two maps' largest regions; a map without a box matches only another one."""
    first, second = (boxes(normalize(values.astype(np.float32)), [BOX_THRESHOLD])[0][:1] for values in (cam, other_cam))
    if not first or not second:
        return float(first == second)
    return float(box_iou(first[0][:4], second[0][:4]))


def summarize(rows: Sequence[PictureFidelity]) -> Fidelity:
    """Return the share of equal answers and the medians of the rest."""
    return Fidelity(
        pictures=len(rows),
        top1_agreement=sum(row.class_id == row.other_class_id for row in rows) / len(rows),
        pearson_median=median(row.pearson for row in rows),
        pearson_least=min(row.pearson for row in rows),
        rank_median=median(row.rank for row in rows),
        box_iou_median=median(row.box_iou for row in rows),
        peak_distance_median=median(row.peak_distance for row in rows),
    )


def by_class(rows: Sequence[PictureFidelity]) -> dict[int, list[PictureFidelity]]:
    """Return the rows of each predicted class, its worst picture first; the class with the worst one first."""
    classes: dict[int, list[PictureFidelity]] = {}
    for row in sorted(rows, key=badness):
        classes.setdefault(row.class_id, []).append(row)
    return classes


def badness(row: PictureFidelity) -> tuple[Any, ...]:
    """Sort key, worst first: another answer, then by how unlike the maps are."""
    return row.class_id == row.other_class_id, row.pearson
