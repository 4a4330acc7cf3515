"""The graph of the model file: names, outputs, shapes, and what it leaves out."""

import numpy as np
import onnx
import pytest

from camrt.export import attach
from camrt.export.graph.preprocessing import Preprocessing
from camrt.export.head.find import find_head
from camrt.export.rewrite import load_graph, rewrite_graph
from camrt.model_file import ModelInfo
from support.export_graphs import (
    CHANNELS,
    CLASSES,
    PLAIN,
    Net,
    assert_identity,
    expected_output,
    random_images,
    run,
    session,
)


def attach_and_check(net, output, tmp_path):
    """Attach a classifier with a linear head; its model file is valid, and its identity holds."""
    report = attach(net.save(tmp_path / "in.onnx", output), tmp_path / "out.onnx", **PLAIN)
    onnx.checker.check_model(onnx.load(tmp_path / "out.onnx"), full_check=True)
    assert (report.classes, report.activation) == (CLASSES, "softmax")
    assert_identity(run(tmp_path / "out.onnx", random_images(3)))


def test_rewrite_leaves_its_source_unchanged():
    """A hidden layer: the rewrite copies the head, and duplicates the batch size that the backbone needs too."""
    net = Net()
    batch = net.op("Gather", net.op("Shape", net.input), net.const(np.array([0], np.int64)), axis=0)
    map_shape = net.op("Concat", batch, net.const(np.array([CHANNELS, 4, 4], np.int64)), axis=0)
    maps = net.op("Relu", net.op("Reshape", net.op("Sigmoid", net.features()), map_shape))
    flat_shape = net.op("Concat", batch, net.const(np.array([-1], np.int64)), axis=0)
    flat = net.op("Reshape", net.op("GlobalAveragePool", maps), flat_shape)
    hidden = net.op("Relu", net.gemm(flat), to="features")
    source = net.model(net.op("Gemm", hidden, net.weights(CLASSES, CLASSES), transB=1))
    graph, network_input = load_graph(source, None)
    head = find_head(graph, network_input)
    assert head.kind == "per_position"
    before = graph.model.SerializeToString()
    first, second = (rewrite_graph(graph, network_input, head, Preprocessing(), "softmax") for _ in range(2))
    assert graph.model.SerializeToString() == before
    assert first.model.SerializeToString() == second.model.SerializeToString() != before


@pytest.mark.parametrize("name", ["image", "scores", "logits", "features", "cam_weights", "cam_bias", "class_maps"])
def test_source_tensor_may_have_a_reserved_name(name, tmp_path):
    net = Net()
    pooled = net.pooled()
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Identity", pooled, to=name)))
    attach(source, tmp_path / "out.onnx", **PLAIN)
    results = run(tmp_path / "out.onnx", random_images(2))
    assert_identity(results)
    np.testing.assert_allclose(results["logits"], expected_output(source, random_images(2)), atol=1e-5)


def test_source_input_and_output_may_have_reserved_names(tmp_path):
    net = Net()
    net.input = "image"
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled(), to="features"))
    attach(source, tmp_path / "out.onnx", output="features", **PLAIN)
    results = run(tmp_path / "out.onnx", random_images(2))
    np.testing.assert_allclose(results["logits"], expected_output(source, random_images(2)), atol=1e-5)
    metadata = session(tmp_path / "out.onnx").get_modelmeta().custom_metadata_map
    assert ModelInfo.from_metadata(metadata).source["output"] == "features"


def test_reserved_name_in_a_subgraph_is_renamed(tmp_path):
    net = Net()
    pooled = net.op("Identity", net.pooled(), to="features")
    branches = {
        branch: onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["features"], [f"{branch}_out"])],
            branch,
            [],
            [onnx.helper.make_tensor_value_info(f"{branch}_out", 1, ["N", CHANNELS])],
        )
        for branch in ("then_branch", "else_branch")
    }
    unused = net.op("If", net.const(np.array(True)), **branches)
    total = net.op("Add", net.gemm(pooled), net.op("ReduceMean", unused, keepdims=1))
    source = net.save(tmp_path / "in.onnx", net.gemm(pooled, to="named"), total)
    attach(source, tmp_path / "out.onnx", output="named", **PLAIN)
    assert_identity(run(tmp_path / "out.onnx", random_images(2)))


def test_half_precision_network_gives_float32_outputs(tmp_path):
    net = Net(dtype=np.float16)
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled()))
    attach(source, tmp_path / "out.onnx", **PLAIN)
    results = run(tmp_path / "out.onnx", random_images(2))
    assert {values.dtype for values in results.values()} == {np.dtype(np.float32)}
    assert_identity(results, 5e-3)


def test_weights_are_stored_once(tmp_path):
    """Most of a classifier with many classes is its last layer."""
    net = Net()
    logits = net.gemm(net.pooled(), classes=20_000)
    source = net.save(tmp_path / "in.onnx", logits, **{logits: ["N", 20_000]})
    attach(source, tmp_path / "out.onnx", **PLAIN)
    bias = 20_000 * 4
    assert (tmp_path / "out.onnx").stat().st_size < source.stat().st_size + bias + 10_000


def test_quantized_weights_are_exact_and_stored_once(tmp_path):
    net = Net(13)
    weights = net.const(net.random.integers(-127, 128, (CLASSES, CHANNELS)).astype(np.int8))
    scale, zero = net.const(np.full(CLASSES, 0.01, np.float32)), net.const(np.zeros(CLASSES, np.int8))
    output = net.op("Gemm", net.pooled(), net.op("DequantizeLinear", weights, scale, zero, axis=0), transB=1)
    attach_and_check(net, output, tmp_path)
    kept = [tensor.dims for tensor in onnx.load(tmp_path / "out.onnx").graph.initializer]
    assert kept.count([CLASSES, CHANNELS]) == 1


def test_file_states_the_shape_of_each_output(tmp_path):
    net = Net()
    attach_and_check(net, net.gemm(net.pooled()), tmp_path)
    graph = onnx.load(tmp_path / "out.onnx").graph
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in [*graph.input, *graph.output]
    }
    assert shapes == {
        "image": ["N", 8, 8, 3],
        "scores": ["N", CLASSES],
        "logits": ["N", CLASSES],
        "features": ["N", CHANNELS, 4, 4],
        "cam_weights": [CLASSES, CHANNELS],
        "cam_bias": [CLASSES],
    }
