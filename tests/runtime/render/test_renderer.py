"""The renderer draws panels, boxes and text; side-by-side maps share a value range."""

import numpy as np
import pytest

from camrt.runtime.frames import Frame, StreamItem
from camrt.runtime.maps.overlay import OverlayStyle
from camrt.runtime.render.display_settings import DisplaySettings
from camrt.runtime.render.renderer import Renderer

GREY = {"colormap": "bone", "alpha": 1.0, "alpha_by_value": False}


def noise(height=240, width=320):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def item_of(model, image, **fields):
    result = model(image)
    return StreamItem(Frame(image, 0, 0.0, "noise"), result, 0, stages_ms=result.stages_ms, **fields)


def draw(item, *, hud=False, provider=None, **settings):
    renderer = Renderer(hud=hud, provider=provider, threads=1)
    return renderer.render(item, DisplaySettings(**settings)).image.copy()


def test_boxes_are_drawn_only_where_the_result_has_them(model):
    item = item_of(model, noise())
    plain, boxed = (draw(item, classes=(1, 2), boxes=boxes) for boxes in (False, True))
    changed = (plain != boxed).any(axis=2)
    for panel, class_id in ((changed[:, :320], 1), (changed[:, 320:], 2)):
        near = np.zeros_like(panel)
        for x0, y0, x1, y1, _ in item.result.boxes(class_id):
            near[max(0, y0 - 3) : y1 + 3, max(0, x0 - 3) : x1 + 3] = True
            near[y0 + 3 : y1 - 3, x0 + 3 : x1 - 3] = False
            assert panel[y0, x0:x1].mean() > 0.9
        assert panel.any()
        assert not panel[~near].any()


@pytest.mark.parametrize(
    ("height", "width", "has_text"),
    [(1, 1, False), (8, 200, False), (80, 100, False), (120, 160, False), (240, 320, True), (480, 640, True)],
)
def test_small_images_have_no_text(model, height, width, has_text):
    item = item_of(model, np.zeros((height, width, 3), np.uint8))
    image = draw(item, hud=True, provider="cpu")
    assert image.shape == (height, width, 3)
    assert (image != draw(item)).any() == has_text


@pytest.mark.parametrize(
    ("height", "width"), [(100, 400), (160, 200), (224, 224), (240, 320), (480, 640), (1080, 1920)]
)
def test_text_covers_a_small_part_of_the_image(model, height, width):
    item = item_of(model, np.zeros((height, width, 3), np.uint8))
    text = (draw(item, hud=True, alpha=0.0) != 0).any(axis=2) | (draw(item, hud=True) != draw(item)).any(axis=2)
    assert text.mean() < 0.27  # the list of classes and the caption, an eighth of the image each at most


def test_one_value_range_for_all_panels_keeps_a_class_without_evidence_cold(model):
    image = noise()
    item = item_of(model, image)
    maps = np.zeros_like(item.result.maps)
    weights = item.result.decoder.cam_weights
    channel = int(np.argmax(np.abs(weights[1]) - np.abs(weights[2])))
    maps[channel, 2, 2] = 1.0
    item = StreamItem(item.frame, item.result.with_maps(maps), 0)
    first, second = np.split(draw(item, classes=(1, 2), **GREY), 2, axis=1)
    ranges = np.ptp(first), np.ptp(second)
    peak = np.abs(item.result.cam(1)).max(), np.abs(item.result.cam(2)).max()
    assert ranges[1] < ranges[0] * min(1.0, peak[1] / peak[0]) + 8
    alone = np.split(draw(item, classes=(1, 2), **GREY, normalize="minmax"), 2, axis=1)
    assert min(np.ptp(alone[0]), np.ptp(alone[1])) > 240


def test_a_class_without_evidence_is_cold_also_without_the_best_class_beside_it(model):
    item = item_of(model, noise())
    best, *_, last = (class_id for class_id, _, _ in item.result.top(4))
    low = min(float(item.result.visible_cam(k).min()) for k in (best, last))
    high = max(float(item.result.visible_cam(k).max()) for k in (best, last))
    style = OverlayStyle(normalization="range", value_range=(low, high))
    expected = item.result.draw(item.frame.image, last, style=style)
    np.testing.assert_array_equal(draw(item, classes=(last,)), expected)


@pytest.mark.parametrize("normalize", ["shared", "minmax", "running"])
def test_a_single_panel_uses_all_colours(model, normalize):
    item = item_of(model, noise())
    np.testing.assert_array_equal(
        draw(item, normalize=normalize), item.result.draw(item.frame.image, style=OverlayStyle())
    )


def test_the_running_range_of_the_item_is_used(model):
    item = item_of(model, noise(), value_range=(-3.0, 7.0))
    style = OverlayStyle(normalization="range", value_range=(-3.0, 7.0))
    expected = item.result.draw(item.frame.image, style=style)
    np.testing.assert_array_equal(draw(item, normalize="running"), expected)
    np.testing.assert_array_equal(draw(item, normalize="-3,7"), expected)
    assert (draw(item, normalize="shared") != expected).any()


def test_a_map_of_an_earlier_scene_is_not_drawn(model):
    item = item_of(model, noise(), same_scene=False)
    np.testing.assert_array_equal(draw(item, boxes=True), item.frame.image)


def test_fade_scales_the_opacity_by_the_score(model):
    item = item_of(model, noise())
    alpha = round(0.8 * float(item.result.scores[item.result.class_id]) * 64) / 64
    expected = item.result.draw(item.frame.image, style=OverlayStyle(alpha=alpha))
    np.testing.assert_array_equal(draw(item, alpha=0.8, fade=True), expected)


def test_a_class_that_is_named_twice_is_drawn_twice(model):
    item = item_of(model, noise())
    once, twice = (draw(item, classes=classes) for classes in ((1, 2), (1, 1, 2)))
    width = once.shape[1] // 2
    np.testing.assert_array_equal(twice, np.hstack([once[:, :width], once]))
