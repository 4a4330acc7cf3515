"""The global average pool in every form that exporters write, over maps in every layout."""

import math
from dataclasses import dataclass
from typing import Literal

from onnx import NodeProto

from camrt.export.graph.graph import Graph, attribute

MapLayout = Literal["nchw", "nhwc", "ntc", "nct"]
"""Order of the axes: maps with channels first or last; tokens [N, T, C] and [N, C, T], a map's cells in one row."""
_SPATIAL: dict[MapLayout, set[int]] = {"nchw": {2, 3}, "nhwc": {1, 2}, "ntc": {1}, "nct": {2}}


@dataclass(frozen=True, slots=True)
class PooledMaps:
    """The maps that a global average pool averages."""

    tensor: str
    layout: MapLayout
    grid: tuple[int, int] | None = None
    """(h, w) of tokens; None for maps."""


def find_pooled_maps(graph: Graph, tensor: str, input_size: tuple[int, int]) -> PooledMaps | None:
    """Return the maps of which ``tensor`` is the mean over rows and columns; None if it is no such mean.

    Args:
        graph: the classifier.
        tensor: [N, C], with axes of length 1 or not.
        input_size: (width, height) of the network's input. A grid of tokens has these proportions.
    """
    node = graph.producer(tensor)
    if node is None or node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type == "GlobalAveragePool" or (node.op_type == "AveragePool" and covers_map(graph, node)):
        shape = graph.shape(node.input[0])
        layout: MapLayout = "nct" if shape is not None and len(shape) == 3 else "nchw"
        return _with_grid(graph, node.input[0], layout, input_size)
    if node.op_type == "ReduceMean":
        return _mean_input(graph, node, input_size)
    return None


def token_grid(tokens: int, input_size: tuple[int, int]) -> tuple[int, int] | None:
    """Return (h, w) of that many patches of an image, row by row; None where no grid has the image's proportions."""
    width, height = input_size
    divisor = math.gcd(width, height)
    width, height = width // divisor, height // divisor
    times = math.isqrt(tokens // (width * height))
    return (height * times, width * times) if times * times * width * height == tokens > 0 else None


def _mean_input(graph: Graph, node: NodeProto, input_size: tuple[int, int]) -> PooledMaps | None:
    """Return the maps of a ReduceMean over the spatial axes. Two ReduceMeans of one axis each are one mean too."""
    source = node.input[0]
    axes = reduced_axes(graph, node)
    inner = graph.producer(source)
    if axes is not None and inner is not None and inner.op_type == "ReduceMean":
        inner_axes = reduced_axes(graph, inner)
        if inner_axes is not None:
            remaining = [axis for axis in range(4) if attribute(inner, "keepdims", 1) or axis not in inner_axes]
            source, axes = inner.input[0], inner_axes | {remaining[axis] for axis in axes if axis < len(remaining)}
    shape = graph.shape(source)
    layouts: tuple[MapLayout, ...] = ("ntc", "nct") if shape is not None and len(shape) == 3 else ("nchw", "nhwc")
    layout = next((entry for entry in layouts if axes == _SPATIAL[entry]), None)
    return None if layout is None else _with_grid(graph, source, layout, input_size)


def _with_grid(graph: Graph, tensor: str, layout: MapLayout, input_size: tuple[int, int]) -> PooledMaps | None:
    if layout in ("nchw", "nhwc"):
        return PooledMaps(tensor, layout)
    shape = graph.shape(tensor)
    tokens = None if shape is None else shape[layout.index("t")]
    grid = None if tokens is None else token_grid(tokens, input_size)
    return None if grid is None else PooledMaps(tensor, layout, grid)


def reduced_axes(graph: Graph, node: NodeProto, rank: int | None = None) -> set[int] | None:
    """Return the axes of a ReduceMean (ReduceMax ...), counted from 0; None: they are computed at run time.

    Args:
        graph: the classifier.
        node: the node.
        rank: number of axes of its input; None: as inferred, or 4.
    """
    axes = attribute(node, "axes")
    if len(node.input) > 1 and node.input[1]:
        axes = graph.constant(node.input[1])
        if axes is None:
            return None
    shape = graph.shape(node.input[0])
    rank = rank or (4 if shape is None else len(shape))
    if axes is None:  # without axes ONNX reduces all of them
        return set(range(rank))
    return {int(axis) % rank for axis in axes}


def covers_map(graph: Graph, node: NodeProto) -> bool:
    """Tell whether an AveragePool or MaxPool has one window over the whole map, and counts no padding."""
    shape = graph.shape(node.input[0])
    if attribute(node, "auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return False
    kernel = attribute(node, "kernel_shape")
    pads = attribute(node, "pads", [0] * 2 * len(kernel))
    if any(pads) and attribute(node, "count_include_pad", 0):
        return False
    if shape is None or None in shape[2:]:  # only a run shows the size: the verification decides
        return not any(pads)
    return all(
        size is not None and window == size + before + after
        for window, size, before, after in zip(kernel, shape[2:], pads, pads[len(kernel) :], strict=False)
    )
