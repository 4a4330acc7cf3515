"""Maps that stay calm from frame to frame: smoothed over time, and coloured over a range that is remembered."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt.images import Image
from camrt.runtime.frames import Frame

Map = NDArray[np.float32]

RANGE_HALF_LIFE_S: Final = 20.0
"""In so many seconds the range comes half the way back to what there is to see: it takes minutes of an empty scene
until its noise has all the colours."""
_CUT: Final = 40.0
"""Grey levels that a picture changes by, on average, where another scene begins; a hand does less."""
_THUMB: Final = (16, 9)
_UNSEEN_S: Final = 1.0
"""Where nobody looked for so long, nobody knows which frame was the first of another scene."""


@dataclass(slots=True)
class _Smoothed:
    cam: Map
    result_index: int
    time_s: float


class TemporalFilter:
    """Remembers the maps of one stream.

    A smoothed map is the mean of those before it, weighted by ``0.5 ** (age / half_life)``. The range reaches out to
    a new extreme at once and comes back slowly; it is one for all classes, so that a class of which there is nothing
    to see stays cold beside one that is there. Where another scene begins all of it begins anew, but the range.
    """

    def __init__(self) -> None:
        self._maps: dict[int, _Smoothed] = {}
        self._range: tuple[float, float] | None = None
        self._range_of = (-1, 0.0)  # number of the result it was last moved by, and its time
        self._thumb: NDArray[np.float32] | None = None
        self._looked_at = (0, 0.0)  # number and time of that frame
        self._scene_since = 0

    def is_of_this_scene(self, frame: Frame, result_index: int) -> bool:
        """Look at the frame that is to be shown and tell whether a result belongs to the scene on it.

        Args:
            frame: the next of the stream.
            result_index: number of the frame that was classified.
        """
        thumb = _thumbnail(frame.image)
        if self._thumb is not None and float(np.abs(thumb - self._thumb).mean()) > _CUT:
            # What is drawn all the time is bare until the model has surely seen the new scene. After a long while any
            # frame since then is taken to be of it: the classified one is a few before this, the cut is anywhere.
            index, time_s = self._looked_at
            self._scene_since = frame.index if frame.time_s - time_s < _UNSEEN_S else index + 1
            self._maps.clear()
        self._thumb = thumb
        self._looked_at = (frame.index, frame.time_s)
        return result_index >= self._scene_since

    def smooth(self, class_id: int, cam: Map, result_index: int, time_s: float, half_life_s: float) -> Map:
        """Return the smoothed map of a class.

        Args:
            class_id: whose.
            cam: float32 (h, w), the newest.
            result_index: number of the frame it belongs to; the same one again changes nothing.
            time_s: when that is shown, in seconds.
            half_life_s: in this time the weight of a map halves; 0 smooths nothing.
        """
        before = self._maps.get(class_id)
        if before is not None and before.result_index == result_index:
            return before.cam
        if before is not None and half_life_s > 0.0 and before.cam.shape == cam.shape:
            # Clocks jump: what seems to be older than what was before it is as old.
            keep = np.float32(0.5 ** (max(0.0, time_s - before.time_s) / half_life_s))
            cam = keep * before.cam + (np.float32(1.0) - keep) * cam
        self._maps[class_id] = _Smoothed(cam, result_index, time_s)
        return cam

    def widen(self, cam: Map, result_index: int, time_s: float) -> tuple[float, float]:
        """Return the range of the stream, in logits per cell, after it has taken in a map."""
        low, high = float(cam.min()), float(cam.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            return self._range or (0.0, 1.0)
        if self._range is not None:
            old_low, old_high = self._range
            moved_by, moved_s = self._range_of
            passed_s = max(0.0, time_s - moved_s) if result_index != moved_by else 0.0
            keep = 0.5 ** (passed_s / RANGE_HALF_LIFE_S)
            low = min(low, low + keep * (old_low - low))
            high = max(high, high + keep * (old_high - high))
        if result_index != self._range_of[0]:
            self._range_of = (result_index, time_s)
        self._range = (low, max(high, float(np.nextafter(np.float32(low), np.float32(np.inf)))))
        return self._range


def _thumbnail(image: Image) -> NDArray[np.float32]:
    """Return a picture so small that only the scene is in it: float32 (9, 16), grey levels."""
    step_y, step_x = (max(1, side // 64) for side in image.shape[:2])  # every pixel would cost more than it tells
    small = cv2.resize(np.ascontiguousarray(image[::step_y, ::step_x]), _THUMB, interpolation=cv2.INTER_AREA)
    return np.asarray(small.mean(axis=2), np.float32)
