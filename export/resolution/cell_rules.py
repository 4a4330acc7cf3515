"""Rules for nodes that are tied to the number of cells: pools, convolutions, constants for each cell, sums."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from onnx import NodeProto, TensorProto, helper

from camrt.export.graph.graph import Array, attribute
from camrt.export.head.attention import has_attention
from camrt.export.head.pooling import covers_map, reduced_axes
from camrt.export.resolution.size_change import SizeChange, cells_text, shape_text

SUMS: Final = ("ReduceSum", "ReduceL1", "ReduceSumSquare", "ReduceL2")
"""Reductions that grow with the number of cells."""
_AXES_AS_INPUT: Final = 18
"""Opset from which ReduceMean takes its axes as an input."""
GLOBAL_POOLS: Final = {"AveragePool": "GlobalAveragePool", "MaxPool": "GlobalMaxPool"}
"""Pools, and the same pools over the whole map."""


def follow_pool(change: SizeChange, node: NodeProto) -> None:
    """Make a pool over the whole map a global one. Raises: ExportError: it makes one cell, and drops others."""
    shapes, result = change.changed(node.input[0]), change.old.shape(node.output[0])
    if shapes is None or result is None or set(result[2:]) != {1}:
        return
    kernel = attribute(node, "kernel_shape")
    if covers_map(change.graph, node) and len(node.output) == 1:
        node.op_type = GLOBAL_POOLS[node.op_type]
        del node.attribute[:]
        change.sentences.append(
            f"The pool over the whole map of {cells_text(shapes[0])} cells is a global pool now, for any size."
        )
    elif tuple(kernel) != (1,) * len(kernel):
        raise change.refuse(
            node,
            f"makes one cell of a map of {cells_text(shapes[0])} by a window of {'x'.join(map(str, kernel))} that does "
            "not cover it exactly once, so no global pool can take its place",
        )


def check_convolution(change: SizeChange, node: NodeProto) -> None:
    """Raise ExportError for a convolution over the whole map: it has a weight for each cell."""
    shapes, result = change.changed(node.input[0]), change.old.shape(node.output[0])
    kernel = change.old.shape(node.input[1])
    if shapes is None or result is None or kernel is None or any(attribute(node, "pads", [0])):
        return
    if set(result[2:]) == {1} and math.prod(kernel[2:]) > 1 and kernel[2:] == shapes[0][2:]:
        raise change.refuse(
            node, f"has weights for each of the {cells_text(shapes[0])} cells of a map, so it takes no other map size"
        )


def follow_elementwise(change: SizeChange, node: NodeProto) -> None:
    """Shrink constants that repeat one number over the map; refuse those with a number for each cell."""
    inputs = [shapes for name in node.input if (shapes := change.changed(name)) is not None]
    axes = {axis - len(old) for old, new in inputs for axis in range(len(old)) if old[axis] != new[axis]}
    for index, name in enumerate(node.input):
        values = None if not name or name in change.on_data else change.graph.constant(name)
        tied = [] if values is None else [axis for axis in axes if -axis <= values.ndim and values.shape[axis] > 1]
        if values is None or not tied:
            continue
        part = uniform_part(values, tied)
        if part is None:
            is_position = has_attention(change.graph, list(change.graph.proto.node))
            kind = "a position embedding" if is_position else "a mask or a mean image"
            raise change.refuse(
                node,
                f"applies a constant of {shape_text(values.shape)} with numbers for each place, {kind} of one size",
            )
        node.input[index] = change.graph.add_initializer("any_size", part)


def uniform_part(values: Array, axes: Sequence[int]) -> Array | None:
    """Return a constant with length 1 along ``axes``; None where it has different numbers along them."""
    part = values
    for axis in axes:
        part = np.take(part, [0], axis=axis)
    return part if bool((values == part).all()) else None


def check_normalization(change: SizeChange, node: NodeProto) -> None:
    """Refuse a LayerNormalization over rows and columns: it has a weight for each cell."""
    shapes, scale = change.changed(node.input[0]), change.old.shape(node.input[1])
    if shapes is not None and scale is not None:
        old, new = shapes
        if any(old[-axis] != new[-axis] and scale[-axis] > 1 for axis in range(1, len(scale) + 1)):
            raise change.refuse(node, f"has weights of {shape_text(scale)}, one for each place of a map of one size")


def follow_sum(change: SizeChange, node: NodeProto) -> None:
    """Make a sum over cells the mean times the old number of cells, so that what follows sees the same range."""
    shapes = change.changed(node.input[0])
    axes = None if shapes is None else reduced_axes(change.graph, node, len(shapes[0]))
    if shapes is None or axes is None or _divides_by_size(change, node) or _is_weighted_mean(change, node):
        return
    old, new = shapes
    if all(old[axis] == new[axis] for axis in axes):
        return
    graph, source = change.graph, node.input[0]
    if node.op_type == "ReduceL1":
        source = change.constants.node("Abs", [source])
    elif node.op_type != "ReduceSum":
        source = change.constants.node("Mul", [source, source])
    options: dict[str, Any] = {"keepdims": attribute(node, "keepdims", 1)}
    inputs = [source]
    if graph.opset >= _AXES_AS_INPUT:
        inputs.append(graph.add_initializer("axes", np.array(sorted(axes), np.int64)))
    else:
        options["axes"] = sorted(axes)
    dtype = helper.tensor_dtype_to_np_dtype(graph.elem_type(node.input[0]) or TensorProto.FLOAT)
    count = graph.add_initializer("cells", np.array(math.prod(old[axis] for axis in axes), dtype))
    mean = change.constants.node("ReduceMean", inputs, **options)
    del node.attribute[:], node.input[:]
    if node.op_type == "ReduceL2":
        node.op_type = "Sqrt"
        node.input.append(change.constants.node("Mul", [mean, count]))
    else:
        node.op_type = "Mul"
        node.input.extend([mean, count])
    change.sentences.append(
        f"Sums over the cells of a map are means now, times {math.prod(old[axis] for axis in axes)}, the old number of "
        "cells."
    )


def _divides_by_size(change: SizeChange, node: NodeProto) -> bool:
    """Tell whether what follows a sum divides it by a number that is computed from the size."""
    for reader in change.graph.consumers(node.output[0]):
        others = [name for name in reader.input if name != node.output[0]]
        if reader.op_type in ("Div", "Mul") and any(
            name not in change.on_data and change.graph.constant(name) is None for name in others
        ):
            return True
    return False


def _is_weighted_mean(change: SizeChange, node: NodeProto) -> bool:
    """Tell whether a sum is one of products with weights that add up to one (a Softmax over the cells)."""
    product = change.graph.producer(node.input[0])
    if product is None or product.op_type != "Mul":
        return False
    for name in product.input:
        source = change.graph.producer(name)
        while source is not None and source.op_type in ("Reshape", "Unsqueeze", "Transpose", "Squeeze", "Expand"):
            source = change.graph.producer(source.input[0])
        if source is not None and source.op_type == "Softmax":
            return True
    return False
