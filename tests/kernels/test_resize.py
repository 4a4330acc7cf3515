"""The resize agrees with its NumPy twin, Pillow and torch, for every ratio, window and layout."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from camrt import kernels
from camrt.kernels.reference import resize_reference

SIDES = st.integers(1, 90)
BLACK_AND_WHITE = np.array([0, 255], np.uint8)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def difference(a, b):
    return int(np.abs(a.astype(int) - b).max(initial=0))


def pillow(image, width, height, window=None):
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, box=window))


@st.composite
def spans(draw, size):
    """Return two positions in 0 to ``size`` that are not the same, the smaller one first."""
    first = draw(st.floats(0, size - 0.1))
    return first, draw(st.floats(first + 0.05, size))


@st.composite
def cases(draw):
    """Return an image, a width, a height, and a window or None."""
    height, width = draw(SIDES), draw(SIDES)
    seed = draw(st.integers(0, 2**32 - 1))
    image = noise(height, width, seed)
    if draw(st.booleans()):
        image = np.random.default_rng(seed).choice(BLACK_AND_WHITE, image.shape)
    if draw(st.booleans()):
        return image, draw(SIDES), draw(SIDES), None
    (x0, x1), (y0, y1) = draw(spans(width)), draw(spans(height))
    return image, draw(SIDES), draw(SIDES), (x0, y0, x1, y1)


@given(cases())
@settings(max_examples=300)
def test_resize_equals_its_twin_and_pillow_within_one_level(case):
    image, width, height, window = case
    result = kernels.resize(image, width, height, window)
    assert difference(result, resize_reference(image, width, height, window)) <= 1
    assert difference(result, pillow(image, width, height, window)) <= 1


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (1333, 1001), (1920, 1080), (4096, 256)])
@pytest.mark.parametrize("target", [(224, 224), (227, 227), (32, 32), (299, 180)])
def test_resize_equals_pillow_and_torch_on_frames(size, target):
    image = noise(size[1], size[0], size[0])
    image[:, : size[0] // 2] = np.random.default_rng(1).choice(BLACK_AND_WHITE, (size[1], size[0] // 2, 3))
    result = kernels.resize(image, *target)
    assert difference(result, pillow(image, *target)) <= 1
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    exact = torch.nn.functional.interpolate(tensor, target[::-1], mode="bilinear", antialias=True)
    assert difference(result, exact[0].permute(1, 2, 0).round().byte().numpy()) <= 1


@pytest.mark.parametrize("side", [1, 22, 23, 24, 25, 46, 47, 48, 511, 512, 513, 514, 1030, 2100])
@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_sums_of_any_length_are_exact(side, outputs):
    """The sums change their width at 23 rows and at 512 columns of an output."""
    for image in (noise(side, 5), noise(5, side)):
        height, width = (outputs, 5) if image.shape[0] == side else (5, outputs)
        for frame in (image, np.full_like(image, 255), np.zeros_like(image)):
            assert difference(kernels.resize(frame, width, height), pillow(frame, width, height)) <= 1


@given(st.integers(0, 255), SIDES, SIDES, SIDES, SIDES)
def test_an_even_image_does_not_change(level, height, width, new_height, new_width):
    assert (kernels.resize(np.full((height, width, 3), level, np.uint8), new_width, new_height) == level).all()


def test_the_same_size_changes_nothing():
    image = noise(40, 50)
    assert np.array_equal(kernels.resize(image, 50, 40), image)


def test_a_window_equals_a_part_of_the_whole_image_resized():
    image = noise(300, 400)
    whole = kernels.resize(image, 100, 60)
    part = kernels.resize(image, 30, 20, (20 * 4, 10 * 5, 50 * 4, 30 * 5))
    assert difference(part, whole[10:30, 20:50]) <= 1


LAYOUTS = {
    "cut": lambda image: image[3:-4, 5:-2],
    "every second row": lambda image: image[::2],
    "every second column": lambda image: image[:, ::2],
    "upside down": lambda image: image[::-1],
    "mirrored": lambda image: image[:, ::-1],
    "RGB": lambda image: image[..., ::-1],
    "transposed": lambda image: image.transpose(1, 0, 2),
    "planes": lambda image: np.moveaxis(np.ascontiguousarray(np.moveaxis(image, 2, 0)), 0, 2),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_gives_the_same(layout):
    image, out = LAYOUTS[layout](noise(97, 120)), LAYOUTS[layout](np.zeros((60, 60, 3), np.uint8))
    image.flags.writeable = False
    height, width = out.shape[:2]
    assert kernels.resize(image, width, height, out=out) is out
    assert np.array_equal(out, kernels.resize(np.ascontiguousarray(image), width, height))


@pytest.mark.parametrize("size", [(97, 120), (7, 9), (7, 120)])
def test_nothing_outside_the_result_is_written(size):
    around = np.full((30, 40, 3), 77, np.uint8)
    kernels.resize(noise(*size), 20, 10, out=around[8:18, 11:31])
    around[8:18, 11:31] = 77
    assert (around == 77).all()


def test_an_image_at_the_end_of_its_memory_is_not_read_beyond():
    """Values behind the image change nothing; a kernel that adds them shows them in the last pixels."""
    memory = np.full((50, 60, 3), 255, np.uint8)
    for size in ((48, 57), (5, 6)):
        memory[: size[0], : size[1]] = 0
        assert not kernels.resize(memory[: size[0], : size[1]], 8, 8).any()


def test_several_threads_resize_at_once():
    images = [noise(200, 300, seed) for seed in range(8)]
    expected = [kernels.resize(image, 50, 40) for image in images]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda image: kernels.resize(image, 50, 40), images * 4))
    assert all(np.array_equal(result, expected[index % 8]) for index, result in enumerate(results))


def test_a_frame_is_resized_without_a_new_array():
    image, out = noise(480, 640), np.empty((224, 224, 3), np.uint8)
    kernels.resize(image, 224, 224, out=out)
    tracemalloc.start()  # NumPy reports its arrays to tracemalloc
    kernels.resize(image[10:, 20:], 224, 224, (1.5, 1.5, 300.25, 301.0), out=out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < out.nbytes  # the frame has six times as many


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": np.zeros((4, 4), np.uint8)}, r"uint8 \(H, W, 3\)"),
        ({"image": np.zeros((4, 4, 4), np.uint8)}, r"uint8 \(H, W, 3\)"),
        ({"image": np.zeros((4, 4, 3), np.float32)}, "not float32"),
        ({"image": np.zeros((0, 4, 3), np.uint8)}, "with pixels"),
        ({"window": (0, 0, 5, 4)}, "inside the image of 4x4"),
        ({"window": (-0.5, 0, 4, 4)}, "inside the image"),
        ({"window": (2, 0, 2, 4)}, "inside the image"),
        ({"window": (0, 0, float("nan"), 4)}, "inside the image"),
        ({"out": np.zeros((2, 3, 3), np.uint8)}, "out must be"),
        ({"out": np.zeros((2, 2, 3), np.int8)}, "out must be"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    arguments = {"image": np.zeros((4, 4, 3), np.uint8), "width": 2, "height": 2} | arguments
    with pytest.raises(ValueError, match=message):
        kernels.resize(**arguments)
