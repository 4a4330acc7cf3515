"""The global average pool in the ways exporters write it, over maps in the ways they lay them out."""

import math
from dataclasses import dataclass
from typing import Literal

from onnx import NodeProto

from camrt.export.graph.graph import Graph, attribute

Layout = Literal["nchw", "nhwc", "ntc", "nct"]
"""Order of the axes: maps with channels first or last; tokens [N, T, C] and [N, C, T], a map's cells in one row."""
_SPATIAL: dict[Layout, set[int]] = {"nchw": {2, 3}, "nhwc": {1, 2}, "ntc": {1}, "nct": {2}}


@dataclass(frozen=True, slots=True)
class Pooled:
    """What a global average pool averages."""

    tensor: str
    layout: Layout
    grid: tuple[int, int] | None = None
    """(h, w) of tokens; None for maps."""


def find_pooled(graph: Graph, tensor: str, input_size: tuple[int, int]) -> Pooled | None:
    """Return the maps of which ``tensor`` is the mean over rows and columns; None if it is no such mean.

    Args:
        graph: the classifier.
        tensor: [N, C], with axes of length 1 or not.
        input_size: (width, height) of the network's input, in whose shape tokens lie.
    """
    node = graph.producer(tensor)
    if node is None or node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type == "GlobalAveragePool" or (node.op_type == "AveragePool" and covers_map(graph, node)):
        shape = graph.shape(node.input[0])
        return _pooled(graph, node.input[0], "nct" if shape is not None and len(shape) == 3 else "nchw", input_size)
    if node.op_type == "ReduceMean":
        return _averaged(graph, node, input_size)
    return None


def token_grid(tokens: int, input_size: tuple[int, int]) -> tuple[int, int] | None:
    """Return (h, w) of that many patches, cut out of the picture in rows; None where no grid has its proportions."""
    width, height = input_size
    divisor = math.gcd(width, height)
    width, height = width // divisor, height // divisor
    times = math.isqrt(tokens // (width * height))
    return (height * times, width * times) if times * times * width * height == tokens > 0 else None


def _averaged(graph: Graph, node: NodeProto, input_size: tuple[int, int]) -> Pooled | None:
    """Return what a ReduceMean over the spatial axes averages; two of them, one axis each, are one mean too."""
    source = node.input[0]
    axes = reduced_axes(graph, node)
    inner = graph.producer(source)
    if axes is not None and inner is not None and inner.op_type == "ReduceMean":
        inner_axes = reduced_axes(graph, inner)
        if inner_axes is not None:
            kept = [axis for axis in range(4) if attribute(inner, "keepdims", 1) or axis not in inner_axes]
            source, axes = inner.input[0], inner_axes | {kept[axis] for axis in axes if axis < len(kept)}
    shape = graph.shape(source)
    layouts: tuple[Layout, ...] = ("ntc", "nct") if shape is not None and len(shape) == 3 else ("nchw", "nhwc")
    layout = next((entry for entry in layouts if axes == _SPATIAL[entry]), None)
    return None if layout is None else _pooled(graph, source, layout, input_size)


def _pooled(graph: Graph, tensor: str, layout: Layout, input_size: tuple[int, int]) -> Pooled | None:
    if layout in ("nchw", "nhwc"):
        return Pooled(tensor, layout)
    shape = graph.shape(tensor)
    tokens = None if shape is None else shape[layout.index("t")]
    grid = None if tokens is None else token_grid(tokens, input_size)
    return None if grid is None else Pooled(tensor, layout, grid)


def reduced_axes(graph: Graph, node: NodeProto) -> set[int] | None:
    """Return the axes that a ReduceMean (ReduceMax ...) goes over, counted from 0; None: not known before it runs."""
    axes = attribute(node, "axes")
    if len(node.input) > 1 and node.input[1]:
        axes = graph.constant(node.input[1])
        if axes is None:
            return None
    shape = graph.shape(node.input[0])
    rank = 4 if shape is None else len(shape)
    if axes is None:  # none given means all of them
        return set(range(rank))
    return {int(axis) % rank for axis in axes}


def covers_map(graph: Graph, node: NodeProto) -> bool:
    """Tell whether an AveragePool or MaxPool covers the whole map with one window, and counts nothing but the map."""
    shape = graph.shape(node.input[0])
    if attribute(node, "auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return False
    kernel = attribute(node, "kernel_shape")
    pads = attribute(node, "pads", [0] * 2 * len(kernel))
    if any(pads) and attribute(node, "count_include_pad", 0):
        return False
    if shape is None or None in shape[2:]:  # the size is known only by running: the verification decides
        return not any(pads)
    return all(
        size is not None and window == size + before + after
        for window, size, before, after in zip(kernel, shape[2:], pads, pads[len(kernel) :], strict=False)
    )
