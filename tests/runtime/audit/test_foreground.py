"""Places of objects that are estimated from the pixels: frames, outlines, and photos with stated boxes."""

import json

import cv2
import numpy as np
import pytest

from camrt.images import read_image
from camrt.runtime.audit.foreground import estimate_foreground


def scene(background=(235, 235, 235), side=120):
    image = np.full((side, side, 3), background, np.uint8)
    cv2.circle(image, (side // 2, side // 2), side // 4, (40, 40, 200), -1)
    return image


def disc(side=120):
    return cv2.circle(np.zeros((side, side), np.uint8), (side // 2, side // 2), side // 4, 1, -1) > 0


@pytest.mark.parametrize("width", [3, 6, 10])
@pytest.mark.parametrize("colour", [(20, 20, 20), (0, 160, 255), (255, 255, 255)])
def test_a_frame_does_not_hide_the_object(width, colour):
    image = scene((150, 190, 150))
    plain, _ = estimate_foreground(image)
    image[:width] = image[-width:] = colour
    image[:, :width] = image[:, -width:] = colour
    mask, certain = estimate_foreground(image)
    assert certain
    assert (mask & disc()).sum() > 0.97 * disc().sum()
    assert (mask & plain).sum() > 0.9 * plain.sum()
    assert not mask[: width + 1].any()


@pytest.mark.parametrize("side", [60, 120, 333])
def test_the_inside_of_an_outline_belongs_to_the_object(side):
    image = np.full((side, side, 3), 255, np.uint8)
    cv2.circle(image, (side // 2, side // 2), side // 3, (0, 0, 0), max(1, side // 60))
    mask, certain = estimate_foreground(image)
    assert certain
    assert mask[side // 2, side // 2]
    assert not mask[2, 2]
    assert 0.3 < mask.mean() < 0.5


def test_an_outline_that_the_edge_cuts_has_its_inside_too():
    image = np.full((120, 120, 3), 255, np.uint8)
    cv2.ellipse(image, (60, 60), (40, 75), 0, 0, 360, (0, 0, 0), 2)
    mask, certain = estimate_foreground(image)
    assert certain
    assert mask[60, 60]
    assert not mask[5, 5]
    assert not mask[-5, -5]


def test_a_bright_sky_at_one_side_is_no_frame():
    image = cv2.resize(
        np.random.default_rng(0).integers(0, 200, (9, 9, 3), np.uint8), (120, 120), interpolation=cv2.INTER_CUBIC
    )
    image[:30] = 250
    mask, certain = estimate_foreground(image)
    assert not certain
    assert mask.shape == (120, 120)


def test_the_estimate_finds_most_of_the_stated_boxes(shared_data):
    """The error of the estimate on photos, as the documents state it."""
    folder = shared_data / "images_boxes"
    inside, covered, chance = [], [], []
    for entry in json.loads((folder / "boxes.json").read_text()):
        image = read_image(folder / entry["file"])
        mask, _ = estimate_foreground(image)
        truth = np.zeros(mask.shape, bool)
        for x0, y0, x1, y1 in entry["boxes"]:
            truth[round(y0) : round(y1), round(x0) : round(x1)] = True
        inside.append(truth[mask].mean())
        covered.append(mask[truth].mean())
        chance.append(truth.mean())
    assert len(inside) == 56
    assert np.mean(inside) == pytest.approx(0.64, abs=0.03)
    assert np.mean(covered) == pytest.approx(0.61, abs=0.03)
    assert np.mean(chance) == pytest.approx(0.33, abs=0.01)
