"""Follow the logits back to a map through affine operators, as the gradient goes through a network.

Each operator passes on how much each number of its inputs adds to each logit. Constants go to the bias.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from onnx import NodeProto

from camrt.export.graph.data_movement import DATA_MOVEMENT_OPS
from camrt.export.graph.graph import Graph, attribute
from camrt.export.graph.read import FLOATS
from camrt.export.head.affine import F64
from camrt.export.head.pooling import reduced_axes


class BackwardWalk:
    """The way from the logits back to the map."""

    def __init__(self, graph: Graph, shapes: dict[str, tuple[int, ...]], classes: int) -> None:
        self.graph = graph
        self.shapes = shapes
        """Of the tensors that come from the map, for one image."""
        self.shares: dict[str, F64] = {}
        """How much each number of a tensor adds to each logit: [K, *shape]."""
        self.bias = np.zeros(classes)

    def step(self, node: NodeProto) -> bool:
        """Pass the share of a node's output on to its inputs; False: the node is not affine in the map."""
        share = self.shares.get(node.output[0])
        return share is None or _STEPS.get(node.op_type, _no_step)(self, node, share)

    def constant(self, tensor: str) -> F64 | None:
        """Return a constant as float64; None for a tensor that comes from the map, or is no number."""
        values = None if not tensor or tensor in self.shapes else self.graph.constant(tensor)
        return None if values is None or values.dtype.kind not in "fiu" else np.asarray(values, np.float64)

    def add(self, tensor: str, share: F64) -> bool:
        """Add a share to a tensor that comes from the map; sum over the axes along which it was repeated."""
        shape = self.shapes.get(tensor)
        if shape is None:
            return False
        share = share.sum(axis=tuple(range(1, share.ndim - len(shape))))
        repeated = tuple(axis + 1 for axis, length in enumerate(shape) if length == 1 != share.shape[axis + 1])
        share = share.sum(axis=repeated, keepdims=True)
        if share.shape[1:] != shape:
            return False
        self.shares[tensor] = self.shares[tensor] + share if tensor in self.shares else share
        return True

    def add_constant(self, share: F64, values: F64) -> bool:
        """Add a constant's part to the bias."""
        self.bias = self.bias + (share * values).reshape(len(share), -1).sum(axis=1)
        return True


def may_be_affine(nodes: Sequence[NodeProto]) -> bool:
    """Tell whether nodes have operators only that can be affine in a map."""
    known = _STEPS.keys() | _PASSED_OPS
    return all(node.op_type in known and node.domain in ("", "ai.onnx") for node in nodes)


_Step = Callable[[BackwardWalk, NodeProto, F64], bool]
"""Passes the share of a node's output on to its inputs; False: the node is not affine in the map."""


def _no_step(walk: BackwardWalk, node: NodeProto, share: F64) -> bool:
    return False


def _reshape(walk: BackwardWalk, node: NodeProto, share: F64) -> bool:
    if node.op_type == "Cast" and attribute(node, "to") not in FLOATS:
        return False
    return node.input[0] in walk.shapes and walk.add(
        node.input[0], share.reshape(len(share), *walk.shapes[node.input[0]])
    )


def _transpose(walk: BackwardWalk, node: NodeProto, share: F64) -> bool:
    permutation = attribute(node, "perm", list(range(share.ndim - 1))[::-1])
    return walk.add(node.input[0], share.transpose(0, *(np.argsort(permutation) + 1)))


def _sum(walk: BackwardWalk, node: NodeProto, share: F64) -> bool:
    """Add, Sub, Sum and Neg."""
    for index, name in enumerate(node.input):
        negative = node.op_type == "Neg" or (node.op_type == "Sub" and index == 1)
        part, values = (-share if negative else share), walk.constant(name)
        if not (walk.add(name, part) if values is None else walk.add_constant(part, values)):
            return False
    return True


def _product(walk: BackwardWalk, node: NodeProto, share: F64) -> bool:
    first, second = (walk.constant(name) for name in node.input)
    if node.op_type == "Div":
        return second is not None and bool(second.all()) and walk.add(node.input[0], share / second)
    if second is not None:
        return walk.add(node.input[0], share * second)
    return first is not None and walk.add(node.input[1], share * first)


def _batch_normalization(walk: BackwardWalk, node: NodeProto, share: F64) -> bool:
    scale, shift, mean, variance = (walk.constant(name) for name in node.input[1:5])
    if scale is None or shift is None or mean is None or variance is None or attribute(node, "training_mode", 0):
        return False
    factor = scale / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    along_channels = (-1, *[1] * (share.ndim - 3))
    walk.add_constant(share, (shift - mean * factor).reshape(along_channels))
    return walk.add(node.input[0], share * factor.reshape(along_channels))


def _gemm(walk: BackwardWalk, node: NodeProto, share: F64) -> bool:
    matrix = walk.constant(node.input[1])
    if matrix is None or attribute(node, "transA", 0):
        return False
    if len(node.input) > 2 and node.input[2]:
        addend = walk.constant(node.input[2])
        if addend is None or not walk.add_constant(share, attribute(node, "beta", 1.0) * addend):
            return False
    matrix = matrix if attribute(node, "transB", 0) else matrix.T  # [out, in]
    return walk.add(node.input[0], attribute(node, "alpha", 1.0) * share @ matrix)


def _matmul(walk: BackwardWalk, node: NodeProto, share: F64) -> bool:
    left, right = (walk.constant(name) for name in node.input)
    if right is not None and right.ndim == 2:
        return walk.add(node.input[0], share @ right.T)
    return left is not None and left.ndim == 2 and walk.add(node.input[1], left.T @ share)


def _convolution(walk: BackwardWalk, node: NodeProto, share: F64) -> bool:
    kernel = walk.constant(node.input[1])
    if kernel is None or kernel.ndim != 4:
        return False
    if len(node.input) > 2 and node.input[2]:
        addend = walk.constant(node.input[2])
        if addend is None or not walk.add_constant(share, addend.reshape(-1, 1, 1)):
            return False
    groups = attribute(node, "group", 1)
    blocks = kernel.reshape(groups, -1, *kernel.shape[1:])
    outputs = share.reshape(len(share), 1, groups, -1, *share.shape[3:])

    def at(i: int, j: int) -> F64:
        part = np.einsum("kngoyx,goc->kngcyx", outputs, blocks[..., i, j], optimize=True)
        return np.asarray(part.reshape(len(share), 1, -1, *share.shape[3:]))

    return _spread(walk, node, at, kernel.shape[2:], share.shape[3:])


def _average_pool(walk: BackwardWalk, node: NodeProto, share: F64) -> bool:
    window = tuple(attribute(node, "kernel_shape"))
    counts_padding = attribute(node, "count_include_pad", 0) or not any(attribute(node, "pads", [0]))
    if len(window) != 2 or attribute(node, "ceil_mode", 0) or not counts_padding:
        return False
    each = share / math.prod(window)
    return _spread(walk, node, lambda i, j: each, window, share.shape[3:])


def _spread(
    walk: BackwardWalk, node: NodeProto, at: Callable[[int, int], F64], window: tuple[int, ...], size: tuple[int, ...]
) -> bool:
    """Add the shares of a window's positions to the cells that they read.

    Args:
        walk: the way.
        node: a convolution or an average pool.
        at: returns the share of position (i, j) of the window, [K, 1, C, y, x] at cell (y, x) of the output.
        window: (height, width).
        size: (height, width) of the output.
    """
    shape = walk.shapes.get(node.input[0])
    if shape is None or len(shape) != 4 or attribute(node, "auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return False
    top, left, bottom, right = attribute(node, "pads", [0] * 4)
    strides, dilations = attribute(node, "strides", [1, 1]), attribute(node, "dilations", [1, 1])
    padded = np.zeros((len(walk.bias), *shape[:2], shape[2] + top + bottom, shape[3] + left + right))
    for i in range(window[0]):
        for j in range(window[1]):
            y, x = i * dilations[0], j * dilations[1]
            rows = slice(y, y + (size[0] - 1) * strides[0] + 1, strides[0])
            columns = slice(x, x + (size[1] - 1) * strides[1] + 1, strides[1])
            padded[..., rows, columns] += at(i, j)
    return walk.add(node.input[0], padded[..., top : top + shape[2], left : left + shape[3]])


def _reduce(walk: BackwardWalk, node: NodeProto, share: F64) -> bool:
    """ReduceMean, ReduceSum and GlobalAveragePool."""
    shape = walk.shapes.get(node.input[0])
    if shape is None:
        return False
    is_pool = node.op_type == "GlobalAveragePool"
    axes = set(range(2, len(shape))) if is_pool else reduced_axes(walk.graph, node, len(shape))
    if axes is None or 0 in axes:
        return False
    kept = share.reshape(len(share), *(1 if axis in axes else length for axis, length in enumerate(shape)))
    count = 1 if node.op_type == "ReduceSum" else math.prod(shape[axis] for axis in axes)
    return walk.add(node.input[0], np.broadcast_to(kept / count, (len(share), *shape)))


def _concatenation(walk: BackwardWalk, node: NodeProto, share: F64) -> bool:
    axis, begin = attribute(node, "axis") % (share.ndim - 1), 0
    for name in node.input:
        values = walk.constant(name)
        shape = walk.shapes.get(name) if values is None else values.shape
        if shape is None:
            return False
        part = np.take(share, range(begin, begin + shape[axis]), axis=axis + 1)
        if not (walk.add(name, part) if values is None else walk.add_constant(part, values)):
            return False
        begin += shape[axis]
    return True


def _dequantize(walk: BackwardWalk, node: NodeProto, share: F64) -> bool:
    """Pass a QDQ pair that rounds nothing: its numbers come from a pair with the same scale and zero point."""
    quantize = _before_movement(walk.graph, node.input[0])
    if quantize is None or quantize.op_type != "QuantizeLinear":
        return False
    origin = _before_movement(walk.graph, quantize.input[0])
    if origin is None or origin.op_type != "DequantizeLinear":
        return False
    for ours, theirs in zip(quantize.input[1:], origin.input[1:], strict=False):
        first, second = walk.graph.constant(ours), walk.graph.constant(theirs)
        if first is None or second is None or first.size != 1 or not np.array_equal(first, second):
            return False
    shape = walk.shapes.get(quantize.input[0])
    return shape is not None and walk.add(quantize.input[0], share.reshape(len(share), *shape))


def _before_movement(graph: Graph, tensor: str) -> NodeProto | None:
    """Return the node that computes a tensor's numbers, before operators that only move them."""
    while (node := graph.producer(tensor)) is not None and node.op_type in DATA_MOVEMENT_OPS:
        tensor = node.input[0]
    return node


_STEPS: dict[str, _Step] = {
    **dict.fromkeys(("Identity", "Dropout", "Cast", "Flatten", "Reshape", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("Add", "Sub", "Sum", "Neg"), _sum),
    **dict.fromkeys(("Mul", "Div"), _product),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "GlobalAveragePool"), _reduce),
    "Transpose": _transpose,
    "BatchNormalization": _batch_normalization,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Conv": _convolution,
    "AveragePool": _average_pool,
    "Concat": _concatenation,
    "DequantizeLinear": _dequantize,
}
_PASSED_OPS = {"Gather", "Slice", "QuantizeLinear"}
"""Operators that may compute the shape of a Reshape, or are passed together with another; no step by themselves."""
