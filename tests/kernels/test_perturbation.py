"""Images with parts replaced: which pixels, in which order, by what."""

import cv2
import numpy as np
import pytest
import torch

from camrt.kernels.perturbation import BLUR, area, blurred, faded, importance_order, mean_colour, mixed

IMAGE = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
OTHER = 255 - IMAGE
HEAT = np.array([[0, 9, 1, 1, 2], [3, 9, 4, 1, 0], [5, 6, 7, 8, 0], [0, 0, 0, 0, 0]], np.float32) / 9


def test_the_order_begins_with_the_greatest_value_and_keeps_reading_order():
    order = importance_order(HEAT)
    assert order[:9].tolist() == [1, 6, 13, 12, 11, 10, 7, 5, 4]
    assert order[9:12].tolist() == [2, 3, 8]
    assert sorted(order.tolist()) == list(range(20))


@pytest.mark.parametrize("count", [0, 1, 7, 20])
def test_the_first_pixels_come_from_the_other_image(count):
    before = IMAGE.copy()
    order = importance_order(HEAT)
    changed = mixed(IMAGE, OTHER, order, count)
    same = (changed == IMAGE).all(axis=-1).ravel()
    assert set(np.flatnonzero(~same)) == set(order[:count].tolist())
    np.testing.assert_array_equal(changed.reshape(-1, 3)[order[:count]], OTHER.reshape(-1, 3)[order[:count]])
    np.testing.assert_array_equal(IMAGE, before)


def test_the_mean_colour_is_that_of_each_channel():
    filled = mean_colour(IMAGE)
    assert filled.shape == IMAGE.shape
    assert filled[0, 0].tolist() == [round(IMAGE[..., channel].mean()) for channel in range(3)]
    assert np.ptp(filled, axis=(0, 1)).tolist() == [0, 0, 0]


def test_the_blur_has_a_deviation_of_a_sixteenth_of_the_shorter_side():
    """A white pixel becomes the Gaussian itself."""
    image = np.zeros((160, 320, 3), np.uint8)
    image[60:100, 140:180] = 255
    mass = blurred(image)[..., 0].astype(float)
    y, x = np.mgrid[:160, :320] + 0.5
    for values, centre in ((y, 80), (x, 160)):
        spread = (mass * (values - centre) ** 2).sum() / mass.sum()
        assert spread == pytest.approx((BLUR * 160) ** 2 + 40**2 / 12, rel=0.03)


def test_a_faded_image_is_the_product_with_the_map():
    np.testing.assert_array_equal(faded(IMAGE, np.ones((4, 5), np.float32)), IMAGE)
    half = faded(IMAGE, np.full((4, 5), 0.5, np.float32))
    np.testing.assert_array_equal(half, np.rint(IMAGE / 2))
    assert not faded(IMAGE, HEAT)[3].any()


def test_the_area_is_that_of_the_trapezoidal_rule():
    curve, shares = np.array([0.9, 0.5, 0.2, 0.1]), np.array([0, 0.25, 0.5, 1.0])
    expected = torch.trapezoid(torch.tensor(curve), torch.tensor(shares))
    assert area(curve, shares) == pytest.approx(float(expected))
    assert area(np.ones(3), np.array([0, 0.3, 1])) == 1


def test_a_blur_of_a_tiny_image_keeps_its_size():
    for size in ((1, 1), (1, 40), (3, 2)):
        image = cv2.resize(IMAGE, size[::-1])
        assert blurred(image).shape == image.shape
