"""Write integer operators (the QOperator format) as their float operator between quantizers (the QDQ format).

ONNX Runtime turns the second back into the first when it opens a file, so nothing gets slower; but only the second says
which number a weight or an activation stands for. The operators: the ONNX standard's QLinearConv and QLinearMatMul, and
ONNX Runtime's own in the domain com.microsoft.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, helper

from camrt.export.graph.graph import Graph, attribute


@dataclass(frozen=True, slots=True)
class _Form:
    """Where an integer operator has its operands, each followed by its scale and zero point."""

    operator: str
    operands: tuple[int, ...]
    result: int
    """Of the result's scale, followed by its zero point."""
    bias: int | None = None
    """A vector of int32, in units of the product of both operands' scales."""


_FORMS = {
    "QLinearConv": _Form("Conv", (0, 3), 6, bias=8),
    "QLinearMatMul": _Form("MatMul", (0, 3), 6),
    "QGemm": _Form("Gemm", (0, 3), 7, bias=6),
    "QLinearAdd": _Form("Add", (0, 3), 6),
    "QLinearMul": _Form("Mul", (0, 3), 6),
    "QLinearGlobalAveragePool": _Form("GlobalAveragePool", (0,), 3),
    "QLinearAveragePool": _Form("AveragePool", (0,), 3),
    "QLinearSigmoid": _Form("Sigmoid", (0,), 3),
    "QLinearSoftmax": _Form("Softmax", (0,), 3),
}


def to_qdq(graph: Graph) -> None:
    """Replace the integer operators that are known, in place."""
    nodes: list[NodeProto] = []
    for node in graph.proto.node:
        form = _FORMS.get(node.op_type)
        written = None if form is None or attribute(node, "channels_last", 0) else _written(graph, node, form)
        nodes.extend(written or [node])
    if len(nodes) != len(graph.proto.node):
        copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.proto.node[:]
        graph.proto.node.extend(copies)
        graph.reindex()


def _written(graph: Graph, node: NodeProto, form: _Form) -> list[NodeProto] | None:
    inputs = [*node.input, "", "", ""]
    nodes: list[NodeProto] = []

    def dequantize(parameters: Sequence[str], axis: int) -> str:
        name = graph.fresh("real")
        given = [entry for entry in parameters if entry]
        nodes.append(helper.make_node("DequantizeLinear", given, [name], name=name, axis=axis))
        return name

    operands = [dequantize(inputs[index : index + 3], _axis(node, index)) for index in form.operands]
    if form.bias is not None and inputs[form.bias]:
        scales = [graph.constant(inputs[index + 1]) for index in form.operands]
        if scales[0] is None or scales[1] is None:
            return None
        step = np.asarray(scales[0] * scales[1], np.float32).reshape(-1)
        scale = graph.add_initializer("bias_scale", step if step.size > 1 else step.reshape(()))
        operands.append(dequantize([inputs[form.bias], scale], axis=0))
    skipped = {"channels_last", "opset"}
    result = node.output[0] if not inputs[form.result] else graph.fresh("real")
    plain = helper.make_node(form.operator, operands, [result], name=node.name)
    plain.attribute.extend(entry for entry in node.attribute if entry.name not in skipped)
    nodes.append(plain)
    if inputs[form.result]:
        quantizer = [result, *(entry for entry in inputs[form.result : form.result + 2] if entry)]
        nodes.append(helper.make_node("QuantizeLinear", quantizer, [node.output[0]], name=graph.fresh("quantizer")))
    return nodes


def _axis(node: NodeProto, operand: int) -> int:
    """Return along which axis an operand may have a scale for each channel: the outputs of a layer's weights."""
    if operand == 0 or node.op_type == "QLinearConv" or attribute(node, "transB", 0):
        return 0
    return 1
