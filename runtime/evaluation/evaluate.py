"""Run a model over labelled images and measure its classes and its maps."""

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from camrt.runtime.evaluation.faithfulness import Cost, measure_faithfulness
from camrt.runtime.evaluation.map_provider import MapProvider
from camrt.runtime.evaluation.map_sources import BASELINES, MODEL, OF_FEATURES, Baselines, MapSource
from camrt.runtime.evaluation.metrics import METRICS, Metric, Rows, select_metrics
from camrt.runtime.evaluation.partial_results import ImageScores, Section
from camrt.runtime.evaluation.scoring import best_class, score_class, score_map, truth_of
from camrt.runtime.inference.model import Model
from camrt.runtime.maps.refine_frame import refine_frame
from camrt.runtime.maps.refinement import check_refinements, parse_refinements

FAITHFUL_IMAGES: Final = 30
"""Images for the metrics of faithfulness, unless another number is given: about two minutes on two cores."""
_PROGRESS_AFTER_S: Final = 2.0
_OF_PASSES: Final = tuple(metric.name for metric in METRICS if metric.needs == "passes" and metric.shape == (1,))
_Known = list[tuple[Target, tuple[int, ...]]]
"""The objects of an image that the model knows, with their right classes."""


def evaluate(
    model: Model | MapProvider,
    dataset: str | Path | Dataset | Iterable[LabelledImage],
    metrics: Sequence[str] | None = None,
    *,
    baselines: Sequence[str] = BASELINES,
    allow_unmatched: bool = False,
    faithfulness: int | None = FAITHFUL_IMAGES,
    partial: Section | None = None,
    refine: str = "none",
) -> Evaluation:
    """Measure a model's classes and maps on labelled images. The pixels of one image at a time are in memory.

    Each map is that of the true class (GT-known). Images that cannot be read, and those that their annotation does not
    fit, are skipped and listed. Objects of one image are one class each; an image with several counts for each of them.

    Args:
        model: the model, or a provider of stored maps, which leaves out what needs the model.
        dataset: a folder or a file of annotations (see `read_dataset`), a `Dataset`, or labelled images.
        metrics: names of `camrt.runtime.evaluation.metrics.METRICS`; None: all that the data allow.
        baselines: names of `BASELINES`, to measure beside the model; empty: none.
        refine: refinements of the model's maps, ``none`` or names of `camrt.runtime.maps.refinement.REFINEMENTS` with
            commas between them. Classes and scores stay those of the image itself, and faithfulness is not measured.
        allow_unmatched: leave out classes that the model does not know, instead of raising an error.
        faithfulness: number of images for the metrics that need further forward passes, about 200 an image with all
            baselines; None: all images, 0: none.
        partial: results of an evaluation that was interrupted; those of this one are added.

    Raises:
        UsageError: a name is unknown, the model does not know a class of the data, or no image can be evaluated.
        SourceError: the data cannot be read.
    """
    selected = select_metrics(metrics)
    refinements = parse_refinements(refine)
    if isinstance(model, Model):
        check_refinements(refinements, weights=model.decoder.cam_weights is not None)
    elif refinements:
        raise UsageError(f"{model.path}: refinements need the model; a store has plain maps")
    if unknown := [name for name in baselines if name not in BASELINES]:
        raise UsageError(f"no baseline {unknown[0]!r}; known are {', '.join(BASELINES)}")
    if isinstance(dataset, (str, Path)):
        dataset = read_dataset(dataset)
    remarks: list[str] = []
    if isinstance(model, MapProvider):
        remarks += model.remarks
        faithfulness = 0
        baselines = [name for name in baselines if name not in OF_FEATURES]
    whole = None
    images: Iterable[tuple[LabelledImage, _Known]]
    if isinstance(dataset, Dataset):
        whole = dataset
        remarks += whole.remarks
        images = _matched(model, whole, remarks, allow_unmatched)
    else:
        images = _matched_one_by_one(model, dataset)
    measure = _Measure(model, selected, tuple(baselines), refinements)
    if whole is not None and measure.places and not any(map(_is_placed, whole.images)):
        remarks.append("the data have neither boxes nor masks, which localization needs: it is not measured")
    rows = {source: Rows(metrics) for source, metrics in measure.by_source.items()}
    per_image: list[Mapping[str, Any]] = []
    names: list[str] = []
    skipped: list[Skipped] = []
    costs: list[tuple[int, float]] = []
    milliseconds: list[float] = []
    total = None if whole is None else len(whole.images)
    with closing(Progress(total, "images", after_s=_PROGRESS_AFTER_S)) as progress:
        for labelled, known, faithful in _chosen(images, faithfulness if measure.passes else 0):
            scores = partial.take() if partial is not None else None
            if scores is not None and progress.total is not None:
                progress.total -= 1
            elif scores is None:
                scores = measure(labelled, known, faithful=faithful)
                if partial is not None:
                    partial.add(scores)
                progress.step()
            if scores.reason:
                skipped.append(Skipped(scores.name, scores.reason))
                continue
            names.append(scores.name)
            milliseconds.append(scores.milliseconds)
            per_image += scores.lines
            if scores.passes:
                costs.append((scores.passes, scores.seconds))
            for source, objects in scores.objects.items():
                rows[source].add(objects)
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
        ms_per_image=None if isinstance(model, MapProvider) else float(np.median(milliseconds)),
        cost=Cost(len(costs), *map(sum, zip(*costs, strict=True))) if costs else None,
        refine=",".join(refinements) or "none",
    )


class _Measure:
    """Measures one image after the other."""

    def __init__(
        self,
        model: Model | MapProvider,
        selected: Sequence[Metric],
        baselines: tuple[str, ...],
        refinements: tuple[str, ...],
    ) -> None:
        self._model = model
        self._refinements = refinements
        self._wanted = {metric.name for metric in selected}
        self.passes = any(metric.needs == "passes" for metric in selected)
        """Further forward passes are wanted."""
        self.places = any(metric.needs not in ("class", "passes") for metric in selected)
        """Places of objects are wanted."""
        # A baseline predicts no class.
        of_maps = [metric for metric in selected if metric.needs != "class" and not metric.name.startswith("top1")]
        used = baselines if of_maps else ()
        self._baselines = Baselines(used)
        self.by_source: dict[str, Sequence[Metric]] = {MODEL: selected} | dict.fromkeys(used, of_maps)

    def __call__(self, labelled: LabelledImage, known: _Known, *, faithful: bool) -> ImageScores:
        """Return the scores of an image.

        Args:
            labelled: the image.
            known: its objects.
            faithful: measure the metrics that need further forward passes.
        """
        try:
            if isinstance(self._model, MapProvider):
                image = self._model.image_of(labelled, [ids for _, ids in known])
            else:
                image = _pixels(labelled)
            truths = [truth_of(labelled, target, image) for target, _ in known]
        except SourceError as error:
            return ImageScores(labelled.name, {}, [], 0.0, reason=str(error))
        result = refine_frame(self._model, image, self._refinements)
        start = time.perf_counter()
        maps = [_own_map(result, best_class(result, ids)) for _, ids in known]
        spent = 1e3 * (time.perf_counter() - start) / len(known)
        milliseconds = sum(result.stages_ms.values()) + spent
        classes = score_class(result, {number for _, ids in known for number in ids})

        def scores_of(sources: Iterable[MapSource]) -> list[dict[str, Any]]:
            return [
                score_map(one, truth, right=classes["top1"], wanted=self._wanted)
                for one, truth in zip(sources, truths, strict=True)
            ]

        own = scores_of(maps)
        objects = {source: list[dict[str, Any]]() for source in self.by_source} | {MODEL: [classes, *own]}
        if self.places and _is_placed(labelled):
            for source, one in self._baselines.maps(labelled.name, result).items():
                objects[source] += scores_of([one] * len(truths))
        passes, seconds = 0, 0.0
        if faithful and not isinstance(self._model, MapProvider):
            changed, passes, seconds = measure_faithfulness(self._model, labelled.name, image, result, self._baselines)
            for source, some in changed.items():
                objects[source].append(some)
            classes = classes | changed[MODEL]
        lines = [
            _line(labelled, target, result, best_class(result, ids), classes | scores, milliseconds)
            for (target, ids), scores in zip(known, own, strict=True)
        ]
        return ImageScores(labelled.name, objects, lines, milliseconds, passes=passes, seconds=seconds)


def _is_placed(labelled: LabelledImage) -> bool:
    return any(target.boxes or target.masks for target in labelled.targets)


def _chosen(
    images: Iterable[tuple[LabelledImage, _Known]], count: int | None
) -> Iterator[tuple[LabelledImage, _Known, bool]]:
    """Yield images, and whether they are among those that the metrics of faithfulness measure.

    Of a list, the names decide by their hashes, so that it is the same choice for all models; of a stream, the order.
    """
    if isinstance(images, list) and count is not None:
        lowest = sorted(_name_hash(image) for image, _ in images if not image.problem)[:count]
        for image, known in images:
            yield image, known, bool(lowest) and _name_hash(image) <= lowest[-1]
    else:
        for number, (image, known) in enumerate(images):
            yield image, known, count is None or number < count


def _name_hash(image: LabelledImage) -> bytes:
    return hashlib.sha256(image.name.encode("utf-8", "backslashreplace")).digest()


def _matched(
    model: Model | MapProvider, dataset: Dataset, remarks: list[str], allow_unmatched: bool
) -> list[tuple[LabelledImage, _Known]]:
    """Check all classes at once, and return the images with objects that the model knows."""
    matching = match_classes(dataset, model.labels)
    remarks += check_matching(matching, dataset, model.path.name, allow_unmatched=allow_unmatched)
    for_image = (
        (image, [(one, ids) for one in image.targets if (ids := matching.class_ids(one))]) for image in dataset.images
    )
    return [(image, known) for image, known in for_image if known or image.problem]


def _matched_one_by_one(
    model: Model | MapProvider, images: Iterable[LabelledImage]
) -> Iterator[tuple[LabelledImage, _Known]]:
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
    for name in ("iou", "energy_in_box", *_OF_PASSES):
        if name in scores:
            line[name] = float(scores[name])
    if "max_box_acc" in scores:
        line["right_cuts"] = int(np.count_nonzero(scores["max_box_acc"]))
    return line | {"ms": milliseconds}
