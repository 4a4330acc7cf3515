"""16-bit floats: numbers that leave their range are scaled or stay in float32, or the file is refused.

Maps are compared with those of the float32 file in a model that rounds every tensor to 16 bits, see `round_like_half`.
"""

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from camrt.benchmarks.compare.torch_libraries import models
from camrt.errors import ExportError
from camrt.export import attach, from_torch, quantize
from camrt.export.quantize.half_storage import round_like_half, storage_error
from support.export_graphs import CHANNELS, PLAIN, Net, assert_identity, random_images, run, session

PLAIN_SCALE = {**PLAIN, "scale": 1 / 255}


def layer(net, data, factor=1.0, size=1.0, *, inputs=CHANNELS):
    """Add a convolution with weights times ``factor``; its outputs are of about ``size``."""
    deviation = 0.5 * factor / np.sqrt(inputs)
    weights = net.const(net.random.normal(0, deviation, (CHANNELS, inputs, 3, 3)).astype(np.float32))
    terms = net.const(net.random.normal(0, 0.1 * size, CHANNELS).astype(np.float32))
    return net.op("Conv", data, weights, terms, pads=[1] * 4)


def head(net, maps, tmp_path, size=8, **preprocessing):
    """Add the pool and the linear layer, and write the float32 model file."""
    net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps))), size=size)
    attach(tmp_path / "in.onnx", tmp_path / "float.onnx", **{**PLAIN_SCALE, **preprocessing})
    return tmp_path / "float.onnx"


def assert_holds(source, photos, tmp_path, *, float_nodes=0, scaled=True):
    """Convert the file; every map is that of the float32 file within 16-bit rounding, and the identity is exact."""
    report = quantize(source, tmp_path / "half.onnx", calibration=photos, fp16=True)
    assert report.passed
    assert report.fidelity.pearson_least > 0.999
    facts = json.loads({e.key: e.value for e in onnx.load(tmp_path / "half.onnx").metadata_props}["camrt.quantization"])
    assert (facts["kind"], facts["scaled"], facts["float_nodes"]) == ("fp16", scaled, float_nodes)
    rounded = round_like_half(onnx.load(tmp_path / "half.onnx"))
    onnx.save(rounded, tmp_path / "rounded.onnx")
    exact = run(source, report.images)
    for file in ("half.onnx", "rounded.onnx"):
        results = run(tmp_path / file, report.images)
        assert_identity(results)
        error = np.abs(results["features"] - exact["features"]).max()
        assert error <= 0.01 * np.abs(exact["features"]).max()
    kinds = {
        tensor.data_type for tensor in onnx.load(tmp_path / "half.onnx").graph.initializer if len(tensor.dims) == 4
    }
    assert TensorProto.FLOAT16 in kinds  # something is computed in 16 bits
    return onnx.load(tmp_path / "half.onnx")


def chain(net, factors, activation="Relu", size=1.0):
    """Add a convolution for each of ``factors``; ``size`` is that of the pixels."""
    data, inputs = net.input, 3
    for factor in factors:
        size *= factor
        data = layer(net, data, factor, size, inputs=inputs)
        if activation == "ReLU6":
            data = net.op("Clip", data, net.const(np.float32(0)), net.const(np.float32(6)))
        elif activation == "SiLU":
            data = net.op("Mul", data, net.op("Sigmoid", data))
        else:
            data = net.op(activation, data)
        inputs = CHANNELS
    return data


@pytest.mark.input_kind(
    "model", "fp16: activations below 6e-8 or above 65504", "the float32 file", "maps correlate above 0.999, identity"
)
@pytest.mark.parametrize(
    ("activation", "factor"),
    [
        *[("Relu", factor) for factor in (1e-3, 3e-2, 1.0, 30.0, 1e3)],
        *[("LeakyRelu", factor) for factor in (1e-3, 1e3)],
        *[("ReLU6", factor) for factor in (1e-3, 3e-2)],
    ],
)
def test_activations_of_any_size_hold(activation, factor, photos, tmp_path):
    net = Net()
    maps = chain(net, [1.0, *[factor] * 4], activation)
    assert_holds(head(net, maps, tmp_path), photos, tmp_path, scaled=factor != 1.0)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_gates_read_unscaled_numbers(factor, photos, tmp_path):
    net = Net()
    data = chain(net, [1.0, factor, factor], "SiLU")
    gate = net.op("Sigmoid", layer(net, net.op("GlobalAveragePool", data), factor**-2))
    data = layer(net, net.op("Mul", data, gate), factor, factor**3)
    maps = net.op("Relu", net.op("Add", data, net.const(np.float32(0.1 * factor**3))))
    assert_holds(head(net, maps, tmp_path), photos, tmp_path)


def test_operator_that_needs_its_real_input_stays_in_float32(photos, tmp_path):
    """Softplus is not linear, and of 1e6 it is 1e6, which is no 16-bit float."""
    net = Net()
    data = net.op("Softplus", layer(net, chain(net, [1.0, 1e3]), 1e3, 1e6))
    maps = net.op("Relu", layer(net, data, 1e-6))
    converted = assert_holds(head(net, maps, tmp_path), photos, tmp_path, float_nodes=1)
    inferred = onnx.shape_inference.infer_shapes(converted).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred.value_info}
    node = next(node for node in converted.graph.node if node.op_type == "Softplus")
    assert {kinds[node.input[0]], kinds[node.output[0]]} == {TensorProto.FLOAT}
    after = next(other for other in converted.graph.node if node.output[0] in other.input)
    assert after.op_type == "Mul"  # scaled in float32, before it is rounded


@pytest.mark.parametrize("factor", [1e-5, 1e5])
def test_branches_that_meet_have_one_scale(factor, photos, tmp_path):
    net = Net()
    stem = chain(net, [1.0, factor])
    branch = layer(net, net.op("Relu", layer(net, stem, factor, factor**2)), 1 / factor, factor)
    added = net.op("Add", stem, branch)
    pooled = net.op("MaxPool", added, kernel_shape=[3, 3], pads=[1] * 4)
    joined = net.op("Concat", added, pooled, net.op("Relu", layer(net, added, 1.0, factor)), axis=1)
    maps = net.op("Relu", layer(net, joined, 1.0, factor, inputs=3 * CHANNELS))
    assert_holds(head(net, maps, tmp_path), photos, tmp_path)


@pytest.mark.input_kind(
    "model", "fp16: batch statistics of any size", "the float32 file", "maps correlate above 0.999, identity"
)
@pytest.mark.parametrize("variance", [1e-12, 1e-6, 1.0, 1e10])
@pytest.mark.parametrize("factor", [1e-5, 1.0, 1e4])
def test_batch_statistics_of_any_size_hold(variance, factor, photos, tmp_path):
    """The normalization reads a Concat, so that no convolution takes it over."""
    net = Net()
    data = chain(net, [factor])
    joined = net.op("Concat", data, net.op("Relu", layer(net, data, 1.0, factor)), axis=1)
    vectors = [net.random.uniform(0.5, 1.5, 2 * CHANNELS).astype(np.float32) for _ in range(4)]
    vectors[2] *= np.float32(0.1 * factor)
    vectors[3] *= np.float32(variance)
    normalized = net.op("BatchNormalization", joined, *map(net.const, vectors), epsilon=1e-9)
    maps = net.op("Relu", layer(net, net.op("Relu", normalized), inputs=2 * CHANNELS))
    source = head(net, maps, tmp_path)
    quantize(source, tmp_path / "half.onnx", calibration=photos, fp16=True)
    exact = run(source, random_images(4))
    onnx.save(round_like_half(onnx.load(tmp_path / "half.onnx")), tmp_path / "rounded.onnx")
    results = run(tmp_path / "rounded.onnx", random_images(4))
    assert_identity(results)
    assert np.abs(results["features"] - exact["features"]).max() <= 0.01 * np.abs(exact["features"]).max()


@pytest.mark.input_kind(
    "preprocessing", "fp16: pixels of 0 to 255, or scaled to 1e6 or 1e-6", "the float32 file", "maps within 1 %"
)
@pytest.mark.parametrize("scale", [1e-8, 1 / 255, 1.0, 4000.0])
def test_preprocessing_of_any_size_holds(scale, photos, tmp_path):
    net = Net()
    maps = chain(net, [1 / (255 * scale), 1.0], size=255 * scale)
    source = head(net, maps, tmp_path, scale=scale, mean=(90 * scale, 120 * scale, 60 * scale))
    assert_holds(source, photos, tmp_path, scaled=scale not in (1 / 255, 1.0))


def test_sums_of_means_do_not_overflow(photos, tmp_path):
    """The squeeze layer reads 1024 cells of about 100: the mean fits, and the sum does not."""
    net = Net()
    data = chain(net, [1.0], size=255.0)
    gate = net.op("Sigmoid", layer(net, net.op("GlobalAveragePool", data), 1e-2))
    maps = net.op("Relu", layer(net, net.op("Mul", data, gate), 1e-2))
    source = head(net, maps, tmp_path, size=32, scale=1.0)
    converted = assert_holds(source, photos, tmp_path)
    pool = next(node for node in converted.graph.node if node.op_type == "GlobalAveragePool")
    model = round_like_half(converted)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(pool.output[0], TensorProto.FLOAT, None))
    (means,) = session(model).run(None, {"image": np.full((1, 32, 32, 3), 255, np.uint8)})
    assert 0 < 32 * 32 * means.max() < 65504


@pytest.mark.parametrize("size", [1e-9, 1e-7, 1e7])
def test_weights_that_are_no_16_bit_floats_are_scaled(size, photos, tmp_path):
    net = Net()
    maps = chain(net, [1.0, size, 1 / size])
    converted = assert_holds(head(net, maps, tmp_path), photos, tmp_path)
    for tensor in converted.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16 and len(tensor.dims) == 4:
            assert 1e-4 < np.abs(numpy_helper.to_array(tensor)).max() < 1e4


def test_ordinary_network_is_only_rounded(photos, tmp_path):
    net = Net()
    source = head(net, chain(net, [1.0, 1.0]), tmp_path)
    converted = assert_holds(source, photos, tmp_path, scaled=False)
    halves = {
        t.name: numpy_helper.to_array(t) for t in converted.graph.initializer if t.data_type == TensorProto.FLOAT16
    }
    floats = {t.name: numpy_helper.to_array(t) for t in onnx.load(source).graph.initializer}
    assert len(halves) == 4
    assert all(np.array_equal(values, floats[name].astype(np.float16)) for name, values in halves.items())


@pytest.mark.input_kind("model", "fp16: maps that need more than 11 bits", "the float32 file", "refused: the reason")
def test_network_that_needs_more_bits_is_refused(photos, tmp_path):
    """The maps are the difference of two large numbers that are almost equal."""
    net = Net()
    offset = net.op("Add", net.op("Relu", layer(net, net.input, inputs=3)), net.const(np.float32(1)))
    large = net.op("Mul", offset, net.const(np.float32(1e4)))
    small = net.op("Relu", layer(net, net.input, inputs=3))
    maps = net.op("Relu", net.op("Sub", net.op("Add", large, small), large))
    source = head(net, maps, tmp_path)
    with pytest.raises(ExportError, match=r"more than the 11 bits .* median correlation of 0\.\d\d with"):
        quantize(source, tmp_path / "half.onnx", calibration=photos, fp16=True)
    assert not (tmp_path / "half.onnx").exists()


def test_rounding_shows_what_the_cpu_hides(tmp_path):
    """ONNX Runtime's CPU provider keeps float32 between 16-bit nodes."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["x"], to=TensorProto.FLOAT16),
        helper.make_node("Mul", ["x", "large"], ["a"]),
        helper.make_node("Mul", ["a", "large"], ["b"]),
        helper.make_node("Mul", ["b", "small"], ["c"]),
        helper.make_node("Cast", ["c"], ["y"], to=TensorProto.FLOAT),
    ]
    constants = [numpy_helper.from_array(np.float16(value), name) for name, value in (("large", 1e3), ("small", 1e-6))]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in ("pixels", "y")]
    graph = helper.make_graph(nodes, "overflow", values[:1], values[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    rounded = round_like_half(model)
    pixels = np.array([1.0, 1e-3], np.float32)
    (result,) = session(rounded).run(["y"], {"pixels": pixels})
    assert np.isinf(result[0])  # 1e6 is above 65504
    with np.errstate(over="ignore"):
        expected = pixels.astype(np.float16) * np.float16(1e3) * np.float16(1e3) * np.float16(1e-6)
    assert np.array_equal(result, expected)


def test_storage_error_is_that_of_numpys_16_bit_floats():
    values = np.random.default_rng(0).normal(0, 1, 4000).astype(np.float32)
    expected = np.sqrt(np.mean((values.astype(np.float16) - values.astype(np.float64)) ** 2) / np.mean(values**2.0))
    assert storage_error(values, 0) == pytest.approx(expected, rel=1e-4)
    assert storage_error(1e-9 * values, 30) < 2 * expected
    assert storage_error(1e-9 * values, 0) == 1.0
    assert storage_error(1e30 * values, 0) == np.inf
    assert storage_error(np.zeros(3, np.float32), 0) == 0.0
    assert storage_error(1e-9 * values, 0, 1.0) < 1e-8  # a bias that is added to numbers of about 1


@pytest.mark.slow
def test_untrained_mobilenet_holds(photos, tmp_path):
    """With its initial weights its activations fall to 1e-9, layer by layer."""
    torch.manual_seed(0)
    network = models.mobilenet_v2(weights=None, num_classes=10).eval()
    from_torch(network, tmp_path / "float.onnx", input_size=64)
    report = quantize(tmp_path / "float.onnx", tmp_path / "half.onnx", calibration=photos, fp16=True)
    assert report.fidelity.pearson_least > 0.999
    assert report.fidelity.top1_agreement == 1.0
    assert report.as_dict()["size_ratio"] > 1.9
    assert report.selected == "16-bit floats, scaled by powers of two"
    results = run(tmp_path / "half.onnx", report.images)
    pooled = results["features"].mean(axis=(2, 3), dtype=np.float64)
    logits = pooled @ results["cam_weights"].T + results["cam_bias"]  # of about 1e-9, so `assert_identity` refuses them
    np.testing.assert_allclose(logits, results["logits"], rtol=0, atol=1e-5 * np.abs(logits).max())
