"""Run a model over labelled images and measure its classes and its maps."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np

from camrt.errors import SourceError, UsageError
from camrt.images import Image, read_image
from camrt.progress import Progress
from camrt.runtime.evaluation.class_matching import check_matching, match_classes
from camrt.runtime.evaluation.datasets.labelled import Dataset, LabelledImage, Target
from camrt.runtime.evaluation.datasets.read import read_dataset
from camrt.runtime.evaluation.evaluation import Evaluation, Skipped, evaluation_of
from camrt.runtime.evaluation.map_sources import BASELINES, MODEL, Baselines, MapSource
from camrt.runtime.evaluation.metrics import Rows, select_metrics
from camrt.runtime.evaluation.scoring import best_class, score_class, score_map, truth_of
from camrt.runtime.inference.model import Model
from camrt.runtime.maps.refine_frame import refine_frame
from camrt.runtime.maps.refinement import check_refinements, parse_refinements

_PROGRESS_AFTER_S: Final = 2.0
_Known = list[tuple[Target, tuple[int, ...]]]
"""The objects of an image that the model knows, with their right classes."""


def evaluate(
    model: Model,
    dataset: str | Path | Dataset | Iterable[LabelledImage],
    metrics: Sequence[str] | None = None,
    *,
    baselines: Sequence[str] = BASELINES,
    allow_unmatched: bool = False,
    refine: str = "none",
) -> Evaluation:
    """Measure a model's classes and maps on labelled images. The pixels of one image at a time are in memory.

    Each map is that of the true class (GT-known). Images that cannot be read, and those that their annotation does not
    fit, are skipped and listed. Objects of one image are one class each; an image with several counts for each of them.

    Args:
        model: the model.
        dataset: a folder or a file of annotations (see `read_dataset`), a `Dataset`, or labelled images.
        metrics: names of `camrt.runtime.evaluation.metrics.METRICS`; None: all that the data allow.
        baselines: names of `BASELINES`, to measure beside the model; empty: none.
        refine: refinements of the model's maps, ``none`` or names of `camrt.runtime.maps.refinement.REFINEMENTS` with
            commas between them. Classes and scores stay those of the image itself.
        allow_unmatched: leave out classes that the model does not know, instead of raising an error.

    Raises:
        UsageError: a name is unknown, the model does not know a class of the data, or no image can be evaluated.
        SourceError: the data cannot be read.
    """
    selected = select_metrics(metrics)
    refinements = parse_refinements(refine)
    check_refinements(refinements, weights=model.decoder.cam_weights is not None)
    if unknown := [name for name in baselines if name not in BASELINES]:
        raise UsageError(f"no baseline {unknown[0]!r}; known are {', '.join(BASELINES)}")
    if isinstance(dataset, (str, Path)):
        dataset = read_dataset(dataset)
    remarks: list[str] = []
    whole = None
    if isinstance(dataset, Dataset):
        whole = dataset
        remarks += whole.remarks
        images = _matched(model, whole, remarks, allow_unmatched)
    else:
        images = _matched_one_by_one(model, dataset)
    wanted = {metric.name for metric in selected}
    spatial = any(metric.needs != "class" for metric in selected)
    # A baseline predicts no class.
    of_maps = [metric for metric in selected if metric.needs != "class" and not metric.name.startswith("top1")]
    rows = {MODEL: Rows(selected)} | {name: Rows(of_maps) for name in baselines if spatial}
    others = Baselines(tuple(baselines) if spatial else ())
    per_image: list[dict[str, Any]] = []
    names: list[str] = []
    skipped: list[Skipped] = []
    milliseconds: list[float] = []
    total = None if whole is None else len(whole.images)
    with closing(Progress(total, "images", after_s=_PROGRESS_AFTER_S)) as progress:
        for labelled, known in images:
            try:
                image = _pixels(labelled)
                truths = [truth_of(labelled, target, image) for target, _ in known]
            except SourceError as error:
                skipped.append(Skipped(labelled.name, str(error)))
                progress.step()
                continue
            result = refine_frame(model, image, refinements)
            start = time.perf_counter()
            maps = [_own_map(result, best_class(result, ids)) for _, ids in known]
            spent = 1e3 * (time.perf_counter() - start) / len(known)
            milliseconds.append(sum(result.stages_ms.values()) + spent)
            classes = score_class(result, {number for _, ids in known for number in ids})
            own = [
                score_map(one, truth, right=classes["top1"], wanted=wanted)
                for one, truth in zip(maps, truths, strict=True)
            ]
            names.append(labelled.name)
            rows[MODEL].add([classes, *own])
            placed = any(truth.boxes or truth.mask is not None for truth in truths)
            for name, one in (others.maps(labelled.name, result) if placed else {}).items():
                rows[name].add([score_map(one, truth, right=classes["top1"], wanted=wanted) for truth in truths])
            for (target, ids), scores in zip(known, own, strict=True):
                per_image.append(
                    _line(labelled, target, result, best_class(result, ids), classes | scores, milliseconds[-1])
                )
            progress.step()
    if not milliseconds:
        reason = f"; the first: {skipped[0].reason}" if skipped else ""
        kind = SourceError if skipped else UsageError
        raise kind(f"there is no image to evaluate{reason}")
    return evaluation_of(
        model=str(model.path),
        dataset="" if whole is None else whole.name,
        form="" if whole is None else whole.format,
        rows=rows,
        per_image=per_image,
        names=names,
        skipped=skipped,
        remarks=remarks,
        ms_per_image=float(np.median(milliseconds)),
        refine=",".join(refinements) or "none",
    )


def _matched(
    model: Model, dataset: Dataset, remarks: list[str], allow_unmatched: bool
) -> Iterator[tuple[LabelledImage, _Known]]:
    """Check all classes at once, and return the images with objects that the model knows."""
    matching = match_classes(dataset, model.labels)
    remarks += check_matching(matching, dataset, model.path.name, allow_unmatched=allow_unmatched)
    for_image = (
        (image, [(one, ids) for one in image.targets if (ids := matching.class_ids(one))]) for image in dataset.images
    )
    return ((image, known) for image, known in for_image if known or image.problem)


def _matched_one_by_one(model: Model, images: Iterable[LabelledImage]) -> Iterator[tuple[LabelledImage, _Known]]:
    for image in images:
        one = Dataset(image.name, "folder", [image])
        matching = match_classes(one, model.labels)
        check_matching(matching, one, model.path.name, allow_unmatched=False)
        yield image, [(target, matching.class_ids(target)) for target in image.targets]


def _pixels(labelled: LabelledImage) -> Image:
    if labelled.problem:
        raise SourceError(labelled.problem)
    if not isinstance(labelled.image, Path):
        return labelled.image
    if labelled.image.exists() and not labelled.image.is_file():
        raise SourceError(f"{labelled.image} is no regular file")  # a pipe or a device would never end
    return read_image(labelled.image)


def _own_map(result: Any, class_id: int) -> MapSource:
    return MapSource(result.visible_cam(class_id), result.placement)


def _line(
    labelled: LabelledImage, target: Target, result: Any, class_id: int, scores: dict[str, Any], milliseconds: float
) -> dict[str, Any]:
    """Return the numbers of an object for the table of images."""
    line = {
        "file": labelled.name,
        "class": target.label,
        "class_id": class_id,
        "label": result.label(class_id),
        "score": float(result.scores[class_id]),
        "predicted": result.label(result.class_id),
        "predicted_score": float(result.scores[result.class_id]),
    }
    for name in ("top1", "top5", "pointing_game", "pointing_game_15px", "box_acc_at_threshold"):
        if name in scores:
            line[name] = int(scores[name])
    for name in ("iou", "energy_in_box"):
        if name in scores:
            line[name] = float(scores[name])
    if "max_box_acc" in scores:
        line["right_cuts"] = int(np.count_nonzero(scores["max_box_acc"]))
    return line | {"ms": milliseconds}
