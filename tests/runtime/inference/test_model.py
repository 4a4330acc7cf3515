"""A model file opens, describes itself, and its maps explain its scores."""

import threading
from pathlib import Path

import cv2
import numpy as np
import onnx
import PIL.Image
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import camrt
from camrt.errors import ModelFileError, ProviderError, UsageError
from camrt.model_file import InputGeometry
from camrt.runtime.inference.cam_identity import check_identity
from support.tiny_models import LABELS, SIZE, model_info, write_class_maps, write_linear


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    return camrt.load(write_linear(tmp_path_factory.mktemp("linear") / "model.onnx"), provider="cpu")


@pytest.fixture(scope="module")
def class_maps(tmp_path_factory):
    return camrt.load(write_class_maps(tmp_path_factory.mktemp("maps") / "model.onnx"), provider="cpu")


def noise(height=50, width=70, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_a_model_describes_its_head_classes_and_maps(linear, class_maps):
    assert (linear.head, linear.classes, linear.map_shape) == ("linear", 4, (8, 8, 8))
    assert (class_maps.head, class_maps.classes, class_maps.map_shape) == ("pooled_class_maps", 4, (4, 10, 10))
    assert linear.labels == LABELS
    assert linear.provider == "cpu"


def test_on_the_cpu_one_thread_is_left_for_drawing(tmp_path):
    model = camrt.load(write_linear(tmp_path / "model.onnx"), provider="cpu", threads=3)
    assert (model.threads, model.spare_threads) == (3, 1)


def test_the_identity_holds_for_both_heads(linear, class_maps):
    for model in (linear, class_maps):
        check = check_identity(model, model(noise()))
        assert check.holds
        assert check.relative < 1e-5


def test_the_identity_does_not_hold_for_another_models_weights(linear, tmp_path):
    other = camrt.load(write_linear(tmp_path / "other.onnx", seed=5), provider="cpu")
    mixed = other(noise()).with_maps(linear(noise()).maps)
    assert not check_identity(other, mixed).holds


def test_the_cam_is_the_weighted_sum_of_the_features(linear):
    result = linear(noise())
    expected = np.einsum("c,chw->hw", result.decoder.cam_weights[2], result.maps)
    np.testing.assert_allclose(result.cam(2), expected, rtol=1e-5, atol=1e-5)


def test_the_border_of_padding_cells_is_in_the_cam_and_not_in_the_visible_cam(class_maps):
    result = class_maps(noise())
    assert result.cam(1).shape == (10, 10)
    np.testing.assert_array_equal(result.visible_cam(1), result.cam(1)[1:-1, 1:-1])


def test_a_list_of_frames_gives_the_results_of_single_frames(linear):
    frames = [noise(seed=1), noise(20, 31, seed=2), noise(200, 100, seed=3)]
    for frame, together in zip(frames, linear(frames), strict=True):
        alone = linear(frame)
        np.testing.assert_allclose(together.scores, alone.scores, rtol=1e-5)
        np.testing.assert_allclose(together.cam(), alone.cam(), rtol=1e-4, atol=1e-5)
        assert together.heatmap().shape == frame.shape[:2]
    assert linear([]) == []


def test_results_do_not_change_when_the_model_runs_again(linear):
    first = linear(noise(seed=1))
    scores, cam = first.scores.copy(), first.cam().copy()
    linear(noise(seed=2))
    np.testing.assert_array_equal(first.scores, scores)
    np.testing.assert_array_equal(first.cam(), cam)


def test_several_threads_can_call_a_model_at_once(linear):
    frames = [noise(seed=seed) for seed in range(20)]
    expected = [linear(frame).logits for frame in frames]
    wrong = []

    def work():
        for frame, logits in zip(frames, expected, strict=True):
            if not np.allclose(linear(frame).logits, logits, rtol=1e-4, atol=1e-5):
                wrong.append(frame)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_frame_is_never_modified(linear):
    frame = noise()
    frame.setflags(write=False)
    before = frame.copy()
    linear(frame).draw(frame)
    np.testing.assert_array_equal(frame, before)


def test_a_class_is_named_by_label_part_of_a_label_or_number(linear):
    assert linear.class_id("duck") == 3
    assert linear.class_id(" BOAT ") == 1
    assert linear.class_id("2") == 2
    assert linear.class_id("anch") == 0
    with pytest.raises(UsageError, match="no class 'ship'"):
        linear.class_id("ship")
    with pytest.raises(UsageError, match=r"match 'c': 0 \(anchor\), 2 \(cup\), 3 \(duck\)"):
        linear.class_id("c")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (None, r"the frame is None; cv2\.imread returns None for a file that is missing"),
        (np.zeros((5, 5, 2), np.uint8), r"not uint8 \(5, 5, 2\)"),
        (np.zeros((3, 60, 80), np.uint8), r"for channels first: np\.ascontiguousarray\(frame\.transpose\(1, 2, 0\)\)"),
        (np.zeros((5, 5, 3), np.uint16), r"for 16 bits: \(frame >> 8\)\.astype"),
        (np.zeros((5, 5, 3), np.float32), r"for values from 0 to 1: \(frame \* 255\)\.round\(\)"),
        (np.zeros((5, 5), np.bool_), r"for a mask: frame\.astype\(np\.uint8\) \* 255"),
        (np.zeros((0, 5, 3), np.uint8), r"a frame of shape \(0, 5, 3\) is empty"),
        (np.zeros(5, np.uint8), r"not uint8 \(5,\)"),
        ("photo.jpg", r"not a path; read the file first: cv2\.imread\('photo\.jpg'\)"),
        (Path("photo.jpg"), r"not a path; read the file first: cv2\.imread\('photo\.jpg'\)"),
        (torch.zeros(3, 6, 8), r"not a torch tensor of shape \(3, 6, 8\)"),
        (7, "not int"),
    ],
)
@pytest.mark.input_kind(
    "image", "None, floats, channels first, torch tensor, path from Python", "-", "refused with the fix"
)
def test_invalid_frames_raise_usage_error(linear, frame, message):
    for passed in (frame, [frame]):
        with pytest.raises(UsageError, match=message):
            linear(passed)


def pil_image(mode):
    return PIL.Image.fromarray(noise()[..., ::-1]).convert(mode)


@pytest.mark.parametrize(
    ("frame", "colour"),
    [
        (noise()[..., 0], cv2.cvtColor(noise()[..., 0], cv2.COLOR_GRAY2BGR)),
        (noise()[..., :1], cv2.cvtColor(noise()[..., 0], cv2.COLOR_GRAY2BGR)),
        (np.dstack([noise(), noise()[..., 0]]), noise()),
        (noise()[:, ::-1], np.ascontiguousarray(noise()[:, ::-1])),
        (pil_image("RGB"), noise()),
        (pil_image("RGBA"), noise()),
        (pil_image("L"), np.asarray(pil_image("L").convert("RGB"))),
        (pil_image("P"), np.asarray(pil_image("P").convert("RGB"))[..., ::-1]),
        (PIL.Image.fromarray(noise()[..., 0].astype(np.uint16) * 16 + 15), np.dstack([noise()[..., 0]] * 3)),
    ],
)
@pytest.mark.input_kind("image", "grey, BGRA and PIL frames from Python", "the colour frame", "equal")
def test_other_frames_give_the_result_of_the_colour_frame(linear, frame, colour):
    result, expected = linear(frame), linear(np.ascontiguousarray(colour))
    np.testing.assert_array_equal(result.logits, expected.logits)
    np.testing.assert_array_equal(result.draw(frame), expected.draw(np.ascontiguousarray(colour)))
    assert isinstance(linear([frame]), list)


def test_a_batch_array_gives_a_list(linear):
    batch = np.stack([noise(seed=1), noise(seed=2)])
    for together, frame in zip(linear(batch), batch, strict=True):
        np.testing.assert_allclose(together.logits, linear(frame).logits, rtol=1e-4, atol=1e-5)
    assert linear(batch[:0]) == []


def test_a_file_without_labels_numbers_its_classes_or_takes_labels_of_the_caller(tmp_path):
    path = write_linear(tmp_path / "m.onnx", info=model_info(labels=None))
    assert camrt.load(path, "cpu").labels == ("class 0", "class 1", "class 2", "class 3")
    assert camrt.load(path, "cpu", labels="abcd").labels == ("a", "b", "c", "d")
    with pytest.raises(ModelFileError, match="4 classes but 3 labels"):
        camrt.load(path, "cpu", labels="abc")


def test_a_file_without_geometry_needs_a_geometry_of_the_caller(tmp_path):
    path = write_linear(tmp_path / "m.onnx", info=model_info(geometry=None))
    with pytest.raises(ModelFileError, match=r"again with camrt attach; in Python, camrt\.load takes a geometry"):
        camrt.load(path, "cpu")
    geometry = InputGeometry(width=SIZE, height=SIZE, resize="letterbox")
    assert camrt.load(path, "cpu", geometry=geometry).geometry == geometry


def test_a_path_without_a_model_raises_model_file_error(tmp_path):
    with pytest.raises(ModelFileError, match=r"no model file at .*none\.onnx"):
        camrt.load(tmp_path / "none.onnx")
    with pytest.raises(ModelFileError, match="it is a folder"):
        camrt.load(tmp_path)
    for name, content in {"empty.onnx": b"", "text.onnx": b"hello, this is no model"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelFileError, match=rf"{name} \(\d+ bytes\) is not a model"):
            camrt.load(tmp_path / name, "cpu")
    content = write_linear(tmp_path / "whole.onnx").read_bytes()
    (tmp_path / "half.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelFileError, match=r"half\.onnx \(\d+ bytes\) is not a model"):
        camrt.load(tmp_path / "half.onnx", "cpu")


def test_the_error_for_an_onnx_classifier_suggests_camrt_attach(tmp_path):
    path = write_linear(tmp_path / "raw.onnx")
    model = onnx.load(path)
    del model.graph.output[2:]
    onnx.save(model, path)
    with pytest.raises(ModelFileError, match=r"camrt attach .*raw\.onnx"):
        camrt.load(path, "cpu")


def test_a_provider_that_cannot_run_is_an_error_without_fallback_to_the_cpu(tmp_path):
    path = write_linear(tmp_path / "m.onnx")
    with pytest.raises(ProviderError, match="provider 'qnn' cannot run: onnxruntime"):
        camrt.load(path, provider="qnn")
    with pytest.raises(UsageError, match="no provider 'gpu'; known: auto"):
        camrt.load(path, provider="gpu")
    with pytest.raises(UsageError, match="threads 0 must be"):
        camrt.load(path, threads=0)


@pytest.fixture(params=["linear", "class_maps"])
def float_and_uint8(request, tmp_path):
    """Return a model with float maps, and the same model with uint8 maps. Both must give equal results."""
    grid = {"scale": 0.03, "zero_point": 7}
    write = {"linear": write_linear, "class_maps": write_class_maps}[request.param]
    maps = {"linear": "features", "class_maps": "class_maps"}[request.param]
    source = write(tmp_path / "float.onnx", info=model_info(quantization={"features": grid}))
    model = onnx.load(source)
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == maps:
                    names[index] = "real" if names is node.input else "before"
    constants = {"scale": np.array(grid["scale"], np.float32), "zero": np.array(grid["zero_point"], np.uint8)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    quantize = helper.make_node("QuantizeLinear", ["before", "scale", "zero"], ["numbers"])
    dequantize = helper.make_node("DequantizeLinear", ["numbers", "scale", "zero"], ["real"])
    at = next(index for index, node in enumerate(model.graph.node) if "before" in node.output) + 1
    model.graph.node.insert(at, quantize)
    model.graph.node.insert(at + 1, dequantize)
    models = []
    for name, tensor, kind in (("real", "real", TensorProto.FLOAT), ("uint8", "numbers", TensorProto.UINT8)):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        copy.graph.node.append(helper.make_node("Identity", [tensor], [maps]))
        output = next(value for value in copy.graph.output if value.name == maps)
        output.type.tensor_type.elem_type = kind
        onnx.save(copy, tmp_path / f"{name}.onnx")
        models.append(camrt.load(tmp_path / f"{name}.onnx", provider="cpu"))
    return models


def test_uint8_maps_are_scaled_by_the_metadata(float_and_uint8):
    real, uint8 = float_and_uint8
    assert (real.decoder.scale, real.decoder.zero_point) == (1.0, 0)
    assert (uint8.decoder.scale, uint8.decoder.zero_point) == (0.03, 7)
    frame = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    for expected, result in zip(real([frame, frame[::-1]]), uint8([frame, frame[::-1]]), strict=True):
        for class_id in range(real.classes):
            assert result.cam(class_id).dtype == np.float32
            np.testing.assert_allclose(result.cam(class_id), expected.cam(class_id), atol=1e-5)
        np.testing.assert_allclose(result.heatmap(), expected.heatmap(), atol=1e-4)
        assert check_identity(uint8, result).holds


def test_uint8_maps_without_a_valid_scale_raise_model_file_error(float_and_uint8):
    _, uint8 = float_and_uint8
    model = onnx.load(uint8.path)
    helper.set_model_props(model, model_info().to_metadata())
    onnx.save(model, uint8.path)
    with pytest.raises(ModelFileError, match="has no scale and zero point"):
        camrt.load(uint8.path, provider="cpu")
    helper.set_model_props(model, model_info(quantization={"features": {"scale": 0, "zero_point": 0}}).to_metadata())
    onnx.save(model, uint8.path)
    with pytest.raises(ModelFileError, match="Create the file again"):
        camrt.load(uint8.path, provider="cpu")
