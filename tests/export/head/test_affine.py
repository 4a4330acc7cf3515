"""Everything affine around the linear layer is folded into it, and the identity proves it."""

import numpy as np
import onnx
import pytest

from camrt.export import attach
from support.export_graphs import CHANNELS, CLASSES, PLAIN, Net, assert_identity, expected_output, random_images, run


def normalisation(net, tensor, channels):
    random = net.random
    values = [random.normal(1, 0.2, channels), random.normal(0, 1, channels), random.normal(0, 1, channels)]
    constants = [net.const(value.astype(np.float32)) for value in (*values, random.uniform(0.5, 2, channels))]
    return net.op("BatchNormalization", tensor, *constants, epsilon=1e-3)


def normalised_before(net, pooled):
    return net.gemm(net.op("Flatten", normalisation(net, pooled, CHANNELS)))


def normalised_behind(net, pooled):
    return normalisation(net, net.gemm(net.op("Flatten", pooled)), CLASSES)


def scaled_and_shifted(net, pooled):
    scaled = net.op("Mul", pooled, net.weights(1, CHANNELS, 1, 1))
    shifted = net.op("Sub", net.weights(CHANNELS, 1, 1), scaled)
    return net.gemm(net.op("Flatten", net.op("Div", shifted, net.const(np.array(0.5, np.float32)))))


def two_layers(net, pooled):
    first = net.op("Gemm", net.op("Flatten", pooled), net.weights(7, CHANNELS), net.weights(7), transB=1)
    return net.op("Add", net.op("MatMul", net.op("Dropout", first), net.weights(7, CLASSES)), net.weights(CLASSES))


def temperature(net, pooled):
    return net.op("Div", net.gemm(net.op("Flatten", pooled)), net.const(np.array(1.7, np.float32)))


def groups_of_classes(net, pooled):
    flat = net.op("Flatten", pooled)
    parts = [net.op("Gemm", flat, net.weights(size, CHANNELS), net.weights(size), transB=1) for size in (1, 3)]
    return net.op("Concat", *parts, axis=1)


def mean_of_two_layers(net, pooled):
    flat = net.op("Flatten", pooled)
    total = net.op("Add", net.gemm(flat), net.gemm(flat))
    return net.op("Mul", total, net.const(np.array(0.5, np.float32)))


def spatial_axes_kept(net, pooled):
    """[N, K, 1, 1], as in many model zoos."""
    return net.op("Conv", pooled, net.weights(CLASSES, CHANNELS, 1, 1), net.weights(CLASSES))


def visible_by_probing_only(net, pooled):
    """``as_strided`` by torch's exporter: a Gather of flattened numbers that leaves each in its place."""
    size = net.op("Shape", net.op("Flatten", pooled))
    rows = net.op("Gather", size, net.const(np.array(0, np.int64)), axis=0)
    first, step = net.const(np.array(0, np.int64)), net.const(np.array(1, np.int64))
    starts = net.op("Mul", net.op("Range", first, rows, step), net.const(np.array(CHANNELS, np.int64)))
    places = net.op("Add", net.squeeze(starts, [1], "Unsqueeze"), net.const(np.arange(CHANNELS)[None]))
    flat = net.op("Reshape", pooled, net.const(np.array([-1], np.int64)))
    return net.gemm(net.op("Gather", flat, places, axis=0))


HEADS = [
    normalised_before,
    normalised_behind,
    scaled_and_shifted,
    two_layers,
    temperature,
    groups_of_classes,
    mean_of_two_layers,
    spatial_axes_kept,
    visible_by_probing_only,
]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.__name__)
def test_affine_head_becomes_one_linear_layer(head, tmp_path):
    net = Net()
    output = head(net, net.op("GlobalAveragePool", net.features()))
    shapes = {output: ["N", CLASSES, 1, 1]} if head is spatial_axes_kept else {}
    check(net.save(tmp_path / "in.onnx", output, **shapes), tmp_path)


def test_grouped_convolution_is_a_block_diagonal_layer(tmp_path):
    net = Net()
    pooled = net.op("GlobalAveragePool", net.features(6))
    output = net.op("Flatten", net.op("Conv", pooled, net.weights(CLASSES, 3, 1, 1), net.weights(CLASSES), group=2))
    results = check(net.save(tmp_path / "in.onnx", output), tmp_path)
    weights = results["cam_weights"]
    assert not weights[:2, 3:].any()
    assert not weights[2:, :3].any()
    assert weights[:2, :3].all()


def check(source, tmp_path, tolerance=1e-5, **options):
    report = attach(source, tmp_path / "out.onnx", **(PLAIN | options))
    results = run(tmp_path / "out.onnx", random_images(3))
    assert report.head == "linear"
    assert_identity(results, tolerance)
    expected = expected_output(source, random_images(3))
    np.testing.assert_allclose(results["logits"], expected, rtol=0, atol=tolerance * np.abs(expected).max())
    onnx.checker.check_model(onnx.load(tmp_path / "out.onnx"), full_check=True)
    return results


def test_mean_over_tokens_is_a_pool(tmp_path):
    """A transformer whose head reads the mean of all patches: its tokens form a map, and the identity holds."""
    net = Net()
    cells = net.op("Reshape", net.features(), net.const(np.array([0, CHANNELS, 16], np.int64)))
    tokens = net.op("Transpose", cells, perm=[0, 2, 1])
    mixed = net.op("MatMul", net.op("Softmax", net.op("MatMul", tokens, cells), axis=-1), tokens)
    results = check(net.save(tmp_path / "in.onnx", net.gemm(net.mean(mixed, [1], 0))), tmp_path)
    assert results["features"].shape == (3, CHANNELS, 4, 4)
    pooled = net.op("GlobalAveragePool", cells)
    results = check(net.save(tmp_path / "in2.onnx", net.gemm(net.op("Flatten", pooled), to="second")), tmp_path,
                    overwrite=True)  # fmt: skip
    assert results["features"].shape == (3, CHANNELS, 4, 4)


def test_qdq_pair_in_the_head_adds_its_rounding_to_the_tolerance(tmp_path):
    net = Net(13)
    scale, zero = net.const(np.array(0.01, np.float32)), net.const(np.array(0, np.uint8))
    rounded = net.op("DequantizeLinear", net.op("QuantizeLinear", net.pooled(), scale, zero), scale, zero)
    source = net.save(tmp_path / "in.onnx", net.gemm(rounded))
    report = attach(source, tmp_path / "out.onnx", **PLAIN)
    weights = run(tmp_path / "out.onnx", random_images(1))["cam_weights"]
    bound = np.abs(weights).sum(axis=1).max() * 0.01 / 2
    assert report.verification["identity_tolerance_absolute"] == pytest.approx(bound)
    assert 0 < report.verification["identity_error_absolute"] <= bound
    assert report.verification["identity_error_unrounded"] <= 1e-5
    assert any("quantized" in sentence for sentence in report.remarks)
