"""Reference of attention: the ranges of an audit's ``report.json``, for the monitor of a stream."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from camrt.errors import MissingInput, UsageError
from camrt.runtime.maps.attention import STATISTICS

_LEAST_RANGE: Final = 0.02
"""Least distance from the median to an end of a range; all statistics are about as large as 1."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassReference:
    """Attention of a class in an audit."""

    label: str
    mean_map: NDArray[np.float32]
    """float32 (h, w), in [0, 1]."""
    low: NDArray[np.float64]
    """float64 (3,), first percentile of each of `STATISTICS`."""
    median: NDArray[np.float64]
    high: NDArray[np.float64]
    """99th percentile."""

    def deviations(self, values: Sequence[float]) -> NDArray[np.float64]:
        """Return statistics as distances from the median, float64 (3,): 1 or -1 at the ends of the range."""
        offset = np.asarray(values, np.float64) - self.median
        width = np.where(offset > 0, self.high - self.median, self.median - self.low)
        return np.asarray(np.abs(offset) / np.maximum(width, _LEAST_RANGE) * np.sign(offset))


@dataclass(frozen=True, slots=True, eq=False)
class AttentionReference:
    """Attention of the classes of an audit."""

    classes: Mapping[int, ClassReference]
    """By the number of the class; classes with too few images are missing."""


def report_file(path: Path) -> Path:
    """Return the ``report.json`` at a path, or in a folder. Raises: MissingInput: there is none."""
    if path.is_dir():
        path = path / "report.json"
    if not path.is_file():
        raise MissingInput(f"there is no report at {path}; name the report.json of camrt audit -o")
    return path


def read_reference(path: Path, labels: Sequence[str], map_shape: tuple[int, int]) -> AttentionReference:
    """Read the reference of a report.

    Args:
        path: ``report.json`` of `camrt audit -o`, or its folder.
        labels: of the model that runs.
        map_shape: rows and columns of its maps, without cells of padding.

    Raises:
        UsageError: nothing is there, it is no report, it has no reference, or it belongs to a model with other classes
            or maps.
    """
    path = report_file(path)
    try:
        value = json.loads(path.read_bytes())
        entries = value["reference"]
        classes = {int(one["class_id"]): _class_reference(one) for one in entries}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} is no report of camrt audit with a reference ({error}); create it again") from error
    if not classes:
        raise UsageError(f"{path} has no reference: no class has enough right answers; audit more images")
    for number, one in classes.items():
        if not 0 <= number < len(labels) or labels[number] != one.label:
            raise UsageError(
                f"{path} is of a model with other classes: {one.label!r} is not class {number} of this one"
            )
        if one.mean_map.shape != map_shape:
            stated = " x ".join(map(str, one.mean_map.shape))
            shape = " x ".join(map(str, map_shape))
            raise UsageError(f"{path} is of a model with maps of {stated} cells, this one has {shape}: audit this one")
    return AttentionReference(classes)


def _class_reference(entry: Mapping[str, Any]) -> ClassReference:
    mean_map = np.asarray(entry["mean_map"], np.float32)
    levels = [[float(entry[key][name]) for key in STATISTICS] for name in ("p1", "p50", "p99")]
    if mean_map.ndim != 2 or not all(math.isfinite(level) for row in levels for level in row):
        raise ValueError("a range or a mean map is damaged")
    return ClassReference(str(entry["class"]), mean_map, *(np.array(row) for row in levels))
