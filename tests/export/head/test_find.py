"""The head search recognises the exact heads in every form that exporters write, and the identity proves them."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from camrt.errors import HeadNotFound, UsageError
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
    softmax,
)

OPSETS = [9, 11, 13, 17, 18, newest_opset()]


POOLS: dict[str, Callable[[Net, str], str]] = {
    "GlobalAveragePool": lambda net, maps: net.op("GlobalAveragePool", maps),
    "ReduceMean": lambda net, maps: net.mean(maps, [2, 3]),
    "ReduceMean of negative axes": lambda net, maps: net.mean(maps, [-1, -2]),
    "two ReduceMeans": lambda net, maps: net.mean(net.mean(maps, [3], 0), [2], 0),
    "ReduceMean without the axes": lambda net, maps: net.mean(maps, [2, 3], 0),
    "AveragePool over the map and its padding": lambda net, maps: net.op(
        "AveragePool", maps, kernel_shape=[5, 6], pads=[0, 1, 1, 1]
    ),
    "AveragePool over the map": lambda net, maps: net.op("AveragePool", maps, kernel_shape=[4, 4]),
}


BETWEEN: dict[str, Callable[[Net, str], str]] = {
    "Flatten": lambda net, pooled: net.op("Flatten", pooled),
    "Reshape": lambda net, pooled: net.op("Reshape", pooled, net.const(np.array([-1, CHANNELS], np.int64))),
    "Reshape by 0": lambda net, pooled: net.op("Reshape", pooled, net.const(np.array([0, -1], np.int64))),
    "Squeeze": lambda net, pooled: net.squeeze(pooled, [2, 3]),
    "Dropout, Identity": lambda net, pooled: net.op("Identity", net.op("Dropout", net.op("Flatten", pooled))),
    "Unsqueeze, Squeeze": lambda net, pooled: net.squeeze(
        net.squeeze(net.op("Flatten", pooled), [2], "Unsqueeze"), [2]
    ),
    "a shape computed at run time": lambda net, pooled: net.op("Reshape", pooled, _flat_shape(net, pooled)),
}


def _flat_shape(net: Net, tensor: str) -> str:
    """``x.view(x.size(0), -1)`` by the older torch exporter."""
    batch = net.op("Gather", net.op("Shape", tensor), net.const(np.array(0, np.int64)), axis=0)
    return net.op("Concat", net.squeeze(batch, [0], "Unsqueeze"), net.const(np.array([-1], np.int64)), axis=0)


def _matmul_add(net: Net, pooled: str) -> str:
    return net.op("Add", net.op("MatMul", pooled, net.weights(CHANNELS, CLASSES)), net.weights(CLASSES))


def _add_swapped(net: Net, pooled: str) -> str:
    return net.op("Add", net.weights(1, CLASSES), net.op("MatMul", pooled, net.weights(CHANNELS, CLASSES)))


def _constant_nodes(net: Net, pooled: str) -> str:
    weights, bias = (
        net.op("Constant", value=numpy_helper.from_array(net.random.normal(size=shape).astype(np.float32)))
        for shape in ((CLASSES, CHANNELS), (CLASSES,))
    )
    return net.op("Gemm", pooled, weights, bias, transB=1)


def _half_stored(net: Net, pooled: str) -> str:
    """Weights stored in half precision as one row: attach evaluates the Cast and the Reshape."""
    half = net.const(net.random.normal(size=CLASSES * CHANNELS).astype(np.float16))
    matrix = net.op("Reshape", net.cast(half), net.const(np.array([CHANNELS, CLASSES], np.int64)))
    return net.op("MatMul", pooled, matrix)


LAYERS: dict[str, Callable[[Net, str], str]] = {
    "Gemm": lambda net, x: net.gemm(x),
    "Gemm [C, K]": lambda net, x: net.op("Gemm", x, net.weights(CHANNELS, CLASSES), net.weights(CLASSES)),
    "Gemm with alpha and beta": lambda net, x: net.op(
        "Gemm", x, net.weights(CLASSES, CHANNELS), net.weights(CLASSES), transB=1, alpha=0.5, beta=3.0
    ),
    "Gemm with one bias for all": lambda net, x: net.op(
        "Gemm", x, net.weights(CLASSES, CHANNELS), net.weights(1), transB=1
    ),
    "MatMul without bias": lambda net, x: net.op("MatMul", x, net.weights(CHANNELS, CLASSES)),
    "MatMul, Add": _matmul_add,
    "Add, MatMul": _add_swapped,
    "Constant nodes": _constant_nodes,
    "Transpose of the weights": lambda net, x: net.op(
        "MatMul", x, net.op("Transpose", net.weights(CLASSES, CHANNELS), perm=[1, 0])
    ),
    "Reshape of a Cast": _half_stored,
}


def check(net: Net, output: str, tmp_path, *, activation="softmax") -> dict[str, np.ndarray]:
    source = net.save(tmp_path / "in.onnx", output)
    report = attach(source, tmp_path / "out.onnx", **PLAIN)
    results = run(tmp_path / "out.onnx", random_images(3))
    onnx.checker.check_model(onnx.load(tmp_path / "out.onnx"), full_check=True)
    assert report.classes == CLASSES
    assert report.activation == activation
    assert_identity(results)
    return results


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("pool", POOLS)
def test_every_form_of_the_pool_is_recognised(pool, opset, tmp_path):
    net = Net(opset)
    pooled = POOLS[pool](net, net.features())
    logits = net.gemm(net.op("Flatten", pooled))
    results = check(net, logits, tmp_path)
    expected = expected_output(tmp_path / "in.onnx", random_images(3))
    np.testing.assert_allclose(results["logits"], expected, rtol=1e-5, atol=1e-5)
    assert results["features"].shape == (3, CHANNELS, 4, 4)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("between", BETWEEN)
def test_data_movement_between_pool_and_layer_is_skipped(between, opset, tmp_path):
    net = Net(opset)
    flat = BETWEEN[between](net, net.op("GlobalAveragePool", net.features()))
    check(net, net.gemm(flat), tmp_path)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("layer", LAYERS)
def test_every_form_of_the_linear_layer_is_recognised(layer, opset, tmp_path):
    net = Net(opset)
    results = check(net, LAYERS[layer](net, net.pooled()), tmp_path)
    expected = expected_output(tmp_path / "in.onnx", random_images(3))
    np.testing.assert_allclose(results["logits"], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(results["scores"], softmax(expected), atol=1e-6)


@pytest.mark.parametrize("opset", OPSETS)
def test_1x1_convolution_on_the_pooled_map_is_a_linear_layer(opset, tmp_path):
    net = Net(opset)
    pooled = net.op("GlobalAveragePool", net.features())
    logits = net.op("Conv", pooled, net.weights(CLASSES, CHANNELS, 1, 1), net.weights(CLASSES))
    results = check(net, net.op("Softmax", net.op("Flatten", logits), axis=1), tmp_path)
    assert results["features"].shape == (3, CHANNELS, 4, 4)
    assert results["cam_weights"].shape == (CLASSES, CHANNELS)


def test_casts_in_the_head_are_skipped(tmp_path):
    net = Net()
    double = net.cast(net.pooled(), np.float64)
    layer = net.op("Gemm", double, net.const(net.random.normal(size=(CHANNELS, CLASSES))))
    check(net, net.cast(layer), tmp_path)


@pytest.mark.parametrize("op_type", ["Softmax", "Sigmoid", "LogSoftmax"])
@pytest.mark.parametrize("opset", OPSETS)
def test_activation_comes_from_the_graph(op_type, opset, tmp_path):
    net = Net(opset)
    axis = {} if op_type == "Sigmoid" else {"axis": 1}
    output = net.op(op_type, net.gemm(net.pooled()), **axis)
    results = check(net, output, tmp_path, activation="sigmoid" if op_type == "Sigmoid" else "softmax")
    expected = expected_output(tmp_path / "in.onnx", random_images(3))
    if op_type == "LogSoftmax":
        expected = np.exp(expected)
    np.testing.assert_allclose(results["scores"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("activation", "function"),
    [("none", lambda x: x), ("sigmoid", lambda x: 1 / (1 + np.exp(-x))), ("softmax", softmax), (None, softmax)],
)
def test_activation_option_turns_logits_into_scores(activation, function, tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled()))
    report = attach(source, tmp_path / "out.onnx", activation=activation, **PLAIN)
    results = run(tmp_path / "out.onnx", random_images(3))
    assert report.activation == (activation or "softmax")
    assert_identity(results)
    np.testing.assert_allclose(results["scores"], function(results["logits"]), atol=1e-6)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("relu", [True, False])
def test_pooled_maps_of_a_1x1_convolution_are_the_class_maps(relu, opset, tmp_path):
    net = Net(opset)
    maps = net.op("Conv", net.op("Dropout", net.features()), net.weights(CLASSES, CHANNELS, 1, 1), net.weights(CLASSES))
    maps = net.op("Relu", maps) if relu else maps
    output = net.op("Flatten", net.op("Softmax", net.op("GlobalAveragePool", maps), axis=1))
    results = check(net, output, tmp_path)
    assert list(results) == ["scores", "logits", "class_maps"]
    assert (results["class_maps"].min() >= 0) == relu


@pytest.mark.parametrize(
    ("kernel", "attributes", "margin", "size"),
    [
        (1, {"pads": [1] * 4}, 1, 6),
        (3, {"pads": [1] * 4}, 0, 4),
        (3, {}, 0, 2),
        (3, {"pads": [3] * 4}, 1, 8),
        (3, {"pads": [2] * 4, "dilations": [2, 2]}, 0, 4),
        (3, {"pads": [0, 0, 1, 1], "strides": [2, 2]}, 0, 2),
        (5, {"auto_pad": "SAME_UPPER"}, 0, 4),
    ],
)
@pytest.mark.input_kind(
    "model", "k x k convolution with one map a class, then GAP (mini-Xception)", "ONNX Runtime", "exact maps"
)
def test_convolution_of_any_size_gives_class_maps_and_its_padding_a_margin(kernel, attributes, margin, size, tmp_path):
    net = Net()
    weights = net.weights(CLASSES, CHANNELS, kernel, kernel)
    maps = net.op("Conv", net.features(), weights, net.weights(CLASSES), **attributes)
    net.save(tmp_path / "in.onnx", net.op("Flatten", net.op("GlobalAveragePool", maps)))
    report = attach(tmp_path / "in.onnx", tmp_path / "out.onnx", **PLAIN)
    assert (report.head, report.map_margin) == ("pooled_class_maps", margin)
    assert report.features == (CLASSES, size, size)
    results = run(tmp_path / "out.onnx", random_images(2))
    assert_identity(results)
    if margin:
        ring = np.ones((size, size), bool)
        ring[margin:-margin, margin:-margin] = False
        assert np.ptp(results["class_maps"][0, 0][ring]) == 0  # no pixel reaches the margin
        assert np.ptp(results["class_maps"][0, 0][~ring]) > 0


def test_map_that_is_padded_unevenly_is_explained_by_the_map_before_it(tmp_path):
    """Its cells do not lie on the image; the head is linear in the mean of the features all the same."""
    net = Net()
    maps = net.op("Conv", net.features(), net.weights(CLASSES, CHANNELS, 1, 1), net.weights(CLASSES), pads=[0, 0, 1, 1])
    source = net.save(tmp_path / "in.onnx", net.op("Flatten", net.op("GlobalAveragePool", maps)))
    with pytest.raises(HeadNotFound, match=r"Conv node.*pads its map.*--layer"):
        attach(source, tmp_path / "out.onnx", **PLAIN)
    features = next(node.input[0] for node in net.nodes if node.output[0] == maps)
    report = attach(source, tmp_path / "out.onnx", layer=features, **PLAIN)
    assert (report.head, report.features) == ("linear", (CHANNELS, 4, 4))
    assert_identity(run(tmp_path / "out.onnx", random_images(2)))


def _added(net, maps):
    return net.op("Add", maps, net.op("Conv", net.features(), net.weights(CLASSES, CHANNELS, 3, 3), pads=[1] * 4))


def _normalised(net, maps):
    parameters = [net.weights(CLASSES) for _ in range(3)]
    return net.op("Relu", net.op("BatchNormalization", maps, *parameters, net.const(np.ones(CLASSES, np.float32))))


@pytest.mark.parametrize("after", [_added, _normalised], ids=lambda after: after.__name__)
def test_softmax_proves_that_pooled_channels_are_classes(after, tmp_path):
    """Without it they could be the features of a network without its last layer."""
    net = Net()
    maps = net.op("Conv", net.features(), net.weights(CLASSES, CHANNELS, 3, 3), net.weights(CLASSES), pads=[1] * 4)
    pooled = net.op("Flatten", net.op("GlobalAveragePool", after(net, maps)))
    net.save(tmp_path / "features.onnx", pooled)
    with pytest.raises(HeadNotFound, match="only gives features, export it with its classifier"):
        attach(tmp_path / "features.onnx", tmp_path / "out.onnx", **PLAIN)
    net.save(tmp_path / "in.onnx", net.op("Softmax", pooled, axis=1))
    assert attach(tmp_path / "in.onnx", tmp_path / "out.onnx", **PLAIN).head == "pooled_class_maps"
    assert_identity(run(tmp_path / "out.onnx", random_images(2)))


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("scaled", [False, True])
def test_class_maps_with_channels_last_or_a_temperature(scaled, layout, tmp_path):
    net = Net()
    maps = net.op("Conv", net.features(), net.weights(CLASSES, CHANNELS, 3, 3), net.weights(CLASSES), pads=[1] * 4)
    if layout == "nhwc":
        pooled = net.mean(net.op("Transpose", maps, perm=[0, 2, 3, 1]), [1, 2], 0)
    else:
        pooled = net.op("Flatten", net.op("GlobalAveragePool", maps))
    if scaled:
        pooled = net.op("Add", net.op("Div", pooled, net.const(np.float32(0.5))), net.weights(CLASSES))
    source = net.save(tmp_path / "in.onnx", net.op("Softmax", pooled, axis=1))
    report = attach(source, tmp_path / "out.onnx", **PLAIN)
    assert report.head == ("linear" if scaled else "pooled_class_maps")
    results = run(tmp_path / "out.onnx", random_images(2))
    assert_identity(results)
    np.testing.assert_allclose(results["scores"], expected_output(source, random_images(2)), atol=1e-6)


def test_output_with_an_exact_head_is_chosen(tmp_path):
    net = Net()
    pooled = net.pooled()
    hidden = net.op("Relu", net.op("Gemm", pooled, net.weights(6, CHANNELS), transB=1))
    other = net.op("Gemm", hidden, net.weights(CLASSES, 6), transB=1, to="auxiliary")
    logits = net.gemm(pooled, to="classes")
    net.save(tmp_path / "in.onnx", other, logits)
    attach(tmp_path / "in.onnx", tmp_path / "out.onnx", **PLAIN)
    expected = expected_output(tmp_path / "in.onnx", random_images(2), index=1)
    np.testing.assert_allclose(run(tmp_path / "out.onnx", random_images(2))["logits"], expected, atol=1e-5)


def test_logits_and_scores_of_one_head_need_no_choice(tmp_path):
    net = Net()
    logits = net.gemm(net.pooled())
    net.save(tmp_path / "in.onnx", logits, net.op("Sigmoid", logits))
    assert attach(tmp_path / "in.onnx", tmp_path / "out.onnx", **PLAIN).activation == "sigmoid"


def test_two_heads_need_a_choice_and_the_message_names_them(tmp_path):
    net = Net()
    pooled = net.pooled()
    net.save(tmp_path / "in.onnx", net.gemm(pooled, to="colour"), net.gemm(pooled, to="shape"))
    with pytest.raises(UsageError, match=r"--output.*colour, shape"):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx", **PLAIN)
    with pytest.raises(UsageError, match=r"no output 'size'.*colour, shape"):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx", output="size", **PLAIN)
    attach(tmp_path / "in.onnx", tmp_path / "out.onnx", output="shape", **PLAIN)
    expected = expected_output(tmp_path / "in.onnx", random_images(2), index=1)
    results = run(tmp_path / "out.onnx", random_images(2))
    np.testing.assert_allclose(results["logits"], expected, atol=1e-5)
    kept = {tensor.name for tensor in onnx.load(tmp_path / "out.onnx").graph.initializer}
    assert len([name for name in kept if name.startswith("const")]) == 5  # without the other head's weights


def test_layer_that_is_pooled_has_the_exact_head(tmp_path):
    net = Net()
    maps = net.features()
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps))))
    assert attach(source, tmp_path / "out.onnx", layer=maps, **PLAIN).head == "linear"


def test_unknown_layer_is_refused_with_the_names_of_all_layers(tmp_path):
    net = Net()
    maps = net.features()
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps))))
    with pytest.raises(UsageError, match=rf"'layer4' is no feature map.*conv\d+, .*{maps}"):
        attach(source, tmp_path / "out.onnx", layer="layer4", **PLAIN)


def test_layer_with_too_many_cells_is_refused(tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled()), size="any")
    first = net.nodes[2].output[0]
    with pytest.raises(HeadNotFound, match=r"256x256 cells would be 65536 masked copies.*nearer the end"):
        attach(source, tmp_path / "out.onnx", layer=first, size=(512, 512), **PLAIN)
