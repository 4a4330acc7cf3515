"""The weighted sum and the normalisation agree with their NumPy twins and their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from camrt import kernels
from camrt.kernels.reference import normalize_reference, weighted_sum_reference

FINITE = st.floats(-1e6, 1e6, width=32)
SIZES = st.integers(1, 9)
METHODS = ("minmax", "relu_max", "range")


@given(st.data(), st.integers(0, 17), SIZES, SIZES, st.integers(0, 4))
def test_weighted_sum_equals_its_twin(data, channels, height, width, classes):
    features = data.draw(hnp.arrays(np.float32, (channels, height, width), elements=FINITE))
    weights = data.draw(hnp.arrays(np.float32, (classes, channels), elements=st.floats(-100, 100, width=32)))
    cams = kernels.weighted_sum(features, weights)
    assert cams.dtype == np.float32
    np.testing.assert_allclose(cams, weighted_sum_reference(features, weights), rtol=1e-6, atol=1e-3)


@given(st.data(), st.integers(0, 17), SIZES, SIZES, st.integers(0, 4), st.floats(1e-3, 10), st.integers(0, 255))
def test_weighted_sum_of_uint8_maps_equals_its_twin(data, channels, height, width, classes, scale, zero_point):
    features = data.draw(hnp.arrays(np.uint8, (channels, height, width)))
    weights = data.draw(hnp.arrays(np.float32, (classes, channels), elements=st.floats(-100, 100, width=32)))
    cams = kernels.weighted_sum(features, weights, scale=scale, zero_point=zero_point)
    assert cams.dtype == np.float32
    expected = weighted_sum_reference(features, weights, scale, zero_point)
    np.testing.assert_allclose(cams, expected, rtol=1e-6, atol=1e-6)


def test_weighted_sum_of_uint8_maps_is_rounded_only_once():
    """With integers as weights every sum is an integer."""
    rng = np.random.default_rng(3)
    features = rng.integers(0, 256, (2048, 7, 7), dtype=np.uint8)
    weights = rng.integers(-9, 10, 2048).astype(np.float32)
    exact = np.tensordot(weights.astype(np.int64), features.astype(np.int64) - 3, axes=1) * 0.5
    cam = kernels.weighted_sum(features, weights, scale=0.5, zero_point=3)
    assert np.array_equal(cam, exact.astype(np.float32))


def test_weighted_sum_accepts_uint8_maps_of_any_layout():
    features = np.random.default_rng(4).integers(0, 256, (4, 6, 10), dtype=np.uint8)[:, ::2, ::-1]
    weights = np.ones(4, np.float32)
    assert np.array_equal(kernels.weighted_sum(features, weights), features.sum(axis=0, dtype=np.float32))


def test_the_mean_of_a_weighted_sum_is_the_logit():
    rng = np.random.default_rng(1)
    features = rng.random((512, 7, 7), np.float32)
    weights = rng.standard_normal((10, 512), np.float32)
    logits = weights @ features.mean(axis=(1, 2))
    np.testing.assert_allclose(kernels.weighted_sum(features, weights).mean(axis=(1, 2)), logits, rtol=1e-4)


def test_one_row_gives_one_map():
    features, weights = np.ones((3, 2, 2), np.float32), np.array([1, 2, 3], np.float32)
    assert np.array_equal(kernels.weighted_sum(features, weights), np.full((2, 2), 6.0))


def test_weighted_sum_accepts_any_layout_and_fills_out():
    rng = np.random.default_rng(2)
    features, weights = rng.random((4, 6, 10), np.float32), rng.random((3, 4), np.float32)
    expected = kernels.weighted_sum(np.ascontiguousarray(features[:, ::2, ::-1]), weights)
    frozen = features[:, ::2, ::-1]
    frozen.flags.writeable = False
    out = np.empty((3, 3, 10), np.float32)
    assert kernels.weighted_sum(frozen, np.asfortranarray(weights), out=out) is out
    assert np.array_equal(out, expected)


@pytest.mark.parametrize(
    ("features", "weights"), [((4, 3, 3), (2, 5)), ((4, 3), (2, 4)), ((4, 3, 3), (1, 2, 4)), ((4, 3, 3), ())]
)
def test_weighted_sum_refuses_shapes_that_do_not_match(features, weights):
    with pytest.raises(ValueError, match="must be"):
        kernels.weighted_sum(np.zeros(features, np.float32), np.zeros(weights, np.float32))


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(0, 3), SIZES, SIZES), elements=st.floats(width=32)),
    st.sampled_from(METHODS),
)
def test_normalize_equals_its_twin_for_any_values(cams, method):
    value_range = (-2.0, 3.5) if method == "range" else None
    heat = kernels.normalize(cams, method, value_range)
    assert heat.dtype == np.float32
    assert ((heat >= 0) & (heat <= 1)).all()  # so neither NaN nor infinity
    np.testing.assert_allclose(heat, normalize_reference(cams, method, value_range), atol=1e-6)


@pytest.mark.parametrize("method", ["minmax", "relu_max"])
@pytest.mark.parametrize("value", [-3.0, 0.0, 7.0, np.nan, np.inf])
def test_a_constant_map_becomes_zero(method, value):
    assert not kernels.normalize(np.full((3, 4), value, np.float32), method).any()


def test_each_method_equals_values_computed_by_hand():
    cam = np.array([[-2.0, 0.0], [1.0, 2.0]], np.float32)
    assert np.array_equal(kernels.normalize(cam, "minmax"), np.array([[0, 0.5], [0.75, 1]], np.float32))
    assert np.array_equal(kernels.normalize(cam, "relu_max"), np.array([[0, 0], [0.5, 1]], np.float32))
    assert np.array_equal(kernels.normalize(cam, "range", (0, 4)), np.array([[0, 0], [0.25, 0.5]], np.float32))
    assert not kernels.normalize(-np.abs(cam) - cam**2, "relu_max").any()


def test_cells_that_are_not_finite_become_zero_and_do_not_change_the_others():
    cam = np.array([[np.nan, 1.0], [3.0, np.inf]], np.float32)
    assert np.array_equal(kernels.normalize(cam), np.array([[0, 0], [1, 0]], np.float32))


def test_normalize_works_in_place():
    cam = np.array([[0.0, 2.0]], np.float32)
    assert kernels.normalize(cam, out=cam) is cam
    assert np.array_equal(cam, [[0.0, 1.0]])


@pytest.mark.parametrize("value_range", [None, (1.0, 1.0), (2.0, 1.0), (0.0, np.nan), (-np.inf, 0.0)])
def test_a_range_must_be_finite_and_rise(value_range):
    with pytest.raises(ValueError, match="rises"):
        kernels.normalize(np.zeros((2, 2), np.float32), "range", value_range)


def test_normalize_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="use one of minmax, relu_max, range"):
        kernels.normalize(np.zeros((2, 2), np.float32), "softmax")
    with pytest.raises(ValueError, match="h, w"):
        kernels.normalize(np.zeros(3, np.float32))


@pytest.mark.parametrize(
    "out",
    [np.empty((2, 3), np.float32), np.empty((2, 2)), np.empty((2, 2), np.float32).T[::-1]],
    ids=["shape", "dtype", "layout"],
)
def test_a_buffer_of_another_form_is_refused(out):
    with pytest.raises(ValueError, match="out must be"):
        kernels.normalize(np.zeros((2, 2), np.float32), out=out)
