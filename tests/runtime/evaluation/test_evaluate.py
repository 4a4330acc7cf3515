"""Accuracy counts correct predicted classes, and the pointing game counts peaks on the object."""

import numpy as np
import pytest

from camrt.errors import UsageError
from camrt.runtime.evaluation.evaluate import Evaluation, evaluate
from support.tiny_models import LABELS


def test_accuracy_uses_the_predicted_class_and_the_pointing_game_the_true_one(model):
    frame = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    result = model(frame)
    best = result.class_id
    other = (best + 1) % len(LABELS)

    def at_peak(class_id):
        mask = np.zeros((64, 96), bool)
        heatmap = result.heatmap(class_id)
        mask[np.unravel_index(heatmap.argmax(), heatmap.shape)] = True
        return mask

    samples = [
        (frame, best, at_peak(best)),  # correct class, peak on the object
        (frame, best, ~at_peak(best)),  # correct class, peak beside the object
        (frame, other, at_peak(other)),  # wrong class, but the map of the true class points at the object
        (frame, other, ~at_peak(other)),  # wrong class, peak beside the object
        (frame, best, np.zeros((64, 96), bool)),
    ]
    assert evaluate(model, samples) == Evaluation(frames=5, accuracy=3 / 5, pointing_game=2 / 5)


def test_evaluate_without_samples_raises_usage_error(model):
    with pytest.raises(UsageError, match="no sample"):
        evaluate(model, [])
