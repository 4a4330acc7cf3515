"""The part of an ONNX file for some outputs is the one that the onnx package extracts."""

from contextlib import suppress

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from camrt.runtime.inference.onnx_part import metadata_of, output_names, part_for_outputs
from support.tiny_models import write_linear, write_two_heads


@pytest.mark.parametrize(
    "keep",
    [
        {"scores", "features"},
        {"cam_weights", "cam_bias"},
        {"scores.size", "logits.size", "class_maps.size"},
        {"scores", "logits", "features", "cam_weights", "cam_bias"},
    ],
)
def test_the_part_equals_the_one_that_onnx_extracts(keep, tmp_path):
    data = write_two_heads(tmp_path / "m.onnx").read_bytes()
    model = onnx.load_from_string(data)
    assert output_names(data) == [output.name for output in model.graph.output]
    assert metadata_of(data) == {entry.key: entry.value for entry in model.metadata_props}
    part = onnx.load_from_string(part_for_outputs(data, {*keep, "none"}))
    order = [name for name in output_names(data) if name in keep]
    expected = onnx.utils.Extractor(model).extract_model(["image"], order)
    assert list(part.graph.node) == list(expected.graph.node)
    assert {tensor.name for tensor in part.graph.initializer} == {t.name for t in expected.graph.initializer}
    assert [output.name for output in part.graph.output] == order
    onnx.checker.check_model(part)
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    values = onnxruntime.InferenceSession(part.SerializeToString()).run(order, {"image": image})
    whole = onnxruntime.InferenceSession(data).run(order, {"image": image})
    assert all(np.array_equal(one, other) for one, other in zip(values, whole, strict=True))


def test_all_outputs_give_the_whole_file(tmp_path):
    data = write_linear(tmp_path / "m.onnx").read_bytes()
    assert part_for_outputs(data, set(output_names(data))) == data


def test_a_tensor_that_only_a_subgraph_reads_is_kept():
    branches = {}
    for name, source in (("then_branch", "doubled"), ("else_branch", "x")):
        node = helper.make_node("Add", [source, "one"], [f"{name}_sum"])
        output = helper.make_tensor_value_info(f"{name}_sum", TensorProto.FLOAT, [2])
        branches[name] = helper.make_graph([node], name, [], [output])
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["x", "x"], ["doubled"]),
            helper.make_node("Mul", ["x", "x"], ["unused"]),
            helper.make_node("If", ["yes"], ["y"], **branches),
        ],
        "subgraphs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("y", "unused")],
        [numpy_helper.from_array(np.float32(1), "one"), numpy_helper.from_array(np.array(True), "yes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    part = part_for_outputs(model.SerializeToString(), {"y"})
    assert [node.op_type for node in onnx.load_from_string(part).graph.node] == ["Add", "If"]
    x = np.array([1.0, 2.0], np.float32)
    assert np.array_equal(onnxruntime.InferenceSession(part).run(None, {"x": x})[0], 2 * x + 1)


@given(st.binary(max_size=200))
def test_damaged_bytes_raise_no_other_error_than_value_error(data):
    for read in (metadata_of, output_names, lambda some: part_for_outputs(some, {"scores"})):
        with suppress(ValueError):
            read(data)
