"""What the network said of one frame, and where it looked."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from camrt import kernels
from camrt.errors import UsageError
from camrt.geometry import Placement
from camrt.images import Image
from camrt.runtime.maps.overlay import OverlayStyle, paint

if TYPE_CHECKING:
    from camrt.runtime.inference.model import Model

Map = NDArray[np.float32]


class Result:
    """Scores and class activation maps of one frame. Maps are computed when asked for, not before."""

    def __init__(
        self,
        model: "Model",
        *,
        scores: Map,
        logits: Map,
        maps: Map | NDArray[np.uint8],
        placement: Placement,
        stages_ms: Mapping[str, float],
    ) -> None:
        self.scores = scores
        """float32 (K,): probabilities, or the logits where the model has no activation."""
        self.logits = logits
        """float32 (K,): before the activation."""
        self.placement = placement
        """How the network's input lies on the frame."""
        self.stages_ms = stages_ms
        """Milliseconds that ``preprocess`` and ``inference`` took, per frame of the batch."""
        self._model = model
        self._maps = maps

    def top(self, k: int = 5) -> list[tuple[int, str, float]]:
        """Return the ``k`` best classes, best first: (class_id, label, score). NaN comes last."""
        ranked = np.argsort(-np.nan_to_num(self.scores, nan=-np.inf), kind="stable")[: max(0, k)]
        return [(int(number), self._model.labels[number], float(self.scores[number])) for number in ranked]

    def label(self, class_id: int) -> str:
        """Return the name of a class."""
        return self._model.labels[class_id]

    @property
    def class_id(self) -> int:
        """Number of the class with the highest score."""
        return self.top(1)[0][0]

    def cam(self, class_id: int | None = None) -> Map:
        """Return the class activation map of a class, in logits per cell, not normalised.

        Its mean plus the class's bias is the class's logit (Zhou et al. 2016, arXiv:1512.04150, section 2).

        Args:
            class_id: number of the class; None: the one with the highest score.

        Returns: float32 (h, w), the whole map, with the cells that cover padding only, where a model has such.

        Raises:
            UsageError: the model has no such class.
        """
        number = self.class_id if class_id is None else class_id
        if not 0 <= number < self._model.classes:
            raise UsageError(f"no class {number}; the model has 0 to {self._model.classes - 1}")
        scale, zero_point = self._model.map_scale, self._model.map_zero_point
        if self._model.cam_weights is None:
            values = (self._maps[number] - np.float64(zero_point)) * scale
            return np.asarray(values, np.float32)
        weights = self._model.cam_weights[number]
        return kernels.weighted_sum(self._maps, weights, scale=scale, zero_point=zero_point)

    def visible_cam(self, class_id: int | None = None) -> Map:
        """Return `cam` without the ring of cells that cover padding only: the part that belongs to the picture."""
        cam = self.cam(class_id)
        margin = self._model.info.map_margin
        return np.ascontiguousarray(cam[margin : cam.shape[0] - margin, margin : cam.shape[1] - margin])

    def heatmap(self, class_id: int | None = None) -> Map:
        """Return the map of a class over the frame: float32 (H, W), its least value 0 and its greatest 1.

        Where the network did not look (outside a crop) it is 0. A constant map is 0 everywhere.
        """
        x0, y0, x1, y1 = self.placement.seen
        small = kernels.normalize(self.visible_cam(class_id), "minmax")
        heat = np.zeros((self.placement.frame_height, self.placement.frame_width), np.float32)
        heat[y0:y1, x0:x1] = kernels.upsample(small, x1 - x0, y1 - y0, map_rect=self._map_rect(small))
        return heat

    def boxes(self, class_id: int | None = None, threshold: float = 0.2) -> list[kernels.Box]:
        """Return boxes around the warm regions of a class's map, largest region first.

        As in Zhou et al. 2016, section 3.2: the regions above ``threshold`` of the map's maximum; the first one is
        theirs, the box of the largest connected region.

        Args:
            class_id: number of the class; None: the one with the highest score.
            threshold: fraction of the heatmap's maximum, in [0, 1).

        Returns: (x0, y0, x1, y1, score) in frame pixels, x1 and y1 exclusive; score is the peak of the heatmap in the
        region, in [0, 1]. No box where the map is constant.
        """
        if not 0.0 <= threshold < 1.0:
            raise UsageError(f"threshold={threshold} must be within [0, 1)")
        small = kernels.normalize(self.visible_cam(class_id), "minmax")
        return kernels.boxes(small, [threshold], self.placement.seen, self._map_rect(small))[0]

    def draw(
        self,
        frame: Image,
        class_id: int | None = None,
        *,
        style: OverlayStyle | None = None,
        out: Image | None = None,
    ) -> Image:
        """Paint the map of a class over a frame.

        Args:
            frame: uint8 (H, W, 3) BGR, of the size that was classified. Not modified unless it is ``out``.
            class_id: number of the class; None: the one with the highest score.
            style: colours, opacity, normalisation.
            out: uint8 (H, W, 3) buffer to fill; allocated when None.

        Returns: uint8 (H, W, 3), ``out`` if it was given.
        """
        size = (frame.shape[1], frame.shape[0])
        if size != (self.placement.frame_width, self.placement.frame_height):
            raise UsageError(
                f"the frame is {size[0]}x{size[1]}, the result belongs to one of "
                f"{self.placement.frame_width}x{self.placement.frame_height}"
            )
        return paint(frame, self.visible_cam(class_id), self.placement, style or OverlayStyle(), out=out)

    def _map_rect(self, cam: Map) -> tuple[float, float, float, float]:
        return self.placement.map_rect(cam.shape[1], cam.shape[0])
