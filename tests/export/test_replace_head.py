"""Model files with other weights of their head."""

import numpy as np
import onnx
import pytest

import camrt
from camrt.errors import ExportError, UsageError
from camrt.export.replace_head import replace_head
from camrt.export.verify.checks import TOLERANCE
from support.shortcut_models import draw, write_colour_model

pytestmark = pytest.mark.process  # a report names the processor


@pytest.fixture
def source(tmp_path):
    return write_colour_model(tmp_path / "model.onnx", mark=True)


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    return [draw(number % 2, random, mark=number > 2) for number in range(5)]


def fitted(model, images):
    return [np.asarray(one) for one in model.fitted(images)]


def test_the_new_file_has_the_new_weights_and_all_else_as_it_was(source, images, tmp_path):
    before = camrt.load(source, provider="cpu", threads=1)
    weights = before.decoder.cam_weights.copy()
    weights[1, 2] = 0.0
    bias = before.decoder.cam_bias + np.array([0, 1.5, 0, 0], np.float32)
    target = tmp_path / "fixed.onnx"
    record = replace_head(
        source, target, weights=weights, bias=bias, images=fitted(before, images), origin={"repaired": "corner of boat"}
    )
    assert record["identity_error"] <= TOLERANCE
    after = camrt.load(target, provider="cpu", threads=1)
    np.testing.assert_array_equal(after.decoder.cam_weights, weights)
    np.testing.assert_array_equal(after.decoder.cam_bias, bias)
    assert after.labels == before.labels
    assert after.geometry == before.geometry
    for image in images:
        old, new = before(image), after(image)
        np.testing.assert_array_equal(old.maps, new.maps)
        pooled = new.maps.mean(axis=(1, 2), dtype=np.float64)
        np.testing.assert_allclose(new.logits, pooled @ weights.T + bias, rtol=1e-4, atol=1e-4)
        for class_id in range(4):
            mean = new.cam(class_id).mean(dtype=np.float64)
            assert mean + bias[class_id] == pytest.approx(new.logits[class_id], abs=1e-3)
    assert after.info.source["repaired"] == "corner of boat"


def test_the_same_weights_give_the_same_answers(source, images, tmp_path):
    before = camrt.load(source, provider="cpu", threads=1)
    target = tmp_path / "same.onnx"
    replace_head(
        source,
        target,
        weights=before.decoder.cam_weights,
        bias=before.decoder.cam_bias,
        images=fitted(before, images),
        origin={},
    )
    after = camrt.load(target, provider="cpu", threads=1)
    for image in images:
        np.testing.assert_allclose(after(image).logits, before(image).logits, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(after(image).scores, before(image).scores, atol=1e-5)


def test_what_cannot_be_replaced_is_refused_and_nothing_is_written(source, images, tmp_path):
    before = camrt.load(source, provider="cpu", threads=1)
    weights, bias = before.decoder.cam_weights, before.decoder.cam_bias
    arguments = {"images": fitted(before, images), "origin": {}}
    target = tmp_path / "fixed.onnx"
    with pytest.raises(ExportError, match="new ones have"):
        replace_head(source, target, weights=weights[:, :2], bias=bias, **arguments)
    with pytest.raises(ExportError, match="NaN"):
        replace_head(source, target, weights=weights * np.nan, bias=bias, **arguments)
    broken = tmp_path / "other.onnx"
    onnx.save(onnx.ModelProto(), broken)
    with pytest.raises(ExportError):
        replace_head(broken, target, weights=weights, bias=bias, **arguments)
    assert not target.exists()
    target.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists"):
        replace_head(source, target, weights=weights, bias=bias, **arguments)
    assert target.read_bytes() == b"mine"
