"""The kernels reproduce the published results of the authors: GoogLeNet-CAM on one photo."""

import cv2
import numpy as np
import pytest

from camrt import kernels
from camrt.runtime.maps.overlay import colors

CROP, PHOTO = 224, 256  # pixels
# Ten crops of the photo: its corners (top left, bottom left, top right, bottom right), its centre, and all mirrored.
CORNERS = [(0, 0), (0, 32), (32, 0), (32, 32), (16, 16)]


@pytest.fixture(scope="module")
def published(shared_data):
    with np.load(shared_data / "cam_reference" / "googlenetcam_img1.npz") as file:
        return file["features_nchw"], file["fc_weights_1000x1024"], file["scores"]


def test_the_maps_reproduce_the_published_scores(published):
    features, weights, scores = published
    sums = np.stack([kernels.weighted_sum(crop, weights).mean(axis=(1, 2)) for crop in features]).astype(np.float64)
    # The bias was not published. It follows from the first crop, up to a constant that softmax ignores.
    logits = sums + np.log(scores[0].astype(np.float64)) - sums[0]
    softmax = np.exp(logits - logits.max(axis=1, keepdims=True))
    softmax /= softmax.sum(axis=1, keepdims=True)
    assert np.abs(softmax[1:] - scores[1:]).max() < 1e-5


def test_the_overlay_equals_the_published_one(published, shared_data):
    features, weights, scores = published
    folder = shared_data / "cam_reference"
    photo = cv2.resize(cv2.imread(str(folder / "img1.jpg")), (PHOTO, PHOTO))
    result = cv2.imread(str(folder / "demo_m_result_img1.png"))
    panels = [result[:, left : left + PHOTO] for left in range(0, result.shape[1], PHOTO)]
    assert np.array_equal(panels[0], photo)
    # The authors add 0.2 of the photo to 0.7 of the colour: an opacity of 7/9, and the whole at 0.9.
    table = kernels.blend_table(colors("jet"), 0.7 / 0.9)
    for class_id, panel in zip(np.argsort(-scores.mean(axis=0))[:5], panels[1:], strict=True):
        image = 0.9 * kernels.overlay(photo, ten_crops(features, weights[class_id]), table)
        difference = np.abs(image - panel)
        assert difference.max() < 5  # rounding, and jet in 64 steps of 4 levels
        assert difference.mean() < 1


def ten_crops(features, weights):
    """Add the maps of all crops at their positions in the photo, as the script of the authors does (bicubic resize)."""
    total = np.zeros((PHOTO, PHOTO), np.float32)
    for crop, maps in enumerate(features):
        cam = cv2.resize(kernels.weighted_sum(maps, weights), (CROP, CROP), interpolation=cv2.INTER_CUBIC)
        x, y = CORNERS[crop % 5]
        total[y : y + CROP, x : x + CROP] += np.abs(cam if crop < 5 else cam[:, ::-1])
    return total
