"""The overlay and the upsampling agree with their NumPy twins and with OpenCV."""

import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from camrt import kernels
from camrt.kernels.reference import overlay_reference, upsample_reference
from camrt.runtime.maps.colormaps import COLORMAPS
from camrt.runtime.maps.overlay import colors

MAPS = hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(-1e3, 1e3, width=32))
SIDES = st.integers(1, 70)
ALPHAS = st.floats(0, 1) | st.floats(0, 1).map(lambda top: top * np.linspace(0, 1, 256))
TURBO = colors("turbo")


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def difference(a, b):
    return int(np.abs(a.astype(int) - b).max(initial=0))


@st.composite
def spans(draw, size):
    """Return two positions in 0 to ``size``, the smaller one first."""
    first, last = sorted((draw(st.integers(0, size)), draw(st.integers(0, size))))
    return first, last


@given(MAPS, SIDES, SIDES, st.sampled_from(sorted(COLORMAPS)), ALPHAS, st.sampled_from(["minmax", "relu_max", "range"]))
@settings(max_examples=300)
def test_overlay_equals_its_twin_within_one_level(cam, height, width, colormap, alpha, method):
    frame, table = noise(height, width), colors(colormap)
    value_range = (-3.0, 40.0) if method == "range" else None
    image = kernels.overlay(frame, cam, kernels.blend_table(table, alpha), method=method, value_range=value_range)
    twin = overlay_reference(frame, cam, table, alpha, method=method, value_range=value_range)
    assert difference(image, twin) <= 1


@pytest.mark.parametrize("colormap", sorted(COLORMAPS))
@pytest.mark.parametrize("width", [640, 1283, 1920, 3840])
def test_overlay_equals_its_twin_on_wide_frames(colormap, width):
    """The maps are flat enough for lines of four and eight pixels: rising, falling and level."""
    rng = np.random.default_rng(width)
    frame, table = noise(48, width), colors(colormap)
    frame[::2] = rng.choice(np.array([0, 255], np.uint8), frame[::2].shape)  # the error is largest for black and white
    ramp = np.linspace(-1, 1, 9, dtype=np.float32)
    cams = [rng.random((7, 7), np.float32), rng.random((2, 3), np.float32), np.stack([ramp, -ramp]), ramp[np.newaxis]]
    for cam in cams:
        for alpha in (0.3, 0.5, 1.0, np.linspace(0, 1, 256), np.linspace(0.9, 0.1, 256)):
            image = kernels.overlay(frame, cam, kernels.blend_table(table, alpha))
            assert difference(image, overlay_reference(frame, cam, table, alpha)) <= 1


@pytest.mark.parametrize("colormap", sorted(COLORMAPS))
@pytest.mark.parametrize("height", [61, 480, 1080, 2160])
def test_overlay_equals_its_twin_on_tall_frames(colormap, height):
    rng = np.random.default_rng(height)
    frame, table = noise(height, 41), colors(colormap)
    frame[:, ::2] = rng.choice(np.array([0, 255], np.uint8), frame[:, ::2].shape)
    ramp = np.linspace(-1, 1, 9, dtype=np.float32)[:, np.newaxis]
    cams = [rng.random((7, 7), np.float32), rng.random((3, 2), np.float32), np.hstack([ramp, -ramp]), ramp, ramp[:2]]
    for cam in cams:
        for alpha in (0.3, 0.5, 1.0, np.linspace(0, 1, 256), np.linspace(0.9, 0.1, 256)):
            image = kernels.overlay(frame, cam, kernels.blend_table(table, alpha))
            assert difference(image, overlay_reference(frame, cam, table, alpha)) <= 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(300, 2500), ALPHAS, st.booleans())
@settings(max_examples=60)
def test_overlay_equals_its_twin_for_any_palette_on_large_frames(seed, cells, side, alpha, tall):
    rng = np.random.default_rng(seed)
    steps = rng.integers(-14, 15, (256, 3))  # the largest steps that the bound of one level allows
    palette = np.abs((np.cumsum(steps, axis=0) + rng.integers(0, 511, 3)) % 510 - 255).astype(np.uint8)
    frame = noise(side, 6) if tall else noise(6, side)
    cam = rng.random((cells, 2) if tall else (2, cells), np.float32)
    image = kernels.overlay(frame, cam, kernels.blend_table(palette, alpha))
    assert difference(image, overlay_reference(frame, cam, palette, alpha)) <= 1


@pytest.mark.parametrize("colormap", ["turbo", "bone"])
@pytest.mark.parametrize(("change", "height"), [(0.001, 300), (0.003, 700), (0.005, 1080), (0.01, 2160)])
def test_an_opacity_that_hardly_changes_does_not_wrap_around(colormap, change, height):
    """Steps down the rows are integers, so a line can end slightly outside its last value."""
    frame, cam, table = np.full((height, 4, 3), 255, np.uint8), np.array([[0.0], [1.0]], np.float32), colors(colormap)
    for first, last in ((0, change), (change, 0), (1 - change, 1), (1, 1 - change)):
        opacity = np.linspace(first, last, 256)
        image = kernels.overlay(frame, cam, kernels.blend_table(table, opacity))
        assert difference(image, overlay_reference(frame, cam, table, opacity)) <= 1


def test_bands_of_rows_equal_the_whole_within_one_level():
    """Straight lines down the rows begin at each band."""
    frame, cam, table = noise(400, 30), np.random.default_rng(8).random((4, 4), np.float32), 0.7
    twin = overlay_reference(frame, cam, TURBO, table)
    for first, stop in ((0, 1), (3, 5), (17, 400), (101, 350)):
        out = frame.copy()
        kernels.overlay(frame, cam, kernels.blend_table(TURBO, table), out=out, rows=(first, stop))
        assert difference(out[first:stop], twin[first:stop]) <= 1
        assert np.array_equal(out[:first], frame[:first])
        assert np.array_equal(out[stop:], frame[stop:])


@given(st.data(), MAPS, SIDES, SIDES)
def test_a_part_of_the_map_on_a_part_of_the_frame_equals_the_twin(data, cam, height, width):
    (x0, x1), (y0, y1) = data.draw(spans(width)), data.draw(spans(height))
    u0, v0 = data.draw(st.floats(0, cam.shape[1] - 0.25)), data.draw(st.floats(0, cam.shape[0] - 0.25))
    map_rect = (u0, v0, data.draw(st.floats(u0 + 0.125, cam.shape[1])), data.draw(st.floats(v0 + 0.125, cam.shape[0])))
    frame, table = noise(height, width), kernels.blend_table(TURBO, 0.6)
    image = kernels.overlay(frame, cam, table, rect=(x0, y0, x1, y1), map_rect=map_rect)
    twin = overlay_reference(frame, cam, TURBO, 0.6, rect=(x0, y0, x1, y1), map_rect=map_rect)
    assert difference(image, twin) <= 1
    outside = np.ones((height, width), bool)
    outside[y0:y1, x0:x1] = False
    assert np.array_equal(image[outside], frame[outside])


@given(MAPS, SIDES, SIDES)
def test_upsample_equals_its_twin_and_the_resize_of_opencv(heatmap, height, width):
    big = kernels.upsample(heatmap, width, height)
    scale = np.abs(heatmap).max() + 1e-6
    np.testing.assert_allclose(big / scale, upsample_reference(heatmap, width, height) / scale, atol=1e-6)
    if max(heatmap.shape) > 1:  # for a single cell OpenCV has a special case
        np.testing.assert_allclose(big / scale, cv2.resize(heatmap, (width, height)) / scale, atol=1e-4)


def test_overlay_equals_the_usual_chain_of_opencv_within_its_rounding():
    # The chain rounds three times: the heatmap to 256 steps (half a step: up to 4 levels of turbo's steepest part,
    # halved by the opacity), the colour, and the blend.
    rng = np.random.default_rng(3)
    for height, width in ((480, 640), (1, 1), (719, 1279)):
        frame, heatmap = noise(height, width), rng.random((7, 7), np.float32)
        heat = cv2.resize(heatmap, (width, height))
        colored = cv2.applyColorMap(np.rint(255 * heat).astype(np.uint8), cv2.COLORMAP_TURBO)
        chain = cv2.addWeighted(frame, 0.5, colored.reshape(frame.shape), 0.5, 0.0)
        image = kernels.overlay(frame, heatmap, kernels.blend_table(TURBO, 0.5), method="range", value_range=(0, 1))
        assert difference(image, chain) <= 3
        assert np.abs(image.astype(int) - chain).mean() < 0.6


def test_full_and_zero_opacity_are_exact():
    frame, cam = noise(40, 50), np.random.default_rng(4).random((3, 5), np.float32)
    assert np.array_equal(kernels.overlay(frame, cam, kernels.blend_table(TURBO, 0.0)), frame)
    cold = kernels.overlay(frame, np.zeros((3, 5), np.float32), kernels.blend_table(TURBO, 1.0))
    assert (cold == TURBO[0]).all()


def test_cold_pixels_keep_the_colours_of_the_frame_if_opacity_follows_the_value():
    frame, cam = noise(40, 50), np.zeros((4, 4), np.float32)
    cam[3, 3] = 1.0
    image = kernels.overlay(frame, cam, kernels.blend_table(TURBO, np.linspace(0, 0.9, 256)))
    assert np.array_equal(image[:20, :20], frame[:20, :20])
    assert difference(image[-1, -1], 0.1 * frame[-1, -1] + 0.9 * TURBO[255]) <= 1


@pytest.mark.parametrize("cam", [np.full((3, 3), np.nan), np.full((3, 3), np.inf), np.full((3, 3), 5.0)], ids=str)
def test_a_map_without_a_maximum_is_drawn_cold(cam):
    frame = noise(20, 30)
    image = kernels.overlay(frame, cam.astype(np.float32), kernels.blend_table(TURBO, 1.0))
    assert (image == TURBO[0]).all()


LAYOUTS = {
    "packed": lambda frame: frame,
    "rows apart": lambda frame: np.concatenate([frame, frame], axis=1)[:, : frame.shape[1]],
    "upside down": lambda frame: frame[::-1].copy()[::-1],
    "mirrored": lambda frame: frame[:, ::-1].copy()[:, ::-1],
    "channels reversed": lambda frame: frame[..., ::-1].copy()[..., ::-1],
    "planes": lambda frame: frame.transpose(2, 0, 1).copy().transpose(1, 2, 0),
    "four channels": lambda frame: np.dstack([frame, frame[..., :1]])[..., :3],
}


@pytest.mark.parametrize("into", LAYOUTS)
@pytest.mark.parametrize("of", LAYOUTS)
def test_overlay_accepts_frames_and_buffers_of_any_layout(of, into):
    cam, table = np.random.default_rng(5).random((4, 4), np.float32), kernels.blend_table(TURBO, 0.5)
    expected = kernels.overlay(noise(31, 41), cam, table)
    frame, out = LAYOUTS[of](noise(31, 41)), LAYOUTS[into](np.zeros((31, 41, 3), np.uint8))
    assert kernels.overlay(frame, cam, table, out=out) is out
    assert np.array_equal(out, expected)
    assert np.array_equal(frame, noise(31, 41))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_overlay_works_in_place(layout):
    cam, table = np.random.default_rng(5).random((4, 4), np.float32), kernels.blend_table(TURBO, 0.5)
    rect = (3, 4, 38, 29)
    frame = LAYOUTS[layout](noise(31, 41))
    assert kernels.overlay(frame, cam, table, rect=rect, out=frame) is frame
    assert np.array_equal(frame, kernels.overlay(noise(31, 41), cam, table, rect=rect))


@pytest.mark.parametrize("shift", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("forwards", [True, False])
def test_overlay_fills_a_buffer_that_overlaps_the_frame(shift, forwards):
    memory = np.empty(31 * 41 * 3 + shift, np.uint8)
    front, back = (memory[start : start + 31 * 41 * 3].reshape(31, 41, 3) for start in (0, shift))
    frame, out = (front, back) if forwards else (back, front)
    frame[...] = noise(31, 41)
    cam, table = np.random.default_rng(5).random((4, 4), np.float32), kernels.blend_table(TURBO, 0.5)
    kernels.overlay(frame, cam, table, out=out)
    assert np.array_equal(out, kernels.overlay(noise(31, 41), cam, table))


def test_many_threads_draw_the_whole_overlay_in_bands_of_rows():
    frame, cam, table = (
        noise(200, 90),
        np.random.default_rng(6).random((7, 7), np.float32),
        kernels.blend_table(TURBO, 0.5),
    )
    whole = kernels.overlay(frame, cam, table, rect=(5, 20, 80, 190))
    out = np.zeros_like(frame)
    kernels.overlay(frame, cam, table, rect=(5, 20, 80, 190), out=out, rows=(50, 60))
    assert np.array_equal(out[50:60], whole[50:60])
    assert not out[:50].any()
    assert not out[60:].any()
    with ThreadPoolExecutor(8) as pool:
        bands = [(first, first + 10) for first in range(0, 200, 10)]
        list(pool.map(lambda b: kernels.overlay(frame, cam, table, rect=(5, 20, 80, 190), out=out, rows=b), bands * 20))
    assert np.array_equal(out, whole)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame": np.zeros((4, 4), np.uint8)}, "a frame must be uint8"),
        ({"frame": np.zeros((4, 4, 4), np.uint8)}, "a frame must be uint8"),
        ({"frame": np.zeros((4, 4, 3))}, "a frame must be uint8"),
        ({"cam": np.zeros((1, 4, 4), np.float32)}, "a map must be"),
        ({"cam": np.zeros((0, 4), np.float32)}, "a map must be"),
        ({"rect": (0, 0, 5, 4)}, "rect .* inside the frame of 4x4"),
        ({"rect": (3, 0, 2, 4)}, "rect .* inside"),
        ({"rows": (0, 5)}, "rows .* inside the frame of 4 rows"),
        ({"map_rect": (1.0, 0.0, 1.0, 2.0)}, "map_rect .* u0 < u1"),
        ({"out": np.zeros((4, 5, 3), np.uint8)}, "out must be"),
        ({"method": "softmax"}, "use one of"),
    ],
)
def test_wrong_arguments_raise_value_error(changes, message):
    right = {"frame": np.zeros((4, 4, 3), np.uint8), "cam": np.zeros((2, 2), np.float32)}
    with pytest.raises(ValueError, match=message):
        kernels.overlay(table=kernels.blend_table(TURBO, 0.5), **right | changes)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, np.nan, np.zeros(3)], ids=str)
def test_an_opacity_out_of_range_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        kernels.blend_table(TURBO, alpha)


def test_a_read_only_frame_is_accepted_and_a_read_only_buffer_refused():
    frame = noise(8, 8)
    frame.flags.writeable = False
    cam, table = np.eye(3, dtype=np.float32), kernels.blend_table(TURBO, 0.5)
    kernels.overlay(frame, cam, table)
    assert np.array_equal(frame, noise(8, 8))
    with pytest.raises(ValueError, match="writeable"):
        kernels.overlay(noise(8, 8), cam, table, out=frame)


def test_warm_up_compiles_every_kernel():
    kernels.warm_up()
    modules = [module for name, module in sys.modules.items() if name.startswith("camrt.kernels")]
    compiled = [value for module in modules for value in vars(module).values() if hasattr(value, "signatures")]
    assert compiled
    before = [len(kernel.signatures) for kernel in compiled]
    cam = np.asfortranarray(np.random.default_rng(7).random((5, 4), np.float32))
    cam.flags.writeable = False
    features = np.random.default_rng(7).random((6, 5, 4), np.float32)[:, ::-1]
    kernels.weighted_sum(features, np.ones((2, 6), np.float32))
    kernels.upsample(cam, 9, 9, map_rect=(0, 0, 2, 2))
    kernels.boxes(cam, [0.1, 0.5], rect=(0, 0, 640, 480), map_rect=(0, 0, 2, 2))
    for alpha in (1, 0.5, np.linspace(0, 1, 256)):
        for layout in LAYOUTS.values():
            kernels.overlay(layout(noise(20, 20)), cam, kernels.blend_table(TURBO, alpha), rect=(1, 2, 12, 13))
    assert [len(kernel.signatures) for kernel in compiled] == before
