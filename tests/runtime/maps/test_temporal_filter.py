"""The temporal filter smooths by half-life, keeps a running range, and starts again at a scene cut."""

import numpy as np
import pytest

import camrt
from camrt.runtime.maps.temporal_filter import RANGE_HALF_LIFE_S, SceneDetector, TemporalFilter
from support.tiny_models import write_linear

MAP = np.array([[0.0, 1.0], [2.0, 4.0]], np.float32)


@pytest.fixture(scope="module")
def result(model):
    return model(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8))


def scaled(result, factor):
    return result.with_maps(np.float32(factor) * result.maps)


def image(shade):
    ramp = np.linspace(0, 40, 32).astype(np.uint8)[:, None] + np.linspace(0, 40, 24).astype(np.uint8)
    return np.repeat((ramp.T + shade).astype(np.uint8)[..., None], 3, axis=2)


def test_after_a_half_life_the_old_map_weighs_half(result):
    temporal = TemporalFilter()
    temporal.smooth(result, 0, 10.0, half_life_s=2.0)
    after = temporal.smooth(scaled(result, 3), 0, 12.0, half_life_s=2.0)
    np.testing.assert_allclose(after.maps, 2 * result.maps, rtol=1e-6)
    later = temporal.smooth(scaled(result, 2), 0, 16.0, half_life_s=2.0)
    np.testing.assert_allclose(later.maps, 2 * result.maps, rtol=1e-6)


def test_maps_of_another_model_start_the_mean_again(result, tmp_path):
    """Its features have the same shape, and mean other things."""
    newer = camrt.load(write_linear(tmp_path / "newer.onnx", seed=1), provider="cpu")
    other = newer(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8))
    assert other.maps.shape == result.maps.shape
    temporal = TemporalFilter()
    temporal.smooth(result, 0, 0.0, half_life_s=5.0)
    np.testing.assert_array_equal(temporal.smooth(other, 0, 0.1, half_life_s=5.0).maps, other.maps)
    again = temporal.smooth(other.with_maps(3 * other.maps), 0, 5.1, half_life_s=5.0)
    np.testing.assert_allclose(again.maps, 2 * other.maps, rtol=1e-5)


@pytest.mark.parametrize("rate", [5, 50])
def test_smoothing_does_not_depend_on_the_rate_of_results(result, rate):
    temporal = TemporalFilter()
    temporal.smooth(scaled(result, 0), 0, 0.0, half_life_s=0.5)
    for index in range(1, rate + 1):  # one second, two half-lives
        smoothed = temporal.smooth(result, 0, index / rate, half_life_s=0.5)
    np.testing.assert_allclose(smoothed.maps, 0.75 * result.maps, rtol=1e-5)


def test_the_smoothed_map_of_every_class_is_the_mean_of_its_maps(model, result):
    other = model(np.random.default_rng(1).integers(0, 256, (24, 32, 3), np.uint8))
    temporal = TemporalFilter()
    temporal.smooth(result, 0, 0.0, half_life_s=1.0)
    smoothed = temporal.smooth(other, 0, 1.0, half_life_s=1.0)
    np.testing.assert_allclose(smoothed.cams(), (result.cams() + other.cams()) / 2, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(smoothed.scores, other.scores)


def test_uint8_maps_are_smoothed_by_their_real_values(result):
    decoder = type(result.decoder)(result.decoder.labels, result.decoder.cam_weights, result.decoder.cam_bias, 0.5, 7)
    numbers = np.arange(result.maps.size, dtype=np.uint8).reshape(result.maps.shape)
    quantized = type(result)(
        decoder,
        scores=result.scores,
        logits=result.logits,
        maps=numbers,
        placement=result.placement,
        stages_ms=result.stages_ms,
    )
    smoothed = TemporalFilter().smooth(quantized, 0, 0.0, half_life_s=1.0)
    np.testing.assert_allclose(smoothed.maps, (numbers - 7.0) * 0.5)
    np.testing.assert_allclose(smoothed.cams(), quantized.cams(), rtol=1e-4, atol=1e-3)


def test_a_half_life_of_zero_smooths_nothing(result):
    temporal = TemporalFilter()
    temporal.smooth(scaled(result, 5), 0, 0.0, half_life_s=1.0)
    assert temporal.smooth(result, 0, 0.1, half_life_s=0.0) is result
    np.testing.assert_array_equal(temporal.smooth(result, 0, 0.2, half_life_s=1.0).maps, result.maps)


def test_a_new_scene_starts_the_mean_again(result):
    temporal = TemporalFilter()
    temporal.smooth(scaled(result, 9), 0, 0.0, half_life_s=10.0)
    np.testing.assert_array_equal(temporal.smooth(result, 1, 0.1, half_life_s=10.0).maps, result.maps)


def test_smoothing_continues_after_the_clock_jumps_back(result):
    temporal = TemporalFilter()
    temporal.smooth(result, 0, 1e9, half_life_s=1.0)
    np.testing.assert_allclose(temporal.smooth(scaled(result, 5), 0, 0.0, half_life_s=1.0).maps, result.maps)
    after = temporal.smooth(scaled(result, 5), 0, 1.0, half_life_s=1.0)
    np.testing.assert_allclose(after.maps, 3 * result.maps, rtol=1e-6)


def test_the_inputs_are_not_modified(result):
    before = result.maps.copy()
    temporal = TemporalFilter()
    first = temporal.smooth(result, 0, 0.0, half_life_s=1.0)
    first_maps = first.maps.copy()
    temporal.smooth(scaled(result, 4), 0, 1.0, half_life_s=1.0)
    np.testing.assert_array_equal(result.maps, before)
    np.testing.assert_array_equal(first.maps, first_maps)


def test_the_range_widens_at_once_and_shrinks_by_half_lives():
    temporal = TemporalFilter()
    assert temporal.update_range(MAP[None], 0.0) == (0.0, 4.0)
    assert temporal.update_range(2 * MAP[None], 1.0) == (0.0, 8.0)
    low, high = temporal.update_range(MAP[None], 1.0 + RANGE_HALF_LIFE_S)
    assert (low, high) == (0.0, pytest.approx(6.0))


def test_the_range_covers_all_drawn_classes():
    assert TemporalFilter().update_range(np.stack([MAP, -3 * MAP]), 0.0) == (-12.0, 4.0)


def test_a_map_that_is_constant_or_not_finite_still_has_a_range():
    temporal = TemporalFilter()
    assert temporal.update_range(np.full((1, 2, 2), np.nan, np.float32), 0.0) == (0.0, 1.0)
    low, high = temporal.update_range(np.zeros((1, 2, 2), np.float32), 0.1)
    assert low == 0.0 < high
    assert temporal.update_range(np.full((1, 2, 2), np.inf, np.float32), 0.2) == (low, high)


def test_a_scene_cut_begins_a_new_scene():
    scenes = SceneDetector()
    assert [scenes.observe(image(shade)) for shade in (0, 10, 20, 160, 150, 0)] == [0, 0, 0, 1, 1, 2]


def test_a_lost_signal_begins_a_new_scene():
    scenes = SceneDetector()
    first = scenes.observe(image(0))
    scenes.interrupt()
    scenes.interrupt()
    assert scenes.observe(image(0)) == first + 1
