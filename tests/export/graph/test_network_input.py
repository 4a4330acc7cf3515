"""The classifier's input: its shape, size and batch."""

import numpy as np
import onnx
import pytest

from camrt.errors import ExportError, UsageError
from camrt.export import attach
from support.export_graphs import (
    CHANNELS,
    CLASSES,
    PLAIN,
    Net,
    assert_identity,
    expected_output,
    newest_opset,
    random_images,
    run,
)


@pytest.mark.parametrize("opset", [9, 13, newest_opset()])
@pytest.mark.parametrize("shape", [[1, -1], [1, CHANNELS], [-1, CHANNELS], [0, CHANNELS]])
def test_fixed_batch_becomes_dynamic(shape, opset, tmp_path):
    net = Net(opset, batch=1)
    flat = net.op("Reshape", net.op("GlobalAveragePool", net.features()), net.const(np.array(shape, np.int64)))
    source = net.save(tmp_path / "in.onnx", net.gemm(flat))
    attach(source, tmp_path / "out.onnx", **PLAIN)
    for count in (1, 3):
        results = run(tmp_path / "out.onnx", random_images(count))
        assert results["scores"].shape == (count, CLASSES)
        np.testing.assert_allclose(results["logits"], expected_output(source, random_images(count)), atol=1e-5)


def test_fixed_batch_of_several_images_becomes_dynamic(tmp_path):
    net = Net(batch=4)
    flat = net.op("Reshape", net.op("GlobalAveragePool", net.features()), net.const(np.array([4, -1], np.int64)))
    source = net.save(tmp_path / "in.onnx", net.gemm(flat))
    attach(source, tmp_path / "out.onnx", **PLAIN)
    assert run(tmp_path / "out.onnx", random_images(3))["scores"].shape == (3, CLASSES)


def test_reshape_shared_with_the_weights_changes_for_images_only(tmp_path):
    net = Net(batch=1)
    shape = net.const(np.array([1, CHANNELS], np.int64))
    gain = net.op("Reshape", net.weights(CHANNELS, 1), shape)
    flat = net.op("Reshape", net.op("GlobalAveragePool", net.features()), shape)
    weights = net.op("Mul", net.weights(CLASSES, CHANNELS), gain)
    source = net.save(tmp_path / "in.onnx", net.op("Gemm", flat, weights, transB=1))
    attach(source, tmp_path / "out.onnx", **PLAIN)
    assert_identity(run(tmp_path / "out.onnx", random_images(2)))


def test_open_input_size_must_be_given(tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled()), size="any")
    with pytest.raises(UsageError, match="--size"):
        attach(source, tmp_path / "out.onnx", **PLAIN)
    report = attach(source, tmp_path / "out.onnx", size=(12, 10), **PLAIN)
    assert report.input == (12, 10)
    assert report.features == (CHANNELS, 5, 6)
    assert_identity(run(tmp_path / "out.onnx", random_images(2, 12, 10)))


def test_size_that_differs_from_the_networks_is_refused(classifier, tmp_path):
    with pytest.raises(UsageError, match="9x9"):
        attach(classifier, tmp_path / "out.onnx", size=(9, 9))


@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        (["N", 4, 8, 8], 1, r"\[\?, 4, 8, 8\].*3 channels \(colour\) or 1 \(grey\)"),
        (["N", 8, 8, 2], 1, r"\[N, H, W, C\]"),
        (["N", 3, 8, 8], 6, "INT32"),
        (["N", 3], 1, r"\[N, C, H, W\]"),
    ],
)
def test_input_that_is_no_image_is_refused(shape, kind, message, tmp_path):
    net = Net()
    model = net.model(net.gemm(net.pooled()))
    model.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("data", kind, shape))
    onnx.save(model, tmp_path / "in.onnx")
    with pytest.raises(ExportError, match=message):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx")


def test_second_input_is_refused(tmp_path):
    net = Net()
    model = net.model(net.gemm(net.pooled()))
    model.graph.input.append(onnx.helper.make_tensor_value_info("more", 1, ["N", 2]))
    onnx.save(model, tmp_path / "in.onnx")
    with pytest.raises(ExportError, match=r"2 inputs \('data', 'more'\)"):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx")
