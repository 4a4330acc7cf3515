"""Preparation of images: all kinds are decoded as in the runtime, broken ones are named, near-duplicates are found."""

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from camrt.export.train.near_duplicates import find_near_duplicates
from camrt.export.train.prepare import SMALLEST_SIDE, prepare
from camrt.export.train.samples import Sample
from camrt.geometry import fit
from camrt.images import read_image
from camrt.model_file import InputGeometry
from support.training_data import shape_image, write_image

SIZE = 32


def samples_of(*paths):
    return tuple(Sample(path, path.name, "ant") for path in paths)


@pytest.fixture
def kinds(tmp_path):
    """One image as grey, 16-bit, CMYK, palette and colour file."""
    image = cv2.resize(shape_image("ant", 0)[0], (90, 60), interpolation=cv2.INTER_NEAREST)
    grey = write_image(tmp_path / "grey.png", image[..., 2])
    deep = write_image(tmp_path / "deep.png", image.astype(np.uint16) * 257)
    pillow = PillowImage.fromarray(image[..., ::-1])
    pillow.convert("CMYK").save(tmp_path / "cmyk.jpg")
    pillow.convert("P").save(tmp_path / "palette.gif")
    return [grey, deep, tmp_path / "cmyk.jpg", tmp_path / "palette.gif", write_image(tmp_path / "plain.png", image)]


def test_validation_images_are_those_that_the_runtime_computes(kinds):
    part = prepare(samples_of(*kinds), SIZE, whole=True, room=1 << 30)
    geometry = InputGeometry(width=SIZE, height=SIZE, resize="stretch", interpolation="antialias")
    assert [sample.path for sample in part.samples] == kinds
    for number, path in enumerate(kinds):
        expected = np.empty((SIZE, SIZE, 3), np.uint8)
        fit(read_image(path), geometry, expected)
        assert np.array_equal(part.store.image(number), expected)
    assert part.sides.tolist() == [[90, 60]] * len(kinds)


@pytest.mark.parametrize("whole", [True, False])
def test_images_without_room_are_decoded_again_with_the_same_pixels(kinds, whole):
    kept, decoded = (prepare(samples_of(*kinds), SIZE, whole=whole, room=room).store for room in (1 << 30, 0))
    for number in range(len(kinds)):
        assert np.array_equal(kept.image(number), decoded.image(number))
    assert kept._kept
    assert not decoded._kept


def test_training_images_keep_a_margin_for_crops(kinds):
    store = prepare(samples_of(*kinds), SIZE, whole=False, room=1 << 30).store
    assert store.image(0).shape == (40, 40, 3)  # 1.25 times the input


@pytest.mark.input_kind("folder", "broken images and images of 1x1 (camrt train)", "-", "left out and named")
def test_images_that_cannot_be_used_are_named(kinds, tmp_path):
    truncated, empty, text = tmp_path / "cut.jpg", tmp_path / "empty.png", tmp_path / "text.png"
    truncated.write_bytes(kinds[2].read_bytes()[:300])
    empty.write_bytes(b"")
    text.write_text("no image")
    dot = write_image(tmp_path / "dot.png", np.zeros((1, 1, 3), np.uint8))
    least = write_image(tmp_path / "least.png", np.zeros((SMALLEST_SIDE, SMALLEST_SIDE, 3), np.uint8))
    part = prepare(samples_of(truncated, kinds[0], empty, text, dot, least, kinds[4]), SIZE, whole=False, room=1 << 30)
    assert [sample.path for sample in part.samples] == [kinds[0], least, kinds[4]]
    assert len(part.problems) == 4
    for name in ("cut.jpg", "empty.png", "text.png", "dot.png has 1x1 pixels"):
        assert any(name in problem for problem in part.problems)
    assert part.thumbnails.shape[0] == len(part.store) == 3


def thumbnails(images):
    return np.stack([cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA) for image in images])


def photo(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC)


def test_saved_again_and_resized_copies_are_near_duplicates():
    train = [photo(seed) for seed in range(20)]
    _, data = cv2.imencode(".jpg", cv2.resize(train[7], (90, 70)), [cv2.IMWRITE_JPEG_QUALITY, 50])
    again = cv2.imdecode(data, cv2.IMREAD_COLOR)
    darker, other, mirrored = (train[3] * 0.5).astype(np.uint8), photo(99), train[5][:, ::-1]
    found = find_near_duplicates(thumbnails(train), thumbnails([other, again, darker, mirrored, train[11]]))
    assert found.tolist() == [-1, 7, -1, -1, 11]


def test_images_of_one_colour_are_near_duplicates_of_their_colour_only():
    flat = [np.full((20, 20, 3), value, np.uint8) for value in (10, 200)]
    assert find_near_duplicates(thumbnails(flat[:1]), thumbnails(flat)).tolist() == [0, -1]
