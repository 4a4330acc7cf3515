"""Placement of the network's input and of the map on the frame, for each resize method."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrt.errors import ModelFileError
from camrt.geometry import fit, place
from camrt.model_file import InputGeometry

sides = st.integers(1, 300)


@given(sides, sides)
def test_stretch_uses_the_whole_frame(width, height):
    placement = place(InputGeometry(width=64, height=48), width, height)
    assert placement.frame_rect == (0, 0, width, height)
    assert placement.input_rect == (0.0, 0.0, 1.0, 1.0)


@given(sides, sides, st.sampled_from([None, 64, 73, 100]))
def test_crop_uses_the_centre_at_the_aspect_of_the_input(width, height, shorter_side):
    geometry = InputGeometry(width=64, height=64, resize="crop", shorter_side=shorter_side)
    x0, y0, x1, y1 = place(geometry, width, height).frame_rect
    side = min(width, height) * 64 / (shorter_side or 64)
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert abs((x1 - x0) - max(1, side)) <= 0.5
    assert abs((y1 - y0) - max(1, side)) <= 0.5
    assert abs((x0 + x1) - width) <= 1
    assert abs((y0 + y1) - height) <= 1


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


def test_fit_stretches_like_opencv_and_keeps_the_frame_unchanged():
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    before = frame.copy()
    out = np.empty((48, 64, 3), np.uint8)
    fit(frame, InputGeometry(width=64, height=48), out)
    np.testing.assert_array_equal(out, cv2.resize(frame, (64, 48)))
    np.testing.assert_array_equal(frame, before)


def test_fit_crops_the_rect_of_the_placement():
    frame = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)
    geometry = InputGeometry(width=64, height=64, resize="crop", interpolation="area")
    out = np.empty((64, 64, 3), np.uint8)
    fit(frame, geometry, out)
    np.testing.assert_array_equal(out, cv2.resize(frame[:, 35:125], (64, 64), interpolation=cv2.INTER_AREA))


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


@given(sides, sides, st.sampled_from(["stretch", "crop", "letterbox"]))
def test_fit_accepts_frames_from_one_pixel_up(width, height, resize):
    out = np.empty((16, 24, 3), np.uint8)
    fit(np.full((height, width, 3), 7, np.uint8), InputGeometry(width=24, height=16, resize=resize), out)
    assert (out == 7).any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 0, "height": 5}, "0x5 is empty"),
        ({"width": 8, "height": 8, "resize": "squash"}, "stretch, crop, letterbox"),
        ({"width": 8, "height": 8, "interpolation": "cubic"}, "linear, area"),
        ({"width": 8, "height": 8, "shorter_side": 9}, "needs resize 'crop'"),
        ({"width": 8, "height": 8, "resize": "crop", "shorter_side": 7}, "at least the input's 8x8"),
    ],
)
def test_an_invalid_geometry_is_refused(wrong, message):
    with pytest.raises(ModelFileError, match=message):
        InputGeometry(**wrong)
