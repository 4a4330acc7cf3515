"""A map on its frame: heatmap and boxes in pixels of the frame."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from camrt import kernels
from camrt.geometry import Placement

Map = NDArray[np.float32]


def heatmap_on_frame(cam: Map, placement: Placement) -> Map:
    """Return a map over the whole frame: float32 (H, W), from 0 to 1; 0 outside the part that the map shows.

    Args:
        cam: float32 (h, w), not normalised, without cells that cover only padding.
        placement: how the map lies on the frame.
    """
    x0, y0, x1, y1 = placement.frame_rect
    small = kernels.normalize(cam, "minmax")
    heat = np.zeros((placement.frame_height, placement.frame_width), np.float32)
    rect = placement.map_rect(cam.shape[1], cam.shape[0])
    heat[y0:y1, x0:x1] = kernels.upsample(small, x1 - x0, y1 - y0, map_rect=rect)
    return heat


def boxes_on_frame(cam: Map, placement: Placement, thresholds: Sequence[float]) -> list[list[kernels.Box]]:
    """Return the boxes of the warm regions in pixels of the frame, for each threshold, largest region first.

    See `camrt.kernels.boxes` and `heatmap_on_frame`.
    """
    small = kernels.normalize(cam, "minmax")
    rect = placement.map_rect(cam.shape[1], cam.shape[0])
    return kernels.boxes(small, thresholds, placement.frame_rect, rect)
