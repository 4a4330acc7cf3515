"""Drift of attention: the maps of a stream, smoothed over time, against the ranges of an audit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from camrt.runtime.maps.attention import STATISTICS, centre_share, entropy, map_distance
from camrt.runtime.maps.attention_reference import AttentionReference
from camrt.runtime.maps.result import Result

HALF_LIFE_S: Final = 8.0
"""Time in which the weight of a map halves."""
LEAVES: Final = 0.92
"""Drift above which attention is outside the audit's range. A single image has as much in one of twenty cases; the
mean of several seconds has less, unless the scene stands still. Measured on ten minutes of the synthetic camera."""
RETURNS: Final = 0.75
"""Drift below which it is back."""
_MOST: Final = 2.0
"""Largest deviation of one map that counts: a few odd maps are no drift."""
_USUAL: Final = 0.2
"""Square of a deviation with which a stream begins: that of normally distributed statistics, ``1 / 2.33 ** 2``."""
_LONGEST_S: Final = 1.0
"""Longest time that one map stands for."""
_KEYS: Final = tuple(STATISTICS)
F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClassDrift:
    """Drift of a class, smoothed over its own frames."""

    class_id: int
    label: str
    drift: float


@dataclass(frozen=True, slots=True)
class Attention:
    """Attention of a stream after one result."""

    drift: float
    """Distance of the maps from the audit's medians, of all classes together: root of the mean square over the
    statistics and over time; 1: as far as the ends of the audit's ranges."""
    statistic: str
    """Key of the statistic in `STATISTICS` that is the farthest."""
    outside: bool
    """The attention has left the audit's range, and is not back."""
    classes: Sequence[ClassDrift]
    """Of each class that was seen and has a reference."""


class DriftMonitor:
    """Compares the maps of one stream with an audit. It sees every result once, in order.

    A map counts by its distance from the median of its class in the audit, so that classes can be averaged. Squares
    are averaged: a foreign object draws some maps far away and others not at all, to different sides.
    """

    def __init__(self, reference: AttentionReference) -> None:
        self._reference = reference
        self._all = np.full(len(_KEYS), _USUAL)
        self._classes: dict[int, F64] = {}
        self._time_s: float | None = None
        self._outside = False

    def observe(self, result: Result, time_s: float) -> Attention:
        """Take in a result and return the attention of the stream. Results of another head or map size do not count.

        Args:
            result: the newest of the stream, before it is smoothed.
            time_s: time of the classified frame, in seconds.
        """
        # A clock may jump back; after a gap the newest map stands for a second at most.
        passed_s = 0.0 if self._time_s is None else min(max(0.0, time_s - self._time_s), _LONGEST_S)
        self._time_s = time_s
        number = result.class_id
        reference = self._reference.classes.get(number)
        plain = result.refined(())
        cam = plain.visible_cam(number)
        known = reference is not None and result.label(number) == reference.label
        if known and reference is not None and cam.shape == reference.mean_map.shape:
            values = centre_share(cam), entropy(cam), map_distance(cam, reference.mean_map)
            squares = np.minimum(np.abs(reference.deviations(values)), _MOST) ** 2
            keep = 0.5 ** (passed_s / HALF_LIFE_S)
            own = self._classes.setdefault(number, np.full(len(_KEYS), _USUAL))
            for mean in (self._all, own):
                usable = np.isfinite(squares)
                mean[usable] = keep * mean[usable] + (1 - keep) * squares[usable]
        return self._attention()

    def _attention(self) -> Attention:
        drift = float(np.sqrt(self._all.mean()))
        self._outside = drift > (RETURNS if self._outside else LEAVES)
        classes = [
            ClassDrift(number, self._reference.classes[number].label, float(np.sqrt(mean.mean())))
            for number, mean in sorted(self._classes.items())
        ]
        return Attention(drift, _KEYS[int(self._all.argmax())], self._outside, classes)
