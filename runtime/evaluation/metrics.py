"""The metrics of `evaluate`: each is a function of sums over the images, so that images can be drawn again.

A metric keeps one row of numbers for each image, the sum over the image's objects, and the number of these objects. Its
value for any choice of images follows from the sums of their rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from camrt.errors import UsageError
from camrt.kernels.localization import BINS, CUTS, IOUS, pixel_average_precision

F64 = NDArray[np.float64]
Needs = Literal["class", "place", "boxes", "mask", "passes"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric with its rows' form."""

    name: str
    title: str
    """Name in tables."""
    needs: Needs
    """``class``: labels are enough; ``place``: boxes or masks; ``boxes``; ``mask``; ``passes``: no labels, but more
    forward passes."""
    shape: tuple[int, ...]
    """Shape of the row of an image."""
    reduce: Callable[[F64, F64], F64]
    """Values (B,) of sums (B, *shape) and numbers of objects (B,)."""
    lower_is_better: bool = False


def _mean(sums: F64, counts: F64) -> F64:
    return np.asarray(sums[..., 0] / counts)


def _best_cut(sums: F64, counts: F64) -> F64:
    return np.asarray(sums.max(axis=-1) / counts)


def _best_cuts(sums: F64, counts: F64) -> F64:
    return np.asarray(sums.max(axis=-1).mean(axis=-1) / counts)


def _at_best_cut(sums: F64, counts: F64) -> F64:
    """Row 0 chooses the cut, row 1 counts."""
    best = sums[:, 0].argmax(axis=-1)
    return np.asarray(sums[np.arange(len(sums)), 1, best] / counts)


def _harmonic_mean(sums: F64, counts: F64) -> F64:
    """Row: coherency, complexity, average drop. Source: Poppi et al. 2021, arXiv:2104.10252, equation 6."""
    coherency, complexity, drop = np.moveaxis(sums / counts[..., np.newaxis], -1, 0)
    parts = np.stack([coherency, 1 - complexity, 1 - drop])
    with np.errstate(divide="ignore"):
        return np.asarray(3 / (1 / np.maximum(parts, 0)).sum(axis=0))


def _precision(sums: F64, _: F64) -> F64:
    return pixel_average_precision(sums)


METRICS: Final = (
    Metric("top1", "top-1", "class", (1,), _mean),
    Metric("top5", "top-5", "class", (1,), _mean),
    Metric("pointing_game", "pointing game", "place", (1,), _mean),
    Metric("pointing_game_15px", "pointing game, 15 px", "place", (1,), _mean),
    Metric("energy_in_box", "energy in box", "place", (1,), _mean),
    Metric("max_box_acc", "MaxBoxAcc (GT-known)", "boxes", (CUTS,), _best_cut),
    Metric("max_box_acc_v2", "MaxBoxAccV2", "boxes", (len(IOUS), CUTS), _best_cuts),
    Metric("top1_box_acc", "top-1 localization", "boxes", (2, CUTS), _at_best_cut),
    Metric("box_acc_at_threshold", "box accuracy at the threshold in use", "boxes", (1,), _mean),
    Metric("top1_box_acc_at_threshold", "top-1 localization, same threshold", "boxes", (1,), _mean),
    Metric("pxap", "PxAP", "mask", (2, BINS), _precision),
    Metric("insertion_auc", "insertion AUC", "passes", (1,), _mean),
    Metric("deletion_auc", "deletion AUC, lower is better", "passes", (1,), _mean, lower_is_better=True),
    Metric("average_drop", "average drop, lower is better", "passes", (1,), _mean, lower_is_better=True),
    Metric("average_increase", "average increase", "passes", (1,), _mean),
    Metric("adcc", "ADCC", "passes", (3,), _harmonic_mean),
    Metric("road", "ROAD", "passes", (1,), _mean),
    Metric("permuted_weights", "sanity: weights permuted, 0 is best", "passes", (1,), _mean, lower_is_better=True),
    Metric("other_class", "sanity: other classes, 0 is best", "passes", (1,), _mean, lower_is_better=True),
)
"""All metrics, in the order of tables."""
BY_NAME: Final = {metric.name: metric for metric in METRICS}


def select_metrics(names: Sequence[str] | None) -> tuple[Metric, ...]:
    """Return metrics by name; None: all. Raises: UsageError: a name is unknown."""
    if names is None:
        return METRICS
    if unknown := [name for name in names if name not in BY_NAME]:
        raise UsageError(f"no metric {unknown[0]!r}; known are {', '.join(BY_NAME)}")
    return tuple(metric for metric in METRICS if metric.name in names)


class Rows:
    """Rows of one map source: for each metric those of all images."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = {metric.name: metric for metric in metrics}
        self._rows: dict[str, list[NDArray[Any]]] = {name: [] for name in self._metrics}
        self._counts: dict[str, list[int]] = {name: [] for name in self._metrics}

    def add(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """Add an image: for each of its objects the rows by metric; an object may lack some."""
        for name, metric in self._metrics.items():
            rows = [np.asarray(one[name]).reshape(metric.shape) for one in objects if name in one]
            total = np.sum(rows, axis=0) if rows else np.zeros(metric.shape, np.int64)
            # Rows of counts are long, and a data set has many: they take the smallest type that holds them.
            counts = metric.shape != (1,) and total.dtype.kind in "iu"
            self._rows[name].append(total.astype(np.min_scalar_type(int(total.max())) if counts else np.float32))
            self._counts[name].append(len(rows))

    def measured(self) -> list[Metric]:
        """Return the metrics that any object has."""
        return [metric for name, metric in self._metrics.items() if any(self._counts[name])]

    def table(self, name: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the rows (N, *shape) of a metric and the number of objects (N,) of each image."""
        return np.stack(self._rows[name]), np.asarray(self._counts[name])
