"""A first convolution that reads blocks of pixels gives the same integers as one that reads pixels."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from camrt.export import attach, quantize
from camrt.export.quantize.fold_preprocessing import PLANES
from camrt.export.quantize.pixel_blocks import make_blocks, read_pixel_blocks, widen_weights
from support.export_graphs import Net, session

ROWS = 9


def network(
    columns, kernel, stride, pads, *, count=6, per_channel=True, activation=None, batch="N", bias=True, **attributes
):
    """Return a QDQ network of one convolution over uint8 pixels; kernel, stride are of columns, pads left and right."""
    random = np.random.default_rng(kernel)
    scales = random.uniform(0.01, 0.03, count) if per_channel else np.array(0.02)
    constants = {
        "one": np.float32(1),
        "zero": np.uint8(119),
        "weights": random.integers(-127, 128, (count, 3, 3, kernel), dtype=np.int8),
        "scales": scales.astype(np.float32),
        "zeros": np.zeros(scales.shape, np.int8),
        "bias": random.integers(-3000, 3000, count, dtype=np.int32),
        "bias_zeros": np.zeros(scales.shape, np.int32),
        "step": np.float32(4),
        "offset": np.uint8(100),
    }
    per = {"axis": 0} if per_channel else {}
    inputs = ["x", "w", *(["b"] if bias else [])]
    nodes = [
        helper.make_node("Transpose", ["image"], ["pixels"], name=PLANES, perm=[0, 3, 1, 2]),
        helper.make_node("DequantizeLinear", ["pixels", "one", "zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["weights", "scales", "zeros"], ["w"], **per),
        helper.make_node("DequantizeLinear", ["bias", "scales", "bias_zeros"], ["b"], **per),
        helper.make_node(
            "Conv",
            inputs,
            ["y"],
            strides=[2, stride],
            pads=[1, pads[0], 0, pads[1]],
            kernel_shape=[3, kernel],
            **attributes,
        ),
        helper.make_node("QuantizeLinear", ["y", "step", "offset"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "step", "offset"], ["maps"]),
    ]
    if activation:
        nodes[5].input[0] = "active"
        nodes.insert(5, helper.make_node(activation, ["y"], ["active"]))
    graph = helper.make_graph(
        nodes,
        "pixels",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, ROWS, columns, 3])],
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, [batch, count, None, None])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def maps_of(model, batch=2):
    columns = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    images = np.random.default_rng(0).integers(0, 256, (batch, ROWS, columns, 3), dtype=np.uint8)
    return session(model).run(["maps"], {"image": images})[0]


def channels_of(model):
    """Return the channels that the convolution reads."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    convolution = next(node for node in model.graph.node if node.op_type == "Conv")
    source = next(node for node in model.graph.node if convolution.input[1] in node.output)
    return constants[source.input[0]].dims[1]


@settings(max_examples=60)
@given(
    columns=st.integers(16, 40),
    kernel=st.integers(1, 11),
    stride=st.integers(2, 8),
    pads=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    per_channel=st.booleans(),
    bias=st.booleans(),
)
def test_integers_are_the_same(columns, kernel, stride, pads, per_channel, bias):
    model = network(columns, kernel, stride, pads, per_channel=per_channel, bias=bias)
    expected = maps_of(model)
    read_pixel_blocks(model, PLANES)
    onnx.checker.check_model(model)
    assert np.array_equal(maps_of(model), expected)


@pytest.mark.parametrize(
    ("columns", "kernel", "stride", "pads"),
    [
        (224, 3, 2, (1, 1)),
        (224, 3, 2, (0, 1)),
        (224, 7, 2, (3, 3)),
        (227, 3, 2, (0, 0)),
        (227, 11, 4, (0, 0)),
        (32, 4, 4, (0, 0)),
    ],
    ids=["MobileNetV2", "TensorFlow SAME", "ResNet", "SqueezeNet", "AlexNet", "ConvNeXt"],
)
def test_usual_first_layers_read_blocks(columns, kernel, stride, pads):
    model = network(columns, kernel, stride, pads)
    expected = maps_of(model)
    read_pixel_blocks(model, PLANES)
    assert channels_of(model) % 4 == 0
    assert np.array_equal(maps_of(model), expected)


@pytest.mark.parametrize(
    "change",
    [{"stride": 1}, {"kernel": 1, "stride": 8}, {"dilations": [1, 2]}, {"activation": "Relu"}],
    ids=["stride 1: four times the arithmetic", "8 zeros for each weight", "dilated", "in float32, because of a Relu"],
)
def test_other_first_layers_stay_as_they_are(change):
    model = network(**{"columns": 32, "kernel": 3, "stride": 2, "pads": (1, 1), **change})
    before = model.SerializeToString()
    read_pixel_blocks(model, PLANES)
    assert channels_of(model) == 3
    assert model.SerializeToString() == before


def test_layer_whose_result_is_read_twice_stays_as_it_is():
    model = network(32, 3, 2, (1, 1))
    model.graph.node.append(helper.make_node("Neg", ["y"], ["other"]))
    model.graph.output.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, None))
    read_pixel_blocks(model, PLANES)
    assert channels_of(model) == 3


def test_widened_weights_hold_every_weight_once_for_each_output():
    weights = np.arange(1, 1 + 2 * 3 * 3 * 3).reshape(2, 3, 3, 3)
    wide = widen_weights(weights, make_blocks(3, 2, 1), 2, 1)
    assert wide.shape == (4, 12, 3, 2)
    assert wide.sum() == 2 * weights.sum()
    assert np.count_nonzero(wide) == 2 * weights.size


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1]])
def test_average_pool_computes_in_integers_as_a_convolution(pads, photos, tmp_path):
    net = Net()
    pooled = net.op("AveragePool", net.features(), kernel_shape=[3, 3], pads=pads, strides=[1, 1], count_include_pad=1)
    maps = net.op("Relu", net.op("Conv", pooled, net.weights(5, 5, 1, 1)))
    net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps))))
    attach(tmp_path / "in.onnx", tmp_path / "float.onnx", scale=1.0, mean=(0, 0, 0), std=(1, 1, 1), channels="bgr")
    report = quantize(tmp_path / "float.onnx", tmp_path / "int8.onnx", calibration=photos, method="minmax")
    model = onnx.load(tmp_path / "int8.onnx")
    assert "AveragePool" not in {node.op_type for node in model.graph.node}
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    pool = next(
        node for node in model.graph.node if any(entry.name == "group" and entry.i == 5 for entry in node.attribute)
    )
    source = next(node for node in model.graph.node if pool.input[1] in node.output)
    values = tensors[source.input[0]] * tensors[source.input[1]].reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(values, 1 / 9, rtol=1e-6)
    assert report.fidelity.pearson_median > 0.99


def test_average_pool_whose_windows_differ_stays_a_pool(photos, tmp_path):
    net = Net()
    pooled = net.op("AveragePool", net.features(), kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1])
    maps = net.op("Relu", net.op("Conv", pooled, net.weights(5, 5, 1, 1)))
    net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps))))
    attach(tmp_path / "in.onnx", tmp_path / "float.onnx", scale=1.0, mean=(0, 0, 0), std=(1, 1, 1), channels="bgr")
    report = quantize(tmp_path / "float.onnx", tmp_path / "int8.onnx", calibration=photos, method="minmax")
    assert "AveragePool" in {node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node}
    assert report.fidelity.pearson_median > 0.99
