"""Noisy linear imputation solves the system of ROAD: each missing pixel is the weighted mean of its neighbours."""

import cv2
import numpy as np
import pytest
import torch

import camrt.benchmarks.compare.torch_libraries  # noqa: F401 - grad-cam needs it where torchvision does not fit torch
from camrt.kernels.imputation import impute
from support.needs import skip_or_fail


def picture(height, width, *, cells=6, seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (cells, cells, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def removed(height, width, share, *, seed=0):
    """Return the most important pixels of a random coarse map, bool (height, width)."""
    coarse = np.random.default_rng(seed).random((5, 5), np.float32)
    heat = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return heat >= np.quantile(heat, 1 - share)


def test_a_missing_pixel_is_the_weighted_mean_of_its_neighbours():
    image = picture(5, 7)
    missing = np.zeros((5, 7), bool)
    missing[2, 3] = missing[0, 0] = True
    filled = impute(image, missing, None)
    around = image[1:4, 2:5].astype(float)
    weights = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]])[..., np.newaxis] / 12
    np.testing.assert_allclose(filled[2, 3], (weights * around).sum(axis=(0, 1)), rtol=1e-4)
    beside, below, across = (image[place].astype(float) for place in ((0, 1), (1, 0), (1, 1)))
    corner = (2 * beside + 2 * below + across) / 5
    np.testing.assert_allclose(filled[0, 0], corner, rtol=1e-4)
    np.testing.assert_array_equal(filled[~missing], image[~missing])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of grad-cam's own calls
@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
@pytest.mark.parametrize("size", [(64, 96), (37, 50), (9, 4), (1, 30)])
def test_imputation_equals_a_direct_solver(size, share):
    """The reference is pytorch-grad-cam's imputer, the published code of ROAD."""
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer

    image, missing = picture(*size), removed(*size, share)
    planes = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))
    expected = NoisyLinearImputer(noise=0)(planes, torch.from_numpy((~missing).astype(np.float32)))
    difference = np.abs(impute(image, missing, None) - expected.numpy().transpose(1, 2, 0))
    assert difference.max() < 1.5
    assert difference.mean() < 0.3


def test_imputation_equals_that_of_quantus():
    try:
        from quantus.functions.perturb_func import noisy_linear_imputation
    except ImportError as error:
        skip_or_fail(f"Quantus is not installed: {error}")
    image, missing = picture(48, 48, cells=12), removed(48, 48, 0.5)
    expected = noisy_linear_imputation(image.transpose(2, 0, 1).astype(float), np.flatnonzero(missing), noise=0.0)
    difference = np.abs(impute(image, missing, None) - expected.transpose(1, 2, 0))
    assert difference.max() < 1.5
    assert difference.mean() < 0.3


def test_one_known_pixel_fills_the_image():
    image = picture(20, 30)
    missing = np.ones((20, 30), bool)
    missing[7, 11] = False
    np.testing.assert_allclose(impute(image, missing, None), np.broadcast_to(image[7, 11], image.shape), atol=0.5)


def test_noise_is_added_to_missing_pixels_only():
    image, missing = picture(20, 30), removed(20, 30, 0.5)
    noise = np.random.default_rng(0).normal(0, 3, image.shape)
    plain = impute(image, missing, None)
    noisy = impute(image, missing, noise)
    np.testing.assert_allclose((noisy - plain)[missing], noise[missing], atol=1e-4)
    np.testing.assert_array_equal(noisy[~missing], image[~missing])
    np.testing.assert_array_equal(impute(image, np.zeros_like(missing), noise), image)
