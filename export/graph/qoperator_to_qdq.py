"""Rewrite integer operators (the QOperator format) as float operators between QDQ pairs (the QDQ format).

ONNX Runtime turns QDQ back into QOperator when it opens a file, so the rewrite costs no speed. Only QDQ shows which
number a weight or an activation stands for. Rewritten are the ONNX standard's QLinearConv and QLinearMatMul, and ONNX
Runtime's own operators in the domain com.microsoft.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, helper

from camrt.export.graph.graph import Graph, attribute


@dataclass(frozen=True, slots=True)
class _IntegerOperator:
    """Positions of an integer operator's operands among its inputs."""

    float_operator: str
    operands: tuple[int, ...]
    """Each is followed by its scale and zero point."""
    result_scale: int
    """Followed by the result's zero point."""
    bias: int | None = None
    """int32, in units of the product of both operands' scales."""


_INTEGER_OPERATORS = {
    "QLinearConv": _IntegerOperator("Conv", (0, 3), 6, bias=8),
    "QLinearMatMul": _IntegerOperator("MatMul", (0, 3), 6),
    "QGemm": _IntegerOperator("Gemm", (0, 3), 7, bias=6),
    "QLinearAdd": _IntegerOperator("Add", (0, 3), 6),
    "QLinearMul": _IntegerOperator("Mul", (0, 3), 6),
    "QLinearGlobalAveragePool": _IntegerOperator("GlobalAveragePool", (0,), 3),
    "QLinearAveragePool": _IntegerOperator("AveragePool", (0,), 3),
    "QLinearSigmoid": _IntegerOperator("Sigmoid", (0,), 3),
    "QLinearSoftmax": _IntegerOperator("Softmax", (0,), 3),
}


def to_qdq(graph: Graph) -> None:
    """Replace the integer operators in place; those with other layouts or without constant scales stay."""
    nodes: list[NodeProto] = []
    for node in graph.proto.node:
        operator = _INTEGER_OPERATORS.get(node.op_type)
        supported = operator is not None and not attribute(node, "channels_last", 0)
        nodes.extend((_qdq_nodes(graph, node, operator) if operator and supported else None) or [node])
    if len(nodes) != len(graph.proto.node):
        copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.proto.node[:]
        graph.proto.node.extend(copies)
        graph.reindex()


def _qdq_nodes(graph: Graph, node: NodeProto, operator: _IntegerOperator) -> list[NodeProto] | None:
    """Return the nodes that replace an integer operator; None: a scale is not constant."""
    inputs = [*node.input, "", "", ""]
    nodes: list[NodeProto] = []

    def dequantize(parameters: Sequence[str], axis: int) -> str:
        name = graph.unique_name("real")
        present = [parameter for parameter in parameters if parameter]
        nodes.append(helper.make_node("DequantizeLinear", present, [name], name=name, axis=axis))
        return name

    operands = [dequantize(inputs[index : index + 3], _scale_axis(node, index)) for index in operator.operands]
    if operator.bias is not None and inputs[operator.bias]:
        scales = [graph.constant(inputs[index + 1]) for index in operator.operands]
        if scales[0] is None or scales[1] is None:
            return None
        step = np.asarray(scales[0] * scales[1], np.float32).reshape(-1)
        scale = graph.add_initializer("bias_scale", step if step.size > 1 else step.reshape(()))
        operands.append(dequantize([inputs[operator.bias], scale], axis=0))
    result_scale = inputs[operator.result_scale]
    result = graph.unique_name("real") if result_scale else node.output[0]
    float_node = helper.make_node(operator.float_operator, operands, [result], name=node.name)
    float_node.attribute.extend(entry for entry in node.attribute if entry.name not in ("channels_last", "opset"))
    nodes.append(float_node)
    if result_scale:
        parameters = [entry for entry in inputs[operator.result_scale : operator.result_scale + 2] if entry]
        name = graph.unique_name("quantizer")
        nodes.append(helper.make_node("QuantizeLinear", [result, *parameters], [node.output[0]], name=name))
    return nodes


def _scale_axis(node: NodeProto, operand: int) -> int:
    """Return the axis along which an operand may have one scale a channel: the outputs of a layer's weights."""
    if operand == 0 or node.op_type == "QLinearConv" or attribute(node, "transB", 0):
        return 0
    return 1
