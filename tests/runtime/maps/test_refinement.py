"""Refined maps follow their definitions; plain maps, scores and the identity stay."""

import cv2
import numpy as np
import pytest

import camrt
from camrt import kernels
from camrt.errors import UsageError
from camrt.runtime.maps.refine_frame import refine_frame
from camrt.runtime.maps.refined_cams import PERCENT
from camrt.runtime.maps.refinement import REFINEMENTS, parse_refinements
from support.tiny_models import write_class_maps


@pytest.fixture(scope="module")
def class_maps_model(tmp_path_factory):
    return camrt.load(write_class_maps(tmp_path_factory.mktemp("maps") / "model.onnx"), provider="cpu")


@pytest.fixture
def frame():
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def test_names_come_in_the_order_of_their_computation():
    assert parse_refinements("flip, clamp") == ("clamp", "flip")
    assert parse_refinements("none") == ()
    for text in ("sharp", "clamp,,ivr", "", "none,clamp"):
        with pytest.raises(UsageError, match="write none, or some of clamp,pc1,ivr,flip"):
            parse_refinements(text)


def test_the_identity_holds_for_the_plain_map_whatever_the_refinement(model, frame):
    plain = model(frame)
    refined = refine_frame(model, frame, ("clamp", "pc1", "ivr"))
    np.testing.assert_array_equal(refined.cams(), plain.cams())
    np.testing.assert_array_equal(refined.scores, plain.scores)
    for number, bias in enumerate(model.decoder.cam_bias):
        assert refined.cam(number).mean() + bias == pytest.approx(refined.logits[number], abs=1e-3)


def test_clamp_leaves_out_negative_weights(model, frame):
    result = model(frame)
    weights = np.maximum(model.decoder.cam_weights, 0)
    expected = np.tensordot(weights, model.decoder.decoded(result.maps), axes=1)
    assert (model.decoder.cam_weights < 0).any()
    clamped = result.refined(("clamp",))
    np.testing.assert_allclose(clamped.visible_cams(range(model.classes)), expected, rtol=1e-4, atol=1e-4)
    heat = clamped.heatmap(1)
    assert (heat != result.heatmap(1)).any()
    assert heat.argmax() == np.argmax(kernels.upsample(kernels.normalize(expected[1].astype(np.float32)), 64, 48))


def test_refinements_work_together_in_a_fixed_order(model, frame):
    result = model(frame).refined(("clamp", "pc1", "ivr"))
    weights = np.maximum(model.decoder.cam_weights[[2]], 0)
    expected = kernels.raise_to_percentile(kernels.principal_map(result.maps, weights), PERCENT)
    np.testing.assert_allclose(result.visible_cam(2), expected[0], rtol=1e-5)


def test_flip_averages_with_the_mirrored_frame_and_keeps_the_scores(model, frame):
    plain, mirrored = model(frame), model(np.ascontiguousarray(frame[:, ::-1]))
    flipped = refine_frame(model, frame, ("flip",))
    expected = (plain.cams() + mirrored.cams()[:, :, ::-1]) / 2
    np.testing.assert_allclose(flipped.visible_cams(range(model.classes)), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(flipped.logits, plain.logits)
    symmetric = np.concatenate([frame, cv2.flip(frame, 1)], axis=1)
    cam = refine_frame(model, symmetric, ("flip",)).visible_cam(0)
    np.testing.assert_allclose(cam, cam[:, ::-1], rtol=1e-4, atol=1e-4)


def test_uint8_maps_are_refined_by_their_real_values(model, frame):
    result = model(frame)
    numbers = np.random.default_rng(1).integers(0, 256, result.maps.shape, np.uint8)
    decoder = type(result.decoder)(result.decoder.labels, result.decoder.cam_weights, result.decoder.cam_bias, 0.5, 7)
    quantized = result._but(decoder=decoder, maps=numbers)
    real = result.with_maps(((numbers - 7.0) * 0.5).astype(np.float32))
    for names in (("clamp",), ("pc1",), ("ivr",), ("clamp", "pc1", "ivr")):
        cams = [one.refined(names).visible_cams([0, 1]) for one in (quantized, real)]
        np.testing.assert_allclose(*cams, rtol=1e-3, atol=1e-2)


def test_cells_of_padding_take_no_part_in_a_refinement(model, frame):
    result = model(frame)
    rng = np.random.default_rng(2)
    wide = rng.random((result.maps.shape[0], 7, 8), np.float32)
    decoder = type(result.decoder)(result.decoder.labels, result.decoder.cam_weights, result.decoder.cam_bias, margin=1)
    with_margin = result._but(decoder=decoder, maps=wide).refined(("pc1", "ivr"))
    inner = result.with_maps(np.ascontiguousarray(wide[:, 1:-1, 1:-1])).refined(("pc1", "ivr"))
    np.testing.assert_array_equal(with_margin.visible_cam(0), inner.visible_cam(0))


def test_a_head_without_weights_refuses_only_what_needs_them(class_maps_model, frame):
    for name in ("clamp", "pc1"):
        with pytest.raises(UsageError, match=f"refine {name} needs the weights of a linear head"):
            refine_frame(class_maps_model, frame, (name,))
    plain = class_maps_model(frame)
    refined = refine_frame(class_maps_model, frame, ("ivr",))
    expected = kernels.raise_to_percentile(plain.visible_cams([1]), PERCENT)[0]
    np.testing.assert_allclose(refined.visible_cam(1), expected)
    assert refine_frame(class_maps_model, frame, ("flip",)).refinements == ("flip",)


@pytest.mark.parametrize("name", REFINEMENTS)
def test_smoothing_and_enlarging_keep_the_refinement(model, frame, name):
    result = refine_frame(model, frame, (name,))
    assert result.with_maps(result.decoder.decoded(result.maps)).refinements == (name,)
    assert result.enlarged(2).refinements == (name,)
