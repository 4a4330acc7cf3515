"""Classifiers made to take time or memory for ever: each is refused in one line."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from camrt.errors import ExportError, TimeLimitExceeded
from camrt.export import attach
from camrt.export.graph import session


def write(path, nodes, begin, *, constants=(), functions=()):
    """Write a classifier whose first convolution reads ``begin``, which ``nodes`` compute from the input."""
    weights = {"kernel": np.ones((4, 3, 3, 3)), "weight": np.ones((2, 4)), "bias": np.zeros(2)}
    initializers = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    initializers += [numpy_helper.from_array(np.asarray(value), name) for name, value in constants]
    head = [
        helper.make_node("Conv", [begin, "kernel"], ["convolved"]),
        helper.make_node("GlobalAveragePool", ["convolved"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"], transB=1),
    ]
    image = helper.make_tensor_value_info("image_in", TensorProto.FLOAT, ["N", 3, 16, 16])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2])
    graph = helper.make_graph([*nodes, *head], "graph", [image], [logits], initializers)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=9), path)
    return path


def doubling(levels):
    """Return functions of which the last stands for 2**levels nodes."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    found = []
    for level in range(levels):
        name, domain = (f"f{level - 1}", "own") if level else ("Identity", "")
        nodes = [helper.make_node(name, [a], [b], domain=domain) for a, b in (("x", "t"), ("t", "y"))]
        found.append(helper.make_function("own", f"f{level}", ["x"], ["y"], nodes, imports))
    return found


def test_functions_in_functions_are_counted_before_they_are_written_out(tmp_path):
    def attach_levels(levels):
        call = helper.make_node(f"f{levels - 1}", ["image_in"], ["begin"], domain="own")
        write(tmp_path / "net.onnx", [call], "begin", functions=doubling(levels))
        return attach(tmp_path / "net.onnx", tmp_path / f"{levels}.onnx")

    assert attach_levels(7).head == "linear"
    for levels in (17, 40, 90):
        with pytest.raises(ExportError, match="calls functions in functions"):
            attach_levels(levels)
    with pytest.raises(ExportError, match="nests functions more than 100 deep"):
        attach_levels(150)
    assert [path.name for path in tmp_path.iterdir() if path.name != "net.onnx"] == ["7.onnx"]


def test_a_loop_without_an_end_is_cancelled(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "LIMIT_S", 1.0)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("v", "w")]
    flags = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go", "on")]
    count = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    nodes = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["v", "v"], ["w"])]
    body = helper.make_graph(nodes, "body", [count, flags[0], values[0]], [flags[1], values[1]])
    constants = [("trips", np.int64(2**62)), ("yes", np.array(True)), ("zero", np.float32(0))]
    of_constants = [
        helper.make_node("Loop", ["trips", "yes", "zero"], ["sum"], body=body),
        helper.make_node("Add", ["image_in", "sum"], ["begin"]),
    ]
    of_image = [helper.make_node("Loop", ["trips", "yes", "image_in"], ["begin"], body=body)]
    for loop in (of_constants, of_image):
        path = write(tmp_path / "net.onnx", loop, "begin", constants=constants)
        with pytest.raises(TimeLimitExceeded, match="within 1 s; if it holds a loop, export it again without one"):
            attach(path, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("op_type", ["ConstantOfShape", "Expand"])
def test_constants_that_no_memory_holds_are_refused(tmp_path, op_type):
    inputs = ["sides"] if op_type == "ConstantOfShape" else ["one", "sides"]
    nodes = [
        helper.make_node(op_type, inputs, ["large"]),
        helper.make_node("ReduceMax", ["large"], ["most"], keepdims=0),
        helper.make_node("Add", ["image_in", "most"], ["begin"]),
    ]
    constants = [("sides", np.array([10**6, 10**6])), ("one", np.float32(1))]
    path = write(tmp_path / "net.onnx", nodes, "begin", constants=constants)
    with pytest.raises(ExportError, match="Failed to allocate memory"):
        attach(path, tmp_path / "model.onnx")


def test_a_long_chain_is_no_problem(tmp_path):
    """Searching all nodes at each step takes a minute for 10,000 nodes."""
    length = 3000
    names = ["image_in", *(f"t{number}" for number in range(length))]
    nodes = [helper.make_node("Identity", [a], [b]) for a, b in itertools.pairwise(names)]
    path = write(tmp_path / "net.onnx", nodes, names[-1])
    assert attach(path, tmp_path / "model.onnx").classes == 2
