"""Refinements of maps agree with their NumPy twins, with hand-worked values and with their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from camrt import kernels
from camrt.kernels.reference import principal_map_reference, raise_to_percentile_reference

FINITE = st.floats(-1e6, 1e6, width=32)
SIZES = st.integers(1, 7)


@given(st.data(), st.integers(0, 3), SIZES, SIZES, st.floats(0, 100))
def test_raising_to_a_percentile_equals_its_twin(data, count, height, width, percent):
    cams = data.draw(hnp.arrays(np.float32, (count, height, width), elements=st.floats(width=32)))
    kept = cams.copy()
    raised = kernels.raise_to_percentile(cams, percent)
    assert raised.dtype == np.float32
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(raised, raise_to_percentile_reference(cams, percent), rtol=1e-6, atol=1e-30)
    np.testing.assert_array_equal(cams, kept)


def test_ivr_subtracts_the_percentile_cuts_and_divides_by_the_maximum():
    """The steps of Kim et al. 2021, worked by hand: the 50th percentile of 0, 2, 4, 8, 10 is 4."""
    cam = np.array([[0, 2, 4, 8, 10]], np.float32)
    normalized = kernels.normalize(kernels.raise_to_percentile(cam, 50.0))
    np.testing.assert_allclose(normalized, [[0, 0, 0, 4 / 6, 1]], rtol=1e-6)


def test_cells_that_are_not_finite_stay_and_do_not_count():
    cam = np.array([[np.nan, 1.0, np.inf, 3.0]], np.float32)
    np.testing.assert_array_equal(kernels.raise_to_percentile(cam, 50.0), [[np.nan, 2.0, np.inf, 3.0]])


@pytest.mark.parametrize("percent", [-1.0, 100.5, float("nan")])
def test_a_percentage_out_of_range_is_an_error(percent):
    with pytest.raises(ValueError, match="within"):
        kernels.raise_to_percentile(np.ones((2, 2), np.float32), percent)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 5), (40, 7, 7), (5, 9, 6)])
def test_the_principal_map_equals_its_twin(shape, dtype):
    rng = np.random.default_rng(shape[0])
    features = (rng.random(shape) ** 3 * 255).astype(dtype)
    weights = rng.standard_normal((3, shape[0])).astype(np.float32)
    cams = kernels.principal_map(features, weights, 0.02, 7)
    expected = principal_map_reference(features, weights, 0.02, 7)
    assert cams.dtype == np.float32
    np.testing.assert_allclose(cams, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_the_principal_map_of_one_pattern_is_the_pattern():
    """All channels show one pattern p: the cells lie on a line, and the map is |w * a| * (p - mean p)."""
    pattern = np.array([[0.0, 0.0, 3.0], [0.0, 6.0, 3.0]])
    factors, weights = np.array([1.0, 2.0, 2.0]), np.array([1.0, 1.0, 1.0])
    features = (factors[:, None, None] * pattern).astype(np.float32)
    cams = kernels.principal_map(features, np.stack([weights, -weights]).astype(np.float32))
    np.testing.assert_allclose(cams[0], 3 * (pattern - 2.0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(cams[1], -cams[0], rtol=1e-5, atol=1e-5)  # it agrees with the class's map


@given(st.data(), st.integers(1, 9), SIZES, SIZES)
def test_the_principal_map_agrees_with_the_sign_of_the_plain_map(data, channels, height, width):
    features = data.draw(hnp.arrays(np.float32, (channels, height, width), elements=st.floats(0, 100, width=32)))
    weights = data.draw(hnp.arrays(np.float32, (2, channels), elements=st.floats(-10, 10, width=32)))
    plain = kernels.weighted_sum(features, weights).astype(np.float64)
    for cam, one in zip(kernels.principal_map(features, weights).astype(np.float64), plain, strict=True):
        scale = np.linalg.norm(cam) * np.linalg.norm(one - one.mean())
        assert (cam * (one - one.mean())).sum() >= -1e-5 * scale - 1e-5


def test_a_constant_map_has_a_principal_map_of_zeros_and_a_broken_one_is_not_finite():
    weights = np.ones((1, 4), np.float32)
    assert not kernels.principal_map(np.full((4, 3, 3), 5, np.float32), weights).any()
    broken = np.ones((4, 3, 3), np.float32)
    broken[1, 1, 1] = np.nan
    assert np.isnan(kernels.principal_map(broken, weights)).all()


def test_shapes_that_do_not_match_are_an_error():
    with pytest.raises(ValueError, match="must be"):
        kernels.principal_map(np.ones((4, 3, 3), np.float32), np.ones((1, 5), np.float32))
