"""Files of a finished training: the verified model file, its quantized twin, plots, tables, the time-lapse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from camrt.errors import ExportError
from camrt.export.from_torch import from_torch
from camrt.export.graph.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from camrt.export.graph.session import open_session, run_session
from camrt.export.quantize.quantize import quantize
from camrt.export.train.augment import network_input
from camrt.export.train.fit import Job
from camrt.export.train.gap_cnn import GapCnn
from camrt.export.train.plots import plot_confusion, plot_curves
from camrt.export.train.prepare import Prepared
from camrt.export.train.state import Epoch
from camrt.export.train.tables import class_lines, confusion_matrix, write_csv
from camrt.export.train.time_lapse import write_time_lapse
from camrt.model_file import FEATURES, LOGITS, SCORES

MODEL: Final = "model.onnx"
INT8: Final = "model.int8.onnx"
MAPS: Final = "maps"
_VERIFIED: Final = 16
"""Validation images on which the export is verified; all of them are compared with torch afterwards."""
_CALIBRATED: Final = 200
"""Training images that calibrate the quantized model."""
_BATCH: Final = 32
_TOLERANCE: Final = 1e-3
"""Largest difference of the model file's features from torch's, in shares of the largest."""


@dataclass(frozen=True, slots=True)
class Exported:
    """The model file's answers."""

    scores: NDArray[np.float32]
    """(N, K), of the validation images."""
    agreement: float
    """Share of them that get the same class in torch."""
    map_error: float | None
    """Largest difference of the features, in shares of the largest; None: the maps are finer than torch's."""
    remarks: tuple[str, ...]


def export_model(job: Job, network: GapCnn, *, fine: bool) -> Exported:
    """Write ``model.onnx`` and compare it with torch on all validation images.

    Args:
        job: the training.
        network: with the weights to export, on the CPU, in evaluation mode.
        fine: see `from_torch`.

    Raises:
        ExportError: the network cannot be exported, or the file differs from torch; it is removed.
    """
    target = job.folder / MODEL
    step = max(1, len(job.val.samples) // _VERIFIED)
    report = from_torch(
        network,
        target,
        input_size=job.recipe.size,
        labels=list(job.classes),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        channels="rgb",
        resize="stretch",
        interpolation="antialias",
        fine=fine,
        images=[sample.path for sample in job.val.samples[::step]][:_VERIFIED],
        overwrite=True,
    )
    scores, logits, torch_logits, map_error = _compare(target, network, job.val, fine=fine)
    same = logits.argmax(axis=1) == torch_logits.argmax(axis=1)
    # Two classes may have equal logits but for rounding; any other difference is an error of the export.
    top_two = np.sort(torch_logits, axis=1)[:, -2:]
    clear = top_two[:, 1] - top_two[:, 0] > _TOLERANCE * np.abs(torch_logits).max()
    if not fine and ((~same & clear).any() or (map_error is not None and map_error > _TOLERANCE)):
        target.unlink()
        raise ExportError(
            f"{target} differs from torch on the validation images: {np.count_nonzero(~same)} of {len(same)} get "
            f"another class, features differ by {map_error:.2g}; it was removed"
        )
    remarks = tuple(report.remarks) + ((report.fine.sentence(),) if report.fine is not None else ())
    return Exported(scores, float(same.mean()), map_error, remarks)


def score_images(path: Path, part: Prepared) -> NDArray[np.float32]:
    """Return the scores (N, K) that a model file gives to a part's images."""
    session = open_session(onnx.load(path), str(path))
    return np.concatenate([run_session(session, [SCORES], pixels, str(path))[0] for pixels in _pixels(part)])


def _compare(path: Path, network: GapCnn, part: Prepared, *, fine: bool) -> tuple[Any, Any, Any, float | None]:
    """Return scores and logits of the file, logits of torch, and the largest relative difference of the features."""
    session = open_session(onnx.load(path), str(path))
    scores, logits, expected = [], [], []
    error, largest = 0.0, 0.0
    for pixels in _pixels(part):
        outputs = run_session(session, [SCORES, LOGITS, FEATURES], pixels, str(path))
        scores.append(outputs[0])
        logits.append(outputs[1])
        with torch.inference_mode():
            features = network.features(network_input(torch.from_numpy(pixels)))
            expected.append(network.classifier(features.mean(dim=(2, 3))).numpy())
        if not fine:
            error = max(error, float(np.abs(outputs[2] - features.numpy()).max()))
            largest = max(largest, float(features.abs().max()))
    map_error = None if fine else error / (largest or 1.0)
    return np.concatenate(scores), np.concatenate(logits), np.concatenate(expected), map_error


def _pixels(part: Prepared) -> Any:
    for begin in range(0, len(part.samples), _BATCH):
        numbers = range(begin, min(begin + _BATCH, len(part.samples)))
        yield np.stack([part.store.image(number) for number in numbers])


def export_int8(job: Job) -> Mapping[str, Any]:
    """Write the model file's quantized twin; returns the report of its fidelity. Raises: as `quantize`."""
    step = max(1, len(job.train.samples) // _CALIBRATED)
    images = [sample.path for sample in job.train.samples[::step]][:_CALIBRATED]
    return quantize(job.folder / MODEL, job.folder / INT8, calibration=images, overwrite=True).as_dict()


def write_reports(
    job: Job, history: Sequence[Epoch], predicted: NDArray[np.int64], attention: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """Write the plots, the table of classes and the time-lapse; returns the lines of the table, the worst class first.

    Args:
        job: the training.
        history: its epochs.
        predicted: (N,) classes that the model file gives to the validation images.
        attention: (N,), see `Validation`.
    """
    count = len(job.classes)
    confusion = confusion_matrix(predicted, job.val_targets, count)
    known = ~np.isnan(attention)
    sums = np.bincount(job.val_targets[known], weights=attention[known], minlength=count)
    counts = np.bincount(job.val_targets[known], minlength=count)
    means = np.divide(sums, counts, out=np.full(count, np.nan), where=counts > 0)
    lines = class_lines(confusion, job.classes, job.train.samples, means)
    write_csv(lines, job.folder / "per_class.csv")
    plot_curves(history, job.folder / "curves.png")
    plot_confusion(confusion, job.classes, job.folder / "confusion.png")
    write_time_lapse(sheets(job.folder, history), job.folder / "timelapse.mp4")
    return lines


def sheet_path(folder: Path, epoch: int) -> Path:
    """Return the path of the contact sheet of an epoch."""
    return folder / MAPS / f"epoch_{epoch:04}.jpg"


def sheets(folder: Path, history: Sequence[Epoch]) -> list[Path]:
    """Return the contact sheets of the epochs, in order."""
    return [path for epoch in history if (path := sheet_path(folder, epoch["epoch"])).is_file()]
