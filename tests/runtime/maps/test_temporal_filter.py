"""Over time: maps are smoothed by half-life, colours stand for the same numbers, and a new scene begins anew."""

import numpy as np
import pytest

import camrt
from camrt.runtime.frames import Frame
from camrt.runtime.maps.overlay import OverlayStyle
from camrt.runtime.maps.temporal_filter import RANGE_HALF_LIFE_S, TemporalFilter
from camrt.runtime.render.display_settings import View
from camrt.runtime.render.renderer import Renderer
from support.tiny_models import write_linear

MAP = np.array([[0.0, 1.0], [2.0, 4.0]], np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return camrt.load(write_linear(tmp_path_factory.mktemp("model") / "model.onnx"))


def frame(shade, index=0, time_s=None):
    ramp = np.linspace(0, 40, 32).astype(np.uint8)[:, None] + np.linspace(0, 40, 24).astype(np.uint8)
    image = np.repeat((ramp.T + shade).astype(np.uint8)[..., None], 3, axis=2)
    return Frame(image, index, index / 10 if time_s is None else time_s, "camera")


def test_after_a_half_life_the_old_map_weighs_half():
    steadier = TemporalFilter()
    steadier.smooth(0, MAP, 0, 10.0, half_life_s=2.0)
    np.testing.assert_allclose(steadier.smooth(0, 3 * MAP, 1, 12.0, half_life_s=2.0), 2 * MAP)
    np.testing.assert_allclose(steadier.smooth(0, 2 * MAP, 2, 16.0, half_life_s=2.0), 2 * MAP)


@pytest.mark.parametrize("rate", [5, 50])
def test_how_often_a_map_comes_does_not_matter(rate):
    steadier = TemporalFilter()
    steadier.smooth(0, 0 * MAP, 0, 0.0, half_life_s=0.5)
    for index in range(1, rate + 1):  # one second, two half-lives
        smoothed = steadier.smooth(0, MAP, index, index / rate, half_life_s=0.5)
    np.testing.assert_allclose(smoothed, 0.75 * MAP, rtol=1e-5)


def test_the_same_result_again_changes_nothing_and_classes_do_not_mix():
    steadier = TemporalFilter()
    steadier.smooth(0, MAP, 0, 0.0, half_life_s=1.0)
    np.testing.assert_array_equal(steadier.smooth(0, MAP, 0, 5.0, half_life_s=1.0), MAP)
    np.testing.assert_array_equal(steadier.smooth(1, 7 * MAP, 0, 5.0, half_life_s=1.0), 7 * MAP)


def test_a_clock_that_jumps_back_does_no_harm():
    steadier = TemporalFilter()
    steadier.smooth(0, MAP, 0, 1e9, half_life_s=1.0)
    np.testing.assert_array_equal(steadier.smooth(0, 5 * MAP, 1, 0.0, half_life_s=1.0), MAP)
    np.testing.assert_allclose(steadier.smooth(0, 5 * MAP, 2, 1.0, half_life_s=1.0), 3 * MAP)


def test_the_range_widens_at_once_and_comes_back_by_half_lives():
    steadier = TemporalFilter()
    assert steadier.widen(MAP, 0, 0.0) == (0.0, 4.0)
    assert steadier.widen(2 * MAP, 1, 1.0) == (0.0, 8.0)
    low, high = steadier.widen(MAP, 2, 1.0 + RANGE_HALF_LIFE_S)
    assert (low, high) == (0.0, pytest.approx(6.0))
    assert steadier.widen(0.1 * MAP, 2, 500.0) == (low, high)  # another class of the same result takes nothing away


def test_a_map_that_is_constant_or_broken_still_has_a_range():
    steadier = TemporalFilter()
    assert steadier.widen(np.full((2, 2), np.nan, np.float32), 0, 0.0) == (0.0, 1.0)
    low, high = steadier.widen(np.zeros((2, 2), np.float32), 1, 0.1)
    assert low == 0.0 < high
    assert steadier.widen(np.full((2, 2), np.inf, np.float32), 2, 0.2) == (low, high)


def drawn(renderer, model, picture, result_index):
    return renderer.render(picture, model(picture.image), result_index).image.copy()


def test_an_empty_scene_is_not_painted_as_if_something_were_there(model):
    """What is little beside what was there before stays cold; drawn by itself it has all the colours."""
    view = View(OverlayStyle(colormap="bone", alpha=1.0), classes=(1,), running_range=True)
    renderer = Renderer(view, hud=False, provider=None, threads=1)
    lively = frame(100)
    lively.image[8:16, 12:24] = 255
    dull = Frame((lively.image // 16 + 90).astype(np.uint8), 1, 0.1, "camera")  # the same, with hardly any contrast
    drawn(renderer, model, lively, 0)
    calm = drawn(renderer, model, dull, 1)
    alone = model(dull.image).draw(dull.image, 1, style=view.style)
    assert np.ptp(alone) == 255
    assert np.ptp(calm) < 0.7 * np.ptp(alone)
    renderer.close()


def test_a_map_of_the_scene_before_is_not_drawn_over_a_new_one(model):
    view = View(OverlayStyle(), smooth_s=10.0)
    renderer = Renderer(view, hud=False, provider=None, threads=1)
    old, new = frame(0, 0), frame(160, 1)
    assert (drawn(renderer, model, old, 0) != old.image).any()
    stale = renderer.render(new, model(old.image), 0).image
    np.testing.assert_array_equal(stale, new.image)
    fresh = drawn(renderer, model, new, 1)
    np.testing.assert_array_equal(fresh, model(new.image).draw(new.image, style=view.style))  # nothing of the old one
    renderer.close()


def test_a_map_of_a_frame_that_was_not_drawn_may_be_of_the_scene_before():
    steadier = TemporalFilter()
    assert steadier.is_of_this_scene(frame(0, 10), 10)
    assert not steadier.is_of_this_scene(frame(160, 13), 12)  # where between 11 and 13 was the cut?
    assert steadier.is_of_this_scene(frame(160, 14), 13)


def test_where_nobody_looked_for_long_the_newest_map_is_of_the_scene_that_is_there():
    steadier = TemporalFilter()
    assert steadier.is_of_this_scene(frame(0, 10), 10)
    assert steadier.is_of_this_scene(frame(160, 3000), 2999)
    assert steadier.is_of_this_scene(frame(160, 3000), 2999)  # it is frozen and drawn again
    assert not steadier.is_of_this_scene(frame(0, 6000), 3000)  # one that was looked at


def test_what_is_not_believed_is_hardly_painted(model):
    picture = frame(100)
    result = model(picture.image)
    renderer = Renderer(View(OverlayStyle(alpha=0.8), fade=True), hud=False, provider=None, threads=1)
    faded = renderer.render(picture, result, 0).image.copy()
    alpha = round(0.8 * float(result.scores[result.class_id]) * 64) / 64
    np.testing.assert_array_equal(faded, result.draw(picture.image, style=OverlayStyle(alpha=alpha)))
    renderer.close()


def test_without_smoothing_each_map_is_drawn_by_itself(model):
    renderer = Renderer(View(OverlayStyle()), hud=False, provider=None, threads=1)
    for index, shade in enumerate((0, 160, 20)):
        picture = frame(shade, index)
        np.testing.assert_array_equal(drawn(renderer, model, picture, index), model(picture.image).draw(picture.image))
    renderer.close()
