"""Maps to evaluate: the model's own, and baselines that know nothing of the class or nothing of the image."""

import zlib
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from camrt import kernels
from camrt.geometry import Placement
from camrt.kernels import localization
from camrt.runtime.maps.placed import boxes_on_frame, heatmap_on_frame
from camrt.runtime.maps.result import BOX_THRESHOLD, Result

MODEL: Final = "model"
BASELINES: Final = ("centre_gaussian", "whole_image", "random", "activation")
"""``centre_gaussian``: a Gaussian in the frame's centre, its deviation a quarter of each side. ``whole_image``: the box
and the mask of the whole frame. ``random``: noise of the map's size. ``activation``: the mean of the features, or of
the maps of all classes, whatever the class."""
OF_FEATURES: Final = ("activation",)
"""Baselines that need the output of the network, not only maps of single classes."""
_GAUSSIAN_CELLS: Final = 56
_SIGMA: Final = 0.25

CutBoxes = list[tuple[NDArray[np.int64], int]]


@dataclass(slots=True)
class MapSource:
    """A map on a frame, with its scores and boxes in the protocol's frame, computed once."""

    cam: NDArray[np.float32]
    """float32 (h, w), not normalised."""
    placement: Placement
    constant: bool = False
    """The map is 1 everywhere."""
    _scores: NDArray[np.float64] | None = field(default=None)
    _cut_boxes: CutBoxes | None = field(default=None)

    def scores(self) -> NDArray[np.float64]:
        """Return the map in the square frame, see `camrt.kernels.localization.score_map`."""
        if self._scores is None:
            x0, y0, x1, y1 = self.placement.frame_rect
            width, height = self.placement.frame_width, self.placement.frame_height
            shown = x0 / width, y0 / height, x1 / width, y1 / height
            self._scores = localization.score_map(self.cam, shown, self.placement.input_rect)
        return self._scores

    def cut_boxes(self) -> CutBoxes:
        """Return the boxes at each cut of the square frame."""
        if self._cut_boxes is None:
            last = localization.SIDE - 1
            whole: CutBoxes = [(np.array([[0, 0, last, last]]), 0)] * localization.CUTS
            self._cut_boxes = whole if self.constant else localization.boxes_of_cuts(self.scores())
        return self._cut_boxes

    def heatmap(self) -> NDArray[np.float32]:
        """Return the map over the frame: float32 (H, W), from 0 to 1."""
        if self.constant:
            heat = np.ones((self.placement.frame_height, self.placement.frame_width), np.float32)
            heat[heat.shape[0] // 2, heat.shape[1] // 2] += np.float32(1e-6)  # its peak is the centre
            return heat
        return heatmap_on_frame(self.cam, self.placement)

    def box(self) -> kernels.Box | None:
        """Return the box at the threshold in use; None: there is none."""
        if self.constant:
            return kernels.Box(0, 0, self.placement.frame_width, self.placement.frame_height, 1.0)
        (boxes,) = boxes_on_frame(self.cam, self.placement, [BOX_THRESHOLD])
        return boxes[0] if boxes else None


class Baselines:
    """The baselines' maps of any image."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._gaussian = MapSource(_gaussian(), Placement(1, 1, (0, 0, 1, 1), (0.0, 0.0, 1.0, 1.0)))

    def maps(self, name: str, result: Result) -> dict[str, MapSource]:
        """Return the map of each baseline.

        Args:
            name: of the image: the file name decides about its noise.
            result: of the model.
        """
        placement = result.placement
        size = placement.frame_width, placement.frame_height
        whole = Placement(*size, (0, 0, *size), (0.0, 0.0, 1.0, 1.0))
        margin = result.decoder.margin
        rows, columns = (side - 2 * margin for side in result.maps.shape[1:])
        made = {}
        for baseline in self._names:
            if baseline == "centre_gaussian":
                self._gaussian.cut_boxes()  # the same for all images: copied
                made[baseline] = replace(self._gaussian, placement=whole)
            elif baseline == "whole_image":
                made[baseline] = MapSource(np.ones((1, 1), np.float32), whole, constant=True)
            elif baseline == "random":
                seed = zlib.crc32(PurePath(name).name.encode("utf-8", "surrogateescape"))
                random = np.random.default_rng(seed)
                made[baseline] = MapSource(random.random((rows, columns), np.float32), placement)
            else:
                mean = result.decoder.decoded(result.maps).mean(axis=0)
                inside = np.ascontiguousarray(mean[margin : margin + rows, margin : margin + columns], np.float32)
                made[baseline] = MapSource(inside, placement)
        return made


def _gaussian() -> NDArray[np.float32]:
    offsets = (np.arange(_GAUSSIAN_CELLS) + 0.5) / _GAUSSIAN_CELLS - 0.5
    one = np.exp(-((offsets / _SIGMA) ** 2) / 2)
    return np.asarray(np.outer(one, one), np.float32)
