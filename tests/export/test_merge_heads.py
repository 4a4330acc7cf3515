"""The graphs of several heads become one graph, whatever their tensors are called and whatever they compute."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from camrt.export import attach
from camrt.model_file import output_of
from support.export_graphs import CHANNELS, PLAIN, Net, random_images, run


def assert_equal_to_own_files(source, names, folder):
    """Attach the outputs together and one by one, and return the report of all."""
    report = attach(source, folder / "out.onnx", output=list(names), **PLAIN)
    images = random_images(2)
    together = run(folder / "out.onnx", images)
    for number, name in enumerate(names):
        attach(source, folder / "one.onnx", output=name, overwrite=True, **PLAIN)
        for output, values in run(folder / "one.onnx", images).items():
            assert np.array_equal(together[output_of(name if number else None, output)], values)
    return report


def test_tensors_with_the_names_of_a_further_head_are_renamed(tmp_path):
    net = Net()
    pooled = net.op("Flatten", net.op("GlobalAveragePool", net.op("Identity", net.features(), to="scores.b")))
    net.gemm(pooled, to="logits")
    net.gemm(net.op("Identity", pooled, to="logits.b"), to="b")
    source = net.save(tmp_path / "in.onnx", "logits", "b")
    assert_equal_to_own_files(source, ["logits", "b"], tmp_path)


def test_subgraphs_of_two_heads_keep_their_own_tensors(tmp_path):
    """Both heads have an If whose branches use the same inner names, and read tensors from outside."""
    net = Net()
    stem = net.features()
    yes = net.const(np.array(True))
    for name in ("a", "b"):
        maps = net.op("Conv", stem, net.weights(CHANNELS, CHANNELS, 1, 1))
        branches = {}
        for branch in ("then_branch", "else_branch"):
            nodes = [
                helper.make_node("Add", [maps, maps], ["inner"]),
                helper.make_node("Identity", ["inner" if branch == "then_branch" else maps], [f"{branch}_out"]),
            ]
            output = helper.make_tensor_value_info(f"{branch}_out", TensorProto.FLOAT, ["N", 5, 4, 4])
            branches[branch] = helper.make_graph(nodes, branch, [], [output])
        chosen = net.op("If", yes, **branches)
        net.gemm(net.op("Flatten", net.op("GlobalAveragePool", chosen)), to=name)
    source = net.save(tmp_path / "in.onnx", "a", "b")
    assert_equal_to_own_files(source, ["a", "b"], tmp_path)


def quantized():
    net = Net(13)
    pair = [net.const(np.array(0.02, np.float32)), net.const(np.array(0, np.uint8))]
    pooled = net.op("DequantizeLinear", net.op("QuantizeLinear", net.pooled(), *pair), *pair)
    net.gemm(pooled, to="a")
    net.op("Softmax", net.gemm(pooled), to="b", axis=1)
    return net


def half():
    net = Net(17, dtype=np.float16)
    pooled = net.pooled()
    net.gemm(pooled, to="a")
    net.gemm(pooled, to="b")
    return net


def flattened():
    """Two heads that are evaluated with all cells but one set to zero, and an exact one, on one flattened map."""
    net = Net(12)
    flat = net.op("Flatten", net.features())
    hidden = net.op("Relu", net.gemm(flat, channels=80, classes=9))
    net.gemm(hidden, channels=9, to="a")
    net.gemm(flat, channels=80, to="b")
    net.op("LogSoftmax", net.gemm(hidden, channels=9), to="c", axis=1)
    return net


def fixed_batch():
    net = Net(17, batch=1)
    pooled = net.pooled()
    net.gemm(pooled, to="a")
    net.gemm(pooled, to="b")
    return net


@pytest.mark.parametrize(
    ("make", "kinds"),
    [
        (quantized, ["linear"] * 2),
        (half, ["linear"] * 2),
        (flattened, ["masked", "weighted_cells", "masked"]),
        (fixed_batch, ["linear"] * 2),
    ],
)
def test_heads_of_other_graphs_are_merged_exactly(tmp_path, make, kinds):
    names = "abc"[: len(kinds)]
    source = make().save(tmp_path / "in.onnx", *names)
    report = assert_equal_to_own_files(source, names, tmp_path)
    assert [head.head for head in report.heads] == kinds
