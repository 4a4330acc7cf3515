"""The report of a training: accuracy of the model file, its classes, and the cost of the maps."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camrt.export.train.fit import Job
from camrt.export.train.outputs import MODEL, Exported, score_images
from camrt.export.train.prepare import prepare
from camrt.export.train.samples import Dataset
from camrt.export.train.state import TrainingState
from camrt.export.train.tables import wilson_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport:
    """The result of `train`."""

    folder: str
    model: str
    """The model file."""
    classes: tuple[str, ...]
    train_images: int
    val_images: int
    top1: float
    """Of the model file, on the validation images."""
    interval: tuple[float, float]
    """95 % interval of ``top1`` (Wilson)."""
    selected_on: bool
    """The validation images also chose the epoch, so ``top1`` is a little too high; ``test`` is not."""
    test: dict[str, Any] | None
    """``images``, ``top1`` and ``interval`` of the test part; None: there is none."""
    near_duplicates: int
    """Validation images that are almost the same as a training image."""
    top1_without_duplicates: float | None
    """Without these; None: no image is left."""
    per_class: Sequence[dict[str, Any]]
    """A line for each class, the worst first, see `class_lines`."""
    attention: float | None
    """Mean share of the true class's heat that lies in the object's boxes; None: there are no boxes."""
    epochs: int
    best_epoch: int
    size: int
    """Side of the network's input in pixels."""
    agreement: float
    """Share of the validation images that get the same class in torch and from the model file."""
    map_error: float | None
    """Largest difference of the model file's features from torch's, in shares of the largest."""
    seconds: float
    """Of training, without interruptions and without the export."""
    map_overhead: float
    """Share of the training's time that the maps took."""
    int8: dict[str, Any] | None
    """Fidelity of the quantized twin; None: it was not asked for."""
    remarks: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return asdict(self)


def make_report(
    job: Job,
    state: TrainingState,
    dataset: Dataset,
    exported: Exported,
    *,
    duplicates: NDArray[np.int64],
    attention: NDArray[np.float64],
    per_class: Sequence[dict[str, Any]],
    int8: dict[str, Any] | None,
    best_epoch: int,
    remarks: Sequence[str],
) -> TrainingReport:
    """Return the report of a finished training.

    Args:
        job: the training.
        state: at its end.
        dataset: has the test part.
        exported: the model file's answers.
        duplicates: (N,), see `find_near_duplicates`.
        attention: (N,), see `Validation`.
        per_class: lines of the classes.
        int8: fidelity of the quantized twin.
        best_epoch: the exported one.
        remarks: about images and weights.
    """
    right = exported.scores.argmax(axis=1) == job.val_targets
    unique = right[duplicates < 0]
    spent = sum(epoch["seconds"] for epoch in state.history)
    maps = sum(epoch["map_seconds"] for epoch in state.history)
    return TrainingReport(
        folder=str(job.folder),
        model=str(job.folder / MODEL),
        classes=job.classes,
        train_images=len(job.train.samples),
        val_images=len(job.val.samples),
        top1=float(right.mean()),
        interval=wilson_interval(int(right.sum()), len(right)),
        selected_on=job.selects,
        test=_test(job, dataset),
        near_duplicates=int((duplicates >= 0).sum()),
        top1_without_duplicates=float(unique.mean()) if len(unique) else None,
        per_class=per_class,
        attention=None if np.isnan(attention).all() else float(np.nanmean(attention)),
        epochs=len(state.history),
        best_epoch=best_epoch,
        size=job.recipe.size,
        agreement=exported.agreement,
        map_error=exported.map_error,
        seconds=round(spent, 1),
        map_overhead=maps / spent if spent else 0.0,
        int8=int8,
        remarks=[*remarks, *exported.remarks],
    )


def _test(job: Job, dataset: Dataset) -> dict[str, Any] | None:
    """Return the accuracy of the model file on the test part, which nothing else uses."""
    if not dataset.test:
        return None
    part = prepare(dataset.test, job.recipe.size, whole=True, room=0)
    numbers = {label: number for number, label in enumerate(job.classes)}
    targets = np.array([numbers[sample.label] for sample in part.samples], np.int64)
    right = score_images(job.folder / MODEL, part).argmax(axis=1) == targets
    interval = wilson_interval(int(right.sum()), len(right))
    return {"images": len(right), "top1": float(right.mean()), "interval": interval, "left_out": list(part.problems)}
