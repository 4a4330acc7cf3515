"""Temporal filter of a stream's maps: smoothing, running value range, scene cuts."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt import kernels
from camrt.runtime.maps.decoder import MapDecoder
from camrt.runtime.maps.result import Map, Result

RANGE_HALF_LIFE_S: Final = 20.0
"""In this time the range shrinks half the way to the present maps: after minutes of an empty scene its noise reaches
all colours."""
_CUT: Final = 40.0
"""Mean change in grey levels between two frames that counts as a scene cut; a moving hand changes less."""


class SceneDetector:
    """Numbers the scenes of a stream. It sees every frame that the source gives, in order."""

    def __init__(self) -> None:
        self._thumbnail: NDArray[np.float32] | None = None
        self._scene = 0

    def observe(self, image: NDArray[np.uint8]) -> int:
        """Return the number of the scene that a frame belongs to.

        Args:
            image: uint8 (H, W, 3), the next frame of the stream.
        """
        thumbnail = kernels.thumbnail(image)
        if self._thumbnail is not None and cv2.norm(thumbnail, self._thumbnail, cv2.NORM_L1) > _CUT * thumbnail.size:
            self._scene += 1
        self._thumbnail = thumbnail
        return self._scene

    def interrupt(self) -> None:
        """Begin a new scene with the next frame: the signal was lost, and the camera may have moved."""
        if self._thumbnail is not None:
            self._thumbnail = None
            self._scene += 1


class TemporalFilter:
    """Filters the maps of one stream over time. It sees every result once, whether anyone watches or not.

    The smoothed map is the mean of the maps so far, each weighted by ``0.5 ** (age / half_life)``. A class activation
    map is linear in the network's map output, so the output itself is smoothed: any class can then be decoded, also
    one that was not drawn before. The range is that of the drawn classes and the best class together, so that a class
    without evidence stays cold. It widens at once and shrinks slowly.
    """

    def __init__(self) -> None:
        self._scene = 0
        self._decoder: MapDecoder | None = None
        self._refinements: tuple[str, ...] = ()
        self._maps: Map | None = None
        self._time_s = 0.0
        self._range: tuple[float, float] | None = None
        self._range_time_s = 0.0

    def smooth(self, result: Result, scene: int, time_s: float, half_life_s: float) -> Result:
        """Return the result with smoothed maps. Another model, head or refinement starts mean and range again.

        Args:
            result: the newest of the stream.
            scene: number of the scene of the classified frame; a new one starts the mean again.
            time_s: time of the classified frame, in seconds.
            half_life_s: time in which the weight of a map halves, in seconds; 0 smooths nothing.
        """
        # The features of another model mean other things.
        if result.refinements != self._refinements or not _is_same_model(result.decoder, self._decoder):
            self._maps = self._range = None
        self._decoder, self._refinements = result.decoder, result.refinements
        before = self._maps if scene == self._scene else None
        self._scene = scene
        if half_life_s == 0.0:
            self._maps = None
            return result
        maps = result.decoder.decoded(result.maps)
        if before is not None and before.shape == maps.shape:
            # A clock may jump back: a result older than the one before counts as equally old.
            keep = 0.5 ** (max(0.0, time_s - self._time_s) / half_life_s)
            flat = cv2.addWeighted(_rows(before), keep, _rows(maps), 1.0 - keep, 0.0)
            maps = np.asarray(flat, np.float32).reshape(maps.shape)
        self._maps, self._time_s = maps, time_s
        return result.with_maps(maps)

    def update_range(self, cams: Map, time_s: float) -> tuple[float, float]:
        """Return the range of the stream after it has taken in the maps of one result.

        Args:
            cams: float32 (k, h, w), the maps of the drawn classes and of the best class, in logits per cell.
            time_s: time of the classified frame, in seconds.

        Returns: (low, high) in logits per cell, low < high.
        """
        low, high = float(cams.min()), float(cams.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            return self._range or (0.0, 1.0)
        if self._range is not None:
            old_low, old_high = self._range
            keep = 0.5 ** (max(0.0, time_s - self._range_time_s) / RANGE_HALF_LIFE_S)
            low = min(low, low + keep * (old_low - low))
            high = max(high, high + keep * (old_high - high))
        self._range_time_s = time_s
        self._range = (low, max(high, float(np.nextafter(np.float32(low), np.float32(np.inf)))))
        return self._range


def _is_same_model(decoder: MapDecoder, before: MapDecoder | None) -> bool:
    """Return whether two results have one head of one model: their map outputs may be averaged."""
    if decoder is before:
        return True
    if before is None or decoder.head != before.head:
        return False
    weights, old = decoder.cam_weights, before.cam_weights
    return weights is old or (weights is not None and old is not None and np.array_equal(weights, old))


def _rows(maps: Map) -> Map:
    """Return maps as a matrix, for OpenCV: (C, h, w) -> (C, h * w)."""
    return maps.reshape(maps.shape[0], -1)
