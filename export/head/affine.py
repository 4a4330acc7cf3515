"""The linear layer in the ways exporters write it, with all that folds into it.

Gemm, MatMul, a 1x1 convolution on the pooled map (in groups too), MatMulInteger with its scales
Add, Sub, Mul, Div with constants; BatchNormalization: before it, after it, between two of them
Concat of several along the classes; the sum of two
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from camrt.export.graph.data_movement import Quantizer, walk_back
from camrt.export.graph.graph import Graph, attribute

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rounding:
    """A quantizer on the way, and what comes after it."""

    quantizer: Quantizer
    after: F64
    """[K, n] from there to the logits; or [n] or [1], the diagonal of that matrix."""
    on_data: bool
    """Nothing comes before it: it rounds the pooled numbers themselves."""


@dataclass(frozen=True, slots=True)
class Affine:
    """output = linear @ data + bias, all of it constant."""

    data: str
    """The tensor that goes in, [N, C] with any number of axes of length 1."""
    linear: F64
    """[K, C]; or [C] or [1], the diagonal of a square matrix, where no linear layer was met."""
    bias: F64
    """[K] or [1]."""
    stored: str | None = None
    """The tensor of the graph that is ``linear``, [K, C], [C, K] or [K, C, 1, 1], where there is one."""
    transposed: bool = False
    """It is [C, K]."""
    roundings: tuple[Rounding, ...] = ()

    @property
    def scales_nothing(self) -> bool:
        """True where the matrix is that of an identity; there may be a bias."""
        return self.linear.ndim == 1 and bool((self.linear == 1).all())

    @property
    def is_layer(self) -> bool:
        """True where a linear layer was met, not only factors and addends."""
        return self.linear.ndim == 2

    def identity_slack(self, pooled: F64) -> float:
        """Return by how much rounding in the quantizers can move a logit, at most.

        Each quantizer rounds to a multiple of its step, so it moves each of its numbers by half a step at most, and
        logit k by at most that times the sum of |after[k]|. One that repeats another's grid moves nothing more.

        Args:
            pooled: (N, C), what is pooled; the step of a quantizer that measures its own range follows from it.
        """
        reach = {}
        for rounding in self.roundings:
            step = rounding.quantizer.step
            if step is None:
                step = float(max(pooled.max(), 0) - min(pooled.min(), 0)) / 255
            after = np.abs(rounding.after)
            reach[step, after.shape] = step / 2 * float((after if after.ndim == 1 else after.sum(axis=1)).max())
        return sum(reach.values())

    def clip_pooled(self, pooled: F64) -> F64:
        """Cut pooled values at the ends of the quantizers' ranges, as the graph does."""
        for rounding in self.roundings:
            if rounding.on_data:
                pooled = np.clip(pooled, rounding.quantizer.low, rounding.quantizer.high)
        return pooled

    def scaled(self, factor: F64, addend: F64) -> "Affine":
        """Return factor * self + addend, both [1] or one number a class."""
        same = bool((factor == 1).all())
        return replace(
            self,
            linear=_after(factor, self.linear),
            bias=factor * self.bias + addend,
            stored=self.stored if same else None,
            roundings=tuple(replace(entry, after=_after(factor, entry.after)) for entry in self.roundings),
        )

    def multiplied(self, matrix: F64, bias: F64, stored: str | None, *, transposed: bool) -> "Affine":
        """Return matrix @ self + bias."""
        return Affine(
            data=self.data,
            linear=_after(matrix, self.linear),
            bias=matrix @ np.broadcast_to(self.bias, matrix.shape[1]) + bias,
            stored=stored if self.scales_nothing else None,
            transposed=transposed,
            roundings=tuple(replace(entry, after=_after(matrix, entry.after)) for entry in self.roundings),
        )

    def rounded(self, quantizers: Sequence[Quantizer]) -> "Affine":
        """Return self with quantizers behind it."""
        on_data = self.scales_nothing and not self.roundings and not self.bias.any()
        new = tuple(Rounding(quantizer, np.ones(1), on_data) for quantizer in quantizers)
        return replace(self, roundings=self.roundings + new)


def _after(second: F64, first: F64) -> F64:
    """Return the product of two matrices, each of which may be given by its diagonal."""
    if second.ndim == 1:
        return second * first if first.ndim == 1 else second[:, None] * first
    return second * first if first.ndim == 1 else second @ first


def trace_affine(graph: Graph, tensor: str) -> Affine:
    """Follow ``tensor`` back for as long as it is an affine function of one other tensor."""
    quantizers: list[Quantizer] = []
    before = walk_back(graph, tensor, quantizers)
    node = graph.producer(before)
    reader = None if node is None or node.domain not in ("", "ai.onnx") else _READERS.get(node.op_type)
    found = None if reader is None or node is None else reader(graph, node)
    return (found or Affine(before, np.ones(1), np.zeros(1))).rounded(quantizers)


def _gemm(graph: Graph, node: NodeProto) -> Affine | None:
    if attribute(node, "transA", 0):
        return None
    addend = _vector(graph, node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
    alpha = attribute(node, "alpha", 1.0)
    transposed = not attribute(node, "transB", 0)
    return None if addend is None else _times(
        graph, node, addend * attribute(node, "beta", 1.0), alpha=alpha, transposed=transposed
    )  # fmt: skip


def _matmul(graph: Graph, node: NodeProto) -> Affine | None:
    return _times(graph, node, np.zeros(1), transposed=True)


def _times(graph: Graph, node: NodeProto, bias: F64, *, alpha: float = 1.0, transposed: bool) -> Affine | None:
    weights = graph.constant(node.input[1])
    if weights is None or weights.ndim != 2:
        return None
    matrix = alpha * np.asarray(weights.T if transposed else weights, np.float64)
    if bias.size not in (1, len(matrix)):
        return None
    stored = node.input[1] if alpha == 1 else None
    return trace_affine(graph, node.input[0]).multiplied(matrix, bias, stored, transposed=transposed)


def _convolution(graph: Graph, node: NodeProto) -> Affine | None:
    shape = graph.shape(node.output[0])
    if (shape is not None and shape[2:] != (1, 1)) or any(attribute(node, "pads", [0])):
        return None  # it works on a map that is not pooled yet
    kernel = graph.constant(node.input[1])
    bias = _vector(graph, node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
    if kernel is None or bias is None or kernel.shape[2:] != (1, 1):
        return None
    groups = attribute(node, "group", 1)
    matrix = _block_diagonal(np.asarray(kernel[:, :, 0, 0], np.float64), groups)
    stored = node.input[1] if groups == 1 else None
    return trace_affine(graph, node.input[0]).multiplied(matrix, bias, stored, transposed=False)


def _block_diagonal(kernel: F64, groups: int) -> F64:
    """Return [K, groups * n] of a grouped kernel [K, n], whose classes see the channels of their own group only."""
    classes, channels = kernel.shape
    matrix = np.zeros((groups, classes // groups, groups, channels))
    for group, block in enumerate(np.split(kernel, groups)):
        matrix[group, :, group] = block
    return matrix.reshape(classes, groups * channels)


def _batch_normalization(graph: Graph, node: NodeProto) -> Affine | None:
    constants = [_vector(graph, name) for name in node.input[1:5]]
    scale, shift, mean, variance = constants
    if scale is None or shift is None or mean is None or variance is None or attribute(node, "training_mode", 0):
        return None
    factor = scale / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    return trace_affine(graph, node.input[0]).scaled(factor, shift - mean * factor)


def _sum(graph: Graph, node: NodeProto) -> Affine | None:
    """Read Add or Sub: with a constant, or of two branches that start from one tensor."""
    sign = -1.0 if node.op_type == "Sub" else 1.0
    first, second = (_vector(graph, name) for name in node.input)
    if first is None and second is None:
        one, other = (trace_affine(graph, name) for name in node.input)
        if one.data != other.data or one.linear.ndim != other.linear.ndim or one.roundings or other.roundings:
            return None
        return Affine(one.data, one.linear + sign * other.linear, one.bias + sign * other.bias)
    if first is not None:
        return _joined(trace_affine(graph, node.input[1]).scaled(np.full(1, sign), first), first)
    assert second is not None
    return _joined(trace_affine(graph, node.input[0]).scaled(np.ones(1), sign * second), second)


def _product(graph: Graph, node: NodeProto) -> Affine | None:
    """Read Mul or Div by a constant, and the scales of a MatMulInteger."""
    first, second = (_vector(graph, name) for name in node.input)
    if node.op_type == "Div":
        if second is None or not second.all():
            return None
        return _joined(trace_affine(graph, node.input[0]).scaled(1 / second, np.zeros(1)), second)
    if first is None and second is None:
        return _dynamic(graph, *node.input) or _dynamic(graph, *reversed(node.input))
    data, factor = (node.input[0], second) if second is not None else (node.input[1], first)
    assert factor is not None
    return _joined(trace_affine(graph, data).scaled(factor, np.zeros(1)), factor)


def _joined(affine: Affine, constant: F64) -> Affine | None:
    """Refuse a constant that makes more numbers of one than there are classes: it stretches, it does not scale."""
    fits = not affine.is_layer or constant.size in (1, len(affine.linear))
    return affine if fits else None


def _dynamic(graph: Graph, integers: str, scales: str) -> Affine | None:
    """Read what dynamic quantization makes of a layer: MatMulInteger -> Cast -> Mul by both scales."""
    product = graph.producer(walk_back(graph, integers))
    factors = graph.producer(scales)
    if product is None or product.op_type not in ("MatMulInteger", "ConvInteger") or factors is None:
        return None
    quantize = graph.producer(product.input[0])
    weights = graph.constant(product.input[1])
    zero = _vector(graph, product.input[3]) if len(product.input) > 3 and product.input[3] else np.zeros(1)
    scale = next((value for name in factors.input if (value := _vector(graph, name)) is not None), None)
    if factors.op_type != "Mul" or quantize is None or quantize.op_type != "DynamicQuantizeLinear":
        return None
    convolution = product.op_type == "ConvInteger"
    if weights is None or zero is None or scale is None or weights.shape[2:] != ((1, 1) if convolution else ()):
        return None
    values = np.asarray(weights, np.float64)
    values = values[:, :, 0, 0] if convolution else values.T  # [K, C]
    matrix = (values - zero[:, None]) * scale[:, None]
    inner = trace_affine(graph, quantize.input[0]).rounded([Quantizer(None, -np.inf, np.inf)])
    return inner.multiplied(matrix, np.zeros(1), None, transposed=False)


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
    bias = [np.broadcast_to(part.bias, len(part.linear)) for part in parts]
    return Affine(parts[0].data, np.concatenate([part.linear for part in parts]), np.concatenate(bias))


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
    "Add": _sum,
    "Sub": _sum,
    "Mul": _product,
    "Div": _product,
    "Concat": _concatenation,
}
