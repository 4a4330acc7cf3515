"""A batch size that the exporter wrote into the graph is replaced: the file takes any number of images."""

import numpy as np
import pytest

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


def check(net, output, tmp_path, *, head=None):
    """Attach; the file gives the classifier's logits for one image, and for several at once."""
    source = net.save(tmp_path / "in.onnx", output)
    report = attach(source, tmp_path / "out.onnx", **PLAIN)
    assert head in (None, report.head)
    expected = np.concatenate([expected_output(source, image[None]) for image in random_images(3)])
    for images, rows in ((random_images(3), expected), (random_images(3)[:1], expected[:1])):
        np.testing.assert_allclose(run(tmp_path / "out.onnx", images)["logits"], rows, atol=1e-5)
    return report


@pytest.mark.parametrize("rest", [[-1], [CHANNELS]])
@pytest.mark.input_kind("model", "batch of 1 in a Reshape behind an open batch", "ONNX Runtime", "equal logits")
def test_batch_in_a_reshape_behind_an_open_batch_is_replaced(rest, tmp_path):
    """torch's exporter, for a module that calls int(x.shape[0])."""
    net = Net()
    flat = net.op("Reshape", net.op("GlobalAveragePool", net.features()), net.const(np.array([1, *rest], np.int64)))
    report = check(net, net.gemm(flat), tmp_path, head="linear")
    assert any("batch size of 1" in sentence for sentence in report.remarks)


def test_reshape_that_keeps_an_open_batch_is_unchanged(tmp_path):
    """With one channel the first length is 1 in any case."""
    net = Net()
    maps = net.features()
    groups = net.op("Reshape", maps, net.const(np.array([0, 1, -1], np.int64)))
    normal = net.op("Reshape", net.op("Softmax", groups, axis=-1), net.op("Shape", maps))
    report = check(net, net.gemm(net.op("Flatten", net.op("GlobalAveragePool", normal))), tmp_path)
    assert not report.remarks


def test_images_merged_with_other_axes_are_separated(tmp_path):
    """Windows of a Swin transformer: the first length is the batch times the number of windows."""
    net = Net(batch=1)
    maps = net.op("Transpose", net.features(), perm=[0, 2, 3, 1])
    split = net.op("Reshape", maps, net.const(np.array([1, 2, 2, 2, 2, CHANNELS], np.int64)))
    ordered = net.op("Transpose", split, perm=[0, 1, 3, 2, 4, 5])
    windows = net.op("Reshape", ordered, net.const(np.array([4, 4, CHANNELS], np.int64)))
    mixed = net.op("Relu", net.op("MatMul", windows, net.weights(CHANNELS, CHANNELS)))
    grid = net.op("Reshape", mixed, net.const(np.array([1, 2, 2, 2, 2, -1], np.int64)))
    back = net.op("Reshape", net.op("Transpose", grid, perm=[0, 1, 3, 2, 4, 5]),
                  net.const(np.array([1, 4, 4, -1], np.int64)))  # fmt: skip
    planes = net.op("Transpose", back, perm=[0, 3, 1, 2])
    check(net, net.gemm(net.op("Flatten", net.op("GlobalAveragePool", planes))), tmp_path, head="linear")


@pytest.mark.parametrize("as_expand", [True, False])
@pytest.mark.input_kind("model", "vision transformer exported with a fixed batch", "ONNX Runtime", "equal logits")
def test_class_token_that_was_repeated_for_each_image_is_repeated_again(as_expand, tmp_path):
    """A class token before the patches, as every exporter folds it: a constant of one image."""
    net = Net(batch=1)
    cells = net.op("Reshape", net.features(), net.const(np.array([1, CHANNELS, 16], np.int64)))
    token = net.weights(1, 1, CHANNELS)
    if as_expand:
        token = net.op("Expand", token, net.const(np.array([1, 1, CHANNELS], np.int64)))
    tokens = net.op("Concat", token, net.op("Transpose", cells, perm=[0, 2, 1]), axis=1)
    scores = net.op("Softmax", net.op("MatMul", tokens, net.op("Transpose", tokens, perm=[0, 2, 1])), axis=-1)
    mixed = net.op("MatMul", scores, tokens)
    first = net.op("Gather", mixed, net.const(np.array(0, np.int64)), axis=1)
    check(net, net.gemm(first), tmp_path, head="tokens")
