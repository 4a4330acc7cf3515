"""Pointing game and energy equal those of Quantus, through a wrapper around the session."""

import warnings

import numpy as np
import pytest

from camrt.runtime.evaluation.datasets.labelled import LabelledImage, Target
from camrt.runtime.evaluation.evaluate import evaluate
from support.needs import skip_or_fail
from support.tiny_models import LABELS
from support.torch_session import Session


@pytest.fixture(scope="module")
def localisation():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that Quantus imports
        try:
            from quantus.metrics import localisation
        except ImportError as error:
            skip_or_fail(f"Quantus is not installed: {error}")
    return localisation


def test_pointing_game_and_energy_equal_those_of_quantus(localisation, model):
    random = np.random.default_rng(8)
    frames = random.integers(0, 256, (12, 40, 60, 3), np.uint8)
    class_ids = random.integers(0, len(LABELS), 12)
    boxes = []
    for _ in frames:
        x0, y0 = random.integers(0, 15, 2)
        boxes.append((x0, y0, x0 + random.integers(20, 45), y0 + random.integers(15, 25)))
    masks = np.zeros((12, 1, 40, 60), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[0, y0:y1, x0:x1] = True
    heatmaps = np.stack(
        [result.heatmap(class_id)[np.newaxis] for result, class_id in zip(model(frames), class_ids, strict=True)]
    )
    arguments = {
        "model": Session(model),
        "x_batch": frames.transpose(0, 3, 1, 2).astype(np.float32),
        "y_batch": class_ids,
        "a_batch": heatmaps,
        "s_batch": masks,
        "softmax": False,
    }
    options = {"normalise": False, "abs": False, "disable_warnings": True}
    pointing = localisation.PointingGame(**options)(**arguments)
    energy = localisation.AttributionLocalisation(**options)(**arguments)
    labelled = [
        LabelledImage(str(number), frame, (Target(LABELS[class_id], (tuple(map(float, box)),)),))
        for number, (frame, class_id, box) in enumerate(zip(frames, class_ids, boxes, strict=True))
    ]
    found = evaluate(model, labelled, metrics=("pointing_game", "energy_in_box"), baselines=())
    assert 0 < sum(pointing) < 12
    assert [line["pointing_game"] for line in found.per_image] == [int(hit) for hit in pointing]
    assert [line["energy_in_box"] for line in found.per_image] == pytest.approx(energy, rel=1e-5)
