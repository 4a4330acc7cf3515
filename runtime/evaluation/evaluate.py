"""Accuracy of a model and pointing game of its maps, on images with masks of the objects."""

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
    """Result of `evaluate`, as fractions of the frames."""

    frames: int
    accuracy: float
    """Frames whose predicted class is the true one."""
    pointing_game: float
    """Frames with the peak of the true class's heatmap on the object."""


def evaluate(model: Model, samples: Iterable[tuple[Image, int, NDArray[np.bool_]]]) -> Evaluation:
    """Classify frames, and play the pointing game with the maps of the true classes.

    Args:
        model: the model to evaluate.
        samples: (image, class_id, mask) each: uint8 (H, W, 3) BGR; the true class; bool (H, W), True on the object.

    Raises:
        UsageError: there is no sample.
    """
    frames = correct = hits = 0
    for image, class_id, mask in samples:
        result = model(image)
        frames += 1
        correct += result.class_id == class_id
        hits += points_at_mask(result.heatmap(class_id), mask)
    if frames == 0:
        raise UsageError("there is no sample to evaluate")
    return Evaluation(frames, correct / frames, hits / frames)
