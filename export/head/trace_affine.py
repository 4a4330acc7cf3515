"""The linear layer in every form that exporters write, with all that is affine around it folded in.

Gemm, MatMul, a 1x1 convolution on the pooled map (grouped too), MatMulInteger with its scales
Add, Sub, Mul, Div with constants; BatchNormalization: before the layer, after it, between two layers
Concat of several layers along the classes; the sum of two layers
"""

from collections.abc import Callable

import numpy as np
from onnx import NodeProto

from camrt.export.graph.data_movement import QdqPair, skip_data_movement
from camrt.export.graph.graph import Graph, attribute
from camrt.export.head.affine import F64, Affine, Dense, Diagonal, add_linear


def trace_affine(graph: Graph, tensor: str) -> Affine:
    """Follow ``tensor`` back for as long as it is an affine function of one other tensor."""
    qdq_pairs: list[QdqPair] = []
    source = skip_data_movement(graph, tensor, qdq_pairs)
    node = graph.producer(source)
    reader = None if node is None or node.domain not in ("", "ai.onnx") else _READERS.get(node.op_type)
    affine = None if reader is None or node is None else reader(graph, node)
    return (affine or Affine(source, Diagonal(np.ones(1)), np.zeros(1))).then_round(qdq_pairs)


def _gemm(graph: Graph, node: NodeProto) -> Affine | None:
    bias = _vector(graph, node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
    if attribute(node, "transA", 0) or bias is None:
        return None
    bias = bias * attribute(node, "beta", 1.0)
    transposed = not attribute(node, "transB", 0)
    return _layer(graph, node, bias, alpha=attribute(node, "alpha", 1.0), transposed=transposed)


def _matmul(graph: Graph, node: NodeProto) -> Affine | None:
    return _layer(graph, node, np.zeros(1), transposed=True)


def _layer(graph: Graph, node: NodeProto, bias: F64, *, alpha: float = 1.0, transposed: bool) -> Affine | None:
    values = graph.constant(node.input[1])
    if values is None or values.ndim != 2:
        return None
    weights = alpha * np.asarray(values.T if transposed else values, np.float64)
    if bias.size not in (1, len(weights)):
        return None
    weights_tensor = node.input[1] if alpha == 1 else None
    return _layer_on(graph, node.input[0], weights, bias, weights_tensor, transposed=transposed)


def _layer_on(
    graph: Graph, tensor: str, weights: F64, bias: F64, weights_tensor: str | None, *, transposed: bool
) -> Affine:
    """Return a layer on a tensor, with what is affine before it."""
    before = trace_affine(graph, tensor)
    if not before.gives(weights.shape[1]):
        before = Affine(tensor, Diagonal(np.ones(1)), np.zeros(1))
    return before.then_layer(weights, bias, weights_tensor, transposed=transposed)


def _convolution(graph: Graph, node: NodeProto) -> Affine | None:
    shape = graph.shape(node.output[0])
    if (shape is not None and shape[2:] != (1, 1)) or any(attribute(node, "pads", [0])):
        return None  # it reads a map that is not pooled yet
    kernel = graph.constant(node.input[1])
    bias = _vector(graph, node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
    if kernel is None or bias is None or kernel.shape[2:] != (1, 1):
        return None
    groups = attribute(node, "group", 1)
    weights = _block_diagonal(np.asarray(kernel[:, :, 0, 0], np.float64), groups)
    weights_tensor = node.input[1] if groups == 1 else None
    return _layer_on(graph, node.input[0], weights, bias, weights_tensor, transposed=False)


def _block_diagonal(kernel: F64, groups: int) -> F64:
    """Return [K, groups * n] of a grouped kernel [K, n], whose classes see the channels of their own group only."""
    classes, channels = kernel.shape
    matrix = np.zeros((groups, classes // groups, groups, channels))
    for group, block in enumerate(np.split(kernel, groups)):
        matrix[group, :, group] = block
    return matrix.reshape(classes, groups * channels)


def _batch_normalization(graph: Graph, node: NodeProto) -> Affine | None:
    scale, shift, mean, variance = (_vector(graph, name) for name in node.input[1:5])
    if scale is None or shift is None or mean is None or variance is None or attribute(node, "training_mode", 0):
        return None
    factor = scale / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    return trace_affine(graph, node.input[0]).then_scale(factor, shift - mean * factor)


def _add_or_subtract(graph: Graph, node: NodeProto) -> Affine | None:
    """Read Add or Sub: with a constant, or of two branches of one tensor."""
    sign = -1.0 if node.op_type == "Sub" else 1.0
    first, second = (_vector(graph, name) for name in node.input)
    if first is None and second is None:
        left, right = (trace_affine(graph, name) for name in node.input)
        linear = add_linear(left.linear, right.linear, sign)
        if linear is None or left.data != right.data or left.roundings or right.roundings:
            return None
        return Affine(left.data, linear, left.bias + sign * right.bias)
    if first is not None:
        return _unless_broadcast(trace_affine(graph, node.input[1]).then_scale(np.full(1, sign), first), first)
    assert second is not None
    return _unless_broadcast(trace_affine(graph, node.input[0]).then_scale(np.ones(1), sign * second), second)


def _multiply_or_divide(graph: Graph, node: NodeProto) -> Affine | None:
    """Read Mul or Div by a constant, and the scales of a MatMulInteger."""
    first, second = (_vector(graph, name) for name in node.input)
    if node.op_type == "Div":
        if second is None or not second.all():
            return None
        return _unless_broadcast(trace_affine(graph, node.input[0]).then_scale(1 / second, np.zeros(1)), second)
    if first is None and second is None:
        return _dynamically_quantized(graph, *node.input) or _dynamically_quantized(graph, *reversed(node.input))
    data, factor = (node.input[0], second) if second is not None else (node.input[1], first)
    assert factor is not None
    return _unless_broadcast(trace_affine(graph, data).then_scale(factor, np.zeros(1)), factor)


def _unless_broadcast(affine: Affine, constant: F64) -> Affine | None:
    """Refuse a constant with more numbers than classes: it does not scale the output, it stretches it."""
    fits = not affine.is_layer or constant.size in (1, len(affine.weights))
    return affine if fits else None


def _dynamically_quantized(graph: Graph, integers: str, scales: str) -> Affine | None:
    """Read a layer after dynamic quantization: MatMulInteger -> Cast -> Mul by both scales."""
    product = graph.producer(skip_data_movement(graph, integers))
    factors = graph.producer(scales)
    if product is None or product.op_type not in ("MatMulInteger", "ConvInteger") or factors is None:
        return None
    quantize = graph.producer(product.input[0])
    kernel = graph.constant(product.input[1])
    zero_point = _vector(graph, product.input[3]) if len(product.input) > 3 and product.input[3] else np.zeros(1)
    scale = next((value for name in factors.input if (value := _vector(graph, name)) is not None), None)
    if factors.op_type != "Mul" or quantize is None or quantize.op_type != "DynamicQuantizeLinear":
        return None
    is_convolution = product.op_type == "ConvInteger"
    if kernel is None or zero_point is None or scale is None or kernel.shape[2:] != ((1, 1) if is_convolution else ()):
        return None
    values = np.asarray(kernel, np.float64)
    values = values[:, :, 0, 0] if is_convolution else values.T  # [K, C]
    weights = (values - zero_point[:, None]) * scale[:, None]
    data = trace_affine(graph, quantize.input[0]).then_round([QdqPair(None, -np.inf, np.inf)])
    return data.then_layer(weights, np.zeros(1), None, transposed=False)


def _concatenation(graph: Graph, node: NodeProto) -> Affine | None:
    """Read several groups of classes, one layer each, all on one tensor."""
    parts = [trace_affine(graph, name) for name in node.input]
    shape = graph.shape(node.output[0])
    if attribute(node, "axis") not in (1, 1 - (2 if shape is None else len(shape))):
        return None
    if len({part.data for part in parts}) != 1 or not all(part.is_layer for part in parts):
        return None
    if any(part.roundings for part in parts):
        return None
    bias = [np.broadcast_to(part.bias, len(part.weights)) for part in parts]
    return Affine(parts[0].data, Dense(np.concatenate([part.weights for part in parts])), np.concatenate(bias))


def _vector(graph: Graph, tensor: str) -> F64 | None:
    """Return a constant as one number a channel, or one for all; None where it is neither."""
    value = graph.constant(tensor)
    if value is None or value.size != max((1, *value.shape)) or value.dtype.kind not in "fiu":
        return None
    return np.asarray(value, np.float64).reshape(-1)


_READERS: dict[str, Callable[[Graph, NodeProto], Affine | None]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Conv": _convolution,
    "BatchNormalization": _batch_normalization,
    "Add": _add_or_subtract,
    "Sub": _add_or_subtract,
    "Mul": _multiply_or_divide,
    "Div": _multiply_or_divide,
    "Concat": _concatenation,
}
