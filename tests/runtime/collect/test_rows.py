"""Rows: what the model says of an image, with maps in 256 levels."""

import hashlib
import math

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

import camrt
from camrt.images import read_image
from camrt.runtime.collect.items import Item
from camrt.runtime.collect.rows import TOP, Seconds, dequantize_map, make_row, quantize_map
from camrt.runtime.maps.result import BOX_THRESHOLD
from support.labelled_data import BOXES, write_picture
from support.tiny_models import LABELS, write_class_maps, write_linear

FLOATS = st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False)


def row_of(model, path, classes=(), **changes):
    return make_row(model, Item(str(path), str(path), b"", classes=classes, **changes), Seconds()).values


@pytest.fixture
def picture(tmp_path):
    return write_picture(tmp_path / "a.png", BOXES["boat"])


def test_a_row_has_the_result_of_the_model(model, picture):
    row = row_of(model, picture, group="night")
    result = model(read_image(picture))
    assert row["class_ids"] == [number for number, _, _ in result.top(TOP)]
    assert row["scores"] == [score for _, _, score in result.top(TOP)]
    assert (row["width"], row["height"], row["group"]) == (64, 48, "night")
    assert row["sha1"] == hashlib.sha1(picture.read_bytes()).hexdigest()
    assert (row["cam_class"], row["cam_score"]) == (result.class_id, float(result.scores[result.class_id]))
    assert row["more_cams"] == []
    cam = result.visible_cam()
    stored = dequantize_map(row["cam"], row["cam_shape"], row["cam_low"], row["cam_high"])
    assert np.abs(stored - cam).max() <= (cam.max() - cam.min()) / 510 * 1.0001
    assert np.allclose(row["pooled"], result.maps.mean(axis=(1, 2)), rtol=2**-10, atol=0)
    boxes = result.boxes(threshold=BOX_THRESHOLD)
    assert [(box["x0"], box["y0"], box["x1"], box["y1"], box["score"]) for box in row["boxes"]] == boxes
    assert row.get("error") is None


def test_the_pooled_features_give_the_logits(model, picture):
    """They are what the linear layer saw, in 16-bit floats."""
    row = row_of(model, picture)
    logits = model.decoder.cam_weights @ row["pooled"].astype(np.float32) + model.decoder.cam_bias
    assert np.allclose(logits, model(read_image(picture)).logits, atol=0.01)


def test_the_map_is_that_of_the_best_true_class_and_the_predicted_one_comes_second(model, picture):
    result = model(read_image(picture))
    order = [number for number, _, _ in result.top(len(LABELS))]
    row = row_of(model, picture, classes=((order[3], order[2]), (order[1],)))
    assert row["cam_class"] == order[2]
    assert [one["cam_class"] for one in row["more_cams"]] == [order[1], order[0]]
    for one in row["more_cams"]:
        cam = result.visible_cam(one["cam_class"])
        stored = dequantize_map(one["cam"], row["cam_shape"], one["cam_low"], one["cam_high"])
        assert np.abs(stored - cam).max() <= (cam.max() - cam.min()) / 510 * 1.0001
        assert one["cam_score"] == float(result.scores[one["cam_class"]])
    assert row_of(model, picture, classes=((order[0],),))["more_cams"] == []


def test_cells_of_padding_are_not_stored_and_other_heads_have_no_pooled_features(tmp_path, picture):
    model = camrt.load(write_class_maps(tmp_path / "model.onnx"), provider="cpu")
    row = row_of(model, picture)
    assert (model.map_shape[1:], row["cam_shape"]) == ((10, 10), [8, 8])
    assert len(row["cam"]) == 64
    assert row.get("pooled") is None


@given(st.lists(FLOATS, min_size=1, max_size=12))
def test_quantization_keeps_the_ends_and_errs_by_half_a_level(values):
    cam = np.array(values, np.float32).reshape(1, -1)
    data, low, high = quantize_map(cam)
    stored = dequantize_map(data, cam.shape, low, high)
    assert (float(stored.min()), float(stored.max())) == (low, high) == (float(cam.min()), float(cam.max()))
    allowed = (high - low) / 510 + np.spacing(np.float32(max(abs(low), abs(high))))
    assert np.abs(stored.astype(np.float64) - cam).max() <= allowed


def with_weights(path, **weights):
    """Write the tiny model with constant weights."""
    file = onnx.load(write_linear(path))
    for tensor in file.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(
                numpy_helper.from_array(np.full(tensor.dims, weights[tensor.name], np.float32), tensor.name)
            )
    onnx.save(file, path)
    return camrt.load(path, provider="cpu")


def test_a_map_that_is_not_finite_is_an_error_and_not_stored(tmp_path, picture):
    row = row_of(with_weights(tmp_path / "model.onnx", kernel=1e5, weight=3e38), picture)
    assert "its map has values that are not finite" in row["error"]
    assert row.get("cam") is None


def test_features_beyond_float16_become_infinite(tmp_path, picture):
    assert np.isposinf(row_of(with_weights(tmp_path / "model.onnx", kernel=1e5), picture)["pooled"]).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xff\xd8\xff\xe0 no", "is truncated or damaged"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_broken_image_is_a_row_with_an_error(model, tmp_path, content, message):
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    row = row_of(model, path, label="boat")
    assert message in row["error"]
    assert (row["path"], row["label"], row.get("cam")) == (str(path), "boat", None)
    assert (row.get("sha1") is None) == (content is None)


def test_a_frame_is_hashed_by_its_pixels(model):
    frame = cv2.resize(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), (20, 10))
    row = row_of(model, "clip.mp4#frame=3", frame=frame)
    assert row["sha1"] == hashlib.sha1(frame.tobytes()).hexdigest()
    assert (row["width"], row["height"]) == (20, 10)
    assert math.isfinite(row["cam_high"])


def test_of_several_pages_the_first_is_used_and_a_remark_says_so(model, tmp_path):
    PIL = pytest.importorskip("PIL.Image")  # noqa: N806 - the package's name
    pages = [PIL.new("RGB", (20, 20 + number), (9, 9, 9)) for number in range(3)]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    made = make_row(model, Item("a.tiff", str(tmp_path / "a.tiff"), b""), Seconds())
    assert (made.values["height"], made.remark) == (20, "only the first picture of the file is used")
