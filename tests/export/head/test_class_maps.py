"""Heads that are evaluated per cell: the class maps equal the head written out in NumPy."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import camrt
from camrt.export import attach
from camrt.export.graph.graph import Graph
from camrt.export.graph.network_input import read_input
from camrt.export.head.class_maps import add_class_maps
from camrt.export.head.nonlinear import find_nonlinear_head
from camrt.export.head.split_points import find_split_points
from support.export_graphs import CHANNELS, CLASSES, PLAIN, Net, expected_output, random_images, run, session

HIDDEN = 6


def relu(values):
    return np.maximum(values, 0)


def constants(net):
    return {tensor.name: numpy_helper.to_array(tensor).astype(np.float64) for tensor in net.initializers}


def attached(net, output, tmp_path, **options):
    """Attach; return the report, and the file's outputs for three images."""
    source = net.save(tmp_path / "in.onnx", output)
    report = attach(source, tmp_path / "out.onnx", **PLAIN, **options)
    results = run(tmp_path / "out.onnx", random_images(3))
    expected = expected_output(source, random_images(3))
    np.testing.assert_allclose(results["logits"], expected, rtol=1e-5, atol=1e-5)
    assert list(results) == ["scores", "logits", "class_maps"]
    assert report.features == (CLASSES, *results["class_maps"].shape[2:])
    assert report.verification["cells_error"] <= 1e-4
    assert "identity_error" not in report.verification
    return report, results


def value_of(source, tensor, images):
    """Run the classifier and return one of its inner tensors."""
    model = onnx.load(source)
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(tensor))
    return session(model).run(None, {"data": images.transpose(0, 3, 1, 2).astype(np.float32)})[0].astype(np.float64)


def two_layers(net, pooled):
    first, last = net.weights(HIDDEN, CHANNELS), net.weights(CLASSES, HIDDEN)
    hidden = net.op("HardSwish", net.op("Gemm", pooled, first, net.weights(HIDDEN), transB=1))
    return net.op("Gemm", net.op("Dropout", hidden), last, net.weights(CLASSES), transB=1), (first, last)


def hard_swish(values):
    return values * np.clip(values / 6 + 0.5, 0, 1)


def test_hidden_layer_sees_each_cell_by_itself(tmp_path):
    """MobileNetV3's head."""
    net = Net()
    maps = net.features()
    output, (first, last) = two_layers(net, net.op("Flatten", net.op("GlobalAveragePool", maps)))
    report, results = attached(net, output, tmp_path)
    assert report.head == "per_position"
    weights, biases = constants(net), [node.input[2] for node in net.nodes if node.op_type == "Gemm"]
    cells = value_of(tmp_path / "in.onnx", maps, random_images(3))
    hidden = hard_swish(np.einsum("nchw,kc->nkhw", cells, weights[first]) + weights[biases[0]][:, None, None])
    expected = np.einsum("nchw,kc->nkhw", hidden, weights[last]) + weights[biases[1]][:, None, None]
    np.testing.assert_allclose(results["class_maps"], expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert any("not linear" in sentence for sentence in report.remarks)


def test_layer_normalisation_normalises_each_cell_by_itself(tmp_path):
    """ConvNeXt's head: each cell is normalised by itself."""
    net = Net()
    maps = net.features()
    flat = net.op("Flatten", net.op("GlobalAveragePool", maps))
    normal = net.op("LayerNormalization", flat, net.weights(CHANNELS), net.weights(CHANNELS), axis=-1, epsilon=1e-5)
    layer = net.gemm(normal)
    report, results = attached(net, layer, tmp_path)
    assert report.head == "per_position"
    weights = constants(net)
    scale, shift = (weights[name] for name in net.nodes[-2].input[1:])
    matrix, bias = (weights[name] for name in net.nodes[-1].input[1:])
    cells = value_of(tmp_path / "in.onnx", maps, random_images(3)).transpose(0, 2, 3, 1)
    centred = cells - cells.mean(axis=-1, keepdims=True)
    expected = (centred / np.sqrt(cells.var(axis=-1, keepdims=True) + 1e-5) * scale + shift) @ matrix.T + bias
    expected = expected.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(results["class_maps"], expected, rtol=0, atol=1e-3 * np.abs(expected).max())


def gem(net, maps):
    power = net.const(np.array(3, np.float32))
    lifted = net.op("Pow", net.op("Clip", maps, net.const(np.array(1e-6, np.float32))), power)
    root = net.op("Pow", net.op("GlobalAveragePool", lifted), net.const(np.array(1 / 3, np.float32)))
    return net.gemm(net.op("Flatten", root))


def mean_and_max(net, maps):
    pools = [net.op(op_type, maps) for op_type in ("GlobalAveragePool", "GlobalMaxPool")]
    return net.gemm(net.op("Flatten", net.op("Concat", *pools, axis=1)), channels=2 * CHANNELS)


def gated(net, maps):
    """Squeeze and excitation after the pool."""
    pooled = net.op("Flatten", net.op("GlobalAveragePool", maps))
    gate = net.op("Sigmoid", net.op("Gemm", pooled, net.weights(CHANNELS, CHANNELS), transB=1))
    return net.gemm(net.op("Mul", pooled, gate))


def gated_before(net, maps):
    """Squeeze and excitation before the pool: the gate depends on the whole map."""
    gate = net.op("Sigmoid", net.op("Conv", net.op("GlobalAveragePool", maps), net.weights(CHANNELS, CHANNELS, 1, 1)))
    both = net.op("Concat", net.op("Mul", maps, gate), maps, axis=1)
    return net.gemm(net.op("Flatten", net.op("GlobalMaxPool", both)), channels=2 * CHANNELS)


def window_over_the_map(net, maps):
    pooled = net.op("Flatten", net.op("MaxPool", maps, kernel_shape=[4, 4]))
    return net.gemm(pooled)


def mean_of_columns_then_rows(net, maps):
    pooled = net.mean(net.op("Transpose", net.mean(maps, [3]), perm=[0, 2, 3, 1]), [1])
    return two_layers(net, net.op("Flatten", pooled))[0]


@pytest.mark.parametrize(
    "head",
    [gem, mean_and_max, gated, gated_before, window_over_the_map, mean_of_columns_then_rows],
    ids=lambda head: head.__name__,
)
def test_head_that_treats_every_cell_alike_is_per_position(head, tmp_path):
    net = Net()
    maps = net.features()
    report, results = attached(net, head(net, maps), tmp_path)
    assert report.head == "per_position"
    model = onnx.load(tmp_path / "out.onnx")
    assert results["class_maps"].std() > 0
    assert not [node for node in model.graph.node if node.op_type == "If"]


def test_flattened_map_is_masked_to_one_cell(tmp_path):
    """VGG's head: Recipro-CAM (arXiv:2209.14074)."""
    net = Net()
    maps = net.features()
    first, last = net.weights(HIDDEN, CHANNELS * 16), net.weights(CLASSES, HIDDEN)
    hidden = net.op("Relu", net.op("Gemm", net.op("Flatten", maps), first, transB=1))
    report, results = attached(net, net.op("Gemm", hidden, last, transB=1), tmp_path)
    assert report.head == "masked"
    weights = constants(net)
    cells = value_of(tmp_path / "in.onnx", maps, random_images(3)).reshape(3, CHANNELS, 16)
    single_cells = np.einsum("ncp,hcp->nph", cells, weights[first].reshape(HIDDEN, CHANNELS, 16))
    expected = (relu(single_cells) @ weights[last].T).transpose(0, 2, 1).reshape(3, CLASSES, 4, 4)
    np.testing.assert_allclose(results["class_maps"], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_batch_size_in_a_reshape_is_replaced(tmp_path):
    net = Net(batch=1)
    flat = net.op("Reshape", net.features(), net.const(np.array([1, CHANNELS * 16], np.int64)))
    hidden = net.op("Relu", net.op("Gemm", flat, net.weights(HIDDEN, CHANNELS * 16), transB=1))
    report, _ = attached(net, net.op("Gemm", hidden, net.weights(CLASSES, HIDDEN), transB=1), tmp_path)
    assert report.head == "masked"


def test_batch_size_from_the_input_is_replaced(tmp_path):
    """``x.view(images.size(0), -1)`` by the older torch exporter: the size comes from before the map."""
    net = Net()
    maps = net.features()
    batch = net.op("Gather", net.op("Shape", net.input), net.const(np.array([0], np.int64)), axis=0)
    shape = net.op("Concat", batch, net.const(np.array([-1], np.int64)), axis=0)
    output, _ = two_layers(net, net.op("Reshape", net.op("GlobalAveragePool", maps), shape))
    assert attached(net, output, tmp_path)[0].head == "per_position"


def test_batch_size_that_the_backbone_needs_too_is_duplicated(tmp_path):
    """Two views by torch's exporter: the batch size is computed once, for both sides of the map."""
    net = Net()
    size = net.op("Shape", net.input)
    batch = net.op("Gather", size, net.const(np.array([0], np.int64)), axis=0)
    map_shape = net.op("Concat", batch, net.const(np.array([CHANNELS, 4, 4], np.int64)), axis=0)
    maps = net.op("Relu", net.op("Reshape", net.op("Sigmoid", net.features()), map_shape))
    flat = net.op("Concat", batch, net.const(np.array([-1], np.int64)), axis=0)
    output, _ = two_layers(net, net.op("Reshape", net.op("GlobalAveragePool", maps), flat))
    report, results = attached(net, output, tmp_path)
    assert report.head == "per_position"
    assert results["class_maps"].std() > 0


def tokens_of(net, maps, extra=0):
    cells = net.op("Reshape", maps, net.const(np.array([0, CHANNELS, 16], np.int64)))
    tokens = net.op("Transpose", cells, perm=[0, 2, 1])
    if extra:
        first = net.op("ReduceMax", tokens, axes=[1], keepdims=1)
        tokens = net.op("Concat", *[first] * extra, tokens, axis=1)
    scores = net.op("MatMul", tokens, net.op("Transpose", tokens, perm=[0, 2, 1]))
    return net.op("MatMul", net.op("Softmax", scores, axis=-1), tokens)


@pytest.mark.parametrize("extra", [1, 2])
def test_patch_tokens_go_through_the_head_of_the_first_token(extra, tmp_path):
    """A vision transformer: the class token, and perhaps registers, come before the patches."""
    net = Net()
    mixed = tokens_of(net, net.features(), extra)
    layer = net.gemm(net.op("Relu", net.op("Gather", mixed, net.const(np.array(0, np.int64)), axis=1)))
    report, results = attached(net, layer, tmp_path)
    assert report.head == "tokens"
    matrix, bias = (constants(net)[name] for name in net.nodes[-1].input[1:])
    tokens = value_of(tmp_path / "in.onnx", mixed, random_images(3))[:, extra:]
    expected = (relu(tokens) @ matrix.T + bias).transpose(0, 2, 1).reshape(3, CLASSES, 4, 4)
    np.testing.assert_allclose(results["class_maps"], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_per_position_maps_of_a_linear_head_are_its_cams_plus_the_bias(tmp_path):
    """Where both are defined, both are the class activation map, exactly."""
    net = Net()
    output = net.gemm(net.pooled())
    source = net.save(tmp_path / "in.onnx", output)
    attach(source, tmp_path / "out.onnx", **PLAIN)
    results = run(tmp_path / "out.onnx", random_images(3))
    cams = np.einsum("nchw,kc->nkhw", results["features"].astype(np.float64), results["cam_weights"])

    graph = Graph(onnx.load(source))
    network_input = read_input(graph, None)
    graph.infer_shapes()
    *split_points, logits = find_split_points(graph, network_input, output)
    head = find_nonlinear_head(
        graph, network_input, [point for point in split_points if point.is_feature_map][-1], logits
    )
    assert head.mode == "per_position"
    maps = add_class_maps(graph, head)
    graph.prune([onnx.helper.make_empty_tensor_value_info(maps)])
    data = random_images(3).transpose(0, 3, 1, 2).astype(np.float32)
    per_position = session(graph.model).run(None, {"data": data})[0]
    np.testing.assert_allclose(per_position, cams + results["cam_bias"][:, None, None], rtol=1e-5, atol=1e-5)


def test_earlier_layer_is_masked_before_the_convolutions(tmp_path):
    net = Net()
    maps = net.features()
    first = net.nodes[2].output[0]  # the Relu of the first convolution
    output = net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps)))
    report, results = attached(net, output, tmp_path, layer=first)
    assert report.head == "masked"
    cells = value_of(tmp_path / "in.onnx", first, random_images(3))[0]
    model = onnx.load(tmp_path / "in.onnx")
    back = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(model)).extract_model([first], [output])
    mask = np.zeros((4, 4))
    mask[1, 2] = 1
    expected = session(back).run(None, {first: (cells * mask)[None].astype(np.float32)})[0][0]
    np.testing.assert_allclose(results["class_maps"][0, :, 1, 2], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_runtime_shows_the_class_maps(tmp_path):
    net = Net()
    output, _ = two_layers(net, net.pooled())
    attached(net, output, tmp_path)
    model = camrt.load(tmp_path / "out.onnx", provider="cpu")
    image = random_images(1)[0]
    result = model(image)
    maps = run(tmp_path / "out.onnx", image[None])["class_maps"][0]
    for class_id in range(CLASSES):
        np.testing.assert_allclose(result.cam(class_id), maps[class_id], rtol=1e-6)
    assert result.draw(image).shape == image.shape
