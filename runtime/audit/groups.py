"""Groups of images, such as those of one camera: accuracy and attention of each against the other images."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from camrt.runtime.audit.images import attention_of
from camrt.runtime.audit.rates import Interval, mean_interval, share_interval
from camrt.runtime.audit.samples import Samples
from camrt.runtime.audit.significance import adjust

LEVEL: Final = 0.05
"""Largest corrected p-value of a group that differs."""
MEASURES: Final = {"accuracy": "accuracy", "on_object": "map on object", "centre": "map on centre"}
"""Keys of the compared values, and their words."""
_FEWEST: Final = 4
_DRAWS: Final = (2000, 20_000)
"""Least and most permutations."""
F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GroupValue:
    """A value of a group."""

    value: float
    interval: Interval
    """Of 95 %."""
    expected: float
    """The value that images of the same classes have, over all groups."""
    p_value: float
    """Of the difference to it under permuted groups, two-sided, corrected for all groups and measures."""

    @property
    def differs(self) -> bool:
        """Tell whether the group differs by more than noise."""
        return self.p_value <= LEVEL


@dataclass(frozen=True, slots=True)
class Group:
    """Images with one value."""

    name: str
    images: int
    values: Mapping[str, GroupValue]
    """By `MEASURES`; a measure that no image of the group has is missing."""

    @property
    def differs(self) -> list[str]:
        """Measures in which the group differs by more than noise."""
        return [key for key, one in self.values.items() if one.differs]


@dataclass(frozen=True, slots=True)
class Grouping:
    """Comparison of all groups."""

    by: str
    """Property that makes the groups, as it was requested."""
    groups: Sequence[Group]
    """Those that differ first, then by their number of images."""
    small: int
    """Groups of fewer than four images, which are not compared."""
    names: Sequence[str]
    """Group of each image."""

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison for JSON."""
        values = asdict(self)
        del values["names"]
        for one, group in zip(values["groups"], self.groups, strict=True):
            one["differs"] = group.differs
        return values


def group_images(samples: Samples, names: Sequence[str], by: str, seed: int = 0) -> Grouping:
    """Compare groups of images.

    Groups have different classes, some of which are harder. So each image is compared with the mean of its class, and
    the groups are permuted within the classes.

    Args:
        samples: the images.
        names: group of each image.
        by: the property that makes the groups.
        seed: of the permutations.

    Source: a permutation test stratified by class (Good 2005, Permutation, parametric, and bootstrap tests).
    """
    unique, numbers, counts = np.unique(np.array(names, object).astype(str), return_inverse=True, return_counts=True)
    kept = np.flatnonzero(counts >= _FEWEST)
    columns = _values(samples)
    tests = len(kept) * len(columns)
    draws = int(np.clip(40 * tests, *_DRAWS))
    random = np.random.default_rng(seed)
    p_values: list[float] = []
    found: dict[tuple[int, str], tuple[float, Interval, float]] = {}
    for key, column in columns.items():
        usable = np.isfinite(column)
        values, groups, classes = column[usable], numbers[usable], samples.classes[usable]
        expected = _class_means(values, classes)
        rarities = _p_values(values - expected, groups, classes, len(unique), draws, random)
        for group in kept.tolist():
            inside = groups == group
            if inside.sum() < 2:
                continue
            own = values[inside]
            interval = share_interval(int(own.sum()), len(own)) if key == "accuracy" else mean_interval(own)
            found[group, key] = float(own.mean()), interval, float(expected[inside].mean())
            p_values.append(float(rarities[group]))
    corrected = dict(zip(found, adjust(p_values).tolist(), strict=True))
    summaries = [
        Group(
            str(unique[group]),
            int(counts[group]),
            {key: GroupValue(*found[group, key], corrected[group, key]) for key in MEASURES if (group, key) in found},
        )
        for group in kept.tolist()
    ]
    summaries.sort(key=lambda one: (not one.differs, -one.images, one.name))
    return Grouping(by, summaries, len(unique) - len(kept), names)


def _values(samples: Samples) -> dict[str, F64]:
    return {
        "accuracy": (samples.predicted == samples.classes).astype(np.float64),
        "on_object": samples.on_object.astype(np.float64),
        "centre": attention_of(samples)[:, 0],
    }


def _class_means(values: F64, classes: NDArray[np.intp]) -> F64:
    """Return for each image the mean of its class: float64 (N,)."""
    _, inverse, counts = np.unique(classes, return_inverse=True, return_counts=True)
    return np.asarray((np.bincount(inverse, values) / counts)[inverse])


def _p_values(
    residuals: F64,
    groups: NDArray[np.intp],
    classes: NDArray[np.intp],
    count: int,
    draws: int,
    random: np.random.Generator,
) -> F64:
    """Return how often permuted groups have a sum of residuals as far from 0 as the real ones: float64 (count,)."""
    order = np.argsort(classes, kind="stable")
    residuals, groups, classes = residuals[order], groups[order], classes[order]
    real = np.abs(np.bincount(groups, residuals, count))
    as_far = np.zeros(count)
    for _ in range(draws):
        # Sorting random keys within the classes permutes each class by itself.
        permuted = np.lexsort((random.random(len(classes)), classes))
        as_far += np.abs(np.bincount(groups, residuals[permuted], count)) >= real - 1e-9
    return np.asarray((as_far + 1) / (draws + 1))
