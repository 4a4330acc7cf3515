"""Frames are cropped, turned and mirrored before anything else sees them."""

import numpy as np
import pytest
from PIL import Image

import camrt
from camrt.errors import SourceError, UsageError
from camrt.runtime.sources import open_source
from camrt.runtime.sources.files.images import ImageSource
from camrt.runtime.sources.transform import FrameTransform, TransformedSource
from support.overlays import gradient_image
from support.tiny_models import write_linear

IMAGE = gradient_image(24, 32, shade=9)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ({"crop": (3, 5, 10, 7)}, IMAGE[5:12, 3:13]),
        ({"rotation": 90}, np.rot90(IMAGE, -1)),
        ({"rotation": 180}, np.rot90(IMAGE, 2)),
        ({"rotation": 270}, np.rot90(IMAGE)),
        ({"flip": "horizontal"}, IMAGE[:, ::-1]),
        ({"flip": "vertical"}, IMAGE[::-1]),
        ({"flip": "both"}, IMAGE[::-1, ::-1]),
        ({"crop": (0, 0, 8, 4), "rotation": 90, "flip": "horizontal"}, np.rot90(IMAGE[:4, :8], -1)[:, ::-1]),
        ({"crop": (0, 0, 32, 24)}, IMAGE),
    ],
)
def test_a_frame_is_cropped_then_rotated_then_flipped(transform, expected):
    before = IMAGE.copy()
    image = FrameTransform(**transform).apply(IMAGE)
    np.testing.assert_array_equal(image, expected)
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(IMAGE, before)


@pytest.mark.parametrize("crop", [(-1, 0, 5, 5), (0, 0, 0, 5), (0, 0, 5, -1)])
def test_an_impossible_crop_is_wrong_use(crop):
    with pytest.raises(UsageError, match="must be X,Y,W,H"):
        FrameTransform(crop=crop)


def test_images_that_a_crop_exceeds_are_problems(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, size in zip(paths, [(40, 40), (9, 9), (20, 20)], strict=True):
        Image.new("RGB", size).save(path)
    source = TransformedSource(ImageSource(paths, name="in"), FrameTransform(crop=(5, 5, 10, 10)))
    assert [source.read().index, source.read().index, source.read()] == [0, 2, None]
    assert source.problems == [f"{paths[1]}: the crop 5,5,10,10 does not lie within the image of 9x9"]
    source = TransformedSource(ImageSource(paths, name="in"), FrameTransform(crop=(5, 5, 100, 10)))
    with pytest.raises(SourceError, match=r"2\.png: the crop 5,5,100,10 does not lie within the image of 20x20"):
        source.read()


def test_a_crop_that_exceeds_a_video_is_an_error():
    source = TransformedSource(open_source("synthetic"), FrameTransform(crop=(0, 0, 9999, 10)))
    with pytest.raises(SourceError, match="synthetic: the crop 0,0,9999,10 does not lie within the image"):
        source.read()
    source.close()


def test_the_map_lies_on_the_changed_frame(tmp_path):
    model = camrt.load(write_linear(tmp_path / "model.onnx"), provider="cpu")
    Image.fromarray(IMAGE[..., ::-1]).save(tmp_path / "a.png")
    transform = FrameTransform(crop=(2, 1, 20, 16), rotation=90)
    frame = TransformedSource(open_source(str(tmp_path / "a.png")), transform).read()
    assert model(frame.image).heatmap().shape == (20, 16)
    np.testing.assert_array_equal(model(frame.image).logits, model(transform.apply(IMAGE)).logits)
