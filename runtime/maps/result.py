"""Scores and class activation maps of one frame."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from camrt import kernels
from camrt.errors import UsageError
from camrt.frame_input import as_frame
from camrt.geometry import Placement
from camrt.images import Image
from camrt.runtime.maps.decoder import MapDecoder
from camrt.runtime.maps.overlay import OverlayStyle, paint
from camrt.runtime.maps.placed import boxes_on_frame, heatmap_on_frame
from camrt.runtime.maps.refined_cams import refined_cams
from camrt.runtime.maps.refinement import check_refinements

Map = NDArray[np.float32]
BOX_THRESHOLD: Final = 0.2
"""Fraction of a heatmap's maximum above which its regions get boxes, in live and by default."""


class Result:
    """Scores and class activation maps of one frame. Maps are computed on request.

    A result is plain arrays and a `MapDecoder`. It pickles, crosses processes, and needs no model.
    """

    def __init__(
        self,
        decoder: MapDecoder,
        *,
        scores: Map,
        logits: Map,
        maps: Map | NDArray[np.uint8],
        placement: Placement,
        stages_ms: Mapping[str, float],
        refinements: tuple[str, ...] = (),
    ) -> None:
        self.decoder = decoder
        """Labels, weights and scale of the model that gave the result."""
        self.scores = scores
        """float32 (K,): probabilities, or the logits if the model has no activation."""
        self.logits = logits
        """float32 (K,): before the activation."""
        self.maps = maps
        """(C, h, w), or (K, h, w) for a head that is not linear: the network's map output, float32 or uint8."""
        self.placement = placement
        """How the network's input lies on the frame."""
        self.stages_ms = stages_ms
        """Milliseconds that ``preprocess`` and ``inference`` took, per frame of the batch."""
        self.refinements = refinements
        """Names of the refinements of `visible_cam`, `heatmap`, `boxes` and `draw`; `cam` and `cams` stay plain."""

    def with_maps(self, maps: Map, stages_ms: Mapping[str, float] | None = None) -> "Result":
        """Return a result with the same scores and other maps, for example a mean over time.

        Args:
            maps: float32, decoded values, of the shape of ``self.maps``.
            stages_ms: the times with those of the other maps; None: as before.
        """
        stages_ms = self.stages_ms if stages_ms is None else stages_ms
        return self._but(decoder=replace(self.decoder, scale=1.0, zero_point=0), maps=maps, stages_ms=stages_ms)

    def enlarged(self, factor: int) -> "Result":
        """Return the result for a frame whose sides are ``factor`` times as long: the same maps, at the same places."""
        x0, y0, x1, y1 = (factor * edge for edge in self.placement.frame_rect)
        width, height = factor * self.placement.frame_width, factor * self.placement.frame_height
        placement = replace(self.placement, frame_width=width, frame_height=height, frame_rect=(x0, y0, x1, y1))
        return self._but(placement=placement)

    def refined(self, names: tuple[str, ...]) -> "Result":
        """Return the result with refined maps: `visible_cam`, `heatmap`, `boxes` and `draw` follow them.

        `cam` and `cams` stay plain, because the logit follows from the plain map only.

        Args:
            names: some of `camrt.runtime.maps.refinement.REFINEMENTS`, in that order; empty: the plain map. ``flip`` is
                a name only: `camrt.runtime.maps.refine_frame.refine_frame` makes the second pass.

        Raises:
            UsageError: the head has no weights, and a refinement needs them.
        """
        check_refinements(names, weights=self.decoder.cam_weights is not None)
        return self._but(refinements=names)

    def _but(self, **changes: Any) -> "Result":
        """Return the result with other attributes. Its scores stay, and so does a `class_id` that is known."""
        changed = copy(self)
        vars(changed).update(changes)
        return changed

    def top(self, k: int = 5) -> list[tuple[int, str, float]]:
        """Return the ``k`` best classes, best first: (class_id, label, score). NaN comes last."""
        descending = -np.nan_to_num(self.scores, nan=-np.inf)
        k = min(max(0, k), len(descending))
        if not k:
            return []
        # Of thousands of classes only the best and those equal to the last of them are sorted.
        best = np.flatnonzero(descending <= np.partition(descending, k - 1)[k - 1])
        ranked = best[np.argsort(descending[best], kind="stable")][:k]
        return [(int(number), self.label(int(number)), float(self.scores[number])) for number in ranked]

    def label(self, class_id: int) -> str:
        """Return the name of a class."""
        return self.decoder.labels[class_id]

    @cached_property
    def class_id(self) -> int:
        """Number of the class with the highest score; the first of several, and NaN is never the highest."""
        best = int(self.scores.argmax())
        return int(np.argmax(np.nan_to_num(self.scores, nan=-np.inf))) if np.isnan(self.scores[best]) else best

    def cam(self, class_id: int | None = None) -> Map:
        """Return the class activation map of a class, in logits per cell, not normalised.

        Its mean plus the class's bias is the class's logit (Zhou et al. 2016, arXiv:1512.04150, section 2).

        Args:
            class_id: number of the class; None: the one with the highest score.

        Returns: float32 (h, w), the whole map, including any cells that cover only padding.

        Raises:
            UsageError: the model has no such class.
        """
        return np.asarray(self.cams([self.class_id if class_id is None else class_id])[0])

    def cams(self, class_ids: Sequence[int] | None = None) -> Map:
        """Return the class activation maps of several classes in one pass, in logits per cell, not normalised.

        Args:
            class_ids: numbers of the classes; None: every class.

        Returns: float32 (k, h, w), in the order of ``class_ids``; see `cam`.

        Raises:
            UsageError: the model has no such class.
        """
        return self.decoder.cams(
            self.maps, self._numbers(range(self.decoder.classes) if class_ids is None else class_ids)
        )

    def _numbers(self, class_ids: Sequence[int]) -> NDArray[np.intp]:
        classes = self.decoder.classes
        for number in class_ids:
            if not 0 <= number < classes:
                raise UsageError(f"no class {number}; the model has 0 to {classes - 1}")
        return np.asarray(class_ids, np.intp)

    def visible_cam(self, class_id: int | None = None) -> Map:
        """Return the map that is drawn, float32 (h, w): `cam`, refined, without cells that cover only padding."""
        return np.asarray(self.visible_cams([self.class_id if class_id is None else class_id])[0])

    def visible_cams(self, class_ids: Sequence[int]) -> Map:
        """Return `cams`, refined, without the border of cells that cover only padding: float32 (k, h, w), contiguous.

        The padding takes no part in a refinement.
        """
        margin = self.decoder.margin
        rows, columns = (slice(margin, side - margin) for side in self.maps.shape[1:])
        if self.refinements:
            return refined_cams(self.decoder, self.maps[:, rows, columns], self._numbers(class_ids), self.refinements)
        return np.ascontiguousarray(self.cams(class_ids)[:, rows, columns])

    def heatmap(self, class_id: int | None = None) -> Map:
        """Return the map of a class over the frame: float32 (H, W), from 0 to 1.

        Pixels that the network did not see (outside a crop) are 0. A constant map is 0 everywhere.
        """
        return heatmap_on_frame(self.visible_cam(class_id), self.placement)

    def boxes(self, class_id: int | None = None, threshold: float = BOX_THRESHOLD) -> list[kernels.Box]:
        """Return boxes around the warm regions of a class's map, largest region first.

        The regions are above ``threshold`` of the map's maximum. The first box, of the largest connected region, is
        the one of Zhou et al. 2016, section 3.2.

        Args:
            class_id: number of the class; None: the one with the highest score.
            threshold: fraction of the heatmap's maximum, in [0, 1).

        Returns: (x0, y0, x1, y1, score) in frame pixels, x1 and y1 exclusive; score is the peak of the heatmap in the
        region, in [0, 1]. A constant map has no box.
        """
        if not 0.0 <= threshold < 1.0:
            raise UsageError(f"threshold {threshold} must be within [0, 1)")
        return boxes_on_frame(self.visible_cam(class_id), self.placement, [threshold])[0]

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
            frame: as `camrt.Model` takes it, of the size that was classified. Not modified unless it is ``out``.
            class_id: number of the class; None: the one with the highest score.
            style: colours, opacity, normalisation.
            out: uint8 (H, W, 3) buffer to fill; allocated when None.

        Returns: uint8 (H, W, 3), ``out`` if it was given.
        """
        frame = as_frame(frame)
        size = (frame.shape[1], frame.shape[0])
        if size != (self.placement.frame_width, self.placement.frame_height):
            raise UsageError(
                f"the frame is {size[0]}x{size[1]}, the result belongs to one of "
                f"{self.placement.frame_width}x{self.placement.frame_height}"
            )
        return paint(frame, self.visible_cam(class_id), self.placement, style or OverlayStyle(), out=out)
