"""`Graph`: constants, order, copies and names."""

import onnx
import pytest

from camrt.errors import ExportError
from camrt.export import attach
from camrt.export.graph.graph import Graph
from support.export_graphs import CHANNELS, PLAIN, Net, assert_identity, random_images, run


def test_initializers_listed_as_inputs_are_constants(tmp_path):
    """IR version 3 knows no other way."""
    net = Net(9, ir_version=3)
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled()))
    assert len(onnx.load(source).graph.input) > 1
    attach(source, tmp_path / "out.onnx", **PLAIN)
    assert [value.name for value in onnx.load(tmp_path / "out.onnx").graph.input] == ["image"]
    assert_identity(run(tmp_path / "out.onnx", random_images(2)))


def test_cycle_is_refused():
    net = Net()
    graph = Graph(net.model(net.features()))
    graph.proto.node[-1].input[0] = graph.add_node("Relu", [graph.proto.node[-1].output[0]])
    graph.reindex()
    with pytest.raises(ExportError, match="has a cycle at Relu node"):
        graph.sort_topologically()


def test_copy_keeps_the_shapes_and_leaves_the_original_unchanged():
    net = Net()
    graph = Graph(net.model(net.gemm(net.pooled())))
    graph.infer_shapes()
    before = graph.model.SerializeToString()
    maps = net.nodes[-3].input[0]
    copy = graph.copy()
    copy.rename({maps: "renamed"})
    copy.add_reshape("renamed", [-1])
    assert copy.shape("renamed") == graph.shape(maps) == (None, CHANNELS, 4, 4)
    assert graph.model.SerializeToString() == before


def test_released_name_is_free_everywhere():
    net = Net()
    graph = Graph(net.model(net.gemm(net.pooled(), to="logits")))
    assert graph.release_names(["logits", "scores"]) == {"logits": "camrt_logits"}
    assert graph.producer("logits") is None
    assert [value.name for value in graph.proto.output] == ["camrt_logits"]
    assert graph.unique_name("logits") == "camrt_logits_2"
