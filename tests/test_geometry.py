"""Placement of the network's input and of the map on the frame, for each resize method."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from camrt.errors import ModelFileError
from camrt.geometry import fit, place
from camrt.model_file import InputGeometry

sides = st.integers(1, 300)


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def difference(a, b):
    return int(np.abs(np.asarray(a).astype(int) - np.asarray(b)).max())


@given(sides, sides)
def test_stretch_uses_the_whole_frame(width, height):
    placement = place(InputGeometry(width=64, height=48), width, height)
    assert placement.frame_rect == (0, 0, width, height)
    assert placement.input_rect == (0.0, 0.0, 1.0, 1.0)


@given(sides, sides, st.sampled_from([None, 64, 73, 100]), st.sampled_from(["antialias", "linear"]))
def test_crop_uses_the_centre_at_the_aspect_of_the_input(width, height, shorter_side, interpolation):
    geometry = InputGeometry(width=64, height=64, resize="crop", shorter_side=shorter_side, interpolation=interpolation)
    x0, y0, x1, y1 = place(geometry, width, height).frame_rect
    scale = min(width, height) / (shorter_side or 64)
    # antialias: the whole frame is resized to whole pixels, so edges move by up to one pixel of the resized frame.
    slack = 0.5 if interpolation == "linear" else 1 + scale
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert abs((x1 - x0) - max(1, 64 * scale)) <= slack
    assert abs((y1 - y0) - max(1, 64 * scale)) <= slack
    assert abs((x0 + x1) - width) <= 2 * slack
    assert abs((y0 + y1) - height) <= 2 * slack


@given(sides, sides)
def test_letterbox_puts_the_whole_frame_in_the_centre_of_the_input(width, height):
    geometry = InputGeometry(width=64, height=48, resize="letterbox")
    placement = place(geometry, width, height)
    u0, v0, u1, v1 = placement.input_rect
    assert placement.frame_rect == (0, 0, width, height)
    scale = min(64 / width, 48 / height)
    assert abs((u1 - u0) * 64 - max(1, width * scale)) <= 0.5
    assert abs((v1 - v0) * 48 - max(1, height * scale)) <= 0.5
    assert abs(u0 + u1 - 1) <= 1 / 64 + 1e-9
    assert abs(v0 + v1 - 1) <= 1 / 48 + 1e-9


@pytest.mark.parametrize(("interpolation", "flag"), [("linear", cv2.INTER_LINEAR), ("area", cv2.INTER_AREA)])
def test_fit_stretches_and_crops_like_opencv_where_the_file_says_so(interpolation, flag):
    frame = noise(90, 160)
    before = frame.copy()
    out = np.empty((48, 64, 3), np.uint8)
    fit(frame, InputGeometry(width=64, height=48, interpolation=interpolation), out)
    np.testing.assert_array_equal(out, cv2.resize(frame, (64, 48), interpolation=flag))
    out = np.empty((64, 64, 3), np.uint8)
    fit(frame, InputGeometry(width=64, height=64, resize="crop", interpolation=interpolation), out)
    np.testing.assert_array_equal(out, cv2.resize(frame[:, 35:125], (64, 64), interpolation=flag))
    np.testing.assert_array_equal(frame, before)


FRAMES = [(640, 480), (480, 640), (1920, 1080), (1277, 853), (333, 500), (256, 256), (150, 100), (97, 1211), (300, 224)]


@pytest.mark.input_kind(
    "preprocessing", "frames of any size, stretched", "Pillow, bilinear", "equal within 1 grey level"
)
@pytest.mark.parametrize("size", FRAMES)
def test_fit_stretches_like_pillow_by_default(size):
    frame, out = noise(size[1], size[0]), np.empty((227, 224, 3), np.uint8)
    before = frame.copy()
    fit(frame, InputGeometry(width=224, height=227), out)
    assert difference(out, Image.fromarray(frame).resize((224, 227), Image.Resampling.BILINEAR)) <= 1
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize("size", FRAMES)
def test_the_rect_of_a_crop_is_the_part_of_the_frame_that_the_input_shows(size):
    """A map is drawn on this rect: the centre of a bright spot has the same place in the input and in the rect."""
    width, height = size
    geometry = InputGeometry(width=224, height=224, resize="crop", shorter_side=256)
    x0, y0, x1, y1 = place(geometry, width, height).frame_rect
    y, x = np.mgrid[:height, :width] + 0.5
    for u, v in ((0.5, 0.5), (0.25, 0.7)):
        spot_x, spot_y, radius = x0 + u * (x1 - x0), y0 + v * (y1 - y0), (x1 - x0) / 8
        spot = np.exp(-((x - spot_x) ** 2 + (y - spot_y) ** 2) / radius**2) * 255
        out = np.empty((224, 224, 3), np.uint8)
        fit(np.repeat(spot[..., np.newaxis], 3, axis=2).astype(np.uint8), geometry, out)
        light = out[..., 0].astype(float)
        inside_y, inside_x = np.mgrid[:224, :224] + 0.5
        pixel = 224 / (x1 - x0)  # of the frame, in the input; the rect is rounded to it
        assert abs((light * inside_x).sum() / light.sum() - u * 224) <= 0.5 * pixel + 0.3
        assert abs((light * inside_y).sum() / light.sum() - v * 224) <= 0.5 * pixel + 0.3


def test_fit_resizes_the_whole_frame_into_a_letterbox():
    frame, out = noise(90, 160), np.full((64, 64, 3), 9, np.uint8)
    fit(frame, InputGeometry(width=64, height=64, resize="letterbox"), out)
    assert difference(out[14:50], Image.fromarray(frame).resize((64, 36), Image.Resampling.BILINEAR)) <= 1
    assert not out[:14].any()
    assert not out[50:].any()


def test_fit_pads_a_letterbox_with_black_around_the_rect_of_the_placement():
    frame = np.full((50, 100, 3), 200, np.uint8)
    geometry = InputGeometry(width=64, height=64, resize="letterbox")
    out = np.full((64, 64, 3), 99, np.uint8)
    fit(frame, geometry, out)
    _, v0, _, v1 = place(geometry, 100, 50).input_rect
    top, bottom = round(v0 * 64), round(v1 * 64)
    assert (out[top:bottom] == 200).all()
    assert not out[:top].any()
    assert not out[bottom:].any()


@given(
    sides, sides, st.sampled_from(["stretch", "crop", "letterbox"]), st.sampled_from(["antialias", "linear", "area"])
)
def test_fit_accepts_frames_from_one_pixel_up(width, height, resize, interpolation):
    out = np.empty((16, 24, 3), np.uint8)
    geometry = InputGeometry(width=24, height=16, resize=resize, interpolation=interpolation)
    fit(np.full((height, width, 3), 7, np.uint8), geometry, out)
    assert (out == 7).any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 0, "height": 5}, "width of the input is 0"),
        ({"width": 8, "height": 8, "resize": "squash"}, "stretch, crop, letterbox"),
        ({"width": 8, "height": 8, "interpolation": "cubic"}, "antialias, linear, area"),
        ({"width": 8, "height": 8, "shorter_side": 9}, "needs resize 'crop'"),
        ({"width": 8, "height": 8, "resize": "crop", "shorter_side": 7}, "7 pixels is too short to crop 8x8"),
    ],
)
def test_an_invalid_geometry_is_refused(wrong, message):
    with pytest.raises(ModelFileError, match=message):
        InputGeometry(**wrong)
