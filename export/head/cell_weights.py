"""Find heads that are affine in a feature map: the share of each cell in each logit is known exactly.

    logit[k] = bias[k] + sum over c, y, x of weights[k, c, y, x] * map[c, y, x]

A map that is flattened into one linear layer is such a head, and a depthwise convolution or an average over a part of
the map, with linear layers after it. The weights are found by following the logits back to the map, as the gradient
goes through a network: each operator passes on how much each of its inputs adds to each logit.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from camrt.export.graph.graph import Graph, attribute
from camrt.export.graph.network_input import NetworkInput
from camrt.export.graph.read import FLOATS
from camrt.export.head.nonlinear import has_weights, nodes_between
from camrt.export.head.pooling import reduced_axes
from camrt.export.head.split_points import SHAPE_OPS, SplitPoint, run_tensors

F64 = NDArray[np.float64]

MAX_NUMBERS = 2**27
"""Limit for the numbers of one tensor times the classes: 1 GiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellWeights:
    """An affine head. Tensors have their names in the graph."""

    feature_map: str
    """The tensor, [N, C, h, w]."""
    nodes: Sequence[NodeProto]
    """From the map to the logits."""
    batch_size_sources: frozenset[str]
    """Tensors from before the feature map of which the head reads the size; it needs the batch size only."""
    weights: F64
    """[K, C, h, w]."""
    bias: F64
    """[K]."""

    @property
    def is_global(self) -> bool:
        """True where each cell has the same weights: the head is a linear layer on the mean of the map."""
        return bool(np.ptp(self.weights, axis=(2, 3)).max() <= 1e-12 * np.abs(self.weights).max())

    @property
    def cells(self) -> int:
        """Number of cells of the map."""
        return math.prod(self.weights.shape[2:])


def find_cell_weights(
    graph: Graph, network_input: NetworkInput, split_point: SplitPoint, logits: SplitPoint
) -> CellWeights | None:
    """Return the weights of the cells of a feature map; None: the head after it is not affine.

    Args:
        graph: the classifier, its shapes inferred.
        network_input: its input.
        split_point: a feature map.
        logits: the logits.
    """
    nodes, batch_size_sources = nodes_between(graph, network_input.name, split_point.tensor, logits.tensor)
    steps = [node for node in nodes if node.op_type not in SHAPE_OPS]
    unknown = {node.op_type for node in steps} - _BACKWARD.keys() - _SIZE_OPS
    if unknown or any(node.domain not in ("", "ai.onnx") for node in steps):
        return None
    if not any(has_weights(graph, node) for node in steps):  # a network that gives features, not scores
        return None
    names = [split_point.tensor, *dict.fromkeys(node.output[0] for node in steps)]
    shapes = {name: value.shape for name, value in zip(names, run_tensors(graph, network_input, names), strict=True)}
    classes = math.prod(logits.shape)
    if max(logits.shape) != classes or max(map(math.prod, shapes.values())) * classes > MAX_NUMBERS:
        return None
    walk = _Walk(graph, shapes, classes)
    walk.shares[logits.tensor] = np.eye(classes).reshape(classes, *logits.shape)
    for node in reversed(steps):
        if (share := walk.shares.get(node.output[0])) is not None and not _BACKWARD.get(node.op_type, _no_step)(
            walk, node, share
        ):
            return None
    share = walk.shares.get(split_point.tensor)
    if share is None or not share.any():
        return None
    return CellWeights(
        feature_map=split_point.tensor,
        nodes=nodes,
        batch_size_sources=batch_size_sources,
        weights=share[:, 0],
        bias=walk.bias,
    )


class _Walk:
    """The way from the logits back to the map."""

    def __init__(self, graph: Graph, shapes: dict[str, tuple[int, ...]], classes: int) -> None:
        self.graph = graph
        self.shapes = shapes
        """Of the tensors that come from the map, for one image."""
        self.shares: dict[str, F64] = {}
        """How much each number of a tensor adds to each logit: [K, *shape]."""
        self.bias = np.zeros(classes)

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


_Step = Callable[[_Walk, NodeProto, F64], bool]
"""Passes the share of a node's output on to its inputs; False: the node is not affine in the map."""


def _no_step(walk: _Walk, node: NodeProto, share: F64) -> bool:
    return False


def _reshape(walk: _Walk, node: NodeProto, share: F64) -> bool:
    if node.op_type == "Cast" and attribute(node, "to") not in FLOATS:
        return False
    return node.input[0] in walk.shapes and walk.add(
        node.input[0], share.reshape(len(share), *walk.shapes[node.input[0]])
    )


def _transpose(walk: _Walk, node: NodeProto, share: F64) -> bool:
    permutation = attribute(node, "perm", list(range(share.ndim - 1))[::-1])
    return walk.add(node.input[0], share.transpose(0, *(np.argsort(permutation) + 1)))


def _sum(walk: _Walk, node: NodeProto, share: F64) -> bool:
    """Add, Sub, Sum and Neg."""
    for index, name in enumerate(node.input):
        negative = node.op_type == "Neg" or (node.op_type == "Sub" and index == 1)
        part, values = (-share if negative else share), walk.constant(name)
        if not (walk.add(name, part) if values is None else walk.add_constant(part, values)):
            return False
    return True


def _product(walk: _Walk, node: NodeProto, share: F64) -> bool:
    first, second = (walk.constant(name) for name in node.input)
    if node.op_type == "Div":
        return second is not None and bool(second.all()) and walk.add(node.input[0], share / second)
    if second is not None:
        return walk.add(node.input[0], share * second)
    return first is not None and walk.add(node.input[1], share * first)


def _batch_normalization(walk: _Walk, node: NodeProto, share: F64) -> bool:
    scale, shift, mean, variance = (walk.constant(name) for name in node.input[1:5])
    if scale is None or shift is None or mean is None or variance is None or attribute(node, "training_mode", 0):
        return False
    factor = scale / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    along_channels = (-1, *[1] * (share.ndim - 3))
    walk.add_constant(share, (shift - mean * factor).reshape(along_channels))
    return walk.add(node.input[0], share * factor.reshape(along_channels))


def _gemm(walk: _Walk, node: NodeProto, share: F64) -> bool:
    matrix = walk.constant(node.input[1])
    if matrix is None or attribute(node, "transA", 0):
        return False
    if len(node.input) > 2 and node.input[2]:
        addend = walk.constant(node.input[2])
        if addend is None or not walk.add_constant(share, attribute(node, "beta", 1.0) * addend):
            return False
    matrix = matrix if attribute(node, "transB", 0) else matrix.T  # [out, in]
    return walk.add(node.input[0], attribute(node, "alpha", 1.0) * share @ matrix)


def _matmul(walk: _Walk, node: NodeProto, share: F64) -> bool:
    left, right = (walk.constant(name) for name in node.input)
    if right is not None and right.ndim == 2:
        return walk.add(node.input[0], share @ right.T)
    return left is not None and left.ndim == 2 and walk.add(node.input[1], left.T @ share)


def _convolution(walk: _Walk, node: NodeProto, share: F64) -> bool:
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


def _average_pool(walk: _Walk, node: NodeProto, share: F64) -> bool:
    window = tuple(attribute(node, "kernel_shape"))
    counts_padding = attribute(node, "count_include_pad", 0) or not any(attribute(node, "pads", [0]))
    if len(window) != 2 or attribute(node, "ceil_mode", 0) or not counts_padding:
        return False
    each = share / math.prod(window)
    return _spread(walk, node, lambda i, j: each, window, share.shape[3:])


def _spread(
    walk: _Walk, node: NodeProto, at: Callable[[int, int], F64], window: tuple[int, ...], size: tuple[int, ...]
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


def _reduce(walk: _Walk, node: NodeProto, share: F64) -> bool:
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


def _concatenation(walk: _Walk, node: NodeProto, share: F64) -> bool:
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


_BACKWARD: dict[str, _Step] = {
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
}
_SIZE_OPS = {"Gather", "Slice", "Constant"}
"""Operators that may compute the shape of a Reshape; on the map itself they are no step."""
