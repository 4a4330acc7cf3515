"""How well a model classifies and how well its maps point, where the truth is known."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from camrt.errors import UsageError
from camrt.images import Image
from camrt.kernels.map_metrics import points_at_mask
from camrt.runtime.inference.model import Model


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `evaluate` found, as fractions of the frames."""

    frames: int
    accuracy: float
    """Frames whose best class is the true one."""
    pointing_game: float
    """Frames on which the true class's heatmap has its greatest value inside the object."""


def evaluate(model: Model, samples: Iterable[tuple[Image, int, NDArray[np.bool_]]]) -> Evaluation:
    """Classify frames and let their maps point at the object.

    Args:
        model: judged.
        samples: a frame, uint8 (H, W, 3) BGR; its true class; where its object is, bool (H, W).

    Raises:
        UsageError: there is no sample.
    """
    frames = right = hits = 0
    for image, class_id, mask in samples:
        result = model(image)
        frames += 1
        right += result.class_id == class_id
        hits += points_at_mask(result.heatmap(class_id), mask)
    if frames == 0:
        raise UsageError("nothing to evaluate: there is no sample")
    return Evaluation(frames, right / frames, hits / frames)
