"""The linear layer in every form that exporters write, with all that is affine around it folded in.

Gemm, MatMul, a 1x1 convolution on the pooled map (grouped too), MatMulInteger with its scales
Add, Sub, Mul, Div with constants; BatchNormalization: before the layer, after it, between two layers
Concat of several layers along the classes; the sum of two layers
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from camrt.export.graph.data_movement import QdqPair, skip_data_movement
from camrt.export.graph.graph import Graph, attribute

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Dense:
    """Weights of a linear layer."""

    weights: F64
    """[K, C]."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(K, C)."""
        return self.weights.shape

    def largest_row_sum(self) -> float:
        """Return the largest change of an output when every input changes by at most 1."""
        return float(np.abs(self.weights).sum(axis=1).max())


@dataclass(frozen=True, slots=True)
class Diagonal:
    """Factors that scale each channel by itself: no linear layer."""

    factors: F64
    """[C]; [1]: the same for every channel."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(C,) or (1,)."""
        return self.factors.shape

    def largest_row_sum(self) -> float:
        """Return the largest change of an output when every input changes by at most 1."""
        return float(np.abs(self.factors).max())


LinearMap = Dense | Diagonal


def _compose(second: LinearMap, first: LinearMap) -> LinearMap:
    """Return the map that applies ``first``, then ``second``."""
    if isinstance(second, Dense):
        return Dense(second.weights @ first.weights if isinstance(first, Dense) else second.weights * first.factors)
    if isinstance(first, Dense):
        return Dense(second.factors[:, None] * first.weights)
    return Diagonal(second.factors * first.factors)


def _add(first: LinearMap, second: LinearMap, sign: float) -> LinearMap | None:
    """Return first + sign * second; None: they are of different kinds."""
    if isinstance(first, Dense) and isinstance(second, Dense):
        return Dense(first.weights + sign * second.weights)
    if isinstance(first, Diagonal) and isinstance(second, Diagonal):
        return Diagonal(first.factors + sign * second.factors)
    return None


@dataclass(frozen=True, slots=True)
class Rounding:
    """A QDQ pair before or inside the affine function."""

    qdq_pair: QdqPair
    after: LinearMap
    """From the pair to the logits."""
    on_data: bool
    """The pair rounds the pooled numbers themselves: nothing comes before it."""


@dataclass(frozen=True, slots=True)
class Affine:
    """output = linear @ data + bias, all of it constant."""

    data: str
    """The input tensor, [N, C] with any number of axes of length 1."""
    linear: LinearMap
    bias: F64
    """[K], or [1] for every class."""
    weights_tensor: str | None = None
    """The tensor of the graph that holds `weights`, as [K, C], [C, K] or [K, C, 1, 1], where there is one."""
    weights_transposed: bool = False
    """`weights_tensor` is [C, K]."""
    roundings: tuple[Rounding, ...] = ()

    @property
    def is_layer(self) -> bool:
        """True with a linear layer, False with factors and addends only."""
        return isinstance(self.linear, Dense)

    @property
    def weights(self) -> F64:
        """[K, C] of the linear layer; only where `is_layer`."""
        assert isinstance(self.linear, Dense)
        return self.linear.weights

    @property
    def scales_nothing(self) -> bool:
        """True where ``linear`` is the identity; there may be a bias."""
        return isinstance(self.linear, Diagonal) and bool((self.linear.factors == 1).all())

    def gives(self, count: int) -> bool:
        """Tell whether the output can have ``count`` numbers.

        It has fewer where factors of the channels of a map come before the map is flattened.
        """
        numbers = len(self.weights) if isinstance(self.linear, Dense) else self.linear.factors.size
        return numbers in (1, count) and self.bias.size in (1, count)

    def as_layer(self, classes: int) -> "Affine":
        """Return the same function with a linear layer in place of factors."""
        if not isinstance(self.linear, Diagonal):
            return self
        factors = np.broadcast_to(self.linear.factors, classes)
        return replace(self, linear=Dense(np.diag(factors)), bias=np.broadcast_to(self.bias, classes))

    def rounding_bound(self, pooled: F64) -> float:
        """Return the largest change of a logit that rounding in the QDQ pairs can cause.

        A pair rounds to a multiple of its step, so it changes a number by at most half a step. Logit k changes by at
        most that times the sum of |after[k]|. A second pair on the same grid changes nothing.

        Args:
            pooled: (N, C), the pooled numbers; they give the step of a dynamic pair.
        """
        bounds = {}
        for rounding in self.roundings:
            step = rounding.qdq_pair.step
            if step is None:
                step = float(max(pooled.max(), 0) - min(pooled.min(), 0)) / 255
            bounds[step, rounding.after.shape] = step / 2 * rounding.after.largest_row_sum()
        return sum(bounds.values())

    def clip_pooled(self, pooled: F64) -> F64:
        """Clip pooled numbers to the ranges of the QDQ pairs on them, as the graph does."""
        for rounding in self.roundings:
            if rounding.on_data:
                pooled = np.clip(pooled, rounding.qdq_pair.low, rounding.qdq_pair.high)
        return pooled

    def then_scale(self, factor: F64, addend: F64) -> "Affine":
        """Return factor * self + addend, both [1] or one number a class."""
        unscaled = bool((factor == 1).all())
        scale = Diagonal(factor)
        return replace(
            self,
            linear=_compose(scale, self.linear),
            bias=factor * self.bias + addend,
            weights_tensor=self.weights_tensor if unscaled else None,
            roundings=tuple(replace(entry, after=_compose(scale, entry.after)) for entry in self.roundings),
        )

    def then_layer(self, weights: F64, bias: F64, weights_tensor: str | None, *, transposed: bool) -> "Affine":
        """Return weights @ self + bias.

        Args:
            weights: [K, C].
            bias: [K] or [1].
            weights_tensor: the graph's tensor of these weights.
            transposed: that tensor is [C, K].
        """
        layer = Dense(weights)
        return Affine(
            data=self.data,
            linear=_compose(layer, self.linear),
            bias=weights @ np.broadcast_to(self.bias, weights.shape[1]) + bias,
            weights_tensor=weights_tensor if self.scales_nothing else None,
            weights_transposed=transposed,
            roundings=tuple(replace(entry, after=_compose(layer, entry.after)) for entry in self.roundings),
        )

    def then_round(self, qdq_pairs: Sequence[QdqPair]) -> "Affine":
        """Return self followed by QDQ pairs."""
        on_data = self.scales_nothing and not self.roundings and not self.bias.any()
        new = tuple(Rounding(qdq_pair, Diagonal(np.ones(1)), on_data) for qdq_pair in qdq_pairs)
        return replace(self, roundings=self.roundings + new)


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
        linear = _add(left.linear, right.linear, sign)
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
