"""The linear layer in the ways exporters write it: Gemm, MatMul (+ Add), a 1x1 convolution on the pooled map."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from camrt.export.graph import Array, Graph, attribute
from camrt.export.steps import walk_back

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearLayer:
    """logits = weights @ data + bias."""

    node: NodeProto
    data: str
    """The tensor that goes in."""
    output: str
    """The tensor that comes out, bias and all."""
    weights_tensor: str
    """Where the graph holds the weights, [K, C], [C, K] or [K, C, 1, 1] as ``transposed`` and its rank say."""
    transposed: bool
    """The graph holds [C, K]."""
    scale: float
    """What the graph multiplies the weights with (Gemm's alpha)."""
    weights: F32
    """[K, C], scale and all."""
    bias: F32
    """[K]."""


def find_linear_layer(graph: Graph, tensor: str) -> LinearLayer | None:
    """Return the linear layer that gives ``tensor``; None if something else does."""
    node = graph.producer(tensor)
    if node is None or node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type == "Gemm":
        return _gemm(graph, node)
    if node.op_type == "MatMul":
        return _matmul(graph, node)
    if node.op_type == "Conv":
        return _convolution(graph, node)
    if node.op_type == "Add":
        for data, constant in (node.input, reversed(node.input)):
            bias = graph.constant(constant)
            inner = graph.producer(walk_back(graph, data))
            if bias is not None and inner is not None and inner.op_type in ("MatMul", "Gemm", "Conv"):
                layer = find_linear_layer(graph, inner.output[0])
                return None if layer is None else _with_bias(layer, bias, tensor)
    return None


def _gemm(graph: Graph, node: NodeProto) -> LinearLayer | None:
    if attribute(node, "transA", 0):
        return None
    addend = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
    if addend is None:
        return None
    layer = _layer(
        graph, node, node.input[1], transposed=not attribute(node, "transB", 0), scale=attribute(node, "alpha", 1.0)
    )
    return None if layer is None else _with_bias(layer, addend * attribute(node, "beta", 1.0), node.output[0])


def _matmul(graph: Graph, node: NodeProto) -> LinearLayer | None:
    return _layer(graph, node, node.input[1], transposed=True)


def _convolution(graph: Graph, node: NodeProto) -> LinearLayer | None:
    shape = graph.shape(node.output[0])
    if shape is not None and shape[2:] != (1, 1):
        return None  # it works on a map that is not pooled yet
    if any(attribute(node, "pads", [0])) or attribute(node, "group", 1) != 1:
        return None
    layer = _layer(graph, node, node.input[1], transposed=False)
    bias = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
    return None if layer is None or bias is None else _with_bias(layer, bias, node.output[0])


def _layer(graph: Graph, node: NodeProto, tensor: str, *, transposed: bool, scale: float = 1.0) -> LinearLayer | None:
    stored = graph.constant(tensor)
    if stored is None or stored.shape[2:] not in ((), (1, 1)) or stored.ndim < 2:
        return None
    matrix = stored.reshape(stored.shape[:2])
    weights = np.asarray((matrix.T if transposed else matrix) * scale, np.float32)
    return LinearLayer(
        node=node,
        data=node.input[0],
        output=node.output[0],
        weights_tensor=tensor,
        transposed=transposed,
        scale=scale,
        weights=weights,
        bias=np.zeros(len(weights), np.float32),
    )


def _with_bias(layer: LinearLayer, addend: Array, output: str) -> LinearLayer | None:
    if addend.size not in (1, len(layer.bias)):
        return None
    return replace(layer, output=output, bias=layer.bias + addend.reshape(-1).astype(np.float32))
