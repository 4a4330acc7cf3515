"""Page of the report of `camrt eval`: the metrics, and the maps and boxes of the worst and the best images."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Final

import cv2

from camrt.errors import SourceError
from camrt.images import Image, read_image
from camrt.model_file import InputGeometry
from camrt.runtime.evaluation.datasets.labelled import Box, Dataset
from camrt.runtime.evaluation.evaluation import Evaluation
from camrt.runtime.evaluation.map_provider import MapProvider
from camrt.runtime.evaluation.metrics import METRICS
from camrt.runtime.inference.model import Model
from camrt.runtime.maps.result import Result
from camrt.runtime.report import html
from camrt.runtime.report.pictures import with_map

SHOWN: Final = 12
"""Images shown of the worst and of the best."""
SIDE: Final = 480
"""Most pixels of the longer side of a shown image."""
_TRUE, _FOUND = (80, 220, 80), (60, 60, 255)  # BGR: green and red


def page(evaluation: Evaluation, dataset: Dataset, model: Model | MapProvider) -> str:
    """Return the page.

    Args:
        evaluation: of ``model`` on ``dataset``.
        dataset: the images; those that are shown are read again.
        model: runs on them again, or has their maps.
    """
    name = PurePath(evaluation.model).name
    ordered = sorted(evaluation.per_image, key=_order)
    best = ordered[::-1][: min(SHOWN, len(ordered) // 2)]
    worst = ordered[: min(SHOWN, len(ordered) - len(best))]
    rule = "by the energy of the map on the object" if any("energy_in_box" in line for line in ordered) else "by score"
    parts = [
        html.paragraph(f"{evaluation.images} images. Intervals: 95 % of 1000 draws of the images, with replacement."),
        html.table(*_numbers(evaluation)),
        html.paragraph(
            f"The threshold in use is {evaluation.threshold:.2f} of the map's maximum. MaxBoxAcc and MaxBoxAccV2 use "
            "the threshold that is best on these images, with hindsight. MaxBoxAccV2 does not count boxes beside the "
            "object."
        ),
        *_cost(evaluation),
        html.section("Worst images"),
        html.paragraph(f"Ordered {rule}. Map of the true class; green: true boxes, red: box at the threshold in use."),
        html.gallery(_figure(line, dataset, model) for line in worst),
        html.section("Best images"),
        html.gallery(_figure(line, dataset, model) for line in best),
    ]
    if evaluation.remarks or evaluation.skipped:
        parts.append(html.section("Not evaluated"))
        parts += [html.paragraph(remark) for remark in evaluation.remarks]
        parts.append(html.table((), [(one.file, one.reason) for one in evaluation.skipped]))
    return html.document(name, f"{name} on {evaluation.dataset}", parts)


def _cost(evaluation: Evaluation) -> list[str]:
    if evaluation.cost is None:
        return []
    cost = evaluation.cost.as_dict()
    return [
        html.paragraph(
            f"From insertion AUC on: {cost['images']} images, the map of the predicted class, "
            f"{cost['passes_per_image']:.0f} forward passes an image."
        )
    ]


def _order(line: Mapping[str, Any]) -> tuple[float, float]:
    return line.get("energy_in_box", 0.0), line["score"]


def _numbers(evaluation: Evaluation) -> tuple[Sequence[str], list[Sequence[str]]]:
    names = list(evaluation.baselines)
    rows: list[Sequence[str]] = []
    for metric in METRICS:
        if metric.name in evaluation.values:
            low, high = evaluation.intervals[metric.name]
            others = [evaluation.baselines[name].get(metric.name) for name in names]
            cells = ["" if other is None else f"{other:.3f}" for other in others]
            rows.append((metric.title, f"{evaluation.values[metric.name]:.3f}", f"{low:.3f} - {high:.3f}", *cells))
    if evaluation.ms_per_image is not None:
        rows.append(("ms per image", f"{evaluation.ms_per_image:.1f}", "", *([""] * len(names))))
    return ("", "model", "95 % interval", *(name.replace("_", " ") for name in names)), rows


def _figure(line: Mapping[str, Any], dataset: Dataset, model: Model | MapProvider) -> str:
    labelled = next(image for image in dataset.images if image.name == line["file"])
    boxes = next(target.boxes for target in labelled.targets if target.label == line["class"])
    facts = [f"{line['label']} {line['score']:.2f}"]
    if "iou" in line:
        facts.append(f"box IoU {line['iou']:.2f}")
    if "energy_in_box" in line:
        facts.append(f"energy {line['energy_in_box']:.0%}")
    caption = [line["class"], ", ".join(facts), line["file"]]
    warning = "" if line["top1"] else f"predicted: {line['predicted']} {line['predicted_score']:.2f}"
    try:
        image = read_image(labelled.image) if isinstance(labelled.image, Path) else labelled.image
        seen = model.image_of(labelled, [[line["class_id"]]]) if isinstance(model, MapProvider) else image
    except SourceError as error:  # it was read a moment ago
        return html.figure([], [*caption, str(error)], warning=warning)
    drawn = _drawn(model(seen), model.geometry, image, line["class_id"], boxes)
    return html.figure([html.inline_image(drawn, f"map of {line['label']}")], caption, warning=warning)


def _drawn(result: Result, geometry: InputGeometry, image: Image, class_id: int, boxes: Sequence[Box]) -> Image:
    """Return an image with a class's map, the true boxes and the box at the threshold in use."""
    drawn = with_map(image, result.visible_cam(class_id), geometry, SIDE)
    scale = SIDE / max(image.shape[:2])
    for colour, some in ((_TRUE, boxes), (_FOUND, result.boxes(class_id)[:1])):
        for x0, y0, x1, y1, *_ in some:
            corners = [round(edge * scale) for edge in (x0, y0, x1, y1)]
            cv2.rectangle(drawn, corners[:2], (corners[2] - 1, corners[3] - 1), colour, 2)
    return drawn
