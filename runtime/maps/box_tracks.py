"""Identities of boxes over time: match the boxes of each result with those before, by overlap, and smooth them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from camrt.kernels import Box
from camrt.kernels.map_metrics import box_iou

LEAST_IOU: Final = 0.3
"""Overlap from which on two boxes are one object."""
KEPT_S: Final = 1.0
"""Seconds for which an object without a box keeps its identity: a region may fall below the threshold for a moment."""


class TrackedBox(NamedTuple):
    """A box with its identity; ``x1`` and ``y1`` are exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int
    score: float
    """The greatest value of the map in the region."""
    number: int
    """1 for the first object of the stream; never given to another one."""


@dataclass(slots=True)
class _Track:
    number: int
    edges: tuple[float, ...]
    time_s: float
    """Time of the newest result with this object."""


class BoxTracker:
    """Follows the boxes of one stream. It sees each result once.

    The pairs of a known and a new box are taken from the greatest overlap down. An edge is the mean of the edges so
    far, each weighted by ``0.5 ** (age / half_life)``, as `TemporalFilter` smooths the maps.
    """

    def __init__(self) -> None:
        self._scene: tuple[int, str | None] | None = None
        self._tracks: dict[int, list[_Track]] = {}
        self.objects = 0
        """Number of objects so far."""

    def follow(
        self, class_id: int, boxes: Sequence[Box], scene: tuple[int, str | None], time_s: float, half_life_s: float
    ) -> tuple[TrackedBox, ...]:
        """Return the boxes of a class with their identities, in their order, with smoothed edges.

        Args:
            class_id: number of the class; a box of another class is another object.
            boxes: in pixels of the frame.
            scene: number of the scene of the classified frame, and name of the head. Another one ends all identities.
            time_s: time of the classified frame, in seconds.
            half_life_s: time in which the weight of an old box halves, in seconds; 0 smooths nothing.
        """
        if scene != self._scene:
            self._scene = scene
            self._tracks.clear()
        # A clock may jump back: such a track counts as equally old.
        known = [one for one in self._tracks.get(class_id, []) if time_s - one.time_s <= KEPT_S]
        partners = _pairs([one.edges for one in known], boxes)
        tracks = []
        for place, box in enumerate(boxes):
            if place in partners:
                track = known[partners[place]]
                age_s = max(0.0, time_s - track.time_s)
                keep = 0.5 ** (age_s / half_life_s) if half_life_s else 0.0
                track.edges = tuple(
                    keep * old + (1.0 - keep) * new for old, new in zip(track.edges, box[:4], strict=True)
                )
                track.time_s = time_s
            else:
                self.objects += 1
                track = _Track(self.objects, tuple(map(float, box[:4])), time_s)
            tracks.append(track)
        numbers = {one.number for one in tracks}
        self._tracks[class_id] = tracks + [one for one in known if one.number not in numbers]
        return tuple(_tracked(track, box.score) for track, box in zip(tracks, boxes, strict=True))


def _pairs(known: Sequence[tuple[float, ...]], boxes: Sequence[Box]) -> dict[int, int]:
    """Return for each matched box, by its place, the place of the known one."""
    if not known or not boxes:
        return {}
    overlap = box_iou(np.array(boxes)[:, np.newaxis, :4], np.array(known))
    pairs: dict[int, int] = {}
    while overlap.max() >= LEAST_IOU:
        new, old = divmod(int(overlap.argmax()), len(known))
        pairs[new] = old
        overlap[new] = overlap[:, old] = -1.0
    return pairs


def _tracked(track: _Track, score: float) -> TrackedBox:
    x0, y0, x1, y1 = (math.floor(edge + 0.5) for edge in track.edges)  # keeps a width of at least one pixel
    return TrackedBox(x0, y0, x1, y1, score, track.number)
