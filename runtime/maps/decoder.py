"""Decoder from a network's map output to class activation maps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from camrt import kernels

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class MapDecoder:
    """Everything that turns the map output of one frame into class activation maps. Plain data: it pickles.

    A map output is linear in every class activation map, so a mean of map outputs decodes to the mean of the maps.
    """

    labels: tuple[str, ...]
    """Name of each class, in the order of the scores."""
    cam_weights: F32 | None
    """float32 (K, C), rows of the linear layer; None: the map output holds one map a class."""
    cam_bias: F32
    """float32 (K,), in logits."""
    scale: float = 1.0
    """Value of the map output: ``(number - zero_point) * scale``."""
    zero_point: int = 0
    """See ``scale``; (1, 0) unless the map output is uint8."""
    margin: int = 0
    """Cells on every side of a map that cover only padding."""
    head: str | None = None
    """Name of the head, in a file with several: its classes are not those of the others."""

    @property
    def classes(self) -> int:
        """Number of classes K."""
        return len(self.cam_bias)

    def cams(self, maps: F32 | NDArray[np.uint8], class_ids: NDArray[np.intp]) -> F32:
        """Return class activation maps in logits per cell, not normalised.

        Args:
            maps: (C, h, w), or (K, h, w) without ``cam_weights``; float32 or uint8.
            class_ids: (k,) numbers of the classes, each in [0, K).

        Returns: float32 (k, h, w).
        """
        if self.cam_weights is not None:
            weights = self.cam_weights[class_ids]
            return kernels.weighted_sum(maps, weights, scale=self.scale, zero_point=self.zero_point)
        return np.asarray((maps[class_ids] - np.float64(self.zero_point)) * self.scale, np.float32)

    def decoded(self, maps: F32 | NDArray[np.uint8]) -> F32:
        """Return the values of a map output: float32, the shape of ``maps``; ``maps`` itself if it is float32."""
        if maps.dtype == np.float32:
            return np.asarray(maps, np.float32)
        return np.asarray((maps - np.float32(self.zero_point)) * np.float32(self.scale), np.float32)
