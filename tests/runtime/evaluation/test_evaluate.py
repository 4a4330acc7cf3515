"""Accuracy and pointing game count what they say."""

import numpy as np
import pytest

from camrt.errors import UsageError
from camrt.runtime.evaluation.evaluate import Evaluation, evaluate
from support.tiny_models import LABELS


def test_a_frame_is_right_by_its_best_class_and_a_hit_by_the_peak_of_the_true_class(model):
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
        (frame, best, at_peak(best)),  # right, and a hit
        (frame, best, ~at_peak(best)),  # right, and beside it by a pixel
        (frame, other, at_peak(other)),  # wrong, but the map of the true class points well
        (frame, other, ~at_peak(other)),  # neither
        (frame, best, np.zeros((64, 96), bool)),
    ]
    assert evaluate(model, samples) == Evaluation(frames=5, accuracy=3 / 5, pointing_game=2 / 5)


def test_nothing_to_evaluate_is_an_error(model):
    with pytest.raises(UsageError, match="no sample"):
        evaluate(model, [])
