"""Maps, boxes and overlays cover the part of the frame that the network saw."""

import pickle
from dataclasses import FrozenInstanceError, replace

import cv2
import numpy as np
import pytest

import camrt
from camrt.errors import UsageError
from camrt.model_file import InputGeometry
from camrt.runtime.maps.colormaps import COLORMAPS
from camrt.runtime.maps.overlay import OverlayStyle, colors
from support.tiny_models import SIZE, model_info, write_linear


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return a model for each way to fit a frame into the network's input."""
    folder = tmp_path_factory.mktemp("models")
    models_by_resize = {}
    for resize in ("stretch", "crop", "letterbox"):
        geometry = InputGeometry(width=SIZE, height=SIZE, resize=resize)
        models_by_resize[resize] = camrt.load(
            write_linear(folder / f"{resize}.onnx", info=model_info(geometry=geometry)), provider="cpu"
        )
    return models_by_resize


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def with_map(result, cam):
    """Return the result with another map for class 0."""
    weights = result.decoder.cam_weights
    maps = np.zeros((weights.shape[1], *cam.shape), np.float32)
    channel = int(np.argmax(weights[0]))
    maps[channel] = cam / weights[0, channel]
    return result.with_maps(maps)


def corner(y, x, side=8):
    cam = np.zeros((side, side), np.float32)
    cam[y, x] = 1.0
    return cam


def test_a_stretched_map_is_the_opencv_resize_of_the_normalised_cam(models):
    result = models["stretch"](noise(90, 130))
    cam = result.cam(1)
    expected = cv2.resize((cam - cam.min()) / (cam.max() - cam.min()), (130, 90))
    np.testing.assert_allclose(result.heatmap(1), expected, atol=2e-3)
    assert result.heatmap(1).dtype == np.float32


def test_outside_a_crop_the_heatmap_is_zero_and_the_overlay_is_the_frame(models):
    frame = noise(60, 120)
    result = with_map(models["crop"](frame), corner(0, 0))
    heat = result.heatmap(0)
    assert not heat[:, :30].any()
    assert not heat[:, 90:].any()
    assert np.unravel_index(heat.argmax(), heat.shape)[1] == 30
    overlay = result.draw(frame, 0)
    np.testing.assert_array_equal(overlay[:, :30], frame[:, :30])
    np.testing.assert_array_equal(overlay[:, 90:], frame[:, 90:])
    assert (overlay[:, 30:90] != frame[:, 30:90]).any()


def test_a_letterboxed_map_is_cropped_to_the_frame(models):
    # 100x50 in 32x32: the frame is rows 8 to 24 of the input, so map rows 2 to 6 of 8.
    result = with_map(models["letterbox"](noise(50, 100)), corner(2, 7))
    heat = result.heatmap(0)
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert y < 50 / 4
    assert x >= 100 * 7 / 8
    hidden = with_map(models["letterbox"](noise(50, 100)), corner(0, 7)).heatmap(0)
    assert not hidden.any()


def test_boxes_surround_the_warm_regions_largest_first(models):
    cam = np.zeros((8, 8), np.float32)
    cam[1:4, 1:4] = 1.0
    cam[6, 6] = 0.8
    result = with_map(models["stretch"](noise(80, 160)), cam)
    boxes = result.boxes(0, threshold=0.5)
    assert len(boxes) == 2
    x0, y0, x1, y1, score = boxes[0]
    assert abs(x0 - 20) <= 2
    assert abs(x1 - 80) <= 2
    assert abs(y0 - 10) <= 2
    assert abs(y1 - 40) <= 2
    assert score == pytest.approx(1.0, abs=0.01)
    assert boxes[1][0] > 80


def test_boxes_stay_in_the_frame_and_in_the_crop(models):
    frame = noise(60, 120)
    result = with_map(models["crop"](frame), np.ones((8, 8), np.float32) - corner(4, 4))
    (x0, y0, x1, y1, _), *_ = result.boxes(0)
    assert (x0, y0, x1, y1) == (30, 0, 90, 60)


def test_a_constant_map_is_cold_has_no_box_and_draws_without_nan(models):
    frame = noise(30, 40)
    result = with_map(models["stretch"](frame), np.full((8, 8), 3.0, np.float32))
    assert not result.heatmap(0).any()
    assert result.boxes(0) == []
    np.testing.assert_array_equal(result.draw(frame, 0), frame)
    cold = colors("turbo")[0].astype(int)
    expected = (frame.astype(int) + cold) / 2
    overlay = result.draw(frame, 0, style=OverlayStyle(alpha=0.5, alpha_by_value=False))
    assert np.abs(overlay - expected).max() <= 1


def test_top_is_sorted_and_nan_comes_last(models):
    result = models["stretch"](noise(30, 40))
    scores = [score for _, _, score in result.top(4)]
    assert scores == sorted(scores, reverse=True)
    assert result.class_id == result.top(1)[0][0] == int(np.argmax(result.scores))
    result.scores = np.array([0.1, np.nan, 0.7, 0.2], np.float32)
    assert [class_id for class_id, _, _ in result.top(9)] == [2, 3, 0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_of_equal_scores_the_first_class_is_better(models, seed):
    result = models["stretch"](noise(30, 40))
    random = np.random.default_rng(seed)
    scores = random.integers(0, 5, 60).astype(np.float32)
    scores[random.integers(0, 60, 4)] = np.nan
    result.scores = scores
    result.decoder = replace(result.decoder, labels=tuple(map(str, range(60))))
    ordered = sorted(range(60), key=lambda number: (np.isnan(scores[number]), -scores[number], number))
    ranks = [number for number in ordered if not np.isnan(scores[number])]
    for k in (0, 1, 5, len(ranks)):
        assert [number for number, _, _ in result.top(k)] == ranks[:k]
    assert result.top(-1) == []


def test_draw_fills_the_buffer_of_the_caller_and_works_in_place(models):
    frame = noise(30, 40)
    result = models["stretch"](frame)
    out = np.empty_like(frame)
    assert result.draw(frame, out=out) is out
    result.draw(frame, out=frame)
    np.testing.assert_array_equal(frame, out)


def test_alpha_by_value_keeps_cold_pixels(models):
    frame = noise(80, 80)
    result = with_map(models["stretch"](frame), corner(0, 0))
    overlay = result.draw(frame, 0, style=OverlayStyle(alpha_by_value=True))
    np.testing.assert_array_equal(overlay[40:, 40:], frame[40:, 40:])
    assert (overlay[:5, :5] != frame[:5, :5]).any()


@pytest.mark.parametrize("by_value", [False, True])
def test_pixels_below_the_threshold_are_those_of_the_frame_and_others_do_not_change(models, by_value):
    frame = noise(240, 320)
    result = models["stretch"](frame)
    heat = result.heatmap(0)
    usual = result.draw(frame, 0, style=OverlayStyle(alpha_by_value=by_value))
    overlay = result.draw(frame, 0, style=OverlayStyle(alpha_by_value=by_value, threshold=0.5))
    cold, hot = heat < 0.49, heat > 0.51
    assert cold.sum() > 1000
    assert hot.sum() > 1000
    np.testing.assert_array_equal(overlay[cold], frame[cold])
    assert np.abs(overlay[hot].astype(int) - usual[hot]).max() <= 1


@pytest.mark.parametrize("name", COLORMAPS)
def test_colours_equal_those_of_opencv(name):
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 256)
    expected = cv2.applyColorMap(ramp, getattr(cv2, f"COLORMAP_{name.upper()}"))
    np.testing.assert_array_equal(colors(name), expected.reshape(256, 3))


def test_invalid_arguments_raise_usage_error(models):
    frame = noise(30, 40)
    result = models["stretch"](frame)
    with pytest.raises(UsageError, match="no class 4; the model has 0 to 3"):
        result.cam(4)
    with pytest.raises(UsageError, match="no class 9223372036854775808"):
        result.cam(2**63)
    with pytest.raises(UsageError, match="no class -1"):
        result.cam(-1)
    with pytest.raises(UsageError, match="the frame is 40x31"):
        result.draw(noise(31, 40))
    with pytest.raises(UsageError, match="threshold 1"):
        result.boxes(threshold=1.0)
    for wrong in (
        {"colormap": "rainbow-dash"},
        {"alpha": 1.5},
        {"threshold": -0.1},
        {"threshold": float("nan")},
        {"normalization": "softmax"},
        {"normalization": "range"},
        {"value_range": (0.0, 1.0)},
        {"normalization": "range", "value_range": (1.0, 1.0)},
    ):
        with pytest.raises(UsageError):
            OverlayStyle(**wrong)


def test_cams_of_several_classes_equal_the_cam_of_each(models):
    result = models["stretch"](noise(40, 50))
    np.testing.assert_array_equal(result.cams([2, 0]), np.stack([result.cam(2), result.cam(0)]))
    np.testing.assert_array_equal(result.cams(), np.stack([result.cam(k) for k in range(result.decoder.classes)]))
    assert result.cams([]).shape == (0, *result.cam().shape)
    with pytest.raises(UsageError, match="no class 4; the model has 0 to 3"):
        result.cams([1, 4])


def test_a_result_pickles(models):
    frame = noise(40, 50)
    result = models["letterbox"](frame)
    copy = pickle.loads(pickle.dumps(result))
    assert copy.top() == result.top()
    assert copy.boxes() == result.boxes()
    np.testing.assert_array_equal(copy.draw(frame), result.draw(frame))


def test_the_decoder_cannot_be_changed(models):
    with pytest.raises(FrozenInstanceError):
        models["stretch"].decoder.scale = 2.0
